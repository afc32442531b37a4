use super::multi_head_attention::key_mask;
use super::transformer_encoder::half;
use super::{
    AttentionOptions, AttentionPosition, Dropout, FeedForward, Layer, MultiHeadAttention,
    TransformerOptions,
};
use crate::context::Context;
use crate::params::Params;
use nerve_core::Tensor;

/// One layer of a decoder: the elements of a sequence look at those before them, then at a *memory*,
/// the sequence that an encoder has made of something else, then each is thought over on its own.
///
/// ```text
/// norm_first:   x = x + self_attn(norm1(x));  x = x + multihead_attn(norm2(x), memory);  x = x + feed_forward(norm3(x))
/// else:         x = norm1(x + self_attn(x));  x = norm2(x + multihead_attn(x, memory));  x = norm3(x + feed_forward(x))
/// ```
///
/// Vaswani et al., "Attention is all you need", 2017.
///
/// An element never sees what comes after it: as in Keras, and as with `tgt_is_causal` in PyTorch,
/// where a mask has to be given. Whether the options say `causal` makes no difference.
///
/// Input `[batch, time, features]` and a memory `[batch, keys, features]`; output as the input. Steps
/// of either that their masks deny ([`Context`]) are not looked at. Parameters as in PyTorch:
/// `self_attn`, `multihead_attn`, `linear1`, `linear2`, `norm1`, `norm2`, `norm3`. A decoder without a
/// memory is a causal [`TransformerEncoder`](super::TransformerEncoder).
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::layers::{TransformerDecoderLayer, TransformerOptions};
/// use nerve_nn::{Context, Params};
/// let layer = TransformerDecoderLayer::new(&Params::new(42), 64, TransformerOptions::new(4, 256));
/// let (x, memory) = (Tensor::ones([2, 10, 64]), Tensor::ones([2, 7, 64]));
/// let y = layer.forward_with_memory(&x, &memory, &Context::eval());
/// assert_eq!(**y.shape(), [2, 10, 64]);
/// ```
pub struct TransformerDecoderLayer {
    /// Attention to what is before.
    pub self_attn: MultiHeadAttention,
    /// Attention to the memory.
    pub multihead_attn: MultiHeadAttention,
    /// What thinks over each element.
    pub feed_forward: FeedForward,
    /// Of attention to what is before.
    pub norm1: Box<dyn Layer>,
    /// Of attention to the memory.
    pub norm2: Box<dyn Layer>,
    /// Of what thinks over.
    pub norm3: Box<dyn Layer>,
    /// Of what each part adds.
    pub dropout: Dropout,
    /// See [`TransformerOptions::norm_first`].
    pub norm_first: bool,
}

/// What a decoder's layers have made of a memory: keys and values of each, and a mask of attention.
pub struct PreparedMemory {
    /// `[batch, kv_heads, keys, depth]`, for each layer.
    pub keys_values: Vec<[Tensor; 2]>,
    /// As in [`MultiHeadAttention::attend`].
    pub mask: Option<Tensor>,
}

impl TransformerDecoderLayer {
    /// A layer with ReLU.
    ///
    /// # Panics
    /// As [`MultiHeadAttention::with_options`], and if the dropout is not in [0, 1).
    #[track_caller]
    pub fn new(
        params: &Params,
        features: usize,
        options: TransformerOptions,
    ) -> TransformerDecoderLayer {
        let TransformerOptions { feed_forward, dropout, norm_first, gated, .. } = options;
        let own = AttentionOptions { causal: true, ..options.attention() };
        // Places of two sequences have nothing to do with each other.
        let cross = AttentionOptions { causal: false, position: AttentionPosition::None, ..own };
        let attention =
            |name, options| MultiHeadAttention::with_options(&params.at(name), features, options);
        let norm = |name| options.norm(&params.at(name), features);
        TransformerDecoderLayer {
            self_attn: attention("self_attn", own),
            multihead_attn: attention("multihead_attn", cross),
            feed_forward: FeedForward::new(params, features, feed_forward, gated, dropout),
            norm1: norm("norm1"),
            norm2: norm("norm2"),
            norm3: norm("norm3"),
            dropout: Dropout::new(dropout),
            norm_first,
        }
    }

    /// `x` with what its elements found before them and in the memory.
    ///
    /// # Panics
    /// If a shape does not fit.
    #[track_caller]
    pub fn forward_with_memory(&self, x: &Tensor, memory: &Tensor, cx: &Context) -> Tensor {
        let (own, cross) = (key_mask(x, cx), key_mask(memory, cx));
        self.forward_masked(x, memory, [own.as_ref(), cross.as_ref()], cx)
    }

    /// The same with explicit masks, of attention to what is before and to the memory, as in
    /// [`MultiHeadAttention::attend`].
    ///
    /// # Panics
    /// If a shape does not fit.
    #[track_caller]
    pub fn forward_masked(
        &self,
        x: &Tensor,
        memory: &Tensor,
        [own, cross]: [Option<&Tensor>; 2],
        cx: &Context,
    ) -> Tensor {
        let prepared = self.multihead_attn.keys_values(memory, memory);
        self.parts(x, (&prepared, cross), cx, |x| self.self_attn.attend_itself(x, own, cx))
    }

    /// The next elements of sequences, as [`MultiHeadAttention::attend_cached`] takes them, with a
    /// memory whose keys and values are made and a mask of attention to it.
    ///
    /// # Panics
    /// If a shape does not fit.
    #[track_caller]
    pub fn forward_cached(
        &self,
        x: &Tensor,
        at: &Tensor,
        cache: &[Tensor; 2],
        memory: (&[Tensor; 2], Option<&Tensor>),
        cx: &Context,
    ) -> (Tensor, [Tensor; 2]) {
        let mut after = cache.clone();
        let y = self.parts(x, memory, cx, |x| {
            let (y, cache) = self.self_attn.attend_cached(x, at, cache, cx);
            after = cache;
            y
        });
        (y, after)
    }

    fn parts(
        &self,
        x: &Tensor,
        (memory, mask): (&[Tensor; 2], Option<&Tensor>),
        cx: &Context,
        attend: impl FnOnce(&Tensor) -> Tensor,
    ) -> Tensor {
        let (first, drop) = (self.norm_first, |y: Tensor| self.dropout.forward(&y, cx));
        let x = half(x, &*self.norm1, first, cx, |x| drop(attend(x)));
        let look = |x: &Tensor| self.multihead_attn.attend_prepared(x, memory, mask, cx);
        let x = half(&x, &*self.norm2, first, cx, |x| drop(look(x)));
        half(&x, &*self.norm3, first, cx, |x| drop(self.feed_forward.forward(x, cx)))
    }
}

/// [`TransformerDecoderLayer`]s one after the other, and a norm at the end if each has its own
/// first.
///
/// Input `[batch, time, features]` and a memory `[batch, keys, features]`; output as the input.
/// Parameters: `layers.0.…`, `norm.…`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::layers::{TransformerDecoder, TransformerOptions};
/// use nerve_nn::{Context, Params};
/// let options = TransformerOptions { norm_first: true, ..TransformerOptions::new(4, 64) };
/// let decoder = TransformerDecoder::new(&Params::new(42), 16, 2, options);
/// let (x, memory) = (Tensor::ones([2, 10, 16]), Tensor::ones([2, 7, 16]));
/// let y = decoder.forward_with_memory(&x, &memory, &Context::eval());
/// assert_eq!(**y.shape(), [2, 10, 16]);
/// ```
pub struct TransformerDecoder {
    /// The layers, first to last.
    pub layers: Vec<TransformerDecoderLayer>,
    /// The norm at the end.
    pub norm: Option<Box<dyn Layer>>,
}

impl TransformerDecoder {
    /// `depth` layers of one kind.
    ///
    /// # Panics
    /// As [`TransformerDecoderLayer::new`].
    #[track_caller]
    pub fn new(
        params: &Params,
        features: usize,
        depth: usize,
        options: TransformerOptions,
    ) -> TransformerDecoder {
        let at = params.at("layers");
        let layers = (0..depth).map(|i| TransformerDecoderLayer::new(&at.at(i), features, options));
        TransformerDecoder {
            layers: layers.collect(),
            norm: options.norm_first.then(|| options.norm(&params.at("norm"), features)),
        }
    }

    /// As [`TransformerDecoderLayer::forward_with_memory`].
    ///
    /// # Panics
    /// If a shape does not fit.
    #[track_caller]
    pub fn forward_with_memory(&self, x: &Tensor, memory: &Tensor, cx: &Context) -> Tensor {
        let (own, cross) = (key_mask(x, cx), key_mask(memory, cx));
        let masks = [own.as_ref(), cross.as_ref()];
        let step = |x: Tensor, layer: &TransformerDecoderLayer| {
            layer.forward_masked(&x, memory, masks, cx)
        };
        self.finish(self.layers.iter().fold(x.clone(), step), cx)
    }

    /// What the layers need of a memory, once for all elements that look at it.
    ///
    /// # Panics
    /// If a shape does not fit.
    #[track_caller]
    pub fn prepare(&self, memory: &Tensor, cx: &Context) -> PreparedMemory {
        let keys_values =
            self.layers.iter().map(|layer| layer.multihead_attn.keys_values(memory, memory));
        PreparedMemory { keys_values: keys_values.collect(), mask: key_mask(memory, cx) }
    }

    /// The next elements of sequences through all layers, each with a cache of its own.
    ///
    /// # Panics
    /// If a shape does not fit, or there is not one cache for each layer.
    #[track_caller]
    pub fn forward_cached(
        &self,
        x: &Tensor,
        at: &Tensor,
        caches: &[[Tensor; 2]],
        memory: &PreparedMemory,
        cx: &Context,
    ) -> (Tensor, Vec<[Tensor; 2]>) {
        assert!(caches.len() == self.layers.len(), "TransformerDecoder: one cache for each layer");
        let (mut x, mut after) = (x.clone(), Vec::new());
        for ((layer, cache), prepared) in self.layers.iter().zip(caches).zip(&memory.keys_values) {
            let memory = (prepared, memory.mask.as_ref());
            let (y, cache) = layer.forward_cached(&x, at, cache, memory, cx);
            x = y;
            after.push(cache);
        }
        (self.finish(x, cx), after)
    }

    fn finish(&self, y: Tensor, cx: &Context) -> Tensor {
        match &self.norm {
            Some(norm) => norm.forward(&y, cx),
            None => y,
        }
    }
}
