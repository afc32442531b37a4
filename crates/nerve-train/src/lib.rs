//! Training: epochs over the data, metrics, callbacks, history, progress.
//!
//! | place | what lives there |
//! |---|---|
//! | [`Trainer`] | trains a network: compiles one step, replays it over the data |
//! | [`Head`] | an output of the network, with its loss and metrics |
//! | [`Evaluator`] | loss and metrics over a data set |
//! | [`Predictions`] | what the network gives, row by row |
//! | [`metrics`] | what is reported beside the loss |
//! | [`mod@judge`] | a trained network by its answers: scores with intervals, slices, curves, worst rows |
//! | [`picture`] | drawing: charts and heat maps as SVG, pixels as PNG |
//! | [`Health`] | distributions, dead units, how far a step goes, how long a layer takes |
//! | [`LrCurve`] | the learning-rate range test |
//! | [`Callback`] | looks on, and may stop the training |
//! | [`EarlyStopping`], [`Goal`] | when to stop, and which epoch is the best |
//! | [`checkpoint`] | a training as it stands between two steps; saving it and going on from it |
//! | [`History`] | a row for each epoch, as CSV |
//! | [`Progress`] | a bar on a terminal, a line an epoch elsewhere |
//!
//! ```
//! use nerve_data::{Arrays, Element, Field, Loader, LoaderOptions};
//! use nerve_nn::{Params, layers::Linear, losses::CrossEntropy, optim::Adam};
//! use nerve_train::{Options, Outcome, Trainer, metrics::Accuracy};
//! use std::sync::Arc;
//!
//! // Points to the left are of class 0, points to the right of class 1.
//! let x: Vec<f32> = (0..64).map(|i| i as f32 / 32.0 - 1.0).collect();
//! let label: Vec<i32> = (0..64).map(|i| i32::from(i >= 32)).collect();
//! let data = Arrays::new(vec![
//!     (Field::new("x", &[1], Element::F32), x.into()),
//!     (Field::new("label", &[], Element::I32), label.into()),
//! ])?;
//! let options = LoaderOptions { batch_size: 16, shuffle: true, ..LoaderOptions::default() };
//! let loader = Loader::new(Arc::new(data), options)?;
//!
//! let params = Params::new(42);
//! let model = Linear::new(&params.at("fc"), 1, 2);
//! let (loss, optimizer) = (CrossEntropy::default(), Adam::new(&params, 0.1));
//! let trainer = Trainer::new(&model, &loss, &optimizer)
//!     .metrics(vec![Box::new(Accuracy)])
//!     .options(Options { epochs: 30, seed: 42, ..Options::default() });
//! let fit = trainer.fit(&loader, None, &mut [])?;
//! assert_eq!(fit.outcome, Outcome::Finished);
//! assert!(fit.history.last().unwrap().metrics[0] > 0.9);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod callback;
pub mod checkpoint;
mod early_stopping;
mod error;
mod evaluate;
mod goal;
mod heads;
mod history;
pub mod judge;
pub mod metrics;
pub mod picture;
mod plans;
mod predictions;
mod progress;
mod trainer;

pub use callback::{
    Callback, CallbackError, Capture, Control, Moment, Scores, StepEnd, TrainBegin,
};
pub use checkpoint::{Background, Checkpoints, Every, Saver, Snapshot};
pub use early_stopping::EarlyStopping;
pub use error::TrainError;
pub use evaluate::{Evaluation, Evaluator};
pub use goal::{Goal, Mode};
pub use heads::Head;
pub use history::{History, HistoryFile, Row};
pub use metrics::Metric;
pub use predictions::{Given, Predictions, first_use};
pub use progress::Progress;
pub use trainer::{
    Cause, Depth, Finding, Fit, Health, LrCurve, LrRange, Options, Outcome, Trainer,
};
