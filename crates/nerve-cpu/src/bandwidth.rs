//! How fast this machine can move memory: the other roof that speeds are compared with.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Bytes that one timing moves at least: some hundred microseconds even in the nearest cache.
const MOVED: usize = 16 << 20;
/// Timings of which the best counts.
const ROUNDS: usize = 5;

/// `a = b + 3 c`.
#[inline(always)]
fn triad(a: &mut [f32], b: &[f32], c: &[f32]) {
    for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
        *a = b + 3.0 * c;
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn triad_avx512(a: &mut [f32], b: &[f32], c: &[f32]) {
    triad(a, b, c);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn triad_avx2(a: &mut [f32], b: &[f32], c: &[f32]) {
    triad(a, b, c);
}

fn best_triad(a: &mut [f32], b: &[f32], c: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    match crate::isa() {
        // SAFETY: `isa` found these instructions on this processor.
        crate::Isa::Avx512 => return unsafe { triad_avx512(a, b, c) },
        // SAFETY: as above.
        crate::Isa::Avx2 => return unsafe { triad_avx2(a, b, c) },
        crate::Isa::Portable => {}
    }
    triad(a, b, c);
}

/// Bytes a second that `threads` cores read and write together when they go through `bytes` bytes
/// again and again (`a = b + 3 c`: two thirds are read, one third is written), measured now: some
/// milliseconds. That a processor first reads what it is about to write does not count.
///
/// Few bytes stay in the nearest cache, many come from memory: this is the roof over an instruction
/// whose operands are `bytes` long. Caches of several cores hold more together than one alone.
pub fn peak_bandwidth(threads: usize, bytes: usize) -> f64 {
    let elements = (bytes / (threads * 3 * size_of::<f32>())).max(64);
    let passes = (MOVED / bytes.max(1)).clamp(1, 10_000);
    let together = Barrier::new(threads);
    let timed = || {
        let (mut a, b, c) = (vec![0f32; elements], vec![1f32; elements], vec![2f32; elements]);
        best_triad(&mut a, &b, &c);
        let mut times = [Duration::ZERO; ROUNDS];
        for time in &mut times {
            together.wait();
            let start = Instant::now();
            for _ in 0..passes {
                best_triad(black_box(&mut a), black_box(&b), black_box(&c));
            }
            *time = start.elapsed();
        }
        times
    };
    let times: Vec<_> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(timed)).collect();
        handles.into_iter().filter_map(|handle| handle.join().ok()).collect()
    });
    // A round is over when the last thread is.
    let round = |i: usize| times.iter().map(|times: &[Duration; ROUNDS]| times[i]).max();
    let best = (0..ROUNDS).filter_map(round).min().unwrap_or_default();
    (threads * passes * elements * 3 * size_of::<f32>()) as f64 / best.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triads_of_all_kinds_are_the_triad() {
        let (b, c): (Vec<f32>, Vec<f32>) = (0..100).map(|i| (i as f32, 0.5 * i as f32)).unzip();
        let mut a = vec![0.0; 100];
        best_triad(&mut a, &b, &c);
        assert!(a.iter().enumerate().all(|(i, a)| *a == 2.5 * i as f32));
    }

    #[test]
    fn memory_has_a_bandwidth() {
        for (threads, bytes) in [(1, 0), (1, 1 << 16), (2, 1 << 20)] {
            let speed = peak_bandwidth(threads, bytes);
            assert!(speed > 1e7 && speed.is_finite(), "{speed}");
        }
    }
}
