//! The run folder: one for each training, never overwritten.
//!
//! ```text
//! runs/mnist/
//!   config.toml         the recipe as given, comments and all
//!   resolved.toml       every default filled; trains to the same bits
//!   env.json            version, command line, seed, threads, rows
//!   model.json          the layers, and how they are connected
//!   events.jsonl        what happened, line by line: all other pictures and tables come from it
//!   log.txt             what the terminal said
//!   state.json          running, done, stopped, failed, diverged; how far; the last heartbeat
//!   metrics.csv         one row an epoch
//!   model.safetensors   parameters, architecture, preprocessing, labels
//!   checkpoints/        from which the training goes on
//!   eval/               how it was judged: PART.json, worst rows, examples, confusion
//!   MODEL_CARD.md       what the model is, learned from, and can do
//! ```
//!
//! `runs/latest` is a link to the newest run, where the system has links.
//!
//! Every file but the events and the log is written beside its place and then moved there: it is whole, or absent.

use nerve_formats::write_atomic;
use nerve_formats::{ErrorKind, FormatError, Limits, Reader, escape};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the model's file.
pub const MODEL: &str = "model.safetensors";
/// The name of the file with one row an epoch.
pub const METRICS: &str = "metrics.csv";
/// The recipe as it was given.
pub const CONFIG: &str = "config.toml";
/// The recipe with every default filled.
pub const RESOLVED: &str = "resolved.toml";
/// Where the run comes from.
pub const ENVIRONMENT: &str = "env.json";
/// The layers of the network, and how they are connected.
pub const LAYERS: &str = "model.json";
/// The graph of the network in front of the layers, if there is one: without its weights.
pub const BASE: &str = "base.txt";
/// What was said on standard error.
pub const LOG: &str = "log.txt";
/// What happened: see [`Event`](crate::Event).
pub const EVENTS: &str = "events.jsonl";
/// How the run stands: see [`State`](crate::State).
pub const STATE: &str = "state.json";
/// The link to the newest run.
pub const LATEST: &str = "latest";
/// What keeps two processes from training in one folder.
const LOCK: &str = ".lock";
/// The folder of the checkpoints.
pub const CHECKPOINTS: &str = "checkpoints";

/// Why a run folder cannot be made, written or read.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder cannot be made.
    #[error("cannot create the run folder `{folder}`: {cause}")]
    Create {
        /// The folder.
        folder: String,
        /// What the system said.
        cause: io::Error,
    },
    /// Another process trains in it.
    #[error("cannot train in `{run}`: {reason}")]
    Busy {
        /// The run.
        run: String,
        /// Why not.
        reason: String,
    },
    /// A file cannot be written.
    #[error("{0}")]
    Write(#[from] nerve_formats::FormatError),
    /// There is no run of that name.
    #[error("no run `{run}`: {reason}")]
    NoRun {
        /// The run as it was named.
        run: String,
        /// What was looked for.
        reason: String,
    },
}

/// A run folder that no other process trains in.
#[derive(Debug)]
pub struct Lock {
    _file: fs::File,
}

/// A run folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes `root/name`, or `root/name-2`, `root/name-3`, ... where there is one already, and
    /// writes the given files into it. Two processes at once get two folders.
    ///
    /// # Errors
    /// The folder or one of the files cannot be written; then nothing of it is left.
    pub fn create(root: &Path, name: &str, files: &[(&str, &str)]) -> Result<Self, RunError> {
        let refuse =
            |path: &Path, cause| RunError::Create { folder: shown(&path.to_string_lossy()), cause };
        let made_root = !root.exists();
        fs::create_dir_all(root).map_err(|cause| refuse(root, cause))?;
        let mut number = 1u32;
        let path = loop {
            let folder = if number == 1 { name.to_string() } else { format!("{name}-{number}") };
            let path = root.join(folder);
            match fs::create_dir(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(refuse(&path, error)),
            }
        };
        let run = RunFolder { path };
        for (file, text) in files {
            if let Err(error) = run.write(file, text) {
                // Only what was made just now is taken away.
                let _ = fs::remove_dir_all(&run.path);
                if made_root {
                    let _ = fs::remove_dir(root);
                }
                return Err(error);
            }
        }
        if is_run(&run.path) {
            run.is_latest(root);
        }
        Ok(run)
    }

    /// Makes `root/latest` lead here. It is a convenience: where it cannot be made, or something else has that name, there is none.
    fn is_latest(&self, root: &Path) {
        let link = root.join(LATEST);
        let taken = link.symlink_metadata().is_ok_and(|it| !it.is_symlink());
        let Some(name) = self.path.file_name().filter(|_| !taken) else { return };
        #[cfg(unix)]
        {
            // Renamed into its place, so that it always leads somewhere, also when two runs begin at once.
            let fresh = root.join(format!(".latest-{}", name.to_string_lossy()));
            let _ = std::os::unix::fs::symlink(name, &fresh);
            if fs::rename(&fresh, &link).is_err() {
                let _ = fs::remove_file(&fresh);
            }
        }
    }

    /// A folder, or where the link `latest` leads.
    fn followed(path: &Path) -> PathBuf {
        match (path.file_name(), fs::read_link(path), path.parent()) {
            (Some(name), Ok(to), Some(root)) if name == LATEST => root.join(to),
            _ => path.to_path_buf(),
        }
    }

    /// Opens a run by its path or by its name under `root`, however far it came.
    ///
    /// # Errors
    /// There is no such folder, or it is none of a run.
    pub fn open(root: &Path, run: &Path) -> Result<Self, RunError> {
        let candidates = [RunFolder::followed(run), RunFolder::followed(&root.join(run))];
        let path = candidates.iter().find(|path| is_run(path)).cloned();
        path.map(|path| RunFolder { path }).ok_or_else(|| RunError::NoRun {
            run: shown(&run.to_string_lossy()),
            reason: match list(root).as_slice() {
                [] => format!("there are none in `{}`", shown(&root.to_string_lossy())),
                runs => {
                    let names: Vec<String> = runs.iter().take(10).map(RunFolder::name).collect();
                    format!("there are {}", names.join(", "))
                }
            },
        })
    }

    /// Its name: the last part of its path, fit for a terminal.
    pub fn name(&self) -> String {
        shown(&self.path.file_name().unwrap_or_default().to_string_lossy())
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The newest run of a name in `root`: NAME, or the NAME-k with the largest k.
    pub fn newest(root: &Path, name: &str) -> Option<RunFolder> {
        let number = |run: &RunFolder| {
            let own = run.path.file_name()?.to_str()?.to_string();
            match own.strip_prefix(name)? {
                "" => Some(1u32),
                rest => rest.strip_prefix('-')?.parse().ok(),
            }
        };
        let runs = list(root).into_iter();
        runs.filter_map(|run| Some((number(&run)?, run)))
            .max_by_key(|(n, _)| *n)
            .map(|(_, run)| run)
    }

    /// Keeps other processes from training in this folder, as long as what it gives lives, or the
    /// process does.
    ///
    /// # Errors
    /// Another process trains in it, or it cannot be written.
    pub fn lock(&self) -> Result<Lock, RunError> {
        let path = self.path.join(LOCK);
        let refuse = |reason: String| RunError::Busy { run: self.name(), reason };
        let file = fs::File::create(&path).map_err(|error| refuse(error.to_string()))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => {
                Err(refuse("another process trains in it at this moment".into()))
            }
            Err(fs::TryLockError::Error(error)) => Err(refuse(error.to_string())),
        }
    }

    /// Finds a run by its path, by its name under `root`, or by the path of its model file.
    ///
    /// # Errors
    /// There is no such folder, or it holds no model.
    pub fn find(root: &Path, run: &Path) -> Result<Self, RunError> {
        let missing =
            |reason: String| RunError::NoRun { run: shown(&run.to_string_lossy()), reason };
        let candidates = [RunFolder::followed(run), RunFolder::followed(&root.join(run))];
        for candidate in &candidates {
            if candidate.is_file() {
                let parent = candidate.parent().map(Path::to_path_buf).unwrap_or_default();
                let is_model = candidate.file_name().is_some_and(|name| name == MODEL);
                return match is_model {
                    true => Ok(RunFolder { path: parent }),
                    false => Err(missing(format!("it is a file, and not a {MODEL}"))),
                };
            }
            if candidate.join(MODEL).is_file() {
                return Ok(RunFolder { path: candidate.clone() });
            }
        }
        match candidates.iter().find(|candidate| candidate.is_dir()) {
            Some(_) => Err(missing(format!("the folder holds no {MODEL}; did its training end?"))),
            None => Err(missing(match runs(root).as_slice() {
                [] => format!("there are none in `{}`", root.display()),
                names => format!("there are {}", names.join(", ")),
            })),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of its model file.
    pub fn model(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    /// The text of one of its files, of at most 1 GiB; none if it is not there.
    ///
    /// # Errors
    /// It cannot be read, or is no text.
    pub fn read(&self, file: &str) -> Result<Option<String>, RunError> {
        let path = self.file(file);
        if !path.exists() {
            return Ok(None);
        }
        let mut reader = Reader::open(&path, &Limits { max_bytes: 1 << 30, ..Limits::default() })?;
        let bytes = reader.bytes("text", reader.remaining().unwrap_or(0))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            FormatError::new(ErrorKind::Malformed, &path, "text", "UTF-8", error.to_string())
        })?;
        Ok(Some(text))
    }

    /// Writes one of its files, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written; the old one, if there was one, is as it was.
    pub fn write(&self, file: &str, text: &str) -> Result<(), RunError> {
        write_atomic(self.path.join(file), |out| out.write_all(text.as_bytes()))?;
        Ok(())
    }
}

/// All runs in a folder, in the order of their names.
pub fn list(root: &Path) -> Vec<RunFolder> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    // The run it leads to has its own place.
    let own = entries.flatten().filter(|entry| {
        entry.file_name() != LATEST || entry.file_type().is_ok_and(|kind| !kind.is_symlink())
    });
    let paths = own.map(|entry| entry.path());
    let mut runs: Vec<RunFolder> =
        paths.filter(|path| is_run(path)).map(|path| RunFolder { path }).collect();
    runs.sort_by(|a, b| a.path.cmp(&b.path));
    runs
}

/// Whether a folder is that of a run: it has the recipe.
fn is_run(path: &Path) -> bool {
    path.join(RESOLVED).is_file()
}

/// A name from outside, fit for a terminal.
fn shown(name: &str) -> String {
    escape(name, 200)
}

/// The names of up to ten runs that hold a model, in the order of their names.
fn runs(root: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.file_name() != LATEST && entry.path().join(MODEL).is_file())
        .map(|entry| shown(&entry.file_name().to_string_lossy()))
        .collect();
    names.sort();
    names.truncate(10);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_latest_run_has_a_link() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let files = [(RESOLVED, "a = 1\n")];
        for expected in ["b", "a", "b-2"] {
            let made = RunFolder::create(root, &expected[..1], &files).unwrap();
            assert_eq!(made.name(), expected);
            let opened = RunFolder::open(root, Path::new(LATEST)).unwrap();
            assert_eq!(opened.name(), expected);
            assert_eq!(RunFolder::open(root, &root.join(LATEST)).unwrap(), opened);
        }
        let names: Vec<String> = list(root).iter().map(RunFolder::name).collect();
        assert_eq!(names, ["a", "b", "b-2"]);
        // It leads nowhere; it is no link.
        fs::remove_dir_all(root.join("b-2")).unwrap();
        assert!(RunFolder::open(root, Path::new(LATEST)).is_err());
        fs::remove_file(root.join(LATEST)).unwrap();
        fs::create_dir(root.join(LATEST)).unwrap();
        RunFolder::create(root, "c", &files).unwrap();
        assert!(fs::symlink_metadata(root.join(LATEST)).unwrap().is_dir());
        assert!(
            fs::read_dir(root)
                .unwrap()
                .flatten()
                .all(|it| !it.file_name().to_string_lossy().starts_with('.'))
        );
    }

    #[test]
    fn names_are_counted_up_and_nothing_is_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().join("runs");
        let files = [("config.toml", "a = 1\n")];
        for expected in ["mnist", "mnist-2", "mnist-3"] {
            let run = RunFolder::create(&root, "mnist", &files).unwrap();
            assert_eq!(run.path(), root.join(expected));
            assert_eq!(fs::read_to_string(run.path().join("config.toml")).unwrap(), "a = 1\n");
        }
        // Many at once: every one gets its own.
        let made: Vec<PathBuf> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| RunFolder::create(&root, "x", &[]).unwrap().path))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let different: std::collections::BTreeSet<_> = made.iter().collect();
        assert_eq!(different.len(), 8);
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("runs");
        // A file name that cannot be: the second file fails, and takes the first with it.
        let error = RunFolder::create(&root, "a", &[("one", ""), ("no/such/folder", "")]);
        assert!(error.unwrap_err().to_string().contains("no/such/folder"));
        assert!(!root.exists());
        fs::write(&root, "a file").unwrap();
        let error = RunFolder::create(&root, "a", &[]).unwrap_err().to_string();
        assert!(error.contains("cannot create the run folder"), "{error}");
        assert_eq!(fs::read_to_string(&root).unwrap(), "a file");
    }

    #[test]
    fn runs_are_found_by_path_name_or_model_and_missing_ones_say_what_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("runs");
        let run = RunFolder::create(&root, "mnist", &[(MODEL, "x")]).unwrap();
        RunFolder::create(&root, "half", &[]).unwrap();
        assert_eq!(RunFolder::find(&root, run.path()).unwrap(), run);
        assert_eq!(RunFolder::find(&root, Path::new("mnist")).unwrap(), run);
        assert_eq!(RunFolder::find(&root, &run.model()).unwrap(), run);
        let text = |name: &str| RunFolder::find(&root, Path::new(name)).unwrap_err().to_string();
        assert_eq!(text("mnits"), "no run `mnits`: there are mnist");
        assert!(text("half").contains("holds no model.safetensors"));
        assert!(RunFolder::open(&root, Path::new("half")).is_err(), "it has no recipe");
        for name in ["mnist-2", "mnist-10", "mnist-x"] {
            RunFolder::create(&root, name, &[(RESOLVED, "")]).unwrap();
        }
        let newest = RunFolder::newest(&root, "mnist").unwrap();
        assert_eq!(newest.name(), "mnist-10");
        assert_eq!(RunFolder::open(&root, Path::new("mnist-10")).unwrap(), newest);
        assert_eq!(RunFolder::newest(&root, "mni"), None);
    }

    #[test]
    fn k16_one_process_trains_in_a_folder() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::create(root.path(), "mnist", &[]).unwrap();
        let lock = run.lock().unwrap();
        assert!(run.lock().unwrap_err().to_string().contains("another process trains in it"));
        drop(lock);
        run.lock().unwrap();
    }
}
