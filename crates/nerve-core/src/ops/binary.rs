//! Functions of two numbers with broadcasting, comparisons, and choosing.

use super::{expect_float, expect_same};
use crate::dtype::DType;
use crate::op::{Elementwise, Gradients, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::fused::{BinaryOp, Compute, Step};
use std::f64::consts::PI;

/// A function of two elements at the same place. Broadcasting has happened before: shapes agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Binary {
    /// Which one.
    pub op: BinaryOp,
}

impl Binary {
    fn compares(self) -> bool {
        use BinaryOp::*;
        matches!(self.op, Eq | Ne | Lt | Le | Gt | Ge)
    }
}

fn same_shape(a: &Tensor, b: &Tensor) -> Result<Shape, String> {
    match a.shape() == b.shape() {
        true => Ok(a.shape().clone()),
        false => Err(format!("shapes {} and {} differ", a.shape(), b.shape())),
    }
}

impl Operation for Binary {
    fn name(&self) -> &'static str {
        self.op.name()
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let dtype = expect_same(&inputs[0], &inputs[1])?;
        use BinaryOp::*;
        let result = match self.op {
            _ if self.compares() => DType::Bool,
            And | Or | Xor if dtype == DType::Bool => DType::Bool,
            And | Or | Xor => return Err(format!("expected bool, found {dtype}")),
            op if !op.on_floats() && !dtype.is_integer() => {
                return Err(format!("expected integers, found {dtype}"));
            }
            _ if dtype == DType::Bool => {
                return Err("arithmetic on bool; convert with to_dtype first".into());
            }
            op if !op.on_integers() => {
                expect_float(&inputs[0])?;
                dtype
            }
            _ => dtype,
        };
        Ok((same_shape(&inputs[0], &inputs[1])?, result))
    }

    fn gradient(&self, inputs: &[Tensor], y: &Tensor, dy: &Tensor) -> Gradients {
        let (a, b) = (&inputs[0], &inputs[1]);
        use BinaryOp::*;
        let (da, db) = match self.op {
            Add => (dy.clone(), dy.clone()),
            Sub => (dy.clone(), -dy),
            Mul => (dy * b, dy * a),
            Div => (dy / b, -(dy * y / b)),
            Pow => {
                // At a = 0 the logarithm is infinite, while the power does not change with b; at
                // b = 0 the slope is 0, whatever a is. A power of a negative number has no slope
                // in the exponent: NaN.
                let log = a.eq(0.0).select(&a.full_like(1.0), a).log();
                let slope = b * a.pow(&(b - 1.0));
                (dy * b.eq(0.0).select(&b.zeros_like(), &slope), dy * y * log)
            }
            // Where both are equal each gets half, so that the sum is right.
            Max | Min => {
                let first = if self.op == Max { a.gt(b) } else { a.lt(b) };
                let half = a.eq(b).select(&dy.full_like(0.5), &dy.zeros_like());
                let share = first.select(&dy.full_like(1.0), &half);
                (dy * &share, dy * (1.0 - &share))
            }
            Rem => (dy.clone(), -(dy * (a / b).trunc())),
            Atan2 => {
                let norm = a.square() + b.square();
                (dy * b / &norm, -(dy * a / &norm))
            }
            // The slope Φ(a) + a φ(a) has itself the slope (2 − a²) φ(a).
            GeluGrad => {
                let density = (a.square() * -0.5).exp() * (2.0 * PI).sqrt().recip();
                (dy * b * (2.0 - a.square()) * density, Tensor::apply(*self, &[a, dy]))
            }
            Eq | Ne | Lt | Le | Gt | Ge | And | Or | Xor | BitAnd | BitOr | BitXor | Shl | Shr => {
                return Ok(vec![None, None]);
            }
        };
        Ok(vec![Some(da), Some(db)])
    }

    fn role(&self) -> Role<'_> {
        Role::Elementwise(self)
    }
}

impl Elementwise for Binary {
    fn step(&self, inputs: &[u16], _: Compute) -> Step {
        Step::Binary(self.op, inputs[0], inputs[1])
    }
}

/// One of two elements, by a truth value. Inputs: condition, value if true, value if false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Select;

impl Operation for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        if inputs[0].dtype() != DType::Bool {
            return Err(format!("the condition is bool, found {}", inputs[0].dtype()));
        }
        let dtype = expect_same(&inputs[1], &inputs[2])?;
        same_shape(&inputs[0], &inputs[1])?;
        Ok((same_shape(&inputs[1], &inputs[2])?, dtype))
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        let (condition, zero) = (&inputs[0], dy.zeros_like());
        Ok(vec![None, Some(condition.select(dy, &zero)), Some(condition.select(&zero, dy))])
    }

    fn role(&self) -> Role<'_> {
        Role::Elementwise(self)
    }
}

impl Elementwise for Select {
    fn step(&self, inputs: &[u16], _: Compute) -> Step {
        Step::Select(inputs[0], inputs[1], inputs[2])
    }
}

/// The second operand of an operation: a tensor, or a number that takes the tensor's dtype.
pub trait Operand {
    /// As a tensor of type `dtype`.
    fn operand(&self, dtype: DType) -> Tensor;
}

impl Operand for Tensor {
    fn operand(&self, _: DType) -> Tensor {
        self.clone()
    }
}

impl<T: Operand + ?Sized> Operand for &T {
    fn operand(&self, dtype: DType) -> Tensor {
        (**self).operand(dtype)
    }
}

/// `value` as a scalar of type `dtype`.
#[track_caller]
fn number(value: f64, dtype: DType) -> Tensor {
    let (low, high) = match dtype {
        DType::F32 | DType::F64 => return Tensor::full(Shape::scalar(), value, dtype),
        DType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        // The largest number below 2⁶³.
        DType::I64 => (-(63f64.exp2()), 63f64.exp2() - 1024.0),
        DType::U8 => (0.0, 255.0),
        DType::I8 => (-128.0, 127.0),
        DType::Bool => (0.0, 1.0),
    };
    assert!(
        value.fract() == 0.0 && (low..=high).contains(&value),
        "the number {value} beside a tensor of {dtype}, which cannot hold it; convert the tensor \
         with to_dtype first"
    );
    Tensor::full(Shape::scalar(), value, dtype)
}

macro_rules! numbers {
    ($($t:ty),*) => {$(
        impl Operand for $t {
            #[track_caller]
            fn operand(&self, dtype: DType) -> Tensor {
                number(f64::from(*self), dtype)
            }
        }
    )*};
}
numbers!(f64, f32, i32);

impl Operand for i64 {
    #[track_caller]
    fn operand(&self, dtype: DType) -> Tensor {
        match dtype {
            // Not through f64, which rounds large ones.
            DType::I64 if self.unsigned_abs() > 1 << 53 => Tensor::scalar(*self),
            _ => number(*self as f64, dtype),
        }
    }
}

/// Both operands broadcast to their common shape, then `op`.
#[track_caller]
fn apply(op: BinaryOp, a: &Tensor, b: &Tensor) -> Tensor {
    let Some(shape) = a.shape().broadcast(b.shape()) else {
        panic!(
            "{}: shapes {} and {} do not broadcast: aligned at the last axis, extents must be \
             equal or 1",
            op.name(),
            a.shape(),
            b.shape()
        );
    };
    Tensor::apply(Binary { op }, &[&a.broadcast_to(&shape), &b.broadcast_to(&shape)])
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $op:ident;)*) => {
        impl Tensor {
            $($(#[$doc])*
            #[track_caller]
            pub fn $name(&self, other: impl Operand) -> Tensor {
                apply(BinaryOp::$op, self, &other.operand(self.dtype()))
            })*
        }
    };
}

methods! {
    /// The larger of the two, NaN if either is.
    maximum = Max;
    /// The smaller of the two, NaN if either is.
    minimum = Min;
    /// `self` to the power of `other`.
    pow = Pow;
    /// The angle of the point (`other`, `self`).
    atan2 = Atan2;
    /// Whether equal.
    eq = Eq;
    /// Whether not equal.
    ne = Ne;
    /// Whether less.
    lt = Lt;
    /// Whether less or equal.
    le = Le;
    /// Whether greater.
    gt = Gt;
    /// Whether greater or equal.
    ge = Ge;
    /// Both, of truth values.
    logical_and = And;
    /// Either or both, of truth values.
    logical_or = Or;
    /// Exactly one, of truth values.
    logical_xor = Xor;
    /// The bits that are set in both integers.
    bitwise_and = BitAnd;
    /// The bits that are set in either integer.
    bitwise_or = BitOr;
    /// The bits that are set in exactly one of the integers.
    bitwise_xor = BitXor;
    /// An integer with its bits moved `other` places up; 0 if that is negative or all of them.
    shift_left = Shl;
    /// An integer with its bits moved `other` places down, rounding towards −∞; of a negative
    /// shift, or one by all bits, only the sign is left: 0 or −1.
    shift_right = Shr;
}

impl Tensor {
    /// Where `self` (of type bool) is true `a`, elsewhere `b`. All three broadcast.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[-1.0f32, 2.0], [2]);
    /// assert_eq!(x.gt(0.0).select(&x, &x.zeros_like()).to_vec::<f32>(), [0.0, 2.0]);
    /// ```
    #[track_caller]
    pub fn select(&self, a: &Tensor, b: &Tensor) -> Tensor {
        let shape = a.shape().broadcast(b.shape()).and_then(|s| s.broadcast(self.shape()));
        let Some(shape) = shape else {
            panic!(
                "select: condition {}, values {} and {} do not broadcast",
                self.shape(),
                a.shape(),
                b.shape()
            );
        };
        let inputs = [self, a, b].map(|t| t.broadcast_to(&shape));
        Tensor::apply(Select, &[&inputs[0], &inputs[1], &inputs[2]])
    }

    /// The remainder with the sign of the divisor, as Python's `%`: `self − other ⌊self/other⌋`.
    /// `%` itself has the sign of the dividend, as in Rust and C. By the integer 0 it is 0.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[-7, 7], [2]);
    /// assert_eq!(x.remainder(3).to_vec::<i32>(), [2, 1]);
    /// assert_eq!((x % 3).to_vec::<i32>(), [-1, 1]);
    /// ```
    #[track_caller]
    pub fn remainder(&self, other: impl Operand) -> Tensor {
        let divisor = other.operand(self.dtype());
        let rest = self % &divisor;
        let wrong = rest.lt(0).logical_xor(divisor.lt(0)).logical_and(rest.ne(0));
        wrong.select(&(&rest + divisor), &rest)
    }

    /// An integer with all its bits the other way round: −x − 1 of a signed one.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// assert_eq!(Tensor::scalar(5u8).bitwise_not().item::<u8>(), 250);
    /// assert_eq!(Tensor::scalar(5).bitwise_not().item::<i32>(), -6);
    /// ```
    #[track_caller]
    pub fn bitwise_not(&self) -> Tensor {
        self.bitwise_xor(if self.dtype() == DType::U8 { 255 } else { -1 })
    }

    /// Limited to `low..=high`.
    #[track_caller]
    pub fn clamp(&self, low: f64, high: f64) -> Tensor {
        assert!(low <= high, "clamp: {low} > {high}");
        self.maximum(low).minimum(high)
    }

    /// To a constant power; whole and half powers take multiplications and roots.
    #[track_caller]
    pub fn powf(&self, exponent: f64) -> Tensor {
        match exponent {
            0.0 => self.full_like(1.0),
            0.5 => self.sqrt(),
            1.0 => self.clone(),
            2.0 => self.square(),
            3.0 => self.square() * self,
            -0.5 => self.rsqrt(),
            -1.0 => self.recip(),
            _ => self.pow(exponent),
        }
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $op:ident),*) => {$(
        impl<T: Operand> std::ops::$trait<T> for &Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: T) -> Tensor {
                apply(BinaryOp::$op, self, &other.operand(self.dtype()))
            }
        }
        impl<T: Operand> std::ops::$trait<T> for Tensor {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: T) -> Tensor {
                apply(BinaryOp::$op, &self, &other.operand(self.dtype()))
            }
        }
        operators!(@number $trait $method $op f64);
        operators!(@number $trait $method $op f32);
        operators!(@number $trait $method $op i32);
    )*};
    (@number $trait:ident $method:ident $op:ident $number:ty) => {
        impl std::ops::$trait<&Tensor> for $number {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: &Tensor) -> Tensor {
                apply(BinaryOp::$op, &self.operand(other.dtype()), other)
            }
        }
        impl std::ops::$trait<Tensor> for $number {
            type Output = Tensor;
            #[track_caller]
            fn $method(self, other: Tensor) -> Tensor {
                apply(BinaryOp::$op, &self.operand(other.dtype()), &other)
            }
        }
    };
}
operators!(Add add Add, Sub sub Sub, Mul mul Mul, Div div Div, Rem rem Rem);

impl std::ops::Neg for &Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        Tensor::apply(super::Unary { op: nerve_cpu::fused::UnaryOp::Neg }, &[self])
    }
}

impl std::ops::Neg for Tensor {
    type Output = Tensor;
    #[track_caller]
    fn neg(self) -> Tensor {
        -&self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_64_bits_keep_all_their_bits() {
        let large = (1i64 << 53) + 1;
        let x = Tensor::from_slice(&[large, -large, i64::MAX, i64::MIN], [4]);
        assert_eq!((&x + 1).to_vec::<i64>(), [large + 1, 1 - large, i64::MIN, i64::MIN + 1]);
        assert_eq!((&x + large).to_vec::<i64>()[..2], [2 * large, 0]);
        assert_eq!(x.eq(large).to_vec::<bool>(), [true, false, false, false]);
        assert_eq!(x.max().item::<i64>(), i64::MAX);
        assert_eq!(x.sum().item::<i64>(), -1);
        assert_eq!(x.cumsum(0).to_vec::<i64>(), [large, 0, i64::MAX, -1]);
        assert_eq!(x.argsort(0, false).to_vec::<i32>(), [3, 1, 0, 2]);
        assert_eq!(x.to_dtype(DType::I32).to_vec::<i32>(), [1, -1, -1, 0]);
        assert_eq!(x.to_dtype(DType::I8).to_vec::<i8>(), [1, -1, -1, 0]);
        let end = Tensor::full([1], 1e300, DType::I64);
        assert_eq!(end.to_vec::<i64>(), [i64::MAX]);
    }

    #[test]
    fn bytes_wrap_around_wherever_they_are_used() {
        // In one group with what comes after, they would not.
        let x = Tensor::from_slice(&[100i8, -128, 127], [3]);
        assert_eq!((&x + 100).to_dtype(DType::I32).to_vec::<i32>(), [-56, -28, -29]);
        assert_eq!((&x + 100).lt(0).to_vec::<bool>(), [true, true, true]);
        assert_eq!((-&x).to_vec::<i8>(), [-100, -128, -127]);
        assert_eq!((&x * &x).to_vec::<i8>(), [16, 0, 1]);
        assert_eq!(((&x + &x) / 2).to_vec::<i8>(), [-28, 0, -1]);
        let counted = Tensor::arange(300).to_dtype(DType::U8);
        let high = counted.gt(200).to_dtype(DType::I32).sum();
        assert_eq!(high.item::<i32>(), 55);
    }
}
