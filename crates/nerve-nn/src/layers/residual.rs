use super::Layer;
use crate::context::Context;
use nerve_core::Tensor;

/// Adds what it has learned to what it was given: y = activation(body(x) + shortcut(x)).
///
/// He, Zhang, Ren & Sun, "Deep residual learning for image recognition", 2015.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::layers::{Linear, Residual};
/// use nerve_nn::{Context, Layer, Params};
/// let body = Box::new(Linear::new(&Params::new(42).at("fc"), 8, 8));
/// let block = Residual { body, shortcut: None, activation: None };
/// assert_eq!(**block.forward(&Tensor::ones([2, 8]), &Context::eval()).shape(), [2, 8]);
/// ```
pub struct Residual {
    /// What is learned.
    pub body: Box<dyn Layer>,
    /// What brings x to the shape of the result; without it x is added as it is.
    pub shortcut: Option<Box<dyn Layer>>,
    /// The function after the sum.
    pub activation: Option<Box<dyn Layer>>,
}

impl Layer for Residual {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let y = self.body.forward(x, cx);
        let y = match &self.shortcut {
            Some(shortcut) => y + shortcut.forward(x, cx),
            None => y + x,
        };
        match &self.activation {
            Some(activation) => activation.forward(&y, cx),
            None => y,
        }
    }
}
