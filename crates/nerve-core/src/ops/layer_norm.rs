//! Layer normalisation and root-mean-square normalisation over the last axes.

use super::{Bits, expect_float, expect_same};
use crate::compile::{Lowering, float};
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::Region;

/// `(x − mean) / √(variance + eps) · weight + bias` over the last axes, those of the weight. Not
/// `centred`, the mean counts as 0. Inputs: x, weight, and a bias or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LayerNorm {
    /// Added to the variance.
    pub eps: Bits,
    /// Whether to subtract the mean.
    pub centred: bool,
}

/// The gradients of [`LayerNorm`], one after the other in a tensor of one axis: that of x, that of
/// the weight, that of a bias. Inputs: x, weight, the gradient of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LayerNormGrad {
    /// As in [`LayerNorm`].
    pub eps: Bits,
    /// As in [`LayerNorm`].
    pub centred: bool,
}

/// Rows and columns of `x` as a matrix whose rows have the shape of `weight`.
fn matrix(x: &Tensor, weight: &Tensor) -> (usize, usize) {
    let cols = weight.numel();
    (x.numel().checked_div(cols).unwrap_or(0), cols)
}

/// The axes that are normalised, counted from behind.
fn axes(weight: &Tensor) -> Vec<isize> {
    (1..=weight.rank() as isize).map(|i| -i).collect()
}

/// x without its mean, and 1 / √(variance + eps) of each row.
fn centre(x: &Tensor, axes: &[isize], centred: bool, eps: Bits) -> (Tensor, Tensor) {
    let c = if centred { x - x.mean_axes(axes, true) } else { x.clone() };
    let scale = (c.square().mean_axes(axes, true) + eps.get()).rsqrt();
    (c, scale)
}

impl Operation for LayerNorm {
    fn name(&self) -> &'static str {
        if self.centred { "layer_norm" } else { "rms_norm" }
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let (x, weight) = (&inputs[0], &inputs[1]);
        expect_float(x)?;
        for other in &inputs[1..] {
            expect_same(x, other)?;
        }
        if weight.rank() == 0 || !x.shape().ends_with(weight.shape()) {
            return Err(format!(
                "{} with a weight of {}: the weight has the extents of the last axes",
                x.shape(),
                weight.shape()
            ));
        }
        match inputs.get(2).filter(|bias| bias.shape() != weight.shape()) {
            Some(bias) => {
                Err(format!("the bias is {}, the weight {}", bias.shape(), weight.shape()))
            }
            None => Ok((x.shape().clone(), x.dtype())),
        }
    }

    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let (x, weight) = (&inputs[0], &inputs[1]);
        let (c, scale) = centre(x, &axes(weight), self.centred, self.eps);
        let y = c * scale * weight;
        Some(match inputs.get(2) {
            Some(bias) => y + bias,
            None => y,
        })
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        let (x, weight) = (&inputs[0], &inputs[1]);
        let op = LayerNormGrad { eps: self.eps, centred: self.centred };
        let all = Tensor::apply(op, &[x, weight, dy]);
        let (n, cols) = (x.numel(), weight.numel());
        let part = |start: usize, like: &Tensor| {
            Some(all.slice(0, start, start + like.numel()).reshape(like.shape()))
        };
        let mut parts = vec![part(0, x), part(n, weight)];
        parts.extend(inputs.get(2).map(|bias| part(n + cols, bias)));
        Ok(parts)
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for LayerNorm {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let (rows, cols) = matrix(node, &node.inputs()[1]);
        let mut inputs = node.inputs().iter().map(|input| cx.contiguous(input));
        let (x, weight) = (inputs.next(), inputs.next());
        let bias = inputs.next();
        let (x, weight) = (x.expect("an input"), weight.expect("a weight"));
        let (ty, y) = (float(node.dtype()), cx.output_region(node));
        let (centred, eps) = (self.centred, self.eps.get());
        cx.emit(nerve_cpu::LayerNorm { ty, rows, cols, centred, eps, x, weight, bias, y });
    }
}

impl Operation for LayerNormGrad {
    fn name(&self) -> &'static str {
        if self.centred { "layer_norm_grad" } else { "rms_norm_grad" }
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let (x, weight) = (&inputs[0], &inputs[1]);
        Ok(([x.numel() + 2 * weight.numel()].into(), x.dtype()))
    }

    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let [x, weight, dy] = inputs else { return None };
        let last = axes(weight);
        let (c, scale) = centre(x, &last, self.centred, self.eps);
        let (u, g) = (c * &scale, dy * weight);
        let mut dx = &g - &u * (&g * &u).mean_axes(&last, true);
        if self.centred {
            dx = dx - g.mean_axes(&last, true);
        }
        let first: Vec<isize> = (0..(x.rank() - weight.rank()) as isize).collect();
        let flat = |t: Tensor| t.reshape([t.numel()]);
        let parts =
            [dx * scale, (dy * u).sum_axes(&first, false), dy.sum_axes(&first, false)].map(flat);
        Some(Tensor::concat(&parts, 0))
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for LayerNormGrad {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let [x, weight, dy] = node.inputs() else { unreachable!("three operands") };
        let (rows, cols) = matrix(x, weight);
        let [x, weight, dy] = [x, weight, dy].map(|t| cx.contiguous(t));
        let (ty, all) = (float(node.dtype()), cx.output_region(node));
        let count = nerve_cpu::LayerNormGrad::part_count(rows, cols);
        let sums = 2 * cols * ty.bytes();
        let dx = Region { bytes: all.bytes - sums, ..all };
        let total = Region { offset: all.offset + dx.bytes, bytes: sums, ..all };
        // A single part is the sum.
        let parts = if count > 1 { cx.temporary(count * sums) } else { total };
        let (centred, eps) = (self.centred, self.eps.get());
        cx.emit(nerve_cpu::LayerNormGrad {
            ty,
            rows,
            cols,
            centred,
            eps,
            x,
            weight,
            dy,
            dx,
            parts,
        });
        if count > 1 {
            cx.sum_parts(ty, count, parts, total);
        }
    }
}

impl Tensor {
    /// Mean 0 and variance 1 over the last axes, those of `weight`, then a scale and a shift:
    /// `(x − mean) / √(variance + eps) · weight + bias`. The variance is over n.
    ///
    /// Ba, Kiros & Hinton, "Layer normalization", 2016.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[1.0f32, 3.0], [1, 2]);
    /// let y = x.layer_norm(&Tensor::ones([2]), &Tensor::zeros([2]), 0.0);
    /// assert_eq!(y.to_vec::<f32>(), [-1.0, 1.0]);
    /// ```
    ///
    /// # Panics
    /// If `weight` and `bias` have not the extents of the last axes.
    #[track_caller]
    pub fn layer_norm(&self, weight: &Tensor, bias: &Tensor, eps: f64) -> Tensor {
        let op = LayerNorm { eps: Bits::new(eps), centred: true };
        Tensor::apply(op, &[self, weight, bias])
    }

    /// Root mean square 1 over the last axes, those of `weight`, then a scale:
    /// `x / √(mean of x² + eps) · weight`.
    ///
    /// Zhang & Sennrich, "Root mean square layer normalization", 2019.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[1.0f32, 7.0], [1, 2]); // root mean square 5
    /// assert_eq!(x.rms_norm(&Tensor::ones([2]), 0.0).to_vec::<f32>(), [0.2, 1.4]);
    /// ```
    ///
    /// # Panics
    /// If `weight` has not the extents of the last axes.
    #[track_caller]
    pub fn rms_norm(&self, weight: &Tensor, eps: f64) -> Tensor {
        let op = LayerNorm { eps: Bits::new(eps), centred: false };
        Tensor::apply(op, &[self, weight])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradients, panic_message, sample};

    #[test]
    fn equals_its_decomposition() {
        let (x, w, b) = (sample([3, 4, 5], 1), sample([4, 5], 2), sample([4, 5], 3));
        for centred in [true, false] {
            let op = LayerNorm { eps: Bits::new(1e-3), centred };
            let simple = op.decompose(&[x.clone(), w.clone(), b.clone()]).unwrap();
            let fused = Tensor::apply(op, &[&x, &w, &b]);
            for (a, b) in fused.to_vec::<f64>().into_iter().zip(simple.to_vec::<f64>()) {
                assert!((a - b).abs() <= 1e-13, "{a} {b}");
            }
        }
    }

    #[test]
    fn gradients() {
        let inputs = [sample([3, 5], 1), sample([5], 2), sample([5], 3)];
        check_gradients(&inputs, |x| x[0].layer_norm(&x[1], &x[2], 0.1));
        check_gradients(&inputs[..2], |x| x[0].rms_norm(&x[1], 0.1));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let (x, w) = (Tensor::ones([2, 3]), Tensor::ones([3]));
        for (message, words) in [
            (panic_message(|| x.rms_norm(&Tensor::ones([2]), 1e-5)), "[2, 3] with a weight of [2]"),
            (panic_message(|| x.layer_norm(&w, &Tensor::ones([2, 3]), 0.0)), "bias is [2, 3]"),
            (panic_message(|| x.rms_norm(&w.to_dtype(DType::F64), 0.0)), "dtypes f32 and f64"),
        ] {
            assert!(message.contains(words), "{message}");
        }
    }
}
