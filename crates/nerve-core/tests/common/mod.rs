//! What several test programs share: random numbers, comparison, and the reference interpreter.
#![allow(dead_code)] // Each test program uses its part.

pub mod reference;

use nerve_core::{DType, Tensor};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A small generator of random numbers (SplitMix64), so that every case can be had again by its
/// seed.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform among `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// Uniform in `low..high`.
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.next() >> 11) as f64 / (1u64 << 53) as f64)
    }

    pub fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// The elements of a tensor as f64, whatever its type.
pub fn values(t: &Tensor) -> Vec<f64> {
    match t.dtype() {
        DType::F32 => t.to_vec::<f32>().into_iter().map(f64::from).collect(),
        DType::F64 => t.to_vec::<f64>(),
        DType::I32 => t.to_vec::<i32>().into_iter().map(f64::from).collect(),
        DType::I64 => t.to_vec::<i64>().into_iter().map(|v| v as f64).collect(),
        DType::U8 => t.to_vec::<u8>().into_iter().map(f64::from).collect(),
        DType::I8 => t.to_vec::<i8>().into_iter().map(f64::from).collect(),
        DType::Bool => t.to_vec::<bool>().into_iter().map(|b| f64::from(u8::from(b))).collect(),
    }
}

/// A constant tensor of `dtype` with these elements.
pub fn tensor(values: &[f64], shape: &[usize], dtype: DType) -> Tensor {
    match dtype {
        DType::F32 => {
            Tensor::from_slice(&values.iter().map(|&v| v as f32).collect::<Vec<_>>(), shape)
        }
        DType::F64 => Tensor::from_slice(values, shape),
        DType::I32 => {
            Tensor::from_slice(&values.iter().map(|&v| v as i32).collect::<Vec<_>>(), shape)
        }
        DType::I64 => {
            Tensor::from_slice(&values.iter().map(|&v| v as i64).collect::<Vec<_>>(), shape)
        }
        DType::U8 => {
            Tensor::from_slice(&values.iter().map(|&v| v as u8).collect::<Vec<_>>(), shape)
        }
        DType::I8 => {
            Tensor::from_slice(&values.iter().map(|&v| v as i8).collect::<Vec<_>>(), shape)
        }
        DType::Bool => {
            Tensor::from_slice(&values.iter().map(|&v| v != 0.0).collect::<Vec<_>>(), shape)
        }
    }
}

/// Whether `a` is `b` up to `rtol·|b| + atol`; NaN equals NaN, infinities equal themselves.
pub fn close(a: f64, b: f64, rtol: f64, atol: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= rtol * b.abs() + atol
}

/// Refuses elements that are not close; says which.
#[track_caller]
pub fn assert_close(what: &str, found: &[f64], expected: &[f64], rtol: f64, atol: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: number of elements");
    for (i, (&a, &b)) in found.iter().zip(expected).enumerate() {
        assert!(
            close(a, b, rtol, atol),
            "{what}: element {i} is {a}, expected {b}\nfound    {found:?}\nexpected {expected:?}"
        );
    }
}

/// The message with which `f` panics.
#[track_caller]
pub fn panic_of<R>(f: impl FnOnce() -> R) -> String {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => panic!("expected a panic"),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => payload.downcast_ref::<&str>().expect("a panic has a text").to_string(),
        },
    }
}
