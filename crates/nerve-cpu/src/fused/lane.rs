//! The four types that groups compute in: what each operation does to a stretch of values.
//!
//! Every loop runs over slices whose common length is a multiple of [`STEP`], so that the compiler
//! needs no scalar remainder, and which do not overlap. Match on the operation stands outside the
//! loop.

use super::{BinaryOp, Reduce, UnaryOp};
use crate::math::{self, scalar};
use crate::memory::Plain;
use crate::random::{self, Key};
use crate::simd::Isa;
use std::any::TypeId;

/// Lengths of stretches are padded to a multiple of this: the lanes of the widest f32 vector.
pub(super) const STEP: usize = 16;

/// Bytes of a full tile of one value: a dozen of them fit the first-level cache.
pub(super) const TILE_BYTES: usize = 4096;

/// A type that groups compute in.
pub(crate) trait Lane: Plain + PartialOrd + Default {
    /// Values in a full tile.
    const TILE: usize = TILE_BYTES / size_of::<Self>();

    /// What long sums are carried in.
    type Carry: Plain + PartialOrd + Default;

    /// The value of [`Step::Const`](super::Step::Const).
    fn constant(bits: u64) -> Self;
    fn from_i64(value: i64) -> Self;
    fn identity(reduce: Reduce) -> Self;
    fn widen(self) -> Self::Carry;
    fn narrow(carry: Self::Carry) -> Self;
    fn is_true(self) -> bool;
    fn combine(reduce: Reduce, a: Self, b: Self) -> Self;
    fn combine_carry(reduce: Reduce, a: Self::Carry, b: Self::Carry) -> Self::Carry;
    fn mul_add<const FMA: bool>(a: Self, b: Self, c: Self) -> Self;

    /// `to[i] = op(x[i])`.
    fn unary<const FMA: bool>(op: UnaryOp, to: &mut [Self], x: &[Self]);
    /// `to[i] = op(a[i], b[i])`.
    fn binary<const FMA: bool>(op: BinaryOp, to: &mut [Self], a: &[Self], b: &[Self]);
    /// `to[i] = a[i]·s + b[i]·t`, with b² for b if `square`. Floats only, as [`Lane::scaled`].
    fn blend<const FMA: bool>(
        to: &mut [Self],
        a: &[Self],
        b: &[Self],
        scalars: [Self; 2],
        square: bool,
    );
    /// `to[i] = w[i] − m[i]·f / (√v[i] + e)`.
    fn scaled<const FMA: bool>(to: &mut [Self], operands: [&[Self]; 3], scalars: [Self; 2]);
    /// `c − a·b`.
    fn mul_sub<const FMA: bool>(a: Self, b: Self, c: Self) -> Self;
    /// Random numbers `first`, `first + 1`, …
    fn uniform(to: &mut [Self], key: Key, first: u64);
    /// Random numbers `first`, `first + 1`, …
    fn normal(to: &mut [Self], key: Key, first: u64);
}

macro_rules! map {
    ($to:ident, $x:ident => $value:expr) => {{
        let len = $to.len().min($x.len()) & !(STEP - 1);
        for (to, &$x) in $to[..len].iter_mut().zip(&$x[..len]) {
            *to = $value;
        }
    }};
    ($to:ident, $a:ident, $b:ident => $value:expr) => {{
        let len = $to.len().min($a.len()).min($b.len()) & !(STEP - 1);
        for ((to, &$a), &$b) in $to[..len].iter_mut().zip(&$a[..len]).zip(&$b[..len]) {
            *to = $value;
        }
    }};
}

/// Where |x| is beyond what the fast function can do, asks the slow one.
#[inline(always)]
fn patch(to: &mut [f32], x: &[f32], slow: fn(f32) -> f32) {
    let mut large = false;
    for x in x {
        large |= x.abs() > math::TRIG_LIMIT;
    }
    if large {
        for (to, x) in to.iter_mut().zip(x).filter(|(_, x)| x.abs() > math::TRIG_LIMIT) {
            *to = slow(*x);
        }
    }
}

macro_rules! float_lane {
    ($t:ident, $bits:ident, |$to:ident, $x:ident, $fma:ident| { $($op:ident => $body:expr,)* },
        $slope:expr) => {
        impl Lane for $t {
            type Carry = f64;

            fn constant(bits: u64) -> Self {
                f64::from_bits(bits) as $t
            }
            #[inline(always)]
            fn from_i64(value: i64) -> Self {
                value as $t
            }
            fn identity(reduce: Reduce) -> Self {
                match reduce {
                    Reduce::Sum => 0.0,
                    Reduce::Prod => 1.0,
                    Reduce::Max => $t::NEG_INFINITY,
                    Reduce::Min => $t::INFINITY,
                }
            }
            #[inline(always)]
            fn widen(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn narrow(carry: f64) -> Self {
                carry as $t
            }
            #[inline(always)]
            fn is_true(self) -> bool {
                self != 0.0
            }
            #[inline(always)]
            fn combine(reduce: Reduce, a: Self, b: Self) -> Self {
                match reduce {
                    Reduce::Sum => a + b,
                    Reduce::Prod => a * b,
                    Reduce::Max => if a > b || a.is_nan() { a } else { b },
                    Reduce::Min => if a < b || a.is_nan() { a } else { b },
                }
            }
            #[inline(always)]
            fn combine_carry(reduce: Reduce, a: f64, b: f64) -> f64 {
                f64::combine(reduce, a, b)
            }
            #[inline(always)]
            fn mul_add<const FMA: bool>(a: Self, b: Self, c: Self) -> Self {
                if FMA { a.mul_add(b, c) } else { a * b + c }
            }
            #[inline(always)]
            fn mul_sub<const FMA: bool>(a: Self, b: Self, c: Self) -> Self {
                if FMA { (-a).mul_add(b, c) } else { c - a * b }
            }

            #[inline(always)]
            fn blend<const FMA: bool>(
                to: &mut [$t],
                a: &[$t],
                b: &[$t],
                [s, t]: [$t; 2],
                square: bool,
            ) {
                if square {
                    map!(to, a, b => <Self as Lane>::mul_add::<FMA>(a, s, b * b * t));
                } else {
                    map!(to, a, b => <Self as Lane>::mul_add::<FMA>(a, s, b * t));
                }
            }

            #[inline(always)]
            fn scaled<const FMA: bool>(to: &mut [$t], [w, m, v]: [&[$t]; 3], [f, e]: [$t; 2]) {
                let len = to.len().min(w.len()).min(m.len()).min(v.len()) & !(STEP - 1);
                let operands = w[..len].iter().zip(&m[..len]).zip(&v[..len]);
                for (to, ((&w, &m), &v)) in to[..len].iter_mut().zip(operands) {
                    *to = w - m * f / (v.sqrt() + e);
                }
            }

            #[inline(always)]
            fn unary<const $fma: bool>(op: UnaryOp, $to: &mut [$t], $x: &[$t]) {
                use UnaryOp::*;
                match op {
                    Neg => map!($to, $x => -$x),
                    Abs => map!($to, $x => $x.abs()),
                    Sign => map!($to, $x => if $x > 0.0 { 1.0 } else if $x < 0.0 { -1.0 } else { $x }),
                    Recip => map!($to, $x => 1.0 / $x),
                    Square => map!($to, $x => $x * $x),
                    Sqrt => map!($to, $x => $x.sqrt()),
                    Rsqrt => map!($to, $x => 1.0 / $x.sqrt()),
                    Relu => map!($to, $x => if $x < 0.0 { 0.0 } else { $x }),
                    Floor => map!($to, $x => $x.floor()),
                    Ceil => map!($to, $x => $x.ceil()),
                    Round => map!($to, $x => $x.round_ties_even()),
                    Trunc => map!($to, $x => $x.trunc()),
                    Not => map!($to, $x => if $x == 0.0 { 1.0 } else { 0.0 }),
                    IsNan => map!($to, $x => if $x.is_nan() { 1.0 } else { 0.0 }),
                    IsFinite => map!($to, $x => if $x.is_finite() { 1.0 } else { 0.0 }),
                    Tan => map!($to, $x => $x.tan()),
                    Asin => map!($to, $x => $x.asin()),
                    Acos => map!($to, $x => $x.acos()),
                    Atan => map!($to, $x => $x.atan()),
                    $($op => $body,)*
                }
            }

            #[inline(always)]
            fn binary<const $fma: bool>(op: BinaryOp, to: &mut [$t], a: &[$t], b: &[$t]) {
                use BinaryOp::*;
                match op {
                    Add => map!(to, a, b => a + b),
                    Sub => map!(to, a, b => a - b),
                    Mul => map!(to, a, b => a * b),
                    Div => map!(to, a, b => a / b),
                    Pow => map!(to, a, b => a.powf(b)),
                    Max => map!(to, a, b => Self::combine(Reduce::Max, a, b)),
                    Min => map!(to, a, b => Self::combine(Reduce::Min, a, b)),
                    Rem => map!(to, a, b => a % b),
                    Atan2 => map!(to, a, b => a.atan2(b)),
                    GeluGrad => {
                        let $x = a;
                        map!(to, $x, b => b * $slope)
                    }
                    Eq => map!(to, a, b => if a == b { 1.0 } else { 0.0 }),
                    Ne => map!(to, a, b => if a != b { 1.0 } else { 0.0 }),
                    Lt => map!(to, a, b => if a < b { 1.0 } else { 0.0 }),
                    Le => map!(to, a, b => if a <= b { 1.0 } else { 0.0 }),
                    Gt => map!(to, a, b => if a > b { 1.0 } else { 0.0 }),
                    Ge => map!(to, a, b => if a >= b { 1.0 } else { 0.0 }),
                    And => map!(to, a, b => if (a != 0.0) & (b != 0.0) { 1.0 } else { 0.0 }),
                    Or => map!(to, a, b => if (a != 0.0) | (b != 0.0) { 1.0 } else { 0.0 }),
                    Xor => map!(to, a, b => if (a != 0.0) ^ (b != 0.0) { 1.0 } else { 0.0 }),
                    BitAnd | BitOr | BitXor | Shl | Shr => {
                        unreachable!("the check refuses {op} on floats")
                    }
                }
            }

            #[inline(always)]
            fn uniform(to: &mut [Self], key: Key, first: u64) {
                random::fill::$t::uniform(to, key, first);
            }
            #[inline(always)]
            fn normal(to: &mut [Self], key: Key, first: u64) {
                random::fill::$t::normal(to, key, first);
            }
        }
    };
}

float_lane!(f32, u32, |to, x, FMA| {
    Exp => map!(to, x => math::exp::<FMA>(x)),
    Exp2 => map!(to, x => math::exp2::<FMA>(x)),
    Expm1 => map!(to, x => math::expm1::<FMA>(x)),
    Log => map!(to, x => math::log::<FMA>(x)),
    Log2 => map!(to, x => math::log2::<FMA>(x)),
    Log1p => map!(to, x => math::log1p::<FMA>(x)),
    Sin => {
        map!(to, x => math::sin::<FMA>(x));
        patch(to, x, f32::sin);
    },
    Cos => {
        map!(to, x => math::cos::<FMA>(x));
        patch(to, x, f32::cos);
    },
    Sinh => map!(to, x => math::sinh::<FMA>(x)),
    Cosh => map!(to, x => math::cosh::<FMA>(x)),
    Tanh => map!(to, x => math::tanh::<FMA>(x)),
    Sigmoid => map!(to, x => math::sigmoid::<FMA>(x)),
    Erf => map!(to, x => math::erf::<FMA>(x)),
    Gelu => map!(to, x => math::gelu::<FMA>(x)),
}, math::gelu_slope::<FMA>(x));

float_lane!(f64, u64, |to, x, FMA| {
    Exp => map!(to, x => x.exp()),
    Exp2 => map!(to, x => x.exp2()),
    Expm1 => map!(to, x => x.exp_m1()),
    Log => map!(to, x => x.ln()),
    Log2 => map!(to, x => x.log2()),
    Log1p => map!(to, x => x.ln_1p()),
    Sin => map!(to, x => x.sin()),
    Cos => map!(to, x => x.cos()),
    Sinh => map!(to, x => x.sinh()),
    Cosh => map!(to, x => x.cosh()),
    Tanh => map!(to, x => x.tanh()),
    Sigmoid => map!(to, x => scalar::sigmoid(x)),
    Erf => map!(to, x => scalar::erf(x)),
    Gelu => map!(to, x => scalar::gelu(x)),
}, scalar::gelu_slope(x));

macro_rules! integer_lane {
    ($t:ident) => {
        impl Lane for $t {
            type Carry = $t;

            fn constant(bits: u64) -> Self {
                bits as $t
            }
            #[inline(always)]
            fn from_i64(value: i64) -> Self {
                value as $t
            }
            fn identity(reduce: Reduce) -> Self {
                match reduce {
                    Reduce::Sum => 0,
                    Reduce::Prod => 1,
                    Reduce::Max => $t::MIN,
                    Reduce::Min => $t::MAX,
                }
            }
            #[inline(always)]
            fn widen(self) -> Self {
                self
            }
            #[inline(always)]
            fn narrow(carry: Self) -> Self {
                carry
            }
            #[inline(always)]
            fn is_true(self) -> bool {
                self != 0
            }
            #[inline(always)]
            fn combine(reduce: Reduce, a: Self, b: Self) -> Self {
                match reduce {
                    Reduce::Sum => a.wrapping_add(b),
                    Reduce::Prod => a.wrapping_mul(b),
                    Reduce::Max => a.max(b),
                    Reduce::Min => a.min(b),
                }
            }
            #[inline(always)]
            fn combine_carry(reduce: Reduce, a: Self, b: Self) -> Self {
                Self::combine(reduce, a, b)
            }
            #[inline(always)]
            fn mul_add<const FMA: bool>(a: Self, b: Self, c: Self) -> Self {
                a.wrapping_mul(b).wrapping_add(c)
            }
            #[inline(always)]
            fn mul_sub<const FMA: bool>(a: Self, b: Self, c: Self) -> Self {
                c.wrapping_sub(a.wrapping_mul(b))
            }

            fn blend<const FMA: bool>(_: &mut [$t], _: &[$t], _: &[$t], _: [$t; 2], _: bool) {
                unreachable!("a run of floats")
            }
            fn scaled<const FMA: bool>(_: &mut [$t], _: [&[$t]; 3], _: [$t; 2]) {
                unreachable!("a run of floats")
            }

            #[inline(always)]
            fn unary<const FMA: bool>(op: UnaryOp, to: &mut [$t], x: &[$t]) {
                use UnaryOp::*;
                match op {
                    Neg => map!(to, x => x.wrapping_neg()),
                    Abs => map!(to, x => x.wrapping_abs()),
                    Sign => map!(to, x => x.signum()),
                    Square => map!(to, x => x.wrapping_mul(x)),
                    Relu => map!(to, x => x.max(0)),
                    Not => map!(to, x => (x == 0) as $t),
                    IsNan => map!(to, x => { let _ = x; 0 }),
                    IsFinite => map!(to, x => { let _ = x; 1 }),
                    Floor | Ceil | Round | Trunc => map!(to, x => x),
                    _ => unreachable!("the check refuses {op} on integers"),
                }
            }

            #[inline(always)]
            fn binary<const FMA: bool>(op: BinaryOp, to: &mut [$t], a: &[$t], b: &[$t]) {
                use BinaryOp::*;
                match op {
                    Add => map!(to, a, b => a.wrapping_add(b)),
                    Sub => map!(to, a, b => a.wrapping_sub(b)),
                    Mul => map!(to, a, b => a.wrapping_mul(b)),
                    Div => map!(to, a, b => if b == 0 { 0 } else { a.wrapping_div(b) }),
                    Pow => map!(to, a, b => scalar::pow_i64(a as i64, b as i64) as $t),
                    Max => map!(to, a, b => a.max(b)),
                    Min => map!(to, a, b => a.min(b)),
                    Rem => map!(to, a, b => if b == 0 { 0 } else { a.wrapping_rem(b) }),
                    Atan2 | GeluGrad => unreachable!("the check refuses {op} on integers"),
                    Eq => map!(to, a, b => (a == b) as $t),
                    Ne => map!(to, a, b => (a != b) as $t),
                    Lt => map!(to, a, b => (a < b) as $t),
                    Le => map!(to, a, b => (a <= b) as $t),
                    Gt => map!(to, a, b => (a > b) as $t),
                    Ge => map!(to, a, b => (a >= b) as $t),
                    And => map!(to, a, b => ((a != 0) & (b != 0)) as $t),
                    Or => map!(to, a, b => ((a != 0) | (b != 0)) as $t),
                    Xor => map!(to, a, b => ((a != 0) ^ (b != 0)) as $t),
                    BitAnd => map!(to, a, b => a & b),
                    BitOr => map!(to, a, b => a | b),
                    BitXor => map!(to, a, b => a ^ b),
                    Shl => map!(to, a, b => if (0..$t::BITS as $t).contains(&b) { a << b } else { 0 }),
                    Shr => {
                        const LAST: $t = $t::BITS as $t - 1;
                        map!(to, a, b => a >> if (0..LAST).contains(&b) { b } else { LAST })
                    }
                }
            }

            fn uniform(_: &mut [Self], _: Key, _: u64) {
                unreachable!("the check refuses random integers")
            }
            fn normal(_: &mut [Self], _: Key, _: u64) {
                unreachable!("the check refuses random integers")
            }
        }
    };
}

integer_lane!(i32);
integer_lane!(i64);

#[inline(always)]
fn unary_body<T: Lane, const FMA: bool>(op: UnaryOp, to: &mut [T], x: &[T]) {
    T::unary::<FMA>(op, to, x);
}

#[inline(always)]
fn binary_body<T: Lane, const FMA: bool>(op: BinaryOp, to: &mut [T], a: &[T], b: &[T]) {
    T::binary::<FMA>(op, to, a, b);
}

#[inline(always)]
fn mul_add_body<T: Lane, const FMA: bool>(to: &mut [T], a: &[T], b: &[T], c: &[T]) {
    let len = to.len().min(a.len()).min(b.len()).min(c.len()) & !(STEP - 1);
    let (a, b, c) = (&a[..len], &b[..len], &c[..len]);
    for (((to, &a), &b), &c) in to[..len].iter_mut().zip(a).zip(b).zip(c) {
        *to = T::mul_add::<FMA>(a, b, c);
    }
}

#[inline(always)]
fn mul_sub_body<T: Lane, const FMA: bool>(to: &mut [T], a: &[T], b: &[T], c: &[T]) {
    let len = to.len().min(a.len()).min(b.len()).min(c.len()) & !(STEP - 1);
    let (a, b, c) = (&a[..len], &b[..len], &c[..len]);
    for (((to, &a), &b), &c) in to[..len].iter_mut().zip(a).zip(b).zip(c) {
        *to = T::mul_sub::<FMA>(a, b, c);
    }
}

#[inline(always)]
fn blend_body<T: Lane, const FMA: bool>(
    to: &mut [T],
    a: &[T],
    b: &[T],
    scalars: [T; 2],
    square: bool,
) {
    T::blend::<FMA>(to, a, b, scalars, square);
}

#[inline(always)]
fn scaled_body<T: Lane, const FMA: bool>(to: &mut [T], operands: [&[T]; 3], scalars: [T; 2]) {
    T::scaled::<FMA>(to, operands, scalars);
}

#[inline(always)]
fn select_body<T: Lane>(to: &mut [T], c: &[T], a: &[T], b: &[T]) {
    let len = to.len().min(a.len()).min(b.len()).min(c.len()) & !(STEP - 1);
    let (a, b, c) = (&a[..len], &b[..len], &c[..len]);
    for (((to, &a), &b), &c) in to[..len].iter_mut().zip(a).zip(b).zip(c) {
        *to = if c.is_true() { a } else { b };
    }
}

#[inline(always)]
fn uniform_body<T: Lane>(to: &mut [T], key: Key, first: u64) {
    T::uniform(to, key, first);
}

#[inline(always)]
fn normal_body<T: Lane>(to: &mut [T], key: Key, first: u64) {
    T::normal(to, key, first);
}

crate::real::per_isa! {
    /// [`Lane::unary`], compiled for each instruction set.
    pub(crate) fn unary<T: Lane>(op: UnaryOp, to: &mut [T], x: &[T]) => unary_body [FMA]
}
crate::real::per_isa! {
    /// [`Lane::binary`], compiled for each instruction set.
    pub(crate) fn binary<T: Lane>(op: BinaryOp, to: &mut [T], a: &[T], b: &[T]) => binary_body [FMA]
}
crate::real::per_isa! {
    /// `to = a·b + c`.
    pub(super) fn mul_add<T: Lane>(to: &mut [T], a: &[T], b: &[T], c: &[T]) => mul_add_body [FMA]
}
crate::real::per_isa! {
    /// `to = c − a·b`.
    pub(super) fn mul_sub<T: Lane>(to: &mut [T], a: &[T], b: &[T], c: &[T]) => mul_sub_body [FMA]
}
crate::real::per_isa! {
    /// [`Lane::blend`], compiled for each instruction set.
    pub(super) fn blend<T: Lane>(to: &mut [T], a: &[T], b: &[T], scalars: [T; 2], square: bool)
        => blend_body [FMA]
}
crate::real::per_isa! {
    /// [`Lane::scaled`], compiled for each instruction set.
    pub(super) fn scaled<T: Lane>(to: &mut [T], operands: [&[T]; 3], scalars: [T; 2])
        => scaled_body [FMA]
}
crate::real::per_isa! {
    /// `to = a` where `c` is nonzero, else `b`.
    pub(super) fn select<T: Lane>(to: &mut [T], c: &[T], a: &[T], b: &[T]) => select_body
}
crate::real::per_isa! {
    fn uniform_on<T: Lane>(to: &mut [T], key: Key, first: u64) => uniform_body
}

/// [`Lane::uniform`] on each instruction set.
pub(crate) fn uniform<T: Lane>(isa: Isa, to: &mut [T], key: Key, first: u64) {
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Avx512 && TypeId::of::<T>() == TypeId::of::<f32>() {
        let len = to.len();
        // SAFETY: the elements are f32, and the instruction set was found on this processor.
        unsafe {
            let to = std::slice::from_raw_parts_mut(to.as_mut_ptr().cast::<f32>(), len);
            return random::avx512::uniform(to, key, first);
        }
    }
    uniform_on(isa, to, key, first);
}
crate::real::per_isa! {
    /// [`Lane::normal`], compiled for each instruction set.
    pub(crate) fn normal<T: Lane>(to: &mut [T], key: Key, first: u64) => normal_body
}
