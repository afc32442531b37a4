//! `file`: a tokenizer that is ready, as `tokenizer.json` of the crate and library `tokenizers` keeps it.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use nerve_formats::escape;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use serde_json::{Value as Json, json};

use super::{Entry, PADDING, Tokenizer, Training};

pub(super) const ENTRY: Entry = Entry { spec: &SPEC, begin, restore };

static SPEC: Spec = Spec {
    name: "file",
    aliases: &[],
    peers: Peers::NONE,
    doc: "A ready tokenizer.json: word pieces, byte pairs, unigrams or whole words. The model keeps all of it.",
    params: &[
        Param::required("path", Kind::Text, "the file"),
        Param::with_default(
            "special_tokens",
            Kind::Bool,
            Value::Bool(false),
            "adds what the file adds around each text, as [CLS] and [SEP]",
        ),
    ],
};

/// The largest file; the largest ones in use have 250,000 tokens and 17 MB.
const LARGEST: u64 = 128 << 20;

/// The largest token number.
const LARGEST_NUMBER: u32 = 1 << 22;

fn begin(args: &Args, folder: &Path) -> Result<Box<dyn Training>, String> {
    let path = folder.join(args.text("path"));
    Ok(Box::new(Fit(read(&path, args.bool("special_tokens"))?)))
}

/// Reads a `tokenizer.json`; with `special` it adds what the file adds around each text.
pub(super) fn read(path: &Path, special: bool) -> Result<Ready, String> {
    let name = escape(&path.to_string_lossy(), 200);
    let wrong = |found: String| format!("the tokenizer {name}: {found}");
    let mut text = String::new();
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let read = file.take(LARGEST + 1).read_to_string(&mut text);
    read.map_err(|error| wrong(error.to_string()))?;
    if text.len() as u64 > LARGEST {
        return Err(wrong(format!("more than {} MB", LARGEST >> 20)));
    }
    let json = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    Ready::new(json, special).map_err(wrong)
}

fn restore(args: &Args, state: &Json) -> Result<Arc<dyn Tokenizer>, String> {
    Ok(Arc::new(Ready::new(state["tokenizer"].clone(), args.bool("special_tokens"))?))
}

/// There is nothing to train.
struct Fit(Ready);

impl Training for Fit {
    fn observe(&mut self, _: &str) {}

    fn finish(self: Box<Self>) -> Result<Arc<dyn Tokenizer>, String> {
        Ok(Arc::new(self.0))
    }
}

/// A tokenizer of the crate `tokenizers`.
pub(super) struct Ready {
    inner: tokenizers::Tokenizer,
    json: Json,
    special: bool,
    /// What is added to the numbers of the file so that 0 is padding: 0 where it is already, else 1.
    shift: u32,
    vocabulary: usize,
    unknown: i32,
}

impl Ready {
    /// A tokenizer from the contents of a `tokenizer.json`.
    pub(super) fn new(json: Json, special: bool) -> Result<Ready, String> {
        let text = json.to_string();
        let mut inner = quietly(|| tokenizers::Tokenizer::from_bytes(text.as_bytes()))
            .ok_or("damaged: it cannot be read")?
            .map_err(|error| escape(&error.to_string(), 300))?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| error.to_string())?;
        let names = inner.get_vocab(true);
        let largest = names.values().copied().max().ok_or("it has no tokens")?;
        if largest > LARGEST_NUMBER {
            return Err(format!("the token number {largest}, above {LARGEST_NUMBER}"));
        }
        let padding = ["[PAD]", "<pad>", "<PAD>", "<|pad|>"];
        let shift = u32::from(!padding.iter().any(|name| names.get(*name) == Some(&0)));
        let unknown = ["[UNK]", "<unk>", "<UNK>", "<|endoftext|>"]
            .iter()
            .find_map(|name| names.get(*name).map(|number| number + shift))
            .filter(|&number| number > 0)
            .unwrap_or(largest + shift + 1);
        let vocabulary = (largest + shift).max(unknown) as usize + 1;
        Ok(Ready { inner, json, special, shift, vocabulary, unknown: unknown as i32 })
    }

    /// Calls `f` for each piece that the byte pairs, word pieces or unigrams are looked for in.
    pub(super) fn pieces(&self, text: &str, mut f: impl FnMut(&str)) {
        use tokenizers::{Normalizer, OffsetReferential, OffsetType, PreTokenizer};
        let mut normal = tokenizers::NormalizedString::from(text);
        let normalizer = self.inner.get_normalizer();
        if normalizer.is_some_and(|normalizer| normalizer.normalize(&mut normal).is_err()) {
            return;
        }
        let mut pieces = tokenizers::PreTokenizedString::from(normal);
        let pre = self.inner.get_pre_tokenizer();
        if pre.is_some_and(|pre| pre.pre_tokenize(&mut pieces).is_err()) {
            return;
        }
        for (piece, ..) in pieces.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
            f(piece);
        }
    }
}

impl Ready {
    /// The numbers of an encoded text, if it could be encoded.
    fn numbers(
        &self,
        encoded: Option<tokenizers::Result<tokenizers::Encoding>>,
        tokens: &mut Vec<i32>,
    ) {
        tokens.clear();
        match encoded {
            Some(Ok(encoded)) => {
                let numbers = encoded.get_ids().iter().map(|id| (id + self.shift) as i32);
                tokens.extend(numbers.filter(|&number| number != PADDING));
            }
            _ => tokens.push(self.unknown),
        }
    }
}

/// What `f` gives; `None` when it panics: parts of the crate do on damaged files.
fn quietly<T>(f: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(f)).ok()
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ready({} tokens)", self.vocabulary)
    }
}

impl Tokenizer for Ready {
    fn encode(&self, text: &str, tokens: &mut Vec<i32>) {
        self.numbers(quietly(|| self.inner.encode_fast(text, self.special)), tokens);
    }

    /// What the file adds around a text stays around what is left of it.
    fn encode_within(&self, text: &str, most: usize, tokens: &mut Vec<i32>) {
        self.encode(text, tokens);
        if self.special && tokens.len() > most {
            use tokenizers::{PostProcessor, TruncationDirection};
            let processor = self.inner.get_post_processor();
            let added = processor.map_or(0, |processor| processor.added_tokens(false));
            let cut = || {
                let mut encoding = self.inner.encode_fast(text, false)?;
                encoding.truncate(most.saturating_sub(added), 0, TruncationDirection::Right);
                self.inner.post_process(encoding, None, true)
            };
            self.numbers(quietly(cut), tokens);
        }
        tokens.truncate(most);
    }

    fn decode(&self, tokens: &[i32]) -> String {
        let numbers: Vec<u32> = tokens
            .iter()
            .filter(|&&token| token != PADDING)
            .filter_map(|&token| u32::try_from(token).ok()?.checked_sub(self.shift))
            .collect();
        let text = quietly(|| self.inner.decode(&numbers, true));
        text.and_then(Result::ok).unwrap_or_default()
    }

    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn unknown(&self) -> i32 {
        self.unknown
    }

    fn state(&self) -> Json {
        json!({ "tokenizer": &self.json })
    }
}
