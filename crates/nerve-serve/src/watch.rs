//! Counters: what `/metrics` and the statistics of the protocol tell.
//!
//! A counter is an atomic number; the path of a request takes no lock for them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A number that many threads change.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Takes away.
    pub fn less(&self, n: u64) {
        self.0.fetch_sub(n, Relaxed);
    }

    /// Sets.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How often something took place, and how long all of it took.
#[derive(Debug, Default)]
pub struct Timed {
    /// How often.
    pub count: Counter,
    /// Nanoseconds.
    pub ns: Counter,
}

impl Timed {
    /// Adds one of this length.
    pub fn add(&self, time: Duration) {
        self.count.add(1);
        self.ns.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// Upper bounds of times, in seconds.
pub const SECONDS: [f64; 13] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];
/// Upper bounds of rows in a batch.
pub const ROWS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// How values are distributed over fixed bounds.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: [f64; N],
    counts: [Counter; N],
    above: Counter,
    /// The sum in millionths.
    sum: Counter,
}

impl<const N: usize> Histogram<N> {
    /// An empty one.
    pub fn new(bounds: [f64; N]) -> Self {
        let counts = std::array::from_fn(|_| Counter::default());
        Histogram { bounds, counts, above: Counter::default(), sum: Counter::default() }
    }

    /// Adds a value.
    pub fn add(&self, value: f64) {
        let at = self.bounds.iter().position(|bound| value <= *bound);
        at.map_or(&self.above, |at| &self.counts[at]).add(1);
        self.sum.add((value * 1e6) as u64);
    }

    /// For each bound how many values are at most as large, then the count of all, then their sum.
    pub fn read(&self) -> (Vec<(f64, u64)>, u64, f64) {
        let mut below = 0;
        let each = |(bound, count): (&f64, &Counter)| {
            below += count.get();
            (*bound, below)
        };
        let buckets: Vec<_> = self.bounds.iter().zip(&self.counts).map(each).collect();
        (buckets, below + self.above.get(), self.sum.get() as f64 / 1e6)
    }
}

/// What one version of a model has done.
#[derive(Debug)]
pub struct Watch {
    /// Requests that were answered, and how long that took.
    pub success: Timed,
    /// Requests that failed in the network or on their way.
    pub failed: Timed,
    /// Time in the queue.
    pub queue: Timed,
    /// Time in which rows became numbers.
    pub input: Timed,
    /// Time in the network.
    pub infer: Timed,
    /// Time in which numbers became answers.
    pub output: Timed,
    /// Rows that were answered.
    pub rows: Counter,
    /// Batches that were run.
    pub batches: Counter,
    /// Requests that wait.
    pub waiting: Counter,
    /// Requests that were turned away because too many waited.
    pub full: Counter,
    /// Requests whose time was over.
    pub late: Counter,
    /// Requests whose client left.
    pub cancelled: Counter,
    /// Panics of the network.
    pub panics: Counter,
    /// When the last request was answered, in milliseconds since 1970.
    pub last: Counter,
    /// Seconds from the request to the answer.
    pub request_seconds: Histogram<{ SECONDS.len() }>,
    /// Seconds in the queue.
    pub queue_seconds: Histogram<{ SECONDS.len() }>,
    /// Seconds that batches ran.
    pub compute_seconds: Histogram<{ SECONDS.len() }>,
    /// Rows of batches.
    pub batch_rows: Histogram<{ ROWS.len() }>,
}

impl Default for Watch {
    fn default() -> Self {
        Watch {
            success: Timed::default(),
            failed: Timed::default(),
            queue: Timed::default(),
            input: Timed::default(),
            infer: Timed::default(),
            output: Timed::default(),
            rows: Counter::default(),
            batches: Counter::default(),
            waiting: Counter::default(),
            full: Counter::default(),
            late: Counter::default(),
            cancelled: Counter::default(),
            panics: Counter::default(),
            last: Counter::default(),
            request_seconds: Histogram::new(SECONDS),
            queue_seconds: Histogram::new(SECONDS),
            compute_seconds: Histogram::new(SECONDS),
            batch_rows: Histogram::new(ROWS),
        }
    }
}

impl Watch {
    /// A batch was run.
    pub fn ran(&self, rows: usize, time: Duration) {
        self.batches.add(1);
        self.rows.add(rows as u64);
        self.compute_seconds.add(time.as_secs_f64());
        self.batch_rows.add(rows as f64);
    }

    /// A request whose rows waited and ran that long.
    pub fn computed(&self, waited: Duration, ran: Duration) {
        self.queue.add(waited);
        self.queue_seconds.add(waited.as_secs_f64());
        self.infer.add(ran);
    }

    /// A request was answered after this time.
    pub fn answered(&self, time: Duration) {
        self.success.add(time);
        self.request_seconds.add(time.as_secs_f64());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last.set(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_up_to_its_bounds() {
        let histogram = Histogram::new([1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 7.0] {
            histogram.add(value);
        }
        assert_eq!(histogram.read(), (vec![(1.0, 2), (2.0, 3)], 4, 10.0));
    }
}
