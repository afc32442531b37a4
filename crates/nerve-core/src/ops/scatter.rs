//! Storing elements at places that a second tensor names.

use super::gather::{as_index, expect_index};
use super::gather_elements::covered;
use super::{around, expect_number, expect_same};
use crate::compile::Lowering;
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::Meeting;

/// What happens to the element at a place where an index points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scattering {
    /// It becomes the new one; of several new ones, that which stands last along the axis.
    Replace,
    /// The new ones are added to it.
    Add,
    /// It is multiplied by the new ones. Not differentiable.
    Mul,
    /// It becomes the largest of all; NaN if one is NaN.
    Max,
    /// It becomes the smallest of all; NaN if one is NaN.
    Min,
}

/// `y = x`, but where indices point: `y[…, index[…, j, …], …]` meets `src[…, j, …]`.
///
/// Inputs: x, index (i32), src of the type of x and the shape of the index, which is that of x but
/// for the extent of the axis. Elements that meet do so in the order of the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scatter {
    /// The axis.
    pub axis: usize,
    /// What happens there; not [`Scattering::Add`], which is
    /// [`ScatterAddElements`](super::ScatterAddElements).
    pub how: Scattering,
}

impl Scatter {
    fn meeting(&self, x: &Tensor) -> Result<Meeting, String> {
        Ok(match self.how {
            Scattering::Replace => Meeting::Replace(x.dtype().bytes()),
            Scattering::Add => return Err("adds by scatter_add".into()),
            Scattering::Mul => Meeting::Mul(expect_number(x)?),
            Scattering::Max => Meeting::Max(expect_number(x)?),
            Scattering::Min => Meeting::Min(expect_number(x)?),
        })
    }

    /// Whether each element of `src` is the one that stands in the result, where they replace.
    fn lasts(&self, index: &Tensor, y: &Tensor) -> Tensor {
        let number = Tensor::iota(index.shape(), self.axis as isize);
        let none = Tensor::full(y.shape(), -1.0, DType::I32);
        let stands = Tensor::apply(*self, &[&none, index, &number]);
        stands.gather(self.axis as isize, index).eq(number)
    }
}

impl Operation for Scatter {
    fn name(&self) -> &'static str {
        "scatter"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let (x, index, src) = (&inputs[0], &inputs[1], &inputs[2]);
        around(self.axis, x)?;
        expect_index(index)?;
        expect_same(x, src)?;
        self.meeting(x)?;
        let fits = |a: usize| a == self.axis || x.shape()[a] == index.shape()[a];
        if index.shape() != src.shape() || index.rank() != x.rank() || !(0..x.rank()).all(fits) {
            return Err(format!(
                "index {} and source {} for {}: the first two must agree, and all but axis {} \
                 with the third",
                index.shape(),
                src.shape(),
                x.shape(),
                self.axis
            ));
        }
        Ok((x.shape().clone(), x.dtype()))
    }

    fn gradient(&self, inputs: &[Tensor], y: &Tensor, dy: &Tensor) -> Gradients {
        let (x, index, src) = (&inputs[0], &inputs[1], &inputs[2]);
        let axis = self.axis as isize;
        let (dx, dsrc) = match self.how {
            Scattering::Replace => {
                let zero = src.zeros_like();
                let dx = Tensor::apply(*self, &[dy, index, &zero]);
                (dx, self.lasts(index, y).select(&dy.gather(axis, index), &zero))
            }
            // Where several are extreme, each gets an equal share.
            Scattering::Max | Scattering::Min => {
                let (old, new) = (x.eq(y), src.eq(y.gather(axis, index)));
                let [old, new] = [old, new].map(|hit| hit.to_dtype(dy.dtype()));
                let share = dy / old.scatter_add(axis, index, &new);
                (&share * old, share.gather(axis, index) * new)
            }
            Scattering::Mul => return Err("scatter that multiplies is not differentiable".into()),
            Scattering::Add => unreachable!("refused by infer"),
        };
        Ok(vec![Some(dx), None, Some(dsrc)])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for Scatter {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let [x, index, src] = node.inputs() else { unreachable!("three operands") };
        let meeting = self.meeting(x).expect("checked by infer");
        let (outer, axis, inner) = x.shape().around(self.axis);
        let [from, places, new] = [x, index, src].map(|t| cx.contiguous(t));
        let dst = cx.output_region(node);
        cx.emit(nerve_cpu::ScatterElements {
            meeting,
            outer,
            axis,
            count: index.shape()[self.axis],
            inner,
            x: Some(from),
            index: places,
            src: new,
            dst,
        });
    }
}

impl Tensor {
    /// `self`, where `index` points changed by the elements of `src`: with `axis` = 1 of a matrix,
    /// `y[i, index[i, j]]` meets `src[i, j]` as `how` says.
    ///
    /// `index` is i32 or i64 and counts from 0. It may be shorter than `src` along every axis and
    /// shorter than `self` along every axis but `axis`; the first elements are meant then.
    ///
    /// ```
    /// use nerve_core::{Tensor, ops::Scattering};
    /// let (x, new) = (Tensor::zeros([3]), Tensor::from_slice(&[5.0f32, 7.0], [2]));
    /// let y = x.scatter(0, &Tensor::from_slice(&[2, 0], [2]), &new, Scattering::Replace);
    /// assert_eq!(y.to_vec::<f32>(), [7.0, 0.0, 5.0]);
    /// ```
    ///
    /// # Panics
    /// If shapes or dtypes do not fit; when the value is read, if an index is not on the axis.
    #[track_caller]
    pub fn scatter(&self, axis: isize, index: &Tensor, src: &Tensor, how: Scattering) -> Tensor {
        if how == Scattering::Add && !self.dtype().is_narrow() && self.dtype() != DType::Bool {
            return self.scatter_add(axis, index, src);
        }
        if let Err(why) = expect_same(self, src) {
            panic!("scatter: {why}");
        }
        if how != Scattering::Replace && self.dtype().bytes() == 1 {
            // In wider arithmetic, and back: what leaves the range wraps around.
            let [x, src] = [self, src].map(|t| t.to_dtype(DType::I32));
            return x.scatter(axis, index, &src, how).to_dtype(self.dtype());
        }
        let axis = super::axis_of("scatter", axis, self);
        let part = covered("scatter", self, index, Some(axis));
        let src = covered("scatter", src, index, None);
        let y = Tensor::apply(Scatter { axis, how }, &[&part, &as_index(index), &src]);
        if part.shape() == self.shape() {
            return y;
        }
        let missing = self.shape().iter().zip(&**y.shape());
        let amounts: Vec<_> = missing.map(|(whole, part)| (0, whole - part)).collect();
        let inside = Tensor::full(y.shape(), 1.0, DType::Bool).pad(&amounts, 0.0);
        inside.select(&y.pad(&amounts, 0.0), self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradients, panic_message, sample};

    fn index(values: &[i32], shape: impl Into<Shape>) -> Tensor {
        Tensor::from_slice(values, shape)
    }

    #[test]
    fn stores_over_what_is_there() {
        let x = Tensor::arange(6).reshape([2, 3]);
        let src = Tensor::from_slice(&[10, 20, 30, 40, 50, 60], [2, 3]);
        let at = index(&[0, 0, 2, 1, 1, 1], [2, 3]);
        let row = |how| x.scatter(1, &at, &src, how).to_vec::<i32>();
        assert_eq!(row(Scattering::Replace), [20, 1, 30, 3, 60, 5]);
        assert_eq!(row(Scattering::Add), [30, 1, 32, 3, 154, 5]);
        assert_eq!(row(Scattering::Mul), [0, 1, 60, 3, 4 * 40 * 50 * 60, 5]);
        assert_eq!(row(Scattering::Max), [20, 1, 30, 3, 60, 5]);
        assert_eq!(row(Scattering::Min), [0, 1, 2, 3, 4, 5]);
        // Shorter indices leave the rest of both alone.
        let y = x.scatter(0, &index(&[1, 0], [1, 2]), &src, Scattering::Replace);
        assert_eq!(y.to_vec::<i32>(), [0, 20, 2, 10, 4, 5]);
        let none = index(&[], [2, 0]);
        let y = x.scatter(1, &none, &src, Scattering::Replace);
        assert_eq!(y.to_vec::<i32>(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn every_type_is_stored() {
        let at = Tensor::from_slice(&[2i64, 0], [2]);
        let x = Tensor::arange(3);
        for dtype in [DType::F32, DType::F64, DType::I64, DType::U8, DType::I8, DType::Bool] {
            let (x, new) = (x.to_dtype(dtype), Tensor::full([2], 1.0, dtype));
            let y = x.scatter(0, &at, &new, Scattering::Replace).to_dtype(DType::I32);
            assert_eq!(y.to_vec::<i32>(), [1, 1, 1], "{dtype}");
            let y = x.scatter(0, &at, &new, Scattering::Max).to_dtype(DType::I32);
            let most = if dtype == DType::Bool { 1 } else { 2 };
            assert_eq!(y.to_vec::<i32>(), [1, 1, most], "{dtype}");
        }
        let bytes = Tensor::from_slice(&[100u8, 2], [2]);
        let y = bytes.scatter(0, &index(&[0], [1]), &bytes, Scattering::Mul);
        assert_eq!(y.to_vec::<u8>(), [16, 2]);
    }

    #[test]
    fn gradients() {
        let at = index(&[1, 1, 0, 2, 1, 2], [2, 3]);
        for how in [Scattering::Replace, Scattering::Max, Scattering::Min, Scattering::Add] {
            let inputs = [sample([2, 3], 1), sample([2, 3], 2)];
            check_gradients(&inputs, |x| x[0].scatter(1, &at, &x[1], how));
            check_gradients(&inputs, |x| {
                x[0].scatter(0, &at.slice(1, 0, 2).clamp(0.0, 1.0), &x[1], how)
            });
        }
        let x = sample([3], 1);
        let message = panic_message(|| {
            let y = x.scatter(0, &index(&[0], [1]), &x, Scattering::Mul).sum();
            crate::grad(&y, &[&x]).remove(0)
        });
        assert!(message.contains("not differentiable"), "{message}");
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let x = Tensor::zeros([2, 3]);
        let short = index(&[0; 2], [1, 2]);
        let message = panic_message(|| x.scatter(1, &short, &x.gt(0.0), Scattering::Replace));
        assert!(message.contains("scatter: dtypes f32 and bool"), "{message}");
        let message =
            panic_message(|| x.scatter(1, &short, &Tensor::zeros([1, 1]), Scattering::Max));
        assert!(message.contains("scatter: index [1, 2] for [1, 1]"), "{message}");
        let message = panic_message(|| {
            let wrong = index(&[3], [1, 1]);
            x.scatter(1, &wrong, &x, Scattering::Replace).evaluated()
        });
        assert!(message.contains("position 0 is 3, which is out of range"), "{message}");
    }
}
