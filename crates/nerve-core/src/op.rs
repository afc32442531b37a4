//! The closed list of operations, and what each one must say about itself.

use crate::compile::{Lowering, Strided};
use crate::dtype::DType;
use crate::ops::*;
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::fused;

/// What every operation says about itself. Everything about one operation stands in one file
/// under `ops/`; this is the list of what that file holds.
pub trait Operation {
    /// Its name in messages and in `explain`.
    fn name(&self) -> &'static str;

    /// The shape and dtype of the result, or why these inputs do not fit.
    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String>;

    /// The same value by simpler operations, if it is not itself a simple one.
    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let _ = inputs;
        None
    }

    /// The gradient with respect to each input, given `dy`, that of the output: `None` where no
    /// gradient flows (an index, a condition).
    ///
    /// The default is the gradient of the decomposition. An operation that has neither cannot be
    /// differentiated, and asking is an error.
    ///
    /// # Errors
    /// Says why there is no gradient.
    fn gradient(&self, inputs: &[Tensor], output: &Tensor, dy: &Tensor) -> Gradients {
        let _ = output;
        match self.decompose(inputs) {
            Some(simpler) => Ok(crate::grad::vjp(&simpler, dy, inputs)),
            None => Err(format!("{} is not differentiable", self.name())),
        }
    }

    /// How the compiler treats it.
    fn role(&self) -> Role<'_>;
}

/// One entry for each input of an operation, or why there is no gradient.
pub type Gradients = Result<Vec<Option<Tensor>>, String>;

/// How the compiler treats an operation.
pub enum Role<'a> {
    /// Comes from outside the plan: a constant, an argument, a variable.
    Leaf,
    /// One value from the values at the same place of each input; fused into groups.
    Elementwise(&'a dyn Elementwise),
    /// Reads the same elements at other places: resolved by the planner, usually for nothing.
    Movement(&'a dyn Movement),
    /// Sums (or the like) along axes; ends a fused group.
    Reduction(&'a Reduce),
    /// Has instructions of its own.
    Kernel(&'a dyn Lower),
    /// Is replaced by its decomposition before anything is lowered.
    Composite,
}

/// An operation on single elements.
pub trait Elementwise {
    /// The step of the tile interpreter, given the values of the inputs and the group's type.
    fn step(&self, inputs: &[u16], compute: fused::Compute) -> fused::Step;

    /// Whether the result depends on no buffer that is worth reading instead: such a value is
    /// computed again in every group that needs it.
    fn is_source(&self) -> bool {
        false
    }
}

/// An operation that only moves elements.
pub trait Movement {
    /// Where the elements of the result lie if those of the input lie as in `input`; `None` if
    /// the input has to be copied to a contiguous place first.
    fn view(&self, input: &Strided) -> Option<Strided>;
}

/// An operation with instructions of its own.
pub trait Lower {
    /// Emits the instructions that compute `node`.
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>);

    /// Whether the elements of operand number `operand` have to stand side by side and are usually
    /// parameters: where they do not change, they are arranged once.
    fn packs(&self, operand: usize) -> bool {
        let _ = operand;
        false
    }

    /// The number of values in each row of the result if a bias of that length and an activation
    /// may be applied as the result is stored.
    fn epilogue(&self, node: &Tensor) -> Option<usize> {
        let _ = node;
        None
    }

    /// Whether it can add its result, in that epilogue, to what its place holds.
    fn accumulates(&self) -> bool {
        false
    }
}

macro_rules! ops {
    ($($name:ident),* $(,)?) => {
        /// An operation: one variant each, holding a struct of its own.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)] // Each variant is documented at the struct of the same name.
        pub enum Op {
            $($name($name),)*
        }

        impl Op {
            /// The names of all operations.
            pub const NAMES: &[&str] = &[$(stringify!($name),)*];

            /// What the operation says about itself.
            pub fn rule(&self) -> &dyn Operation {
                match self {
                    $(Op::$name(op) => op,)*
                }
            }
        }

        $(impl From<$name> for Op {
            fn from(op: $name) -> Op {
                Op::$name(op)
            }
        })*
    };
}

ops! {
    // Leaves and sources.
    Constant, Argument, ReadVar, Full, Iota, Random,
    // Elementwise.
    Unary, Binary, Select, Cast, Detach,
    // Movement.
    Reshape, Permute, Broadcast, Slice,
    // With kernels.
    Pad, Concat, Reduce, Matmul, Panels, Conv, ConvWeightGrad, WinogradFilter, FilterPanels, Pool, MaxPlace, PoolGrad, Softmax, SoftmaxGrad,
    CrossEntropy, CrossEntropyGrad, Gather, ScatterAdd,
    GatherElements, ScatterAddElements, Scatter, IntMatmul, ArgSort, ArgReduce, CumSum, Recurrent, RecurrentGrad,
    LayerNorm, LayerNormGrad, Attention, AttentionGrad,
    // Composite.
    BatchNorm, ConvInputGrad,
}
