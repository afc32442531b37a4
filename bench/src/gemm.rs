//! Workload A: products of square matrices through the graph, as a user would write them.

use crate::timing::Random;
use crate::workloads::precision;
use nerve_core::{DType, Step, Tensor, compile};

/// The product of two matrices of `n` rows and columns, with numbers in them.
pub fn product(n: usize) -> Step {
    let matmul = compile(|args: &[Tensor]| vec![args[0].matmul(&args[1])]).precision(precision());
    let step = matmul.step(&[([n, n].into(), DType::F32), ([n, n].into(), DType::F32)]);
    let mut random = Random(n as u64);
    step.write(0, &random.normals(n * n));
    step.write(1, &random.normals(n * n));
    step
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
