//! The table: each operation with its sample inputs.

mod arrange;
mod network;
mod numbers;

use crate::common::Rng;
use nerve_core::Tensor;

/// How often the operation may be differentiated, at the sample inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Not at all: asking is an error.
    None,
    /// Once: it has corners or steps away from the samples, or is linear in pieces.
    Once,
    /// As often as one likes.
    Smooth,
}

/// What an input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Float,
    Int,
    Long,
    Byte,
    Small,
    Bool,
}

/// How the elements of an input lie in the tensor that holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    Plain,
    /// First and last axis exchanged.
    Transposed,
    /// Every second element of the last axis, from the second on.
    Strided,
    /// The last axis reversed.
    Flipped,
    /// One more element in front and behind along the first axis.
    Cropped,
    /// One row repeated along the first axis.
    Repeated,
}

/// A sample input.
#[derive(Clone, Debug)]
pub struct Input {
    pub shape: Vec<usize>,
    pub kind: Kind,
    pub view: View,
    /// The elements of the tensor that holds it, row-major.
    pub data: Vec<f64>,
}

impl Input {
    /// The shape of the tensor that holds it.
    pub fn base_shape(&self) -> Vec<usize> {
        let (mut shape, last) = (self.shape.clone(), self.shape.len().wrapping_sub(1));
        match self.view {
            View::Plain | View::Flipped => {}
            View::Transposed => shape.swap(0, last),
            View::Strided => shape[last] = 2 * shape[last] + 1,
            View::Cropped => shape[0] += 2,
            View::Repeated => shape[0] = 1,
        }
        shape
    }
}

pub type Function = Box<dyn Fn(&[Tensor]) -> Tensor>;

/// One call of one operation.
pub struct Case {
    pub name: String,
    pub inputs: Vec<Input>,
    pub f: Function,
    pub order: Order,
    /// What the shape of the result has to be, where the table says so.
    pub shape: Option<Vec<usize>>,
    /// Tolerance of f32 against f64, relative and absolute: PyTorch's.
    pub single: (f64, f64),
}

impl Case {
    pub fn new(
        name: impl Into<String>,
        order: Order,
        inputs: Vec<Input>,
        f: impl Fn(&[Tensor]) -> Tensor + 'static,
    ) -> Case {
        let name = name.into();
        let shapes: Vec<String> =
            (inputs.iter()).map(|i| format!("{:?} {:?} {:?}", i.kind, i.shape, i.view)).collect();
        Case {
            name: format!("{name}({})", shapes.join(", ")),
            inputs,
            f: Box::new(f),
            order,
            shape: None,
            single: (1.3e-6, 1e-5),
        }
    }

    /// Says what the shape of the result has to be.
    pub fn gives(mut self, shape: &[usize]) -> Case {
        self.shape = Some(shape.to_vec());
        self
    }
}

/// Elements from `draw`.
pub fn input(kind: Kind, shape: &[usize], view: View, mut draw: impl FnMut() -> f64) -> Input {
    let view = if shape.is_empty() { View::Plain } else { view };
    let mut input = Input { shape: shape.to_vec(), kind, view, data: Vec::new() };
    let count = input.base_shape().iter().product();
    input.data = (0..count).map(|_| draw()).collect();
    input
}

/// Floats in `low..high`, all different enough from each other and from integers and halves that
/// a difference quotient crosses no corner.
pub fn floats(seed: u64, shape: &[usize], view: View, (low, high): (f64, f64)) -> Input {
    let mut rng = Rng(seed);
    let mut taken: Vec<f64> = Vec::new();
    input(Kind::Float, shape, view, || {
        loop {
            let x = rng.range(low, high);
            let corner = (2.0 * x - (2.0 * x).round()).abs() < 0.02;
            if !corner && taken.iter().all(|y| (x - y).abs() > 1e-3) {
                taken.push(x);
                return x;
            }
        }
    })
}

/// Floats in −2..2, as [`floats`].
pub fn float(seed: u64, shape: &[usize]) -> Input {
    floats(seed, shape, View::Plain, (-2.0, 2.0))
}

/// Integers in `low..high`.
pub fn ints(seed: u64, shape: &[usize], (low, high): (i32, i32)) -> Input {
    let mut rng = Rng(seed);
    let n = (high - low) as usize;
    input(Kind::Int, shape, View::Plain, || f64::from(low) + rng.below(n) as f64)
}

/// As [`ints`], of another type of integers.
pub fn whole(kind: Kind, seed: u64, shape: &[usize], range: (i32, i32)) -> Input {
    Input { kind, ..ints(seed, shape, range) }
}

/// Truth values.
pub fn bools(seed: u64, shape: &[usize]) -> Input {
    let mut rng = Rng(seed);
    input(Kind::Bool, shape, View::Plain, || rng.below(2) as f64)
}

/// Bytes, small and large.
pub fn bytes(seed: u64, shape: &[usize]) -> Input {
    let mut rng = Rng(seed);
    input(Kind::Byte, shape, View::Plain, || rng.below(256) as f64)
}

/// Shapes and views on which each elementwise operation is called: a scalar, one element, nothing,
/// several ranks, and every way of lying.
pub const LAYOUTS: &[(&[usize], View)] = &[
    (&[], View::Plain),
    (&[1], View::Plain),
    (&[0], View::Plain),
    (&[2, 0, 3], View::Flipped),
    (&[5], View::Flipped),
    (&[2, 3], View::Transposed),
    (&[2, 3], View::Strided),
    (&[3, 2], View::Cropped),
    (&[3, 2], View::Repeated),
    (&[2, 1, 3], View::Plain),
    (&[19], View::Strided),
];

pub fn cases() -> Vec<Case> {
    [numbers::cases(), arrange::cases(), network::cases()].into_iter().flatten().collect()
}
