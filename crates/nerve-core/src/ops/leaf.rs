//! What comes from outside a plan: constants, arguments, variables.

use crate::dtype::DType;
use crate::op::{Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::var::Var;

/// A tensor whose elements were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Constant;

/// An argument of a compiled function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Argument {
    /// Which one.
    pub index: usize,
}

/// The content of a variable when the step begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadVar {
    /// The variable.
    pub var: Var,
    /// Outside a trace, the version that was read: evaluating another one would be wrong.
    pub(crate) version: Option<u64>,
}

macro_rules! leaf {
    ($op:ty, $name:literal) => {
        impl Operation for $op {
            fn name(&self) -> &'static str {
                $name
            }

            fn infer(&self, _: &[Tensor]) -> Result<(Shape, DType), String> {
                Err("is made by its own constructor".into())
            }

            fn role(&self) -> Role<'_> {
                Role::Leaf
            }
        }
    };
}
impl Tensor {
    /// An argument that is never given: for graphs that are read, not run (a network on its way to a file).
    /// It has no value.
    ///
    /// ```
    /// use nerve_core::{DType, Op, Tensor};
    /// let y = Tensor::argument(0, [2, 3], DType::F32).exp();
    /// assert!(matches!(y.inputs()[0].op(), Op::Argument(_)));
    /// ```
    #[track_caller]
    pub fn argument(index: usize, shape: impl Into<Shape>, dtype: DType) -> Tensor {
        Tensor::leaf(Argument { index }, shape.into(), dtype)
    }
}

leaf!(Constant, "constant");
leaf!(Argument, "argument");
leaf!(ReadVar, "var");
