//! Repeating, rolling, cutting and picking diagonals. Made of other operations.

use super::axis_of;
use crate::shape::Shape;
use crate::tensor::Tensor;

impl Tensor {
    /// Laid `counts[i]` times next to itself along axis `i`; more counts than axes add axes in
    /// front. PyTorch calls this `repeat`, NumPy `tile`.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[1, 2], [2]);
    /// assert_eq!(x.repeat(&[2]).to_vec::<i32>(), [1, 2, 1, 2]);
    /// assert_eq!(*x.repeat(&[3, 2]).shape(), [3, 4].into());
    /// ```
    ///
    /// # Panics
    /// If there are fewer counts than axes.
    #[track_caller]
    pub fn repeat(&self, counts: &[usize]) -> Tensor {
        assert!(
            counts.len() >= self.rank(),
            "repeat: {} counts {counts:?} for the {} axes of {}",
            counts.len(),
            self.rank(),
            self.shape()
        );
        let new = counts.len() - self.rank();
        let extent = |axis: usize| if axis < new { 1 } else { self.shape()[axis - new] };
        let axes = 0..counts.len();
        let apart: Shape = axes.clone().flat_map(|a| [1, extent(a)]).collect();
        let spread: Shape = axes.clone().flat_map(|a| [counts[a], extent(a)]).collect();
        let joined: Shape = axes.map(|a| counts[a] * extent(a)).collect();
        self.reshape(apart).broadcast_to(spread).reshape(joined)
    }

    /// As [`repeat`](Tensor::repeat), but fewer counts than axes count from the last axis: NumPy's
    /// `tile`.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[1, 2, 3, 4], [2, 2]);
    /// assert_eq!(x.tile(&[2]).to_vec::<i32>(), [1, 2, 1, 2, 3, 4, 3, 4]);
    /// ```
    #[track_caller]
    pub fn tile(&self, counts: &[usize]) -> Tensor {
        let missing = self.rank().saturating_sub(counts.len());
        self.repeat(&[&vec![1; missing], counts].concat())
    }

    /// Each element `count` times in a row along `axis`. PyTorch calls this `repeat_interleave`,
    /// NumPy `repeat`.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[1, 2], [2]);
    /// assert_eq!(x.repeat_interleave(2, 0).to_vec::<i32>(), [1, 1, 2, 2]);
    /// ```
    ///
    /// # Panics
    /// If there is no such axis.
    #[track_caller]
    pub fn repeat_interleave(&self, count: usize, axis: isize) -> Tensor {
        let axis = axis_of("repeat_interleave", axis, self);
        let (mut spread, mut joined) = (self.shape().to_vec(), self.shape().to_vec());
        spread.insert(axis + 1, count);
        joined[axis] *= count;
        self.unsqueeze(axis + 1).broadcast_to(spread).reshape(joined)
    }

    /// Shifted by `shift` places along `axis`; what leaves at the end enters at the start, and the
    /// other way round if `shift` is negative.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::arange(5);
    /// assert_eq!(x.roll(2, 0).to_vec::<i32>(), [3, 4, 0, 1, 2]);
    /// assert_eq!(x.roll(-1, 0).to_vec::<i32>(), [1, 2, 3, 4, 0]);
    /// ```
    ///
    /// # Panics
    /// If there is no such axis.
    #[track_caller]
    pub fn roll(&self, shift: isize, axis: isize) -> Tensor {
        let extent = self.shape()[axis_of("roll", axis, self)];
        let shift = match extent {
            0 => 0,
            _ => shift.rem_euclid(extent as isize) as usize,
        };
        if shift == 0 {
            return self.clone();
        }
        let (front, back) = (0, extent - shift);
        let pieces = [self.slice(axis, back, extent), self.slice(axis, front, back)];
        Tensor::concat(&pieces, axis)
    }

    /// Cut along `axis` into `chunks` pieces of the same extent, rounded up; the last one is
    /// shorter where that does not come out even, and there are fewer where they run out.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let pieces = Tensor::arange(5).chunk(2, 0);
    /// assert_eq!(pieces[0].to_vec::<i32>(), [0, 1, 2]);
    /// assert_eq!(pieces[1].to_vec::<i32>(), [3, 4]);
    /// ```
    ///
    /// # Panics
    /// If there is no such axis, or `chunks` is 0.
    #[track_caller]
    pub fn chunk(&self, chunks: usize, axis: isize) -> Vec<Tensor> {
        let extent = self.shape()[axis_of("chunk", axis, self)];
        assert!(chunks > 0, "chunk: {} into 0 pieces", self.shape());
        let each = extent.div_ceil(chunks);
        let mut extents = vec![each; extent.checked_div(each).unwrap_or(1)];
        if let Some(rest @ 1..) = extent.checked_rem(each) {
            extents.push(rest);
        }
        self.split(axis, &extents)
    }

    /// The tensors along `axis`, without it: as many as its extent.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let steps = Tensor::arange(6).reshape([2, 3]).unbind(1);
    /// assert_eq!(steps[2].to_vec::<i32>(), [2, 5]);
    /// ```
    ///
    /// # Panics
    /// If there is no such axis.
    #[track_caller]
    pub fn unbind(&self, axis: isize) -> Vec<Tensor> {
        let extent = self.shape()[axis_of("unbind", axis, self)];
        let mut pieces = self.split(axis, &vec![1; extent]);
        for piece in &mut pieces {
            *piece = piece.squeeze(axis);
        }
        pieces
    }

    /// The elements whose coordinate along axis `b` is that along axis `a` plus `offset`. They
    /// make a new last axis, in the place of the two.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::arange(6).reshape([2, 3]);
    /// assert_eq!(x.diagonal(0, 0, 1).to_vec::<i32>(), [0, 4]);
    /// assert_eq!(x.diagonal(1, 0, 1).to_vec::<i32>(), [1, 5]);
    /// ```
    ///
    /// # Panics
    /// If `a` and `b` are not two axes.
    #[track_caller]
    pub fn diagonal(&self, offset: isize, a: isize, b: isize) -> Tensor {
        let (a, b) = (axis_of("diagonal", a, self), axis_of("diagonal", b, self));
        assert!(a != b, "diagonal: of {} along axis {a} and itself", self.shape());
        let mut order: Vec<usize> = (0..self.rank()).filter(|&x| x != a && x != b).collect();
        let kept: Vec<usize> = order.iter().map(|&x| self.shape()[x]).collect();
        order.extend([a, b]);
        let (rows, columns) = (self.shape()[a], self.shape()[b]);
        let (first_row, first_column) =
            ((-offset).max(0).unsigned_abs(), offset.max(0).unsigned_abs());
        let count = rows.saturating_sub(first_row).min(columns.saturating_sub(first_column));
        // In row-major order the next element of the diagonal is a row and a column away.
        let flat = self.permute(&order).reshape([&kept[..], &[rows * columns]].concat());
        let start = if count == 0 { 0 } else { first_row * columns + first_column };
        flat.slice_by(kept.len(), start, columns as isize + 1, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradients, panic_message, sample};

    #[test]
    fn repeats() {
        let x = Tensor::from_slice(&[1, 2, 3, 4], [2, 2]);
        let y = x.repeat(&[2, 1, 2]);
        assert_eq!(y.to_vec::<i32>(), [1, 2, 1, 2, 3, 4, 3, 4].repeat(2));
        assert_eq!(*y.shape(), [2, 2, 4].into());
        assert_eq!(x.repeat(&[2, 1]).to_vec::<i32>(), [1, 2, 3, 4, 1, 2, 3, 4]);
        assert_eq!(x.repeat(&[0, 1]).to_vec::<i32>(), []);
        assert_eq!(x.t().repeat_interleave(2, 1).to_vec::<i32>(), [1, 1, 3, 3, 2, 2, 4, 4]);
        assert_eq!(x.repeat_interleave(2, -2).to_vec::<i32>(), [1, 2, 1, 2, 3, 4, 3, 4]);
        assert_eq!(*Tensor::scalar(1).repeat(&[3]).shape(), [3].into());
        let message = panic_message(|| x.repeat(&[2]));
        assert!(message.contains("repeat: 1 counts [2] for the 2 axes of [2, 2]"), "{message}");
    }

    #[test]
    fn rolls_and_cuts() {
        let x = Tensor::arange(6).reshape([2, 3]);
        assert_eq!(x.roll(-4, 1).to_vec::<i32>(), [1, 2, 0, 4, 5, 3]);
        assert_eq!(x.roll(1, 0).to_vec::<i32>(), [3, 4, 5, 0, 1, 2]);
        assert_eq!(x.roll(3, 1).to_vec::<i32>(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(Tensor::zeros([0]).roll(3, 0).to_vec::<f32>(), []);
        let extents = |n: usize, chunks: usize| -> Vec<usize> {
            Tensor::arange(n).chunk(chunks, 0).iter().map(Tensor::numel).collect()
        };
        assert_eq!(extents(6, 3), [2, 2, 2]);
        assert_eq!(extents(7, 3), [3, 3, 1]);
        assert_eq!(extents(5, 4), [2, 2, 1]);
        assert_eq!(extents(3, 5), [1, 1, 1]);
        assert_eq!(extents(0, 2), [0]);
        assert_eq!(x.unbind(0)[1].to_vec::<i32>(), [3, 4, 5]);
    }

    #[test]
    fn diagonals() {
        let x = Tensor::arange(12).reshape([3, 4]);
        assert_eq!(x.diagonal(0, 0, 1).to_vec::<i32>(), [0, 5, 10]);
        assert_eq!(x.diagonal(3, 0, 1).to_vec::<i32>(), [3]);
        assert_eq!(x.diagonal(-1, 0, 1).to_vec::<i32>(), [4, 9]);
        assert_eq!(x.diagonal(1, 1, 0).to_vec::<i32>(), [4, 9]);
        assert_eq!(x.diagonal(4, 0, 1).to_vec::<i32>(), []);
        assert_eq!(x.diagonal(-9, 0, 1).to_vec::<i32>(), []);
        let batch = Tensor::arange(8).reshape([2, 2, 2]);
        assert_eq!(batch.diagonal(0, 1, 2).to_vec::<i32>(), [0, 3, 4, 7]);
        assert_eq!(batch.diagonal(0, 0, 2).to_vec::<i32>(), [0, 5, 2, 7]);
    }

    #[test]
    fn gradients() {
        check_gradients(&[sample([2, 3], 1)], |x| x[0].repeat(&[2, 2, 3]));
        check_gradients(&[sample([2, 3], 2)], |x| x[0].repeat_interleave(2, 0));
        check_gradients(&[sample([2, 3], 3)], |x| x[0].roll(2, 1));
        check_gradients(&[sample([2, 5], 4)], |x| x[0].chunk(2, 1).remove(1));
        check_gradients(&[sample([3, 4], 5)], |x| x[0].diagonal(1, 0, 1));
    }
}
