//! From the description of a network and of its columns to the network.

use crate::diagnostic::Diagnostic;
use crate::features::{Features, Feed, Fitted};
use crate::recipe::Recipe;
use crate::summary::bytes_text;
use nerve_core::Shape;
use nerve_data::features::IGNORED;
use nerve_formats::Meaning;
use nerve_formats::spec::{Item, Kind, Value, check, check_value};
use nerve_nn::layers::Sequential;
use nerve_nn::{Model, Params};
use std::sync::Arc;

/// A network with its parameters.
pub struct Network {
    /// The parameters.
    pub params: Params,
    /// The layers.
    pub model: Arc<dyn Model>,
}

impl Network {
    /// The network of a recipe with fresh parameters.
    ///
    /// # Errors
    /// The layers do not fit the columns; in one line.
    pub fn new(recipe: &Recipe, features: &Features) -> Result<Self, String> {
        let summary = recipe.summary(features, [0; 3], None).map_err(|report| report.brief())?;
        // A file could name any size; what it holds is checked only once the variables exist.
        let bytes = summary.parameters().saturating_mul(4);
        if bytes > crate::machine::memory().unwrap_or(u64::MAX) as u128 {
            let bytes = bytes_text(bytes);
            return Err(format!("the parameters need {bytes}, more than this machine has"));
        }
        let params = Params::new(recipe.seed());
        let (input, layers) = recipe.chain(features).map_err(|problem| problem.message)?;
        let shape = Shape::from(input.shape.as_slice());
        let (model, _) =
            Sequential::from_items(&layers, &shape, &params).map_err(|error| error.to_string())?;
        Ok(Network { params, model: Arc::new(model) })
    }
}

impl Recipe {
    /// The one input and the layers, with the last one that the output needs where the recipe does not have it.
    pub(crate) fn chain(&self, features: &Features) -> Result<(Feed, Vec<Item>), Diagnostic> {
        let input = features.feeds().swap_remove(0);
        let mut layers = self.layers.clone();
        let shape = Shape::from(input.shape.as_slice());
        let output = &features.outputs[0];
        let head = output.head().shape;
        let effects = Sequential::describe(&layers, &shape).unwrap_or_default();
        let found = effects.last().map(|effect| effect.shape.to_vec());
        // A last layer that is a weighted sum and nothing else was meant to be the head: if it does not fit, that is told.
        if found.is_some_and(|found| found != head && found.len() == 1)
            && layers.last().is_some_and(|last| !is_head(last))
            && !self.compares_examples()
        {
            layers.push(dense(head.iter().product()));
        }
        Ok((input, layers))
    }

    /// The loss and the metrics of an output: its own, those of the trainer, or those usual for its type.
    pub(crate) fn judged_by(&self, output: &Fitted) -> (Item, Vec<Item>) {
        let head = output.head();
        let own = &output.column.args;
        let given = |key: &str| own.get(key).or(self.trainer.get(key));
        let loss = match given("loss") {
            Some(Value::Item(loss)) => (**loss).clone(),
            _ => word(&nerve_nn::losses::KIND, head.loss),
        };
        let metrics = match given("metrics") {
            Some(Value::List(values)) => values.iter().filter_map(crate::recipe::item_of).collect(),
            _ => head.metrics.iter().map(|name| word(&nerve_train::metrics::KIND, name)).collect(),
        };
        if !matches!(output.feature.meaning(), Meaning::Mask { .. }) {
            return (loss, metrics);
        }
        let metric = |metric| ignoring(&nerve_train::metrics::KIND, metric);
        let metrics: Vec<Item> = metrics;
        (ignoring(&nerve_nn::losses::KIND, loss), metrics.into_iter().map(metric).collect())
    }
}

/// Whether a layer is a weighted sum and nothing else.
fn is_head(layer: &Item) -> bool {
    layer.name == "Dense" && layer.args.item("activation").name == "linear"
}

fn dense(units: usize) -> Item {
    let spec = &nerve_nn::layers::find("Dense").expect("a layer of the registry").spec;
    let given = [("units".to_string(), Value::Int(units as i64))];
    Item { name: spec.name, args: check(spec, &given).expect("units suffice") }
}

/// The same loss or metric without the pixels that do not count, where it can leave them out.
fn ignoring(kind: &Kind, item: Item) -> Item {
    if item.args.has("ignore_index") {
        return item;
    }
    let mut given = vec![("type".to_string(), Value::text(item.name))];
    given.extend(item.args.iter().map(|(key, value)| (key.to_string(), value.clone())));
    given.push(("ignore_index".to_string(), Value::Int(i64::from(IGNORED))));
    match check_value(item.name, kind, &Value::Table(given)) {
        Ok(Value::Item(with)) => *with,
        _ => item,
    }
}

/// A word of a registry with all its defaults.
fn word(kind: &Kind, name: &'static str) -> Item {
    match check_value(name, kind, &Value::text(name)) {
        Ok(Value::Item(item)) => *item,
        _ => panic!("`{name}` is a word that stands alone"),
    }
}
