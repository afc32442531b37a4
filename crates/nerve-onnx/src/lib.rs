//! Networks from ONNX files, and to them.
//!
//! An ONNX file is a graph, and so is a network here: exchanging is rewriting one as the other.
//! The messages of the format are [`nerve_formats::onnx`]'s; this crate knows what they mean.
#![forbid(unsafe_code)]

pub mod export;
pub mod import;
