//! How the elements of a tensor lie in a buffer.

use crate::shape::Shape;

/// Extents, and for each axis the distance between neighbours: element
/// `offset + Σ strides[a]·index[a]` of its buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Strided {
    /// The extents.
    pub dims: Vec<usize>,
    /// Distance between neighbours along each axis, in elements; 0 repeats, negative runs back.
    pub strides: Vec<isize>,
    /// Where the first element lies.
    pub offset: isize,
}

impl Strided {
    /// Row-major without gaps, from the start of the buffer.
    pub fn contiguous(shape: &Shape) -> Self {
        Strided { dims: shape.to_vec(), strides: shape.strides(), offset: 0 }
    }

    /// Whether the elements lie row-major without gaps. Strides of axes of extent 1 do not count.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.dims.iter().zip(&self.strides).rev().all(|(&dim, &stride)| {
            let fits = dim == 1 || stride == expected;
            expected *= dim as isize;
            fits
        }) || self.dims.contains(&0)
    }

    /// The same elements in row-major order under another shape, if a change of strides can
    /// express it.
    pub fn reshape(&self, shape: &Shape) -> Option<Strided> {
        if self.is_contiguous() {
            let contiguous = Strided::contiguous(shape);
            return Some(Strided { offset: self.offset, ..contiguous });
        }
        // Runs of old axes that together are one evenly spaced axis, extents of 1 left out.
        let mut runs: Vec<(usize, isize)> = Vec::new();
        for (&dim, &stride) in self.dims.iter().zip(&self.strides).filter(|(dim, _)| **dim != 1) {
            match runs.last_mut() {
                Some((n, inner)) if *inner == stride * dim as isize => {
                    (*n, *inner) = (*n * dim, stride);
                }
                _ => runs.push((dim, stride)),
            }
        }
        // Each new axis, from the last, has to divide what is left of the current run.
        let mut strides = vec![0; shape.rank()];
        let mut run = runs.pop();
        let mut taken = 1;
        for axis in (0..shape.rank()).rev().filter(|&a| shape[a] != 1) {
            let (n, stride) = run?;
            if !n.is_multiple_of(taken * shape[axis]) {
                return None;
            }
            strides[axis] = stride * taken as isize;
            taken *= shape[axis];
            if taken == n {
                (run, taken) = (runs.pop(), 1);
            }
        }
        Some(Strided { dims: shape.to_vec(), strides, offset: self.offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshapes_without_copies_where_strides_can_say_it() {
        let base = Strided::contiguous(&[4, 6].into());
        let transposed = Strided { dims: vec![6, 4], strides: vec![1, 6], offset: 0 };
        assert_eq!(transposed.reshape(&[24].into()), None);
        assert_eq!(transposed.reshape(&[2, 3, 4].into()).unwrap().strides, [3, 1, 6]);
        assert_eq!(transposed.reshape(&[6, 1, 2, 2].into()).unwrap().strides, [1, 0, 12, 6]);
        let half = Strided { dims: vec![4, 3], strides: vec![6, 1], offset: 3 };
        assert_eq!(half.reshape(&[2, 2, 3].into()).unwrap().strides, [12, 6, 1]);
        assert_eq!(half.reshape(&[12].into()), None);
        let repeated = Strided { dims: vec![2, 3], strides: vec![0, 0], offset: 0 };
        assert_eq!(repeated.reshape(&[6].into()).unwrap().strides, [0]);
        assert!(base.is_contiguous() && !transposed.is_contiguous());
    }
}
