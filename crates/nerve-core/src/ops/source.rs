//! Tensors that are computed from nothing: equal numbers, counting numbers, random numbers.
//!
//! Most take no memory in a plan: every fused group that needs one computes it on the spot. Random
//! numbers are computed once, and only what comes out of them is kept: the bytes of a mask.

use super::Bits;
use crate::dtype::DType;
use crate::op::{Elementwise, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::Buffer;
use nerve_cpu::fused::{self, Compute, Step};
use nerve_cpu::memory::Plain;

/// All elements equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Full {
    /// The value.
    pub value: Bits,
    shape: Shape,
    dtype: DType,
}

impl Full {
    /// `value`, rounded to `dtype`, in every element of `shape`.
    pub fn new(value: f64, shape: Shape, dtype: DType) -> Self {
        let value = match dtype {
            DType::F32 => f64::from(value as f32),
            DType::F64 => value,
            DType::I32 => f64::from(value as i32),
            DType::I64 => (value as i64) as f64,
            DType::U8 => f64::from(value as u8),
            DType::I8 => f64::from(value as i8),
            DType::Bool => f64::from(u8::from(value != 0.0)),
        };
        Full { value: Bits::new(value), shape, dtype }
    }

    /// The elements, without a plan, which would fill memory of its own and copy it.
    pub(crate) fn filled(&self) -> Buffer {
        fn fill<T: Plain>(buffer: &Buffer, numel: usize, value: T) {
            let piece = vec![value; numel.min(1 << 14)];
            for start in (0..numel).step_by(piece.len().max(1)) {
                let count = piece.len().min(numel - start);
                buffer.write(start * size_of::<T>(), &piece[..count]);
            }
        }
        let (numel, value) = (self.shape.numel(), self.value.get());
        let buffer = Buffer::zeroed(numel * self.dtype.bytes());
        // Memory is zero when it comes, and takes no place before it is written.
        if value.to_bits() != 0 {
            match self.dtype {
                DType::F32 => fill(&buffer, numel, value as f32),
                DType::F64 => fill(&buffer, numel, value),
                DType::I32 => fill(&buffer, numel, value as i32),
                DType::I64 => fill(&buffer, numel, value as i64),
                DType::U8 | DType::Bool => fill(&buffer, numel, value as u8),
                DType::I8 => fill(&buffer, numel, value as i8),
            }
        }
        buffer
    }
}

impl Operation for Full {
    fn name(&self) -> &'static str {
        "full"
    }

    fn infer(&self, _: &[Tensor]) -> Result<(Shape, DType), String> {
        Ok((self.shape.clone(), self.dtype))
    }

    fn gradient(&self, _: &[Tensor], _: &Tensor, _: &Tensor) -> crate::op::Gradients {
        Ok(Vec::new())
    }

    fn role(&self) -> Role<'_> {
        Role::Elementwise(self)
    }
}

impl Elementwise for Full {
    fn step(&self, _: &[u16], compute: Compute) -> Step {
        match compute.is_integer() {
            true => Step::int(self.value.get() as i64),
            false => Step::float(self.value.get()),
        }
    }

    fn is_source(&self) -> bool {
        true
    }
}

/// Σ weight·coordinate + start: row numbers, column numbers, counting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Iota {
    /// Weight of the coordinate along each axis.
    pub weights: Vec<i64>,
    shape: Shape,
}

impl Operation for Iota {
    fn name(&self) -> &'static str {
        "iota"
    }

    fn infer(&self, _: &[Tensor]) -> Result<(Shape, DType), String> {
        Ok((self.shape.clone(), DType::I32))
    }

    fn role(&self) -> Role<'_> {
        Role::Elementwise(self)
    }
}

impl Elementwise for Iota {
    fn step(&self, _: &[u16], _: Compute) -> Step {
        Step::Index(self.weights.clone())
    }

    fn is_source(&self) -> bool {
        true
    }
}

/// Random numbers that are a pure function of a key, a stream and the position.
///
/// Counter-based (Philox 4×32-10; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
/// 2011), so they do not depend on threads, on scheduling or on fusion.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Random {
    /// Uniform on [0, 1) or standard normal.
    pub kind: fused::Random,
    /// Which of the independent streams of the key.
    pub stream: u32,
    shape: Shape,
    dtype: DType,
}

impl Operation for Random {
    fn name(&self) -> &'static str {
        self.kind.name()
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let key = &inputs[0];
        if (key.dtype(), &**key.shape()) != (DType::I32, &[4][..]) {
            return Err(format!(
                "the key is i32 [4] (seed low, seed high, step low, step high), found {} {}",
                key.dtype(),
                key.shape()
            ));
        }
        match self.dtype.is_float() {
            true => Ok((self.shape.clone(), self.dtype)),
            false => Err(format!("draws f32 or f64, not {}", self.dtype)),
        }
    }

    fn gradient(&self, _: &[Tensor], _: &Tensor, _: &Tensor) -> crate::op::Gradients {
        Ok(vec![None])
    }

    fn role(&self) -> Role<'_> {
        Role::Elementwise(self)
    }
}

impl Elementwise for Random {
    fn step(&self, inputs: &[u16], _: Compute) -> Step {
        Step::Random { kind: self.kind, key: inputs[0], stream: self.stream }
    }

    fn is_source(&self) -> bool {
        true
    }
}

impl Tensor {
    /// The numbers 0, 1, … `n` − 1 as i32.
    #[track_caller]
    pub fn arange(n: usize) -> Tensor {
        Tensor::iota([n], 0)
    }

    /// For every element its coordinate along `axis`, as i32.
    #[track_caller]
    pub fn iota(shape: impl Into<Shape>, axis: isize) -> Tensor {
        let shape = shape.into();
        let axis = match super::axis(axis, &shape) {
            Ok(axis) => axis,
            Err(why) => panic!("iota: {why}"),
        };
        let mut weights = vec![0; shape.rank()];
        weights[axis] = 1;
        Tensor::apply(Iota { weights, shape }, &[])
    }

    /// The key for random numbers: a seed, and which step of the training it is.
    ///
    /// ```
    /// use nerve_core::{DType, Tensor};
    /// let key = Tensor::random_key(42, 0);
    /// let a = Tensor::uniform(&key, 0, [1000], DType::F32);
    /// let b = Tensor::uniform(&key, 0, [1000], DType::F32);
    /// assert_eq!(a.to_vec::<f32>(), b.to_vec::<f32>());
    /// ```
    #[track_caller]
    pub fn random_key(seed: u64, step: u64) -> Tensor {
        Tensor::from_slice(&random_key(seed, step), [4])
    }

    /// Uniform random numbers in [0, 1). See [`Random`].
    #[track_caller]
    pub fn uniform(key: &Tensor, stream: u32, shape: impl Into<Shape>, dtype: DType) -> Tensor {
        let op = Random { kind: fused::Random::Uniform, stream, shape: shape.into(), dtype };
        Tensor::apply(op, &[key])
    }

    /// Random numbers from the normal distribution with mean 0 and variance 1. See [`Random`].
    #[track_caller]
    pub fn normal(key: &Tensor, stream: u32, shape: impl Into<Shape>, dtype: DType) -> Tensor {
        let op = Random { kind: fused::Random::Normal, stream, shape: shape.into(), dtype };
        Tensor::apply(op, &[key])
    }

    /// True with probability `p`, independently for each element. See [`Random`].
    #[track_caller]
    pub fn bernoulli(key: &Tensor, stream: u32, shape: impl Into<Shape>, p: f64) -> Tensor {
        Tensor::uniform(key, stream, shape, DType::F32).lt(p)
    }
}

/// The four words of [`Tensor::random_key`], for writing them into a variable between steps.
pub fn random_key(seed: u64, step: u64) -> [i32; 4] {
    [seed as i32, (seed >> 32) as i32, step as i32, (step >> 32) as i32]
}
