//! The files below a folder.

use std::fs;
use std::path::{Path, PathBuf};

use nerve_formats::{ErrorKind, FormatError, escape};

/// Deepest folder below the first.
const MAX_DEPTH: usize = 32;

/// What a file holds, by the ending of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Image,
    Audio,
    Text,
    Data,
}

impl Kind {
    fn of(name: &str) -> Option<Kind> {
        let name = name.to_ascii_lowercase();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        match plain.rsplit_once('.')?.1 {
            "png" | "jpg" | "jpeg" => Some(Kind::Image),
            "wav" | "wave" => Some(Kind::Audio),
            "txt" | "text" => Some(Kind::Text),
            "csv" | "tsv" | "tab" | "jsonl" | "ndjson" | "json" | "npy" | "npz" | "parquet"
            | "arrow" | "feather" => Some(Kind::Data),
            _ => None,
        }
    }

    /// The name of the column of such files.
    pub(super) fn column(self) -> &'static str {
        match self {
            Kind::Image => "image",
            Kind::Audio => "audio",
            Kind::Text | Kind::Data => "text",
        }
    }

    /// Such files, in messages.
    pub(super) fn word(self) -> &'static str {
        match self {
            Kind::Image => "pictures",
            Kind::Audio => "recordings",
            Kind::Text => "texts",
            Kind::Data => "files of data",
        }
    }
}

/// A file below the folder.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its path from the folder, with `/` between the parts.
    pub name: String,
    /// The first folder on the way to it; none directly in the folder.
    pub class: Option<String>,
    pub kind: Kind,
}

/// All files of known kinds below a folder, sorted by name; hidden ones (and hidden folders) are passed over.
///
/// # Errors
/// A folder that cannot be read, a name that is not UTF-8, a link that leads back to a folder on the way.
pub(super) fn walk(root: &Path) -> Result<Vec<Found>, FormatError> {
    let mut found = Vec::new();
    let mut way = Vec::new();
    visit(root, "", &mut way, &mut found)?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// `way`: the folders from the first to this one, by their true paths.
fn visit(
    folder: &Path,
    name: &str,
    way: &mut Vec<PathBuf>,
    found: &mut Vec<Found>,
) -> Result<(), FormatError> {
    let failed = |error: &std::io::Error| FormatError::io(folder, "cannot read the folder", error);
    let here = fs::canonicalize(folder).map_err(|error| failed(&error))?;
    let refuse = |expected: &str, what: &str| {
        Err(FormatError::new(ErrorKind::Malformed, folder, "folder", expected, what))
    };
    if way.contains(&here) {
        return refuse("folders that lead downwards", "a link back to a folder on the way");
    }
    if way.len() > MAX_DEPTH {
        return refuse(&format!("at most {MAX_DEPTH} folders within folders"), "more");
    }
    way.push(here);
    for entry in fs::read_dir(folder).map_err(|error| failed(&error))? {
        let entry = entry.map_err(|error| failed(&error))?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let Some(own) = entry.file_name().to_str().map(str::to_string) else {
            let bytes = escape(&entry.file_name().to_string_lossy(), 120);
            return refuse("names in UTF-8", &format!("`{bytes}`"));
        };
        let name = if name.is_empty() { own } else { format!("{name}/{own}") };
        // A link counts as what it leads to; one that leads nowhere is an error like a file that cannot be read.
        let kind = fs::metadata(&path).map_err(|e| FormatError::io(&path, "cannot read", &e))?;
        if kind.is_dir() {
            visit(&path, &name, way, found)?;
        } else if let (true, Some(kind)) = (kind.is_file(), Kind::of(&name)) {
            let class = name.split_once('/').map(|(class, _)| class.to_string());
            found.push(Found { name, class, kind });
        }
    }
    way.pop();
    Ok(())
}
