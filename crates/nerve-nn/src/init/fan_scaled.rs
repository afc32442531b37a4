use super::{Draw, Entry, Initializer, fans};
use nerve_core::{Shape, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Random numbers with mean 0 and variance `scale` / fan.
///
/// | name | scale | fan | source |
/// |---|---|---|---|
/// | Glorot, Xavier | 1 | mean of in and out | Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010 |
/// | He, Kaiming | 2 | in | He et al., "Delving deep into rectifiers", 2015 |
/// | LeCun | 1 | in | LeCun et al., "Efficient BackProp", 1998 |
///
/// ```
/// use nerve_nn::{Params, init::FanScaled};
/// let weight = Params::new(1).var("weight", [64, 300], &FanScaled::HE_UNIFORM);
/// let bound = (6.0f32 / 300.0).sqrt();
/// assert!(weight.to_vec::<f32>().iter().all(|w| w.abs() <= bound));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FanScaled {
    /// The variance times the fan.
    pub scale: f64,
    /// Which fan.
    pub mode: Mode,
    /// Which distribution.
    pub distribution: Distribution,
}

/// Which fan counts: see [`fans`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// How many values each output sums: keeps the size of activations.
    In,
    /// How many outputs each input reaches: keeps the size of gradients.
    Out,
    /// The mean of the two.
    Mean,
}

/// Which distribution the random numbers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Uniform in ±√(3 · variance).
    Uniform,
    /// Normal.
    Normal,
    /// Normal, but none farther than two deviations from 0; with the same variance.
    Truncated,
}

impl FanScaled {
    const fn new(scale: f64, mode: Mode, distribution: Distribution) -> FanScaled {
        FanScaled { scale, mode, distribution }
    }

    /// Glorot's, uniform; also called Xavier's.
    pub const GLOROT_UNIFORM: FanScaled = FanScaled::new(1.0, Mode::Mean, Distribution::Uniform);
    /// Glorot's, normal; also called Xavier's.
    pub const GLOROT_NORMAL: FanScaled = FanScaled::new(1.0, Mode::Mean, Distribution::Normal);
    /// He's, uniform; also called Kaiming's.
    pub const HE_UNIFORM: FanScaled = FanScaled::new(2.0, Mode::In, Distribution::Uniform);
    /// He's, normal; also called Kaiming's.
    pub const HE_NORMAL: FanScaled = FanScaled::new(2.0, Mode::In, Distribution::Normal);
    /// He's, normal, with the fan out: keeps the size of gradients.
    pub const HE_NORMAL_OUT: FanScaled = FanScaled::new(2.0, Mode::Out, Distribution::Normal);
    /// LeCun's, uniform.
    pub const LECUN_UNIFORM: FanScaled = FanScaled::new(1.0, Mode::In, Distribution::Uniform);
    /// LeCun's, normal.
    pub const LECUN_NORMAL: FanScaled = FanScaled::new(1.0, Mode::In, Distribution::Normal);

    /// The variance for a parameter of this shape.
    pub fn variance(&self, shape: &Shape) -> f64 {
        let (fan_in, fan_out) = fans(shape);
        let fan = match self.mode {
            Mode::In => fan_in as f64,
            Mode::Out => fan_out as f64,
            Mode::Mean => (fan_in + fan_out) as f64 / 2.0,
        };
        self.scale / fan.max(1.0)
    }
}

impl Initializer for FanScaled {
    fn tensor(&self, shape: &Shape, draw: &Draw) -> Tensor {
        let variance = self.variance(shape);
        match self.distribution {
            Distribution::Normal => draw.normal(shape, 0.0, variance.sqrt()),
            Distribution::Truncated => {
                let std = variance.sqrt() / super::truncated::LEFT;
                super::TruncatedNormal { mean: 0.0, std }.tensor(shape, draw)
            }
            Distribution::Uniform => {
                let bound = (3.0 * variance).sqrt();
                draw.uniform(shape, -bound, bound)
            }
        }
    }
}

macro_rules! entries {
    ($($id:ident: $name:literal [$($alias:literal),*] $torch:literal $keras:literal $doc:literal;)*) => {
        $(pub(super) static $id: Entry = Entry {
            spec: Spec {
                name: $name,
                aliases: &[$($alias),*],
                peers: Peers::of($torch, $keras),
                doc: $doc,
                params: &[],
            },
            build: |_| Box::new(FanScaled::$id),
        };)*
    };
}

entries! {
    GLOROT_UNIFORM: "glorot_uniform" ["xavier_uniform", "GlorotUniform"]
        "nn.init.xavier_uniform_" "initializers.GlorotUniform"
        "Uniform with variance 2 / (fan in + fan out).";
    GLOROT_NORMAL: "glorot_normal" ["xavier_normal", "GlorotNormal"]
        "nn.init.xavier_normal_" "initializers.GlorotNormal"
        "Normal with variance 2 / (fan in + fan out).";
    HE_UNIFORM: "he_uniform" ["kaiming_uniform", "HeUniform"]
        "nn.init.kaiming_uniform_" "initializers.HeUniform"
        "Uniform with variance 2 / fan in.";
    HE_NORMAL: "he_normal" ["kaiming_normal", "HeNormal"]
        "nn.init.kaiming_normal_" "initializers.HeNormal"
        "Normal with variance 2 / fan in.";
    HE_NORMAL_OUT: "he_normal_out" ["kaiming_normal_out"]
        "nn.init.kaiming_normal_(mode='fan_out')" ""
        "Normal with variance 2 / fan out.";
    LECUN_UNIFORM: "lecun_uniform" ["LecunUniform"]
        "" "initializers.LecunUniform"
        "Uniform with variance 1 / fan in.";
    LECUN_NORMAL: "lecun_normal" ["LecunNormal"]
        "" "initializers.LecunNormal"
        "Normal with variance 1 / fan in.";
}

pub(super) static VARIANCE_SCALING: Entry = Entry {
    spec: Spec {
        name: "variance_scaling",
        aliases: &["VarianceScaling"],
        peers: Peers::of("", "initializers.VarianceScaling"),
        doc: "Random numbers with variance scale / fan: the family of Glorot, He and LeCun.",
        params: &[
            Param::with_default("scale", Kind::positive(), Value::Float(1.0), "the scale"),
            Param::with_default(
                "mode",
                Kind::Choice(&["fan_in", "fan_out", "fan_avg"]),
                Value::text("fan_in"),
                "which fan counts",
            ),
            Param::with_default(
                "distribution",
                Kind::Choice(&["truncated_normal", "normal", "untruncated_normal", "uniform"]),
                Value::text("truncated_normal"),
                "which distribution (normal is not truncated)",
            ),
        ],
    },
    build: |args| {
        Box::new(FanScaled {
            scale: args.float("scale"),
            mode: match args.text("mode") {
                "fan_out" => Mode::Out,
                "fan_avg" => Mode::Mean,
                _ => Mode::In,
            },
            distribution: match args.text("distribution") {
                "uniform" => Distribution::Uniform,
                "truncated_normal" => Distribution::Truncated,
                _ => Distribution::Normal,
            },
        })
    },
};
