//! A model of either kind: one with columns, from a recipe, or one with tensors, from an ONNX file.

use crate::batch::Batching;
use crate::drift::{Drifting, Watching};
use crate::graph::{Graph, Port};
use crate::model::{ServeError, Served};
use crate::refusal::Refusal;
use crate::tensor::Datatype;
use crate::watch::Watch;
use nerve_formats::kind::Kind;
use std::path::Path;
use std::sync::Arc;

/// One version of a model, ready to answer.
#[derive(Clone)]
pub enum Loaded {
    /// Trained from a recipe: rows of columns go in.
    Rows(Arc<Served>),
    /// An ONNX file: tensors go in.
    Graph(Arc<Graph>),
}

impl From<Served> for Loaded {
    fn from(served: Served) -> Loaded {
        Loaded::Rows(Arc::new(served))
    }
}

impl From<Graph> for Loaded {
    fn from(graph: Graph) -> Loaded {
        Loaded::Graph(Arc::new(graph))
    }
}

impl Loaded {
    /// Opens a file of either kind: what is in it decides.
    ///
    /// # Errors
    /// As [`Served::open`] and [`Graph::open`].
    pub fn open(
        name: &str,
        version: u64,
        file: &Path,
        batching: Batching,
        external_data: bool,
    ) -> Result<Loaded, ServeError> {
        Ok(match Kind::of(file) {
            Ok(Kind::Onnx) => Graph::open(name, version, file, batching, external_data)?.into(),
            _ => Served::open(name, version, file, batching)?.into(),
        })
    }

    /// The name that clients use.
    pub fn name(&self) -> &str {
        match self {
            Loaded::Rows(served) => &served.name,
            Loaded::Graph(graph) => &graph.name,
        }
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        match self {
            Loaded::Rows(served) => served.version,
            Loaded::Graph(graph) => graph.version,
        }
    }

    /// What it has done so far.
    pub fn watch(&self) -> &Watch {
        match self {
            Loaded::Rows(served) => &served.watch,
            Loaded::Graph(graph) => &graph.watch,
        }
    }

    /// Whether there is room for another request.
    ///
    /// # Errors
    /// 503 when too many wait.
    pub(crate) fn room(&self) -> Result<(), Refusal> {
        match self {
            Loaded::Rows(served) => served.room(),
            Loaded::Graph(graph) => graph.room(),
        }
    }

    /// The same, whose rows are watched in another way, or not at all; tensors are not watched.
    #[must_use]
    pub(crate) fn watching(self, watching: Option<Watching>) -> Loaded {
        match self {
            Loaded::Rows(served) => match Arc::try_unwrap(served) {
                Ok(served) => served.watching(watching).into(),
                // It answers already.
                Err(served) => Loaded::Rows(served),
            },
            graph => graph,
        }
    }

    /// What its rows are like, if somebody wants to know.
    pub(crate) fn drifting(&self) -> Option<&Drifting> {
        match self {
            Loaded::Rows(served) => served.drifting.as_ref(),
            Loaded::Graph(_) => None,
        }
    }

    /// The digest of its file, in hexadecimal.
    pub fn sha256(&self) -> &str {
        match self {
            Loaded::Rows(served) => &served.sha256,
            Loaded::Graph(graph) => &graph.sha256,
        }
    }

    /// The most rows of a batch; 0 where requests are not run together.
    pub fn most_rows(&self) -> usize {
        match self {
            Loaded::Rows(served) => served.most_rows(),
            Loaded::Graph(graph) => graph.most_rows(),
        }
    }

    /// The tensors that go in.
    pub fn inputs(&self) -> Vec<Port> {
        match self {
            Loaded::Rows(served) => {
                let input = |input: &crate::columns::InputColumn| {
                    let (datatype, row) = input.tensor();
                    rows(input.name.clone(), datatype, &row)
                };
                let order =
                    served.order.iter().map(|name| rows(name.clone(), Datatype::Bytes, &[]));
                served.inputs.iter().map(input).chain(order).collect()
            }
            Loaded::Graph(graph) => graph.inputs.clone(),
        }
    }

    /// The tensors that come out.
    pub fn outputs(&self) -> Vec<Port> {
        match self {
            Loaded::Rows(served) => {
                let tensors = served.outputs.iter().flat_map(|output| output.tensors());
                tensors.map(|(name, datatype, row)| rows(name, datatype, &row)).collect()
            }
            Loaded::Graph(graph) => graph.outputs.clone(),
        }
    }
}

fn rows(name: String, datatype: Datatype, row: &[usize]) -> Port {
    let shape = std::iter::once(-1).chain(row.iter().map(|&n| n as i64)).collect();
    Port { name, datatype, shape }
}
