//! The file while it is written: names, constants, and values in the layout that an operator wants.

use super::error::ExportError;
use super::pair::{Extent, ONE, Pair, bytes, is_fixed};
use super::value::{Source, Value, inverse, with_rank};
use nerve_core::{DType, Op, Tensor};
use nerve_formats::onnx::{self, AttributeValue, DataType, Node};
use std::collections::{HashMap, HashSet};

/// What a constant of the file holds.
pub(super) enum Data {
    /// A tensor that depends on no argument; computed when it is known to be needed.
    Tensor(Tensor),
    /// As it stands in the file.
    Plain(onnx::Tensor),
}

/// A node that was met.
#[derive(Clone)]
pub(super) struct Known {
    pub value: Value,
    /// Whether it depends neither on an argument nor on the batch.
    pub is_constant: bool,
}

/// A value with the extents of its own.
#[derive(Clone)]
pub(super) struct Shaped {
    pub value: Value,
    pub extents: Vec<Extent>,
}

/// The file while it is written.
pub(super) struct Writer {
    /// The version of the operators.
    pub opset: i64,
    /// The numbers of examples of the two traces.
    pub batch: Extent,
    /// An input whose first axis counts the examples.
    pub counted: Option<String>,
    /// By the number of the first trace's node.
    pub known: HashMap<u64, Known>,
    pub nodes: Vec<Node>,
    pub constants: HashMap<String, Data>,
    /// The part of the network that is being written.
    pub part: String,
    /// What a recurrent layer gives, by its number: start along its output, and the value.
    pub parts: HashMap<u64, Vec<(Extent, Shaped)>>,
    /// Pieces of those outputs.
    pub flat: HashMap<u64, Shaped>,
    /// What was given another shape, by the name of the result.
    pub reshaped: HashMap<String, Shaped>,
    names: HashSet<String>,
    constant_names: HashMap<u64, String>,
    ints: HashMap<Vec<i64>, String>,
    layouts: HashMap<(String, Vec<usize>), String>,
}

impl Writer {
    pub fn new(opset: i64, batch: Extent) -> Writer {
        Writer {
            opset,
            batch,
            counted: None,
            known: HashMap::new(),
            nodes: Vec::new(),
            constants: HashMap::new(),
            part: String::new(),
            parts: HashMap::new(),
            flat: HashMap::new(),
            reshaped: HashMap::new(),
            names: HashSet::new(),
            constant_names: HashMap::new(),
            ints: HashMap::new(),
            layouts: HashMap::new(),
        }
    }

    /// `wanted`, or with a number behind it if that is taken.
    pub fn fresh(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_string();
        let mut number = 1;
        while !self.names.insert(name.clone()) {
            name = format!("{wanted}_{number}");
            number += 1;
        }
        name
    }

    /// A node without settings and with one result, whose name it gives.
    pub fn op(&mut self, op_type: &str, inputs: &[&str]) -> String {
        self.op_with(op_type, inputs, Vec::new())
    }

    /// A node with one result, whose name it gives.
    pub fn op_with(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        settings: Vec<(&str, AttributeValue)>,
    ) -> String {
        self.several(op_type, inputs, settings, &[""]).remove(0)
    }

    /// A node with several results: `suffixes` of their names.
    pub fn several(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        settings: Vec<(&str, AttributeValue)>,
        suffixes: &[&str],
    ) -> Vec<String> {
        let wanted = match self.part.is_empty() {
            true => op_type.to_string(),
            false => format!("{}/{op_type}", self.part),
        };
        let name = self.fresh(&wanted);
        let mut node = Node::new(op_type, [], []);
        node.inputs = inputs.iter().map(|&input| input.to_string()).collect();
        for (key, value) in settings {
            node = node.with(key, value);
        }
        node.outputs = suffixes.iter().map(|suffix| format!("{name}{suffix}")).collect();
        for suffix in suffixes.iter().filter(|suffix| !suffix.is_empty()) {
            self.names.insert(format!("{name}{suffix}"));
        }
        node.name = name;
        self.nodes.push(node);
        self.nodes.last().expect("just pushed").outputs.clone()
    }

    /// The error that this operation cannot be written.
    pub fn refuse(&self, node: &Pair, why: impl Into<String>) -> ExportError {
        ExportError::Operation {
            part: if self.part.is_empty() { "the network".into() } else { self.part.clone() },
            operation: node.op().rule().name().to_string(),
            why: why.into(),
        }
    }

    /// The name of a constant list of whole numbers.
    pub fn ints(&mut self, values: &[i64]) -> String {
        if let Some(name) = self.ints.get(values) {
            return name.clone();
        }
        let text: Vec<String> = values.iter().map(i64::to_string).collect();
        let name = self.fresh(&format!("[{}]", text.join(",")));
        let tensor = onnx::Tensor::ints(&name, &[values.len()], values);
        self.constants.insert(name.clone(), Data::Plain(tensor));
        self.ints.insert(values.to_vec(), name.clone());
        name
    }

    /// The name of a constant.
    pub fn constant(&mut self, tensor: &Tensor) -> String {
        if let Some(name) = self.constant_names.get(&tensor.id()) {
            return name.clone();
        }
        let wanted = match tensor.op() {
            Op::ReadVar(read) => read.var.name().to_string(),
            Op::Full(full) if tensor.rank() == 0 && tensor.dtype() == DType::F32 => {
                format!("{}", full.value.get())
            }
            Op::Full(full) if tensor.rank() == 0 => {
                format!("{}:{}", full.value.get(), tensor.dtype())
            }
            _ => match tensor.scope().unwrap_or(&self.part) {
                "" => "constant".to_string(),
                part => format!("{part}/constant"),
            },
        };
        // Equal numbers are made again and again.
        if let Some(Data::Tensor(known)) = self.constants.get(&wanted)
            && known.op() == tensor.op()
            && known.shape() == tensor.shape()
            && known.dtype() == tensor.dtype()
            && matches!(tensor.op(), Op::Full(_) | Op::ReadVar(_))
        {
            return wanted;
        }
        let name = self.fresh(&wanted);
        self.constants.insert(name.clone(), Data::Tensor(tensor.clone()));
        self.constant_names.insert(tensor.id(), name.clone());
        name
    }

    /// The name of a number of a type.
    pub fn number(&mut self, value: f64, dtype: DType) -> String {
        self.constant(&Tensor::full([], value, dtype))
    }

    /// What is known of a node that was written.
    pub fn value(&self, node: &Pair) -> Value {
        self.known[&node.a.id()].value.clone()
    }

    /// The name of what lies in the file, in whatever layout.
    pub fn name(&mut self, value: &Value) -> String {
        match &value.source {
            Source::Name(name) => name.clone(),
            Source::Constant(tensor) => self.constant(&tensor.clone()),
        }
    }

    /// The node as it is: its axes in their order, nothing left to repeat.
    pub fn plain(&mut self, node: &Pair) -> Result<String, ExportError> {
        let order: Vec<usize> = (0..node.rank()).collect();
        self.in_order(node, &order)
    }

    /// The node with its axes permuted: axis `i` in the file is its axis `wanted[i]`.
    pub fn in_order(&mut self, node: &Pair, wanted: &[usize]) -> Result<String, ExportError> {
        let shaped = Shaped { value: self.value(node), extents: node.extents() };
        self.arranged(&shaped, wanted)
    }

    /// As [`Writer::in_order`].
    pub fn arranged(&mut self, shaped: &Shaped, wanted: &[usize]) -> Result<String, ExportError> {
        let value = self.laid_out(&shaped.value, wanted);
        let extents: Vec<Extent> = wanted.iter().map(|&axis| shaped.extents[axis]).collect();
        let name = self.name(&value);
        self.expanded(name, &value.dims, &extents)
    }

    /// The same value whose axis `i` in the file, if nothing is left out in front, is the node's axis
    /// `wanted[i]`; still to be repeated.
    pub fn laid_out(&mut self, value: &Value, wanted: &[usize]) -> Value {
        let rank = wanted.len();
        let order = inverse(wanted);
        let counts = wanted.iter().copied().eq(0..rank);
        if (counts && value.is_plain()) || value.order == order || value.dims.is_empty() {
            return value.clone();
        }
        if let Some(tensor) = value.as_constant() {
            let permuted = permuted(&with_rank(tensor, rank), wanted);
            return Value { order, ..Value::constant(permuted) };
        }
        let value = self.ranked(value, rank);
        let permutation: Vec<usize> = wanted.iter().map(|&axis| value.order[axis]).collect();
        let dims = permutation.iter().map(|&axis| value.dims[axis]).collect();
        let from = self.name(&value);
        let name = self.transposed(from, &permutation);
        Value { source: Source::Name(name), dims, order }
    }

    /// With leading axes of extent 1 in the file.
    fn ranked(&mut self, value: &Value, rank: usize) -> Value {
        let missing = rank - value.dims.len();
        if missing == 0 {
            return value.clone();
        }
        let axes: Vec<i64> = (0..missing as i64).collect();
        let (name, axes) = (self.name(value), self.ints(&axes));
        let name = self.op("Unsqueeze", &[&name, &axes]);
        Value::named(name, [vec![ONE; missing], value.dims.clone()].concat())
    }

    fn transposed(&mut self, name: String, permutation: &[usize]) -> String {
        if permutation.iter().copied().eq(0..permutation.len()) {
            return name;
        }
        let key = (name, permutation.to_vec());
        if let Some(known) = self.layouts.get(&key) {
            return known.clone();
        }
        let result = self.op_with("Transpose", &[&key.0], vec![("perm", ints(permutation))]);
        self.layouts.insert(key, result.clone());
        result
    }

    /// Repeated from extents `dims` to `extents`.
    fn expanded(
        &mut self,
        name: String,
        dims: &[Extent],
        extents: &[Extent],
    ) -> Result<String, ExportError> {
        if dims == extents {
            return Ok(name);
        }
        let missing = extents.len() - dims.len();
        // Extents of 1 leave those of the value: no need to know the batch where it has it.
        let wanted: Vec<Extent> = extents
            .iter()
            .enumerate()
            .map(|(axis, &extent)| match axis.checked_sub(missing).map(|at| dims[at]) {
                Some(own) if own == extent => ONE,
                _ => extent,
            })
            .collect();
        let shape = self.shape(&wanted)?;
        Ok(self.op("Expand", &[&name, &shape]))
    }

    /// The number of examples times what it takes to make `extent`, as a list of one number.
    pub fn counted(&mut self, extent: Extent) -> Result<String, ExportError> {
        let [one, other] = self.batch;
        let times = extent[0] / one.max(1);
        let wrong = || ExportError::Batch(format!("an extent is {extent:?} for {one} and {other}"));
        if [times * one, times * other] != extent {
            return Err(wrong());
        }
        let input = self.counted.clone().ok_or_else(wrong)?;
        let part = std::mem::take(&mut self.part);
        let shape = self.shared("Shape", &[&input]);
        let first = self.ints(&[0]);
        let mut name = self.shared("Gather", &[&shape, &first]);
        if times != 1 {
            let times = self.ints(&[times as i64]);
            name = self.shared("Mul", &[&name, &times]);
        }
        self.part = part;
        Ok(name)
    }

    /// A node without settings, once for the same operands.
    fn shared(&mut self, op_type: &str, inputs: &[&str]) -> String {
        let same = |node: &&Node| node.op_type == op_type && node.inputs == inputs;
        match self.nodes.iter().find(same) {
            Some(node) => node.outputs[0].clone(),
            None => self.op(op_type, inputs),
        }
    }

    /// A shape as a value of the file.
    pub fn shape(&mut self, extents: &[Extent]) -> Result<String, ExportError> {
        if extents.iter().all(|&extent| is_fixed(extent)) {
            let extents: Vec<i64> = extents.iter().map(|extent| extent[0] as i64).collect();
            return Ok(self.ints(&extents));
        }
        let mut pieces = Vec::new();
        for run in extents.chunk_by(|&a, &b| is_fixed(a) && is_fixed(b)) {
            pieces.push(match is_fixed(run[0]) {
                true => self.ints(&run.iter().map(|extent| extent[0] as i64).collect::<Vec<_>>()),
                false => self.counted(run[0])?,
            });
        }
        if pieces.len() == 1 {
            return Ok(pieces.remove(0));
        }
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        Ok(self.op_with("Concat", &pieces, vec![("axis", 0i64.into())]))
    }

    /// `name` of extents `from` under another shape.
    pub fn reshape(
        &mut self,
        name: &str,
        from: &[Extent],
        to: &[Extent],
    ) -> Result<String, ExportError> {
        if from == to {
            return Ok(name.to_string());
        }
        // Twice under another shape is once.
        if let Some(origin) = self.reshaped.get(name).cloned() {
            let before = self.name(&origin.value);
            return self.reshape(&before, &origin.extents, to);
        }
        let mut unknown = (0..to.len()).filter(|&axis| !is_fixed(to[axis]));
        let shape = match (unknown.next(), unknown.next()) {
            (Some(only), None) if to.iter().all(|extent| extent[0] > 0) => {
                let of = |axis: usize| if axis == only { -1 } else { to[axis][0] as i64 };
                self.ints(&(0..to.len()).map(of).collect::<Vec<_>>())
            }
            _ => self.shape(to)?,
        };
        let mut settings = Vec::new();
        if to.contains(&[0, 0]) {
            settings.push(("allowzero", 1i64.into()));
        }
        let result = self.op_with("Reshape", &[name, &shape], settings);
        let value = Value::named(name.to_string(), from.to_vec());
        self.reshaped.insert(result.clone(), Shaped { value, extents: from.to_vec() });
        Ok(result)
    }
}

/// A constant with its axes permuted; a permutation that meets its inverse leaves the constant, which
/// keeps its name.
fn permuted(tensor: &Tensor, wanted: &[usize]) -> Tensor {
    if wanted.iter().copied().eq(0..wanted.len()) {
        return tensor.clone();
    }
    if let Op::Permute(before) = tensor.op() {
        let order: Vec<usize> = wanted.iter().map(|&axis| before.order[axis]).collect();
        return permuted(&tensor.inputs()[0], &order);
    }
    tensor.permute(wanted)
}

/// Axes and the like as a setting.
pub(super) fn ints(values: &[usize]) -> AttributeValue {
    values.iter().map(|&value| value as i64).collect::<Vec<i64>>().into()
}

/// The name of a type in the file.
pub(super) fn data_type(dtype: DType) -> DataType {
    match dtype {
        DType::F32 => DataType::Float,
        DType::F64 => DataType::Double,
        DType::I32 => DataType::Int32,
        DType::I64 => DataType::Int64,
        DType::U8 => DataType::Uint8,
        DType::I8 => DataType::Int8,
        DType::Bool => DataType::Bool,
    }
}

/// A constant as it stands in the file.
pub(super) fn stored(name: &str, data: &Data) -> onnx::Tensor {
    match data {
        Data::Plain(tensor) => tensor.clone(),
        Data::Tensor(tensor) => {
            onnx::Tensor::new(name, data_type(tensor.dtype()), tensor.shape(), bytes(tensor))
        }
    }
}
