//! What holds for every layer of the registry.

use nerve_core::{DType, Shape, Tensor, Var, compile, grad};
use nerve_formats::spec::{Args, Item, Value, check};
use nerve_nn::layers::{Entry, REGISTRY, Sequential, find};
use nerve_nn::{Context, Layer, Params};

const BATCH: usize = 5;

/// One entry with arguments and the shape of an example.
struct Case {
    entry: &'static Entry,
    args: Args,
    input: Shape,
}

fn text(text: &'static str) -> Value {
    Value::text(text)
}

/// Samples for each layer: every entry appears, with more than its defaults where it has any.
fn cases() -> Vec<Case> {
    let int = Value::Int;
    let pair = |a, b| Value::List(vec![int(a), int(b)].into());
    type Given = Vec<(&'static str, Value)>;
    let table: Vec<(&str, Given, &[usize])> = vec![
        ("Dense", vec![("units", int(4))], &[6]),
        ("Linear", vec![("out_features", int(3)), ("activation", text("tanh"))], &[2]),
        (
            "Dense",
            vec![("units", int(3)), ("use_bias", Value::Bool(false)), ("init", text("he_normal"))],
            &[2],
        ),
        ("Conv2D", vec![("filters", int(4)), ("kernel", int(3))], &[2, 6, 5]),
        (
            "Conv2d",
            vec![
                ("out_channels", int(4)),
                ("kernel_size", pair(2, 3)),
                ("padding", text("same")),
                ("strides", pair(2, 1)),
                ("activation", text("silu")),
            ],
            &[1, 7, 6],
        ),
        (
            "Conv2d",
            vec![
                ("filters", int(6)),
                ("kernel", int(2)),
                ("padding", pair(1, 0)),
                ("dilation", int(2)),
                ("groups", int(3)),
                ("kernel_initializer", text("orthogonal")),
                ("bias_init", text("ones")),
            ],
            &[3, 5, 6],
        ),
        ("Conv1d", vec![("filters", int(4)), ("kernel", int(3)), ("stride", int(2))], &[2, 9]),
        (
            "Conv1D",
            vec![("filters", int(2)), ("kernel", int(4)), ("padding", text("same"))],
            &[2, 5],
        ),
        ("MaxPooling2D", vec![], &[2, 4, 7]),
        ("MaxPool2d", vec![("pool", int(3)), ("stride", int(1)), ("padding", int(1))], &[1, 4, 4]),
        ("AvgPool2d", vec![("pool_size", pair(1, 2)), ("padding", pair(0, 1))], &[2, 3, 4]),
        ("GlobalAveragePooling2D", vec![], &[3, 2, 4]),
        ("Flatten", vec![], &[2, 3, 4]),
        ("Flatten", vec![], &[]),
        ("Dropout", vec![("rate", Value::Float(0.5))], &[30]),
        ("BatchNorm1d", vec![], &[4]),
        ("BatchNormalization", vec![("momentum", Value::Float(0.5))], &[3, 6]),
        ("BatchNorm2d", vec![("epsilon", Value::Float(1e-3))], &[3, 2, 4]),
        ("LayerNorm", vec![], &[3, 8]),
        ("Embedding", vec![("rows", int(7)), ("dim", int(4))], &[3]),
        (
            "Embedding",
            vec![("input_dim", int(7)), ("output_dim", int(2)), ("init", text("uniform"))],
            &[],
        ),
        (
            "resnet18",
            vec![("classes", int(3)), ("width", int(2)), ("stem", text("cifar"))],
            &[3, 9, 6],
        ),
        ("ResNet34", vec![("num_classes", int(2)), ("width", int(1))], &[1, 33, 20]),
        ("LSTM", vec![("units", int(4))], &[5, 3]),
        (
            "Lstm",
            vec![
                ("hidden_size", int(3)),
                ("num_layers", int(2)),
                ("bidirectional", Value::Bool(true)),
                ("dropout", Value::Float(0.25)),
                ("return_sequences", Value::Bool(true)),
            ],
            &[4, 2],
        ),
        ("GRU", vec![("units", int(4)), ("bidirectional", Value::Bool(true))], &[5, 3]),
        ("gru", vec![("units", int(2)), ("use_bias", Value::Bool(false))], &[3, 3]),
        ("SimpleRNN", vec![("units", int(4)), ("return_sequences", Value::Bool(true))], &[5, 3]),
        (
            "rnn",
            vec![("units", int(4)), ("nonlinearity", text("relu")), ("layers", int(2))],
            &[5, 3],
        ),
        ("PositionalEncoding", vec![], &[4, 6]),
        ("positional_encoding", vec![("kind", text("learned"))], &[4, 6]),
        ("MultiHeadAttention", vec![("heads", int(2))], &[5, 6]),
        (
            "multi_head_attention",
            vec![
                ("num_heads", int(3)),
                ("bias", Value::Bool(false)),
                ("causal", Value::Bool(true)),
                ("dropout", Value::Float(0.25)),
            ],
            &[4, 6],
        ),
        ("TransformerEncoderLayer", vec![("heads", int(1)), ("feed_forward", int(8))], &[3, 4]),
        (
            "transformer_encoder",
            vec![
                ("layers", int(2)),
                ("nhead", int(2)),
                ("dim_feedforward", int(5)),
                ("activation", text("gelu")),
                ("norm_first", Value::Bool(true)),
                ("dropout", Value::Float(0.1)),
            ],
            &[3, 4],
        ),
        ("Activation", vec![("activation", text("relu"))], &[9]),
        ("Activation", vec![("activation", text("linear"))], &[9]),
    ];
    let mut cases = Vec::new();
    let mut add = |name: &str, given: Given, input: &[usize]| {
        let entry = find(name).unwrap_or_else(|| panic!("no layer `{name}`"));
        let given: Vec<_> = given.into_iter().map(|(key, value)| (key.into(), value)).collect();
        let args = check(&entry.spec, &given).unwrap_or_else(|p| panic!("{name}: {p:?}"));
        cases.push(Case { entry, args, input: input.into() });
    };
    for (name, given, input) in table {
        add(name, given, input);
    }
    // The rest are functions of each value, without parameters that must be given.
    for activation in &nerve_nn::activations::REGISTRY[1..] {
        add(activation.spec.name, vec![], &[2, 8]);
    }
    cases
}

impl Case {
    fn build(&self, seed: u64) -> (Box<dyn Layer>, Shape, Params) {
        let params = Params::new(seed);
        let (layer, output) = self.entry.build(&self.args, &self.input, &params.at(0)).unwrap();
        (layer, output, params)
    }

    fn batch(&self) -> Tensor {
        let shape: Vec<usize> = [&[BATCH], &self.input[..]].concat();
        let x = Tensor::normal(&Tensor::random_key(9, 9), 0, shape, DType::F32);
        match self.entry.takes_indices {
            false => x.evaluated(),
            true => (x.abs() * 3.0).minimum(6.0).to_dtype(DType::I32).evaluated(),
        }
    }

    fn name(&self) -> String {
        format!(
            "{} of {}",
            Item { name: self.entry.spec.name, args: self.args.clone() },
            self.input
        )
    }
}

fn key(step: u64) -> Tensor {
    Tensor::random_key(5, step)
}

#[test]
fn every_entry_has_a_case_and_names_are_used_once() {
    let cases = cases();
    let mut names = Vec::new();
    for entry in REGISTRY.iter() {
        assert!(
            cases.iter().any(|case| std::ptr::eq(case.entry, *entry)),
            "{} has no sample in this table",
            entry.spec.name
        );
        names.extend([&[entry.spec.name], entry.spec.aliases].concat());
        let mut keys: Vec<&str> = Vec::new();
        for param in entry.spec.params {
            keys.extend([&[param.name], param.aliases].concat());
        }
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count, "{}: a parameter's name is used twice", entry.spec.name);
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a layer's name is used twice");
}

#[test]
fn arguments_survive_being_written_and_checked_again() {
    for case in cases() {
        let again: Vec<(String, Value)> = case
            .args
            .iter()
            .map(|(key, value)| {
                let value = match value {
                    Value::Item(item) => text(item.name),
                    other => other.clone(),
                };
                (key.to_string(), value)
            })
            .collect();
        assert_eq!(check(&case.entry.spec, &again).unwrap(), case.args, "{}", case.name());
    }
}

#[test]
fn shapes_and_numbers_of_parameters_are_as_predicted() {
    for case in cases() {
        let effect = (case.entry.infer)(&case.args, &case.input).unwrap();
        let (layer, output, params) = case.build(1);
        assert_eq!(effect.shape, output);
        let trainable: usize = params.trainable().iter().map(|v| v.shape().numel()).sum();
        let all: usize = params.vars().iter().map(|v| v.shape().numel()).sum();
        assert_eq!(effect.parameters, trainable as u128, "{}", case.name());
        assert_eq!(effect.state, (all - trainable) as u128, "{}", case.name());
        for cx in [Context::train(&key(1)), Context::eval()] {
            let y = layer.forward(&case.batch(), &cx);
            let expected = Shape::from([&[BATCH], &output[..]].concat());
            assert_eq!((y.shape(), y.dtype()), (&expected, DType::F32), "{}", case.name());
            assert!(y.to_vec::<f32>().iter().all(|v| v.is_finite()), "{}", case.name());
        }
    }
}

#[test]
fn an_example_does_not_depend_on_its_batch_when_a_network_is_used() {
    for case in cases() {
        let (layer, _, _) = case.build(1);
        let x = case.batch();
        let run = compile(|args: &[Tensor]| vec![layer.forward(&args[0], &Context::eval())]);
        let whole = run.call(&[&x])[0].to_vec::<f32>();
        let row = whole.len() / BATCH;
        for i in 0..BATCH {
            let one = run.call(&[&x.slice(0, i, i + 1)])[0].to_vec::<f32>();
            for (a, b) in one.iter().zip(&whole[i * row..]) {
                // Sums may be added in another order for another shape.
                assert!((a - b).abs() <= 1e-6 * (1.0 + b.abs()), "{}: {a} {b}", case.name());
            }
        }
    }
}

#[test]
fn the_gradient_reaches_every_parameter() {
    for case in cases() {
        let (layer, output, params) = case.build(1);
        let vars: Vec<Var> = params.trainable();
        let (x, loss_weights) = (case.batch(), [&[BATCH], &output[..]].concat());
        let weights = Tensor::normal(&key(0), 1, loss_weights, DType::F32).evaluated();
        let run = compile(|args: &[Tensor]| {
            let y = layer.forward(&args[0], &Context::train(&args[2]));
            let loss = (y * &args[1]).sum();
            let mut gradients = if vars.is_empty() { vec![] } else { grad(&loss, &vars) };
            if args[0].dtype().is_float() {
                gradients.extend(grad(&loss, &[&args[0]]));
            }
            gradients
        });
        let gradients = run.call(&[&x, &weights, &key(1)]);
        for (i, gradient) in gradients.iter().enumerate() {
            let values = gradient.to_vec::<f32>();
            let finite = values.iter().all(|v| v.is_finite());
            assert!(finite && values.iter().any(|&v| v != 0.0), "{}: gradient {i}", case.name());
            let expected = vars.get(i).map_or(x.shape(), |var| var.shape());
            assert_eq!(gradient.shape(), expected);
        }
    }
}

#[test]
fn the_seed_decides_everything() {
    for case in cases() {
        let run = |seed| {
            let (layer, _, params) = case.build(seed);
            let train =
                compile(|args: &[Tensor]| vec![layer.forward(&args[0], &Context::train(&args[1]))]);
            let y = train.call(&[&case.batch(), &key(seed)]).remove(0).to_vec::<f32>();
            (y, params.state())
        };
        let bits = |(y, state): &(Vec<f32>, _)| {
            (y.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), format!("{state:?}"))
        };
        assert_eq!(bits(&run(3)), bits(&run(3)), "{}", case.name());
    }
}

#[test]
fn dropout_drops_the_share_scales_the_rest_and_differs_between_layers_and_steps() {
    let n = 40_000;
    let dropout = nerve_nn::layers::Dropout::new(0.25);
    let train = compile(|args: &[Tensor]| {
        let cx = Context::train(&args[1]);
        let x = &args[0];
        let (a, b) = (dropout.forward(x, &cx), dropout.forward(x, &cx));
        let gradient = grad(&(&a * x).sum(), &[x]).remove(0);
        vec![a, b, gradient]
    });
    let x = Tensor::ones([n]);
    let run = |step| train.call(&[&x, &key(step)]).iter().map(Tensor::to_vec::<f32>).collect();
    let (first, again, next): (Vec<Vec<f32>>, Vec<_>, Vec<_>) = (run(1), run(1), run(2));
    assert_eq!(first, again, "the same step draws the same");
    assert!(first[0] != first[1] && first[0] != next[0], "layers and steps draw their own");
    let dropped = first[0].iter().filter(|&&v| v == 0.0).count() as f64 / n as f64;
    assert!((dropped - 0.25).abs() < 0.01, "{dropped}");
    let scale = 1.0f32 / 0.75;
    assert!(first[0].iter().all(|&v| v == 0.0 || (v - scale).abs() < 1e-6));
    for (y, d) in first[0].iter().zip(&first[2]) {
        assert_eq!(*d, y * 2.0, "the backward pass has the same mask");
    }
    let used = dropout.forward(&x, &Context::eval());
    assert_eq!(used.to_vec::<f32>(), vec![1.0; n]);
}

#[test]
fn a_layer_that_does_not_fit_says_what_it_gets_and_needs() {
    let item = |name: &str, given: &[(&str, i64)]| {
        let spec = &find(name).unwrap().spec;
        let given: Vec<_> =
            given.iter().map(|&(key, value)| (key.to_string(), Value::Int(value))).collect();
        Item { name: spec.name, args: check(spec, &given).unwrap() }
    };
    let conv = |kernel| item("Conv2d", &[("filters", 8), ("kernel", kernel)]);
    let input = Shape::from([1, 28, 28]);
    let error = |items: &[Item]| {
        let params = Params::new(1);
        let error = Sequential::from_items(items, &input, &params).err().unwrap();
        assert!(params.all().is_empty(), "nothing is created");
        error.to_string()
    };
    assert_eq!(
        error(&[conv(3), item("Dense", &[("units", 10)])]),
        "layer 1 (Dense) does not fit: it gets [8, 26, 26], it needs [features] (put a Flatten \
         before it)"
    );
    assert_eq!(
        error(&[item("Flatten", &[]), conv(3)]),
        "layer 1 (Conv2d) does not fit: it gets [784], it needs [channels, height, width] (an \
         image has no place after Flatten or Dense)"
    );
    assert_eq!(
        error(&[conv(29)]),
        "layer 0 (Conv2d) does not fit: it gets [1, 28, 28], it needs at least 29 values along \
         the height (pool less before it, pad it, or take a smaller kernel)"
    );
    assert_eq!(
        error(&[item("Conv2d", &[("filters", 8), ("kernel", 1), ("groups", 3)])]),
        "layer 0 (Conv2d) does not fit: it gets [1, 28, 28], it needs input channels and filters \
         that are multiples of groups = 3 (there are 1 channels and 8 filters)"
    );
    let embedding = item("Embedding", &[("rows", 8), ("dim", 2)]);
    assert!(
        error(&[item("Flatten", &[]), embedding]).ends_with("(it can only be the first layer)")
    );
}

#[test]
fn an_absurd_network_is_described_without_being_built() {
    let spec = &find("Dense").unwrap().spec;
    let units = [("units".to_string(), Value::Int(1 << 40))];
    let dense = Item { name: spec.name, args: check(spec, &units).unwrap() };
    let effects = Sequential::describe(&vec![dense; 5], &Shape::from([784])).unwrap();
    assert_eq!(effects[4].parameters, (1u128 << 80) + (1 << 40));
}

#[test]
fn the_pytorch_tutorial_network_has_its_numbers() {
    let item = |name: &str, given: &[(&str, Value)]| {
        let spec = &find(name).unwrap().spec;
        let given: Vec<_> = given.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
        Item { name: spec.name, args: check(spec, &given).unwrap() }
    };
    let conv = |filters| {
        let given = [
            ("filters", Value::Int(filters)),
            ("kernel", Value::Int(3)),
            ("padding", text("same")),
            ("activation", text("relu")),
        ];
        item("Conv2D", &given)
    };
    let list = [
        conv(32),
        item("MaxPooling2D", &[]),
        conv(64),
        item("MaxPooling2D", &[]),
        item("Flatten", &[]),
        item("Dropout", &[("rate", Value::Float(0.5))]),
        item("Dense", &[("units", Value::Int(512)), ("activation", text("relu"))]),
        item("Dropout", &[("rate", Value::Float(0.5))]),
        item("Dense", &[("units", Value::Int(10))]),
    ];
    let params = Params::new(42);
    let input = Shape::from([1, 28, 28]);
    let (model, output) = Sequential::from_items(&list, &input, &params).unwrap();
    assert_eq!((&*output, params.count()), (&[10][..], 1_630_090));
    let paths: Vec<String> = params.all().iter().map(|p| p.path().to_string()).collect();
    let expected = ["0", "2", "6", "8"].map(|n| [format!("{n}.weight"), format!("{n}.bias")]);
    assert_eq!(paths, expected.concat());
    let flops: u128 =
        Sequential::describe(&list, &input).unwrap().iter().map(|effect| effect.flops).sum();
    let weighted = 2 * (784 * 32 * 9 + 196 * 64 * 288 + 3136 * 512 + 5120);
    assert!((weighted..weighted + 200_000).contains(&flops), "{flops}");
    let y = model.forward(&Tensor::ones([3, 1, 28, 28]), &Context::eval());
    assert_eq!(**y.shape(), [3, 10]);
}
