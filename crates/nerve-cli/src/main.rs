//! The `nerve` command.
#![forbid(unsafe_code)]
fn main() {}
