use super::{Entry, Now, Rule, Slot, Updater, boxed, decay, eps, rate};
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// Steps of a size that adapts to each parameter.
///
/// Kingma & Ba, "Adam: a method for stochastic optimization", 2015. With parameters w, gradients
/// g, decays β₁ and β₂, rate η, penalty λ, and t the number of the step:
///
/// ```text
/// g ← g + λ w
/// m ← β₁ m + (1 − β₁) g          m̂ = m / (1 − β₁ᵗ)
/// v ← β₂ v + (1 − β₂) g²         v̂ = v / (1 − β₂ᵗ)
/// w ← w − η m̂ / (√v̂ + ε)
/// ```
///
/// With AMSGrad (Reddi, Kale & Kumar, "On the convergence of Adam and beyond", 2018) the largest v
/// so far takes the place of v in the last line.
///
/// The decay λ is a penalty that passes through the moments, as in PyTorch; the `weight_decay` of
/// Keras' Adam is that of [`AdamW`]. ε stands outside of the root of v̂, as in both.
///
/// ```
/// use nerve_core::{Tensor, compile};
/// use nerve_nn::optim::{Adam, Optimizer};
/// use nerve_nn::{Params, init::Ones};
/// let params = Params::new(1);
/// let w = params.var("w", [2], &Ones);
/// let adam = Adam::new(&params, 0.1);
/// compile(|_: &[Tensor]| {
///     adam.minimize(&w.get().square().sum());
///     vec![]
/// })
/// .call(&[]);
/// // The first step has the size of the rate, whatever the gradient.
/// assert!((w.to_vec::<f32>()[0] - 0.9).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// The moments.
    pub moments: Moments,
    /// λ.
    pub weight_decay: f64,
}

/// [`Adam`] with a weight decay that does not pass through the moments: w ← (1 − η λ) w before the
/// step.
///
/// Loshchilov & Hutter, "Decoupled weight decay regularization", 2019.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// The moments.
    pub moments: Moments,
    /// λ.
    pub weight_decay: f64,
}

/// What Adam and its kin have in common: running means of the gradient and of its square.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// β₁ and β₂, each from 0 to below 1.
    pub betas: [f64; 2],
    /// ε, which bounds the steps where gradients are tiny.
    pub eps: f64,
    /// Whether the largest v so far counts.
    pub amsgrad: bool,
}

impl Default for Moments {
    /// β₁ = 0.9, β₂ = 0.999, ε = 1e-8.
    fn default() -> Moments {
        Moments { betas: [0.9, 0.999], eps: 1e-8, amsgrad: false }
    }
}

impl Moments {
    pub(super) fn slots(&self, parameter: &Var) -> Vec<Slot> {
        let names = ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"];
        names[..2 + usize::from(self.amsgrad)].iter().map(|n| Slot::like(n, parameter)).collect()
    }

    /// The new means of the gradient and of its square, kept in the first two slots.
    pub(super) fn means(&self, g: &Tensor, slots: &mut [Tensor]) -> [Tensor; 2] {
        let [b1, b2] = self.betas;
        slots[0] = &slots[0] * b1 + g * (1.0 - b1);
        slots[1] = &slots[1] * b2 + g.square() * (1.0 - b2);
        [slots[0].clone(), slots[1].clone()]
    }

    /// What is to be subtracted from the parameters: η m̂ / (√v̂ + ε).
    pub(super) fn step(&self, now: &Now, g: &Tensor, slots: &mut [Tensor]) -> Tensor {
        let [m, mut v] = self.means(g, slots);
        if let Some(largest) = slots.get_mut(2) {
            *largest = largest.maximum(&v);
            v = largest.clone();
        }
        let [b1, b2] = self.betas;
        // Both sides of the fraction times the root of the second correction, so that all that is
        // the same for each parameter is one factor and one summand.
        let root = now.correction(b2).sqrt();
        let factor = &now.rate * &root / now.correction(b1);
        m * factor / (v.sqrt() + root * self.eps)
    }

    pub(super) fn of(args: &Args) -> Moments {
        let betas = args.floats("betas");
        Moments {
            betas: [betas[0], betas[1]],
            eps: args.float("eps"),
            amsgrad: args.has("amsgrad") && args.bool("amsgrad"),
        }
    }
}

/// The methods of an optimizer with moments and decay.
macro_rules! moment_methods {
    ($($rule:ident)*) => {$(
        impl Updater<$rule> {
            /// With these decays, each from 0 to below 1.
            #[must_use]
            pub fn betas(self, first: f64, second: f64) -> Self {
                self.with(|rule| rule.moments.betas = [first, second])
            }

            /// With this ε, which bounds the steps where gradients are tiny.
            #[must_use]
            pub fn eps(self, eps: f64) -> Self {
                self.with(|rule| rule.moments.eps = eps)
            }

            /// With this decay λ.
            #[must_use]
            pub fn weight_decay(self, weight_decay: f64) -> Self {
                self.with(|rule| rule.weight_decay = weight_decay)
            }
        }
    )*};
}
pub(super) use moment_methods;

moment_methods!(Adam AdamW);

impl Updater<Adam> {
    /// With the largest v so far in the place of v.
    #[must_use]
    pub fn amsgrad(self, amsgrad: bool) -> Self {
        self.with(|adam| adam.moments.amsgrad = amsgrad)
    }
}

impl Updater<AdamW> {
    /// With the largest v so far in the place of v.
    #[must_use]
    pub fn amsgrad(self, amsgrad: bool) -> Self {
        self.with(|adam| adam.moments.amsgrad = amsgrad)
    }
}

impl Default for Adam {
    /// Without a penalty.
    fn default() -> Adam {
        Adam { moments: Moments::default(), weight_decay: 0.0 }
    }
}

impl Default for AdamW {
    /// λ = 0.01.
    fn default() -> AdamW {
        AdamW { moments: Moments::default(), weight_decay: 0.01 }
    }
}

impl Adam {
    /// With β₁ = 0.9, β₂ = 0.999, ε = 1e-8, without a penalty, for all trainable parameters.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn new(params: &Params, learning_rate: f64) -> Updater<Adam> {
        Updater::new(Adam::default(), params, learning_rate)
    }
}

impl AdamW {
    /// With β₁ = 0.9, β₂ = 0.999, ε = 1e-8, λ = 0.01, for all trainable parameters.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn new(params: &Params, learning_rate: f64) -> Updater<AdamW> {
        Updater::new(AdamW::default(), params, learning_rate)
    }
}

impl Rule for Adam {
    fn slots(&self, parameter: &Var) -> Vec<Slot> {
        self.moments.slots(parameter)
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn update(&self, now: &Now, w: &Tensor, g: &Tensor, slots: &mut [Tensor]) -> Tensor {
        w - self.moments.step(now, &now.penalized(w, g), slots)
    }
}

impl Rule for AdamW {
    fn slots(&self, parameter: &Var) -> Vec<Slot> {
        self.moments.slots(parameter)
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn update(&self, now: &Now, w: &Tensor, g: &Tensor, slots: &mut [Tensor]) -> Tensor {
        now.decayed(w) - self.moments.step(now, g, slots)
    }
}

// Named, because a value with a destructor cannot be promoted out of an expression.
static BETAS: [Value; 2] = [Value::Float(0.9), Value::Float(0.999)];

pub(super) const PAIR: Kind = Kind::List { of: &Kind::fraction(), min_len: 2, max_len: 2 };

/// The decays of the moments among the parameters of a recipe.
pub(super) const DECAYS: Param =
    Param::with_default("betas", PAIR, Value::list(&BETAS), "decay of the two moments");

const AMSGRAD: Param = Param::with_default(
    "amsgrad",
    Kind::Bool,
    Value::Bool(false),
    "the largest second moment so far counts",
);

fn slots(args: &Args) -> usize {
    2 + usize::from(args.bool("amsgrad"))
}

fn adam(args: &Args) -> Adam {
    Adam { moments: Moments::of(args), weight_decay: args.float("weight_decay") }
}

pub(super) static ADAM: Entry = Entry {
    spec: Spec {
        name: "adam",
        aliases: &["Adam"],
        peers: Peers::of("optim.Adam", "optimizers.Adam"),
        doc: "Steps of a size that adapts to each parameter (Kingma & Ba, 2015).",
        params: &[rate(1e-3), DECAYS, eps(1e-8), decay(0.0, "L2 penalty"), AMSGRAD],
    },
    slots,
    make: |args, vars, groups| boxed(adam(args), args, vars, groups),
    samples: &["lr = 0.1", "lr = 0.1, betas = [0.8, 0.99], amsgrad = true, weight_decay = 1e-4"],
};

pub(super) static AMS_GRAD: Entry = Entry {
    spec: Spec {
        name: "amsgrad",
        aliases: &["AMSGrad"],
        peers: Peers::of("optim.Adam(amsgrad=True)", "optimizers.Adam(amsgrad=True)"),
        doc: "Adam whose steps never grow by a shrinking second moment (Reddi et al., 2018).",
        params: &[rate(1e-3), DECAYS, eps(1e-8), decay(0.0, "L2 penalty")],
    },
    slots: |_| 3,
    make: |args, vars, groups| {
        let mut rule = adam(args);
        rule.moments.amsgrad = true;
        boxed(rule, args, vars, groups)
    },
    samples: &["lr = 0.1"],
};

pub(super) static ADAM_W: Entry = Entry {
    spec: Spec {
        name: "adamw",
        aliases: &["AdamW"],
        peers: Peers::of("optim.AdamW", "optimizers.AdamW"),
        doc: "Adam with a weight decay of its own (Loshchilov & Hutter, 2019).",
        params: &[
            rate(1e-3),
            DECAYS,
            eps(1e-8),
            decay(0.01, "share of a parameter lost at rate 1"),
            AMSGRAD,
        ],
    },
    slots,
    make: |args, vars, groups| {
        let rule = AdamW { moments: Moments::of(args), weight_decay: args.float("weight_decay") };
        boxed(rule, args, vars, groups)
    },
    samples: &["lr = 0.1", "lr = 0.1, amsgrad = true"],
};
