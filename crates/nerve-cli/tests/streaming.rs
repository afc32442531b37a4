//! A table that is larger than the memory it may take.
#![cfg(target_os = "linux")]
#![allow(missing_docs)]

mod common;

use common::{Ran, folder};
use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

/// Some 300 MB: a number, a class that follows from it, an id, and a text that nobody asked for.
fn write_table(path: &std::path::Path) -> u64 {
    let mut file = File::create(path).unwrap();
    file.write_all(b"id,a,y,text\n").unwrap();
    let text = "lorem ipsum dolor sit amet ".repeat(30);
    let (mut block, mut id) = (String::new(), 0);
    for _ in 0..300 {
        block.clear();
        while block.len() < 1 << 20 {
            let a = id * 7919 % 1000;
            block += &format!("{id},{a},{},{text}\n", ["low", "high"][usize::from(a > 500)]);
            id += 1;
        }
        file.write_all(block.as_bytes()).unwrap();
    }
    id
}

#[test]
fn a_table_of_300_mb_trains_within_200() {
    let here = folder();
    let rows = write_table(&here.path().join("t.csv"));
    let recipe = "[data]\npath = \"t.csv\"\nstream = true\n\
                  split = { type = \"hash\", column = \"id\", fractions = [0.98, 0.01, 0.01] }\n\
                  [[input]]\nname = \"a\"\ntype = \"number\"\n\
                  [[output]]\nname = \"y\"\ntype = \"binary\"\n\
                  [trainer]\nepochs = 1\nbatch_size = 512\noptimizer = { type = \"adam\", lr = 0.01 }\n";
    fs::write(here.path().join("r.toml"), recipe).unwrap();
    let nerve = |args: &str| {
        let line = format!("ulimit -v 204800 && exec timeout 120 \"$NERVE\" {args}");
        let mut shell = Command::new("sh");
        shell.current_dir(here.path()).args(["-c", &line]);
        // What an allocator reserves for threads that may come is no memory of the data.
        shell.env("MALLOC_ARENA_MAX", "1").env("NERVE_THREADS", "1");
        shell.env("NERVE", env!("CARGO_BIN_EXE_nerve"));
        Ran::of(shell.output().unwrap())
    };
    let ran = nerve("train r.toml --json").ends(0);
    let result: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert!(result["test_loss"].as_f64().unwrap() < 0.3, "{result}");
    let steps = result["steps"].as_u64().unwrap();
    assert!((steps as f64 * 512.0 / rows as f64 - 0.98).abs() < 0.01, "{steps} steps, {rows} rows");
    let ran = nerve("evaluate r --resamples 10 --json").ends(0).says("no baseline");
    let result: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert!(result["accuracy"].as_f64().unwrap() > 0.95, "{result}");
    // The same without `stream` does not fit.
    let ran = nerve("train r.toml data.stream=false");
    assert!(![Some(0), Some(2)].contains(&ran.code), "{}", ran.err);
}
