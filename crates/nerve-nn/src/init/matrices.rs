use super::{Draw, Entry, Initializer};
use nerve_core::{Shape, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// `gain` on the diagonal of a matrix, 0 elsewhere.
///
/// ```
/// use nerve_nn::{Params, init::Identity};
/// let w = Params::new(1).var("w", [2, 3], &Identity { gain: 2.0 });
/// assert_eq!(w.to_vec::<f32>(), [2.0, 0.0, 0.0, 0.0, 2.0, 0.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Identity {
    /// The diagonal.
    pub gain: f64,
}

impl Default for Identity {
    /// Ones.
    fn default() -> Self {
        Identity { gain: 1.0 }
    }
}

impl Initializer for Identity {
    /// # Panics
    /// If the shape is not that of a matrix.
    fn tensor(&self, shape: &Shape, draw: &Draw) -> Tensor {
        assert!(shape.len() == 2, "identity: a matrix has two axes, found {shape}");
        let columns = shape[1];
        let on = |i: usize| i / columns == i % columns;
        filled(shape, draw, |i| if on(i) { self.gain } else { 0.0 })
    }
}

/// A convolution that hands its channels on as they are: 1 in the middle of the kernel from each
/// input channel to the output channel of the same number. With groups, in each of them.
///
/// ```
/// use nerve_nn::{Params, init::Dirac};
/// let w = Params::new(1).var("w", [2, 2, 3], &Dirac::default());
/// assert_eq!(w.to_vec::<f32>()[..6], [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirac {
    /// Groups of the convolution.
    pub groups: usize,
}

impl Default for Dirac {
    /// One group.
    fn default() -> Self {
        Dirac { groups: 1 }
    }
}

impl Initializer for Dirac {
    /// # Panics
    /// If the shape is not that of a convolution, or its channels do not fall into the groups.
    fn tensor(&self, shape: &Shape, draw: &Draw) -> Tensor {
        let [outputs, inputs, ref kernel @ ..] = **shape else {
            panic!("dirac: the weight of a convolution has 3 axes or more, found {shape}")
        };
        assert!(!kernel.is_empty(), "dirac: the weight of a convolution has 3 axes or more");
        let groups = self.groups.max(1);
        assert!(outputs % groups == 0, "dirac: {outputs} outputs in {groups} groups");
        let field: usize = kernel.iter().product();
        let middle = kernel.iter().fold(0, |at, &extent| at * extent + extent / 2);
        filled(shape, draw, |i| {
            let (output, input, at) = (i / field / inputs, i / field % inputs, i % field);
            f64::from(u8::from(output % (outputs / groups) == input && at == middle))
        })
    }
}

/// A matrix of which each column has a share of zeros, the rest normal.
///
/// Martens, "Deep learning via Hessian-free optimization", 2010. The zeros are those places of a
/// column whose own random numbers are smallest, `⌈share · rows⌉` of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sparse {
    /// The share of zeros, from 0 to 1.
    pub share: f64,
    /// The standard deviation of the rest.
    pub std: f64,
}

impl Initializer for Sparse {
    /// # Panics
    /// If the shape is not that of a matrix.
    fn tensor(&self, shape: &Shape, draw: &Draw) -> Tensor {
        assert!(shape.len() == 2, "sparse: a matrix has two axes, found {shape}");
        let (rows, columns) = (shape[0], shape[1]);
        let mut values =
            draw.normal(shape, 0.0, self.std).to_dtype(nerve_core::DType::F64).to_vec::<f64>();
        // Another stream than that of the values, which count up from 0.
        let other = Draw { stream: u32::MAX - draw.stream, ..draw.clone() };
        let order =
            other.uniform(&[columns, rows].into(), 0.0, 1.0).argsort(1, false).to_vec::<i32>();
        let zeros = ((self.share * rows as f64).ceil() as usize).min(rows);
        for (column, order) in order.chunks(rows.max(1)).enumerate() {
            order[..zeros].iter().for_each(|&row| values[row as usize * columns + column] = 0.0);
        }
        filled(shape, draw, |i| values[i])
    }
}

fn filled(shape: &Shape, draw: &Draw, value: impl Fn(usize) -> f64) -> Tensor {
    let values: Vec<f64> = (0..shape.numel()).map(value).collect();
    Tensor::from_slice(&values, shape).to_dtype(draw.dtype).evaluated()
}

const GAIN: Param = Param::with_default("gain", Kind::number(), Value::Float(1.0), "the diagonal");

pub(super) static IDENTITY: Entry = Entry {
    spec: Spec {
        name: "identity",
        aliases: &["Identity", "eye"],
        peers: Peers::of("nn.init.eye_", "initializers.Identity"),
        doc: "The identity matrix.",
        params: &[GAIN],
    },
    build: |args| Box::new(Identity { gain: args.float("gain") }),
};

pub(super) static DIRAC: Entry = Entry {
    spec: Spec {
        name: "dirac",
        aliases: &["Dirac"],
        peers: Peers::of("nn.init.dirac_", ""),
        doc: "A convolution that hands its channels on as they are.",
        params: &[Param::with_default(
            "groups",
            Kind::count(),
            Value::Int(1),
            "groups of the convolution",
        )],
    },
    build: |args| Box::new(Dirac { groups: args.usize("groups") }),
};

pub(super) static SPARSE: Entry = Entry {
    spec: Spec {
        name: "sparse",
        aliases: &["Sparse"],
        peers: Peers::of("nn.init.sparse_", ""),
        doc: "A matrix of which each column has a share of zeros (Martens, 2010).",
        params: &[
            Param::required("share", Kind::float(0.0, 1.0), "the share of zeros")
                .alias(&["sparsity"]),
            Param::with_default("std", Kind::positive(), Value::Float(0.01), "the deviation"),
        ],
    },
    build: |args| Box::new(Sparse { share: args.float("share"), std: args.float("std") }),
};
