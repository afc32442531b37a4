//! Files that are whole or absent, whenever the power fails.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::FormatError;
use crate::reader::require_regular;

/// Writes `path` so that nobody ever sees half of it: into a temporary file in the same folder,
/// which is flushed, synced and then renamed over `path`; at last the folder is synced.
///
/// Until the rename the old file stays as it was, byte for byte; a full disk, an error of `write`
/// or a panic in it leaves the old file and no temporary one. A killed process may leave a file
/// named `.nerve-PROCESS-NUMBER.tmp`, which nothing reads. An existing file keeps its permissions,
/// and a symbolic link keeps pointing at the file, which is replaced where it lies.
///
/// # Errors
/// [`ErrorKind::Io`](crate::ErrorKind::Io), naming `path`: the folder is missing or not writable, the
/// disk is full, `path` is a folder or a device, or `write` returned an error.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join("history.csv");
/// nerve_formats::write_atomic(&path, |w| w.write_all(b"epoch,loss\n")).unwrap();
/// assert_eq!(std::fs::read(&path).unwrap(), b"epoch,loss\n");
/// ```
pub fn write_atomic(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FormatError> {
    let path = path.as_ref();
    let fail = |e: io::Error| FormatError::io(path, "cannot write", &e);
    // Renaming onto a link would replace the link and not the file that the user keeps elsewhere.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let old = fs::metadata(&target).ok();
    if let Some(old) = &old {
        require_regular(path, old.file_type())?;
    }
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };

    let (file, temporary) = create_beside(folder).map_err(fail)?;
    let mut writer = BufWriter::with_capacity(1 << 16, file);
    write(&mut writer).map_err(fail)?;
    let file = writer.into_inner().map_err(|e| fail(e.into_error()))?;
    if let Some(old) = old {
        file.set_permissions(old.permissions()).map_err(fail)?;
    }
    file.sync_all().map_err(fail)?;
    drop(file);
    temporary.rename_to(&target).map_err(fail)?;
    sync_folder(folder).map_err(fail)
}

/// A file that is removed when it is dropped, unless it has been renamed.
struct Temporary(Option<PathBuf>);

impl Temporary {
    fn rename_to(mut self, target: &Path) -> io::Result<()> {
        if let Some(path) = &self.0 {
            fs::rename(path, target)?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // There is nobody left to tell; the error that led here is the one that counts.
            let _ = fs::remove_file(path);
        }
    }
}

/// A new file in `folder` under a name that no other thread or process uses.
fn create_beside(folder: &Path) -> io::Result<(File, Temporary)> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".nerve-{}-{number}.tmp", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, Temporary(Some(path)))),
            // Left by a process of the same number that was killed: take the next name.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
}

/// Puts the names in a folder on the disk: a rename is only safe from a power failure once that is
/// done as well.
///
/// # Errors
/// Those of the disk.
#[cfg(unix)]
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network file systems cannot sync a folder; the file itself is synced.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        result => result,
    }
}

/// Elsewhere a folder cannot be opened as a file, and the rename is journalled.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model");
        write_atomic(&path, |w| w.write_all(b"old")).unwrap();
        let e = write_atomic(&path, |w| {
            w.write_all(&[1; 200_000])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Io);
        assert_eq!(e.io_kind(), Some(io::ErrorKind::StorageFull));
        assert!(e.to_string().contains("model: cannot write"), "{e}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["model"]);
    }

    #[test]
    fn a_panic_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model");
        write_atomic(&path, |w| w.write_all(b"old")).unwrap();
        let caught = std::panic::catch_unwind(|| {
            write_atomic(&path, |w| {
                w.write_all(b"new")?;
                panic!("in the middle")
            })
        });
        assert!(caught.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["model"]);
    }

    #[test]
    fn the_old_file_is_visible_until_the_new_one_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model");
        write_atomic(&path, |w| w.write_all(b"old")).unwrap();
        write_atomic(&path, |w| {
            w.write_all(&[1; 200_000])?;
            assert_eq!(fs::read(&path)?, b"old");
            w.write_all(&[2; 200_000])
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), [[1; 200_000], [2; 200_000]].concat());
        assert_eq!(names(dir.path()), ["model"]);
    }

    #[test]
    fn folders_and_missing_folders_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let e = write_atomic(dir.path(), |_| Ok(())).unwrap_err();
        assert_eq!(e.found(), "a directory");
        let e = write_atomic(dir.path().join("no/model"), |_| Ok(())).unwrap_err();
        assert_eq!(e.io_kind(), Some(io::ErrorKind::NotFound));
        assert!(names(dir.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn links_permissions_and_devices_survive() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("file", &link).unwrap();
        write_atomic(&link, |w| w.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        let e = write_atomic("/dev/null", |_| Ok(())).unwrap_err();
        assert_eq!(e.found(), "a device");
    }
}
