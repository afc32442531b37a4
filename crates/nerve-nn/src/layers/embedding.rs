use super::{Effect, Entry, Layer, Misfit, Sample};
use crate::context::Context;
use crate::dims::product;
use crate::init::{self, Draw, Initializer, Normal};
use crate::params::Params;
use nerve_core::{Shape, Tensor, Var};
use nerve_formats::spec::{Kind, Param, Peers, Spec};

/// A learned row of numbers for each index: a table that is looked up.
///
/// Bengio et al., "A neural probabilistic language model", 2003.
///
/// Input i32 `[batch, …]`, each from 0 to rows − 1; output `[batch, …, dim]`.
///
/// With a [padding index](Embedding::padding) that index stands for nothing: its row begins as
/// zeros and is not learned (as PyTorch's `padding_idx`), and of an input `[batch, time]` the
/// output's mask ([`Context`]) denies these steps (as with Keras's `mask_zero`, which is padding index
/// 0), so that recurrence, attention and pooling pass over them.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, Params, layers::Embedding};
/// let words = Embedding::new(&Params::new(42).at("words"), 1000, 16);
/// let sentence = Tensor::from_slice(&[3i32, 14, 159], [1, 3]);
/// assert_eq!(**words.forward(&sentence, &Context::eval()).shape(), [1, 3, 16]);
/// ```
pub struct Embedding {
    /// `[rows, dim]`.
    pub weight: Var,
    /// The index that stands for nothing.
    pub padding: Option<usize>,
}

/// Another initialiser, but for one row of zeros.
#[derive(Debug)]
struct ZeroRow<'a> {
    others: &'a dyn Initializer,
    row: usize,
}

impl Initializer for ZeroRow<'_> {
    fn tensor(&self, shape: &Shape, draw: &Draw) -> Tensor {
        let values = self.others.tensor(shape, draw);
        Tensor::iota([shape[0], 1], 0).eq(self.row as f64).select(&values.zeros_like(), &values)
    }
}

impl Embedding {
    /// With normal values of deviation 1, as in PyTorch.
    #[track_caller]
    pub fn new(params: &Params, rows: usize, dim: usize) -> Embedding {
        Embedding::with_init(params, rows, dim, &Normal { mean: 0.0, std: 1.0 })
    }

    /// With values from an initialiser.
    #[track_caller]
    pub fn with_init(
        params: &Params,
        rows: usize,
        dim: usize,
        init: &dyn Initializer,
    ) -> Embedding {
        Embedding { weight: params.var("weight", [rows, dim], init), padding: None }
    }

    /// With an index that stands for nothing.
    ///
    /// # Panics
    /// If there is no such row.
    #[track_caller]
    pub fn with_padding(
        params: &Params,
        rows: usize,
        dim: usize,
        init: &dyn Initializer,
        padding: usize,
    ) -> Embedding {
        assert!(padding < rows, "Embedding: padding index {padding} of {rows} rows");
        let init = ZeroRow { others: init, row: padding };
        Embedding { padding: Some(padding), ..Embedding::with_init(params, rows, dim, &init) }
    }
}

impl Layer for Embedding {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let rows = self.weight.get().index_select(0, x);
        let Some(padding) = self.padding else { return rows };
        let real = x.ne(padding as f64);
        let y = real.unsqueeze(x.rank()).select(&rows, &rows.detach());
        if x.rank() == 2 {
            cx.set_mask(&y, &real);
        }
        y
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "Embedding",
        aliases: &[],
        peers: Peers::of("nn.Embedding", "layers.Embedding"),
        doc: "A learned row for each number.",
        params: &[
            Param::required("rows", Kind::count(), "how many different numbers there are")
                .alias(&["input_dim", "num_embeddings"]),
            Param::required("dim", Kind::count(), "length of a row")
                .alias(&["output_dim", "embedding_dim"]),
            Param::optional("init", init::KIND, "how the rows begin; without it normal")
                .alias(&["weight_init", "embeddings_initializer"]),
            Param::optional(
                "padding_index",
                Kind::int(0, 1 << 40),
                "the number that stands for nothing: it is masked and not learned",
            )
            .alias(&["padding_idx"]),
        ],
    },
    takes_indices: true,
    samples: &[
        Sample::of("rows = 7, dim = 4", &[3]),
        Sample::of("input_dim = 7, output_dim = 2, init = 'uniform'", &[]),
        Sample::of("rows = 7, dim = 4, padding_idx = 1", &[3]),
    ],
    infer: |args, input| {
        let (rows, dim) = (args.usize("rows"), args.usize("dim"));
        if args.has("padding_index") && args.usize("padding_index") >= rows {
            return Err(Misfit {
                needs: format!("a padding_index below rows = {rows}"),
                hint: format!("it is {}", args.usize("padding_index")),
            });
        }
        let shape = [input, &[dim]].concat();
        let parameters = product(&[rows, dim]);
        Ok(Effect { parameters, ..Effect::cheap(shape, 0, 0) })
    },
    make: |args, _, params| {
        let (rows, dim) = (args.usize("rows"), args.usize("dim"));
        let init: Box<dyn Initializer> = match args.has("init") {
            true => init::build(args.item("init")),
            false => Box::new(Normal { mean: 0.0, std: 1.0 }),
        };
        Box::new(match args.has("padding_index") {
            true => Embedding::with_padding(params, rows, dim, &*init, args.usize("padding_index")),
            false => Embedding::with_init(params, rows, dim, &*init),
        })
    },
};
