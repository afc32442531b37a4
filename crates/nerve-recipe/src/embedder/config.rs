//! What the JSON files of a model folder say.

use super::{EmbedderError, shown};
use nerve_formats::spec::{Item, check};
use nerve_formats::{ErrorKind, FormatError, Limits, Reader, escape};
use nerve_nn::activations;
use nerve_nn::layers::SequencePooling;
use nerve_nn::models::BertOptions;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// How the rows of the tokens become one.
pub(super) struct Pooled {
    pub pooling: SequencePooling,
    /// Whether the row gets length 1.
    pub normalize: bool,
    /// The most tokens of a text, if the folder says so.
    pub longest: Option<usize>,
}

/// A JSON file of a folder; `None` if it is not there.
struct Json {
    path: PathBuf,
    value: Value,
}

impl Json {
    fn read(path: PathBuf) -> Result<Option<Json>, EmbedderError> {
        if !path.exists() {
            return Ok(None);
        }
        let limits = Limits { max_bytes: 1 << 20, ..Limits::default() };
        let mut reader = Reader::open(&path, &limits)?;
        let bytes = reader.bytes("file", reader.remaining().unwrap_or(0))?;
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            FormatError::new(ErrorKind::Malformed, &path, "file", "JSON", error.to_string())
        })?;
        Ok(Some(Json { path, value }))
    }

    fn unfit(&self, key: &str, expected: &str) -> EmbedderError {
        let found = match self.value.get(key) {
            Some(value) => escape(&value.to_string(), 80),
            None => "nothing".into(),
        };
        let message = format!("{key}: expected {expected}, found {found}");
        EmbedderError::Unfit { file: shown(&self.path), message }
    }

    /// A whole number of at least 1.
    fn count(&self, key: &str) -> Result<usize, EmbedderError> {
        let number = self.value[key].as_u64().filter(|n| (1..=1 << 40).contains(n));
        let number = number.and_then(|n| usize::try_from(n).ok());
        number.ok_or_else(|| self.unfit(key, "a whole number above 0"))
    }

    /// A number from 0 up to, and not including, 1; `default` if there is none.
    fn share(&self, key: &str, default: f64) -> Result<f64, EmbedderError> {
        match self.value.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => {
                let number = value.as_f64().filter(|x| (0.0..1.0).contains(x));
                number.ok_or_else(|| self.unfit(key, "a number of 0 or more, and below 1"))
            }
        }
    }

    /// What is there must be this.
    fn require(&self, key: &str, wanted: Value) -> Result<(), EmbedderError> {
        match self.value.get(key) {
            None | Some(Value::Null) => Ok(()),
            Some(value) if *value == wanted => Ok(()),
            _ => Err(self.unfit(key, &wanted.to_string())),
        }
    }
}

/// The sizes in `config.json`.
pub(crate) fn sizes(folder: &Path) -> Result<BertOptions, EmbedderError> {
    let path = folder.join("config.json");
    let Some(json) = Json::read(path.clone())? else {
        let error = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(FormatError::io(path, "cannot open", &error).into());
    };
    json.require("model_type", "bert".into())?;
    json.require("position_embedding_type", "absolute".into())?;
    json.require("pad_token_id", 0.into())?;
    json.require("is_decoder", false.into())?;
    let [vocabulary, features, depth, heads, longest] = [
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "max_position_embeddings",
    ]
    .map(|key| json.count(key));
    let (features, heads) = (features?, heads?);
    if !features.is_multiple_of(heads) {
        return Err(json.unfit("num_attention_heads", &format!("a divisor of {features}")));
    }
    let plain = BertOptions::new(vocabulary?, features, depth?, heads, longest?);
    Ok(BertOptions {
        feed_forward: json.count("intermediate_size")?,
        types: match json.value.get("type_vocab_size") {
            Some(_) => json.count("type_vocab_size")?,
            None => plain.types,
        },
        activation: activation(&json)?,
        eps: json.share("layer_norm_eps", plain.eps)?,
        dropout: json.share("hidden_dropout_prob", 0.1)?,
        attention_dropout: json.share("attention_probs_dropout_prob", 0.1)?,
        ..plain
    })
}

fn activation(json: &Json) -> Result<Item, EmbedderError> {
    let name = match json.value.get("hidden_act") {
        None => "gelu",
        Some(value) => match value.as_str() {
            Some("gelu_pytorch_tanh" | "gelu_fast") => "gelu_tanh",
            Some("swish") => "silu",
            Some(name) => name,
            None => "",
        },
    };
    let unfit = || json.unfit("hidden_act", "the name of an activation: gelu, gelu_new, relu, ...");
    let entry = activations::find(name).ok_or_else(unfit)?;
    let args = check(&entry.spec, &[]).map_err(|_| unfit())?;
    Ok(Item { name: entry.spec.name, args })
}

/// What the files of sentence-transformers say of the pooling.
pub(super) fn pooled(folder: &Path) -> Result<Pooled, EmbedderError> {
    let mut pooled = Pooled { pooling: SequencePooling::Mean, normalize: true, longest: None };
    let mut pooling = folder.join("1_Pooling");
    if let Some(json) = Json::read(folder.join("modules.json"))? {
        let wrong = |message: &str| EmbedderError::Unfit {
            file: shown(&json.path),
            message: message.to_string(),
        };
        let modules = json.value.as_array().ok_or_else(|| wrong("expected a list"))?;
        pooled.normalize = false;
        for module in modules {
            match module["type"].as_str().and_then(|kind| kind.rsplit('.').next()) {
                Some("Transformer") => {}
                Some("Pooling") => {
                    // Two names are in use, and no path is made of what stands in a file.
                    if module["path"] == "pooling" {
                        pooling = folder.join("pooling");
                    }
                }
                Some("Normalize") => pooled.normalize = true,
                other => {
                    let found = escape(other.unwrap_or("none"), 60);
                    return Err(wrong(&format!(
                        "expected the modules Transformer, Pooling and Normalize, found {found}"
                    )));
                }
            }
        }
    }
    if let Some(json) = Json::read(pooling.join("config.json"))? {
        pooled.pooling = way(&json)?;
    }
    if let Some(json) = Json::read(folder.join("sentence_bert_config.json"))?
        && json.value.get("max_seq_length").is_some_and(|value| !value.is_null())
    {
        pooled.longest = Some(json.count("max_seq_length")?);
    }
    Ok(pooled)
}

fn way(json: &Json) -> Result<SequencePooling, EmbedderError> {
    use SequencePooling::{First, Max, Mean};
    let known = [
        ("mean", "pooling_mode_mean_tokens", Mean),
        ("cls", "pooling_mode_cls_token", First),
        ("max", "pooling_mode_max_tokens", Max),
    ];
    if let Some(mode) = json.value.get("pooling_mode") {
        let found = known.iter().find(|(name, ..)| mode == name);
        return found
            .map(|known| known.2)
            .ok_or_else(|| json.unfit("pooling_mode", "mean, cls or max"));
    }
    let on = json.value.as_object().into_iter().flatten();
    let on: Vec<&String> = on
        .filter(|(key, value)| key.starts_with("pooling_mode_") && **value == Value::Bool(true))
        .map(|(key, _)| key)
        .collect();
    let found = match on[..] {
        [one] => known.iter().find(|(_, key, _)| one == key),
        _ => None,
    };
    found.map(|known| known.2).ok_or_else(|| EmbedderError::Unfit {
        file: shown(&json.path),
        message: format!(
            "expected one of pooling_mode_mean_tokens, _cls_token and _max_tokens, found {on:?}"
        ),
    })
}
