//! Reading and adding single elements at places that a second tensor names.

use super::gather::{as_index, expect_index};
use super::{around, expect_number, expect_same};
use crate::compile::Lowering;
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// `y[…, j, …] = x[…, index[…, j, …], …]`: along one axis, for each index the element it names.
///
/// Inputs: `x` of any type, and `index`, i32, of the shape of `x` but for the extent of the axis.
/// An index outside the axis is an error when the plan runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GatherElements {
    /// The axis.
    pub axis: usize,
}

/// `y[…, index[…, j, …], …] = Σⱼ src[…, j, …]`, and zero where no index points: the gradient of
/// [`GatherElements`], and it of this.
///
/// Inputs: `src` of type f32, f64, i32 or i64, and `index`, i32, of the same shape. Elements that meet
/// are added in the order of the axis, so the result does not depend on the number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScatterAddElements {
    /// The axis.
    pub axis: usize,
    /// Extent of the axis in the result.
    pub extent: usize,
}

/// `shape` with another extent of `axis`.
fn with_extent(shape: &Shape, axis: usize, extent: usize) -> Shape {
    let mut shape = shape.to_vec();
    shape[axis] = extent;
    shape.into()
}

impl Operation for GatherElements {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let (x, index) = (&inputs[0], &inputs[1]);
        around(self.axis, x)?;
        expect_index(index)?;
        let count = index.shape().get(self.axis).copied().unwrap_or(0);
        if *index.shape() != with_extent(x.shape(), self.axis, count) {
            return Err(format!(
                "index {} for {}: all axes but {} must agree",
                index.shape(),
                x.shape(),
                self.axis
            ));
        }
        Ok((index.shape().clone(), x.dtype()))
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        let op = ScatterAddElements { axis: self.axis, extent: inputs[0].shape()[self.axis] };
        Ok(vec![Some(Tensor::apply(op, &[dy, &inputs[1]])), None])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for GatherElements {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let [x, index] = node.inputs() else { unreachable!("two operands") };
        let (outer, axis, inner) = x.shape().around(self.axis);
        let (src, places) = (cx.contiguous(x), cx.contiguous(index));
        let dst = cx.output_region(node);
        cx.emit(nerve_cpu::GatherElements {
            bytes: x.dtype().bytes(),
            outer,
            axis,
            count: index.shape()[self.axis],
            inner,
            src,
            index: places,
            dst,
        });
    }
}

impl Operation for ScatterAddElements {
    fn name(&self) -> &'static str {
        "scatter_add"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let (src, index) = (&inputs[0], &inputs[1]);
        around(self.axis, src)?;
        expect_number(src)?;
        expect_index(index)?;
        if i32::try_from(self.extent).is_err() {
            return Err(format!("an axis of {} is too long for i32 indices", self.extent));
        }
        if src.shape() != index.shape() {
            return Err(format!("index {} for {}: must agree", index.shape(), src.shape()));
        }
        Ok((with_extent(src.shape(), self.axis, self.extent), src.dtype()))
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        let op = GatherElements { axis: self.axis };
        Ok(vec![Some(Tensor::apply(op, &[dy, &inputs[1]])), None])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for ScatterAddElements {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let [src, index] = node.inputs() else { unreachable!("two operands") };
        let (outer, count, inner) = src.shape().around(self.axis);
        let ty = expect_number(src).expect("checked by infer");
        let (from, places) = (cx.contiguous(src), cx.contiguous(index));
        let dst = cx.output_region(node);
        cx.emit(nerve_cpu::ScatterElements {
            meeting: nerve_cpu::Meeting::Add(ty),
            outer,
            axis: self.extent,
            count,
            inner,
            x: None,
            index: places,
            src: from,
            dst,
        });
    }
}

/// The part of `x` that the indices can speak of: along all axes but `axis` (along all, if none)
/// the first elements, as many as `index` has.
#[track_caller]
pub(super) fn covered(op: &str, x: &Tensor, index: &Tensor, axis: Option<usize>) -> Tensor {
    let fits = |a: usize| Some(a) == axis || index.shape()[a] <= x.shape()[a];
    assert!(
        x.rank() == index.rank() && (0..x.rank()).all(fits),
        "{op}: index {} for {}: ranks must agree, and the index may not be longer along {}",
        index.shape(),
        x.shape(),
        axis.map_or("any axis".into(), |axis| format!("another axis than {axis}"))
    );
    let mut x = x.clone();
    for a in 0..x.rank() {
        if Some(a) != axis && index.shape()[a] < x.shape()[a] {
            x = x.slice(a as isize, 0, index.shape()[a]);
        }
    }
    x
}

impl Tensor {
    /// For each index the element it names along `axis`: with `axis` = 1 of a matrix,
    /// `y[i, j] = self[i, index[i, j]]`. The result has the shape of `index`.
    ///
    /// `index` is i32 or i64 and counts from 0. It may be shorter than `self` along the other axes, whose
    /// first elements are meant then, and of any length along `axis`. NumPy calls this
    /// `take_along_axis`.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// // The score of the right class of each row.
    /// let scores = Tensor::from_slice(&[0.1f32, 0.9, 0.7, 0.3], [2, 2]);
    /// let labels = Tensor::from_slice(&[1, 0], [2, 1]);
    /// assert_eq!(scores.gather(1, &labels).to_vec::<f32>(), [0.9, 0.7]);
    /// ```
    ///
    /// # Panics
    /// If the shapes do not fit or `index` is neither i32 nor i64; when the value is read, if an index is not
    /// on the axis.
    #[track_caller]
    pub fn gather(&self, axis: isize, index: &Tensor) -> Tensor {
        let axis = super::axis_of("gather", axis, self);
        let x = covered("gather", self, index, Some(axis));
        Tensor::apply(GatherElements { axis }, &[&x, &as_index(index)])
    }

    /// `self` with the elements of `src` added at the places that `index` names along `axis`: with
    /// `axis` = 1 of a matrix, `y[i, index[i, j]] = self[i, index[i, j]] + Σ src[i, j]`.
    ///
    /// `index` is i32 or i64 and counts from 0. It may be shorter than `src` along every axis and shorter
    /// than `self` along every axis but `axis`; the first elements are meant then.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// // A histogram.
    /// let bins = Tensor::from_slice(&[2, 0, 2, 2], [4]);
    /// let counts = Tensor::zeros([3]).scatter_add(0, &bins, &Tensor::ones([4]));
    /// assert_eq!(counts.to_vec::<f32>(), [1.0, 0.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// If shapes or dtypes do not fit; when the value is read, if an index is not on the axis.
    #[track_caller]
    pub fn scatter_add(&self, axis: isize, index: &Tensor, src: &Tensor) -> Tensor {
        let axis = super::axis_of("scatter_add", axis, self);
        if let Err(why) = expect_same(self, src) {
            panic!("scatter_add: {why}");
        }
        // Only its shape counts here: does the result reach past the end of `self`?
        covered("scatter_add", self, index, Some(axis));
        let src = covered("scatter_add", src, index, None);
        let op = ScatterAddElements { axis, extent: self.shape()[axis] };
        let scattered = Tensor::apply(op, &[&src, &as_index(index)]);
        let missing = self.shape().iter().zip(&**scattered.shape());
        let amounts: Vec<_> = missing.map(|(whole, part)| (0, whole - part)).collect();
        self + scattered.pad(&amounts, 0.0)
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
    fn gathers_along_each_axis() {
        let x = Tensor::arange(6).reshape([2, 3]);
        let rows = x.gather(0, &index(&[1, 0, 1, 0, 0, 0], [2, 3]));
        assert_eq!(rows.to_vec::<i32>(), [3, 1, 5, 0, 1, 2]);
        let columns = x.gather(-1, &index(&[2, 2, 0, 1, 0, 0, 2, 1], [2, 4]));
        assert_eq!(columns.to_vec::<i32>(), [2, 2, 0, 1, 3, 3, 5, 4]);
        // Fewer rows of indices than of x; a transposed x.
        assert_eq!(x.gather(1, &index(&[2, 0], [1, 2])).to_vec::<i32>(), [2, 0]);
        assert_eq!(x.t().gather(1, &index(&[1, 0, 1], [3, 1])).to_vec::<i32>(), [3, 1, 5]);
        let middle =
            Tensor::arange(12).reshape([2, 3, 2]).gather(1, &index(&[2, 0, 1, 1], [2, 1, 2]));
        assert_eq!(middle.to_vec::<i32>(), [4, 1, 8, 9]);
    }

    #[test]
    fn gathers_every_type() {
        let at = index(&[2, 0], [2]);
        let x = Tensor::from_slice(&[1.0f64, 0.0, 3.0], [3]);
        assert_eq!(x.gather(0, &at).to_vec::<f64>(), [3.0, 1.0]);
        assert_eq!(x.to_dtype(DType::U8).gather(0, &at).to_vec::<u8>(), [3, 1]);
        assert_eq!(x.gt(2.0).gather(0, &at).to_vec::<bool>(), [true, false]);
        assert_eq!(x.gather(0, &index(&[], [0])).to_vec::<f64>(), []);
    }

    #[test]
    fn an_index_of_64_bits_does_not_wrap_around_into_the_range() {
        let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [3]);
        let long = |values: &[i64]| Tensor::from_slice(values, [values.len()]);
        assert_eq!(x.gather(0, &long(&[2, 0])).to_vec::<f32>(), [3.0, 1.0]);
        for wrong in [1i64 << 32, -1 << 32, i64::MAX, i64::MIN, 3, -1] {
            for pick in [Tensor::gather, Tensor::index_select] {
                let message = panic_message(|| pick(&x, 0, &long(&[1, wrong])).evaluated());
                let place = "the index at position 1 is";
                assert!(message.contains(place) && message.contains("out of range"), "{message}");
            }
            let add = || x.scatter_add(0, &long(&[wrong]), &Tensor::ones([1])).evaluated();
            assert!(panic_message(add).contains("out of range"));
            let row = long(&[wrong]).one_hot(3, DType::F32).to_vec::<f32>();
            assert_eq!(row, [0.0; 3], "{wrong}");
        }
    }

    #[test]
    fn scatters_onto_what_is_there() {
        let x = Tensor::ones([2, 3]);
        let src = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3]);
        let y = x.scatter_add(1, &index(&[0, 0, 2, 1, 1, 1], [2, 3]), &src);
        assert_eq!(y.to_vec::<f32>(), [4.0, 1.0, 4.0, 1.0, 16.0, 1.0]);
        // Shorter indices leave the rest of both alone.
        let y = x.scatter_add(0, &index(&[1, 0], [1, 2]), &src);
        assert_eq!(y.to_vec::<f32>(), [1.0, 3.0, 1.0, 2.0, 1.0, 1.0]);
        let counts = Tensor::full([2], 0.0, DType::I32);
        let counts = counts.scatter_add(0, &index(&[1, 1, 1], [3]), &Tensor::arange(3));
        assert_eq!(counts.to_vec::<i32>(), [0, 3]);
    }

    #[test]
    fn gradients() {
        let at = index(&[1, 1, 0, 2, 1, 2, 2, 0], [2, 4]);
        check_gradients(&[sample([2, 3], 1)], |x| x[0].gather(1, &at));
        check_gradients(&[sample([3, 5], 2)], |x| x[0].gather(0, &at));
        check_gradients(&[sample([2, 3], 3), sample([2, 4], 4)], |x| {
            x[0].scatter_add(1, &at, &x[1])
        });
        check_gradients(&[sample([3, 5], 5), sample([3, 4], 6)], |x| {
            x[0].scatter_add(0, &at, &x[1])
        });
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let x = Tensor::zeros([2, 3]);
        let message = panic_message(|| x.gather(1, &index(&[0; 3], [3, 1])));
        assert!(message.contains("gather: index [3, 1] for [2, 3]"), "{message}");
        let message = panic_message(|| x.gather(1, &index(&[0], [1])));
        assert!(message.contains("ranks must agree"), "{message}");
        let message = panic_message(|| x.gather(1, &x));
        assert!(message.contains("indices are i32 or i64, found f32"), "{message}");
        let message = panic_message(|| x.gather(2, &index(&[0], [1, 1])));
        assert!(message.contains("axis 2 of shape [2, 3]"), "{message}");
        let long = index(&[0; 8], [2, 4]);
        let message = panic_message(|| x.scatter_add(1, &long, &x));
        assert!(message.contains("scatter_add: index [2, 4] for [2, 3]"), "{message}");
        let message = panic_message(|| x.scatter_add(1, &long, &Tensor::arange(8)));
        assert!(message.contains("dtypes f32 and i32 differ"), "{message}");
        for outside in [-1, 3] {
            let message = panic_message(|| x.gather(1, &index(&[0, outside], [2, 1])).evaluated());
            assert!(message.contains(&format!("position 1 is {outside}")), "{message}");
        }
    }
}
