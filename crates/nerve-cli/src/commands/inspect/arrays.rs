//! Arrays: npy, npz, idx.

use super::{Found, short};
use crate::args::Inspect;
use crate::commands::list::columns;
use crate::failure::Failure;
use nerve::formats::npy::Contents;
use nerve::formats::{ErrorKind, FormatError, Idx, Limits, Npy, NpyData, Zip};
use nerve_recipe::summary::{bytes_text, shape_text};
use serde_json::{Value, json};
use std::path::Path;

pub fn npy(path: &Path, args: &Inspect) -> Result<Found, Failure> {
    let header = Contents::read(path)?;
    let mut found =
        Found { kind: "npy", text: format!("{}\n", line(&header)), json: array(&header) };
    if args.values || args.require_finite {
        let npy = Npy::read(path, &Limits::default())?;
        let values = values(path, "elements", &npy, args)?;
        found.text.push_str(&format!("{}\n", values.0));
        found.json["values"] = values.1;
    }
    Ok(found)
}

pub fn npz(path: &Path, args: &Inspect) -> Result<Found, Failure> {
    let zip = Zip::read(path, &Limits::default())?;
    let mut rows = vec![["array", "type", "shape", "bytes", ""].map(String::from)];
    let mut arrays = Vec::new();
    for (i, name) in zip.names().enumerate() {
        let header = Contents::of(zip.stream(i))?;
        let mut value = array(&header);
        value["name"] = json!(name.strip_suffix(".npy").unwrap_or(name));
        let mut line = String::new();
        if args.values || args.require_finite {
            let npy = Npy::from_bytes(path.join(name), &zip.unpack(i)?)?;
            (line, value["values"]) = values(path, name, &npy, args)?;
        }
        rows.push([
            short(name.strip_suffix(".npy").unwrap_or(name)),
            header.descr.clone(),
            shape_text(&header.shape),
            bytes_text(header.data_bytes.into()),
            line,
        ]);
        arrays.push(value);
    }
    let text = format!("arrays: {}\n{}", arrays.len(), columns(&rows));
    Ok(Found { kind: "npz", text, json: json!({ "arrays": arrays }) })
}

/// `<f4 [3, 4], 48 bytes`.
fn line(header: &Contents) -> String {
    let order = if header.fortran_order { ", first dimension fastest" } else { "" };
    let bytes = bytes_text(header.data_bytes.into());
    format!("{} {}, {bytes}{order}", header.descr, shape_text(&header.shape))
}

fn array(header: &Contents) -> Value {
    json!({
        "dtype": header.descr,
        "shape": header.shape,
        "fortran_order": header.fortran_order,
        "bytes": header.data_bytes,
    })
}

/// The least and the greatest value.
fn values(
    path: &Path,
    name: &str,
    npy: &Npy,
    args: &Inspect,
) -> Result<(String, Value), FormatError> {
    let values: Vec<f64> = match &npy.data {
        NpyData::U8(v) => v.iter().map(|&x| x.into()).collect(),
        NpyData::I32(v) => v.iter().map(|&x| x.into()).collect(),
        NpyData::I64(v) => v.iter().map(|&x| x as f64).collect(),
        NpyData::F32(v) => v.iter().map(|&x| x.into()).collect(),
        NpyData::F64(v) => v.clone(),
    };
    let bad = values.iter().position(|value| !value.is_finite());
    if let Some(index) = bad.filter(|_| args.require_finite) {
        let found = format!("infinity or NaN at element {index}");
        return Err(FormatError::new(ErrorKind::Mismatch, path, name, "finite values", found));
    }
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (least, greatest) = finite()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    Ok(match finite().next() {
        None => ("no finite value".into(), json!({ "not_finite": values.len() })),
        Some(_) => {
            let not_finite = values.len() - finite().count();
            let note = match bad {
                Some(index) => format!(", {not_finite} not finite, the first at {index}"),
                None => String::new(),
            };
            let json = json!({ "min": least, "max": greatest, "not_finite": not_finite });
            (format!("{least} .. {greatest}{note}"), json)
        }
    })
}

pub fn idx(path: &Path) -> Result<Found, Failure> {
    let idx = Idx::read(path, &Limits::default())?;
    let kind = idx.data.type_name();
    let text = format!("{kind} {}\n", shape_text(&idx.dims));
    Ok(Found { kind: "idx", text, json: json!({ "dtype": kind, "shape": idx.dims }) })
}
