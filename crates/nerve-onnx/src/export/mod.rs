//! From a graph of tensors to an ONNX model.
//!
//! What is written is the graph of a function, operation by operation: a network with whatever stands
//! before and behind it. Operators of ONNX that do more than one operation (`Gemm`, `Conv` with its bias,
//! `LSTM`) are used where the graph has all of their parts.
//!
//! Shapes of tensors are numbers, and a file should take any number of examples. So the function is
//! traced twice, with different numbers of them, and an extent that differs is a multiple of the batch.
//!
//! ```
//! use nerve_core::DType;
//! use nerve_nn::{Context, Layer, Params, layers::Linear};
//! use nerve_onnx::export::{Input, Options, Output, export};
//! let layer = Linear::new(&Params::new(42).at("fc"), 3, 2);
//! let inputs = [Input::new("x", [3], DType::F32)];
//! let network = |x: &[nerve_core::Tensor]| {
//!     vec![Output::new("y", layer.forward(&x[0], &Context::eval()))]
//! };
//! let exported = export(&inputs, &network, &Options::default()).unwrap();
//! let graph = &exported.model.graph;
//! assert_eq!((graph.nodes.len(), &*graph.nodes[0].op_type), (1, "Gemm"));
//! assert_eq!(graph.initializers[0].name, "fc.weight");
//! ```

mod elementwise;
mod error;
mod finish;
mod gather;
mod linear;
mod movement;
mod pair;
mod recurrent;
mod reduce;
mod value;
mod verify;
mod walk;
mod writer;

pub use error::ExportError;
pub use verify::{Difference, VerifyError, verify};

use nerve_core::{DType, Tensor};
use nerve_formats::onnx::{
    self, AttributeValue, DataType, Dim, Model, Node, TensorData, Type, ValueInfo,
};
use pair::{Extent, Pair, fixed, is_fixed};
use value::Value;
use writer::{Data, Known, Writer, data_type};

/// The versions of ONNX's operators that can be written.
pub const OPSETS: std::ops::RangeInclusive<i64> = 17..=22;

/// What goes into a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its name in the file.
    pub name: String,
    /// The shape of one example.
    pub shape: Vec<usize>,
    /// The type that the function takes.
    pub dtype: DType,
    /// Texts that the file takes in place of numbers; the function gets the numbers, i32.
    pub words: Option<Words>,
}

/// Texts with numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Words {
    /// Each text with its number.
    pub list: Vec<(String, i32)>,
    /// The number of all others.
    pub other: i32,
}

impl Input {
    /// Numbers of a type.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, dtype: DType) -> Input {
        Input { name: name.into(), shape: shape.into(), dtype, words: None }
    }

    /// What stands for it in the graph.
    fn argument(&self, index: usize, batch: usize) -> Tensor {
        Tensor::argument(index, [&[batch], &self.shape[..]].concat(), self.dtype)
    }
}

/// What comes out of a network.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its name in the file.
    pub name: String,
    /// For each example.
    pub value: Tensor,
    /// Texts that the file gives in place of numbers: `value` holds places in this list, i32.
    pub words: Option<Vec<String>>,
}

impl Output {
    /// Numbers.
    pub fn new(name: impl Into<String>, value: Tensor) -> Output {
        Output { name: name.into(), value, words: None }
    }
}

/// What a file is to look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The version of ONNX's operators, one of [`OPSETS`].
    pub opset: i64,
    /// The number of examples that the file takes; any, if none is said.
    pub batch: Option<usize>,
}

impl Default for Options {
    /// Opset 17, which everything that reads ONNX knows, and any number of examples.
    fn default() -> Self {
        Options { opset: 17, batch: None }
    }
}

/// A network as an ONNX model.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The model.
    pub model: Model,
    /// Why it takes one number of examples alone, if it was to take any.
    pub fixed: Option<String>,
}

/// The function of an export: tensors whose first axis counts the examples, in and out.
pub type Network<'a> = dyn Fn(&[Tensor]) -> Vec<Output> + 'a;

/// Writes the graph of `network` as an ONNX model.
///
/// The function is called with tensors without values that stand for the inputs; whatever depends on
/// them becomes nodes, everything else constants, variables under their own names.
///
/// # Errors
/// An operation that ONNX cannot say, or options that make no sense.
pub fn export(
    inputs: &[Input],
    network: &Network,
    options: &Options,
) -> Result<Exported, ExportError> {
    if !OPSETS.contains(&options.opset) {
        return Err(ExportError::Opset(options.opset));
    }
    if inputs.is_empty() {
        return Err(ExportError::Usage("a network without inputs is a constant".into()));
    }
    if let Some(batch) = options.batch {
        let model = trace(inputs, network, options.opset, [batch; 2])?;
        return Ok(Exported { model, fixed: None });
    }
    // Numbers that are no extents of anything, usually: what is 1 or equal by chance would be taken
    // for something else.
    let mut why = None;
    for batch in [[5, 7], [11, 13]] {
        match trace(inputs, network, options.opset, batch) {
            Ok(model) => return Ok(Exported { model, fixed: None }),
            Err(ExportError::Batch(message)) => why = Some(message),
            Err(other) => return Err(other),
        }
    }
    let model = trace(inputs, network, options.opset, [1, 1])?;
    Ok(Exported { model, fixed: why })
}

/// The model by two traces, for these numbers of examples.
fn trace(
    inputs: &[Input],
    network: &Network,
    opset: i64,
    batch: Extent,
) -> Result<Model, ExportError> {
    let placeholders: [Vec<Tensor>; 2] =
        batch.map(|n| inputs.iter().enumerate().map(|(i, input)| input.argument(i, n)).collect());
    let is_same = is_fixed(batch);
    let first = network(&placeholders[0]);
    let second = if is_same { first.clone() } else { network(&placeholders[1]) };
    if first.len() != second.len() {
        return Err(ExportError::Batch("the number of outputs".into()));
    }
    let mut writer = Writer::new(opset, batch);
    let mut model = Model::new(opset);
    let graph_inputs = inputs.iter().map(|input| given(input, batch)).collect::<Vec<ValueInfo>>();
    for (number, input) in inputs.iter().enumerate() {
        writer.fresh(&input.name);
        writer.counted.get_or_insert_with(|| input.name.clone());
        let name = match &input.words {
            Some(words) => numbered(&mut writer, &input.name, words),
            None => input.name.clone(),
        };
        let other = &placeholders[usize::from(!is_same)][number];
        let node = Pair { a: placeholders[0][number].clone(), b: other.clone() };
        let value = Value::named(name, node.extents());
        writer.known.insert(node.a.id(), Known { value, is_constant: false });
    }
    if inputs.iter().any(|input| input.words.is_some()) {
        model.opsets.push(("ai.onnx.ml".into(), 3));
    }
    let (mut names, mut infos) = (Vec::new(), Vec::new());
    for (first, second) in first.iter().zip(&second) {
        let node = Pair::new(&first.value, &second.value)?;
        writer.lower(&node)?;
        writer.part.clear();
        let mut name = writer.plain(&node)?;
        if let Some(words) = &first.words {
            name = spelled(&mut writer, &name, words);
        }
        let wanted = writer.fresh(&first.name);
        infos.push(described(&wanted, &node, first.words.is_some(), batch));
        names.push((name, wanted));
    }
    let input_names: Vec<String> = inputs.iter().map(|input| input.name.clone()).collect();
    model.graph = finish::finish(writer, &input_names, &names);
    model.graph.name = "nerve".into();
    (model.graph.inputs, model.graph.outputs) = (graph_inputs, infos);
    model.producer_name = "nerve".into();
    model.producer_version = env!("CARGO_PKG_VERSION").into();
    Ok(model)
}

/// What the file says about an input.
fn given(input: &Input, batch: Extent) -> ValueInfo {
    let kind = match input.words {
        Some(_) => DataType::String,
        None => data_type(input.dtype),
    };
    let mut dims = vec![dim(batch, batch)];
    dims.extend(input.shape.iter().map(|&extent| dim(fixed(extent), batch)));
    ValueInfo { name: input.name.clone(), kind: Some(Type::Tensor(kind, Some(dims))) }
}

/// What the file says about an output.
fn described(name: &str, node: &Pair, words: bool, batch: Extent) -> ValueInfo {
    let kind = if words { DataType::String } else { data_type(node.dtype()) };
    let dims = node.extents().into_iter().map(|extent| dim(extent, batch)).collect();
    ValueInfo { name: name.to_string(), kind: Some(Type::Tensor(kind, Some(dims))) }
}

fn dim(extent: Extent, batch: Extent) -> Dim {
    match (is_fixed(extent), extent[0] / batch[0].max(1)) {
        (true, _) => Dim::Fixed(extent[0]),
        (false, 1) => Dim::Named("batch".into()),
        (false, times) => Dim::Named(format!("{times}*batch")),
    }
}

/// The numbers of texts.
fn numbered(writer: &mut Writer, input: &str, words: &Words) -> String {
    let keys = words.list.iter().map(|(word, _)| word.clone().into_bytes()).collect();
    let numbers: Vec<i64> = words.list.iter().map(|&(_, number)| number.into()).collect();
    let name = writer.op_with(
        "LabelEncoder",
        &[input],
        vec![
            ("keys_strings", AttributeValue::Strings(keys)),
            ("values_int64s", numbers.into()),
            ("default_int64", i64::from(words.other).into()),
        ],
    );
    let node: &mut Node = writer.nodes.last_mut().expect("just written");
    node.domain = "ai.onnx.ml".into();
    elementwise::cast_name(writer, &name, DType::I32)
}

/// The texts at places of a list.
fn spelled(writer: &mut Writer, places: &str, words: &[String]) -> String {
    let list = writer.fresh("labels");
    let tensor = onnx::Tensor {
        name: list.clone(),
        dims: vec![words.len()],
        data_type: DataType::String,
        data: TensorData::Strings(words.iter().map(|word| word.clone().into_bytes()).collect()),
    };
    writer.constants.insert(list.clone(), Data::Plain(tensor));
    writer.op("Gather", &[&list, places])
}

/// A tensor as it stands in a file.
///
/// # Panics
/// If it has no value: it depends on an argument.
#[track_caller]
pub fn constant(name: &str, tensor: &Tensor) -> onnx::Tensor {
    writer::stored(name, &Data::Tensor(tensor.clone()))
}
