use super::{EPS, Effect, Entry, Layer, Misfit, Sample};
use crate::context::Context;
use crate::dims::product;
use crate::init::{Ones, Zeros};
use crate::params::Params;
use nerve_core::{Shape, Tensor, Var};
use nerve_formats::spec::{Peers, Spec};

/// Gives the last axes of each example mean 0 and variance 1, then a learned scale and shift:
/// y = (x − mean) / √(variance + eps) · weight + bias. The variance is over n.
///
/// Ba, Kiros & Hinton, "Layer normalization", 2016.
///
/// Input `[batch, …, normalized shape]`, output the same.
pub struct LayerNorm {
    /// The scale, of the normalized shape.
    pub weight: Var,
    /// The shift, of the normalized shape.
    pub bias: Var,
    /// Added to the variance.
    pub eps: f64,
}

impl LayerNorm {
    /// Over the last axes, whose extents are `normalized`, with `eps` 1e-5.
    ///
    /// # Panics
    /// If there is no axis.
    #[track_caller]
    pub fn new(params: &Params, normalized: impl Into<Shape>) -> LayerNorm {
        let normalized = normalized.into();
        assert!(normalized.rank() > 0, "LayerNorm: needs the extent of at least one axis");
        LayerNorm {
            weight: params.var("weight", &normalized, &Ones),
            bias: params.var("bias", &normalized, &Zeros),
            eps: 1e-5,
        }
    }
}

impl Layer for LayerNorm {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let normalized = self.weight.shape();
        assert!(
            x.shape().ends_with(normalized),
            "LayerNorm: expected last axes {normalized}, found {}",
            x.shape()
        );
        x.layer_norm(&self.weight.get(), &self.bias.get(), self.eps)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "LayerNorm",
        aliases: &["LayerNormalization"],
        peers: Peers::of("nn.LayerNorm", "layers.LayerNormalization"),
        doc: "Mean 0 and deviation 1 over the last axis, then a scale and a shift.",
        params: &[EPS],
    },
    takes_indices: false,
    samples: &[Sample::of("", &[3, 8])],
    infer: |_, input| {
        let &last = input.last().ok_or_else(|| Misfit {
            needs: "[…, features]".into(),
            hint: "it gets single numbers".into(),
        })?;
        let parameters = 2 * last as u128;
        Ok(Effect { parameters, ..Effect::cheap(input, product(input), 8) })
    },
    make: |args, input, params| {
        let eps = args.float("eps");
        Box::new(LayerNorm { eps, ..LayerNorm::new(params, [input[input.len() - 1]]) })
    },
};
