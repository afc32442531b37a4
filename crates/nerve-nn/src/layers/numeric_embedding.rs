use super::{Effect, Entry, Layer, Misfit, Sample};
use crate::context::Context;
use crate::dims::product;
use crate::init::{Normal, Uniform};
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};
use std::f64::consts::TAU;

/// A row of numbers for each number, so that a network sees where on its scale it lies, and
/// attention has a token for it.
///
/// Gorishniy, Rubachev & Babenko, "On embeddings for numerical features in tabular deep learning",
/// 2022. What is made of a number x goes through a linear layer of its own, and a ReLU:
/// - [`Waves::Periodic`]: sin 2πcⱼx and cos 2πcⱼx, with learned frequencies cⱼ;
/// - [`Waves::Piecewise`]: for each of several bins of one width between −3 and 3, which share of it
///   lies below x; the outermost go on as lines;
/// - [`Waves::Linear`]: x itself, and no ReLU: the tokens of the FT-Transformer (Gorishniy et al.
///   2021).
///
/// The numbers should have mean 0 and deviation 1. Input `[batch, numbers]`, output
/// `[batch, numbers, dim]`. Parameters: `weight` `[numbers, inputs, dim]`, `bias` `[numbers, dim]`,
/// and `frequencies` `[numbers, bins]`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::layers::{NumericEmbedding, Waves};
/// use nerve_nn::{Context, Layer, Params};
/// let layer = NumericEmbedding::new(&Params::new(42), 3, 8, Waves::Piecewise { bins: 10 });
/// assert_eq!(**layer.forward(&Tensor::ones([2, 3]), &Context::eval()).shape(), [2, 3, 8]);
/// ```
pub struct NumericEmbedding {
    /// `[numbers, inputs, dim]`.
    pub weight: Var,
    /// `[numbers, dim]`.
    pub bias: Var,
    /// `[numbers, bins]`, of waves.
    pub frequencies: Option<Var>,
    waves: Waves,
}

/// What is made of a number before the linear layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Waves {
    /// Nothing.
    Linear,
    /// Sine and cosine of learned frequencies.
    Periodic {
        /// How many frequencies.
        bins: usize,
        /// Their deviation at the beginning.
        scale: f64,
    },
    /// Its place between fixed bins.
    Piecewise {
        /// How many bins.
        bins: usize,
    },
}

/// The bins lie between −END and END.
const END: f64 = 3.0;

impl Waves {
    /// How many numbers are made of one.
    fn width(self) -> usize {
        match self {
            Waves::Linear => 1,
            Waves::Periodic { bins, .. } => bins.saturating_mul(2),
            Waves::Piecewise { bins } => bins,
        }
    }
}

impl NumericEmbedding {
    /// For so many numbers, a row of `dim` each; weights uniform in ±1/√inputs.
    #[track_caller]
    pub fn new(params: &Params, numbers: usize, dim: usize, waves: Waves) -> NumericEmbedding {
        let frequencies = match waves {
            Waves::Periodic { bins, scale } => {
                let init = Normal { mean: 0.0, std: scale };
                Some(params.var("frequencies", [numbers, bins], &init))
            }
            _ => None,
        };
        let init = Uniform::fan_in(waves.width());
        NumericEmbedding {
            weight: params.var("weight", [numbers, waves.width(), dim], &init),
            bias: params.var("bias", [numbers, dim], &init),
            frequencies,
            waves,
        }
    }

    /// `[batch, numbers, 1]` to `[batch, numbers, inputs]`.
    fn inputs(&self, x: &Tensor) -> Tensor {
        match self.waves {
            Waves::Linear => x.clone(),
            Waves::Periodic { .. } => {
                let frequencies = self.frequencies.as_ref().expect("waves have frequencies");
                let angle = x * frequencies.get() * TAU;
                Tensor::concat(&[angle.sin(), angle.cos()], 2)
            }
            Waves::Piecewise { bins } => {
                let width = 2.0 * END / bins as f64;
                let bin = Tensor::iota([1, 1, bins], 2).to_dtype(x.dtype());
                let share = (x + END) / width - &bin;
                // The first bin is open below, the last one above.
                let low = bin.eq(0.0).select(&share, &share.maximum(0.0));
                bin.eq(bins as f64 - 1.0).select(&low, &low.minimum(1.0))
            }
        }
    }
}

impl Layer for NumericEmbedding {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let numbers = self.bias.shape()[0];
        assert!(
            x.rank() == 2 && x.shape()[1] == numbers,
            "NumericEmbedding: expected [batch, {numbers}], found {}",
            x.shape()
        );
        let inputs = self.inputs(&x.unsqueeze(2));
        if self.waves == Waves::Linear {
            return inputs * self.weight.get().squeeze(1) + self.bias.get();
        }
        // A product for each number: [numbers, batch, inputs] times [numbers, inputs, dim].
        let rows = inputs.permute(&[1, 0, 2]).matmul(&self.weight.get()).permute(&[1, 0, 2]);
        (rows + self.bias.get()).relu()
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "NumericEmbedding",
        aliases: &["numeric_embedding"],
        peers: Peers::of("rtdl_num_embeddings.PeriodicEmbeddings", ""),
        doc: "A row of numbers for each number.",
        params: &[
            Param::required("dim", Kind::count(), "length of a row"),
            Param::with_default(
                "kind",
                Kind::Choice(&["periodic", "piecewise", "linear"]),
                Value::text("periodic"),
                "waves of learned frequencies, a place between fixed bins, or the number itself",
            ),
            Param::with_default(
                "bins",
                Kind::int(1, 1 << 16),
                Value::Int(24),
                "how many waves or bins there are for a number",
            ),
            Param::with_default(
                "scale",
                Kind::positive(),
                Value::Float(0.1),
                "deviation of the frequencies at the beginning",
            ),
        ],
    },
    takes_indices: false,
    samples: &[
        Sample::of("dim = 4, bins = 3, scale = 0.5", &[5]),
        Sample::of("dim = 4, kind = 'piecewise', bins = 6", &[5]),
        Sample::of("dim = 4, kind = 'linear'", &[5]),
    ],
    infer: |args, input| {
        let &[numbers] = input else {
            return Err(Misfit { needs: "[numbers]".into(), hint: String::new() });
        };
        let (waves, dim) = (of(args), args.usize("dim"));
        let width = waves.width();
        let frequencies = match waves {
            Waves::Periodic { bins, .. } => bins,
            _ => 0,
        };
        let products = product(&[numbers, width, dim]);
        let others = product(&[numbers, dim.saturating_add(frequencies)]);
        let inner = product(&[numbers, width]);
        Ok(Effect {
            parameters: products.saturating_add(others),
            kept: inner.saturating_add(product(&[numbers, dim])),
            ..Effect::cheap([numbers, dim], products, 2)
        })
    },
    make: |args, input, params| {
        Box::new(NumericEmbedding::new(params, input[0], args.usize("dim"), of(args)))
    },
};

fn of(args: &nerve_formats::spec::Args) -> Waves {
    let bins = args.usize("bins");
    match args.text("kind") {
        "linear" => Waves::Linear,
        "piecewise" => Waves::Piecewise { bins },
        _ => Waves::Periodic { bins, scale: args.float("scale") },
    }
}
