//! Types that nerve does not compute in, held in wider ones of the same values: 4 and 2 bits in bytes, 16 bits in 32, unsigned 32
//! and 64 bits in 64, and floating-point numbers of 8 and 4 bits in single precision.
//!
//! Unsigned numbers of 64 bits are the same bits with a sign. Where the bounds of the type matter, `tagged.rs` brings results
//! back into them.

use super::error::Stop;
use super::value::{Value, ordinary};
use nerve_core::{DType, Tensor};
use nerve_formats::onnx::{self, DataType};

/// The type that elements of that type are held in; none if it is not one of those that are widened.
pub(crate) fn held_in(data_type: DataType) -> Option<DType> {
    use DataType::*;
    Some(match data_type {
        Uint4 | Uint2 => DType::U8,
        Int4 | Int2 => DType::I8,
        Uint16 | Int16 => DType::I32,
        Uint32 | Uint64 => DType::I64,
        Float8E4M3Fn | Float8E4M3Fnuz | Float8E5M2 | Float8E5M2Fnuz | Float8E8M0 | Float4E2M1 => {
            DType::F32
        }
        _ => return None,
    })
}

/// Of a type of whole numbers how many bits it has, and whether one of them is a sign.
pub(super) fn whole(data_type: DataType) -> Option<(u32, bool)> {
    Some(match data_type {
        DataType::Uint2 => (2, false),
        DataType::Int2 => (2, true),
        DataType::Uint4 => (4, false),
        DataType::Int4 => (4, true),
        DataType::Uint16 => (16, false),
        DataType::Int16 => (16, true),
        DataType::Uint32 => (32, false),
        DataType::Uint64 => (64, false),
        _ => return None,
    })
}

/// The smallest and the largest value of a type of whole numbers; those of 64 bits as far as they are held with a sign.
pub(crate) fn range(data_type: DataType) -> Option<(f64, f64)> {
    whole(data_type).map(|(bits, signed)| match (bits, signed) {
        (64, _) => (0.0, 2f64.powi(63)),
        (bits, true) => (-2f64.powi(bits as i32 - 1), 2f64.powi(bits as i32 - 1) - 1.0),
        (bits, false) => (0.0, 2f64.powi(bits as i32) - 1.0),
    })
}

/// The low bits of whole numbers, as numbers of that type.
pub(super) fn wrapped(data_type: DataType, x: &Tensor) -> Tensor {
    let (Some((bits, signed)), Some(held)) = (whole(data_type), held_in(data_type)) else {
        return x.clone();
    };
    let wide = if x.dtype() == DType::I64 || held == DType::I64 { DType::I64 } else { DType::I32 };
    let x = x.to_dtype(wide);
    if bits == 64 {
        return x;
    }
    let number = |value: f64| x.full_like(value);
    let low = x.bitwise_and(number(2f64.powi(bits as i32) - 1.0));
    let top = number(2f64.powi(bits as i32 - 1));
    let value = if signed { low.bitwise_xor(&top) - top } else { low };
    value.to_dtype(held)
}

/// Small floating-point numbers.
struct Format {
    /// Binary digits, the first one, which is not stored, among them.
    digits: i32,
    /// The exponent of the smallest number that has all of them.
    lowest: i32,
    largest: f64,
    /// What a number above the largest becomes.
    above: f64,
}

fn format(data_type: DataType) -> Option<Format> {
    use DataType::*;
    let (digits, lowest, largest, above) = match data_type {
        Float16 => (11, -14, 65504.0, f64::INFINITY),
        Bfloat16 => (8, -126, (2.0 - 2f64.powi(-7)) * 2f64.powi(127), f64::INFINITY),
        Float8E4M3Fn => (4, -6, 448.0, f64::NAN),
        Float8E4M3Fnuz => (4, -7, 240.0, f64::NAN),
        Float8E5M2 => (3, -14, 57344.0, f64::INFINITY),
        Float8E5M2Fnuz => (3, -15, 57344.0, f64::NAN),
        Float4E2M1 => (2, 0, 6.0, 6.0),
        _ => return None,
    };
    Some(Format { digits, lowest, largest, above })
}

/// The nearest numbers of that floating-point type, ties to even; what is too large becomes the largest if it `saturates`.
pub(crate) fn rounded(data_type: DataType, x: &Tensor, saturates: bool) -> Option<Tensor> {
    let Format { digits, lowest, largest, above } = format(data_type)?;
    let x = x.to_dtype(DType::F64);
    let size = x.abs();
    // The power of two below each number, from the smallest normal one on: found by halving what is left of its exponent.
    let steps = ((largest.log2().floor() as i32 - lowest + 1) as f64).log2().ceil() as u32;
    let most = 2f64.powi(1 << steps);
    let mut rest = (&size * 2f64.powi(-lowest)).minimum(most);
    let mut power = rest.full_like(2f64.powi(lowest));
    for step in (0..steps).rev() {
        let factor = 2f64.powi(1 << step);
        let above = rest.ge(factor);
        power = above.select(&(&power * factor), &power);
        rest = above.select(&(&rest * factor.recip()), &rest);
    }
    let unit = power * 2f64.powi(1 - digits);
    let y = (size / &unit).round() * unit;
    let limit = y.full_like(if saturates { largest } else { above });
    let y = y.gt(largest).select(&limit, &y);
    let y = x.lt(0.0).select(&-&y, &y);
    // The smallest type has no place for what is no number.
    let nan = if data_type == DataType::Float4E2M1 { 0.0 } else { f64::NAN };
    Some(x.is_nan().select(&y.full_like(nan), &y).to_dtype(DType::F32))
}

/// Results of 16 bits, which are computed in single precision, as they would be stored; gradients go through.
pub(super) fn stored_half(data_type: DataType, x: &Tensor) -> Tensor {
    let half = matches!(data_type, DataType::Float16 | DataType::Bfloat16);
    match rounded(data_type, x, false).filter(|_| half && x.dtype() == DType::F32) {
        Some(y) => x.is_finite().select(&(x + (&y - x).detach()), &y),
        None => x.clone(),
    }
}

/// Numbers, of the type `from` if that is one of those that are widened, as numbers of the type `to`: whole ones keep their low
/// bits.
pub(crate) fn cast(
    x: &Tensor,
    from: Option<DataType>,
    to: DataType,
    saturates: bool,
) -> Result<Value, Stop> {
    if let Some(dtype) = ordinary(to) {
        if from == Some(DataType::Uint64) && dtype.is_float() {
            let y = x.to_dtype(DType::F64);
            let y = x.lt(0).select(&(&y + 2f64.powi(64)), &y);
            return Ok(y.to_dtype(dtype).into());
        }
        return Ok(super::ops::cast(x, dtype).into());
    }
    if whole(to).is_some() {
        let x = if x.dtype().is_float() { x.to_dtype(DType::I64) } else { x.clone() };
        return Ok(Value::Narrow(to, wrapped(to, &x)));
    }
    match rounded(to, x, saturates) {
        Some(y) => Ok(Value::Narrow(to, y)),
        None => Err(Stop::Unsupported(format!("Cast to {}", to.name()))),
    }
}

/// An element that is none of the type, if there is one.
pub(super) fn misfit(data_type: DataType, x: &Tensor) -> Option<f64> {
    let values = || x.to_dtype(DType::F64).to_vec::<f64>().into_iter();
    if let Some((low, high)) = range(data_type) {
        return values().find(|v| !(low..=high).contains(v));
    }
    held_in(data_type)?;
    let packed: Vec<u8> = match data_type {
        DataType::Float4E2M1 => (0..8).map(|pair| ((2 * pair + 1) << 4) | (2 * pair)).collect(),
        _ => (0..=255).collect(),
    };
    let count = if packed.len() == 8 { 16 } else { 256 };
    let all = widened(&onnx::Tensor::new("", data_type, &[count], packed)).ok()?;
    let all: Vec<f64> = all.to_dtype(DType::F64).to_vec();
    values().find(|v| !all.iter().any(|known| known == v || (known.is_nan() && v.is_nan())))
}

/// The elements in the wider type.
pub(super) fn widened(tensor: &onnx::Tensor) -> Result<Tensor, String> {
    let (dims, bytes) = (tensor.dims.as_slice(), tensor.bytes());
    let count = tensor.numel();
    let small = |bits: usize| {
        let per = 8 / bits;
        (0..count).map(move |i| bytes[i / per] >> (i % per * bits) & ((1u8 << bits) - 1))
    };
    let signed = |bits: usize| {
        let free = 8 - bits;
        small(bits).map(move |v| (v << free) as i8 >> free)
    };
    let eight = |read: fn(u8) -> f32| {
        let values: Vec<f32> = bytes.iter().map(|&byte| read(byte)).collect();
        Tensor::from_slice(&values, dims)
    };
    Ok(match tensor.data_type {
        DataType::Uint4 => Tensor::from_slice(&small(4).collect::<Vec<u8>>(), dims),
        DataType::Uint2 => Tensor::from_slice(&small(2).collect::<Vec<u8>>(), dims),
        DataType::Int4 => Tensor::from_slice(&signed(4).collect::<Vec<i8>>(), dims),
        DataType::Int2 => Tensor::from_slice(&signed(2).collect::<Vec<i8>>(), dims),
        DataType::Uint16 => {
            let pairs = bytes.as_chunks::<2>().0.iter();
            Tensor::from_slice(
                &pairs.map(|&b| u16::from_le_bytes(b).into()).collect::<Vec<i32>>(),
                dims,
            )
        }
        DataType::Int16 => {
            let pairs = bytes.as_chunks::<2>().0.iter();
            Tensor::from_slice(
                &pairs.map(|&b| i16::from_le_bytes(b).into()).collect::<Vec<i32>>(),
                dims,
            )
        }
        DataType::Uint32 => {
            let words = bytes.as_chunks::<4>().0.iter();
            Tensor::from_slice(
                &words.map(|&b| u32::from_le_bytes(b).into()).collect::<Vec<i64>>(),
                dims,
            )
        }
        DataType::Uint64 => {
            let words = bytes.as_chunks::<8>().0.iter().map(|&b| u64::from_le_bytes(b));
            Tensor::from_slice(&words.map(|v| v as i64).collect::<Vec<_>>(), dims)
        }
        DataType::Float8E4M3Fn => {
            eight(|b| if b & 0x7f == 0x7f { f32::NAN } else { tiny(b, 4, 7) })
        }
        DataType::Float8E4M3Fnuz => eight(|b| if b == 0x80 { f32::NAN } else { tiny(b, 4, 8) }),
        DataType::Float8E5M2Fnuz => eight(|b| if b == 0x80 { f32::NAN } else { tiny(b, 5, 16) }),
        DataType::Float8E5M2 => eight(|b| match (b & 0x7f, b >> 7) {
            (0x7c, 0) => f32::INFINITY,
            (0x7c, _) => f32::NEG_INFINITY,
            (0x7d.., _) => f32::NAN,
            _ => tiny(b, 5, 15),
        }),
        // An exponent and nothing else.
        DataType::Float8E8M0 => {
            eight(|b| if b == 0xff { f32::NAN } else { 2f32.powi(i32::from(b) - 127) })
        }
        DataType::Float4E2M1 => {
            const SIZES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
            let value =
                |v: u8| if v >> 3 == 1 { -SIZES[v as usize & 7] } else { SIZES[v as usize & 7] };
            Tensor::from_slice(&small(4).map(value).collect::<Vec<f32>>(), dims)
        }
        other => return Err(format!("elements of type {}", other.name())),
    })
}

/// A number of 8 bits: a sign, an exponent of `bits`, and the rest fraction.
fn tiny(byte: u8, bits: i32, bias: i32) -> f32 {
    let fraction_bits = 7 - bits;
    let exponent = i32::from(byte & 0x7f) >> fraction_bits;
    let fraction = f32::from(byte & ((1 << fraction_bits) - 1)) / (1 << fraction_bits) as f32;
    let size = match exponent {
        0 => fraction * 2f32.powi(1 - bias),
        _ => (1.0 + fraction) * 2f32.powi(exponent - bias),
    };
    if byte >> 7 == 1 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nerve_core::DType;

    fn read(data_type: DataType, dims: &[usize], bytes: &[u8]) -> Vec<f64> {
        let tensor = onnx::Tensor::new("w", data_type, dims, bytes.to_vec());
        widened(&tensor).unwrap().to_dtype(DType::F64).to_vec()
    }

    #[test]
    fn what_is_packed_comes_apart_low_bits_first() {
        assert_eq!(read(DataType::Uint4, &[3], &[0x21, 0x0f]), [1.0, 2.0, 15.0]);
        assert_eq!(read(DataType::Int4, &[3], &[0x81, 0x0f]), [1.0, -8.0, -1.0]);
        assert_eq!(read(DataType::Uint2, &[5], &[0b1110_0100, 2]), [0.0, 1.0, 2.0, 3.0, 2.0]);
        assert_eq!(read(DataType::Int2, &[2], &[0b1110]), [-2.0, -1.0]);
        assert_eq!(read(DataType::Float4E2M1, &[2], &[0xf1]), [0.5, -6.0]);
    }

    #[test]
    fn wider_types_keep_the_values() {
        assert_eq!(read(DataType::Uint16, &[1], &[0xff, 0xff]), [65535.0]);
        assert_eq!(read(DataType::Int16, &[1], &[0xff, 0xff]), [-1.0]);
        assert_eq!(read(DataType::Uint32, &[1], &[0xff; 4]), [4_294_967_295.0]);
        assert_eq!(read(DataType::Uint64, &[1], &[0xff; 8]), [-1.0], "the same bits");
    }

    #[test]
    fn small_floats_widen() {
        // The greatest and the smallest of each, as the specification of ONNX lists them.
        assert_eq!(
            read(DataType::Float8E4M3Fn, &[3], &[0x7e, 0x01, 0xb8]),
            [448.0, 0.001953125, -1.0]
        );
        assert_eq!(read(DataType::Float8E4M3Fnuz, &[2], &[0x7f, 0x01]), [240.0, 0.0009765625]);
        assert_eq!(read(DataType::Float8E5M2, &[2], &[0x7b, 0x01]), [57344.0, 2f64.powi(-16)]);
        assert_eq!(read(DataType::Float8E5M2Fnuz, &[2], &[0x7f, 0x01]), [57344.0, 2f64.powi(-17)]);
        assert_eq!(read(DataType::Float8E8M0, &[2], &[127, 130]), [1.0, 8.0]);
        assert!(read(DataType::Float8E5M2, &[1], &[0x7e])[0].is_nan());
        assert_eq!(read(DataType::Float8E5M2, &[1], &[0xfc])[0], f64::NEG_INFINITY);
    }

    #[test]
    fn every_small_float_is_its_own_nearest_and_ties_go_to_even() {
        use DataType::*;
        for data_type in [Float8E4M3Fn, Float8E4M3Fnuz, Float8E5M2, Float8E5M2Fnuz] {
            let all = onnx::Tensor::new("w", data_type, &[256], (0..=255).collect());
            let all = widened(&all).unwrap();
            let again = rounded(data_type, &all, false).unwrap().to_vec::<f32>();
            let mut numbers: Vec<f32> = all.to_vec();
            for (a, b) in numbers.iter().zip(&again) {
                assert!(a == b || (a.is_nan() && b.is_nan()), "{data_type:?}: {a} became {b}");
            }
            // Half way between two neighbours lies a tie; of these every other one has a zero as its last digit.
            numbers.retain(|v| v.is_finite() && *v >= 0.0);
            numbers.sort_by(f32::total_cmp);
            numbers.dedup();
            let middle: Vec<f32> = numbers.windows(2).map(|w| (w[0] + w[1]) / 2.0).collect();
            let found = rounded(data_type, &Tensor::from_slice(&middle, [middle.len()]), true);
            for (i, found) in found.unwrap().to_vec::<f32>().into_iter().enumerate() {
                assert_eq!(found, numbers[i + i % 2], "{data_type:?}: of {}", middle[i]);
            }
        }
    }

    #[test]
    fn halves_round_as_the_bits_say() {
        let x = [0.8191054f32, 65519.9, 65520.0, 5.9e-8, 2.9e-8, -1.0 - 2f32.powi(-11), f32::NAN];
        let half = rounded(DataType::Float16, &Tensor::from_slice(&x, [7]), false).unwrap();
        let half = half.to_vec::<f32>();
        assert_eq!(half[..6], [0.81933594, 65504.0, f32::INFINITY, 2f32.powi(-24), 0.0, -1.0]);
        assert!(half[6].is_nan());
        let brain = rounded(DataType::Bfloat16, &Tensor::from_slice(&x[..1], [1]), false).unwrap();
        assert_eq!(brain.to_vec::<f32>(), [0.8203125]);
    }

    #[test]
    fn whole_numbers_keep_their_low_bits() {
        let x = Tensor::from_slice(&[70000i32, -1, 40000], [3]);
        let as_type = |t| wrapped(t, &x).to_dtype(DType::F64).to_vec::<f64>();
        assert_eq!(as_type(DataType::Uint16), [4464.0, 65535.0, 40000.0]);
        assert_eq!(as_type(DataType::Int16), [4464.0, -1.0, -25536.0]);
        assert_eq!(as_type(DataType::Uint32), [70000.0, 4294967295.0, 40000.0]);
        assert_eq!(as_type(DataType::Int4), [0.0, -1.0, 0.0]);
    }
}
