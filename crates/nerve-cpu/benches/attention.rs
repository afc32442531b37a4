//! Attention and layer normalisation beside the peak of the machine:
//! `cargo bench -p nerve-cpu --bench attention`.

mod harness;

use harness::{Operands, begin, measure};
use nerve_cpu::*;

/// Attention of `batch` sequences to themselves, as a layer leaves them: queries, keys and values
/// side by side; and its gradient.
fn attention(batch: usize, times: usize, heads: usize, depth: usize, causal: bool) {
    let shape = AttentionShape {
        ty: Float::F32,
        batch,
        heads,
        queries: times,
        keys: times,
        depth,
        value_depth: depth,
        scale: (depth as f64).sqrt().recip(),
        causal,
    };
    let one = heads * depth;
    let label = format!("{batch}x{times}x{heads}x{depth}{}", if causal { " causal" } else { "" });
    let three = |all: Region| {
        [0, 1, 2].map(|i| Heads {
            region: Region {
                offset: all.offset + 4 * i * one,
                bytes: all.bytes - 4 * i * one,
                ..all
            },
            strides: [3 * one * times, 3 * one, depth],
        })
    };
    let mut operands = Operands::default();
    let all = operands.floats(3 * batch * times * one);
    let y = operands.floats(batch * times * one);
    let [q, k, v] = three(all);
    measure(&format!("attention {label}"), operands, Attention { shape, q, k, v, mask: None, y });
    let mut operands = Operands::default();
    let all = operands.floats(3 * batch * times * one);
    let dy = operands.floats(batch * times * one);
    let grads = operands.floats(3 * batch * times * one);
    let [q, k, v] = three(all);
    let dy = Heads { region: dy, strides: [one * times, one, depth] };
    let gradient = AttentionGrad { shape, q, k, v, mask: None, dy, grads, packed: true };
    measure(&format!("attention {label}, gradient"), operands, gradient);
}

fn layer_norm(rows: usize, cols: usize) {
    let (ty, centred, eps) = (Float::F32, true, 1e-5);
    let mut operands = Operands::default();
    let (x, weight, bias) =
        (operands.floats(rows * cols), operands.floats(cols), operands.floats(cols));
    let y = operands.floats(rows * cols);
    let norm = LayerNorm { ty, rows, cols, centred, eps, x, weight, bias: Some(bias), y };
    measure(&format!("layer norm {rows}x{cols}"), operands, norm);
    let mut operands = Operands::default();
    let [x, dy, dx] = [(); 3].map(|()| operands.floats(rows * cols));
    let weight = operands.floats(cols);
    let parts = operands.floats(LayerNormGrad::part_count(rows, cols) * 2 * cols);
    let gradient = LayerNormGrad { ty, rows, cols, centred, eps, x, weight, dy, dx, parts };
    measure(&format!("layer norm {rows}x{cols}, gradient"), operands, gradient);
}

fn main() {
    begin();
    attention(16, 128, 4, 64, false);
    attention(4, 256, 4, 64, false);
    attention(1, 128, 4, 64, false);
    attention(1, 128, 4, 64, true);
    attention(1, 2048, 8, 64, false);
    attention(1, 2048, 8, 64, true);
    attention(64, 32, 8, 32, false);
    layer_norm(2048, 256);
    layer_norm(128, 256);
    layer_norm(512, 1024);
}
