//! The networks of the benchmark, their data, and how they are trained and used.

use crate::timing::Random;
use nerve_core::ops::random_key;
use nerve_core::{DType, Precision, Shape, Step, Tensor, compile};
use nerve_nn::activations::{Gelu, Relu};
use nerve_nn::layers::{
    Conv2d, Conv2dOptions, Dropout, Embedding, Flatten, Linear, Lstm, MaxPool2d, Padding,
    PositionalEncoding, RecurrentOptions, Sequential, TransformerEncoder, TransformerOptions,
};
use nerve_nn::losses::{CrossEntropy, Loss, Mse};
use nerve_nn::models::{ResNet, ResNetOptions, Stem};
use nerve_nn::optim::{Adam, Optimizer, Sgd};
use nerve_nn::{Context, Layer, Params};

/// A network with the data and the optimizer that it is trained with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Multilayer perceptron 784-128-10, cross-entropy, SGD.
    B,
    /// The convolutional network of PyTorch's tutorial on digits, with dropout, Adam.
    C,
    /// The convolutional network of Keras' tutorial on digits, Adam.
    D,
    /// ResNet-18 for images of 32 × 32 pixels, SGD with momentum.
    G,
    /// Classifier of sequences: embedding, LSTM, its last state, cross-entropy, Adam.
    E,
    /// Classifier of texts: words and their places, four layers of a transformer, the mean over time,
    /// cross-entropy, Adam.
    F,
    /// Autoencoder 784-256-64-256-784, squared error, Adam.
    H,
    /// Tabular regression 32-64-64-1, squared error, Adam.
    I,
}

/// What the networks have to say.
const CLASSES: usize = 10;
/// Steps of a sequence.
const STEPS: usize = 100;
/// Words of a text for the transformer.
const PLACES: usize = 128;
/// Different words of a sequence.
const WORDS: usize = 10_000;
/// Batches that are cycled, so that no step finds its data in the nearest cache.
const BATCHES: usize = 4;

impl Workload {
    /// All of them.
    pub const ALL: [Workload; 8] = [
        Workload::B,
        Workload::C,
        Workload::D,
        Workload::E,
        Workload::F,
        Workload::G,
        Workload::H,
        Workload::I,
    ];

    /// Its letter.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// Examples in a batch of training.
    pub fn batch(self) -> usize {
        match self {
            Workload::B | Workload::C | Workload::G => 64,
            Workload::D | Workload::H => 128,
            Workload::E | Workload::I => 32,
            Workload::F => 16,
        }
    }

    /// Shape and type of a batch of `n` examples.
    fn input(self, n: usize) -> (Shape, DType) {
        let shape: Shape = match self {
            Workload::E => return ([n, STEPS].into(), DType::I32),
            Workload::F => return ([n, PLACES].into(), DType::I32),
            Workload::B | Workload::H => [n, 784].into(),
            Workload::C | Workload::D => [n, 1, 28, 28].into(),
            Workload::G => [n, 3, 32, 32].into(),
            Workload::I => [n, 32].into(),
        };
        (shape, DType::F32)
    }

    /// Classes, where these are the targets.
    fn classes(self) -> usize {
        if matches!(self, Workload::E | Workload::F) { 2 } else { CLASSES }
    }

    /// Shape and type of the targets of a batch; none where the input is its own target.
    fn target(self, n: usize) -> Option<(Shape, DType)> {
        match self {
            Workload::B | Workload::C | Workload::D | Workload::E | Workload::F | Workload::G => {
                Some(([n].into(), DType::I32))
            }
            Workload::H => None,
            Workload::I => Some(([n, 1].into(), DType::F32)),
        }
    }

    fn data(self, n: usize, random: &mut Random) -> Batch {
        let count = self.input(n).0.numel();
        let x = match self {
            Workload::E | Workload::F => Values::Whole(random.classes(count, WORDS as u64)),
            Workload::H => Values::Real(random.uniforms(count)),
            _ => Values::Real(random.normals(count)),
        };
        let y = self.target(n).map(|target| match target.1 {
            DType::I32 => Values::Whole(random.classes(n, self.classes() as u64)),
            _ => Values::Real(random.normals(n)),
        });
        Batch { x, y }
    }

    /// Inputs and targets of `n` examples as a data set holds them, for workloads with numbers as inputs
    /// and targets of their own.
    pub fn arrays(self, n: usize) -> (nerve_data::Values, nerve_data::Values) {
        let stored = |values| match values {
            Values::Real(values) => nerve_data::Values::F32(values),
            Values::Whole(values) => nerve_data::Values::I32(values),
        };
        let Batch { x, y } = self.data(n, &mut Random(0x9e37_79b9_7f4a_7c15));
        (stored(x), stored(y.expect("a workload with targets")))
    }

    /// Shapes of a batch of `n` inputs and of their targets.
    pub fn shapes(self, n: usize) -> (Vec<usize>, Vec<usize>) {
        let target = self.target(n).expect("a workload with targets");
        (self.input(n).0.to_vec(), target.0.to_vec())
    }

    pub fn model(self, params: &Params) -> Box<dyn Layer> {
        match self {
            Workload::B => Box::new(perceptron(params, &[784, 128, CLASSES])),
            Workload::C => {
                let mut layers = convolutions(params, Padding::Same);
                layers.push(Box::new(Dropout::new(0.5)));
                layers.push(Box::new(Linear::new(&params.at("fc1"), 64 * 7 * 7, 512)));
                layers.push(Box::new(Relu));
                layers.push(Box::new(Dropout::new(0.5)));
                layers.push(Box::new(Linear::new(&params.at("fc2"), 512, CLASSES)));
                Box::new(Sequential::new(layers))
            }
            Workload::D => {
                let mut layers = convolutions(params, Padding::Valid);
                layers.extend(perceptron(params, &[64 * 5 * 5, 64, CLASSES]).layers);
                Box::new(Sequential::new(layers))
            }
            Workload::E => {
                let options = RecurrentOptions::default();
                let layers: Vec<Box<dyn Layer>> = vec![
                    Box::new(Embedding::new(&params.at("embedding"), WORDS, 128)),
                    Box::new(Lstm::new(&params.at("lstm"), 128, 128, options)),
                    Box::new(Linear::new(&params.at("fc"), 128, self.classes())),
                ];
                Box::new(Sequential::new(layers))
            }
            Workload::F => Box::new(Encoder::new(params)),
            Workload::G => {
                let options =
                    ResNetOptions { stem: Stem::Cifar, ..ResNetOptions::resnet18(CLASSES) };
                Box::new(ResNet::new(params, 3, options))
            }
            Workload::H => Box::new(perceptron(params, &[784, 256, 64, 256, 784])),
            Workload::I => Box::new(perceptron(params, &[32, 64, 64, 1])),
        }
    }

    pub fn optimizer(self, params: &Params) -> Box<dyn Optimizer> {
        match self {
            Workload::B => Box::new(Sgd::new(params, 0.01)),
            Workload::G => Box::new(Sgd::new(params, 0.01).momentum(0.9)),
            _ => Box::new(Adam::new(params, 1e-3)),
        }
    }

    fn loss(self, output: &Tensor, target: &Tensor) -> Tensor {
        match self {
            Workload::H | Workload::I => Mse.loss(output, target),
            _ => CrossEntropy::default().loss(output, target),
        }
    }
}

/// Linear layers of these sizes with rectified units between them.
fn perceptron(params: &Params, sizes: &[usize]) -> Sequential {
    let mut layers: Vec<Box<dyn Layer>> = Vec::new();
    for (i, pair) in sizes.windows(2).enumerate() {
        if i > 0 {
            layers.push(Box::new(Relu));
        }
        layers.push(Box::new(Linear::new(&params.at(format!("fc{}", i + 1)), pair[0], pair[1])));
    }
    Sequential::new(layers)
}

/// Two blocks of 3×3 convolution, rectified units and 2×2 pooling, and the result as rows.
fn convolutions(params: &Params, padding: Padding) -> Vec<Box<dyn Layer>> {
    let mut layers: Vec<Box<dyn Layer>> = Vec::new();
    for (name, inputs, outputs) in [("conv1", 1, 32), ("conv2", 32, 64)] {
        let options = Conv2dOptions { padding, ..Conv2dOptions::default() };
        layers.push(Box::new(Conv2d::new(&params.at(name), inputs, outputs, [3, 3], options)));
        layers.push(Box::new(Relu));
        layers.push(Box::new(MaxPool2d::new(2)));
    }
    layers.push(Box::new(Flatten));
    layers
}

/// Words and their places through the layers of a transformer; a class from the mean over time.
struct Encoder {
    words: Embedding,
    places: PositionalEncoding,
    layers: TransformerEncoder,
    output: Linear,
}

impl Encoder {
    fn new(params: &Params) -> Encoder {
        let options = TransformerOptions { norm_first: true, ..TransformerOptions::new(4, 1024) };
        let mut encoder = Encoder {
            words: Embedding::new(&params.at("words"), WORDS, 256),
            places: PositionalEncoding::learned(&params.at("places"), PLACES, 256),
            layers: TransformerEncoder::new(&params.at("encoder"), 256, 4, options),
            output: Linear::new(&params.at("output"), 256, 2),
        };
        for layer in &mut encoder.layers.layers {
            layer.feed_forward.activation = Box::new(Gelu);
        }
        encoder
    }
}

impl Layer for Encoder {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let x = self.places.forward(&self.words.forward(x, cx), cx);
        let x = self.layers.forward(&x, cx).mean_axes(&[1], false);
        self.output.forward(&x, cx)
    }
}

/// Inputs, and targets if the input is not its own.
struct Batch {
    x: Values,
    y: Option<Values>,
}

enum Values {
    Real(Vec<f32>),
    Whole(Vec<i32>),
}

impl Values {
    /// Copies them to argument `index` of the step.
    fn write(&self, step: &Step, index: usize) {
        match self {
            Values::Real(values) => step.write(index, values),
            Values::Whole(values) => step.write(index, values),
        }
    }
}

/// Batches in memory, one after the other and again from the start.
struct Cycle {
    batches: Vec<Batch>,
    next: usize,
}

impl Cycle {
    fn new(workload: Workload, n: usize) -> Cycle {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        Cycle { batches: (0..BATCHES).map(|_| workload.data(n, &mut random)).collect(), next: 0 }
    }

    fn advance(&mut self) -> &Batch {
        self.next = (self.next + 1) % self.batches.len();
        &self.batches[self.next]
    }
}

/// A network in training.
pub struct Training {
    /// The compiled step: arguments are the key of the random numbers, the input, the target.
    pub step: Step,
    data: Cycle,
    number: u64,
}

const SEED: u64 = 1;

/// How exactly products are computed: `NERVE_BENCH_BF16=1` makes a difference.
pub fn precision() -> Precision {
    match std::env::var_os("NERVE_BENCH_BF16") {
        Some(_) => Precision::Bf16,
        None => Precision::Full,
    }
}

impl Training {
    /// Builds and compiles all that a step needs; nothing has been computed yet.
    pub fn new(workload: Workload) -> Training {
        let params = Params::new(SEED);
        let model = workload.model(&params);
        let optimizer = workload.optimizer(&params);
        let step = compile(|args: &[Tensor]| {
            let output = model.forward(&args[1], &Context::train(&args[0]));
            let loss = workload.loss(&output, args.get(2).unwrap_or(&args[1]));
            optimizer.minimize(&loss);
            vec![loss]
        })
        .precision(precision());
        let batch = workload.batch();
        let mut signature = vec![([4].into(), DType::I32), workload.input(batch)];
        signature.extend(workload.target(batch));
        Training { step: step.step(&signature), data: Cycle::new(workload, batch), number: 0 }
    }

    /// Copies the next batch in, as a training loop would, and trains with it.
    pub fn step(&mut self) {
        self.load();
        self.step.run().expect("the classes are in range");
    }

    /// Copies the next batch in.
    pub fn load(&mut self) {
        self.number += 1;
        self.step.write(0, &random_key(SEED, self.number));
        let batch = self.data.advance();
        batch.x.write(&self.step, 1);
        if let Some(y) = &batch.y {
            y.write(&self.step, 2);
        }
    }

    /// The loss before the last step.
    #[cfg(test)]
    pub fn loss(&self) -> f32 {
        self.step.read::<f32>(0)[0]
    }
}

/// A network in use.
pub struct Inference {
    /// The compiled step: input to output.
    pub step: Step,
    data: Cycle,
    output: Vec<f32>,
}

impl Inference {
    /// Builds and compiles the network for batches of `n`.
    pub fn new(workload: Workload, n: usize) -> Inference {
        let model = workload.model(&Params::new(SEED));
        let forward = compile(|args: &[Tensor]| vec![model.forward(&args[0], &Context::eval())])
            .precision(precision());
        let step = forward.step(&[workload.input(n)]);
        let output = vec![0.0; step.read::<f32>(0).len()];
        Inference { step, data: Cycle::new(workload, n), output }
    }

    /// Copies the next batch in.
    pub fn load(&mut self) {
        self.data.advance().x.write(&self.step, 0);
    }

    /// Copies the next batch in and its results out.
    pub fn run(&mut self) -> &[f32] {
        self.load();
        self.step.run().expect("nothing is looked up");
        self.step.read_into(0, &mut self.output);
        &self.output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trains on one batch again and again.
    fn falls(workload: Workload, steps: usize) {
        let mut training = Training::new(workload);
        training.data.batches.truncate(1);
        let mut losses = Vec::new();
        for _ in 0..steps {
            training.step();
            losses.push(training.loss());
        }
        assert!(losses.iter().all(|loss| loss.is_finite()), "{workload:?}: {losses:?}");
        let (first, last) = (losses[0], losses[steps - 1]);
        assert!(last < 0.95 * first, "{workload:?}: {first} to {last}");
    }

    #[test]
    fn the_perceptron_learns_a_batch() {
        falls(Workload::B, 60);
    }

    #[test]
    fn the_network_with_dropout_learns_a_batch() {
        falls(Workload::C, 8);
    }

    #[test]
    fn the_network_of_keras_learns_a_batch() {
        falls(Workload::D, 12);
    }

    #[test]
    fn the_network_of_sequences_learns_a_batch() {
        falls(Workload::E, 6);
    }

    #[test]
    fn the_transformer_learns_a_batch() {
        falls(Workload::F, 3);
    }

    #[test]
    fn the_autoencoder_learns_a_batch() {
        falls(Workload::H, 12);
    }

    #[test]
    fn the_tabular_network_learns_a_batch() {
        falls(Workload::I, 60);
    }

    #[test]
    fn training_starts_at_what_chance_gives() {
        for workload in [Workload::B, Workload::C, Workload::D, Workload::E] {
            let mut training = Training::new(workload);
            training.step();
            let chance = (workload.classes() as f32).ln();
            assert!((training.loss() - chance).abs() < 0.5, "{workload:?}: {}", training.loss());
        }
    }

    #[test]
    fn the_networks_have_the_parameters_of_the_peers() {
        let count = |workload: Workload| {
            let params = Params::new(1);
            workload.model(&params);
            params.count()
        };
        assert_eq!(
            Workload::ALL.map(count),
            [101_770, 1_630_090, 121_930, 1_412_354, 5_752_834, 11_173_962, 435_536, 6_337]
        );
    }

    #[test]
    fn batches_of_any_size_give_a_row_for_each_example() {
        for (workload, n, width) in
            [(Workload::B, 1, 10), (Workload::C, 3, 10), (Workload::E, 2, 2)]
        {
            let mut inference = Inference::new(workload, n);
            let first = inference.run().to_vec();
            assert_eq!(first.len(), n * width);
            assert!(first.iter().all(|x| x.is_finite()));
            assert_ne!(inference.run(), first, "the next batch is another");
        }
    }
}
