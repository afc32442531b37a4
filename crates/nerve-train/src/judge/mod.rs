//! Judging a network by its answers: every score that suits, beside what would be answered without a
//! network, and how far chance could move it.
//!
//! ```text
//! rows of a table + truths and answers ──► judge ──► Verdict ──► JSON, CSV, a page (HTML)
//! ```
//!
//! | place | what lives there |
//! |---|---|
//! | [`Answers`] | truths and answers of an output, row by row |
//! | [`Baseline`] | what would be answered without a network |
//! | [`judge`], [`Verdict`] | all scores with their intervals, slices, confusion, curves, worst rows |
//! | [`compare`] | two networks on the same rows |
//! | [`Rule`], [`Threshold`] | where yes begins, chosen on the validation part |
//! | [`Gate`] | what must be reached: `accuracy >= 0.97` |
//! | [`files`], [`page`] | how it is written down |
//!
//! How each number is computed stands in `docs/evaluation.md`.
//!
//! ```
//! use nerve_data::{Cells, Column, Origin, Table};
//! use nerve_train::judge::{Answers, Baseline, Judged, Judgeable, Options, judge};
//! use std::sync::Arc;
//!
//! let answers = Answers::Classes {
//!     names: ["no".to_string(), "yes".to_string()].into(),
//!     truth: vec![0, 0, 1, 1],
//!     probabilities: vec![0.9, 0.1, 0.6, 0.4, 0.65, 0.35, 0.2, 0.8],
//! };
//! let sex = Cells::Text(["m", "f", "m", "f"].map(Some).into_iter().collect());
//! let table = Table::new(vec![Column { name: "sex".into(), cells: sex }], Origin::default())?;
//! let judged = Judged {
//!     part: "test".into(),
//!     table: Arc::new(table),
//!     rows: vec![0, 1, 2, 3],
//!     pictures: Vec::new(),
//!     outputs: vec![Judgeable {
//!         baselines: vec![Baseline::majority(&[3, 1])],
//!         ..Judgeable::new("survived", answers)
//!     }],
//! };
//! let verdict = judge(&judged, &Options { slices: vec!["sex".into()], ..Options::default() })?;
//! let output = &verdict.outputs[0];
//! assert_eq!(output.score("accuracy").unwrap().value, 0.75);
//! assert_eq!(output.score("roc_auc").unwrap().value, 0.75);
//! assert_eq!(output.slices[0].groups[0].name, "f");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answers;
mod bands;
mod baseline;
mod bootstrap;
mod compare;
mod curves;
mod examples;
mod family;
pub mod files;
mod gate;
pub mod page;
mod pictures;
mod ranking;
mod sets;
mod slices;
mod texts;
mod threshold;
mod verdict;
mod worst;

pub use answers::{Answers, TextSort};
pub use bands::Bands;
pub use baseline::{Baseline, Guess};
pub use bootstrap::Bootstrap;
pub use compare::{Difference, OutputDifference, compare};
pub use curves::{BINS, Bin, Point, StepError, by_step, curve, reliability};
pub use examples::write_examples;
pub use family::Better;
pub use gate::{Gate, Passed};
pub use ranking::Lists;
pub use slices::{Group, groups};
pub use threshold::{Rule, Threshold};
pub use verdict::{ClassScores, OutputVerdict, Score, Slice, SliceGroup, Verdict, judge};
pub use worst::{Pixels, Worst, cell_text, told};

use nerve_data::Table;
use std::sync::Arc;

/// What is judged: rows of a table, and what a network said about them.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Which rows they are: `test`, `validation`, the name of a file.
    pub part: String,
    /// The table in which the rows stand.
    pub table: Arc<Table>,
    /// The rows of the table, in the order of the answers.
    pub rows: Vec<usize>,
    /// The columns whose cells name picture files, which start at the folder of the table.
    pub pictures: Vec<String>,
    /// The outputs of the network.
    pub outputs: Vec<Judgeable>,
}

/// One output of a network.
#[derive(Clone, Debug)]
pub struct Judgeable {
    /// The name of its column.
    pub name: String,
    /// Truths and answers.
    pub answers: Answers,
    /// The loss of each row, if it is not to be [`Answers::losses`].
    pub losses: Option<Vec<f64>>,
    /// What would be answered without a network.
    pub baselines: Vec<Baseline>,
    /// Where yes begins, if there are two classes.
    pub threshold: Threshold,
    /// Rows as lists of items for users, for recommendations.
    pub lists: Option<Lists>,
}

impl Judgeable {
    /// An output without baselines, with a threshold of one half.
    pub fn new(name: impl Into<String>, answers: Answers) -> Judgeable {
        Judgeable {
            name: name.into(),
            answers,
            losses: None,
            baselines: Vec::new(),
            threshold: Threshold::default(),
            lists: None,
        }
    }
}

/// How it is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How intervals are found.
    pub bootstrap: Bootstrap,
    /// The column whose values hold rows together that are not independent: whole groups are drawn.
    pub group: Option<String>,
    /// The columns by whose values the rows are judged apart.
    pub slices: Vec<String>,
    /// How many of the worst rows are shown.
    pub worst: usize,
}

impl Default for Options {
    /// 1,000 resamples, no slices, the 25 worst rows.
    fn default() -> Self {
        Options { bootstrap: Bootstrap::default(), group: None, slices: Vec::new(), worst: 25 }
    }
}

/// A number with the digits that matter to people: four decimals, fewer where they say nothing.
pub fn number_text(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if !value.is_finite() => "–".into(),
        _ if size < 1e-9 => "0.0000".into(),
        _ if !(1e-3..1e7).contains(&size) => format!("{value:.3e}"),
        _ if size >= 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.4}"),
    }
}
