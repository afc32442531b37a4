use super::{Effect, Entry, Layer, Misfit, Sample, place};
use crate::context::Context;
use crate::dims::product;
use crate::init::Ones;
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Divides the last axis of each example by its root mean square, then a learned scale:
/// y = x / √(mean(x²) + eps) · weight.
///
/// Zhang & Sennrich, "Root mean square layer normalization", 2019.
///
/// Input `[batch, …, features]`, output the same. PyTorch takes the machine's epsilon unless it is
/// told otherwise; here `eps` is 1e-6, as in Keras and in most models.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, Params, layers::RmsNorm};
/// let norm = RmsNorm::new(&Params::new(42).at("norm"), 4);
/// let y = norm.forward(&(Tensor::ones([2, 4]) * 3.0), &Context::eval());
/// assert!(y.to_vec::<f32>().iter().all(|v| (v - 1.0).abs() < 1e-6));
/// ```
pub struct RmsNorm {
    /// The scale, `[features]`.
    pub weight: Var,
    /// Added to the mean square.
    pub eps: f64,
}

impl RmsNorm {
    /// Over a last axis of so many features, with `eps` 1e-6.
    #[track_caller]
    pub fn new(params: &Params, features: usize) -> RmsNorm {
        RmsNorm { weight: params.var("weight", [features], &Ones), eps: 1e-6 }
    }
}

impl Layer for RmsNorm {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        assert!(
            x.shape().ends_with(self.weight.shape()),
            "RmsNorm: expected the last axis {}, found {}",
            self.weight.shape(),
            x.shape()
        );
        x.rms_norm(&self.weight.get(), self.eps)
    }
}

/// Divides each value by a power of the sum of squares around it in neighbouring channels:
/// y = x / (k + α / size · Σ x²)^β.
///
/// Krizhevsky, Sutskever & Hinton, "ImageNet classification with deep convolutional neural
/// networks", 2012; there α is not divided by the size, as it is here and in PyTorch.
///
/// Input `[batch, channels, …]`, output the same. The sum is over ⌊size / 2⌋ channels before and
/// ⌊(size − 1) / 2⌋ behind.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::LocalResponseNorm};
/// let norm = LocalResponseNorm { size: 1, alpha: 1.0, beta: 0.5, k: 0.0 };
/// let y = norm.forward(&(Tensor::ones([1, 2, 2]) * -3.0), &Context::eval());
/// assert_eq!(y.to_vec::<f32>(), [-1.0; 4]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalResponseNorm {
    /// Number of neighbouring channels.
    pub size: usize,
    /// The factor of the mean of the squares.
    pub alpha: f64,
    /// The power.
    pub beta: f64,
    /// What is added.
    pub k: f64,
}

impl Default for LocalResponseNorm {
    /// Five channels, with the numbers of PyTorch: α = 1e-4, β = 0.75, k = 1.
    fn default() -> Self {
        LocalResponseNorm { size: 5, alpha: 1e-4, beta: 0.75, k: 1.0 }
    }
}

impl Layer for LocalResponseNorm {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        assert!(
            x.rank() >= 2,
            "LocalResponseNorm: expected [batch, channels, …], found {}",
            x.shape()
        );
        let (n, c) = (x.shape()[0], x.shape()[1]);
        let inner: usize = x.shape()[2..].iter().product();
        let squares = x.square().reshape([n, 1, c, inner]);
        let options = nerve_core::ops::PoolOptions {
            kernel: [self.size, 1],
            stride: [1, 1],
            padding: [(self.size / 2, (self.size - 1) / 2), (0, 0)],
        };
        let means = squares.avg_pool(options, options.padding).reshape(x.shape());
        x * (means * self.alpha + self.k).powf(-self.beta)
    }
}

/// Divides by the length along an axis: vectors of length 1 (in the p-norm).
///
/// Input `[batch, …]`, output the same. A length below `eps` counts as `eps`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::UnitNorm};
/// let x = Tensor::from_slice(&[3.0f32, 4.0], [1, 2]);
/// let y = UnitNorm { p: 2.0, axis: -1, eps: 1e-12 }.forward(&x, &Context::eval());
/// assert_eq!(y.to_vec::<f32>(), [0.6, 0.8]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnitNorm {
    /// Which norm: 2 is Euclid's length.
    pub p: f64,
    /// The axis, counted with the batch or from the end.
    pub axis: isize,
    /// The least length.
    pub eps: f64,
}

impl Layer for UnitNorm {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.normalize(self.p, self.axis, self.eps)
    }
}

pub(super) static RMS_NORM: Entry = Entry {
    spec: Spec {
        name: "RMSNorm",
        aliases: &["RmsNorm", "RMSNormalization"],
        peers: Peers::of("nn.RMSNorm", "layers.RMSNormalization"),
        doc: "The last axis divided by its root mean square, then a scale.",
        params: &[Param::with_default(
            "eps",
            Kind::positive(),
            Value::Float(1e-6),
            "added to the mean square",
        )
        .alias(&["epsilon"])],
    },
    takes_indices: false,
    samples: &[Sample::of("", &[3, 8])],
    infer: |_, input| {
        let &last = input.last().ok_or_else(|| Misfit {
            needs: "[…, features]".into(),
            hint: "it gets single numbers".into(),
        })?;
        Ok(Effect { parameters: last as u128, ..Effect::cheap(input, product(input), 4) })
    },
    make: |args, input, params| {
        let eps = args.float("eps");
        Box::new(RmsNorm { eps, ..RmsNorm::new(params, input[input.len() - 1]) })
    },
};

pub(super) static LOCAL_RESPONSE_NORM: Entry = Entry {
    spec: Spec {
        name: "LocalResponseNorm",
        aliases: &["LRN"],
        peers: Peers::of("nn.LocalResponseNorm", ""),
        doc: "Each value divided by a power of the squares around it in neighbouring channels.",
        params: &[
            Param::with_default(
                "size",
                Kind::int(1, 1 << 16),
                Value::Int(5),
                "number of neighbouring channels",
            ),
            Param::with_default(
                "alpha",
                Kind::positive(),
                Value::Float(1e-4),
                "the factor of the mean of the squares",
            ),
            Param::with_default("beta", Kind::positive(), Value::Float(0.75), "the power"),
            Param::with_default("k", Kind::positive(), Value::Float(1.0), "what is added"),
        ],
    },
    takes_indices: false,
    samples: &[Sample::of("size = 3, alpha = 0.5", &[4, 3]), Sample::of("size = 2", &[3, 2, 2])],
    infer: |args, input| {
        super::channels(input)?;
        Ok(Effect::cheap(input, product(input), args.usize("size") as u128 + 3))
    },
    make: |args, _, _| {
        Box::new(LocalResponseNorm {
            size: args.usize("size"),
            alpha: args.float("alpha"),
            beta: args.float("beta"),
            k: args.float("k"),
        })
    },
};

pub(super) static UNIT_NORM: Entry = Entry {
    spec: Spec {
        name: "UnitNorm",
        aliases: &["UnitNormalization"],
        peers: Peers::of("nn.functional.normalize", "layers.UnitNormalization"),
        doc: "Vectors of length 1 along an axis.",
        params: &[
            Param::with_default(
                "p",
                Kind::float(1.0, 1e3),
                Value::Float(2.0),
                "which norm: 2 is Euclid's length",
            ),
            Param::with_default(
                "axis",
                Kind::int(-8, 8),
                Value::Int(-1),
                "the axis, counted with the batch or from the end",
            )
            .alias(&["dim"]),
            Param::with_default("eps", Kind::positive(), Value::Float(1e-12), "the least length"),
        ],
    },
    takes_indices: false,
    samples: &[Sample::of("", &[3, 4]), Sample::of("axis = 1, p = 3", &[3, 4])],
    infer: |args, input| {
        place(args.int("axis") as isize, input)?;
        Ok(Effect::cheap(input, product(input), 4))
    },
    make: |args, _, _| {
        Box::new(UnitNorm {
            p: args.float("p"),
            axis: args.int("axis") as isize,
            eps: args.float("eps"),
        })
    },
};
