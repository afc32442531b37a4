//! From an ONNX model to a graph of tensors.
