//! Sequences written token by token: each from what a network makes of those before it.
//!
//! A network that can do that is [`Autoregressive`]: it carries a state from token to token (the
//! keys and values of a transformer, the states of a recurrent network), so that a token costs one
//! step and not the whole sequence again. A [`Generator`] keeps the state in variables and runs one
//! compiled step a token; [`Options`] say how a token is chosen.
//!
//! | [`Strategy`] | chooses |
//! |---|---|
//! | [`Greedy`](Strategy::Greedy) | the most probable token |
//! | [`Sample`](Strategy::Sample) | one at random, by temperature, top-k and top-p |
//! | [`Beam`](Strategy::Beam) | the most probable of some sequences that are followed side by side |
//!
//! ```
//! use nerve_nn::Params;
//! use nerve_nn::generate::{Generator, Options};
//! use nerve_nn::models::{Gpt, GptOptions};
//! let model = Gpt::new(&Params::new(42), GptOptions::new(11, 16, 2, 2, 32));
//! let mut generator = Generator::new(&model, 32);
//! let options = Options { max_new: 5, ..Options::default() };
//! // Two prompts of different lengths.
//! let written = generator.generate(&[vec![1, 2, 3], vec![4]], &[], &options).unwrap();
//! assert_eq!(written[0].tokens.len(), 5);
//! ```

mod beam;
mod choice;
mod generator;

pub use generator::Generator;

use nerve_core::{RunError, Tensor};
use std::fmt;

/// A network that says which token comes next, and carries a state from token to token.
pub trait Autoregressive: Send + Sync {
    /// How many tokens there are.
    fn vocabulary(&self) -> usize;

    /// The most places that it knows; none if any number.
    fn longest(&self) -> Option<usize> {
        None
    }

    /// The state before the first token, for `rows` sequences of up to `longest` tokens. `source` is
    /// what they are written from, for instance a text to translate; nothing for most networks. Each
    /// tensor has the rows as its first axis, and a shape that stays.
    fn begin(&self, rows: usize, longest: usize, source: &[Tensor]) -> Vec<Tensor>;

    /// Takes the tokens i32 `[rows, n]` that stand at the places from `at` on, i32 `[1]`. Gives the
    /// logits of the token after the last of them, `[rows, vocabulary]`, and the state after it.
    fn advance(&self, tokens: &Tensor, at: &Tensor, state: &[Tensor]) -> (Tensor, Vec<Tensor>);
}

/// How tokens are chosen, and when to stop.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The most tokens to write.
    pub max_new: usize,
    /// The fewest: no stop token comes before.
    pub min_new: usize,
    /// A sequence ends with any of these, which is part of the result.
    pub stop: Vec<i32>,
    /// Logits of tokens that are there already (in the prompt, too) are divided by this if they are
    /// positive, and multiplied if they are negative; 1 changes nothing. Keskar et al., "CTRL", 2019.
    pub repetition_penalty: f64,
    /// How a token is chosen.
    pub strategy: Strategy,
    /// Of random choices. The same seed writes the same, whatever else is in the batch.
    pub seed: u64,
}

impl Default for Options {
    /// Up to twenty tokens, each the most probable one.
    fn default() -> Options {
        Options {
            max_new: 20,
            min_new: 0,
            stop: Vec::new(),
            repetition_penalty: 1.0,
            strategy: Strategy::Greedy,
            seed: 0,
        }
    }
}

/// How a token is chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Strategy {
    /// The most probable one; of equal ones the first.
    Greedy,
    /// One at random.
    Sample(Sampling),
    /// Several sequences are followed side by side; the best is given.
    Beam(Beam),
}

/// A random choice: first the temperature, then top-k, then top-p, as is usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it: below 1 the probable becomes more probable.
    pub temperature: f64,
    /// Only the k most probable tokens are drawn. Fan, Lewis & Dauphin, 2018.
    pub top_k: Option<usize>,
    /// Only the fewest most probable tokens are drawn that have this share together ("nucleus").
    /// Holtzman et al., "The curious case of neural text degeneration", 2020.
    pub top_p: Option<f64>,
}

impl Default for Sampling {
    /// As the network says.
    fn default() -> Sampling {
        Sampling { temperature: 1.0, top_k: None, top_p: None }
    }
}

/// Beam search: at each step the best continuations of all sequences that are followed.
///
/// A sequence of n new tokens (its stop token counts) has the score Σ log p / n^`length_penalty`: 0
/// takes the most probable, which tends to be short; 1 takes the mean, as is usual. The search ends
/// when as many sequences have ended as are followed and no other can become better than these.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beam {
    /// How many are followed.
    pub beams: usize,
    /// The exponent.
    pub length_penalty: f64,
}

/// A sequence that was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// The new tokens, without the prompt.
    pub tokens: Vec<i32>,
    /// The logarithm of the probability that the network gives them (after the repetition penalty;
    /// before the temperature and what is left out).
    pub log_probability: f64,
    /// Whether it ended with a stop token.
    pub stopped: bool,
}

/// Why nothing was written.
#[derive(Clone, Debug, PartialEq)]
pub enum GenerateError {
    /// A prompt without tokens: there is nothing to continue. Begin with a token that means that.
    EmptyPrompt {
        /// Which prompt.
        row: usize,
    },
    /// A token that the network does not know.
    UnknownToken {
        /// Which prompt.
        row: usize,
        /// The token.
        token: i32,
        /// How many it knows.
        vocabulary: usize,
    },
    /// A prompt and what is to be written have no room.
    TooLong {
        /// Which prompt.
        row: usize,
        /// Tokens of prompt and result.
        tokens: usize,
        /// Places.
        longest: usize,
    },
    /// An option that is out of its range: which, and what it must be.
    Option(&'static str),
    /// The network could not be run, for instance because of its source.
    Run(RunError),
}

impl fmt::Display for GenerateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GenerateError::EmptyPrompt { row } => {
                write!(f, "prompt {row} is empty; begin it with a token that means the beginning")
            }
            GenerateError::UnknownToken { row, token, vocabulary } => write!(
                f,
                "prompt {row} has the token {token}; there are the tokens 0 to {}",
                vocabulary.saturating_sub(1)
            ),
            GenerateError::TooLong { row, tokens, longest } => write!(
                f,
                "prompt {row} and its continuation are {tokens} tokens; there is room for {longest}"
            ),
            GenerateError::Option(what) => write!(f, "{what}"),
            GenerateError::Run(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for GenerateError {}

impl Options {
    fn check(&self) -> Result<(), GenerateError> {
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let expect = |ok: bool, what| if ok { Ok(()) } else { Err(GenerateError::Option(what)) };
        expect(positive(self.repetition_penalty), "repetition_penalty: expected a number above 0")?;
        match &self.strategy {
            Strategy::Greedy => Ok(()),
            Strategy::Sample(Sampling { temperature, top_k, top_p }) => {
                expect(positive(*temperature), "temperature: expected a number above 0")?;
                expect(top_k.is_none_or(|k| k > 0), "top_k: expected 1 or more")?;
                let share = |p: f64| p > 0.0 && p <= 1.0;
                expect(top_p.is_none_or(share), "top_p: expected a number above 0, up to 1")
            }
            Strategy::Beam(Beam { beams, length_penalty }) => {
                expect(*beams > 0, "beams: expected 1 or more")?;
                expect(length_penalty.is_finite(), "length_penalty: expected a finite number")
            }
        }
    }
}
