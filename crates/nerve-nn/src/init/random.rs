use super::{Draw, Entry, Initializer};
use nerve_core::{Shape, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Uniform random numbers in a range that does not depend on the shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uniform {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Uniform {
    /// In ±1/√`fan_in`: what PyTorch gives weights and biases of linear layers and convolutions.
    /// LeCun et al., "Efficient BackProp", 1998, has ±√3/√`fan_in`, which keeps the variance.
    pub fn fan_in(fan_in: usize) -> Uniform {
        let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
        Uniform { low: -bound, high: bound }
    }
}

impl Initializer for Uniform {
    fn tensor(&self, shape: &Shape, draw: &Draw) -> Tensor {
        draw.uniform(shape, self.low, self.high)
    }
}

/// Normal random numbers with mean and deviation that do not depend on the shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normal {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub std: f64,
}

impl Initializer for Normal {
    fn tensor(&self, shape: &Shape, draw: &Draw) -> Tensor {
        draw.normal(shape, self.mean, self.std)
    }
}

pub(super) static UNIFORM: Entry = Entry {
    spec: Spec {
        name: "uniform",
        aliases: &["Uniform", "RandomUniform", "random_uniform"],
        peers: Peers::of("nn.init.uniform_", "initializers.RandomUniform"),
        doc: "Uniform random numbers.",
        params: &[
            Param::with_default("low", Kind::number(), Value::Float(-0.05), "the lower end")
                .alias(&["minval"]),
            Param::with_default("high", Kind::number(), Value::Float(0.05), "the upper end")
                .alias(&["maxval"]),
        ],
    },
    build: |args| Box::new(Uniform { low: args.float("low"), high: args.float("high") }),
};

pub(super) static NORMAL: Entry = Entry {
    spec: Spec {
        name: "normal",
        aliases: &["Normal", "RandomNormal", "random_normal"],
        peers: Peers::of("nn.init.normal_", "initializers.RandomNormal"),
        doc: "Normal random numbers.",
        params: &[
            Param::with_default("mean", Kind::number(), Value::Float(0.0), "the mean"),
            Param::with_default("std", Kind::non_negative(), Value::Float(0.05), "the deviation")
                .alias(&["stddev"]),
        ],
    },
    build: |args| Box::new(Normal { mean: args.float("mean"), std: args.float("std") }),
};
