use super::*;
use crate::kernel::run_alone;
use crate::memory::Buffer;
use crate::program::{Program, Replay};
use crate::testing::{Random, every_machine, fill, load};
use std::sync::Arc;

const CELLS: [Cell; 4] = [Cell::Lstm, Cell::Gru, Cell::Tanh, Cell::Relu];

/// What a recurrence reads, as plain numbers.
#[derive(Clone)]
struct Inputs {
    /// `[batch, steps, gates, units]`.
    x: Vec<f64>,
    /// Added to the recurrent sums, of the same shape.
    extra: Vec<f64>,
    /// `[gates · units, units]`.
    weights: Vec<f64>,
    bias: Vec<f64>,
    h0: Vec<f64>,
    c0: Vec<f64>,
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// What the instruction writes, by the definition: unit by unit, in the order of time.
fn reference(s: &RecurrentShape, inputs: &Inputs) -> Vec<f64> {
    let (gates, units) = (s.cell.gates(), s.units);
    let mut y = vec![0.0; s.sequence()];
    let mut kept = vec![0.0; s.sequence() * s.cell.kept()];
    let (mut last_h, mut last_c) = (inputs.h0.clone(), inputs.c0.clone());
    for b in 0..s.batch {
        let (mut h, mut c) =
            (inputs.h0[b * units..][..units].to_vec(), inputs.c0[b * units..][..units].to_vec());
        for i in 0..s.steps {
            let t = if s.reverse { s.steps - 1 - i } else { i };
            let at = b * s.steps + t;
            let before = h.clone();
            for u in 0..units {
                let x = |g: usize| inputs.x[(at * gates + g) * units + u];
                let sum = |g: usize| {
                    let row = &inputs.weights[(g * units + u) * units..][..units];
                    let product: f64 = row.iter().zip(&before).map(|(w, h)| w * h).sum();
                    product
                        + inputs.bias[g * units + u]
                        + inputs.extra[(at * gates + g) * units + u]
                };
                let values = match s.cell {
                    Cell::Lstm => {
                        let [i, f, g, o] = [0, 1, 2, 3].map(|g| sum(g) + x(g));
                        let (i, f, g, o) = (sigmoid(i), sigmoid(f), g.tanh(), sigmoid(o));
                        c[u] = f * c[u] + i * g;
                        h[u] = o * c[u].tanh();
                        vec![i, f, g, o, c[u]]
                    }
                    Cell::Gru => {
                        let (r, z) = (sigmoid(sum(0) + x(0)), sigmoid(sum(1) + x(1)));
                        let q = sum(2);
                        let n = (x(2) + r * q).tanh();
                        h[u] = (1.0 - z) * n + z * before[u];
                        vec![r, z, n, q]
                    }
                    Cell::Tanh => {
                        h[u] = (sum(0) + x(0)).tanh();
                        vec![]
                    }
                    Cell::Relu => {
                        h[u] = (sum(0) + x(0)).max(0.0);
                        vec![]
                    }
                };
                y[at * units + u] = h[u];
                for (k, value) in values.into_iter().enumerate() {
                    kept[(at * s.cell.kept() + k) * units + u] = value;
                }
            }
        }
        last_h[b * units..][..units].copy_from_slice(&h);
        last_c[b * units..][..units].copy_from_slice(&c);
    }
    let c = if s.cell.has_memory() { last_c } else { vec![] };
    [y, last_h, c, kept].concat()
}

fn buffer(ty: Float, values: &[f64]) -> Buffer {
    match ty {
        Float::F32 => Buffer::from_slice(&values.iter().map(|&v| v as f32).collect::<Vec<_>>()),
        Float::F64 => Buffer::from_slice(values),
    }
}

fn whole(index: u32, buffer: &Buffer) -> Region {
    Region::new(index, 0, buffer.bytes())
}

fn draw(s: &RecurrentShape, random: &mut Random, bias: bool) -> Inputs {
    let mut some = |n: usize, scale: f64| (0..n).map(|_| scale * random.value()).collect();
    let gates = s.cell.gates();
    Inputs {
        x: some(s.sequence() * gates, 2.0),
        extra: vec![0.0; s.sequence() * gates],
        weights: some(gates * s.units * s.units, 1.0 / (s.units as f64).sqrt()),
        bias: some(gates * s.units, if bias { 1.0 } else { 0.0 }),
        h0: some(s.state(), 1.0),
        c0: some(s.state(), 1.0),
    }
}

/// The instruction on this machine: packs and walks.
fn forward(s: &RecurrentShape, ty: Float, isa: Isa, inputs: &Inputs, keep: bool) -> Vec<f64> {
    let all = [&inputs.x, &inputs.weights, &inputs.bias, &inputs.h0, &inputs.c0];
    let all = all.map(|values| buffer(ty, values));
    let packed = Buffer::zeroed(s.packed(ty, isa) * ty.bytes());
    let out = Buffer::zeroed(s.outputs(keep) * ty.bytes());
    fill(&out, ty, &mut Random::nan());
    let refs = [&all[0], &all[1], &all[2], &all[3], &all[4], &packed, &out];
    let zero = |values: &[f64]| values.iter().all(|&v| v == 0.0);
    let kernel = Recurrent {
        ty,
        shape: *s,
        x: whole(0, &all[0]),
        weights: if s.packs() { whole(5, &packed) } else { whole(1, &all[1]) },
        bias: (!zero(&inputs.bias)).then(|| whole(2, &all[2])),
        h0: (!zero(&inputs.h0)).then(|| whole(3, &all[3])),
        c0: (s.cell.has_memory() && !zero(&inputs.c0)).then(|| whole(4, &all[4])),
        keep,
        out: whole(6, &out),
        isa,
    };
    if s.packs() {
        run_alone(&kernel.pack_instruction(whole(1, &all[1])), &refs);
    }
    run_alone(&kernel, &refs);
    load(&out, ty)
}

/// The gradient for these gradients of outputs and last states.
fn backward(
    s: &RecurrentShape,
    (ty, isa): (Float, Isa),
    inputs: &Inputs,
    [dy, dh, dc]: [Option<&[f64]>; 3],
) -> Vec<f64> {
    let out = buffer(ty, &forward(s, ty, isa, inputs, true));
    let (weights, h0) = (buffer(ty, &inputs.weights), buffer(ty, &inputs.h0));
    let (c0, packed) = (buffer(ty, &inputs.c0), Buffer::zeroed(s.packed(ty, isa) * ty.bytes()));
    let given = [dy, dh, dc].map(|values| buffer(ty, values.unwrap_or(&[])));
    let to = Buffer::zeroed(s.gradients() * ty.bytes());
    fill(&to, ty, &mut Random::nan());
    let refs = [&out, &weights, &h0, &c0, &packed, &given[0], &given[1], &given[2], &to];
    let kernel = RecurrentGrad {
        ty,
        shape: *s,
        packed: whole(4, &packed),
        out: whole(0, &out),
        h0: Some(whole(2, &h0)),
        c0: s.cell.has_memory().then(|| whole(3, &c0)),
        dy: dy.map(|_| whole(5, &given[0])),
        dh: dh.map(|_| whole(6, &given[1])),
        dc: dc.map(|_| whole(7, &given[2])),
        to: whole(8, &to),
        isa,
    };
    run_alone(&kernel.pack_instruction(whole(1, &weights)), &refs);
    run_alone(&kernel, &refs);
    load(&to, ty)
}

#[track_caller]
fn near(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        let bound = tolerance * e.abs().max(1.0);
        assert!((f - e).abs() <= bound, "{what}: [{i}] is {f} instead of {e}");
    }
}

const SIZES: [[usize; 3]; 13] = [
    [1, 1, 1],
    [1, 4, 16],
    [1, 3, 37],
    [3, 5, 7],
    [2, 3, 40],
    [17, 2, 33],
    [40, 3, 19],
    [33, 2, 70],
    [0, 2, 3],
    [2, 0, 3],
    [1, 3, 133],
    [2, 3, 129],
    [1, 0, 129],
];

fn shapes() -> impl Iterator<Item = RecurrentShape> {
    SIZES.into_iter().flat_map(|[batch, steps, units]| {
        CELLS.into_iter().flat_map(move |cell| {
            [false, true].map(|reverse| RecurrentShape { cell, batch, steps, units, reverse })
        })
    })
}

#[test]
fn walks_as_the_definition_says() {
    for (i, s) in shapes().enumerate() {
        let mut random = Random::new(i as u64 + 1);
        let mut inputs = draw(&s, &mut random, i % 3 > 0);
        if i % 5 == 0 {
            inputs.h0.fill(0.0);
            inputs.c0.fill(0.0);
        }
        let expected = reference(&s, &inputs);
        every_machine(|ty, isa| {
            let tolerance = if ty == Float::F32 { 4e-6 } else { 1e-14 };
            let what = format!("{s:?} {ty:?} {isa:?}");
            let found = forward(&s, ty, isa, &inputs, true);
            near(&found, &expected, tolerance, &what);
            let less = forward(&s, ty, isa, &inputs, false);
            assert_eq!(less, found[..less.len()], "{what}: what is kept changes nothing");
        });
    }
}

#[test]
fn steps_shared_by_threads_give_the_same_bits() {
    let units = 160;
    let shape = RecurrentShape { cell: Cell::Lstm, batch: 1, steps: 9, units, reverse: true };
    let inputs = draw(&shape, &mut Random::new(7), false);
    let all = [&inputs.x, &inputs.weights, &inputs.h0, &inputs.c0];
    let all = all.map(|values| Arc::new(buffer(Float::F32, values)));
    let whole = |i: usize| whole(i as u32 + 1, &all[i]);
    let bytes = 4 * shape.outputs(true);
    let kernel = Recurrent {
        ty: Float::F32,
        shape,
        x: whole(0),
        weights: whole(1),
        bias: None,
        h0: Some(whole(2)),
        c0: Some(whole(3)),
        keep: true,
        out: Region::new(5, 0, bytes),
        isa: isa(),
    };
    assert!(kernel.rounds() == 9 && kernel.chunks() >= 2 * kernel.rounds());
    let expected = forward(&shape, Float::F32, isa(), &inputs, true);
    for threads in [1, 2, 3, 8] {
        crate::set_threads(threads);
        let sizes: Vec<usize> = all.iter().map(|b| b.bytes()).collect();
        let sizes = [&[0], &sizes[..], &[bytes]].concat();
        let program = Program::new(vec![kernel.clone().into()], &sizes).unwrap();
        let out = Arc::new(Buffer::zeroed(bytes));
        let bound = all.iter().chain([&out]).map(|b| Some(b.clone())).collect();
        Replay::new(program, bound).run().unwrap();
        assert_eq!(load(&out, Float::F32), expected, "{threads} threads");
    }
}

/// The gradient of Σ w·outputs by differences of the reference.
fn differences(s: &RecurrentShape, inputs: &Inputs, w: &[f64]) -> Vec<f64> {
    let loss =
        |inputs: &Inputs| -> f64 { reference(s, inputs).iter().zip(w).map(|(y, w)| y * w).sum() };
    let slopes = |part: fn(&mut Inputs) -> &mut Vec<f64>| -> Vec<f64> {
        let count = part(&mut inputs.clone()).len();
        let at = |i: usize, moved: f64| {
            let mut inputs = inputs.clone();
            part(&mut inputs)[i] += moved;
            loss(&inputs)
        };
        (0..count).map(|i| (at(i, 1e-5) - at(i, -1e-5)) / 2e-5).collect()
    };
    let mut all = slopes(|i| &mut i.x);
    all.extend(slopes(|i| &mut i.h0));
    if s.cell.has_memory() {
        all.extend(slopes(|i| &mut i.c0));
    }
    if s.cell.splits_gradient() {
        all.extend(slopes(|i| &mut i.extra));
    }
    all
}

#[test]
fn gradients_are_those_of_differences() {
    let small = |s: &RecurrentShape| s.batch * s.steps * s.units <= 320;
    for (i, s) in shapes().filter(small).enumerate() {
        let mut random = Random::new(i as u64 + 100);
        let inputs = draw(&s, &mut random, true);
        let w: Vec<f64> = (0..s.outputs(false)).map(|_| random.value()).collect();
        let (dy, rest) = w.split_at(s.sequence());
        let (dh, dc) = rest.split_at(s.state());
        let given = [Some(dy), Some(dh), s.cell.has_memory().then_some(dc)];
        let expected = differences(&s, &inputs, &w);
        every_machine(|ty, isa| {
            let tolerance = if ty == Float::F32 { 2e-5 } else { 1e-8 };
            let found = backward(&s, (ty, isa), &inputs, given);
            near(&found, &expected, tolerance, &format!("{s:?} {ty:?} {isa:?}"));
        });
    }
}

#[test]
fn what_is_not_given_is_zero() {
    for (i, s) in shapes().enumerate() {
        let mut random = Random::new(i as u64 + 200);
        let inputs = draw(&s, &mut random, true);
        let dh: Vec<f64> = (0..s.state()).map(|_| random.value()).collect();
        let (zeros, none) = (vec![0.0; s.sequence()], vec![0.0; s.state()]);
        let dc = s.cell.has_memory().then_some(&none[..]);
        let expected =
            backward(&s, (Float::F64, Isa::Portable), &inputs, [Some(&zeros), Some(&dh), dc]);
        every_machine(|ty, isa| {
            let tolerance = if ty == Float::F32 { 2e-5 } else { 1e-13 };
            let found = backward(&s, (ty, isa), &inputs, [None, Some(&dh), None]);
            near(&found, &expected, tolerance, &format!("{s:?} {ty:?} {isa:?}"));
        });
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let shape = RecurrentShape { cell: Cell::Gru, batch: 3, steps: 3, units: 4, reverse: false };
    let (ty, isa) = (Float::F32, Isa::Portable);
    let at = |buffer: u32, elements: usize| Region::new(buffer, 0, 4 * elements);
    let good = Recurrent {
        ty,
        shape,
        x: at(0, 3 * 3 * 12),
        weights: at(1, 12 * 8),
        bias: Some(at(2, 12)),
        h0: Some(at(3, 12)),
        c0: None,
        keep: true,
        out: at(4, shape.outputs(true)),
        isa,
    };
    crate::real::testing::refuses_short(
        &good,
        &[|k| &mut k.x, |k| &mut k.weights, |k| k.bias.as_mut().unwrap(), |k| &mut k.out],
    );
    assert!(Recurrent { c0: Some(at(5, 12)), ..good.clone() }.check().is_err());
    assert!(Recurrent { out: Region { buffer: 0, ..good.out }, ..good.clone() }.check().is_err());
    let huge = RecurrentShape { batch: 1 << 40, steps: 1 << 40, ..shape };
    assert!(Recurrent { shape: huge, ..good }.check().is_err());
    let good = RecurrentGrad {
        ty,
        shape,
        packed: at(1, 12 * 8),
        out: at(4, shape.outputs(true)),
        h0: None,
        c0: None,
        dy: Some(at(6, 36)),
        dh: Some(at(7, 12)),
        dc: None,
        to: at(8, shape.gradients()),
        isa,
    };
    crate::real::testing::refuses_short(
        &good,
        &[|k| &mut k.packed, |k| &mut k.out, |k| k.dy.as_mut().unwrap(), |k| &mut k.to],
    );
    assert!(RecurrentGrad { dc: Some(at(5, 12)), ..good }.check().is_err());
}
