//! `[model] base`: a network from an ONNX file in front of the layers.
//!
//! The network ends where `base_output` says, at any value of its graph: without its last layer it is what transfer learning
//! begins with. Its weights are parameters below `base`, trained on or frozen like others. A model file carries the graph
//! beside the parameters, and so stands alone.

use crate::diagnostic::{Code, Diagnostic};
use crate::features::{Features, Feed};
use crate::recipe::{Recipe, path};
use nerve_core::{DType, Shape, Tensor, try_plan};
use nerve_formats::Meaning;
use nerve_formats::onnx::{self, Dim, Model as File, Node, Type, ValueInfo};
use nerve_formats::spec::Target;
use nerve_nn::layers::Effect;
use nerve_nn::{Context, Model, Params};
use nerve_onnx::import::{self, Value, dtype};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// A network from an ONNX file, cut off behind one of its values.
#[derive(Clone, Debug)]
pub struct Base {
    file: File,
}

/// It made ready for examples of certain shapes.
pub(crate) struct Front {
    network: import::Network,
    inputs: Vec<Taken>,
}

/// How an input takes what goes in.
struct Taken {
    /// Whether the network takes the channels last: `[batch, height, width, channels]`.
    channels_last: bool,
    dtype: DType,
}

impl Base {
    /// Reads a file, to use it up to the value `output`, or up to its only output; what goes in goes into `inputs`, in that
    /// order, or into its only input.
    ///
    /// # Errors
    /// It is no ONNX file; it has several inputs, and they are not named; no value is called so.
    pub fn open(file: &Path, output: Option<&str>, inputs: &[String]) -> Result<Base, String> {
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
        let mut inputs = ordered(fed.cloned().collect(), inputs, &name)?;
        for input in &mut inputs {
            // A file that was written for one example is tried with several.
            if let Some(Type::Tensor(_, Some(dims))) = &mut input.kind
                && let Some(first @ Dim::Fixed(1)) = dims.first_mut()
            {
                *first = Dim::Named("batch".into());
            }
        }
        model.graph.inputs = inputs;
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

    /// The names of its inputs, one for each column that goes in.
    pub(crate) fn inputs(&self) -> Vec<&str> {
        self.file.graph.inputs.iter().map(|info| &*info.name).collect()
    }

    /// The network with its weights below `base` in `params`, for examples of these shapes.
    ///
    /// # Errors
    /// It uses what nerve does not have, or takes something else.
    pub(crate) fn front(&self, feeds: &[&[usize]], params: &Params) -> Result<Front, String> {
        let options = import::Options::default();
        let params = params.at("base");
        let network = import::Network::within("base", self.file.clone(), options, &params)
            .map_err(|error| error.to_string())?;
        if network.params().vars().iter().any(|var| var.dtype() != DType::F32) {
            return Err("its weights are double; a network of a recipe is of float".into());
        }
        let taken: Result<Vec<Taken>, String> =
            network.input_infos().zip(feeds).map(|(info, feed)| Taken::of(info, feed)).collect();
        let inputs = taken?;
        if inputs.len() != feeds.len() || inputs.len() != network.input_infos().count() {
            let found = network.input_infos().count();
            return Err(format!("it has {found} inputs for {} columns", feeds.len()));
        }
        Ok(Front { network, inputs })
    }

    /// Its effect on an example of these shapes.
    ///
    /// # Errors
    /// As [`Base::front`]; what comes out does not have a row for each example.
    pub(crate) fn effect(&self, feeds: &[&[usize]]) -> Result<Effect, String> {
        let params = Params::new(0);
        let front = self.front(feeds, &params)?;
        const TRIED: usize = 2;
        let signature = |feed: &&[usize]| (Shape::from([&[TRIED], *feed].concat()), DType::F32);
        let signature: Vec<(Shape, DType)> = feeds.iter().map(signature).collect();
        // Nothing is computed: the shape is that of the graph, and its cost that of its plan.
        let mut given = None;
        let plan = try_plan(&signature, |x| {
            let y = front.apply(x, &Context::eval())?;
            given = Some((y.shape().clone(), y.dtype()));
            Ok::<_, String>(vec![y])
        })?;
        let (flops, bytes) = (plan.flops(), plan.arena_bytes());
        let (shape, dtype) = given.ok_or("nothing comes out")?;
        if shape.first() != Some(&TRIED) {
            return Err(format!(
                "what comes out for {TRIED} examples is {}: the file is for one example at a time, or the value has no axis \
                 of examples",
                shape
            ));
        }
        if !dtype.is_float() {
            return Err(format!("what comes out is {dtype}, no numbers to learn from"));
        }
        let numel = |of: Vec<nerve_core::Var>| -> u128 {
            of.iter().map(|var| var.shape().numel() as u128).sum()
        };
        let trainable = numel(params.trainable());
        Ok(Effect {
            shape: Shape::from(&shape[1..]),
            parameters: trainable,
            state: numel(params.vars()) - trainable,
            flops: u128::from(flops) / TRIED as u128,
            kept: (bytes / 4 / TRIED) as u128,
        })
    }
}

impl Taken {
    /// How this input takes examples of that shape.
    fn of(input: &ValueInfo, feed: &[usize]) -> Result<Taken, String> {
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
        Ok(Taken { channels_last, dtype })
    }
}

impl Front {
    fn apply(&self, inputs: &[Tensor], cx: &Context) -> Result<Tensor, String> {
        let value = |(x, taken): (&Tensor, &Taken)| {
            let x = match taken.channels_last {
                true => x.permute(&[0, 2, 3, 1]),
                false => x.clone(),
            };
            Value::Tensor(x.to_dtype(taken.dtype))
        };
        let values: Vec<Value> = inputs.iter().zip(&self.inputs).map(value).collect();
        let outputs = self.network.forward(&values, cx).map_err(|error| error.to_string())?;
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
    fn input_count(&self) -> usize {
        self.front.inputs.len()
    }

    #[track_caller]
    fn outputs(&self, inputs: &[Tensor], cx: &Context) -> Vec<Tensor> {
        let (found, wanted) = (inputs.len(), self.input_count());
        assert!(found == wanted, "a base has {wanted} inputs, not {found}");
        let y = nerve_core::scope("base", || self.front.apply(inputs, cx));
        self.model.outputs(&[y.unwrap_or_else(|error| panic!("{error}"))], cx)
    }
}

/// The inputs in the order of `names`; without names the only one.
fn ordered(fed: Vec<ValueInfo>, names: &[String], output: &str) -> Result<Vec<ValueInfo>, String> {
    let known: Vec<&str> = fed.iter().map(|info| &*info.name).collect();
    let known = known.join(", ");
    if names.is_empty() {
        return match fed.len() {
            1 => Ok(fed),
            count => Err(format!(
                "up to {output:?} it has {count} inputs ({known}): `base_inputs` names the one for each column"
            )),
        };
    }
    let find = |name: &String| {
        let found = fed.iter().find(|info| info.name == *name).cloned();
        found.ok_or_else(|| format!("no input up to {output:?} is called {name:?}: it has {known}"))
    };
    let inputs: Vec<ValueInfo> = names.iter().map(find).collect::<Result<_, _>>()?;
    let twice = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name));
    if let Some((_, name)) = twice {
        return Err(format!("input {name:?} is named twice in `base_inputs`"));
    }
    match fed.iter().find(|info| !names.contains(&info.name)) {
        Some(left) => Err(format!(
            "nothing goes into {:?}, which {output:?} is computed from: `base_inputs` names an input for each column",
            left.name
        )),
        None => Ok(inputs),
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
            let lonely = ["base_output", "base_inputs"].into_iter().find(|key| self.model.has(key));
            return match lonely {
                Some(key) => {
                    Err(self.base_misfit(key, &format!("`{key}` is given without `base`")))
                }
                None => Ok(None),
            };
        }
        let open = || {
            let output = self.model.has("base_output").then(|| self.model.text("base_output"));
            let inputs = if self.model.has("base_inputs") {
                self.model.texts("base_inputs")
            } else {
                vec![]
            };
            Base::open(Path::new(self.model.text("base")), output, &inputs).map(Arc::new)
        };
        match self.base.get_or_init(open) {
            Ok(base) => Ok(Some(base.clone())),
            Err(message) => Err(self.base_misfit("base", message)),
        }
    }

    /// Whether the network in front of the layers has several inputs: then each column goes into its own.
    pub(crate) fn base_takes_several(&self) -> bool {
        self.model.has("base_inputs") && self.model.texts("base_inputs").len() > 1
    }

    /// The graph of the network in front of the layers, as a run folder and a model file keep it.
    pub fn base_graph(&self) -> Option<String> {
        self.base().ok().flatten().map(|base| base.text())
    }

    /// Takes that graph instead of the file that the recipe names, which may be gone. Its weights come from elsewhere: without
    /// a checkpoint they are zeros.
    ///
    /// # Errors
    /// It is something else.
    pub fn with_base_graph(&self, graph: &str) -> Result<(), String> {
        let base = Base::read(graph)?;
        // What was read already is the same.
        let _ = self.base.set(Ok(Arc::new(base)));
        Ok(())
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
        let names = base.inputs();
        if names.len() != feeds.len() {
            let (names, count) = (names.join(", "), feeds.len());
            let message = format!("it takes {names}; the columns become {count}");
            return Err(self.base_misfit("base", &message));
        }
        let word = |feed: &&Feed| {
            matches!(feed.meaning, Meaning::Tokens { .. } | Meaning::Category { .. })
        };
        if feeds.iter().any(|feed| word(&feed)) {
            let message = "it would get the numbers of words that it was not trained with";
            return Err(self.base_misfit("base", message));
        }
        let shapes: Vec<&[usize]> = feeds.iter().map(|feed| &feed.shape[..]).collect();
        let effect = base.effect(&shapes).map_err(|message| self.base_misfit("base", &message))?;
        // What comes out stands for all that went in.
        feeds.truncate(1);
        let feed = &mut feeds[0];
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
