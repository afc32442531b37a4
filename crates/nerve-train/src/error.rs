//! What can go wrong in a training.

use crate::callback::CallbackError;
use nerve_core::RunError;
use nerve_data::DataError;

/// Why a training or an evaluation could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The data failed.
    #[error(transparent)]
    Data(#[from] DataError),

    /// The data do not have the fields that are needed.
    #[error("the data have {found} fields; expected at least {needed}: {what}")]
    Fields {
        /// How many there are.
        found: usize,
        /// How many are needed.
        needed: usize,
        /// What they are.
        what: String,
    },

    /// A class or an index outside its range.
    #[error("epoch {epoch}, samples {first} to {last} of its order: {error}")]
    Index {
        /// The epoch, counted from 1.
        epoch: u64,
        /// Position of the first sample of the batch.
        first: u64,
        /// Position of the last one.
        last: u64,
        /// What was found.
        error: RunError,
    },

    /// What a training should go on from is of another one.
    #[error("the snapshot of step {step} does not fit this training: {reason}")]
    Resume {
        /// The step of the snapshot.
        step: u64,
        /// All that does not fit.
        reason: String,
    },

    /// A callback failed, for instance because the disk is full.
    #[error("{0}")]
    Callback(CallbackError),
}
