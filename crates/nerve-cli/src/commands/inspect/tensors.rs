//! safetensors: the header, and the values where they are asked for.

use super::{Found, model, pairs, short};
use crate::args::Inspect;
use crate::commands::list::columns;
use crate::failure::Failure;
use nerve::formats::Limits;
use nerve::formats::safetensors::{Contents, Listed, SafeTensors, TensorView};
use nerve_recipe::summary::{bytes_text, shape_text, thousands};
use serde_json::{Map, Value, json};
use std::path::Path;

pub fn look(path: &Path, args: &Inspect) -> Result<Found, Failure> {
    let contents = Contents::read(path)?;
    let ranges = match args.values || args.require_finite {
        true => Some(ranges(path, args.require_finite)?),
        false => None,
    };
    let mut found = match contents.metadata_value("format") {
        Some("nerve") => model::look(path, &contents)?,
        _ => plain(&contents),
    };
    if let Some(ranges) = &ranges {
        add_values(&mut found, &contents, ranges);
    }
    Ok(found)
}

/// Numbers of all tensors together.
pub fn elements(contents: &Contents) -> u128 {
    contents.tensors.iter().map(|tensor| tensor.elements() as u128).sum()
}

fn plain(contents: &Contents) -> Found {
    let mut text = format!(
        "{} tensors, {} numbers, {}\n",
        thousands(contents.tensors.len() as u128),
        thousands(elements(contents)),
        bytes_text(contents.data_bytes.into())
    );
    if !contents.metadata.is_empty() {
        text.push_str(&format!("\nmetadata\n{}", pairs(&contents.metadata)));
    }
    text.push_str(&format!("\n{}", table(&contents.tensors)));
    Found { kind: "safetensors", text, json: json(contents) }
}

/// Name, type, shape and bytes of each tensor.
pub fn table(tensors: &[Listed]) -> String {
    let row = |tensor: &Listed| {
        [
            name(&tensor.name),
            tensor.dtype.name().to_string(),
            shape_text(&tensor.shape),
            thousands(tensor.range.len() as u128),
        ]
    };
    let mut rows = vec![["tensor", "dtype", "shape", "bytes"].map(String::from)];
    rows.extend(tensors.iter().map(row));
    columns(&rows)
}

/// A name as it is fit for a terminal, which shows whole what is not absurdly long.
fn name(name: &str) -> String {
    nerve::formats::escape(name, 120)
}

pub fn json(contents: &Contents) -> Value {
    let metadata: Map<String, Value> =
        contents.metadata.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    let tensor = |tensor: &Listed| {
        json!({
            "name": tensor.name,
            "dtype": tensor.dtype.name(),
            "shape": tensor.shape,
            "bytes": tensor.range.len(),
        })
    };
    let tensors: Vec<Value> = contents.tensors.iter().map(tensor).collect();
    json!({
        "tensors": tensors,
        "numbers": u64::try_from(elements(contents)).unwrap_or(u64::MAX),
        "bytes": contents.data_bytes,
        "metadata": metadata,
    })
}

/// What the values of a tensor are.
struct Range {
    least: f64,
    greatest: f64,
    mean: f64,
    /// Elements that are infinite or no number, and the first of them.
    bad: usize,
    first_bad: Option<usize>,
}

fn ranges(path: &Path, require_finite: bool) -> Result<Vec<Range>, Failure> {
    let file = SafeTensors::open(path, &Limits { max_bytes: u64::MAX, ..Limits::default() })?;
    if require_finite {
        file.require_finite()?;
    }
    file.iter().map(|tensor| Ok(range(&tensor)?)).collect()
}

fn range(tensor: &TensorView<'_>) -> Result<Range, nerve::formats::FormatError> {
    let values: Vec<f64> = match tensor.dtype.is_float() {
        true => tensor.to_f64()?,
        false => tensor.to_i64()?.into_iter().map(|value| value as f64).collect(),
    };
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let count = finite().count();
    Ok(Range {
        least: finite().fold(f64::INFINITY, f64::min),
        greatest: finite().fold(f64::NEG_INFINITY, f64::max),
        mean: finite().sum::<f64>() / count.max(1) as f64,
        bad: values.len() - count,
        first_bad: tensor.first_non_finite(),
    })
}

fn add_values(found: &mut Found, contents: &Contents, ranges: &[Range]) {
    let mut rows = vec![["tensor", "least", "greatest", "mean", "not finite"].map(String::from)];
    let tensors = contents.tensors.iter().zip(ranges);
    for (i, (tensor, range)) in tensors.enumerate() {
        let value = |value: f64| match range.bad == tensor.elements() {
            true => "-".to_string(),
            false => format!("{value:.6}"),
        };
        let bad = match range.first_bad {
            Some(first) => format!("{}, the first at {first}", thousands(range.bad as u128)),
            None => String::new(),
        };
        rows.push([
            short(&tensor.name),
            value(range.least),
            value(range.greatest),
            value(range.mean),
            bad,
        ]);
        let listed = &mut found.json["tensors"][i];
        if range.bad < tensor.elements() {
            listed["min"] = json!(range.least);
            listed["max"] = json!(range.greatest);
            listed["mean"] = json!(range.mean);
        }
        listed["not_finite"] = json!(range.bad);
    }
    found.text.push_str(&format!("\n{}", columns(&rows)));
}
