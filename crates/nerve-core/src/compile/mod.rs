//! From a graph to a plan that runs: trace → simplify → fuse → lower → memory → program.
//!
//! | file | what it does |
//! |---|---|
//! | `simplify` | rewrites the graph into one with less work |
//! | `standing` | cuts off what need not be computed in every run |
//! | `prepack` | packs weights of products and convolutions that stand |
//! | `absorb` | gives convolutions the padding before them |
//! | `units` | decides what is computed together, and in which order |
//! | `lowering` | decides where values lie and emits instructions |
//! | `memory` | gives the values addresses in one arena |
//! | `plan` | binds the program to arguments, variables and results |
//! | `cost` | says what each instruction costs, for profiles |
//! | `diagnose` | says where numbers came from that are not finite |
//! | `compiled` | functions: a plan for each list of shapes and types |
//! | `step` | a plan with memory for its arguments and results |
//! | `eager` | values of single tensors, whose plans are kept by graph |

mod absorb;
mod compiled;
mod cost;
mod diagnose;
mod eager;
mod explain;
mod lowering;
mod memory;
mod plan;
mod prepack;
mod simplify;
mod standing;
mod step;
mod strided;
mod units;

pub use compiled::{Compiled, compile, try_plan};
pub use cost::{Cost, VariableRole};
pub use diagnose::{Census, Diagnosis, Origin, OriginKind, Spoilt};
pub(crate) use eager::{evaluate, known};
pub use lowering::{Epilogue, Lowering, Matrices, Placed, float};
pub use plan::Plan;
pub use step::Step;
pub use strided::Strided;
