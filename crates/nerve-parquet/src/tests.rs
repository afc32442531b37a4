//! Files as they are written here and by pyarrow (`tests/make_golden.py`).

use std::fs;

use nerve_data::source::{open, read};
use nerve_data::{Cell, Element, Field};

use super::*;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The cells of all rows, row by row.
fn rows(table: &Table) -> Vec<Vec<String>> {
    let text = |cell: Cell<'_>| match cell {
        Cell::Text(text) => text.to_string(),
        Cell::Missing => "?".into(),
        Cell::Number(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let row = |row| table.columns().iter().map(|c| text(c.cells.get(row))).collect();
    (0..table.rows()).map(row).collect()
}

const NAMES: [&str; 12] = [
    "float", "int", "small", "flag", "name", "colour", "day", "time", "price", "tags", "point",
    "nothing",
];
const ROWS: [[&str; 12]; 3] = [
    [
        "1.5",
        "9007199254740993",
        "-3",
        "true",
        "Ada",
        "red",
        "2024-02-29",
        "2024-02-29T12:30:00",
        "12.50",
        "[\"a\", \"b\\\"\"]",
        "{\"x\": 1, \"y\": [0.5, null]}",
        "?",
    ],
    ["?", "?", "?", "?", "?", "?", "?", "?", "?", "?", "?", "?"],
    [
        "-0.25",
        "-1",
        "7",
        "false",
        "",
        "blue",
        "1969-12-31",
        "1970-01-01T00:00:00",
        "-0.01",
        "[]",
        "{\"x\": null, \"y\": []}",
        "?",
    ],
];

#[test]
fn files_of_pyarrow_are_read() {
    register();
    for name in
        ["snappy.parquet", "gzip.parquet", "lz4.parquet", "plain.parquet", "x.arrow", "lz4.arrow"]
    {
        let table = read(&golden(name), &Options::default()).unwrap();
        let names: Vec<&str> = table.columns().iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, NAMES, "{name}");
        assert_eq!(rows(&table), ROWS, "{name}");
        assert_eq!(table.place(2), format!("row 3 of {name}"));
    }
    let error = read(&golden("zstd.parquet"), &Options::default()).unwrap_err().to_string();
    assert!(
        error.contains("zstd.parquet: data: expected a sound file") && error.contains("zstd"),
        "{error}"
    );
}

#[test]
fn columns_are_chosen_and_rows_come_in_pieces() {
    register();
    let columns = vec!["name".into(), "float".into()];
    let options = Options { columns, ..Options::default() };
    for name in ["snappy.parquet", "x.arrow"] {
        let source = open(&golden(name), &options).unwrap();
        assert_eq!(source.columns(), ["float", "name"]);
        let mut chunks = source.chunks().unwrap();
        let tables: Vec<Table> = std::iter::from_fn(|| chunks.next(2).unwrap()).collect();
        assert_eq!(tables.iter().map(Table::rows).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(tables[1].place(0), format!("row 3 of {name}"));
    }
    let wrong = Options { columns: vec!["nam".into()], ..Options::default() };
    let error = open(&golden("x.arrow"), &wrong).err().unwrap().to_string();
    assert!(error.contains("did you mean `name`"), "{error}");
    let error = open(&golden("bytes.parquet"), &Options::default()).err().unwrap().to_string();
    assert!(
        error.contains("column `blob`: expected numbers") && error.contains("found bytes"),
        "{error}"
    );
}

#[test]
fn what_was_written_is_read() {
    register();
    let column = |name: &str, cells| Column { name: name.into(), cells };
    let texts = [Some("a"), None, Some("")].into_iter().collect();
    let field = Field::new("v", &[2], Element::F32);
    let columns = vec![
        column("text", nerve_data::Cells::Text(texts)),
        column("number", nerve_data::Cells::Numbers(vec![0.1, f64::NAN, 3.0])),
        column("v", nerve_data::Cells::Arrays(field, vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.5].into())),
    ];
    let table = Table::new(columns, Origin::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let right = [["a", "0.1", "[1.0, 2.0]"], ["?", "?", "[3.0, 4.0]"], ["", "3", "[5.0, 6.5]"]];
    for name in ["t.parquet", "t.arrow", "t.feather"] {
        let path = folder.path().join(name);
        write(&path, &table).unwrap();
        assert_eq!(rows(&read(&path, &Options::default()).unwrap()), right, "{name}");
    }
}

#[test]
fn tables_are_written_one_after_the_other() {
    register();
    let table = |from: u32, rows: u32| {
        let numbers = (from..from + rows).map(f64::from).collect();
        let column = Column { name: "x".into(), cells: nerve_data::Cells::Numbers(numbers) };
        Table::new(vec![column], Origin::default()).unwrap()
    };
    for name in ["long.parquet", "long.arrow"] {
        let (path, mut bytes) = (Path::new(name), Vec::new());
        let mut writer = Writer::new(path, &table(0, 1)).unwrap();
        let mut largest = 0;
        for chunk in 0..50 {
            let before = bytes.len();
            writer.write(&table(chunk * 4096, 4096), &mut bytes).unwrap();
            largest = largest.max(bytes.len() - before);
        }
        let other = Column { name: "y".into(), cells: nerve_data::Cells::Numbers(vec![]) };
        let two = Table::new(
            vec![other.clone(), Column { name: "x".into(), ..other }],
            Origin::default(),
        );
        assert!(writer.write(&two.unwrap(), &mut bytes).is_err());
        writer.finish(&mut bytes).unwrap();
        // What has come so far is given away in pieces, and not at the end.
        assert!(largest > 0 && largest < bytes.len() / 2, "{name}: {largest} of {}", bytes.len());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let again = read(&path, &Options::default()).unwrap();
        assert_eq!(again.rows(), 50 * 4096);
        let right = |row| again.columns()[0].cells.get(row) == Cell::Number(row as f64);
        assert!((0..again.rows()).all(right), "{name}");
    }
}

#[test]
fn damaged_files_are_errors() {
    register();
    let folder = tempfile::tempdir().unwrap();
    for (name, format) in [("plain.parquet", "parquet"), ("x.arrow", "arrow")] {
        let whole = fs::read(golden(name)).unwrap();
        let path = folder.path().join(name);
        let options = Options { format: Some(format.into()), ..Options::default() };
        for end in (0..whole.len()).step_by(97) {
            fs::write(&path, &whole[..end]).unwrap();
            assert!(read(&path, &options).is_err(), "{name} cut at {end}");
        }
        for at in (0..whole.len()).step_by(61) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x15;
            fs::write(&path, &bytes).unwrap();
            let _ = read(&path, &options);
        }
    }
    let empty = read(&golden("empty.parquet"), &Options::default()).unwrap_err().to_string();
    assert!(empty.ends_with("empty.parquet: no samples"), "{empty}");
}
