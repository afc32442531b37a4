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
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

/// From so many rows on they are packed and given away: a group of rows in a Parquet file.
const GROUP: usize = 65_536;

/// Writes a table as a Parquet file, packed by snappy, or where the name ends in `.arrow` or `.feather` as an Arrow file:
/// texts as strings, numbers as doubles with nulls where there is none, arrays as lists of one length. The file is whole or
/// absent.
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
pub struct Writer {
    schema: SchemaRef,
    kind: Kind,
}

/// The writers of others write into memory, from which it is taken after each table.
enum Kind {
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    Arrow(Box<FileWriter<Vec<u8>>>),
}

impl Writer {
    /// For tables with the columns of this one; the ending of the path says in which format, see [`write`].
    ///
    /// # Errors
    /// A column that the format cannot hold.
    pub fn new(path: &Path, like: &Table) -> io::Result<Writer> {
        let field = |column: &Column| {
            Ok(Field::new(&column.name, array(column)?.data_type().clone(), true))
        };
        let fields = like.columns().iter().map(field).collect::<Result<Vec<_>, ArrowError>>();
        let schema = Arc::new(Schema::new(fields.map_err(io::Error::other)?));
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        let kind = match ending.as_deref().and_then(|ending| ending.to_str()) {
            Some("arrow" | "feather") => {
                let file = FileWriter::try_new(Vec::new(), &schema).map_err(io::Error::other)?;
                Kind::Arrow(Box::new(file))
            }
            _ => {
                let packed = WriterProperties::builder().set_compression(Compression::SNAPPY);
                let file =
                    ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(packed.build()))?;
                Kind::Parquet(Box::new(file))
            }
        };
        Ok(Writer { schema, kind })
    }

    /// Writes the rows of a table.
    ///
    /// # Errors
    /// Its columns are others; those of `out`.
    pub fn write(&mut self, table: &Table, out: &mut dyn Write) -> io::Result<()> {
        let arrays = table.columns().iter().map(array).collect::<Result<Vec<ArrayRef>, _>>();
        let batch = arrays.and_then(|arrays| RecordBatch::try_new(self.schema.clone(), arrays));
        let batch = batch.map_err(io::Error::other)?;
        let bytes = match &mut self.kind {
            Kind::Parquet(file) => {
                file.write(&batch)?;
                if file.in_progress_rows() >= GROUP {
                    file.flush()?;
                }
                file.inner_mut()
            }
            Kind::Arrow(file) => {
                file.write(&batch).map_err(io::Error::other)?;
                file.get_mut()
            }
        };
        out.write_all(&std::mem::take(bytes))
    }

    /// Writes what is left, and the end of the file.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(self, out: &mut dyn Write) -> io::Result<()> {
        let bytes = match self.kind {
            Kind::Parquet(file) => file.into_inner()?,
            Kind::Arrow(file) => file.into_inner().map_err(io::Error::other)?,
        };
        out.write_all(&bytes)
    }
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
