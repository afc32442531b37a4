//! Bad files of data, each read by a process of little memory and time. The ids are those of the catalogue of bad input:
//! C for CSV, D for idx, N for npy; each refusal has its twin that is accepted.
#![cfg(unix)]
#![allow(missing_docs)]

mod common;
#[path = "common/limits.rs"]
mod limits;

use common::{Ran, folder};
use limits::limited;
use nerve::formats::{Npy, NpyData, write_npz};
use std::fs;
use std::path::Path;

/// The description of a table with a number `a` and a class `b`.
fn recipe(folder: &Path, data: &str) {
    let text = format!(
        "[data]\n{data}\nvalidation = 0.25\n\
         [[input]]\nname = \"a\"\ntype = \"number\"\n\
         [[output]]\nname = \"b\"\ntype = \"category\"\n\
         [model]\nlayers = [{{ type = \"Dense\", units = 2 }}]\n"
    );
    fs::write(folder.join("recipe.toml"), text).unwrap();
}

fn check(name: &str, bytes: impl AsRef<[u8]>, data: &str) -> Ran {
    let here = folder();
    fs::write(here.path().join(name), bytes).unwrap();
    recipe(here.path(), &format!("path = \"{name}\"\n{data}"));
    limited(here.path(), &["check", "recipe.toml"])
}

#[track_caller]
fn refused(name: &str, bytes: impl AsRef<[u8]>, says: &str) {
    let ran = check(name, bytes, "").ends(3).says(says).quiet();
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
}

/// Rows that make a sound table.
fn rows() -> String {
    (0..40).map(|i| format!("{}.5,{}\n", i, ["x", "y"][i % 2])).collect()
}

fn sound() -> String {
    format!("a,b\n{}", rows())
}

#[test]
fn sound_tables_are_taken() {
    check("t.csv", sound(), "").ends(0);
    check("t.csv", format!("\u{feff}{}", sound().replace('\n', "\r\n")), "").ends(0);
    check("t.csv", sound() + "1\n", "ragged = \"skip\"").ends(0);
    check(
        "t.csv",
        sound().replace('y', "caf\u{e9}").chars().map(|c| c as u8).collect::<Vec<u8>>(),
        "encoding = \"latin1\"",
    )
    .ends(0);
    let lines: String =
        (0..40).map(|i| format!("{{\"a\": {i}, \"b\": \"{}\"}}\n", i % 2)).collect();
    check("t.jsonl", lines, "").ends(0);
}

#[test]
fn c03_to_c06_rows_and_headers() {
    refused("t.csv", sound() + "1,x,2\n", "t.csv: line 42: expected 2 fields");
    refused("t.csv", "", "found an empty file");
    refused("t.csv", "a,b\n", "found none below the names of the columns");
    check("t.csv", sound().trim_end(), "").ends(0);
}

#[test]
fn c08_c09_caps() {
    let open = format!("a,b\n1,\"{}", "x\n".repeat(20 << 20));
    refused("t.csv", open, "t.csv: line 2: expected fields of at most 1048576 bytes");
    let names: Vec<String> = (0..1_000_000).map(|i| format!("c{i}")).collect();
    refused("t.csv", names.join(",") + "\n", "at most 10000 columns");
}

#[test]
fn c10_c11_names() {
    refused("t.csv", sound().replace("a,b", "a,a"), "found `a` for columns 1 and 2");
    refused("t.csv", sound().replace("a,b", "a,"), "found none for column 2");
    let here = folder();
    fs::write(here.path().join("t.csv"), sound().replace("a,b", "a,bb")).unwrap();
    recipe(here.path(), "path = \"t.csv\"");
    let ran = limited(here.path(), &["check", "recipe.toml"]).quiet();
    assert!(matches!(ran.code, Some(2 | 3)), "{ran:?}");
    assert!(ran.err.contains("`bb`"), "the columns that there are: {}", ran.err);
}

#[test]
fn c14_c18_what_is_no_text() {
    refused("t.csv", b"a,b\n1,caf\xe9\n", "it looks like latin1: write encoding = \"latin1\"");
    refused("t.csv", sound().replace("x", "\0"), "expected UTF-8 text");
    refused("t.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "found a PNG picture");
    refused("t.csv", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xff\xff", "a whole gzip stream");
}

#[test]
fn n02_n06_arrays_that_claim_too_much() {
    let npy = |version: u8, length: &[u8], header: &str| {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([version, 0]);
        bytes.extend(length);
        bytes.extend(header.bytes());
        bytes
    };
    refused("t.npy", npy(2, &[0xff; 4], ""), "at most 10000 bytes");
    let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (65536, 65536), }";
    refused("t.npy", npy(1, &[header.len() as u8, 0], header), "34359738368 bytes");
    let header = header.replace("<f8", "|O");
    refused("t.npy", npy(1, &[header.len() as u8, 0], &header), "pickles are programs");
}

/// An archive of a number and a class.
fn arrays(path: &Path, labels: NpyData) {
    let rows = labels.len();
    let a = NpyData::F32((0..rows).map(|i| (i % 7) as f32).collect());
    let [a, b] = [a, labels].map(|data| Npy { shape: vec![rows], data });
    write_npz(path, &[("a", a), ("b", b)]).unwrap();
}

#[test]
fn n12_n15_names_and_labels_of_arrays() {
    let here = folder();
    let path = here.path().join("t.npz");
    arrays(&path, NpyData::I64((0..40).map(|i| i % 2).collect()));
    recipe(here.path(), "path = \"t.npz\"");
    limited(here.path(), &["train", "recipe.toml", "trainer.epochs=1", "--name", "r"]).ends(0);
    let judged = |labels: NpyData| {
        arrays(&here.path().join("new.npz"), labels);
        limited(here.path(), &["evaluate", "r", "--data", "new.npz", "--resamples", "0"])
    };
    // Whole numbers in another type are the same classes.
    judged(NpyData::F32(vec![0.0, 1.0, 1.0])).ends(0);
    for (label, says) in [(1.5, "1.5"), (-1.0, "-1"), (7.0, "7"), (f32::NAN, "found nothing")] {
        let ran = judged(NpyData::F32(vec![0.0, label, 1.0])).ends(3).quiet();
        assert!(ran.err.contains(says) && ran.err.contains('b'), "{label}: {}", ran.err);
    }
    // A name is a name: nothing is written where it points to.
    let (npy, names) = (Npy { shape: vec![1], data: NpyData::U8(vec![1]) }, ["../../x", "/x"]);
    for name in names {
        assert!(write_npz(&path, &[(name, npy.clone())]).is_err());
    }
}

#[test]
fn d04_d09_images_that_claim_too_much() {
    let here = folder();
    let write = |name: &str, bytes: &[u8]| fs::write(here.path().join(name), bytes).unwrap();
    write("t-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 2, 0, 1]);
    recipe(here.path(), "path = \"t-images-idx3-ubyte\"");
    for (bytes, says) in [
        (&[0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 1, 7][..], "found 1 left"),
        (&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 7], "found 1 left"),
        (&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1], "a whole gzip stream"),
    ] {
        write("t-images-idx3-ubyte", bytes);
        limited(here.path(), &["check", "recipe.toml"]).ends(3).says(says).quiet();
    }
}

#[test]
fn folders_and_pipes() {
    let here = folder();
    recipe(here.path(), "path = \"data\"");
    limited(here.path(), &["check", "recipe.toml"]).ends(3).says("data: ").quiet();
    fs::create_dir(here.path().join("data")).unwrap();
    limited(here.path(), &["check", "recipe.toml"]).ends(3).says("no file of data").quiet();
    std::os::unix::fs::symlink("..", here.path().join("data/up")).unwrap();
    limited(here.path(), &["check", "recipe.toml"]).ends(3).says("a link back").quiet();
    recipe(here.path(), "path = \"/dev/zero\"");
    limited(here.path(), &["check", "recipe.toml"]).ends(3).says("a device").quiet();
}
