use super::*;
use crate::kernel::run_alone;
use crate::memory::Buffer;
use crate::real::testing::{Rng, refuses_short, run_backwards, run_each, whole};
use crate::real::{Num, Number};

const SHAPES: [[usize; 4]; 12] = [
    [1, 5, 7, 1],
    [1, 1, 1, 1],
    [2, 3, 4, 5],
    [3, 10, 100, 17],
    [1, 1000, 300, 64],
    [1, 70_000, 50, 1],
    [400, 30, 20, 8],
    [2, 40, 3000, 33],
    [0, 3, 4, 5],
    [2, 3, 0, 5],
    [2, 3, 4, 0],
    [1, 2, 90_000, 1],
];

fn indices(rng: &mut Rng, n: usize, axis: usize) -> Vec<i32> {
    (0..n).map(|_| rng.below(axis) as i32).collect()
}

fn gather_agrees<T: Plain + Default + PartialEq + std::fmt::Debug>(make: fn(u64) -> T) {
    let mut rng = Rng(11);
    for [outer, axis, count, inner] in SHAPES {
        let src: Vec<T> = (0..outer * axis * inner).map(|_| make(rng.bits())).collect();
        let n = outer * count * inner;
        let dst = Buffer::zeroed(n * size_of::<T>());
        let src_in = Buffer::from_slice(&src);
        let bytes = size_of::<T>();

        let index = indices(&mut rng, count, axis);
        let index_in = Buffer::from_slice(&index);
        let [s, i, d] = [whole(0, &src_in), whole(1, &index_in), whole(2, &dst)];
        let rows = Gather { bytes, outer, axis, count, inner, src: s, index: i, dst: d };
        run_alone(&rows, &[&src_in, &index_in, &dst]);
        let got: Vec<T> = dst.to_vec(0..n);
        for (at, &got) in got.iter().enumerate() {
            let (o, j, i) = (at / (count * inner), at / inner % count, at % inner);
            assert_eq!(got, src[(o * axis + index[j] as usize) * inner + i]);
        }

        let index = indices(&mut rng, n, axis);
        let index_in = Buffer::from_slice(&index);
        let i = whole(1, &index_in);
        let each = GatherElements { bytes, outer, axis, count, inner, src: s, index: i, dst: d };
        run_alone(&each, &[&src_in, &index_in, &dst]);
        let got: Vec<T> = dst.to_vec(0..n);
        for (at, &got) in got.iter().enumerate() {
            let (o, i) = (at / (count * inner), at % inner);
            assert_eq!(got, src[(o * axis + index[at] as usize) * inner + i]);
        }
    }
}

#[test]
fn gather_reads_what_the_indices_say() {
    gather_agrees(|bits| bits as u8);
    gather_agrees(|bits| bits as u16);
    gather_agrees(|bits| bits as u32);
    gather_agrees(|bits| bits);
}

/// Adds in the order of the list, so that the sums are the same to the bit.
fn scatter_agrees<T: Num>(ty: Number, make: fn(&mut Rng) -> T) {
    let mut rng = Rng(12);
    for [outer, axis, count, inner] in SHAPES {
        let n = outer * count * inner;
        let src: Vec<T> = (0..n).map(|_| make(&mut rng)).collect();
        let src_in = Buffer::from_slice(&src);
        let size = outer * axis * inner;
        // Whatever the output held before must not show.
        let dst = Buffer::from_slice(&vec![0x7fu8; size * ty.bytes()]);
        for by_element in [false, true] {
            let index = indices(&mut rng, if by_element { n } else { count }, axis);
            let index_in = Buffer::from_slice(&index);
            let buffers = [&index_in, &src_in, &dst];
            let mut want = vec![T::default(); size];
            for (at, &src) in src.iter().enumerate() {
                let (o, j, i) = (at / (count * inner), at / inner % count, at % inner);
                let k = index[if by_element { at } else { j }] as usize;
                let want = &mut want[(o * axis + k) * inner + i];
                *want = want.plus(src);
            }
            let [i, s, d] = [whole(0, &index_in), whole(1, &src_in), whole(2, &dst)];
            let look = || assert_eq!(dst.to_vec::<T>(0..size), want);
            if by_element {
                let meeting = Meeting::Add(ty);
                let (x, index, src, dst) = (None, i, s, d);
                let kernel =
                    ScatterElements { meeting, outer, axis, count, inner, x, index, src, dst };
                run_alone(&kernel, &buffers);
                look();
                assert_eq!(run_backwards(&kernel, &buffers), None);
            } else {
                let kernel = ScatterAdd { ty, outer, axis, count, inner, index: i, src: s, dst: d };
                run_each(&kernel, &buffers, |_| look());
                assert_eq!(run_backwards(&kernel, &buffers), None);
            }
            assert_eq!(dst.to_vec::<T>(0..size), want);
        }
    }
}

#[test]
fn scatter_adds_in_the_order_of_the_list() {
    scatter_agrees(Number::F32, |rng| rng.real() as f32);
    scatter_agrees(Number::F64, |rng| rng.real());
    scatter_agrees(Number::I32, |rng| rng.bits() as i32);
    scatter_agrees(Number::I64, |rng| rng.bits() as i64);
}

#[test]
fn large_outputs_fall_into_chunks() {
    let at = Region::new(0, 0, 0);
    let big = ScatterAdd {
        ty: Number::F32,
        outer: 1,
        axis: 30_000,
        count: 4096,
        inner: 256,
        index: at,
        src: at,
        dst: at,
    };
    assert_eq!(big.chunks(), 16);
    assert!(ScatterAdd { outer: 8, axis: 100, count: 100, ..big }.chunks() >= 8);
}

#[test]
fn indices_out_of_range_are_reported() {
    let src = Buffer::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let index = Buffer::from_slice(&[2, 3, -1]);
    let dst = Buffer::zeroed(4 * 6);
    let buffers = [&src, &index, &dst];
    let [s, i, d] = [whole(0, &src), whole(1, &index), whole(2, &dst)];
    let rows = Gather { bytes: 4, outer: 1, axis: 3, count: 3, inner: 2, src: s, index: i, dst: d };
    assert_eq!(run_backwards(&rows, &buffers), Some((1, 3)));
    assert_eq!(dst.to_vec::<f32>(0..6), [5.0, 6.0, 0.0, 0.0, 0.0, 0.0]);
    let ty = Number::F32;
    let add = ScatterAdd { ty, outer: 1, axis: 3, count: 3, inner: 2, index: i, src: s, dst: d };
    assert_eq!(run_backwards(&add, &buffers), Some((1, 3)));
    assert_eq!(dst.to_vec::<f32>(0..6), [0.0, 0.0, 0.0, 0.0, 1.0, 2.0]);
    let each = GatherElements {
        bytes: 4,
        outer: 3,
        axis: 2,
        count: 1,
        inner: 1,
        src: s,
        index: i,
        dst: d,
    };
    assert_eq!(run_backwards(&each, &buffers), Some((0, 2)));
    let (meeting, x, index, src, dst_at) = (Meeting::Add(ty), None, i, s, d);
    let add = ScatterElements {
        meeting,
        outer: 3,
        axis: 2,
        count: 1,
        inner: 1,
        x,
        index,
        src,
        dst: dst_at,
    };
    assert_eq!(run_backwards(&add, &buffers), Some((0, 2)));
    assert_eq!(dst.to_vec::<f32>(0..6), [0.0; 6]);
}

#[test]
fn check_refuses_what_does_not_fit() {
    let at = |i: u32, bytes: usize| Region::new(i, 16, bytes);
    let (outer, axis, count, inner) = (2, 3, 4, 5);
    let rows = Gather {
        bytes: 8,
        outer,
        axis,
        count,
        inner,
        src: at(0, 240),
        index: at(1, 16),
        dst: at(2, 320),
    };
    refuses_short(&rows, &[|k| &mut k.src, |k| &mut k.index, |k| &mut k.dst]);
    assert!(Gather { bytes: 3, ..rows.clone() }.check().is_err());
    assert!(Gather { dst: at(0, 320), ..rows.clone() }.check().is_err());
    assert!(Gather { axis: usize::MAX, outer: 0, ..rows.clone() }.check().is_err());
    assert!(Gather { count: usize::MAX / 3, ..rows }.check().is_err());
    let (index, src, dst) = (at(1, 160), at(0, 240), at(2, 320));
    let each = GatherElements { bytes: 8, outer, axis, count, inner, src, index, dst };
    refuses_short(&each, &[|k| &mut k.src, |k| &mut k.index, |k| &mut k.dst]);
    let (index, src, dst) = (at(1, 16), at(0, 320), at(2, 240));
    let add = ScatterAdd { ty: Number::F64, outer, axis, count, inner, index, src, dst };
    refuses_short(&add, &[|k| &mut k.src, |k| &mut k.index, |k| &mut k.dst]);
    assert!(ScatterAdd { dst: at(0, 240), ..add }.check().is_err());
    let (meeting, x, index) = (Meeting::Add(Number::F64), None, at(1, 160));
    let add = ScatterElements { meeting, outer, axis, count, inner, x, index, src, dst };
    refuses_short(&add, &[|k| &mut k.src, |k| &mut k.index, |k| &mut k.dst]);
}
