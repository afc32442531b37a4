//! `Context`: whether a network is trained or used, and where its random numbers come from.

use nerve_core::{DType, Shape, Tensor, current_scope, scope};
use std::cell::{Cell, RefCell};

/// What a layer has to know beside its input: whether the network is being trained, and where
/// random numbers come from.
///
/// Random numbers are a pure function of the key, which holds the seed and the number of the step
/// and is written anew for each step, and of a stream. Each drawing in a trace gets a stream of its
/// own, counted in the order of application: so two dropout layers drop different values, the same
/// step draws the same numbers on any number of threads, and a new step draws new ones.
///
/// Parameters are initialised under step 0, so steps of training are counted from 1.
///
/// # Masks
///
/// Sequences of a batch are rarely of one length: the short ones are filled up. A mask says which
/// steps exist: truth values `[batch, time]`, true where one does. It belongs to a tensor
/// ([`set_mask`](Context::set_mask), [`mask`](Context::mask)), as in Keras: an
/// [`Embedding`](crate::layers::Embedding) with a padding index or a
/// [`Masking`](crate::layers::Masking) layer makes one, a
/// [`Sequential`](crate::layers::Sequential) hands it on from layer to layer (see
/// [`Layer::mask`](crate::Layer::mask)), and layers over time (recurrence, attention, pooling over
/// time) read it.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, Params, layers::{Lstm, RecurrentOptions}};
/// let lstm = Lstm::new(&Params::new(42), 8, 16, RecurrentOptions::default());
/// let (x, cx) = (Tensor::ones([2, 10, 8]), Context::eval());
/// // Of the second sequence only the first three steps exist.
/// cx.set_mask(&x, &Context::lengths_mask(&Tensor::from_slice(&[10i32, 3], [2]), 10));
/// assert_eq!(**lstm.forward(&x, &cx).shape(), [2, 16]); // its state after step three
/// ```
pub struct Context {
    key: Option<Tensor>,
    streams: Cell<u32>,
    /// Tensors that have a mask, by their number, which is never used again.
    masks: RefCell<Vec<(u64, Tensor)>>,
    /// What layers want added to the loss.
    penalties: RefCell<Vec<Tensor>>,
    /// What the parts of the network gave, where that is wanted.
    observed: RefCell<Option<Vec<(String, Tensor)>>>,
}

impl Context {
    /// For training. `key` is an i32 tensor of shape `[4]` as [`Tensor::random_key`] makes it: an
    /// argument of the step or the content of a variable, never a constant of the trace.
    pub fn train(key: &Tensor) -> Context {
        Context { key: Some(key.clone()), ..Context::eval() }
    }

    /// For using the network: nothing random, statistics as they are.
    pub fn eval() -> Context {
        Context {
            key: None,
            streams: Cell::new(0),
            masks: RefCell::default(),
            penalties: RefCell::default(),
            observed: RefCell::default(),
        }
    }

    /// Keeps what the parts of the network give, for [`observed`](Context::observed).
    #[must_use]
    pub fn observing(self) -> Context {
        Context { observed: RefCell::new(Some(Vec::new())), ..self }
    }

    /// Applies a part of the network, for instance `2.ReLU`: messages name it, and what it gives can
    /// be [`observed`](Context::observed). A part inside of another is called `1.Residual.0.Conv2d`;
    /// one without a name is as if it were not there. Containers of layers call it for each.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// use nerve_nn::Context;
    /// let cx = Context::eval().observing();
    /// let y = cx.part("body", || cx.part("0.Exp", || Tensor::zeros([2]).exp()) + 1.0);
    /// assert_eq!(y.to_vec::<f32>(), [2.0; 2]);
    /// let names: Vec<String> = cx.observed().into_iter().map(|(name, _)| name).collect();
    /// assert_eq!(names, ["body.0.Exp", "body"]);
    /// ```
    pub fn part(&self, name: &str, f: impl FnOnce() -> Tensor) -> Tensor {
        if name.is_empty() {
            return f();
        }
        scope(name, || {
            let y = f();
            if let (Some(observed), Some(path)) =
                (&mut *self.observed.borrow_mut(), current_scope())
            {
                observed.push((path.to_string(), y.clone()));
            }
            y
        })
    }

    /// What the parts of the network gave so far, in the order in which they were done; nothing
    /// unless it is [`observing`](Context::observing).
    pub fn observed(&self) -> Vec<(String, Tensor)> {
        self.observed.borrow_mut().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Wants `penalty`, one number, added to the loss that is minimised: for layers that regularise
    /// what goes through them.
    ///
    /// # Panics
    /// If it is not one number.
    #[track_caller]
    pub fn penalize(&self, penalty: &Tensor) {
        assert!(penalty.numel() == 1, "penalize: one number is added to the loss, not {penalty:?}");
        self.penalties.borrow_mut().push(penalty.reshape([]));
    }

    /// The loss with all penalties of layers added, in the order in which they were applied. To be
    /// called after the network, by who minimises the loss.
    pub fn penalized(&self, loss: &Tensor) -> Tensor {
        let penalties = self.penalties.borrow();
        penalties.iter().fold(loss.clone(), |sum, penalty| sum + penalty.to_dtype(loss.dtype()))
    }

    /// Whether the network is being trained.
    pub fn is_training(&self) -> bool {
        self.key.is_some()
    }

    /// Says which steps of `x` `[batch, time, …]` exist: `mask` is true there, bool `[batch, time]`.
    ///
    /// # Panics
    /// If the mask is not of that type or shape.
    #[track_caller]
    pub fn set_mask(&self, x: &Tensor, mask: &Tensor) {
        assert!(
            mask.dtype() == DType::Bool && mask.rank() == 2 && x.shape().starts_with(mask.shape()),
            "set_mask: a mask of {} is bool [batch, time], found {} {}",
            x.shape(),
            mask.dtype(),
            mask.shape()
        );
        let mut masks = self.masks.borrow_mut();
        masks.retain(|(id, _)| *id != x.id());
        masks.push((x.id(), mask.clone()));
    }

    /// Which steps of `x` exist; none if all do.
    pub fn mask(&self, x: &Tensor) -> Option<Tensor> {
        let masks = self.masks.borrow();
        masks.iter().find(|(id, _)| *id == x.id()).map(|(_, mask)| mask.clone())
    }

    /// The mask of sequences with these `lengths`, i32 `[batch]`, filled up behind to `time` steps.
    ///
    /// ```
    /// use nerve_core::{DType, Tensor};
    /// let mask = nerve_nn::Context::lengths_mask(&Tensor::from_slice(&[2i32, 0], [2]), 3);
    /// assert_eq!(mask.to_dtype(DType::I32).to_vec::<i32>(), [1, 1, 0, 0, 0, 0]);
    /// ```
    #[track_caller]
    pub fn lengths_mask(lengths: &Tensor, time: usize) -> Tensor {
        let &[batch] = &lengths.shape()[..] else {
            panic!("lengths_mask: lengths are [batch], found {}", lengths.shape())
        };
        Tensor::iota([batch, time], 1).lt(lengths.reshape([batch, 1]))
    }

    fn stream(&self) -> (&Tensor, u32) {
        let key = self.key.as_ref().expect("random numbers are drawn while training only");
        let stream = self.streams.get();
        self.streams.set(stream + 1);
        (key, stream)
    }

    /// Uniform random numbers in [0, 1), from a stream of their own.
    ///
    /// # Panics
    /// If the network is not being trained.
    #[track_caller]
    pub fn uniform(&self, shape: impl Into<Shape>, dtype: DType) -> Tensor {
        let (key, stream) = self.stream();
        Tensor::uniform(key, stream, shape, dtype)
    }

    /// Random numbers of the normal distribution with mean 0 and variance 1, from a stream of
    /// their own.
    ///
    /// # Panics
    /// If the network is not being trained.
    #[track_caller]
    pub fn normal(&self, shape: impl Into<Shape>, dtype: DType) -> Tensor {
        let (key, stream) = self.stream();
        Tensor::normal(key, stream, shape, dtype)
    }

    /// Truth values that are true with probability `p`, from a stream of their own.
    ///
    /// # Panics
    /// If the network is not being trained.
    #[track_caller]
    pub fn bernoulli(&self, shape: impl Into<Shape>, p: f64) -> Tensor {
        let (key, stream) = self.stream();
        Tensor::bernoulli(key, stream, shape, p)
    }
}
