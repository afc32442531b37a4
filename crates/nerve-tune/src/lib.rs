//! Tuning: finding the parameters of a training that no gradient knows.
//!
//! A [`Study`] looks for the best point of a [`Space`]: a sampler proposes trials, each trial reports how it comes on,
//! a pruner ends those that are behind, and a journal keeps all of it, so that a study goes on where it was killed.
//!
//! | place | what lives there |
//! |---|---|
//! | [`Space`], [`Parameter`], [`Domain`] | what is searched: numbers (also by their logarithm), whole numbers, choices |
//! | [`Sampler`] | what is tried next: at random, on a grid, or by [`tpe`] from what was learned |
//! | [`Pruner`] | which trials are ended early: [asynchronous halving](Pruner::Asha), below the median |
//! | [`Study`] | trials asked, reported, told; the best of them |
//! | [`optimize`] | several workers in this process |
//! | [`journal`] | the file that survives whatever happens to the process |
//! | [`mod@importance`] | which parameters decided |
//!
//! ```
//! use nerve_tune::{Domain, Finish, Options, Parameter, Settings, Space, Study, optimize};
//!
//! let space = Space::new(vec![
//!     Parameter::new("x", Domain::float(-5.0, 5.0)),
//!     Parameter::new("shape", Domain::choice(["bowl", "ridge"])),
//! ])?;
//! let study = Study::new(space, Settings::default())?;
//! let study = optimize(study, &Options { trials: 40, ..Options::default() }, |attempt| {
//!     let x = attempt.value("x").float();
//!     Finish::Value(if attempt.value("shape").label() == "bowl" { x * x } else { x.abs() + 1.0 })
//! })?;
//! let best = study.best().unwrap();
//! assert!(best.value.unwrap() < 0.1);
//! # Ok::<(), nerve_tune::TuneError>(())
//! ```
#![forbid(unsafe_code)]

mod error;
pub mod importance;
pub mod journal;
mod parzen;
mod pruner;
mod sampler;
mod space;
mod study;
pub mod tpe;
mod workers;

pub use error::TuneError;
pub use importance::importance;
pub use nerve_train::Mode;
pub use pruner::Pruner;
pub use sampler::Sampler;
pub use space::{Domain, Parameter, Setting, Space};
pub use study::{Outcome, Settings, Study, Trial};
pub use workers::{Attempt, Finish, Options, optimize};
