//! Neural networks in Rust: trained, examined and used by one library and one binary.
//!
//! This crate is the door: it re-exports the rooms behind it, and [`prelude`] holds what most
//! programs need.
//!
//! | room | what lives there |
//! |---|---|
//! | [`core`] | tensors, gradients, compiled functions |
//! | [`nn`] | layers, losses, initialisers, optimizers |
//! | [`onnx`] | networks from ONNX files, and to them |
//! | [`data`] | data sets, transforms, splits, the loader |
//! | [`formats`] | readers and writers of files from outside |
//! | [`train`] | the trainer, metrics, callbacks |
//! | [`tune`] | searching for the best parameters of a training |
//! | [`recipe`] | networks described in a file |
//!
//! ```
//! use nerve::prelude::*;
//! let x = Tensor::from_slice(&[1.0f32, -2.0], [2]);
//! assert_eq!(x.relu().to_vec::<f32>(), [1.0, 0.0]);
//! ```
#![forbid(unsafe_code)]

pub use nerve_core as core;
pub use nerve_data as data;
pub use nerve_formats as formats;
pub use nerve_nn as nn;
pub use nerve_onnx as onnx;
pub use nerve_recipe as recipe;
pub use nerve_train as train;
pub use nerve_tune as tune;

/// What most programs need: `use nerve::prelude::*;`.
pub mod prelude {
    pub use nerve_core::{Arena, DType, Shape, Tensor, Var, compile, grad};
    pub use nerve_nn::activations::{
        Elu, Gelu, LeakyRelu, LogSoftmax, Relu, Sigmoid, Silu, Softmax, Softplus, Tanh,
    };
    pub use nerve_nn::init;
    pub use nerve_nn::layers::{
        AvgPool2d, BatchNorm, Combine, Conv1d, Conv1dOptions, Conv2d, Conv2dOptions, Conv3d,
        ConvTranspose2d, Dropout, Embedding, Flatten, GlobalAvgPool2d, GroupNorm, Gru, LayerNorm,
        Linear, Lstm, MaxPool2d, MultiHeadAttention, Padding, PositionalEncoding, RecurrentOptions,
        Residual, Rnn, Sequential, TransformerDecoder, TransformerEncoder, TransformerOptions,
    };
    pub use nerve_nn::losses::{
        BinaryCrossEntropy, BinaryCrossEntropyWithLogits, CrossEntropy, Huber, Loss, Mae, Mse,
    };
    pub use nerve_nn::optim::{Adam, AdamW, Optimizer, RmsProp, Sgd};
    pub use nerve_nn::schedules::{self, Schedule};
    pub use nerve_nn::{Context, Layer, Params};
}

/// The example of the README is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
