use super::{Effect, Entry, Layer, Sample};
use crate::context::Context;
use crate::dims::product;
use crate::init::{self, Initializer, Normal};
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Kind, Param, Peers, Spec};

/// A learned row of numbers for each index: a table that is looked up.
///
/// Bengio et al., "A neural probabilistic language model", 2003.
///
/// Input i32 `[batch, …]`, each from 0 to rows − 1; output `[batch, …, dim]`.
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
        Embedding { weight: params.var("weight", [rows, dim], init) }
    }
}

impl Layer for Embedding {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        self.weight.get().index_select(0, x)
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
        ],
    },
    takes_indices: true,
    samples: &[
        Sample::of("rows = 7, dim = 4", &[3]),
        Sample::of("input_dim = 7, output_dim = 2, init = 'uniform'", &[]),
    ],
    infer: |args, input| {
        let (rows, dim) = (args.usize("rows"), args.usize("dim"));
        let shape = [input, &[dim]].concat();
        let parameters = product(&[rows, dim]);
        Ok(Effect { parameters, ..Effect::cheap(shape, 0, 0) })
    },
    make: |args, _, params| {
        let (rows, dim) = (args.usize("rows"), args.usize("dim"));
        Box::new(match args.has("init") {
            true => Embedding::with_init(params, rows, dim, &*init::build(args.item("init"))),
            false => Embedding::new(params, rows, dim),
        })
    },
};
