//! Kernels that are neither products nor convolutions nor fused groups, beside the speed of the
//! memory that their operands fit into: `cargo bench -p nerve-cpu --bench kernels`.

mod harness;

use harness::{Operands, begin, measure};
use nerve_cpu::*;

/// Pooling of `n` images in windows of 2 × 2 or 3 × 3, and its gradient.
fn pool(kind: PoolKind, [n, side, c]: [usize; 3], kernel: usize, stride: usize) {
    let out = (side - kernel) / stride + 1;
    let shape = PoolShape {
        kind,
        n,
        h: side,
        w: side,
        c,
        kernel: [kernel; 2],
        stride: [stride; 2],
        pad: [0; 2],
        oh: out,
        ow: out,
        count_include_pad: true,
    };
    let (inputs, outputs) = (n * side * side * c, n * out * out * c);
    let label = format!("{kind:?} pool {kernel}x{kernel}/{stride} of {n}x{side}x{side}x{c}");
    let mut operands = Operands::default();
    let (x, y) = (operands.floats(inputs), operands.floats(outputs));
    let pool = Pool { ty: Float::F32, shape, x, y: Some(y), relu: false, places: None };
    measure(&label, operands, pool);
    let mut operands = Operands::default();
    let (dy, dx) = (operands.floats(outputs), operands.floats(inputs));
    let places = (kind == PoolKind::Max).then(|| operands.bytes(outputs));
    let gradient = PoolGrad { ty: Float::F32, shape, places, dy, dx };
    measure(&(label + ", gradient"), operands, gradient);
}

fn softmax(rows: usize, cols: usize) {
    for log in [false, true] {
        let name = if log { "log-softmax" } else { "softmax" };
        let mut operands = Operands::default();
        let (x, y) = (operands.floats(rows * cols), operands.floats(rows * cols));
        let softmax = Softmax { ty: Float::F32, rows, cols, log, x, y };
        measure(&format!("{name} {rows}x{cols}"), operands, softmax);
        let mut operands = Operands::default();
        let [y, dy, dx] = [(); 3].map(|()| operands.floats(rows * cols));
        let gradient = SoftmaxGrad { ty: Float::F32, rows, cols, log, y, dy, dx };
        measure(&format!("{name} {rows}x{cols}, gradient"), operands, gradient);
    }
}

fn cross_entropy(rows: usize, cols: usize) {
    let (ty, ignore_index, label) = (Float::F32, None, format!("cross-entropy {rows}x{cols}"));
    let mut operands = Operands::default();
    let logits = operands.floats(rows * cols);
    let target = Target::Index(operands.indices(rows, cols as u32));
    let loss = operands.floats(rows);
    measure(&label, operands, CrossEntropy { ty, rows, cols, ignore_index, logits, target, loss });
    let mut operands = Operands::default();
    let logits = operands.floats(rows * cols);
    let target = Target::Index(operands.indices(rows, cols as u32));
    let (dloss, dlogits) = (operands.floats(rows), operands.floats(rows * cols));
    let gradient =
        CrossEntropyGrad { ty, rows, cols, ignore_index, logits, target, dloss, dlogits };
    measure(&(label + ", gradient"), operands, gradient);
}

/// `count` rows of a table, and their gradient: an embedding.
fn rows_of_a_table(table: usize, width: usize, count: usize) {
    let label = |what: &str| format!("{what} {count} of {table}x{width}");
    let mut operands = Operands::default();
    let (src, index) = (operands.floats(table * width), operands.indices(count, table as u32));
    let dst = operands.floats(count * width);
    let gather = Gather { bytes: 4, outer: 1, axis: table, count, inner: width, src, index, dst };
    measure(&label("gather rows"), operands, gather);
    let mut operands = Operands::default();
    let (src, index) = (operands.floats(count * width), operands.indices(count, table as u32));
    let dst = operands.floats(table * width);
    let ty = Number::F32;
    let scatter = ScatterAdd { ty, outer: 1, axis: table, count, inner: width, index, src, dst };
    measure(&label("scatter-add rows"), operands, scatter);
}

/// Lines along an axis: `[outer, axis, inner]`.
fn lines([outer, axis, inner]: [usize; 3]) {
    let (n, ty) = (outer * axis * inner, Number::F32);
    let label = |what: &str| format!("{what} {outer}x{axis}x{inner}");
    let mut operands = Operands::default();
    let (x, y) = (operands.floats(n), operands.floats(n));
    let sort = Sort {
        ty,
        outer,
        axis,
        inner,
        descending: false,
        x,
        values: Some(y),
        indices: Some(operands.indices(n, 1)),
    };
    measure(&label("sort"), operands, sort);
    let mut operands = Operands::default();
    let (x, y) = (operands.floats(n), operands.floats(n));
    let sum = CumSum { ty, outer, axis, inner, reverse: false, exclusive: false, x, y };
    measure(&label("running sum"), operands, sum);
    let mut operands = Operands::default();
    let (x, y) = (operands.floats(n), operands.indices(outer * inner, 1));
    measure(
        &label("argmax"),
        operands,
        ArgReduce { kind: ArgKind::Max, ty, outer, axis, inner, x, y },
    );
}

fn copy(n: usize) {
    let mut operands = Operands::default();
    let (from, to) = (operands.floats(n), operands.floats(n));
    measure(&format!("copy {n}"), operands, Copy { from, to });
}

fn main() {
    begin();
    for kind in [PoolKind::Max, PoolKind::Avg] {
        pool(kind, [64, 28, 32], 2, 2);
        pool(kind, [64, 14, 64], 2, 2);
        pool(kind, [8, 56, 64], 3, 2);
    }
    softmax(128, 10);
    softmax(8192, 128);
    softmax(64, 10_000);
    cross_entropy(128, 10);
    cross_entropy(64, 10_000);
    rows_of_a_table(10_000, 128, 3200);
    rows_of_a_table(10_000, 256, 2048);
    lines([64, 1000, 1]);
    lines([8, 1000, 32]);
    [1 << 10, 1 << 16, 1 << 22].into_iter().for_each(copy);
}
