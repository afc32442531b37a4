//! `nerve import`: models that were trained elsewhere. What the file is decides how.

mod weights;

use crate::args::Import;
use crate::failure::Failure;
use nerve::formats::kind::Kind;
use nerve::formats::{ErrorKind, FormatError};

pub fn run(args: &Import) -> Result<(), Failure> {
    match Kind::of(&args.file)? {
        Kind::SafeTensors => weights::run(args),
        Kind::Onnx => {
            let file = nerve_recipe::source::escape(&args.file.to_string_lossy());
            Err(Failure::Usage(format!(
                "`{file}` is an ONNX model, which brings its own network and needs no import: `nerve predict {file} --data \
                 IN.npz`, `nerve serve {file}`; to train it further, name it in a recipe: [model] base = \"{file}\""
            )))
        }
        Kind::Unread(other) => Err(other.refuse(&args.file).into()),
        _ => {
            let (expected, found) = ("a safetensors file", "something else");
            let error = ErrorKind::Unsupported;
            Err(FormatError::new(error, &args.file, "format", expected, found).into())
        }
    }
}
