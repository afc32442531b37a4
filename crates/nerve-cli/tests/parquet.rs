//! Parquet and Arrow with the binary: `cargo test -p nerve-cli --features parquet --test parquet`.
#![allow(missing_docs)]
#![cfg(feature = "parquet")]

mod common;

use common::{folder, nerve, shell};
use std::fs;
use std::path::Path;

const RECIPE: &str = "\
[data]
path = \"points.csv\"
[[input]]
name = [\"a\", \"b\"]
type = \"number\"
[[output]]
name = \"sign\"
type = \"category\"
[[output]]
name = \"sum\"
type = \"number\"
[trainer]
epochs = 2
";

fn read(here: &Path, name: &str) -> String {
    fs::read_to_string(here.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The lines without the first column, which names the file.
fn answers(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.split_once(',').map_or(line, |(_, rest)| rest)).collect()
}

#[test]
fn answers_are_written_and_data_read_in_both_formats() {
    let here = folder();
    let here = here.path();
    let mut text = "a,b,sign,sum\n".to_string();
    // More than two chunks of rows.
    for i in 0..9000 {
        let (a, b) = (f64::from(i * 37 % 201) / 100.0 - 1.0, f64::from(i * 53 % 199) / 99.0 - 1.0);
        let sign = if a + b > 0.0 { "yes" } else { "no, never" };
        text.push_str(&format!("{a:.2},{b:.2},\"{sign}\",{:.2}\n", a + b));
    }
    fs::write(here.join("points.csv"), text).unwrap();
    fs::write(here.join("points.toml"), RECIPE).unwrap();
    nerve(here, &["train", "points.toml", "--progress", "off"]).ends(0);
    nerve(here, &["predict", "points", "--data", "points.csv", "-o", "plain.csv"]).ends(0);
    let plain = read(here, "plain.csv");
    assert!(plain.starts_with("place,sign,\"sign_p_no, never\",sign_p_yes,sum\n"), "{plain:.80}");
    for ending in ["parquet", "arrow"] {
        let (kept, again) = (format!("kept.{ending}"), format!("again.{ending}.csv"));
        nerve(here, &["predict", "points", "--data", "points.csv", "--keep", "-o", &kept]).ends(0);
        // The data are among the columns: what was written is read as data.
        nerve(here, &["predict", "points", "--data", &kept, "-o", &again]).ends(0);
        assert_eq!(answers(&read(here, &again)), answers(&plain), "{ending}");
        let ran = nerve(here, &["evaluate", "points", "--data", &kept, "--json"]).ends(0);
        assert!(ran.out.contains("\"examples\":9000"), "{}", ran.out);
        let command = format!("cat {kept} | nerve predict points --data - | tail -n 1");
        let piped = shell(here, &command);
        assert_eq!(answers(&piped.out).last(), answers(&plain).last(), "{}", piped.err);
        let path = format!("data.path={kept}");
        nerve(here, &["train", "points.toml", &path, "trainer.epochs=1", "--progress", "off"])
            .ends(0);
    }
    // Answers alone, of the answers themselves.
    nerve(here, &["predict", "points", "--data", "points.csv", "-o", "out.parquet"]).ends(0);
    let stats = nerve(here, &["data", "stats", "out.parquet"]).ends(0);
    assert!(stats.out.contains("sign_p_yes"), "{}", stats.out);
}
