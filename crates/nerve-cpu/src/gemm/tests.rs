use super::*;
use crate::kernel::run_alone;
use crate::memory::Buffer;
use crate::testing::{Random, every_machine, fill, load};

/// A product with random strides; the buffers hold A, B, the bias, C and the panels of B.
struct Case {
    gemm: Gemm,
    buffers: Vec<Buffer>,
}

fn extent(axes: &[(usize, usize)]) -> usize {
    let empty = axes.iter().any(|axis| axis.0 == 0);
    if empty { 0 } else { 1 + axes.iter().map(|(n, stride)| (n - 1) * stride).sum::<usize>() }
}

/// Strides of a `[rows, columns]` matrix, transposed or not, with a gap after each line.
fn strides([rows, columns]: [usize; 2], turned: bool, gap: usize) -> [usize; 2] {
    if turned { [1, rows + gap] } else { [columns + gap, 1] }
}

impl Case {
    fn new(random: &mut Random, ty: Float, isa: Isa, [m, n, k]: [usize; 3], batch: usize) -> Case {
        let mut gap = || random.below(3) * random.below(5);
        let gaps = [gap(), gap(), gap()];
        let a_strides = strides([m, k], random.coin(), gaps[0]);
        let b_strides = strides([k, n], random.coin(), gaps[1]);
        let a_one = extent(&[(m, a_strides[0]), (k, a_strides[1])]);
        let b_one = extent(&[(k, b_strides[0]), (n, b_strides[1])]);
        let a_batch = if random.below(4) == 0 { 0 } else { a_one + gaps[2] };
        let b_batch = if random.below(4) == 0 { 0 } else { b_one + gaps[0] };
        let c_turned = random.below(3) == 0;
        let [lines, length] = if c_turned { [n, m] } else { [m, n] };
        let c_stride = length + gaps[2];
        let c_batch = lines * c_stride + gaps[1];
        let lengths = [
            extent(&[(batch, a_batch), (m, a_strides[0]), (k, a_strides[1])]),
            extent(&[(batch, b_batch), (k, b_strides[0]), (n, b_strides[1])]),
            length,
            extent(&[(batch, c_batch), (lines, c_stride), (length, 1)]),
        ];
        // An odd offset, so that nothing relies on the alignment of operands.
        let region = |i: usize| Region::new(i as u32, ty.bytes(), lengths[i] * ty.bytes());
        let gemm = Gemm {
            batch,
            a_strides,
            a_batch,
            b_strides,
            b_batch,
            c_stride,
            c_turned,
            c_batch,
            bias: random.coin().then(|| region(2)),
            activation: if random.coin() { Activation::Relu } else { Activation::None },
            accumulate: random.coin(),
            precision: if random.below(3) == 0 { Precision::Bf16 } else { Precision::Full },
            isa,
            ..Gemm::new(ty, [m, n, k], region(0), region(1), region(3))
        };
        let buffers = lengths.map(|n| Buffer::zeroed((n + 1) * ty.bytes()));
        buffers.iter().for_each(|buffer| fill(buffer, ty, random));
        Case { gemm, buffers: buffers.into() }
    }

    /// What C should hold, and how far each element may be off: every rounding of the sum is
    /// within half a unit of a partial sum, which the sum of the magnitudes bounds.
    fn expected(&self) -> (Vec<f64>, Vec<f64>) {
        let g = &self.gemm;
        let [a, b, bias, before] = [0, 1, 2, 3].map(|i| load(&self.buffers[i], g.ty));
        let (mut c, mut bound) = (before.clone(), vec![0.0; before.len()]);
        let rounds = g.rounds() && g.path() == Path::Tiles;
        let exact = |x: f64| if rounds { (x as f32).rounded().into() } else { x };
        let epsilon = if g.ty == Float::F32 { f32::EPSILON as f64 } else { f64::EPSILON };
        for item in 0..g.batch {
            for i in 0..g.m {
                for j in 0..g.n {
                    let (line, place) = if g.c_turned { (j, i) } else { (i, j) };
                    let at = 1 + item * g.c_batch + line * g.c_stride + place;
                    let (mut sum, mut size) = (0.0, 0.0);
                    for d in 0..g.k {
                        let a = a[1 + item * g.a_batch + i * g.a_strides[0] + d * g.a_strides[1]];
                        let b = b[1 + item * g.b_batch + d * g.b_strides[0] + j * g.b_strides[1]];
                        let product = exact(a) * exact(b);
                        sum += product;
                        size += product.abs();
                    }
                    for (wanted, more) in
                        [(g.bias.is_some(), bias[1 + place]), (g.accumulate, before[at])]
                    {
                        sum += if wanted { more } else { 0.0 };
                        size += if wanted { more.abs() } else { 0.0 };
                    }
                    c[at] = if g.activation == Activation::Relu { sum.max(0.0) } else { sum };
                    bound[at] = (g.k as f64 + 2.0) * epsilon * size;
                }
            }
        }
        (c, bound)
    }

    fn verify(&self) {
        let (expected, bound) = self.expected();
        let refs: Vec<&Buffer> = self.buffers.iter().collect();
        run_alone(&self.gemm, &refs);
        let c = load(&self.buffers[3], self.gemm.ty);
        for (i, (&c, &e)) in c.iter().zip(&expected).enumerate() {
            assert!(
                (c - e).abs() <= bound[i],
                "{i}: {c}, not {e} ± {} in {:?}",
                bound[i],
                self.gemm
            );
        }
    }

    /// Packs B by an instruction of its own, and lets the product use the panels.
    fn prepack(&mut self) {
        let g = &self.gemm;
        let padded = g.n.next_multiple_of(lanes(g.ty, g.isa));
        let bytes = g.b_items() * g.steps() * padded * g.ty.bytes();
        let into = Region::new(4, 0, bytes);
        self.buffers.push(Buffer::zeroed(bytes));
        let refs: Vec<&Buffer> = self.buffers.iter().collect();
        run_alone(&g.pack_instruction(into), &refs);
        self.gemm = self.gemm.clone().with_packed_b(into);
    }
}

#[test]
fn chunks_in_one_piece_give_the_same_bits() {
    let sizes = [[130, 1040, 70], [90, 97, 1500], [64, 784, 128], [3, 900, 800], [700, 200, 64]];
    for (i, [m, n, k]) in sizes.into_iter().enumerate() {
        let lengths = [m * k, n * k, m * n];
        let buffers = lengths.map(|n| Buffer::zeroed(4 * n));
        let mut random = Random::new(i as u64 + 90);
        buffers.iter().for_each(|buffer| fill(buffer, Float::F32, &mut random));
        let [a, b, c] = [0, 1, 2].map(|i| Region::new(i as u32, 0, 4 * lengths[i]));
        let gemm = Gemm::new(Float::F32, [m, n, k], a, b, c);
        let (a_turned, b_turned) = ([1, m], [1, k]);
        for gemm in [
            Gemm { a_strides: a_turned, ..gemm.clone() },
            Gemm { b_strides: b_turned, ..gemm.clone() },
            Gemm { precision: Precision::Bf16, ..gemm.clone() },
            gemm,
        ] {
            let kernel = GemmKernel::from(gemm.clone());
            let chunks = kernel.chunks();
            let refs: Vec<&Buffer> = buffers.iter().collect();
            run_alone(&gemm, &refs);
            let expected = load(&buffers[2], Float::F32);
            let mut memory = Memory::new(3);
            refs.iter().enumerate().for_each(|(i, buffer)| memory.bind(i, buffer));
            for pieces in [1, 2, 3, 5] {
                fill(&buffers[2], Float::F32, &mut Random::nan());
                let mut bytes = vec![0xffu8; kernel.scratch_bytes() + 64];
                let start = bytes.as_ptr().align_offset(64);
                for i in 0..pieces {
                    let fault = crate::Fault::default();
                    let mut scratch = Scratch { bytes: &mut bytes[start..], fault: &fault };
                    // SAFETY: `run_alone` has checked the product, and only this thread runs.
                    unsafe {
                        kernel.run_all(drive::piece(chunks, pieces, i), &memory, &mut scratch)
                    };
                }
                assert_eq!(load(&buffers[2], Float::F32), expected, "{gemm:?} in {pieces}");
            }
        }
    }
}

#[test]
fn random_products_match_the_sums() {
    let mut random = Random::new(1);
    every_machine(|ty, isa| {
        for round in 0..300 {
            let most = [5, 20, 70][round % 3];
            let [m, n, k] = std::array::from_fn(|_| random.below(most));
            let batch = 1 + random.below(3);
            Case::new(&mut random, ty, isa, [m, n, k], batch).verify();
        }
    });
}

#[test]
fn each_tile_height_and_width_is_right() {
    let mut random = Random::new(2);
    every_machine(|ty, isa| {
        for m in 1..=15 {
            for n in [1, 7, 8, 15, 16, 17, 31, 32, 33, 48, 50, 64, 65] {
                Case::new(&mut random, ty, isa, [m, n, 3], 1).verify();
            }
        }
    });
}

#[test]
fn large_products_use_every_way_of_packing() {
    let mut random = Random::new(3);
    let shapes = [[150, 200, 300], [300, 40, 270], [33, 500, 90], [64, 130, 520], [1, 300, 1000]];
    every_machine(|ty, isa| {
        for shape in shapes.into_iter().chain([[3, 170, 400], [400, 2, 300], [90, 1, 65]]) {
            for prepack in [false, true] {
                let batch = 1 + random.below(2);
                let mut case = Case::new(&mut random, ty, isa, shape, batch);
                if prepack {
                    case.prepack();
                }
                case.verify();
            }
        }
    });
}

#[test]
fn strides_that_collide_in_the_caches_are_packed() {
    let mut random = Random::new(7);
    every_machine(|ty, isa| {
        for (turned, shape) in [(false, [70, 300, 90]), (true, [60, 300, 600])] {
            let [m, n, k] = shape;
            let mut case = Case::new(&mut random, ty, isa, shape, 1);
            // Rows of B, and the lines of A, a multiple of 4 KiB apart.
            let a_strides = if turned { [1, 1024] } else { [1024, 1] };
            let lengths =
                [extent(&[(m, a_strides[0]), (k, a_strides[1])]), extent(&[(k, 1024), (n, 1)])];
            for (i, length) in lengths.into_iter().enumerate() {
                case.buffers[i] = Buffer::zeroed((length + 1) * ty.bytes());
                fill(&case.buffers[i], ty, &mut random);
            }
            let region = |i: usize| Region::new(i as u32, ty.bytes(), lengths[i] * ty.bytes());
            let (a, b) = (region(0), region(1));
            case.gemm = Gemm { a, b, a_strides, b_strides: [1024, 1], ..case.gemm };
            let plan = case.gemm.plan();
            assert_eq!((plan.b, plan.pack_a), (SourceB::PackHere, true));
            case.verify();
            case.prepack();
            case.verify();
        }
    });
}

#[test]
fn an_arranged_product_is_the_same_product() {
    let mut random = Random::new(8);
    every_machine(|ty, isa| {
        let mut turned = 0;
        for round in 0..200 {
            let most = [8, 40, 90][round % 3];
            let [m, n, k] = std::array::from_fn(|_| random.below(most));
            let batch = 1 + random.below(2);
            let mut case = Case::new(&mut random, ty, isa, [m, n, k], batch);
            case.gemm.precision = Precision::Full;
            let expected = case.expected();
            let before = case.gemm.c_turned;
            case.gemm = case.gemm.arranged();
            turned += usize::from(case.gemm.c_turned != before);
            let refs: Vec<&Buffer> = case.buffers.iter().collect();
            run_alone(&case.gemm, &refs);
            for (i, c) in load(&case.buffers[3], ty).into_iter().enumerate() {
                let (e, bound) = (expected.0[i], expected.1[i]);
                assert!((c - e).abs() <= bound, "{i}: {c}, not {e} ± {bound} in {:?}", case.gemm);
            }
        }
        assert!(turned > 20, "{turned}");
    });
}

#[test]
fn rounding_is_to_the_nearest_even() {
    let bits = |x: f32| x.rounded().to_bits();
    assert_eq!(bits(1.0), 0x3f80_0000);
    // Halfway between two: to the even one. A little more: up.
    assert_eq!(bits(f32::from_bits(0x3f80_8000)), 0x3f80_0000);
    assert_eq!(bits(f32::from_bits(0x3f81_8000)), 0x3f82_0000);
    assert_eq!(bits(f32::from_bits(0x3f80_8001)), 0x3f81_0000);
    assert_eq!(bits(f32::MAX), f32::INFINITY.to_bits());
    assert_eq!(bits(-0.0), 0x8000_0000);
    assert!(f32::from_bits(0x7f80_0001).rounded().is_nan());
    assert!(f32::NAN.rounded().is_nan());
    assert_eq!(0.1f64.rounded(), 0.1);
}

/// Whoever multiplies pairs rounds as the portable code does: products of powers of two with sums
/// that are exact in any order are the same bits.
#[test]
fn every_machine_rounds_alike() {
    let (m, n, k) = (15, 33, 70);
    let mut results = Vec::new();
    every_machine(|ty, isa| {
        if ty != Float::F32 {
            return;
        }
        let mut random = Random::new(11);
        let value = |random: &mut Random| 1.0 + random.below(1 << 12) as f32 / 4096.0;
        let a = Buffer::from_slice(&(0..m * k).map(|_| value(&mut random)).collect::<Vec<_>>());
        let b = Buffer::from_slice(&(0..k * n).map(|_| value(&mut random)).collect::<Vec<_>>());
        let c = Buffer::zeroed(4 * m * n);
        let [ra, rb, rc] =
            [(0, m * k), (1, k * n), (2, m * n)].map(|(i, n)| Region::new(i, 0, 4 * n));
        let gemm = Gemm::new(ty, [m, n, k], ra, rb, rc);
        run_alone(&Gemm { precision: Precision::Bf16, isa, ..gemm }, &[&a, &b, &c]);
        results.push(c.to_vec::<f32>(0..m * n));
    });
    // Sums of 70 products of 16 bits each fit 24 bits of significand.
    assert!(results.iter().all(|c| *c == results[0]));
}

#[test]
fn the_smaller_side_is_packed() {
    let [a, b, c] = [0, 1, 2].map(|i| Region::new(i, 0, 4 << 22));
    let layer = |m, n, k| Gemm { b_strides: [1, k], ..Gemm::new(Float::F32, [m, n, k], a, b, c) };
    // A few rows of inputs, and a weight `[outputs, inputs]`.
    let small = layer(64, 512, 784).arranged();
    assert_eq!((small.m, small.n, small.a, small.c_turned), (512, 64, b, true));
    assert_eq!(small.a_strides, [784, 1]);
    assert_eq!(small.b_strides, [1, 784]);
    let large = layer(2048, 512, 784);
    assert_eq!(large.clone().arranged(), large);
    let single = layer(1, 512, 784);
    assert_eq!(single.clone().arranged(), single);
}

#[test]
fn packing_before_pays_where_a_product_would_pack_or_change_sides() {
    let [a, b, c] = [0, 1, 2].map(|i| Region::new(i, 0, 4 << 22));
    let plain = |m, n, k| Gemm::new(Float::F32, [m, n, k], a, b, c);
    let layer = |m, n, k| Gemm { b_strides: [1, k], ..plain(m, n, k) };
    assert!(layer(64, 512, 784).prepacking_pays() && layer(2048, 512, 784).prepacking_pays());
    assert!(!layer(1, 512, 784).prepacking_pays(), "its rows are read as they lie");
    assert!(!plain(64, 500, 784).prepacking_pays(), "panels lie in place");
    assert!(plain(64, 1024, 784).prepacking_pays(), "rows collide in the caches");
    let rounded = Gemm { precision: Precision::Bf16, ..plain(64, 500, 784) };
    assert!(rounded.prepacking_pays(), "packing is where it is rounded");
    assert!(!layer(64, 512, 0).prepacking_pays());
}

#[test]
fn packing_pays_where_chunks_share_columns() {
    let [a, b, c] = [0, 1, 2].map(|i| Region::new(i, 0, 4 << 20));
    let large = Gemm::new(Float::F32, [1024, 1024, 1024], a, b, c);
    assert_eq!(large.packed_b_bytes(), Some(4 << 20));
    assert_eq!(large.clone().with_packed_b(Region::new(3, 0, 4 << 20)).packed_b_bytes(), None);
    assert!(large.chunks() >= 16);
    let small = Gemm::new(Float::F32, [32, 64, 64], a, b, c);
    assert_eq!((small.packed_b_bytes(), small.chunks()), (None, 1));
    assert_eq!(small.scratch_bytes(), 0);
}

#[test]
fn parts_add_up_to_the_product() {
    let mut random = Random::new(4);
    every_machine(|ty, isa| {
        let mut case = loop {
            let case = Case::new(&mut random, ty, isa, [20, 30, 9000], 1);
            if !case.gemm.c_turned {
                break case;
            }
        };
        case.gemm = Gemm { bias: None, activation: Activation::None, ..case.gemm };
        case.gemm = Gemm { accumulate: false, c_stride: 30, ..case.gemm };
        let (expected, bound) = case.expected();
        let parts = case.gemm.suggested_parts();
        assert_eq!(parts, 5);
        let bytes = ty.bytes() * 20 * 30;
        let partial = Region::new(3, 0, parts * bytes);
        let to = Region::new(4, 0, bytes);
        let gemm = Gemm { parts, c: partial, ..case.gemm.clone() };
        let sum = SumParts { ty, parts, len: 600, from: partial, to, accumulate: false };
        let (more, sums) = (Buffer::zeroed(partial.bytes), Buffer::zeroed(bytes));
        let buffers = [&case.buffers[0], &case.buffers[1], &case.buffers[2], &more, &sums];
        run_alone(&gemm, &buffers);
        run_alone(&sum, &buffers);
        run_alone(&SumParts { accumulate: true, ..sum }, &buffers);
        for (i, c) in load(&sums, ty).into_iter().enumerate() {
            let e = 2.0 * expected[1 + i];
            assert!((c - e).abs() <= 2.0 * bound[1 + i], "{i}: {c}, not {e}");
        }
    });
}

#[test]
fn sums_many_parts_in_chunks() {
    let (parts, len) = (3, 40_000);
    let from = Buffer::from_slice(&(0..parts * len).map(|i| i as f32).collect::<Vec<_>>());
    let to = Buffer::zeroed(4 * len);
    let sum = SumParts {
        ty: Float::F32,
        parts,
        len,
        from: Region::new(0, 0, from.bytes()),
        to: Region::new(1, 0, to.bytes()),
        accumulate: false,
    };
    assert!(sum.chunks() > 1);
    run_alone(&sum, &[&from, &to]);
    let expected = |i: usize| (0..parts).map(|p| (p * len + i) as f32).sum::<f32>();
    assert!(to.to_vec::<f32>(0..len).into_iter().enumerate().all(|(i, x)| x == expected(i)));
    assert!(SumParts { len: len + 1, ..sum.clone() }.check().is_err());
    assert!(SumParts { to: sum.from, ..sum }.check().is_err());
}

#[test]
fn what_is_not_a_number_stays_so() {
    every_machine(|ty, isa| {
        for seed in 5..15 {
            let case = Case::new(&mut Random::new(seed), ty, isa, [9, 40, 20], 1);
            fill(&case.buffers[0], ty, &mut Random::nan());
            let refs: Vec<&Buffer> = case.buffers.iter().collect();
            let g = Gemm { activation: Activation::Relu, ..case.gemm };
            run_alone(&g, &refs);
            let first_line = 1..1 + g.lines()[1];
            assert!(load(&case.buffers[3], ty)[first_line].iter().all(|x| x.is_nan()));
        }
    });
}

#[test]
fn regions_that_are_too_small_are_refused() {
    let mut random = Random::new(6);
    every_machine(|ty, isa| {
        for _ in 0..20 {
            let [m, n, k] = std::array::from_fn(|_| 1 + random.below(40));
            let g = Case::new(&mut random, ty, isa, [m, n, k], 2).gemm;
            let g = Gemm { precision: Precision::Full, ..g };
            let short = |r: Region| Region { bytes: r.bytes - 1, ..r };
            g.check().unwrap();
            assert!(Gemm { a: short(g.a), ..g.clone() }.check().is_err());
            assert!(Gemm { b: short(g.b), ..g.clone() }.check().is_err());
            assert!(Gemm { c: short(g.c), ..g.clone() }.check().is_err());
            assert!(
                Gemm { bias: g.bias.map(short), ..g.clone() }.check().is_err() == g.bias.is_some()
            );
            assert!(
                Gemm { c: Region { bytes: g.c.bytes + 9, ..g.a }, ..g.clone() }.check().is_err()
            );
            assert!(Gemm { a: Region { offset: 2, ..g.a }, ..g.clone() }.check().is_err());
            let bytes = 2 * k * n.next_multiple_of(lanes(ty, isa)) * ty.bytes();
            let panels = |bytes| Some(Region::new(4, 0, bytes));
            assert!(Gemm { packed_b: panels(bytes), ..g.clone() }.check().is_ok());
            assert!(Gemm { b_batch: 1, packed_b: panels(bytes - 1), ..g.clone() }.check().is_err());
            let pack = g.pack_instruction(Region::new(4, 0, bytes));
            pack.check().unwrap();
            assert!(PackB { to: Region::new(4, 0, 1), ..pack.clone() }.check().is_err());
            assert!(PackB { from: short(pack.from), ..pack.clone() }.check().is_err());
            assert!(PackB { to: pack.from, ..pack }.check().is_err());
        }
    });
}

#[test]
fn strides_and_sizes_that_do_not_fit_are_refused() {
    let [a, b, c] = [0, 1, 2].map(|i| Region::new(i, 0, 400));
    let g = Gemm::new(Float::F32, [10, 10, 10], a, b, c);
    g.check().unwrap();
    assert!(Gemm { a_strides: [2, 2], ..g.clone() }.check().unwrap_err().contains("must be 1"));
    assert!(Gemm { c_stride: 9, ..g.clone() }.check().unwrap_err().contains("rows of C"));
    assert!(Gemm { batch: 2, ..g.clone() }.check().unwrap_err().contains("matrices C"));
    assert!(Gemm { a_strides: [usize::MAX / 2, 1], ..g.clone() }.check().is_err());
    assert!(Gemm { batch: 2, c_batch: usize::MAX, ..g.clone() }.check().is_err());
    assert!(Gemm { parts: 11, ..g.clone() }.check().is_err());
    assert!(Gemm { parts: 2, ..g.clone() }.check().unwrap_err().contains("needs 200 x 4"));
    assert!(Gemm { parts: 1, ..Gemm::new(Float::F64, [10, 10, 10], a, b, c) }.check().is_err());
    let huge = Gemm::new(Float::F32, [usize::MAX, usize::MAX, 2], a, b, c);
    assert!(huge.check().is_err());
    assert!(Gemm { m: 0, ..huge }.check().is_ok());
}
