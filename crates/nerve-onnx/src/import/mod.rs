//! From an ONNX model to a graph of tensors.
//!
//! [`Network`] holds a model whose weights are parameters like any others. Its operators are applied to
//! tensors one after the other, in the order of the file, and give an ordinary graph: it is compiled,
//! differentiated and trained as one that was written by hand.
//!
//! Shapes are fixed when a graph is built here, and in an ONNX file they may be computed. So the graph is
//! built for the shapes at hand, and what shapes are computed from (the extents of inputs, constants) is
//! known by then. Where a shape depends on the *values* of an input, small integer inputs are taken as
//! constants, with a plan for each of their values; where that is not enough (`NonZero`, a loop that ends
//! when a sum is large), the network is evaluated piece by piece.
//!
//! | file | what |
//! |---|---|
//! | `check.rs` | operators that there are, names that lead somewhere |
//! | `network.rs` | the model, its weights as parameters |
//! | `narrow.rs` | types that are held in wider ones |
//! | `tagged.rs` | how operators treat them, and texts that are picked by number |
//! | `scope.rs` | names and values; walking over the nodes |
//! | `call.rs` | one node, as its operator sees it |
//! | `early.rs` | what reads texts, before a plan is run |
//! | `run.rs` | plans for the shapes of inputs |
//! | `value.rs` | arrays, texts, lists |
//! | `ops/` | the operators by family; `ops/mod.rs` has the list |

mod call;
mod check;
mod early;
mod error;
mod narrow;
mod network;
mod ops;
mod run;
mod scope;
mod tagged;
mod value;

pub use error::{ImportError, ImportErrorKind};
pub use network::{Limits, Network, Options, show};
pub use ops::{operators, supports};
pub use value::{Picked, Strings, Value, dtype};
