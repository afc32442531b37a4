use super::{Dropout, Effect, Entry, Layer, Linear, Misfit, Sample};
use crate::activations::{self, Relu};
use crate::context::Context;
use crate::dims::product;
use crate::params::Params;
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// Two linear layers with a function between them, for each element of a sequence on its own; the
/// second half of a transformer's layer.
///
/// ```text
/// plain:  linear2(activation(linear1(x)))
/// gated:  linear2(activation(linear1(x)) · linear_gate(x))
/// ```
///
/// The gated ones are named after the function: GLU (sigmoid), ReGLU, GEGLU, SwiGLU (SiLU). They
/// have half as many parameters again, so two thirds of the units cost the same.
///
/// Vaswani et al., "Attention is all you need", 2017, section 3.3; Shazeer, "GLU variants improve
/// transformer", 2020.
///
/// Input `[batch, …, features]`, output the same. Parameters: `linear1`, `linear2`, `linear_gate`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, Params, activations::Silu, layers::FeedForward};
/// let swiglu = FeedForward {
///     activation: Box::new(Silu),
///     ..FeedForward::new(&Params::new(42), 16, 40, true, 0.0)
/// };
/// assert_eq!(**swiglu.forward(&Tensor::ones([2, 3, 16]), &Context::eval()).shape(), [2, 3, 16]);
/// ```
pub struct FeedForward {
    /// To the units between.
    pub linear1: Linear,
    /// What the units are multiplied with.
    pub linear_gate: Option<Linear>,
    /// Back.
    pub linear2: Linear,
    /// The function between; ReLU unless set.
    pub activation: Box<dyn Layer>,
    /// Of the units.
    pub dropout: Dropout,
}

impl FeedForward {
    /// With ReLU.
    ///
    /// # Panics
    /// If the dropout is not in [0, 1).
    #[track_caller]
    pub fn new(
        params: &Params,
        features: usize,
        units: usize,
        gated: bool,
        dropout: f64,
    ) -> FeedForward {
        let linear = |name, from, to| Linear::new(&params.at(name), from, to);
        FeedForward {
            linear1: linear("linear1", features, units),
            linear2: linear("linear2", units, features),
            linear_gate: gated.then(|| linear("linear_gate", features, units)),
            activation: Box::new(Relu),
            dropout: Dropout::new(dropout),
        }
    }
}

impl Layer for FeedForward {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let mut hidden = self.activation.forward(&self.linear1.forward(x, cx), cx);
        if let Some(gate) = &self.linear_gate {
            hidden = hidden * gate.forward(x, cx);
        }
        self.linear2.forward(&self.dropout.forward(&hidden, cx), cx)
    }
}

/// Parameters and operations of `units`, gated or not, for `elements` elements.
pub(crate) fn effect((units, gated): (usize, bool), elements: u128, features: usize) -> Effect {
    let linears = if gated { 3 } else { 2 };
    let weights = product(&[linears, units, features]);
    let kept = elements.saturating_mul(product(&[linears, units]));
    let biases = product(&[linears - 1, units]).saturating_add(features as u128);
    Effect {
        parameters: weights.saturating_add(biases),
        flops: elements.saturating_mul(2).saturating_mul(weights),
        kept,
        ..Effect::cheap([0], 0, 0)
    }
}

/// Units, and whether they are gated.
pub(super) fn sizes(args: &Args) -> (usize, bool) {
    (args.usize("feed_forward"), args.bool("gated"))
}

/// Sets the activation that the arguments name.
pub(super) fn activate(layer: &mut FeedForward, args: &Args) {
    layer.activation = activations::build(args.item("activation"))
        .unwrap_or_else(|| Box::new(activations::Identity));
}

pub(super) const UNITS: Param =
    Param::required("feed_forward", Kind::count(), "units between the two linear layers")
        .alias(&["dim_feedforward", "intermediate_dim"]);
pub(super) const ACTIVATION: Param = Param::with_default(
    "activation",
    activations::KIND,
    Value::text("relu"),
    "the function between the two linear layers",
);
pub(crate) const GATED: Param = Param::with_default(
    "gated",
    Kind::Bool,
    Value::Bool(false),
    "whether the units are multiplied with those of a third linear layer (with silu: SwiGLU)",
);

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "FeedForward",
        aliases: &["feed_forward"],
        peers: Peers::NONE,
        doc: "Two linear layers with a function between them, plain or gated.",
        params: &[UNITS, ACTIVATION, GATED, super::multi_head_attention::DROPOUT],
    },
    takes_indices: false,
    samples: &[
        Sample::of("feed_forward = 5, dropout = 0.1", &[3, 4]),
        Sample::of("feed_forward = 5, activation = 'silu', gated = true", &[4]),
    ],
    infer: |args, input| {
        let &features = input.last().ok_or_else(|| Misfit {
            needs: "[…, features]".into(),
            hint: "it gets single numbers".into(),
        })?;
        let elements = product(&input[..input.len() - 1]);
        Ok(Effect { shape: input.into(), ..effect(sizes(args), elements, features) })
    },
    make: |args, input, params| {
        let (features, units) = (input[input.len() - 1], args.usize("feed_forward"));
        let (gated, dropout) = (args.bool("gated"), args.float("dropout"));
        let mut layer = FeedForward::new(params, features, units, gated, dropout);
        activate(&mut layer, args);
        Box::new(layer)
    },
};
