//! `bpe`: byte pairs. The bytes of the text are the first tokens; the pair of neighbours that is most frequent becomes one
//! token, again and again, until the vocabulary is full (Gage, "A new algorithm for data compression", 1994; Sennrich,
//! Haddow and Birch, ACL 2016; over bytes: Radford et al., 2019). No text is unknown to it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use serde_json::{Map, Value as Json, json};

use super::counts::Counts;
use super::ready::Ready;
use super::{Entry, SHARED_WITH, Tokenizer, Training};

pub(super) const ENTRY: Entry = Entry {
    spec: &SPEC,
    begin: |args, _| begin(args),
    restore: |_, state| Ok(Arc::new(Ready::new(state["tokenizer"].clone(), false)?)),
};

static SPEC: Spec = Spec {
    name: "bpe",
    aliases: &["byte_pairs"],
    peers: Peers::NONE,
    doc: "Pieces of words, learned from the training split: byte pairs. No text is unknown.",
    params: &[
        Param::with_default(
            "vocab",
            Kind::int(300, 1 << 18),
            Value::Int(8_000),
            "the number of tokens, the 256 bytes included",
        ),
        Param::with_default(
            "lower",
            Kind::Bool,
            Value::Bool(false),
            "capital letters count as small",
        ),
        SHARED_WITH,
    ],
};

/// The tokens before the bytes: padding and the unknown, which byte pairs never give.
const SPECIAL: [&str; 2] = ["[PAD]", "[UNK]"];

fn begin(args: &Args) -> Result<Box<dyn Training>, String> {
    let (vocab, lower) = (args.usize("vocab"), args.bool("lower"));
    let cutter = Ready::new(file(&bytes(), &[], lower), false)?;
    Ok(Box::new(Fit { vocab, lower, cutter, counts: Counts::default() }))
}

/// The 256 characters that stand for bytes in the files of byte-level tokenizers: the visible ones of Latin-1 for
/// themselves, the others from 256 on.
fn bytes() -> Vec<String> {
    let visible = |byte: &u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let rest = 256..256 + (0..256).filter(|byte| !visible(byte)).count() as u32;
    let all = (0..256).filter(visible).chain(rest);
    SPECIAL
        .iter()
        .map(|name| name.to_string())
        .chain(all.filter_map(char::from_u32).map(String::from))
        .collect()
}

/// The `tokenizer.json` of these tokens, in the order of their numbers, and merges.
fn file(names: &[String], merges: &[(u32, u32)], lower: bool) -> Json {
    let vocab: Map<String, Json> =
        names.iter().enumerate().map(|(i, name)| (name.clone(), json!(i))).collect();
    let name = |token: u32| &names[token as usize];
    let merges: Vec<Json> = merges.iter().map(|&(a, b)| json!([name(a), name(b)])).collect();
    let byte_level = json!({
        "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true
    });
    let mut normalizers = vec![json!({ "type": "NFC" })];
    normalizers.extend(lower.then(|| json!({ "type": "Lowercase" })));
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": { "type": "Sequence", "normalizers": normalizers },
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": false, "vocab": vocab, "merges": merges
        }
    })
}

struct Fit {
    vocab: usize,
    lower: bool,
    /// Cuts texts into the words within which bytes are paired.
    cutter: Ready,
    counts: Counts,
}

impl Training for Fit {
    fn observe(&mut self, text: &str) {
        self.cutter.pieces(text, |word| self.counts.add(word));
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Tokenizer>, String> {
        let words = self.counts.sorted(1);
        if words.is_empty() {
            return Err("no text in the training split".into());
        }
        let (names, merges) = train(&words, self.vocab);
        Ok(Arc::new(Ready::new(file(&names, &merges, self.lower), false)?))
    }
}

type Pair = (u32, u32);

/// The words as tokens, with where each pair stands and how often.
struct Pairs {
    words: Vec<(Vec<u32>, u64)>,
    counts: HashMap<Pair, u64>,
    /// The words that a pair was ever in; it may be gone from some.
    places: HashMap<Pair, Vec<u32>>,
}

impl Pairs {
    fn new(words: &[(Box<str>, u64)], names: &[String]) -> Pairs {
        let numbers: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        let mut buffer = [0; 4];
        let mut tokens = |word: &str| -> Vec<u32> {
            word.chars()
                .filter_map(|c| numbers.get(&*c.encode_utf8(&mut buffer)).copied())
                .collect()
        };
        let words = words.iter().map(|(word, count)| (tokens(word), *count)).collect();
        let mut pairs = Pairs { words, counts: HashMap::new(), places: HashMap::new() };
        for at in 0..pairs.words.len() {
            pairs.count(at);
        }
        pairs
    }

    /// Counts the pairs of a word.
    fn count(&mut self, at: usize) {
        let (tokens, count) = &self.words[at];
        for pair in tokens.windows(2).map(|pair| (pair[0], pair[1])) {
            *self.counts.entry(pair).or_default() += count;
            let places = self.places.entry(pair).or_default();
            if places.last() != Some(&(at as u32)) {
                places.push(at as u32);
            }
        }
    }

    /// Makes a pair one token, and gives the pairs whose counts have changed.
    fn merge(&mut self, pair: Pair, token: u32) -> Vec<Pair> {
        let mut changed = Vec::new();
        for at in self.places.remove(&pair).unwrap_or_default() {
            let (tokens, count) = &mut self.words[at as usize];
            if !tokens.windows(2).any(|two| (two[0], two[1]) == pair) {
                continue;
            }
            for two in tokens.windows(2).map(|two| (two[0], two[1])) {
                if let Some(all) = self.counts.get_mut(&two) {
                    *all -= *count;
                }
                changed.push(two);
            }
            let mut merged = Vec::with_capacity(tokens.len());
            for &next in tokens.iter() {
                match merged.last_mut() {
                    Some(last) if (*last, next) == pair => *last = token,
                    _ => merged.push(next),
                }
            }
            *tokens = merged;
            self.count(at as usize);
            let (tokens, _) = &self.words[at as usize];
            changed.extend(tokens.windows(2).map(|two| (two[0], two[1])));
        }
        changed.sort_unstable();
        changed.dedup();
        changed
    }
}

/// The names of the tokens, in the order of their numbers, and the pairs that the ones after the bytes are made of. Of
/// equally frequent pairs the one with the smaller numbers comes first.
fn train(words: &[(Box<str>, u64)], vocab: usize) -> (Vec<String>, Vec<Pair>) {
    let mut names = bytes();
    let mut numbers: HashMap<String, u32> = names.iter().cloned().zip(0..).collect();
    let mut merges = Vec::new();
    let mut pairs = Pairs::new(words, &names);
    let mut heap: BinaryHeap<(u64, Reverse<Pair>)> =
        pairs.counts.iter().map(|(&pair, &count)| (count, Reverse(pair))).collect();
    while let Some((count, Reverse(pair))) = heap.pop() {
        if names.len() >= vocab || count < 2 {
            break;
        }
        // An entry of the past: the present one is in the heap too.
        if pairs.counts.get(&pair) != Some(&count) {
            continue;
        }
        let name = format!("{}{}", names[pair.0 as usize], names[pair.1 as usize]);
        if SPECIAL.contains(&name.as_str()) {
            continue;
        }
        // `ab` and `c` may be joined when `a` and `bc` already are: the same token.
        let token = *numbers.entry(name.clone()).or_insert_with(|| {
            names.push(name);
            names.len() as u32 - 1
        });
        merges.push(pair);
        let changed = pairs.merge(pair, token);
        heap.extend(changed.iter().filter_map(|pair| {
            let count = pairs.counts.get(pair).copied().filter(|&count| count > 0)?;
            Some((count, Reverse(*pair)))
        }));
    }
    (names, merges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[(&str, u64)]) -> Vec<(Box<str>, u64)> {
        words.iter().map(|&(word, count)| (word.into(), count)).collect()
    }

    #[test]
    fn the_example_of_sennrich() {
        // Figure 1 and its text: low 5, lower 2, newest 6, widest 3; here without the end of a word.
        let words = words(&[("low", 5), ("lower", 2), ("newest", 6), ("widest", 3)]);
        let (names, merges) = train(&words, 258 + 6);
        // e-s 9, es-t 9, l-o 7, lo-w 7; then n-e, ne-w, ew-est, ... with 6 each.
        assert_eq!(names[258..262], ["es", "est", "lo", "low"]);
        assert_eq!(merges.len(), 6);
    }

    #[test]
    fn a_pair_that_overlaps_itself_is_counted_and_merged_from_the_left() {
        let (names, _) = train(&words(&[("aaaaa", 3)]), 300);
        assert_eq!(names[258..], ["aa", "aaa", "aaaaa"]);
    }

    #[test]
    fn there_are_256_different_bytes() {
        let mut names = bytes();
        assert_eq!(names.len(), 258);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 258);
    }
}
