use super::*;
use crate::kernel::run_alone;
use crate::memory::Buffer;
use crate::real::testing::{Rng, near, refuses_short, run_backwards, run_each, whole};

fn log_softmax(x: &[f64]) -> Vec<f64> {
    let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = x.iter().map(|x| (x - top).exp()).sum();
    x.iter().map(|x| x - top - sum.ln()).collect()
}

/// Loss and gradient of one row by the definition, in f64.
fn reference(x: &[f64], p: &[f64], dloss: f64) -> (f64, Vec<f64>) {
    let log = log_softmax(x);
    let loss = -log.iter().zip(p).map(|(l, p)| if *p == 0.0 { 0.0 } else { l * p }).sum::<f64>();
    let all: f64 = p.iter().sum();
    (loss, log.iter().zip(p).map(|(l, p)| dloss * (l.exp() * all - p)).collect())
}

fn agree<T: Real + Default>(ty: Float, rows: usize, cols: usize, scale: f64, by_index: bool) {
    let mut rng = Rng((rows * 31 + cols) as u64);
    let n = rows * cols;
    let x: Vec<T> = rng.reals(n, scale);
    let index: Vec<i32> = (0..rows).map(|_| rng.below(cols.max(1)) as i32).collect();
    let mut p: Vec<T> = rng.reals::<T>(n, 1.0).iter().map(|&p| p * p).collect();
    if by_index {
        p.fill(T::ZERO);
        (0..rows).for_each(|r| p[r * cols + index[r] as usize] = T::ONE);
    }
    let dloss: Vec<T> = rng.reals(rows, 1.0);
    let target = if by_index { Buffer::from_slice(&index) } else { Buffer::from_slice(&p) };
    let (x_in, loss) = (Buffer::from_slice(&x), Buffer::zeroed(rows * ty.bytes()));
    let (d_in, dx) = (Buffer::from_slice(&dloss), Buffer::zeroed(n * ty.bytes()));
    let buffers = [&x_in, &target, &loss, &d_in, &dx];
    let region = whole(1, &target);
    let goal = if by_index { Target::Index(region) } else { Target::Probability(region) };
    let forward = CrossEntropy {
        ty,
        rows,
        cols,
        ignore_index: None,
        logits: whole(0, &x_in),
        target: goal,
        loss: whole(2, &loss),
    };
    let back = CrossEntropyGrad {
        ty,
        rows,
        cols,
        ignore_index: None,
        logits: whole(0, &x_in),
        target: goal,
        dloss: whole(3, &d_in),
        dlogits: whole(4, &dx),
    };
    let eps = if ty == Float::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON };
    let wide = |v: &[T]| v.iter().map(|v| v.to_f64()).collect::<Vec<f64>>();
    let want: Vec<(f64, Vec<f64>)> = (0..rows)
        .map(|r| {
            let row = r * cols..(r + 1) * cols;
            reference(&wide(&x[row.clone()]), &wide(&p[row]), dloss[r].to_f64())
        })
        .collect();
    run_each(&forward, &buffers, |isa| {
        for (r, &loss) in loss.to_vec::<T>(0..rows).iter().enumerate() {
            let what = format_args!("{isa:?} {rows}x{cols} scale {scale} row {r}");
            near(loss, want[r].0, (8.0 + (cols as f64).sqrt()) * eps, what);
        }
    });
    run_each(&back, &buffers, |isa| {
        for (i, &dx) in dx.to_vec::<T>(0..n).iter().enumerate() {
            let what = format_args!("{isa:?} {rows}x{cols} scale {scale} grad {i}");
            // exp(d) is as exact as its argument d, where it is not vanishingly small.
            let bound = (scale.min(40.0) + 16.0 + (cols as f64)) * eps;
            near(dx, want[i / cols].1[i % cols], bound, what);
        }
    });
}

#[test]
fn agrees_with_the_definition() {
    for (rows, cols) in
        [(0, 10), (1, 1), (64, 10), (5, 33), (300, 3), (3, 1024), (2, 1025), (2, 5000), (1700, 10)]
    {
        for scale in [1.0, 10.0, 1e4] {
            for by_index in [true, false] {
                agree::<f32>(Float::F32, rows, cols, scale, by_index);
                agree::<f64>(Float::F64, rows, cols, scale, by_index);
            }
        }
    }
    agree::<f32>(Float::F32, 3, 0, 1.0, false);
}

/// What a fault says: position and value.
type Reported = Option<(usize, i64)>;

/// Losses and gradients of a few short rows, and what forward and backward reported.
fn small(
    x: &[f32],
    index: &[i32],
    ignore_index: Option<i32>,
) -> (Vec<f32>, Vec<f32>, [Reported; 2]) {
    let rows = index.len();
    let cols = x.len() / rows;
    let b = [
        Buffer::from_slice(x),
        Buffer::from_slice(index),
        Buffer::zeroed(4 * rows),
        Buffer::from_slice(&vec![1.0f32; rows]),
        Buffer::zeroed(4 * x.len()),
    ];
    let buffers: Vec<&Buffer> = b.iter().collect();
    let ty = Float::F32;
    let (logits, target) = (whole(0, &b[0]), Target::Index(whole(1, &b[1])));
    let loss = whole(2, &b[2]);
    let forward = CrossEntropy { ty, rows, cols, ignore_index, logits, target, loss };
    let (dloss, dlogits) = (whole(3, &b[3]), whole(4, &b[4]));
    let back = CrossEntropyGrad { ty, rows, cols, ignore_index, logits, target, dloss, dlogits };
    let reported = [run_backwards(&forward, &buffers), run_backwards(&back, &buffers)];
    (b[2].to_vec(0..rows), b[4].to_vec(0..x.len()), reported)
}

#[test]
fn wrong_indices_are_reported_and_ignored_ones_are_not() {
    let x = [1.0, 2.0, 3.0].repeat(4);
    let (loss, dx, reported) = small(&x, &[-100, 2, 3, -1], Some(-100));
    assert_eq!(reported, [Some((2, 3)); 2]);
    assert_eq!(loss[0], 0.0);
    assert!(loss[1] > 0.4 && loss[1] < 0.41);
    assert!(loss[2].is_nan() && loss[3].is_nan());
    assert_eq!(dx[0..3], [0.0; 3]);
    assert_eq!(dx[6..12], [0.0; 6]);
    assert!(dx[5] < 0.0 && dx[3] > 0.0);

    let (loss, _, reported) = small(&x, &[0, 0, 0, 0], None);
    assert_eq!(reported, [None; 2]);
    assert!(loss.iter().all(|l| l.is_finite()));

    // The first of several is reported, whichever chunk runs first.
    let mut index = vec![1; 20_000];
    (index[15_000], index[9_000]) = (77, -5);
    let (_, _, reported) = small(&[0.5, 1.5, -1.0].repeat(20_000), &index, None);
    assert_eq!(reported, [Some((9_000, -5)); 2]);
}

#[test]
fn extreme_logits() {
    let (loss, dx, _) = small(&[1e4, -1e4, 1e4, -1e4, -1e4, 1e4], &[0, 1, 0], None);
    assert_eq!(loss, [0.0, 2e4, 2e4]);
    assert_eq!(dx, [0.0, 0.0, 1.0, -1.0, -1.0, 1.0]);
    let (loss, dx, _) = small(&[0.0, f32::NEG_INFINITY, 0.0, f32::NAN], &[0, 1], None);
    assert_eq!(loss[0], 0.0);
    assert_eq!(dx[..2], [0.0, 0.0]);
    assert!(loss[1].is_nan() && dx[3].is_nan());
}

#[test]
fn zero_probability_hides_an_infinite_logit() {
    let x = Buffer::from_slice(&[0.0f32, f32::NEG_INFINITY]);
    let p = Buffer::from_slice(&[1.0f32, 0.0]);
    let loss = Buffer::zeroed(4);
    let kernel = CrossEntropy {
        ty: Float::F32,
        rows: 1,
        cols: 2,
        ignore_index: None,
        logits: whole(0, &x),
        target: Target::Probability(whole(1, &p)),
        loss: whole(2, &loss),
    };
    run_alone(&kernel, &[&x, &p, &loss]);
    assert_eq!(loss.to_vec::<f32>(0..1), [0.0]);
}

#[test]
fn check_refuses_short_and_overlapping_regions() {
    fn target(target: &mut Target) -> &mut Region {
        match target {
            Target::Index(region) | Target::Probability(region) => region,
        }
    }
    let at = |i: u32, n: usize| Region::new(i, 16, n);
    for goal in [Target::Index(at(1, 2 * 4)), Target::Probability(at(1, 6 * 8))] {
        let forward = CrossEntropy {
            ty: Float::F64,
            rows: 2,
            cols: 3,
            ignore_index: None,
            logits: at(0, 48),
            target: goal,
            loss: at(2, 16),
        };
        refuses_short(&forward, &[|k| &mut k.logits, |k| target(&mut k.target), |k| &mut k.loss]);
        assert!(CrossEntropy { loss: at(0, 48), ..forward }.check().is_err());
        let back = CrossEntropyGrad {
            ty: Float::F64,
            rows: 2,
            cols: 3,
            ignore_index: None,
            logits: at(0, 48),
            target: goal,
            dloss: at(2, 16),
            dlogits: at(3, 48),
        };
        refuses_short(
            &back,
            &[|k| &mut k.logits, |k| target(&mut k.target), |k| &mut k.dloss, |k| &mut k.dlogits],
        );
        assert!(CrossEntropyGrad { dlogits: at(0, 48), ..back.clone() }.check().is_err());
        assert!(CrossEntropyGrad { rows: usize::MAX, ..back }.check().is_err());
    }
}
