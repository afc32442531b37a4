//! How fast a file becomes a table, on one core: `cargo run --release -p nerve-data --example read_table FILE`.
//!
//! Without a file it makes one: a million rows of numbers, words and a quoted text.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use nerve_data::Random;
use nerve_data::source::{self, Options};

fn made() -> std::io::Result<PathBuf> {
    let path = std::env::temp_dir().join("nerve-read-table.csv");
    if !path.exists() {
        let mut random = Random::keyed(&[1]);
        let mut text = String::from("id,age,income,city,rating,note\n");
        let cities = ["Berlin", "Paris", "S\u{e3}o Paulo", "Rome"];
        for id in 0..1_000_000 {
            let (age, city) = (random.below(90), cities[random.below(4) as usize]);
            let (income, rating) = (random.below(9_000_000) as f64 / 100.0, random.below(5));
            let line = format!("{id},{age},{income},{city},{rating},\"likes tea, and cake\"");
            let _ = writeln!(text, "{line}");
        }
        std::fs::write(&path, text)?;
    }
    Ok(path)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = match std::env::args_os().nth(1) {
        Some(path) => path.into(),
        None => made()?,
    };
    let megabytes = std::fs::metadata(&path)?.len() as f64 / 1e6;
    let options = Options::default();
    for _ in 0..3 {
        let start = Instant::now();
        let table = source::read(&path, &options)?;
        let whole = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let mut chunks = source::open(&path, &options)?.chunks()?;
        let mut rows = 0;
        while let Some(table) = chunks.next(10_000)? {
            rows += table.rows();
        }
        let pieces = start.elapsed().as_secs_f64();
        assert_eq!(rows, table.rows());
        println!(
            "{rows} rows of {} columns, {megabytes:.0} MB: {:.0} MB/s as a table, {:.0} MB/s in chunks",
            table.columns().len(),
            megabytes / whole,
            megabytes / pieces
        );
    }
    Ok(())
}
