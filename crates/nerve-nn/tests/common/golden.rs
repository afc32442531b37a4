//! Values of other frameworks, kept in safetensors files.

use nerve_core::{DType, Tensor};
use nerve_formats::safetensors::TensorView;

/// What is stored, floats in this type.
pub fn read(stored: &TensorView<'_>, dtype: DType) -> Tensor {
    match stored.to_f64() {
        Ok(values) => Tensor::from_slice(&values, stored.shape).to_dtype(dtype).evaluated(),
        Err(_) => {
            let values = stored.to_i64().unwrap().into_iter().map(|v| v as i32);
            Tensor::from_slice(&values.collect::<Vec<i32>>(), stored.shape)
        }
    }
}

/// Each element within a share of the largest (of 1 at least): `tolerance[0]` in f64, `[1]` in f32.
#[track_caller]
pub fn near(found: &Tensor, expected: &Tensor, tolerance: [f64; 2], what: &str) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let tolerance = if found.dtype() == DType::F64 { tolerance[0] } else { tolerance[1] };
    let values = |x: &Tensor| x.to_dtype(DType::F64).to_vec::<f64>();
    let (found, expected) = (values(found), values(expected));
    let size = expected.iter().fold(1.0f64, |top, v| top.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
        assert!((f - e).abs() <= tolerance * size, "{what}[{i}]: found {f}, expected {e}");
    }
}
