//! Neural networks in Rust.
#![forbid(unsafe_code)]
