//! Folders of every kind; I12 is the id of the catalogue of bad input.

use std::fs;

use super::*;
use crate::source::csv::tests::rows;
use crate::source::read;

/// A folder with these files, each with its own name as content.
fn folder(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("in {name}")).unwrap();
    }
    folder
}

fn read_folder(folder: &tempfile::TempDir, options: &Options) -> Result<Table, String> {
    let here = folder.path().display().to_string();
    read(folder.path(), options).map_err(|error| error.to_string().replace(&here, "here"))
}

#[test]
fn folders_are_classes() {
    let files =
        ["dog/b.PNG", "cat/x/2.jpeg", "cat/1.png", ".git/c.png", "cat/.hidden.png", "README.txt"];
    let here = folder(&files);
    let table = read_folder(&here, &Options::default()).unwrap();
    let names: Vec<&str> = table.columns().iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["image", "label"]);
    assert_eq!(rows(&table), [["cat/1.png", "cat"], ["cat/x/2.jpeg", "cat"], ["dog/b.PNG", "dog"]]);
    assert_eq!(
        (table.place(1), &table.origin().folder),
        ("cat/x/2.jpeg".into(), &here.path().to_path_buf())
    );
    let sounds = folder(&["yes/1.wav", "no/1.wav"]);
    let table = read_folder(&sounds, &Options::default()).unwrap();
    assert_eq!((table.columns()[0].name.as_str(), table.rows()), ("audio", 2));
}

#[test]
fn texts_are_read() {
    let here = folder(&["neg/1.txt", "pos/1.txt", "pos/2.txt"]);
    let table = read_folder(&here, &Options::default()).unwrap();
    assert_eq!(rows(&table)[1], ["in pos/1.txt", "pos"]);
    let source = super::super::open(here.path(), &Options::default()).unwrap();
    let mut chunks = source.chunks().unwrap();
    let mut all = chunks.next(2).unwrap().unwrap();
    assert_eq!(all.rows(), 2);
    all.append(chunks.next(2).unwrap().unwrap()).unwrap();
    assert!(chunks.next(2).unwrap().is_none());
    assert_eq!((rows(&all), all.place(2)), (rows(&table), "pos/2.txt".into()));
    fs::write(here.path().join("pos/2.txt"), b"caf\xe9").unwrap();
    let error = read_folder(&here, &Options::default()).unwrap_err();
    assert!(error.starts_with("here/pos/2.txt: text at byte 3"), "{error}");
}

#[test]
fn pictures_find_their_masks() {
    let here = folder(&["images/b.jpg", "images/a.png", "masks/a.png", "masks/b.png"]);
    let table = read_folder(&here, &Options::default()).unwrap();
    assert_eq!(rows(&table), [["images/a.png", "masks/a.png"], ["images/b.jpg", "masks/b.png"]]);
    assert_eq!(table.columns()[1].name, "mask");
    let error = |names: &[&str]| read_folder(&folder(names), &Options::default()).unwrap_err();
    assert!(error(&["images/a.png", "masks/b.png"]).contains("none for images/a.png"));
    let more = error(&["images/a.png", "masks/a.png", "masks/b.png"]);
    assert!(more.contains("a picture for each mask, found none for masks/b.png"), "{more}");
    assert!(error(&["images/a.png", "masks/a.png", "masks/a.jpg"]).contains("one mask"));
}

#[test]
fn a_folder_of_tables_is_one_table() {
    let here = folder(&[]);
    fs::write(here.path().join("2.csv"), "a,b\n3,4\n5,6\n").unwrap();
    fs::write(here.path().join("1.csv"), "a;b\n1;2\n").unwrap();
    let table = read_folder(&here, &Options::default()).unwrap();
    assert_eq!(rows(&table), [["1", "2"], ["3", "4"], ["5", "6"]]);
    assert_eq!([table.place(0), table.place(2)], ["1.csv:2", "2.csv:3"]);
    fs::write(here.path().join("3.csv"), "a,c\n3,4\n").unwrap();
    let error = read_folder(&here, &Options::default()).unwrap_err();
    assert_eq!(error, "here/3.csv: columns: expected 2 (a, b), as in 1.csv, found 2 (a, c)");
}

#[test]
fn a_folder_of_many_kinds_or_none() {
    let error = |names: &[&str]| read_folder(&folder(names), &Options::default()).unwrap_err();
    let mixed = ["a/1.png", "a/1.txt", "b/2.png"];
    assert!(error(&mixed).contains("files of one kind"), "{}", error(&mixed));
    assert!(error(&mixed).contains("found 2 pictures, 1 texts"), "{}", error(&mixed));
    let images = Options { format: Some("images".into()), ..Options::default() };
    assert_eq!(read_folder(&folder(&mixed), &images).unwrap().rows(), 2);
    assert!(error(&["a/1.xyz"]).contains("no file of data"));
    assert!(error(&[]).contains("no file of data"));
    assert!(read_folder(&folder(&["a/1.txt"]), &images).unwrap_err().contains("found 1 texts"));
    let flat = folder(&["1.png", "2.png"]);
    assert_eq!(rows(&read_folder(&flat, &Options::default()).unwrap()), [["1.png"], ["2.png"]]);
}

#[cfg(unix)]
#[test]
fn i12_links_and_names_that_lead_nowhere() {
    use std::ffi::OsStr;
    use std::os::unix::{ffi::OsStrExt, fs::symlink};
    let here = folder(&["cat/1.png"]);
    symlink("1.png", here.path().join("cat/2.png")).unwrap();
    assert_eq!(read_folder(&here, &Options::default()).unwrap().rows(), 2, "links to files count");
    symlink("..", here.path().join("cat/up")).unwrap();
    let error = read_folder(&here, &Options::default()).unwrap_err();
    assert!(error.contains("cat/up: folder: expected folders that lead downwards"), "{error}");
    fs::remove_file(here.path().join("cat/up")).unwrap();
    symlink("none", here.path().join("cat/3.png")).unwrap();
    let error = read_folder(&here, &Options::default()).unwrap_err();
    assert!(error.starts_with("here/cat/3.png: cannot read"), "{error}");
    fs::remove_file(here.path().join("cat/3.png")).unwrap();
    fs::write(here.path().join("cat").join(OsStr::from_bytes(b"\xff.png")), "").unwrap();
    let error = read_folder(&here, &Options::default()).unwrap_err();
    assert!(error.contains("expected names in UTF-8"), "{error}");
}
