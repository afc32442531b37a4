//! Shapes: the extents of a tensor's axes, and the rules of broadcasting.

use std::fmt;
use std::ops::Deref;

/// The extents of a tensor's axes, outermost first. A scalar has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// The shape of a scalar: no axes, one element.
    pub const fn scalar() -> Self {
        Shape(Vec::new())
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of elements: the product of the extents.
    pub fn numel(&self) -> usize {
        self.0.iter().product()
    }

    /// Strides in elements of the contiguous row-major layout.
    pub fn strides(&self) -> Vec<isize> {
        let mut strides = vec![0; self.rank()];
        let mut step = 1isize;
        for (stride, &extent) in strides.iter_mut().zip(&self.0).rev() {
            *stride = step;
            step *= extent.max(1) as isize;
        }
        strides
    }

    /// The shape that both broadcast to by NumPy's rule: aligned at the last axis, extents are
    /// equal or one of them is 1.
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = self.rank().max(other.rank());
        let extent =
            |s: &Shape, i: usize| (i + s.rank()).checked_sub(rank).map_or(1, |axis| s.0[axis]);
        let joined = (0..rank).map(|i| match (extent(self, i), extent(other, i)) {
            (a, b) if a == b => Some(a),
            (1, b) => Some(b),
            (a, 1) => Some(a),
            _ => None,
        });
        joined.collect::<Option<Vec<_>>>().map(Shape)
    }

    /// Whether a tensor of this shape may be broadcast to `target`.
    pub fn broadcasts_to(&self, target: &Shape) -> bool {
        self.broadcast(target).as_ref() == Some(target)
    }

    /// The axis counted from the front that `axis` names; negative ones count from the end.
    pub fn axis(&self, axis: isize) -> Option<usize> {
        let rank = self.rank() as isize;
        let found = if axis < 0 { axis + rank } else { axis };
        (0..rank).contains(&found).then_some(found as usize)
    }

    /// The product of the extents of `axes`, before it, and after it: `(outer, extent, inner)`.
    pub fn around(&self, axis: usize) -> (usize, usize, usize) {
        (self.0[..axis].iter().product(), self.0[axis], self.0[axis + 1..].iter().product())
    }

    /// The extents as a mutable vector.
    pub fn into_vec(self) -> Vec<usize> {
        self.0
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extents: Vec<_> = self.0.iter().map(usize::to_string).collect();
        write!(f, "[{}]", extents.join(", "))
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(extents: [usize; N]) -> Self {
        Shape(extents.to_vec())
    }
}

impl From<Vec<usize>> for Shape {
    fn from(extents: Vec<usize>) -> Self {
        Shape(extents)
    }
}

impl From<&[usize]> for Shape {
    fn from(extents: &[usize]) -> Self {
        Shape(extents.to_vec())
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}

impl FromIterator<usize> for Shape {
    fn from_iter<I: IntoIterator<Item = usize>>(extents: I) -> Self {
        Shape(extents.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_follows_numpy() {
        let s = |v: &[usize]| Shape::from(v);
        for (a, b, joined) in [
            (s(&[2, 3]), s(&[3]), Some(s(&[2, 3]))),
            (s(&[2, 1]), s(&[1, 3]), Some(s(&[2, 3]))),
            (s(&[]), s(&[4]), Some(s(&[4]))),
            (s(&[0]), s(&[1]), Some(s(&[0]))),
            (s(&[2]), s(&[3]), None),
            (s(&[0]), s(&[2]), None),
        ] {
            assert_eq!(a.broadcast(&b), joined, "{a} {b}");
            assert_eq!(b.broadcast(&a), joined, "{b} {a}");
        }
        assert!(s(&[3]).broadcasts_to(&s(&[2, 3])) && !s(&[2, 3]).broadcasts_to(&s(&[3])));
    }

    #[test]
    fn strides_and_axes() {
        let shape = Shape::from([2, 3, 4]);
        assert_eq!(shape.strides(), [12, 4, 1]);
        assert_eq!(shape.around(1), (2, 3, 4));
        assert_eq!(
            (shape.axis(-1), shape.axis(2), shape.axis(3), shape.axis(-4)),
            (Some(2), Some(2), None, None)
        );
        assert_eq!((Shape::scalar().numel(), shape.numel()), (1, 24));
    }
}
