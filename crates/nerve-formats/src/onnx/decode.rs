//! From bytes to messages.

use super::external::Folder;
use super::parts::Parts;
use super::*;
use crate::protobuf::{Field, Fields, packed_ints};
use crate::{ErrorKind, FormatError, Limits, Reader};
use std::collections::HashSet;
use std::path::Path;

/// Protocol Buffers count bytes in 31 bits; larger models keep their weights beside the file.
const MAX_BYTES: u64 = (1 << 31) - 1;
/// Graphs within nodes within graphs.
const MAX_DEPTH: usize = 100;

type Result<T> = std::result::Result<T, FormatError>;

/// Reads a model. Weights in files beside it are read only if `external_data` says so: the model then
/// says which files are opened.
///
/// # Errors
/// The file cannot be read, or is no model.
pub fn read_model(path: impl AsRef<Path>, external_data: bool) -> Result<Model> {
    let path = path.as_ref();
    let bytes = read_all(path)?;
    let name = crate::error::file_name(path);
    let mut model = decode_model(&name, &bytes, external_data)?;
    drop(bytes);
    if external_data {
        let folder = path.parent().unwrap_or(Path::new(""));
        Folder::new(&name, folder).fill(&mut model)?;
    }
    Ok(model)
}

/// Reads a model without the weights that lie in other files: they are named, and no other file is opened.
///
/// # Errors
/// As [`read_model`].
pub fn read_structure(path: impl AsRef<Path>) -> Result<Model> {
    let path = path.as_ref();
    decode_model(&crate::error::file_name(path), &read_all(path)?, true)
}

/// Reads a value from a file of its own: `TensorProto`, or `SequenceProto` or `OptionalProto` where
/// `kind` is a sequence or optional.
///
/// # Errors
/// The file cannot be read, or holds no such value.
pub fn read_value(path: impl AsRef<Path>, kind: &Type) -> Result<Value> {
    let bytes = read_all(path.as_ref())?;
    let name = crate::error::file_name(path.as_ref());
    Decoder::new(&name, &bytes, false).value(&bytes, kind, 0)
}

fn read_all(path: &Path) -> Result<Vec<u8>> {
    let limits = Limits { max_bytes: MAX_BYTES, ..Limits::default() };
    let mut reader = Reader::open(path, &limits)?;
    let length = reader.remaining().unwrap_or(0);
    reader.bytes("model", length)
}

impl Model {
    /// From the bytes of a file, which is called `name` in messages. Weights in other files are refused.
    ///
    /// # Errors
    /// The bytes are no model.
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Model> {
        decode_model(name, bytes, false)
    }
}

fn decode_model(name: &str, bytes: &[u8], external: bool) -> Result<Model> {
    let decoder = Decoder::new(name, bytes, external);
    let not_onnx =
        |found: &str| FormatError::new(ErrorKind::Malformed, name, "file", "an ONNX model", found);
    match bytes {
        [] => return Err(not_onnx("an empty file")),
        [b'P', b'K', 3, 4, ..] => {
            return Err(not_onnx("a zip archive (PyTorch's .pt and NumPy's .npz are such)"));
        }
        _ => {}
    }
    let (model, graphs) = decoder.model(bytes)?;
    match (graphs, model.ir_version) {
        (0, _) => Err(not_onnx("bytes without a graph")),
        (_, 0) => Err(not_onnx("bytes that name no version of the format")),
        _ => Ok(model),
    }
}

/// The value, or `Ok(None)` from the function: the field is not of its type.
macro_rules! some {
    ($value:expr) => {
        match $value {
            Some(value) => value,
            None => return Ok(None),
        }
    };
}

struct Decoder<'a> {
    file: &'a str,
    start: usize,
    folder: Option<Folder>,
}

impl<'a> Decoder<'a> {
    fn new(file: &'a str, whole: &[u8], external: bool) -> Decoder<'a> {
        let folder = external.then(Folder::default);
        Decoder { file, start: whole.as_ptr().addr(), folder }
    }

    fn malformed(&self, at: &[u8], message: &str, expected: &str, found: &str) -> FormatError {
        let offset = at.as_ptr().addr().saturating_sub(self.start) as u64;
        FormatError::new(ErrorKind::Malformed, self.file, message, expected, found).at(offset)
    }

    /// Hands each field of a message to `take`, which says whether it could make sense of it.
    /// Unknown fields are for `take` to leave out: later versions add some.
    fn each<'b>(
        &self,
        message: &str,
        bytes: &'b [u8],
        mut take: impl FnMut(u64, Field<'b>) -> Result<Option<()>>,
    ) -> Result<()> {
        let mut fields = Fields(bytes);
        loop {
            let at = fields.0;
            match fields.next() {
                None => return Ok(()),
                Some(None) => {
                    return Err(self.malformed(at, message, "a field of Protocol Buffers", "none"));
                }
                Some(Some((number, field))) => {
                    if take(number, field)?.is_none() {
                        let field = format!("field {number} of {message}");
                        return Err(self.malformed(at, &field, "a value of its type", "another"));
                    }
                }
            }
        }
    }

    fn deeper(&self, at: &[u8], depth: usize) -> Result<usize> {
        if depth >= MAX_DEPTH {
            let expected = format!("at most {MAX_DEPTH} graphs within each other");
            return Err(self.malformed(at, "graph", &expected, "more"));
        }
        Ok(depth + 1)
    }

    /// The model, and how many graphs stood in it.
    fn model(&self, bytes: &[u8]) -> Result<(Model, usize)> {
        let (mut model, mut graphs) = (Model::default(), 0);
        self.each("model", bytes, |number, field| {
            match number {
                1 => model.ir_version = some!(field.int()) as i64,
                2 => model.producer_name = some!(field.text()),
                3 => model.producer_version = some!(field.text()),
                4 => model.domain = some!(field.text()),
                5 => model.model_version = some!(field.int()) as i64,
                6 => model.doc = some!(field.text()),
                7 => {
                    graphs += 1;
                    model.graph = self.graph(some!(field.bytes()), 0)?;
                }
                8 => model.opsets.push(self.opset(some!(field.bytes()))?),
                14 => model.metadata.push(self.entry(some!(field.bytes()))?),
                25 => model.functions.push(self.function(some!(field.bytes()))?),
                _ => {}
            }
            Ok(Some(()))
        })?;
        Ok((model, graphs))
    }

    fn opset(&self, bytes: &[u8]) -> Result<(String, i64)> {
        let mut opset = (String::new(), 0);
        self.each("opset_import", bytes, |number, field| {
            match number {
                1 => opset.0 = some!(field.text()),
                2 => opset.1 = some!(field.int()) as i64,
                _ => {}
            }
            Ok(Some(()))
        })?;
        Ok(opset)
    }

    fn entry(&self, bytes: &[u8]) -> Result<(String, String)> {
        let mut entry = (String::new(), String::new());
        self.each("entry", bytes, |number, field| {
            match number {
                1 => entry.0 = some!(field.text()),
                2 => entry.1 = some!(field.text()),
                _ => {}
            }
            Ok(Some(()))
        })?;
        Ok(entry)
    }

    fn graph(&self, bytes: &[u8], depth: usize) -> Result<Graph> {
        let depth = self.deeper(bytes, depth)?;
        let mut graph = Graph::default();
        self.each("graph", bytes, |number, field| {
            match number {
                1 => graph.nodes.push(self.node(some!(field.bytes()), depth)?),
                2 => graph.name = some!(field.text()),
                5 => graph.initializers.push(self.tensor(some!(field.bytes()))?),
                10 => graph.doc = some!(field.text()),
                11 => graph.inputs.push(self.value_info(some!(field.bytes()), depth)?),
                12 => graph.outputs.push(self.value_info(some!(field.bytes()), depth)?),
                13 => graph.values.push(self.value_info(some!(field.bytes()), depth)?),
                15 => graph.sparse_initializers.push(self.sparse(some!(field.bytes()))?),
                _ => {}
            }
            Ok(Some(()))
        })?;
        Ok(graph)
    }

    fn function(&self, bytes: &[u8]) -> Result<Function> {
        let mut function = Function::default();
        self.each("function", bytes, |number, field| {
            match number {
                1 => function.name = some!(field.text()),
                4 => function.inputs.push(some!(field.text())),
                5 => function.outputs.push(some!(field.text())),
                6 => function.attributes.push(some!(field.text())),
                7 => function.nodes.push(self.node(some!(field.bytes()), 0)?),
                9 => function.opsets.push(self.opset(some!(field.bytes()))?),
                10 => function.domain = some!(field.text()),
                11 => function.defaults.push(self.attribute(some!(field.bytes()), 0)?),
                13 => function.overload = some!(field.text()),
                _ => {}
            }
            Ok(Some(()))
        })?;
        Ok(function)
    }

    fn node(&self, bytes: &[u8], depth: usize) -> Result<Node> {
        let mut node = Node::default();
        self.each("node", bytes, |number, field| {
            match number {
                1 => node.inputs.push(some!(field.text())),
                2 => node.outputs.push(some!(field.text())),
                3 => node.name = some!(field.text()),
                4 => node.op_type = some!(field.text()),
                5 => node.attributes.push(self.attribute(some!(field.bytes()), depth)?),
                7 => node.domain = some!(field.text()),
                8 => node.overload = some!(field.text()),
                _ => {}
            }
            Ok(Some(()))
        })?;
        let mut names = HashSet::new();
        if let Some(twice) = node.attributes.iter().find(|a| !names.insert(a.name.as_str())) {
            let field = format!("attribute {:?} of node {:?}", twice.name, node.name);
            return Err(self.malformed(bytes, &field, "once", "twice"));
        }
        Ok(node)
    }

    fn attribute(&self, bytes: &[u8], depth: usize) -> Result<Attribute> {
        let (mut name, mut kind, mut reference) = (String::new(), 0, None);
        let mut single = None;
        let (mut floats, mut ints, mut strings) = (Vec::new(), Vec::new(), Vec::new());
        let (mut tensors, mut graphs) = (Vec::new(), Vec::new());
        self.each("attribute", bytes, |number, field| {
            use AttributeValue as V;
            match number {
                1 => name = some!(field.text()),
                2 => single = Some(V::Float(some!(field.float()))),
                3 => single = Some(V::Int(some!(field.int()) as i64)),
                4 => single = Some(V::String(some!(field.bytes()).to_vec())),
                5 => single = Some(V::Tensor(self.tensor(some!(field.bytes()))?)),
                6 => single = Some(V::Graph(self.graph(some!(field.bytes()), depth)?)),
                7 => some!(field.floats_into(&mut floats)),
                8 => some!(ints_into(field, &mut ints)),
                9 => strings.push(some!(field.bytes()).to_vec()),
                10 => tensors.push(self.tensor(some!(field.bytes()))?),
                11 => graphs.push(self.graph(some!(field.bytes()), depth)?),
                14 => single = some!(self.kind(some!(field.bytes()), depth)?).map(V::Type),
                20 => kind = some!(field.int()),
                21 => reference = Some(some!(field.text())),
                22 => single = Some(V::Sparse(self.sparse(some!(field.bytes()))?)),
                _ => {}
            }
            Ok(Some(()))
        })?;
        use AttributeValue as V;
        let value = match (reference, kind) {
            (Some(reference), _) if !reference.is_empty() => V::Reference(reference),
            (_, 6) => V::Floats(floats),
            (_, 7) => V::Ints(ints),
            (_, 8) => V::Strings(strings),
            (_, 9) => V::Tensors(tensors),
            (_, 10) => V::Graphs(graphs),
            // Old writers do not say the type, and nobody writes a zero.
            (_, 0) if !floats.is_empty() => V::Floats(floats),
            (_, 0) if !ints.is_empty() => V::Ints(ints),
            (_, 0) if !strings.is_empty() => V::Strings(strings),
            (_, 1) => single.unwrap_or(V::Float(0.0)),
            (_, 2) => single.unwrap_or(V::Int(0)),
            (_, 3) => single.unwrap_or(V::String(Vec::new())),
            (_, kind) => single.ok_or_else(|| {
                let found = format!("type {kind} without one");
                self.malformed(bytes, &format!("attribute {name:?}"), "a value", &found)
            })?,
        };
        let expected = match &value {
            V::Float(_) => 1,
            V::Int(_) => 2,
            V::String(_) => 3,
            V::Tensor(_) => 4,
            V::Graph(_) => 5,
            V::Sparse(_) => 11,
            V::Type(_) => 13,
            _ => kind,
        };
        if kind != 0 && kind != expected {
            let (field, found) = (format!("attribute {name:?}"), format!("one of type {expected}"));
            return Err(self.malformed(bytes, &field, &format!("a value of type {kind}"), &found));
        }
        Ok(Attribute { name, value })
    }

    fn value_info(&self, bytes: &[u8], depth: usize) -> Result<ValueInfo> {
        let mut info = ValueInfo::default();
        self.each("value_info", bytes, |number, field| {
            match number {
                1 => info.name = some!(field.text()),
                2 => info.kind = some!(self.kind(some!(field.bytes()), depth)?),
                _ => {}
            }
            Ok(Some(()))
        })?;
        Ok(info)
    }

    /// The outer option: whether it could be read; the inner one: whether it says anything.
    fn kind(&self, bytes: &[u8], depth: usize) -> Result<Option<Option<Type>>> {
        let depth = self.deeper(bytes, depth)?;
        let mut kind = None;
        self.each("type", bytes, |number, field| {
            kind = match number {
                1 | 8 => {
                    let (element, shape) = self.tensor_type(some!(field.bytes()))?;
                    Some(if number == 1 {
                        Type::Tensor(element, shape)
                    } else {
                        Type::Sparse(element, shape)
                    })
                }
                4 | 9 => {
                    let mut inner = None;
                    self.each("element type", some!(field.bytes()), |number, field| {
                        if number == 1 {
                            inner = some!(self.kind(some!(field.bytes()), depth)?);
                        }
                        Ok(Some(()))
                    })?;
                    let wrap = if number == 4 { Type::Sequence } else { Type::Optional };
                    inner.map(|inner| wrap(Box::new(inner)))
                }
                5 => {
                    let (mut key, mut value) = (DataType::Undefined, None);
                    self.each("map type", some!(field.bytes()), |number, field| {
                        match number {
                            1 => key = self.data_type(bytes, some!(field.int()))?,
                            2 => value = some!(self.kind(some!(field.bytes()), depth)?),
                            _ => {}
                        }
                        Ok(Some(()))
                    })?;
                    value.map(|value| Type::Map(key, Box::new(value)))
                }
                _ => return Ok(Some(())),
            };
            Ok(Some(()))
        })?;
        Ok(Some(kind))
    }

    fn data_type(&self, at: &[u8], number: u64) -> Result<DataType> {
        DataType::from_number(number as i64).ok_or_else(|| {
            self.malformed(at, "data_type", "0 to 26", &format!("{}", number as i64))
        })
    }

    fn tensor_type(&self, bytes: &[u8]) -> Result<(DataType, Option<Vec<Dim>>)> {
        let (mut element, mut shape) = (DataType::Undefined, None);
        self.each("tensor type", bytes, |number, field| {
            match number {
                1 => element = self.data_type(bytes, some!(field.int()))?,
                2 => {
                    let mut dims = Vec::new();
                    self.each("shape", some!(field.bytes()), |number, field| {
                        if number == 1 {
                            dims.push(self.dim(some!(field.bytes()))?);
                        }
                        Ok(Some(()))
                    })?;
                    shape = Some(dims);
                }
                _ => {}
            }
            Ok(Some(()))
        })?;
        Ok((element, shape))
    }

    /// An extent; a negative one stands for an unknown one in old files.
    fn dim(&self, bytes: &[u8]) -> Result<Dim> {
        let mut dim = Dim::Named(String::new());
        self.each("dimension", bytes, |number, field| {
            match number {
                1 => {
                    let value = some!(field.int()) as i64;
                    dim = usize::try_from(value).map_or(Dim::Named(String::new()), Dim::Fixed);
                }
                2 => dim = Dim::Named(some!(field.text())),
                _ => {}
            }
            Ok(Some(()))
        })?;
        Ok(dim)
    }

    fn dims(&self, at: &[u8], dims: Vec<i64>, field: &str) -> Result<Vec<usize>> {
        dims.iter()
            .map(|&d| usize::try_from(d))
            .collect::<std::result::Result<_, _>>()
            .map_err(|_| self.malformed(at, field, "extents of at least 0", &format!("{dims:?}")))
    }

    fn sparse(&self, bytes: &[u8]) -> Result<SparseTensor> {
        let (mut sparse, mut dims) = (SparseTensor::default(), Vec::new());
        self.each("sparse tensor", bytes, |number, field| {
            match number {
                1 => sparse.values = self.tensor(some!(field.bytes()))?,
                2 => sparse.indices = self.tensor(some!(field.bytes()))?,
                3 => some!(ints_into(field, &mut dims)),
                _ => {}
            }
            Ok(Some(()))
        })?;
        sparse.dims = self.dims(bytes, dims, "dims of a sparse tensor")?;
        // One that did not come is as wrong as one that contradicts itself.
        sparse.values.check(self.file, self.folder.as_ref())?;
        sparse.indices.check(self.file, self.folder.as_ref())?;
        Ok(sparse)
    }

    fn tensor(&self, bytes: &[u8]) -> Result<Tensor> {
        let mut parts = Parts::default();
        self.each("tensor", bytes, |number, field| {
            match number {
                1 => some!(ints_into(field, &mut parts.dims)),
                2 => parts.data_type = self.data_type(bytes, some!(field.int()))?,
                3 => {
                    let expected = "a tensor in one piece";
                    return Err(self.malformed(bytes, "segment", expected, "a segment"));
                }
                4 | 10 => some!(parts.fixed(field, number as u8)),
                5 | 7 | 11 => some!(parts.ints(field, number as u8)),
                6 => {
                    let text = some!(field.bytes()).to_vec();
                    parts.strings.get_or_insert_default().push(text);
                }
                8 => parts.name = some!(field.text()),
                9 => {
                    parts.kinds += 1;
                    parts.data = some!(field.bytes()).to_vec();
                }
                13 => parts.external.push(self.entry(some!(field.bytes()))?),
                14 => parts.is_external = some!(field.int()) == 1,
                _ => {}
            }
            Ok(Some(()))
        })?;
        self.tensor_of(bytes, parts)
    }

    fn tensor_of(&self, bytes: &[u8], parts: Parts) -> Result<Tensor> {
        let field = format!("tensor {:?}", parts.name);
        if parts.kinds > 1 || (parts.is_external && (parts.kinds > 0 || parts.strings.is_some())) {
            return Err(self.malformed(bytes, &field, "its data once", "data in two places"));
        }
        let dims = self.dims(bytes, parts.dims, &format!("dims of {field}"))?;
        let data = match (parts.is_external, parts.strings, parts.data_type) {
            (true, ..) => {
                TensorData::External(external::place(self.file, &field, &parts.external)?)
            }
            (_, Some(strings), DataType::String) => TensorData::Strings(strings),
            (_, Some(_), other) => {
                return Err(self.malformed(bytes, &field, other.name(), "texts"));
            }
            (_, None, DataType::String) if parts.kinds == 0 => TensorData::Strings(Vec::new()),
            _ => TensorData::Bytes(parts.data),
        };
        let tensor = Tensor { name: parts.name, dims, data_type: parts.data_type, data };
        tensor.check(self.file, self.folder.as_ref())?;
        Ok(tensor)
    }

    fn value(&self, bytes: &[u8], kind: &Type, depth: usize) -> Result<Value> {
        let depth = self.deeper(bytes, depth)?;
        match kind {
            Type::Sequence(inner) => {
                let mut values = Vec::new();
                self.each("sequence", bytes, |number, field| {
                    if matches!(number, 3 | 5 | 7) {
                        values.push(self.value(some!(field.bytes()), inner, depth)?);
                    }
                    Ok(Some(()))
                })?;
                Ok(Value::Sequence(values))
            }
            Type::Optional(inner) => {
                let mut value = None;
                self.each("optional", bytes, |number, field| {
                    if matches!(number, 3 | 5) {
                        value = Some(Box::new(self.value(some!(field.bytes()), inner, depth)?));
                    }
                    Ok(Some(()))
                })?;
                Ok(Value::Optional(value))
            }
            _ => self.tensor(bytes).map(Value::Tensor),
        }
    }
}

fn ints_into(field: Field<'_>, out: &mut Vec<i64>) -> Option<()> {
    match field {
        Field::Int(value) => out.push(value as i64),
        Field::Bytes(bytes) => {
            for value in packed_ints(bytes) {
                out.push(value? as i64);
            }
        }
        _ => return None,
    }
    Some(())
}
