use super::{EPS, Effect, Entry, Layer, Misfit, Sample, channels};
use crate::context::Context;
use crate::dims::product;
use crate::init::{Ones, Zeros};
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Gives each group of channels of each example mean 0 and variance 1, then each channel a learned
/// scale and shift: y = (x − mean) / √(variance + eps) · weight + bias. The variance is over n.
///
/// Wu & He, "Group normalization", 2018. One group is layer normalisation over all that an example
/// has, as many as channels is [`InstanceNorm`].
///
/// Input `[batch, channels, …]`, output the same.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, Params, layers::GroupNorm};
/// let norm = GroupNorm::new(&Params::new(42).at("norm"), 2, 6);
/// let y = norm.forward(&Tensor::ones([3, 6, 4, 4]), &Context::eval());
/// assert_eq!(**y.shape(), [3, 6, 4, 4]);
/// ```
pub struct GroupNorm {
    /// Number of groups.
    pub groups: usize,
    /// The scale, `[channels]`; none where scale and shift are not learned.
    pub weight: Option<Var>,
    /// The shift, `[channels]`.
    pub bias: Option<Var>,
    /// Added to the variance.
    pub eps: f64,
}

impl GroupNorm {
    /// So many groups of so many channels in all, with `eps` 1e-5.
    ///
    /// # Panics
    /// If the channels do not divide into the groups.
    #[track_caller]
    pub fn new(params: &Params, groups: usize, channels: usize) -> GroupNorm {
        assert!(
            groups > 0 && channels.is_multiple_of(groups),
            "GroupNorm: {channels} channels do not divide into {groups} groups"
        );
        GroupNorm {
            groups,
            weight: Some(params.var("weight", [channels], &Ones)),
            bias: Some(params.var("bias", [channels], &Zeros)),
            eps: 1e-5,
        }
    }
}

impl Layer for GroupNorm {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        assert!(
            x.rank() >= 2 && x.shape()[1].is_multiple_of(self.groups),
            "GroupNorm: expected [batch, channels, …] with channels in {} groups, found {}",
            self.groups,
            x.shape()
        );
        let (batch, channels) = (x.shape()[0], x.shape()[1]);
        let inner: usize = x.shape()[2..].iter().product();
        let groups = x.reshape([batch, self.groups, channels / self.groups * inner]);
        let mean = groups.mean_axes(&[2], true);
        let variance = groups.var_axes(&[2], 0, true);
        let scale = (variance + self.eps).rsqrt();
        let y = ((groups - mean) * scale).reshape(x.shape());
        let mut shape = vec![1; x.rank() - 1];
        shape[0] = channels;
        let y = match &self.weight {
            Some(weight) => y * weight.get().reshape(&shape[..]),
            None => y,
        };
        match &self.bias {
            Some(bias) => y + bias.get().reshape(&shape[..]),
            None => y,
        }
    }
}

/// Gives each channel of each example mean 0 and variance 1; if `affine`, then a learned scale and
/// shift. The same while training and in use.
///
/// Ulyanov, Vedaldi & Lempitsky, "Instance normalization", 2016.
///
/// Input `[batch, channels, extents…]`, output the same. As in PyTorch it has no parameters unless
/// it is asked for them; running statistics, which PyTorch offers too, it does not keep.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::InstanceNorm};
/// let x = Tensor::from_slice(&[1.0f64, 3.0], [1, 1, 2]);
/// let norm = InstanceNorm { affine: None, eps: 0.0 };
/// assert_eq!(norm.forward(&x, &Context::eval()).to_vec::<f64>(), [-1.0, 1.0]);
/// ```
pub struct InstanceNorm {
    /// Scale and shift, `[channels]` each.
    pub affine: Option<[Var; 2]>,
    /// Added to the variance.
    pub eps: f64,
}

impl InstanceNorm {
    /// With a learned scale and shift of so many channels, and `eps` 1e-5.
    #[track_caller]
    pub fn affine(params: &Params, channels: usize) -> InstanceNorm {
        let weight = params.var("weight", [channels], &Ones);
        let bias = params.var("bias", [channels], &Zeros);
        InstanceNorm { affine: Some([weight, bias]), eps: 1e-5 }
    }
}

impl Layer for InstanceNorm {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        assert!(
            x.rank() >= 3,
            "InstanceNorm: expected [batch, channels, extents…], found {}",
            x.shape()
        );
        let [weight, bias] = match &self.affine {
            Some([weight, bias]) => [Some(weight.clone()), Some(bias.clone())],
            None => [None, None],
        };
        GroupNorm { groups: x.shape()[1], weight, bias, eps: self.eps }.forward(x, cx)
    }
}

const fn affine(default: bool) -> Param {
    Param::with_default(
        "affine",
        Kind::Bool,
        Value::Bool(default),
        "whether each channel has a learned scale and shift",
    )
}

pub(super) static GROUP_NORM: Entry = Entry {
    spec: Spec {
        name: "GroupNorm",
        aliases: &["GroupNormalization"],
        peers: Peers::of("nn.GroupNorm", "layers.GroupNormalization"),
        doc: "Mean 0 and deviation 1 of each group of channels, then a scale and a shift.",
        params: &[
            Param::required("groups", Kind::int(1, 1 << 20), "number of groups of channels")
                .alias(&["num_groups"]),
            EPS,
            affine(true),
        ],
    },
    takes_indices: false,
    samples: &[
        Sample::of("groups = 2", &[4, 3, 2]),
        Sample::of("num_groups = 3, affine = false, eps = 1e-3", &[6, 5]),
        Sample::of("groups = 2", &[6]),
    ],
    infer: |args, input| {
        let (channels, groups) = (channels(input)?, args.usize("groups"));
        if !channels.is_multiple_of(groups) {
            return Err(Misfit {
                needs: format!("channels that are a multiple of groups = {groups}"),
                hint: format!("there are {channels}"),
            });
        }
        let parameters = if args.bool("affine") { 2 * channels as u128 } else { 0 };
        Ok(Effect { parameters, ..Effect::cheap(input, product(input), 8) })
    },
    make: |args, input, params| {
        let (groups, eps) = (args.usize("groups"), args.float("eps"));
        Box::new(match args.bool("affine") {
            true => GroupNorm { eps, ..GroupNorm::new(params, groups, input[0]) },
            false => GroupNorm { groups, weight: None, bias: None, eps },
        })
    },
};

pub(super) static INSTANCE_NORM: Entry = Entry {
    spec: Spec {
        name: "InstanceNorm",
        aliases: &["InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"],
        peers: Peers::of("nn.InstanceNorm1d, 2d, 3d", "layers.GroupNormalization(groups=-1)"),
        doc: "Mean 0 and deviation 1 of each channel of each example.",
        params: &[EPS, affine(false)],
    },
    takes_indices: false,
    samples: &[Sample::of("", &[2, 5]), Sample::of("affine = true", &[3, 2, 4])],
    infer: |args, input| {
        if input.len() < 2 {
            return Err(Misfit {
                needs: "[channels, extents…]".into(),
                hint: "a channel without extents is a single value".into(),
            });
        }
        let parameters = if args.bool("affine") { 2 * input[0] as u128 } else { 0 };
        Ok(Effect { parameters, ..Effect::cheap(input, product(input), 8) })
    },
    make: |args, input, params| {
        let eps = args.float("eps");
        Box::new(match args.bool("affine") {
            true => InstanceNorm { eps, ..InstanceNorm::affine(params, input[0]) },
            false => InstanceNorm { affine: None, eps },
        })
    },
};
