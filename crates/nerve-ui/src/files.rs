//! The small files of a run, read with bounds and never outside its folder.

use nerve_track::RunFolder;
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// The path of a file of a run, if it is one: names that lead out of the folder, and links that do,
/// are none.
pub fn inside(run: &RunFolder, name: &str) -> Option<PathBuf> {
    let name = Path::new(name);
    let plain = name.components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || name.as_os_str().is_empty() {
        return None;
    }
    let path = run.path().join(name).canonicalize().ok()?;
    let root = run.path().canonicalize().ok()?;
    (path.starts_with(root) && path.is_file()).then_some(path)
}

/// The bytes of a file of a run; `None` where there is none.
///
/// # Errors
/// It is longer than `most`, or cannot be read.
pub fn bytes(run: &RunFolder, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(path) = inside(run, name) else { return Ok(None) };
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let text = format!("{name} has more than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(Some(bytes))
}

/// The text of a file of a run, with what is no UTF-8 replaced.
///
/// # Errors
/// As [`bytes`].
pub fn text(run: &RunFolder, name: &str, most: u64) -> io::Result<Option<String>> {
    Ok(bytes(run, name, most)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// A file of a run that holds JSON.
///
/// # Errors
/// As [`bytes`], or it holds something else.
pub fn json(run: &RunFolder, name: &str, most: u64) -> io::Result<Option<Value>> {
    let Some(bytes) = bytes(run, name, most)? else { return Ok(None) };
    let refuse = |error| io::Error::new(io::ErrorKind::InvalidData, format!("{name}: {error}"));
    serde_json::from_slice(&bytes).map(Some).map_err(refuse)
}

/// The first line and the last whole line of a file, each of bounded length: of a table that may be
/// long, its head and where it stands.
pub fn ends(path: &Path) -> io::Result<Option<(String, String)>> {
    const MOST: u64 = 64 << 10;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut head = Vec::new();
    (&mut file).take(MOST).read_to_end(&mut head)?;
    let mut tail = head.clone();
    if length > MOST {
        file.seek(SeekFrom::Start(length - MOST))?;
        tail.clear();
        file.take(MOST).read_to_end(&mut tail)?;
    }
    let (head, tail) = (String::from_utf8_lossy(&head), String::from_utf8_lossy(&tail));
    let first = head.split_once('\n').map(|(first, _)| first.trim_end().to_string());
    let whole = tail.rsplit_once('\n').map(|(whole, _)| whole.trim_end());
    let last = whole.and_then(|text| text.rsplit('\n').next()).map(str::to_string);
    Ok(first.zip(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn nothing_outside_the_folder_is_read() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::create(root.path(), "a", &[("in.txt", "in")]).unwrap();
        fs::write(root.path().join("out.txt"), "out").unwrap();
        assert_eq!(text(&run, "in.txt", 10).unwrap().unwrap(), "in");
        let absolute = root.path().join("out.txt");
        for name in ["../out.txt", "", ".", "..", "eval/../../out.txt", absolute.to_str().unwrap()]
        {
            assert_eq!(text(&run, name, 10).unwrap(), None, "{name}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&absolute, run.file("link.txt")).unwrap();
            assert_eq!(text(&run, "link.txt", 10).unwrap(), None);
        }
        assert!(text(&run, "in.txt", 1).unwrap_err().to_string().contains("more than 1 bytes"));
        assert!(json(&run, "in.txt", 10).unwrap_err().to_string().contains("in.txt"));
    }

    #[test]
    fn a_table_is_read_at_its_ends() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("t.csv");
        let put = |text: &str| fs::write(&path, text).unwrap();
        put("a,b\n1,2\n3,4\n");
        assert_eq!(ends(&path).unwrap(), Some(("a,b".into(), "3,4".into())));
        put("a,b\n1,2\n3,");
        assert_eq!(ends(&path).unwrap(), Some(("a,b".into(), "1,2".into())), "half a line is none");
        let rows: String = (0..50_000).map(|i| format!("{i},{i}\n")).collect();
        put(&format!("a,b\n{rows}"));
        assert_eq!(ends(&path).unwrap(), Some(("a,b".into(), "49999,49999".into())));
        put("");
        assert_eq!(ends(&path).unwrap(), None);
    }
}
