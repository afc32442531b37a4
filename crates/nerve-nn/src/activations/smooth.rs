//! Smooth functions without parameters, and ELU's kin.

use super::functions;
use crate::context::Context;
use crate::layers::{Entry, Layer};
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// α (eˣ − 1) where x is negative, x elsewhere. The branch not taken must stay finite, or its
/// gradient, zero times infinity, is NaN.
fn exponential_below(x: &Tensor, alpha: f64, width: f64) -> Tensor {
    x.gt(0.0).select(x, &((x.minimum(0.0) * (1.0 / width)).expm1() * alpha))
}

/// The constants of [`Selu`].
const SELU: (f64, f64) = (1.0507009873554805, 1.6732632423543772);

functions! {
    /// λ x where positive, λ α (eˣ − 1) elsewhere, with λ and α such that values with mean 0 and
    /// variance 1 keep both from layer to layer.
    ///
    /// Klambauer et al., "Self-normalizing neural networks", 2017.
    SELU_ENTRY Selu: "selu" ["SELU", "Selu"] "nn.SELU" "activations.selu"
        "a scaled elu that keeps mean 0 and variance 1"
        |x| exponential_below(x, SELU.1, 1.0) * SELU.0;
    /// ln(1 / (1 + e⁻ˣ)), without overflow.
    LOG_SIGMOID LogSigmoid: "log_sigmoid" ["LogSigmoid", "logsigmoid"]
        "nn.LogSigmoid" "activations.log_sigmoid" "the logarithm of sigmoid"
        |x| -(-x).softplus();
    /// x tanh(ln(1 + eˣ)).
    ///
    /// Misra, "Mish: a self regularized non-monotonic activation function", 2020.
    MISH Mish: "mish" ["Mish"] "nn.Mish" "activations.mish" "x tanh(softplus(x))"
        |x| x.softplus().tanh() * x;
    /// x / (1 + |x|).
    ///
    /// Bergstra et al., "Quadratic polynomials learn better image features", 2009.
    SOFTSIGN Softsign: "softsign" ["Softsign"] "nn.Softsign" "activations.softsign"
        "x / (1 + |x|)"
        |x| x / (x.abs() + 1.0);
    /// eˣ.
    EXPONENTIAL Exponential: "exponential" ["Exponential", "exp"] "torch.exp"
        "activations.exponential" "exp(x)"
        |x| x.exp();
    /// (x + √(x² + 4)) / 2, a smooth max(x, 0) without exponentials.
    ///
    /// Barron, "Squareplus: a softplus-like algebraic rectifier", 2021.
    SQUAREPLUS Squareplus: "squareplus" ["Squareplus"] "" "activations.squareplus"
        "(x + sqrt(x² + 4)) / 2"
        |x| (x + (x.square() + 4.0).sqrt()) * 0.5;
    /// x Φ(x) with Φ from a tanh: x / 2 (1 + tanh(√(2/π) (x + 0.044715 x³))), what GPT-2 and BERT
    /// were trained with. It differs from [`Gelu`](super::Gelu) by up to 5·10⁻⁴.
    ///
    /// Hendrycks & Gimpel, "Gaussian error linear units (GELUs)", 2016.
    GELU_TANH GeluTanh: "gelu_tanh" ["GELUTanh", "GeluTanh", "gelu_new"]
        "nn.GELU(approximate='tanh')" "activations.gelu(approximate=True)"
        "gelu from a tanh"
        |x| {
            let inner = (x.square() * x * 0.044715 + x) * (2.0 / std::f64::consts::PI).sqrt();
            x * (inner.tanh() + 1.0) * 0.5
        };
}

/// x where positive, α (e^(x/α) − 1) elsewhere: an ELU whose slope has no step for any α.
///
/// Barron, "Continuously differentiable exponential linear units", 2017.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Celu {
    /// What very negative inputs come to, negated.
    pub alpha: f64,
}

impl Default for Celu {
    /// α = 1, which is ELU.
    fn default() -> Self {
        Celu { alpha: 1.0 }
    }
}

impl Layer for Celu {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        exponential_below(x, self.alpha, self.alpha)
    }
}

pub(super) static CELU: Entry = Entry::activation(
    Spec {
        name: "celu",
        aliases: &["CELU", "Celu"],
        peers: Peers::of("nn.CELU", "activations.celu"),
        doc: "x where positive, alpha (exp(x / alpha) - 1) elsewhere",
        params: const {
            &[Param::with_default(
                "alpha",
                Kind::positive(),
                Value::Float(1.0),
                "what very negative inputs come to, negated",
            )]
        },
    },
    |args, _, _| Box::new(Celu { alpha: args.float("alpha") }),
);
