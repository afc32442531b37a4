//! A folder of checkpoints.

use super::snapshot::{Position, Snapshot};
use nerve_core::{DType, Shape};
use nerve_formats::safetensors::{Dtype, SafeTensors, write_safetensors_to};
use nerve_formats::{FormatError, Limits, Reader, sync_folder, write_atomic};
use nerve_nn::state::{StateTensor, tensors};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The version of the layout that this version writes and reads.
const VERSION: u64 = 1;
const STATE: &str = "state.safetensors";
const MANIFEST: &str = "manifest.json";
const BEST: &str = "best";

/// Why a checkpoint is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk, or a file that is damaged.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It is not what was written.
    #[error("the checkpoint {folder} is damaged: {reason}")]
    Damaged {
        /// Its folder.
        folder: String,
        /// What does not fit.
        reason: String,
    },
    /// It is of another version of nerve.
    #[error("the checkpoint {folder} has format {found}; nerve {nerve} reads {VERSION}", nerve = env!("CARGO_PKG_VERSION"))]
    Version {
        /// Its folder.
        folder: String,
        /// What stands in it.
        found: String,
    },
}

/// The newest checkpoint that is whole.
#[derive(Debug)]
pub struct Found {
    /// What it holds.
    pub snapshot: Snapshot,
    /// Its folder.
    pub folder: PathBuf,
    /// Why newer ones were passed over.
    pub damaged: Vec<CheckpointError>,
}

/// A folder of checkpoints. The last two and the best are kept.
///
/// A checkpoint is written into a temporary folder, each file is synced, then the manifest with
/// sizes and SHA-256 is, then the folder is renamed and the one around it synced; only then an older one
/// is removed. Whenever the process is killed or the power fails, what stands there is whole, and
/// is at least the one before. Reading checks every byte.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    /// In this folder, which is made, with the ones around it, if it is not there. What a killed
    /// process left half done is removed.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Checkpoints, FormatError> {
        let folder = folder.into();
        let fail = |action: &str, error: &io::Error| FormatError::io(&folder, action, error);
        fs::create_dir_all(&folder).map_err(|error| fail("cannot create", &error))?;
        let entries = fs::read_dir(&folder).map_err(|error| fail("cannot read", &error))?;
        for entry in entries.flatten() {
            if is_temporary(&entry.file_name().to_string_lossy()) {
                // If it cannot be removed it is only in nobody's way.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(Checkpoints { folder })
    }

    /// Its path.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a checkpoint, and removes those that nobody needs any more. Gives its folder.
    ///
    /// # Errors
    /// Those of the disk; what was there before is untouched then.
    pub fn save(&self, snapshot: &Snapshot, best: bool) -> Result<PathBuf, FormatError> {
        let name = name(snapshot.position);
        let path = self.folder.join(&name);
        // The same place in the same training has the same bits: there is nothing to write again.
        if read(&path).is_err() {
            let temporary = Temporary::new(&self.folder)?;
            write(&temporary.0, snapshot)?;
            let fail = |error: io::Error| FormatError::io(&path, "cannot write", &error);
            if path.exists() {
                fs::remove_dir_all(&path).map_err(fail)?;
            }
            fs::rename(&temporary.0, &path).map_err(fail)?;
            sync_folder(&self.folder).map_err(fail)?;
        }
        if best {
            write_atomic(self.folder.join(BEST), |file| file.write_all(name.as_bytes()))?;
        }
        self.clean();
        Ok(path)
    }

    /// Removes all but the last two and the best.
    fn clean(&self) {
        let best = self.best();
        for path in self.all().into_iter().rev().skip(2) {
            if Some(&path) != best.as_ref() {
                // It is in nobody's way; the next time it is tried again.
                let _ = remove(&path);
            }
        }
    }

    /// The checkpoints, in the order of their steps, whole or not.
    pub fn all(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let mut found: Vec<([u64; 2], PathBuf)> = entries
            .flatten()
            .filter_map(|entry| Some((order(entry.file_name().to_str()?)?, entry.path())))
            .collect();
        found.sort();
        found.into_iter().map(|(_, path)| path).collect()
    }

    /// That of the best epoch, if there is one.
    pub fn best(&self) -> Option<PathBuf> {
        let name = fs::read_to_string(self.folder.join(BEST)).ok()?;
        // No path is built from what stands in a file: one of those that are there is chosen.
        self.all().into_iter().find(|path| path.file_name().is_some_and(|known| *known == *name))
    }

    /// The newest that is whole, if there is one, and what was wrong with newer ones.
    ///
    /// # Errors
    /// There are some, and none is whole: why the newest is not.
    pub fn last(&self) -> Result<Option<Found>, CheckpointError> {
        let mut damaged = Vec::new();
        for folder in self.all().into_iter().rev() {
            match read(&folder) {
                Ok(snapshot) => return Ok(Some(Found { snapshot, folder, damaged })),
                Err(error @ CheckpointError::Version { .. }) => return Err(error),
                Err(error) => damaged.push(error),
            }
        }
        match damaged.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }
}

/// The name of the folder of a checkpoint. After the last step of an epoch there may be two, one
/// before its validation and one behind it, where the next epoch has begun.
fn name(position: Position) -> String {
    format!("step-{:09}-epoch-{:04}", position.step, position.epoch)
}

/// By what checkpoints are ordered, read from a name: step and epoch.
fn order(name: &str) -> Option<[u64; 2]> {
    let (step, epoch) = name.strip_prefix("step-")?.split_once("-epoch-")?;
    Some([step.parse().ok()?, epoch.parse().ok()?])
}

/// Reads a checkpoint, every byte of it checked.
///
/// # Errors
/// It is not there, damaged, or of another version.
pub(super) fn read(folder: &Path) -> Result<Snapshot, CheckpointError> {
    let shown = || nerve_formats::escape(&folder.to_string_lossy(), 200);
    let damaged = |reason: String| CheckpointError::Damaged { folder: shown(), reason };
    let limits = Limits { max_bytes: 1 << 20, ..Limits::default() };
    let bytes = whole(&folder.join(MANIFEST), &limits)?;
    let manifest: Value = serde_json::from_slice(&bytes)
        .map_err(|error| damaged(format!("{MANIFEST} is no JSON: {error}")))?;
    if manifest["format"] != json!(VERSION) && manifest["format"].is_u64() {
        let found = manifest["format"].to_string();
        // A flipped bit must not look like another version.
        if seal(&manifest).as_bytes() == bytes {
            return Err(CheckpointError::Version { folder: shown(), found });
        }
    }
    if seal(&manifest).as_bytes() != bytes {
        return Err(damaged(format!("{MANIFEST} is not what was written")));
    }
    let number = |key: &str| manifest[key].as_u64().unwrap_or(0);
    let position =
        Position { step: number("step"), epoch: number("epoch"), samples: number("samples") };
    let bytes = whole(&folder.join(STATE), &Limits::default())?;
    let (wanted, found) = (number("bytes"), bytes.len() as u64);
    if wanted != found {
        return Err(damaged(format!("{STATE} has {found} bytes, expected {wanted}")));
    }
    if manifest["sha256"] != json!(hex(&Sha256::digest(&bytes))) {
        return Err(damaged(format!("{STATE} is not what was written (SHA-256)")));
    }
    let file = SafeTensors::from_bytes(folder.join(STATE), &bytes)?;
    let tensor = |view: nerve_formats::safetensors::TensorView<'_>| {
        let dtype = match view.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
            Dtype::I32 => DType::I32,
            Dtype::I64 => DType::I64,
            Dtype::U8 => DType::U8,
            Dtype::I8 => DType::I8,
            Dtype::Bool => DType::Bool,
            other => return Err(damaged(format!("{} is of type {}", view.name, other.name()))),
        };
        let (name, shape) = (view.name.to_string(), Shape::from(view.shape));
        Ok(StateTensor { name, dtype, shape, bytes: view.data.to_vec() })
    };
    let tensors: Result<Vec<_>, _> = file.iter().map(tensor).collect();
    Ok(Snapshot::new(position, tensors?))
}

fn whole(path: &Path, limits: &Limits) -> Result<Vec<u8>, FormatError> {
    let mut file = Reader::open(path, limits)?;
    let length = file.remaining().unwrap_or(0);
    file.bytes("content", length)
}

/// Writes the files of a checkpoint into a folder that is there.
fn write(folder: &Path, snapshot: &Snapshot) -> Result<(), FormatError> {
    let state = folder.join(STATE);
    let fail = |path: &Path, error: &io::Error| FormatError::io(path, "cannot write", error);
    let tensors = tensors(snapshot.tensors());
    let put = |to: &mut dyn Write| write_safetensors_to(to, &state, &tensors, &[]);
    // Hashing takes as long as the disk does: the same bytes go both ways at once.
    let (written, hashed) = std::thread::scope(|scope| {
        let hashing = scope.spawn(|| {
            let mut hashing = Hashing { hash: Sha256::new(), bytes: 0 };
            put(&mut hashing).map(|()| hashing)
        });
        let written = File::create_new(&state).map_err(|error| fail(&state, &error));
        let written = written.and_then(|file| {
            let mut buffered = BufWriter::with_capacity(1 << 18, file);
            put(&mut buffered)?;
            let file = buffered.into_inner().map_err(|error| fail(&state, error.error()))?;
            file.sync_all().map_err(|error| fail(&state, &error))
        });
        (written, hashing.join().expect("hashing does not panic"))
    });
    written?;
    let Hashing { hash, bytes } = hashed?;
    let Position { step, epoch, samples } = snapshot.position;
    let manifest = json!({
        "format": VERSION,
        "nerve": env!("CARGO_PKG_VERSION"),
        "step": step,
        "epoch": epoch,
        "samples": samples,
        "file": STATE,
        "bytes": bytes,
        "sha256": hex(&hash.finalize()),
    });
    let path = folder.join(MANIFEST);
    let written = File::create_new(&path).and_then(|mut file| {
        file.write_all(seal(&manifest).as_bytes())?;
        file.sync_all()?;
        sync_folder(folder)
    });
    written.map_err(|error| fail(&path, &error))
}

/// The manifest as it stands in its file, with a hash of itself: no bit of it can change unseen.
fn seal(manifest: &Value) -> String {
    let mut manifest = manifest.clone();
    if let Some(manifest) = manifest.as_object_mut() {
        manifest.remove("seal");
    }
    let own = hex(&Sha256::digest(manifest.to_string().as_bytes()));
    if let Some(manifest) = manifest.as_object_mut() {
        manifest.insert("seal".into(), json!(own));
    }
    serde_json::to_string_pretty(&manifest).expect("plain data") + "\n"
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hashes and counts what goes into it.
struct Hashing {
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A folder that is removed when it is dropped, unless it has been renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn new(within: &Path) -> Result<Temporary, FormatError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = within.join(format!(".nerve-{}-{number}.tmp", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Temporary(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(FormatError::io(&path, "cannot create", &error)),
            }
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is_temporary(name: &str) -> bool {
    name.starts_with(".nerve-") && name.ends_with(".tmp")
}

/// Removes a checkpoint so that none that is half removed bears its name.
fn remove(path: &Path) -> Result<(), FormatError> {
    let within = path.parent().unwrap_or(Path::new("."));
    let temporary = Temporary::new(within)?;
    let moved = temporary.0.join("old");
    fs::rename(path, moved).map_err(|error| FormatError::io(path, "cannot remove", &error))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
