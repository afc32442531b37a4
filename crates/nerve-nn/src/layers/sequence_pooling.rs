use super::{Effect, Entry, Layer, Sample, steps};
use crate::context::Context;
use crate::dims::product;
use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// One row of features for a whole sequence: the mean, the largest, the sum, the first or the last
/// of its steps. Steps that a mask denies ([`Context`]) do not count; of a sequence without steps the
/// result is zero.
///
/// Input `[batch, time, features]`, output `[batch, features]`. PyTorch's pools and those of
/// images have the features before the time; Keras's `GlobalAveragePooling1D` and
/// `GlobalMaxPooling1D` are the mean and the largest here.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::SequencePooling};
/// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 9.0], [1, 4, 1]);
/// let cx = Context::eval();
/// cx.set_mask(&x, &x.squeeze(2).lt(5.0));
/// assert_eq!(SequencePooling::Mean.forward(&x, &cx).to_vec::<f32>(), [2.0]);
/// assert_eq!(SequencePooling::Last.forward(&x, &cx).to_vec::<f32>(), [3.0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SequencePooling {
    /// The mean of the steps.
    #[default]
    Mean,
    /// The largest of each feature.
    Max,
    /// The sum of the steps.
    Sum,
    /// The first step, as of a class token.
    First,
    /// The last step.
    Last,
}

impl SequencePooling {
    fn all(self, x: &Tensor) -> Tensor {
        let time = x.shape()[1];
        match self {
            SequencePooling::Mean => x.mean_axes(&[1], false),
            SequencePooling::Max => x.max_axes(&[1], false),
            SequencePooling::Sum => x.sum_axes(&[1], false),
            SequencePooling::First => x.slice(1, 0, 1).squeeze(1),
            SequencePooling::Last => x.slice(1, time - 1, time).squeeze(1),
        }
    }

    fn masked(self, x: &Tensor, mask: &Tensor) -> Tensor {
        let (exists, zero) = (mask.unsqueeze(2), x.zeros_like());
        let count = mask.to_dtype(x.dtype()).sum_axes(&[1], true);
        let sum = |chosen: &Tensor| chosen.select(x, &zero).sum_axes(&[1], false);
        // The number of each step that exists, from its end: 1 is the one.
        let nth = |reverse| mask.to_dtype(DType::I32).cumsum_general(1, false, reverse);
        let one = |reverse| mask.logical_and(nth(reverse).eq(1.0)).unsqueeze(2);
        match self {
            SequencePooling::Mean => sum(&exists) / count.maximum(1.0),
            SequencePooling::Sum => sum(&exists),
            SequencePooling::Max => {
                let low = x.full_like(f64::NEG_INFINITY);
                let top = exists.select(x, &low).max_axes(&[1], false);
                count.gt(0.0).select(&top, &top.zeros_like())
            }
            SequencePooling::First => sum(&one(false)),
            SequencePooling::Last => sum(&one(true)),
        }
    }
}

impl Layer for SequencePooling {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        assert!(
            x.rank() == 3 && x.shape()[1] > 0,
            "SequencePooling: expected [batch, time, features], found {}",
            x.shape()
        );
        match cx.mask(x) {
            None => self.all(x),
            Some(mask) => self.masked(x, &mask),
        }
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "SequencePooling",
        aliases: &["sequence_pooling"],
        peers: Peers::of("", "layers.GlobalAveragePooling1D"),
        doc: "One row of features for a sequence; masked steps do not count.",
        params: &[Param::with_default(
            "kind",
            Kind::Choice(&["mean", "max", "sum", "first", "last"]),
            Value::text("mean"),
            "what is taken of the steps",
        )],
    },
    takes_indices: false,
    samples: &[
        Sample::of("", &[4, 3]),
        Sample::of("kind = 'max'", &[4, 3]),
        Sample::of("kind = 'sum'", &[4, 3]),
        Sample::of("kind = 'first'", &[4, 3]),
        Sample::of("kind = 'last'", &[4, 3]),
    ],
    infer: |_, input| {
        let [_, features] = steps(input)?;
        Ok(Effect::cheap([features], product(input), 1))
    },
    make: |args, _, _| {
        Box::new(match args.text("kind") {
            "max" => SequencePooling::Max,
            "sum" => SequencePooling::Sum,
            "first" => SequencePooling::First,
            "last" => SequencePooling::Last,
            _ => SequencePooling::Mean,
        })
    },
};
