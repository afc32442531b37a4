//! What this machine offers: memory, as far as the system tells, and speed, as measured.

use nerve_cpu::{Buffer, Float, Gemm, Instruction, Program, Region, Replay};
pub use nerve_cpu::{peak_bandwidth, peak_flops, set_threads, threads};
use std::fs;
use std::sync::Arc;
use std::time::Instant;

/// How many bytes this process may still take, the least of: what the system has left, the limit
/// of its control group, and the limit of its address space. `None` where nothing is told.
pub fn memory() -> Option<u64> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let group = read("/sys/fs/cgroup/memory.max")
        .or_else(|| read("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
        .and_then(|text| text.trim().parse::<u64>().ok());
    [
        read("/proc/meminfo").and_then(|text| available(&text)),
        group,
        read("/proc/self/limits").and_then(|text| address_space(&text)),
    ]
    .into_iter()
    .flatten()
    .min()
}

/// The line `MemAvailable:   12345 kB`.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The line `Max address space   LIMIT   LIMIT   bytes`; `unlimited` is no limit.
fn address_space(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The instruction set that the kernels use here.
pub fn instructions() -> &'static str {
    match nerve_cpu::isa() {
        nerve_cpu::Isa::Avx512 => "AVX-512",
        nerve_cpu::Isa::Avx2 => "AVX2",
        nerve_cpu::Isa::Portable => "portable code",
    }
}

/// Floating-point operations a second of a matrix product on all threads: the best of a few, some
/// ten milliseconds in all. A measure of the machine as it is now, other work included.
pub fn gemm_flops() -> f64 {
    const N: usize = 384;
    let bytes = N * N * size_of::<f32>();
    let [a, b, c] = [1, 2, 3].map(|buffer| Region::new(buffer, 0, bytes));
    let product = Gemm::new(Float::F32, [N, N, N], a, b, c);
    let Ok(program) = Program::new(vec![Instruction::from(product)], &[0, bytes, bytes, bytes])
    else {
        return f64::NAN;
    };
    let matrix = || Arc::new(Buffer::from_slice(&vec![1.0f32; N * N]));
    let mut replay = Replay::new(program, vec![Some(matrix()), Some(matrix()), Some(matrix())]);
    let mut best = f64::INFINITY;
    for _ in 0..8 {
        let start = Instant::now();
        if replay.run().is_err() {
            return f64::NAN;
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    2.0 * (N * N * N) as f64 / best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_product_takes_some_time() {
        assert!(gemm_flops() > 1e6);
    }

    #[test]
    fn reads_what_the_system_writes() {
        let text = "MemTotal:       24100000 kB\nMemAvailable:    8388608 kB\n";
        assert_eq!(available(text), Some(8 << 30));
        assert_eq!(available("nothing"), None);
        let text = "Max cpu time  unlimited unlimited seconds\nMax address space         1073741824           unlimited            bytes\n";
        assert_eq!(address_space(text), Some(1 << 30));
        assert_eq!(address_space("Max address space  unlimited  unlimited  bytes"), None);
        if cfg!(target_os = "linux") {
            assert!(memory().unwrap() > 1 << 20);
        }
    }
}
