use super::*;
use crate::{Predictor, Session, SessionError, Source};
use nerve_formats::{Idx, IdxData, write_idx};
use nerve_onnx::export::Options;
use nerve_track::RunFolder;

/// Pictures of 4 x 4 whose class is the row of a stripe.
fn data(folder: &Path) {
    let pixels = |i: usize| (0..16).map(move |p| if p / 4 == i % 2 { 200 + p as u8 } else { 0 });
    let save = |name: &str, dims: Vec<usize>, data: Vec<u8>| {
        write_idx(folder.join(name), &Idx { dims, data: IdxData::U8(data) }).unwrap();
    };
    save("train-images", vec![40, 4, 4], (0..40).flat_map(pixels).collect());
    save("train-labels", vec![40], (0..40).map(|i| (i % 2) as u8).collect());
}

/// x, laid flat, times w, not below 0, times v.
fn network(input: &[usize], flat: Node) -> File {
    let mut file = File::new(17);
    let port = |name: &str, dims: &[usize]| ValueInfo {
        name: name.into(),
        kind: Some(Type::Tensor(
            onnx::DataType::Float,
            Some(dims.iter().map(|&extent| Dim::Fixed(extent)).collect()),
        )),
    };
    file.graph.inputs = vec![port("x", input)];
    file.graph.outputs = vec![port("logits", &[1, 1000])];
    let w: Vec<f32> = (0..96).map(|i| ((i * 37 % 19) as f32 - 9.0) / 20.0).collect();
    file.graph.initializers = vec![
        onnx::Tensor::floats("w", &[16, 6], &w),
        onnx::Tensor::floats("v", &[6, 1000], &[0.5; 6000]),
        onnx::Tensor::ints("one", &[2], &[1, 16]),
    ];
    file.graph.nodes = vec![
        flat,
        Node::new("MatMul", ["flat", "w"], ["h"]),
        Node::new("Relu", ["h"], ["features"]),
        Node::new("MatMul", ["features", "v"], ["logits"]),
    ];
    file
}

fn flatten() -> Node {
    Node::new("Flatten", ["x"], ["flat"])
}

fn session(folder: &Path, model: &str) -> Result<Session, SessionError> {
    let text = format!(
        "[data]\ntrain = \"train-images\"\nvalidation = 0.0\n[model]\nbase = \"net.onnx\"\n{model}\n[trainer]\n\
         epochs = 3\n"
    );
    let mut source = Source::new("r.toml", text);
    source.folder = folder.to_path_buf();
    Session::new(&Recipe::load(source, &[])?)
}

const HEAD: &str = "base_output = \"features\"\nlayers = [{ type = \"Dense\", units = 2 }]\n";

fn values(session: &Session, path: &str) -> Vec<f32> {
    session.network.params.get(path).unwrap().var.to_vec::<f32>()
}

#[test]
fn a_network_from_elsewhere_gets_a_new_last_layer() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let net = folder.path().join("net.onnx");
    std::fs::write(&net, network(&[1, 1, 4, 4], flatten()).encode()).unwrap();
    for freeze in [true, false] {
        let keys = if freeze { "freeze = [\"base.*\"]\n" } else { "" };
        let session = session(folder.path(), &format!("{HEAD}{keys}")).unwrap();
        let names: Vec<String> =
            session.network.params.vars().iter().map(|var| var.name().to_string()).collect();
        assert_eq!(names, ["base.w", "0.weight", "0.bias"], "what is cut off is not there");
        assert_eq!(session.summary.rows[0].effect.parameters, 96);
        assert_eq!(*session.summary.rows[0].effect.shape, [6]);
        let before = values(&session, "base.w");
        let fit = session.fit(Arc::default(), None, &mut []).unwrap();
        assert_eq!(before == values(&session, "base.w"), freeze);
        let name = if freeze { "frozen" } else { "trained" };
        let run = RunFolder::create(&folder.path().join("runs"), name, &[]).unwrap();
        session.save(&run, &fit.history).unwrap();
        // The model file stands alone.
        std::fs::rename(&net, folder.path().join("gone")).unwrap();
        let saved = Predictor::open(&run.model()).unwrap();
        assert_eq!(
            saved.network.params.get("base.w").unwrap().var.to_vec::<f32>(),
            values(&session, "base.w")
        );
        let x = Tensor::from_slice(&[0.5f32; 32], [2, 1, 4, 4]);
        let said = |model: &dyn Model| {
            model.outputs(std::slice::from_ref(&x), &Context::eval())[0].to_vec::<f32>()
        };
        assert_eq!(said(&*saved.network.model), said(&*session.network.model));
        assert_eq!(saved.card.metadata(), saved.card.metadata());
        let wanted = crate::onnx::Wanted { options: Options::default(), preprocessing: true };
        let differences = saved.verify_onnx(&wanted, 4).unwrap();
        assert!(differences.iter().all(|d| d.relative < 1e-5), "{differences:?}");
        std::fs::rename(folder.path().join("gone"), &net).unwrap();
    }
}

#[test]
fn channels_may_come_last() {
    let base = |input: &[usize]| {
        let file = network(input, flatten()).encode();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.onnx");
        std::fs::write(&path, file).unwrap();
        Base::open(&path, Some("features"), &[]).unwrap()
    };
    let params = Params::new(0);
    let front = base(&[1, 2, 4, 2]).front(&[&[2, 4, 2]], &params).unwrap();
    assert!(!front.inputs[0].channels_last, "as it is, where that fits");
    let (channels, params) = (base(&[1, 2, 8, 1]), Params::new(0));
    assert!(channels.front(&[&[1, 2, 8]], &params).unwrap().inputs[0].channels_last);
    assert_eq!(*channels.effect(&[&[1, 2, 8]]).unwrap().shape, [6]);
    assert!(
        channels.front(&[&[3, 2, 8]], &Params::new(0)).err().unwrap().contains("[batch, 2, 8, 1]")
    );
}

#[test]
fn p_what_does_not_fit_is_told_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let net = folder.path().join("net.onnx");
    let why = |model: &str| session(folder.path(), model).err().unwrap().to_string();
    assert!(why(HEAD).contains("net.onnx"), "no file");
    std::fs::write(&net, "no model").unwrap();
    assert!(why(HEAD).contains("the base does not fit"));
    std::fs::write(&net, network(&[1, 1, 4, 4], flatten()).encode()).unwrap();
    let text = why(&HEAD.replace("features", "feature"));
    assert!(text.contains("did you mean \"features\"?"), "{text}");
    std::fs::write(&net, network(&[1, 3, 4, 4], flatten()).encode()).unwrap();
    let text = why(HEAD);
    assert!(text.contains("it takes [batch, 3, 4, 4]"), "{text}");
    // The shape in the file is that of one example.
    let one = Node::new("Reshape", ["x", "one"], ["flat"]);
    std::fs::write(&net, network(&[1, 1, 4, 4], one).encode()).unwrap();
    let text = why(HEAD);
    assert!(text.contains("the base does not fit"), "{text}");
}

/// x and z, of one number each, added after each went its way.
fn of_two() -> File {
    let mut file = File::new(17);
    let port = |name: &str| ValueInfo {
        name: name.into(),
        kind: Some(Type::Tensor(
            onnx::DataType::Float,
            Some(vec![Dim::Named("n".into()), Dim::Fixed(1)]),
        )),
    };
    file.graph.inputs = vec![port("x"), port("z"), port("unused")];
    file.graph.outputs = vec![port("sum")];
    file.graph.initializers = vec![
        onnx::Tensor::floats("a", &[1, 3], &[1.0, -1.0, 2.0]),
        onnx::Tensor::floats("b", &[1, 3], &[0.5, 1.0, -2.0]),
    ];
    file.graph.nodes = vec![
        Node::new("MatMul", ["x", "a"], ["left"]),
        Node::new("MatMul", ["z", "b"], ["right"]),
        Node::new("Sub", ["left", "right"], ["sum"]),
    ];
    file
}

#[test]
fn columns_go_into_the_inputs_that_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..40).map(|i| format!("{},{},{}\n", i % 7, i % 5, i % 2)).collect();
    std::fs::write(folder.path().join("rows.csv"), format!("p,q,y\n{rows}")).unwrap();
    std::fs::write(folder.path().join("net.onnx"), of_two().encode()).unwrap();
    let session = |model: &str| {
        let text = format!(
            "[data]\npath = \"rows.csv\"\n[[input]]\nname = \"p\"\ntype = \"number\"\n[[input]]\nname = \"q\"\n\
             type = \"number\"\n[[output]]\nname = \"y\"\ntype = \"binary\"\n[model]\nbase = \"net.onnx\"\n{model}\n\
             layers = [{{ type = \"Dense\", units = 1 }}]\n[trainer]\nepochs = 1\n"
        );
        let mut source = Source::new("r.toml", text);
        source.folder = folder.path().to_path_buf();
        Session::new(&Recipe::load(source, &[])?)
    };
    let taken = session("base_inputs = [\"z\", \"x\"]").unwrap();
    assert_eq!(taken.network.model.input_count(), 2);
    let front = taken.recipe.base().unwrap().unwrap();
    assert_eq!(front.inputs(), ["z", "x"]);
    let (p, q) = (Tensor::from_slice(&[1.0f32], [1, 1]), Tensor::from_slice(&[10.0f32], [1, 1]));
    let front = front.front(&[&[1], &[1]], &Params::new(0)).unwrap();
    let y = front.apply(&[p, q], &Context::eval()).unwrap();
    assert_eq!(y.to_vec::<f32>(), [9.5, -11.0, 22.0], "p goes into z, q into x");
    taken.fit(Arc::default(), None, &mut []).unwrap();

    let why = |model: &str| session(model).err().unwrap().to_string();
    let text = why("");
    assert!(text.contains("x, z") && text.contains("base_inputs"), "{text}");
    assert!(why("base_inputs = [\"z\"]").contains("nothing goes into \"x\""));
    assert!(why("base_inputs = [\"z\", \"z\"]").contains("twice"));
    assert!(why("base_inputs = [\"z\", \"w\"]").contains("\"w\""));
    let text = why("base_inputs = [\"z\", \"x\"]\nbase_output = \"left\"");
    assert!(text.contains("up to \"left\""), "{text}");
}

#[test]
fn a_graph_that_was_kept_stands_for_the_file() {
    let folder = tempfile::tempdir().unwrap();
    data(folder.path());
    let net = folder.path().join("net.onnx");
    std::fs::write(&net, network(&[1, 1, 4, 4], flatten()).encode()).unwrap();
    let first = session(folder.path(), HEAD).unwrap();
    let graph = first.recipe.base_graph().unwrap();
    std::fs::remove_file(&net).unwrap();
    assert!(session(folder.path(), HEAD).is_err());
    let again = Recipe::load(Source::new("r.toml", first.recipe.resolved()), &[]).unwrap();
    again.with_base_graph(&graph).unwrap();
    let again = Session::new(&again).unwrap();
    assert_eq!(values(&again, "base.w"), [0.0; 96], "its weights are those of the checkpoint");
    let fresh = Recipe::load(Source::new("r.toml", first.recipe.resolved()), &[]).unwrap();
    assert!(fresh.with_base_graph("no graph").is_err());
}
