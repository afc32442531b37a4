use super::{Effect, Entry, Layer, Misfit, Sample, place};
use crate::context::Context;
use crate::dims::product;
use crate::init::Constant;
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// Half of the input, gated by the other half: y = a · gate(b), where a is the first half of the
/// axis and b the second.
///
/// | name | gate | source |
/// |---|---|---|
/// | GLU | sigmoid | Dauphin et al., "Language modeling with gated convolutional networks", 2017 |
/// | ReGLU, GEGLU, SwiGLU | ReLU, GELU, SiLU | Shazeer, "GLU variants improve transformer", 2020 |
///
/// Which half gates is a convention: here the second, as in `glu` of PyTorch and Keras.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::{Gate, Glu}};
/// let x = Tensor::from_slice(&[3.0f32, 2.0], [1, 2]);
/// let y = Glu { gate: Gate::Relu, axis: -1 }.forward(&x, &Context::eval());
/// assert_eq!(y.to_vec::<f32>(), [6.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glu {
    /// What the second half goes through.
    pub gate: Gate,
    /// The axis that is halved, counted with the batch or from the end.
    pub axis: isize,
}

/// The gate of a [`Glu`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Of GLU.
    Sigmoid,
    /// Of ReGLU.
    Relu,
    /// Of GEGLU.
    Gelu,
    /// Of SwiGLU.
    Silu,
}

impl Layer for Glu {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let axis = x.shape().axis(self.axis).filter(|&axis| x.shape()[axis].is_multiple_of(2));
        let Some(axis) = axis else {
            panic!("Glu: expected an even extent along axis {}, found {}", self.axis, x.shape());
        };
        let half = x.shape()[axis] / 2;
        let [a, b] = [0, half].map(|start| x.slice(axis as isize, start, start + half));
        let gate = match self.gate {
            Gate::Sigmoid => b.sigmoid(),
            Gate::Relu => b.relu(),
            Gate::Gelu => b.gelu(),
            Gate::Silu => b.silu(),
        };
        a * gate
    }
}

/// The largest of each group of neighbours along an axis: a piecewise linear function that the
/// layer before it learns.
///
/// Goodfellow et al., "Maxout networks", 2013.
///
/// The extent of the axis is divided by `pieces`: after a [`Linear`](super::Linear) with
/// `units · pieces` outputs, `units` are left.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::Maxout};
/// let x = Tensor::from_slice(&[1.0f32, 5.0, 3.0, 2.0], [1, 4]);
/// let y = Maxout { pieces: 2, axis: -1 }.forward(&x, &Context::eval());
/// assert_eq!(y.to_vec::<f32>(), [5.0, 3.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maxout {
    /// How many neighbours form a group.
    pub pieces: usize,
    /// The axis, counted with the batch or from the end.
    pub axis: isize,
}

impl Layer for Maxout {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let axis = x.shape().axis(self.axis);
        let Some(axis) = axis.filter(|&axis| x.shape()[axis].is_multiple_of(self.pieces)) else {
            panic!("Maxout: groups of {} along axis {} of {}", self.pieces, self.axis, x.shape());
        };
        let mut shape = x.shape().to_vec();
        shape[axis] /= self.pieces;
        shape.insert(axis + 1, self.pieces);
        x.reshape(shape).max_axes(&[axis as isize + 1], false)
    }
}

/// x where positive, a learned slope times x elsewhere: one slope for each channel, or one for all.
///
/// He et al., "Delving deep into rectifiers", 2015.
///
/// Input `[batch, channels, …]`, output the same. (Keras has a slope for each element unless axes
/// are shared, and begins at 0.)
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, Params, layers::Prelu};
/// let layer = Prelu::new(&Params::new(42).at("act"), 3);
/// let y = layer.forward(&(Tensor::ones([1, 3]) * -4.0), &Context::eval());
/// assert_eq!(y.to_vec::<f32>(), [-1.0; 3]);
/// ```
pub struct Prelu {
    /// The slopes, `[channels]` or `[1]`.
    pub weight: Var,
}

impl Prelu {
    /// So many slopes, as many as channels or one, that begin at 0.25.
    #[track_caller]
    pub fn new(params: &Params, slopes: usize) -> Prelu {
        Prelu::with_slope(params, slopes, 0.25)
    }

    /// So many slopes that begin at a value.
    #[track_caller]
    pub fn with_slope(params: &Params, slopes: usize, slope: f64) -> Prelu {
        Prelu { weight: params.var("weight", [slopes], &Constant(slope)) }
    }
}

impl Layer for Prelu {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let slopes = self.weight.shape()[0];
        assert!(
            x.rank() >= 2 && (slopes == 1 || x.shape()[1] == slopes),
            "Prelu: expected [batch, {slopes}, …], found {}",
            x.shape()
        );
        let mut shape = vec![1; x.rank() - 1];
        shape[0] = slopes;
        x.gt(0.0).select(x, &(x * self.weight.get().reshape(shape)))
    }
}

const AXIS: Param = Param::with_default(
    "axis",
    Kind::int(-8, 8),
    Value::Int(-1),
    "the axis, counted with the batch or from the end",
)
.alias(&["dim"]);

/// The shape with one axis divided.
fn divided(args: &Args, input: &[usize], by: usize) -> Result<Effect, Misfit> {
    let place = place(args.int("axis") as isize, input)?;
    let mut shape = input.to_vec();
    if !shape[place].is_multiple_of(by) {
        return Err(Misfit {
            needs: format!("a multiple of {by} along the axis"),
            hint: format!("there are {}", shape[place]),
        });
    }
    shape[place] /= by;
    Ok(Effect::cheap(shape, product(input), 2))
}

macro_rules! gates {
    ($($id:ident $gate:ident $name:literal [$($alias:literal),*] $torch:literal $keras:literal
        $doc:literal $sample:expr;)*) => {
        $(pub(super) static $id: Entry = Entry {
            spec: Spec {
                name: $name,
                aliases: &[$($alias),*],
                peers: Peers::of($torch, $keras),
                doc: $doc,
                params: &[AXIS],
            },
            takes_indices: false,
            samples: &[$sample],
            infer: |args, input| divided(args, input, 2),
            make: |args, _, _| {
                Box::new(Glu { gate: Gate::$gate, axis: args.int("axis") as isize })
            },
        };)*
    };
}

gates! {
    GLU Sigmoid "GLU" ["Glu", "glu"] "nn.GLU" "activations.glu"
        "Half of the input times the sigmoid of the other half." Sample::of("axis = 1", &[4, 3]);
    REGLU Relu "ReGLU" ["reglu"] "" ""
        "Half of the input times the ReLU of the other half." Sample::of("", &[3, 6]);
    GEGLU Gelu "GEGLU" ["geglu"] "" ""
        "Half of the input times the GELU of the other half." Sample::of("", &[6]);
    SWIGLU Silu "SwiGLU" ["swiglu"] "" ""
        "Half of the input times the SiLU of the other half." Sample::of("dim = -2", &[2, 4, 3]);
}

pub(super) static MAXOUT: Entry = Entry {
    spec: Spec {
        name: "Maxout",
        aliases: &["maxout"],
        peers: Peers::of("", ""),
        doc: "The largest of each group of neighbours along an axis.",
        params: &[Param::required("pieces", Kind::int(1, 1 << 20), "neighbours in a group"), AXIS],
    },
    takes_indices: false,
    samples: &[Sample::of("pieces = 3", &[6]), Sample::of("pieces = 2, axis = 1", &[4, 3])],
    infer: |args, input| divided(args, input, args.usize("pieces")),
    make: |args, _, _| {
        Box::new(Maxout { pieces: args.usize("pieces"), axis: args.int("axis") as isize })
    },
};

pub(super) static PRELU: Entry = Entry {
    spec: Spec {
        name: "PReLU",
        aliases: &["Prelu", "prelu"],
        peers: Peers::of("nn.PReLU", "layers.PReLU"),
        doc: "x where positive, a learned slope times x elsewhere.",
        params: &[
            Param::with_default(
                "shared",
                Kind::Bool,
                Value::Bool(false),
                "whether all channels have one slope",
            ),
            Param::with_default("slope", Kind::number(), Value::Float(0.25), "how slopes begin")
                .alias(&["init"]),
        ],
    },
    takes_indices: false,
    samples: &[Sample::of("", &[3, 4]), Sample::of("shared = true, slope = 0.1", &[5])],
    infer: |args, input| {
        let channels = super::channels(input)? as u128;
        let parameters = if args.bool("shared") { 1 } else { channels };
        Ok(Effect { parameters, ..Effect::cheap(input, product(input), 2) })
    },
    make: |args, input, params| {
        let slopes = if args.bool("shared") { 1 } else { input[0] };
        Box::new(Prelu::with_slope(params, slopes, args.float("slope")))
    },
};
