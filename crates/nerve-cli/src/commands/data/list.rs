//! `nerve data list`: which data sets have a name, and which of them are here.

use crate::args::DataList;
use crate::failure::Failure;
use crate::output;
use nerve::data::catalogue::{Entry, catalogue, find};
use serde_json::{Value, json};
use std::path::PathBuf;

pub fn run(args: &DataList) -> Result<(), Failure> {
    let found = catalogue().iter().map(|entry| (entry, find(entry.name).ok()));
    match args.json {
        true => output::json(&Value::Array(
            found.map(|(entry, folder)| object(entry, folder)).collect(),
        ))?,
        false => {
            output::result(&found.map(|(entry, folder)| lines(entry, folder)).collect::<String>())?
        }
    }
    Ok(())
}

fn object(entry: &Entry, folder: Option<PathBuf>) -> Value {
    json!({
        "name": entry.name,
        "doc": entry.doc,
        "rows": entry.rows,
        "bytes": entry.size(),
        "licence": entry.licence,
        "source": entry.source,
        "files": entry.files,
        "table": entry.table,
        "target": entry.target,
        "labels": entry.labels,
        "folder": folder.map(|folder| folder.to_string_lossy().into_owned()),
    })
}

fn lines(entry: &Entry, folder: Option<PathBuf>) -> String {
    let state = folder.map_or("not fetched".to_string(), |folder| folder.display().to_string());
    let (name, rows, size) = (entry.name, grouped(entry.rows), bytes(entry.size()));
    format!(
        "{name:<19}{rows:>9} rows {size:>10}   {state}\n    {}\n    licence: {}\n",
        entry.doc, entry.licence
    )
}

/// A number with a comma after each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let group = |(i, digit): (usize, char)| match i > 0 && (digits.len() - i).is_multiple_of(3) {
        true => vec![',', digit],
        false => vec![digit],
    };
    digits.chars().enumerate().flat_map(group).collect()
}

fn bytes(number: u64) -> String {
    match number {
        0..1_000_000 => format!("{} kB", number.div_ceil(1000)),
        _ => format!("{:.1} MB", number as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let numbers = [7, 999, 1000, 70_000, 1_234_567].map(grouped);
        assert_eq!(numbers, ["7", "999", "1,000", "70,000", "1,234,567"]);
        assert_eq!([1, 44_377, 54_950_048].map(bytes), ["1 kB", "45 kB", "55.0 MB"]);
    }
}
