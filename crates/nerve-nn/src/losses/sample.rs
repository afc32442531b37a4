//! Samples of the registry: what a loss is tried with.

use super::Target;
use nerve_core::{DType, Shape};

/// An example of how a loss is written in a recipe, and of what it compares.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The inside of its inline table, without the `type`: `label_smoothing = 0.1`.
    pub args: &'static str,
    /// Outputs of a network for one example.
    pub output: Values,
    /// Targets for one example.
    pub target: Values,
}

impl Sample {
    /// With these arguments, of these outputs and targets.
    pub const fn of(args: &'static str, output: Values, target: Values) -> Sample {
        Sample { args, output, target }
    }
}

/// The numbers of one example: what they may be, and their shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Any numbers.
    Real(&'static [usize]),
    /// Numbers above zero.
    Positive(&'static [usize]),
    /// Probabilities, each by itself.
    Unit(&'static [usize]),
    /// Probabilities that add up to 1 along the first axis.
    Shares(&'static [usize]),
    /// Zeros and ones.
    Bits(&'static [usize]),
    /// Minus one and one.
    Signs(&'static [usize]),
    /// Boxes: left, top, right, bottom along the last axis.
    Boxes(&'static [usize]),
    /// Class numbers below the second one, of i32.
    Classes(&'static [usize], usize),
}

impl Values {
    /// The shape of one example.
    pub fn shape(&self) -> &'static [usize] {
        match self {
            Values::Real(shape)
            | Values::Positive(shape)
            | Values::Unit(shape)
            | Values::Shares(shape)
            | Values::Bits(shape)
            | Values::Signs(shape)
            | Values::Boxes(shape)
            | Values::Classes(shape, _) => shape,
        }
    }

    /// The description of targets like these.
    pub fn target(&self) -> Target {
        let (dtype, classes) = match self {
            Values::Classes(_, classes) => (DType::I32, Some(*classes)),
            _ => (DType::F32, None),
        };
        Target { shape: Shape::from(self.shape()), dtype, classes }
    }
}
