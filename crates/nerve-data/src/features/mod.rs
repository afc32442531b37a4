//! Features: what a column becomes before the network sees it, and what an output of the network says.
//!
//! A type of feature is one file here and one line in [`registry`]. It is used in three steps:
//!
//! ```text
//! begin ──► Fitting::observe (each row of the training split, and no other) ──► finish ──► Feature
//! Feature::store   (a cell ──► numbers as small as they can be kept: bytes of a picture, a class number)
//! Feature::deliver (stored ──► what the network sees: normalised; in training also augmented)
//! ```
//!
//! All that was learned from the data is in [`Feature::state`], which the model file keeps: prediction restores the
//! feature from it and repeats exactly what training did.

mod audio;
mod binary;
mod category;
pub(crate) mod cell;
mod date;
mod id;
mod image;
mod list;
mod mask;
mod missing;
mod number;
mod propose;
pub(crate) mod scale;
mod sequence;
mod set;
#[cfg(test)]
mod testing;
mod text;
mod timeseries;
mod vector;

pub use cell::Words;
pub use propose::{Proposal, propose, propose_output};
pub use timeseries::PER_SERIES;

use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nerve_formats::Meaning;
use nerve_formats::escape;
use nerve_formats::spec::{Args, Spec};
use serde_json::Value as Json;

pub use mask::IGNORED;

use crate::audio::SpectrumRoom;
use crate::table::augment::Disturbance;
use crate::{Cell, Cells, Column, Element, Random, Slice, Values};

/// Whether a feature goes into the network or is what it should give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It goes in.
    Input,
    /// It should come out.
    Output,
}

/// What every feature is made with, beside its own arguments.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Which way it goes.
    pub role: Role,
    /// The folder that file names in cells start from.
    pub folder: PathBuf,
}

/// Begins to fit a feature.
pub type Begin = fn(&Args, &Setting) -> Result<Box<dyn Fitting>, String>;
/// Makes a feature from what it has learned.
pub type Restore = fn(&Args, &Setting, &Json) -> Result<Arc<dyn Feature>, String>;

/// A type of feature.
pub struct Entry {
    /// Name (`number`) and parameters, without the name of the column.
    pub spec: &'static Spec,
    /// What speaks for this type, from the name of a column and its cells; `None` where the cells cannot be of it.
    pub infer: fn(&Column) -> Option<Guess>,
    /// Begins to learn from the training split.
    pub begin: Begin,
    /// Makes the feature again from what [`Feature::state`] gave.
    pub restore: Restore,
}

/// How well a column fits a type.
#[derive(Clone, Debug, PartialEq)]
pub struct Guess {
    /// From 0 (possible) to 1 (certain): the type with the highest is proposed.
    pub confidence: f64,
    /// In words: `all 891 values are 0 or 1`.
    pub reason: String,
}

/// Learns what a feature must know from the rows of the training split.
pub trait Fitting {
    /// Whether a row is left out of the data set, whatever its part: `missing = "drop"`. It is asked before the splits are
    /// made and rows are observed; a row that is left out is neither observed nor stored.
    fn leaves_out(&self, cells: &Cells, row: usize) -> bool {
        let _ = (cells, row);
        false
    }

    /// Looks at one row.
    ///
    /// # Errors
    /// The cell cannot be of this type, and the recipe does not say what else to do with it.
    fn observe(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal>;

    /// Looks at a row of another column with which it shares what it learns: the tokenizer of a text.
    ///
    /// # Errors
    /// As [`observe`](Fitting::observe).
    fn observe_beside(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        let _ = (cells, row);
        Ok(())
    }

    /// The feature.
    ///
    /// # Errors
    /// What was seen does not suffice: no value at all, one class alone.
    fn finish(self: Box<Self>) -> Result<Arc<dyn Feature>, String>;
}

/// Why a cell was refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// What the feature takes.
    pub expected: String,
    /// What stands there, shortened and escaped.
    pub found: String,
}

impl Refusal {
    /// A refusal of a cell.
    pub fn new(expected: impl Into<String>, cell: Cell<'_>) -> Refusal {
        Refusal { expected: expected.into(), found: describe(cell) }
    }
}

/// The name in a cell, `None` where there is none: the same for `1`, `1.0` and the number 1.
///
/// # Errors
/// The cell holds an array of several values.
pub fn name_of(cell: Cell<'_>) -> Result<Option<Cow<'_, str>>, Refusal> {
    cell::Words::of_names().name(cell)
}

/// A cell as it may stand in a message.
pub fn describe(cell: Cell<'_>) -> String {
    match cell {
        Cell::Missing => "nothing".into(),
        Cell::Text("") => "an empty text".into(),
        Cell::Text(text) => format!("`{}`", escape(text, 60)),
        Cell::Number(number) => number.to_string(),
        Cell::F32(values) => format!("{} values", values.len()),
        Cell::I32(values) => format!("{} values", values.len()),
        Cell::U8(values) => format!("{} values", values.len()),
    }
}

/// A column on its way to the network, with all that was learned about it.
///
/// All of it is a function of the cells, the arguments and the training split: nothing depends on time or threads.
pub trait Feature: Debug + Send + Sync {
    /// Shape and element of a sample as it is kept between the source and the batch. Of a feature that reaches other rows
    /// the first axis is the rows, and [`Feature::store`] writes one of them.
    fn stored(&self) -> (Vec<usize>, Element);

    /// Rows around a sample's own that it needs, relative to it: `0..1` is its own alone, `-24..0` the 24 before. What
    /// reaches other rows is kept in memory.
    fn reach(&self) -> Range<isize> {
        0..1
    }

    /// Whether the stored values of all rows are kept in memory. If not, they are made each time from the cell: files.
    fn kept(&self) -> bool {
        true
    }

    /// Whether a row is left out, as [`Fitting::leaves_out`].
    fn leaves_out(&self, cells: &Cells, row: usize) -> bool {
        let _ = (cells, row);
        false
    }

    /// The same with names of files that start from `folder`, of a feature whose cells may be such: those of the training
    /// data start from where these were.
    fn within(&self, folder: &Path) -> Option<Arc<dyn Feature>> {
        let _ = folder;
        None
    }

    /// Writes the stored values of a row.
    ///
    /// # Errors
    /// The cell cannot be of this type, or its file cannot be read.
    fn store(&self, cells: &Cells, row: usize, out: Slice<'_>) -> Result<(), Refusal>;

    /// Shape and element of what the network sees.
    fn delivered(&self) -> (Vec<usize>, Element) {
        self.stored()
    }

    /// Turns the stored values of a sample into what the network sees. `random` is there while training alone: with it
    /// the sample is augmented. A feature for which `delivers` is false is never asked.
    fn deliver(&self, stored: &Values, out: Slice<'_>, random: Option<Random>, room: &mut Room) {
        let _ = (stored, out, random, room);
        unreachable!("a feature that delivers what is stored");
    }

    /// Whether [`Feature::deliver`] changes anything; if not, stored values go into the batch as they are.
    fn delivers(&self) -> bool {
        false
    }

    /// What is done to its values in a batch of training examples, after [`Feature::deliver`].
    fn disturbance(&self) -> Disturbance {
        Disturbance::default()
    }

    /// What the network must know of it.
    fn meaning(&self) -> Meaning;

    /// All that was learned, for the model file.
    fn state(&self) -> Json;

    /// What should be said to the user about the data that it saw: constant, values replaced, texts cut.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// How it serves as an output; `None` for a type that cannot be one.
    fn output(&self) -> Option<&dyn Output> {
        None
    }
}

/// Memory that is used again from sample to sample.
#[derive(Debug, Default)]
pub struct Room {
    /// Values in between.
    pub f32: Vec<f32>,
    /// More of them.
    pub more: Vec<f32>,
    /// Spectra of sounds.
    pub spectrum: SpectrumRoom,
}

/// What a network gives for a feature.
pub trait Output {
    /// The shape that the network must give for one example, its loss and its metrics unless the recipe says otherwise.
    fn head(&self) -> Head;

    /// The names of the classes, in the order of [`Answer::Classes`]; none for numbers. Of a binary output the no, then
    /// the yes.
    fn classes(&self) -> &[String] {
        &[]
    }

    /// Whether the classes are steps from the least to the greatest.
    fn is_ordered(&self) -> bool {
        false
    }

    /// The probability from which a binary output says yes; it stands in [`Feature::state`] as `threshold`.
    fn threshold(&self) -> Option<f64> {
        None
    }

    /// What the values that the network gave for one example say.
    fn answer(&self, values: &[f32]) -> Answer;

    /// The same where the example has so many steps, of an output that has one value for each: others have none.
    fn answer_steps(&self, values: &[f32], steps: usize) -> Answer {
        let _ = steps;
        self.answer(values)
    }

    /// What a stored target says: the truth beside an answer.
    fn truth(&self, stored: &Values, row: usize) -> Answer;

    /// How it is written token by token; `None` for what is answered at once.
    fn writing(&self) -> Option<&dyn Writing> {
        None
    }
}

/// An output that is written token by token: the network gets what it has written so far.
pub trait Writing {
    /// The token that stands before the first and behind the last.
    fn boundary(&self) -> i32;

    /// The tokens of the beginning of a text, without a boundary.
    fn encode(&self, text: &str) -> Vec<i32>;

    /// The text of tokens up to the first boundary.
    fn decode(&self, tokens: &[i32]) -> String;

    /// What stands before each token of a text that is learned from: one input more of the network.
    fn past(&self) -> Arc<dyn Feature>;
}

/// What a network must give for an output.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The shape for one example.
    pub shape: Vec<usize>,
    /// The name of the loss.
    pub loss: &'static str,
    /// The names of the metrics.
    pub metrics: &'static [&'static str],
}

/// What the network says about one example, in the words and units of the data.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A number in the units of the column.
    Number(f64),
    /// Several numbers in the units of the column: a forecast, a vector, the values of a picture.
    Numbers(Vec<f64>),
    /// Quantiles of several numbers, in the units of the column: a forecast that says how sure it is.
    Quantiles {
        /// The shares below which the truth should lie, rising.
        at: Arc<[f64]>,
        /// For each number its quantiles, which rise: `[numbers, quantiles]`.
        values: Vec<f64>,
    },
    /// How likely each class is, in the order of the names; one entry of 1 for a truth.
    Classes(Vec<f32>),
    /// How likely each name of a set is there, in the order of the names; 0 or 1 for a truth.
    Several(Vec<f32>),
    /// The class of each pixel.
    Pixels(Vec<i32>),
    /// A text.
    Text(String),
}

/// Which of some quantiles is nearest to the median: the one number where one is asked for.
pub fn middle(quantiles: &[f64]) -> usize {
    let distance = |i: &usize| (quantiles[*i] - 0.5).abs();
    (0..quantiles.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0)
}

/// Quantiles as the fields of a table: of each number that nearest to the median under `NAME_STEP`, then all of them under
/// `NAME_STEP_q10` and the like, after the share in percent.
///
/// ```
/// use nerve_data::features::quantile_fields;
/// let fields = quantile_fields("load", &[0.25, 0.5, 0.975], &[1.0, 2.0, 3.0]);
/// let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
/// assert_eq!(names, ["load_1", "load_1_q25", "load_1_q50", "load_1_q97.5"]);
/// assert_eq!(fields[0].1, 2.0);
/// ```
pub fn quantile_fields(name: &str, at: &[f64], values: &[f64]) -> Vec<(String, f64)> {
    let mut fields = Vec::with_capacity(values.len() + values.len() / at.len().max(1));
    for (i, values) in values.chunks_exact(at.len().max(1)).enumerate() {
        let step = format!("{name}_{}", i + 1);
        fields.push((step.clone(), values[middle(at)]));
        // Shares such as 0.07 have no exact value in percent.
        let percent = |share: &f64| (share * 1e5).round() / 1e3;
        let named = at.iter().zip(values).map(|(q, v)| (format!("{step}_q{}", percent(q)), *v));
        fields.extend(named);
    }
    fields
}

/// All types of features.
pub fn registry() -> &'static [Entry] {
    REGISTRY
}

// One a line, so that types which come at the same time do not meet.
#[rustfmt::skip]
static REGISTRY: &[Entry] = &[
    audio::ENTRY,
    binary::ENTRY,
    category::ENTRY,
    date::ENTRY,
    id::ENTRY,
    image::ENTRY,
    mask::ENTRY,
    number::ENTRY,
    sequence::ENTRY,
    set::ENTRY,
    text::ENTRY,
    timeseries::ENTRY,
    vector::ENTRY,
];

/// The type of this name.
pub fn find(name: &str) -> Option<&'static Entry> {
    registry().iter().find(|entry| entry.spec.answers_to(name))
}

/// The descriptions of all types, for the recipe.
pub fn specs() -> Vec<&'static Spec> {
    registry().iter().map(|entry| entry.spec).collect()
}
