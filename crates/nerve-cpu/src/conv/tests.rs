use super::few::Few;
use super::*;
use crate::gemm::tile::Scalar;
use crate::gemm::{Activation, SumParts};
use crate::kernel::{Float, Kernel, Precision, run_alone};
use crate::memory::{Buffer, Region};
use crate::program::{Instruction, Program, Replay};
use crate::simd::Isa;
use crate::testing::{Random, every_machine, fill, load};
use std::sync::Arc;

mod bf16;

pub(super) const PLAIN: ConvShape = ConvShape {
    n: 1,
    h: 5,
    w: 5,
    c: 1,
    kh: 3,
    kw: 3,
    co: 1,
    groups: 1,
    stride: [1, 1],
    dilation: [1, 1],
    pad: [[0; 2]; 2],
    between: [0; 2],
};

/// Words that a transformed filter has at most.
pub(super) fn most_words(s: &ConvShape) -> usize {
    16 * (s.c + 16) * (s.co + 15)
}

fn random_shape(random: &mut Random) -> ConvShape {
    let groups = [1, 1, 1, 2, 3][random.below(5)];
    let depthwise = random.below(6) == 0;
    let mut pair = |limit| [1 + random.below(limit), 1 + random.below(limit)];
    let ([kh, kw], stride, dilation) = (pair(4), pair(3), pair(2));
    let (c, co) = (groups * (1 + random.below(9)), groups * (1 + random.below(40)));
    let channels = 2 + random.below(40);
    ConvShape {
        n: 1 + random.below(3),
        h: (kh - 1) * dilation[0] + 1 + random.below(7),
        w: (kw - 1) * dilation[1] + 1 + random.below(20),
        c: if depthwise { channels } else { c },
        kh,
        kw,
        co: if depthwise { channels } else { co },
        groups: if depthwise { channels } else { groups },
        stride,
        dilation,
        ..PLAIN
    }
    .surrounded(random)
}

impl ConvShape {
    /// The same with zeros around and between, sometimes.
    fn surrounded(mut self, random: &mut Random) -> ConvShape {
        if random.coin() {
            self.pad = [0; 2].map(|_| [random.below(3), random.below(3)]);
        }
        if random.below(4) == 0 {
            self.between = [random.below(3), random.below(3)];
        }
        self
    }
}

/// Calls `visit` with the positions of each product of the convolution in the images, the filter
/// and the result.
fn each_product(s: &ConvShape, mut visit: impl FnMut(usize, usize, usize)) {
    let (ci, co) = (s.c / s.groups, s.co / s.groups);
    for (n, oy, ox) in triples([s.n, s.oh(), s.ow()]) {
        for (ky, kx, i) in triples([s.kh, s.kw, ci]) {
            let y = oy * s.stride[0] + ky * s.dilation[0];
            let x = ox * s.stride[1] + kx * s.dilation[1];
            let (Some(y), Some(x)) = (s.source(0, y), s.source(1, x)) else { continue };
            for o in 0..s.co {
                let image = ((n * s.h + y) * s.w + x) * s.c + o / co * ci + i;
                let filter = ((ky * s.kw + kx) * ci + i) * s.co + o;
                visit(image, filter, ((n * s.oh() + oy) * s.ow() + ox) * s.co + o);
            }
        }
    }
}

fn triples([a, b, c]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a * b * c).map(move |i| (i / (b * c), i / c % b, i % c))
}

/// Checks values against exact ones; each may be off by half a unit for each of `terms` roundings
/// of partial sums, which the sum of the magnitudes bounds.
fn assert_close(values: &[f64], exact: &[f64], sizes: &[f64], terms: usize, ty: Float, what: &str) {
    let epsilon = if ty == Float::F32 { f32::EPSILON as f64 } else { f64::EPSILON };
    assert_eq!(values.len(), exact.len());
    for (i, (&v, &e)) in values.iter().zip(exact).enumerate() {
        let bound = (terms + 2) as f64 * epsilon * sizes[i];
        assert!((v - e).abs() <= bound, "{i}: {v}, not {e} ± {bound}, in {what}");
    }
}

fn verify_forward(s: ConvShape, ty: Float, isa: Isa, random: &mut Random) {
    verify(s, ty, isa, random, false);
}

/// Winograd's algorithm mixes what its tiles see, so it is as exact as the largest result allows.
fn alike(sizes: &mut [f64]) {
    let largest = sizes.iter().copied().fold(0.0, f64::max);
    sizes.fill(largest);
}

/// Checks a convolution, with the filter transformed or not.
pub(super) fn verify(s: ConvShape, ty: Float, isa: Isa, random: &mut Random, winograd: bool) {
    let lengths = [s.images(), s.filter(), s.co, s.results(), most_words(&s)];
    let buffers = lengths.map(|n| Buffer::zeroed(n * ty.bytes()));
    buffers.iter().for_each(|buffer| fill(buffer, ty, random));
    let region = |i: usize| Region::new(i as u32, 0, lengths[i] * ty.bytes());
    let conv = Conv {
        bias: random.coin().then(|| region(2)),
        activation: if random.coin() { Activation::Relu } else { Activation::None },
        isa,
        ..Conv::new(ty, s, region(0), region(1), region(3))
    };
    let [x, filter, bias] = [0, 1, 2].map(|i| load(&buffers[i], ty));
    let bias = |i: usize| if conv.bias.is_some() { bias[i % s.co] } else { 0.0 };
    let mut exact: Vec<f64> = (0..s.results()).map(bias).collect();
    let mut sizes: Vec<f64> = exact.iter().map(|v| v.abs()).collect();
    each_product(&s, |i, f, o| {
        exact[o] += x[i] * filter[f];
        sizes[o] += (x[i] * filter[f]).abs();
    });
    if conv.activation == Activation::Relu {
        exact.iter_mut().for_each(|v| *v = v.max(0.0));
    }
    if winograd {
        alike(&mut sizes);
        let strides = [3 * s.c * s.co, s.c * s.co, s.co, 1].map(|n| n as isize);
        run_alone(&conv.winograd_filter(region(1), 0, strides, region(4)), &buffers.each_ref());
        run_alone(&conv.clone().with_winograd(region(4)), &buffers.each_ref());
    } else {
        run_alone(&conv, &buffers.each_ref());
        in_panels(&conv, &buffers.each_ref());
    }
    let terms = s.kh * s.kw * s.c / s.groups;
    assert_close(&load(&buffers[3], ty), &exact, &sizes, terms, ty, &format!("{conv:?}"));
}

/// The same convolution with its filter packed before gives the same bits.
fn in_panels(conv: &Conv, [x, filter, bias, y, _]: &[&Buffer; 5]) {
    let Some(bytes) = conv.packed_bytes() else { return };
    let (panels, again) = (Buffer::zeroed(bytes), Buffer::zeroed(y.bytes()));
    let (buffers, to) = ([*x, *filter, *bias, &again, &panels], Region::new(4, 0, bytes));
    run_alone(&conv.pack_filter(to), &buffers);
    run_alone(&Conv { filter: EMPTY, ..conv.clone() }.with_packed(to), &buffers);
    let bits = |y: &Buffer| y.to_vec::<u32>(0..conv.shape.results());
    assert_eq!(bits(&again), bits(y), "{conv:?}");
}

fn verify_weight(s: ConvShape, ty: Float, isa: Isa, random: &mut Random) {
    verify_gradient(s, ty, isa, random, false);
}

/// Checks a weight gradient, by the algorithm asked for.
pub(super) fn verify_gradient(
    s: ConvShape,
    ty: Float,
    isa: Isa,
    random: &mut Random,
    winograd: bool,
) {
    let new = ConvWeightGrad::new(ty, s, EMPTY, EMPTY, EMPTY);
    let mut grad = ConvWeightGrad { isa, winograd, ..new };
    let parts = grad.parts();
    let lengths = [s.images(), s.results(), s.filter() * parts, s.filter()];
    let buffers = lengths.map(|n| Buffer::zeroed(n * ty.bytes()));
    buffers.iter().for_each(|buffer| fill(buffer, ty, random));
    let region = |i: usize| Region::new(i as u32, 0, lengths[i] * ty.bytes());
    grad = ConvWeightGrad { x: region(0), dy: region(1), dw: region(2), ..grad };
    let [x, dy] = [0, 1].map(|i| load(&buffers[i], ty));
    let (mut exact, mut sizes) = (vec![0.0; s.filter()], vec![0.0; s.filter()]);
    each_product(&s, |i, f, o| {
        exact[f] += x[i] * dy[o];
        sizes[f] += (x[i] * dy[o]).abs();
    });
    if winograd {
        alike(&mut sizes);
    }
    let sum =
        SumParts { ty, parts, len: s.filter(), from: region(2), to: region(3), accumulate: false };
    run_alone(&grad, &buffers.each_ref());
    run_alone(&sum, &buffers.each_ref());
    let terms = s.n * s.oh() * s.ow();
    assert_close(&load(&buffers[3], ty), &exact, &sizes, terms, ty, &format!("{grad:?}"));
}

const EMPTY: Region = Region::new(0, 0, 0);

#[test]
fn random_convolutions_match_the_sums() {
    let mut random = Random::new(11);
    every_machine(|ty, isa| {
        for _ in 0..150 {
            let shape = random_shape(&mut random);
            verify_forward(shape, ty, isa, &mut random);
        }
    });
}

#[test]
fn random_weight_gradients_match_the_sums() {
    let mut random = Random::new(12);
    every_machine(|ty, isa| {
        for _ in 0..150 {
            let shape = random_shape(&mut random);
            verify_weight(shape, ty, isa, &mut random);
        }
    });
}

/// Shapes large enough for several chunks, packed strips, parts and blocks.
fn large_shapes() -> Vec<ConvShape> {
    let base = ConvShape { n: 5, h: 16, w: 16, c: 24, co: 40, ..PLAIN };
    vec![
        base,
        ConvShape { n: 33, c: 1, ..base },
        ConvShape { n: 2, c: 70, co: 150, h: 8, w: 9, ..base },
        ConvShape { n: 7, h: 13, w: 13, c: 60, co: 66, kh: 1, kw: 1, ..base },
        ConvShape { n: 2, c: 48, co: 96, groups: 2, dilation: [2, 2], ..base },
        ConvShape { n: 6, c: 100, co: 100, groups: 100, ..base },
        ConvShape { pad: [[1; 2]; 2], ..base },
        ConvShape { n: 3, c: 40, co: 70, stride: [2, 2], pad: [[1, 0], [2, 1]], ..base },
        ConvShape { n: 2, co: 30, between: [1, 1], pad: [[2, 2], [1, 2]], ..base },
        ConvShape { n: 2, h: 40, w: 50, co: 8, c: 40, pad: [[1; 2]; 2], dilation: [2, 1], ..base },
        ConvShape { n: 3, w: 40, c: 50, co: 50, groups: 50, pad: [[1; 2]; 2], ..base },
        ConvShape { n: 20, h: 1, w: 300, c: 12, kh: 1, kw: 5, stride: [1, 2], ..base },
    ]
}

#[test]
fn large_convolutions_match_the_sums() {
    let mut random = Random::new(13);
    every_machine(|ty, isa| {
        for shape in large_shapes() {
            verify_forward(shape, ty, isa, &mut random);
        }
    });
}

#[test]
fn large_weight_gradients_match_the_sums() {
    let mut random = Random::new(14);
    every_machine(|ty, isa| {
        for shape in large_shapes() {
            verify_weight(shape, ty, isa, &mut random);
        }
    });
}

/// Few pixels, many channels: the filter passes by in stretches.
fn shapes_of_few_pixels() -> Vec<ConvShape> {
    let base = ConvShape { h: 4, w: 4, c: 130, co: 75, pad: [[1; 2]; 2], ..PLAIN };
    vec![
        base,
        ConvShape { n: 3, h: 7, w: 5, c: 33, co: 16, stride: [2, 1], ..base },
        ConvShape { n: 2, c: 96, co: 90, groups: 2, dilation: [2, 1], pad: [[2; 2]; 2], ..base },
        ConvShape { h: 3, w: 4, c: 64, co: 200, between: [1, 2], ..base },
        ConvShape { n: 2, kh: 1, kw: 1, c: 515, co: 3, pad: [[0; 2]; 2], ..base },
        ConvShape { h: 1, w: 3, kh: 1, c: 40, co: 1, pad: [[0; 2], [1; 2]], ..base },
        ConvShape { n: 1, h: 3, w: 3, c: 300, co: 50, pad: [[0; 2]; 2], ..base },
    ]
}

#[test]
fn convolutions_of_few_pixels_match_the_sums() {
    let mut random = Random::new(15);
    every_machine(|ty, isa| {
        for shape in shapes_of_few_pixels() {
            for _ in 0..4 {
                verify_forward(shape, ty, isa, &mut random);
            }
        }
    });
}

#[test]
fn where_there_are_few_pixels_the_channels_are_shared() {
    let shape = ConvShape { h: 4, w: 4, c: 512, co: 512, pad: [[1; 2]; 2], ..PLAIN };
    let isa = crate::simd::isa();
    let conv = |shape| Conv::new(Float::F32, shape, EMPTY, EMPTY, EMPTY);
    let of = |shape| Few::of(&conv(shape), f32::kernels(isa));
    assert!(of(shape).is_some_and(|few| few.chunks(&conv(shape)).is_multiple_of(2)));
    assert!(
        of(ConvShape { n: 64, ..shape }).is_none() && of(ConvShape { c: 3, ..shape }).is_none()
    );
    assert!(of(ConvShape { groups: 512, ..shape }).is_none());
}

/// The bits of a convolution and its weight gradient, by each algorithm that there is for them.
fn bits(shape: ConvShape, precision: Precision, threads: usize) -> Vec<u32> {
    crate::set_threads(threads);
    let new = ConvWeightGrad::new(Float::F32, shape, EMPTY, EMPTY, EMPTY);
    let plain = ConvWeightGrad { precision, ..new };
    let panels = most_words(&shape);
    let direct = ConvWeightGrad { winograd: false, ..plain.clone() };
    let fewer = ConvWeightGrad { winograd: true, ..plain };
    let most = fewer.parts().max(direct.parts());
    let (results, filter) = (shape.results(), shape.filter());
    // One buffer for what is read and what is written.
    let mut end = 0;
    let [x, w, direct_y, y, u, direct_dw, dw] =
        [shape.images(), filter, results, results, panels, most * filter, most * filter].map(|n| {
            let start = end;
            end += (4 * n).next_multiple_of(64);
            Region::new(1, start, 4 * n)
        });
    let mut random = Random::new(16);
    let all: Vec<f32> = (0..end / 4).map(|_| random.value() as f32).collect();
    let memory = Arc::new(Buffer::from_slice(&all));
    let conv = Conv { precision, ..Conv::new(Float::F32, shape, x, w, direct_y) };
    let strides = [3 * shape.c * shape.co, shape.c * shape.co, shape.co, 1].map(|n| n as isize);
    let gradient = |grad: &ConvWeightGrad, dw| ConvWeightGrad { x, dy: y, dw, ..grad.clone() };
    let list: Vec<Instruction> = vec![
        conv.clone().into(),
        conv.winograd_filter(w, 0, strides, u).into(),
        Conv { y, ..conv }.with_winograd(u).into(),
        gradient(&direct, direct_dw).into(),
        gradient(&fewer, dw).into(),
    ];
    let program = Program::new(list, &[0, memory.bytes()]).unwrap();
    Replay::new(program, vec![Some(memory.clone())]).run().unwrap();
    memory.to_vec::<f32>(0..end / 4).into_iter().map(f32::to_bits).collect()
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let few = ConvShape { h: 4, w: 4, c: 256, co: 256, pad: [[1; 2]; 2], ..PLAIN };
    for shape in [few, ConvShape { n: 9, h: 15, w: 14, c: 48, co: 80, ..few }] {
        for precision in [Precision::Full, Precision::Bf16] {
            let one = bits(shape, precision, 1);
            for threads in [2, 3] {
                let same = bits(shape, precision, threads) == one;
                assert!(same, "{threads} threads, {shape:?}, {precision:?}");
            }
        }
    }
}

#[test]
fn a_known_convolution() {
    // One row, a filter that takes differences, two windows apart.
    let shape = ConvShape { h: 1, w: 6, kh: 1, kw: 2, stride: [1, 2], ..PLAIN };
    let x = Buffer::from_slice(&[1.0f32, 4.0, 9.0, 16.0, 25.0, 36.0]);
    let filter = Buffer::from_slice(&[-1.0f32, 1.0]);
    let y = Buffer::zeroed(12);
    let region = |i, n: usize| Region::new(i, 0, 4 * n);
    let conv = Conv::new(Float::F32, shape, region(0, 6), region(1, 2), region(2, 3));
    run_alone(&conv, &[&x, &filter, &y]);
    assert_eq!(y.to_vec::<f32>(0..3), [3.0, 7.0, 11.0]);
    assert_eq!(conv.flops(), 12);
}

#[test]
fn filters_larger_than_the_image_give_nothing() {
    let shape = ConvShape { kh: 6, ..PLAIN };
    assert_eq!((shape.oh(), shape.results()), (0, 0));
    let region = Region::new(0, 0, 4 * 25);
    let conv = Conv::new(Float::F32, shape, region, Region::new(1, 0, 4 * 18), EMPTY);
    let buffers = [Buffer::zeroed(100), Buffer::zeroed(72)];
    run_alone(&conv, &buffers.each_ref());
    let dw = Region::new(1, 0, 4 * 18);
    fill(&buffers[1], Float::F32, &mut Random::new(1));
    run_alone(&ConvWeightGrad::new(Float::F32, shape, region, EMPTY, dw), &buffers.each_ref());
    assert_eq!(buffers[1].to_vec::<f32>(0..18), [0.0; 18]);
}

#[test]
fn chunks_and_parts_follow_the_shape_alone() {
    let shape = ConvShape { n: 64, h: 30, w: 30, c: 32, co: 64, ..PLAIN };
    let mut counts = Vec::new();
    every_machine(|ty, isa| {
        let grad = ConvWeightGrad { isa, ..ConvWeightGrad::new(ty, shape, EMPTY, EMPTY, EMPTY) };
        let conv = Conv { isa, ..Conv::new(ty, shape, EMPTY, EMPTY, EMPTY) };
        counts.push((grad.parts(), grad.chunks(), conv.chunks()));
    });
    assert!(counts.iter().all(|&count| count == (32, 32, 64)), "{counts:?}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let shape = ConvShape { n: 2, c: 4, co: 6, groups: 2, ..PLAIN };
    let lengths = [200, 108, 108, 6];
    let r = |i: usize| Region::new(i as u32, 0, 4 * lengths[i]);
    let conv = Conv { bias: Some(r(3)), ..Conv::new(Float::F32, shape, r(0), r(1), r(2)) };
    conv.check().unwrap();
    let short = |i: usize| Region::new(i as u32, 0, 4 * lengths[i] - 1);
    assert!(Conv { x: short(0), ..conv.clone() }.check().unwrap_err().contains("images"));
    assert!(Conv { filter: short(1), ..conv.clone() }.check().unwrap_err().contains("filter"));
    assert!(Conv { y: short(2), ..conv.clone() }.check().unwrap_err().contains("result"));
    assert!(Conv { bias: Some(short(3)), ..conv.clone() }.check().unwrap_err().contains("bias"));
    assert!(Conv { y: r(0), ..conv.clone() }.check().is_err());
    let refused = |shape: ConvShape| Conv { shape, ..conv.clone() }.check().is_err();
    assert!(refused(ConvShape { groups: 0, ..shape }));
    assert!(refused(ConvShape { groups: 4, ..shape }));
    assert!(refused(ConvShape { stride: [0, 1], ..shape }));
    assert!(refused(ConvShape { dilation: [1, 0], ..shape }));
    assert!(refused(ConvShape { kw: 0, ..shape }));
    assert!(refused(ConvShape { h: usize::MAX / 2, ..shape }));
    assert!(refused(ConvShape { kh: usize::MAX, kw: usize::MAX, ..shape }));
    assert!(!refused(ConvShape { stride: [usize::MAX, usize::MAX], ..shape }));
    let grad = ConvWeightGrad::new(Float::F32, shape, r(0), r(2), r(1));
    grad.check().unwrap();
    assert!(ConvWeightGrad { x: short(0), ..grad.clone() }.check().is_err());
    assert!(ConvWeightGrad { dy: short(2), ..grad.clone() }.check().is_err());
    assert!(ConvWeightGrad { dw: short(1), ..grad.clone() }.check().is_err());
    assert!(ConvWeightGrad { dw: r(0), ..grad }.check().is_err());
}
