//! Names and values, and walking over the nodes of a graph.

use super::call::{Call, Results};
use super::error::{ImportError, ImportErrorKind, Stop};
use super::network::Inner;
use super::ops;
use super::tagged;
use super::value::Value;
use nerve_core::DType;
use nerve_formats::onnx::{self, Function, Graph, Node};
use nerve_nn::Context;
use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// What one walk may still take; shared by the graphs within it.
pub(crate) struct Budget {
    nodes: Cell<u64>,
    until: Instant,
}

impl Budget {
    pub fn new(network: &Inner) -> Budget {
        let until = Instant::now() + network.limits.time;
        Budget { nodes: Cell::new(network.limits.nodes), until }
    }

    pub fn spend(&self) -> Result<(), Stop> {
        let left = self.nodes.get().checked_sub(1);
        self.nodes.set(left.ok_or_else(|| {
            Stop::Limit("more nodes than the limit: a loop that goes on for too long?".into())
        })?);
        match Instant::now() > self.until {
            true => Err(Stop::Limit("longer than the limit: a loop that never ends?".into())),
            false => Ok(()),
        }
    }
}

/// The values of a graph that is being walked over, within those of the graph around it.
pub(crate) struct Scope<'a> {
    pub network: &'a Inner,
    pub budget: &'a Budget,
    /// Whether the network is trained, and where random numbers come from then.
    pub cx: &'a Context,
    outer: Option<&'a Scope<'a>>,
    values: HashMap<&'a str, Value>,
    opsets: &'a [(String, i64)],
    depth: usize,
    /// Whether the weights of the model are seen here: functions see their operands alone.
    weights: bool,
}

/// Functions within functions, graphs within nodes.
const MAX_DEPTH: usize = 100;

impl<'a> Scope<'a> {
    pub fn new(network: &'a Inner, budget: &'a Budget, cx: &'a Context) -> Scope<'a> {
        let opsets = &network.opsets;
        let values = HashMap::new();
        Scope { network, budget, cx, outer: None, values, opsets, depth: 0, weights: true }
    }

    /// The scope of a graph within a node, which sees the values around it.
    fn within(outer: &'a Scope<'a>) -> Result<Scope<'a>, Stop> {
        if outer.depth >= MAX_DEPTH {
            return Err(Stop::Limit(format!("more than {MAX_DEPTH} graphs within each other")));
        }
        let (network, budget, cx, opsets) = (outer.network, outer.budget, outer.cx, outer.opsets);
        let (values, depth, weights) = (HashMap::new(), outer.depth + 1, outer.weights);
        Ok(Scope { network, budget, cx, outer: Some(outer), values, opsets, depth, weights })
    }

    pub fn set(&mut self, name: &'a str, value: Value) {
        self.values.insert(name, value);
    }

    fn get(&self, name: &str) -> Option<Value> {
        let mut scope = Some(self);
        while let Some(inner) = scope {
            if let Some(value) = inner.values.get(name) {
                return Some(value.clone());
            }
            scope = inner.outer;
        }
        if self.weights { self.network.weight(name) } else { None }
    }

    /// The version of the operators of `domain`.
    fn opset(&self, domain: &str) -> i64 {
        let same = |name: &str| normal(name) == normal(domain);
        self.opsets.iter().find(|(name, _)| same(name)).map_or(1, |(_, version)| *version)
    }

    /// The value of an array of the file.
    pub fn decoded(&self, tensor: &onnx::Tensor) -> Result<Value, Stop> {
        // Those of functions are copies that do not last.
        let value = match self.weights {
            true => self.network.decoded(tensor),
            false => Value::from_onnx(tensor),
        };
        value.map_err(Stop::Unsupported)
    }

    /// The values of the outputs of `graph`, whose inputs have these values.
    pub fn body<'s>(&'s self, graph: &'s Graph, inputs: Vec<Value>) -> Results {
        let mut scope = Scope::within(self)?;
        if inputs.len() > graph.inputs.len() {
            let (found, most) = (inputs.len(), graph.inputs.len());
            return Err(format!("a graph of {most} inputs is given {found}").into());
        }
        for tensor in &graph.initializers {
            scope.set(&tensor.name, self.decoded(tensor)?);
        }
        for (info, value) in graph.inputs.iter().zip(inputs) {
            scope.set(&info.name, value);
        }
        scope.walk(&graph.nodes).map_err(Stop::Inner)?;
        let output = |name: &str| {
            scope.get(name).ok_or_else(|| Stop::Wrong(format!("nothing produces output {name:?}")))
        };
        graph.outputs.iter().map(|info| output(&info.name)).collect()
    }

    /// The values of the outputs of `function`, called by `call`.
    fn function(&self, function: &Function, call: &Call<'_>) -> Results {
        if self.depth >= MAX_DEPTH {
            return Err(Stop::Limit(format!("more than {MAX_DEPTH} calls within each other")));
        }
        let nodes = super::network::with_attributes(function, call.node);
        let mut scope = Scope {
            network: self.network,
            budget: self.budget,
            cx: self.cx,
            outer: None,
            values: HashMap::new(),
            opsets: &function.opsets,
            depth: self.depth + 1,
            weights: false,
        };
        for (name, value) in function.inputs.iter().zip(&call.inputs) {
            if let Some(value) = value {
                scope.set(name, value.clone());
            }
        }
        scope.walk(&nodes).map_err(Stop::Inner)?;
        let output = |name: &String| {
            scope.get(name).ok_or_else(|| Stop::Wrong(format!("nothing produces output {name:?}")))
        };
        function.outputs.iter().map(output).collect()
    }

    /// Applies the operators of `nodes` in their order.
    pub fn walk(&mut self, nodes: &'a [Node]) -> Result<(), ImportError> {
        for node in nodes {
            let results = self.apply(node).map_err(|stop| self.error(node, stop))?;
            for (name, value) in node.outputs.iter().zip(results) {
                if !name.is_empty() {
                    self.set(name, value);
                }
            }
        }
        Ok(())
    }

    pub fn output(&self, name: &str) -> Option<Value> {
        self.get(name)
    }

    fn apply(&self, node: &Node) -> Results {
        self.budget.spend()?;
        let operand = |name: &String| match name.as_str() {
            "" => Ok(None),
            name => match self.get(name) {
                Some(value) => Ok(Some(value)),
                // A function's operand that its caller left out.
                None if self.outer.is_none() && !self.weights => Ok(None),
                None => Err(Stop::Wrong(format!("nothing produces operand {name:?}"))),
            },
        };
        let inputs = node.inputs.iter().map(operand).collect::<Result<Vec<_>, _>>()?;
        let call = Call { node, opset: self.opset(&node.domain), inputs, scope: self };
        let domain = normal(&node.domain);
        if let Some(function) = self.network.function(domain, &node.op_type, &node.overload) {
            return self.function(function, &call);
        }
        let operator = ops::find(domain, &node.op_type)
            .ok_or_else(|| Stop::Unsupported(format!("operator {} of {domain:?}", node.op_type)))?;
        // The operators check what they are given, and so do the operations of tensors, which panic: what the
        // former let through ends here.
        let tagged = call.inputs.iter().flatten().any(tagged::is_tagged);
        let apply = || if tagged { tagged::apply(&call, operator) } else { operator(&call) };
        let results = catch_unwind(AssertUnwindSafe(apply))
            .unwrap_or_else(|panic| Err(Stop::Wrong(message(&*panic))))?;
        self.check(node, &results)?;
        Ok(results)
    }

    /// Checks that there are as many results as are wanted, and that none is larger than the limit.
    fn check(&self, node: &Node, results: &[Value]) -> Result<(), Stop> {
        let wanted = node.outputs.iter().rposition(|name| !name.is_empty()).map_or(0, |i| i + 1);
        if wanted > results.len() {
            let found = results.len();
            return Err(format!("{wanted} results are named, the operator has {found}").into());
        }
        let mut tensors = results.iter().filter_map(Value::tensor);
        tensors.try_for_each(|tensor| self.afford(tensor.shape(), tensor.dtype()))
    }

    /// Checks that an array of that shape is not larger than the limit: results are looked at by themselves,
    /// what operators need in between by them.
    pub fn afford(&self, dims: &[usize], dtype: DType) -> Result<(), Stop> {
        let size = |n: u128, &d: &usize| n.saturating_mul(d as u128);
        let bytes = dims.iter().fold(dtype.bytes() as u128, size);
        if bytes <= u128::from(self.network.limits.bytes) {
            return Ok(());
        }
        Err(Stop::Limit(format!(
            "needs {:.1} GB for a result of shape {dims:?}, the limit is {:.1} GB",
            bytes as f64 / 1e9,
            self.network.limits.bytes as f64 / 1e9
        )))
    }

    fn error(&self, node: &Node, stop: Stop) -> ImportError {
        use ImportErrorKind as K;
        let (kind, message) = match stop {
            Stop::Inner(error) => return error,
            Stop::Value(what) => (K::Value, format!("the shape of its result depends on {what}")),
            Stop::Wrong(message) => (K::Invalid, message),
            Stop::Unsupported(message) => (K::Unsupported, message),
            Stop::Limit(message) => (K::Limit, message),
        };
        let name = match node.name.as_str() {
            "" => node.outputs.first().map_or("", String::as_str),
            name => name,
        };
        let node = format!("node {name:?} ({})", node.op_type);
        ImportError::new(kind, &self.network.name, Some(node), message)
    }
}

/// The domain of ONNX itself has two names.
pub(crate) fn normal(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// What a panic says.
pub(crate) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("failed").to_string()
}
