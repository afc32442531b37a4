//! Parquet files, written group by group of rows.
//!
//! By the writer of columns and not by that of Arrow's arrays, which can write every type there is and takes most of a
//! megabyte of the binary.

use std::io;
use std::sync::Arc;

use nerve_data::{Cells, Column, Field, Table, Texts, Values};
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, FloatType, Int32Type};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};

/// From so many rows on they are packed and given away.
const GROUP: usize = 65_536;

/// A file whose bytes are taken from memory as they come.
pub(crate) struct Groups {
    file: SerializedFileWriter<Vec<u8>>,
    schema: TypePtr,
    /// The rows of the next group: the columns of a file are written one after the other, those of tables come side by side.
    waiting: Vec<Table>,
}

impl Groups {
    /// For tables with the columns of this one.
    pub fn new(like: &Table) -> Result<Groups> {
        let packed = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let schema = schema(like)?;
        let file = SerializedFileWriter::new(Vec::new(), schema.clone(), Arc::new(packed))?;
        Ok(Groups { file, schema, waiting: Vec::new() })
    }

    /// Takes the rows of a table, and gives what is packed of the file by now.
    pub fn write(&mut self, table: &Table) -> io::Result<Vec<u8>> {
        if schema(table)? != self.schema {
            return Err(io::Error::other("the columns of a table are not those of the file"));
        }
        self.waiting.push(table.clone());
        if self.waiting.iter().map(Table::rows).sum::<usize>() >= GROUP {
            self.group()?;
        }
        Ok(std::mem::take(self.file.inner_mut()))
    }

    /// What is left, and the end of the file.
    pub fn finish(mut self) -> io::Result<Vec<u8>> {
        if !self.waiting.is_empty() {
            self.group()?;
        }
        Ok(self.file.into_inner()?)
    }

    fn group(&mut self) -> Result<()> {
        let tables = std::mem::take(&mut self.waiting);
        let mut group = self.file.next_row_group()?;
        let mut number = 0;
        while let Some(mut column) = group.next_column()? {
            for table in &tables {
                cells(&table.columns()[number].cells, &mut column)?;
            }
            column.close()?;
            number += 1;
        }
        group.close()?;
        Ok(())
    }
}

fn schema(table: &Table) -> Result<TypePtr> {
    let fields = table.columns().iter().map(field).collect::<Result<_>>()?;
    Ok(Arc::new(Type::group_type_builder("schema").with_fields(fields).build()?))
}

/// Texts and numbers may be absent; arrays are lists, as the format's own rules write them.
fn field(column: &Column) -> Result<TypePtr> {
    let leaf = |name: &str, physical, logical, repetition| {
        let leaf = Type::primitive_type_builder(name, physical).with_repetition(repetition);
        Ok(Arc::new(leaf.with_logical_type(logical).build()?))
    };
    let name = column.name.as_str();
    let (physical, logical) = match &column.cells {
        Cells::Text(_) => {
            let text = Some(LogicalType::String);
            return leaf(name, Physical::BYTE_ARRAY, text, Repetition::OPTIONAL);
        }
        Cells::Numbers(_) => return leaf(name, Physical::DOUBLE, None, Repetition::OPTIONAL),
        Cells::Arrays(_, Values::F32(_)) => (Physical::FLOAT, None),
        Cells::Arrays(_, Values::I32(_)) => (Physical::INT32, None),
        Cells::Arrays(_, Values::U8(_)) => (Physical::INT32, Some(LogicalType::integer(8, false))),
    };
    let element = leaf("element", physical, logical, Repetition::REQUIRED)?;
    let group = |name, repetition, inner| {
        Type::group_type_builder(name).with_repetition(repetition).with_fields(vec![inner])
    };
    let list = Arc::new(group("list", Repetition::REPEATED, element).build()?);
    let outer = group(name, Repetition::REQUIRED, list);
    Ok(Arc::new(outer.with_logical_type(Some(LogicalType::List)).build()?))
}

fn cells(cells: &Cells, column: &mut SerializedColumnWriter<'_>) -> Result<()> {
    match cells {
        Cells::Text(texts) => self::texts(texts, column),
        Cells::Numbers(numbers) => {
            let there: Vec<i16> = numbers.iter().map(|x| i16::from(!x.is_nan())).collect();
            let numbers: Vec<f64> = numbers.iter().copied().filter(|x| !x.is_nan()).collect();
            column.typed::<DoubleType>().write_batch(&numbers, Some(&there), None)?;
            Ok(())
        }
        Cells::Arrays(field, values) => {
            let (definition, repetition) = levels(field, values.len());
            let levels = (Some(&definition[..]), Some(&repetition[..]));
            match values {
                Values::F32(v) => column.typed::<FloatType>().write_batch(v, levels.0, levels.1),
                Values::I32(v) => column.typed::<Int32Type>().write_batch(v, levels.0, levels.1),
                Values::U8(v) => {
                    let v: Vec<i32> = v.iter().copied().map(i32::from).collect();
                    column.typed::<Int32Type>().write_batch(&v, levels.0, levels.1)
                }
            }?;
            Ok(())
        }
    }
}

fn texts(texts: &Texts, column: &mut SerializedColumnWriter<'_>) -> Result<()> {
    let all = || (0..texts.len()).map(|row| texts.get(row));
    let there: Vec<i16> = all().map(|text| i16::from(text.is_some())).collect();
    let texts: Vec<ByteArray> = all().flatten().map(ByteArray::from).collect();
    column.typed::<ByteArrayType>().write_batch(&texts, Some(&there), None)?;
    Ok(())
}

/// Of lists of one length: the definition levels (1: there is an element) and the repetition levels (0: a row begins).
fn levels(field: &Field, values: usize) -> (Vec<i16>, Vec<i16>) {
    let width = field.values_per_sample();
    let repetition = (0..values).map(|at| i16::from(at % width > 0)).collect();
    (vec![1; values], repetition)
}
