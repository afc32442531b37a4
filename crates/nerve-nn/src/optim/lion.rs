use super::{Entry, Now, Rule, Slot, Updater, boxed, decay, rate};
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Steps of one size: the sign of a momentum.
///
/// Chen et al., "Symbolic discovery of optimization algorithms", 2023:
///
/// ```text
/// w ← w − η (sign(β₁ m + (1 − β₁) g) + λ w)
/// m ← β₂ m + (1 − β₂) g
/// ```
///
/// Half the memory of Adam. The paper's rates are 3 to 10 times smaller than those of
/// [`AdamW`](super::AdamW), its λ as much larger. The decay is decoupled.
///
/// ```
/// use nerve_nn::optim::{Lion, Optimizer};
/// use nerve_nn::{Params, layers::Linear};
/// let params = Params::new(1);
/// Linear::new(&params.at("fc"), 4, 2);
/// assert_eq!(Lion::new(&params, 1e-4).weight_decay(0.1).slots().len(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lion {
    /// β₁ and β₂.
    pub betas: [f64; 2],
    /// λ.
    pub weight_decay: f64,
}

impl Default for Lion {
    /// β₁ = 0.9, β₂ = 0.99, λ = 0.
    fn default() -> Self {
        Lion { betas: [0.9, 0.99], weight_decay: 0.0 }
    }
}

impl Lion {
    /// With the defaults, for all trainable parameters.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn new(params: &Params, learning_rate: f64) -> Updater<Lion> {
        Updater::new(Lion::default(), params, learning_rate)
    }
}

impl Updater<Lion> {
    /// With these decays: of what is stepped along, and of what is kept.
    #[must_use]
    pub fn betas(self, first: f64, second: f64) -> Self {
        self.with(|rule| rule.betas = [first, second])
    }

    /// With this decay λ.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        self.with(|rule| rule.weight_decay = weight_decay)
    }
}

impl Rule for Lion {
    fn slots(&self, parameter: &Var) -> Vec<Slot> {
        vec![Slot::like("exp_avg", parameter)]
    }

    fn counts(&self) -> bool {
        false
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn update(&self, now: &Now, w: &Tensor, g: &Tensor, slots: &mut [Tensor]) -> Tensor {
        let [b1, b2] = self.betas;
        // Both means from one difference, which makes them one pass.
        let away = g - &slots[0];
        let direction = (&slots[0] + &away * (1.0 - b1)).sign();
        slots[0] = &slots[0] + away * (1.0 - b2);
        now.decayed(w) - direction * &now.rate
    }
}

static LION_BETAS: [Value; 2] = [Value::Float(0.9), Value::Float(0.99)];
const LION_DECAYS: Param = Param::with_default(
    "betas",
    Kind::List { of: &Kind::fraction(), min_len: 2, max_len: 2 },
    Value::list(&LION_BETAS),
    "decay in the step, and of what is kept",
);

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "lion",
        aliases: &["Lion"],
        peers: Peers::of("", "optimizers.Lion"),
        doc: "Steps of one size: the sign of a momentum (Chen et al., 2023).",
        params: &[rate(1e-4), LION_DECAYS, decay(0.0, "share of a parameter lost at rate 1")],
    },
    slots: |_| 1,
    make: |args, vars, groups| {
        let betas = args.floats("betas");
        let rule = Lion { betas: [betas[0], betas[1]], weight_decay: args.float("weight_decay") };
        boxed(rule, args, vars, groups)
    },
    samples: &["lr = 0.04", "lr = 0.04, betas = [0.8, 0.9], weight_decay = 1e-3"],
};
