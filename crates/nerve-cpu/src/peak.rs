//! How fast this processor can be: what speeds are compared with.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

/// Independent chains of multiply-adds: enough to hide their latency on two units.
const CHAINS: usize = 12;
/// Multiply-adds of one chain in one timing: about a tenth of a millisecond.
const ROUNDS: usize = 100_000;
/// Timings of which the best counts.
const RUNS: usize = 10;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn chains_avx512() -> f32 {
    use std::arch::x86_64::*;
    let (mut sums, x) = ([_mm512_set1_ps(1.0); CHAINS], _mm512_set1_ps(black_box(0.5)));
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, x, x);
        }
    }
    sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum)).sum()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn chains_avx2() -> f32 {
    use std::arch::x86_64::*;
    let (mut sums, x) = ([_mm256_set1_ps(1.0); CHAINS], _mm256_set1_ps(black_box(0.5)));
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, x, x);
        }
    }
    sums.into_iter().map(|sum| _mm256_cvtss_f32(sum)).sum()
}

/// Operations a second of one thread, the best of some timings.
#[cfg(target_arch = "x86_64")]
fn best(lanes: usize, chains: impl Fn() -> f32) -> f64 {
    let timing = |_| {
        let start = Instant::now();
        black_box(chains());
        (2 * lanes * CHAINS * ROUNDS) as f64 / start.elapsed().as_secs_f64()
    };
    (0..RUNS).map(timing).fold(0.0, f64::max)
}

#[cfg(target_arch = "x86_64")]
fn of_one_thread() -> Option<f64> {
    match crate::isa() {
        // SAFETY: `isa` found these instructions on this processor.
        crate::Isa::Avx512 => Some(best(16, || unsafe { chains_avx512() })),
        // SAFETY: as above.
        crate::Isa::Avx2 => Some(best(8, || unsafe { chains_avx2() })),
        crate::Isa::Portable => None,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn of_one_thread() -> Option<f64> {
    None
}

/// The f32 operations a second (two for each multiply-add) that `threads` cores reach together with
/// the vector instructions in use, measured now: a millisecond or two. `None` for portable code,
/// where it depends on the compiler.
///
/// Processors change their clock with what runs and with what others run, so a share of the peak
/// means something only beside a peak of the same moment.
pub fn peak_flops(threads: usize) -> Option<f64> {
    let together = Barrier::new(threads);
    let timed = || {
        together.wait();
        of_one_thread()
    };
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(timed)).collect();
        handles.into_iter().map(|handle| handle.join().ok().flatten()).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_instructions_have_a_peak() {
        let peak = peak_flops(1);
        assert_eq!(peak.is_some(), crate::isa() != crate::Isa::Portable);
        assert!(peak.is_none_or(|flops| flops > 1e9 && flops.is_finite()), "{peak:?}");
    }
}
