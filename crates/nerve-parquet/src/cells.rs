//! Columns of Arrow as cells.

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, UInt8Type, UInt16Type,
    UInt32Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use nerve_data::{Cells, Texts};

/// A value that cannot be a cell.
#[derive(Debug)]
pub(crate) struct Bad {
    pub row: usize,
    pub expected: &'static str,
    pub found: String,
}

/// What a type that is not read is called; `None` for the others.
pub(crate) fn unreadable(data_type: &DataType) -> Option<String> {
    use DataType::*;
    match data_type {
        List(field) | LargeList(field) | FixedSizeList(field, _) => unreadable(field.data_type()),
        Struct(fields) => fields.iter().find_map(|field| unreadable(field.data_type())),
        Dictionary(_, values) => unreadable(values),
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => Some("bytes".into()),
        Map(..) | Union(..) | RunEndEncoded(..) | ListView(_) | LargeListView(_) => {
            Some(format!("values of type {data_type}"))
        }
        _ => None,
    }
}

/// The cells of a column.
pub(crate) fn cells(array: &ArrayRef) -> Result<Cells, Bad> {
    Ok(match array.data_type() {
        DataType::Float64 => Cells::Numbers(numbers::<Float64Type>(array, |x| x)?),
        DataType::Float32 => Cells::Numbers(numbers::<Float32Type>(array, f64::from)?),
        DataType::Float16 => Cells::Numbers(numbers::<Float16Type>(array, f64::from)?),
        DataType::Int32 => Cells::Numbers(numbers::<Int32Type>(array, f64::from)?),
        DataType::Int16 => Cells::Numbers(numbers::<Int16Type>(array, f64::from)?),
        DataType::Int8 => Cells::Numbers(numbers::<Int8Type>(array, f64::from)?),
        DataType::UInt32 => Cells::Numbers(numbers::<UInt32Type>(array, f64::from)?),
        DataType::UInt16 => Cells::Numbers(numbers::<UInt16Type>(array, f64::from)?),
        DataType::UInt8 => Cells::Numbers(numbers::<UInt8Type>(array, f64::from)?),
        DataType::Utf8 => Cells::Text(array.as_string::<i32>().iter().collect()),
        DataType::LargeUtf8 => Cells::Text(array.as_string::<i64>().iter().collect()),
        DataType::Utf8View => Cells::Text(array.as_string_view().iter().collect()),
        DataType::Null => Cells::Text((0..array.len()).map(|_| None).collect()),
        DataType::Dictionary(..) => picked(array)?,
        _ => Cells::Text(texts(array)?),
    })
}

/// The values of a dictionary in the order of its keys. Neither `cast` nor `take`, which do this for any type to any, and
/// take a megabyte of the binary.
fn picked(array: &ArrayRef) -> Result<Cells, Bad> {
    let dictionary = array.as_any_dictionary();
    let keys = match dictionary.values().is_empty() {
        true => vec![0; array.len()],
        false => dictionary.normalized_keys(),
    };
    let rows = keys.iter().enumerate().map(|(row, &key)| (!array.is_null(row)).then_some(key));
    Ok(match cells(dictionary.values())? {
        Cells::Text(texts) => Cells::Text(rows.map(|key| texts.get(key?)).collect()),
        Cells::Numbers(numbers) => {
            Cells::Numbers(rows.map(|key| key.map_or(f64::NAN, |key| numbers[key])).collect())
        }
        Cells::Arrays(..) => unreachable!("columns of Arrow are texts or numbers"),
    })
}

fn numbers<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    number: impl Fn(T::Native) -> f64,
) -> Result<Vec<f64>, Bad> {
    let array: &PrimitiveArray<T> = array.as_primitive();
    let all: Vec<f64> = array.iter().map(|value| value.map_or(f64::NAN, &number)).collect();
    match all.iter().position(|x| x.is_infinite()) {
        None => Ok(all),
        Some(row) => Err(Bad { row, expected: "a finite number", found: all[row].to_string() }),
    }
}

/// Values of any other type, as a text file would have them.
fn texts(array: &ArrayRef) -> Result<Texts, Bad> {
    let mut texts = Texts::default();
    let mut text = String::new();
    let nested = array.data_type().is_nested();
    // One formatter for all rows of a plain column.
    let options = FormatOptions::new();
    let plain = (!nested).then(|| ArrayFormatter::try_new(array, &options)).transpose();
    let plain = plain.map_err(|e| Bad { row: 0, expected: "a value", found: e.to_string() })?;
    for row in 0..array.len() {
        if array.is_null(row) {
            texts.push(None);
            continue;
        }
        text.clear();
        let written = match &plain {
            Some(plain) => write!(text, "{}", plain.value(row)).map_err(|e| e.to_string()),
            None => json(array, row, &mut text),
        };
        written.map_err(|found| Bad { row, expected: "a value", found })?;
        texts.push(Some(&text));
    }
    Ok(texts)
}

/// Writes a value as JSON.
fn json(array: &dyn Array, row: usize, out: &mut String) -> Result<(), String> {
    if array.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::List(_) => list(&array.as_list::<i32>().value(row), out),
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(row), out),
        DataType::FixedSizeList(..) => list(&array.as_fixed_size_list().value(row), out),
        DataType::Struct(fields) => {
            out.push('{');
            for (at, (field, column)) in fields.iter().zip(array.as_struct().columns()).enumerate()
            {
                out.push_str(if at > 0 { ", " } else { "" });
                quoted(field.name(), out);
                out.push_str(": ");
                json(column, row, out)?;
            }
            out.push('}');
            Ok(())
        }
        data_type => {
            let options = FormatOptions::new();
            let formatter = ArrayFormatter::try_new(array, &options).map_err(|e| e.to_string())?;
            let text = formatter.value(row).try_to_string().map_err(|e| e.to_string())?;
            // JSON has no NaN and no infinity.
            let plain = data_type.is_numeric() || *data_type == DataType::Boolean;
            match plain {
                true if text.parse::<f64>().is_ok_and(|x| !x.is_finite()) => out.push_str("null"),
                true => out.push_str(&text),
                false => quoted(&text, out),
            }
            Ok(())
        }
    }
}

fn list(values: &ArrayRef, out: &mut String) -> Result<(), String> {
    out.push('[');
    for row in 0..values.len() {
        out.push_str(if row > 0 { ", " } else { "" });
        json(values, row, out)?;
    }
    out.push(']');
    Ok(())
}

/// Writes a text as JSON.
fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
