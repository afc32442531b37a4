//! Requests that come at the same time are answered together.
//!
//! ```text
//! submit ──► queue (bounded) ──► one thread a model: takes the oldest and what fits beside it ──► Runner ──► answers
//! ```
//!
//! A request that waited longer than it may, or whose client has gone, is passed over without being run. A batch that
//! fails is run again one request at a time, so that only the one that is at fault fails.

use crate::watch::Watch;
use nerve_data::Values;
use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Rows as the network takes them.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    /// How many there are, at least one.
    pub rows: usize,
    /// For each input of the network the values, row after row.
    pub fields: Vec<Values>,
}

/// What a request wants to have run.
pub trait Work: Send + Sync + 'static {
    /// What comes out of a batch, and the part of it that belongs to one request.
    type Outputs: Send + 'static;

    /// How many rows it has, at least one.
    fn rows(&self) -> usize;

    /// Whether it may be run in one batch with another.
    fn joins(&self, other: &Self) -> bool;

    /// What belongs to the rows `range` of a batch of `all` rows.
    fn part(outputs: &Self::Outputs, range: Range<usize>, all: usize) -> Self::Outputs;
}

impl Work for Examples {
    /// For each output the values, row after row.
    type Outputs = Vec<Vec<f32>>;

    fn rows(&self) -> usize {
        self.rows
    }

    fn joins(&self, _: &Examples) -> bool {
        true
    }

    fn part(outputs: &Vec<Vec<f32>>, range: Range<usize>, all: usize) -> Vec<Vec<f32>> {
        let part = |values: &Vec<f32>| {
            let width = values.len() / all;
            values[range.start * width..range.end * width].to_vec()
        };
        outputs.iter().map(part).collect()
    }
}

/// What runs batches.
pub trait Runner<W: Work = Examples> {
    /// The most rows of a batch.
    fn most_rows(&self) -> usize;

    /// How many rows to run now if so many wait, [`Runner::most_rows`] at most: the others come with the next batch.
    fn best_rows(&self, waiting: usize) -> usize {
        waiting
    }

    /// What comes out for all of them, one behind the other. What takes long asks now and then whether it is still `wanted`:
    /// whether any client is there whose time is not over.
    ///
    /// # Errors
    /// An example at fault, or that nobody waits any more, in words.
    fn run(&mut self, batch: &[&W], wanted: &dyn Fn() -> bool) -> Result<W::Outputs, String>;
}

/// How requests are put together.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    /// The most rows of a batch.
    pub most_rows: usize,
    /// How long the oldest request waits for others.
    pub delay: Duration,
    /// How many requests may wait.
    pub queue: usize,
    /// Whether a row gets the same bits in every batch. Products of up to four rows add in another order than those of
    /// more, so that the smallest batch then has [`EXACT_ROWS`] rows, most of them zeros for a request of one.
    pub exact: bool,
}

/// The rows of the smallest batch where the bits must not depend on it.
pub const EXACT_ROWS: usize = 8;

impl Default for Batching {
    fn default() -> Self {
        Batching { most_rows: 32, delay: Duration::ZERO, queue: 1024, exact: false }
    }
}

/// What became of the examples of a request.
#[derive(Debug)]
pub struct Done<O = Vec<Vec<f32>>> {
    /// What came out.
    pub outputs: O,
    /// How long they waited.
    pub waited: Duration,
    /// How long the batch ran.
    pub ran: Duration,
}

/// Why examples were not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// Too many wait.
    Full,
    /// The model is being replaced or the server ends.
    Stopped,
    /// The time was over before their turn came, or while they ran.
    Late,
    /// The network failed on them.
    Fault,
}

/// Where the answer of a request comes.
pub type Reply<W> = oneshot::Receiver<Result<Done<<W as Work>::Outputs>, Failed>>;

struct Job<W: Work> {
    examples: W,
    since: Instant,
    until: Instant,
    reply: oneshot::Sender<Result<Done<W::Outputs>, Failed>>,
}

struct Queue<W: Work> {
    jobs: VecDeque<Job<W>>,
    /// Whether the thread waits, for a request or for a batch to become full.
    asleep: bool,
    stopped: bool,
}

struct Shared<W: Work> {
    queue: Mutex<Queue<W>>,
    wake: Condvar,
    batching: Batching,
    watch: Arc<Watch>,
}

impl<W: Work> Shared<W> {
    fn locked(&self) -> MutexGuard<'_, Queue<W>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A queue and the thread that empties it. Dropped, it answers what waits and ends.
pub struct Batcher<W: Work = Examples> {
    shared: Arc<Shared<W>>,
    thread: Option<JoinHandle<()>>,
}

impl<W: Work> Batcher<W> {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        mut runner: Box<dyn Runner<W> + Send>,
        batching: Batching,
        watch: Arc<Watch>,
    ) -> std::io::Result<Batcher<W>> {
        let most_rows = batching.most_rows.min(runner.most_rows());
        let batching = Batching { most_rows, ..batching };
        Batcher::start_with(batching, watch, move |serve| serve(&mut *runner))
    }

    /// The same with a runner that is made on the thread, so that it may borrow what is there: `body` makes it and hands it
    /// over, once.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start_with(
        batching: Batching,
        watch: Arc<Watch>,
        body: impl FnOnce(&dyn Fn(&mut dyn Runner<W>)) + Send + 'static,
    ) -> std::io::Result<Batcher<W>> {
        let batching = Batching { most_rows: batching.most_rows.max(1), ..batching };
        let queue = Mutex::new(Queue { jobs: VecDeque::new(), asleep: false, stopped: false });
        let shared = Arc::new(Shared { queue, wake: Condvar::new(), batching, watch });
        let own = shared.clone();
        let work = move || {
            body(&|runner| {
                while let Some(batch) = next(&own, runner) {
                    answer(runner, batch, &own.watch);
                }
            });
        };
        let thread = std::thread::Builder::new().name("nerve-batch".into()).spawn(work)?;
        Ok(Batcher { shared, thread: Some(thread) })
    }

    /// The most rows that a request may have.
    pub fn most_rows(&self) -> usize {
        self.shared.batching.most_rows
    }

    /// Whether as many requests wait as may: what is handed over now would be refused.
    pub fn is_full(&self) -> bool {
        self.shared.watch.waiting.get() >= self.shared.batching.queue as u64
    }

    /// Hands examples over; at most [`Batcher::most_rows`] of them. They are run after [`Batcher::wake`]. Dropping the receiver
    /// withdraws them.
    ///
    /// # Errors
    /// [`Failed::Full`], [`Failed::Stopped`].
    pub fn submit(&self, examples: W, until: Instant) -> Result<Reply<W>, Failed> {
        let (reply, receiver) = oneshot::channel();
        let job = Job { examples, since: Instant::now(), until, reply };
        let mut queue = self.shared.locked();
        if queue.stopped {
            return Err(Failed::Stopped);
        }
        if queue.jobs.len() >= self.shared.batching.queue {
            return Err(Failed::Full);
        }
        queue.jobs.push_back(job);
        self.shared.watch.waiting.set(queue.jobs.len() as u64);
        Ok(receiver)
    }

    /// Wakes the thread for what was handed over, if it sleeps and nobody has done so.
    pub fn wake(&self) {
        let mut queue = self.shared.locked();
        let wanted = !queue.jobs.is_empty() && std::mem::take(&mut queue.asleep);
        drop(queue);
        if wanted {
            self.shared.wake.notify_one();
        }
    }
}

impl<W: Work> Drop for Batcher<W> {
    fn drop(&mut self) {
        self.shared.locked().stopped = true;
        self.shared.wake.notify_one();
        // The thread answers what waits; whoever drops the last request of a model need not wait for that.
        drop(self.thread.take());
    }
}

/// The next batch; `None` when there will be none.
fn next<W: Work>(shared: &Shared<W>, runner: &dyn Runner<W>) -> Option<Vec<Job<W>>> {
    let Batching { most_rows, delay, .. } = shared.batching;
    let mut queue = shared.locked();
    loop {
        // Those whose client has gone take no place.
        queue.jobs.retain(|job| !job.reply.is_closed());
        let Some(oldest) = queue.jobs.front() else {
            shared.watch.waiting.set(0);
            if queue.stopped {
                return None;
            }
            queue.asleep = true;
            queue = shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.asleep = false;
            continue;
        };
        let all = fitting(&queue.jobs, most_rows);
        let waiting = rows(&queue.jobs, all);
        let full = all < queue.jobs.len() || waiting >= most_rows;
        let left = (oldest.since + delay).saturating_duration_since(Instant::now());
        if full || left.is_zero() || queue.stopped {
            let best = fitting(&queue.jobs, runner.best_rows(waiting));
            let batch = queue.jobs.drain(..best).collect();
            shared.watch.waiting.set(queue.jobs.len() as u64);
            return Some(batch);
        }
        queue.asleep = true;
        let waited = shared.wake.wait_timeout(queue, left);
        queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        queue.asleep = false;
    }
}

/// How many of the oldest jobs fit in one batch: one at least.
fn fitting<W: Work>(jobs: &VecDeque<Job<W>>, most_rows: usize) -> usize {
    let mut rows = 0;
    let fits = |job: &&Job<W>| {
        rows += job.examples.rows();
        rows <= most_rows && jobs.front().is_some_and(|first| job.examples.joins(&first.examples))
    };
    jobs.iter().take_while(fits).count().max(1)
}

fn rows<W: Work>(jobs: &VecDeque<Job<W>>, count: usize) -> usize {
    jobs.iter().take(count).map(|job| job.examples.rows()).sum()
}

/// Runs a batch and answers each of its requests.
fn answer<W: Work>(runner: &mut dyn Runner<W>, batch: Vec<Job<W>>, watch: &Watch) {
    let begun = Instant::now();
    let (batch, late): (Vec<_>, Vec<_>) = batch.into_iter().partition(|job| job.until > begun);
    for job in late {
        let _ = job.reply.send(Err(Failed::Late));
    }
    if batch.is_empty() {
        return;
    }
    let examples: Vec<&W> = batch.iter().map(|job| &job.examples).collect();
    match run(runner, &examples, &|| wanted(&batch), watch) {
        Some((outputs, ran)) => hand_out(batch, &outputs, begun, ran),
        None if batch.len() == 1 => fail(batch),
        None => {
            for job in batch {
                let alone = std::slice::from_ref(&job);
                match run(runner, &[&job.examples], &|| wanted(alone), watch) {
                    Some((outputs, ran)) => hand_out(vec![job], &outputs, begun, ran),
                    None => fail(vec![job]),
                }
            }
        }
    }
}

/// Whether somebody waits for any of them.
fn wanted<W: Work>(batch: &[Job<W>]) -> bool {
    let now = Instant::now();
    batch.iter().any(|job| job.until > now && !job.reply.is_closed())
}

/// Runs examples; `None` when the network fails on them, by an error or a panic.
fn run<W: Work>(
    runner: &mut dyn Runner<W>,
    batch: &[&W],
    wanted: &dyn Fn() -> bool,
    watch: &Watch,
) -> Option<(W::Outputs, Duration)> {
    let begun = Instant::now();
    // A panic leaves plans whole: they are written anew before each run.
    let result = catch_unwind(AssertUnwindSafe(|| runner.run(batch, wanted)));
    let ran = begun.elapsed();
    let rows = batch.iter().map(|examples| examples.rows()).sum();
    match result {
        Ok(Ok(outputs)) => {
            watch.ran(rows, ran);
            Some((outputs, ran))
        }
        Ok(Err(_)) => None,
        Err(_) => {
            watch.panics.add(1);
            None
        }
    }
}

fn fail<W: Work>(batch: Vec<Job<W>>) {
    for job in batch {
        // What was broken off because its time is over was no fault.
        let late = job.until <= Instant::now();
        let _ = job.reply.send(Err(if late { Failed::Late } else { Failed::Fault }));
    }
}

/// Cuts the outputs of a batch into those of its requests. A client that has gone hears nothing.
fn hand_out<W: Work>(batch: Vec<Job<W>>, outputs: &W::Outputs, begun: Instant, ran: Duration) {
    let all: usize = batch.iter().map(|job| job.examples.rows()).sum();
    let mut from = 0;
    for job in batch {
        let rows = job.examples.rows();
        let outputs = W::part(outputs, from..from + rows, all);
        from += rows;
        let waited = begun.saturating_duration_since(job.since);
        let _ = job.reply.send(Ok(Done { outputs, waited, ran }));
    }
}

#[cfg(test)]
mod tests;
