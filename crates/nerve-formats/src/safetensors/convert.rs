//! Elements as numbers.

use super::{Dtype, TensorView};
use crate::error::FormatError;

impl TensorView<'_> {
    /// The elements of a floating-point tensor as `f32`: F32 as it is, F16 and BF16 exactly, F64
    /// rounded to the nearest.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`](crate::ErrorKind::Mismatch) for integers: a silent conversion would
    /// hide that the wrong tensor was asked for.
    pub fn to_f32(&self) -> Result<Vec<f32>, FormatError> {
        match self.dtype {
            Dtype::F32 => Ok(each(self.data, f32::from_le_bytes)),
            Dtype::F16 => Ok(each(self.data, |b| f16_to_f32(u16::from_le_bytes(b)))),
            Dtype::BF16 => Ok(each(self.data, |b| bf16_to_f32(u16::from_le_bytes(b)))),
            Dtype::F64 => Ok(each(self.data, |b| f64::from_le_bytes(b) as f32)),
            _ => Err(self.mismatch("floating-point elements", self.dtype.name())),
        }
    }

    /// The elements of a floating-point tensor as `f64`, exactly.
    ///
    /// # Errors
    /// As [`TensorView::to_f32`].
    pub fn to_f64(&self) -> Result<Vec<f64>, FormatError> {
        match self.dtype {
            Dtype::F64 => Ok(each(self.data, f64::from_le_bytes)),
            _ => Ok(self.to_f32()?.into_iter().map(f64::from).collect()),
        }
    }

    /// The elements of a tensor of integers or truth values as `i64`, exactly.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`](crate::ErrorKind::Mismatch) for floating-point elements, and for a U64
    /// above the largest `i64`.
    pub fn to_i64(&self) -> Result<Vec<i64>, FormatError> {
        match self.dtype {
            Dtype::Bool | Dtype::U8 => Ok(each(self.data, |b| u8::from_le_bytes(b).into())),
            Dtype::I8 => Ok(each(self.data, |b| i8::from_le_bytes(b).into())),
            Dtype::U16 => Ok(each(self.data, |b| u16::from_le_bytes(b).into())),
            Dtype::I16 => Ok(each(self.data, |b| i16::from_le_bytes(b).into())),
            Dtype::U32 => Ok(each(self.data, |b| u32::from_le_bytes(b).into())),
            Dtype::I32 => Ok(each(self.data, |b| i32::from_le_bytes(b).into())),
            Dtype::I64 => Ok(each(self.data, i64::from_le_bytes)),
            Dtype::U64 => each(self.data, u64::from_le_bytes)
                .into_iter()
                .map(i64::try_from)
                .collect::<Result<_, _>>()
                .map_err(|_| self.mismatch("numbers below 2^63", "a larger one")),
            Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64 => {
                Err(self.mismatch("integers", self.dtype.name()))
            }
        }
    }

    /// The index of the first element that is infinite or not a number, in row-major order; `None`
    /// for tensors of integers.
    pub fn first_non_finite(&self) -> Option<usize> {
        // Infinity and NaN are the numbers whose exponent bits are all ones.
        match self.dtype {
            Dtype::F16 => position(self.data, |b| u16::from_le_bytes(b) & 0x7c00 == 0x7c00),
            Dtype::BF16 => position(self.data, |b| u16::from_le_bytes(b) & 0x7f80 == 0x7f80),
            Dtype::F32 => position(self.data, |b| !f32::from_le_bytes(b).is_finite()),
            Dtype::F64 => position(self.data, |b| !f64::from_le_bytes(b).is_finite()),
            _ => None,
        }
    }
}

/// The data's length is a multiple of `N`: the header was checked so.
fn each<const N: usize, T>(data: &[u8], one: impl Fn([u8; N]) -> T) -> Vec<T> {
    data.as_chunks::<N>().0.iter().map(|&b| one(b)).collect()
}

fn position<const N: usize>(data: &[u8], is: impl Fn([u8; N]) -> bool) -> Option<usize> {
    data.as_chunks::<N>().0.iter().position(|&b| is(b))
}

/// IEEE 754 half precision: 1 sign, 5 exponent and 10 fraction bits.
pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10 & 0x1f);
    let fraction = u32::from(bits & 0x03ff);
    match exponent {
        // Subnormal: the fraction counts units of 2^-24, each of which single precision holds.
        0 => f32::from_bits(sign | (fraction as f32 * 2f32.powi(-24)).to_bits()),
        0x1f => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        // The biases are 15 and 127.
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition: (-1)^s 2^(e-15) (1 + f/1024), or (-1)^s 2^-14 f/1024 where e = 0.
    fn by_definition(bits: u16) -> f64 {
        let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
        let (e, f) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023) / 1024.0);
        match (e, f == 0.0) {
            (0, _) => sign * 2f64.powi(-14) * f,
            (31, true) => sign * f64::INFINITY,
            (31, false) => f64::NAN,
            _ => sign * 2f64.powi(e - 15) * (1.0 + f),
        }
    }

    #[test]
    fn every_half_precision_number() {
        for bits in 0..=u16::MAX {
            let (got, want) = (f64::from(f16_to_f32(bits)), by_definition(bits));
            assert!(got == want || got.is_nan() && want.is_nan(), "{bits:04x}: {got} {want}");
            assert_eq!(got.is_sign_negative(), bits & 0x8000 != 0, "{bits:04x}");
        }
    }
}
