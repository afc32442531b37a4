//! From a graph of tensors to an ONNX model.
