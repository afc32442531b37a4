//! The rows with the highest loss: where to look first.

use super::answers::{Answers, argmax};
use super::pictures::SCORES;
use super::{Judged, number_text};
use crate::metrics::{Average, Confusion};
use nerve_data::features::describe;
use nerve_data::image_file::{self, Announced, announced};
use nerve_data::{Cell, Cells, Element, Field, Table};

/// A row that was answered badly.
#[derive(Clone, Debug, PartialEq)]
pub struct Worst {
    /// The row of the table, from 0.
    pub row: usize,
    /// Where it stands: `titanic.csv:17`.
    pub place: String,
    /// How bad the answer is.
    pub loss: f64,
    /// What is true.
    pub truth: String,
    /// What was answered.
    pub answer: String,
    /// How likely the answer was held to be, and how likely the truth, if there are probabilities.
    pub probabilities: Option<(f64, f64)>,
    /// The cells of the row with the names of their columns; pictures are not among them.
    pub cells: Vec<(String, String)>,
    /// The pictures of the row.
    pub pictures: Vec<Pixels>,
}

/// A picture that is part of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Pixels {
    /// 1 for grey, 3 for red, green, blue.
    pub channels: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// `[channels, height, width]`.
    pub bytes: Vec<u8>,
}

/// The rows with the highest losses, the worst first; of equal ones the first row first.
pub(super) fn order(losses: &[f64], most: usize) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..losses.len()).collect();
    // What is no number is worst of all.
    let value = |row: &usize| if losses[*row].is_nan() { f64::INFINITY } else { losses[*row] };
    rows.sort_by(|a, b| value(b).total_cmp(&value(a)));
    rows.truncate(most);
    rows
}

/// What is known of a row.
pub(super) fn look(
    table: &Table,
    row: usize,
    answers: &Answers,
    at: usize,
    said: u32,
    loss: f64,
) -> Worst {
    let (truth, answer, probabilities) = told(answers, at, said);
    let (mut cells, mut pictures) = (Vec::new(), Vec::new());
    for column in table.columns() {
        match picture(&column.cells, row) {
            Some(picture) => pictures.push(picture),
            None => cells.push((column.name.clone(), cell_text(column.cells.get(row)))),
        }
    }
    let place = table.place(row);
    Worst { row, place, loss, truth, answer, probabilities, cells, pictures }
}

/// A cell in a file or a table of a report.
pub fn cell_text(cell: Cell<'_>) -> String {
    match cell {
        Cell::Missing => String::new(),
        Cell::Text(text) => text.to_string(),
        Cell::Number(number) => number.to_string(),
        other => describe(other),
    }
}

fn picture(cells: &Cells, row: usize) -> Option<Pixels> {
    let (Cells::Arrays(field, _), Cell::U8(bytes)) = (cells, cells.get(row)) else { return None };
    let (channels, height, width) = match field.shape[..] {
        [height, width] => (1, height, width),
        [channels @ (1 | 3), height, width] => (channels, height, width),
        _ => return None,
    };
    let fits = height > 0 && width > 0 && bytes.len() == channels * height * width;
    fits.then(|| Pixels { channels, height, width, bytes: bytes.to_vec() })
}

/// Longest side of a picture that is read from a file to be shown.
const SIDE: usize = 160;

/// The picture of a row in the first of its columns that names one which can be read, small enough to be shown.
pub(super) fn file_picture(judged: &Judged, row: usize) -> Option<Pixels> {
    let table = &judged.table;
    judged.pictures.iter().find_map(|name| {
        let column = table.columns().iter().find(|column| column.name == *name)?;
        let Cell::Text(file) = column.cells.get(row) else { return None };
        let path = table.origin().folder.join(file);
        let Announced { size: [height, width], coloured } = announced(&path).ok()?;
        let longest = height.max(width).max(1);
        let side = |of: usize| if longest > SIDE { (of * SIDE / longest).max(1) } else { of };
        let (channels, height, width) = (if coloured { 3 } else { 1 }, side(height), side(width));
        let field = Field::new("picture", &[channels, height, width], Element::U8);
        let picture = image_file::read(&path, &field).ok()?;
        Some(Pixels { channels, height, width, bytes: picture.pixels })
    })
}

/// Truth and answer of a row in words; `said` is the predicted class.
pub fn told(answers: &Answers, row: usize, said: u32) -> (String, String, Option<(f64, f64)>) {
    match answers {
        Answers::Classes { names, truth, probabilities } => {
            let (right, said) = (truth[row] as usize, said as usize);
            let p = &probabilities[row * names.len()..][..names.len()];
            let likely = (f64::from(p[said]), f64::from(p[right]));
            (names[right].clone(), names[said].clone(), Some(likely))
        }
        Answers::Numbers { truth, answer } => {
            (number_text(truth[row]), number_text(answer[row]), None)
        }
        Answers::Sets { names, truth, probabilities } => {
            let list = |there: &dyn Fn(usize) -> bool| -> String {
                let first = row * names.len();
                let named = names.iter().enumerate().filter(|(i, _)| there(first + i));
                named.map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(" ")
            };
            (list(&|at| truth[at] == 1), list(&|at| probabilities[at] > 0.5), None)
        }
        Answers::Pictures { scores, .. } => {
            let [mse, mae, psnr, ssim] = [0, 1, 2, 3].map(|i| scores[row * SCORES + i]);
            let (mae, ssim) = (number_text(mae), number_text(ssim));
            let near = if mse == 0.0 { "equal".into() } else { format!("PSNR {psnr:.1} dB") };
            ("a picture".into(), format!("{near}, SSIM {ssim}, mean error {mae}"), None)
        }
        Answers::Texts { truth, answer, .. } => (truth[row].clone(), answer[row].clone(), None),
        Answers::Forecast { horizon: width, truth, answer, .. }
        | Answers::Vectors { width, truth, answer } => {
            let list = |values: &[f64]| -> String {
                let values = &values[row * width..][..*width];
                let texts: Vec<String> = values.iter().map(|&value| number_text(value)).collect();
                texts.join(" ")
            };
            (list(truth), list(answer), None)
        }
        Answers::Masks { names, counts } => {
            let cells = names.len() * names.len();
            let confusion = Confusion::new(&counts[row * cells..][..cells]);
            let shares = |of: &dyn Fn(usize) -> f64| {
                let counts: Vec<f64> = (0..names.len()).map(of).collect();
                let most = argmax(&counts);
                let share = 100.0 * counts[most] / confusion.total().max(1.0);
                format!("{share:.0} % {}", names[most])
            };
            let iou = confusion.average(Average::Macro, |part| part.iou());
            let answer = format!("{}, IoU {iou:.3}", shares(&|c| confusion.predicted(c)));
            (shares(&|c| confusion.actual(c)), answer, None)
        }
    }
}
