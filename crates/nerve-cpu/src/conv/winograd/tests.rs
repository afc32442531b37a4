use super::super::tests::{PLAIN, most_words, verify, verify_gradient};
use super::super::{Conv, ConvShape};
use super::WinogradFilter;
use crate::kernel::{Float, Kernel, run_alone};
use crate::memory::{Buffer, Region};
use crate::simd::Isa;
use crate::testing::{Random, fill, load};

fn each_isa(mut test: impl FnMut(Isa)) {
    Isa::ALL.into_iter().filter(|isa| isa.available()).for_each(&mut test);
}

fn random_shape(random: &mut Random) -> ConvShape {
    let [h, w] = [3 + random.below(9), 3 + random.below(9)];
    let between = if random.below(4) == 0 { [random.below(2), 1] } else { [0, 0] };
    ConvShape {
        n: 1 + random.below(4),
        h,
        w,
        c: 1 + random.below(40),
        co: 1 + random.below(70),
        pad: [0; 2].map(|_| [random.below(3), random.below(3)]),
        between,
        ..PLAIN
    }
}

#[test]
fn random_convolutions_match_the_sums() {
    let mut random = Random::new(21);
    each_isa(|isa| {
        for _ in 0..40 {
            let shape = random_shape(&mut random);
            verify(shape, Float::F32, isa, &mut random, true);
            verify_gradient(shape, Float::F32, isa, &mut random, true);
        }
    });
}

#[test]
fn many_blocks_panels_and_strips_match_the_sums() {
    let base = ConvShape { n: 3, h: 12, w: 11, c: 70, co: 150, pad: [[1; 2]; 2], ..PLAIN };
    let mut random = Random::new(22);
    each_isa(|isa| {
        for shape in [base, ConvShape { n: 2, h: 4, w: 4, c: 515, co: 33, ..base }] {
            verify(shape, Float::F32, isa, &mut random, true);
            verify_gradient(shape, Float::F32, isa, &mut random, true);
        }
    });
}

/// The transformation of one filter, as the formula has it.
fn reference(g: [f64; 9]) -> [f64; 16] {
    let rows = [[1.0, 0.0, 0.0], [0.5; 3], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
    std::array::from_fn(|i| {
        let (r, q) = (i / 4, i % 4);
        (0..9).map(|t| rows[r][t / 3] * g[t] * rows[q][t % 3]).sum()
    })
}

#[test]
fn filters_are_transformed_from_any_order() {
    let (c, co) = (5, 37);
    let buffer = Buffer::zeroed(4 * 9 * c * co);
    fill(&buffer, Float::F32, &mut Random::new(23));
    let values = load(&buffer, Float::F32);
    let strides = |shape: [usize; 4]| [shape[0], shape[1], shape[2], shape[3]].map(|n| n as isize);
    let orders = [
        (0, strides([3 * c * co, c * co, co, 1])),
        (0, strides([3, 1, 9, 9 * c])),
        (8, [-3, -1, 9, 9 * c as isize]),
        (8, [-3, -1, 9 * co as isize, 9]),
        (0, strides([1, 3, 9, 9 * c])),
        (0, strides([3 * co, co, 9 * co, 1])),
    ];
    each_isa(|isa| {
        for (offset, strides) in orders {
            let shape = ConvShape { n: 9, h: 9, w: 9, c, co, ..PLAIN };
            let empty = Region::new(0, 0, 0);
            let conv = Conv { isa, ..Conv::new(Float::F32, shape, empty, empty, empty) };
            let to = Buffer::zeroed(4 * most_words(&shape));
            let regions = [&buffer, &to].map(Buffer::bytes);
            let [from, into] = [0, 1].map(|i| Region::new(i as u32, 0, regions[i]));
            let filter = conv.winograd_filter(from, offset, strides, into);
            run_alone(&filter, &[&buffer, &to]);
            let panels = load(&to, Float::F32);
            for (i, o) in (0..c).flat_map(|i| (0..co).map(move |o| (i, o))) {
                let g: [f64; 9] = std::array::from_fn(|t| {
                    let at = [t / 3, t % 3, i, o].map(|n| n as isize);
                    let step: isize = at.iter().zip(strides).map(|(at, s)| at * s).sum();
                    values[(offset as isize + step) as usize]
                });
                for (place, exact) in reference(g).into_iter().enumerate() {
                    let found = panels[position(&filter, place, i, o)];
                    assert!((found - exact).abs() < 1e-6, "{found}, not {exact}: {filter:?}");
                }
            }
        }
    });
}

/// Where an element of the transformed filter lies.
fn position(f: &WinogradFilter, place: usize, i: usize, o: usize) -> usize {
    let lanes = crate::gemm::pack::lanes(Float::F32, f.isa);
    let wide = f.width * lanes;
    let first = o / wide * wide;
    let width = wide.min(f.co - first).next_multiple_of(lanes);
    first / wide * 16 * (f.c * wide + 16) + place * (f.c * width + 16) + i * width + o - first
}

#[test]
fn small_and_strided_convolutions_stay_direct() {
    let shape = ConvShape { n: 64, h: 14, w: 14, c: 32, co: 64, pad: [[1; 2]; 2], ..PLAIN };
    let pays = |shape: ConvShape, ty| shape.winograd_pays(ty, true);
    assert!(pays(shape, Float::F32));
    assert!(!pays(shape, Float::F64));
    assert!(!pays(ConvShape { c: 1, ..shape }, Float::F32));
    assert!(!pays(ConvShape { stride: [2, 2], ..shape }, Float::F32));
    assert!(!pays(ConvShape { kw: 1, ..shape }, Float::F32));
    assert!(!pays(ConvShape { groups: 2, ..shape }, Float::F32));
    // Transforming the filter takes longer than this little use of it.
    let tiny = ConvShape { n: 1, h: 4, w: 4, c: 512, co: 512, ..shape };
    assert!(!pays(tiny, Float::F32) && tiny.winograd_pays(Float::F32, false));
}

#[test]
fn what_does_not_fit_is_refused() {
    let shape = ConvShape { n: 64, h: 14, w: 14, c: 32, co: 64, pad: [[1; 2]; 2], ..PLAIN };
    let region = |i: u32, n: usize| Region::new(i, 0, 4 * n);
    let (x, y) = (region(0, shape.images()), region(2, shape.results()));
    let conv = Conv::new(Float::F32, shape, x, region(1, 0), y);
    let bytes = conv.winograd_bytes().expect("it pays");
    assert!(bytes >= 4 * 16 * 32 * 64 && bytes <= 4 * most_words(&shape));
    let whole = Region::new(1, 0, bytes);
    let with = |conv: &Conv, region| conv.clone().with_winograd(region);
    with(&conv, whole).check().unwrap();
    assert!(with(&conv, Region::new(1, 0, bytes - 4)).check().is_err());
    let strided = Conv { shape: ConvShape { stride: [2, 2], ..shape }, ..conv.clone() };
    assert!(with(&strided, whole).check().is_err());
    let strides = [192, 64, 576, 1];
    let filter = |strides| conv.winograd_filter(region(0, 9 * 32 * 64), 0, strides, whole);
    filter([3 * 2048, 2048, 64, 1]).check().unwrap();
    filter(strides).check().unwrap();
    assert!(filter([3 * 2048, 2048, 64, 2]).check().is_err());
    assert!(filter([-3, -1, 9, 288]).check().is_err());
    assert!(WinogradFilter { width: 0, ..filter(strides) }.check().is_err());
    assert!(WinogradFilter { to: region(1, 100), ..filter(strides) }.check().is_err());
}
