//! From the description of a network and of its columns to the network.

use crate::base::Behind;
use crate::columns::Column;
use crate::diagnostic::{Code, Diagnostic};
use crate::features::{Features, Feed, Fitted};
use crate::recipe::{Recipe, item_of, path};
use crate::summary::bytes_text;
use nerve_core::Shape;
use nerve_data::features::{IGNORED, Role};
use nerve_formats::Meaning;
use nerve_formats::spec::{Item, Kind, Segment, Target, Value, check_value};
use nerve_nn::layers::Sequential;
use nerve_nn::models::{self, FeatureError, FeatureModel, Place};
use nerve_nn::{Model, Params, combiners, decoders, encoders};
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
        Network::within(Params::new(recipe.seed()), recipe, features)
    }

    /// The network of a recipe with its parameters in `params`.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn within(params: Params, recipe: &Recipe, features: &Features) -> Result<Self, String> {
        let summary = recipe.summary(features, [0; 3], None).map_err(|report| report.brief())?;
        // A file could name any size; what it holds is checked only once the variables exist.
        let bytes = summary.parameters().saturating_mul(4);
        if bytes > crate::machine::memory().unwrap_or(u64::MAX) as u128 {
            let bytes = bytes_text(bytes);
            return Err(format!("the parameters need {bytes}, more than this machine has"));
        }
        let network = recipe.network(features).map_err(|problem| problem.message)?;
        let base = recipe.base().map_err(|problem| problem.message)?;
        let feeds = features.feeds();
        let shapes: Vec<&[usize]> = feeds.iter().map(|feed| &feed.shape[..]).collect();
        let front = base.map(|base| base.front(&shapes, &params)).transpose()?;
        let model = FeatureModel::new(&network, &params).map_err(|error| error.to_string())?;
        let model: Arc<dyn Model> = match front {
            Some(front) => Arc::new(Behind { front, model }),
            None => Arc::new(model),
        };
        Ok(Network { params, model })
    }
}

impl Recipe {
    /// What the network is made of.
    ///
    /// # Errors
    /// A list of layers for several inputs; an encoder where the columns lie side by side with others.
    pub(crate) fn network(&self, features: &Features) -> Result<models::Features, Diagnostic> {
        let (feeds, _) = self.feeds(features)?;
        let given = self.model.get("combiner").and_then(item_of);
        let inputs = feeds
            .iter()
            .map(|feed| {
                let encoder = self.encoder(feed, &feeds, features, given.as_ref())?;
                Ok(models::Input { name: step(&feed.name), feed: feed.for_network(), encoder })
            })
            .collect::<Result<Vec<_>, Diagnostic>>()?;
        let encoders: Vec<Item> = inputs.iter().map(|input| input.encoder.clone()).collect();
        if let (true, Some(output), false) =
            (feeds.is_empty(), features.outputs.first(), self.layers.is_empty())
        {
            let name = crate::source::escape(&output.column.name);
            let message = format!("layers, and nothing goes in: `{name}` is written from nothing");
            let span = Some(self.place(&path("model", "layers"), Target::Key));
            let problem = Diagnostic::new(Code::Contradiction, message, span);
            return Err(problem.label("its decoder is the whole network"));
        }
        let embedding = feeds.first().filter(|_| self.compares_examples());
        let embedding = embedding.map(|feed| self.embedding(feed));
        let outputs = features.outputs.iter().map(|output| {
            let head = Shape::from(output.head().shape.as_slice());
            let given = output.column.args.get("decoder").and_then(item_of);
            let (shape, decoder) = match (given, &embedding) {
                (Some(decoder), _) => (head, decoder),
                (None, Some(shape)) => (shape.clone(), word(&decoders::KIND, "none")),
                (None, None) => (head.clone(), decoders::default_for(&head)),
            };
            models::Output { name: step(&output.column.name), shape, decoder }
        });
        let outputs = outputs.collect();
        let combiner = given.unwrap_or_else(|| combiners::default_for(&encoders));
        Ok(models::Features { inputs, combiner, outputs })
    }

    /// The shape that the list of layers gives.
    fn embedding(&self, input: &Feed) -> Shape {
        let shape = Shape::from(input.shape.as_slice());
        let effects = Sequential::describe(&self.layers, &shape).unwrap_or_default();
        effects.last().map_or(shape, |effect| effect.shape.clone())
    }

    fn encoder(
        &self,
        feed: &Feed,
        feeds: &[Feed],
        features: &Features,
        combiner: Option<&Item>,
    ) -> Result<Item, Diagnostic> {
        let column: Option<&Column> =
            features.inputs.iter().map(|it| &it.column).find(|column| column.name == feed.name);
        let own = column.and_then(|column| Some((column, item_of(column.args.get("encoder")?)?)));
        if self.layers.is_empty() {
            let usual = || encoders::default_for(&feed.for_network(), combiner);
            return Ok(own.map_or_else(usual, |(_, encoder)| encoder));
        }
        let span = Some(self.place(&path("model", "layers"), Target::Key));
        if feeds.len() > 1 {
            let names: Vec<&str> = feeds.iter().map(|feed| &*feed.name).collect();
            let message = format!(
                "a list of layers has one input; the columns become {}: {}",
                feeds.len(),
                names.join(", ")
            );
            return Err(Diagnostic::new(Code::Contradiction, message, span).label(
                "take it away: each input then has an encoder, and `combiner` says how they meet",
            ));
        }
        if let Some((column, _)) = own {
            let message = "`encoder` of the one input, and layers in [model]".to_string();
            let at = column.path(Role::Input, Some("encoder"));
            let span = Some(self.place(&at, Target::Key));
            return Err(
                Diagnostic::new(Code::Contradiction, message, span).label("remove one of the two")
            );
        }
        let layers = self.layers.iter().map(|layer| Value::Item(Box::new(layer.clone())));
        let entry = encoders::find("layers").expect("an encoder of the registry");
        let list = Value::List(layers.collect::<Vec<_>>().into());
        let args = nerve_formats::spec::Args::default().with("layers", list);
        Ok(Item { name: entry.spec.name, args })
    }

    /// A part of the network that does not fit, at its place in the recipe.
    pub(crate) fn part_misfit(&self, error: &FeatureError, features: &Features) -> Diagnostic {
        let at = match error.place {
            Place::Encoder(i) => {
                let slot = &features.slots[i];
                let named = |it: &&Fitted| it.column.name == slot.parts[0].0;
                let column = features.inputs.iter().find(named).map(|it| &it.column);
                column.map(|column| column.path(Role::Input, Some("encoder"))).unwrap_or_default()
            }
            Place::Combiner => path("model", "combiner").to_vec(),
            Place::Decoder(i) => {
                let column = &features.outputs[i].column;
                column.path(Role::Output, Some("decoder"))
            }
        };
        let at: Vec<Segment> = at;
        Diagnostic::new(Code::Shape, error.to_string(), Some(self.place(&at, Target::Value)))
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
        let metrics: Vec<Item> = match given("metrics") {
            Some(Value::List(values)) => values.iter().filter_map(item_of).collect(),
            _ => head.metrics.iter().map(|name| word(&nerve_train::metrics::KIND, name)).collect(),
        };
        if !matches!(output.feature.meaning(), Meaning::Mask { .. }) {
            return (loss, metrics);
        }
        let metric = |metric: Item| ignoring(&nerve_train::metrics::KIND, metric);
        (ignoring(&nerve_nn::losses::KIND, loss), metrics.into_iter().map(metric).collect())
    }
}

/// A name as a step of the paths of parameters, in which dots separate.
fn step(name: &str) -> String {
    name.replace('.', "_")
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
