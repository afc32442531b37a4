//! Reading and storing where rows of coordinates point: by arithmetic on the coordinates, as
//! gathering and scattering along one axis.

use super::Scattering;
use super::gather::as_index;
use crate::dtype::DType;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// How the coordinates of an index meet the axes of a tensor.
struct Plan {
    /// Product of the leading axes that both have.
    batch: usize,
    /// The axes that the coordinates are of.
    named: Vec<usize>,
    /// The axes behind those.
    rest: Vec<usize>,
    /// The axes of the index between both.
    rows: Vec<usize>,
}

impl Plan {
    #[track_caller]
    fn new(op: &str, x: &Tensor, index: &Tensor, batch: usize) -> Plan {
        let (xs, is) = (x.shape(), index.shape());
        let depth = is.last().copied().unwrap_or(0);
        let fits = index.rank() > batch && batch + depth <= x.rank() && xs[..batch] == is[..batch];
        assert!(
            fits,
            "{op}: an index {is} for {xs}: its first {batch} axes must be those of the tensor, and \
             its last, {depth}, no more than the tensor has behind them"
        );
        let plan = Plan {
            batch: xs[..batch].iter().product(),
            named: xs[batch..batch + depth].to_vec(),
            rest: xs[batch + depth..].to_vec(),
            rows: is[batch..index.rank() - 1].to_vec(),
        };
        assert!(
            i32::try_from(plan.batch * plan.places()).is_ok(),
            "{op}: {xs} has too many places for i32 indices"
        );
        plan
    }

    fn places(&self) -> usize {
        self.named.iter().product()
    }

    fn row(&self) -> usize {
        self.rest.iter().product()
    }

    /// For each row of coordinates the number of its place, `[batch · rows]`; −1 where one of them
    /// lies outside its axis, so that no error of one looks right by those of another.
    fn flat(&self, index: &Tensor) -> Tensor {
        let count: usize = self.rows.iter().product();
        let shape = [self.batch, count];
        let table = as_index(index).reshape([self.batch, count, self.named.len()]);
        let start = Tensor::iota(shape, 0) * self.places() as i32;
        let mut place = start;
        let mut outside: Option<Tensor> = None;
        for (i, &extent) in self.named.iter().enumerate() {
            let stride: usize = self.named[i + 1..].iter().product();
            let raw = table.slice(2, i, i + 1).squeeze(2);
            let at = raw.lt(0).select(&(&raw + extent as i32), &raw);
            let wrong = at.lt(0).logical_or(at.ge(extent as i32));
            place = place + at * stride as i32;
            outside = Some(outside.map_or(wrong.clone(), |others| others.logical_or(wrong)));
        }
        let place = match outside {
            Some(outside) => outside.select(&place.full_like(-1.0), &place),
            None => place,
        };
        place.reshape([self.batch * count])
    }
}

impl Tensor {
    /// The elements, or slices, at rows of coordinates: the last axis of `index` counts along the
    /// axes of `self`, `y[j…, :] = self[index[j…, 0], index[j…, 1], …, :]`. ONNX calls this
    /// `GatherND`.
    ///
    /// The first `batch` axes belong to both. `index` is i32 or i64; coordinates below 0 count
    /// from the end of their axis.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::arange(6).reshape([2, 3]);
    /// let at = Tensor::from_slice(&[1, 2, 0, -1], [2, 2]);
    /// assert_eq!(x.gather_nd(&at, 0).to_vec::<i32>(), [5, 2]);
    /// let rows = Tensor::from_slice(&[1], [1, 1]);
    /// assert_eq!(x.gather_nd(&rows, 0).to_vec::<i32>(), [3, 4, 5]);
    /// ```
    ///
    /// # Panics
    /// If the shapes do not fit; when the value is read, if a coordinate is not on its axis.
    #[track_caller]
    pub fn gather_nd(&self, index: &Tensor, batch: usize) -> Tensor {
        let plan = Plan::new("gather_nd", self, index, batch);
        let shape: Shape = [&self.shape()[..batch], &plan.rows, &plan.rest].concat().into();
        let table = self.reshape([plan.batch * plan.places(), plan.row()]);
        table.index_select(0, &plan.flat(index)).reshape(shape)
    }

    /// `self`, changed at rows of coordinates: the last axis of `index` counts along the axes of
    /// `self`, and `y[index[j…, 0], index[j…, 1], …, :]` meets `src[j…, :]` as `how` says. ONNX
    /// calls this `ScatterND`.
    ///
    /// `index` is i32 or i64; coordinates below 0 count from the end of their axis. Rows that meet
    /// at one place do so in their order.
    ///
    /// ```
    /// use nerve_core::{Tensor, ops::Scattering};
    /// let x = Tensor::zeros([2, 2]);
    /// let (at, new) = (Tensor::from_slice(&[-1], [1, 1]), Tensor::ones([1, 2]));
    /// let y = x.scatter_nd(&at, &new, Scattering::Replace);
    /// assert_eq!(y.to_vec::<f32>(), [0.0, 0.0, 1.0, 1.0]);
    /// ```
    ///
    /// # Panics
    /// If shapes or dtypes do not fit; when the value is read, if a coordinate is not on its axis.
    #[track_caller]
    pub fn scatter_nd(&self, index: &Tensor, src: &Tensor, how: Scattering) -> Tensor {
        let plan = Plan::new("scatter_nd", self, index, 0);
        let expected = [&plan.rows[..], &plan.rest].concat();
        assert!(
            **src.shape() == *expected,
            "scatter_nd: an index {} for {} takes a source {expected:?}, found {}",
            index.shape(),
            self.shape(),
            src.shape()
        );
        let (row, flat) = (plan.row(), plan.flat(index));
        let shape = [flat.numel(), row];
        let table = self.reshape([plan.places(), row]);
        let places = flat.unsqueeze(1).broadcast_to(shape);
        table.scatter(0, &places, &src.reshape(shape), how).reshape(self.shape())
    }

    /// Indices below 0 counted from the end of an axis of `extent` elements: what Python and ONNX
    /// mean by them. Others, whether on the axis or not, stay as they are.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let at = Tensor::from_slice(&[0, -1, 4, -9], [4]).from_the_end(5);
    /// assert_eq!(at.to_vec::<i32>(), [0, 4, 4, -4]);
    /// ```
    ///
    /// # Panics
    /// If the elements are neither i32 nor i64.
    #[track_caller]
    pub fn from_the_end(&self, extent: usize) -> Tensor {
        assert!(
            matches!(self.dtype(), DType::I32 | DType::I64),
            "from_the_end: indices are i32 or i64, found {}",
            self.dtype()
        );
        self.lt(0).select(&(self + extent as i64), self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradients, panic_message, sample};

    fn index(values: &[i64], shape: impl Into<Shape>) -> Tensor {
        Tensor::from_slice(values, shape)
    }

    #[test]
    fn coordinates_name_elements_and_slices() {
        let x = Tensor::arange(24).reshape([2, 3, 4]);
        let at = index(&[0, 2, 3, 1, 0, -1], [2, 3]);
        assert_eq!(x.gather_nd(&at, 0).to_vec::<i32>(), [11, 15]);
        let at = index(&[1, -2], [1, 1, 2]);
        let rows = x.gather_nd(&at, 0);
        assert_eq!(*rows.shape(), [1, 1, 4].into());
        assert_eq!(rows.to_vec::<i32>(), [16, 17, 18, 19]);
        // The first axis belongs to both.
        let at = index(&[2, 0], [2, 1]);
        let rows = x.gather_nd(&at, 1);
        assert_eq!(*rows.shape(), [2, 4].into());
        assert_eq!(rows.to_vec::<i32>(), [8, 9, 10, 11, 12, 13, 14, 15]);
        // No coordinate: all of it, for each row.
        let all = x.gather_nd(&index(&[], [2, 0]), 0);
        assert_eq!(*all.shape(), [2, 2, 3, 4].into());
        assert_eq!(all.slice(0, 1, 2).reshape([24]).to_vec::<i32>(), x.reshape([24]).to_vec());
    }

    #[test]
    fn coordinates_name_what_is_changed() {
        let x = Tensor::arange(6).reshape([3, 2]);
        let at = index(&[2, 0, 2], [3, 1]);
        let new = Tensor::from_slice(&[10, 11, 12, 13, 14, 15], [3, 2]);
        let y = x.scatter_nd(&at, &new, Scattering::Replace);
        assert_eq!(y.to_vec::<i32>(), [12, 13, 2, 3, 14, 15]);
        let y = x.scatter_nd(&at, &new, Scattering::Add);
        assert_eq!(y.to_vec::<i32>(), [12, 14, 2, 3, 28, 31]);
        let one = index(&[1, -1], [2]);
        let y = x.scatter_nd(&one, &Tensor::scalar(9), Scattering::Max);
        assert_eq!(y.to_vec::<i32>(), [0, 1, 2, 9, 4, 5]);
    }

    /// One coordinate too large and another too small would name a place that exists.
    #[test]
    fn each_coordinate_is_checked() {
        let x = Tensor::arange(6).reshape([2, 3]);
        for wrong in [[0, 3], [2, -3], [-3, 2], [1 << 32, 0], [0, -4]] {
            let at = index(&wrong, [1, 2]);
            let message = panic_message(|| x.gather_nd(&at, 0).evaluated());
            assert!(message.contains("position 0 is -1, which is out of range"), "{message}");
            let new = Tensor::from_slice(&[1], [1]);
            let message =
                panic_message(|| x.scatter_nd(&at, &new, Scattering::Replace).evaluated());
            assert!(message.contains("out of range"), "{message}");
        }
        let message = panic_message(|| x.gather_nd(&index(&[0; 3], [1, 3]), 0));
        assert!(message.contains("gather_nd: an index [1, 3] for [2, 3]"), "{message}");
        let message = panic_message(|| {
            x.scatter_nd(&index(&[0], [1, 1]), &Tensor::arange(2), Scattering::Replace)
        });
        assert!(message.contains("takes a source [1, 3], found [2]"), "{message}");
    }

    #[test]
    fn gradients() {
        let at = index(&[0, 1, 1, 0, 0, 1], [3, 2]);
        check_gradients(&[sample([2, 2, 2], 1)], |x| x[0].gather_nd(&at, 0));
        for how in [Scattering::Replace, Scattering::Add, Scattering::Max] {
            let inputs = [sample([2, 2, 2], 1), sample([3, 2], 2)];
            check_gradients(&inputs, |x| x[0].scatter_nd(&at, &x[1], how));
        }
    }
}
