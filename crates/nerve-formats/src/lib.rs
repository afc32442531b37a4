//! Readers and writers of files that come from outside.
//!
//! | module | what |
//! |---|---|
//! | [`Reader`] | the bounded byte reader under every format |
//! | [`archive`] | members of zip, tar and Debian packages, plain or compressed |
//! | [`idx`] | arrays as MNIST has them, plain or in gzip |
//! | [`kind`] | what kind of file it is, by its content |
//! | [`npy`], [`Zip`], [`write_npz`] | arrays of NumPy, alone or several in an npz archive |
//! | [`onnx`] | networks in the Open Neural Network Exchange format |
//! | [`pickle`] | objects of Python as plain data; nothing is called |
//! | [`rdata`] | data frames of R |
//! | [`safetensors`] | named tensors in one file |
//! | [`tfevents`] | event files of TensorBoard |
//! | [`wav`] | uncompressed sound |
//! | [`write_atomic`] | files that are whole or absent |
//! | [`FormatError`] | file, place, expected, found, in one line |
//! | [`spec`] | what a recipe may name, and the check of what it gives |
//!
//! Whatever bytes a file holds, a reader returns a value or a [`FormatError`]: it does not panic, and
//! it allocates no more than a small multiple of the bytes that are really there.
#![forbid(unsafe_code)]

pub mod archive;
mod atomic;
mod error;
pub mod idx;
pub mod kind;
mod limits;
mod meaning;
pub mod npy;
mod npz;
pub mod onnx;
pub mod pickle;
mod protobuf;
pub mod rdata;
mod reader;
pub mod safetensors;
pub mod spec;
pub mod tfevents;
pub mod wav;
mod zip;

pub use atomic::{sync_folder, write_atomic};
pub use error::{ErrorKind, FormatError, escape};
pub use idx::{Idx, IdxData, read_idx, write_idx};
pub use limits::Limits;
pub use meaning::Meaning;
pub use npy::{Npy, NpyData};
pub use npz::write_npz;
pub use reader::Reader;
pub use safetensors::{SafeTensors, write_safetensors};
pub use wav::{Wav, parse_wav, read_wav};
pub use zip::Zip;
