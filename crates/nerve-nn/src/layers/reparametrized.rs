//! Layers whose weight is a function of what is trained: weight and spectral normalisation.

use super::block::Block;
use super::{Effect, Entry, Layer, Misfit, Sample, specs};
use crate::context::Context;
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Args, Item, Kind, Param, Peers, Spec, Value};
use std::sync::{Arc, OnceLock};

/// The weight of a layer as a direction and a length for each output: w = g · v / ‖v‖, where the
/// norm is over all axes but the first.
///
/// Salimans & Kingma, "Weight normalization", 2016.
///
/// The parameters are called as in PyTorch's `parametrizations.weight_norm`:
/// `parametrizations.weight.original0` is g, `[out, 1, …]`, and `original1` is v, which begins as
/// the weight of the layer; g begins as its norm, so that at first nothing changes.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, Params, layers::{Linear, WeightNorm}};
/// let params = Params::new(42);
/// let layer = WeightNorm::new(&params.at("fc"), |p| Box::new(Linear::new(p, 3, 4)));
/// assert_eq!(params.count(), 4 * 3 + 4 + 4);
/// assert_eq!(**layer.forward(&Tensor::ones([2, 3]), &Context::eval()).shape(), [2, 4]);
/// ```
pub struct WeightNorm {
    layer: Box<dyn Layer>,
}

/// The axes behind the first.
fn behind(rank: usize) -> Vec<isize> {
    (1..rank as isize).collect()
}

impl WeightNorm {
    /// A layer that `build` makes, with the parameter `weight`.
    ///
    /// # Panics
    /// If it creates no parameter of that name.
    #[track_caller]
    pub fn new(params: &Params, build: impl FnOnce(&Params) -> Box<dyn Layer>) -> WeightNorm {
        let seen = Arc::new(OnceLock::new());
        let note = seen.clone();
        let layer = build(&params.deriving("weight", move |params, initial| {
            let _ = note.set(());
            let (path, axes) = (params.at("parametrizations").at("weight"), behind(initial.rank()));
            let length = path.with_value("original0", initial.norm(2.0, &axes, true));
            let direction = path.with_value("original1", initial.clone());
            Var::derived("weight", initial.shape(), initial.dtype(), move || {
                let v = direction.get();
                let norm = v.norm(2.0, &axes, true);
                v * (length.get() / norm)
            })
        }));
        assert!(seen.get().is_some(), "WeightNorm: the layer has no parameter `weight`");
        WeightNorm { layer }
    }
}

impl Layer for WeightNorm {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.layer.forward(x, cx)
    }

    fn mask(&self, mask: &Tensor, y: &Tensor) -> Option<Tensor> {
        self.layer.mask(mask, y)
    }
}

/// The weight of a layer divided by its largest singular value, as a matrix of outputs and all
/// else: what it does to a difference of inputs is at most to keep its length.
///
/// Miyato et al., "Spectral normalization for generative adversarial networks", 2018.
///
/// The singular value is u · W v, with vectors that follow W by one step of the power method in
/// each training step, and stay when the network is used. Names are those of PyTorch's
/// `parametrizations.spectral_norm`: `parametrizations.weight.original`, and the buffers
/// `parametrizations.weight.0._u` and `_v`. Keras, where the vectors are drawn anew when a layer is
/// made, writes the normalised weight back instead.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, Params, layers::{Linear, SpectralNorm}};
/// let params = Params::new(42);
/// let layer = SpectralNorm::new(&params.at("fc"), 1, 0, |p| Box::new(Linear::new(p, 3, 4)));
/// assert_eq!(params.count(), 4 * 3 + 4);
/// assert_eq!(**layer.forward(&Tensor::ones([2, 3]), &Context::eval()).shape(), [2, 4]);
/// ```
pub struct SpectralNorm {
    layer: Box<dyn Layer>,
    power: Arc<Power>,
    /// Steps of the power method for each training step.
    pub iterations: usize,
}

/// A weight and the vectors of its largest singular value.
struct Power {
    weight: Var,
    u: Var,
    v: Var,
    axis: usize,
}

const EPS: f64 = 1e-12;

/// `[rows, columns]`, with the axis of the outputs in front.
fn matrix(weight: &Tensor, axis: usize) -> Tensor {
    let mut order: Vec<usize> = (0..weight.rank()).filter(|&a| a != axis).collect();
    order.insert(0, axis);
    let rows = weight.shape()[axis];
    weight.permute(&order).reshape([rows, weight.numel() / rows.max(1)])
}

/// One step of the power method.
fn step(matrix: &Tensor, v: &Tensor) -> [Tensor; 2] {
    let u = matrix.matmul(v).normalize(2.0, 0, EPS);
    let v = matrix.t().matmul(&u).normalize(2.0, 0, EPS);
    [u, v]
}

impl Power {
    fn new(params: &Params, initial: &Tensor, axis: usize) -> Power {
        let path = params.at("parametrizations").at("weight");
        let weight = path.with_value("original", initial.clone());
        let matrix = matrix(&initial.evaluated(), axis);
        // Any start that is not at a right angle to the singular vector.
        let key = Tensor::random_key(params.seed(), 0);
        let n = matrix.shape()[1];
        let start = Tensor::normal(&key, u32::MAX, [n], initial.dtype()).normalize(2.0, 0, EPS);
        let [mut u, mut v] = step(&matrix, &start);
        for _ in 1..15 {
            [u, v] = step(&matrix, &v);
        }
        let buffers = path.at(0);
        Power { weight, u: buffers.buffer("_u", u), v: buffers.buffer("_v", v), axis }
    }

    fn follow(&self, iterations: usize) {
        let matrix = matrix(&self.weight.get().detach(), self.axis);
        for _ in 0..iterations {
            let [u, v] = step(&matrix, &self.v.get().detach());
            self.u.set(u);
            self.v.set(v);
        }
    }

    fn normalised(&self) -> Tensor {
        let weight = self.weight.get();
        let (u, v) = (self.u.get().detach(), self.v.get().detach());
        let sigma = (matrix(&weight, self.axis).matmul(&v) * u).sum();
        weight / sigma
    }
}

impl SpectralNorm {
    /// A layer that `build` makes, with the parameter `weight`, whose axis `axis` counts outputs:
    /// 0, or 1 of a transposed convolution.
    ///
    /// # Panics
    /// If it creates no parameter of that name.
    #[track_caller]
    pub fn new(
        params: &Params,
        iterations: usize,
        axis: usize,
        build: impl FnOnce(&Params) -> Box<dyn Layer>,
    ) -> SpectralNorm {
        let made: Arc<OnceLock<Arc<Power>>> = Arc::default();
        let note = made.clone();
        let layer = build(&params.deriving("weight", move |params, initial| {
            let power = Arc::new(Power::new(params, &initial, axis));
            let _ = note.set(power.clone());
            let (shape, dtype) = (initial.shape().clone(), initial.dtype());
            Var::derived("weight", shape, dtype, move || power.normalised())
        }));
        let Some(power) = made.get().cloned() else {
            panic!("SpectralNorm: the layer has no parameter `weight`")
        };
        SpectralNorm { layer, power, iterations }
    }
}

impl Layer for SpectralNorm {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        if cx.is_training() {
            self.power.follow(self.iterations);
        }
        self.layer.forward(x, cx)
    }

    fn mask(&self, mask: &Tensor, y: &Tensor) -> Option<Tensor> {
        self.layer.mask(mask, y)
    }
}

static LAYER: Kind = Kind::Item { what: "layer", specs };
const INNER: Param =
    Param::required("layer", LAYER, "a dense layer or a convolution, whose weight it is");

/// Of the layer inside: its effect, and the extents of its weight before and behind the axis of the
/// outputs.
fn inner(args: &Args, input: &[usize]) -> Result<(Effect, u128, u128), Misfit> {
    let item = args.item("layer");
    let effect = Block::Layer(item.clone()).infer(input)?;
    let Some((first, bias)) = outputs(item, input) else {
        return Err(Misfit {
            needs: "a layer with one weight: Dense or a convolution".into(),
            hint: format!("it is {}", item.name),
        });
    };
    let weights = effect.parameters - if bias { first[1] } else { 0 };
    Ok((effect, first[0], weights.checked_div(first[2]).unwrap_or(0)))
}

/// Whether the weight of a layer begins with its inputs.
fn transposed(item: &Item) -> bool {
    item.name.starts_with("ConvTranspose")
}

/// The first extent of the weight, the number of outputs, and the extent of the axis that
/// counts outputs; and whether there is a bias.
fn outputs(item: &Item, input: &[usize]) -> Option<([u128; 3], bool)> {
    let given = |name| item.args.usize(name) as u128;
    let channels = *input.first()? as u128;
    let all = match item.name {
        "Dense" => [given("units"); 3],
        "Conv1d" | "Conv2d" | "Conv3d" => [given("filters"); 3],
        "DepthwiseConv1d" | "DepthwiseConv2d" => [channels.saturating_mul(given("multiplier")); 3],
        _ if transposed(item) => {
            [channels, given("filters"), given("filters") / given("groups").max(1)]
        }
        _ => return None,
    };
    Some((all, item.args.bool("bias")))
}

pub(super) static WEIGHT_NORM: Entry = Entry {
    spec: Spec {
        name: "WeightNorm",
        aliases: &[],
        peers: Peers::of("nn.utils.parametrizations.weight_norm", ""),
        doc: "A layer whose weight has a direction and a length for each output.",
        params: &[INNER],
    },
    takes_indices: false,
    samples: &[
        Sample::of("layer = { type = 'Dense', units = 4, activation = 'tanh' }", &[3]),
        Sample::of(
            "layer = { type = 'Conv2d', filters = 2, kernel = 2, bias = false }",
            &[3, 3, 4],
        ),
        Sample::of(
            "layer = { type = 'ConvTranspose1d', filters = 4, kernel = 2, groups = 2 }",
            &[2, 3],
        ),
    ],
    infer: |args, input| {
        let (effect, first, _) = inner(args, input)?;
        let parameters = effect.parameters.saturating_add(first);
        let flops = effect.flops.saturating_add(effect.parameters.saturating_mul(4));
        Ok(Effect { parameters, flops, ..effect })
    },
    make: |args, input, params: &Params| {
        let block = Block::Layer(args.item("layer").clone());
        Box::new(WeightNorm::new(params, |params| block.make(input, params)))
    },
};

pub(super) static SPECTRAL_NORM: Entry = Entry {
    spec: Spec {
        name: "SpectralNorm",
        aliases: &["SpectralNormalization"],
        peers: Peers::of("nn.utils.parametrizations.spectral_norm", "layers.SpectralNormalization"),
        doc: "A layer whose weight is divided by its largest singular value.",
        params: &[
            INNER,
            Param::with_default(
                "iterations",
                Kind::int(1, 100),
                Value::Int(1),
                "steps of the power method for each training step",
            )
            .alias(&["n_power_iterations", "power_iterations"]),
        ],
    },
    takes_indices: false,
    samples: &[
        Sample::of("layer = { type = 'Dense', units = 4 }", &[3]),
        Sample::of(
            "layer = { type = 'ConvTranspose2d', filters = 2, kernel = 2 }, iterations = 2",
            &[3, 2, 2],
        ),
    ],
    infer: |args, input| {
        let (effect, _, columns) = inner(args, input)?;
        let item = args.item("layer");
        let rows = outputs(item, input).map_or(0, |(extents, _)| extents[2]);
        let state = effect.state.saturating_add(rows).saturating_add(columns);
        let power = effect.parameters.saturating_mul(4 * args.usize("iterations") as u128 + 3);
        let flops = effect.flops.saturating_add(power);
        Ok(Effect { state, flops, ..effect })
    },
    make: |args, input, params: &Params| {
        let item = args.item("layer").clone();
        let (axis, iterations) = (usize::from(transposed(&item)), args.usize("iterations"));
        let block = Block::Layer(item);
        Box::new(SpectralNorm::new(params, iterations, axis, |p| block.make(input, p)))
    },
};
