//! `Context`: whether a network is trained or used, and where its random numbers come from.

use nerve_core::{DType, Shape, Tensor};
use std::cell::Cell;

/// What a layer has to know beside its input: whether the network is being trained, and where
/// random numbers come from.
///
/// Random numbers are a pure function of the key, which holds the seed and the number of the step
/// and is written anew for each step, and of a stream. Each drawing in a trace gets a stream of its
/// own, counted in the order of application: so two dropout layers drop different values, the same
/// step draws the same numbers on any number of threads, and a new step draws new ones.
///
/// Parameters are initialised under step 0, so steps of training are counted from 1.
pub struct Context {
    key: Option<Tensor>,
    streams: Cell<u32>,
}

impl Context {
    /// For training. `key` is an i32 tensor of shape `[4]` as [`Tensor::random_key`] makes it: an
    /// argument of the step or the content of a variable, never a constant of the trace.
    pub fn train(key: &Tensor) -> Context {
        Context { key: Some(key.clone()), streams: Cell::new(0) }
    }

    /// For using the network: nothing random, statistics as they are.
    pub fn eval() -> Context {
        Context { key: None, streams: Cell::new(0) }
    }

    /// Whether the network is being trained.
    pub fn is_training(&self) -> bool {
        self.key.is_some()
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
