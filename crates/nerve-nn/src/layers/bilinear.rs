use crate::init::{Initializer, Uniform};
use crate::params::Params;
use nerve_core::{Tensor, Var};

/// A bilinear form of two inputs for each output: yₖ = aᵀ Wₖ b + biasₖ.
///
/// Tenenbaum & Freeman, "Separating style and content with bilinear models", 2000. It takes two
/// inputs, so it is no [`Layer`](super::Layer) and stands in no recipe.
///
/// Inputs `[…, left]` and `[…, right]` with the same axes before, output `[…, out]`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Params, layers::Bilinear};
/// let layer = Bilinear::new(&Params::new(42).at("bilinear"), 3, 4, 2);
/// let y = layer.forward(&Tensor::ones([5, 3]), &Tensor::ones([5, 4]));
/// assert_eq!(**y.shape(), [5, 2]);
/// ```
pub struct Bilinear {
    /// `[out, left, right]`.
    pub weight: Var,
    /// `[out]`.
    pub bias: Option<Var>,
}

impl Bilinear {
    /// With biases, all values uniform in ±1/√`left` as in PyTorch.
    #[track_caller]
    pub fn new(params: &Params, left: usize, right: usize, outputs: usize) -> Bilinear {
        let init = Uniform::fan_in(left);
        Bilinear::with_init(params, left, right, outputs, &init, Some(&init))
    }

    /// With weights from one initialiser, and biases from another or none.
    #[track_caller]
    pub fn with_init(
        params: &Params,
        left: usize,
        right: usize,
        outputs: usize,
        weight: &dyn Initializer,
        bias: Option<&dyn Initializer>,
    ) -> Bilinear {
        Bilinear {
            weight: params.var("weight", [outputs, left, right], weight),
            bias: bias.map(|init| params.var("bias", [outputs], init)),
        }
    }

    /// The output for two batches.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn forward(&self, left: &Tensor, right: &Tensor) -> Tensor {
        let &[outputs, l, r] = &self.weight.shape()[..] else { unreachable!("three axes") };
        let ends = |x: &Tensor, n| x.rank() >= 1 && x.shape()[x.rank() - 1] == n;
        assert!(
            ends(left, l)
                && ends(right, r)
                && left.shape()[..left.rank() - 1] == right.shape()[..right.rank() - 1],
            "Bilinear: expected […, {l}] and […, {r}], found {} and {}",
            left.shape(),
            right.shape()
        );
        let rows: usize = left.shape()[..left.rank() - 1].iter().product();
        let (a, b) = (left.reshape([rows, l]), right.reshape([rows, r]));
        // [rows, out, right], then the sum over the right.
        let weight = self.weight.get().permute(&[1, 0, 2]).reshape([l, outputs * r]);
        let halves = a.matmul(&weight).reshape([rows, outputs, r]);
        let mut y = (halves * b.unsqueeze(1)).sum_axes(&[-1], false);
        if let Some(bias) = &self.bias {
            y = y + bias.get();
        }
        let mut shape = left.shape().to_vec();
        shape.pop();
        shape.push(outputs);
        y.reshape(shape)
    }
}
