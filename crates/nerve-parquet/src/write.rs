//! Tables as Parquet and Arrow files.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int32Array, RecordBatch, StringArray,
    UInt8Array,
};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use nerve_data::{Cells, Column, DataError, Table, Values};
use nerve_formats::write_atomic;

use crate::groups::Groups;

/// Writes a table as a Parquet file, packed by snappy, or where the name ends in `.arrow` or `.feather` as an Arrow file:
/// texts as strings, numbers as doubles with nulls where there is none, arrays as lists (in Arrow of one length). The file is whole
/// or absent.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, table: &Table) -> Result<(), DataError> {
    let written = write_atomic(path, |out| {
        let mut writer = Writer::new(path, table)?;
        writer.write(table, out)?;
        writer.finish(out)
    });
    Ok(written?)
}

/// A file that is written table after table, all with the same columns, in bounded memory.
pub struct Writer(Kind);

enum Kind {
    Parquet(Box<Groups>),
    /// The writer of others writes into memory, from which it is taken after each table.
    Arrow(SchemaRef, Box<FileWriter<Vec<u8>>>),
}

impl Writer {
    /// For tables with the columns of this one; the ending of the path says in which format, see [`write`].
    ///
    /// # Errors
    /// A column that the format cannot hold.
    pub fn new(path: &Path, like: &Table) -> io::Result<Writer> {
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        Ok(Writer(match ending.as_deref().and_then(|ending| ending.to_str()) {
            Some("arrow" | "feather") => {
                let schema = Arc::new(schema(like).map_err(io::Error::other)?);
                let file = FileWriter::try_new(Vec::new(), &schema).map_err(io::Error::other)?;
                Kind::Arrow(schema, Box::new(file))
            }
            _ => Kind::Parquet(Box::new(Groups::new(like)?)),
        }))
    }

    /// Writes the rows of a table.
    ///
    /// # Errors
    /// Its columns are others; those of `out`.
    pub fn write(&mut self, table: &Table, out: &mut dyn Write) -> io::Result<()> {
        let bytes = match &mut self.0 {
            Kind::Parquet(file) => file.write(table)?,
            Kind::Arrow(schema, file) => {
                let arrays = table.columns().iter().map(array).collect::<Result<Vec<_>, _>>();
                let batch = arrays.and_then(|arrays| RecordBatch::try_new(schema.clone(), arrays));
                let written = batch.and_then(|batch| file.write(&batch));
                written.map_err(io::Error::other)?;
                std::mem::take(file.get_mut())
            }
        };
        out.write_all(&bytes)
    }

    /// Writes what is left, and the end of the file.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(self, out: &mut dyn Write) -> io::Result<()> {
        let bytes = match self.0 {
            Kind::Parquet(file) => file.finish()?,
            Kind::Arrow(_, file) => file.into_inner().map_err(io::Error::other)?,
        };
        out.write_all(&bytes)
    }
}

fn schema(like: &Table) -> Result<Schema, ArrowError> {
    let field =
        |column: &Column| Ok(Field::new(&column.name, array(column)?.data_type().clone(), true));
    Ok(Schema::new(like.columns().iter().map(field).collect::<Result<Vec<_>, ArrowError>>()?))
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
