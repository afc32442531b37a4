//! `[model] base`: a network from an ONNX file in front of the layers.
//!
//! The network ends where `base_output` says, at any value of its graph: without its last layer it is what transfer learning
//! begins with. Its weights are parameters below `base`, trained on or frozen like others. A model file carries the graph
//! beside the parameters, and so stands alone.

use crate::diagnostic::{Code, Diagnostic};
use crate::features::{Features, Feed};
use crate::recipe::{Recipe, path};
use nerve_core::{DType, Shape, Tensor, compile};
use nerve_formats::Meaning;
use nerve_formats::onnx::{self, Dim, Model as File, Node, Type, ValueInfo};
use nerve_formats::spec::Target;
use nerve_nn::layers::Effect;
use nerve_nn::{Context, Model, Params};
use nerve_onnx::import::{self, Value, dtype};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// A network from an ONNX file, cut off behind one of its values.
#[derive(Clone, Debug)]
pub struct Base {
    file: File,
}

/// It made ready for examples of one shape.
pub(crate) struct Front {
    network: import::Network,
    /// Whether the network takes the channels last: `[batch, height, width, channels]`.
    channels_last: bool,
    dtype: DType,
}

impl Base {
    /// Reads a file, to use it up to the value `output`, or up to its only output.
    ///
    /// # Errors
    /// It is no ONNX file; it has several inputs; no value is called so.
    pub fn open(file: &Path, output: Option<&str>) -> Result<Base, String> {
        let mut model = onnx::read_model(file, true).map_err(|error| error.to_string())?;
        let name = match (output, &model.graph.outputs[..]) {
            (Some(name), _) => name.to_string(),
            (None, [one]) => one.name.clone(),
            (None, all) => {
                let names: Vec<&str> = all.iter().map(|info| &*info.name).collect();
                return Err(format!(
                    "it has {} outputs: say in `base_output` which is meant, {}",
                    all.len(),
                    names.join(", ")
                ));
            }
        };
        cut(&mut model, &name)?;
        let weights: HashSet<&str> =
            model.graph.initializers.iter().map(|tensor| tensor.name.as_str()).collect();
        let fed = model.graph.inputs.iter().filter(|info| !weights.contains(&*info.name));
        let fed: Vec<ValueInfo> = fed.cloned().collect();
        let [input] = &fed[..] else {
            let names: Vec<&str> = fed.iter().map(|info| &*info.name).collect();
            return Err(format!(
                "a base has one input; up to {name:?} this has {}: {}",
                names.len(),
                names.join(", ")
            ));
        };
        let mut input = input.clone();
        // A file that was written for one example is tried with several.
        if let Some(Type::Tensor(_, Some(dims))) = &mut input.kind
            && let Some(first @ Dim::Fixed(1)) = dims.first_mut()
        {
            *first = Dim::Named("batch".into());
        }
        model.graph.inputs = vec![input];
        Ok(Base { file: model })
    }

    /// From what [`Base::text`] gave.
    ///
    /// # Errors
    /// It is something else.
    pub fn read(text: &str) -> Result<Base, String> {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = |pair: &[u8; 2]| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        let bytes = bytes.filter(|_| rest.is_empty()).ok_or("`base` is no hexadecimal text")?;
        let file = File::decode("base", &bytes).map_err(|error| error.to_string())?;
        Ok(Base { file })
    }

    /// The graph without its weights, in hexadecimal digits: those are in the parameters.
    pub fn text(&self) -> String {
        let params = Params::new(0);
        let mut file = self.file.clone();
        if let Ok(network) =
            import::Network::within("base", file.clone(), import::Options::default(), &params)
        {
            let weights: HashSet<String> =
                network.params().vars().iter().map(|var| var.name().to_string()).collect();
            let mut shapes = Vec::new();
            file.graph.initializers.retain(|tensor| {
                let taken = weights.contains(&tensor.name);
                if taken {
                    shapes.push((tensor.name.clone(), tensor.dims.clone()));
                }
                !taken
            });
            for (name, dims) in shapes {
                let shape = format!("{name}::shape");
                let extents: Vec<i64> = dims.iter().map(|&extent| extent as i64).collect();
                file.graph.initializers.push(onnx::Tensor::ints(&shape, &[dims.len()], &extents));
                let zero = onnx::Tensor::floats("", &[1], &[0.0]);
                let node = Node::new("ConstantOfShape", [&*shape], [&*name]).with("value", zero);
                file.graph.nodes.insert(0, node);
            }
        }
        file.encode().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The network with its weights below `base` in `params`, for examples of this shape.
    ///
    /// # Errors
    /// It uses what nerve does not have, or takes something else.
    pub(crate) fn front(&self, feed: &[usize], params: &Params) -> Result<Front, String> {
        let options = import::Options::default();
        let params = params.at("base");
        let network = import::Network::within("base", self.file.clone(), options, &params)
            .map_err(|error| error.to_string())?;
        if network.params().vars().iter().any(|var| var.dtype() != DType::F32) {
            return Err("its weights are double; a network of a recipe is of float".into());
        }
        let input = network.input_infos().next().ok_or("nothing goes in")?;
        let (element, dims) = match &input.kind {
            Some(Type::Tensor(element, dims)) => (*element, dims.as_deref()),
            _ => return Err(format!("its input {:?} is no array", input.name)),
        };
        let dtype = dtype(element).ok_or_else(|| format!("it takes {}", element.name()))?;
        let takes = |shape: &[usize]| {
            let fits = |(dim, &extent): (&Dim, &usize)| match dim {
                Dim::Fixed(fixed) => *fixed == extent,
                Dim::Named(_) => true,
            };
            dims.is_none_or(|dims| {
                dims.len() == 1 + shape.len() && dims[1..].iter().zip(shape).all(fits)
            })
        };
        let last = match *feed {
            [c, h, w] => Some([h, w, c]),
            _ => None,
        };
        let channels_last = !takes(feed) && last.is_some_and(|shape| takes(&shape));
        if !takes(feed) && !channels_last {
            let shown = dims.map(import::show).unwrap_or_default();
            return Err(format!(
                "it takes {shown}, the first axis for the examples; here one example is {feed:?}"
            ));
        }
        Ok(Front { network, channels_last, dtype })
    }

    /// Its effect on an example of this shape.
    ///
    /// # Errors
    /// As [`Base::front`]; what comes out does not have a row for each example.
    pub(crate) fn effect(&self, feed: &[usize]) -> Result<Effect, String> {
        let params = Params::new(0);
        let front = self.front(feed, &params)?;
        const TRIED: usize = 2;
        let shape: Shape = [&[TRIED], feed].concat().into();
        // Nothing is computed: the shapes are those of the graph, and its cost that of its plan.
        let tried = catch_unwind(AssertUnwindSafe(|| {
            let run = compile(|x: &[Tensor]| match front.apply(&x[0], &Context::eval()) {
                Ok(y) => vec![y],
                Err(error) => std::panic::resume_unwind(Box::new(error)),
            });
            let plan = run.plan(&[(shape.clone(), DType::F32)]);
            let y = front.apply(&Tensor::zeros(shape.clone()), &Context::eval());
            (y, plan.flops(), plan.arena_bytes())
        }));
        let (y, flops, bytes) = tried.map_err(|panic| match panic.downcast::<String>() {
            Ok(message) => *message,
            Err(panic) => panic.downcast_ref::<&str>().unwrap_or(&"it does not run").to_string(),
        })?;
        let y = y?;
        if y.shape().first() != Some(&TRIED) {
            return Err(format!(
                "what comes out for {TRIED} examples is {}: the file is for one example at a time, or the value has no axis \
                 of examples",
                y.shape()
            ));
        }
        if !y.dtype().is_float() {
            return Err(format!("what comes out is {}, no numbers to learn from", y.dtype()));
        }
        let numel = |of: Vec<nerve_core::Var>| -> u128 {
            of.iter().map(|var| var.shape().numel() as u128).sum()
        };
        let trainable = numel(params.trainable());
        Ok(Effect {
            shape: Shape::from(&y.shape()[1..]),
            parameters: trainable,
            state: numel(params.vars()) - trainable,
            flops: u128::from(flops) / TRIED as u128,
            kept: (bytes / 4 / TRIED) as u128,
        })
    }
}

impl Front {
    fn apply(&self, x: &Tensor, cx: &Context) -> Result<Tensor, String> {
        let x = match self.channels_last {
            true => x.permute(&[0, 2, 3, 1]),
            false => x.clone(),
        };
        let outputs = self.network.forward(&[Value::Tensor(x.to_dtype(self.dtype))], cx);
        let outputs = outputs.map_err(|error| error.to_string())?;
        let y = outputs.first().and_then(Value::tensor).ok_or("what comes out is no array")?;
        Ok(y.to_dtype(DType::F32))
    }
}

/// A network behind a base.
pub(crate) struct Behind<M> {
    pub front: Front,
    pub model: M,
}

impl<M: Model> Model for Behind<M> {
    #[track_caller]
    fn outputs(&self, inputs: &[Tensor], cx: &Context) -> Vec<Tensor> {
        let [x] = inputs else { panic!("a base has one input, not {}", inputs.len()) };
        let y = nerve_core::scope("base", || self.front.apply(x, cx));
        self.model.outputs(&[y.unwrap_or_else(|error| panic!("{error}"))], cx)
    }
}

/// Leaves of a graph what the value `name` is computed from, and makes it the output.
fn cut(model: &mut File, name: &str) -> Result<(), String> {
    let graph = &mut model.graph;
    let made: Vec<&str> =
        graph.nodes.iter().flat_map(|node| node.outputs.iter().map(String::as_str)).collect();
    if !made.contains(&name) {
        let near = nerve_formats::spec::nearest(name, made.iter().copied());
        let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        return Err(format!("no value of its graph is called {name:?}{near}"));
    }
    let mut wanted: HashSet<String> = HashSet::from([name.to_string()]);
    let mut keep = vec![false; graph.nodes.len()];
    // Nodes may stand in any order: until nothing new is wanted.
    loop {
        let before = wanted.len();
        for (node, keep) in graph.nodes.iter().zip(&mut keep).rev() {
            if !*keep && node.outputs.iter().any(|output| wanted.contains(output)) {
                *keep = true;
                read_by(node, &mut wanted);
            }
        }
        if wanted.len() == before {
            break;
        }
    }
    let mut kept = keep.into_iter();
    graph.nodes.retain(|_| kept.next().unwrap_or(false));
    graph.initializers.retain(|tensor| wanted.contains(&tensor.name));
    graph.inputs.retain(|info| wanted.contains(&info.name));
    let known = graph.outputs.iter().find(|info| info.name == name).cloned();
    graph.outputs = vec![known.unwrap_or(ValueInfo { name: name.into(), kind: None })];
    Ok(())
}

/// What a node reads, and the graphs within it.
fn read_by(node: &Node, wanted: &mut HashSet<String>) {
    wanted.extend(node.inputs.iter().filter(|name| !name.is_empty()).cloned());
    for attribute in &node.attributes {
        let graphs = match &attribute.value {
            onnx::AttributeValue::Graph(graph) => std::slice::from_ref(graph),
            onnx::AttributeValue::Graphs(graphs) => graphs,
            _ => continue,
        };
        for graph in graphs {
            graph.nodes.iter().for_each(|node| read_by(node, wanted));
            wanted.extend(graph.outputs.iter().map(|info| info.name.clone()));
        }
    }
}

impl Recipe {
    /// The network in front of the layers, if there is one: read once.
    ///
    /// # Errors
    /// Why it cannot be used, at its place in the recipe.
    pub(crate) fn base(&self) -> Result<Option<Arc<Base>>, Diagnostic> {
        if !self.model.has("base") {
            return match self.model.has("base_output") {
                true => {
                    Err(self.base_misfit("base_output", "`base_output` is given without `base`"))
                }
                false => Ok(None),
            };
        }
        let open = || {
            let output = self.model.has("base_output").then(|| self.model.text("base_output"));
            Base::open(Path::new(self.model.text("base")), output).map(Arc::new)
        };
        match self.base.get_or_init(open) {
            Ok(base) => Ok(Some(base.clone())),
            Err(message) => Err(self.base_misfit("base", message)),
        }
    }

    pub(crate) fn base_misfit(&self, key: &str, message: &str) -> Diagnostic {
        let span = self.place(&path("model", key), Target::Value);
        let message = match message.starts_with('`') {
            true => message.to_string(),
            false => format!("the base does not fit: {message}"),
        };
        Diagnostic::new(Code::Shape, message, Some(span))
    }

    /// What the layers get: the inputs, or what the base makes of the only one.
    ///
    /// # Errors
    /// There are several inputs, or it is not one of numbers.
    pub(crate) fn feeds(
        &self,
        features: &Features,
    ) -> Result<(Vec<Feed>, Option<Effect>), Diagnostic> {
        let mut feeds = features.feeds();
        let Some(base) = self.base()? else { return Ok((feeds, None)) };
        let [feed] = &mut feeds[..] else {
            let message = format!("a base has one input; the columns become {}", feeds.len());
            return Err(self.base_misfit("base", &message));
        };
        if matches!(feed.meaning, Meaning::Tokens { .. } | Meaning::Category { .. }) {
            let message = "it would get the numbers of words that it was not trained with";
            return Err(self.base_misfit("base", message));
        }
        let effect =
            base.effect(&feed.shape).map_err(|message| self.base_misfit("base", &message))?;
        feed.shape = effect.shape.to_vec();
        if feed.shape.len() != 3 {
            feed.meaning = Meaning::Numbers;
        }
        feed.widths = vec![feed.shape.iter().product()];
        Ok((feeds, Some(effect)))
    }
}

#[cfg(test)]
mod tests;
