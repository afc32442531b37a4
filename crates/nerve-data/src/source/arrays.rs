//! npy and npz: arrays of NumPy.

use std::path::Path;

use nerve_formats::{ErrorKind, FormatError, Limits, Npy, NpyData, Zip};

use super::csv::{check_names, empty};
use super::whole::Whole;
use super::{Options, Source, origin};
use crate::{Cells, Column, DataError, Field, Table, Values};

/// A file of one array. It is one column, called like the file or like the one name in `columns`; a matrix with as many
/// columns as there are names becomes those.
pub(super) fn npy(path: &Path, options: &Options) -> Result<Box<dyn Source>, DataError> {
    let columns = match &options.columns[..] {
        [] => vec![stem(path)],
        names => names.to_vec(),
    };
    check_names(path, &columns)?;
    let (path, names) = (path.to_path_buf(), columns.clone());
    Ok(Box::new(Whole::new(columns, move || {
        let npy = Npy::read(&path, &Limits::default())?;
        let columns = match (&names[..], &npy.shape[..]) {
            ([name], _) => vec![Column { name: name.clone(), cells: cells(&path, name, npy)? }],
            (names, &[_, width]) if width == names.len() => matrix(&path, names, npy)?,
            (names, shape) => {
                let expected =
                    format!("a matrix of {} columns, as `columns` has names", names.len());
                return Err(unfit(&path, "array", &expected, &format!("{shape:?}")).into());
            }
        };
        Table::new(columns, origin(&path, Vec::new()))
    })))
}

/// An archive of arrays, each a column called like its member.
pub(super) fn npz(path: &Path) -> Result<Box<dyn Source>, DataError> {
    let zip = Zip::read(path, &Limits::default())?;
    let mut columns = Vec::new();
    for name in zip.names() {
        let Some(column) = name.strip_suffix(".npy") else {
            let found = format!("`{name}`");
            return Err(unfit(path, "member", "npy files alone", &found).into());
        };
        columns.push(column.to_string());
    }
    if columns.is_empty() {
        return Err(empty(path, "no array").into());
    }
    check_names(path, &columns)?;
    let (path, names) = (path.to_path_buf(), columns.clone());
    Ok(Box::new(Whole::new(columns, move || {
        let mut columns = Vec::new();
        for (member, name) in names.iter().enumerate() {
            let npy = Npy::from_bytes(path.join(format!("{name}.npy")), &zip.unpack(member)?)?;
            columns.push(Column { name: name.clone(), cells: cells(&path, name, npy)? });
        }
        Table::new(columns, origin(&path, Vec::new()))
    })))
}

/// The name of a file without its endings.
pub(super) fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').find(|part| !part.is_empty()).unwrap_or("value").to_string()
}

fn unfit(path: &Path, field: &str, expected: &str, found: &str) -> FormatError {
    FormatError::new(ErrorKind::Mismatch, path, field, expected, found)
}

/// The rows of an array as cells: numbers, or arrays of their own.
fn cells(path: &Path, name: &str, npy: Npy) -> Result<Cells, DataError> {
    let field = format!("array `{name}`");
    let Some((&rows, shape)) = npy.shape.split_first() else {
        return Err(unfit(path, &field, "at least one dimension, the rows", "none").into());
    };
    if rows == 0 {
        return Err(empty(path, "no samples").into());
    }
    if shape.is_empty() {
        return Ok(Cells::Numbers(numbers(path, &field, npy.data)?));
    }
    if npy.data.is_empty() {
        let found = format!("{:?}", npy.shape);
        return Err(unfit(path, &field, "values in each row", &found).into());
    }
    let per_row = npy.data.len() / rows;
    let values: Values = match npy.data {
        NpyData::U8(values) => values.into(),
        NpyData::I32(values) => values.into(),
        NpyData::F32(values) => values.into(),
        NpyData::F64(values) => values.into_iter().map(|x| x as f32).collect::<Vec<_>>().into(),
        NpyData::I64(values) => match values.iter().map(|&x| i32::try_from(x)).collect() {
            Ok(values) => Values::I32(values),
            Err(_) => {
                let large = values.iter().position(|&x| i32::try_from(x).is_err()).unwrap_or(0);
                let (place, found) = (large / per_row, values[large].to_string());
                let field = format!("{field}, row {place}");
                return Err(unfit(path, &field, "integers of 32 bits", &found).into());
            }
        },
    };
    Ok(Cells::Arrays(Field::new(name, shape, values.element()), values))
}

fn numbers(path: &Path, field: &str, data: NpyData) -> Result<Vec<f64>, DataError> {
    let numbers: Vec<f64> = match data {
        NpyData::U8(values) => values.into_iter().map(f64::from).collect(),
        NpyData::I32(values) => values.into_iter().map(f64::from).collect(),
        NpyData::F32(values) => values.into_iter().map(f64::from).collect(),
        NpyData::F64(values) => values,
        NpyData::I64(values) => {
            // Beyond 2^53 two integers may become one number.
            if let Some(row) = values.iter().position(|x| x.unsigned_abs() > 1 << 53) {
                let (field, found) = (format!("{field}, row {row}"), values[row].to_string());
                return Err(unfit(path, &field, "integers up to 2^53", &found).into());
            }
            values.into_iter().map(|x| x as f64).collect()
        }
    };
    match numbers.iter().position(|x| x.is_infinite()) {
        Some(row) => {
            let (field, found) = (format!("{field}, row {row}"), numbers[row].to_string());
            Err(unfit(path, &field, "a finite number, or NaN where there is none", &found).into())
        }
        None => Ok(numbers),
    }
}

/// The columns of a matrix.
fn matrix(path: &Path, names: &[String], npy: Npy) -> Result<Vec<Column>, DataError> {
    let all = numbers(path, "array", npy.data)?;
    if all.is_empty() {
        return Err(empty(path, "no samples").into());
    }
    let column = |(at, name): (usize, &String)| {
        let numbers = all.iter().skip(at).step_by(names.len()).copied().collect();
        Column { name: name.clone(), cells: Cells::Numbers(numbers) }
    };
    Ok(names.iter().enumerate().map(column).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cell;
    use crate::source::csv::tests::{read_as, rows};

    fn read(npy: &Npy, columns: &[&str]) -> Result<Table, String> {
        let columns = columns.iter().map(|name| name.to_string()).collect();
        read_as("x.npy", npy.to_bytes(), &Options { columns, ..Options::default() })
    }

    fn npy(shape: &[usize], data: NpyData) -> Npy {
        Npy { shape: shape.to_vec(), data }
    }

    #[test]
    fn an_array_is_a_column_or_its_columns() {
        let matrix = npy(&[2, 2], NpyData::F64(vec![1.0, 2.5, f64::NAN, 4.0]));
        let table = read(&matrix, &[]).unwrap();
        assert_eq!(table.columns()[0].name, "x");
        assert_eq!(table.columns()[0].cells.get(0), Cell::F32(&[1.0, 2.5]));
        let table = read(&matrix, &["a", "b"]).unwrap();
        assert_eq!(rows(&table), [["1", "2.5"], ["?", "4"]]);
        assert!(read(&matrix, &["a", "b", "c"]).unwrap_err().contains("a matrix of 3 columns"));
        let table = read(&npy(&[2], NpyData::I64(vec![3, -4])), &["n"]).unwrap();
        assert_eq!(rows(&table), [["3"], ["-4"]]);
        let pictures = npy(&[2, 1, 1, 2], NpyData::U8(vec![1, 2, 3, 4]));
        assert_eq!(read(&pictures, &[]).unwrap().columns()[0].cells.get(1), Cell::U8(&[3, 4]));
    }

    #[test]
    fn arrays_that_are_no_columns() {
        let error = |npy: &Npy| read(npy, &[]).unwrap_err();
        assert!(error(&npy(&[], NpyData::U8(vec![1]))).contains("at least one dimension"));
        assert!(error(&npy(&[2, 0], NpyData::U8(vec![]))).contains("values in each row"));
        let large = npy(&[2, 1], NpyData::I64(vec![1, 1 << 40]));
        assert!(error(&large).contains("array `x`, row 1: expected integers of 32 bits"));
        let large = npy(&[1], NpyData::I64(vec![(1 << 53) + 1]));
        assert!(error(&large).contains("expected integers up to 2^53, found 9007199254740993"));
        let infinite = npy(&[2], NpyData::F32(vec![0.0, f32::INFINITY]));
        assert!(error(&infinite).contains("row 1: expected a finite number"));
    }

    #[test]
    fn n16_no_rows() {
        let error = read(&npy(&[0, 3], NpyData::F32(vec![])), &[]).unwrap_err();
        assert!(error.contains("no samples"), "{error}");
    }

    /// An archive of plain members without checks of its own; `zip` of nerve-formats has those.
    fn npz(members: &[(&str, &Npy)]) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for (name, npy) in members {
            let data = npy.to_bytes();
            let mut crc = flate2::Crc::new();
            crc.update(&data);
            let mut common = [20u16, 0, 0, 0, 0].map(u16::to_le_bytes).concat();
            let size = data.len() as u32;
            common.extend([crc.sum(), size, size].map(u32::to_le_bytes).concat());
            common.extend([name.len() as u16, 0].map(u16::to_le_bytes).concat());
            directory.extend([0x50, 0x4b, 1, 2, 20, 0]);
            directory.extend(&common);
            directory.extend([0; 10]);
            directory.extend((out.len() as u32).to_le_bytes());
            directory.extend(name.bytes());
            out.extend([0x50, 0x4b, 3, 4]);
            out.extend(common);
            out.extend(name.bytes());
            out.extend(data);
        }
        let (start, count) = (out.len() as u32, members.len() as u16);
        out.extend(&directory);
        out.extend([0x50, 0x4b, 5, 6]);
        out.extend([0, 0, count, count].map(u16::to_le_bytes).concat());
        out.extend([directory.len() as u32, start].map(u32::to_le_bytes).concat());
        out.extend([0, 0]);
        out
    }

    #[test]
    fn n14_members_are_columns_of_one_length() {
        let (x, y) =
            (npy(&[2, 2], NpyData::U8(vec![1, 2, 3, 4])), npy(&[2], NpyData::I32(vec![0, 1])));
        let read = |bytes| read_as("set.npz", bytes, &Options::default());
        let table = read(npz(&[("x.npy", &x), ("y.npy", &y)])).unwrap();
        assert_eq!(
            (table.columns()[0].cells.get(1), table.column("y").unwrap().cells.get(1)),
            (Cell::U8(&[3, 4]), Cell::Number(1.0))
        );
        let z = npy(&[3], NpyData::I32(vec![0, 1, 2]));
        let error = read(npz(&[("x.npy", &x), ("z.npy", &z)])).unwrap_err();
        assert_eq!(error, "x has 2 samples, z has 3: expected the same number");
        let mixed = npz(&[("x.npy", &x), ("notes.txt", &y)]);
        assert!(read(mixed).unwrap_err().contains("npy files alone, found `notes.txt`"));
        assert!(read(npz(&[])).is_err());
    }
}
