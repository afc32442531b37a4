use super::{Entry, Now, Rule, Slot, Updater, boxed, decay, eps, rate, share};
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Peers, Spec};

/// Steps in the units of the parameters: the root of the mean of squared steps over the root of the
/// mean of squared gradients, times the gradient.
///
/// Zeiler, "ADADELTA: an adaptive learning rate method", 2012. With decay ρ:
///
/// ```text
/// g ← g + λ w
/// v ← ρ v + (1 − ρ) g²
/// d = g √(u + ε) / √(v + ε)
/// u ← ρ u + (1 − ρ) d²
/// w ← w − η d
/// ```
///
/// The paper has η = 1, as PyTorch does; the default of Keras is 0.001, which hardly moves.
///
/// ```
/// use nerve_nn::optim::{Adadelta, Optimizer};
/// use nerve_nn::{Params, layers::Linear};
/// let params = Params::new(1);
/// Linear::new(&params.at("fc"), 4, 2);
/// assert_eq!(Adadelta::new(&params, 1.0).rho(0.95).slots().len(), 4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adadelta {
    /// ρ.
    pub rho: f64,
    /// ε.
    pub eps: f64,
    /// λ: an L2 penalty.
    pub weight_decay: f64,
}

impl Default for Adadelta {
    /// ρ = 0.9, ε = 1e-6, without a penalty.
    fn default() -> Self {
        Adadelta { rho: 0.9, eps: 1e-6, weight_decay: 0.0 }
    }
}

impl Adadelta {
    /// With the defaults, for all trainable parameters.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn new(params: &Params, learning_rate: f64) -> Updater<Adadelta> {
        Updater::new(Adadelta::default(), params, learning_rate)
    }
}

impl Updater<Adadelta> {
    /// With this decay ρ of the means.
    #[must_use]
    pub fn rho(self, rho: f64) -> Self {
        self.with(|rule| rule.rho = rho)
    }

    /// With this ε, which also sets the size of the first steps.
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

impl Rule for Adadelta {
    fn slots(&self, parameter: &Var) -> Vec<Slot> {
        ["square_avg", "acc_delta"].map(|name| Slot::like(name, parameter)).to_vec()
    }

    fn counts(&self) -> bool {
        false
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn update(&self, now: &Now, w: &Tensor, g: &Tensor, slots: &mut [Tensor]) -> Tensor {
        let (g, rho) = (now.penalized(w, g), self.rho);
        slots[0] = &slots[0] * rho + g.square() * (1.0 - rho);
        let step = (&slots[1] + self.eps).sqrt() / (&slots[0] + self.eps).sqrt() * g;
        slots[1] = &slots[1] * rho + step.square() * (1.0 - rho);
        w - step * &now.rate
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "adadelta",
        aliases: &["Adadelta", "AdaDelta"],
        peers: Peers::of("optim.Adadelta", "optimizers.Adadelta"),
        doc: "Steps in the units of the parameters (Zeiler, 2012).",
        params: &[
            rate(1.0),
            share("rho", 0.9, "decay of the means"),
            eps(1e-6),
            decay(0.0, "L2 penalty"),
        ],
    },
    slots: |_| 2,
    make: |args, vars, groups| {
        let [rho, eps, weight_decay] = ["rho", "eps", "weight_decay"].map(|name| args.float(name));
        boxed(Adadelta { rho, eps, weight_decay }, args, vars, groups)
    },
    samples: &["lr = 40.0", "lr = 1.0, rho = 0.95, eps = 1e-2, weight_decay = 1e-4"],
};
