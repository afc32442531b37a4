//! Networks in the Open Neural Network Exchange format, as plain data.
//!
//! The messages of `onnx.proto` ("Open Neural Network Exchange intermediate representation"), read
//! with every length checked and written again. What they mean is not known here: an operator is its name.
//!
//! ```
//! use nerve_formats::onnx::{Model, Node};
//! let mut model = Model::new(17);
//! model.graph.nodes.push(Node::new("Relu", ["x"], ["y"]));
//! let again = Model::decode("relu.onnx", &model.encode()).unwrap();
//! assert_eq!(again, model);
//! assert!(Model::decode("relu.onnx", b"no protobuf").is_err());
//! ```

mod decode;
mod encode;
mod external;
mod parts;
mod tensor;

pub use decode::{read_model, read_structure, read_value};
pub use tensor::{DataType, External, Tensor, TensorData};

/// A network and what it needs to be understood.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Version of the format, 3 to 13 at the time of writing.
    pub ir_version: i64,
    /// The versions of the operators by domain; the domain of ONNX itself is empty.
    pub opsets: Vec<(String, i64)>,
    /// The program that wrote it.
    pub producer_name: String,
    /// The program's version.
    pub producer_version: String,
    /// Whose model it is, as a reversed host name.
    pub domain: String,
    /// The model's version.
    pub model_version: i64,
    /// For people.
    pub doc: String,
    /// The network.
    pub graph: Graph,
    /// Names and texts that the writer kept with it.
    pub metadata: Vec<(String, String)>,
    /// Operators that are defined by graphs.
    pub functions: Vec<Function>,
}

/// Nodes in an order in which they can be computed, and the values between them by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Its name.
    pub name: String,
    /// What is computed.
    pub nodes: Vec<Node>,
    /// Constants, among them the weights; an input of the same name makes one a default.
    pub initializers: Vec<Tensor>,
    /// Constants that are mostly zero.
    pub sparse_initializers: Vec<SparseTensor>,
    /// What has to be given.
    pub inputs: Vec<ValueInfo>,
    /// What is returned.
    pub outputs: Vec<ValueInfo>,
    /// What is known about values in between.
    pub values: Vec<ValueInfo>,
    /// For people.
    pub doc: String,
}

/// One application of an operator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Its name, for messages; may be empty.
    pub name: String,
    /// The operator.
    pub op_type: String,
    /// Whose operator it is; empty for ONNX's own.
    pub domain: String,
    /// Which of several functions of one name.
    pub overload: String,
    /// Names of the operands; an empty one was left out.
    pub inputs: Vec<String>,
    /// Names of the results; an empty one is not wanted.
    pub outputs: Vec<String>,
    /// Its settings.
    pub attributes: Vec<Attribute>,
}

/// A setting of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: AttributeValue,
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// A number.
    Float(f32),
    /// A whole number.
    Int(i64),
    /// A text, usually UTF-8.
    String(Vec<u8>),
    /// An array.
    Tensor(Tensor),
    /// A body of a loop or a branch.
    Graph(Graph),
    /// An array that is mostly zero.
    Sparse(SparseTensor),
    /// A type.
    Type(Type),
    /// Numbers.
    Floats(Vec<f32>),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// Texts.
    Strings(Vec<Vec<u8>>),
    /// Arrays.
    Tensors(Vec<Tensor>),
    /// Bodies.
    Graphs(Vec<Graph>),
    /// Within a function: the value of the function's setting of that name.
    Reference(String),
}

/// An array that is mostly zero: coordinates format.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseTensor {
    /// The elements that are not zero; carries the name.
    pub values: Tensor,
    /// Where they stand: `[n]`, in row-major order, or `[n, rank]`.
    pub indices: Tensor,
    /// The shape of the array.
    pub dims: Vec<usize>,
}

/// A value's name and what is known about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValueInfo {
    /// Its name.
    pub name: String,
    /// Its type, if it was said.
    pub kind: Option<Type>,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// An array; the shape may be unknown.
    Tensor(DataType, Option<Vec<Dim>>),
    /// A list.
    Sequence(Box<Type>),
    /// A value that may be missing.
    Optional(Box<Type>),
    /// A dictionary.
    Map(DataType, Box<Type>),
    /// An array that is mostly zero.
    Sparse(DataType, Option<Vec<Dim>>),
}

/// An extent of a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// Known.
    Fixed(usize),
    /// The same wherever the name stands; the empty name is different everywhere.
    Named(String),
}

/// An operator that is defined by nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub domain: String,
    /// Which of several.
    pub overload: String,
    /// Names of its operands.
    pub inputs: Vec<String>,
    /// Names of its results.
    pub outputs: Vec<String>,
    /// Names of the settings that must be given.
    pub attributes: Vec<String>,
    /// Settings with defaults.
    pub defaults: Vec<Attribute>,
    /// The body.
    pub nodes: Vec<Node>,
    /// Versions of the operators that the body uses.
    pub opsets: Vec<(String, i64)>,
}

/// A value from a file of its own, as the test cases of ONNX have them.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An array.
    Tensor(Tensor),
    /// A list.
    Sequence(Vec<Value>),
    /// A value that may be missing.
    Optional(Option<Box<Value>>),
}

impl Model {
    /// An empty model for a version of ONNX's own operators.
    pub fn new(opset: i64) -> Model {
        // The version of the format that came with the operators: ONNX 1.12 with opset 17 has IR 8.
        let ir_version = match opset {
            ..=17 => 8,
            18..=20 => 9,
            21..=22 => 10,
            23 => 11,
            _ => 12,
        };
        Model { ir_version, opsets: vec![(String::new(), opset)], ..Model::default() }
    }

    /// The version of the operators of `domain`.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        let same = |name: &str| name == domain || (domain.is_empty() && name == "ai.onnx");
        self.opsets.iter().find(|(name, _)| same(name)).map(|(_, version)| *version)
    }
}

impl Node {
    /// A node without settings.
    pub fn new<const I: usize, const O: usize>(
        op_type: &str,
        inputs: [&str; I],
        outputs: [&str; O],
    ) -> Node {
        Node {
            op_type: op_type.to_string(),
            inputs: inputs.map(String::from).to_vec(),
            outputs: outputs.map(String::from).to_vec(),
            ..Node::default()
        }
    }

    /// The same with a setting.
    pub fn with(mut self, name: &str, value: impl Into<AttributeValue>) -> Node {
        self.attributes.push(Attribute { name: name.to_string(), value: value.into() });
        self
    }
}

macro_rules! into_attribute {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl From<$from> for AttributeValue {
            fn from(value: $from) -> AttributeValue {
                AttributeValue::$variant(value.into())
            }
        }
    )*};
}
into_attribute!(f32 => Float, i64 => Int, &str => String, Tensor => Tensor, Graph => Graph,
    Vec<f32> => Floats, Vec<i64> => Ints);
