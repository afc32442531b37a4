//! The seeds of the fuzz targets, read by the ordinary tests: whole, cut off, with bits flipped.
#![allow(missing_docs)]

#[path = "../../../fuzz/targets.rs"]
mod targets;

use nerve::data::Random;
use std::fs;
use std::path::{Path, PathBuf};

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// So many changed copies of each seed are read.
const COPIES: u64 = 60;

#[test]
fn every_reader_comes_back_from_every_seed() {
    for target in &targets::TARGETS {
        let files = corpus(target.name);
        assert!(!files.is_empty(), "{} has no seeds", target.name);
        for (i, path) in files.iter().enumerate() {
            let bytes = fs::read(path).unwrap();
            (target.run)(&bytes);
            for copy in 0..COPIES {
                let mut random = Random::keyed(&[42, i as u64, copy]);
                let mut changed = bytes.clone();
                if copy % 3 == 0 {
                    changed.truncate(random.below(bytes.len() as u64 + 1) as usize);
                }
                for _ in 0..copy % 4 {
                    if !changed.is_empty() {
                        let at = random.below(changed.len() as u64) as usize;
                        changed[at] ^= 1 << random.below(8);
                    }
                }
                (target.run)(&changed);
            }
        }
    }
}

/// Each target is a program for the fuzzer too.
#[test]
fn every_target_is_built_by_the_fuzzer() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for target in &targets::TARGETS {
        let name = target.name;
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        let program = fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("targets::run(\"{name}\"")), "{name}");
    }
    targets::run("kind", b"");
}
