//! A table of numbers as a table of colours.

use super::svg::{Anchor, Svg};

/// A heat map: the colour of a cell is its share of its row, its text the number itself. `sides` are what
/// rows and columns are, as `actual` and `predicted`. Beyond 16 columns there are no numbers, beyond 40
/// no names.
///
/// # Panics
/// If the numbers are not a square of the names.
pub fn heat_map(title: &str, sides: [&str; 2], names: &[String], numbers: &[f64]) -> String {
    let n = names.len();
    assert!(numbers.len() == n * n, "{} numbers for {n} names", numbers.len());
    let cell = (420.0 / n.max(1) as f64).clamp(3.0, 64.0);
    let (named, numbered) = (n <= 40, n <= 16);
    let longest = names.iter().map(|name| short(name).chars().count()).max().unwrap_or(0);
    let margin = if named { 34.0 + 6.8 * longest as f64 } else { 30.0 };
    // Names of columns stand upright where they do not fit side by side.
    let upright = named && 6.8 * longest as f64 > cell - 4.0;
    let top = 30.0 + if upright { 6.8 * longest as f64 + 26.0 } else { 40.0 };
    let (width, height) = (margin + cell * n as f64 + 10.0, top + cell * n as f64 + 10.0);
    let mut svg = Svg::new(width.max(200.0), height, title);
    svg.text("title", (6.0, 16.0), Anchor::Start, title);
    let middle = cell * n as f64 / 2.0;
    svg.text("soft", (margin + middle, 36.0), Anchor::Middle, sides[1]);
    svg.upwards("soft", (14.0, top + middle), sides[0]);
    for (i, row) in numbers.chunks_exact(n.max(1)).enumerate() {
        let sum: f64 = row.iter().sum();
        let y = top + cell * i as f64;
        if named {
            let at = y + cell / 2.0 + 4.0;
            svg.text("", (margin - 6.0, at), Anchor::End, &short(&names[i]));
            let x = margin + cell * i as f64 + cell / 2.0;
            match upright {
                true => {
                    let up = 6.8 * short(&names[i]).chars().count() as f64 / 2.0;
                    svg.upwards("", (x + 4.0, top - 6.0 - up), &short(&names[i]));
                }
                false => svg.text("", (x, top - 6.0), Anchor::Middle, &short(&names[i])),
            }
        }
        for (j, &number) in row.iter().enumerate() {
            let share = if sum > 0.0 { number / sum } else { 0.0 };
            let x = margin + cell * j as f64;
            svg.rect("cell heat", [x, y, cell, cell], 0.04 + 0.96 * share);
            if numbered && number > 0.0 {
                let at = (x + cell / 2.0, y + cell / 2.0 + 4.0);
                let class = if share > 0.55 { "over" } else { "" };
                svg.text(class, at, Anchor::Middle, &count_text(number));
            }
        }
    }
    svg.finish()
}

fn short(name: &str) -> String {
    match name.chars().count() {
        0..=16 => name.to_string(),
        _ => name.chars().take(15).chain(['…']).collect(),
    }
}

/// Large counts with a letter: cells are narrow.
fn count_text(number: f64) -> String {
    match number {
        n if n >= 1e7 => format!("{:.0}M", n / 1e6),
        n if n >= 1e5 => format!("{:.0}k", n / 1e3),
        n => format!("{n}"),
    }
}
