use super::Layer;
use crate::context::Context;
use nerve_core::Tensor;

/// Any function as a layer: `Lambda` of Keras. For Rust only, since a recipe holds no code.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::Lambda};
/// let double = Lambda::new(|x: &Tensor, _: &Context| x * 2.0);
/// assert_eq!(double.forward(&Tensor::ones([1]), &Context::eval()).to_vec::<f32>(), [2.0]);
/// ```
pub struct Lambda<F> {
    function: F,
}

impl<F: Fn(&Tensor, &Context) -> Tensor + Send + Sync> Lambda<F> {
    /// A layer without parameters.
    pub fn new(function: F) -> Lambda<F> {
        Lambda { function }
    }
}

impl<F: Fn(&Tensor, &Context) -> Tensor + Send + Sync> Layer for Lambda<F> {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        (self.function)(x, cx)
    }
}
