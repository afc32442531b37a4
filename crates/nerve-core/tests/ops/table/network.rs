//! Operations with kernels of their own: products, convolutions, pooling, softmax, losses.

use super::Order::{None as Never, Once, Smooth};
use super::*;
use nerve_core::ops::{
    Beyond, Conv2dOptions, ConvOptions, GridSample, Interpolation, PoolOptions, Resize, Resized,
    Rounding, Sampling, Windows,
};

fn products(all: &mut Vec<Case>) {
    use View::*;
    for (i, (a, va, b, vb, shape)) in [
        (&[2, 3][..], Plain, &[3, 4][..], Plain, &[2, 4][..]),
        (&[2, 3], Transposed, &[3, 2], Transposed, &[2, 2]),
        (&[2, 3], Strided, &[3, 2], Flipped, &[2, 2]),
        (&[1, 3], Cropped, &[3, 1], Strided, &[1, 1]),
        (&[3], Plain, &[3], Flipped, &[]),
        (&[3], Strided, &[3, 2], Plain, &[2]),
        (&[2, 3], Plain, &[3], Strided, &[2]),
        (&[2, 2, 3], Transposed, &[2, 3, 2], Plain, &[2, 2, 2]),
        (&[2, 2, 3], Plain, &[3, 2], Transposed, &[2, 2, 2]),
        (&[2, 3], Plain, &[2, 3, 2], Plain, &[2, 2, 2]),
        (&[2, 1, 2, 3], Plain, &[2, 3, 2], Plain, &[2, 2, 2, 2]),
        (&[3], Plain, &[2, 3, 2], Plain, &[2, 2]),
        (&[2, 2, 3], Plain, &[3], Plain, &[2, 2]),
        (&[2, 2, 3], Repeated, &[2, 3, 2], Plain, &[2, 2, 2]),
        (&[0, 3], Plain, &[3, 2], Plain, &[0, 2]),
        (&[2, 0], Plain, &[0, 3], Plain, &[2, 3]),
        (&[2, 3], Plain, &[3, 0], Plain, &[2, 0]),
        (&[0, 2, 3], Plain, &[0, 3, 2], Plain, &[0, 2, 2]),
        (&[5, 7], Plain, &[7, 6], Plain, &[5, 6]),
    ]
    .into_iter()
    .enumerate()
    {
        let seed = 30_000 + 10 * i as u64;
        let inputs = vec![floats(seed, a, va, (-2.0, 2.0)), floats(seed + 1, b, vb, (-2.0, 2.0))];
        all.push(Case::new("matmul", Smooth, inputs, |x| x[0].matmul(&x[1])).gives(shape));
    }
    // With what follows absorbed into the product.
    let inputs = || vec![float(1, &[4, 3]), float(2, &[3, 5]), float(3, &[5])];
    let linear = |x: &[Tensor]| x[0].matmul(&x[1]) + &x[2];
    all.push(Case::new("linear", Smooth, inputs(), linear).gives(&[4, 5]));
    let relu = |x: &[Tensor]| (x[0].matmul(&x[1]) + &x[2]).relu();
    all.push(Case::new("linear relu", Once, inputs(), relu).gives(&[4, 5]));
    let twice = |x: &[Tensor]| {
        let y = x[0].matmul(&x[1]);
        (&y + &x[2]).relu() + y
    };
    all.push(Case::new("linear relu used twice", Once, inputs(), twice).gives(&[4, 5]));
    let inputs = || vec![float(1, &[4, 3]), float(2, &[3, 1]), float(3, &[1])];
    all.push(Case::new("linear of one", Smooth, inputs(), linear).gives(&[4, 1]));
    let none = || vec![float(1, &[4, 0]), float(2, &[0, 5]), float(3, &[5])];
    all.push(Case::new("linear of none", Once, none(), relu).gives(&[4, 5]));
    // The bias is itself computed, from the same inputs.
    let bias = |x: &[Tensor]| x[0].matmul(&x[1]) + x[1].sum_axes(&[0], false).exp();
    let inputs = vec![float(1, &[4, 3]), floats(2, &[3, 5], Plain, (-0.9, 0.4))];
    all.push(Case::new("computed bias", Smooth, inputs, bias).gives(&[4, 5]));
    let column = |x: &[Tensor]| x[0].matmul(&x[1]) + &x[2];
    let inputs = vec![float(1, &[4, 3]), float(2, &[3, 4]), float(3, &[4, 1])];
    all.push(Case::new("column added", Smooth, inputs, column).gives(&[4, 4]));
}

fn recurrent(all: &mut Vec<Case>) {
    let flat = |t: &Tensor| t.reshape([t.numel()]);
    for (i, [batch, steps, units]) in
        [[2, 3, 2], [1, 1, 1], [3, 2, 3], [0, 2, 2], [2, 0, 2]].into_iter().enumerate()
    {
        for reverse in [false, true] {
            let seed = 35_000 + 20 * i as u64 + u64::from(reverse);
            let inputs = |gates: usize, third: &[usize]| {
                let range = (-1.5, 1.5);
                let x = [batch, steps, gates * units];
                let mut all = vec![
                    floats(seed, &x, View::Plain, range),
                    floats(seed + 5, &[gates * units, units], View::Transposed, range),
                    floats(seed + 10, &[batch, units], View::Plain, range),
                ];
                if !third.is_empty() {
                    all.push(floats(seed + 15, third, View::Plain, range));
                }
                all
            };
            let state = [batch, units];
            all.push(Case::new("lstm", Smooth, inputs(4, &state), move |x| {
                let [y, h, c] = x[0].lstm(&x[1], &x[2], &x[3], reverse);
                Tensor::concat(&[flat(&y), flat(&h), flat(&c)], 0)
            }));
            all.push(
                Case::new("lstm last", Smooth, inputs(4, &[]), move |x| {
                    x[0].lstm(&x[1], &x[2], &x[2], reverse)[1].clone()
                })
                .gives(&[batch, units]),
            );
            all.push(
                Case::new("lstm states", Smooth, inputs(4, &state), move |x| {
                    let zero = x[2].zeros_like();
                    let [y, _, c] = x[0].lstm(&x[1], &zero, &x[2], reverse);
                    y + (c * &x[3]).unsqueeze(1)
                })
                .gives(&[batch, steps, units]),
            );
            all.push(Case::new("gru", Smooth, inputs(3, &[3 * units]), move |x| {
                let [y, h] = x[0].gru(&x[1], &x[3], &x[2], reverse);
                Tensor::concat(&[flat(&y), flat(&h)], 0)
            }));
            all.push(
                Case::new("gru last", Smooth, inputs(3, &[3 * units]), move |x| {
                    x[0].gru(&x[1], &x[3], &x[2], reverse)[1].clone()
                })
                .gives(&[batch, units]),
            );
            for relu in [false, true] {
                let order = if relu { Once } else { Smooth };
                all.push(
                    Case::new(format!("rnn {relu}"), order, inputs(1, &[]), move |x| {
                        let [y, h] = x[0].rnn(&x[1], &x[2], relu, reverse);
                        y.square() + h.unsqueeze(1)
                    })
                    .gives(&[batch, steps, units]),
                );
            }
        }
    }
}

fn convolutions(all: &mut Vec<Case>) {
    let plain = Conv2dOptions::default();
    let (s, p) = (|stride| Conv2dOptions { stride, ..plain }, [(1, 2), (0, 1)]);
    for (i, (x, w, options, y)) in [
        (&[1, 1, 3, 3][..], &[1, 1, 2, 2][..], plain, &[1, 1, 2, 2][..]),
        (&[2, 3, 4, 4], &[2, 3, 3, 3], plain, &[2, 2, 2, 2]),
        (&[1, 2, 5, 4], &[3, 2, 2, 3], s([2, 1]), &[1, 3, 2, 2]),
        (&[1, 2, 6, 5], &[2, 2, 2, 2], s([3, 2]), &[1, 2, 2, 2]),
        (&[1, 2, 3, 3], &[2, 2, 2, 2], Conv2dOptions { padding: p, ..plain }, &[1, 2, 5, 3]),
        (&[1, 2, 5, 5], &[2, 2, 2, 2], Conv2dOptions { dilation: [2, 3], ..plain }, &[1, 2, 3, 2]),
        (&[1, 4, 3, 3], &[6, 2, 2, 2], Conv2dOptions { groups: 2, ..plain }, &[1, 6, 2, 2]),
        (&[1, 3, 3, 3], &[3, 1, 2, 2], Conv2dOptions { groups: 3, ..plain }, &[1, 3, 2, 2]),
        (&[2, 3, 2, 2], &[4, 3, 1, 1], plain, &[2, 4, 2, 2]),
        (
            &[1, 4, 5, 5],
            &[2, 2, 2, 2],
            Conv2dOptions { stride: [2, 2], padding: p, dilation: [2, 1], groups: 2 },
            &[1, 2, 3, 3],
        ),
        (&[0, 2, 3, 3], &[2, 2, 2, 2], plain, &[0, 2, 2, 2]),
    ]
    .into_iter()
    .enumerate()
    {
        for view in [View::Plain, View::Flipped] {
            let seed = 40_000 + 10 * i as u64;
            let inputs =
                vec![floats(seed, x, view, (-2.0, 2.0)), floats(seed + 1, w, view, (-2.0, 2.0))];
            let conv = move |x: &[Tensor]| x[0].conv2d(&x[1], options);
            all.push(Case::new("conv2d", Smooth, inputs, conv).gives(y));
        }
    }
    let inputs = vec![float(1, &[2, 2, 6]), float(2, &[3, 2, 3])];
    let conv = |x: &[Tensor]| x[0].conv1d(&x[1], 2, (1, 0), 1, 1);
    all.push(Case::new("conv1d", Smooth, inputs, conv).gives(&[2, 3, 3]));
    let inputs = vec![float(1, &[2, 2, 4, 4]), float(2, &[3, 2, 2, 2]), float(3, &[3, 1, 1])];
    let block = move |x: &[Tensor]| {
        let y = (x[0].conv2d(&x[1], plain) + &x[2]).relu();
        y.max_pool2d([2, 2], [1, 1], [0, 0])
    };
    all.push(Case::new("conv2d, bias, relu, pool", Once, inputs, block).gives(&[2, 3, 2, 2]));
}

fn pooling(all: &mut Vec<Case>) {
    for (i, (x, kernel, stride, padding, y)) in [
        (&[1, 1, 4, 4][..], [2, 2], [2, 2], [0, 0], &[1, 1, 2, 2][..]),
        (&[2, 3, 4, 5], [2, 3], [1, 2], [1, 1], &[2, 3, 5, 3]),
        (&[1, 2, 5, 5], [3, 3], [2, 2], [1, 1], &[1, 2, 3, 3]),
        (&[1, 2, 3, 3], [3, 3], [1, 1], [0, 0], &[1, 2, 1, 1]),
        (&[1, 1, 17, 18], [16, 16], [1, 2], [0, 0], &[1, 1, 2, 2]),
        (&[0, 2, 3, 3], [2, 2], [1, 1], [0, 0], &[0, 2, 2, 2]),
    ]
    .into_iter()
    .enumerate()
    {
        for view in [View::Plain, View::Transposed] {
            let input = || vec![floats(50_000 + i as u64, x, view, (-3.0, 3.0))];
            let max = move |x: &[Tensor]| x[0].max_pool2d(kernel, stride, padding);
            all.push(Case::new("max_pool2d", Once, input(), max).gives(y));
            let rectified = move |x: &[Tensor]| (x[0].max_pool2d(kernel, stride, padding)).relu();
            all.push(Case::new("max_pool2d, relu", Once, input(), rectified).gives(y));
            for pad in [false, true] {
                let mean = move |x: &[Tensor]| x[0].avg_pool2d(kernel, stride, padding, pad);
                all.push(Case::new("avg_pool2d", Smooth, input(), mean).gives(y));
            }
        }
    }
}

/// Made of the ones above: along three axes, and transposed.
fn along_more_axes(all: &mut Vec<Case>) {
    let options =
        ConvOptions { stride: [1, 2, 1], padding: [(1, 0), (0, 0), (0, 0)], ..Default::default() };
    let inputs = vec![float(1, &[1, 2, 3, 3, 2]), float(2, &[2, 2, 2, 2, 1])];
    let conv = move |x: &[Tensor]| x[0].conv(&x[1], options);
    all.push(Case::new("conv3d", Smooth, inputs, conv).gives(&[1, 2, 3, 1, 2]));
    let inputs = vec![float(1, &[1, 2, 2, 3]), float(2, &[2, 3, 2, 2])];
    let options = ConvOptions { stride: [2, 1], ..Default::default() };
    let conv = move |x: &[Tensor]| x[0].conv_transpose(&x[1], options, [1, 0]);
    all.push(Case::new("conv_transpose2d", Smooth, inputs, conv).gives(&[1, 3, 5, 4]));
    let windows =
        PoolOptions { kernel: [2, 2, 1], stride: [1, 2, 1], padding: [(0, 1), (0, 1), (0, 0)] };
    let input = || vec![float(3, &[1, 2, 2, 3, 2])];
    let max = move |x: &[Tensor]| x[0].max_pool(windows);
    all.push(Case::new("max_pool3d", Once, input(), max).gives(&[1, 2, 2, 2, 2]));
    let mean = move |x: &[Tensor]| x[0].avg_pool(windows, [(0, 0); 3]);
    all.push(Case::new("avg_pool3d", Smooth, input(), mean).gives(&[1, 2, 2, 2, 2]));
}

fn norms(all: &mut Vec<Case>) {
    for (i, (shape, axis)) in [(&[4, 3][..], 1), (&[2, 3, 2, 2], 1), (&[2, 2, 3], -1), (&[2, 3], 0)]
        .into_iter()
        .enumerate()
    {
        for view in [View::Plain, View::Transposed] {
            let channels = shape[if axis < 0 { shape.len() - 1 } else { axis as usize }];
            let seed = 55_000 + 10 * i as u64;
            let x = floats(seed, shape, view, (-2.0, 3.0));
            let inputs = vec![x, float(seed + 1, &[channels]), float(seed + 2, &[channels])];
            let norm = move |x: &[Tensor]| x[0].batch_norm(&x[1], &x[2], axis, 0.1);
            all.push(Case::new("batch_norm", Smooth, inputs, norm).gives(shape));
        }
    }
    let moments = |x: &[Tensor]| {
        let (mean, variance) = x[0].batch_moments(1);
        Tensor::concat(&[mean, variance], 0)
    };
    all.push(Case::new("batch_moments", Smooth, vec![float(1, &[3, 2, 2])], moments).gives(&[4]));
}

fn losses(all: &mut Vec<Case>) {
    for (i, (shape, axis, view)) in [
        (&[3][..], 0isize, View::Plain),
        (&[1], 0, View::Plain),
        (&[2, 3], 1, View::Strided),
        (&[2, 3], 0, View::Transposed),
        (&[2, 3, 2], 1, View::Flipped),
        (&[0, 3], 1, View::Plain),
        (&[3, 0], 1, View::Plain),
        (&[2, 19], -1, View::Plain),
    ]
    .into_iter()
    .enumerate()
    {
        let x = || vec![floats(60_000 + i as u64, shape, view, (-2.0, 2.0))];
        let soft = move |x: &[Tensor]| x[0].softmax(axis);
        all.push(Case::new("softmax", Smooth, x(), soft).gives(shape));
        let log = move |x: &[Tensor]| x[0].log_softmax(axis);
        all.push(Case::new("log_softmax", Smooth, x(), log).gives(shape));
    }
    for ignore in [None, Some(-100), Some(1)] {
        for view in [View::Plain, View::Transposed] {
            let logits = floats(70_000, &[4, 3], view, (-2.0, 2.0));
            let inputs = vec![logits, ints(70_001, &[4], (0, 3))];
            let loss = move |x: &[Tensor]| x[0].cross_entropy(&x[1], ignore);
            all.push(Case::new("cross_entropy", Smooth, inputs, loss).gives(&[4]));
        }
    }
    let inputs = vec![float(70_002, &[0, 3]), ints(1, &[0], (0, 3))];
    let loss = |x: &[Tensor]| x[0].cross_entropy(&x[1], None);
    all.push(Case::new("cross_entropy", Smooth, inputs, loss).gives(&[0]));
    let inputs = vec![float(70_003, &[3, 4]), floats(70_004, &[3, 4], View::Plain, (0.1, 0.9))];
    all.push(Case::new("cross_entropy", Smooth, inputs, loss).gives(&[3]));
}

fn layer_norms(all: &mut Vec<Case>) {
    for (i, (x, w, view)) in [
        (&[2, 5][..], &[5][..], View::Plain),
        (&[3, 4], &[4], View::Transposed),
        (&[2, 3, 4], &[3, 4], View::Strided),
        (&[2, 2, 3], &[3], View::Repeated),
        (&[2, 19], &[19], View::Flipped),
        (&[1, 2], &[2], View::Plain),
        (&[0, 3], &[3], View::Plain),
        (&[3, 0], &[0], View::Plain),
    ]
    .into_iter()
    .enumerate()
    {
        let seed = 80_000 + 10 * i as u64;
        let inputs = || {
            vec![
                floats(seed, x, view, (-2.0, 2.0)),
                floats(seed + 1, w, View::Flipped, (-2.0, 2.0)),
                float(seed + 2, w),
            ]
        };
        let layer = |x: &[Tensor]| x[0].layer_norm(&x[1], &x[2], 0.3);
        all.push(Case::new("layer_norm", Smooth, inputs(), layer).gives(x));
        let rms = |x: &[Tensor]| x[0].rms_norm(&x[1], 0.3);
        all.push(Case::new("rms_norm", Smooth, inputs()[..2].to_vec(), rms).gives(x));
    }
}

fn attention(all: &mut Vec<Case>) {
    for (i, (q, k, v, y)) in [
        (&[1, 2, 3, 2][..], &[1, 2, 3, 2][..], &[1, 2, 3, 2][..], &[1, 2, 3, 2][..]),
        (&[2, 1, 2, 3], &[2, 1, 4, 3], &[2, 1, 4, 1], &[2, 1, 2, 1]),
        (&[1, 1, 4, 1], &[1, 1, 2, 1], &[1, 1, 2, 2], &[1, 1, 4, 2]),
        (&[0, 1, 2, 3], &[0, 1, 4, 3], &[0, 1, 4, 1], &[0, 1, 2, 1]),
    ]
    .into_iter()
    .enumerate()
    {
        for (view, causal) in [(View::Plain, false), (View::Transposed, true)] {
            let seed = 90_000 + 10 * i as u64;
            let draw = |at: u64, shape: &[usize]| floats(seed + at, shape, view, (-1.5, 1.5));
            let inputs = || vec![draw(0, q), draw(1, k), draw(2, v)];
            let attend = move |x: &[Tensor]| {
                x[0].scaled_dot_product_attention(&x[1], &x[2], x.get(3), causal, None)
            };
            all.push(Case::new("attention", Smooth, inputs(), attend).gives(y));
            let mut masked = inputs();
            masked.push(draw(3, &[1, q[1], q[2], k[2]]));
            all.push(Case::new("attention, masked", Smooth, masked, attend).gives(y));
        }
    }
    // Queries, keys and values from one product, as a layer makes them.
    let inputs = vec![float(1, &[2, 3, 4]), floats(2, &[4, 12], View::Plain, (-1.0, 1.0))];
    let itself = |x: &[Tensor]| {
        let all = x[0].matmul(&x[1]);
        let [q, k, v] = [0, 1, 2]
            .map(|i| all.slice(2, 4 * i, 4 * i + 4).reshape([2, 3, 2, 2]).permute(&[0, 2, 1, 3]));
        let y = q.scaled_dot_product_attention(&k, &v, None, true, None);
        y.permute(&[0, 2, 1, 3]).reshape([2, 3, 4])
    };
    all.push(Case::new("self-attention", Smooth, inputs, itself).gives(&[2, 3, 4]));
}

/// Pooling, resizing and sampling as files from elsewhere ask for them.
fn images(all: &mut Vec<Case>) {
    let windows = || Windows {
        kernel: vec![2, 3],
        stride: vec![2, 1],
        dilation: vec![1, 2],
        padding: vec![(1, 0), (1, 2)],
    };
    let x = |seed| vec![float(seed, &[1, 2, 3, 4])];
    let max = move |x: &[Tensor]| x[0].max_windows(&windows());
    all.push(Case::new("max_windows", Once, x(1), max).gives(&[1, 2, 2, 3]));
    for kind in [Kind::Int, Kind::Long, Kind::Byte, Kind::Small] {
        let whole = vec![whole(kind, 1, &[1, 2, 3, 4], (0, 100))];
        all.push(Case::new("max_windows", Never, whole, max).gives(&[1, 2, 2, 3]));
    }
    let place = move |x: &[Tensor]| x[0].argmax_windows(&windows());
    all.push(Case::new("argmax_windows", Never, x(2), place).gives(&[1, 2, 2, 3]));
    let mean = move |x: &[Tensor]| x[0].mean_windows(&windows(), &[(0, 0), (1, 1)]);
    all.push(Case::new("mean_windows", Smooth, x(3), mean).gives(&[1, 2, 2, 3]));
    let norm = move |x: &[Tensor]| x[0].norm_windows(&windows(), 3.0);
    all.push(Case::new("norm_windows", Once, x(4), norm).gives(&[1, 2, 2, 3]));
    for interpolation in [
        Interpolation::Nearest(Rounding::HalfDown),
        Interpolation::Linear,
        Interpolation::Cubic(-0.75),
    ] {
        for antialias in [false, true] {
            let how = Resize { interpolation, antialias, ..Resize::default() };
            let f = move |x: &[Tensor]| {
                let shape = x[0].shape();
                x[0].resize(&[Resized::to(shape, 2, 5), Resized::by(shape, 3, 0.3)], &how)
            };
            let name = format!("resize {interpolation:?} {antialias}");
            all.push(Case::new(name, Smooth, x(5), f).gives(&[1, 2, 5, 1]));
        }
    }
    for sampling in [Sampling::Nearest, Sampling::Linear, Sampling::Cubic] {
        for beyond in [Beyond::Zeros, Beyond::Border, Beyond::Reflection] {
            let how = GridSample { sampling, beyond, align_corners: false };
            let mut inputs = x(6);
            // No gradient reaches the places of the nearest.
            if sampling != Sampling::Nearest {
                inputs.push(floats(7, &[1, 2, 3, 2], View::Plain, (-1.4, 1.4)));
            }
            let f = move |x: &[Tensor]| match x {
                [x, at] => x.grid_sample(at, how),
                [x, ..] => {
                    let at = Tensor::arange(12).to_dtype(x.dtype()) * 0.23 - 1.37;
                    x.grid_sample(&at.reshape([1, 2, 3, 2]), how)
                }
                [] => unreachable!("an image"),
            };
            all.push(Case::new(format!("{how:?}"), Once, inputs, f).gives(&[1, 2, 2, 3]));
        }
    }
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    images(&mut all);
    layer_norms(&mut all);
    attention(&mut all);
    products(&mut all);
    recurrent(&mut all);
    convolutions(&mut all);
    pooling(&mut all);
    along_more_axes(&mut all);
    norms(&mut all);
    losses(&mut all);
    all
}
