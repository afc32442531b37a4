//! Why a network cannot be written as ONNX.

/// Why a network cannot be written as ONNX.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ExportError {
    /// The version of the operators.
    #[error("opset {0}: this writes 17 to 22")]
    Opset(i64),
    /// An operation without a counterpart.
    #[error("{part}: `{operation}` cannot be written as ONNX: {why}")]
    Operation {
        /// The part of the network.
        part: String,
        /// The operation.
        operation: String,
        /// What is missing.
        why: String,
    },
    /// Something that depends on the number of examples in a way that ONNX cannot say.
    #[error("depends on the number of examples: {0}")]
    Batch(String),
    /// Inputs, outputs or options that make no sense.
    #[error("{0}")]
    Usage(String),
}
