use super::{Entry, Now, Rule, Slot, Updater, boxed, decay, eps, rate, share};
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Steps divided by the root of a running mean of squared gradients.
///
/// Tieleman & Hinton, "Lecture 6.5 – RMSProp", Coursera, 2012; centered: Graves, "Generating
/// sequences with recurrent neural networks", 2013. With decay α and momentum μ:
///
/// ```text
/// g ← g + λ w
/// v ← α v + (1 − α) g²
/// a ← α a + (1 − α) g     d = √(v − a²)  where centered, else  d = √v
/// b ← μ b + g / (d + ε)
/// w ← w − η b
/// ```
///
/// ε stands outside of the root, as in PyTorch; Keras has √(v + ε). The mean begins at zero and is
/// not corrected, as in both: the first steps are larger than later ones.
///
/// ```
/// use nerve_nn::optim::{Optimizer, RmsProp};
/// use nerve_nn::{Params, layers::Linear};
/// let params = Params::new(1);
/// Linear::new(&params.at("fc"), 4, 2);
/// let optimizer = RmsProp::new(&params, 1e-3).momentum(0.9).centered(true);
/// assert_eq!(optimizer.slots()[0].name(), "square_avg.fc.weight");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    /// α.
    pub alpha: f64,
    /// ε.
    pub eps: f64,
    /// μ.
    pub momentum: f64,
    /// Whether the mean of the gradient is taken off.
    pub centered: bool,
    /// λ: an L2 penalty.
    pub weight_decay: f64,
}

impl Default for RmsProp {
    /// α = 0.99, ε = 1e-8, nothing else: PyTorch's. (Keras: 0.9 and 1e-7.)
    fn default() -> Self {
        RmsProp { alpha: 0.99, eps: 1e-8, momentum: 0.0, centered: false, weight_decay: 0.0 }
    }
}

impl RmsProp {
    /// With the defaults, for all trainable parameters.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn new(params: &Params, learning_rate: f64) -> Updater<RmsProp> {
        Updater::new(RmsProp::default(), params, learning_rate)
    }
}

impl Updater<RmsProp> {
    /// With this decay α of the mean.
    #[must_use]
    pub fn alpha(self, alpha: f64) -> Self {
        self.with(|rule| rule.alpha = alpha)
    }

    /// With this ε.
    #[must_use]
    pub fn eps(self, eps: f64) -> Self {
        self.with(|rule| rule.eps = eps)
    }

    /// With momentum μ.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        self.with(|rule| rule.momentum = momentum)
    }

    /// Divided by the deviation of the gradient instead of the root of its mean square.
    #[must_use]
    pub fn centered(self, centered: bool) -> Self {
        self.with(|rule| rule.centered = centered)
    }

    /// With an L2 penalty λ.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        self.with(|rule| rule.weight_decay = weight_decay)
    }
}

impl Rule for RmsProp {
    fn slots(&self, parameter: &Var) -> Vec<Slot> {
        let mut slots = vec![Slot::like("square_avg", parameter)];
        slots.extend(self.centered.then(|| Slot::like("grad_avg", parameter)));
        slots.extend((self.momentum > 0.0).then(|| Slot::like("momentum", parameter)));
        slots
    }

    fn counts(&self) -> bool {
        false
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn update(&self, now: &Now, w: &Tensor, g: &Tensor, slots: &mut [Tensor]) -> Tensor {
        let (g, alpha) = (now.penalized(w, g), self.alpha);
        slots[0] = &slots[0] * alpha + g.square() * (1.0 - alpha);
        let mut divisor = slots[0].clone();
        if self.centered {
            slots[1] = &slots[1] * alpha + &g * (1.0 - alpha);
            // Never below zero but for rounding.
            divisor = (divisor - slots[1].square()).maximum(0.0);
        }
        let mut direction = g / (divisor.sqrt() + self.eps);
        if self.momentum > 0.0 {
            let buffer = slots.last_mut().expect("the momentum is the last");
            *buffer = &*buffer * self.momentum + direction;
            direction = buffer.clone();
        }
        w - direction * &now.rate
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "rmsprop",
        aliases: &["RMSprop", "RMSProp"],
        peers: Peers::of("optim.RMSprop", "optimizers.RMSprop"),
        doc: "Steps divided by the root of a mean of squared gradients (Tieleman & Hinton, 2012).",
        params: &[
            rate(1e-3),
            share("alpha", 0.99, "decay of the mean").alias(&["rho"]),
            eps(1e-8),
            share("momentum", 0.0, "momentum"),
            Param::with_default("centered", Kind::Bool, Value::Bool(false), "take off the mean"),
            decay(0.0, "L2 penalty"),
        ],
    },
    slots: |args| {
        1 + usize::from(args.bool("centered")) + usize::from(args.float("momentum") > 0.0)
    },
    make: |args, vars, groups| {
        let rule = RmsProp {
            alpha: args.float("alpha"),
            eps: args.float("eps"),
            momentum: args.float("momentum"),
            centered: args.bool("centered"),
            weight_decay: args.float("weight_decay"),
        };
        boxed(rule, args, vars, groups)
    },
    samples: &["lr = 0.05", "lr = 0.01, momentum = 0.9, centered = true, weight_decay = 1e-4"],
};
