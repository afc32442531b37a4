//! Metrics of texts: what is said against what should be.
//!
//! Plain functions of strings and tokens, and sums over a corpus that can be added to and merged.
//! No graph computes them, so they stand apart from the registry of [metrics](super): a network's
//! answers become text first.
//!
//! | | of | as in |
//! |---|---|---|
//! | [`Bleu`] | translations: words in common, n at a time | sacrebleu |
//! | [`Chrf`] | translations: characters in common, n at a time | sacrebleu |
//! | [`rouge_n`], [`rouge_l`], [`rouge_lsum`] | summaries | rouge-score |
//! | [`edit_distance`] | any two sequences | Levenshtein |
//! | [`ErrorRate`] ([`word_error_rate`], [`character_error_rate`]) | transcripts | jiwer |

mod bleu;
mod chrf;
mod edit;
mod rouge;

pub use bleu::{Bleu, tokenize_13a};
pub use chrf::Chrf;
pub use edit::{ErrorRate, character_error_rate, edit_distance, word_error_rate};
pub use rouge::{Rouge, rouge_l, rouge_lsum, rouge_n, rouge_words};

use std::collections::HashMap;
use std::hash::Hash;

/// How often each run of `n` tokens occurs.
fn ngrams<T: Hash + Eq>(tokens: &[T], n: usize) -> HashMap<&[T], usize> {
    let mut counts = HashMap::new();
    for run in tokens.windows(n) {
        *counts.entry(run).or_insert(0) += 1;
    }
    counts
}
