//! What is measured of a cell: itself where it is a number or a name, and else a few plain numbers.

use nerve_data::features::{Feature, Words};
use nerve_data::{Cell, Cells, Element, Values};
use nerve_formats::spec::Args;
use std::sync::Arc;

/// What a measurement gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number a row.
    Number,
    /// A name a row.
    Name,
}

/// What was measured of a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading<'a> {
    /// There is nothing.
    Missing,
    /// What is there is nothing of this type.
    Refused,
    /// A number.
    Number(f64),
    /// A name.
    Name(&'a str),
}

/// How a column is measured.
#[derive(Clone, Debug)]
pub enum Gauge {
    /// The numbers themselves.
    Number(Words),
    /// The names themselves.
    Name(Words),
    /// Characters and words of a text, and the share of its characters that are neither letters nor white space.
    Text,
    /// How many things a cell lists.
    Items,
    /// Mean and standard deviation of what a feature stores of a cell: pixels, samples or spectra of a sound, vectors.
    Stored(Arc<dyn Feature>),
}

impl Gauge {
    /// How a column of this type is measured; `None` for types that are not: dates, which move on by themselves, and masks.
    pub fn of(kind: &str, args: &Args, feature: Option<&Arc<dyn Feature>>) -> Option<Gauge> {
        Some(match kind {
            "number" | "timeseries" => Gauge::Number(Words::of(args)),
            "category" | "binary" | "id" => Gauge::Name(Words::of(args)),
            "text" => Gauge::Text,
            "set" | "sequence" => Gauge::Items,
            "image" | "audio" | "vector" => Gauge::Stored(feature?.clone()),
            _ => return None,
        })
    }

    /// What is measured: the end of its name, and of what kind it is.
    pub fn aspects(&self) -> &'static [(&'static str, Kind)] {
        match self {
            Gauge::Number(_) => &[("", Kind::Number)],
            Gauge::Name(_) => &[("", Kind::Name)],
            Gauge::Text => &[
                (".characters", Kind::Number),
                (".words", Kind::Number),
                (".non_letters", Kind::Number),
            ],
            Gauge::Items => &[(".items", Kind::Number)],
            Gauge::Stored(feature) if feature.stored().1 == Element::U8 => {
                &[(".brightness", Kind::Number), (".contrast", Kind::Number)]
            }
            Gauge::Stored(_) => &[(".level", Kind::Number), (".spread", Kind::Number)],
        }
    }

    /// Whether a measurement may read a file.
    pub fn costly(&self) -> bool {
        matches!(self, Gauge::Stored(_))
    }

    /// Measures the cell of a row; `each` gets the number of the aspect and what was found.
    ///
    /// # Panics
    /// Without such a row.
    pub fn read(&self, cells: &Cells, row: usize, mut each: impl FnMut(usize, Reading<'_>)) {
        let cell = cells.get(row);
        match self {
            Gauge::Number(words) => each(
                0,
                match words.number(cell) {
                    Ok(Some(number)) => Reading::Number(number),
                    Ok(None) => Reading::Missing,
                    Err(_) => Reading::Refused,
                },
            ),
            Gauge::Name(words) => match words.name(cell) {
                Ok(Some(name)) => each(0, Reading::Name(&name)),
                Ok(None) => each(0, Reading::Missing),
                Err(_) => each(0, Reading::Refused),
            },
            Gauge::Text => self.all(of_text(cell), each),
            Gauge::Items => self.all(items(cell).map(|items| [items]), each),
            Gauge::Stored(feature) => self.all(of_stored(&**feature, cells, row), each),
        }
    }

    fn all<const N: usize>(
        &self,
        found: Result<[f64; N], Reading<'static>>,
        mut each: impl FnMut(usize, Reading<'_>),
    ) {
        match found {
            Ok(numbers) => {
                numbers.into_iter().enumerate().for_each(|(at, x)| each(at, Reading::Number(x)));
            }
            Err(none) => (0..self.aspects().len()).for_each(|at| each(at, none)),
        }
    }
}

fn text(cell: Cell<'_>) -> Result<&str, Reading<'static>> {
    match cell {
        Cell::Missing | Cell::Text("") => Err(Reading::Missing),
        Cell::Text(text) => Ok(text),
        _ => Err(Reading::Refused),
    }
}

fn of_text(cell: Cell<'_>) -> Result<[f64; 3], Reading<'static>> {
    let text = text(cell)?;
    let characters = text.chars().count();
    let other = text.chars().filter(|c| !c.is_alphabetic() && !c.is_whitespace()).count();
    let share = other as f64 / characters.max(1) as f64;
    Ok([characters as f64, text.split_whitespace().count() as f64, share])
}

fn items(cell: Cell<'_>) -> Result<f64, Reading<'static>> {
    let between = |c: char| c.is_whitespace() || "|;,/[]\"".contains(c);
    Ok(text(cell)?.split(between).filter(|item| !item.is_empty()).count() as f64)
}

fn of_stored(
    feature: &dyn Feature,
    cells: &Cells,
    row: usize,
) -> Result<[f64; 2], Reading<'static>> {
    if matches!(cells.get(row), Cell::Missing | Cell::Text("")) {
        return Err(Reading::Missing);
    }
    let (shape, element) = feature.stored();
    let len: usize = shape.iter().product();
    let mut values = Values::zeros(element, len);
    feature.store(cells, row, values.slice(0, len)).map_err(|_| Reading::Refused)?;
    let [mean, deviation] = match &values {
        Values::F32(values) => moments(values.iter().map(|&x| f64::from(x))),
        Values::U8(values) => moments(values.iter().map(|&x| f64::from(x) / 255.0)),
        Values::I32(values) => moments(values.iter().map(|&x| f64::from(x))),
    };
    match mean.is_finite() && deviation.is_finite() {
        true => Ok([mean, deviation]),
        false => Err(Reading::Refused),
    }
}

fn moments(values: impl ExactSizeIterator<Item = f64>) -> [f64; 2] {
    let count = values.len().max(1) as f64;
    let (sum, squares) = values.fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    let mean = sum / count;
    [mean, (squares / count - mean * mean).max(0.0).sqrt()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(texts: &[Option<&str>]) -> Cells {
        Cells::Text(texts.iter().copied().collect())
    }

    fn read(gauge: &Gauge, cells: &Cells, row: usize) -> Vec<String> {
        let mut found = Vec::new();
        gauge.read(cells, row, |at, reading| found.push(format!("{at} {reading:?}")));
        found
    }

    #[test]
    fn c12_cells_that_are_no_numbers_are_told_from_missing_ones() {
        let cells = cells(&[Some(" 1.5"), Some("NA"), None, Some("1e999"), Some("x")]);
        let gauge = Gauge::Number(Words::of_numbers());
        let all: Vec<String> = (0..5).flat_map(|row| read(&gauge, &cells, row)).collect();
        assert_eq!(all, ["0 Number(1.5)", "0 Missing", "0 Missing", "0 Refused", "0 Refused"]);
    }

    #[test]
    fn names_texts_and_lists_are_measured() {
        let cells =
            cells(&[Some("2.0"), Some("no 7 is \u{e9}!"), Some("[\"a\", \"b\"]"), Some("")]);
        assert_eq!(read(&Gauge::Name(Words::of_names()), &cells, 0), ["0 Name(\"2\")"]);
        assert_eq!(
            read(&Gauge::Text, &cells, 1),
            ["0 Number(10.0)", "1 Number(4.0)", "2 Number(0.2)"]
        );
        assert_eq!(read(&Gauge::Items, &cells, 2), ["0 Number(2.0)"]);
        assert_eq!(read(&Gauge::Text, &cells, 3), ["0 Missing", "1 Missing", "2 Missing"]);
    }
}
