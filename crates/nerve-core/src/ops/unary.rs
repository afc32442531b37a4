//! Functions of one number, changes of dtype, and the end of gradients.

use super::{Binary, expect_float};
use crate::dtype::DType;
use crate::op::{Elementwise, Gradients, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::fused::{BinaryOp, Compute, Step, UnaryOp};
use std::f64::consts::{FRAC_2_SQRT_PI, LN_2};

/// A function of each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unary {
    /// Which one.
    pub op: UnaryOp,
}

impl Operation for Unary {
    fn name(&self) -> &'static str {
        self.op.name()
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let x = &inputs[0];
        let dtype = match self.op {
            UnaryOp::Not if x.dtype() != DType::Bool => {
                return Err(format!("expected bool, found {}", x.dtype()));
            }
            UnaryOp::Not | UnaryOp::IsNan | UnaryOp::IsFinite => DType::Bool,
            op if op.on_integers() && x.dtype() != DType::Bool => x.dtype(),
            _ => {
                expect_float(x)?;
                x.dtype()
            }
        };
        Ok((x.shape().clone(), dtype))
    }

    fn gradient(&self, inputs: &[Tensor], y: &Tensor, dy: &Tensor) -> Gradients {
        let x = &inputs[0];
        use UnaryOp::*;
        let dx = match self.op {
            Neg => -dy,
            Abs => dy * x.sign(),
            // Constant almost everywhere: the gradient is zero, and says so.
            Sign | Floor | Ceil | Round | Trunc => dy * 0.0,
            Recip => -dy * y.square(),
            Square => dy * x * 2.0,
            Sqrt => dy / y * 0.5,
            Rsqrt => dy * y * y.square() * -0.5,
            Exp => dy * y,
            Exp2 => dy * y * LN_2,
            Expm1 => dy * (y + 1.0),
            Log => dy / x,
            Log2 => dy / (x * LN_2),
            Log1p => dy / (x + 1.0),
            Sin => dy * x.cos(),
            Cos => -(dy * x.sin()),
            Tan => dy * (y.square() + 1.0),
            Asin => dy * (-x.square() + 1.0).rsqrt(),
            Acos => -(dy * (-x.square() + 1.0).rsqrt()),
            Atan => dy / (x.square() + 1.0),
            Sinh => dy * x.cosh(),
            Cosh => dy * x.sinh(),
            Tanh => dy * (1.0 - y.square()),
            Sigmoid => dy * y * (1.0 - y),
            Erf => dy * (-x.square()).exp() * FRAC_2_SQRT_PI,
            Gelu => Tensor::apply(Binary { op: BinaryOp::GeluGrad }, &[x, dy]),
            // By the output: the input need not be kept.
            Relu => y.gt(0.0).select(dy, &dy.zeros_like()),
            Not | IsNan | IsFinite => return Ok(vec![None]),
        };
        Ok(vec![Some(dx)])
    }

    fn role(&self) -> Role<'_> {
        Role::Elementwise(self)
    }
}

impl Elementwise for Unary {
    fn step(&self, inputs: &[u16], _: Compute) -> Step {
        Step::Unary(self.op, inputs[0])
    }
}

/// The same numbers as another dtype. Floats become integers by truncation, saturating; to `bool`
/// everything but zero is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cast {
    /// The new type.
    pub dtype: DType,
}

impl Operation for Cast {
    fn name(&self) -> &'static str {
        "to_dtype"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        Ok((inputs[0].shape().clone(), self.dtype))
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        let from = inputs[0].dtype();
        Ok(vec![from.is_float().then(|| dy.to_dtype(from))])
    }

    fn role(&self) -> Role<'_> {
        Role::Elementwise(self)
    }
}

impl Elementwise for Cast {
    fn step(&self, _: &[u16], _: Compute) -> Step {
        unreachable!("conversions happen where a group loads or stores")
    }
}

/// The same value, through which no gradient flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Detach;

impl Operation for Detach {
    fn name(&self) -> &'static str {
        "detach"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        Ok((inputs[0].shape().clone(), inputs[0].dtype()))
    }

    fn gradient(&self, _: &[Tensor], _: &Tensor, _: &Tensor) -> Gradients {
        Ok(vec![None])
    }

    fn role(&self) -> Role<'_> {
        Role::Movement(self)
    }
}

impl crate::op::Movement for Detach {
    fn view(&self, input: &crate::compile::Strided) -> Option<crate::compile::Strided> {
        Some(input.clone())
    }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $op:ident;)*) => {
        impl Tensor {
            $($(#[$doc])*
            #[track_caller]
            pub fn $name(&self) -> Tensor {
                Tensor::apply(Unary { op: UnaryOp::$op }, &[self])
            })*
        }
    };
}

methods! {
    /// |x|.
    abs = Abs;
    /// −1, 0 or 1; its gradient is zero.
    sign = Sign;
    /// 1/x.
    recip = Recip;
    /// x².
    square = Square;
    /// √x.
    sqrt = Sqrt;
    /// 1/√x.
    rsqrt = Rsqrt;
    /// eˣ.
    exp = Exp;
    /// 2ˣ.
    exp2 = Exp2;
    /// eˣ − 1, accurate near 0.
    expm1 = Expm1;
    /// Natural logarithm.
    log = Log;
    /// Logarithm to base 2.
    log2 = Log2;
    /// ln(1 + x), accurate near 0.
    log1p = Log1p;
    /// Sine.
    sin = Sin;
    /// Cosine.
    cos = Cos;
    /// Tangent.
    tan = Tan;
    /// Arc sine.
    asin = Asin;
    /// Arc cosine.
    acos = Acos;
    /// Arc tangent.
    atan = Atan;
    /// Hyperbolic sine.
    sinh = Sinh;
    /// Hyperbolic cosine.
    cosh = Cosh;
    /// Hyperbolic tangent.
    tanh = Tanh;
    /// The logistic function 1/(1 + e⁻ˣ).
    sigmoid = Sigmoid;
    /// The error function 2/√π ∫₀ˣ e^(−t²) dt.
    erf = Erf;
    /// x Φ(x), the Gaussian error linear unit in its exact form (Hendrycks & Gimpel, 2016).
    gelu = Gelu;
    /// max(x, 0), the rectified linear unit.
    relu = Relu;
    /// The largest integer not above x; its gradient is zero.
    floor = Floor;
    /// The smallest integer not below x; its gradient is zero.
    ceil = Ceil;
    /// The nearest integer, ties to even; its gradient is zero.
    round = Round;
    /// The integer part; its gradient is zero.
    trunc = Trunc;
    /// Not, of truth values.
    logical_not = Not;
    /// Whether each element is NaN.
    is_nan = IsNan;
    /// Whether each element is neither NaN nor infinite.
    is_finite = IsFinite;
}

impl Tensor {
    /// The same numbers as another dtype; see [`Cast`].
    #[track_caller]
    pub fn to_dtype(&self, dtype: DType) -> Tensor {
        match dtype == self.dtype() {
            true => self.clone(),
            false => Tensor::apply(Cast { dtype }, &[self]),
        }
    }

    /// Whether each element is infinite, of either sign.
    #[track_caller]
    pub fn is_inf(&self) -> Tensor {
        self.is_finite().logical_or(self.is_nan()).logical_not()
    }

    /// The same value, through which no gradient flows.
    pub fn detach(&self) -> Tensor {
        Tensor::apply(Detach, &[self])
    }

    /// Zeros of the same shape and dtype.
    pub fn zeros_like(&self) -> Tensor {
        self.full_like(0.0)
    }

    /// `value` in the same shape and dtype.
    pub fn full_like(&self, value: f64) -> Tensor {
        Tensor::full(self.shape(), value, self.dtype())
    }

    /// x·sigmoid(x), the sigmoid linear unit, also called swish.
    #[track_caller]
    pub fn silu(&self) -> Tensor {
        self * self.sigmoid()
    }

    /// ln(1 + eˣ), without overflow.
    #[track_caller]
    pub fn softplus(&self) -> Tensor {
        // ln(eˣ⁻ᵐ + e⁻ᵐ) + m with m = max(x, 0), a number without gradient: all derivatives are
        // right, at 0 too, and neither tail loses digits. The limit keeps ∞ − ∞ away.
        let m = self.maximum(0.0).minimum(f64::from(f32::MAX)).detach();
        ((self - &m).exp() + (-&m).expm1()).log1p() + m
    }

    /// x where positive, `slope`·x elsewhere.
    #[track_caller]
    pub fn leaky_relu(&self, slope: f64) -> Tensor {
        self.gt(0.0).select(self, &(self * slope))
    }
}
