//! Texts that a model writes or continues, and tags of steps, beside those that it should have.

use crate::data::Rows;
use crate::predictor::{ModelError, Predictor};
use crate::writing::Known;
use nerve_data::features::{Answer, Writing};
use nerve_data::{DataError, Element, Table, Values};
use nerve_train::TrainError;
use nerve_train::judge::{Answers, Baseline, Judgeable, Judged, TextSort, cell_text};

impl Predictor {
    /// As [`judged`](Predictor::judged), for an output of tokens. What is true is the text as it stands in the table.
    pub(super) fn judged_texts(
        &self,
        part: &str,
        rows: &Rows,
        train: Option<&Rows>,
    ) -> Result<Judged, ModelError> {
        let features = self.features();
        let (column, writing) = (&features.outputs[0].column.name, self.writing());
        let sort = match (writing.is_some(), features.asked) {
            (true, 0) => TextSort::Continued,
            (true, _) => TextSort::Written,
            (false, _) => TextSort::Tagged,
        };
        let rows = &self.samples(rows, true)?;
        let truth = texts(&rows.table, column, &rows.rows)?;
        let mut answer = vec![String::new(); truth.len()];
        if sort != TextSort::Continued {
            let mut next = answer.iter_mut();
            self.answers(rows, false, |said| {
                if let (Some(place), [Answer::Text(text)]) = (next.next(), &said.answers[..]) {
                    place.clone_from(text);
                }
                Ok(())
            })?;
        }
        let longest = features.outputs[0].feature.stored().0[0];
        let letters = |text: &String| writing.map_or(f64::NAN, |it| letters(it, text, longest));
        let letters: Vec<f64> = truth.iter().map(letters).collect();
        let known = numbers(&self.known(rows)?, &letters);
        let answers = Answers::Texts { truth, answer, known, sort };
        if answers.rows() == 0 {
            return Err(DataError::Empty { what: part.into() }.into());
        }
        let mut judgeable = Judgeable::new(column, answers);
        let source = features.inputs.iter().find(|it| it.column.feature.name == "text");
        if let (TextSort::Written, Some(source)) = (sort, source) {
            let copied = texts(&rows.table, &source.column.name, &rows.rows)?;
            judgeable.baselines.push(Baseline::copied(copied));
        }
        if let Some(train) = train {
            let known = numbers(&self.unigram(train, rows)?, &letters);
            judgeable.baselines.push(Baseline::unigram(known));
        }
        let (table, rows) = (rows.table.clone(), rows.rows.clone());
        let outputs = vec![judgeable];
        Ok(Judged { part: part.into(), table, rows, pictures: Vec::new(), outputs })
    }

    /// How well the network knows the texts of rows.
    fn known(&self, rows: &Rows) -> Result<Vec<Known>, ModelError> {
        let loader = self.loader(rows, self.features().slots.clone())?;
        let (mut knowing, mut all) = (self.knowing(), Vec::with_capacity(rows.rows.len()));
        for batch in loader.epoch(0, 0) {
            all.extend(knowing.of(&batch.map_err(TrainError::from)?)?);
        }
        Ok(all)
    }

    /// How well one knows them who knows how frequent each token is in the training rows. Of tokens that never stand there
    /// each counts as one that does once.
    fn unigram(&self, train: &Rows, rows: &Rows) -> Result<Vec<Known>, ModelError> {
        let mut counts: Vec<f64> = Vec::new();
        self.tokens(train, |tokens| {
            for &token in tokens {
                let token = token as usize;
                counts.resize(counts.len().max(token + 1), 0.0);
                counts[token] += 1.0;
            }
        })?;
        let all: f64 = counts.iter().map(|count| count.max(1.0)).sum();
        let likeliest =
            (1..counts.len()).fold(0, |best, i| if counts[i] > counts[best] { i } else { best });
        let mut known = Vec::with_capacity(rows.rows.len());
        self.tokens(rows, |tokens| {
            let share =
                |token: i32| counts.get(token as usize).map_or(1.0, |count| count.max(1.0)) / all;
            known.push(Known {
                surprise: tokens.iter().map(|&token| -share(token).ln()).sum(),
                tokens: tokens.len() as f64,
                right: tokens.iter().filter(|&&token| token as usize == likeliest).count() as f64,
            });
        })?;
        Ok(known)
    }

    /// The tokens of the texts of rows, one row after the other.
    fn tokens(&self, rows: &Rows, mut each: impl FnMut(&[i32])) -> Result<(), ModelError> {
        let output = &self.features().outputs[0];
        let cells = &rows.table.column(&output.column.name)?.cells;
        let longest = output.feature.stored().0[0];
        let mut stored = Values::zeros(Element::I32, longest);
        for &row in &rows.rows {
            let refused = output.feature.store(cells, row, stored.slice(0, longest));
            refused.map_err(|refusal| rows.table.refuse(row, &output.column.name, refusal))?;
            let Values::I32(tokens) = &stored else { unreachable!("tokens are stored as i32") };
            let end = tokens.iter().position(|&token| token == 0).unwrap_or(longest);
            each(&tokens[..end]);
        }
        Ok(())
    }
}

/// The texts of a column as they stand in the table.
fn texts(table: &Table, column: &str, rows: &[usize]) -> Result<Vec<String>, DataError> {
    let cells = &table.column(column)?.cells;
    Ok(rows.iter().map(|&row| cell_text(cells.get(row))).collect())
}

/// How many characters of a text its first tokens are.
fn letters(writing: &dyn Writing, text: &str, longest: usize) -> f64 {
    let (letters, tokens) = (text.chars().count() as f64, writing.encode(text).len());
    letters * tokens.min(longest) as f64 / tokens.max(1) as f64
}

fn numbers(known: &[Known], letters: &[f64]) -> Vec<f64> {
    let each = known.iter().zip(letters);
    each.flat_map(|(it, &letters)| [it.surprise, it.tokens, it.right, letters]).collect()
}
