//! Why a model cannot be used.

use nerve_formats::escape;
use std::fmt;

/// What sort of trouble an [`ImportError`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportErrorKind {
    /// The file cannot be read.
    File,
    /// The model breaks the rules of ONNX.
    Invalid,
    /// The model is right, but uses what nerve does not have.
    Unsupported,
    /// The shape of a result depends on a value that is not known while the graph is built: the model
    /// can be run, piece by piece, but is no single graph.
    Value,
    /// It would take more memory, time or iterations than allowed.
    Limit,
    /// What was given for an input does not fit.
    Input,
}

/// Why a model cannot be used: the model, the node, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError {
    kind: ImportErrorKind,
    model: String,
    node: Option<String>,
    message: String,
}

impl ImportError {
    pub(crate) fn new(
        kind: ImportErrorKind,
        model: &str,
        node: Option<String>,
        message: impl Into<String>,
    ) -> ImportError {
        ImportError { kind, model: model.to_string(), node, message: message.into() }
    }

    /// What sort of trouble it is.
    pub fn kind(&self) -> ImportErrorKind {
        self.kind
    }

    /// The node, if it is about one: its name and operator.
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }
}

impl fmt::Display for ImportError {
    /// On one line, escaped: names come from the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.model)?;
        if let Some(node) = &self.node {
            write!(f, "{}: ", escape(node, 200))?;
        }
        f.write_str(&escape(&self.message, 2000))
    }
}

impl std::error::Error for ImportError {}

/// Why an operator gives no result.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// A value is needed that is not known while the graph is built.
    Value(String),
    /// The operands or settings break its rules.
    Wrong(String),
    /// A case of it that is not there.
    Unsupported(String),
    /// It would take too much.
    Limit(String),
    /// A node within the node.
    Inner(ImportError),
}

impl From<String> for Stop {
    fn from(message: String) -> Stop {
        Stop::Wrong(message)
    }
}

impl From<&str> for Stop {
    fn from(message: &str) -> Stop {
        Stop::Wrong(message.to_string())
    }
}

impl From<nerve_core::ShapeError> for Stop {
    fn from(error: nerve_core::ShapeError) -> Stop {
        Stop::Wrong(error.to_string())
    }
}

impl From<nerve_core::RunError> for Stop {
    fn from(error: nerve_core::RunError) -> Stop {
        Stop::Wrong(error.to_string())
    }
}
