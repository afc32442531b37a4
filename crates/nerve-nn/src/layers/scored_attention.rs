use super::multi_head_attention::key_mask;
use super::{Effect, Entry, Layer, Linear, Sample, steps};
use crate::context::Context;
use crate::dims::product;
use crate::init::{FanScaled, Initializer, Normal};
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// The mean of `values` with the shares that a softmax makes of `scores` `[batch, queries, keys]`.
/// The mask broadcasts to the scores: truth values, or numbers that are added.
fn weighted(scores: Tensor, values: &Tensor, mask: Option<&Tensor>) -> Tensor {
    let scores = match mask {
        Some(mask) => scores + Tensor::attention_bias(mask, values.dtype()),
        None => scores,
    };
    scores.softmax(-1).matmul(values)
}

/// The mask of steps of `x` that exist, for scores `[batch, queries, keys]`.
fn mask_of(x: &Tensor, cx: &Context) -> Option<Tensor> {
    key_mask(x, cx).map(|mask| mask.squeeze(1))
}

#[track_caller]
fn expect_sequences(name: &str, all: [&Tensor; 3]) {
    for x in all {
        assert!(x.rank() == 3, "{name}: expected [batch, time, features], found {}", x.shape());
    }
}

/// Attention whose fits come from a small network: `score(q, k) = v · tanh(W q + U k)`; then as
/// elsewhere the mean of the values with the shares that a softmax makes of the scores.
///
/// Bahdanau, Cho & Bengio, "Neural machine translation by jointly learning to align and translate",
/// 2015. Keras's layer has no W and U: put `Dense` layers before it there.
///
/// As a layer a sequence looks at itself: `[batch, time, features]`, output the same. Memory grows
/// with queries · keys · units. Parameters: `query.weight`, `key.weight`, `v`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Params, layers::AdditiveAttention};
/// let attention = AdditiveAttention::new(&Params::new(42), 8, 6, 16);
/// // The state of a decoder looks at what an encoder has made of five words.
/// let (state, words) = (Tensor::ones([2, 1, 8]), Tensor::ones([2, 5, 6]));
/// let y = attention.attend(&state, &words, &words, None, &Context::eval());
/// assert_eq!(**y.shape(), [2, 1, 6]);
/// ```
pub struct AdditiveAttention {
    /// W, without a bias.
    pub query: Linear,
    /// U, without a bias.
    pub key: Linear,
    /// `[units]`.
    pub v: Var,
}

impl AdditiveAttention {
    /// For queries of `queries` features and keys of `keys`, which meet in `units`.
    #[track_caller]
    pub fn new(params: &Params, queries: usize, keys: usize, units: usize) -> AdditiveAttention {
        let init = FanScaled::GLOROT_UNIFORM;
        let linear = |name, inputs| Linear::with_init(&params.at(name), inputs, units, &init, None);
        let v = Normal { mean: 0.0, std: (units.max(1) as f64).sqrt().recip() };
        AdditiveAttention {
            query: linear("query", queries),
            key: linear("key", keys),
            v: params.var("v", [units], &v),
        }
    }

    /// `query` `[batch, queries, …]` looks at `key` `[batch, keys, …]` and takes from `value`
    /// `[batch, keys, features]`. The mask broadcasts to `[batch, queries, keys]`: true where a query
    /// may look, or numbers that are added to the scores.
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
        expect_sequences("AdditiveAttention", [query, key, value]);
        let (q, k) = (self.query.forward(query, cx), self.key.forward(key, cx));
        let both = (q.unsqueeze(2) + k.unsqueeze(1)).tanh();
        weighted((both * self.v.get()).sum_axes(&[3], false), value, mask)
    }
}

impl Layer for AdditiveAttention {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.attend(x, x, x, mask_of(x, cx).as_ref(), cx)
    }
}

/// How well a query fits a key of a [`DotAttention`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Score {
    /// q · k.
    #[default]
    Dot,
    /// q · k / √depth.
    Scaled,
    /// q · W k, where W is learned.
    General,
}

/// Attention whose fits are products, without heads, and without linear layers but the one of
/// [`Score::General`].
///
/// Luong, Pham & Manning, "Effective approaches to attention-based neural machine translation",
/// 2015.
///
/// As a layer a sequence looks at itself: `[batch, time, features]`, output the same. Parameter, if
/// general: `weight` `[query features, key features]`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Params, layers::{DotAttention, Score}};
/// let attention = DotAttention::new(&Params::new(42), 8, 6, Score::General);
/// let (state, words) = (Tensor::ones([2, 1, 8]), Tensor::ones([2, 5, 6]));
/// let y = attention.attend(&state, &words, &words, None);
/// assert_eq!(**y.shape(), [2, 1, 6]);
/// ```
pub struct DotAttention {
    /// W of a general score.
    pub weight: Option<Var>,
    /// Whether scores are divided by the root of the depth.
    pub scaled: bool,
}

impl DotAttention {
    /// For queries of `queries` features and keys of `keys`.
    ///
    /// # Panics
    /// If these differ and the score is not general.
    #[track_caller]
    pub fn new(params: &Params, queries: usize, keys: usize, score: Score) -> DotAttention {
        assert!(
            queries == keys || score == Score::General,
            "DotAttention: queries of {queries} and keys of {keys} features need a general score"
        );
        let weight = (score == Score::General)
            .then(|| params.var("weight", [queries, keys], &FanScaled::GLOROT_UNIFORM));
        DotAttention { weight, scaled: score == Score::Scaled }
    }

    /// As [`AdditiveAttention::attend`].
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
    ) -> Tensor {
        expect_sequences("DotAttention", [query, key, value]);
        let q = match &self.weight {
            Some(weight) => &query.matmul(&weight.get()),
            None => query,
        };
        let scale = if self.scaled { (q.shape()[2] as f64).sqrt().recip() } else { 1.0 };
        weighted(q.matmul(&key.t()) * scale, value, mask)
    }
}

impl Layer for DotAttention {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.attend(x, x, x, mask_of(x, cx).as_ref())
    }
}

/// One row of features for a whole sequence: the mean of its steps, with shares from a softmax of
/// their products with a learned query.
///
/// Steps that a mask denies ([`Context`]) get no share. Yang et al., "Hierarchical attention networks
/// for document classification", 2016, without the layer before the product.
///
/// Input `[batch, time, features]`, output `[batch, features]`. Parameter: `query` `[features]`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, Params, layers::AttentionPooling};
/// let pooling = AttentionPooling::new(&Params::new(42).at("pool"), 8);
/// assert_eq!(**pooling.forward(&Tensor::ones([2, 5, 8]), &Context::eval()).shape(), [2, 8]);
/// ```
pub struct AttentionPooling {
    /// What is looked for, `[features]`.
    pub query: Var,
}

impl AttentionPooling {
    /// With a normal query of deviation 1/√`features`.
    #[track_caller]
    pub fn new(params: &Params, features: usize) -> AttentionPooling {
        let init: &dyn Initializer =
            &Normal { mean: 0.0, std: (features.max(1) as f64).sqrt().recip() };
        AttentionPooling { query: params.var("query", [features], init) }
    }
}

impl Layer for AttentionPooling {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let features = self.query.shape()[0];
        assert!(
            x.rank() == 3 && x.shape()[2] == features,
            "AttentionPooling: expected [batch, time, {features}], found {}",
            x.shape()
        );
        let scores = (x * self.query.get()).sum_axes(&[2], false).unsqueeze(1);
        weighted(scores, x, mask_of(x, cx).as_ref()).squeeze(1)
    }
}

pub(super) static ADDITIVE: Entry = Entry {
    spec: Spec {
        name: "AdditiveAttention",
        aliases: &["BahdanauAttention", "additive_attention"],
        peers: Peers::of("", "layers.AdditiveAttention"),
        doc: "Attention whose scores come from a small network.",
        params: &[Param::required("units", Kind::count(), "where queries and keys meet")],
    },
    takes_indices: false,
    samples: &[Sample::of("units = 5", &[4, 3])],
    infer: |args, input| {
        let [time, features] = steps(input)?;
        let units = args.usize("units");
        let parameters = product(&[2 * features + 1, units]);
        let scores = product(&[time, time, units]);
        Ok(Effect {
            parameters,
            kept: scores,
            ..Effect::cheap(input, scores.saturating_add(product(&[time, time, features])), 4)
        })
    },
    make: |args, input, params| {
        Box::new(AdditiveAttention::new(params, input[1], input[1], args.usize("units")))
    },
};

pub(super) static DOT: Entry = Entry {
    spec: Spec {
        name: "DotAttention",
        aliases: &["LuongAttention", "dot_attention"],
        peers: Peers::of("", "layers.Attention"),
        doc: "Attention whose scores are products, without heads.",
        params: &[Param::with_default(
            "score",
            Kind::Choice(&["dot", "scaled", "general"]),
            Value::text("dot"),
            "q · k, the same over √depth, or q · W k",
        )],
    },
    takes_indices: false,
    samples: &[
        Sample::of("", &[4, 3]),
        Sample::of("score = 'scaled'", &[4, 3]),
        Sample::of("score = 'general'", &[4, 3]),
    ],
    infer: |args, input| {
        let [time, features] = steps(input)?;
        let general = args.text("score") == "general";
        let parameters = if general { product(&[features, features]) } else { 0 };
        let kept = product(&[time, time]);
        Ok(Effect { parameters, kept, ..Effect::cheap(input, product(&[time, time, features]), 4) })
    },
    make: |args, input, params| {
        let score = match args.text("score") {
            "scaled" => Score::Scaled,
            "general" => Score::General,
            _ => Score::Dot,
        };
        Box::new(DotAttention::new(params, input[1], input[1], score))
    },
};

pub(super) static POOLING: Entry = Entry {
    spec: Spec {
        name: "AttentionPooling",
        aliases: &["attention_pooling"],
        peers: Peers::NONE,
        doc: "One row of features for a sequence, with shares that are learned.",
        params: &[],
    },
    takes_indices: false,
    samples: &[Sample::of("", &[4, 3])],
    infer: |_, input| {
        let [_, features] = steps(input)?;
        let parameters = features as u128;
        Ok(Effect { parameters, ..Effect::cheap([features], product(input), 4) })
    },
    make: |_, input, params| Box::new(AttentionPooling::new(params, input[1])),
};
