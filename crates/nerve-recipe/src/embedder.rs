//! Sentence embeddings: a model folder of Hugging Face as it is.
//!
//! ```text
//! config.json         the sizes of the BERT
//! model.safetensors   its weights
//! tokenizer.json      from texts to tokens
//! modules.json, 1_Pooling/config.json, sentence_bert_config.json
//!                     how the tokens' rows become one, if the folder has them; else their mean, of length 1
//! ```

pub(crate) mod config;

use nerve_core::{Compiled, DType, Tensor, compile};
use nerve_data::text::{Tokenizer, read_tokenizer};
use nerve_formats::safetensors::Contents;
use nerve_formats::{FormatError, Limits, SafeTensors, escape};
use nerve_nn::layers::SequencePooling;
use nerve_nn::models::Bert;
use nerve_nn::state::LoadError;
use nerve_nn::transfer::Transfer;
use nerve_nn::{Context, Layer, Params};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Why a folder is no model that embeds texts.
#[derive(Debug, thiserror::Error)]
pub enum EmbedderError {
    /// A file cannot be read or is damaged.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A file says something that is not done here.
    #[error("{file}: {message}")]
    Unfit {
        /// The file.
        file: String,
        /// What is wrong, and what would be right.
        message: String,
    },
}

/// The largest batch. Every text but those of the last batch is in one of this size, so there are few
/// plans.
const BATCH: usize = 32;
/// The shortest length that texts are filled up to.
const SHORTEST: usize = 16;

type Forward = Box<dyn Fn(&[Tensor]) -> Vec<Tensor> + Send + Sync>;

/// Turns texts into rows of numbers, near each other where the texts mean the same.
///
/// ```no_run
/// let embedder = nerve_recipe::Embedder::open("all-MiniLM-L6-v2".as_ref())?;
/// let rows = embedder.embed(&["A man eats.", "Someone is eating."]);
/// let cosine: f32 = rows[0].iter().zip(&rows[1]).map(|(a, b)| a * b).sum();
/// assert!(cosine > 0.5);
/// # Ok::<(), nerve_recipe::embedder::EmbedderError>(())
/// ```
///
/// Reimers & Gurevych, "Sentence-BERT: sentence embeddings using Siamese BERT-networks", 2019.
pub struct Embedder {
    tokenizer: Arc<dyn Tokenizer>,
    model: Arc<Bert>,
    pooling: SequencePooling,
    normalize: bool,
    longest: usize,
    features: usize,
    /// For each length that texts are filled up to, the network in use.
    forward: BTreeMap<usize, Compiled<Forward>>,
}

impl Embedder {
    /// Opens a model folder.
    ///
    /// # Errors
    /// A file is missing or damaged; the weights are not those of the sizes; something is asked for that
    /// is not done here: another kind of network, another way to pool.
    pub fn open(folder: &Path) -> Result<Embedder, EmbedderError> {
        let (sizes, pooled) = (config::sizes(folder)?, config::pooled(folder)?);
        let path = folder.join("model.safetensors");
        let unfit = |message: String| EmbedderError::Unfit { file: shown(&path), message };
        // What the sizes ask for is compared with what is there, before it is made.
        let contents = Contents::read(&path)?;
        let there: u128 = contents.tensors.iter().map(|tensor| tensor.elements() as u128).sum();
        if sizes.parameters() > there {
            let wanted = sizes.parameters();
            return Err(unfit(format!("{there} numbers, of {wanted} that config.json describes")));
        }
        let params = Params::for_loading();
        let model = Bert::new(&params, &sizes);
        let limits = Limits { max_bytes: u64::MAX, ..Limits::default() };
        let file = SafeTensors::open(&path, &limits)?;
        file.require_finite()?;
        let loaded = names().load(&params, &file);
        loaded.map_err(|error: LoadError| unfit(error.to_string()))?;
        let file = folder.join("tokenizer.json");
        let unfit = |message: String| EmbedderError::Unfit { file: shown(&file), message };
        let tokenizer = read_tokenizer(&file, true).map_err(unfit)?;
        if tokenizer.vocabulary() > sizes.vocabulary {
            let (has, rows) = (tokenizer.vocabulary(), sizes.vocabulary);
            return Err(unfit(format!(
                "expected tokens below {rows}, the rows of the model, and padding as token 0; \
                 found {has} tokens with the padding"
            )));
        }
        let longest = pooled.longest.unwrap_or(sizes.longest).min(sizes.longest);
        let (pooling, normalize) = (pooled.pooling, pooled.normalize);
        let (model, features) = (Arc::new(model), sizes.features);
        let mut lengths = vec![longest];
        while let Some(shorter) = lengths.last().map(|n| n.next_power_of_two() / 2) {
            if shorter < SHORTEST {
                break;
            }
            lengths.push(shorter);
        }
        let forward = lengths.into_iter().map(|length| {
            let model = model.clone();
            (length, compile(forward(model, pooling, normalize)))
        });
        let forward = forward.collect();
        Ok(Embedder { tokenizer, model, pooling, normalize, longest, features, forward })
    }

    /// Numbers in the row of a text.
    pub fn dimension(&self) -> usize {
        self.features
    }

    /// Tokens of a text that are looked at; what is longer is cut at its end.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// A row for each text, in their order. It does not depend on the other texts, but for the last
    /// digits.
    pub fn embed<T: AsRef<str>>(&self, texts: &[T]) -> Vec<Vec<f32>> {
        let tokens: Vec<Vec<i32>> = texts.iter().map(|text| self.tokens(text.as_ref())).collect();
        // Texts of about the same length go together.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&i| (tokens[i].len(), i));
        let mut rows = vec![Vec::new(); texts.len()];
        for batch in order.chunks(BATCH) {
            let most = batch.iter().map(|&i| tokens[i].len()).max().unwrap_or(0);
            let mut fitting = self.forward.range(most..);
            let (&length, forward) = fitting.next().expect("no text is longer than the longest");
            // One alone is often asked for; else what is left over is filled up with empty texts.
            let size = if batch.len() == 1 { 1 } else { BATCH };
            let mut flat = Vec::with_capacity(size * length);
            for &i in batch {
                flat.extend_from_slice(&tokens[i]);
                flat.resize(flat.len().next_multiple_of(length), 0);
            }
            flat.resize(size * length, 0);
            let given = Tensor::from_slice(&flat, [size, length]);
            let values = forward.call(&[&given])[0].to_vec::<f32>();
            for (&i, row) in batch.iter().zip(values.chunks_exact(self.features)) {
                rows[i] = row.to_vec();
            }
        }
        rows
    }

    /// The tokens of a text; one that is empty is one that is unknown, so that there is something.
    fn tokens(&self, text: &str) -> Vec<i32> {
        let mut tokens = Vec::new();
        self.tokenizer.encode_within(text, self.longest, &mut tokens);
        if tokens.is_empty() {
            tokens.push(self.tokenizer.unknown());
        }
        tokens
    }

    /// The row of a text as the formula says, without plans: for tests and for those who read.
    pub fn plainly(&self, text: &str) -> Vec<f32> {
        let tokens = self.tokens(text);
        let given = Tensor::from_slice(&tokens, [1, tokens.len()]);
        forward(self.model.clone(), self.pooling, self.normalize)(&[given])[0].to_vec::<f32>()
    }
}

/// Tokens `[batch, time]` to rows `[batch, features]`.
fn forward(model: Arc<Bert>, pooling: SequencePooling, normalize: bool) -> Forward {
    Box::new(move |args| {
        let cx = Context::eval();
        let row = pooling.forward(&model.forward(&args[0], &cx), &cx);
        let row = match normalize {
            // As torch.nn.functional.normalize.
            true => &row / row.square().sum_axes(&[1], true).sqrt().maximum(1e-12),
            false => row,
        };
        vec![row.to_dtype(DType::F32)]
    })
}

/// What the tensors of BERT models are called: some stand below `bert.`, old ones call the scale and the
/// shift of a norm gamma and beta. Heads for other tasks are of no interest.
fn names() -> Transfer {
    Transfer::new()
        .rename("bert.*.gamma", "*.weight")
        .rename("bert.*.beta", "*.bias")
        .rename("bert.*", "*")
        .rename("*.gamma", "*.weight")
        .rename("*.beta", "*.bias")
        .ignore(&["*position_ids", "pooler", "bert.pooler", "cls", "classifier", "qa_outputs"])
        .strict()
}

fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy(), 200)
}

#[cfg(test)]
mod tests;
