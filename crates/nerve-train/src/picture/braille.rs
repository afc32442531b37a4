//! Charts as characters: each a block of two by four dots.

use super::chart::{Chart, Mark, tick_text};

/// The bit of each dot of a character of braille, by row and column (Unicode, block U+2800).
const DOTS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
/// Escape sequences of the four colours.
const COLOURS: [&str; 4] = ["\x1b[34m", "\x1b[33m", "\x1b[32m", "\x1b[35m"];

struct Grid {
    columns: usize,
    rows: usize,
    /// For each character its dots, and the line that was drawn there last.
    cells: Vec<(u8, usize)>,
}

impl Grid {
    fn dot(&mut self, x: usize, y: usize, line: usize) {
        let cell = &mut self.cells[y / 4 * self.columns + x / 2];
        *cell = (cell.0 | DOTS[y % 4][x % 2], line);
    }

    /// A straight line between two dots.
    fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), line: usize) {
        let steps = (x2 - x1).abs().max((y2 - y1).abs()).ceil().max(1.0);
        for i in 0..=steps as usize {
            let share = i as f64 / steps;
            let x = (x1 + (x2 - x1) * share).round() as usize;
            let y = (y1 + (y2 - y1) * share).round() as usize;
            self.dot(x.min(2 * self.columns - 1), y.min(4 * self.rows - 1), line);
        }
    }
}

impl Chart {
    /// The lines of the chart for a terminal, `columns` wide and `rows` high with its axes, at least 30 by 6;
    /// with escape sequences for colours if they are welcome. Below stand the names of the lines.
    ///
    /// ```
    /// use nerve_train::picture::{Axis, Chart};
    /// let line: Vec<(f64, f64)> = (0..50).map(|i| (i as f64, (50 - i) as f64)).collect();
    /// let chart = Chart::new("", Axis::of("step", [0.0, 49.0]), Axis::of("loss", [0.0, 50.0]));
    /// let text = chart.line(0, "training", &line).terminal(40, 10, false);
    /// assert_eq!(text.lines().count(), 11);
    /// ```
    pub fn terminal(&self, columns: usize, rows: usize, colour: bool) -> String {
        let rows = rows.max(6) - 2;
        let labels: Vec<(f64, String)> =
            self.y.ticks(rows / 3).into_iter().map(|y| (y, tick_text(y))).collect();
        let margin = labels.iter().map(|(_, label)| label.chars().count()).max().unwrap_or(0);
        let columns = columns.max(30).saturating_sub(margin + 2).max(10);
        let grid = self.grid(columns, rows);
        let mut text = String::new();
        for row in 0..rows {
            let at = |y: f64| ((1.0 - self.y.share(y)) * (rows - 1) as f64).round() as usize;
            let label = labels.iter().find(|(y, _)| at(*y) == row);
            let (label, tick) = label.map_or(("", '│'), |(_, label)| (label.as_str(), '┤'));
            text.push_str(&format!("{label:>margin$} {tick}"));
            let cells = &grid.cells[row * columns..(row + 1) * columns];
            let end = cells.iter().rposition(|(dots, _)| *dots != 0).map_or(0, |last| last + 1);
            cells[..end].iter().for_each(|cell| text.push_str(&character(*cell, colour)));
            text.push('\n');
        }
        text.push_str(&self.below_axis(margin, columns));
        for (line, name) in self.marks.iter().filter_map(name) {
            text.push_str(&format!("{:margin$}  {} {name}\n", "", painted("⠒⠒", line, colour)));
        }
        text
    }

    fn grid(&self, columns: usize, rows: usize) -> Grid {
        let mut grid = Grid { columns, rows, cells: vec![(0, 0); columns * rows] };
        let drawn = |(x, y): &&(f64, f64)| self.x.takes(*x) && self.y.takes(*y);
        for mark in &self.marks {
            let Mark::Line(line, _, points) = mark else { continue };
            let place = |(x, y): (f64, f64)| {
                let (width, height) = ((2 * columns - 1) as f64, (4 * rows - 1) as f64);
                (self.x.share(x) * width, (1.0 - self.y.share(y)) * height)
            };
            let places: Vec<_> = points.iter().filter(drawn).map(|&point| place(point)).collect();
            if let [only] = places[..] {
                grid.line(only, only, *line);
            }
            places.windows(2).for_each(|pair| grid.line(pair[0], pair[1], *line));
        }
        grid
    }

    /// The horizontal axis with its two ends.
    fn below_axis(&self, margin: usize, columns: usize) -> String {
        let (low, high) = self.x.range();
        let (low, high, label) = (tick_text(low), tick_text(high), self.x.label());
        let used = low.chars().count() + high.chars().count() + label.chars().count();
        let gap = columns.saturating_sub(used) / 2;
        let axis = "─".repeat(columns);
        let label = format!("{low}{:gap$}{label}{:gap$}{high}", "", "");
        format!("{:margin$} └{axis}\n{:margin$}  {label}\n", "", "")
    }
}

fn name(mark: &Mark) -> Option<(usize, &str)> {
    match mark {
        Mark::Line(line, name, _) if !name.is_empty() => Some((*line, name)),
        _ => None,
    }
}

fn character((dots, line): (u8, usize), colour: bool) -> String {
    match char::from_u32(0x2800 + u32::from(dots)) {
        Some(character) if dots != 0 => painted(&character.to_string(), line, colour),
        _ => " ".into(),
    }
}

fn painted(text: &str, line: usize, colour: bool) -> String {
    match colour {
        true => format!("{}{text}\x1b[0m", COLOURS[line % 4]),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Axis;

    #[test]
    fn a_falling_line_falls() {
        let line = [(0.0, 1.0), (10.0, 0.0)];
        let axis = |label: &str, to| Axis::of(label, [0.0, to]);
        let chart = Chart::new("", axis("step", 10.0), axis("loss", 1.0)).line(0, "a", &line);
        let text = chart.terminal(30, 6, false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 7, "{text}");
        assert!(lines[0].starts_with("1 ┤⠉⠒⠒") && lines[3].starts_with("0 ┤"), "{text}");
        assert!(lines[3].ends_with("⠤⠤⣀"), "{text}");
        assert!(lines[5].contains("step") && lines[5].ends_with("10"), "{text}");
        assert!(lines[6].ends_with("⠒⠒ a"));
        assert!(lines.iter().all(|line| line.chars().count() <= 31), "{text}");
        assert!(chart.terminal(30, 6, true).contains("\x1b[34m"));
        // Nothing to draw is no reason to fail.
        let empty = Chart::new("", axis("x", f64::NAN), axis("y", f64::NAN));
        let nothing = empty.line(5, "b", &[(f64::NAN, 1.0), (0.5, 0.5)]).terminal(0, 0, false);
        assert_eq!(nothing.lines().count(), 7);
    }
}
