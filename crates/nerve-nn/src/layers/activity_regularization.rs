use super::{Effect, Entry, Layer, Sample};
use crate::context::Context;
use crate::dims::product;
use crate::regularize::{L1L2, Regularizer};
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Leaves what it gets as it is, and adds a penalty on it to the loss: λ₁ Σ|x| + λ₂ Σx², for each
/// example.
///
/// Few values are then far from zero at a time: a sparse code. Ng, "Sparse autoencoder", 2011. The
/// penalty is divided by the number of examples, as in Keras. It goes into the loss that the trainer
/// minimises by way of [`Context::penalize`]; the loss that is reported stays that of the data.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::ActivityRegularization};
/// let layer = ActivityRegularization { l1: 0.5, l2: 0.0 };
/// let cx = Context::train(&Tensor::random_key(1, 1));
/// layer.forward(&Tensor::ones([2, 3]), &cx);
/// let loss = Tensor::scalar(1.0f32);
/// assert_eq!(cx.penalized(&loss).item::<f32>(), 1.0 + 0.5 * 3.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivityRegularization {
    /// λ₁.
    pub l1: f64,
    /// λ₂.
    pub l2: f64,
}

impl Layer for ActivityRegularization {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        if cx.is_training() && (self.l1 != 0.0 || self.l2 != 0.0) {
            let examples = x.shape().first().copied().unwrap_or(1).max(1);
            let penalty = L1L2 { l1: self.l1, l2: self.l2 }.penalty(x);
            cx.penalize(&(penalty * (1.0 / examples as f64)));
        }
        x.clone()
    }
}

const WEIGHT: Kind = Kind::non_negative();

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "ActivityRegularization",
        aliases: &["activity_regularization"],
        peers: Peers::of("", "layers.ActivityRegularization"),
        doc: "Leaves its input as it is, and adds a penalty on its size to the loss.",
        params: &[
            Param::with_default("l1", WEIGHT, Value::Float(0.0), "of the sum of sizes"),
            Param::with_default("l2", WEIGHT, Value::Float(0.0), "of the sum of squares"),
        ],
    },
    takes_indices: false,
    samples: &[Sample::of("l1 = 0.1, l2 = 0.01", &[3, 4])],
    infer: |_, input| Ok(Effect::cheap(input, product(input), 2)),
    make: |args, _, _| {
        Box::new(ActivityRegularization { l1: args.float("l1"), l2: args.float("l2") })
    },
};
