//! ONNX files: what is written reads back, and what is damaged is an error.

use nerve_formats::onnx::{
    AttributeValue, DataType, Dim, External, Function, Graph, Model, Node, SparseTensor, Tensor,
    TensorData, Type, ValueInfo, read_model, read_structure,
};

fn info(name: &str, kind: Type) -> ValueInfo {
    ValueInfo { name: name.into(), kind: Some(kind) }
}

/// A model with one of everything.
fn full() -> Model {
    let image = Type::Tensor(DataType::Float, Some(vec![Dim::Named("n".into()), Dim::Fixed(3)]));
    let body = Graph {
        name: "body".into(),
        nodes: vec![Node::new("Identity", ["x"], ["z"])],
        outputs: vec![info("z", image.clone())],
        ..Graph::default()
    };
    let sparse = SparseTensor {
        values: Tensor::floats("s", &[1], &[2.5]),
        indices: Tensor::ints("", &[1], &[4]),
        dims: vec![2, 3],
    };
    let words = Tensor {
        name: "words".into(),
        dims: vec![2],
        data_type: DataType::String,
        data: TensorData::Strings(vec![b"a".to_vec(), "ä".as_bytes().to_vec()]),
    };
    let node = Node::new("Everything", ["x", "", "w"], ["y"])
        .with("f", -0.5f32)
        .with("i", -7i64)
        .with("s", "text")
        .with("t", words.clone())
        .with("g", body.clone())
        .with("fs", vec![1.0f32, f32::INFINITY])
        .with("is", vec![i64::MIN, 0, i64::MAX])
        .with("ss", AttributeValue::Strings(vec![b"".to_vec(), b"b".to_vec()]))
        .with("ts", AttributeValue::Tensors(vec![words.clone()]))
        .with("gs", AttributeValue::Graphs(vec![body]))
        .with("sp", AttributeValue::Sparse(sparse.clone()))
        .with("tp", AttributeValue::Type(Type::Optional(Box::new(image.clone()))))
        .with("ref", AttributeValue::Reference("outer".into()));
    let sequence = Type::Sequence(Box::new(Type::Map(DataType::Int64, Box::new(image.clone()))));
    let mut model = Model::new(17);
    model.producer_name = "test".into();
    model.metadata = vec![("key".into(), "value".into())];
    model.graph = Graph {
        name: "main".into(),
        nodes: vec![node],
        initializers: vec![
            Tensor::floats("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
            Tensor::new("empty", DataType::Bool, &[0, 3], Vec::new()),
            Tensor::new("int4", DataType::Int4, &[3], vec![0x21, 0x03]),
        ],
        sparse_initializers: vec![sparse],
        inputs: vec![info("x", image), ValueInfo { name: "untyped".into(), kind: None }],
        outputs: vec![info("y", sequence)],
        ..Graph::default()
    };
    model.functions = vec![Function {
        name: "F".into(),
        domain: "own".into(),
        inputs: vec!["a".into()],
        outputs: vec!["b".into()],
        attributes: vec!["alpha".into()],
        nodes: vec![Node::new("Neg", ["a"], ["b"])],
        opsets: vec![(String::new(), 17)],
        ..Function::default()
    }];
    model
}

fn decode(bytes: &[u8]) -> Result<Model, String> {
    Model::decode("m.onnx", bytes).map_err(|error| error.to_string())
}

#[test]
fn what_is_written_reads_back() {
    let model = full();
    assert_eq!(decode(&model.encode()).unwrap(), model);
    assert_eq!((model.opset(""), model.opset("ai.onnx"), model.opset("x")), (Some(17), None, None));
}

#[test]
fn o15_what_is_no_model_says_so() {
    for (bytes, found) in [
        (&b""[..], "an empty file"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"plain text, several words", ""),
        (&[0x08, 0x08], "without a graph"),
        (&[0xff; 40], ""),
    ] {
        let error = decode(bytes).unwrap_err();
        assert!(error.starts_with("m.onnx: ") && error.contains(found), "{error}");
    }
}

#[test]
fn o16_o18_every_truncation_and_every_changed_byte_is_survived() {
    let bytes = full().encode();
    for end in 0..bytes.len() {
        // A cut between two fields of the outer message leaves a shorter model, which may be whole.
        if let Ok(model) = decode(&bytes[..end]) {
            assert_ne!(model, full());
        }
    }
    for at in 0..bytes.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= change;
            let _ = decode(&damaged);
        }
    }
}

/// A length-delimited field.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(bytes);
    out
}

/// A model whose graph has these bytes.
fn with_graph(graph: &[u8]) -> Vec<u8> {
    [vec![0x08, 8], field(7, graph)].concat()
}

#[test]
fn o17_malformed_fields_are_errors() {
    for bytes in [
        &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1][..],
        &[0x00, 0x01],
        &[0x0b],
        &[0x0c],
        &[0x3d, 0, 0, 0, 0],
        &[0x3a, 0xff, 0xff, 0xff, 0xff, 0x7f],
    ] {
        assert!(decode(bytes).is_err(), "{bytes:02x?}");
    }
}

#[test]
fn o19_graphs_within_graphs_end_somewhere() {
    let nested = |depth: usize| {
        let mut graph = Vec::new();
        for _ in 0..depth {
            // graph { node { attribute { g: graph, type: GRAPH } } }
            let attribute = [field(6, &graph), vec![0xa0, 0x01, 5]].concat();
            graph = field(1, &field(5, &attribute));
        }
        with_graph(&graph)
    };
    assert!(decode(&nested(99)).is_ok());
    assert!(decode(&nested(100)).unwrap_err().contains("at most 100 graphs"));
    assert!(decode(&nested(5_000)).is_err());
}

#[test]
fn o20_o21_packed_unpacked_and_unknown_fields() {
    // dims 2, 1 unpacked, data_type 1, float_data unpacked, an unknown field 30.
    let floats = [vec![0x25], 1f32.to_le_bytes().to_vec(), vec![0x25], 2f32.to_le_bytes().to_vec()];
    let unknown = vec![0xf0, 0x01, 0x05];
    let tensor = [vec![0x08, 2, 0x08, 1, 0x10, 1], floats.concat(), unknown].concat();
    let model = decode(&with_graph(&field(5, &tensor))).unwrap();
    assert_eq!(model.graph.initializers, [Tensor::floats("", &[2, 1], &[1.0, 2.0])]);
}

#[test]
fn o33_o34_o35_shapes_and_data_that_contradict_each_other() {
    let tensor = |dims: &[u8], rest: &[u8]| {
        decode(&with_graph(&field(5, &[field(1, dims), rest.to_vec()].concat())))
    };
    let huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1];
    let minus = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let error = |dims: &[u8], rest: &[u8]| tensor(dims, rest).unwrap_err();
    assert!(error(&minus, &[0x10, 1]).contains("extents of at least 0"));
    assert!(error(&[huge, huge].concat(), &[0x10, 1]).contains("2^56"));
    assert!(
        error(&[0x80, 0x80, 0x80, 0x80, 0x20], &[0x10, 1]).contains("bytes"),
        "a shape without data"
    );
    assert!(error(&[2], &[0x10, 1, 0x4a, 4, 0, 0, 0, 0]).contains("8 bytes"));
    assert!(error(&[1], &[0x10, 1, 0x4a, 4, 0, 0, 0, 0, 0x25, 0, 0, 0, 0]).contains("two places"));
    assert!(
        error(&[1], &[0x10, 0]).contains("undefined") || error(&[1], &[0x10, 0]).contains("type")
    );
    assert!(error(&[1], &[0x10, 99]).contains("0 to 26"));
    assert!(error(&[1], &[0x10, 1, 0x32, 1, b'x']).contains("texts"));
    assert!(error(&[3], &[0x10, 22, 0x4a, 1, 0]).contains("2 bytes"), "int4, odd count");
    assert!(tensor(&[1], &[0x10, 1, 0x4a, 4, 0, 0, 0, 0]).is_ok());
    let sparse = decode(&with_graph(&field(15, &[]))).unwrap_err();
    assert!(sparse.contains("a data type"), "an array without values: {sparse}");
}

/// A model whose weight lies in `location`, written to `folder`.
fn outside(
    folder: &std::path::Path,
    location: &str,
    offset: u64,
    length: u64,
) -> std::path::PathBuf {
    let mut model = Model::new(17);
    let data =
        TensorData::External(External { location: location.into(), offset, length: Some(length) });
    model.graph.initializers =
        vec![Tensor { name: "w".into(), dims: vec![2], data_type: DataType::Float, data }];
    let path = folder.join("m.onnx");
    std::fs::write(&path, model.encode()).unwrap();
    path
}

#[test]
fn o01_to_o14_weights_lie_in_plain_files_of_the_models_folder() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(root.path().join("secret"), [0; 64]).unwrap();
    std::fs::write(folder.join("w.bin"), [1f32, 2.0].map(f32::to_le_bytes).concat()).unwrap();
    std::fs::create_dir(folder.join("sub")).unwrap();
    let read = |location: &str, offset, length| {
        let path = outside(&folder, location, offset, length);
        read_model(path, true).map_err(|error| error.to_string())
    };
    let good = read("w.bin", 0, 8).unwrap();
    assert_eq!(good.graph.initializers, [Tensor::floats("w", &[2], &[1.0, 2.0])]);
    let path = outside(&folder, "w.bin", 0, 8);
    let named = read_structure(&path).unwrap();
    assert!(
        matches!(&named.graph.initializers[0].data, TensorData::External(place) if place.location == "w.bin")
    );
    let refused = read_model(path, false).unwrap_err().to_string();
    assert!(refused.contains("--external-data"), "{refused}");

    let long = "x".repeat(5_000);
    for location in [
        "../secret",
        "junk/../../secret",
        "/etc/passwd",
        "C:\\x",
        "..\\..\\x",
        "",
        ".",
        "..",
        "a\0b",
        "sub/w.bin",
        &long,
    ] {
        let error = read(location, 0, 8).unwrap_err();
        assert!(error.contains("own folder"), "{location:?}: {error}");
    }
    assert!(read("sub", 0, 8).unwrap_err().contains("directory"));
    assert!(read("absent", 0, 8).is_err());
    for (offset, length) in
        [(1, 8), (0, 9), (9, 0), (10u64.pow(15), 8), (0, 10u64.pow(15)), (1 << 62, 1 << 62)]
    {
        assert!(read("w.bin", offset, length).is_err(), "{offset} {length}");
    }
    assert!(read("w.bin", 4, 4).unwrap_err().contains("8 bytes"), "too short for the shape");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(root.path().join("secret"), folder.join("link")).unwrap();
        assert!(read("link", 0, 8).unwrap_err().contains("symbolic link"));
        std::fs::hard_link(root.path().join("secret"), folder.join("hard")).unwrap();
        assert!(read("hard", 0, 8).unwrap_err().contains("several names"));
    }
}

#[test]
fn o09_o10_o12_o13_entries_and_budgets() {
    let entry = |key: &str, value: &str| {
        field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat())
    };
    let decode = |entries: &[Vec<u8>], rest: &[u8]| {
        let tensor =
            [vec![0x08, 1, 0x10, 1], entries.concat(), vec![0x70, 1], rest.to_vec()].concat();
        decode(&with_graph(&field(5, &tensor))).unwrap_err()
    };
    let place = entry("location", "w.bin");
    for value in ["-1", "x", "9223372036854775808", "1e3", ""] {
        assert!(decode(&[place.clone(), entry("offset", value)], &[]).contains("number of bytes"));
    }
    assert!(decode(&[place.clone(), place.clone()], &[]).contains("each key once"));
    assert!(decode(&[place.clone(), entry("__class__", "x")], &[]).contains("--external-data"));
    assert!(decode(&[place], &[0x4a, 4, 0, 0, 0, 0]).contains("two places"));

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("w.bin"), [0; 8]).unwrap();
    let path = outside(folder.path(), "w.bin", 0, 8);
    let mut model = Model::decode("m", &std::fs::read(&path).unwrap());
    assert!(model.is_err(), "without the permission");
    let data =
        TensorData::External(External { location: "w.bin".into(), offset: 0, length: Some(8) });
    let weight = Tensor { name: "w".into(), dims: vec![2], data_type: DataType::Float, data };
    for (copies, fits) in [(2, true), (3, false)] {
        let mut many = Model::new(17);
        many.graph.initializers = vec![weight.clone(); copies];
        std::fs::write(&path, many.encode()).unwrap();
        model = read_model(&path, true);
        assert_eq!(model.is_ok(), fits);
    }
    assert!(model.unwrap_err().to_string().contains("twice the file's size"));
}
