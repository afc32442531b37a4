//! What the numbers of a field mean.

use std::sync::Arc;

/// What the numbers of a field mean: all that a network must know of it beside its shape.
///
/// It stands here because the crate that prepares data says it and the crate that builds networks reads it.
#[derive(Clone, Debug, PartialEq)]
pub enum Meaning {
    /// Measurements on a common scale, `f32 [n]`.
    Numbers,
    /// Which of these names it is, `i32 []` from 0.
    Category {
        /// The names, in the order of their numbers.
        names: Arc<[String]>,
    },
    /// Tokens of a text or of a sequence, `i32 [length]`; 0 is padding, at the end alone.
    Tokens {
        /// How many different numbers there can be, padding included.
        vocabulary: usize,
    },
    /// A picture, `f32 [channels, height, width]`.
    Image,
    /// The class of each pixel, `i32 [height, width]`.
    Mask {
        /// How many classes there are.
        classes: usize,
    },
    /// Measurements over time, `f32 [time, features]`: a spectrogram, a window of a series.
    Frames,
}
