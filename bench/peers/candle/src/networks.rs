//! The networks of the workloads, as functions of the input and of whether they are trained.

use candle_core::{D, Module, ModuleT, Result, Tensor};
use candle_nn::{
    BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, Init, Linear, RNN, VarBuilder,
    batch_norm, conv2d, conv2d_no_bias, embedding, linear, lstm, ops,
};

/// A network.
pub type Network = Box<dyn Fn(&Tensor, bool) -> Result<Tensor>>;

pub fn build(workload: &str, vars: VarBuilder) -> Result<Network> {
    match workload {
        "B" => perceptron(&[784, 128, 10], vars),
        "H" => perceptron(&[784, 256, 64, 256, 784], vars),
        "I" => perceptron(&[32, 64, 64, 1], vars),
        "C" => convolutional(true, vars),
        "D" => convolutional(false, vars),
        "E" => recurrent(vars),
        "F" => encoder(vars),
        _ => residual(vars),
    }
}

fn perceptron(sizes: &[usize], vars: VarBuilder) -> Result<Network> {
    let layer = |(i, pair): (usize, &[usize])| linear(pair[0], pair[1], vars.pp(i));
    let layers: Vec<Linear> = sizes.windows(2).enumerate().map(layer).collect::<Result<_>>()?;
    Ok(Box::new(move |x, _| {
        let mut x = layers[0].forward(x)?;
        for layer in &layers[1..] {
            x = layer.forward(&x.relu()?)?;
        }
        Ok(x)
    }))
}

/// PyTorch's tutorial, or that of Keras.
fn convolutional(pytorch: bool, vars: VarBuilder) -> Result<Network> {
    let (padding, flat, hidden) = if pytorch { (1, 3136, 512) } else { (0, 1600, 64) };
    let config = Conv2dConfig { padding, ..Default::default() };
    let conv1 = conv2d(1, 32, 3, config, vars.pp("conv1"))?;
    let conv2 = conv2d(32, 64, 3, config, vars.pp("conv2"))?;
    let (fc1, fc2) = (linear(flat, hidden, vars.pp("fc1"))?, linear(hidden, 10, vars.pp("fc2"))?);
    let dropout = Dropout::new(0.5);
    Ok(Box::new(move |x, train| {
        let x = conv1.forward(x)?.relu()?.max_pool2d(2)?;
        let x = conv2.forward(&x)?.relu()?.max_pool2d(2)?.flatten_from(1)?;
        let x = fc1.forward(&dropout.forward(&x, train && pytorch)?)?.relu()?;
        fc2.forward(&dropout.forward(&x, train && pytorch)?)
    }))
}

fn recurrent(vars: VarBuilder) -> Result<Network> {
    let words = embedding(10_000, 128, vars.pp("embedding"))?;
    let lstm = lstm(128, 128, Default::default(), vars.pp("lstm"))?;
    let out = linear(128, 2, vars.pp("out"))?;
    Ok(Box::new(move |x, _| {
        let states = lstm.seq(&words.forward(x)?)?;
        out.forward(states.last().expect("a sequence").h())
    }))
}

struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    fn new(vars: VarBuilder) -> Result<LayerNorm> {
        let weight = vars.get_with_hints(256, "weight", Init::Const(1.0))?;
        Ok(LayerNorm { weight, bias: vars.get_with_hints(256, "bias", Init::Const(0.0))? })
    }

    /// The fused one has no gradient.
    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        match train {
            true => ops::layer_norm_slow(x, &self.weight, &self.bias, 1e-5),
            false => ops::layer_norm(x, &self.weight, &self.bias, 1e-5),
        }
    }
}

struct EncoderLayer {
    norms: [LayerNorm; 2],
    qkv: Linear,
    projection: Linear,
    up: Linear,
    down: Linear,
}

impl EncoderLayer {
    fn new(vars: VarBuilder) -> Result<EncoderLayer> {
        Ok(EncoderLayer {
            norms: [LayerNorm::new(vars.pp("norm1"))?, LayerNorm::new(vars.pp("norm2"))?],
            qkv: linear(256, 768, vars.pp("qkv"))?,
            projection: linear(256, 256, vars.pp("projection"))?,
            up: linear(256, 1024, vars.pp("up"))?,
            down: linear(1024, 256, vars.pp("down"))?,
        })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let (batch, time, width) = x.dims3()?;
        let qkv = self.qkv.forward(&self.norms[0].forward(x, train)?)?;
        let qkv = qkv.reshape((batch, time, 3, 4, 64))?.permute((2, 0, 3, 1, 4))?;
        let part = |i| qkv.get(i)?.contiguous();
        let scores = (part(0)?.matmul(&part(1)?.t()?)? * 0.125)?;
        let weights =
            if train { ops::softmax(&scores, D::Minus1) } else { ops::softmax_last_dim(&scores) }?;
        let heads = weights.matmul(&part(2)?)?.transpose(1, 2)?.reshape((batch, time, width))?;
        let x = (x + self.projection.forward(&heads)?)?;
        let hidden = self.up.forward(&self.norms[1].forward(&x, train)?)?.gelu_erf()?;
        &x + self.down.forward(&hidden)?
    }
}

fn encoder(vars: VarBuilder) -> Result<Network> {
    let words = embedding(10_000, 256, vars.pp("embedding"))?;
    let normal = Init::Randn { mean: 0.0, stdev: 0.02 };
    let positions = vars.get_with_hints((1, 128, 256), "positions", normal)?;
    let layer = |i: usize| EncoderLayer::new(vars.pp(format!("layer{i}")));
    let layers = (0..4).map(layer).collect::<Result<Vec<_>>>()?;
    let (norm, out) = (LayerNorm::new(vars.pp("norm"))?, linear(256, 2, vars.pp("out"))?);
    Ok(Box::new(move |x, train| {
        let mut x = words.forward(x)?.broadcast_add(&positions)?;
        for layer in &layers {
            x = layer.forward(&x, train)?;
        }
        out.forward(&norm.forward(&x, train)?.mean(1)?)
    }))
}

/// A convolution without bias, and its normalisation.
struct Normal(Conv2d, BatchNorm);

impl Normal {
    fn new(i: usize, o: usize, side: usize, stride: usize, vars: VarBuilder) -> Result<Normal> {
        let config = Conv2dConfig { padding: side / 2, stride, ..Default::default() };
        let norm = batch_norm(o, BatchNormConfig::default(), vars.pp("norm"))?;
        Ok(Normal(conv2d_no_bias(i, o, side, config, vars.pp("conv"))?, norm))
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        self.1.forward_t(&self.0.forward(x)?, train)
    }
}

fn residual(vars: VarBuilder) -> Result<Network> {
    let stages = [(64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)];
    let stem = Normal::new(3, 64, 3, 1, vars.pp("stem"))?;
    let (mut blocks, mut inputs) = (Vec::new(), 64);
    for (i, (outputs, stride)) in stages.into_iter().enumerate() {
        let vars = vars.pp(format!("block{i}"));
        let past = (inputs != outputs)
            .then(|| Normal::new(inputs, outputs, 1, stride, vars.pp("past")))
            .transpose()?;
        let first = Normal::new(inputs, outputs, 3, stride, vars.pp("first"))?;
        blocks.push((first, Normal::new(outputs, outputs, 3, 1, vars.pp("second"))?, past));
        inputs = outputs;
    }
    let out = linear(512, 10, vars.pp("out"))?;
    Ok(Box::new(move |x, train| {
        let mut x = stem.forward(x, train)?.relu()?;
        for (first, second, past) in &blocks {
            let y = second.forward(&first.forward(&x, train)?.relu()?, train)?;
            let past = past.as_ref().map(|past| past.forward(&x, train)).transpose()?;
            x = (y + past.unwrap_or(x))?.relu()?;
        }
        out.forward(&x.mean((2, 3))?)
    }))
}
