//! Folders: of folders of pictures, recordings or texts, of pictures with their masks, of files of data.

mod walk;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nerve_formats::{ErrorKind, FormatError};

use self::walk::{Found, Kind, walk};
use super::csv::empty;
use super::files::Files;
use super::{Chunks, Options, Source, text};
use crate::mnist::LABEL;
use crate::{Cells, Column, DataError, Origin, Table, Texts};

/// The folders of pictures and masks, where both are there.
const PAIRS: [(&str, &str); 2] = [("images", "masks"), ("image", "mask")];

/// Opens a folder.
pub(super) fn open(path: &Path, options: &Options) -> Result<Box<dyn Source>, DataError> {
    let found = walk(path)?;
    if options.format.as_deref().is_none_or(|format| format == "images") {
        for (images, masks) in PAIRS {
            let in_folder = |name: &str| -> Vec<&Found> {
                found.iter().filter(|file| file.class.as_deref() == Some(name)).collect()
            };
            let (images, masks) = (in_folder(images), in_folder(masks));
            if !images.is_empty() && !masks.is_empty() {
                return Ok(Box::new(Folder::pairs(path, &images, &masks)?));
            }
        }
    }
    let kind = kind(path, &found, options)?;
    let files: Vec<&Found> = found.iter().filter(|file| file.kind == kind).collect();
    if kind == Kind::Data {
        let paths: Vec<PathBuf> = files.iter().map(|file| path.join(&file.name)).collect();
        let sources = paths.iter().map(|path| super::open(path, options));
        let sources = sources.collect::<Result<Vec<_>, DataError>>()?;
        return Ok(Box::new(Files::new(&paths, sources)?));
    }
    Ok(Box::new(Folder::classes(path, kind, &files, options)))
}

/// What the folder is made of: what the options say, or the one kind that is there.
fn kind(path: &Path, found: &[Found], options: &Options) -> Result<Kind, DataError> {
    let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
    // A note or a list beside the folders does not count.
    let nested = found.iter().any(|file| file.class.is_some());
    for file in found.iter().filter(|file| file.class.is_some() || !nested) {
        *counts.entry(file.kind).or_insert(0) += 1;
    }
    let given = match options.format.as_deref() {
        None => None,
        Some("images") => Some(Kind::Image),
        Some("audio") => Some(Kind::Audio),
        Some("text" | "texts") => Some(Kind::Text),
        Some(_) => Some(Kind::Data),
    };
    let words: Vec<String> =
        counts.iter().map(|(kind, n)| format!("{n} {}", kind.word())).collect();
    match (given, counts.keys().next(), counts.len()) {
        (Some(kind), ..) if found.iter().any(|file| file.kind == kind) => Ok(kind),
        (None, Some(kind), 1) => Ok(*kind),
        (None, _, 2..) => {
            let expected =
                "files of one kind; write format = \"images\", \"audio\", \"texts\" or \"csv\"";
            let found = words.join(", ");
            Err(FormatError::new(ErrorKind::Mismatch, path, "folder", expected, found).into())
        }
        _ => {
            let found = if words.is_empty() { "no file of data".into() } else { words.join(", ") };
            Err(empty(
                path,
                &format!(
                    "{found} (pictures .png .jpg, recordings .wav, texts .txt, tables .csv ...)"
                ),
            )
            .into())
        }
    }
}

/// A row a file, or a pair of files.
struct Folder {
    rows: Arc<Rows>,
}

struct Rows {
    root: PathBuf,
    columns: Vec<String>,
    /// The cells of each row; the first is the name of a file.
    cells: Vec<Vec<String>>,
    /// Whether the first column is what stands in the file.
    content: bool,
    options: Options,
}

impl Folder {
    /// Files of one kind, with the name of their folder as the label if they are in folders.
    fn classes(root: &Path, kind: Kind, files: &[&Found], options: &Options) -> Folder {
        let labelled = files.iter().any(|file| file.class.is_some());
        // With folders of classes, a file beside them belongs to none.
        let files = files.iter().filter(|file| !labelled || file.class.is_some());
        let cells = files.map(|file| {
            std::iter::once(&file.name).chain(&file.class).cloned().collect::<Vec<String>>()
        });
        let mut columns = vec![kind.column().to_string()];
        columns.extend(labelled.then(|| LABEL.to_string()));
        Folder {
            rows: Arc::new(Rows {
                root: root.into(),
                columns,
                cells: cells.collect(),
                content: kind == Kind::Text,
                options: options.clone(),
            }),
        }
    }

    /// Pictures with their masks: files of the same name, whatever its ending.
    fn pairs(root: &Path, images: &[&Found], masks: &[&Found]) -> Result<Folder, DataError> {
        let mut by_stem: BTreeMap<&str, &str> = BTreeMap::new();
        for mask in masks {
            if let Some(other) = by_stem.insert(stem(&mask.name), &mask.name) {
                let found = format!("{other} and {}", mask.name);
                return Err(lone(root, "one mask for each picture", &found));
            }
        }
        let mut cells = Vec::with_capacity(images.len());
        for image in images {
            match by_stem.remove(stem(&image.name)) {
                Some(mask) => cells.push(vec![image.name.clone(), mask.to_string()]),
                None => {
                    return Err(lone(
                        root,
                        "a mask for each picture",
                        &format!("none for {}", image.name),
                    ));
                }
            }
        }
        if let Some(mask) = by_stem.values().next() {
            return Err(lone(root, "a picture for each mask", &format!("none for {mask}")));
        }
        let columns = ["image", "mask"].map(String::from).to_vec();
        let options = Options::default();
        Ok(Folder {
            rows: Arc::new(Rows { root: root.into(), columns, cells, content: false, options }),
        })
    }
}

fn lone(root: &Path, expected: &str, found: &str) -> DataError {
    FormatError::new(ErrorKind::Mismatch, root, "pairs of files", expected, found).into()
}

/// The name below the first folder, without its ending: `a/7` for `images/a/7.png`.
fn stem(name: &str) -> &str {
    let name = name.split_once('/').map_or(name, |(_, rest)| rest);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

impl Source for Folder {
    fn columns(&self) -> &[String] {
        &self.rows.columns
    }

    fn chunks(&self) -> Result<Box<dyn Chunks>, DataError> {
        Ok(Box::new(FolderChunks { rows: Arc::clone(&self.rows), next: 0 }))
    }
}

struct FolderChunks {
    rows: Arc<Rows>,
    next: usize,
}

impl Chunks for FolderChunks {
    fn next(&mut self, rows: usize) -> Result<Option<Table>, DataError> {
        let all = self.rows.cells.len();
        let range = self.next..all.min(self.next.saturating_add(rows));
        if range.is_empty() {
            return Ok(None);
        }
        self.next = range.end;
        self.rows.table(range).map(Some)
    }
}

impl Rows {
    fn table(&self, range: Range<usize>) -> Result<Table, DataError> {
        let rows = &self.cells[range];
        let files: Vec<PathBuf> = rows.iter().map(|cells| self.root.join(&cells[0])).collect();
        let column = |(at, name): (usize, &String)| -> Result<Column, DataError> {
            let cells = if at == 0 && self.content {
                let mut texts = Texts::default();
                for file in &files {
                    texts.push(Some(&text::whole(file, &self.options)?));
                }
                texts
            } else {
                rows.iter().map(|cells| Some(cells[at].as_str())).collect()
            };
            Ok(Column { name: name.clone(), cells: Cells::Text(cells) })
        };
        let columns = self.columns.iter().enumerate().map(column).collect::<Result<_, _>>()?;
        // Line 0 stands for a file as a whole.
        let lines = (0..files.len()).map(|file| (file as u32, 0)).collect();
        Table::new(columns, Origin { files, folder: self.root.clone(), lines })
    }
}

#[cfg(test)]
#[path = "folder/folder_tests.rs"]
mod tests;
