//! CSV files, good and bad; the ids are those of the catalogue of bad input.

use std::fs;
use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::*;
use crate::source::{open, read};
use crate::{Cell, Random};

/// Reads bytes as a file of this name; an error without the folder's name.
pub(in crate::source) fn read_as(
    name: &str,
    bytes: impl AsRef<[u8]>,
    options: &Options,
) -> Result<Table, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let here = format!("{}/", folder.path().display());
    read(&path, options).map_err(|error| error.to_string().replace(&here, ""))
}

fn csv(bytes: impl AsRef<[u8]>) -> Result<Table, String> {
    read_as("t.csv", bytes, &Options::default())
}

#[track_caller]
fn refused(bytes: impl AsRef<[u8]>, says: &str) {
    let error = csv(bytes).unwrap_err();
    assert!(error.contains(says), "no `{says}` in: {error}");
    assert!(error.starts_with("t.csv: ") && !error.contains('\n'), "{error}");
}

/// The cells of all rows, row by row.
pub(in crate::source) fn rows(table: &Table) -> Vec<Vec<String>> {
    let text = |cell: Cell<'_>| match cell {
        Cell::Text(text) => text.to_string(),
        Cell::Missing => "?".into(),
        Cell::Number(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let row = |row| table.columns().iter().map(|c| text(c.cells.get(row))).collect();
    (0..table.rows()).map(row).collect()
}

fn lines(table: &Table) -> Vec<u64> {
    table.origin().lines.iter().map(|&(_, line)| line).collect()
}

#[test]
fn c01_c02_c06_marks_line_ends_and_the_last_line_make_no_difference() {
    let plain = rows(&csv("a,b\n1,x\n2,y\n").unwrap());
    assert_eq!(plain, [["1", "x"], ["2", "y"]]);
    for same in [
        "\u{feff}a,b\n1,x\n2,y\n",
        "a,b\r\n1,x\r\n2,y\r\n",
        "a,b\r1,x\r2,y\r",
        "a,b\r\n1,x\n2,y\r",
        "a,b\n1,x\n2,y",
        "\n\na,b\n\r\n1,x\n\r\n\n2,y\n\n",
    ] {
        let table = csv(same).unwrap();
        assert_eq!(rows(&table), plain, "{same:?}");
        assert_eq!(table.columns()[0].name, "a", "{same:?}");
    }
    assert_eq!(lines(&csv("a,b\r\n1,x\r2,y\n\n3,z").unwrap()), [2, 3, 5]);
}

#[test]
fn c03_ragged_rows_are_errors_or_counted() {
    let text = "a,b\n1,2\n3\n4,5,6\n7,8\n";
    refused(text, "line 3: expected 2 fields, as there are columns");
    refused("a,b\n1,2,3\n", "line 2: expected 2 fields");
    let skip = Options { skip_ragged: true, ..Options::default() };
    let table = read_as("t.csv", text, &skip).unwrap();
    assert_eq!(
        (rows(&table), lines(&table)),
        (vec![vec!["1".to_string(), "2".into()], vec!["7".into(), "8".into()]], vec![2, 5])
    );
    let note = "t.csv: 2 rows with a wrong number of fields passed over (lines 3, 4)";
    assert_eq!(table.notes(), [note]);
    assert!(read_as("t.csv", "a,b\n1\n", &skip).unwrap_err().contains("at least one row"));
}

#[test]
fn c04_c05_files_without_rows() {
    refused("", "expected at least one row, found an empty file");
    refused("\u{feff}\n\n", "expected at least one row, found an empty file");
    refused("a,b\n", "expected at least one row, found none below");
    refused("a,b", "none below the names");
}

#[test]
fn c07_quotes() {
    let table = csv("a,b\n\"a\"\"b\",\"x,\ny\"\n\"\",\"\"\"\"\n q\"r ,\"\u{e9}\"\n").unwrap();
    let expected = [["a\"b", "x,\ny"], ["", "\""], [" q\"r ", "\u{e9}"]];
    assert_eq!(rows(&table), expected);
    assert_eq!(lines(&table), [2, 4, 5]);
    refused("a,b\n\"x\"y,1\n", "line 2: expected a delimiter or the end of the line behind");
    let none = Options { quote: String::new(), ..Options::default() };
    let table = read_as("t.csv", "a,b\n\"x\"y,1\n", &none).unwrap();
    assert_eq!(rows(&table), [["\"x\"y", "1"]]);
    let single = Options { quote: "'".into(), ..Options::default() };
    assert_eq!(rows(&read_as("t.csv", "a,b\n'1,5',\"\n", &single).unwrap()), [["1,5", "\""]]);
}

#[test]
fn c08_a_quote_that_is_never_closed() {
    refused("a,b\n1,\"2\n3,4\n", "line 2: expected a closing quote, found the end of the file");
    let long = "x,".repeat(600_000);
    refused(format!("a,b\n1,\"{long}\n"), "line 2: expected fields of at most 1048576 bytes");
    let limit = "x".repeat(1 << 20);
    assert_eq!(rows(&csv(format!("a,b\n\"{limit}\",1\n")).unwrap())[0][0].len(), 1 << 20);
    refused(format!("a,b\n{limit}x,1\n"), "line 2: expected fields of at most");
}

#[test]
fn c09_too_many_columns() {
    let header: Vec<String> = (0..1_000_000).map(|i| format!("c{i}")).collect();
    refused(header.join(","), "line 1: expected at most 10000 columns");
    let few = header[..10_000].join(",");
    let table = csv(format!("{few}\n{}\n", vec!["1"; 10_000].join(","))).unwrap();
    assert_eq!(table.columns().len(), 10_000);
}

#[test]
fn c10_names_that_are_no_names() {
    refused("a,b,a\n1,2,3\n", "found `a` for columns 1 and 3");
    refused("a,,c\n1,2,3\n", "found none for column 2");
    let named = Options {
        columns: vec!["x".into(), "y".into(), "z".into()],
        header: Some(true),
        ..Options::default()
    };
    let table = read_as("t.csv", "a,,a\n1,2,3\n", &named).unwrap();
    assert_eq!((table.columns()[1].name.as_str(), table.rows()), ("y", 1));
}

#[test]
fn c11_a_missing_column_names_the_nearest() {
    let table = csv("PassengerId,Survived\n1,0\n").unwrap();
    let error = table.column("Survivd").unwrap_err().to_string();
    assert!(error.contains("did you mean `Survived`"), "{error}");
}

#[test]
fn c14_what_is_not_utf8_says_where_and_what_it_may_be() {
    let message = |bytes: &[u8]| csv(bytes).unwrap_err();
    assert_eq!(
        message(b"a,b\ncaf\xe9,1\n"),
        "t.csv: text at byte 7: expected UTF-8 text, found the byte 0xe9, which is none; \
         it looks like latin1: write encoding = \"latin1\""
    );
    assert!(message(b"a,b\n\x93x\x94,1\n").contains("encoding = \"windows-1252\""));
    let chinese = encoding_rs::GB18030.encode("名,标\n很好的酒店,1\n").0.into_owned();
    assert!(message(&chinese).contains("encoding = \"gb18030\""), "{}", message(&chinese));
    let utf16: Vec<u8> = "a,b\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(message(&utf16).contains("text at byte 1"), "{}", message(&utf16));
    assert!(message(&utf16).contains("encoding = \"utf-16le\""));
    assert!(message(b"a,b\n1,\0\n").contains("text at byte 6"));
    // A character that is cut off at the end of the file, and one across blocks that is whole.
    assert!(message(b"a,b\n1,\xc3").contains("text at byte 6"));
    let long = format!("a\n{}\u{e9}\nx\n", "y,\n".replace(',', "").repeat(524_286));
    assert_eq!(csv(&long).unwrap().rows(), 524_288);
}

#[test]
fn c14_encodings_that_are_named_or_marked() {
    let text = "a,b\ncaf\u{e9},\u{201c}x\u{201d}\n";
    let expected = [["caf\u{e9}", "\u{201c}x\u{201d}"]];
    for (label, encoding) in
        [("windows-1252", encoding_rs::WINDOWS_1252), ("gb18030", encoding_rs::GB18030)]
    {
        let options = Options { encoding: Some(label.into()), ..Options::default() };
        let bytes = encoding.encode(text).0;
        assert_eq!(rows(&read_as("t.csv", &bytes, &options).unwrap()), expected, "{label}");
    }
    let marked = format!("\u{feff}{text}");
    let le: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let be: Vec<u8> = marked.encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(rows(&csv(&le).unwrap()), expected);
    assert_eq!(rows(&csv(&be).unwrap()), expected);
    let options = Options { encoding: Some("utf-16le".into()), ..Options::default() };
    assert_eq!(rows(&read_as("t.csv", &le[2..], &options).unwrap()), expected);
    let error = read_as("t.csv", &le[2..le.len() - 1], &options).unwrap_err();
    assert!(error.contains("expected text in UTF-16LE"), "{error}");
    let options = Options { encoding: Some("klingon".into()), ..Options::default() };
    let error = read_as("t.csv", text, &options).unwrap_err();
    assert!(error.contains("found `klingon`"), "{error}");
    let shift = Options { encoding: Some("shift_jis".into()), ..Options::default() };
    let error = read_as("t.csv", b"a,b\n\x81\xff,1\n", &shift).unwrap_err();
    assert!(error.contains("at byte") && error.contains("Shift_JIS"), "{error}");
}

#[test]
fn c18_gzip_is_seen_through() {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(b"a,b\n1,2\n").unwrap();
    let gz = gz.finish().unwrap();
    for name in ["t.csv", "t.csv.gz"] {
        assert_eq!(rows(&read_as(name, &gz, &Options::default()).unwrap()), [["1", "2"]]);
    }
    let error = read_as("t.csv", &gz[..gz.len() - 3], &Options::default()).unwrap_err();
    assert!(error.contains("a whole gzip stream"), "{error}");
}

#[test]
fn the_delimiter_is_found_or_given() {
    for (text, name) in [
        ("a;b\n1,5;2,5\n3,5;4\n", "t.csv"),
        ("a\tb\n1,5\t2,5\n3,5\t4\n", "t.csv"),
        ("a|b\n1,5|2,5\n3,5|4\n", "t.csv"),
        ("a\tb\n1,5\t2,5\n3,5\t4\n", "t.tsv"),
    ] {
        let table = read_as(name, text, &Options::default()).unwrap();
        assert_eq!(rows(&table), [["1,5", "2,5"], ["3,5", "4"]], "{text:?}");
    }
    assert_eq!(rows(&csv("a\nx y\nz\n").unwrap()), [["x y"], ["z"]]);
    let blanks = Options {
        delimiter: Some("whitespace".into()),
        columns: vec!["x".into(), "y".into()],
        ..Options::default()
    };
    let table = read_as("t.csv", "  0.5   1 \n\t2\t 3\n   \n4 5", &blanks).unwrap();
    assert_eq!(rows(&table), [["0.5", "1"], ["2", "3"], ["4", "5"]]);
    for wrong in ["", ",,", "a", "\n", "\""] {
        let options = Options { delimiter: Some(wrong.into()), ..Options::default() };
        assert!(read_as("t.csv", "a,b\n1,2\n", &options).is_err(), "{wrong:?}");
    }
}

#[test]
fn without_a_header_columns_are_counted_or_named() {
    let options = Options { header: Some(false), ..Options::default() };
    let table = read_as("t.csv", "1,2\n3,4\n", &options).unwrap();
    assert_eq!((table.columns()[1].name.as_str(), table.rows()), ("column2", 2));
    let named = Options { columns: vec!["en".into(), "fr".into()], ..Options::default() };
    let table = read_as("t.tsv", "one\tun\ntwo\tdeux\n", &named).unwrap();
    assert_eq!(rows(&table), [["one", "un"], ["two", "deux"]]);
    let error = read_as("t.tsv", "one\tun\tein\n", &named).unwrap_err();
    assert!(error.contains("line 1: expected 2 fields, as `columns` has names, found 3"));
}

#[test]
fn chunks_are_the_table_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let text: String = (0..10).map(|i| format!("{i},\"x\n{i}\"\n")).collect();
    fs::write(&path, format!("a,b\n{text}")).unwrap();
    let source = open(&path, &Options::default()).unwrap();
    assert_eq!(source.columns(), ["a", "b"]);
    let mut chunks = source.chunks().unwrap();
    let mut all = Table::default();
    let mut sizes = Vec::new();
    while let Some(table) = chunks.next(4).unwrap() {
        sizes.push(table.rows());
        all.append(table).unwrap();
    }
    assert_eq!(sizes, [4, 4, 2]);
    let whole = read(&path, &Options::default()).unwrap();
    assert_eq!((rows(&all), lines(&all)), (rows(&whole), lines(&whole)));
    assert_eq!(all.place(9), "t.csv:20");
}

/// A field as a writer of CSV has it.
fn quoted(field: &str) -> String {
    match field.is_empty() || field.contains([',', '"', '\n', '\r', ';', '\t', '|']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_was_written_is_read(
        table in prop::collection::vec(prop::collection::vec("[a,;\"\n\r\u{e9} ]{0,6}", 3), 1..8),
        end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
    ) {
        let mut text = format!("x,y,z{end}");
        for row in &table {
            let fields: Vec<String> = row.iter().map(|field| quoted(field)).collect();
            text += &(fields.join(",") + end);
        }
        let options = Options { delimiter: Some(",".into()), ..Options::default() };
        prop_assert_eq!(rows(&read_as("t.csv", &text, &options).unwrap()), table);
    }

    #[test]
    fn any_bytes_are_a_table_or_an_error(bytes in prop::collection::vec(
        prop::sample::select(b"ab,;\"'\n\r\t \xc3\xa9\xff\0".to_vec()), 0..60)) {
        let _ = csv(&bytes);
    }
}

#[test]
fn blocks_cut_records_anywhere() {
    // Records of random length across several blocks, with quotes, lone carriage returns and wide characters.
    let mut random = Random::keyed(&[7]);
    let fields: Vec<String> = (0..40_000)
        .map(|_| {
            let length = random.below(120) as usize;
            (0..length).map(|_| ['x', '\u{e9}', '"', '\r', ','][random.below(5) as usize]).collect()
        })
        .collect();
    let mut text = String::from("a,b\r");
    for pair in fields.chunks(2) {
        text += &format!("{},{}\r\n", quoted(&pair[0]), quoted(&pair[1]));
    }
    assert!(text.len() > 3 << 20, "{}", text.len());
    let table = csv(&text).unwrap();
    assert_eq!(rows(&table).concat(), fields);
}
