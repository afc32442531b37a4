//! Runs of steps that are one loop, against the same steps one by one.

use super::precision::group;
use super::*;

/// Adam: m, v and w after a step, from m, g, v, w and two scalars.
fn adam(compute: Compute, n: usize) -> Fused {
    use Step::*;
    let code = vec![
        Load(0),
        Load(1),
        Load(2),
        Load(3),
        Load(4),
        Load(5),
        Step::float(0.9),
        Step::float(0.1),
        Binary(BinaryOp::Mul, 0, 6),
        Binary(BinaryOp::Mul, 7, 1),
        Binary(BinaryOp::Add, 8, 9),
        Step::float(0.999),
        Step::float(0.001),
        Binary(BinaryOp::Mul, 11, 2),
        Unary(UnaryOp::Square, 1),
        Binary(BinaryOp::Mul, 14, 12),
        Binary(BinaryOp::Add, 13, 15),
        Binary(BinaryOp::Mul, 10, 4),
        Unary(UnaryOp::Sqrt, 16),
        Binary(BinaryOp::Add, 18, 5),
        Binary(BinaryOp::Div, 17, 19),
        Binary(BinaryOp::Sub, 3, 20),
        Binary(BinaryOp::Mul, 21, 1),
        Binary(BinaryOp::Sub, 10, 22),
    ];
    let mut fused = group(compute, &[n], 6, code, &[10, 16, 21, 23]);
    for scalar in &mut fused.inputs[4..] {
        scalar.strides = vec![0];
    }
    fused
}

fn contents(compute: Compute, n: usize) -> Contents {
    let mut cases = Cases(n as u64);
    let mut input = |low: f64| -> Vec<u8> {
        let values = (0..n).map(|_| low + cases.below(1000) as f64 / 1000.0);
        match compute {
            Compute::F32 => values.flat_map(|x| (x as f32).to_le_bytes()).collect(),
            _ => values.flat_map(f64::to_le_bytes).collect(),
        }
    };
    Contents([-0.5, -0.5, 0.0, -0.5, 0.1, 0.01].map(&mut input).to_vec())
}

#[test]
fn they_give_what_their_steps_give() {
    for compute in [Compute::F32, Compute::F64] {
        for n in [3000, 2048, 33] {
            let (fused, mut before) = (adam(compute, n), contents(compute, n));
            let empty = vec![0; n * compute.element().bytes()];
            before.0.extend(vec![empty.clone(); fused.outputs.len()]);
            let eps = if compute == Compute::F32 { 1e-6 } else { 1e-14 };
            let kernel = fused.clone().prepare().unwrap();
            compare(&kernel, &before, |a, b| (a - b).abs() <= eps * b.abs().max(1.0));
            // With what lies in between as a result each step stands on its own.
            let mut apart = fused.clone();
            for value in [8, 9, 13, 14, 15, 17, 18, 19, 20] {
                let buffer = before.0.len() as u32;
                let mut output = fused.outputs[0].clone();
                (output.value, output.view.region.buffer) = (value, buffer);
                apart.outputs.push(output);
                before.0.push(empty.clone());
            }
            let apart = apart.prepare().unwrap();
            for isa in isas().into_iter().filter(|&isa| isa == crate::Isa::Portable) {
                let [one, many] = [&kernel, &apart]
                    .map(|kernel| run(&before, |buffers| run_alone(&On(isa, kernel), buffers)));
                // Rounded once or twice makes no difference where there is no fused multiply-add.
                assert!(one.0[6..10] == many.0[6..10], "{isa:?} {compute} {n}");
            }
        }
    }
}
