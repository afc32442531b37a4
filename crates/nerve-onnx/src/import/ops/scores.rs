//! Linear and kernel models of the domain `ai.onnx.ml`, and how scores become classes.

use super::Operator;
use super::elementwise::one;
use crate::import::call::{Call, Results, extent};
use crate::import::error::Stop;
use crate::import::value::Value;
use nerve_core::{DType, Tensor};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("ai.onnx.ml.LinearRegressor", |call| {
        let targets = extent(call.int("targets", 1)?)?;
        one(transform(call, &linear(call, targets)?)?)
    }),
    ("ai.onnx.ml.LinearClassifier", |call| {
        let labels = Labels::of(call)?;
        let rows = call.floats("intercepts")?.map_or(labels.count(), |values| values.len());
        classes(call, &labels, &linear(call, rows)?, false)
    }),
    ("ai.onnx.ml.SVMRegressor", support_vectors),
    ("ai.onnx.ml.OneHotEncoder", one_hot),
    ("ai.onnx.ml.FeatureVectorizer", |call| {
        let columns = |x: Tensor| {
            let x = x.to_dtype(DType::F32);
            if x.rank() == 1 { x.unsqueeze(1) } else { x }
        };
        let all: Vec<Tensor> = call.tensors()?.into_iter().map(columns).collect();
        if all.is_empty() || all.iter().any(|x| x.rank() != 2 || x.shape()[0] != all[0].shape()[0])
        {
            return Err("expected operands [examples, columns] of as many examples".into());
        }
        one(Tensor::concat(&all, 1))
    }),
    // A dictionary for each example is here the array that it is made of: a column for each class.
    ("ai.onnx.ml.ZipMap", |call| one(call.tensor(0)?.clone())),
];

/// x Wᵀ + b for `rows` rows of W.
fn linear(call: &Call<'_>, rows: usize) -> Result<Tensor, Stop> {
    let x = examples(call)?;
    let columns = x.shape()[1];
    let weights = call.floats("coefficients")?.ok_or("attribute coefficients is missing")?;
    if rows.checked_mul(columns) != Some(weights.len()) {
        let found = weights.len();
        return Err(format!("{found} coefficients for {rows} results of {columns} columns").into());
    }
    let weights = Tensor::from_slice(&weights, [rows, columns]).to_dtype(DType::F32);
    let y = x.matmul(&weights.transpose(0, 1));
    match call.floats("intercepts")? {
        Some(b) if b.len() == rows => Ok(y + Tensor::from_slice(&b, [rows]).to_dtype(DType::F32)),
        Some(b) if !b.is_empty() => {
            Err(format!("{} intercepts for {rows} results", b.len()).into())
        }
        _ => Ok(y),
    }
}

/// Operand 0 as `[examples, columns]` of floats.
pub(super) fn examples(call: &Call<'_>) -> Result<Tensor, Stop> {
    let x = call.tensor(0)?.to_dtype(DType::F32);
    match x.rank() {
        1 => Ok(x.unsqueeze(0)),
        2 => Ok(x),
        _ => Err(format!("expected [examples, columns], found {}", x.shape()).into()),
    }
}

/// Scores by `post_transform`.
pub(super) fn transform(call: &Call<'_>, y: &Tensor) -> Result<Tensor, Stop> {
    // Version 5 has a number instead of the word.
    let word = match call.attribute("post_transform") {
        Some(nerve_formats::onnx::AttributeValue::Int(number)) => {
            let words = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"];
            *words.get(extent(*number)?).ok_or("post_transform: expected 0 to 4")?
        }
        _ => call.text("post_transform", "NONE")?,
    };
    Ok(match word {
        "NONE" => y.clone(),
        "SOFTMAX" => y.softmax(-1),
        "LOGISTIC" => y.sigmoid(),
        "SOFTMAX_ZERO" => {
            // What is exactly 0 stays so, and counts nothing.
            let zero = y.eq(0.0);
            let e = (y - y.max_axes(&[-1], true)).exp();
            let e = zero.select(&e.zeros_like(), &e);
            let sum = e.sum_axes(&[-1], true);
            sum.eq(0.0).select(&e, &(&e / &sum))
        }
        other => return Err(Stop::Unsupported(format!("post_transform {other:?}"))),
    })
}

/// The names or the numbers of classes.
pub(super) enum Labels {
    Texts(Vec<String>),
    Ints(Vec<i64>),
}

impl Labels {
    pub fn of(call: &Call<'_>) -> Result<Labels, Stop> {
        for name in ["classlabels_strings", "classlabels_int64s", "classlabels_ints"] {
            if name == "classlabels_strings" {
                if let Some(texts) = call.texts(name)?.filter(|texts| !texts.is_empty()) {
                    return Ok(Labels::Texts(texts));
                }
            } else if let Some(ints) = call.ints(name)?.filter(|ints| !ints.is_empty()) {
                return Ok(Labels::Ints(ints));
            }
        }
        Err("neither classlabels_strings nor classlabels_int64s".into())
    }

    pub fn count(&self) -> usize {
        match self {
            Labels::Texts(texts) => texts.len(),
            Labels::Ints(ints) => ints.len(),
        }
    }
}

/// The class of the highest score, and all scores. One score for two classes speaks of the second: it is taken for above
/// 1/2 if all that add up to it are `positive`, else for above 0.
pub(super) fn classes(call: &Call<'_>, labels: &Labels, y: &Tensor, positive: bool) -> Results {
    let (places, scores) = match (y.shape()[1], labels.count()) {
        (1, 2) => {
            let bound = if positive { 0.5 } else { 0.0 };
            let places = y.gt(bound).to_dtype(DType::I64).reshape([y.shape()[0]]);
            let other = match call.text("post_transform", "NONE")? {
                "NONE" if positive => 1.0 - y,
                _ => -y,
            };
            let both = Tensor::concat(&[other, y.clone()], 1);
            (places, transform(call, &both)?)
        }
        (found, count) if found == count => {
            (y.argmax(1, false).to_dtype(DType::I64), transform(call, y)?)
        }
        (found, count) => return Err(format!("{found} scores for {count} classes").into()),
    };
    Ok(vec![labelled(labels, &places)?, scores.into()])
}

/// The labels at these places.
pub(super) fn labelled(labels: &Labels, places: &Tensor) -> Result<Value, Stop> {
    Ok(match labels {
        Labels::Ints(ints) => {
            Value::from(Tensor::from_slice(ints, [ints.len()]).index_select(0, places))
        }
        Labels::Texts(texts) => super::shape::picked(texts.clone().into(), places)?,
    })
}

/// Σ αᵢ k(xᵢ, x) + ρ over the support vectors xᵢ, or w x + ρ where there are none.
fn support_vectors(call: &Call<'_>) -> Results {
    let x = examples(call)?;
    let columns = x.shape()[1];
    let count = extent(call.int("n_supports", 0)?)?;
    let rho = call.floats("rho")?.and_then(|rho| rho.first().copied()).unwrap_or(0.0);
    let weights = call.floats("coefficients")?.ok_or("attribute coefficients is missing")?;
    let needed = if count == 0 { columns } else { count };
    if weights.len() != needed {
        return Err(format!("{} coefficients, expected {needed}", weights.len()).into());
    }
    let alpha = Tensor::from_slice(&weights, [needed, 1]).to_dtype(DType::F32);
    let similar = if count == 0 {
        x
    } else {
        let vectors = call.floats("support_vectors")?.unwrap_or_default();
        if count.checked_mul(columns) != Some(vectors.len()) {
            let found = vectors.len();
            return Err(format!("{found} numbers for {count} vectors of {columns}").into());
        }
        call.scope.afford(&[x.shape()[0], count, columns], DType::F32)?;
        kernel(call, &x, &Tensor::from_slice(&vectors, [count, columns]).to_dtype(DType::F32))?
    };
    let y = similar.matmul(&alpha) + rho;
    if call.flag("one_class", false)? {
        let inside = y.gt(0.0).to_dtype(DType::F32);
        return one(inside * 2.0 - 1.0);
    }
    one(transform(call, &y)?)
}

/// How similar each of `x` is to each of `v`: `[examples, vectors]`.
pub(super) fn kernel(call: &Call<'_>, x: &Tensor, v: &Tensor) -> Result<Tensor, Stop> {
    let params = call.floats("kernel_params")?.unwrap_or_default();
    let param = |i: usize| params.get(i).copied().unwrap_or(0.0);
    let (gamma, offset, degree) = (param(0), param(1), param(2));
    let dot = || x.matmul(&v.transpose(0, 1));
    Ok(match call.text("kernel_type", "LINEAR")? {
        "LINEAR" => dot(),
        "POLY" => (dot() * gamma + offset).powf(degree),
        "SIGMOID" => (dot() * gamma + offset).tanh(),
        "RBF" => {
            let apart = x.unsqueeze(1) - v.unsqueeze(0);
            (apart.square().sum_axes(&[2], false) * -gamma).exp()
        }
        other => {
            return Err(
                format!("kernel_type: LINEAR, POLY, RBF or SIGMOID, found {other:?}").into()
            );
        }
    })
}

/// For each element a row with a 1 at its category.
fn one_hot(call: &Call<'_>) -> Results {
    let zeros = call.flag("zeros", true)?;
    let y = match call.value(0)? {
        Value::Strings(x) => {
            let known = call.texts("cats_strings")?.ok_or("attribute cats_strings is missing")?;
            call.scope.afford(&[x.texts.len(), known.len()], DType::F32)?;
            let same: Vec<f32> = x
                .texts
                .iter()
                .flat_map(|text| known.iter().map(move |cat| f32::from(u8::from(cat == text))))
                .collect();
            Tensor::from_slice(&same, [&x.dims[..], &[known.len()]].concat())
        }
        _ => {
            let x = call.tensor(0)?;
            let known = call.ints("cats_int64s")?.ok_or("attribute cats_int64s is missing")?;
            call.scope.afford(&[x.numel(), known.len()], DType::F32)?;
            let known = Tensor::from_slice(&known, [known.len()]);
            x.to_dtype(DType::I64).unsqueeze(x.rank()).eq(&known).to_dtype(DType::F32)
        }
    };
    if !zeros {
        let found = y.sum_axes(&[-1], false).known()?;
        let found = found.ok_or_else(|| Stop::Value("whether all categories are known".into()))?;
        if found.to_vec::<f32>().contains(&0.0) {
            return Err("an element of no category, and zeros = 0".into());
        }
    }
    one(y)
}
