//! The model: checked, with its weights as parameters.

use super::check::{sort, supported};
use super::error::{ImportError, ImportErrorKind};
use super::narrow;
use super::run::Plans;
use super::scope::{Budget, Scope, normal};
use super::tagged;
use super::value::Value;
use nerve_core::{DType, Tensor, Var};
use nerve_formats::onnx::{
    self, Attribute, AttributeValue, DataType, Dim, Function, Graph, Model, Node, Type, ValueInfo,
};
use nerve_nn::{Context, Params, Role as Kept};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a model from outside may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest single array, in bytes.
    pub bytes: u64,
    /// Most nodes that are walked over in one run, those of loops as often as they are repeated.
    pub nodes: u64,
    /// Longest time that building a graph, or running piece by piece, may take.
    pub time: Duration,
}

impl Default for Limits {
    /// 2 GiB, a million nodes, ten minutes.
    fn default() -> Limits {
        Limits { bytes: 2 << 30, nodes: 1_000_000, time: Duration::from_secs(600) }
    }
}

/// How a model is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether files beside the model that it names may be read for its weights.
    pub external_data: bool,
    /// What it may take.
    pub limits: Limits,
}

/// A network from an ONNX file.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_formats::onnx::{self, Model, Node, ValueInfo};
/// use nerve_onnx::import::{Network, Options};
///
/// // y = relu(x w)
/// let mut model = Model::new(17);
/// let named = |name: &str| ValueInfo { name: name.into(), kind: None };
/// model.graph.inputs = vec![named("x")];
/// model.graph.outputs = vec![named("y")];
/// model.graph.initializers = vec![onnx::Tensor::floats("w", &[2, 1], &[1.0, -1.0])];
/// model.graph.nodes =
///     vec![Node::new("MatMul", ["x", "w"], ["h"]), Node::new("Relu", ["h"], ["y"])];
///
/// let network = Network::new("demo", model, Options::default()).unwrap();
/// let x = Tensor::from_slice(&[3.0f32, 1.0, 1.0, 3.0], [2, 2]);
/// let y = network.run(&[x.into()]).unwrap();
/// assert_eq!(y[0].tensor().unwrap().to_vec::<f32>(), [2.0, 0.0]);
/// assert_eq!(network.params().count(), 2);
/// ```
pub struct Network {
    pub(super) inner: Arc<Inner>,
    pub(super) plans: Plans,
}

/// What walking over the nodes needs.
pub(crate) struct Inner {
    pub name: String,
    pub graph: Graph,
    pub opsets: Vec<(String, i64)>,
    functions: HashMap<(String, String, String), Function>,
    /// The weights that can be trained.
    pub vars: HashMap<String, Var>,
    /// The other initializers: settings, indices, what is not trained.
    pub constants: HashMap<String, Value>,
    pub limits: Limits,
    /// Where the weights live, and which of them are trained.
    params: Params,
    /// Arrays of graphs within nodes, by their places in `graph`: decoded once, however often a loop comes by.
    decoded: Mutex<HashMap<usize, Value>>,
}

impl Inner {
    /// The value of an array that stands in a graph within `graph`.
    pub fn decoded(&self, tensor: &onnx::Tensor) -> Result<Value, String> {
        let place = std::ptr::from_ref(tensor).addr();
        let mut decoded = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = decoded.get(&place) {
            return Ok(value.clone());
        }
        let value = Value::from_onnx(tensor)?;
        decoded.insert(place, value.clone());
        Ok(value)
    }

    /// A weight, or another array of the file.
    pub fn weight(&self, name: &str) -> Option<Value> {
        match self.vars.get(name) {
            Some(var) => Some(Value::Tensor(var.get())),
            None => self.constants.get(name).cloned(),
        }
    }

    /// Whether the weight of that name is changed by training.
    pub fn is_trained(&self, name: &str) -> bool {
        self.params.get(name).is_some_and(|entry| entry.role == Kept::Trainable)
    }

    pub fn function(&self, domain: &str, name: &str, overload: &str) -> Option<&Function> {
        if self.functions.is_empty() {
            return None;
        }
        self.functions.get(&(domain.to_string(), name.to_string(), overload.to_string()))
    }

    pub(super) fn inputs(&self) -> impl Iterator<Item = &ValueInfo> {
        let given = |info: &&ValueInfo| {
            !self.constants.contains_key(&info.name) && !self.vars.contains_key(&info.name)
        };
        self.graph.inputs.iter().filter(given)
    }

    /// Refuses numbers that are none of the narrow type of their input: held in a wider one, they would give other results.
    pub fn in_bounds(&self, values: &[Value]) -> Result<(), ImportError> {
        for (info, value) in self.inputs().zip(values) {
            let (Some(Type::Tensor(element, _)), Some(x)) = (&info.kind, value.tensor()) else {
                continue;
            };
            if let Some(number) = narrow::misfit(*element, x) {
                let message = format!("input {:?}: {number} is no {}", info.name, element.name());
                return Err(ImportError::new(ImportErrorKind::Input, &self.name, None, message));
            }
        }
        Ok(())
    }

    /// Refuses results that would leave as other numbers than they are: unsigned ones from 2^63 on.
    pub fn out_of_bounds(&self, values: &[Value]) -> Result<(), ImportError> {
        for (info, value) in self.graph.outputs.iter().zip(values) {
            let (Some(Type::Tensor(DataType::Uint64, _)), Some(x)) = (&info.kind, value.tensor())
            else {
                continue;
            };
            if x.to_vec::<i64>().iter().any(|&v| v < 0) {
                let message = format!(
                    "output {:?}: a number from 2^63 on; nerve gives uint64 as int64",
                    info.name
                );
                return Err(ImportError::new(ImportErrorKind::Limit, &self.name, None, message));
            }
        }
        Ok(())
    }

    /// See [`Network::forward`].
    pub fn forward(&self, inputs: &[Value], cx: &Context) -> Result<Vec<Value>, ImportError> {
        self.check(inputs)?;
        let names = self.inputs().map(|info| info.name.as_str());
        let values: Vec<(&str, Value)> = names.zip(inputs.iter().cloned()).collect();
        self.apply(&values, &[], cx)
    }

    /// The outputs from these values, which the nodes `done` gave already where they are no inputs.
    pub fn apply(
        &self,
        values: &[(&str, Value)],
        done: &[usize],
        cx: &Context,
    ) -> Result<Vec<Value>, ImportError> {
        let budget = Budget::new(self);
        let mut scope = Scope::new(self, &budget, cx);
        for (name, value) in values {
            let info = self.graph.inputs.iter().find(|info| info.name == *name);
            let value = match info.and_then(|info| info.kind.as_ref()) {
                Some(Type::Tensor(element, _)) => tagged::declared(*element, value),
                _ => value.clone(),
            };
            scope.set(name, value);
        }
        for (at, node) in self.graph.nodes.iter().enumerate() {
            if done.binary_search(&at).is_err() {
                scope.walk(std::slice::from_ref(node))?;
            }
        }
        let output = |info: &ValueInfo| {
            let value = scope.output(&info.name).ok_or_else(|| {
                let message = format!("nothing produces output {:?}", info.name);
                ImportError::new(ImportErrorKind::Invalid, &self.name, None, message)
            })?;
            Ok(given(info, value, cx))
        };
        self.graph.outputs.iter().map(output).collect()
    }

    /// Compares what is given with what the model says about its inputs.
    pub(super) fn check(&self, values: &[Value]) -> Result<(), ImportError> {
        let wrong = |message: String| {
            Err(ImportError::new(ImportErrorKind::Input, &self.name, None, message))
        };
        let (expected, found) = (self.inputs().count(), values.len());
        if expected != found {
            let names: Vec<&str> = self.inputs().map(|info| info.name.as_str()).collect();
            return wrong(format!(
                "expected {expected} inputs ({}), found {found}",
                names.join(", ")
            ));
        }
        let mut named: HashMap<&str, usize> = HashMap::new();
        for (info, value) in self.inputs().zip(values) {
            let (Some(Type::Tensor(element, shape)), Some(tensor)) = (&info.kind, value.tensor())
            else {
                continue;
            };
            let dtype = super::value::dtype(*element);
            if dtype.is_some_and(|dtype| dtype != tensor.dtype()) {
                let found = tensor.dtype();
                return wrong(format!(
                    "input {:?}: expected {}, found {found}",
                    info.name,
                    element.name()
                ));
            }
            let Some(dims) = shape else { continue };
            let fits = |(dim, &extent): (&Dim, &usize)| match dim {
                Dim::Fixed(fixed) => *fixed == extent,
                Dim::Named(_) => true,
            };
            let found = tensor.shape();
            if dims.len() != found.rank() || !dims.iter().zip(found.iter()).all(fits) {
                let shown = show(dims);
                return wrong(format!(
                    "input {:?}: expected shape {shown}, found {found}",
                    info.name
                ));
            }
            for (dim, &extent) in dims.iter().zip(found.iter()) {
                let Dim::Named(name) = dim else { continue };
                // Some writers call every unknown extent so.
                let unknown = matches!(name.as_str(), "" | "?" | "-1" | "None");
                let bound = if unknown { extent } else { *named.entry(name).or_insert(extent) };
                if bound != extent {
                    return wrong(format!(
                        "input {:?}: the extent {name} is {bound} in an input before, found {extent}",
                        info.name
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Network {
    /// Reads a model.
    ///
    /// # Errors
    /// The file cannot be read, breaks the rules of ONNX, or uses what nerve does not have: all of it is
    /// named at once.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Network, ImportError> {
        let name = path.as_ref().display().to_string();
        let model = onnx::read_model(&path, options.external_data).map_err(|error| {
            let message = error.to_string();
            let message = message.split_once(": ").map_or(message.clone(), |(_, m)| m.to_string());
            ImportError::new(ImportErrorKind::File, &name, None, message)
        })?;
        Network::new(&name, model, options)
    }

    /// Takes a model that was read, which is called `name` in messages.
    ///
    /// # Errors
    /// As [`Network::open`].
    pub fn new(name: &str, model: Model, options: Options) -> Result<Network, ImportError> {
        Network::within(name, model, options, &Params::new(0))
    }

    /// The same, as a part of a larger network: its weights are called as in the file, below the place of `params`.
    ///
    /// # Errors
    /// As [`Network::open`].
    pub fn within(
        name: &str,
        mut model: Model,
        options: Options,
        params: &Params,
    ) -> Result<Network, ImportError> {
        let refuse = |kind, message| ImportError::new(kind, name, None, message);
        supported(&model).map_err(|m| refuse(ImportErrorKind::Unsupported, m))?;
        constants_as_initializers(&mut model.graph);
        let filled = filled(&mut model.graph, options.limits.bytes);
        let mut vars = HashMap::new();
        let mut constants = HashMap::new();
        let initializers = std::mem::take(&mut model.graph.initializers);
        let roles = roles(&model.graph.nodes, &initializers);
        variances(&model.graph.nodes, &initializers)
            .map_err(|m| refuse(ImportErrorKind::Invalid, m))?;
        let given = initializers.iter().map(|tensor| {
            Value::from_onnx(tensor).map(|value| (tensor.name.clone(), value)).map_err(|message| {
                let message = format!("initializer {:?}: {message}", tensor.name);
                refuse(ImportErrorKind::Unsupported, message)
            })
        });
        // Not evaluated here: a variable takes the memory of a tensor that nobody else has.
        let filled = filled.into_iter().map(|(name, t)| Ok((name, Value::Tensor(t))));
        for entry in given.chain(filled) {
            let (name, value) = entry?;
            if vars.contains_key(&name) || constants.contains_key(&name) {
                let message = format!("initializer {name:?} twice");
                return Err(refuse(ImportErrorKind::Invalid, message));
            }
            match (roles.get(name.as_str()), value) {
                (Some(role), Value::Tensor(value)) if value.dtype().is_float() => {
                    let var = match role {
                        Role::Parameter => params.with_value(&name, value),
                        Role::Statistic => params.buffer(&name, value),
                    };
                    vars.insert(name, var);
                }
                (_, value) => _ = constants.insert(name, value),
            }
        }
        let known = |name: &str| vars.contains_key(name) || constants.contains_key(name);
        sort(&mut model.graph, &known).map_err(|m| refuse(ImportErrorKind::Invalid, m))?;
        let key =
            |f: &Function| (normal(&f.domain).to_string(), f.name.clone(), f.overload.clone());
        let functions = model.functions.into_iter().map(|f| (key(&f), f)).collect();
        let inner = Inner {
            name: name.to_string(),
            graph: model.graph,
            opsets: model.opsets,
            functions,
            vars,
            constants,
            limits: options.limits,
            params: params.clone(),
            decoded: Mutex::default(),
        };
        Ok(Network { inner: Arc::new(inner), plans: Plans::default() })
    }

    /// What has to be given, in its order.
    pub fn input_infos(&self) -> impl Iterator<Item = &ValueInfo> {
        self.inner.inputs()
    }

    /// What is computed.
    pub fn output_infos(&self) -> &[ValueInfo] {
        &self.inner.graph.outputs
    }

    /// The weights: trained, saved and frozen like those of any network.
    pub fn params(&self) -> &Params {
        &self.inner.params
    }

    /// The outputs for these inputs, as a graph: to be used while a function is compiled, as a layer is.
    ///
    /// While it is trained, `Dropout` drops, with random numbers of `cx`, whether or not the file was written for use; and
    /// `BatchNormalization` whose scale or shift is trained normalises by the batch, and its statistics follow, as
    /// [`BatchNorm`](nerve_nn::layers::BatchNorm) does it. Frozen, it keeps its statistics.
    ///
    /// # Errors
    /// The inputs do not fit; the network uses what nerve does not have; or the shape of a result depends on
    /// a value that is not known yet ([`ImportErrorKind::Value`]).
    pub fn forward(&self, inputs: &[Value], cx: &Context) -> Result<Vec<Value>, ImportError> {
        self.inner.forward(inputs, cx)
    }
}

/// A result as it leaves: numbers as they are held, and in use those of 16 bits as such, although they were computed in more.
fn given(info: &ValueInfo, value: Value, cx: &Context) -> Value {
    match (value, &info.kind) {
        (picked @ Value::Picked(_), _) => picked,
        (Value::Tensor(x), Some(Type::Tensor(element, _))) if !cx.is_training() => {
            narrow::stored_half(*element, &x).into()
        }
        (value, _) => tagged::bare(&value),
    }
}

/// A shape as `[batch, 3, 224, 224]`.
pub fn show(dims: &[Dim]) -> String {
    let each = |dim: &Dim| match dim {
        Dim::Fixed(extent) => extent.to_string(),
        Dim::Named(name) if name.is_empty() => "?".to_string(),
        Dim::Named(name) => name.clone(),
    };
    format!("[{}]", dims.iter().map(each).collect::<Vec<_>>().join(", "))
}

/// Some writers keep weights in nodes: they are weights like the others.
fn constants_as_initializers(graph: &mut Graph) {
    let initializers = &mut graph.initializers;
    graph.nodes.retain_mut(|node| {
        if node.op_type != "Constant" || !normal(&node.domain).is_empty() {
            return true;
        }
        match (&mut node.attributes[..], &node.outputs[..]) {
            ([Attribute { value: AttributeValue::Tensor(tensor), .. }], [name]) => {
                initializers.push(onnx::Tensor { name: name.clone(), ..std::mem::take(tensor) });
                false
            }
            _ => true,
        }
    });
}

/// Weights that are left out of a file, to make it small, are filled with one number: takes the nodes that
/// do so away, and gives each weight as a tensor, in the order of the file. All together take at most `limit`
/// bytes: a short file could ask for any number of them.
fn filled(graph: &mut Graph, limit: u64) -> Vec<(String, Tensor)> {
    let weights = roles(&graph.nodes, &[]);
    let known: HashMap<&str, &onnx::Tensor> =
        graph.initializers.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let (mut filled, mut left) = (Vec::new(), limit);
    for node in graph.nodes.iter().filter(|node| node.op_type == "ConstantOfShape") {
        let ([shape], [name]) = (&node.inputs[..], &node.outputs[..]) else { continue };
        let [Attribute { value: AttributeValue::Tensor(value), .. }] = &node.attributes[..] else {
            continue;
        };
        let Some(shape) = known.get(shape.as_str()).filter(|t| t.data_type == DataType::Int64)
        else {
            continue;
        };
        let dims = shape.bytes().as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b));
        let Ok(dims) = super::call::shape(&dims.collect::<Vec<_>>()) else { continue };
        let bytes = (dims.iter().product::<usize>() as u64).saturating_mul(4);
        if let (DataType::Float, [number]) = (value.data_type, value.bytes().as_chunks().0)
            && weights.contains_key(name.as_str())
            && bytes <= left
        {
            left -= bytes;
            let number = f64::from(f32::from_le_bytes(*number));
            filled.push((name.clone(), Tensor::full(dims, number, DType::F32)));
        }
    }
    let gone: HashSet<&str> = filled.iter().map(|(name, _)| name.as_str()).collect();
    graph.nodes.retain(|node| !node.outputs.first().is_some_and(|name| gone.contains(&**name)));
    filled
}

/// Checks that no variance is negative: its root would not be a number.
fn variances(nodes: &[Node], initializers: &[onnx::Tensor]) -> Result<(), String> {
    let of = |node: &Node| match node.op_type.as_str() {
        "BatchNormalization" => node.inputs.get(4).cloned(),
        _ => None,
    };
    let names: HashSet<String> = nodes.iter().filter_map(of).collect();
    for tensor in initializers.iter().filter(|tensor| names.contains(&tensor.name)) {
        let values = Value::from_onnx(tensor)?;
        let negative = values.tensor().is_some_and(|t| match t.dtype() {
            DType::F32 => t.to_vec::<f32>().iter().any(|&v| v < 0.0),
            DType::F64 => t.to_vec::<f64>().iter().any(|&v| v < 0.0),
            _ => false,
        });
        if negative {
            return Err(format!("initializer {:?}: a variance below 0", tensor.name));
        }
    }
    Ok(())
}

/// What an initializer is for.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Parameter,
    Statistic,
}

/// The initializers that weigh something: operands of operators with weights, at the places where these stand.
fn roles<'a>(nodes: &'a [Node], initializers: &'a [onnx::Tensor]) -> HashMap<&'a str, Role> {
    let mut roles: HashMap<&str, Role> = HashMap::new();
    let mut elsewhere = HashSet::new();
    for node in nodes {
        for (i, name) in node.inputs.iter().enumerate() {
            let role = match (node.op_type.as_str(), i) {
                ("Conv" | "ConvTranspose" | "Gemm", 1 | 2) => Some(Role::Parameter),
                ("MatMul" | "Add" | "Mul" | "Sub" | "Div", _) => Some(Role::Parameter),
                ("PRelu", 1) | ("Gather", 0) => Some(Role::Parameter),
                ("LSTM" | "GRU" | "RNN", 1..=3) => Some(Role::Parameter),
                ("BatchNormalization", 1 | 2) => Some(Role::Parameter),
                ("BatchNormalization", 3 | 4) => Some(Role::Statistic),
                (
                    "LayerNormalization"
                    | "InstanceNormalization"
                    | "GroupNormalization"
                    | "RMSNormalization"
                    | "SkipLayerNormalization",
                    1 | 2,
                ) => Some(Role::Parameter),
                _ => None,
            };
            match role {
                Some(role) => _ = roles.entry(name).or_insert(role),
                None => _ = elsewhere.insert(name.as_str()),
            }
        }
    }
    // Numbers without axes are settings, such as a scale. What is used to say something elsewhere is, too.
    for tensor in initializers.iter().filter(|t| t.dims.is_empty()) {
        elsewhere.insert(&tensor.name);
    }
    roles.retain(|name, _| !elsewhere.contains(name));
    roles
}

/// The nodes of a function with the settings of its caller put in.
pub(crate) fn with_attributes(function: &Function, call: &Node) -> Vec<Node> {
    let given = |name: &str| {
        let of = |list: &[Attribute]| list.iter().find(|a| a.name == name).map(|a| a.value.clone());
        of(&call.attributes).or_else(|| of(&function.defaults))
    };
    fn put(nodes: &mut [Node], given: &dyn Fn(&str) -> Option<AttributeValue>) {
        for node in nodes {
            node.attributes.retain_mut(|attribute| {
                match &mut attribute.value {
                    AttributeValue::Reference(name) => match given(name) {
                        Some(value) => attribute.value = value,
                        None => return false,
                    },
                    AttributeValue::Graph(graph) => put(&mut graph.nodes, given),
                    _ => {}
                }
                true
            });
        }
    }
    let mut nodes = function.nodes.clone();
    put(&mut nodes, &given);
    nodes
}

impl nerve_nn::Model for Network {
    fn input_count(&self) -> usize {
        self.input_infos().count()
    }

    #[track_caller]
    fn outputs(&self, inputs: &[Tensor], cx: &Context) -> Vec<Tensor> {
        let values: Vec<Value> = inputs.iter().cloned().map(Value::Tensor).collect();
        let outputs = self.forward(&values, cx).unwrap_or_else(|error| panic!("{error}"));
        let tensor = |value: &Value| value.tensor().expect("an output that is an array").clone();
        outputs.iter().map(tensor).collect()
    }
}
