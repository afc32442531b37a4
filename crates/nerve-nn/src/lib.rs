//! What networks are made of: layers, activations, losses, initialisers, optimizers.
//!
//! | place | what lives there |
//! |---|---|
//! | [`Params`] | the parameters of a network under the state-dict names of PyTorch |
//! | [`Context`] | whether it is trained or used, and where random numbers come from |
//! | [`Layer`], [`layers`] | `forward`, and the layers |
//! | [`Model`] | a network of several inputs and outputs |
//! | [`models`] | the zoo: whole networks; networks of features |
//! | [`encoders`], [`combiners`], [`decoders`] | what networks of features are made of |
//! | [`generate`] | sequences written token by token |
//! | [`activations`] | the functions between them |
//! | [`losses`] | what is minimised |
//! | [`init`] | how parameters begin |
//! | [`optim`] | how they follow the gradient |
//! | [`schedules`] | how the learning rate changes |
//! | [`regularize`] | penalties and constraints on parameters |
//! | [`pattern`] | parameters chosen by path |
//! | [`state`] | parameters as named bytes, for files |
//! | [`transfer`] | parameters from another model |
//! | [`lora`] | adapters of low rank beside frozen weights |
//!
//! Each layer, activation, loss, initialiser, optimizer and schedule is one file, and one line in
//! the registry of its kind. From the registries come the words of a recipe, the table of the
//! conformity tests and the lists in the documentation.
//!
//! ```
//! use nerve_core::{Tensor, compile};
//! use nerve_nn::layers::{Linear, Sequential};
//! use nerve_nn::losses::{Loss, Mse};
//! use nerve_nn::optim::{Optimizer, Sgd};
//! use nerve_nn::activations::Tanh;
//! use nerve_nn::{Context, Layer, Params};
//!
//! let params = Params::new(42);
//! let model = Sequential::new(vec![
//!     Box::new(Linear::new(&params.at("fc1"), 2, 8)),
//!     Box::new(Tanh),
//!     Box::new(Linear::new(&params.at("fc2"), 8, 1)),
//! ]);
//! let optimizer = Sgd::new(&params, 0.3).momentum(0.9);
//! let step = compile(|args: &[Tensor]| {
//!     let cx = Context::train(&args[2]);
//!     let loss = Mse.loss(&model.forward(&args[0], &cx), &args[1]);
//!     optimizer.minimize(&loss);
//!     vec![loss]
//! });
//! // Exclusive or, which no single layer can learn.
//! let x = Tensor::from_slice(&[0.0f32, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [4, 2]);
//! let y = Tensor::from_slice(&[0.0f32, 1.0, 1.0, 0.0], [4, 1]);
//! let mut loss = f32::INFINITY;
//! for number in 1..=300 {
//!     loss = step.call(&[&x, &y, &Tensor::random_key(42, number)])[0].item();
//! }
//! assert!(loss < 0.01, "{loss}");
//! ```
#![forbid(unsafe_code)]

pub mod activations;
pub mod combiners;
mod context;
pub mod decoders;
mod dims;
pub mod encoders;
pub mod generate;
pub mod init;
pub mod layers;
mod list;
pub mod lora;
pub mod losses;
mod model;
pub mod models;
pub mod optim;
mod params;
pub mod pattern;
pub mod regularize;
pub mod schedules;
pub mod state;
pub mod transfer;

pub use context::Context;
pub use layers::Layer;
pub use model::Model;
pub use params::{Parameter, Params, Role};
