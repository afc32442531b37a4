//! Small tables of points in the plane, and recipes beside them.
#![allow(dead_code, missing_docs)]

use std::fs;
use std::path::Path;

/// Writes `points.csv` with the columns a, b and c, and the recipe `points.toml`.
pub fn write(folder: &Path, recipe: &str, points: impl IntoIterator<Item = (f64, f64, String)>) {
    let mut text = "a,b,c\n".to_string();
    points.into_iter().for_each(|(a, b, c)| text.push_str(&format!("{a},{b},{c}\n")));
    fs::write(folder.join("points.csv"), text).unwrap();
    fs::write(folder.join("points.toml"), recipe).unwrap();
}

/// 240 points of a grid, row by row, and what `c` says of each.
pub fn grid(c: impl Fn(f64, f64) -> String) -> impl Iterator<Item = (f64, f64, String)> {
    let at = |i: u32| f64::from(i) / 8.0 - 1.0;
    (0..240u32).map(move |i| (at(i % 16), at(i / 16), c(at(i % 16), at(i / 16))))
}

/// Random points of the unit square: always the same.
pub fn scattered(
    count: usize,
    c: impl Fn(f64, f64) -> String,
) -> impl Iterator<Item = (f64, f64, String)> {
    let mut state = 1u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24)
    };
    (0..count).map(move |_| {
        let (a, b) = (random(), random());
        (a, b, c(a, b))
    })
}
