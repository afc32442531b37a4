use super::{Effect, Entry, Layer, Sample, steps};
use crate::context::Context;
use crate::dims::product;
use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Masks the steps of a sequence all of whose features have one value: those that fill up short
/// sequences. What mask it makes others read, see [`Context`].
///
/// Input `[batch, time, features]`; output the same, zero where it is masked.
///
/// ```
/// use nerve_core::{DType, Tensor};
/// use nerve_nn::{Context, Layer, layers::Masking};
/// let x = Tensor::from_slice(&[1.0f32, -1.0, 0.0, -1.0, -1.0, -1.0], [1, 3, 2]);
/// let cx = Context::eval();
/// let y = Masking { value: -1.0 }.forward(&x, &cx);
/// assert_eq!(y.to_vec::<f32>(), [1.0, -1.0, 0.0, -1.0, 0.0, 0.0]);
/// assert_eq!(cx.mask(&y).unwrap().to_dtype(DType::I32).to_vec::<i32>(), [1, 1, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Masking {
    /// What fills up.
    pub value: f64,
}

impl Layer for Masking {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        assert!(x.rank() == 3, "Masking: expected [batch, time, features], found {}", x.shape());
        let real = x.ne(self.value).to_dtype(DType::I32).max_axes(&[2], false).gt(0);
        let y = real.unsqueeze(2).select(x, &x.zeros_like());
        cx.set_mask(&y, &real);
        y
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "Masking",
        aliases: &["masking"],
        peers: Peers::of("", "layers.Masking"),
        doc: "Masks the steps all of whose features have one value.",
        params: &[Param::with_default(
            "value",
            Kind::number(),
            Value::Float(0.0),
            "what fills up short sequences",
        )
        .alias(&["mask_value"])],
    },
    takes_indices: false,
    samples: &[Sample::of("", &[4, 3]), Sample::of("mask_value = -1.0", &[4, 3])],
    infer: |_, input| steps(input).map(|_| Effect::cheap(input, product(input), 2)),
    make: |args, _, _| Box::new(Masking { value: args.float("value") }),
};
