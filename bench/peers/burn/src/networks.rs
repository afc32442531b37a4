//! The networks of the workloads.

use crate::peer::Call;
use burn::module::Param;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::transformer::{
    TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput,
};
use burn::nn::*;
use burn::prelude::*;
use burn::tensor::activation::relu;

/// A batch of examples.
#[derive(Clone)]
pub enum Input {
    Rows(Tensor<2>),
    Images(Tensor<4>),
    Words(Tensor<2, Int>),
}

impl Input {
    fn rows(self) -> Tensor<2> {
        let Input::Rows(x) = self else { panic!("the network takes rows") };
        x
    }

    fn images(self) -> Tensor<4> {
        let Input::Images(x) = self else { panic!("the network takes images") };
        x
    }

    fn words(self) -> Tensor<2, Int> {
        let Input::Words(x) = self else { panic!("the network takes words") };
        x
    }
}

/// What all networks can do.
pub trait Network: Module {
    fn forward(&self, x: Input) -> Tensor<2>;
}

/// What is done with a network, whose type depends on the workload.
pub trait Visitor {
    fn visit<M: Network + 'static>(self, model: M) -> Call;
}

/// Which network, and where it lives.
#[derive(Clone, Copy)]
pub struct Which<'a> {
    pub workload: &'a str,
    pub device: &'a Device,
}

pub fn visit(which: Which<'_>, visitor: impl Visitor) -> Call {
    let Which { workload, device } = which;
    match workload {
        "B" => visitor.visit(Perceptron::new(&[784, 128, 10], device)),
        "H" => visitor.visit(Perceptron::new(&[784, 256, 64, 256, 784], device)),
        "I" => visitor.visit(Perceptron::new(&[32, 64, 64, 1], device)),
        "C" => visitor.visit(Convolutional::new(true, device)),
        "D" => visitor.visit(Convolutional::new(false, device)),
        "E" => visitor.visit(Recurrent::new(device)),
        "F" => visitor.visit(Encoder::new(device)),
        _ => visitor.visit(Residual::new(device)),
    }
}

#[derive(Module, Debug)]
struct Perceptron {
    layers: Vec<Linear>,
}

impl Perceptron {
    fn new(sizes: &[usize], device: &Device) -> Self {
        let layer = |pair: &[usize]| LinearConfig::new(pair[0], pair[1]).init(device);
        Perceptron { layers: sizes.windows(2).map(layer).collect() }
    }
}

impl Network for Perceptron {
    fn forward(&self, x: Input) -> Tensor<2> {
        let mut x = x.rows();
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x);
            x = if i + 1 < self.layers.len() { relu(x) } else { x };
        }
        x
    }
}

#[derive(Module, Debug)]
struct Convolutional {
    conv1: Conv2d,
    conv2: Conv2d,
    pool: MaxPool2d,
    dropout: Dropout,
    fc1: Linear,
    fc2: Linear,
}

impl Convolutional {
    /// PyTorch's tutorial, or that of Keras.
    fn new(pytorch: bool, device: &Device) -> Self {
        let (padding, flat, hidden, rate) = match pytorch {
            true => (PaddingConfig2d::Explicit(1, 1, 1, 1), 3136, 512, 0.5),
            false => (PaddingConfig2d::Valid, 1600, 64, 0.0),
        };
        let conv = |channels| {
            Conv2dConfig::new(channels, [3, 3]).with_padding(padding.clone()).init(device)
        };
        Convolutional {
            conv1: conv([1, 32]),
            conv2: conv([32, 64]),
            pool: MaxPool2dConfig::new([2, 2]).init(),
            dropout: DropoutConfig::new(rate).init(),
            fc1: LinearConfig::new(flat, hidden).init(device),
            fc2: LinearConfig::new(hidden, 10).init(device),
        }
    }
}

impl Network for Convolutional {
    fn forward(&self, x: Input) -> Tensor<2> {
        let x = self.pool.forward(relu(self.conv1.forward(x.images())));
        let x = self.pool.forward(relu(self.conv2.forward(x)));
        let x = self.dropout.forward(x.flatten::<2>(1, 3));
        self.fc2.forward(self.dropout.forward(relu(self.fc1.forward(x))))
    }
}

#[derive(Module, Debug)]
struct Recurrent {
    embedding: Embedding,
    lstm: Lstm,
    out: Linear,
}

impl Recurrent {
    fn new(device: &Device) -> Self {
        Recurrent {
            embedding: EmbeddingConfig::new(10_000, 128).init(device),
            lstm: LstmConfig::new(128, 128, true).init(device),
            out: LinearConfig::new(128, 2).init(device),
        }
    }
}

impl Network for Recurrent {
    fn forward(&self, x: Input) -> Tensor<2> {
        let (_, state) = self.lstm.forward(self.embedding.forward(x.words()), None);
        self.out.forward(state.hidden)
    }
}

#[derive(Module, Debug)]
struct Encoder {
    embedding: Embedding,
    positions: Param<Tensor<3>>,
    layers: TransformerEncoder,
    norm: LayerNorm,
    out: Linear,
}

impl Encoder {
    fn new(device: &Device) -> Self {
        let layers = TransformerEncoderConfig::new(256, 1024, 4, 4)
            .with_dropout(0.0)
            .with_norm_first(true)
            .init(device);
        Encoder {
            embedding: EmbeddingConfig::new(10_000, 256).init(device),
            positions: Initializer::Normal { mean: 0.0, std: 0.02 }.init([1, 128, 256], device),
            layers,
            norm: LayerNormConfig::new(256).init(device),
            out: LinearConfig::new(256, 2).init(device),
        }
    }
}

impl Network for Encoder {
    fn forward(&self, x: Input) -> Tensor<2> {
        let x = self.embedding.forward(x.words()) + self.positions.val();
        let x = self.norm.forward(self.layers.forward(TransformerEncoderInput::new(x)));
        self.out.forward(x.mean_dim(1).squeeze_dim::<2>(1))
    }
}

/// A convolution without bias, and its normalisation.
#[derive(Module, Debug)]
struct Normal {
    conv: Conv2d,
    norm: BatchNorm,
}

impl Normal {
    fn new(channels: [usize; 2], side: usize, stride: usize, device: &Device) -> Self {
        let around = side / 2;
        let conv = Conv2dConfig::new(channels, [side, side])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(around, around, around, around))
            .with_bias(false)
            .init(device);
        Normal { conv, norm: BatchNormConfig::new(channels[1]).init(device) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(x))
    }
}

#[derive(Module, Debug)]
struct Block {
    first: Normal,
    second: Normal,
    past: Option<Normal>,
}

impl Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.second.forward(relu(self.first.forward(x.clone())));
        relu(y + self.past.as_ref().map_or(x.clone(), |past| past.forward(x)))
    }
}

#[derive(Module, Debug)]
struct Residual {
    stem: Normal,
    blocks: Vec<Block>,
    pool: AdaptiveAvgPool2d,
    out: Linear,
}

impl Residual {
    fn new(device: &Device) -> Self {
        let stages = [(64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)];
        let mut inputs = 64;
        let mut block = |(outputs, stride): (usize, usize)| {
            let channels = [inputs, outputs];
            inputs = outputs;
            let past = channels[0] != channels[1];
            Block {
                first: Normal::new(channels, 3, stride, device),
                second: Normal::new([outputs; 2], 3, 1, device),
                past: past.then(|| Normal::new(channels, 1, stride, device)),
            }
        };
        Residual {
            stem: Normal::new([3, 64], 3, 1, device),
            blocks: stages.into_iter().map(&mut block).collect(),
            pool: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            out: LinearConfig::new(512, 10).init(device),
        }
    }
}

impl Network for Residual {
    fn forward(&self, x: Input) -> Tensor<2> {
        let mut x = relu(self.stem.forward(x.images()));
        for block in &self.blocks {
            x = block.forward(x);
        }
        self.out.forward(self.pool.forward(x).flatten::<2>(1, 3))
    }
}
