//! A table as a Parquet file.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int32Array, RecordBatch, StringArray,
    UInt8Array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use nerve_data::{Cells, Column, DataError, Table, Values};
use nerve_formats::{ErrorKind, FormatError, write_atomic};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

/// Writes a table as a Parquet file, packed by snappy: texts as strings, numbers as doubles with nulls where there is none,
/// arrays as lists of one length. The file is whole or absent.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, table: &Table) -> Result<(), DataError> {
    let bytes = encode(table).map_err(|error| {
        FormatError::new(
            ErrorKind::Mismatch,
            path,
            "table",
            "one that Parquet holds",
            error.to_string(),
        )
    })?;
    Ok(write_atomic(path, |out| out.write_all(&bytes))?)
}

fn encode(table: &Table) -> Result<Vec<u8>, ArrowError> {
    let arrays = table.columns().iter().map(array).collect::<Result<Vec<ArrayRef>, _>>()?;
    let fields: Vec<Field> = table
        .columns()
        .iter()
        .zip(&arrays)
        .map(|(column, array)| Field::new(&column.name, array.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(&schema), Some(properties))?;
    writer.write(&RecordBatch::try_new(schema, arrays)?)?;
    writer.close()?;
    Ok(bytes)
}

fn array(column: &Column) -> Result<ArrayRef, ArrowError> {
    Ok(match &column.cells {
        Cells::Text(texts) => {
            Arc::new((0..texts.len()).map(|row| texts.get(row)).collect::<StringArray>())
        }
        Cells::Numbers(numbers) => {
            let numbers = numbers.iter().map(|&x| (!x.is_nan()).then_some(x));
            Arc::new(numbers.collect::<Float64Array>())
        }
        Cells::Arrays(field, values) => {
            let (element, values): (_, ArrayRef) = match values {
                Values::F32(v) => (DataType::Float32, Arc::new(Float32Array::from(v.clone()))),
                Values::I32(v) => (DataType::Int32, Arc::new(Int32Array::from(v.clone()))),
                Values::U8(v) => (DataType::UInt8, Arc::new(UInt8Array::from(v.clone()))),
            };
            let length = i32::try_from(field.values_per_sample())
                .map_err(|_| ArrowError::InvalidArgumentError("rows of 2^31 values".into()))?;
            let item = Arc::new(Field::new("item", element, false));
            Arc::new(FixedSizeListArray::try_new(item, length, values, None)?)
        }
    })
}
