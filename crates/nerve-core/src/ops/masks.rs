//! Matrices that counting makes: the identity, triangles, one-hot rows. Made of other operations,
//! which take no memory of their own in a plan.

use super::gather::as_index;
use crate::dtype::DType;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Up to here f32 holds every integer.
const EXACT: usize = 1 << 24;

/// For every element its coordinate along `axis`, in the arithmetic of what it will be used with:
/// then a comparison of coordinates joins the group of its user, where a mask that is compared as
/// i32 would be written to memory and read again.
#[track_caller]
fn coordinates(shape: &Shape, axis: isize, dtype: DType) -> Tensor {
    let counted = Tensor::iota(shape, axis);
    match dtype.is_float() && shape.iter().all(|&extent| extent <= EXACT) {
        true => counted.to_dtype(dtype),
        false => counted,
    }
}

/// For every element of a tensor like `x` how far it lies right of the diagonal of its matrix.
#[track_caller]
fn right_of_diagonal(op: &str, x: &Tensor) -> Tensor {
    assert!(x.rank() >= 2, "{op}: of matrices, found shape {}", x.shape());
    let along = [-1, -2].map(|axis| coordinates(x.shape(), axis, x.dtype()));
    &along[0] - &along[1]
}

#[track_caller]
fn limit(op: &str, diagonal: isize) -> i32 {
    match i32::try_from(diagonal) {
        Ok(diagonal) => diagonal,
        Err(_) => panic!("{op}: diagonal {diagonal} lies outside every matrix"),
    }
}

impl Tensor {
    /// The identity matrix: f32, ones on the diagonal of `[n, n]`, elsewhere zeros.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// assert_eq!(Tensor::eye(2).to_vec::<f32>(), [1.0, 0.0, 0.0, 1.0]);
    /// ```
    #[track_caller]
    pub fn eye(n: usize) -> Tensor {
        let shape = Shape::from([n, n]);
        let row = coordinates(&shape, 0, DType::F32);
        row.eq(coordinates(&shape, 1, DType::F32)).to_dtype(DType::F32)
    }

    /// The lower triangle of each matrix of the last two axes: what lies right of `diagonal`
    /// becomes zero. Diagonal 0 is the main one, 1 the one right of it.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::ones([2, 3]);
    /// assert_eq!(x.tril(0).to_vec::<f32>(), [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// If there are fewer than two axes.
    #[track_caller]
    pub fn tril(&self, diagonal: isize) -> Tensor {
        let inside = right_of_diagonal("tril", self).le(limit("tril", diagonal));
        inside.select(self, &self.zeros_like())
    }

    /// The upper triangle of each matrix of the last two axes: what lies left of `diagonal`
    /// becomes zero. Diagonal 0 is the main one, 1 the one right of it.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::ones([2, 3]);
    /// assert_eq!(x.triu(1).to_vec::<f32>(), [0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
    /// ```
    ///
    /// # Panics
    /// If there are fewer than two axes.
    #[track_caller]
    pub fn triu(&self, diagonal: isize) -> Tensor {
        let inside = right_of_diagonal("triu", self).ge(limit("triu", diagonal));
        inside.select(self, &self.zeros_like())
    }

    /// Along a new last axis of extent `classes`, 1 at the place that each element (i32 or i64) names and
    /// 0 elsewhere, as `dtype`. A row whose number is none of the classes is all 0.
    ///
    /// ```
    /// use nerve_core::{DType, Tensor};
    /// let labels = Tensor::from_slice(&[2, 0], [2]);
    /// let rows = labels.one_hot(3, DType::F32);
    /// assert_eq!(rows.to_vec::<f32>(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// If the elements are neither i32 nor i64.
    #[track_caller]
    pub fn one_hot(&self, classes: usize, dtype: DType) -> Tensor {
        assert!(
            matches!(self.dtype(), DType::I32 | DType::I64),
            "one_hot: class numbers are i32 or i64, found {} {}; convert with to_dtype",
            self.dtype(),
            self.shape()
        );
        let shape = Shape::from([&self.shape()[..], &[classes]].concat());
        let class = coordinates(&shape, -1, dtype);
        // A number that f32 rounds is larger than any class that counts in f32.
        as_index(self).to_dtype(class.dtype()).unsqueeze(self.rank()).eq(class).to_dtype(dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile;
    use crate::testing::{check_gradients, panic_message, sample};

    #[test]
    fn triangles() {
        let x = Tensor::from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 9], [3, 3]);
        assert_eq!(x.tril(0).to_vec::<i32>(), [1, 0, 0, 4, 5, 0, 7, 8, 9]);
        assert_eq!(x.tril(-1).to_vec::<i32>(), [0, 0, 0, 4, 0, 0, 7, 8, 0]);
        assert_eq!(x.tril(5).to_vec::<i32>(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(x.triu(0).to_vec::<i32>(), [1, 2, 3, 0, 5, 6, 0, 0, 9]);
        assert_eq!(x.triu(-1).to_vec::<i32>(), [1, 2, 3, 4, 5, 6, 0, 8, 9]);
        let batch = Tensor::ones([2, 1, 2, 2]).tril(0);
        assert_eq!(batch.to_vec::<f32>(), [1.0, 0.0, 1.0, 1.0].repeat(2));
        // What is cut off may be anything.
        let causal = Tensor::full([2, 2], f64::NEG_INFINITY, DType::F32).triu(1);
        assert_eq!(causal.to_vec::<f32>(), [0.0, f32::NEG_INFINITY, 0.0, 0.0]);
        let message = panic_message(|| Tensor::ones([3]).tril(0));
        assert!(message.contains("tril: of matrices, found shape [3]"), "{message}");
    }

    #[test]
    fn ones_on_the_diagonal_and_at_the_class() {
        assert_eq!(Tensor::eye(3).sum().item::<f32>(), 3.0);
        assert_eq!(Tensor::eye(3).diagonal(0, 0, 1).to_vec::<f32>(), [1.0; 3]);
        assert_eq!(Tensor::eye(0).to_vec::<f32>(), []);
        let labels = Tensor::from_slice(&[1, 0, 2, -1, 3, 1], [2, 3]);
        let rows = labels.one_hot(3, DType::I32);
        assert_eq!(*rows.shape(), [2, 3, 3].into());
        let expected = [0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        assert_eq!(rows.to_vec::<i32>(), expected);
        assert_eq!(Tensor::scalar(1).one_hot(2, DType::Bool).to_vec::<bool>(), [false, true]);
        let message = panic_message(|| Tensor::ones([2]).one_hot(3, DType::F32));
        assert!(
            message.contains("one_hot: class numbers are i32 or i64, found f32 [2]"),
            "{message}"
        );
    }

    #[test]
    fn masks_take_no_memory() {
        let x = (Shape::from([6, 6]), DType::F32);
        for f in [
            |x: &[Tensor]| vec![x[0].tril(0) * 2.0],
            |x: &[Tensor]| vec![x[0].triu(1).exp()],
            |x: &[Tensor]| vec![&x[0] + Tensor::eye(6)],
        ] {
            let plan = compile(f).plan(std::slice::from_ref(&x)).explain().to_string();
            assert!(plan.starts_with("1 instructions"), "{plan}");
        }
        let labels = compile(|x: &[Tensor]| vec![x[0].one_hot(9, DType::F32) * 2.0]);
        let plan = labels.plan(&[([5].into(), DType::I32)]).explain().to_string();
        assert!(!plan.contains("bool"), "{plan}");
    }

    #[test]
    fn gradients() {
        check_gradients(&[sample([3, 4], 1)], |x| x[0].tril(0));
        check_gradients(&[sample([2, 3, 3], 2)], |x| x[0].triu(1));
    }
}
