//! Groups in the form in which plans print them.

use super::{BinaryOp, Compute, Element, Fused, Random, Reduce, Step, UnaryOp};
use std::fmt;

macro_rules! display_name {
    ($($t:ty),*) => {
        $(impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        })*
    };
}
display_name!(UnaryOp, BinaryOp, Reduce, Random);

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Element::F32 => "f32",
            Element::F64 => "f64",
            Element::I32 => "i32",
            Element::I64 => "i64",
            Element::U8 => "u8",
            Element::I8 => "i8",
            Element::Bool => "bool",
        })
    }
}

impl fmt::Display for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.element().fmt(f)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Load(input) => write!(f, "in{input}"),
            Step::Const(bits) => write!(f, "const {bits:#x}"),
            Step::Unary(op, a) => write!(f, "{op} v{a}"),
            Step::Binary(op, a, b) => write!(f, "{op} v{a} v{b}"),
            Step::Select(c, a, b) => write!(f, "select v{c} v{a} v{b}"),
            Step::MulAdd(a, b, c) => write!(f, "mul_add v{a} v{b} v{c}"),
            Step::Index(weights) => write!(f, "index {weights:?}"),
            Step::Random { kind, key, stream } => write!(f, "{kind} key in{key} stream {stream}"),
        }
    }
}

/// One line: type and extents, then the steps that compute something, then the outputs.
impl fmt::Display for Fused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.compute, self.dims)?;
        for (i, step) in self.code.iter().enumerate() {
            let separator = if i == 0 { ":" } else { ";" };
            match step {
                Step::Const(bits) if self.compute.is_integer() => {
                    write!(f, "{separator} v{i} = {}", *bits as i64)?;
                }
                Step::Const(bits) => write!(f, "{separator} v{i} = {}", f64::from_bits(*bits))?,
                step => write!(f, "{separator} v{i} = {step}")?,
            }
        }
        for output in &self.outputs {
            write!(f, " -> ")?;
            if let Some(reduce) = output.reduce {
                write!(f, "{reduce} ")?;
            }
            write!(f, "v{} {}", output.value, output.view.element)?;
        }
        Ok(())
    }
}

impl fmt::Display for super::FusedKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}
