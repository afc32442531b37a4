//! Functions made of straight pieces.

use super::functions;
use crate::context::Context;
use crate::layers::{Entry, Layer};
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// min(max(x + 3, 0), 6) / 6.
fn hard_sigmoid(x: &Tensor) -> Tensor {
    (x + 3.0).clamp(0.0, 6.0) * (1.0 / 6.0)
}

functions! {
    /// min(max(x, 0), 6).
    ///
    /// Krizhevsky, "Convolutional deep belief networks on CIFAR-10", 2010.
    RELU6 Relu6: "relu6" ["ReLU6", "Relu6"] "nn.ReLU6" "activations.relu6"
        "max(x, 0), at most 6"
        |x| x.clamp(0.0, 6.0);
    /// min(max(x + 3, 0), 6) / 6: straight pieces instead of a sigmoid. (Keras 2 had the slope
    /// 1/5; this is that of PyTorch and Keras 3.)
    ///
    /// Howard et al., "Searching for MobileNetV3", 2019.
    HARD_SIGMOID HardSigmoid: "hard_sigmoid" ["HardSigmoid", "Hardsigmoid", "hardsigmoid"]
        "nn.Hardsigmoid" "activations.hard_sigmoid" "min(max(x + 3, 0), 6) / 6"
        |x| hard_sigmoid(x);
    /// x min(max(x + 3, 0), 6) / 6.
    ///
    /// Howard et al., "Searching for MobileNetV3", 2019.
    HARD_SWISH HardSwish: "hard_swish" ["HardSwish", "Hardswish", "hardswish", "hard_silu"]
        "nn.Hardswish" "activations.hard_silu" "x min(max(x + 3, 0), 6) / 6"
        |x| hard_sigmoid(x) * x;
    /// 0 below −1, (x + 1) / 2, 1 above 1: the sigmoid that belongs to sparsemax.
    ///
    /// Martins & Astudillo, "From softmax to sparsemax", 2016.
    SPARSE_SIGMOID SparseSigmoid: "sparse_sigmoid" ["SparseSigmoid"]
        "" "activations.sparse_sigmoid" "(x + 1) / 2 between 0 and 1"
        |x| ((x + 1.0) * 0.5).clamp(0.0, 1.0);
    /// 0 below −1, (x + 1)² / 4, x above 1: the softplus that belongs to sparsemax.
    ///
    /// Martins & Astudillo, "From softmax to sparsemax", 2016.
    SPARSE_PLUS SparsePlus: "sparse_plus" ["SparsePlus"]
        "" "activations.sparse_plus" "(x + 1)² / 4 between 0 and x"
        |x| x.ge(1.0).select(x, &((x.clamp(-1.0, 1.0) + 1.0).square() * 0.25));
    /// x − tanh x.
    TANH_SHRINK TanhShrink: "tanh_shrink" ["TanhShrink", "Tanhshrink", "tanhshrink"]
        "nn.Tanhshrink" "activations.tanh_shrink" "x - tanh(x)"
        |x| x - x.tanh();
}

/// x, limited to `low..=high`.
///
/// Collobert, "Large scale machine learning", 2004.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HardTanh {
    /// The least value.
    pub low: f64,
    /// The greatest value.
    pub high: f64,
}

impl Default for HardTanh {
    /// From −1 to 1.
    fn default() -> Self {
        HardTanh { low: -1.0, high: 1.0 }
    }
}

impl Layer for HardTanh {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.clamp(self.low.min(self.high), self.high)
    }
}

/// x where it is more than `lambda` away from 0, else 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HardShrink {
    /// What is less than so far away from 0 becomes 0.
    pub lambda: f64,
}

impl Layer for HardShrink {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.abs().gt(self.lambda).select(x, &x.zeros_like())
    }
}

/// x moved towards 0 by `lambda`, at most to 0: the proximal operator of the L1 norm.
///
/// Donoho, "De-noising by soft-thresholding", 1995.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftShrink {
    /// How far.
    pub lambda: f64,
}

impl Layer for SoftShrink {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x - x.clamp(-self.lambda, self.lambda)
    }
}

/// x where it is above `threshold`, else `value`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// Above it x passes.
    pub threshold: f64,
    /// What stands for the rest.
    pub value: f64,
}

impl Layer for Threshold {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.gt(self.threshold).select(x, &x.full_like(self.value))
    }
}

const fn float(name: &'static str, default: f64, doc: &'static str) -> Param {
    Param::with_default(name, Kind::number(), Value::Float(default), doc)
}

const LAMBDA: Param =
    Param::with_default("lambda", Kind::non_negative(), Value::Float(0.5), "the distance from 0")
        .alias(&["lambd", "threshold"]);

pub(super) static HARD_TANH: Entry = Entry::activation(
    Spec {
        name: "hard_tanh",
        aliases: &["HardTanh", "Hardtanh", "hardtanh"],
        peers: Peers::of("nn.Hardtanh", "activations.hard_tanh"),
        doc: "x, limited to low..high",
        params: const {
            &[
                float("low", -1.0, "the least value").alias(&["min_val"]),
                float("high", 1.0, "the greatest value").alias(&["max_val"]),
            ]
        },
    },
    |args, _, _| Box::new(HardTanh { low: args.float("low"), high: args.float("high") }),
);

pub(super) static HARD_SHRINK: Entry = Entry::activation(
    Spec {
        name: "hard_shrink",
        aliases: &["HardShrink", "Hardshrink", "hardshrink"],
        peers: Peers::of("nn.Hardshrink", "activations.hard_shrink"),
        doc: "x where it is more than lambda away from 0, else 0",
        params: const { &[LAMBDA] },
    },
    |args, _, _| Box::new(HardShrink { lambda: args.float("lambda") }),
);

pub(super) static SOFT_SHRINK: Entry = Entry::activation(
    Spec {
        name: "soft_shrink",
        aliases: &["SoftShrink", "Softshrink", "softshrink"],
        peers: Peers::of("nn.Softshrink", "activations.soft_shrink"),
        doc: "x moved towards 0 by lambda",
        params: const { &[LAMBDA] },
    },
    |args, _, _| Box::new(SoftShrink { lambda: args.float("lambda") }),
);

pub(super) static THRESHOLD: Entry = Entry::activation(
    Spec {
        name: "threshold",
        aliases: &["Threshold"],
        peers: Peers::of("nn.Threshold", "activations.threshold"),
        doc: "x above a threshold, else a constant",
        params: const {
            &[
                float("threshold", 0.0, "above it x passes"),
                float("value", 0.0, "what stands for the rest").alias(&["default_value"]),
            ]
        },
    },
    |args, _, _| {
        Box::new(Threshold { threshold: args.float("threshold"), value: args.float("value") })
    },
);
