//! Weights of types that nerve does not compute in, read as wider ones of the same values: 4 and 2 bits as bytes, 16 bits as
//! 32, unsigned 32 and 64 bits as 64, and floating-point numbers of 8 and 4 bits as single precision.
//!
//! That is right where a value is only read, and wrong where results wrap or saturate at the bounds of the type; so it is done
//! for initializers whose every use turns them into numbers of another type, or counts.

use super::check::each_node;
use nerve_core::Tensor;
use nerve_formats::onnx::{self, DataType, Graph};

/// Whether the type is one of those that are widened.
pub(super) fn is_narrow(data_type: DataType) -> bool {
    use DataType::*;
    matches!(
        data_type,
        Uint4
            | Int4
            | Uint2
            | Int2
            | Uint16
            | Int16
            | Uint32
            | Uint64
            | Float8E4M3Fn
            | Float8E4M3Fnuz
            | Float8E5M2
            | Float8E5M2Fnuz
            | Float8E8M0
            | Float4E2M1
    )
}

/// A use of the initializer that depends on the bounds of its type, as operator and place; graphs within nodes are looked at too.
pub(super) fn misused(graph: &Graph, name: &str) -> Option<(String, usize)> {
    if graph.outputs.iter().any(|info| info.name == name) {
        return Some(("the outputs of the graph".into(), 0));
    }
    let mut found = None;
    each_node(&graph.nodes, &mut |node| {
        for at in (0..node.inputs.len()).filter(|&at| node.inputs[at] == name) {
            let read = match node.op_type.as_str() {
                "DequantizeLinear" | "Cast" => true,
                // A place in a table.
                "Gather" | "GatherElements" | "GatherND" => at == 1,
                _ => false,
            };
            if !read && found.is_none() {
                found = Some((node.op_type.clone(), at));
            }
        }
    });
    found
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
            let values = words.map(|v| i64::try_from(v).map_err(|_| format!("{v} is above 2^63")));
            Tensor::from_slice(&values.collect::<Result<Vec<_>, _>>()?, dims)
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
        let large = onnx::Tensor::new("w", DataType::Uint64, &[1], vec![0xff; 8]);
        assert!(widened(&large).unwrap_err().contains("above 2^63"));
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
}
