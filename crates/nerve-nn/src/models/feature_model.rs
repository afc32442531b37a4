//! Networks of features: encoders, a combiner, decoders.

use super::text_decoder::{TextDecoder, TextDecoderOptions};
use crate::combiners::{self, Combiner};
use crate::context::Context;
use crate::decoders;
use crate::encoders::{self, Feed};
use crate::generate::Autoregressive;
use crate::layers::sequential::is_network;
use crate::layers::{Effect, Layer, Sequential};
use crate::model::Model;
use crate::params::Params;
use nerve_core::{Shape, Tensor};
use nerve_formats::spec::Item;
use std::fmt;

/// What goes into a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its name: a step of the paths of its parameters, without dots.
    pub name: String,
    /// What comes in.
    pub feed: Feed,
    /// One of [`encoders`].
    pub encoder: Item,
}

/// What a network should give.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name: a step of the paths of its parameters, without dots.
    pub name: String,
    /// The shape for one example; of a text `[vocabulary, time]`.
    pub shape: Shape,
    /// One of [`decoders`].
    pub decoder: Item,
}

impl Output {
    /// The sizes of what writes it, for texts of so many tokens, if it is a text that is written.
    fn written(&self) -> Option<(TextDecoderOptions, usize)> {
        let &[vocabulary, time] = &self.shape[..] else { return None };
        let writes = decoders::writes(&self.decoder);
        writes.then(|| (TextDecoderOptions::of(&self.decoder.args, vocabulary), time))
    }
}

/// What a [`FeatureModel`] is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// What goes in.
    pub inputs: Vec<Input>,
    /// One of [`combiners`].
    pub combiner: Item,
    /// What should come out.
    pub outputs: Vec<Output>,
}

/// Which part of a network of features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The encoder of the input of this number.
    Encoder(usize),
    /// Where they meet.
    Combiner,
    /// The decoder of the output of this number.
    Decoder(usize),
}

/// A layer of a network of features, or its combiner, for a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// To what it belongs.
    pub place: Place,
    /// Where its parameters are: `encoders.age.0`.
    pub path: String,
    /// The name of the layer or combiner.
    pub kind: &'static str,
    /// What it does to an example.
    pub effect: Effect,
}

/// A part that cannot take what it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureError {
    /// Which part.
    pub place: Place,
    /// The name of the input or output; empty for the combiner.
    pub name: String,
    /// What is wrong, in words.
    pub message: String,
}

impl fmt::Display for FeatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FeatureError { place, name, message } = self;
        match place {
            Place::Encoder(_) => write!(f, "the encoder of `{name}`: {message}"),
            Place::Combiner => write!(f, "the combiner: {message}"),
            Place::Decoder(_) => write!(f, "the decoder of `{name}`: {message}"),
        }
    }
}

impl std::error::Error for FeatureError {}

/// A network of several inputs of different kinds and several outputs: an encoder for each input, a
/// combiner in which they meet, and a decoder for each output.
///
/// Parameters: `encoders.NAME.0.weight`, …, `combiner.…`, `decoders.NAME.0.weight`, …. A network of
/// one input whose encoder is `layers`, and one output, is these layers under their own numbers
/// (`0.weight`, …); a linear layer for the output follows unless they give its shape already.
///
/// A single input goes to the decoders as its encoder gives it, if its combiner is a `concat` without
/// layers: so a picture can stay one.
///
/// An output that is written (by a [`TextDecoder`]) brings one input more, behind all others: what stands before each of its
/// tokens, i32 `[batch, time]`. Such a network is asked to write by [`Model::writer`], which takes the other inputs alone. A
/// network that does nothing but write needs no other input.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_formats::Meaning;
/// use nerve_nn::models::{FeatureModel, Features, Input, Output};
/// use nerve_nn::{Context, Model, Params, combiners, decoders, encoders::{self, Feed}};
///
/// let names = ["north", "south", "(unknown)"].map(String::from).into();
/// let feeds = [
///     Feed { shape: [3].into(), meaning: Meaning::Numbers },
///     Feed { shape: [].into(), meaning: Meaning::Category { names } },
/// ];
/// let input = |(name, feed): (&str, &Feed)| Input {
///     name: name.into(), feed: feed.clone(), encoder: encoders::default_for(feed, None),
/// };
/// let inputs: Vec<Input> = ["sizes", "region"].into_iter().zip(&feeds).map(input).collect();
/// let encoders: Vec<_> = inputs.iter().map(|input| input.encoder.clone()).collect();
/// let output = Output {
///     name: "price".into(), shape: [1].into(), decoder: decoders::default_for(&[1].into()),
/// };
/// let combiner = combiners::default_for(&encoders);
/// let features = Features { inputs, combiner, outputs: vec![output] };
/// let params = Params::new(42);
/// let model = FeatureModel::new(&features, &params).unwrap();
/// let region = Tensor::from_slice(&[0i32, 2], [2]);
/// let outputs = model.outputs(&[Tensor::ones([2, 3]), region], &Context::eval());
/// assert_eq!(**outputs[0].shape(), [2, 1]);
/// assert!(params.get("encoders.region.0.weight").is_some());
/// ```
pub struct FeatureModel {
    inputs: Vec<Feed>,
    encoders: Vec<Sequential>,
    /// None: the single encoded input as it is.
    combiner: Option<Box<dyn Combiner>>,
    decoders: Vec<Decoder>,
    /// What encoders and decoders are called in messages.
    names: [Vec<String>; 2],
}

/// What makes an output.
enum Decoder {
    Layers(Sequential),
    Writer(Box<TextDecoder>),
}

/// The layers of all parts.
struct Plan {
    encoders: Vec<Layers>,
    combiner: Option<(Effect, Vec<Shape>)>,
    /// Those of an output that is written are not listed.
    decoders: Vec<Layers>,
    /// What the decoders get; none where nothing goes in.
    encoded: Option<Shape>,
    /// Whether the layers have the paths of a network that is nothing but layers.
    plain: bool,
}

/// A list of layers, and what comes in and out.
struct Layers {
    list: Vec<Item>,
    effects: Vec<Effect>,
    input: Shape,
}

impl Layers {
    fn output(&self) -> &Shape {
        self.effects.last().map_or(&self.input, |effect| &effect.shape)
    }
}

impl Features {
    fn refuse(&self, place: Place, message: String) -> FeatureError {
        let name = match place {
            Place::Encoder(i) => self.inputs[i].name.clone(),
            Place::Combiner => String::new(),
            Place::Decoder(i) => self.outputs[i].name.clone(),
        };
        FeatureError { place, name, message }
    }

    fn plan(&self) -> Result<Plan, FeatureError> {
        let encode = |(i, input): (usize, &Input)| {
            let made = encoders::layers(&input.encoder, &input.feed);
            let (list, effects) = made.map_err(|why| self.refuse(Place::Encoder(i), why))?;
            Ok(Layers { list, effects, input: input.feed.shape.clone() })
        };
        let encoders: Vec<Layers> =
            self.inputs.iter().enumerate().map(encode).collect::<Result<_, _>>()?;
        let alone = encoders.len() == 1 && self.combiner_does_nothing();
        let combiner = match alone || encoders.is_empty() {
            true => None,
            false => {
                let shapes: Vec<Shape> = encoders.iter().map(|e| e.output().clone()).collect();
                let entry = self.combiner_entry();
                let effect = (entry.infer)(&self.combiner.args, &shapes).map_err(|misfit| {
                    let got = shapes.iter().map(ToString::to_string).collect::<Vec<_>>();
                    let message =
                        format!("`{}` gets {}, {misfit}", entry.spec.name, got.join(", "));
                    self.refuse(Place::Combiner, message)
                })?;
                Some((effect, shapes))
            }
        };
        let encoded = match &combiner {
            Some((effect, _)) => Some(effect.shape.clone()),
            None => encoders.first().map(|encoder| encoder.output().clone()),
        };
        let own = alone && self.inputs[0].encoder.name == "layers";
        let decode = |(i, output): (usize, &Output)| {
            if decoders::writes(&output.decoder) {
                let input = output.shape.clone();
                return Ok(Layers { list: vec![], effects: vec![], input });
            }
            let Some(encoded) = encoded.clone() else {
                let message = format!("`{}` needs an input", output.decoder.name);
                return Err(self.refuse(Place::Decoder(i), message));
            };
            if own && encoded == output.shape && output.decoder.name != "none" {
                // The layers of the recipe end with the output.
                return Ok(Layers { list: vec![], effects: vec![], input: encoded.clone() });
            }
            let made = decoders::layers(&output.decoder, &encoded, &output.shape);
            let (list, effects) = made.map_err(|why| self.refuse(Place::Decoder(i), why))?;
            Ok(Layers { list, effects, input: encoded.clone() })
        };
        let decoders =
            self.outputs.iter().enumerate().map(decode).collect::<Result<Vec<_>, _>>()?;
        let plain = own && decoders.len() == 1 && !self.writes();
        Ok(Plan { encoders, combiner, decoders, encoded, plain })
    }

    fn writes(&self) -> bool {
        self.outputs.iter().any(|output| decoders::writes(&output.decoder))
    }

    /// The parts of what writes the output of this number, if it is written.
    fn written(
        &self,
        i: usize,
        encoded: Option<&Shape>,
    ) -> Result<Vec<(&'static str, &'static str, Effect)>, FeatureError> {
        let output = &self.outputs[i];
        let refuse = |message| self.refuse(Place::Decoder(i), message);
        match output.written() {
            Some((options, time)) => {
                options.describe(time, encoded.map(|shape| &shape[..])).map_err(refuse)
            }
            None if decoders::writes(&output.decoder) => {
                Err(refuse(format!("`generator` writes a text; here is {}", output.shape)))
            }
            None => Ok(Vec::new()),
        }
    }

    fn combiner_entry(&self) -> &'static combiners::Entry {
        let name = self.combiner.name;
        combiners::find(name).unwrap_or_else(|| panic!("no combiner `{name}`"))
    }

    fn combiner_does_nothing(&self) -> bool {
        self.combiner.name == "concat" && self.combiner.args.usizes("hidden").is_empty()
    }
}

impl FeatureModel {
    /// What each layer of each part does to an example, in the order in which they are applied;
    /// nothing is created.
    ///
    /// # Errors
    /// The first part that does not fit what it gets.
    ///
    /// # Panics
    /// If an item is not from its registry, or there is no input or no output.
    #[track_caller]
    pub fn describe(features: &Features) -> Result<Vec<Part>, FeatureError> {
        let plan = plan(features)?;
        let mut parts = Vec::new();
        let first = if plan.plain { plan.encoders[0].list.len() } else { 0 };
        let whole = plan.plain && plan.decoders[0].list.is_empty();
        let mut add = |place, scope: String, from: usize, layers: &Layers| {
            // A network of the zoo alone has names of its own.
            let network = is_network(&layers.list) && (!plan.plain || whole);
            for (i, (item, effect)) in layers.list.iter().zip(&layers.effects).enumerate() {
                let path = match (plan.plain, network) {
                    (true, true) => String::new(),
                    (true, false) => format!("{}", from + i),
                    (false, true) => scope.clone(),
                    (false, false) => format!("{scope}.{i}"),
                };
                parts.push(Part { place, path, kind: item.name, effect: effect.clone() });
            }
        };
        for (i, layers) in plan.encoders.iter().enumerate() {
            add(Place::Encoder(i), format!("encoders.{}", features.inputs[i].name), 0, layers);
        }
        for (i, layers) in plan.decoders.iter().enumerate() {
            let scope = format!("decoders.{}", features.outputs[i].name);
            add(Place::Decoder(i), scope, first, layers);
        }
        for (i, output) in features.outputs.iter().enumerate() {
            for (name, kind, effect) in features.written(i, plan.encoded.as_ref())? {
                let path = format!("decoders.{}.{name}", output.name);
                parts.push(Part { place: Place::Decoder(i), path, kind, effect });
            }
        }
        if let Some((effect, _)) = plan.combiner {
            let (place, kind) = (Place::Combiner, features.combiner.name);
            let at =
                parts.iter().take_while(|part| matches!(part.place, Place::Encoder(_))).count();
            parts.insert(at, Part { place, path: "combiner".into(), kind, effect });
        }
        Ok(parts)
    }

    /// Makes the network, with its parameters in `params`.
    ///
    /// # Errors
    /// As [`describe`](FeatureModel::describe); nothing has then been created.
    ///
    /// # Panics
    /// As [`describe`](FeatureModel::describe), and if two inputs or two outputs have one name.
    #[track_caller]
    pub fn new(features: &Features, params: &Params) -> Result<FeatureModel, FeatureError> {
        let plan = plan(features)?;
        for i in 0..features.outputs.len() {
            features.written(i, plan.encoded.as_ref())?;
        }
        let inputs = features.inputs.iter().map(|input| input.feed.clone()).collect();
        if plan.plain {
            let [encoder, decoder] = [&plan.encoders[0], &plan.decoders[0]];
            let list = [&encoder.list[..], &decoder.list].concat();
            let network = make(&list, &encoder.input, params);
            let decoders = vec![Decoder::Layers(Sequential::default())];
            let (encoders, names) = (vec![network], [vec![String::new()], vec![String::new()]]);
            return Ok(FeatureModel { inputs, encoders, combiner: None, decoders, names });
        }
        let at = params.at("encoders");
        let encoder = |(layers, input): (&Layers, &Input)| {
            make(&layers.list, &layers.input, &at.at(&input.name))
        };
        let encoders = plan.encoders.iter().zip(&features.inputs).map(encoder).collect();
        let entry = features.combiner_entry();
        let combiner = plan.combiner.map(|(_, shapes)| {
            (entry.make)(&features.combiner.args, &shapes, &params.at("combiner"))
        });
        let at = params.at("decoders");
        let memory = plan.encoded.as_ref().and_then(|shape| shape.get(1)).copied();
        let decoder = |(layers, output): (&Layers, &Output)| {
            let at = at.at(&output.name);
            match output.written() {
                Some((options, _)) => {
                    Decoder::Writer(Box::new(TextDecoder::new(&at, options, memory)))
                }
                None => Decoder::Layers(make(&layers.list, &layers.input, &at)),
            }
        };
        let decoders = plan.decoders.iter().zip(&features.outputs).map(decoder).collect();
        let names = [
            features.inputs.iter().map(|input| format!("encoders.{}", input.name)).collect(),
            features.outputs.iter().map(|output| format!("decoders.{}", output.name)).collect(),
        ];
        Ok(FeatureModel { inputs, encoders, combiner, decoders, names })
    }

    /// What goes in.
    pub fn inputs(&self) -> &[Feed] {
        &self.inputs
    }
}

#[track_caller]
fn plan(features: &Features) -> Result<Plan, FeatureError> {
    let fed = !features.inputs.is_empty() || features.writes();
    assert!(fed && !features.outputs.is_empty(), "a network has one input and one output, or more");
    features.plan()
}

/// The layers of a list that was described already.
fn make(list: &[Item], input: &Shape, params: &Params) -> Sequential {
    Sequential::from_items(list, input, params).expect("they were described").0
}

impl FeatureModel {
    /// What the encoders make of the inputs; none where nothing goes in.
    fn encoded(&self, inputs: &[Tensor], cx: &Context) -> Option<Tensor> {
        let parts = self.encoders.iter().zip(&self.names[0]).zip(inputs);
        let encoded: Vec<Tensor> =
            parts.map(|((part, name), x)| apply(part, name, x, cx)).collect();
        match &self.combiner {
            Some(combiner) => Some(cx.part("combiner", || combiner.combine(&encoded, cx))),
            None => encoded.into_iter().next(),
        }
    }

    /// What writes, if just one output is written.
    fn text(&self) -> Option<&TextDecoder> {
        match &self.decoders[..] {
            [Decoder::Writer(writer)] => Some(writer),
            _ => None,
        }
    }

    fn writers(&self) -> usize {
        self.decoders.iter().filter(|part| matches!(part, Decoder::Writer(_))).count()
    }
}

fn apply(part: &Sequential, name: &str, x: &Tensor, cx: &Context) -> Tensor {
    match part.layers.is_empty() {
        true => x.clone(),
        false => cx.part(name, || part.forward(x, cx)),
    }
}

impl Model for FeatureModel {
    fn input_count(&self) -> usize {
        self.inputs.len() + self.writers()
    }

    fn outputs(&self, inputs: &[Tensor], cx: &Context) -> Vec<Tensor> {
        assert!(
            inputs.len() == self.input_count(),
            "a network of {} inputs, found {}",
            self.input_count(),
            inputs.len()
        );
        let (inputs, pasts) = inputs.split_at(self.inputs.len());
        let (all, mut pasts) = (self.encoded(inputs, cx), pasts.iter());
        let mut decode = |(part, name): (&Decoder, &String)| match part {
            Decoder::Layers(layers) => {
                apply(layers, name, all.as_ref().expect("something goes in"), cx)
            }
            Decoder::Writer(writer) => cx.part(name, || {
                let past = pasts.next().expect("they were counted");
                // Classes come before steps, as before pixels.
                writer.logits(past, all.as_ref(), cx).permute(&[0, 2, 1])
            }),
        };
        self.decoders.iter().zip(&self.names[1]).map(&mut decode).collect()
    }

    fn writer(&self) -> Option<&dyn Autoregressive> {
        self.text().map(|_| self as &dyn Autoregressive)
    }
}

/// Of a network that writes its one output; its inputs are the source.
impl Autoregressive for FeatureModel {
    fn vocabulary(&self) -> usize {
        self.text().expect(WRITES).vocabulary()
    }

    fn begin(&self, rows: usize, longest: usize, source: &[Tensor]) -> Vec<Tensor> {
        assert!(
            source.len() == self.inputs.len(),
            "a text is written from {} inputs, found {}",
            self.inputs.len(),
            source.len()
        );
        let cx = Context::eval();
        let memory = self.encoded(source, &cx);
        self.text().expect(WRITES).begin(rows, longest, memory.as_ref(), &cx)
    }

    fn advance(&self, tokens: &Tensor, at: &Tensor, state: &[Tensor]) -> (Tensor, Vec<Tensor>) {
        self.text().expect(WRITES).advance(tokens, at, state)
    }
}

const WRITES: &str = "a network with one output, which it writes";
