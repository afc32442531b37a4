//! The vocabulary of a fused group.

use crate::memory::Region;

/// How a number is stored in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// 32-bit signed integer.
    I32,
    /// 64-bit signed integer.
    I64,
    /// 8-bit unsigned integer.
    U8,
    /// 8-bit signed integer.
    I8,
    /// A truth value, one byte, 0 or 1.
    Bool,
}

impl Element {
    /// Size of one element in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Element::F32 | Element::I32 => 4,
            Element::F64 | Element::I64 => 8,
            Element::U8 | Element::I8 | Element::Bool => 1,
        }
    }
}

/// The type of all values of a group. Truth values are the numbers 0 and 1 in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compute {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// 32-bit integers that wrap; division by zero gives 0.
    I32,
    /// 64-bit integers that wrap; division by zero gives 0.
    I64,
}

impl Compute {
    /// The storage type with the same values.
    pub const fn element(self) -> Element {
        match self {
            Compute::F32 => Element::F32,
            Compute::F64 => Element::F64,
            Compute::I32 => Element::I32,
            Compute::I64 => Element::I64,
        }
    }

    /// Whether values are integers.
    pub const fn is_integer(self) -> bool {
        matches!(self, Compute::I32 | Compute::I64)
    }
}

macro_rules! operations {
    ($(#[$outer:meta])* $name:ident { $($(#[$doc:meta])* $op:ident = $text:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $op,)*
        }

        impl $name {
            /// Every operation.
            pub const ALL: &'static [$name] = &[$($name::$op,)*];

            /// Lower-case name, as printed.
            pub const fn name(self) -> &'static str {
                match self {
                    $($name::$op => $text,)*
                }
            }
        }
    };
}

operations! {
    /// An operation on one value.
    UnaryOp {
        /// −x.
        Neg = "neg",
        /// |x|.
        Abs = "abs",
        /// −1, 0 or 1; NaN stays NaN.
        Sign = "sign",
        /// 1/x. Floats only.
        Recip = "recip",
        /// x².
        Square = "square",
        /// √x. Floats only, as are the functions that follow.
        Sqrt = "sqrt",
        /// 1/√x.
        Rsqrt = "rsqrt",
        /// eˣ.
        Exp = "exp",
        /// 2ˣ.
        Exp2 = "exp2",
        /// eˣ − 1, accurate near 0.
        Expm1 = "expm1",
        /// Natural logarithm.
        Log = "log",
        /// Logarithm to base 2.
        Log2 = "log2",
        /// ln(1 + x), accurate near 0.
        Log1p = "log1p",
        /// Sine.
        Sin = "sin",
        /// Cosine.
        Cos = "cos",
        /// Tangent.
        Tan = "tan",
        /// Arc sine.
        Asin = "asin",
        /// Arc cosine.
        Acos = "acos",
        /// Arc tangent.
        Atan = "atan",
        /// Hyperbolic sine.
        Sinh = "sinh",
        /// Hyperbolic cosine.
        Cosh = "cosh",
        /// Hyperbolic tangent.
        Tanh = "tanh",
        /// Logistic function 1/(1 + e⁻ˣ).
        Sigmoid = "sigmoid",
        /// Error function.
        Erf = "erf",
        /// x·Φ(x) with the normal distribution function Φ (the exact GELU, not the tanh form).
        Gelu = "gelu",
        /// max(x, 0); NaN stays NaN.
        Relu = "relu",
        /// Largest integer not above x.
        Floor = "floor",
        /// Smallest integer not below x.
        Ceil = "ceil",
        /// Nearest integer, ties to even.
        Round = "round",
        /// Integer part.
        Trunc = "trunc",
        /// 1 where x is 0, else 0.
        Not = "not",
        /// 1 where x is NaN, else 0.
        IsNan = "is_nan",
        /// 1 where x is neither NaN nor infinite, else 0.
        IsFinite = "is_finite",
    }
}

impl UnaryOp {
    /// Whether the operation is defined on integers.
    pub const fn on_integers(self) -> bool {
        use UnaryOp::*;
        matches!(
            self,
            Neg | Abs
                | Sign
                | Square
                | Relu
                | Floor
                | Ceil
                | Round
                | Trunc
                | Not
                | IsNan
                | IsFinite
        )
    }
}

operations! {
    /// An operation on two values.
    BinaryOp {
        /// a + b.
        Add = "add",
        /// a − b.
        Sub = "sub",
        /// a·b.
        Mul = "mul",
        /// a/b; on integers truncated towards zero.
        Div = "div",
        /// a to the power of b; on integers 0 for a negative exponent, unless a is ±1.
        Pow = "pow",
        /// The larger; NaN if either is NaN.
        Max = "max",
        /// The smaller; NaN if either is NaN.
        Min = "min",
        /// Remainder with the sign of a, as C's `fmod`.
        Rem = "rem",
        /// Angle of the point (b, a). Floats only.
        Atan2 = "atan2",
        /// b times the slope of [`UnaryOp::Gelu`] at a: Φ(a) + a·φ(a), with the density φ of the
        /// normal distribution. Floats only.
        GeluGrad = "gelu_grad",
        /// 1 where a = b, else 0.
        Eq = "eq",
        /// 1 where a ≠ b, else 0.
        Ne = "ne",
        /// 1 where a < b, else 0.
        Lt = "lt",
        /// 1 where a ≤ b, else 0.
        Le = "le",
        /// 1 where a > b, else 0.
        Gt = "gt",
        /// 1 where a ≥ b, else 0.
        Ge = "ge",
        /// 1 where both are nonzero, else 0.
        And = "and",
        /// 1 where either is nonzero, else 0.
        Or = "or",
        /// 1 where exactly one is nonzero, else 0.
        Xor = "xor",
        /// The bits that are set in both. Integers only, as are the operations that follow.
        BitAnd = "bit_and",
        /// The bits that are set in either.
        BitOr = "bit_or",
        /// The bits that are set in exactly one.
        BitXor = "bit_xor",
        /// a·2ᵇ; 0 where b is none of the bit numbers of a.
        Shl = "shl",
        /// ⌊a/2ᵇ⌋; 0, or −1 of a negative a, where b is none of the bit numbers of a.
        Shr = "shr",
    }
}

impl BinaryOp {
    /// Whether the operation is defined on integers.
    pub const fn on_integers(self) -> bool {
        !matches!(self, BinaryOp::Atan2 | BinaryOp::GeluGrad)
    }

    /// Whether the operation is defined on floats.
    pub const fn on_floats(self) -> bool {
        use BinaryOp::*;
        !matches!(self, BitAnd | BitOr | BitXor | Shl | Shr)
    }
}

operations! {
    /// How the values that fall on one place are combined.
    Reduce {
        /// Sum; of nothing 0.
        Sum = "sum",
        /// Product; of nothing 1.
        Prod = "prod",
        /// Largest; NaN if any is NaN; of nothing −∞ (the smallest integer).
        Max = "max",
        /// Smallest; NaN if any is NaN; of nothing +∞ (the largest integer).
        Min = "min",
    }
}

operations! {
    /// A distribution of random numbers.
    Random {
        /// Uniform in [0, 1).
        Uniform = "uniform",
        /// Normal with mean 0 and variance 1.
        Normal = "normal",
    }
}

/// One step of a group; it defines the value that has its number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The element of this input at the current point.
    Load(u16),
    /// A constant: bits of an `f64` if the group computes in floats, else of an `i64`. See
    /// [`Step::float`] and [`Step::int`].
    Const(u64),
    /// An operation on one value.
    Unary(UnaryOp, u16),
    /// An operation on two values.
    Binary(BinaryOp, u16, u16),
    /// The second value where the first is nonzero, else the third.
    Select(u16, u16, u16),
    /// a·b + c, rounded once where the processor can.
    MulAdd(u16, u16, u16),
    /// The sum over the dimensions of weight times coordinate: row and column numbers, iota.
    Index(Vec<i64>),
    /// A random number that depends on key, stream and the row-major number of the point alone.
    /// Groups that compute in floats only.
    Random {
        /// The distribution.
        kind: Random,
        /// Input with four `i32`, one after the other from its offset (strides all 0): seed (low half, high
        /// half), step (low half, high half).
        key: u16,
        /// Which of the independent streams of that seed and step.
        stream: u32,
    },
}

impl Step {
    /// A constant of a group that computes in floats.
    pub fn float(value: f64) -> Self {
        Step::Const(value.to_bits())
    }

    /// A constant of a group that computes in integers.
    pub fn int(value: i64) -> Self {
        Step::Const(value as u64)
    }

    /// Calls `visit` with each value that the step uses.
    pub fn uses(&self, mut visit: impl FnMut(u16)) {
        match *self {
            Step::Load(_) | Step::Const(_) | Step::Index(_) | Step::Random { .. } => {}
            Step::Unary(_, a) => visit(a),
            Step::Binary(_, a, b) => [a, b].into_iter().for_each(visit),
            Step::Select(a, b, c) | Step::MulAdd(a, b, c) => [a, b, c].into_iter().for_each(visit),
        }
    }
}

/// How an operand lies in the iteration space: element `offset + Σ strides[d]·coordinate[d]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// The bytes.
    pub region: Region,
    /// What they hold.
    pub element: Element,
    /// Where the point with all coordinates 0 lies, in elements from the start of the region.
    pub offset: usize,
    /// Step along each dimension, in elements; 0 repeats, negative runs backwards.
    pub strides: Vec<isize>,
}

impl View {
    /// All of `region`, row-major over `dims`.
    pub fn contiguous(region: Region, element: Element, dims: &[usize]) -> Self {
        let mut strides = vec![0; dims.len()];
        let mut step = 1isize;
        for (stride, &dim) in strides.iter_mut().zip(dims).rev() {
            *stride = step;
            step = step.saturating_mul(dim.try_into().unwrap_or(isize::MAX));
        }
        View { region, element, offset: 0, strides }
    }
}

/// One result of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    /// Which step's value.
    pub value: u16,
    /// Where it goes. No two points may fall on the same element, except along reduced
    /// dimensions.
    pub view: View,
    /// Combine over the dimensions whose stride is 0. Sums and products are stored in the
    /// group's own type. See [`Fused::parts`](super::Fused::parts) for how much room it needs.
    pub reduce: Option<Reduce>,
}
