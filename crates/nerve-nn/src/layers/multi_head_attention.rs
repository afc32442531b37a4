use super::{BIAS, Effect, Entry, Layer, Linear, Misfit, Sample};
use crate::context::Context;
use crate::dims::product;
use crate::init::{FanScaled, Initializer, Uniform, Zeros};
use crate::layers::Dropout;
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Each element of a sequence looks at all elements of another (or of its own), and takes from
/// those that fit it.
///
/// From each element three vectors are made by a linear layer: a *query*, what it looks for; a
/// *key*, what it offers; and a *value*, what it gives. How well a query fits a key is their
/// product; a softmax over all keys turns the fits into shares; and the result for the query is the
/// mean of the values with these shares: `softmax(q kᵀ / √depth) v`. That is done in several
/// *heads*, each with its own slice of the vectors, so that one element can look at several others
/// for different reasons. Another linear layer mixes what the heads have found.
///
/// Vaswani et al., "Attention is all you need", 2017.
///
/// Input `[batch, time, features]`, output the same. Parameters are called as in PyTorch:
/// `in_proj_weight` makes queries, keys and values, one below the other.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, Params, layers::MultiHeadAttention};
/// let attention = MultiHeadAttention::new(&Params::new(42).at("attention"), 64, 4);
/// let (x, cx) = (Tensor::ones([2, 10, 64]), Context::eval());
/// assert_eq!(**attention.forward(&x, &cx).shape(), [2, 10, 64]);
/// // Ten elements look at a memory of seven, the last two of which are padding.
/// let memory = Tensor::ones([2, 7, 64]);
/// let padding = Tensor::iota([2, 7], 1).ge(5);
/// let mask = MultiHeadAttention::padding_mask(&padding);
/// let y = attention.attend(&x, &memory, &memory, Some(&mask), &cx);
/// assert_eq!(**y.shape(), [2, 10, 64]);
/// ```
pub struct MultiHeadAttention {
    /// `[3 · features, features]`: the rows that make queries, then keys, then values.
    pub in_proj_weight: Var,
    /// `[3 · features]`.
    pub in_proj_bias: Option<Var>,
    /// From the results of the heads, side by side, to the output.
    pub out_proj: Linear,
    /// How many heads; each has features / heads of the values.
    pub heads: usize,
    /// Whether an element looks only at itself and what is before it.
    pub causal: bool,
    /// The share of connections that is cut while training. With any, the shares of attention are
    /// stored (quadratic in the length of the sequence) and the products are operations of their own.
    pub dropout: f64,
}

impl MultiHeadAttention {
    /// With biases, all elements visible, no dropout; values as in PyTorch.
    ///
    /// # Panics
    /// If `features` is no multiple of `heads`.
    #[track_caller]
    pub fn new(params: &Params, features: usize, heads: usize) -> MultiHeadAttention {
        MultiHeadAttention::with_bias(params, features, heads, true)
    }

    /// With or without biases.
    ///
    /// # Panics
    /// If `features` is no multiple of `heads`.
    #[track_caller]
    pub fn with_bias(
        params: &Params,
        features: usize,
        heads: usize,
        bias: bool,
    ) -> MultiHeadAttention {
        assert!(
            heads > 0 && features.is_multiple_of(heads),
            "MultiHeadAttention: {features} features do not divide into {heads} heads"
        );
        let zeros: Option<&dyn Initializer> = if bias { Some(&Zeros) } else { None };
        let weight =
            params.var("in_proj_weight", [3 * features, features], &FanScaled::GLOROT_UNIFORM);
        MultiHeadAttention {
            in_proj_weight: weight,
            in_proj_bias: zeros.map(|init| params.var("in_proj_bias", [3 * features], init)),
            out_proj: Linear::with_init(
                &params.at("out_proj"),
                features,
                features,
                &Uniform::fan_in(features),
                zeros,
            ),
            heads,
            causal: false,
            dropout: 0.0,
        }
    }

    /// The mask for sequences that are filled up: `padding` is true where a key is no real element,
    /// `[batch, keys]`.
    #[track_caller]
    pub fn padding_mask(padding: &Tensor) -> Tensor {
        let &[batch, keys] = &padding.shape()[..] else {
            panic!("padding_mask: expected [batch, keys], found {}", padding.shape())
        };
        padding.logical_not().reshape([batch, 1, 1, keys])
    }

    /// A sequence looks at itself. The mask is as in [`attend`](MultiHeadAttention::attend).
    ///
    /// # Panics
    /// If a shape does not fit.
    #[track_caller]
    pub fn attend_itself(&self, x: &Tensor, mask: Option<&Tensor>, cx: &Context) -> Tensor {
        let features = self.features_of("the sequence", x);
        // One product makes all three, which are then read where they lie.
        let all = self.project(x, 0, 3);
        let [q, k, v] = [0, 1, 2].map(|i| all.slice(2, i * features, (i + 1) * features));
        self.heads(&q, &k, &v, mask, cx)
    }

    /// `query` looks at `key` and takes from `value`: `[batch, time, features]` each, the last two
    /// of one length.
    ///
    /// The mask, if any, broadcasts to `[batch, heads, queries, keys]`: true where a query may look,
    /// or numbers that are added to the fits.
    ///
    /// # Panics
    /// If a shape does not fit.
    #[track_caller]
    pub fn attend(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        mask: Option<&Tensor>,
        cx: &Context,
    ) -> Tensor {
        for (what, x) in [("the query", query), ("the key", key), ("the value", value)] {
            self.features_of(what, x);
        }
        let [q, k, v] = [(query, 0), (key, 1), (value, 2)].map(|(x, i)| self.project(x, i, 1));
        self.heads(&q, &k, &v, mask, cx)
    }

    #[track_caller]
    fn features_of(&self, what: &str, x: &Tensor) -> usize {
        let features = self.in_proj_weight.shape()[1];
        assert!(
            x.rank() == 3 && x.shape()[2] == features,
            "MultiHeadAttention: {what} is [batch, time, {features}], found {}",
            x.shape()
        );
        features
    }

    /// `x` through `count` thirds of the weight, from number `first` on.
    fn project(&self, x: &Tensor, first: usize, count: usize) -> Tensor {
        let features = self.in_proj_weight.shape()[1];
        let rows = |t: Tensor| t.slice(0, first * features, (first + count) * features);
        let y = x.matmul(&rows(self.in_proj_weight.get()).t());
        match &self.in_proj_bias {
            Some(bias) => y + rows(bias.get()),
            None => y,
        }
    }

    /// Attention in each head, and the mixture of what they found.
    fn heads(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        mask: Option<&Tensor>,
        cx: &Context,
    ) -> Tensor {
        let (batch, time, features) = (q.shape()[0], q.shape()[1], q.shape()[2]);
        // [batch, time, heads · depth] as [batch, heads, time, depth]
        let split = |x: &Tensor| {
            let depth = features / self.heads;
            x.reshape([batch, x.shape()[1], self.heads, depth]).permute(&[0, 2, 1, 3])
        };
        let [q, k, v] = [q, k, v].map(split);
        let y = match self.dropout > 0.0 && cx.is_training() {
            false => q.scaled_dot_product_attention(&k, &v, mask, self.causal, None),
            true => self.with_dropout(&q, &k, &v, mask, cx),
        };
        let y = y.permute(&[0, 2, 1, 3]).reshape([batch, time, features]);
        self.out_proj.forward(&y, cx)
    }

    /// The same step by step, with some of the shares set to zero.
    fn with_dropout(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        mask: Option<&Tensor>,
        cx: &Context,
    ) -> Tensor {
        let depth = q.shape()[3] as f64;
        let mut fits = q.matmul(&k.t()) * depth.sqrt().recip();
        if self.causal {
            let (query, key) = (Tensor::iota(fits.shape(), 2), Tensor::iota(fits.shape(), 3));
            fits = key.le(&query).select(&fits, &fits.full_like(f64::NEG_INFINITY));
        }
        if let Some(mask) = mask {
            fits = fits + Tensor::attention_bias(mask, q.dtype());
        }
        Dropout::new(self.dropout).forward(&fits.softmax(-1), cx).matmul(v)
    }
}

impl Layer for MultiHeadAttention {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.attend_itself(x, key_mask(x, cx).as_ref(), cx)
    }
}

/// The mask of attention to the steps of `x` that exist.
pub(super) fn key_mask(x: &Tensor, cx: &Context) -> Option<Tensor> {
    cx.mask(x).map(|mask| mask.reshape([x.shape()[0], 1, 1, x.shape()[1]]))
}

/// Length and features of a sequence whose features divide into `heads` heads.
pub(super) fn sequence(input: &[usize], heads: usize) -> Result<[usize; 2], Misfit> {
    let &[time, features] = input else {
        return Err(Misfit {
            needs: "[time, features]".into(),
            hint: "put an Embedding before it".into(),
        });
    };
    match features > 0 && features.is_multiple_of(heads) {
        true => Ok([time, features]),
        false => Err(Misfit {
            needs: format!("features that divide into {heads} heads"),
            hint: format!("there are {features}"),
        }),
    }
}

/// What attention of a sequence to itself does.
pub(super) fn effect([time, features]: [usize; 2], bias: bool) -> Effect {
    let (n, d) = (time as u128, features as u128);
    let bias = if bias { 4 * d } else { 0 };
    let products = n.saturating_mul(d).saturating_mul(8 * d + 4 * n);
    Effect {
        shape: [time, features].into(),
        parameters: (4 * d).saturating_mul(d).saturating_add(bias),
        state: 0,
        flops: products,
        kept: product(&[time, features]).saturating_mul(5),
    }
}

pub(super) const HEADS: Param =
    Param::required("heads", Kind::count(), "how many heads; they share the features")
        .alias(&["num_heads", "nhead"]);

pub(super) const CAUSAL: Param = Param::with_default(
    "causal",
    Kind::Bool,
    Value::Bool(false),
    "whether an element sees only what is before it",
);

pub(super) const DROPOUT: Param = Param::with_default(
    "dropout",
    Kind::fraction(),
    Value::Float(0.0),
    "the share that is set to zero while training",
);

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "MultiHeadAttention",
        aliases: &["MultiheadAttention", "multi_head_attention"],
        peers: Peers::of("nn.MultiheadAttention", "layers.MultiHeadAttention"),
        doc: "Each element of a sequence takes from the elements that fit it.",
        params: &[HEADS, BIAS, CAUSAL, DROPOUT],
    },
    takes_indices: false,
    samples: &[
        Sample::of("heads = 2", &[5, 6]),
        Sample::of("num_heads = 3, bias = false, causal = true, dropout = 0.25", &[4, 6]),
    ],
    infer: |args, input| Ok(effect(sequence(input, args.usize("heads"))?, args.bool("bias"))),
    make: |args, input, params| {
        let heads = args.usize("heads");
        let layer = MultiHeadAttention::with_bias(params, input[1], heads, args.bool("bias"));
        let (causal, dropout) = (args.bool("causal"), args.float("dropout"));
        Box::new(MultiHeadAttention { causal, dropout, ..layer })
    },
};
