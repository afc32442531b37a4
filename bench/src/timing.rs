//! Timing by the rules of all peers: warm-up, repeats of about 0.4 s, the median of seven, and
//! repeats that other processes disturbed done again. Nothing of nerve: the Rust peers use it too.

use std::time::{Duration, Instant};

/// A repeat is done again if other processes took more than this share of the machine.
const DISTURBED: f64 = 0.08;
/// How often that may happen in one measurement.
const REDOS: usize = 20;

/// The middle of some repeats.
#[derive(Clone, Copy)]
pub struct Timing {
    /// Median seconds of a call.
    pub seconds: f64,
    /// (longest − shortest) / median.
    pub spread: f64,
}

impl Timing {
    /// The middle of times in seconds, of which there is at least one.
    pub fn of(mut times: Vec<f64>) -> Timing {
        times.sort_by(f64::total_cmp);
        let seconds = times[times.len() / 2];
        Timing { seconds, spread: (times[times.len() - 1] - times[0]) / seconds }
    }
}

/// Whether the environment asks for a quick look instead of a measurement.
pub fn fast() -> bool {
    std::env::var_os("BENCH_FAST").is_some()
}

/// Times calls of `f`.
pub fn bench(mut f: impl FnMut()) -> Timing {
    let (repeats, target, warm) = if fast() { (3, 0.05, 1) } else { (7, 0.4, 3) };
    (0..warm).for_each(|_| f());
    let once = seconds(1, &mut f);
    let one = seconds((0.1 / once.max(1e-7)) as usize, &mut f);
    let calls = (target / one).round() as usize;
    let (mut times, mut redos) = (Vec::new(), REDOS);
    while times.len() < repeats {
        let (all, own, start) = (machine_busy(), own_busy(), Instant::now());
        let each = seconds(calls, &mut f);
        let others = (machine_busy() - all) - (own_busy() - own);
        let share = others / (cores() * start.elapsed().as_secs_f64());
        if !fast() && redos > 0 && share > DISTURBED {
            redos -= 1;
            std::thread::sleep(Duration::from_millis(500));
            continue;
        }
        times.push(each);
    }
    if redos < REDOS {
        eprintln!("noise: {} repeats done again", REDOS - redos);
    }
    Timing::of(times)
}

fn seconds(calls: usize, f: &mut impl FnMut()) -> f64 {
    let (calls, start) = (calls.max(1), Instant::now());
    (0..calls).for_each(|_| f());
    start.elapsed().as_secs_f64() / calls as f64
}

fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64)
}

/// Processor time that all processes used so far, in seconds.
fn machine_busy() -> f64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
    // user, nice, system, irq, softirq, steal: all but the time spent waiting.
    [0, 1, 2, 5, 6, 7].into_iter().flat_map(|i| ticks.get(i)).sum::<f64>() / 100.0
}

/// Processor time that this process used so far, in seconds.
fn own_busy() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let Some((_, rest)) = text.rsplit_once(')') else { return 0.0 };
    // The state is no number: user and system time are the 11th and 12th number after it.
    let fields: Vec<f64> = rest.split_whitespace().flat_map(str::parse).collect();
    fields.iter().skip(10).take(2).sum::<f64>() / 100.0
}

/// Peak resident memory of this process in MB (2²⁰ bytes).
pub fn peak_rss_mb() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// A small generator for synthetic batches: xorshift, never seeded with 0.
pub struct Random(pub u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Numbers from 0 to below 1.
    pub fn uniforms(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.uniform()).collect()
    }

    /// About standard normal numbers: the sum of twelve uniform ones has variance 1.
    pub fn normals(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0).collect()
    }

    /// Class indices, or those of words.
    pub fn classes(&mut self, n: usize, classes: u64) -> Vec<i32> {
        (0..n).map(|_| (self.bits() % classes) as i32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_spread() {
        let timing = Timing::of(vec![3.0, 1.0, 2.0, 10.0, 2.0]);
        assert_eq!((timing.seconds, timing.spread), (2.0, 4.5));
    }

    #[test]
    fn synthetic_data_have_the_moments_asked_for() {
        let mut random = Random(1);
        let normals = random.normals(20_000);
        let mean = normals.iter().sum::<f32>() / 20_000.0;
        let variance = normals.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        let uniforms = random.uniforms(1000);
        assert!(uniforms.iter().all(|x| (0.0..1.0).contains(x)));
        let mut seen = [0; 10];
        random.classes(1000, 10).iter().for_each(|&class| seen[class as usize] += 1);
        assert!(seen.iter().all(|&n| n > 50), "{seen:?}");
    }
}
