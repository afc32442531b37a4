//! From characters to tokens and back.
//!
//! ```text
//! begin ──► Training::observe (each text of the training split) ──► finish ──► Tokenizer
//! Tokenizer::encode (a text ──► token numbers)         Tokenizer::decode (token numbers ──► a text)
//! ```
//!
//! A kind of tokenizer is one file here and one line in [`registry`]. 0 is [`PADDING`] in all of them, and 1 is
//! [`UNKNOWN`] in those that are trained here; a tokenizer from a file has the unknown token of its file. All that was
//! learned is in [`Tokenizer::state`].

pub mod augment;
mod bpe;
mod counts;
mod ready;
mod units;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use nerve_formats::spec::{Args, Kind, Param, Spec};
use serde_json::Value as Json;

pub(crate) use counts::Sample;

/// The token that fills up short texts, at their end.
pub const PADDING: i32 = 0;

/// The token that stands for what the training split did not show.
pub const UNKNOWN: i32 = 1;

/// Begins to train a tokenizer. File names start from the folder.
pub type Begin = fn(&Args, &Path) -> Result<Box<dyn Training>, String>;
/// Makes a tokenizer from what it has learned.
pub type Restore = fn(&Args, &Json) -> Result<Arc<dyn Tokenizer>, String>;

/// A kind of tokenizer.
pub struct Entry {
    /// Name (`words`) and parameters.
    pub spec: &'static Spec,
    /// Begins to learn.
    pub begin: Begin,
    /// Makes the tokenizer again from what [`Tokenizer::state`] gave.
    pub restore: Restore,
}

/// A tokenizer that is being trained. Its memory is bounded, whatever it is shown.
pub trait Training {
    /// Looks at one text.
    fn observe(&mut self, text: &str);

    /// The tokenizer: a function of the texts and of their order, of nothing else.
    ///
    /// # Errors
    /// The texts do not suffice.
    fn finish(self: Box<Self>) -> Result<Arc<dyn Tokenizer>, String>;
}

/// Turns texts into token numbers.
pub trait Tokenizer: Debug + Send + Sync {
    /// Puts the tokens of a text into `tokens`, which is emptied first. It never gives [`PADDING`].
    fn encode(&self, text: &str, tokens: &mut Vec<i32>);

    /// As [`encode`](Tokenizer::encode), at most so many tokens: what is longer is cut at its end.
    fn encode_within(&self, text: &str, most: usize, tokens: &mut Vec<i32>) {
        self.encode(text, tokens);
        tokens.truncate(most);
    }

    /// The text of these tokens, as far as they tell it; padding is left out.
    fn decode(&self, tokens: &[i32]) -> String;

    /// How many different numbers there can be, padding included.
    fn vocabulary(&self) -> usize;

    /// The token that stands for something that is not known.
    fn unknown(&self) -> i32 {
        UNKNOWN
    }

    /// All that was learned, for the model file.
    fn state(&self) -> Json;
}

/// Another column whose texts the tokenizer is trained on too.
pub(crate) const SHARED_WITH: Param = Param::optional(
    "shared_with",
    Kind::Text,
    "another column of texts, which then has the same tokenizer: it is trained on both",
);

/// All kinds of tokenizers.
///
/// ```
/// use std::path::Path;
///
/// use nerve_data::text::registry;
/// use nerve_formats::spec::{Value, check};
///
/// let entry = registry().iter().find(|entry| entry.spec.answers_to("words")).unwrap();
/// let args = check(entry.spec, &[("min_count".into(), Value::Int(1))]).unwrap();
/// let mut training = (entry.begin)(&args, Path::new(""))?;
/// training.observe("To be, or not to be!");
/// let tokenizer = training.finish()?;
/// let mut tokens = Vec::new();
/// tokenizer.encode("not to know", &mut tokens);
/// assert_eq!(tokenizer.decode(&tokens), "not to (unknown)");
/// # Ok::<(), String>(())
/// ```
pub fn registry() -> &'static [Entry] {
    &REGISTRY
}

static REGISTRY: [Entry; 4] = [units::WORDS, units::CHARACTERS, bpe::ENTRY, ready::ENTRY];

/// Reads a ready `tokenizer.json`, as Hugging Face has them; with `special` it adds what the file adds around
/// each text, such as `[CLS]` and `[SEP]`.
///
/// # Errors
/// The file cannot be read, or is no such tokenizer: in words, with its name.
pub fn read_tokenizer(path: &Path, special: bool) -> Result<Arc<dyn Tokenizer>, String> {
    Ok(Arc::new(ready::read(path, special)?))
}

/// The kind of this name.
pub fn find(name: &str) -> Option<&'static Entry> {
    registry().iter().find(|entry| entry.spec.answers_to(name))
}

/// The descriptions of all kinds, for the recipe.
pub fn specs() -> Vec<&'static Spec> {
    registry().iter().map(|entry| entry.spec).collect()
}

#[cfg(test)]
mod tests;
