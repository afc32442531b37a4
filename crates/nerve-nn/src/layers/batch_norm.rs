use super::{EPS, Effect, Entry, Layer, Misfit, Sample, channels};
use crate::context::Context;
use crate::dims::product;
use crate::init::{Ones, Zeros};
use crate::params::Params;
use nerve_core::{Shape, Tensor, Var};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Gives each channel mean 0 and variance 1 over the batch, then a learned scale and shift:
/// y = (x − mean) / √(variance + eps) · weight + bias.
///
/// Ioffe & Szegedy, "Batch normalization", 2015.
///
/// While training, mean and variance are those of the batch (the variance over n), and running
/// estimates follow them (the variance over n − 1): running = (1 − momentum) · running + momentum ·
/// new. Else the running estimates are used. A batch with a single value a channel has no variance:
/// the estimates do not follow it.
///
/// Input `[batch, channels]` or `[batch, channels, extents…]`, output the same.
///
/// `momentum` is the weight of the new batch, as in PyTorch; Keras calls so what is left of the
/// old, 1 − momentum. Keras keeps the variance over n, nerve and PyTorch that over n − 1.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, Params, layers::BatchNorm};
/// let norm = BatchNorm::new(&Params::new(42).at("bn1"), 3);
/// let y = norm.forward(&Tensor::ones([2, 3, 4, 4]), &Context::eval());
/// assert_eq!(**y.shape(), [2, 3, 4, 4]);
/// ```
pub struct BatchNorm {
    /// The scale, `[channels]`.
    pub weight: Var,
    /// The shift, `[channels]`.
    pub bias: Var,
    /// The estimate of the mean, `[channels]`.
    pub running_mean: Var,
    /// The estimate of the variance, `[channels]`.
    pub running_var: Var,
    /// How many batches the estimates have followed (i32).
    pub num_batches_tracked: Var,
    /// Added to the variance.
    pub eps: f64,
    /// The weight of a new batch in the estimates.
    pub momentum: f64,
}

impl BatchNorm {
    /// For so many channels, with `eps` 1e-5 and `momentum` 0.1.
    #[track_caller]
    pub fn new(params: &Params, channels: usize) -> BatchNorm {
        let statistic = |value| Tensor::full([channels], value, params.dtype());
        BatchNorm {
            weight: params.var("weight", [channels], &Ones),
            bias: params.var("bias", [channels], &Zeros),
            running_mean: params.buffer("running_mean", statistic(0.0)),
            running_var: params.buffer("running_var", statistic(1.0)),
            num_batches_tracked: params.buffer("num_batches_tracked", Tensor::scalar(0i32)),
            eps: 1e-5,
            momentum: 0.1,
        }
    }

    /// Lets the estimates follow the statistics of a batch.
    fn follow(&self, x: &Tensor) {
        let n = x.numel() / x.shape()[1].max(1);
        if n <= 1 {
            return;
        }
        let (mean, variance) = x.batch_moments(1);
        let follow = |running: &Var, new: &Tensor, scale: f64| {
            running.set(running.get() * (1.0 - self.momentum) + new * (scale * self.momentum));
        };
        follow(&self.running_mean, &mean, 1.0);
        follow(&self.running_var, &variance, n as f64 / (n as f64 - 1.0));
        self.num_batches_tracked.set(self.num_batches_tracked.get() + 1);
    }
}

impl Layer for BatchNorm {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let channels = self.weight.shape()[0];
        assert!(
            x.rank() >= 2 && x.shape()[1] == channels,
            "BatchNorm: expected [batch, {channels}, …], found {}",
            x.shape()
        );
        if cx.is_training() {
            self.follow(x);
            return x.batch_norm(&self.weight.get(), &self.bias.get(), 1, self.eps);
        }
        let mut shape = vec![1; x.rank()];
        shape[1] = channels;
        let shape = Shape::from(shape);
        let [mean, variance, weight, bias] =
            [&self.running_mean, &self.running_var, &self.weight, &self.bias]
                .map(|var| var.get().reshape(&shape));
        x.scale_and_shift(&mean, &variance, &weight, &bias, self.eps)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "BatchNorm",
        aliases: &[
            "BatchNormalization",
            "BatchNorm1d",
            "BatchNorm2d",
            "BatchNorm1D",
            "BatchNorm2D",
            "BatchNorm3d",
            "BatchNorm3D",
        ],
        peers: Peers::of("nn.BatchNorm1d, 2d, 3d", "layers.BatchNormalization"),
        doc: "Mean 0 and deviation 1 of each channel over the batch, then a scale and a shift.",
        params: &[
            EPS,
            Param::with_default(
                "momentum",
                Kind::float(0.0, 1.0),
                Value::Float(0.1),
                "the weight of a new batch in the running statistics",
            ),
        ],
    },
    takes_indices: false,
    samples: &[
        Sample::of("", &[4]),
        Sample::of("momentum = 0.5", &[3, 6]),
        Sample::of("epsilon = 1e-3", &[3, 2, 4]),
        Sample::of("", &[2, 2, 3, 2]),
    ],
    infer: |_, input| {
        if input.len() > 4 {
            return Err(Misfit {
                needs: "[channels] and at most three extents".into(),
                hint: format!("it gets {} axes", input.len()),
            });
        }
        let channels = channels(input)? as u128;
        // Mean and variance of each channel, and the number of batches.
        let (parameters, state) = (2 * channels, 2 * channels + 1);
        Ok(Effect { parameters, state, ..Effect::cheap(input, product(input), 8) })
    },
    make: |args, input, params| {
        let (eps, momentum) = (args.float("eps"), args.float("momentum"));
        Box::new(BatchNorm { eps, momentum, ..BatchNorm::new(params, input[0]) })
    },
};
