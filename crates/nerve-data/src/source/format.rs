//! What format a file has.

use std::path::Path;
use std::sync::RwLock;

use nerve_formats::{ErrorKind, FormatError, Limits, Reader};

use super::{FORMATS, Options, Source, arrays, csv, idx, json, text};
use crate::DataError;

/// Opens a file of a format.
pub type Open = fn(&Path, &Options) -> Result<Box<dyn Source>, DataError>;

/// A format that another crate reads: Parquet, Arrow.
#[derive(Clone, Copy)]
pub struct Extra {
    /// One of [`FORMATS`].
    pub name: &'static str,
    /// Opens a file of it.
    pub open: Open,
}

static EXTRAS: RwLock<Vec<Extra>> = RwLock::new(Vec::new());

/// Adds a format that another crate reads. To be called when the program begins.
pub fn register(extra: Extra) {
    // A thread that panicked while it held the list left it whole.
    let mut extras = EXTRAS.write().unwrap_or_else(|poisoned| poisoned.into_inner());
    extras.retain(|known| known.name != extra.name);
    extras.push(extra);
}

/// Opens a file that is no folder.
pub(super) fn open(path: &Path, options: &Options) -> Result<Box<dyn Source>, DataError> {
    let format = of(path, options)?;
    if options.pieces.is_some() && format != "text" {
        return Err(DataError::Option {
            option: "pieces",
            expected: "a plain text, which is cut into them".into(),
            found: format!("a {format} file"),
        });
    }
    Ok(match format {
        "csv" => Box::new(csv::Csv::open(path, false, options)?),
        "tsv" => Box::new(csv::Csv::open(path, true, options)?),
        "json" | "jsonl" => Box::new(json::Json::open(path, options)?),
        "npy" => return arrays::npy(path, options),
        "npz" => return arrays::npz(path),
        "idx" => return idx::open(path, options),
        "text" => Box::new(text::Lines::open(&[path.to_path_buf()], options)?),
        "images" | "audio" | "texts" => {
            let found = format!("a file, which cannot be of format \"{format}\"");
            return Err(
                FormatError::new(ErrorKind::Mismatch, path, "format", "a folder", found).into()
            );
        }
        name => {
            let extras = EXTRAS.read().unwrap_or_else(|poisoned| poisoned.into_inner());
            let extra = extras.iter().find(|extra| extra.name == name).copied();
            drop(extras);
            return match extra {
                Some(extra) => (extra.open)(path, options),
                None => {
                    let found = format!(
                        "a {name} file: this nerve was built without the feature `parquet` \
                         (cargo build --release --features parquet)"
                    );
                    Err(unreadable(path, &found))
                }
            };
        }
    })
}

fn unreadable(path: &Path, found: &str) -> DataError {
    let expected = "a file of data: csv, tsv, jsonl, json, npy, npz, idx or text";
    FormatError::new(ErrorKind::Unsupported, path, "format", expected, found).into()
}

/// The format of a file: as the options say, by its first bytes, or by the ending of its name.
pub(super) fn of(path: &Path, options: &Options) -> Result<&'static str, DataError> {
    let given = match &options.format {
        None => None,
        Some(name) => match FORMATS.into_iter().find(|known| known == name) {
            Some(known) => Some(known),
            None => {
                let (expected, found) = (FORMATS.join(", "), name.clone());
                return Err(DataError::Option { option: "format", expected, found });
            }
        },
    };
    let start = start(path)?;
    let content = by_content(&start);
    // Bytes that are no text contradict the name of a text format, and not the other way round.
    match (given, content) {
        (Some(given), Some(Content::Format(found))) if is_text(given) && !is_text(found) => {
            Err(unreadable(path, &format!("one of format {found}, though `format` says {given}")))
        }
        (Some(given), _) => Ok(given),
        (None, Some(Content::Format(found))) => Ok(found),
        (None, Some(Content::Other(what))) => Err(unreadable(path, what)),
        (None, None) => by_name(path, &start),
    }
}

fn is_text(format: &str) -> bool {
    matches!(format, "csv" | "tsv" | "json" | "jsonl" | "text")
}

/// The first bytes, behind gzip.
fn start(path: &Path) -> Result<Vec<u8>, FormatError> {
    let mut start = Vec::new();
    let limits = Limits { max_bytes: u64::MAX, ..Limits::default() };
    Reader::open_gz(path, &limits)?.some("file", 512, &mut start)?;
    Ok(start)
}

/// What the first bytes say.
enum Content {
    /// A format of data.
    Format(&'static str),
    /// Something that is no table.
    Other(&'static str),
}

fn by_content(start: &[u8]) -> Option<Content> {
    use Content::{Format, Other};
    const KNOWN: [(&[u8], Content); 15] = [
        (b"\x93NUMPY", Format("npy")),
        (b"PK\x03\x04", Format("npz")),
        (b"PAR1", Format("parquet")),
        (b"ARROW1", Format("arrow")),
        (b"\xff\xff\xff\xff", Other("an Arrow stream; write it as a file: pyarrow.ipc.new_file")),
        (
            b"\x89PNG",
            Other("a PNG picture; `path` takes a folder of pictures, or a table with their names"),
        ),
        (
            b"\xff\xd8\xff",
            Other("a JPEG picture; `path` takes a folder of pictures, or a table with their names"),
        ),
        (b"GIF8", Other("a GIF picture")),
        (b"%PDF", Other("a PDF document")),
        (
            b"RIFF",
            Other("a WAV recording; `path` takes a folder of them, or a table with their names"),
        ),
        (b"BZh", Other("a file packed by bzip2: unpack it first")),
        (b"\xfd7zXZ", Other("a file packed by xz: unpack it first")),
        (b"\x28\xb5\x2f\xfd", Other("a file packed by zstd: unpack it first")),
        (b"\xd0\xcf\x11\xe0", Other("an old Excel sheet: save it as CSV")),
        (b"\x7fELF", Other("a program")),
    ];
    // Rank and type of an idx file; no text begins with zeros.
    if let [0, 0, 0x08 | 0x09 | 0x0b..=0x0e, 1..=8, ..] = start {
        return Some(Format("idx"));
    }
    let found = KNOWN.into_iter().find(|(magic, _)| start.starts_with(magic))?.1;
    // Newer Excel sheets are archives, too.
    match found {
        Format("npz") if !start.windows(4).any(|bytes| bytes == b".npy") => {
            Some(Other("a zip archive that is no npz: unpack it, or save the sheet as CSV"))
        }
        found => Some(found),
    }
}

/// What the ending of the name says.
fn by_name(path: &Path, start: &[u8]) -> Result<&'static str, DataError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "csv" => Ok("csv"),
        "tsv" | "tab" => Ok("tsv"),
        "jsonl" | "ndjson" | "json" => Ok("jsonl"),
        "txt" | "text" | "md" => Ok("text"),
        ending @ ("npy" | "npz" | "parquet" | "arrow" | "feather" | "png" | "jpg" | "wav") => {
            let what = if start.is_empty() { "an empty file" } else { "other content" };
            Err(unreadable(path, &format!("{what}, though its name ends in .{ending}")))
        }
        _ => {
            Err(unreadable(path, "a name that tells no format; write format = \"csv\" or another"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::csv::tests::{read_as, rows};

    #[test]
    fn c18_content_goes_before_the_name() {
        let read = |name: &str, bytes: &[u8]| read_as(name, bytes, &Options::default());
        let error = read("t.csv", b"\x89PNG\r\n\x1a\n....").unwrap_err();
        assert!(error.contains("found a PNG picture"), "{error}");
        let error = read("t.csv", b"PAR1....").unwrap_err();
        assert!(error.contains("--features parquet"), "{error}");
        assert!(
            read("t.csv", b"PK\x03\x04xl/workbook.xml").unwrap_err().contains("save the sheet")
        );
        let npy =
            nerve_formats::Npy { shape: vec![2], data: nerve_formats::NpyData::U8(vec![1, 2]) };
        assert_eq!(rows(&read("t.csv", &npy.to_bytes()).unwrap()), [["1"], ["2"]]);
        assert!(read("t.npy", b"").unwrap_err().contains("an empty file, though its name"));
        assert!(read("data", b"a,b\n1,2\n").unwrap_err().contains("write format = \"csv\""));
        let csv = Options { format: Some("csv".into()), ..Options::default() };
        assert_eq!(rows(&read_as("data", "a,b\n1,2\n", &csv).unwrap()), [["1", "2"]]);
        let error = read_as("data", npy.to_bytes(), &csv).unwrap_err();
        assert!(error.contains("one of format npy, though `format` says csv"), "{error}");
        let json = read("t.ndjson", b"{\"a\": 1}").unwrap();
        assert_eq!(rows(&json), [["1"]]);
        let images = Options { format: Some("images".into()), ..Options::default() };
        assert!(read_as("t.csv", "a\n1\n", &images).unwrap_err().contains("expected a folder"));
        let wrong = Options { format: Some("xml".into()), ..Options::default() };
        assert!(
            read_as("t.csv", "a\n1\n", &wrong).unwrap_err().starts_with("format: expected csv")
        );
    }
}
