//! From messages to bytes.

use super::*;
use crate::protobuf::Message;

impl Model {
    /// The bytes of a file.
    pub fn encode(&self) -> Vec<u8> {
        let mut m = Message::default();
        m.int(1, self.ir_version as u64);
        texts(&mut m, [(2, &self.producer_name), (3, &self.producer_version), (4, &self.domain)]);
        if self.model_version != 0 {
            m.int(5, self.model_version as u64);
        }
        texts(&mut m, [(6, &self.doc)]);
        m.message(7, &graph(&self.graph));
        self.opsets.iter().for_each(|o| _ = m.message(8, &opset(o)));
        self.metadata.iter().for_each(|e| _ = m.message(14, &entry(e)));
        self.functions.iter().for_each(|f| _ = m.message(25, &function(f)));
        m.into_bytes()
    }
}

impl Tensor {
    /// The bytes of a `TensorProto` in a file of its own.
    pub fn encode(&self) -> Vec<u8> {
        tensor(self).into_bytes()
    }
}

/// Texts that are not empty.
fn texts<const N: usize>(m: &mut Message, fields: [(u32, &String); N]) {
    for (number, text) in fields.into_iter().filter(|(_, text)| !text.is_empty()) {
        m.text(number, text);
    }
}

fn opset((domain, version): &(String, i64)) -> Message {
    let mut m = Message::default();
    m.text(1, domain).int(2, *version as u64);
    m
}

fn entry((key, value): &(String, String)) -> Message {
    let mut m = Message::default();
    m.text(1, key).text(2, value);
    m
}

fn graph(g: &Graph) -> Message {
    let mut m = Message::default();
    g.nodes.iter().for_each(|n| _ = m.message(1, &node(n)));
    texts(&mut m, [(2, &g.name)]);
    g.initializers.iter().for_each(|t| _ = m.message(5, &tensor(t)));
    texts(&mut m, [(10, &g.doc)]);
    g.inputs.iter().for_each(|v| _ = m.message(11, &value_info(v)));
    g.outputs.iter().for_each(|v| _ = m.message(12, &value_info(v)));
    g.values.iter().for_each(|v| _ = m.message(13, &value_info(v)));
    g.sparse_initializers.iter().for_each(|s| _ = m.message(15, &sparse(s)));
    m
}

fn function(f: &Function) -> Message {
    let mut m = Message::default();
    texts(&mut m, [(1, &f.name)]);
    f.inputs.iter().for_each(|text| _ = m.text(4, text));
    f.outputs.iter().for_each(|text| _ = m.text(5, text));
    f.attributes.iter().for_each(|text| _ = m.text(6, text));
    f.nodes.iter().for_each(|n| _ = m.message(7, &node(n)));
    f.opsets.iter().for_each(|o| _ = m.message(9, &opset(o)));
    texts(&mut m, [(10, &f.domain)]);
    f.defaults.iter().for_each(|a| _ = m.message(11, &attribute(a)));
    texts(&mut m, [(13, &f.overload)]);
    m
}

fn node(n: &Node) -> Message {
    let mut m = Message::default();
    // Empty names of operands mean something: they were left out.
    n.inputs.iter().for_each(|text| _ = m.text(1, text));
    n.outputs.iter().for_each(|text| _ = m.text(2, text));
    texts(&mut m, [(3, &n.name), (4, &n.op_type)]);
    n.attributes.iter().for_each(|a| _ = m.message(5, &attribute(a)));
    texts(&mut m, [(7, &n.domain), (8, &n.overload)]);
    m
}

fn attribute(a: &Attribute) -> Message {
    use AttributeValue as V;
    let mut m = Message::default();
    m.text(1, &a.name);
    let kind = match &a.value {
        V::Float(value) => (m.float(2, *value), 1).1,
        V::Int(value) => (m.int(3, *value as u64), 2).1,
        V::String(text) => (m.bytes(4, text), 3).1,
        V::Tensor(t) => (m.message(5, &tensor(t)), 4).1,
        V::Graph(g) => (m.message(6, &graph(g)), 5).1,
        V::Floats(values) => (m.floats(7, values), 6).1,
        V::Ints(values) => (m.ints(8, values.iter().copied()), 7).1,
        V::Strings(texts) => {
            texts.iter().for_each(|text| _ = m.bytes(9, text));
            8
        }
        V::Tensors(tensors) => {
            tensors.iter().for_each(|t| _ = m.message(10, &tensor(t)));
            9
        }
        V::Graphs(graphs) => {
            graphs.iter().for_each(|g| _ = m.message(11, &graph(g)));
            10
        }
        V::Sparse(s) => (m.message(22, &sparse(s)), 11).1,
        V::Type(t) => (m.message(14, &kind_of(t)), 13).1,
        V::Reference(name) => (m.text(21, name), 0).1,
    };
    m.int(20, kind);
    m
}

fn value_info(v: &ValueInfo) -> Message {
    let mut m = Message::default();
    m.text(1, &v.name);
    if let Some(kind) = &v.kind {
        m.message(2, &kind_of(kind));
    }
    m
}

fn kind_of(kind: &Type) -> Message {
    let (mut m, mut inner) = (Message::default(), Message::default());
    match kind {
        Type::Tensor(element, shape) | Type::Sparse(element, shape) => {
            inner.int(1, *element as u64);
            if let Some(dims) = shape {
                inner.message(2, &shape_of(dims));
            }
            m.message(if matches!(kind, Type::Tensor(..)) { 1 } else { 8 }, &inner);
        }
        Type::Sequence(element) | Type::Optional(element) => {
            inner.message(1, &kind_of(element));
            m.message(if matches!(kind, Type::Sequence(_)) { 4 } else { 9 }, &inner);
        }
        Type::Map(key, value) => {
            inner.int(1, *key as u64).message(2, &kind_of(value));
            m.message(5, &inner);
        }
    }
    m
}

fn shape_of(dims: &[Dim]) -> Message {
    let mut m = Message::default();
    for dim in dims {
        let mut inner = Message::default();
        match dim {
            Dim::Fixed(extent) => _ = inner.int(1, *extent as u64),
            Dim::Named(name) if name.is_empty() => {}
            Dim::Named(name) => _ = inner.text(2, name),
        }
        m.message(1, &inner);
    }
    m
}

fn sparse(s: &SparseTensor) -> Message {
    let mut m = Message::default();
    m.message(1, &tensor(&s.values)).message(2, &tensor(&s.indices));
    m.ints(3, s.dims.iter().map(|&d| d as i64));
    m
}

fn tensor(t: &Tensor) -> Message {
    let mut m = Message::default();
    if !t.dims.is_empty() {
        m.ints(1, t.dims.iter().map(|&d| d as i64));
    }
    m.int(2, t.data_type as u64);
    match &t.data {
        TensorData::Strings(texts) => texts.iter().for_each(|text| _ = m.bytes(6, text)),
        TensorData::Bytes(bytes) => _ = m.bytes(9, bytes),
        TensorData::External(place) => {
            let number = |key: &str, value: u64| (key.to_string(), value.to_string());
            m.message(13, &entry(&("location".into(), place.location.clone())));
            m.message(13, &entry(&number("offset", place.offset)));
            if let Some(length) = place.length {
                m.message(13, &entry(&number("length", length)));
            }
            m.int(14, 1);
        }
    }
    texts(&mut m, [(8, &t.name)]);
    m
}
