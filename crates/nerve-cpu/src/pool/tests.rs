use super::*;
use crate::memory::Buffer;
use crate::real::testing::{Rng, near, refuses_short, run_each, whole};

/// Places of one axis that window `o` covers, padding included, as signed coordinates.
fn places(o: usize, kernel: usize, stride: usize, pad: usize) -> impl Iterator<Item = isize> {
    let start = (o * stride) as isize - pad as isize;
    start..start + kernel as isize
}

struct Expected {
    y: Vec<f64>,
    /// Of maxima.
    places: Vec<i32>,
    dx: Vec<f64>,
}

/// Forward and backward by the definition, window by window, in f64.
fn reference(p: &PoolShape, x: &[f64], dy: &[f64]) -> Expected {
    let mut y = vec![0.0; dy.len()];
    let mut dx = vec![0.0; x.len()];
    let mut found = Vec::new();
    let outputs = (0..p.n).flat_map(|n| {
        (0..p.oh)
            .flat_map(move |oy| (0..p.ow).flat_map(move |ox| (0..p.c).map(move |c| (n, oy, ox, c))))
    });
    for (n, oy, ox, c) in outputs {
        let out = ((n * p.oh + oy) * p.ow + ox) * p.c + c;
        let (mut inside, mut numbers, mut counted, mut number) = (Vec::new(), Vec::new(), 0, 0);
        for iy in places(oy, p.kernel[0], p.stride[0], p.pad[0]) {
            for ix in places(ox, p.kernel[1], p.stride[1], p.pad[1]) {
                let within = |border: [usize; 2]| {
                    let [down, across] = border.map(|b| b as isize);
                    (-down..p.h as isize + down).contains(&iy)
                        && (-across..p.w as isize + across).contains(&ix)
                };
                if within([0, 0]) {
                    inside.push(((n * p.h + iy as usize) * p.w + ix as usize) * p.c + c);
                    numbers.push(number);
                }
                number += 1;
                let border = if p.count_include_pad { p.pad } else { [0, 0] };
                counted += usize::from(within(border));
            }
        }
        match p.kind {
            PoolKind::Avg => {
                y[out] = inside.iter().map(|&i| x[i]).sum::<f64>() / counted as f64;
                inside.iter().for_each(|&i| dx[i] += dy[out] / counted as f64);
            }
            PoolKind::Max => {
                let nan = inside.iter().copied().find(|&i| x[i].is_nan());
                let first = nan.unwrap_or_else(|| {
                    let top = inside.iter().map(|&i| x[i]).fold(f64::NEG_INFINITY, f64::max);
                    inside.iter().copied().find(|&i| x[i] == top).unwrap()
                });
                y[out] = x[first];
                found.push(numbers[inside.iter().position(|&i| i == first).unwrap()]);
                dx[first] += dy[out];
            }
        }
    }
    Expected { y, places: found, dx }
}

fn agree<T: Real + Default>(mut p: Pool, rng: &mut Rng, odd: bool) {
    let s = p.shape;
    let (nx, ny) = (s.n * s.h * s.w * s.c, s.n * s.oh * s.ow * s.c);
    let x: Vec<T> = if odd { rng.coarse(nx) } else { rng.reals(nx, 1.0) };
    let dy: Vec<T> = rng.reals(ny, 1.0);
    let (x_in, dy_in) = (Buffer::from_slice(&x), Buffer::from_slice(&dy));
    let y_out = Buffer::from_slice(&vec![T::NAN; ny]);
    let dx_out = Buffer::from_slice(&vec![T::NAN; nx]);
    let found = Buffer::zeroed(ny * s.place_bytes());
    let buffers = [&x_in, &y_out, &dy_in, &dx_out, &found];
    (p.x, p.y) = (whole(0, &x_in), Some(whole(1, &y_out)));
    let wide = |v: &[T]| v.iter().map(|v| v.to_f64()).collect::<Vec<f64>>();
    let want = reference(&p.shape, &wide(&x), &wide(&dy));
    let taps = (s.kernel[0] * s.kernel[1]) as f64;
    let eps = if p.ty == Float::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON };
    let same_y = |p: &Pool, isa: Isa| {
        for (i, (&y, &want)) in y_out.to_vec::<T>(0..ny).iter().zip(&want.y).enumerate() {
            let want = if p.relu && want < 0.0 { 0.0 } else { want };
            near(y, want, taps * eps, format_args!("{isa:?} y[{i}] of {p:?}"));
        }
    };
    let same_dx = |isa: Isa, open: &dyn Fn(f64) -> bool| {
        let dy: Vec<f64> =
            wide(&dy).iter().zip(&want.y).map(|(dy, &y)| if open(y) { *dy } else { 0.0 }).collect();
        let want = reference(&s, &wide(&x), &dy);
        for (i, &dx) in dx_out.to_vec::<T>(0..nx).iter().enumerate() {
            near(dx, want.dx[i], taps * eps, format_args!("{isa:?} dx[{i}] of {s:?}"));
        }
    };
    p.relu = rng.below(2) == 0;
    run_each(&p, &buffers, |isa| same_y(&p, isa));
    let back = grad_of(&p, whole(4, &found), whole(2, &dy_in), whole(3, &dx_out));
    if s.kind == PoolKind::Avg {
        return run_each(&back, &buffers, |isa| same_dx(isa, &|_| true));
    }
    for (positive, wanted) in [(false, true), (false, false), (s.place_bytes() == 1, true)] {
        let places = Some(Places { region: whole(4, &found), positive });
        let p = Pool { y: p.y.filter(|_| wanted), places, ..p.clone() };
        y_out.write(0, &vec![T::NAN; ny]);
        run_each(&p, &buffers, |isa| {
            if wanted {
                same_y(&p, isa);
            }
            let open = |y: f64| !positive || y > 0.0;
            for (i, place) in found_places(&s, &found).into_iter().enumerate() {
                let want = if open(want.y[i]) { want.places[i] } else { NO_PLACE.into() };
                assert_eq!(place, want, "{isa:?} place {i} of {p:?}");
            }
            run_each(&back, &buffers, |isa| same_dx(isa, &open));
        });
    }
}

fn found_places(s: &PoolShape, found: &Buffer) -> Vec<i32> {
    match s.place_bytes() {
        1 => found.to_vec::<u8>(0..found.bytes()).into_iter().map(i32::from).collect(),
        _ => found.to_vec(0..found.bytes() / 4),
    }
}

fn grad_of(p: &Pool, places: Region, dy: Region, dx: Region) -> PoolGrad {
    let places = (p.shape.kind == PoolKind::Max).then_some(places);
    PoolGrad { ty: p.ty, shape: p.shape, places, dy, dx }
}

/// A pooling of `[n, h, w, c]` images; as many windows as fit, or begin, inside.
fn shape(
    [n, h, w, c]: [usize; 4],
    kernel: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 2],
    ceil: bool,
) -> Pool {
    let out = |d: usize, extent: usize| {
        let Some(room) = (extent + 2 * pad[d]).checked_sub(kernel[d]) else { return 0 };
        let out = if ceil { room.div_ceil(stride[d]) } else { room / stride[d] } + 1;
        if (out - 1) * stride[d] >= extent + pad[d] { out - 1 } else { out }
    };
    let (oh, ow) = (out(0, h), out(1, w));
    let none = Region::new(0, 0, 0);
    let (ty, kind) = (Float::F32, PoolKind::Max);
    let count_include_pad = false;
    let shape = PoolShape { kind, n, h, w, c, kernel, stride, pad, oh, ow, count_include_pad };
    Pool { ty, shape, x: none, y: Some(none), relu: false, places: None }
}

fn agree_all_ways(p: &Pool, rng: &mut Rng) {
    for (kind, count_include_pad) in
        [(PoolKind::Max, false), (PoolKind::Avg, false), (PoolKind::Avg, true)]
    {
        let odd = kind == PoolKind::Max && rng.below(2) == 0;
        let shape = PoolShape { kind, count_include_pad, ..p.shape };
        agree::<f32>(Pool { shape, ..p.clone() }, rng, odd);
        agree::<f64>(Pool { ty: Float::F64, shape, ..p.clone() }, rng, odd);
    }
}

#[test]
fn agrees_with_the_definition_on_random_shapes() {
    let mut rng = Rng(1);
    for _ in 0..150 {
        let size = |rng: &mut Rng| 1 + rng.below(9);
        let c = [1, 1, 2, 3, 6, 8, 16, 17, 40][rng.below(9)];
        let dims = [1 + rng.below(3), size(&mut rng), size(&mut rng), c];
        let kernel = [1 + rng.below(4), 1 + rng.below(4)];
        let stride = [1 + rng.below(3), 1 + rng.below(3)];
        let pad = [rng.below(kernel[0]), rng.below(kernel[1])];
        let ceil = rng.below(2) == 0;
        agree_all_ways(&shape(dims, kernel, stride, pad, ceil), &mut rng);
    }
}

#[test]
fn agrees_with_the_definition_on_common_shapes() {
    let mut rng = Rng(2);
    for (dims, kernel, stride, pad) in [
        ([2, 28, 28, 32], 2, 2, 0),
        ([2, 7, 9, 16], 2, 2, 0),
        ([3, 28, 28, 1], 2, 2, 0),
        ([2, 24, 23, 6], 2, 2, 0),
        ([1, 14, 14, 20], 3, 2, 1),
        ([2, 20, 20, 1], 3, 1, 1),
        ([2, 7, 7, 64], 7, 1, 0),
        ([2, 19, 18, 3], 17, 1, 2),
        ([1, 19, 18, 1], 16, 2, 8),
        ([1, 1, 1, 1], 1, 1, 0),
        ([0, 4, 4, 3], 2, 2, 0),
        ([2, 4, 4, 0], 2, 2, 0),
        ([2, 0, 0, 3], 1, 1, 0),
        ([2, 1, 1, 3], 2, 2, 0),
    ] {
        agree_all_ways(&shape(dims, [kernel; 2], [stride; 2], [pad; 2], false), &mut rng);
    }
}

#[test]
fn images_larger_than_a_chunk_are_cut_at_rows() {
    let mut rng = Rng(3);
    for (kernel, stride, pad) in [(2, 2, 0), (3, 2, 1), (2, 3, 0), (3, 1, 1)] {
        let p = shape([2, 61, 40, 33], [kernel; 2], [stride; 2], [pad; 2], false);
        let back = grad_of(&p, p.x, p.x, p.x);
        assert!(back.chunks() > 2 && p.chunks() > 1, "{} {}", back.chunks(), p.chunks());
        agree_all_ways(&p, &mut rng);
    }
}

#[test]
fn the_first_of_equal_elements_takes_the_gradient() {
    let x = Buffer::from_slice(&[5.0f32, 5.0, f32::NAN, 1.0, 5.0, 5.0, f32::NAN, f32::INFINITY]);
    let (dy, dx) = (Buffer::from_slice(&[1.0f32, 2.0]), Buffer::zeroed(32));
    let found = Buffer::zeroed(2);
    let mut p = shape([1, 2, 4, 1], [2, 2], [2, 2], [0, 0], false);
    (p.x, p.y) = (whole(0, &x), None);
    p.places = Some(Places { region: whole(3, &found), positive: false });
    let back = grad_of(&p, whole(3, &found), whole(1, &dy), whole(2, &dx));
    run_each(&p, &[&x, &dy, &dx, &found], |_| {
        run_each(&back, &[&x, &dy, &dx, &found], |_| {
            assert_eq!(dx.to_vec::<f32>(0..8), [1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        });
    });
}

#[test]
fn check_refuses_what_does_not_fit() {
    let mut p = shape([2, 4, 4, 3], [2, 2], [2, 2], [0, 0], false);
    p.x = Region::new(0, 16, 2 * 4 * 4 * 3 * 4);
    let y = Region::new(1, 16, 2 * 2 * 2 * 3 * 4);
    p.y = Some(y);
    refuses_short(&p, &[|p| &mut p.x, |p| p.y.as_mut().unwrap()]);
    let places = Region::new(3, 0, 24);
    let found = |region, positive| Pool { places: Some(Places { region, positive }), ..p.clone() };
    found(places, true).check().unwrap();
    assert!(found(Region::new(3, 0, 23), true).check().is_err());
    assert!(found(y, true).check().is_err());
    let mut large = found(Region::new(3, 0, 1 << 20), true);
    (large.shape.kernel, large.shape.pad) = ([16, 16], [8, 8]);
    assert!(large.check().is_err());
    large.places.as_mut().unwrap().positive = false;
    large.check().unwrap();
    large.shape.kind = PoolKind::Avg;
    assert!(large.check().is_err());
    let back = grad_of(&p, places, y, Region { buffer: 2, ..p.x });
    refuses_short(&back, &[|p| &mut p.dy, |p| &mut p.dx]);
    assert!(PoolGrad { places: Some(Region::new(3, 0, 23)), ..back.clone() }.check().is_err());
    assert!(PoolGrad { places: None, ..back.clone() }.check().is_err());
    let mean = PoolShape { kind: PoolKind::Avg, ..back.shape };
    assert!(PoolGrad { shape: mean, places: None, ..back.clone() }.check().is_ok());
    assert!(PoolGrad { dx: y, ..back }.check().is_err());
    let refused = |change: fn(&mut Pool)| {
        let mut p = p.clone();
        (p.x.bytes, p.y) = (1 << 40, Some(Region::new(1, 0, 1 << 40)));
        p.check().unwrap();
        change(&mut p);
        assert!(p.check().is_err(), "{p:?}");
    };
    refused(|p| p.shape.kernel[0] = 0);
    refused(|p| p.shape.stride[1] = 0);
    refused(|p| p.shape.pad[0] = 2);
    refused(|p| p.shape.oh = 3);
    refused(|p| p.shape.ow = usize::MAX);
    refused(|p| p.shape.stride[0] = usize::MAX);
    refused(|p| p.shape.kernel = [usize::MAX; 2]);
    refused(|p| (p.shape.kernel[0], p.shape.pad[0]) = (usize::MAX, usize::MAX - 1));
    refused(|p| p.shape.n = usize::MAX);
    refused(|p| p.shape.h = 0);
    refused(|p| p.y = Some(p.x));
}
