use super::positions::{alibi, places};
use super::{BIAS, Dropout, Effect, Entry, Layer, Linear, Misfit, RotaryEmbedding, Sample};
use crate::context::Context;
use crate::dims::product;
use crate::init::{FanScaled, Initializer, Uniform, Zeros};
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use std::ops::Range;

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
/// Input `[batch, time, features]`, output the same; as a layer a sequence looks at itself, and steps
/// that its mask denies ([`Context`]) are not looked at. Parameters are called as in PyTorch:
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
    /// `[(heads + 2 · kv_heads) · depth, features]`, depth = features / heads: the rows that make
    /// queries, then keys, then values.
    pub in_proj_weight: Var,
    /// `[(heads + 2 · kv_heads) · depth]`.
    pub in_proj_bias: Option<Var>,
    /// From the results of the heads, side by side, to the output.
    pub out_proj: Linear,
    /// How many heads; each has features / heads of the queries.
    pub heads: usize,
    /// How many heads keys and values have: each serves as many heads of queries one after the
    /// other. Fewer of them make the cache of a decoder smaller. Ainslie et al., "GQA: training
    /// generalized multi-query transformer models", 2023. While more than one query asks, the
    /// others are copies.
    pub kv_heads: usize,
    /// Whether an element looks only at itself and what is before it.
    pub causal: bool,
    /// The share of connections that is cut while training. With any, the shares of attention are
    /// stored (quadratic in the length of the sequence) and the products are operations of their own.
    pub dropout: f64,
    /// How attention of a sequence to itself knows who stands where.
    pub position: AttentionPosition,
}

/// How attention of a sequence to itself knows who stands where.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum AttentionPosition {
    /// It does not: what says where an element stands has been added to it before.
    #[default]
    None,
    /// Queries and keys are turned by their place.
    Rotary(RotaryEmbedding),
    /// Scores fall with the distance: Press, Smith & Lewis, "Train short, test long", 2022. What is
    /// added to them is stored once for all examples, `[heads, queries, keys]`.
    Alibi,
}

/// How a [`MultiHeadAttention`] is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionOptions {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values; as many as of queries if not given.
    pub kv_heads: Option<usize>,
    /// Whether the linear layers have biases.
    pub bias: bool,
    /// Whether an element sees only itself and what is before it.
    pub causal: bool,
    /// The share of connections that is cut while training.
    pub dropout: f64,
    /// How it knows who stands where.
    pub position: AttentionPosition,
}

impl AttentionOptions {
    /// With biases, everything visible, no dropout, nothing said about places.
    pub fn new(heads: usize) -> AttentionOptions {
        let position = AttentionPosition::None;
        let (kv_heads, bias, causal, dropout) = (None, true, false, 0.0);
        AttentionOptions { heads, kv_heads, bias, causal, dropout, position }
    }
}

impl MultiHeadAttention {
    /// With biases, all elements visible, no dropout; values as in PyTorch.
    ///
    /// # Panics
    /// If `features` is no multiple of `heads`.
    #[track_caller]
    pub fn new(params: &Params, features: usize, heads: usize) -> MultiHeadAttention {
        MultiHeadAttention::with_options(params, features, AttentionOptions::new(heads))
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
        let options = AttentionOptions { bias, ..AttentionOptions::new(heads) };
        MultiHeadAttention::with_options(params, features, options)
    }

    /// As the options say.
    ///
    /// # Panics
    /// If `features` is no multiple of the heads, these none of those of keys and values, or heads
    /// that are to be turned have an odd depth.
    #[track_caller]
    pub fn with_options(
        params: &Params,
        features: usize,
        options: AttentionOptions,
    ) -> MultiHeadAttention {
        let AttentionOptions { heads, kv_heads, bias, causal, dropout, position } = options;
        let kv_heads = kv_heads.unwrap_or(heads);
        if let Err(misfit) = divides(features, heads, kv_heads, position) {
            panic!("MultiHeadAttention: {features} features: {misfit}");
        }
        let rows = (heads + 2 * kv_heads) * (features / heads);
        let zeros: Option<&dyn Initializer> = if bias { Some(&Zeros) } else { None };
        MultiHeadAttention {
            in_proj_weight: params.var(
                "in_proj_weight",
                [rows, features],
                &FanScaled::GLOROT_UNIFORM,
            ),
            in_proj_bias: zeros.map(|init| params.var("in_proj_bias", [rows], init)),
            out_proj: Linear::with_init(
                &params.at("out_proj"),
                features,
                features,
                &Uniform::fan_in(features),
                zeros,
            ),
            heads,
            kv_heads,
            causal,
            dropout,
            position,
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
        self.features_of("the sequence", x);
        // One product makes all three, which are then read where they lie.
        let mut parts = self.project(x, 0..3);
        if let AttentionPosition::Rotary(rotary) = self.position {
            parts[..2].iter_mut().for_each(|part| *part = rotary.forward(part, cx));
        }
        let mask = match self.position {
            AttentionPosition::Alibi => {
                let time = x.shape()[1];
                let bias = alibi(self.heads, &Tensor::arange(time), time, x.dtype());
                Some(mask.map_or(bias.clone(), |m| Tensor::attention_bias(m, x.dtype()) + bias))
            }
            _ => mask.cloned(),
        };
        self.mix(&parts[0], &parts[1], &parts[2], mask.as_ref(), self.causal, cx)
    }

    /// `query` looks at `key` and takes from `value`: `[batch, time, features]` each, the last two
    /// of one length.
    ///
    /// The mask, if any, broadcasts to `[batch, heads, queries, keys]`: true where a query may look,
    /// or numbers that are added to the fits.
    ///
    /// # Panics
    /// If a shape does not fit, or if it is to know places: those of two sequences have nothing to
    /// do with each other.
    #[track_caller]
    pub fn attend(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        mask: Option<&Tensor>,
        cx: &Context,
    ) -> Tensor {
        self.attend_prepared(query, &self.keys_values(key, value), mask, cx)
    }

    /// The keys and values that `key` and `value` `[batch, keys, features]` offer,
    /// `[batch, kv_heads, keys, depth]`, for [`attend_prepared`](Self::attend_prepared): those of a
    /// memory need be made only once for all words that look at it.
    ///
    /// # Panics
    /// If a shape does not fit.
    #[track_caller]
    pub fn keys_values(&self, key: &Tensor, value: &Tensor) -> [Tensor; 2] {
        self.features_of("the key", key);
        self.features_of("the value", value);
        [(key, 1), (value, 2)].map(|(x, i)| self.project(x, i..i + 1).remove(0))
    }

    /// `query` looks at keys and values that are made.
    ///
    /// # Panics
    /// As [`attend`](Self::attend).
    #[track_caller]
    pub fn attend_prepared(
        &self,
        query: &Tensor,
        [k, v]: &[Tensor; 2],
        mask: Option<&Tensor>,
        cx: &Context,
    ) -> Tensor {
        self.expect_no_places();
        self.features_of("the query", query);
        self.mix(&self.project(query, 0..1)[0], k, v, mask, self.causal, cx)
    }

    /// The next elements `x` `[batch, n, features]` of sequences look at themselves and all before
    /// them, whose keys and values are `cache`, `[batch, kv_heads, longest, depth]` each. They stand
    /// at the places from `at` on, i32 `[1]`. Gives the output and the cache with them in it.
    ///
    /// Equal to a causal [`attend_itself`](Self::attend_itself) of the whole. All of the cache is
    /// read and written at each step, however much of it is filled.
    ///
    /// # Panics
    /// If a shape does not fit.
    #[track_caller]
    pub fn attend_cached(
        &self,
        x: &Tensor,
        at: &Tensor,
        cache: &[Tensor; 2],
        cx: &Context,
    ) -> (Tensor, [Tensor; 2]) {
        self.features_of("the sequence", x);
        let (count, longest) = (x.shape()[1], cache[0].shape()[2]);
        let mut parts = self.project(x, 0..3);
        if let AttentionPosition::Rotary(rotary) = self.position {
            let turn = |part: &mut Tensor| *part = rotary.rotate_from(part, at, longest);
            parts[..2].iter_mut().for_each(turn);
        }
        let slot = Tensor::arange(longest) - at;
        let here = slot.ge(0).logical_and(slot.lt(count as f64)).reshape([longest, 1]);
        let place = |new: &Tensor, old: &Tensor| {
            let spread = match count {
                1 => new.clone(),
                _ => new.index_select(2, &slot.clamp(0.0, count as f64 - 1.0)),
            };
            here.select(&spread, old)
        };
        let cache = [place(&parts[1], &cache[0]), place(&parts[2], &cache[1])];
        let places = places(at, count);
        let seen = Tensor::arange(longest).le(places.reshape([count, 1]));
        let mut mask = Tensor::attention_bias(&seen, x.dtype());
        if self.position == AttentionPosition::Alibi {
            mask = mask + alibi(self.heads, &places, longest, x.dtype());
        }
        let y = self.mix(&parts[0], &cache[0], &cache[1], Some(&mask), false, cx);
        (y, cache)
    }

    /// An empty cache for [`attend_cached`](Self::attend_cached).
    pub fn empty_cache(&self, batch: usize, longest: usize) -> [Tensor; 2] {
        let depth = self.in_proj_weight.shape()[1] / self.heads;
        let shape = [batch, self.kv_heads, longest, depth];
        [0, 1].map(|_| Tensor::full(shape, 0.0, self.in_proj_weight.dtype()))
    }

    #[track_caller]
    fn features_of(&self, what: &str, x: &Tensor) {
        let features = self.in_proj_weight.shape()[1];
        assert!(
            x.rank() == 3 && x.shape()[2] == features,
            "MultiHeadAttention: {what} is [batch, time, {features}], found {}",
            x.shape()
        );
    }

    /// `x` `[batch, time, features]` as some of queries, keys and values,
    /// `[batch, heads, time, depth]`.
    fn project(&self, x: &Tensor, wanted: Range<usize>) -> Vec<Tensor> {
        let depth = self.in_proj_weight.shape()[1] / self.heads;
        let counts = [self.heads, self.kv_heads, self.kv_heads];
        let start = counts[..wanted.start].iter().sum::<usize>() * depth;
        let counts = &counts[wanted];
        let rows = counts.iter().sum::<usize>() * depth;
        let rows = |t: Tensor| t.slice(0, start, start + rows);
        let mut y = x.matmul(&rows(self.in_proj_weight.get()).t());
        if let Some(bias) = &self.in_proj_bias {
            y = y + rows(bias.get());
        }
        let (batch, time) = (x.shape()[0], x.shape()[1]);
        let mut end = 0;
        let split = |&heads: &usize| {
            end += heads * depth;
            let part = y.slice(2, end - heads * depth, end);
            part.reshape([batch, time, heads, depth]).permute(&[0, 2, 1, 3])
        };
        counts.iter().map(split).collect()
    }

    /// Attention in each head, and the mixture of what they found.
    fn mix(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        mask: Option<&Tensor>,
        causal: bool,
        cx: &Context,
    ) -> Tensor {
        let &[batch, heads, time, depth] = &q.shape()[..] else { unreachable!("as projected") };
        let y = match self.dropout > 0.0 && cx.is_training() {
            false => q.scaled_dot_product_attention(k, v, mask, causal, None),
            true => self.with_dropout(q, k, v, mask, causal, cx),
        };
        let y = y.permute(&[0, 2, 1, 3]).reshape([batch, time, heads * depth]);
        self.out_proj.forward(&y, cx)
    }

    /// The same step by step, with some of the shares set to zero.
    fn with_dropout(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        mask: Option<&Tensor>,
        causal: bool,
        cx: &Context,
    ) -> Tensor {
        let shares = self.softmax(q, k, mask, causal);
        Dropout::new(self.dropout).forward(&shares, cx).matmul(&self.for_each_head(v))
    }

    /// Keys or values for each head of queries.
    fn for_each_head(&self, x: &Tensor) -> Tensor {
        match self.heads / self.kv_heads {
            1 => x.clone(),
            group => x.repeat_interleave(group, 1),
        }
    }

    /// The shares of all keys for each query, `[batch, heads, queries, keys]`.
    fn softmax(&self, q: &Tensor, k: &Tensor, mask: Option<&Tensor>, causal: bool) -> Tensor {
        let depth = q.shape()[3] as f64;
        let mut fits = q.matmul(&self.for_each_head(k).t()) * depth.sqrt().recip();
        if causal {
            let (query, key) = (Tensor::iota(fits.shape(), 2), Tensor::iota(fits.shape(), 3));
            fits = key.le(&query).select(&fits, &fits.full_like(f64::NEG_INFINITY));
        }
        if let Some(mask) = mask {
            fits = fits + Tensor::attention_bias(mask, q.dtype());
        }
        fits.softmax(-1)
    }

    /// The shares that the elements of `query` take of those of `key`, to be looked at:
    /// `[batch, heads, queries, keys]`, each row sums to 1. (PyTorch's `need_weights` gives their mean
    /// over the heads.) The mask is as in [`attend`](Self::attend).
    ///
    /// # Panics
    /// As [`attend`](Self::attend).
    #[track_caller]
    pub fn shares(&self, query: &Tensor, key: &Tensor, mask: Option<&Tensor>) -> Tensor {
        self.expect_no_places();
        self.features_of("the query", query);
        let [k, _] = self.keys_values(key, key);
        self.softmax(&self.project(query, 0..1)[0], &k, mask, self.causal)
    }

    #[track_caller]
    fn expect_no_places(&self) {
        assert!(
            self.position == AttentionPosition::None,
            "MultiHeadAttention: the places of another sequence say nothing: {:?}",
            self.position
        );
    }
}

/// Whether features divide into heads.
fn divides(
    features: usize,
    heads: usize,
    kv_heads: usize,
    position: AttentionPosition,
) -> Result<(), Misfit> {
    let whole = |n: usize, parts: usize| n > 0 && parts > 0 && n.is_multiple_of(parts);
    let misfit = |needs: String, hint: String| Err(Misfit { needs, hint });
    if !whole(features, heads) {
        let needs = format!("features that divide into {heads} heads");
        return misfit(needs, format!("there are {features}"));
    }
    if !whole(heads, kv_heads) {
        let needs = format!("heads that divide into {kv_heads} kv_heads");
        return misfit(needs, format!("there are {heads}"));
    }
    let depth = features / heads;
    if matches!(position, AttentionPosition::Rotary(_)) && !depth.is_multiple_of(2) {
        let needs = "an even number of features for each head, to be turned in pairs".to_string();
        return misfit(needs, format!("there are {depth}"));
    }
    Ok(())
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

/// What checked arguments say about attention.
pub(super) fn options(args: &Args) -> AttentionOptions {
    AttentionOptions {
        heads: args.usize("heads"),
        kv_heads: args.has("kv_heads").then(|| args.usize("kv_heads")),
        bias: true,
        causal: args.bool("causal"),
        dropout: args.float("dropout"),
        position: match args.text("position") {
            "rotary" => AttentionPosition::Rotary(RotaryEmbedding::default()),
            "alibi" => AttentionPosition::Alibi,
            _ => AttentionPosition::None,
        },
    }
}

/// What attention of a sequence to itself does.
pub(super) fn effect(options: AttentionOptions, input: &[usize]) -> Result<Effect, Misfit> {
    let &[time, features] = input else {
        return Err(Misfit {
            needs: "[time, features]".into(),
            hint: "put an Embedding before it".into(),
        });
    };
    let kv_heads = options.kv_heads.unwrap_or(options.heads);
    divides(features, options.heads, kv_heads, options.position)?;
    let (n, d) = (time as u128, features as u128);
    // Those of queries and output, and those of keys and values.
    let rows = 2 * d + 2 * (features / options.heads) as u128 * kv_heads as u128;
    let bias = if options.bias { rows } else { 0 };
    let products = rows.saturating_mul(d).saturating_add(n.saturating_mul(2 * d));
    Ok(Effect {
        shape: [time, features].into(),
        parameters: rows.saturating_mul(d).saturating_add(bias),
        state: 0,
        flops: n.saturating_mul(products).saturating_mul(2),
        kept: product(&[time, features]).saturating_mul(5),
    })
}

pub(crate) const HEADS: Param =
    Param::required("heads", Kind::count(), "how many heads; they share the features")
        .alias(&["num_heads", "nhead"]);

pub(crate) const KV_HEADS: Param = Param::optional(
    "kv_heads",
    Kind::count(),
    "how many heads keys and values have; without it as many",
)
.alias(&["num_key_value_heads", "num_kv_heads"]);

pub(super) const POSITION: Param = Param::with_default(
    "position",
    Kind::Choice(&["none", "rotary", "alibi"]),
    Value::text("none"),
    "how attention knows who stands where",
);

pub(super) const CAUSAL: Param = Param::with_default(
    "causal",
    Kind::Bool,
    Value::Bool(false),
    "whether an element sees only what is before it",
);

pub(crate) const DROPOUT: Param = Param::with_default(
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
        params: &[HEADS, KV_HEADS, BIAS, CAUSAL, DROPOUT, POSITION],
    },
    takes_indices: false,
    samples: &[
        Sample::of("heads = 2", &[5, 6]),
        Sample::of("num_heads = 3, bias = false, causal = true, dropout = 0.25", &[4, 6]),
        Sample::of("heads = 4, kv_heads = 2, causal = true, position = 'rotary'", &[4, 8]),
        Sample::of("heads = 3, kv_heads = 1, position = 'alibi', dropout = 0.1", &[4, 6]),
    ],
    infer: |args, input| effect(with_bias(args), input),
    make: |args, input, params| {
        Box::new(MultiHeadAttention::with_options(params, input[1], with_bias(args)))
    },
};

fn with_bias(args: &Args) -> AttentionOptions {
    AttentionOptions { bias: args.bool("bias"), ..options(args) }
}
