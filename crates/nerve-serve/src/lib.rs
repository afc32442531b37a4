//! Inference over HTTP: the Open Inference Protocol, plain rows, batching, metrics.
//!
//! | place | what lives there |
//! |---|---|
//! | [`Server`] | the listener, its connections and their bounds |
//! | [`Tls`] | its certificate |
//! | `place.rs`, `guard.rs`, `route.rs`, `said.rs` | from a request to its answer: what it names, whether it may, what is said |
//! | `ask.rs`, `encode.rs` | requests that a network answers: from bytes to cells, from cells to numbers |
//! | `events.rs` | a text that is heard while it is written |
//! | `openapi.rs`, `assets/` | the description of all this for programs, and the page on which people try a model |
//! | [`Repository`] | the models, their versions, how they come and go |
//! | [`Loaded`] | one version of a model of either kind |
//! | [`Served`] | a model with columns: from rows to answers |
//! | [`Graph`] | a model of tensors, from an ONNX file |
//! | [`batch`] | requests that come at the same time are answered together |
//! | [`plans`] | the network compiled for a few numbers of rows |
//! | [`texts`] | what writes texts, token by token |
//! | [`tensor`], `numbers.rs`, [`infer`] | the tensors and the requests of the protocol |
//! | [`rows`] | `POST /predict`: JSON and CSV in the columns of the recipe |
//! | `drift.rs` | what the rows of requests are like, beside those of the training |
//! | [`watch`], `describe.rs` | counters, and what is said of them |
//!
//! # What it promises
//!
//! - What a row gets does not depend on the rows beside it. Its bits may depend on how many they are, by the order in
//!   which four rows at most are summed up; with [`Batching::exact`] they do not.
//! - A request that fails takes no other with it; nothing that a client sends makes the server end, grow without bound or
//!   open a file.
//! - Every queue, size and time is bounded, and what is over a bound is told so.
#![forbid(unsafe_code)]

mod ask;
pub mod batch;
pub mod columns;
mod describe;
mod drift;
mod encode;
mod events;
pub mod graph;
mod guard;
pub mod infer;
mod loaded;
mod log;
mod model;
mod numbers;
mod openapi;
mod options;
mod place;
pub mod plans;
mod refusal;
mod repository;
mod route;
pub mod rows;
mod said;
mod server;
pub mod tensor;
pub mod texts;
mod tls;
pub mod watch;

pub use batch::Batching;
pub use drift::Watching;
pub use graph::Graph;
pub use loaded::Loaded;
pub use log::Log;
pub use model::{ServeError, Served};
pub use nerve_tls::TlsError;
pub use options::{Limits, Options, Token};
pub use refusal::Refusal;
pub use repository::{Line, Repository, Source, Sources};
pub use server::{BindError, Server};
pub use tls::Tls;
