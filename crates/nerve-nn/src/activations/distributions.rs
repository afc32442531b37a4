//! Kin of softmax: what makes probabilities of the last axis.

use super::functions;
use crate::context::Context;
use crate::layers::{Entry, Layer};
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

functions! {
    /// e⁻ˣ / Σ e⁻ˣ along the last axis: the least input gets the largest share.
    SOFTMIN Softmin: "softmin" ["Softmin"] "nn.Softmin" "" "softmax of -x"
        |x| (-x).softmax(-1);
    /// The point of the probability simplex that is nearest to the input, along the last axis: a
    /// softmax that gives true zeros. y = max(x − τ, 0) with τ such that the values add up to 1.
    ///
    /// Martins & Astudillo, "From softmax to sparsemax", 2016. It sorts the axis.
    SPARSEMAX Sparsemax: "sparsemax" ["Sparsemax"] "" "activations.sparsemax"
        "probabilities with true zeros, along the last axis"
        |x| sparsemax(x);
}

fn sparsemax(x: &Tensor) -> Tensor {
    // Which values are above τ is found from sorted ones; no gradient goes through that choice.
    let (sorted, _) = x.detach().sort(-1, true);
    let count = Tensor::iota(x.shape().clone(), -1).to_dtype(x.dtype()) + 1.0;
    let above = (&sorted * &count + 1.0).gt(sorted.cumsum(-1)).to_dtype(x.dtype());
    let k = above.sum_axes(&[-1], true);
    let threshold = ((&sorted * &above).sum_axes(&[-1], true) - 1.0) / &k;
    let support = x.detach().gt(&threshold).to_dtype(x.dtype());
    let (total, k) = ((x * &support).sum_axes(&[-1], true), support.sum_axes(&[-1], true));
    (x - (total - 1.0) / k) * support
}

/// A sample of the distribution that softmax gives, through which a gradient flows:
/// softmax((x + g) / τ) along the last axis, with g of the Gumbel distribution.
///
/// Jang, Gu & Poole, "Categorical reparameterization with Gumbel-softmax", 2017; Maddison, Mnih &
/// Teh, "The concrete distribution", 2017.
///
/// If `hard`, the largest becomes 1 and the others 0, while the gradient stays that of the soft
/// sample (straight through). When a network is used, there is no noise: softmax(x / τ), or the
/// place of the largest; PyTorch, where it is a function, draws there too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GumbelSoftmax {
    /// The temperature τ: a small one gives samples near 0 and 1.
    pub tau: f64,
    /// Whether samples are 0 and 1.
    pub hard: bool,
}

impl Layer for GumbelSoftmax {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let logits = match cx.is_training() {
            // −ln(−ln u), with u kept from 0 and 1.
            true => {
                let u = cx.uniform(x.shape(), x.dtype()).maximum(1e-20).minimum(1.0 - 6e-8);
                x - (-u.log()).log()
            }
            false => x.clone(),
        };
        let soft = (logits * (1.0 / self.tau)).softmax(-1);
        if !self.hard {
            return soft;
        }
        let classes = x.shape()[x.rank() - 1];
        let one = soft.detach().argmax(-1, false).one_hot(classes, x.dtype());
        (one - soft.detach()) + soft
    }
}

/// x where positive, a random slope times x elsewhere: while training a slope from `lower` to
/// `upper` for each element, else the mean of the two.
///
/// Xu et al., "Empirical evaluation of rectified activations in convolutional network", 2015.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rrelu {
    /// The least slope.
    pub lower: f64,
    /// The greatest slope.
    pub upper: f64,
}

impl Layer for Rrelu {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        if !cx.is_training() {
            return x.leaky_relu((self.lower + self.upper) / 2.0);
        }
        let slope = cx.uniform(x.shape(), x.dtype()) * (self.upper - self.lower) + self.lower;
        x.gt(0.0).select(x, &(x * slope))
    }
}

pub(super) static GUMBEL_SOFTMAX: Entry = Entry::activation(
    Spec {
        name: "gumbel_softmax",
        aliases: &["GumbelSoftmax"],
        peers: Peers::of("nn.functional.gumbel_softmax", ""),
        doc: "a sample of the distribution of softmax, through which a gradient flows",
        params: const {
            &[
                Param::with_default(
                    "tau",
                    Kind::positive(),
                    Value::Float(1.0),
                    "the temperature: a small one gives samples near 0 and 1",
                )
                .alias(&["temperature"]),
                Param::with_default(
                    "hard",
                    Kind::Bool,
                    Value::Bool(false),
                    "whether samples are 0 and 1, with the gradient of soft ones",
                ),
            ]
        },
    },
    |args, _, _| Box::new(GumbelSoftmax { tau: args.float("tau"), hard: args.bool("hard") }),
);

pub(super) static RRELU: Entry = Entry::activation(
    Spec {
        name: "rrelu",
        aliases: &["RReLU", "Rrelu"],
        peers: Peers::of("nn.RReLU", ""),
        doc: "x where positive, a random slope times x elsewhere",
        params: const {
            &[
                Param::with_default(
                    "lower",
                    Kind::float(0.0, 1.0),
                    Value::Float(1.0 / 8.0),
                    "the least slope",
                ),
                Param::with_default(
                    "upper",
                    Kind::float(0.0, 1.0),
                    Value::Float(1.0 / 3.0),
                    "the greatest slope",
                ),
            ]
        },
    },
    |args, _, _| Box::new(Rrelu { lower: args.float("lower"), upper: args.float("upper") }),
);
