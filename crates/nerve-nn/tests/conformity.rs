//! What holds for every layer of the registry.

use nerve_core::{DType, Shape, Tensor, Var, compile, grad};
use nerve_formats::spec::{Args, Item, Value, check};
use nerve_formats::{Limits, SafeTensors};
use nerve_nn::layers::{Entry, REGISTRY, Sequential, find};
use nerve_nn::optim::{Optimizer, Sgd};
use nerve_nn::{Context, Layer, Params};

const BATCH: usize = 5;

mod common;

/// One entry with arguments and the shape of an example.
struct Case {
    entry: &'static Entry,
    args: Args,
    input: Shape,
}

fn text(text: &'static str) -> Value {
    Value::text(text)
}

/// The samples of all layers.
fn cases() -> Vec<Case> {
    let of = |entry: &'static Entry| {
        entry.samples.iter().map(move |sample| Case {
            entry,
            args: common::args(&entry.spec, sample.args),
            input: sample.input.into(),
        })
    };
    REGISTRY.iter().copied().flat_map(of).collect()
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
fn every_entry_has_a_sample_and_names_are_used_once() {
    for entry in REGISTRY.iter() {
        assert!(!entry.samples.is_empty(), "{} has no sample", entry.spec.name);
    }
    common::names_are_used_once(REGISTRY.iter().map(|entry| &entry.spec));
}

#[test]
fn arguments_survive_being_written_and_checked_again() {
    for case in cases() {
        let again: Vec<(String, Value)> = case
            .args
            .iter()
            .map(|(key, value)| (key.to_string(), common::written(value)))
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
fn what_is_saved_loads_into_a_layer_of_the_same_recipe_bit_for_bit() {
    let path = std::env::temp_dir().join(format!("nerve-{}.safetensors", std::process::id()));
    for case in cases() {
        let ((layer, _, params), (other, _, loaded)) = (case.build(1), case.build(2));
        params.save_safetensors(&path, &[]).unwrap();
        loaded.load_safetensors(&SafeTensors::open(&path, &Limits::default()).unwrap()).unwrap();
        assert!(params.state() == loaded.state(), "{}", case.name());
        let used = |layer: &dyn Layer| {
            let y = layer.forward(&case.batch(), &Context::eval()).to_vec::<f32>();
            y.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        };
        assert!(used(&*layer) == used(&*other), "{}", case.name());
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn training_changes_what_is_trainable_and_nothing_that_is_frozen() {
    for case in cases() {
        let (layer, output, params) = case.build(1);
        let names: Vec<String> = params.trainable().iter().map(|v| v.name().into()).collect();
        let Some(frozen) = names.first().filter(|_| names.len() > 1) else { continue };
        assert_eq!(params.freeze(frozen), 1, "{}", case.name());
        let before = params.state();
        let sgd = Sgd::new(&params, 0.1);
        let weights = Tensor::normal(&key(0), 1, [&[BATCH], &output[..]].concat(), DType::F32);
        let weights = weights.evaluated();
        let step = compile(|args: &[Tensor]| {
            sgd.minimize(&(layer.forward(&args[0], &Context::train(&args[2])) * &args[1]).sum());
            vec![]
        });
        step.call(&[&case.batch(), &weights, &key(1)]);
        for (before, after) in before.iter().zip(params.state()) {
            let is_trained = names.contains(&after.name) && after.name != *frozen;
            let is_statistic = !names.contains(&after.name);
            let same = *before == after;
            assert!(is_statistic || same != is_trained, "{}: {}", case.name(), after.name);
        }
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
