use super::{Draw, Entry, Initializer};
use nerve_core::{Shape, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec};

/// All elements equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constant(
    /// The value.
    pub f64,
);

/// All elements 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Zeros;

/// All elements 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ones;

impl Initializer for Constant {
    fn tensor(&self, shape: &Shape, draw: &Draw) -> Tensor {
        Tensor::full(shape, self.0, draw.dtype)
    }
}

impl Initializer for Zeros {
    fn tensor(&self, shape: &Shape, draw: &Draw) -> Tensor {
        Constant(0.0).tensor(shape, draw)
    }
}

impl Initializer for Ones {
    fn tensor(&self, shape: &Shape, draw: &Draw) -> Tensor {
        Constant(1.0).tensor(shape, draw)
    }
}

pub(super) static CONSTANT: Entry = Entry {
    spec: Spec {
        name: "constant",
        aliases: &["Constant"],
        peers: Peers::of("nn.init.constant_", "initializers.Constant"),
        doc: "All elements equal.",
        params: &[Param::required("value", Kind::number(), "the value")],
    },
    build: |args| Box::new(Constant(args.float("value"))),
};

pub(super) static ZEROS: Entry = Entry {
    spec: Spec {
        name: "zeros",
        aliases: &["Zeros"],
        peers: Peers::of("nn.init.zeros_", "initializers.Zeros"),
        doc: "All elements 0.",
        params: &[],
    },
    build: |_| Box::new(Zeros),
};

pub(super) static ONES: Entry = Entry {
    spec: Spec {
        name: "ones",
        aliases: &["Ones"],
        peers: Peers::of("nn.init.ones_", "initializers.Ones"),
        doc: "All elements 1.",
        params: &[],
    },
    build: |_| Box::new(Ones),
};
