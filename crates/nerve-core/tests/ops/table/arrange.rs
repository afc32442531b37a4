//! Operations that move, join, pick and spread elements.

use super::Order::{None as Never, Once, Smooth};
use super::*;
use nerve_core::DType;
use nerve_core::ops::Scattering;

type Method = fn(&Tensor) -> Tensor;
/// Name, shape, how it lies, call, shape of the result.
type Row = (&'static str, &'static [usize], View, Method, &'static [usize]);

const MOVES: &[Row] = &[
    ("reshape", &[2, 3], View::Plain, |x| x.reshape([3, 2]), &[3, 2]),
    ("reshape", &[2, 3], View::Transposed, |x| x.reshape([6]), &[6]),
    ("reshape", &[2, 6], View::Transposed, |x| x.reshape([2, 2, 3]), &[2, 2, 3]),
    ("reshape", &[2, 3], View::Flipped, |x| x.reshape([3, 1, 2]), &[3, 1, 2]),
    ("reshape", &[], View::Plain, |x| x.reshape([1, 1]), &[1, 1]),
    ("reshape", &[1, 1], View::Plain, |x| x.reshape([]), &[]),
    ("reshape", &[0, 3], View::Plain, |x| x.reshape([2, 0]), &[2, 0]),
    ("reshape", &[3, 2], View::Repeated, |x| x.reshape([6]), &[6]),
    ("flatten", &[2, 3, 2], View::Transposed, |x| x.flatten(1), &[2, 6]),
    ("flatten", &[], View::Plain, |x| x.flatten(0), &[1]),
    ("unsqueeze", &[2, 3], View::Strided, |x| x.unsqueeze(1), &[2, 1, 3]),
    ("squeeze", &[2, 1, 3], View::Cropped, |x| x.squeeze(-2), &[2, 3]),
    ("permute", &[2, 3, 4], View::Plain, |x| x.permute(&[2, 0, 1]), &[4, 2, 3]),
    ("permute", &[2, 0, 4], View::Plain, |x| x.permute(&[2, 0, 1]), &[4, 2, 0]),
    ("permute", &[], View::Plain, |x| x.permute(&[]), &[]),
    ("transpose", &[2, 3, 4], View::Transposed, |x| x.transpose(0, -1), &[4, 3, 2]),
    ("t", &[2, 3], View::Strided, |x| x.t(), &[3, 2]),
    (
        "permute, sum",
        &[2, 3, 4],
        View::Plain,
        |x| x.permute(&[2, 0, 1]).sum_axes(&[1], false),
        &[4, 3],
    ),
    ("broadcast_to", &[3], View::Plain, |x| x.broadcast_to([2, 3]), &[2, 3]),
    ("broadcast_to", &[2, 1], View::Cropped, |x| x.broadcast_to([3, 2, 2]), &[3, 2, 2]),
    ("broadcast_to", &[], View::Plain, |x| x.broadcast_to([2, 2]), &[2, 2]),
    ("broadcast_to", &[1], View::Plain, |x| x.broadcast_to([0]), &[0]),
    ("broadcast, reshape", &[2, 1], View::Plain, |x| x.broadcast_to([2, 3]).reshape([6]), &[6]),
    ("broadcast, permute", &[2, 1], View::Plain, |x| x.broadcast_to([2, 3]).t(), &[3, 2]),
    ("sum_to", &[2, 3], View::Plain, |x| x.sum_to(&[1, 3].into()), &[1, 3]),
    ("sum_to", &[2, 3], View::Transposed, |x| x.sum_to(&[].into()), &[]),
    ("slice", &[4, 3], View::Plain, |x| x.slice(0, 1, 3), &[2, 3]),
    ("slice", &[4, 3], View::Transposed, |x| x.slice(-1, 2, 3), &[4, 1]),
    ("slice", &[4, 3], View::Flipped, |x| x.slice(1, 1, 1), &[4, 0]),
    ("slice", &[4], View::Plain, |x| x.slice(0, 4, 4), &[0]),
    ("slice of slice", &[6], View::Plain, |x| x.slice(0, 1, 6).slice(0, 2, 4), &[2]),
    ("slice_by", &[7], View::Plain, |x| x.slice_by(0, 1, 2, 3), &[3]),
    ("slice_by", &[7], View::Flipped, |x| x.slice_by(0, 6, -3, 3), &[3]),
    ("slice_by", &[2, 5], View::Transposed, |x| x.slice_by(1, 4, -1, 4), &[2, 4]),
    ("flip", &[2, 3], View::Strided, |x| x.flip(&[0, 1]), &[2, 3]),
    ("flip", &[0, 3], View::Plain, |x| x.flip(&[0, 1]), &[0, 3]),
    ("flip", &[], View::Plain, |x| x.flip(&[]), &[]),
    ("split", &[5, 2], View::Transposed, |x| x.split(0, &[2, 3])[1].clone(), &[3, 2]),
    ("pad", &[3], View::Flipped, |x| x.pad(&[(1, 2)], 0.5), &[6]),
    ("pad", &[2, 2], View::Transposed, |x| x.pad(&[(0, 1), (2, 0)], -1.0), &[3, 4]),
    ("pad", &[], View::Plain, |x| x.pad(&[], 1.0), &[]),
    ("pad", &[0], View::Plain, |x| x.pad(&[(1, 1)], 2.0), &[2]),
    ("pad", &[0, 3], View::Plain, |x| x.pad(&[(0, 0), (1, 1)], 2.0), &[0, 5]),
    ("pad", &[3, 0], View::Plain, |x| x.pad(&[(1, 0), (1, 1)], 2.0), &[4, 2]),
    ("pad_general", &[3], View::Plain, |x| x.pad_general(&[1], &[2], &[2], 0.0), &[10]),
    ("pad_general", &[4], View::Plain, |x| x.pad_general(&[-1], &[2], &[0], 3.0), &[5]),
    (
        "pad_general",
        &[3, 2],
        View::Strided,
        |x| x.pad_general(&[-2, 0], &[0, -1], &[1, 1], 0.0),
        &[3, 2],
    ),
    ("pad, slice", &[3], View::Plain, |x| x.pad(&[(2, 2)], 0.0).slice(0, 1, 6), &[5]),
    ("pad, slice", &[3], View::Plain, |x| x.pad(&[(2, 2)], 0.0).slice(0, 2, 5), &[3]),
    ("pad, slice", &[3], View::Plain, |x| x.pad(&[(2, 2)], 0.0).slice(0, 3, 7), &[4]),
    ("pad of permuted", &[2, 3], View::Plain, |x| x.t().pad(&[(1, 0), (0, 2)], 0.0), &[4, 4]),
    (
        "stack of itself",
        &[2, 3],
        View::Transposed,
        |x| Tensor::stack(&[x.clone(), x.clone()], 1),
        &[2, 2, 3],
    ),
    (
        "concat of itself",
        &[2, 3],
        View::Plain,
        |x| Tensor::concat(&[x.flip(&[0]), x * 2.0, x.clone()], 0),
        &[6, 3],
    ),
    (
        "concat of computed",
        &[1, 3],
        View::Plain,
        |x| Tensor::concat(&[x * 2.0, x.exp(), x + 1.0], 1),
        &[1, 9],
    ),
    (
        "concat of computed",
        &[2, 2],
        View::Plain,
        |x| Tensor::concat(&[x * 2.0, (x + 1.0).slice(0, 0, 1)], 0),
        &[3, 2],
    ),
    (
        "concat of concats",
        &[2],
        View::Plain,
        |x| {
            let inner = Tensor::concat(&[x * 2.0, x.exp()], 0);
            Tensor::concat(&[x * 3.0, inner.clone(), inner * 2.0], 0)
        },
        &[10],
    ),
    (
        "concat of reshaped",
        &[2, 2],
        View::Plain,
        |x| {
            Tensor::concat(
                &[(x * 2.0).reshape([4]), x.exp().reshape([4]), (x * 2.0).t().reshape([4])],
                0,
            )
        },
        &[12],
    ),
    (
        "concat of sums",
        &[2, 3],
        View::Plain,
        |x| {
            Tensor::concat(
                &[x.sum_axes(&[0], false), x.sum_axes(&[1], false), x.matmul(&x.t()).reshape([4])],
                0,
            )
        },
        &[9],
    ),
];

fn joined(all: &mut Vec<Case>) {
    let concat = |along: isize| move |x: &[Tensor]| Tensor::concat(x, along);
    let three = vec![
        float(1, &[2, 3]),
        floats(2, &[2, 1], View::Strided, (-2.0, 2.0)),
        floats(3, &[2, 2], View::Transposed, (-2.0, 2.0)),
    ];
    all.push(Case::new("concat", Smooth, three, concat(1)).gives(&[2, 6]));
    let rows = vec![float(1, &[1, 3]), float(2, &[0, 3]), float(3, &[2, 3])];
    all.push(Case::new("concat", Smooth, rows, concat(-2)).gives(&[3, 3]));
    all.push(Case::new("concat", Smooth, vec![float(1, &[3])], concat(0)).gives(&[3]));
    let none = vec![float(1, &[2, 0]), float(2, &[3, 0])];
    all.push(Case::new("concat", Smooth, none, concat(0)).gives(&[5, 0]));
    // Bytes at places that are no multiples of four.
    let odd = vec![bytes(1, &[3]), bytes(2, &[5]), bytes(3, &[1])];
    all.push(Case::new("concat", Never, odd, concat(0)).gives(&[9]));
    let odd = vec![bools(1, &[3]), bools(2, &[5])];
    all.push(Case::new("concat", Never, odd, concat(0)).gives(&[8]));
    let computed = |x: &[Tensor]| Tensor::concat(&[&x[0] + 1, &x[1] * 3, x[0].slice(0, 1, 3)], 0);
    let odd = vec![bytes(1, &[3]), bytes(2, &[5])];
    all.push(Case::new("concat of computed bytes", Never, odd, computed).gives(&[10]));
    let cut = |x: &[Tensor]| x[0].slice(0, 1, 6).slice_by(0, 4, -2, 2);
    all.push(Case::new("slice", Never, vec![bytes(1, &[9])], cut).gives(&[2]));
    all.push(Case::new("slice", Never, vec![bools(1, &[9])], cut).gives(&[2]));
    let pad = |x: &[Tensor]| x[0].slice(1, 1, 3).pad(&[(1, 0), (1, 1)], 9.0).flip(&[1]);
    all.push(Case::new("pad", Never, vec![bytes(1, &[3, 3])], pad).gives(&[4, 4]));
    for kind in [Kind::Int, Kind::Long, Kind::Small] {
        let x = || whole(kind, 1, &[3, 3], (-9, 9));
        all.push(Case::new("pad", Never, vec![x()], pad).gives(&[4, 4]));
        all.push(Case::new("concat", Never, vec![x(), x()], concat(1)).gives(&[3, 6]));
        let moves = |x: &[Tensor]| x[0].slice(0, 1, 3).t().reshape([6]).broadcast_to([2, 6]);
        all.push(Case::new("moves", Never, vec![x()], moves).gives(&[2, 6]));
    }
    all.push(Case::new("pad", Never, vec![bools(1, &[3, 3])], pad).gives(&[4, 4]));
    let stacked = vec![float(1, &[2, 3]), floats(2, &[2, 3], View::Flipped, (-2.0, 2.0))];
    all.push(Case::new("stack", Smooth, stacked, |x| Tensor::stack(x, 2)).gives(&[2, 3, 2]));
    let scalars = vec![float(1, &[]), float(2, &[]), float(3, &[])];
    all.push(Case::new("stack", Smooth, scalars, |x| Tensor::stack(x, 0)).gives(&[3]));
}

fn picked(all: &mut Vec<Case>) {
    for (shape, axis, index, result) in [
        (&[4, 3][..], 0isize, &[5][..], &[5, 3][..]),
        (&[2, 4, 3], -2, &[2, 2], &[2, 2, 2, 3]),
        (&[4], 0, &[], &[]),
        (&[4, 2], 0, &[0], &[0, 2]),
        (&[0, 4], 1, &[3], &[0, 3]),
    ] {
        for view in [View::Plain, View::Transposed] {
            let inputs = vec![floats(4, shape, view, (-2.0, 2.0)), ints(9, index, (0, 4))];
            let pick = move |x: &[Tensor]| x[0].index_select(axis, &x[1]);
            all.push(Case::new("index_select", Smooth, inputs, pick).gives(result));
        }
    }
    let inputs = vec![bytes(1, &[5, 3]), ints(9, &[7], (0, 4))];
    // The table of bytes starts at an odd address.
    let pick = |x: &[Tensor]| x[0].slice(0, 1, 5).index_select(0, &x[1]);
    all.push(Case::new("index_select", Never, inputs, pick).gives(&[7, 3]));
    for kind in [Kind::Int, Kind::Long, Kind::Small] {
        for index in [Kind::Int, Kind::Long] {
            let inputs = || vec![whole(kind, 1, &[5], (-9, 9)), whole(index, 9, &[7], (0, 5))];
            let pick = |x: &[Tensor]| x[0].index_select(0, &x[1]);
            all.push(Case::new("index_select", Never, inputs(), pick).gives(&[7]));
            let pick = |x: &[Tensor]| x[0].gather(0, &x[1]);
            all.push(Case::new("gather", Never, inputs(), pick).gives(&[7]));
        }
    }
}

fn elements(all: &mut Vec<Case>) {
    let shape = &[3usize, 4][..];
    for view in [View::Plain, View::Transposed, View::Flipped] {
        let x = |seed| floats(seed, shape, view, (-2.0, 2.0));
        let inputs = vec![x(1), ints(9, &[3, 2], (0, 4))];
        all.push(Case::new("gather", Smooth, inputs, |x| x[0].gather(1, &x[1])).gives(&[3, 2]));
        let inputs = vec![x(2), ints(9, &[5, 4], (0, 3))];
        all.push(Case::new("gather", Smooth, inputs, |x| x[0].gather(0, &x[1])).gives(&[5, 4]));
        let inputs = vec![x(3), ints(9, &[2, 3], (0, 4)), float(4, &[2, 3])];
        let add = |x: &[Tensor]| x[0].scatter_add(1, &x[1], &x[2]);
        all.push(Case::new("scatter_add", Smooth, inputs, add).gives(shape));
        for axis in [0, -1] {
            for descending in [false, true] {
                let sort = move |x: &[Tensor]| x[0].sort(axis, descending).0;
                all.push(Case::new("sort", Smooth, vec![x(5)], sort).gives(shape));
                let order = move |x: &[Tensor]| x[0].argsort(axis, descending);
                all.push(Case::new("argsort", Never, vec![x(5)], order).gives(shape));
                let top = move |x: &[Tensor]| x[0].topk(2, axis, descending).0;
                all.push(Case::new("topk", Smooth, vec![x(6)], top));
            }
            let max = move |x: &[Tensor]| x[0].argmax(axis, true);
            all.push(Case::new("argmax", Never, vec![x(7)], max));
            let min = move |x: &[Tensor]| x[0].argmin(axis, false);
            all.push(Case::new("argmin", Never, vec![x(7)], min));
            for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)]
            {
                let sum = move |x: &[Tensor]| x[0].cumsum_general(axis, exclusive, reverse);
                all.push(Case::new("cumsum", Smooth, vec![x(8)], sum).gives(shape));
            }
            let product = move |x: &[Tensor]| x[0].cumprod(axis);
            all.push(Case::new("cumprod", Smooth, vec![x(9)], product).gives(shape));
        }
    }
    let none = || vec![float(1, &[0, 3])];
    all.push(Case::new("sort", Smooth, none(), |x| x[0].sort(1, false).0).gives(&[0, 3]));
    all.push(Case::new("argmax", Never, none(), |x| x[0].argmax(1, false)).gives(&[0]));
    all.push(Case::new("cumsum", Smooth, none(), |x| x[0].cumsum(0)).gives(&[0, 3]));
    for kind in [Kind::Float, Kind::Int, Kind::Long, Kind::Byte] {
        let how = [Scattering::Replace, Scattering::Add, Scattering::Max, Scattering::Min];
        for how in how.into_iter().chain((kind != Kind::Float).then_some(Scattering::Mul)) {
            // Powers of two, whose products wrap around exactly.
            let x = |seed, shape: &[usize]| match kind {
                Kind::Float => float(seed, shape),
                _ => whole(kind, seed, shape, (0, 3)),
            };
            let inputs = || vec![x(3, &[3, 4]), ints(9, &[2, 3], (0, 4)), x(4, &[2, 3])];
            let order = if how == Scattering::Mul { Never } else { Once };
            let store = move |x: &[Tensor]| x[0].scatter(1, &x[1], &x[2], how);
            all.push(Case::new(format!("scatter {how:?}"), order, inputs(), store).gives(&[3, 4]));
            let store = move |x: &[Tensor]| x[0].scatter_nd(&x[1], &x[2], how);
            let inputs = vec![x(3, &[4, 2, 3]), ints(9, &[3, 2], (-2, 2)), x(4, &[3, 3])];
            all.push(Case::new(format!("scatter_nd {how:?}"), order, inputs, store));
        }
        let x = if kind == Kind::Float {
            float(3, &[2, 3, 4])
        } else {
            whole(kind, 3, &[2, 3, 4], (0, 9))
        };
        for (batch, at) in [(0, [3, 2]), (1, [2, 2])] {
            let inputs = vec![x.clone(), ints(9, &at, (-2, 2))];
            let order = if kind == Kind::Float { Smooth } else { Never };
            all.push(Case::new("gather_nd", order, inputs, move |x| x[0].gather_nd(&x[1], batch)));
        }
    }
    for kind in [Kind::Int, Kind::Long] {
        let [a, b] = [(1, [2, 3, 4]), (2, [1, 4, 2])].map(|(i, s)| whole(kind, i, &s, (-9, 9)));
        let f = |x: &[Tensor]| x[0].matmul(&x[1]);
        all.push(Case::new("matmul of integers", Never, vec![a, b], f).gives(&[2, 3, 2]));
        let x = || vec![whole(kind, 3, &[4, 5], (-3, 3))];
        all.push(Case::new("cumsum", Never, x(), |x| x[0].cumsum(0)).gives(&[4, 5]));
        let add = |x: &[Tensor]| x[0].scatter_add(1, &x[1], &x[0]);
        let inputs = vec![whole(kind, 3, &[4, 5], (-3, 3)), whole(kind, 4, &[4, 5], (0, 5))];
        all.push(Case::new("scatter_add", Never, inputs, add).gives(&[4, 5]));
    }
    for kind in [Kind::Int, Kind::Long, Kind::Small] {
        let x = || vec![whole(kind, 3, &[4, 5], (-3, 3))];
        all.push(Case::new("argsort", Never, x(), |x| x[0].argsort(1, false)).gives(&[4, 5]));
        all.push(Case::new("topk", Never, x(), |x| x[0].topk(2, 1, true).0).gives(&[4, 2]));
        all.push(Case::new("argmax", Never, x(), |x| x[0].argmax(1, false)).gives(&[4]));
    }
    let inputs = vec![bytes(3, &[4, 5])];
    all.push(Case::new("argmax", Never, inputs, |x| x[0].argmax(1, false)).gives(&[4]));
}

fn composites(all: &mut Vec<Case>) {
    for (equation, a, b, shape) in [
        ("ij,jk->ik", &[2, 3][..], &[3, 4][..], &[2, 4][..]),
        ("bij,bjk->bik", &[2, 2, 3], &[2, 3, 2], &[2, 2, 2]),
        ("ij,ij->i", &[2, 3], &[2, 3], &[2]),
        ("i,j->ij", &[2], &[3], &[2, 3]),
        ("ij,k->kji", &[2, 3], &[2], &[2, 3, 2]),
        ("ij,ij", &[2, 3], &[2, 3], &[]),
    ] {
        let inputs = vec![floats(1, a, View::Transposed, (-2.0, 2.0)), float(2, b)];
        let f = move |x: &[Tensor]| Tensor::einsum(equation, &[&x[0], &x[1]]);
        all.push(Case::new(format!("einsum {equation}"), Smooth, inputs, f).gives(shape));
    }
    const METHODS: &[Row] = &[
        ("tril", &[3, 4], View::Plain, |x| x.tril(0), &[3, 4]),
        ("triu", &[3, 4], View::Flipped, |x| x.triu(1), &[3, 4]),
        ("norm(2)", &[3, 4], View::Plain, |x| x.norm(2.0, &[1], false), &[3]),
        ("norm(3)", &[3, 4], View::Plain, |x| x.abs().norm(3.0, &[0], true), &[1, 4]),
        ("normalize", &[3, 4], View::Transposed, |x| x.normalize(2.0, 1, 1e-12), &[3, 4]),
        ("std", &[3, 4], View::Plain, |x| x.std_axes(&[1], 1, false), &[3]),
        ("dot", &[4], View::Flipped, |x| x.dot(x), &[]),
        ("outer", &[3], View::Plain, |x| x.outer(x), &[3, 3]),
        ("repeat", &[2, 3], View::Transposed, |x| x.repeat(&[2, 1]), &[4, 3]),
        ("repeat_interleave", &[2, 3], View::Plain, |x| x.repeat_interleave(2, 1), &[2, 6]),
        ("roll", &[2, 5], View::Strided, |x| x.roll(2, 1), &[2, 5]),
        ("roll", &[2, 5], View::Plain, |x| x.roll(-1, 0), &[2, 5]),
        ("chunk", &[5, 2], View::Plain, |x| x.chunk(2, 0)[1].clone(), &[2, 2]),
        ("diagonal", &[3, 3], View::Plain, |x| x.diagonal(0, 0, 1), &[3]),
    ];
    for (i, &(name, shape, view, f, result)) in METHODS.iter().enumerate() {
        let x = floats(25_000 + i as u64, shape, view, (-2.0, 2.0));
        all.push(Case::new(name, Smooth, vec![x], move |a| f(&a[0])).gives(result));
    }
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    elements(&mut all);
    composites(&mut all);
    for (i, &(name, shape, view, f, result)) in MOVES.iter().enumerate() {
        let x = floats(20_000 + i as u64, shape, view, (-2.0, 2.0));
        all.push(Case::new(name, Smooth, vec![x], move |a| f(&a[0])).gives(result));
    }
    joined(&mut all);
    picked(&mut all);
    let twice = |x: &[Tensor]| x[0].to_dtype(DType::F64).reshape([4]).relu();
    all.push(Case::new("cast, reshape, relu", Once, vec![float(1, &[2, 2])], twice).gives(&[4]));
    all
}
