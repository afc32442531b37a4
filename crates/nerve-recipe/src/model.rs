//! What a model file says beside its numbers: everything that is needed to run it.
//!
//! A model is one safetensors file. Its tensors carry the state-dict names of PyTorch; its metadata
//! hold the architecture, what is done to an example before the first layer, and the names of the
//! classes, so that predicting repeats exactly what training did.

use crate::recipe::{Recipe, items};
use crate::resolved;
use crate::source::Source;
use crate::vocabulary::MODEL;
use crate::{explain, tree};
use nerve_data::transform::Normalization;
use nerve_formats::spec::{Item, check};
use serde_json::{Value, json};

/// The version of the metadata that this version writes and the newest that it reads.
pub const VERSION: u64 = 1;

/// What a model file says beside its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// The layers.
    pub layers: Vec<Item>,
    /// The shape of one example.
    pub input: Vec<usize>,
    /// The numbers of the normalisation; `None` for none.
    pub normalization: Option<Normalization>,
    /// The mean of the training values as they are stored (0 to 255), where it is known.
    pub mean: Option<f64>,
    /// The names of the classes.
    pub labels: Vec<String>,
    /// The resolved recipe that it was trained with.
    pub recipe: String,
    /// What the training reached; for people.
    pub trained: Value,
}

/// Why the metadata of a file are not those of a model.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {message}")]
pub struct CardError {
    /// The file.
    pub file: String,
    /// What is wrong.
    pub message: String,
}

impl Card {
    /// As the metadata of a safetensors file.
    pub fn metadata(&self) -> Vec<(String, String)> {
        let normalization = self
            .normalization
            .as_ref()
            .map(|numbers| json!({ "subtract": numbers.subtract, "divide": numbers.divide }));
        [
            ("format", "nerve".to_string()),
            ("format_version", VERSION.to_string()),
            ("nerve_version", env!("CARGO_PKG_VERSION").to_string()),
            ("architecture", resolved::layers(&self.layers)),
            ("input", json!({ "shape": self.input }).to_string()),
            (
                "preprocessing",
                json!({ "normalization": normalization, "mean": self.mean }).to_string(),
            ),
            ("labels", json!(self.labels).to_string()),
            ("recipe", self.recipe.clone()),
            ("trained", self.trained.to_string()),
        ]
        .map(|(key, value)| (key.to_string(), value))
        .to_vec()
    }

    /// From the metadata of a file; `get` gives the value of a key.
    ///
    /// # Errors
    /// A key is missing or its value is not what it should be; a newer version wrote it.
    pub fn read<'a>(file: &str, get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, CardError> {
        let refuse = |message: String| CardError { file: file.to_string(), message };
        let text = |key: &str| {
            get(key).ok_or_else(|| {
                refuse(format!(
                    "no `{key}` in the metadata: this is not a model that nerve trained"
                ))
            })
        };
        if text("format")? != "nerve" {
            return Err(refuse("expected the format `nerve` in the metadata".to_string()));
        }
        let version: u64 = text("format_version")?.parse().unwrap_or(u64::MAX);
        if version > VERSION {
            return Err(refuse(format!(
                "written in format {}, nerve {} reads up to format {VERSION}",
                text("format_version")?,
                env!("CARGO_PKG_VERSION")
            )));
        }
        let json = |key: &str| -> Result<Value, CardError> {
            serde_json::from_str(text(key)?)
                .map_err(|error| refuse(format!("`{key}` in the metadata: {error}")))
        };
        let broken = |key: &str| refuse(format!("`{key}` in the metadata is not as expected"));
        let input = lengths(&json("input")?["shape"]).ok_or_else(|| broken("input"))?;
        let labels = strings(&json("labels")?).ok_or_else(|| broken("labels"))?;
        let preprocessing = json("preprocessing")?;
        let mean = preprocessing["mean"].as_f64();
        let normalization = match &preprocessing["normalization"] {
            Value::Null => None,
            value => Some(
                numbers(&value["subtract"])
                    .zip(numbers(&value["divide"]))
                    .map(|(subtract, divide)| Normalization { subtract, divide })
                    .ok_or_else(|| broken("preprocessing"))?,
            ),
        };
        Ok(Card {
            layers: layers(text("architecture")?).map_err(refuse)?,
            input,
            normalization,
            mean,
            labels,
            recipe: text("recipe")?.to_string(),
            trained: json("trained")?,
        })
    }

    /// The recipe that it was trained with.
    ///
    /// # Errors
    /// It is no valid recipe (any more).
    pub fn recipe(&self) -> Result<Recipe, crate::Report> {
        Recipe::load(Source::new("recipe of the model", self.recipe.as_str()), &[])
    }
}

/// The layers of an architecture, as [`Card::metadata`] writes it.
fn layers(text: &str) -> Result<Vec<Item>, String> {
    let (node, mut problems) = tree::parse(0, text);
    if problems.is_empty() {
        match check(&MODEL, &node.pairs()) {
            Ok(args) => return Ok(items(&args, "layers")),
            Err(found) => {
                problems.extend(found.into_iter().map(|p| explain::problem(p, &[], &node)))
            }
        }
    }
    let report = crate::Report::new(vec![Source::new("architecture", text)], problems);
    Err(format!("the architecture in the metadata:\n{report}"))
}

fn lengths(value: &Value) -> Option<Vec<usize>> {
    let list = value.as_array()?.iter().map(|n| usize::try_from(n.as_u64()?).ok());
    list.collect::<Option<Vec<_>>>().filter(|shape| !shape.is_empty() && shape.len() <= 8)
}

fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|label| Some(label.as_str()?.to_string())).collect()
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array()?.iter().map(|number| number.as_f64().filter(|n| n.is_finite())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        let recipe = Recipe::load(crate::built_in("mnist").unwrap(), &[]).unwrap();
        Card {
            layers: recipe.layers.clone(),
            input: vec![1, 28, 28],
            normalization: Some(Normalization {
                subtract: vec![33.31842144840112],
                divide: vec![78.56748997803834],
            }),
            mean: Some(33.31842144840112),
            labels: (0..10).map(|i| i.to_string()).collect(),
            recipe: recipe.resolved(),
            trained: json!({ "epochs": 5 }),
        }
    }

    fn read(metadata: &[(String, String)]) -> Result<Card, String> {
        Card::read("m.safetensors", |key| {
            metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
        })
        .map_err(|error| error.to_string())
    }

    #[test]
    fn a_card_reads_back_bit_for_bit() {
        let card = card();
        assert_eq!(read(&card.metadata()).unwrap(), card);
        assert!(card.recipe().unwrap().layers == card.layers);
        let plain = Card { normalization: None, ..card };
        assert_eq!(read(&plain.metadata()).unwrap(), plain);
    }

    #[test]
    fn a_file_that_is_no_model_says_so() {
        assert!(read(&[]).unwrap_err().contains("no `format` in the metadata"));
        let with = |key: &str, value: &str| {
            let mut metadata = card().metadata();
            metadata.iter_mut().filter(|(k, _)| k == key).for_each(|(_, v)| *v = value.to_string());
            read(&metadata).unwrap_err()
        };
        assert!(with("format", "pt").contains("expected the format `nerve`"));
        assert!(with("format_version", "2").contains("reads up to format 1"));
        assert!(with("labels", "[1, 2]").contains("`labels`"));
        assert!(with("labels", "[").contains("`labels` in the metadata: EOF"));
        assert!(with("input", "{\"shape\": [-1]}").contains("`input`"));
        assert!(with("preprocessing", "{\"normalization\": {}}").contains("`preprocessing`"));
        let text = with("architecture", "layers = [\"Dens\"]");
        assert!(
            text.contains("unknown layer `Dens`") && text.contains("did you mean `Dense`?"),
            "{text}"
        );
    }
}
