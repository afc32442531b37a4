//! The layer table: shapes through the whole model, parameters, cost, memory.

use crate::diagnostic::{Code, Diagnostic, Report};
use crate::features::{Features, Feed, Fitted};
use crate::recipe::{Recipe, items, path};
use crate::source::{Span, escape};
use nerve_core::{DType, Shape};
use nerve_data::Element;
use nerve_data::features::Role;
use nerve_formats::Meaning;
use nerve_formats::spec::{Args, Item, Segment, Target, Value};
use nerve_nn::layers::{self, Effect, Misfit};
use nerve_nn::models::FeatureModel;
use nerve_nn::{losses, optim};
use nerve_train::metrics;
use serde_json::json;
use std::fmt::Write;

/// One line of the layer table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The name of the layer, which is also that of its parameters: its place in the list.
    pub name: String,
    /// The type, with the activation where it has one: `Conv2d + relu`.
    pub kind: String,
    /// Its effect.
    pub effect: Effect,
}

/// The layer table with its sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The shape of one example of the first input.
    pub input: Vec<usize>,
    /// The layers.
    pub rows: Vec<Row>,
    /// Examples in one step.
    pub batch: usize,
    /// Of the operands of matrix products and convolutions: `f32` or `bf16`.
    pub precision: String,
    /// Numbers that the optimizer keeps for each parameter.
    pub slots: usize,
    /// Bytes of the data set in memory.
    pub data_bytes: u128,
}

const F32: u128 = 4;

impl Summary {
    fn sum(&self, of: impl Fn(&Effect) -> u128) -> u128 {
        self.rows.iter().fold(0u128, |all, row| all.saturating_add(of(&row.effect)))
    }

    /// Trainable numbers.
    pub fn parameters(&self) -> u128 {
        self.sum(|effect| effect.parameters)
    }

    /// Floating-point operations forward for one example.
    pub fn flops(&self) -> u128 {
        self.sum(|effect| effect.flops)
    }

    /// Floating-point operations of one training step for one example: backward, each weighted
    /// sum is needed once for its input and once for its weights.
    pub fn training_flops(&self) -> u128 {
        self.flops().saturating_mul(3)
    }

    /// Bytes of what the backward pass needs, for one batch.
    pub fn activation_bytes(&self) -> u128 {
        let values = self.sum(|effect| effect.kept).saturating_add(product(&self.input));
        values.saturating_mul(F32).saturating_mul(self.batch as u128)
    }

    /// Estimate of the memory that training needs: parameters, their gradients and the optimizer's
    /// numbers; activations and the two largest gradients of activations; the data set.
    pub fn training_bytes(&self) -> u128 {
        let weights = self.parameters().saturating_mul(F32 * (2 + self.slots as u128));
        let largest = self.rows.iter().map(|row| product(&row.effect.shape)).max().unwrap_or(0);
        let gradients = largest.saturating_mul(2 * F32).saturating_mul(self.batch as u128);
        let state = self.sum(|effect| effect.state).saturating_mul(F32);
        [weights, self.activation_bytes(), gradients, state, self.data_bytes]
            .into_iter()
            .fold(0, u128::saturating_add)
    }

    /// Bytes that a step moves to update all parameters, those of embeddings too: parameters and the optimizer's numbers
    /// are read and written, gradients written and read.
    pub fn update_bytes(&self) -> u128 {
        self.parameters().saturating_mul(F32 * (4 + 2 * self.slots as u128))
    }

    /// Bytes that one example moves by looking rows up in tables, which counts no operation: forward a row is read and
    /// written, backward its gradient is read and added.
    pub fn gathered_bytes(&self) -> u128 {
        self.sum(|effect| match effect.parameters > 0 && effect.flops == 0 {
            true => product(&effect.shape).saturating_mul(4 * F32),
            false => 0,
        })
    }

    /// The table as text.
    pub fn table(&self) -> String {
        let cells: Vec<[String; 4]> = self
            .rows
            .iter()
            .map(|row| {
                [
                    format!("{} {}", row.name, row.kind),
                    shape_text(&row.effect.shape),
                    thousands(row.effect.parameters),
                    format!("{:.2}", row.effect.flops as f64 / 1e6),
                ]
            })
            .collect();
        let head = ["Layer", "Output shape", "Parameters", "MFLOPs"].map(str::to_string);
        let widths: Vec<usize> = (0..4)
            .map(|i| cells.iter().chain([&head]).map(|row| row[i].len()).max().unwrap_or(0))
            .collect();
        let mut out = String::new();
        for row in [&head].into_iter().chain(&cells) {
            let _ = writeln!(
                out,
                "{:<w0$}  {:<w1$}  {:>w2$}  {:>w3$}",
                row[0],
                row[1],
                row[2],
                row[3],
                w0 = widths[0],
                w1 = widths[1],
                w2 = widths[2],
                w3 = widths[3],
            );
        }
        out
    }

    /// The layers and which of them feed which, for a picture: `{"layers": [{"name", "type", "output",
    /// "parameters", "flops"}], "edges": [[from, to]]}`. A list of layers is a chain; of networks of
    /// several inputs the parts stand in the order in which they are computed.
    pub fn graph(&self) -> serde_json::Value {
        let layers: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.name,
                    "type": row.kind,
                    "output": *row.effect.shape,
                    "parameters": number(row.effect.parameters),
                    "flops": number(row.effect.flops),
                })
            })
            .collect();
        json!({ "layers": layers, "edges": self.edges() })
    }

    /// Encoders begin at their inputs and meet in the combiner, or else in each decoder; the rest are
    /// chains.
    fn edges(&self) -> Vec<[usize; 2]> {
        let part = |i: usize| {
            let mut words = self.rows[i].name.split('.');
            let first = words.next().unwrap_or("");
            (first, if first.ends_with("coders") { words.next() } else { None })
        };
        let all = 0..self.rows.len();
        let last = |i: &usize| i + 1 == self.rows.len() || part(*i) != part(i + 1);
        let ends: Vec<usize> =
            all.clone().filter(|i| part(*i).0 == "encoders" && last(i)).collect();
        let combined = all.clone().rfind(|i| part(*i).0 == "combiner");
        let mut edges = Vec::new();
        for i in all {
            let first = i == 0 || part(i) != part(i - 1);
            match (part(i).0, combined) {
                ("encoders", _) if first => {}
                ("decoders", Some(from)) if first => edges.push([from, i]),
                ("combiner" | "decoders", _) if first => edges.extend(ends.iter().map(|&j| [j, i])),
                _ if i > 0 => edges.push([i - 1, i]),
                _ => {}
            }
        }
        edges
    }

    /// The table and its sums as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        let layers: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.name,
                    "type": row.kind,
                    "output_shape": *row.effect.shape,
                    "parameters": number(row.effect.parameters),
                    "flops": number(row.effect.flops),
                })
            })
            .collect();
        json!({
            "input_shape": self.input,
            "layers": layers,
            "parameters": number(self.parameters()),
            "flops": number(self.flops()),
            "batch_size": self.batch,
            "precision": self.precision,
            "activation_bytes": number(self.activation_bytes()),
            "training_bytes": number(self.training_bytes()),
        })
    }
}

/// JSON numbers end where 64 bits do; nothing that is accepted comes near.
fn number(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// `421642` as `421,642`.
pub fn thousands(value: u128) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Bytes as people say them: `1.61 MB` (a megabyte is 2^20 bytes).
pub fn bytes_text(bytes: u128) -> String {
    let mut size = bytes as f64;
    let mut unit = 0;
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    while size >= 1024.0 && unit < UNITS.len() - 1 {
        size /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} bytes"),
        _ if size < 10.0 => format!("{size:.2} {}", UNITS[unit]),
        _ if size < 1000.0 => format!("{size:.1} {}", UNITS[unit]),
        _ => format!("{size:.0} {}", UNITS[unit]),
    }
}

/// `[32, 14, 14]`.
pub fn shape_text(shape: &[usize]) -> String {
    let numbers: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("[{}]", numbers.join(", "))
}

impl Recipe {
    /// Leads the shape of the data through all layers.
    ///
    /// `examples` are those for training, validation and test; `memory` is what the machine has, in bytes; `None` where
    /// it is not known.
    ///
    /// # Errors
    /// A layer that does not fit, with both shapes; a last layer that does not fit what should come out; a loss or
    /// metric that cannot compare the two; a model that does not fit the memory.
    pub fn summary(
        &self,
        features: &Features,
        examples: [usize; 3],
        memory: Option<u64>,
    ) -> Result<Summary, Report> {
        let (feeds, base) = self.feeds(features).map_err(|problem| self.refuse(problem))?;
        let network = self.network(features).map_err(|problem| self.refuse(problem))?;
        if !self.layers.is_empty() {
            self.layers_fit(&feeds[0], &features.outputs)
                .map_err(|problem| self.refuse(problem))?;
        }
        let parts = FeatureModel::describe(&network)
            .map_err(|error| self.refuse(self.part_misfit(&error, features)))?;
        let listed = |i: usize| network.inputs.len() == 1 && i < self.layers.len();
        let rows = parts.into_iter().enumerate().map(|(i, part)| {
            let kind = match listed(i) {
                true => kind_of(&self.layers[i]),
                false => part.kind.to_string(),
            };
            Row { name: part.path, kind, effect: part.effect }
        });
        let front = base.map(|effect| {
            let file = std::path::Path::new(self.model.text("base")).file_name();
            let kind = escape(&file.unwrap_or_default().to_string_lossy());
            Row { name: "base".to_string(), kind, effect }
        });
        let rows: Vec<Row> = front.into_iter().chain(rows).collect();
        let feeds = features.feeds();
        let values: u128 = feeds.iter().map(|feed| product(&feed.shape)).sum();
        let summary = Summary {
            // Of a text that is written from nothing the example is its own past.
            input: match feeds.first() {
                Some(feed) => feed.shape.clone(),
                None => features.outputs[0].feature.delivered().0,
            },
            rows,
            batch: self.trainer.usize("batch_size"),
            precision: self.trainer.text("precision").into(),
            slots: slots(&self.trainer),
            data_bytes: values * examples.iter().sum::<usize>() as u128,
        };
        let last = summary.rows.last().map(|row| row.effect.shape.to_vec());
        let mut problems: Vec<Diagnostic> = Vec::new();
        for output in &features.outputs {
            // Embeddings have the shape that the last layer gives them.
            let given = last.clone().filter(|_| self.compares_examples());
            let shape = given.unwrap_or_else(|| output.head().shape);
            problems.extend(self.wrong_loss(&shape, output));
        }
        problems.extend(self.nothing_to_train(&summary));
        problems.extend(self.too_large(&summary, memory));
        if problems.is_empty() {
            return Ok(summary);
        }
        Err(Report::new(self.sources.clone(), problems))
    }

    fn layer_place(&self, i: usize) -> Span {
        let [model, layers] = path("model", "layers");
        self.place(&[model, layers, Segment::Index(i)], Target::Value)
    }

    fn misfit(
        &self,
        i: usize,
        layer: &Item,
        got: &[usize],
        rows: &[Row],
        misfit: Misfit,
    ) -> Diagnostic {
        let message = format!(
            "layer {i} ({}) does not fit: it gets {}, it needs {}",
            layer.name,
            shape_text(got),
            misfit.needs
        );
        let before = match rows.last() {
            Some(row) => format!("layer {} ({}) gives {}", row.name, row.kind, shape_text(got)),
            None => format!("one example of the data is {}", shape_text(got)),
        };
        Diagnostic::new(Code::Shape, message, Some(self.layer_place(i)))
            .label(misfit.hint)
            .note(before)
    }

    /// The list of layers, on what goes in: each takes what it gets, and a last one that is a weighted sum and nothing
    /// else gives what should come out.
    fn layers_fit(&self, input: &Feed, outputs: &[Fitted]) -> Result<(), Diagnostic> {
        let mut shape = input.shape.clone();
        let mut rows: Vec<Row> = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            let effect = effect_of(i, layer, &shape, input)
                .map_err(|misfit| self.misfit(i, layer, &shape, &rows, misfit))?;
            shape = effect.shape.to_vec();
            rows.push(Row { name: i.to_string(), kind: kind_of(layer), effect });
        }
        let head =
            |layer: &Item| layer.name == "Dense" && layer.args.item("activation").name == "linear";
        match outputs {
            [output] if self.layers.last().is_some_and(head) && !self.compares_examples() => {
                self.wrong_head(&shape, output).map_or(Ok(()), Err)
            }
            _ => Ok(()),
        }
    }

    fn wrong_head(&self, shape: &[usize], output: &Fitted) -> Option<Diagnostic> {
        let needed = output.head().shape;
        if shape == needed {
            return None;
        }
        let last = self.layers.len().checked_sub(1)?;
        let of = match output.feature.meaning() {
            Meaning::Category { names } => format!("the {} classes of the data", names.len()),
            _ => format!("the output `{}`", escape(&output.column.name)),
        };
        let needed_text = shape_text(&needed);
        let message = format!(
            "the last layer, {last} ({}), gives {}; {of} need {needed_text}",
            self.layers[last].name,
            shape_text(shape),
        );
        let units: usize = needed.iter().product();
        let label = match (self.layers[last].name, shape.len()) {
            ("Dense", 1) => format!("units = {units}"),
            (_, 1) => format!("end with {{ type = \"Dense\", units = {units} }}"),
            _ => format!("end with \"Flatten\", {{ type = \"Dense\", units = {units} }}"),
        };
        Some(Diagnostic::new(Code::Shape, message, Some(self.layer_place(last))).label(label))
    }

    /// Whether the loss compares the examples of a batch with each other: then the network gives
    /// embeddings, or a score, and no output for each class.
    pub fn compares_examples(&self) -> bool {
        let given =
            self.trainer.get("loss").or(self.outputs.first().and_then(|o| o.args.get("loss")));
        match given {
            Some(Value::Item(loss)) => losses::find(loss.name).is_some_and(|entry| entry.across),
            _ => false,
        }
    }

    /// A loss or metric that cannot compare what the network gives with what should come out.
    fn wrong_loss(&self, shape: &[usize], output: &Fitted) -> Option<Diagnostic> {
        let (of, target) = target(output);
        let refused = |what: &str, item: &Item, key: &str, misfit: Misfit| {
            let message = format!(
                "the {what} `{}` does not fit: the data are examples of {of}, it needs {}",
                item.name, misfit.needs
            );
            let at = match self.trainer.has(key) {
                true => path("trainer", key).to_vec(),
                false => output.column.path(Role::Output, Some(key)),
            };
            let span = self.place(&at, Target::Value);
            Diagnostic::new(Code::Contradiction, message, Some(span)).label(misfit.hint)
        };
        let (loss, metrics) = self.judged_by(output);
        if let Err(misfit) = losses::build(&loss).check(shape, &target) {
            return Some(refused("loss", &loss, "loss", misfit));
        }
        metrics.iter().find_map(|metric| {
            let misfit = metrics::build(metric).check(shape, &target).err()?;
            Some(refused("metric", metric, "metrics", misfit))
        })
    }

    fn nothing_to_train(&self, summary: &Summary) -> Option<Diagnostic> {
        if summary.parameters() > 0 {
            return None;
        }
        let message = "there is nothing to train: no layer has parameters";
        let span = self.place(&path("model", "layers"), Target::Key);
        Some(Diagnostic::new(Code::Contradiction, message, Some(span)))
    }

    fn too_large(&self, summary: &Summary, memory: Option<u64>) -> Option<Diagnostic> {
        let needed = summary.training_bytes();
        // Where the machine does not tell, an address space is the limit.
        let limit = memory.unwrap_or(1 << 46);
        if needed <= limit as u128 {
            return None;
        }
        let largest = (0..summary.rows.len()).max_by_key(|&i| {
            let effect = &summary.rows[i].effect;
            let values = effect.kept.saturating_mul(summary.batch as u128);
            effect.parameters.saturating_mul(2 + summary.slots as u128).saturating_add(values)
        })?;
        let row = &summary.rows[largest];
        let message = format!(
            "training needs about {}, this machine has {}",
            bytes_text(needed),
            bytes_text(limit as u128)
        );
        let label = format!("the largest part: {} parameters", thousands(row.effect.parameters));
        Some(
            Diagnostic::new(Code::TooLarge, message, Some(self.layer_place(largest))).label(label).note(
                format!(
                    "{} parameters in all ({} with gradients and optimizer), activations {} at batch {}",
                    thousands(summary.parameters()),
                    bytes_text(summary.parameters().saturating_mul(F32 * (2 + summary.slots as u128))),
                    bytes_text(summary.activation_bytes()),
                    summary.batch
                ),
            ),
        )
    }
}

/// What should come out, in words, and as losses and metrics see it.
fn target(output: &Fitted) -> (String, losses::Target) {
    let (shape, element) = output.feature.delivered();
    let classes = match output.feature.meaning() {
        Meaning::Category { names } => Some(names.len()),
        Meaning::Mask { classes } => Some(classes),
        Meaning::Tokens { vocabulary } => Some(vocabulary),
        _ => None,
    };
    let dtype = match element {
        Element::F32 => DType::F32,
        Element::I32 => DType::I32,
        Element::U8 => DType::U8,
    };
    let of = match classes {
        Some(classes) => format!("{classes} classes"),
        None => format!("`{}`, {}", escape(&output.column.name), output.column.feature.name),
    };
    (of, losses::Target { shape: Shape::from(shape.as_slice()), dtype, classes })
}

fn effect_of(i: usize, layer: &Item, shape: &[usize], input: &Feed) -> Result<Effect, Misfit> {
    let Some(entry) = layers::find(layer.name) else {
        return Err(Misfit { needs: "a known layer".to_string(), hint: String::new() });
    };
    let indices = matches!(input.meaning, Meaning::Category { .. } | Meaning::Tokens { .. });
    if entry.takes_indices && (i > 0 || !indices) {
        let hint = if i == 0 { "the data are no tokens" } else { "it can only be the first layer" };
        return Err(Misfit { needs: "whole numbers".to_string(), hint: hint.to_string() });
    }
    (entry.infer)(&layer.args, shape)
}

fn kind_of(layer: &Item) -> String {
    match layer.args.has("activation") {
        true if layer.name == "Activation" => layer.args.item("activation").name.to_string(),
        true if layer.args.item("activation").name != "linear" => {
            format!("{} + {}", layer.name, layer.args.item("activation").name)
        }
        _ => layer.name.to_string(),
    }
}

/// How many numbers an optimizer and what is around it keep for each parameter.
fn slots(trainer: &Args) -> usize {
    let optimizer = trainer.item("optimizer");
    let own = optim::find(optimizer.name).map_or(0, |entry| (entry.slots)(&optimizer.args));
    let wrapped = items(trainer, "wrap").into_iter().filter_map(|item| {
        optim::WRAPPERS.iter().find(|wrapper| wrapper.spec.answers_to(item.name))
    });
    own + wrapped.map(|wrapper| wrapper.slots).sum::<usize>()
}

/// The product of all dimensions, as large as it may be.
fn product(shape: &[usize]) -> u128 {
    shape.iter().fold(1u128, |all, &n| all.saturating_mul(n as u128))
}
