//! The recipe: one TOML text that says what is trained, on what, and how.
//!
//! It is strict: an unknown key, a value of the wrong type or out of its range, a layer that does
//! not fit the one before it, each is an error with its place, and all of them are reported at
//! once, before anything starts. The words of a recipe come from registries ([`vocabulary`]).
//!
//! [`Source`] → [`Recipe::load`] → [`Recipe::summary`] → training.
#![forbid(unsafe_code)]

mod base;
pub mod columns;
pub mod data;
pub mod diagnostic;
pub mod embedder;
mod explain;
pub mod features;
mod generate;
mod health;
mod inherit;
mod judging;
pub mod machine;
pub mod model;
pub mod network;
pub mod onnx;
pub mod overrides;
mod per_series;
pub mod predictor;
mod pretrained;
pub mod recipe;
pub mod reference;
mod resolved;
pub mod schema;
mod sequences;
pub mod session;
pub mod source;
pub mod starter;
mod streaming;
pub mod summary;
mod training;
mod transfer;
mod tree;
mod trial;
pub mod tuning;
pub mod vocabulary;
mod weights;
pub mod writing;

pub use columns::Column;
pub use data::{Data, Part, Rows, Tables};
pub use diagnostic::{Code, Diagnostic, Report};
pub use embedder::Embedder;
pub use features::Features;
pub use model::Card;
pub use nerve_formats::spec::nearest;
pub use network::Network;
pub use per_series::Units;
pub use predictor::{ModelError, Predictor, Said};
pub use recipe::{BUILT_IN, Recipe, built_in};
pub use session::{Keeper, Session, SessionError};
pub use source::{Source, Span};
pub use summary::Summary;
pub use trial::Trial;
pub use tuning::Tuning;
