use super::{Effect, Entry, Layer, Misfit, Sample};
use crate::context::Context;
use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec};

/// For each index a row with a 1 in its place and 0 elsewhere.
///
/// Input i32 `[batch, …]`, each from 0 to rows − 1; output f32 `[batch, …, rows]`. With a padding
/// index the row of that index is all zeros, and of an input `[batch, time]` the output's mask
/// ([`Context`]) denies these steps.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::OneHot};
/// let layer = OneHot { rows: 3, padding: None };
/// let y = layer.forward(&Tensor::from_slice(&[2i32, 0], [2]), &Context::eval());
/// assert_eq!(y.to_vec::<f32>(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneHot {
    /// How many different indices there are.
    pub rows: usize,
    /// The index that stands for nothing.
    pub padding: Option<usize>,
}

impl Layer for OneHot {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let rank = x.rank();
        let shape = [&x.shape()[..], &[self.rows]].concat();
        let hit = Tensor::iota(shape, rank as isize).eq(x.to_dtype(DType::I32).unsqueeze(rank));
        let Some(padding) = self.padding else { return hit.to_dtype(DType::F32) };
        let real = x.ne(padding as f64);
        let y = hit.logical_and(real.unsqueeze(rank)).to_dtype(DType::F32);
        if rank == 2 {
            cx.set_mask(&y, &real);
        }
        y
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "OneHot",
        aliases: &["one_hot"],
        peers: Peers::of(
            "nn.functional.one_hot",
            "layers.CategoryEncoding(output_mode=\"one_hot\")",
        ),
        doc: "A row with a 1 in the place of the number.",
        params: &[
            Param::required("rows", Kind::count(), "how many different numbers there are")
                .alias(&["num_classes", "num_tokens"]),
            Param::optional(
                "padding_index",
                Kind::int(0, 1 << 40),
                "the number that stands for nothing: its row is zeros, and it is masked",
            )
            .alias(&["padding_idx"]),
        ],
    },
    takes_indices: true,
    samples: &[Sample::of("rows = 7", &[]), Sample::of("rows = 7, padding_index = 0", &[3])],
    infer: |args, input| {
        let rows = args.usize("rows");
        if args.has("padding_index") && args.usize("padding_index") >= rows {
            return Err(Misfit {
                needs: format!("a padding_index below rows = {rows}"),
                hint: format!("it is {}", args.usize("padding_index")),
            });
        }
        Ok(Effect::cheap([input, &[rows]].concat(), 0, 0))
    },
    make: |args, _, _| {
        let padding = args.has("padding_index").then(|| args.usize("padding_index"));
        Box::new(OneHot { rows: args.usize("rows"), padding })
    },
};
