//! Attention, and the rotation of positions into queries and keys.

use super::Operator;
use super::elementwise::one;
use super::shape::from_end;
use crate::import::call::{Call, Results, extent};
use crate::import::error::Stop;
use crate::import::value::Value;
use nerve_core::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("Attention", attention),
    ("ai.onnx.preview.FlexAttention", flexible),
    ("RotaryEmbedding", rotary),
];

/// Queries, keys and values, `[batch, heads, time, depth]` each.
struct Heads {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: f64,
}

impl Heads {
    fn of(call: &Call<'_>) -> Result<Heads, Stop> {
        let [q, k, v] = [
            split(call, 0, "q_num_heads")?,
            split(call, 1, "kv_num_heads")?,
            split(call, 2, "kv_num_heads")?,
        ];
        let scale = match call.attribute("scale") {
            Some(_) => call.float("scale", 1.0)?,
            None => (q.shape()[3].max(1) as f64).sqrt().recip(),
        };
        Ok(Heads { q, k, v, scale })
    }

    fn check(&self) -> Result<(), Stop> {
        let Heads { q, k, v, .. } = self;
        let (heads, shared) = (q.shape()[1], k.shape()[1]);
        let fits = q.shape()[0] == k.shape()[0]
            && q.shape()[3] == k.shape()[3]
            && k.shape()[..3] == v.shape()[..3]
            && q.dtype().is_float()
            && [k, v].iter().all(|t| t.dtype() == q.dtype())
            && shared > 0
            && heads % shared == 0;
        match fits {
            true => Ok(()),
            false => {
                let (q, k, v) = (q.shape(), k.shape(), v.shape());
                Err(format!("queries {q}, keys {k} and values {v} do not fit").into())
            }
        }
    }

    /// How well each key fits each query, before anything is hidden.
    fn scores(&self) -> Tensor {
        let group = self.q.shape()[1] / self.k.shape()[1];
        let k = if group > 1 { self.k.repeat_interleave(group, 1) } else { self.k.clone() };
        // Before the product, so that it does not overflow.
        let half = self.scale.abs().sqrt();
        (&self.q * half * self.scale.signum()).matmul(&(k * half).t())
    }

    /// The values weighed.
    fn weighed(&self, weights: &Tensor) -> Tensor {
        let group = self.q.shape()[1] / self.v.shape()[1];
        let v = if group > 1 { self.v.repeat_interleave(group, 1) } else { self.v.clone() };
        weights.matmul(&v)
    }
}

/// An operand with its heads apart: of three axes, the last holds them one behind the other.
fn split(call: &Call<'_>, i: usize, name: &str) -> Result<Tensor, Stop> {
    let x = call.tensor(i)?;
    match x.shape()[..] {
        [_, _, _, _] => Ok(x.clone()),
        [batch, time, width] => {
            let heads = extent(call.required_int(name)?)?;
            if heads == 0 || width % heads != 0 {
                return Err(format!("operand {i}: {heads} heads of {}", x.shape()).into());
            }
            Ok(x.reshape([batch, time, heads, width / heads]).transpose(1, 2))
        }
        _ => Err(format!("operand {i}: expected 3 or 4 axes, found {}", x.shape()).into()),
    }
}

/// What a query may look at, and what is added to how well a key fits.
struct Mask {
    visible: Option<Tensor>,
    added: Option<Tensor>,
}

impl Mask {
    /// Leaves visible what `more` says as well.
    fn hide(&mut self, more: Tensor) {
        self.visible = Some(match self.visible.take() {
            Some(before) => before.logical_and(&more),
            None => more,
        });
    }

    /// As numbers that are added, none of them −∞, and whether a query sees anything.
    fn bias(&self, dtype: DType) -> Option<(Tensor, Tensor)> {
        let (hidden, dead) = (Tensor::full([], Tensor::HIDDEN, dtype), f64::NEG_INFINITY);
        let bias = match (&self.visible, &self.added) {
            (None, None) => return None,
            (Some(visible), None) => visible.select(&hidden.zeros_like(), &hidden.full_like(dead)),
            (None, Some(added)) => added.clone(),
            (Some(visible), Some(added)) => visible.select(added, &hidden.full_like(dead)),
        };
        let seen = bias.max_axes(&[-1], true).gt(dead);
        Some((bias.maximum(&hidden), seen))
    }
}

/// Scores with the keys hidden that may not be seen: as −∞.
fn masked(scores: &Tensor, mask: &Mask) -> Tensor {
    let scores = match &mask.added {
        Some(added) => scores + added,
        None => scores.clone(),
    };
    match &mask.visible {
        Some(visible) => visible.select(&scores, &scores.full_like(f64::NEG_INFINITY)),
        None => scores,
    }
}

fn attention(call: &Call<'_>) -> Results {
    let mut heads = Heads::of(call)?;
    let past = match (call.optional(4)?, call.optional(5)?) {
        (None, None) => 0,
        (Some(k), Some(v)) => {
            heads.k = super::shape::joined(&[k.clone(), heads.k], 2)?;
            heads.v = super::shape::joined(&[v.clone(), heads.v], 2)?;
            k.shape()[2]
        }
        _ => return Err("past keys without past values".into()),
    };
    heads.check()?;
    let softcap = call.float("softcap", 0.0)?;
    let causal = call.flag("is_causal", false)?;
    let window = call.int("left_window_size", -1)? >= 0 || call.int("right_window_size", -1)? >= 0;
    let mask = (3..=6).step_by(3).any(|i| matches!(call.inputs.get(i), Some(Some(_))));
    let (y, scores) = if softcap != 0.0 || call.wants(3) {
        explicit(call, &heads, &visible(call, &heads, past)?, softcap)?
    } else if !mask && !window && past == 0 {
        let Heads { q, k, v, scale } = &heads;
        (q.scaled_dot_product_attention(k, v, None, causal, Some(*scale)), None)
    } else {
        (hiding(&heads, &visible(call, &heads, past)?), None)
    };
    let y = match call.tensor(0)?.rank() {
        3 => {
            let [batch, all, time, depth] = [0, 1, 2, 3].map(|i| y.shape()[i]);
            y.transpose(1, 2).reshape([batch, time, all * depth])
        }
        _ => y,
    };
    let mut results: Vec<Value> = vec![y.into(), heads.k.into(), heads.v.into()];
    results.extend(scores.map(Value::Tensor));
    Ok(results)
}

/// As one operation, with a mask. A query that sees nothing gets zeros.
fn hiding(heads: &Heads, mask: &Mask) -> Tensor {
    let Heads { q, k, v, scale } = heads;
    let Some((bias, seen)) = mask.bias(q.dtype()) else {
        return q.scaled_dot_product_attention(k, v, None, false, Some(*scale));
    };
    let y = q.scaled_dot_product_attention(k, v, Some(&bias), false, Some(*scale));
    seen.select(&y, &y.zeros_like())
}

/// Step by step, where a step is asked for or stands between.
fn explicit(
    call: &Call<'_>,
    heads: &Heads,
    mask: &Mask,
    softcap: f64,
) -> Result<(Tensor, Option<Tensor>), Stop> {
    let raw = heads.scores();
    let capped = match softcap {
        0.0 => raw.clone(),
        cap => (&raw / cap).tanh() * cap,
    };
    let hidden = masked(&capped, mask);
    let seen = hidden.max_axes(&[-1], true).gt(f64::NEG_INFINITY);
    let weights = hidden.softmax(-1);
    let weights = seen.select(&weights, &weights.zeros_like());
    let shown = match call.int("qk_matmul_output_mode", 0)? {
        0 => raw,
        1 => capped,
        2 => hidden,
        3 => weights.clone(),
        other => {
            return Err(format!("qk_matmul_output_mode: expected 0 to 3, found {other}").into());
        }
    };
    Ok((heads.weighed(&weights), Some(shown)))
}

/// Combines the mask that is given, lengths, windows, and what lies ahead.
fn visible(call: &Call<'_>, heads: &Heads, past: usize) -> Result<Mask, Stop> {
    let [batch, all, queries] = [0, 1, 2].map(|i| heads.q.shape()[i]);
    let keys = heads.k.shape()[2];
    // What may be seen has a place for each key and query, also where there are none of either.
    call.scope.afford(&[queries.max(1), keys.max(1)], DType::I64)?;
    call.scope.afford(&[batch, all, queries, keys], heads.q.dtype())?;
    let mut mask = Mask { visible: None, added: None };
    if let Some(given) = call.optional(3)? {
        let given = lengthened(given, keys)?;
        let shape = nerve_core::Shape::from([batch, all, queries, keys]);
        if !given.shape().broadcasts_to(&shape) {
            return Err(format!("a mask {} for scores {shape}", given.shape()).into());
        }
        match given.dtype() {
            DType::Bool => mask.hide(given),
            dtype if dtype == heads.q.dtype() => mask.added = Some(given),
            other => return Err(format!("a mask of {other}").into()),
        }
    }
    let key = Tensor::arange(keys).to_dtype(DType::I64);
    let mut place = Tensor::arange(queries).to_dtype(DType::I64).reshape([queries, 1]);
    if let Some(lengths) = call.optional(6)? {
        if **lengths.shape() != [batch] || lengths.dtype().is_float() {
            return Err(format!("lengths {} for a batch of {batch}", lengths.shape()).into());
        }
        let lengths = lengths.to_dtype(DType::I64).reshape([batch, 1, 1, 1]);
        mask.hide(key.lt(&lengths));
        place = place + lengths - queries as f64;
    } else {
        place = place + past as f64;
    }
    if call.flag("is_causal", false)? {
        mask.hide(place.ge(&key));
    }
    let left = call.int("left_window_size", -1)?;
    if left >= 0 {
        mask.hide((&place - &key).le(left as f64));
    }
    let right = call.int("right_window_size", -1)?;
    if right >= 0 {
        mask.hide((&key - &place).le(right as f64));
    }
    Ok(mask)
}

/// A mask that ends early hides what stands behind.
fn lengthened(mask: &Tensor, keys: usize) -> Result<Tensor, Stop> {
    let Some(&last) = mask.shape().last() else { return Ok(mask.clone()) };
    if last == 1 || last >= keys {
        return Ok(mask.clone());
    }
    let mut amounts = vec![(0, 0); mask.rank()];
    amounts[mask.rank() - 1] = (0, keys - last);
    Ok(match mask.dtype() {
        DType::Bool => mask.to_dtype(DType::U8).pad(&amounts, 0.0).ne(0),
        _ => mask.pad(&amounts, f64::NEG_INFINITY),
    })
}

/// Attention whose scores, and whose weights, go through graphs of the model.
fn flexible(call: &Call<'_>) -> Results {
    let heads = Heads::of(call)?;
    heads.check()?;
    let through = |name: &str, x: Tensor| -> Result<Tensor, Stop> {
        if call.attribute(name).is_none() {
            return Ok(x);
        }
        let shape = x.shape().clone();
        let result = call.scope.body(call.graph(name)?, vec![x.into()])?;
        match result.first().and_then(Value::tensor) {
            Some(y) if *y.shape() == shape => Ok(y.clone()),
            _ => Err(format!("{name}: expected one result of shape {shape}").into()),
        }
    };
    if ["score_mod", "prob_mod"].iter().all(|name| call.attribute(name).is_none()) {
        let Heads { q, k, v, scale } = &heads;
        return one(q.scaled_dot_product_attention(k, v, None, false, Some(*scale)));
    }
    let [batch, all, queries] = [0, 1, 2].map(|i| heads.q.shape()[i]);
    call.scope.afford(&[batch, all, queries, heads.k.shape()[2]], heads.q.dtype())?;
    let scores = through("score_mod", heads.scores())?;
    let weights = through("prob_mod", scores.softmax(-1))?;
    one(heads.weighed(&weights))
}

/// Pairs of numbers turned by angles that grow with the position: RoPE (Su et al., "RoFormer", 2021).
fn rotary(call: &Call<'_>) -> Results {
    let given = call.tensor(0)?;
    let x = match given.rank() {
        3 => split(call, 0, "num_heads")?,
        _ => split(call, 0, "")?,
    };
    let [batch, heads, time, depth] = [0, 1, 2, 3].map(|i| x.shape()[i]);
    let turned = match extent(call.int("rotary_embedding_dim", 0)?)? {
        0 => depth,
        some => some,
    };
    if turned > depth || turned % 2 != 0 {
        return Err(format!("{turned} of {depth} numbers are to be turned").into());
    }
    let half = turned / 2;
    let angle = |i: usize| -> Result<Tensor, Stop> {
        let mut cache = call.tensor(i)?.clone();
        if let Some(positions) = call.optional(3)? {
            if cache.rank() != 2 || **positions.shape() != [batch, time] {
                let (a, b) = (cache.shape(), positions.shape());
                return Err(format!("operand {i}: {a} for positions {b}").into());
            }
            let index = from_end(positions, cache.shape()[0])?.reshape([batch * time]);
            let width = cache.shape()[1];
            cache = cache.index_select(0, &index).reshape([batch, time, width]);
        }
        if **cache.shape() != [batch, time, half] || cache.dtype() != x.dtype() {
            let shape = cache.shape();
            return Err(
                format!("operand {i}: expected [{batch}, {time}, {half}], found {shape}").into()
            );
        }
        Ok(cache.unsqueeze(1))
    };
    let (cos, sin) = (angle(1)?, angle(2)?);
    let interleaved = call.flag("interleaved", false)?;
    let (a, b) = match interleaved {
        true => (x.slice_by(3, 0, 2, half), x.slice_by(3, 1, 2, half)),
        false => (x.slice(3, 0, half), x.slice(3, half, turned)),
    };
    let (real, imaginary) = (&cos * &a - &sin * &b, &sin * &a + &cos * &b);
    let y = match interleaved {
        true => Tensor::stack(&[real, imaginary], 4).reshape([batch, heads, time, turned]),
        false => Tensor::concat(&[real, imaginary], 3),
    };
    let y = Tensor::concat(&[y, x.slice(3, turned, depth)], 3);
    one(match given.rank() {
        3 => y.transpose(1, 2).reshape(given.shape().clone()),
        _ => y,
    })
}
