use super::{Entry, Now, Rule, Slot, Updater, boxed, decay, eps, rate};
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Steps divided by the root of the sum of all squared gradients so far: rare features keep large
/// steps.
///
/// Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and stochastic
/// optimization", 2011. With decay of the rate κ:
///
/// ```text
/// g ← g + λ w
/// s ← s + g²
/// w ← w − η / (1 + (t − 1) κ) · g / (√s + ε)
/// ```
///
/// s begins at `initial`: 0 as in PyTorch, where Keras has 0.1.
///
/// ```
/// use nerve_nn::optim::{Adagrad, Optimizer};
/// use nerve_nn::{Params, layers::Linear};
/// let params = Params::new(1);
/// Linear::new(&params.at("fc"), 4, 2);
/// let optimizer = Adagrad::new(&params, 0.01).initial(0.1);
/// assert_eq!(optimizer.slots()[0].to_vec::<f32>(), [0.1; 8]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adagrad {
    /// κ.
    pub lr_decay: f64,
    /// What the sum begins with.
    pub initial: f64,
    /// ε.
    pub eps: f64,
    /// λ: an L2 penalty.
    pub weight_decay: f64,
}

impl Default for Adagrad {
    /// κ = 0, from 0, ε = 1e-10, without a penalty.
    fn default() -> Self {
        Adagrad { lr_decay: 0.0, initial: 0.0, eps: 1e-10, weight_decay: 0.0 }
    }
}

impl Adagrad {
    /// With the defaults, for all trainable parameters.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn new(params: &Params, learning_rate: f64) -> Updater<Adagrad> {
        Updater::new(Adagrad::default(), params, learning_rate)
    }
}

impl Updater<Adagrad> {
    /// With this decay κ of the rate.
    #[must_use]
    pub fn lr_decay(self, lr_decay: f64) -> Self {
        self.with(|rule| rule.lr_decay = lr_decay)
    }

    /// With sums that begin with this.
    #[must_use]
    pub fn initial(self, initial: f64) -> Self {
        self.with(|rule| rule.initial = initial)
    }

    /// With this ε.
    #[must_use]
    pub fn eps(self, eps: f64) -> Self {
        self.with(|rule| rule.eps = eps)
    }

    /// With an L2 penalty λ.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        self.with(|rule| rule.weight_decay = weight_decay)
    }
}

impl Rule for Adagrad {
    fn slots(&self, parameter: &Var) -> Vec<Slot> {
        vec![Slot { start: self.initial, ..Slot::like("sum", parameter) }]
    }

    fn counts(&self) -> bool {
        self.lr_decay > 0.0
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn update(&self, now: &Now, w: &Tensor, g: &Tensor, slots: &mut [Tensor]) -> Tensor {
        let g = now.penalized(w, g);
        slots[0] = &slots[0] + g.square();
        let rate = match self.counts() {
            true => &now.rate / ((now.count() - 1.0) * self.lr_decay + 1.0),
            false => now.rate.clone(),
        };
        w - g * rate / (slots[0].sqrt() + self.eps)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "adagrad",
        aliases: &["Adagrad", "AdaGrad"],
        peers: Peers::of("optim.Adagrad", "optimizers.Adagrad"),
        doc: "Steps divided by the root of the sum of squared gradients (Duchi et al., 2011).",
        params: &[
            rate(0.01),
            Param::with_default(
                "lr_decay",
                Kind::non_negative(),
                Value::Float(0.0),
                "the rate is divided by 1 + steps times this",
            ),
            Param::with_default(
                "initial",
                Kind::non_negative(),
                Value::Float(0.0),
                "what the sum begins with",
            )
            .alias(&["initial_accumulator_value"]),
            eps(1e-10),
            decay(0.0, "L2 penalty"),
        ],
    },
    slots: |_| 1,
    make: |args, vars, groups| {
        let [lr_decay, initial, eps, weight_decay] =
            ["lr_decay", "initial", "eps", "weight_decay"].map(|name| args.float(name));
        boxed(Adagrad { lr_decay, initial, eps, weight_decay }, args, vars, groups)
    },
    samples: &["lr = 0.5", "lr = 0.5, lr_decay = 1e-3, initial = 0.1, weight_decay = 1e-4"],
};
