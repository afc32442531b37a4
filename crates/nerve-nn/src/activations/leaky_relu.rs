use crate::context::Context;
use crate::layers::{Entry, Layer};
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// x where positive, `slope`·x elsewhere.
///
/// Maas, Hannun & Ng, "Rectifier nonlinearities improve neural network acoustic models", 2013.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeakyRelu {
    /// The slope of the negative part.
    pub slope: f64,
}

impl Default for LeakyRelu {
    /// A slope of 0.01.
    fn default() -> Self {
        LeakyRelu { slope: 0.01 }
    }
}

impl Layer for LeakyRelu {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.leaky_relu(self.slope)
    }
}

static PARAMS: [Param; 1] = [Param::with_default(
    "slope",
    Kind::non_negative(),
    Value::Float(0.01),
    "the slope of the negative part",
)
.alias(&["negative_slope", "alpha"])];

pub(super) static ENTRY: Entry = Entry::activation(
    Spec {
        name: "leaky_relu",
        aliases: &["LeakyReLU", "LeakyRelu"],
        peers: Peers::of("nn.LeakyReLU", "activations.leaky_relu"),
        doc: "x where positive, slope times x elsewhere",
        params: &PARAMS,
    },
    |args, _, _| Box::new(LeakyRelu { slope: args.float("slope") }),
);
