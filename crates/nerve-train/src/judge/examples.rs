//! Judged rows one by one, for those who look at them.

use super::answers::Answers;
use super::files::file_word;
use super::worst::{cell_text, file_picture, look, order};
use super::{Judgeable, Judged};
use crate::picture;
use nerve_data::Cell;
use nerve_formats::{FormatError, write_atomic};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;

/// Most rows of a file; the worst come first.
const ROWS: usize = 20_000;
/// Most pictures of rows with the same truth and the same answer, and of all.
const ALIKE: usize = 24;
const PICTURES: usize = 1000;
/// Most of these that are read from files, which takes longer.
const FILES: usize = 200;
/// Longest text of a row, in characters.
const TEXT: usize = 400;

/// Writes `PART-examples.jsonl` into a folder, the worst rows first, and pictures of them into `PART/`.
///
/// ```text
/// {"row":17,"where":"titanic.csv:18","output":"Survived","truth":"yes","said":"no","p":0.91,"loss":2.4,"text":"Age = 22 · Sex = male"}
/// ```
///
/// # Errors
/// One of the files cannot be written.
pub fn write_examples(folder: &Path, judged: &Judged) -> Result<(), FormatError> {
    let part = file_word(&judged.part);
    let mut examples = Examples { folder, part: &part, judged, pictures: HashMap::new(), drawn: 0 };
    let mut lines = String::new();
    for output in &judged.outputs {
        examples.output(output, &mut lines)?;
    }
    let path = folder.join(format!("{part}-examples.jsonl"));
    write_atomic(path, |file| file.write_all(lines.as_bytes()))
}

struct Examples<'a> {
    folder: &'a Path,
    part: &'a str,
    judged: &'a Judged,
    /// How many there are of each output, truth and answer.
    pictures: HashMap<(String, String, String), usize>,
    drawn: usize,
}

impl Examples<'_> {
    fn output(&mut self, output: &Judgeable, lines: &mut String) -> Result<(), FormatError> {
        let own = || output.answers.losses();
        let losses = output.losses.clone().unwrap_or_else(own);
        let predicted = output.answers.predicted(output.threshold.value);
        for at in order(&losses, ROWS) {
            let said = predicted.get(at).copied().unwrap_or(0);
            lines.push_str(&self.line(output, at, said, losses[at])?);
            lines.push('\n');
        }
        Ok(())
    }

    fn line(
        &mut self,
        output: &Judgeable,
        at: usize,
        said: u32,
        loss: f64,
    ) -> Result<String, FormatError> {
        let (table, row) = (&self.judged.table, self.judged.rows[at]);
        let worst = look(table, row, &output.answers, at, said, loss);
        let mut line = Map::new();
        let mut put = |key: &str, value: Value| drop(line.insert(key.into(), value));
        put("row", json!(row));
        put("where", json!(worst.place));
        put("output", json!(output.name));
        put("truth", json!(worst.truth));
        put("said", json!(worst.answer));
        // JSON has no word for what is no number.
        put("loss", json!(loss));
        if let (Answers::Classes { .. }, Some((likely, _))) = (&output.answers, worst.probabilities)
        {
            put("p", json!(likely));
        }
        let cells = table.columns().iter().map(|column| (&column.name, column.cells.get(row)));
        let words: Vec<String> = cells
            .filter(|(_, cell)| matches!(cell, Cell::Text(_) | Cell::Number(_)))
            .map(|(name, cell)| format!("{name} = {}", cell_text(cell)))
            .collect();
        if !words.is_empty() {
            put("text", json!(words.join(" · ").chars().take(TEXT).collect::<String>()));
        }
        if !worst.pictures.is_empty() || !self.judged.pictures.is_empty() {
            let kind = (output.name.clone(), worst.truth.clone(), worst.answer.clone());
            let alike = self.pictures.entry(kind).or_default();
            let wanted = *alike < ALIKE && self.drawn < PICTURES;
            let file = || (self.drawn < FILES).then(|| file_picture(self.judged, row)).flatten();
            let own = || worst.pictures.first().cloned().or_else(file);
            if let Some(pixels) = wanted.then(own).flatten() {
                (*alike, self.drawn) = (*alike + 1, self.drawn + 1);
                let name = format!("{row:06}.png");
                put("picture", json!(format!("eval/{}/{name}", self.part)));
                self.draw(&name, &pixels)?;
            }
        }
        Ok(Value::Object(line).to_string())
    }

    fn draw(&self, name: &str, pixels: &super::Pixels) -> Result<(), FormatError> {
        let folder = self.folder.join(self.part);
        let fail = |error| FormatError::io(folder.join(name), "cannot write", &error);
        std::fs::create_dir_all(&folder).map_err(fail)?;
        let png = picture::encode(pixels.channels, pixels.height, pixels.width, &pixels.bytes);
        // A thousand of them are not synced one by one: a picture that is lost is drawn again.
        std::fs::write(folder.join(name), png).map_err(fail)
    }
}
