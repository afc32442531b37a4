//! Sums, products and extremes along axes, and what is made of them.

use super::axis_of;
use crate::dtype::DType;
use crate::op::{Gradients, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::fused;

/// Combines the elements along some axes, which stay with extent 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reduce {
    /// Sum, product, largest or smallest.
    pub kind: fused::Reduce,
    /// The axes, ascending.
    pub axes: Vec<usize>,
}

impl Operation for Reduce {
    fn name(&self) -> &'static str {
        self.kind.name()
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let x = &inputs[0];
        if x.dtype() == DType::Bool {
            return Err("of bool; convert with to_dtype first".into());
        }
        let grows = matches!(self.kind, fused::Reduce::Sum | fused::Reduce::Prod);
        if x.dtype().is_narrow() && grows {
            let dtype = x.dtype();
            return Err(format!(
                "of {dtype} would overflow; convert with to_dtype(DType::I32) first"
            ));
        }
        if let Some(axis) = self.axes.iter().find(|&&axis| axis >= x.rank()) {
            return Err(format!("axis {axis} of shape {}", x.shape()));
        }
        let mut shape = x.shape().to_vec();
        for &axis in &self.axes {
            shape[axis] = 1;
        }
        Ok((shape.into(), x.dtype()))
    }

    fn gradient(&self, inputs: &[Tensor], y: &Tensor, dy: &Tensor) -> Gradients {
        let x = &inputs[0];
        let (spread, value) = (dy.broadcast_to(x.shape()), y.broadcast_to(x.shape()));
        let dx = match self.kind {
            fused::Reduce::Sum => spread,
            fused::Reduce::Prod => spread * self.product_of_others(x),
            // Where several are extreme, each gets an equal share.
            fused::Reduce::Max | fused::Reduce::Min => {
                let hit = x.eq(&value).to_dtype(x.dtype());
                let count = Tensor::apply(self.with(fused::Reduce::Sum), &[&hit]);
                spread * hit / count.broadcast_to(x.shape())
            }
        };
        Ok(vec![Some(dx)])
    }

    fn role(&self) -> Role<'_> {
        Role::Reduction(self)
    }
}

impl Reduce {
    fn with(&self, kind: fused::Reduce) -> Reduce {
        Reduce { kind, axes: self.axes.clone() }
    }

    /// For each element the product of all others along the axes: without a division, so that
    /// zeros do no harm. Products from the left and from the right, by doubling shifts.
    fn product_of_others(&self, x: &Tensor) -> Tensor {
        let others: Vec<usize> = (0..x.rank()).filter(|a| !self.axes.contains(a)).collect();
        let order = [others.as_slice(), self.axes.as_slice()].concat();
        let moved = x.permute(&order);
        let n: usize = self.axes.iter().map(|&a| x.shape()[a]).product();
        let flat = moved.reshape([x.numel().checked_div(n).unwrap_or(0), n]);
        let side = |reverse: bool| {
            // Exclusive product: start one element late, padded with 1.
            let pad = |t: &Tensor, k: usize| {
                let k = k.min(n);
                let (kept, amount) = match reverse {
                    false => (t.slice(1, 0, n - k), (k, 0)),
                    true => (t.slice(1, k, n), (0, k)),
                };
                kept.pad(&[(0, 0), amount], 1.0)
            };
            let mut product = pad(&flat, 1);
            let mut reach = 1;
            while reach < n {
                product = &product * pad(&product, reach);
                reach *= 2;
            }
            product
        };
        let product = side(false) * side(true);
        let inverse = super::Permute { order }.inverse();
        product.reshape(moved.shape()).permute(&inverse.order)
    }
}

/// The axes that are named. A loop, since a closure would panic at its own line.
#[track_caller]
fn named(op: &str, axes: &[isize], x: &Tensor) -> Vec<usize> {
    let mut named = Vec::new();
    for &axis in axes {
        named.push(axis_of(op, axis, x));
    }
    named
}

#[track_caller]
fn reduce(x: &Tensor, kind: fused::Reduce, axes: &[isize], keep: bool) -> Tensor {
    let mut axes = named(kind.name(), axes, x);
    axes.sort_unstable();
    assert!(axes.windows(2).all(|w| w[0] != w[1]), "{}: an axis is named twice", kind.name());
    let extents = axes.iter().map(|&a| x.shape()[a]);
    let kept: Shape = (0..x.rank()).filter(|a| !axes.contains(a)).map(|a| x.shape()[a]).collect();
    let ones = |a| if axes.contains(&a) { 1 } else { x.shape()[a] };
    let extreme = matches!(kind, fused::Reduce::Max | fused::Reduce::Min);
    let result = match extents.product::<usize>() {
        // Nothing to combine.
        1 if x.dtype() != DType::Bool && !x.dtype().is_narrow() => {
            x.reshape((0..x.rank()).map(ones).collect::<Shape>())
        }
        // The ends of the arithmetic of i8, i32, are not those of i8.
        0 if x.dtype() == DType::I8 && extreme => {
            let value = if kind == fused::Reduce::Max { i8::MIN } else { i8::MAX };
            Tensor::full((0..x.rank()).map(ones).collect::<Shape>(), value.into(), DType::I8)
        }
        _ => Tensor::apply(Reduce { kind, axes }, &[x]),
    };
    if keep { result } else { result.reshape(kept) }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident, $axes:ident = $kind:ident;)*) => {
        impl Tensor {
            $($(#[$doc])*
            #[track_caller]
            pub fn $name(&self) -> Tensor {
                let all: Vec<isize> = (0..self.rank() as isize).collect();
                reduce(self, fused::Reduce::$kind, &all, false)
            }

            $(#[$doc])*
            /// Along `axes`, which stay with extent 1 if `keep`.
            #[track_caller]
            pub fn $axes(&self, axes: &[isize], keep: bool) -> Tensor {
                reduce(self, fused::Reduce::$kind, axes, keep)
            })*
        }
    };
}

methods! {
    /// The sum of the elements; of none 0.
    sum, sum_axes = Sum;
    /// The product of the elements; of none 1.
    prod, prod_axes = Prod;
    /// The largest element, NaN if any is; of none −∞.
    max, max_axes = Max;
    /// The smallest element, NaN if any is; of none +∞.
    min, min_axes = Min;
}

impl Tensor {
    /// The arithmetic mean of all elements.
    #[track_caller]
    pub fn mean(&self) -> Tensor {
        let all: Vec<isize> = (0..self.rank() as isize).collect();
        self.mean_axes(&all, false)
    }

    /// The arithmetic mean along `axes`, which stay with extent 1 if `keep`.
    #[track_caller]
    pub fn mean_axes(&self, axes: &[isize], keep: bool) -> Tensor {
        if let Err(why) = super::expect_float(self) {
            panic!("mean: {why}");
        }
        let count: usize = named("mean", axes, self).iter().map(|&a| self.shape()[a]).product();
        self.sum_axes(axes, keep) * (1.0 / count as f64)
    }

    /// The variance along `axes`: the mean squared distance from the mean, over `n − correction`
    /// (0: of the population, 1: the unbiased estimate from a sample).
    #[track_caller]
    pub fn var_axes(&self, axes: &[isize], correction: usize, keep: bool) -> Tensor {
        let count: usize = named("var", axes, self).iter().map(|&a| self.shape()[a]).product();
        let centred = self - self.mean_axes(axes, true);
        let n = count as f64 - correction as f64;
        centred.square().sum_axes(axes, keep) * (1.0 / n.max(0.0))
    }

    /// ln Σ eˣ along `axes`, without overflow.
    #[track_caller]
    pub fn logsumexp(&self, axes: &[isize], keep: bool) -> Tensor {
        let top = self.max_axes(axes, true).detach();
        // A row of −∞ has the logarithm −∞, not NaN.
        let finite = top.is_finite().select(&top, &top.zeros_like());
        let sum = (self - &finite).exp().sum_axes(axes, true).log() + &finite;
        if keep { sum } else { sum.reshape(self.sum_shape(axes)) }
    }

    fn sum_shape(&self, axes: &[isize]) -> Shape {
        let gone = named("logsumexp", axes, self);
        (0..self.rank()).filter(|a| !gone.contains(a)).map(|a| self.shape()[a]).collect()
    }
}
