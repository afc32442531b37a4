use super::{Effect, Entry, Layer, Sample};
use crate::context::Context;
use crate::dims::product;
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec};

/// While training, sets each value to zero with probability `rate` and scales the others by
/// 1 / (1 − `rate`), so that the expectation stays; else does nothing.
///
/// Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
///
/// The mask is a function of seed, step and position. It is drawn once and kept for the backward
/// pass, a byte an element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The share that is set to zero, from 0 up to but not including 1.
    pub rate: f64,
}

impl Dropout {
    /// Sets this share to zero.
    ///
    /// # Panics
    /// If `rate` is not in [0, 1).
    #[track_caller]
    pub fn new(rate: f64) -> Dropout {
        assert!((0.0..1.0).contains(&rate), "Dropout: the rate is from 0 to below 1, found {rate}");
        Dropout { rate }
    }
}

impl Layer for Dropout {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        if !cx.is_training() || self.rate == 0.0 {
            return x.clone();
        }
        let keep = 1.0 - self.rate;
        cx.bernoulli(x.shape(), keep).select(&(x * (1.0 / keep)), &x.zeros_like())
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "Dropout",
        aliases: &[],
        peers: Peers::of("nn.Dropout", "layers.Dropout"),
        doc: "While training, sets a random share of the values to zero.",
        params: &[Param::required("rate", Kind::fraction(), "the share").alias(&["p"])],
    },
    takes_indices: false,
    samples: &[Sample::of("rate = 0.5", &[30])],
    infer: |_, input| Ok(Effect::cheap(input, product(input), 2)),
    make: |args, _, _| Box::new(Dropout { rate: args.float("rate") }),
};
