//! Scaled dot-product attention.
//!
//! Each query asks all keys how well they fit: the scores are products of vectors. A softmax turns
//! them into shares of one, and the result is the mean of the values with these shares.
//!
//! ```text
//!           q [queries, depth]   k [keys, depth]      v [keys, depth]
//!                     \            /                     |
//!   scores = scale · q kᵀ + mask   [queries, keys]       |
//!                        |                               |
//!   p = softmax(scores), each row sums to 1              |
//!                         \                             /
//!                          y = p v   [queries, depth]
//! ```
//!
//! The operation has the axes `[batch, time, heads, depth]`: the order in which a linear layer that
//! makes queries, keys and values leaves them, so that its result is read where it lies. The method
//! has the order of PyTorch, and puts permutations around, which cost nothing.

use super::{Bits, expect_float, expect_same};
use crate::compile::{Lowering, float};
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::{AttentionShape, Heads};

/// `softmax(scale · q kᵀ + mask) v` for each head. Inputs: q `[batch, queries, heads, depth]`,
/// k `[batch, keys, heads, depth]`, v `[batch, keys, heads, value depth]`, and a mask
/// `[batch, heads, queries, keys]` or none. Output `[batch, queries, heads, value depth]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attention {
    /// What scores are multiplied with.
    pub scale: Bits,
    /// Whether query number i sees only the keys 0 ..= i.
    pub causal: bool,
}

/// The gradients of [`Attention`] with respect to q, k and v. Inputs: q, k, v, the gradient of the
/// output, and a mask or none.
///
/// Where all three have one shape they are put together as `[batch, time, 3 · heads · depth]`, which
/// is what a linear layer that made them wants to have; else one after the other as one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttentionGrad {
    /// As in [`Attention`].
    pub scale: Bits,
    /// As in [`Attention`].
    pub causal: bool,
}

/// Whether the gradients of the three are put together as one.
fn packs([q, k, v]: [&Tensor; 3]) -> bool {
    q.shape() == k.shape() && k.shape() == v.shape()
}

/// The three gradients that `all` holds.
fn unpack(all: &Tensor, three: [&Tensor; 3]) -> [Tensor; 3] {
    let mut start = 0;
    three.map(|t| match packs(three) {
        true => {
            let one = t.shape()[2] * t.shape()[3];
            start += one;
            all.slice(2, start - one, start).reshape(t.shape())
        }
        false => {
            start += t.numel();
            all.slice(0, start - t.numel(), start).reshape(t.shape())
        }
    })
}

/// `[batch, time, heads, depth]` as `[batch, heads, time, depth]`, and back.
fn heads_first(x: &Tensor) -> Tensor {
    x.permute(&[0, 2, 1, 3])
}

/// The probabilities `[batch, heads, queries, keys]`, by simpler operations.
fn probabilities(
    scale: Bits,
    causal: bool,
    q: &Tensor,
    k: &Tensor,
    mask: Option<&Tensor>,
) -> Tensor {
    let mut scores = heads_first(q).matmul(&heads_first(k).t()) * scale.get();
    if let Some(mask) = mask {
        scores = scores + mask;
    }
    if causal {
        let (query, key) = (Tensor::iota(scores.shape(), 2), Tensor::iota(scores.shape(), 3));
        scores = key.le(&query).select(&scores, &scores.full_like(f64::NEG_INFINITY));
    }
    scores.softmax(-1)
}

fn shape_of(scale: Bits, causal: bool, [q, k, v]: [&Tensor; 3]) -> AttentionShape {
    AttentionShape {
        ty: float(q.dtype()),
        batch: q.shape()[0],
        heads: q.shape()[2],
        queries: q.shape()[1],
        keys: k.shape()[1],
        depth: q.shape()[3],
        value_depth: v.shape()[3],
        scale: scale.get(),
        causal,
    }
}

fn heads(tensor: &Tensor, cx: &mut Lowering<'_>) -> Heads {
    let (region, strides) = cx.rows(tensor);
    Heads { region, strides: [strides[0], strides[1], strides[2]] }
}

/// A mask has its heads before its times.
fn mask_heads(tensor: &Tensor, cx: &mut Lowering<'_>) -> Heads {
    let Heads { region, strides: [batch, head, query] } = heads(tensor, cx);
    Heads { region, strides: [batch, query, head] }
}

impl Operation for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let (q, k, v) = (&inputs[0], &inputs[1], &inputs[2]);
        expect_float(q)?;
        for other in &inputs[1..] {
            expect_same(q, other)?;
        }
        let found = || format!("queries {}, keys {}, values {}", q.shape(), k.shape(), v.shape());
        let (&[b, queries, h, d], &[kb, keys, kh, kd], &[vb, values, vh, e]) =
            (&q.shape()[..], &k.shape()[..], &v.shape()[..])
        else {
            return Err(format!("{}: expected [batch, time, heads, depth] of each", found()));
        };
        if [b, h] != [kb, kh] || [b, h] != [vb, vh] {
            return Err(format!("{}: batch and heads must agree", found()));
        }
        if d != kd || keys != values {
            return Err(format!(
                "{}: queries and keys have one depth, keys and values one length",
                found()
            ));
        }
        if let Some(mask) = inputs.get(3).filter(|mask| **mask.shape() != [b, h, queries, keys]) {
            return Err(format!("{}: the mask is {}", found(), mask.shape()));
        }
        Ok(([b, queries, h, e].into(), q.dtype()))
    }

    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let p = probabilities(self.scale, self.causal, &inputs[0], &inputs[1], inputs.get(3));
        Some(heads_first(&p.matmul(&heads_first(&inputs[2]))))
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        let three = [&inputs[0], &inputs[1], &inputs[2]];
        let op = AttentionGrad { scale: self.scale, causal: self.causal };
        let mut operands = vec![three[0], three[1], three[2], dy];
        operands.extend(inputs.get(3));
        let all = Tensor::apply(op, &operands);
        let mut parts: Vec<_> = unpack(&all, three).map(Some).into();
        if let Some(mask) = inputs.get(3) {
            // A mask is rarely learned: its gradient is that of the decomposition, in full.
            let simpler = self.decompose(inputs).expect("attention has one");
            parts.extend(crate::grad::vjp(&simpler, dy, std::slice::from_ref(mask)));
        }
        Ok(parts)
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for Attention {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let [q, k, v] = [0, 1, 2].map(|i| &node.inputs()[i]);
        let shape = shape_of(self.scale, self.causal, [q, k, v]);
        let mask = node.inputs().get(3).map(|mask| mask_heads(mask, cx));
        let [q, k, v] = [q, k, v].map(|t| heads(t, cx));
        let y = cx.output_region(node);
        cx.emit(nerve_cpu::Attention { shape, q, k, v, mask, y });
    }
}

impl Operation for AttentionGrad {
    fn name(&self) -> &'static str {
        "attention_grad"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let three = [&inputs[0], &inputs[1], &inputs[2]];
        let q = three[0].shape();
        let shape: Shape = match packs(three) {
            true => [q[0], q[1], 3 * q[2] * q[3]].into(),
            false => [three.iter().map(|t| t.numel()).sum()].into(),
        };
        Ok((shape, inputs[0].dtype()))
    }

    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let [q, k, v, dy] = [0, 1, 2, 3].map(|i| &inputs[i]);
        let p = probabilities(self.scale, self.causal, q, k, inputs.get(4));
        let [q_, k_, v_, dy_] = [q, k, v, dy].map(heads_first);
        let dp = dy_.matmul(&v_.t());
        let ds = (&dp - (&p * &dp).sum_axes(&[-1], true)) * &p * self.scale.get();
        let parts = [ds.matmul(&k_), ds.t().matmul(&q_), p.t().matmul(&dy_)];
        let packed = packs([q, k, v]);
        let parts = parts.map(|t| {
            let t = heads_first(&t);
            match (packed, &t.shape()[..]) {
                (true, &[b, n, h, d]) => t.reshape([b, n, h * d]),
                _ => t.reshape([t.numel()]),
            }
        });
        Some(Tensor::concat(&parts, if packed { 2 } else { 0 }))
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for AttentionGrad {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let [q, k, v, dy] = [0, 1, 2, 3].map(|i| &node.inputs()[i]);
        let (shape, packed) = (shape_of(self.scale, self.causal, [q, k, v]), packs([q, k, v]));
        let mask = node.inputs().get(4).map(|mask| mask_heads(mask, cx));
        let [q, k, v, dy] = [q, k, v, dy].map(|t| heads(t, cx));
        let grads = cx.output_region(node);
        cx.emit(nerve_cpu::AttentionGrad { shape, q, k, v, mask, dy, grads, packed });
    }
}

impl Tensor {
    /// What is added to the score of a key that a mask of truth values hides. Its share is then 0
    /// to the bit, as with −∞; but where all are hidden, the shares are equal, and not NaN, which
    /// would spread from an empty sequence over the network.
    pub const HIDDEN: f64 = -1e30;

    /// What a mask adds to the scores of attention: zero where it is true and
    /// [`HIDDEN`](Tensor::HIDDEN) where it is false; numbers as they are.
    pub fn attention_bias(mask: &Tensor, dtype: DType) -> Tensor {
        if mask.dtype() != DType::Bool {
            return mask.clone();
        }
        let zero = Tensor::full(mask.shape(), 0.0, dtype);
        mask.select(&zero, &zero.full_like(Tensor::HIDDEN))
    }

    /// Scaled dot-product attention: `softmax(q kᵀ · scale + mask) v`, for each head on its own.
    ///
    /// Vaswani et al., "Attention is all you need", 2017.
    ///
    /// `self` holds the queries `[batch, heads, queries, depth]`, `k` the keys
    /// `[batch, heads, keys, depth]`, `v` the values `[batch, heads, keys, value depth]`; the result
    /// is `[batch, heads, queries, value depth]`. Keys and values may have fewer heads, of which each
    /// serves as many heads of queries one after the other (grouped-query attention: `enable_gqa` of
    /// PyTorch); with more than one query they are copied for each.
    ///
    /// - `mask` broadcasts to `[batch, heads, queries, keys]`: truth values, true where a query may
    ///   look, or numbers that are added to the scores. A query that may look nowhere gets the
    ///   mean of the values that `causal` leaves it, as in Keras and JAX (PyTorch gives zeros): see
    ///   [`HIDDEN`](Tensor::HIDDEN). Where all the numbers added are −∞ it gets NaN.
    /// - `causal`: query number i sees only the keys 0 ..= i, as when a text is predicted word by
    ///   word.
    /// - `scale` is 1/√depth if not given, so that scores do not grow with the depth.
    ///
    /// Scores are not kept: memory grows linearly with the lengths.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// // Both keys fit equally well: the mean of their values.
    /// let q = Tensor::zeros([1, 1, 1, 2]);
    /// let k = Tensor::ones([1, 1, 2, 2]);
    /// let v = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [1, 1, 2, 2]);
    /// let y = q.scaled_dot_product_attention(&k, &v, None, false, None);
    /// assert_eq!(y.to_vec::<f32>(), [2.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// If the shapes or types do not fit.
    #[track_caller]
    pub fn scaled_dot_product_attention(
        &self,
        k: &Tensor,
        v: &Tensor,
        mask: Option<&Tensor>,
        causal: bool,
        scale: Option<f64>,
    ) -> Tensor {
        for (what, t) in [("queries", self), ("keys", k), ("values", v)] {
            assert!(
                t.rank() == 4,
                "attention: {what} are [batch, heads, time, depth], found {}",
                t.shape()
            );
        }
        let (heads, shared) = (self.shape()[1], k.shape()[1]);
        if shared > 0 && shared < heads && heads.is_multiple_of(shared) && v.shape()[1] == shared {
            return self.grouped_attention([k, v], mask, causal, scale);
        }
        let depth = self.shape()[3].max(1) as f64;
        let op = Attention { scale: Bits::new(scale.unwrap_or(depth.sqrt().recip())), causal };
        let scores = [self.shape()[0], self.shape()[1], self.shape()[2], k.shape()[2]];
        let mask = mask.map(|m| Tensor::attention_bias(m, self.dtype()).broadcast_to(scores));
        let [q, k, v] = [self, k, v].map(heads_first);
        let mut inputs = vec![&q, &k, &v];
        inputs.extend(&mask);
        heads_first(&Tensor::apply(op, &inputs))
    }

    /// Attention of which each head of keys and values serves several heads of queries.
    fn grouped_attention(
        &self,
        pair: [&Tensor; 2],
        mask: Option<&Tensor>,
        causal: bool,
        scale: Option<f64>,
    ) -> Tensor {
        let (shape, shared) = (self.shape(), pair[0].shape()[1]);
        let group = shape[1] / shared;
        if shape[2] > 1 || causal {
            let [k, v] = pair.map(|t| t.repeat_interleave(group, 1));
            return self.scaled_dot_product_attention(&k, &v, mask, causal, scale);
        }
        // One query in each head, as in a decoder at work: the heads of a group are so many queries,
        // and nothing is copied.
        let (batch, keys) = (shape[0], pair[0].shape()[2]);
        let mask = mask.map(|mask| {
            let all = Tensor::attention_bias(mask, self.dtype());
            all.broadcast_to([batch, shape[1], 1, keys]).reshape([batch, shared, group, keys])
        });
        let q = self.reshape([batch, shared, group, shape[3]]);
        let y = q.scaled_dot_product_attention(pair[0], pair[1], mask.as_ref(), false, scale);
        y.reshape([batch, shape[1], 1, y.shape()[3]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradients, panic_message, sample};

    #[test]
    fn equals_its_decomposition() {
        let (q, k, v) = (sample([2, 5, 3, 4], 1), sample([2, 7, 3, 4], 2), sample([2, 7, 3, 6], 3));
        let mask = sample([2, 3, 5, 7], 4);
        for causal in [false, true] {
            let op = Attention { scale: Bits::new(0.7), causal };
            for inputs in [vec![&q, &k, &v], vec![&q, &k, &v, &mask]] {
                let all: Vec<Tensor> = inputs.iter().map(|&t| t.clone()).collect();
                let simple = op.decompose(&all).unwrap().to_vec::<f64>();
                let fused = Tensor::apply(op, &inputs).to_vec::<f64>();
                for (a, b) in fused.into_iter().zip(simple) {
                    assert!((a - b).abs() <= 1e-13, "{a} {b}");
                }
            }
        }
    }

    #[test]
    fn gradients() {
        let of = |x: &[Tensor], causal: bool| {
            x[0].scaled_dot_product_attention(&x[1], &x[2], x.get(3), causal, None)
        };
        let same = [1, 2, 3].map(|seed| sample([1, 2, 3, 2], seed));
        check_gradients(&same, |x| of(x, true));
        let cross = [
            sample([2, 1, 3, 2], 1),
            sample([2, 1, 2, 2], 2),
            sample([2, 1, 2, 3], 3),
            sample([1, 1, 3, 2], 4),
        ];
        check_gradients(&cross, |x| of(x, false));
        // Keys and values are the queries themselves.
        check_gradients(&same[..1], |x| {
            x[0].scaled_dot_product_attention(&x[0], &x[0], None, false, Some(0.5))
        });
    }

    #[test]
    fn masks_of_truth_values_hide_keys() {
        let (q, k) = (sample([2, 1, 3, 4], 1), sample([2, 1, 5, 4], 2));
        let v = sample([2, 1, 5, 4], 3);
        // The last two keys of every example are padding.
        let seen = Tensor::iota([5], 0).lt(3);
        let masked = q.scaled_dot_product_attention(&k, &v, Some(&seen), false, None);
        let [k, v] = [k, v].map(|t| t.slice(2, 0, 3));
        let short = q.scaled_dot_product_attention(&k, &v, None, false, None);
        for (a, b) in masked.to_vec::<f64>().into_iter().zip(short.to_vec::<f64>()) {
            assert!((a - b).abs() < 1e-15, "{a} {b}");
        }
    }

    #[test]
    fn a_query_that_may_look_nowhere_gets_the_mean() {
        let (q, v) = (sample([1, 1, 3, 4], 1), sample([1, 1, 3, 4], 2));
        let nothing = Tensor::iota([3], 0).lt(0);
        for dtype in [DType::F64, DType::F32] {
            let (q, v) = (q.to_dtype(dtype), v.to_dtype(dtype));
            let y = q.scaled_dot_product_attention(&q, &v, Some(&nothing), false, None);
            let error = (y - v.mean_axes(&[2], true)).abs().max().to_dtype(DType::F64);
            assert!(error.item::<f64>() < 1e-6, "{dtype}");
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let (x, y) = (Tensor::ones([2, 1, 3, 4]), Tensor::ones([2, 1, 5, 4]));
        let attend = |q: &Tensor, k: &Tensor, v: &Tensor| {
            q.scaled_dot_product_attention(k, v, None, false, None)
        };
        for (message, words) in [
            (panic_message(|| attend(&x, &y, &x)), "keys and values one length"),
            (panic_message(|| attend(&x, &Tensor::ones([2, 2, 3, 4]), &x)), "batch and heads"),
            (panic_message(|| attend(&x, &x.reshape([2, 3, 4]), &x)), "keys are [batch, heads"),
            (panic_message(|| attend(&x, &x, &x.to_dtype(DType::F64))), "dtypes f32 and f64"),
        ] {
            assert!(message.contains(words), "{message}");
        }
    }
}
