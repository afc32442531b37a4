//! Variants of Adam: the same two running means, another step.

use super::adam::{DECAYS, Moments, moment_methods};
use super::{Entry, Now, Rule, Slot, Updater, boxed, decay, eps, rate};
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Args, Param, Peers, Spec};

/// [`Adam`](super::Adam) with the largest gradient in the place of the root of the mean square.
///
/// Kingma & Ba, "Adam: a method for stochastic optimization", 2015, section 7.1:
///
/// ```text
/// m ← β₁ m + (1 − β₁) g
/// u ← max(β₂ u, |g| + ε)
/// w ← w − η / (1 − β₁ᵗ) · m / u
/// ```
///
/// ε goes into the maximum, as in PyTorch; Keras adds it to u.
///
/// ```
/// use nerve_nn::optim::{Adamax, Optimizer};
/// use nerve_nn::{Params, layers::Linear};
/// let params = Params::new(1);
/// Linear::new(&params.at("fc"), 4, 2);
/// assert_eq!(Adamax::new(&params, 2e-3).slots()[2].name(), "exp_inf.fc.weight");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Adamax {
    /// The decays and ε.
    pub moments: Moments,
    /// λ: an L2 penalty.
    pub weight_decay: f64,
}

/// [`Adam`](super::Adam) with Nesterov's momentum, whose coefficient warms up.
///
/// Dozat, "Incorporating Nesterov momentum into Adam", 2016:
///
/// ```text
/// μₜ = β₁ (1 − ½ · 0.96^(0.004 t))
/// m, v as in Adam                v̂ = v / (1 − β₂ᵗ)
/// w ← w − η ((1 − μₜ) g / (1 − Π μ) + μₜ₊₁ m / (1 − Π μ · μₜ₊₁)) / (√v̂ + ε)
/// ```
///
/// with Π μ the product of μ₁ to μₜ.
///
/// ```
/// use nerve_nn::optim::{NAdam, Optimizer};
/// use nerve_nn::{Params, layers::Linear};
/// let params = Params::new(1);
/// Linear::new(&params.at("fc"), 4, 2);
/// assert_eq!(NAdam::new(&params, 2e-3).slots().last().unwrap().name(), "mu_product");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NAdam {
    /// The decays and ε.
    pub moments: Moments,
    /// λ: an L2 penalty.
    pub weight_decay: f64,
}

/// [`Adam`](super::Adam) that waits with adapting until the mean of squares has a known variance.
///
/// Liu et al., "On the variance of the adaptive learning rate and beyond", 2020:
///
/// ```text
/// ρ∞ = 2 / (1 − β₂) − 1          ρₜ = ρ∞ − 2 t β₂ᵗ / (1 − β₂ᵗ)
/// r = √((ρₜ − 4)(ρₜ − 2) ρ∞ / ((ρ∞ − 4)(ρ∞ − 2) ρₜ))
/// w ← w − η r m̂ √(1 − β₂ᵗ) / (√v + ε)      where ρₜ > 5, else  w ← w − η m̂
/// ```
///
/// ```
/// use nerve_nn::optim::{Optimizer, RAdam};
/// use nerve_nn::{Params, layers::Linear};
/// let params = Params::new(1);
/// Linear::new(&params.at("fc"), 4, 2);
/// assert_eq!(RAdam::new(&params, 1e-3).slots().len(), 5);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RAdam {
    /// The decays and ε.
    pub moments: Moments,
    /// λ: an L2 penalty.
    pub weight_decay: f64,
}

macro_rules! constructors {
    ($($rule:ident)*) => {$(
        impl $rule {
            /// With β₁ = 0.9, β₂ = 0.999, ε = 1e-8, without a penalty, for all trainable
            /// parameters.
            ///
            /// # Panics
            /// If there are none.
            #[track_caller]
            pub fn new(params: &Params, learning_rate: f64) -> Updater<$rule> {
                Updater::new($rule::default(), params, learning_rate)
            }
        }
    )*};
}

constructors!(Adamax NAdam RAdam);
moment_methods!(Adamax NAdam RAdam);

impl Rule for Adamax {
    fn slots(&self, parameter: &Var) -> Vec<Slot> {
        ["exp_avg", "exp_inf"].map(|name| Slot::like(name, parameter)).to_vec()
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn update(&self, now: &Now, w: &Tensor, g: &Tensor, slots: &mut [Tensor]) -> Tensor {
        let (g, [b1, b2]) = (now.penalized(w, g), self.moments.betas);
        slots[0] = &slots[0] * b1 + &g * (1.0 - b1);
        slots[1] = (&slots[1] * b2).maximum(g.abs() + self.moments.eps);
        w - &slots[0] * (&now.rate / now.correction(b1)) / &slots[1]
    }
}

/// How fast the momentum of NAdam warms up.
const WARM_UP: f64 = 0.004;

impl NAdam {
    fn momentum(&self, count: &Tensor) -> Tensor {
        let shrinking = (count * (WARM_UP * 0.96f64.ln())).exp();
        (shrinking * -0.5 + 1.0) * self.moments.betas[0]
    }
}

impl Rule for NAdam {
    fn slots(&self, parameter: &Var) -> Vec<Slot> {
        self.moments.slots(parameter)
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn numbers(&self) -> &'static [(&'static str, f64)] {
        &[("mu_product", 1.0)]
    }

    fn next_numbers(&self, count: &Tensor, numbers: &[Tensor]) -> Vec<Tensor> {
        vec![&numbers[0] * self.momentum(count)]
    }

    fn update(&self, now: &Now, w: &Tensor, g: &Tensor, slots: &mut [Tensor]) -> Tensor {
        let g = now.penalized(w, g);
        let [m, v] = self.moments.means(&g, slots);
        let (product, mu) = (&now.numbers[0], self.momentum(now.count()));
        let next = self.momentum(&(now.count() + 1.0));
        let of_g = &now.rate * (1.0 - mu) / (1.0 - product);
        let of_m = &now.rate * &next / (1.0 - product * &next);
        let root = now.correction(self.moments.betas[1]).sqrt();
        let divisor = v.sqrt() / root + self.moments.eps;
        w - (g * of_g + m * of_m) / divisor
    }
}

impl Rule for RAdam {
    fn slots(&self, parameter: &Var) -> Vec<Slot> {
        self.moments.slots(parameter)
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn update(&self, now: &Now, w: &Tensor, g: &Tensor, slots: &mut [Tensor]) -> Tensor {
        let [m, v] = self.moments.means(&now.penalized(w, g), slots);
        let [b1, b2] = self.moments.betas;
        let (c1, c2) = (now.correction(b1), now.correction(b2));
        let most = 2.0 / (1.0 - b2) - 1.0;
        let length = (now.count() * (1.0 - &c2) / &c2) * -2.0 + most;
        let adapts = length.gt(5.0);
        // Where it does not adapt the number below means nothing, but has to be one.
        let safe = length.maximum(5.0);
        let rectified =
            ((&safe - 4.0) * (&safe - 2.0) / safe * (most / ((most - 4.0) * (most - 2.0)))).sqrt();
        let step = &now.rate / c1;
        let adapted = &m * (&step * rectified * c2.sqrt()) / (v.sqrt() + self.moments.eps);
        w - adapts.select(&adapted, &(&m * step))
    }
}

fn parts(args: &Args) -> (Moments, f64) {
    (Moments::of(args), args.float("weight_decay"))
}

const PENALTY: Param = decay(0.0, "L2 penalty");

pub(super) static ADAMAX: Entry = Entry {
    spec: Spec {
        name: "adamax",
        aliases: &["Adamax", "AdaMax"],
        peers: Peers::of("optim.Adamax", "optimizers.Adamax"),
        doc: "Adam with the largest gradient for the root of the mean square (Kingma & Ba, 2015).",
        params: &[rate(2e-3), DECAYS, eps(1e-8), PENALTY],
    },
    slots: |_| 2,
    make: |args, vars, groups| {
        let (moments, weight_decay) = parts(args);
        boxed(Adamax { moments, weight_decay }, args, vars, groups)
    },
    samples: &["lr = 0.1", "lr = 0.1, betas = [0.8, 0.9], weight_decay = 1e-4"],
};

pub(super) static N_ADAM: Entry = Entry {
    spec: Spec {
        name: "nadam",
        aliases: &["NAdam", "Nadam"],
        peers: Peers::of("optim.NAdam", "optimizers.Nadam"),
        doc: "Adam with Nesterov's momentum (Dozat, 2016).",
        params: &[rate(2e-3), DECAYS, eps(1e-8), PENALTY],
    },
    slots: |_| 2,
    make: |args, vars, groups| {
        let (moments, weight_decay) = parts(args);
        boxed(NAdam { moments, weight_decay }, args, vars, groups)
    },
    samples: &["lr = 0.1", "lr = 0.1, betas = [0.8, 0.9], weight_decay = 1e-4"],
};

pub(super) static R_ADAM: Entry = Entry {
    spec: Spec {
        name: "radam",
        aliases: &["RAdam"],
        peers: Peers::of("optim.RAdam", ""),
        doc: "Adam that adapts once the second moment is known well enough (Liu et al., 2020).",
        params: &[rate(1e-3), DECAYS, eps(1e-8), PENALTY],
    },
    slots: |_| 2,
    make: |args, vars, groups| {
        let (moments, weight_decay) = parts(args);
        boxed(RAdam { moments, weight_decay }, args, vars, groups)
    },
    samples: &["lr = 0.3", "lr = 0.1, betas = [0.8, 0.9], weight_decay = 1e-4"],
};
