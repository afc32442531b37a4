//! What a training leaves behind, and what is made from it.
//!
//! | place | what lives there |
//! |---|---|
//! | [`RunFolder`] | the folder of one training, and its files |
//! | [`Recorder`] | the callback that writes a run down |
//! | [`Event`] | a line of `events.jsonl`: the one source of truth |
//! | [`Reader`] | the events of a run, also while it grows |
//! | [`Series`] | the curves in them |
//! | [`Epochs`] | its epochs with their scores |
//! | [`TensorBoard`] | the files of TensorBoard |
//! | [`Mlflow`] | what is sent to MLflow |
//! | [`card()`] | the card of the model, for people |
//! | [`settings()`] | the recipe as a list of settings |
//! | [`Overview`] | a run in one line, with its tags |
//! | [`State`] | `state.json`: how the run stands |
//!
//! The training only appends events. Curves, tables, TensorBoard files, reports and the dashboard
//! are made from the folder by others, who can be slow, late or broken without the training
//! noticing.
#![forbid(unsafe_code)]

mod card;
mod epochs;
mod event;
mod folder;
mod log;
mod mlflow;
mod overview;
mod reader;
mod recorder;
mod series;
mod settings;
mod smooth;
mod state;
mod system;
mod tensorboard;

#[cfg(test)]
#[path = "../tests/common/samples.rs"]
mod samples;

pub use card::{CARD, card};
pub use epochs::{Epoch, Epochs};
pub use event::{Event, FORMAT, Number, What};
pub use folder::{
    BASE, CHECKPOINTS, CONFIG, ENVIRONMENT, EVENTS, LAYERS, LOG, Lock, METRICS, MODEL, RESOLVED,
    RunError, RunFolder, STATE, list,
};
pub use log::EventLog;
pub use mlflow::{Access, Credentials, MLFLOW, Mlflow, MlflowError};
pub use overview::{Overview, TAGS};
pub use reader::Reader;
pub use recorder::Recorder;
pub use series::{Curve, Point, Series};
pub use settings::{Change, Setting, changes, settings, settings_in};
pub use smooth::smoothed;
pub use state::{Alive, State, Status};
pub use system::{Load, System};
pub use tensorboard::{TENSORBOARD, TensorBoard, is_over};
