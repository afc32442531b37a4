//! What a model file says beside its numbers: everything that is needed to run it.
//!
//! A model is one safetensors file. Its tensors carry the state-dict names of PyTorch; its metadata hold the resolved
//! recipe, which describes columns and network, and what every feature learned from the training data, so that
//! predicting repeats exactly what training did.

use crate::base::Base;
use crate::features::Features;
use crate::recipe::Recipe;
use crate::source::Source;
use nerve_lens::drift::Reference;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// The version of the metadata that this version writes and reads.
pub const VERSION: u64 = 2;

/// What a model file says beside its numbers.
#[derive(Clone, Debug)]
pub struct Card {
    /// The resolved recipe that it was trained with: columns, network, training.
    pub recipe: Recipe,
    /// The columns with what was learned about them.
    pub features: Features,
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

/// The metadata with what was reached by a training.
pub(crate) fn with_training(
    mut metadata: Vec<(String, String)>,
    trained: Value,
) -> Vec<(String, String)> {
    let entry = metadata.iter_mut().find(|(key, _)| key == TRAINED);
    entry.expect("every card has it").1 = trained.to_string();
    metadata
}

const TRAINED: &str = "trained";
/// The graph of the network in front of the layers.
pub(crate) const BASE: &str = "base";
const REFERENCE: &str = "reference";

impl Card {
    /// As the metadata of a safetensors file.
    pub fn metadata(&self) -> Vec<(String, String)> {
        let base = self.recipe.base().ok().flatten();
        let base = base.map(|base| (BASE.to_string(), base.text()));
        let mut all = [
            ("format", "nerve".to_string()),
            ("format_version", VERSION.to_string()),
            ("nerve_version", env!("CARGO_PKG_VERSION").to_string()),
            ("recipe", self.recipe.resolved()),
            ("features", self.features.state().to_string()),
            (TRAINED, self.trained.to_string()),
        ]
        .map(|(key, value)| (key.to_string(), value))
        .to_vec();
        all.extend(base);
        if let Some(reference) = &self.features.reference {
            all.push((REFERENCE.to_string(), reference.to_json().to_string()));
        }
        all
    }

    /// From the metadata of a file; `get` gives the value of a key.
    ///
    /// # Errors
    /// A key is missing or its value is not what it should be; another version wrote it.
    pub fn read<'a>(file: &str, get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, CardError> {
        let refuse = |message: String| CardError { file: file.to_string(), message };
        let text = |key: &str| {
            get(key).ok_or_else(|| {
                refuse(format!(
                    "no `{key}` in the metadata: this is not a model that nerve trained (a file of weights alone has no \
                     network in it; an ONNX file has)"
                ))
            })
        };
        if text("format")? != "nerve" {
            return Err(refuse("expected the format `nerve` in the metadata".to_string()));
        }
        let version: u64 = text("format_version")?.parse().unwrap_or(u64::MAX);
        if version != VERSION {
            return Err(refuse(format!(
                "written in format {}, nerve {} reads format {VERSION}",
                text("format_version")?,
                env!("CARGO_PKG_VERSION")
            )));
        }
        let json = |key: &str| -> Result<Value, CardError> {
            serde_json::from_str(text(key)?)
                .map_err(|error| refuse(format!("`{key}` in the metadata: {error}")))
        };
        let recipe = Recipe::of_model(Source::new("recipe of the model", text("recipe")?))
            .map_err(|report| refuse(format!("the recipe in the metadata:\n{report}")))?;
        if let Some(graph) = get(BASE) {
            let base =
                Base::read(graph).map_err(|error| refuse(format!("the metadata: {error}")))?;
            // The file that the recipe names may be gone: this is what it said.
            let _ = recipe.base.set(Ok(Arc::new(base)));
        }
        let mut features = Features::restore(&recipe, &json("features")?, Path::new(""))
            .map_err(|error| refuse(format!("`features` in the metadata: {error}")))?;
        if get(REFERENCE).is_some() {
            let reference = Reference::from_json(&json(REFERENCE)?)
                .map_err(|error| refuse(format!("`{REFERENCE}` in the metadata: {error}")))?;
            features.reference = Some(Arc::new(reference));
        }
        Ok(Card { recipe, features, trained: json(TRAINED)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Rows;
    use nerve_data::{Cells, Column, Origin, Table};
    use serde_json::json;

    const RECIPE: &str = "[data]\npath = \"x.csv\"\n\
        [[input]]\nname = [\"a\", \"b\"]\ntype = \"number\"\n\
        [[output]]\nname = \"c\"\ntype = \"category\"\n\
        [model]\nlayers = [{ type = \"Dense\", units = 2 }]\n";

    fn card() -> Card {
        let recipe = Recipe::load(Source::new("r", RECIPE), &[]).unwrap();
        let column = |name: &str, numbers: [f64; 4]| Column {
            name: name.into(),
            cells: Cells::Numbers(numbers.to_vec()),
        };
        let columns = vec![
            column("a", [0.1, 0.7, 1.3, -2.0]),
            column("b", [1e9, 3.0, 2.0, 0.0]),
            column("c", [1.0, 2.0, 2.0, 1.0]),
        ];
        let table = Table::new(columns, Origin::default()).unwrap();
        let features = Features::fit(&recipe, &Rows::all(table)).unwrap();
        Card { recipe, features, trained: json!({ "epochs": 5 }) }
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
        let again = read(&card.metadata()).unwrap();
        assert!(again.recipe.same(&card.recipe));
        assert_eq!(again.features.state(), card.features.state());
        assert_eq!(again.features.feeds(), card.features.feeds());
        assert_eq!(again.metadata(), card.metadata());
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
        assert!(with("format_version", "1").contains("reads format 2"));
        assert!(with("features", "{\"input\": 3}").contains("column `a`"));
        assert!(with("features", "[").contains("`features` in the metadata: EOF"));
        let text = with("recipe", &RECIPE.replace("Dense", "Dens"));
        assert!(
            text.contains("unknown layer `Dens`") && text.contains("did you mean `Dense`?"),
            "{text}"
        );
    }
}
