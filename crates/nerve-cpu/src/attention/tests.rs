use super::*;
use crate::memory::Buffer;
use crate::real::Real;
use crate::real::testing::{Rng, near, refuses_short, run_backwards, run_each, whole};

/// Vectors of one operand as `[batch, time, head, depth]`, and how they lie.
struct Operands {
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
    mask: Option<Vec<f64>>,
    dy: Vec<f64>,
}

/// y, dq, dk, dv by the definition.
fn reference(s: &AttentionShape, x: &Operands) -> [Vec<f64>; 4] {
    let at = |t: usize, times: usize, b: usize, h: usize, depth: usize| {
        ((b * times + t) * s.heads + h) * depth
    };
    let mut y = vec![0.0; x.dy.len()];
    let [mut dq, mut dk, mut dv] = [&x.q, &x.k, &x.v].map(|v| vec![0.0; v.len()]);
    for (b, h) in (0..s.batch).flat_map(|b| (0..s.heads).map(move |h| (b, h))) {
        let q = |i: usize| at(i, s.queries, b, h, s.depth);
        let k = |j: usize| at(j, s.keys, b, h, s.depth);
        let v = |j: usize| at(j, s.keys, b, h, s.value_depth);
        let o = |i: usize| at(i, s.queries, b, h, s.value_depth);
        for i in 0..s.queries {
            let seen = if s.causal { s.keys.min(i + 1) } else { s.keys };
            let score = |j: usize| {
                let product: f64 = (0..s.depth).map(|d| x.q[q(i) + d] * x.k[k(j) + d]).sum();
                let mask = x
                    .mask
                    .as_ref()
                    .map_or(0.0, |m| m[((b * s.heads + h) * s.queries + i) * s.keys + j]);
                product * s.scale + mask
            };
            let scores: Vec<f64> = (0..seen).map(score).collect();
            let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|x| (x - top).exp()).sum();
            let p: Vec<f64> = scores.iter().map(|x| (x - top).exp() / sum).collect();
            let dp: Vec<f64> = (0..seen)
                .map(|j| (0..s.value_depth).map(|d| x.dy[o(i) + d] * x.v[v(j) + d]).sum())
                .collect();
            let all: f64 = p.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
            for j in 0..seen {
                for d in 0..s.value_depth {
                    y[o(i) + d] += p[j] * x.v[v(j) + d];
                    dv[v(j) + d] += p[j] * x.dy[o(i) + d];
                }
                let ds = p[j] * (dp[j] - all) * s.scale;
                for d in 0..s.depth {
                    dq[q(i) + d] += ds * x.k[k(j) + d];
                    dk[k(j) + d] += ds * x.q[q(i) + d];
                }
            }
        }
    }
    [y, dq, dk, dv]
}

/// What varies beside the sizes.
#[derive(Clone, Copy, Debug)]
struct How {
    mask: bool,
    /// Queries, keys and values, and their gradients, in one block.
    packed: bool,
}

fn dense(index: u32, buffer: &Buffer, times: usize, heads: usize, depth: usize) -> Heads {
    Heads { region: whole(index, buffer), strides: [times * heads * depth, heads * depth, depth] }
}

fn check<T: Real + Default>(s: AttentionShape, how: How) {
    let mut rng = Rng((s.queries * 7919 + s.keys * 31 + s.depth) as u64);
    let mut draw =
        |n: usize| -> Vec<f64> { rng.reals::<f32>(n, 2.0).into_iter().map(f64::from).collect() };
    let pairs = s.batch * s.heads;
    let x = Operands {
        q: draw(pairs * s.queries * s.depth),
        k: draw(pairs * s.keys * s.depth),
        v: draw(pairs * s.keys * s.value_depth),
        dy: draw(pairs * s.queries * s.value_depth),
        // Every third key is hidden, but never the first.
        mask: how.mask.then(|| {
            let mut mask = draw(pairs * s.queries * s.keys);
            for (i, m) in mask.iter_mut().enumerate() {
                if i % s.keys > 0 && i % 3 == 0 {
                    *m = f64::NEG_INFINITY;
                }
            }
            mask
        }),
    };
    let want = reference(&s, &x);
    let narrow = |v: &[f64]| v.iter().map(|&v| T::from_f64(v)).collect::<Vec<T>>();
    let bytes = s.ty.bytes();
    let packed: Vec<f64> = match how.packed {
        true => {
            let one = s.heads * s.depth;
            let rows = x.q.chunks(one).zip(x.k.chunks(one)).zip(x.v.chunks(one));
            rows.flat_map(|((q, k), v)| [q, k, v].concat()).collect()
        }
        false => Vec::new(),
    };
    let grads = x.q.len() + x.k.len() + x.v.len();
    let buffers = [
        Buffer::from_slice(&narrow(&x.q)),
        Buffer::from_slice(&narrow(&x.k)),
        Buffer::from_slice(&narrow(&x.v)),
        Buffer::from_slice(&narrow(&x.dy)),
        Buffer::from_slice(&narrow(x.mask.as_deref().unwrap_or(&[]))),
        Buffer::from_slice(&narrow(&packed)),
        Buffer::zeroed(x.dy.len() * bytes),
        Buffer::zeroed(grads * bytes),
    ];
    let refs: Vec<&Buffer> = buffers.iter().collect();
    let [q, k, v] = match how.packed {
        false => [
            dense(0, &buffers[0], s.queries, s.heads, s.depth),
            dense(1, &buffers[1], s.keys, s.heads, s.depth),
            dense(2, &buffers[2], s.keys, s.heads, s.value_depth),
        ],
        true => [0, 1, 2].map(|i| {
            let one = s.heads * s.depth;
            let (start, region) = (i * one * bytes, whole(5, &buffers[5]));
            Heads {
                region: Region::new(5, start, region.bytes - start),
                strides: [3 * one * s.queries, 3 * one, s.depth],
            }
        }),
    };
    let mask = how.mask.then(|| {
        let (query, head) = (s.keys, s.queries * s.keys);
        Heads { region: whole(4, &buffers[4]), strides: [s.heads * head, query, head] }
    });
    let tolerance = match s.ty {
        Float::F32 => 4e-6 * (s.depth.max(s.keys) as f64).sqrt().max(4.0),
        Float::F64 => 1e-13 * (s.depth.max(s.keys) as f64).sqrt().max(4.0),
    };
    let same = |what: &str, isa: Isa, got: &[T], want: &[f64]| {
        assert_eq!(got.len(), want.len());
        for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
            near(got, want, tolerance, format_args!("{what}[{i}] {isa:?} {s:?} {how:?}"));
        }
    };
    let forward = Attention { shape: s, q, k, v, mask, y: whole(6, &buffers[6]) };
    run_each(&forward, &refs, |isa| {
        same("y", isa, &buffers[6].to_vec::<T>(0..x.dy.len()), &want[0]);
    });
    let dy = dense(3, &buffers[3], s.queries, s.heads, s.value_depth);
    let grads_at = whole(7, &buffers[7]);
    let back = AttentionGrad { shape: s, q, k, v, mask, dy, grads: grads_at, packed: how.packed };
    run_each(&back, &refs, |isa| {
        let found: Vec<T> = buffers[7].to_vec(0..grads);
        let parts: [Vec<T>; 3] = match how.packed {
            true => [0, 1, 2].map(|i| {
                let one = s.heads * s.depth;
                found.chunks(3 * one).flat_map(|row| row[i * one..(i + 1) * one].to_vec()).collect()
            }),
            false => {
                let (dq, rest) = found.split_at(x.q.len());
                let (dk, dv) = rest.split_at(x.k.len());
                [dq, dk, dv].map(<[T]>::to_vec)
            }
        };
        for ((what, got), want) in ["dq", "dk", "dv"].into_iter().zip(&parts).zip(&want[1..]) {
            same(what, isa, got, want);
        }
    });
}

fn shape(sizes: [usize; 6], causal: bool, ty: Float) -> AttentionShape {
    let [batch, heads, queries, keys, depth, value_depth] = sizes;
    let scale = 1.0 / (depth.max(1) as f64).sqrt();
    AttentionShape { ty, batch, heads, queries, keys, depth, value_depth, scale, causal }
}

#[test]
fn agrees_with_the_definition() {
    let mut cases = vec![
        [1, 1, 1, 1, 1, 1],
        [2, 3, 5, 7, 4, 6],
        [1, 2, 33, 19, 17, 9],
        [2, 1, 16, 40, 64, 32],
        [1, 1, 300, 70, 8, 8],
        [1, 1, 40, 700, 8, 24],
        [1, 2, 3, 2, 0, 4],
        [0, 2, 3, 4, 5, 6],
        [1, 2, 0, 4, 5, 6],
    ];
    let mut rng = Rng(11);
    cases.extend((0..6).map(|_| [2, 2, 60, 60, 40, 40].map(|n| 1 + rng.below(n))));
    for sizes in cases {
        for (causal, mask) in [(false, false), (true, false), (false, true), (true, true)] {
            let how = How { mask, packed: false };
            check::<f32>(shape(sizes, causal, Float::F32), how);
            check::<f64>(shape(sizes, causal, Float::F64), how);
        }
    }
}

#[test]
fn works_on_packed_projections() {
    for sizes in [[2, 3, 9, 9, 16, 16], [1, 4, 65, 65, 5, 5]] {
        for causal in [false, true] {
            let how = How { mask: false, packed: true };
            check::<f32>(shape(sizes, causal, Float::F32), how);
            check::<f64>(shape(sizes, causal, Float::F64), how);
        }
    }
}

/// A forward pass and its gradient over one sequence that asks itself.
fn pair(n: usize) -> ([Buffer; 3], Attention, AttentionGrad) {
    let s = shape([1, 2, n, n, 16, 16], true, Float::F32);
    let one = 2 * n * 16;
    let x: Vec<f32> = Rng(3).reals(3 * one, 2.0);
    let buffers = [Buffer::from_slice(&x), Buffer::zeroed(4 * one), Buffer::zeroed(12 * one)];
    let [q, k, v] = [0, 1, 2]
        .map(|i| Heads { region: Region::new(0, 4 * i * one, 4 * one), strides: [one, 32, 16] });
    let y = whole(1, &buffers[1]);
    let forward = Attention { shape: s, q, k, v, mask: None, y };
    let dy = Heads { region: y, ..q };
    let grads = whole(2, &buffers[2]);
    (buffers, forward, AttentionGrad { shape: s, q, k, v, mask: None, dy, grads, packed: true })
}

#[test]
fn chunks_are_independent() {
    let ([x, y, g], forward, back) = pair(600);
    assert!(forward.chunks() > 2 && back.chunks() == 2);
    let all = [&x, &y, &g];
    let mut bits = Vec::new();
    for backwards in [false, true] {
        for kernel in [&forward as &dyn Kernel, &back] {
            match backwards {
                true => assert_eq!(run_backwards(kernel, &all), None),
                false => crate::kernel::run_alone(kernel, &all),
            }
        }
        let values = [y.to_vec::<f32>(0..y.bytes() / 4), g.to_vec::<f32>(0..g.bytes() / 4)];
        bits.push(values.concat().into_iter().map(f32::to_bits).collect::<Vec<u32>>());
    }
    assert_eq!(bits[0], bits[1]);
}

#[test]
fn working_memory_is_linear_in_the_length() {
    let bytes = |n: usize| {
        let (_, forward, back) = pair(n);
        [forward.scratch_bytes(), back.scratch_bytes()]
    };
    let (short, long) = (bytes(2_000), bytes(8_000));
    for (short, long) in short.into_iter().zip(long) {
        assert!(long < 5 * short, "{short} {long}");
    }
}

#[test]
fn check_refuses_short_and_overlapping_regions() {
    let (_, forward, back) = pair(5);
    refuses_short(
        &forward,
        &[|a| &mut a.q.region, |a| &mut a.k.region, |a| &mut a.v.region, |a| &mut a.y],
    );
    refuses_short(&back, &[|a| &mut a.q.region, |a| &mut a.dy.region, |a| &mut a.grads]);
    assert!(Attention { y: forward.q.region, ..forward.clone() }.check().is_err());
    assert!(AttentionGrad { grads: whole_of(&back), ..back.clone() }.check().is_err());
    let huge = AttentionShape { keys: usize::MAX - 5, ..forward.shape };
    assert!(Attention { shape: huge, ..forward.clone() }.check().is_err());
    let longer = AttentionShape { keys: 4, ..back.shape };
    assert!(AttentionGrad { shape: longer, ..back }.check().is_err(), "packed, but not equal");
}

fn whole_of(back: &AttentionGrad) -> Region {
    Region { bytes: back.grads.bytes, ..back.q.region }
}
