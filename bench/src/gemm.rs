//! Workload A: products of square matrices through the graph, as a user would write them.

use crate::harness::{Random, bench, emit};
use nerve_core::{DType, Step, Tensor, compile, set_threads, threads};

/// Sizes on all threads.
const SIZES: [usize; 5] = [64, 256, 512, 1024, 2048];
/// Sizes on one thread, with the share of the peak of one core.
const SIZES_OF_ONE: [usize; 4] = [64, 256, 512, 1024];

/// The product of two matrices of `n` rows and columns, with numbers in them.
fn product(n: usize) -> Step {
    let matmul = compile(|args: &[Tensor]| vec![args[0].matmul(&args[1])]);
    let step = matmul.step(&[([n, n].into(), DType::F32), ([n, n].into(), DType::F32)]);
    let mut random = Random(n as u64);
    step.write(0, &random.normals(n * n));
    step.write(1, &random.normals(n * n));
    step
}

/// Measures one size, and its share of the peak of the moment.
fn measure(workload: &str, n: usize) {
    let step = product(n);
    let before = nerve_cpu::peak_flops(threads());
    let timing = bench(|| step.run().expect("nothing is looked up"));
    let after = nerve_cpu::peak_flops(threads());
    let speed = 2.0 * (n as f64).powi(3) / timing.seconds;
    emit(workload, &format!("n{n} GFLOP/s"), speed / 1e9, timing.spread);
    // Two peaks, because others may have slowed either.
    if let Some(peak) = before.zip(after).map(|(a, b)| a.max(b)) {
        emit(workload, &format!("n{n} % of peak"), 100.0 * speed / peak, timing.spread);
    }
}

/// All threads.
pub fn squares() {
    SIZES.into_iter().for_each(|n| measure("A", n));
}

/// One thread.
pub fn one_core() {
    let all = threads();
    set_threads(1);
    SIZES_OF_ONE.into_iter().for_each(|n| measure("A1", n));
    set_threads(all);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_the_product() {
        let (n, step) = (9, product(9));
        step.run().unwrap();
        let mut random = Random(n as u64);
        let (a, b) = (random.normals(n * n), random.normals(n * n));
        for (i, value) in step.read::<f32>(0).into_iter().enumerate() {
            let exact: f32 = (0..n).map(|k| a[i / n * n + k] * b[k * n + i % n]).sum();
            assert!((value - exact).abs() < 1e-4, "{value} {exact}");
        }
    }
}
