//! `Model`: a network of several inputs and outputs.

use crate::context::Context;
use crate::generate::Autoregressive;
use crate::layers::Layer;
use nerve_core::Tensor;

/// A network as a trainer sees it: tensors in, tensors out. Every [`Layer`] is one, with one input
/// and one output.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Model, Params, layers::Linear};
/// let model = Linear::new(&Params::new(42), 3, 2);
/// let outputs = model.outputs(&[Tensor::ones([5, 3])], &Context::eval());
/// assert_eq!((model.input_count(), outputs.len()), (1, 1));
/// assert_eq!(**outputs[0].shape(), [5, 2]);
/// ```
pub trait Model: Send + Sync {
    /// How many inputs it takes.
    fn input_count(&self) -> usize {
        1
    }

    /// The outputs for a batch: the first axis of each tensor counts the examples.
    ///
    /// # Panics
    /// If there are more or fewer inputs than [`input_count`](Model::input_count), or one is of a shape
    /// that does not fit.
    fn outputs(&self, inputs: &[Tensor], cx: &Context) -> Vec<Tensor>;

    /// The network as what writes its output token by token, if that is what it does.
    fn writer(&self) -> Option<&dyn Autoregressive> {
        None
    }
}

impl<L: Layer + ?Sized> Model for L {
    #[track_caller]
    fn outputs(&self, inputs: &[Tensor], cx: &Context) -> Vec<Tensor> {
        let [x] = inputs else { panic!("a layer has one input, not {}", inputs.len()) };
        vec![self.forward(x, cx)]
    }
}
