//! Operators of the domain com.microsoft: what optimizers of transformers leave behind.

use super::Operator;
use super::elementwise::{fits, one};
use super::linear::product;
use super::norm::epsilon;
use super::shape::from_end;
use crate::import::call::{Call, Results, extent};
use crate::import::error::Stop;
use nerve_core::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("com.microsoft.SkipLayerNormalization", |call| skip_norm(call, true)),
    ("com.microsoft.SkipSimplifiedLayerNormalization", |call| skip_norm(call, false)),
    ("com.microsoft.EmbedLayerNormalization", embed),
    ("com.microsoft.Attention", attention),
    ("com.microsoft.MultiHeadAttention", multi_head),
    ("com.microsoft.FusedMatMul", fused_matmul),
    ("com.microsoft.Gelu", |call| one(call.tensor(0)?.gelu())),
    ("com.microsoft.BiasGelu", |call| one(biased(call, call.tensor(0)?, 1)?.gelu())),
    ("com.microsoft.FastGelu", |call| {
        let x = biased(call, call.tensor(0)?, 1)?;
        let inner = (&x + &x * &x * &x * 0.044_715) * (2.0 / std::f64::consts::PI).sqrt();
        one(x * (inner.tanh() + 1.0) * 0.5)
    }),
    ("com.microsoft.QuickGelu", |call| {
        let x = call.tensor(0)?;
        one(x * (x * call.float("alpha", 1.702)?).sigmoid())
    }),
];

/// Plus operand `i`, if it is there.
fn biased(call: &Call<'_>, x: &Tensor, i: usize) -> Result<Tensor, Stop> {
    let Some(bias) = call.optional(i)? else { return Ok(x.clone()) };
    fits(x, bias)?;
    match bias.shape().broadcasts_to(x.shape()) {
        true => Ok(x + bias),
        false => Err(format!("bias {} for {}", bias.shape(), x.shape()).into()),
    }
}

/// Operand `i`, one number for each column.
fn columns(call: &Call<'_>, i: usize, count: usize, dtype: DType) -> Result<Tensor, Stop> {
    let t = call.tensor(i)?;
    match **t.shape() == [count] && t.dtype() == dtype {
        true => Ok(t.clone()),
        false => {
            let (found, shape) = (t.dtype(), t.shape());
            Err(format!("operand {i}: expected {dtype} [{count}], found {found} {shape}").into())
        }
    }
}

/// The sum of two tensors and a bias, normalised; the sum is the last result.
fn skip_norm(call: &Call<'_>, centred: bool) -> Results {
    let x = biased(call, call.tensor(0)?, 1)?;
    let x = biased(call, &x, if centred { 4 } else { 3 })?;
    let eps = epsilon(call, 1e-12)?;
    let width = *x.shape().last().ok_or("expected at least one axis")?;
    let scale = columns(call, 2, width, x.dtype())?;
    let y = match centred {
        true => {
            let shift = match call.optional(3)? {
                Some(_) => columns(call, 3, width, x.dtype())?,
                None => scale.zeros_like(),
            };
            x.layer_norm(&scale, &shift, eps)
        }
        false => x.rms_norm(&scale, eps),
    };
    if call.wants(1) || call.wants(2) {
        return Err(Stop::Unsupported("mean and deviation as results".into()));
    }
    Ok(vec![y.clone().into(), y.clone().into(), y.into(), x.into()])
}

/// alpha · a b, with their last axes exchanged where it says so.
fn fused_matmul(call: &Call<'_>) -> Results {
    let side = |i: usize, flip: &str, batch: &str| -> Result<Tensor, Stop> {
        let x = call.tensor(i)?;
        if call.flag(batch, false)? {
            return Err(Stop::Unsupported(format!("{batch} = 1")));
        }
        Ok(if call.flag(flip, false)? && x.rank() >= 2 { x.t() } else { x.clone() })
    };
    let y = product(&side(0, "transA", "transBatchA")?, &side(1, "transB", "transBatchB")?)?;
    let alpha = call.float("alpha", 1.0)?;
    one(if alpha == 1.0 { y } else { y * alpha })
}

/// Words, positions and segments as vectors, summed and normalised; and how many words each row has.
fn embed(call: &Call<'_>) -> Results {
    let ids = call.tensor(0)?;
    let [batch, time] = ids.shape()[..] else {
        return Err(format!("expected [batch, time], found {}", ids.shape()).into());
    };
    let rows = |index: &Tensor, table: usize| -> Result<Tensor, Stop> {
        let table = call.tensor(table)?;
        let [count, width] = table.shape()[..] else {
            return Err(format!("expected a table, found {}", table.shape()).into());
        };
        let index = from_end(index, count)?;
        let flat = index.reshape([index.numel()]);
        let dims = [&index.shape()[..], &[width]].concat();
        Ok(table.index_select(0, &flat).reshape(dims))
    };
    call.scope.afford(&[time], DType::I64)?;
    let places = match call.optional(8)? {
        Some(places) => places.clone(),
        None => Tensor::arange(time).to_dtype(DType::I64).reshape([1, time]),
    };
    let mut sum = rows(ids, 2)?;
    let mut add = |more: Tensor| -> Result<(), Stop> {
        fits(&sum, &more)?;
        sum = &sum + more;
        Ok(())
    };
    add(rows(&places, 3)?)?;
    if let (Some(segments), Some(_)) = (call.optional(1)?, call.optional(4)?) {
        add(rows(segments, 4)?)?;
    }
    let width = *sum.shape().last().ok_or("no columns")?;
    let (scale, shift) =
        (columns(call, 5, width, sum.dtype())?, columns(call, 6, width, sum.dtype())?);
    let y = sum.layer_norm(&scale, &shift, epsilon(call, 1e-12)?);
    let lengths = match call.optional(7)? {
        Some(mask) => mask.to_dtype(DType::I32).sum_axes(&[-1], false),
        None => Tensor::full([batch], 0.0, DType::I32),
    };
    Ok(vec![y.into(), lengths.into(), sum.into()])
}

/// Self-attention with the weights of queries, keys and values in one matrix.
fn attention(call: &Call<'_>) -> Results {
    let (x, w) = (call.tensor(0)?, call.tensor(1)?);
    let heads = extent(call.required_int("num_heads")?)?;
    let [batch, time, _] = x.shape()[..] else {
        return Err(format!("expected [batch, time, width], found {}", x.shape()).into());
    };
    if matches!(call.inputs.get(4), Some(Some(_))) || call.attribute("qkv_hidden_sizes").is_some() {
        return Err(Stop::Unsupported("past keys, or parts of different widths".into()));
    }
    let all = biased(call, &product(x, w)?, 2)?;
    let width = *all.shape().last().ok_or("no columns")?;
    if heads == 0 || width % (3 * heads) != 0 {
        return Err(format!("{heads} heads of {width} columns").into());
    }
    let depth = width / 3 / heads;
    let parts = all.reshape([batch, time, 3, heads, depth]).permute(&[2, 0, 3, 1, 4]);
    let [q, k, v] = [0, 1, 2].map(|i| parts.slice(0, i, i + 1).squeeze(0));
    let y = attend(call, [&q, &k, &v], 3)?;
    one(y)
}

/// Attention of queries, keys and values that were computed before, `[batch, time, width]` each.
fn multi_head(call: &Call<'_>) -> Results {
    let heads = extent(call.required_int("num_heads")?)?;
    let packed = [1, 2].iter().any(|&i| !matches!(call.inputs.get(i), Some(Some(_))));
    let past = (6..call.count()).any(|i| matches!(call.inputs.get(i), Some(Some(_))));
    if packed || past {
        return Err(Stop::Unsupported("past keys, or queries, keys and values in one".into()));
    }
    let mut at = 0;
    let mut part = |i: usize| -> Result<Tensor, Stop> {
        let x = call.tensor(i)?;
        let [batch, time, width] = x.shape()[..] else {
            return Err(format!("operand {i}: expected 3 axes, found {}", x.shape()).into());
        };
        if heads == 0 || width % heads != 0 || !x.dtype().is_float() {
            return Err(format!("operand {i}: {heads} heads of {} {width}", x.dtype()).into());
        }
        let biased = match call.optional(3)? {
            Some(bias) if bias.rank() == 1 && bias.numel() >= at + width => {
                fits(x, &bias.slice(0, at, at + width))?;
                x + bias.slice(0, at, at + width)
            }
            Some(bias) => return Err(format!("bias {} for {}", bias.shape(), x.shape()).into()),
            None => x.clone(),
        };
        at += width;
        Ok(biased.reshape([batch, time, heads, width / heads]).transpose(1, 2))
    };
    let (q, k, v) = (part(0)?, part(1)?, part(2)?);
    let y = attend(call, [&q, &k, &v], 4)?;
    Ok(vec![y.into(), k.into(), v.into()])
}

/// The heads side by side again, `[batch, time, width]`; the mask is operand `mask`.
fn attend(call: &Call<'_>, [q, k, v]: [&Tensor; 3], mask: usize) -> Result<Tensor, Stop> {
    let [batch, heads, queries] = [0, 1, 2].map(|i| q.shape()[i]);
    let fitting = k.shape()[..3] == v.shape()[..3]
        && [k.shape()[0], k.shape()[1], k.shape()[3]] == [batch, heads, q.shape()[3]];
    if !fitting || k.dtype() != q.dtype() || v.dtype() != q.dtype() {
        let (q, k, v) = (q.shape(), k.shape(), v.shape());
        return Err(format!("queries {q}, keys {k} and values {v} do not fit").into());
    }
    let scale = match call.attribute("scale") {
        Some(_) => Some(call.float("scale", 1.0)?).filter(|&s| s != 0.0),
        None => None,
    };
    let bias = masks(call, [batch, heads, queries, k.shape()[2]], q.dtype(), mask)?;
    let causal = call.flag("unidirectional", false)?;
    let y = q.scaled_dot_product_attention(k, v, bias.as_ref(), causal, scale);
    Ok(y.transpose(1, 2).reshape([batch, queries, heads * v.shape()[3]]))
}

/// What is added to the scores: where a key may be seen (1), or how long each row is; and more numbers.
fn masks(
    call: &Call<'_>,
    scores: [usize; 4],
    dtype: DType,
    mask: usize,
) -> Result<Option<Tensor>, Stop> {
    let [batch, _, queries, keys] = scores;
    call.scope.afford(&[queries.max(1), keys], dtype)?;
    call.scope.afford(&scores, dtype)?;
    let mut bias = None;
    if let Some(mask) = call.optional(mask)? {
        let seen = match mask.shape()[..] {
            [b, k] if [b, k] == [batch, keys] => mask.ne(0).reshape([batch, 1, 1, keys]),
            [b, q, k] if [b, q, k] == [batch, queries, keys] => {
                mask.ne(0).reshape([batch, 1, queries, keys])
            }
            [b] if b == batch => {
                let place = Tensor::arange(keys).to_dtype(mask.dtype());
                place.lt(mask.reshape([batch, 1, 1, 1]))
            }
            _ => return Err(Stop::Unsupported(format!("a mask of shape {}", mask.shape()))),
        };
        let low = call.float("mask_filter_value", -10_000.0)?;
        let zero = Tensor::full([], 0.0, dtype);
        bias = Some(seen.select(&zero, &zero.full_like(low)));
    }
    if let Some(more) = call.optional(5)? {
        if !more.shape().broadcasts_to(&scores.into()) || more.dtype() != dtype {
            return Err(format!("numbers {} for the scores", more.shape()).into());
        }
        bias = Some(bias.map_or(more.clone(), |bias| bias + more));
    }
    Ok(bias)
}
