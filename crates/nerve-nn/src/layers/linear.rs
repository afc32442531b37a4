use super::{BIAS, Effect, Entry, Layer, Misfit, Sample};
use crate::activations;
use crate::context::Context;
use crate::init::{self, Initializer, Uniform};
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Kind, Param, Peers, Spec};

/// Every output is a weighted sum of every input, plus a bias: y = x Wᵀ + b. Also called dense, or
/// fully connected.
///
/// A layer of neurons after Rosenblatt, "The perceptron", 1958, without its threshold.
///
/// Input `[batch, …, in]`, output `[batch, …, out]`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, Params, layers::Linear};
/// let fc = Linear::new(&Params::new(42).at("fc"), 784, 10);
/// assert_eq!(**fc.forward(&Tensor::ones([64, 784]), &Context::eval()).shape(), [64, 10]);
/// ```
pub struct Linear {
    /// `[out, in]`.
    pub weight: Var,
    /// `[out]`.
    pub bias: Option<Var>,
    /// The function after it.
    pub activation: Option<Box<dyn Layer>>,
}

impl Linear {
    /// With biases, all values uniform in ±1/√`inputs` as in PyTorch.
    #[track_caller]
    pub fn new(params: &Params, inputs: usize, outputs: usize) -> Linear {
        let init = Uniform::fan_in(inputs);
        Linear::with_init(params, inputs, outputs, &init, Some(&init))
    }

    /// With weights from one initialiser, and biases from another or none.
    #[track_caller]
    pub fn with_init(
        params: &Params,
        inputs: usize,
        outputs: usize,
        weight: &dyn Initializer,
        bias: Option<&dyn Initializer>,
    ) -> Linear {
        Linear {
            weight: params.var("weight", [outputs, inputs], weight),
            bias: bias.map(|init| params.var("bias", [outputs], init)),
            activation: None,
        }
    }
}

impl Layer for Linear {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let mut y = x.matmul(&self.weight.get().t());
        if let Some(bias) = &self.bias {
            y = y + bias.get();
        }
        match &self.activation {
            Some(activation) => activation.forward(&y, cx),
            None => y,
        }
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "Dense",
        aliases: &["Linear"],
        peers: Peers::of("nn.Linear", "layers.Dense"),
        doc: "Every output is a weighted sum of every input.",
        params: &[
            Param::required("units", Kind::count(), "outputs").alias(&["out_features"]),
            BIAS,
            activations::PARAM,
            init::WEIGHT,
            init::BIAS,
        ],
    },
    takes_indices: false,
    samples: &[
        Sample::of("units = 4", &[6]),
        Sample::of("out_features = 3, activation = 'tanh'", &[2]),
        Sample::of("units = 3, use_bias = false, init = 'he_normal'", &[2]),
    ],
    infer: |args, input| {
        let &[features] = input else {
            return Err(Misfit {
                needs: "[features]".into(),
                hint: "put a Flatten before it".into(),
            });
        };
        let units = args.usize("units");
        Ok(Effect::weighted([units], units, features as u128, args.bool("bias")))
    },
    make: |args, input, params| {
        let [weight, bias] = init::of_layer(args, input[0]);
        let bias = args.bool("bias").then_some(&*bias);
        let mut layer = Linear::with_init(params, input[0], args.usize("units"), &*weight, bias);
        layer.activation = activations::build(args.item("activation"));
        Box::new(layer)
    },
};
