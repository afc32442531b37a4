//! Pictures that were decoded and resized before, kept in a folder.
//!
//! A photograph of twelve million pixels takes some hundred times as long to decode as its thumbnail to read. So what became of
//! a file is kept under the SHA-256 of the file's bytes and of what was made of them: a file that changed, or another size,
//! has another key, whatever its name and date. (Names, sizes and dates would be faster to compare than to hash contents, but a
//! file that is written anew within a second, or copied with its date, looks the same.)
//!
//! It is off unless a program calls [`enable`]; the command `nerve` does. Results do not depend on it.
//!
//! An entry is whole or absent, and carries its own checksum: what is damaged counts as not there and is written again. When
//! the folder is full, the oldest entries go.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

/// How many bytes the folder may hold unless a program says otherwise.
pub const LIMIT: u64 = 4 << 30;

/// Files below this size are decoded as fast as they are found in a folder.
const LEAST: usize = 64 << 10;

const MAGIC: &[u8; 8] = b"nervepx1";

static CURRENT: RwLock<Option<Cache>> = RwLock::new(None);

/// From now on pictures are looked up in this folder, and kept there.
pub fn enable(folder: impl Into<PathBuf>, limit: u64) {
    let cache = Cache::new(folder.into(), limit);
    *CURRENT.write().unwrap_or_else(PoisonError::into_inner) = Some(cache);
}

/// From now on nothing is looked up, and nothing kept.
pub fn disable() {
    *CURRENT.write().unwrap_or_else(PoisonError::into_inner) = None;
}

/// The folder for the user's cache: `$NERVE_CACHE`, else `nerve` in `$XDG_CACHE_HOME` or `~/.cache`.
pub fn folder() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    let own = variable("NERVE_CACHE").filter(|path| !path.as_os_str().is_empty());
    own.or_else(|| {
        let caches = absolute("XDG_CACHE_HOME");
        let caches = caches.or_else(|| absolute("HOME").map(|home| home.join(".cache")));
        caches.map(|caches| caches.join("nerve"))
    })
}

/// Why nothing could be kept, if that is so: the first reason.
pub fn trouble() -> Option<String> {
    let current = CURRENT.read().unwrap_or_else(PoisonError::into_inner);
    let cache = current.as_ref()?;
    cache.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// What `make` makes of the bytes of a file, from the cache if it was made before. `what` says what is made, with all that it
/// depends on beside the bytes.
pub(crate) fn made<E>(
    bytes: &[u8],
    what: &str,
    out: &mut [u8],
    make: impl FnOnce(&mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let current = CURRENT.read().unwrap_or_else(PoisonError::into_inner);
    let Some(cache) = current.as_ref().filter(|_| bytes.len() >= LEAST.max(2 * out.len())) else {
        return make(out);
    };
    let path = cache.path(bytes, what);
    if cache.read(&path, out) {
        return Ok(());
    }
    make(out)?;
    cache.write(&path, out);
    Ok(())
}

/// What is in the folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// How many entries there are.
    pub entries: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

/// Looks at what is kept in a cache folder; one that is not there is empty.
pub fn contents(folder: &Path) -> Contents {
    let sizes = entries(folder).into_iter().map(|entry| entry.bytes);
    sizes.fold(Contents::default(), |all, bytes| Contents {
        entries: all.entries + 1,
        bytes: all.bytes + bytes,
    })
}

/// Removes all entries, and says what there was. Nothing but entries is touched.
///
/// # Errors
/// One of them cannot be removed.
pub fn clear(folder: &Path) -> io::Result<Contents> {
    let before = contents(folder);
    for entry in entries(folder) {
        fs::remove_file(entry.path)?;
    }
    Ok(before)
}

struct Cache {
    folder: PathBuf,
    limit: u64,
    /// How many bytes are in it; not known before the first is written.
    bytes: Mutex<Option<u64>>,
    trouble: Mutex<Option<String>>,
}

struct Entry {
    path: PathBuf,
    bytes: u64,
    written: SystemTime,
}

/// The files `pictures/ab/NAME.px` and those that were not finished.
fn entries(folder: &Path) -> Vec<Entry> {
    let files = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let entry = |file: fs::DirEntry| {
        let path = file.path();
        let ours = path.extension().is_some_and(|ending| ending == "px" || ending == "tmp");
        let data = file.metadata().ok().filter(|data| ours && data.is_file())?;
        let written = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Some(Entry { path, bytes: data.len(), written })
    };
    files(&folder.join("pictures")).flat_map(|part| files(&part.path())).filter_map(entry).collect()
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

impl Cache {
    fn new(folder: PathBuf, limit: u64) -> Cache {
        Cache { folder, limit, bytes: Mutex::new(None), trouble: Mutex::new(None) }
    }

    fn path(&self, bytes: &[u8], what: &str) -> PathBuf {
        // Another version may decode otherwise.
        let version = env!("CARGO_PKG_VERSION").as_bytes();
        let key = sha256(&[MAGIC, version, &sha256(&[bytes]), what.as_bytes()]);
        let name: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join("pictures").join(&name[..2]).join(format!("{name}.px"))
    }

    /// Whether the entry is there, whole, and of this size; if it is damaged it is removed.
    fn read(&self, path: &Path, out: &mut [u8]) -> bool {
        // Its size is known: a file that has another is not read at all.
        let length = (MAGIC.len() + 32 + out.len()) as u64;
        match fs::metadata(path) {
            Ok(data) if data.is_file() && data.len() == length => {}
            Ok(_) => return self.damaged(path),
            Err(_) => return false,
        }
        let Ok(entry) = fs::read(path) else { return self.damaged(path) };
        let whole = entry.len() as u64 == length
            && entry.starts_with(MAGIC)
            && entry[8..40] == sha256(&[&entry[40..]]);
        if !whole {
            return self.damaged(path);
        }
        out.copy_from_slice(&entry[40..]);
        true
    }

    fn damaged(&self, path: &Path) -> bool {
        let _ = fs::remove_file(path);
        false
    }

    fn write(&self, path: &Path, bytes: &[u8]) {
        if let Err(error) = self.try_write(path, bytes) {
            let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            let folder = nerve_formats::escape(&self.folder.to_string_lossy(), 200);
            trouble.get_or_insert_with(|| format!("nothing is kept in {folder}: {error}"));
        }
    }

    /// Into a file beside it that is renamed, so that nobody sees half of it. It is not synced: after a power cut the checksum
    /// tells.
    fn try_write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        if self.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let unfinished = folder.join(format!("{}-{number}.tmp", std::process::id()));
        let entry = [MAGIC, &sha256(&[bytes])[..], bytes].concat();
        let written = fs::write(&unfinished, &entry).and_then(|()| fs::rename(&unfinished, path));
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written?;
        self.make_room(entry.len() as u64);
        Ok(())
    }

    /// Counts an entry; above the limit the oldest go until a quarter is free.
    fn make_room(&self, added: u64) {
        let mut known = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = known.map_or_else(|| contents(&self.folder).bytes, |bytes| bytes + added);
        if bytes > self.limit {
            let mut all = entries(&self.folder);
            all.sort_by_key(|entry| entry.written);
            for entry in all {
                if bytes <= self.limit / 4 * 3 {
                    break;
                }
                if fs::remove_file(&entry.path).is_ok() {
                    bytes = bytes.saturating_sub(entry.bytes);
                }
            }
        }
        *known = Some(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(cache: &Cache, bytes: &[u8], what: &str) -> PathBuf {
        cache.path(bytes, what)
    }

    #[test]
    fn what_was_kept_is_found_by_content_and_by_what_is_made() {
        let here = tempfile::tempdir().unwrap();
        let cache = Cache::new(here.path().into(), LIMIT);
        let path = entry(&cache, b"a picture", "1 x 2");
        let mut out = [0; 4];
        assert!(!cache.read(&path, &mut out));
        cache.write(&path, &[1, 2, 3, 4]);
        assert!(cache.read(&path, &mut out));
        assert_eq!(out, [1, 2, 3, 4]);
        assert_ne!(entry(&cache, b"another", "1 x 2"), path);
        assert_ne!(entry(&cache, b"a picture", "2 x 1"), path);
        assert_eq!(contents(here.path()), Contents { entries: 1, bytes: 44 });
        assert_eq!(clear(here.path()).unwrap().entries, 1);
        assert!(!cache.read(&path, &mut out));
        assert_eq!(contents(&here.path().join("nowhere")), Contents::default());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed_and_mended() {
        let here = tempfile::tempdir().unwrap();
        let cache = Cache::new(here.path().into(), LIMIT);
        let (path, mut out) = (entry(&cache, b"x", ""), [0; 3]);
        cache.write(&path, &[7, 8, 9]);
        let whole = fs::read(&path).unwrap();
        let mut damaged: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
        for bit in 0..8 * whole.len() {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            damaged.push(bytes);
        }
        damaged.push([&whole[..], b"."].concat());
        for bytes in damaged {
            fs::write(&path, bytes).unwrap();
            assert!(!cache.read(&path, &mut out));
            assert!(!path.exists());
        }
        cache.write(&path, &[7, 8, 9]);
        assert!(cache.read(&path, &mut out));
        // What stood there for another size is not taken for it.
        assert!(!cache.read(&path, &mut [0; 2]));
    }

    #[test]
    fn the_folder_stays_within_its_bounds() {
        let here = tempfile::tempdir().unwrap();
        let cache = Cache::new(here.path().into(), 2000);
        for i in 0..100u8 {
            cache.write(&entry(&cache, &[i], ""), &[i; 60]);
            assert!(contents(here.path()).bytes <= 2000);
        }
        assert!(contents(here.path()).entries >= 10);
        let mut out = [0; 60];
        assert!(cache.read(&entry(&cache, &[99], ""), &mut out));
        assert_eq!(out, [99; 60]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_told_once() {
        let here = tempfile::tempdir().unwrap();
        let file = here.path().join("file");
        fs::write(&file, "").unwrap();
        let cache = Cache::new(file, LIMIT);
        cache.write(&entry(&cache, b"x", ""), &[1]);
        let trouble = cache.trouble.lock().unwrap().clone().unwrap();
        assert!(trouble.contains("nothing is kept in"), "{trouble}");
    }
}
