//! Texts.

use super::Operator;
use super::elementwise::one;
use crate::import::call::{Call, Results, extent};
use crate::import::error::Stop;
use crate::import::tagged;
use crate::import::value::{Strings, Value};
use nerve_core::{DType, Shape, Tensor};
use std::collections::{HashMap, HashSet};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("StringConcat", |call| {
        let (dims, pairs) = pairs(call.strings(0)?, call.strings(1)?)?;
        let bytes = pairs.iter().map(|(a, b)| a.len() + b.len()).sum::<usize>();
        call.scope.afford(&[bytes], DType::U8)?;
        let texts = pairs.into_iter().map(|(a, b)| format!("{a}{b}")).collect();
        Ok(vec![Value::Strings(Strings { dims, texts })])
    }),
    ("StringSplit", split),
    ("StringNormalizer", normalize),
    ("TfIdfVectorizer", vectorize),
    ("ai.onnx.ml.LabelEncoder", encode),
];

/// Most elements of an array of texts: broadcasting may multiply them.
const MOST: usize = 1 << 24;

/// Two arrays of texts in one shape, and that shape.
type Pairs<'a> = (Vec<usize>, Vec<(&'a str, &'a str)>);

fn pairs<'a>(a: &'a Strings, b: &'a Strings) -> Result<Pairs<'a>, Stop> {
    let [from, to] = [a, b].map(|s| Shape::from(s.dims.clone()));
    let shape = from.broadcast(&to);
    let shape = shape.ok_or_else(|| format!("shapes {from} and {to} do not broadcast"))?;
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= MOST);
    let count = count.ok_or_else(|| Stop::Limit(format!("texts of shape {shape}")))?;
    let mut all = Vec::with_capacity(count);
    for i in 0..count {
        let pick = |s: &'a Strings| {
            let (mut rest, mut at, mut stride) = (i, 0, 1);
            for axis in (0..shape.rank()).rev() {
                let place = rest % shape[axis];
                rest /= shape[axis];
                let Some(own) = (axis + s.dims.len()).checked_sub(shape.rank()) else { continue };
                at += if s.dims[own] == 1 { 0 } else { place * stride };
                stride *= s.dims[own];
            }
            s.texts[at].as_str()
        };
        all.push((pick(a), pick(b)));
    }
    Ok((shape.to_vec(), all))
}

/// Which texts of two arrays are the same.
pub(super) fn equal(call: &Call<'_>) -> Results {
    let (dims, pairs) = pairs(call.strings(0)?, call.strings(1)?)?;
    let same: Vec<bool> = pairs.into_iter().map(|(a, b)| a == b).collect();
    one(Tensor::from_slice(&same, dims))
}

/// The parts of each text, with empty ones behind so that all have as many; and how many there were.
fn split(call: &Call<'_>) -> Results {
    let x = call.strings(0)?;
    let delimiter = call.text("delimiter", "")?;
    let most = match call.attribute("maxsplit") {
        Some(_) => Some(extent(call.int("maxsplit", 0)?)?),
        None => None,
    };
    let part = |text: &'_ String| -> Vec<String> {
        let owned = |parts: &mut dyn Iterator<Item = &str>| parts.map(str::to_string).collect();
        match (delimiter, most) {
            ("", None) => owned(&mut text.split_whitespace()),
            ("", Some(most)) => words(text, most),
            (mark, None) => owned(&mut text.split(mark)),
            (mark, Some(most)) => owned(&mut text.splitn(most + 1, mark)),
        }
    };
    let parts: Vec<Vec<String>> = x.texts.iter().map(part).collect();
    let width = parts.iter().map(Vec::len).max().unwrap_or(0);
    if width.checked_mul(parts.len()).is_none_or(|n| n > MOST) {
        return Err(Stop::Limit(format!("{} times {width} texts", parts.len())));
    }
    let counts: Vec<i64> = parts.iter().map(|p| p.len() as i64).collect();
    let texts: Vec<String> = parts
        .into_iter()
        .flat_map(|mut parts| {
            parts.resize(width, String::new());
            parts
        })
        .collect();
    let dims = [&x.dims[..], &[width]].concat();
    let counts = Tensor::from_slice(&counts, x.dims.clone());
    Ok(vec![Value::Strings(Strings { dims, texts: texts.into() }), counts.into()])
}

/// Words, at most so many, and what stands behind them.
fn words(text: &str, most: usize) -> Vec<String> {
    let (mut rest, mut words) = (text.trim_start(), Vec::new());
    while !rest.is_empty() && words.len() < most {
        let (word, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        words.push(word.to_string());
        rest = behind.trim_start();
    }
    if !rest.is_empty() {
        words.push(rest.trim_end().to_string());
    }
    words
}

/// Without some words, and in upper or lower case. If nothing is left, one empty text is.
fn normalize(call: &Call<'_>) -> Results {
    let x = call.strings(0)?;
    let lead = match x.dims[..] {
        [_] => vec![],
        [1, _] => vec![1],
        ref other => return Err(format!("expected [n] or [1, n], found {other:?}").into()),
    };
    let exact = call.flag("is_case_sensitive", false)?;
    let key = |text: &str| if exact { text.to_string() } else { text.to_lowercase() };
    let stopwords: HashSet<String> =
        call.texts("stopwords")?.unwrap_or_default().iter().map(|t| key(t)).collect();
    let change: fn(&str) -> String = match call.text("case_change_action", "NONE")? {
        "NONE" => str::to_string,
        "LOWER" => str::to_lowercase,
        "UPPER" => str::to_uppercase,
        other => {
            return Err(format!("case_change_action: LOWER, UPPER or NONE, found {other:?}").into());
        }
    };
    let kept = x.texts.iter().filter(|t| !stopwords.contains(&key(t)));
    let mut texts: Vec<String> = kept.map(|t| change(t)).collect();
    if texts.is_empty() {
        texts.push(String::new());
    }
    let dims = [&lead[..], &[texts.len()]].concat();
    Ok(vec![Value::Strings(Strings { dims, texts: texts.into() })])
}

/// An element that is looked for: a text, a whole number, or a float by its bits.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Text(String),
    Int(i64),
    Float(u64),
}

impl Key {
    /// NaN is NaN, and zero has no sign.
    fn float(value: f64) -> Key {
        Key::Float(if value.is_nan() { f64::NAN } else { value + 0.0 }.to_bits())
    }

    /// The elements of operand `i`.
    fn operand(call: &Call<'_>, i: usize) -> Result<(Vec<usize>, Vec<Key>), Stop> {
        if let Value::Strings(s) = call.value(i)? {
            return Ok((s.dims.clone(), s.texts.iter().cloned().map(Key::Text).collect()));
        }
        let x = call.tensor(i)?;
        let keys = match x.dtype().is_float() {
            true => call.known_floats(i)?.into_iter().map(Key::float).collect(),
            false => call.known_ints(i)?.into_iter().map(Key::Int).collect(),
        };
        Ok((x.shape().to_vec(), keys))
    }

    /// The elements of a value of the file.
    fn list(value: &Value) -> Result<Vec<Key>, Stop> {
        match value {
            Value::Strings(s) => Ok(s.texts.iter().cloned().map(Key::Text).collect()),
            Value::Tensor(t) | Value::Narrow(_, t) if t.dtype().is_float() => {
                Ok(crate::import::call::numbers::<f64>(t)?.into_iter().map(Key::float).collect())
            }
            Value::Tensor(t) | Value::Narrow(_, t) => {
                Ok(crate::import::call::numbers::<i64>(t)?.into_iter().map(Key::Int).collect())
            }
            _ => Err("expected texts or numbers".into()),
        }
    }
}

/// A list among the settings, whatever its type: `prefix` with `_strings`, `_int64s`, `_floats`, `_tensor`.
fn setting(call: &Call<'_>, prefix: &str) -> Result<Option<Value>, Stop> {
    let name = |kind: &str| format!("{prefix}_{kind}");
    if let Some(texts) = call.texts(&name("strings"))? {
        let dims = vec![texts.len()];
        return Ok(Some(Value::Strings(Strings { dims, texts: texts.into() })));
    }
    if let Some(values) = call.ints(&name("int64s"))? {
        return Ok(Some(Tensor::from_slice(&values, [values.len()]).into()));
    }
    if let Some(values) = call.floats(&name("floats"))? {
        let values = Tensor::from_slice(&values, [values.len()]);
        return Ok(Some(values.to_dtype(DType::F32).into()));
    }
    let array = call.array(&name("tensor"))?;
    array.map(Value::from_onnx).transpose().map_err(Stop::Unsupported)
}

/// Each element replaced by another, as a table says; the last entry of a key counts.
fn encode(call: &Call<'_>) -> Results {
    let (dims, keys) = Key::operand(call, 0)?;
    let (from, to) = match setting(call, "classes")? {
        // The first version: from classes to their numbers, or back.
        Some(classes) => {
            let count = Key::list(&classes)?.len();
            let numbers = Value::from(Tensor::arange(count).to_dtype(DType::I64));
            match keys.first() {
                Some(Key::Text(_)) => (classes, numbers),
                _ => (numbers, classes),
            }
        }
        None => {
            let list = |name: &str| {
                setting(call, name)?.ok_or(Stop::Wrong(format!("{name}_… is missing")))
            };
            (list("keys")?, list("values")?)
        }
    };
    let table: HashMap<Key, usize> =
        Key::list(&from)?.into_iter().enumerate().map(|(i, key)| (key, i)).collect();
    let places: Vec<Option<usize>> = keys.iter().map(|key| table.get(key).copied()).collect();
    let count = Key::list(&to)?.len();
    if places.iter().flatten().any(|&at| at >= count) {
        return Err(format!("{} keys for {count} values", table.len()).into());
    }
    match to {
        Value::Strings(values) => {
            let default = call.text("default_string", "_Unused")?;
            let text =
                |at: &Option<usize>| at.map_or(default.to_string(), |at| values.texts[at].clone());
            let texts = places.iter().map(text).collect();
            Ok(vec![Value::Strings(Strings { dims, texts })])
        }
        Value::Tensor(ref values) | Value::Narrow(_, ref values) => {
            let default = match (setting(call, "default")?, values.dtype()) {
                (Some(Value::Tensor(default) | Value::Narrow(_, default)), _)
                    if default.numel() == 1 =>
                {
                    default.reshape([1]).to_dtype(values.dtype())
                }
                (_, DType::I64) => Tensor::from_slice(&[call.int("default_int64", -1)?], [1]),
                (_, dtype) => Tensor::full([1], call.float("default_float", -0.0)?, dtype),
            };
            let all = Tensor::concat(&[values.reshape([count]), default], 0);
            let index: Vec<i64> = places.iter().map(|at| at.unwrap_or(count) as i64).collect();
            let index = Tensor::from_slice(&index, [index.len()]);
            Ok(vec![tagged::alike(&to, all.index_select(0, &index).reshape(dims))])
        }
        _ => Err("expected texts or numbers".into()),
    }
}

/// The n-grams of a vectorizer: each with its column.
struct Grams {
    columns: HashMap<Vec<Key>, usize>,
    width: usize,
    /// By column.
    weights: Vec<f32>,
}

impl Grams {
    fn of(call: &Call<'_>) -> Result<Grams, Stop> {
        let pool = setting(call, "pool")?.ok_or("neither pool_strings nor pool_int64s")?;
        let pool = Key::list(&pool)?;
        let starts = call.ints("ngram_counts")?.ok_or("attribute ngram_counts is missing")?;
        let indexes = call.ints("ngram_indexes")?.ok_or("attribute ngram_indexes is missing")?;
        let mut ends: Vec<usize> = starts.iter().map(|&s| extent(s)).collect::<Result<_, _>>()?;
        ends.push(pool.len());
        let indexes: Vec<usize> = indexes.iter().map(|&i| extent(i)).collect::<Result<_, _>>()?;
        let width = indexes.iter().max().map_or(0, |&i| i + 1);
        if width > MOST {
            return Err(Stop::Limit(format!("{width} columns")));
        }
        let scales = call.floats("weights")?;
        let (mut columns, mut weights) = (HashMap::new(), vec![1.0; width]);
        let mut id = 0;
        for (n, range) in ends.windows(2).enumerate() {
            let part = pool
                .get(range[0]..range[1])
                .ok_or_else(|| format!("ngram_counts {starts:?} for a pool of {}", pool.len()))?;
            for gram in part.chunks_exact(n + 1) {
                let &column = indexes.get(id).ok_or("fewer ngram_indexes than n-grams")?;
                if let Some(scales) = &scales {
                    weights[column] = *scales.get(id).ok_or("fewer weights than n-grams")? as f32;
                }
                columns.insert(gram.to_vec(), column);
                id += 1;
            }
        }
        Ok(Grams { columns, width, weights })
    }

    /// How often each n-gram is in a row, with `skip` elements left out between its own.
    fn count(
        &self,
        row: &[Key],
        lengths: std::ops::RangeInclusive<usize>,
        skips: usize,
    ) -> Vec<f32> {
        let mut counts = vec![0.0; self.width];
        for n in lengths {
            // A single element has no gaps.
            let skips = if n == 1 { 0 } else { skips.min(row.len()) };
            for step in 1..=skips + 1 {
                let reach = (n - 1).saturating_mul(step);
                for start in 0..row.len().saturating_sub(reach) {
                    let gram: Vec<Key> = (0..n).map(|i| row[start + i * step].clone()).collect();
                    if let Some(&column) = self.columns.get(&gram) {
                        counts[column] += 1.0;
                    }
                }
            }
        }
        counts
    }
}

/// How often the n-grams of a pool are in a sequence, or in each row.
fn vectorize(call: &Call<'_>) -> Results {
    let (dims, keys) = Key::operand(call, 0)?;
    let (rows, length, lead) = match dims[..] {
        [n] => (1, n, vec![]),
        [rows, n] => (rows, n, vec![rows]),
        _ => return Err(format!("expected one or two axes, found {dims:?}").into()),
    };
    let grams = Grams::of(call)?;
    let shortest = extent(call.required_int("min_gram_length")?)?;
    let longest = extent(call.required_int("max_gram_length")?)?;
    let skips = extent(call.required_int("max_skip_count")?)?;
    if shortest == 0 || longest > 1 << 10 || rows.saturating_mul(grams.width) > MOST {
        return Err(format!("n-grams of {shortest} to {longest} elements").into());
    }
    // Places where an n-gram may begin, times what it has.
    let work =
        (rows * length).saturating_mul(skips.min(length) + 1).saturating_mul(longest * longest);
    if work > 1 << 32 {
        return Err(Stop::Limit(format!("n-grams of {dims:?} elements with {skips} left out")));
    }
    let weigh: fn(f32, f32) -> f32 = match call.text("mode", "TF")? {
        "TF" => |count, _| count,
        "IDF" => |count, weight| if count > 0.0 { weight } else { 0.0 },
        "TFIDF" => |count, weight| count * weight,
        other => return Err(format!("mode: TF, IDF or TFIDF, found {other:?}").into()),
    };
    let mut all = Vec::with_capacity(rows * grams.width);
    for r in 0..rows {
        let row = &keys[r * length..(r + 1) * length];
        let counts = grams.count(row, shortest..=longest, skips);
        all.extend(counts.iter().zip(&grams.weights).map(|(&count, &weight)| weigh(count, weight)));
    }
    one(Tensor::from_slice(&all, [&lead[..], &[grams.width]].concat()))
}
