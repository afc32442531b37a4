//! A trained network, from its file alone.

use crate::model::{Card, CardError};
use crate::summary::shape_text;
use nerve_core::{DType, RunError, Shape, Step, Tensor, compile};
use nerve_data::image_file::{self, Picture};
use nerve_data::transform::{Normalization, Normalizer};
use nerve_data::{DataError, Element, Field, mnist};
use nerve_formats::{FormatError, Limits, SafeTensors};
use nerve_nn::layers::Sequential;
use nerve_nn::state::LoadError;
use nerve_nn::{Context, Layer, Params};
use std::path::Path;
use std::sync::Arc;

/// Why a model cannot be opened or asked.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file cannot be read or is damaged.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Its metadata are not those of a model.
    #[error(transparent)]
    Card(#[from] CardError),
    /// Its architecture does not fit its input, or its numbers do not fit its architecture.
    #[error("{file}: {message}")]
    Network {
        /// The file.
        file: String,
        /// What does not fit.
        message: String,
    },
    /// Its normalisation does not fit its input, or a picture cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// A network with its parameters.
pub struct Network {
    /// The parameters.
    pub params: Params,
    /// The layers.
    pub model: Arc<Sequential>,
}

impl Network {
    /// The network of a card with fresh parameters.
    ///
    /// # Errors
    /// The layers do not fit the input, or do not end in the classes; in one line.
    pub fn new(card: &Card, seed: u64) -> Result<Self, String> {
        let params = Params::new(seed);
        let input = Shape::from(card.input.as_slice());
        let effects = Sequential::describe(&card.layers, &input).map_err(|e| e.to_string())?;
        let parameters =
            effects.iter().fold(0u128, |n, effect| n.saturating_add(effect.parameters));
        // A file could name any size; what it holds is checked only once the variables exist.
        let bytes = parameters.saturating_mul(4);
        if bytes > crate::machine::memory().unwrap_or(u64::MAX) as u128 {
            let bytes = crate::summary::bytes_text(bytes);
            return Err(format!("the parameters need {bytes}, more than this machine has"));
        }
        let (model, output) =
            Sequential::from_items(&card.layers, &input, &params).map_err(|e| e.to_string())?;
        if *output != [card.labels.len()] && !card.recipe().is_ok_and(|r| r.compares_examples()) {
            return Err(format!(
                "the last layer gives {}, the {} classes need [{}]",
                shape_text(&output),
                card.labels.len(),
                card.labels.len()
            ));
        }
        Ok(Network { params, model: Arc::new(model) })
    }
}

/// A trained network that answers what is on a picture.
pub struct Predictor {
    /// What its file says beside its numbers.
    pub card: Card,
    /// The network.
    pub network: Network,
    field: Field,
    normalizer: Normalizer,
    /// Batch of one: from pixels to probabilities.
    step: Step,
}

/// How likely each class is.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The names of the classes.
    pub labels: Vec<String>,
    /// Their probabilities, which add up to one.
    pub probabilities: Vec<f32>,
}

impl Answer {
    /// The most likely classes, the likeliest first.
    pub fn best(&self, count: usize) -> Vec<(&str, f32)> {
        let mut all: Vec<(&str, f32)> = self
            .labels
            .iter()
            .map(String::as_str)
            .zip(self.probabilities.iter().copied())
            .collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.truncate(count);
        all
    }
}

impl Predictor {
    /// Opens a model file.
    ///
    /// # Errors
    /// The file cannot be read, is no model, or its parts do not fit each other.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let file = SafeTensors::open(path, &Limits::default())?;
        let card = Card::read(file.file(), |key| file.metadata_value(key))?;
        let refuse =
            |message: String| ModelError::Network { file: file.file().to_string(), message };
        if card.recipe().is_ok_and(|recipe| recipe.compares_examples()) {
            return Err(refuse("its outputs are embeddings, none of which names a class".into()));
        }
        let network = Network::new(&card, 0).map_err(refuse)?;
        network.params.load_safetensors(&file).map_err(|e: LoadError| refuse(e.to_string()))?;
        file.require_finite()?;
        let field = Field::new(mnist::IMAGE, &card.input, Element::U8);
        let as_stored = Normalization { subtract: vec![0.0], divide: vec![1.0] };
        let numbers = card.normalization.as_ref().unwrap_or(&as_stored);
        let normalizer = Normalizer::new(numbers, &field)?;
        let step = probabilities(&network.model, &card.input);
        Ok(Predictor { card, network, field, normalizer, step })
    }

    /// Reads a PNG or JPEG file as the network takes it.
    ///
    /// # Errors
    /// It is no such file, damaged or too large.
    pub fn read(&self, path: &Path) -> Result<Picture, DataError> {
        image_file::read(path, &self.field)
    }

    /// Whether a picture is mostly light while the training data are mostly dark, or the reverse:
    /// then it most likely shows dark writing on white for a network that learned the opposite.
    pub fn looks_inverted(&self, pixels: &[u8]) -> bool {
        let Some(trained) = self.card.mean else { return false };
        let sum: f64 = pixels.iter().map(|&pixel| f64::from(pixel)).sum();
        let here = sum / pixels.len().max(1) as f64;
        (trained - 127.5).abs() > 64.0
            && (here - 127.5).abs() > 32.0
            && (trained < 127.5) != (here < 127.5)
    }

    /// What is on a picture of the network's size, from its bytes.
    ///
    /// # Errors
    /// The machine reports an index out of range, which no network of pictures has.
    ///
    /// # Panics
    /// The number of pixels is not that of the network's input.
    pub fn answer(&self, pixels: &[u8]) -> Result<Answer, RunError> {
        let mut values = vec![0.0f32; self.field.values_per_sample()];
        self.normalizer.apply_u8(pixels, &mut values);
        self.step.write(0, &values);
        self.step.run()?;
        Ok(Answer { labels: self.card.labels.clone(), probabilities: self.step.read(0) })
    }
}

fn probabilities(model: &Arc<Sequential>, input: &[usize]) -> Step {
    let model = model.clone();
    let forward =
        compile(move |args: &[Tensor]| vec![model.forward(&args[0], &Context::eval()).softmax(-1)]);
    let shape: Vec<usize> = [1].iter().chain(input).copied().collect();
    forward.step(&[(Shape::from(shape.as_slice()), DType::F32)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;
    use crate::source::Source;
    use nerve_formats::safetensors::to_bytes;

    const RECIPE: &str = "[data]\nname = \"mnist\"\n[model]\nlayers = [\n\
        { type = \"Conv2d\", filters = 2, kernel = 3, activation = \"relu\" }, \"MaxPool2d\",\n\
        \"Flatten\", { type = \"Dropout\", rate = 0.5 }, { type = \"Dense\", units = 3 }]\n";

    fn card() -> Card {
        let recipe = Recipe::load(Source::new("r", RECIPE), &[]).unwrap();
        Card {
            layers: recipe.layers.clone(),
            input: vec![1, 6, 4],
            normalization: Some(Normalization { subtract: vec![30.0], divide: vec![80.0] }),
            mean: Some(30.0),
            labels: ["a", "b", "c"].map(String::from).to_vec(),
            recipe: recipe.resolved(),
            trained: serde_json::Value::Null,
        }
    }

    #[test]
    fn a_saved_network_answers_from_its_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let card = card();
        let network = Network::new(&card, 7).unwrap();
        network.params.save_safetensors(&path, &card.metadata()).unwrap();
        let predictor = Predictor::open(&path).unwrap();
        assert_eq!(predictor.card, card);
        let pixels: Vec<u8> = (0..24).map(|i| i * 10).collect();
        let answer = predictor.answer(&pixels).unwrap();
        assert!((answer.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        // By hand: the same pixels, normalised, through the network that was saved.
        let values: Vec<f32> = pixels.iter().map(|&p| (f32::from(p) - 30.0) / 80.0).collect();
        let x = Tensor::from_slice(&values, [1, 1, 6, 4]);
        let expected: Vec<f32> = network.model.forward(&x, &Context::eval()).softmax(-1).to_vec();
        for (a, b) in answer.probabilities.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
        let best = answer.best(2);
        assert_eq!(best.len(), 2);
        assert!(best[0].1 >= best[1].1);
        assert!(predictor.looks_inverted(&[250; 24]));
        assert!(!predictor.looks_inverted(&[10; 24]));
    }

    #[test]
    fn files_that_are_no_model_or_do_not_fit_say_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        let error = || match Predictor::open(&path) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("was accepted"),
        };
        assert!(error().contains("m.safetensors"));
        std::fs::write(&path, to_bytes(&[], &[]).unwrap()).unwrap();
        assert!(error().contains("no `format` in the metadata"), "{}", error());
        std::fs::write(&path, to_bytes(&[], &card().metadata()).unwrap()).unwrap();
        assert!(error().contains("`0.weight` [2, 1, 3, 3] is missing"), "{}", error());
        let wrong = Card { labels: vec!["a".into(); 4], ..card() };
        let error = Network::new(&wrong, 0).err().unwrap();
        assert!(error.contains("gives [3], the 4 classes need [4]"), "{error}");
        let small = Card { input: vec![1, 2, 2], ..card() };
        let error = Network::new(&small, 0).err().unwrap();
        assert!(error.contains("layer 0 (Conv2d) does not fit"), "{error}");
    }
}
