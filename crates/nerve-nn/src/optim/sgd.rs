use super::{Entry, Now, Rule, Slot, Updater, boxed, decay, rate, share};
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Stochastic gradient descent, with momentum where it is asked for.
///
/// Robbins & Monro, "A stochastic approximation method", 1951; momentum: Polyak, 1964; Nesterov's
/// form: Sutskever et al., "On the importance of initialization and momentum in deep learning",
/// 2013. With parameters w, gradients g, momentum μ, dampening τ, decay λ and rate η:
///
/// ```text
/// g ← g + λ w
/// m ← μ m + (1 − τ) g     (the first time m ← g)
/// w ← w − η m             or, with Nesterov,  w ← w − η (g + μ m)
/// ```
///
/// The rate stands outside of m, as in PyTorch; in Keras it is a factor of the gradient that goes
/// into m, which differs when the rate changes.
///
/// ```
/// use nerve_core::{Tensor, compile};
/// use nerve_nn::optim::{Optimizer, Sgd};
/// use nerve_nn::{Params, init::Ones};
/// let params = Params::new(1);
/// let w = params.var("w", [2], &Ones);
/// let sgd = Sgd::new(&params, 0.1);
/// compile(|_: &[Tensor]| {
///     sgd.minimize(&w.get().square().sum());
///     vec![]
/// })
/// .call(&[]);
/// assert_eq!(w.to_vec::<f32>(), [0.8, 0.8]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sgd {
    /// μ, from 0 to below 1.
    pub momentum: f64,
    /// τ, from 0 to below 1.
    pub dampening: f64,
    /// Whether in Nesterov's form.
    pub nesterov: bool,
    /// λ: the gradient of λ/2 · |w|² is added to that of the loss.
    pub weight_decay: f64,
}

impl Sgd {
    /// Plain gradient descent of all trainable parameters.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn new(params: &Params, learning_rate: f64) -> Updater<Sgd> {
        Updater::new(Sgd::default(), params, learning_rate)
    }
}

impl Updater<Sgd> {
    /// With momentum μ, from 0 to below 1.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        self.with(|sgd| sgd.momentum = momentum)
    }

    /// With dampening τ of what goes into the momentum.
    #[must_use]
    pub fn dampening(self, dampening: f64) -> Self {
        self.with(|sgd| sgd.dampening = dampening)
    }

    /// In Nesterov's form, which has an effect if there is momentum.
    #[must_use]
    pub fn nesterov(self, nesterov: bool) -> Self {
        self.with(|sgd| sgd.nesterov = nesterov)
    }

    /// With a penalty λ: the gradient of λ/2 · |w|².
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        self.with(|sgd| sgd.weight_decay = weight_decay)
    }
}

impl Rule for Sgd {
    fn slots(&self, parameter: &Var) -> Vec<Slot> {
        if self.momentum > 0.0 { vec![Slot::like("momentum", parameter)] } else { vec![] }
    }

    /// Only to know the first step from the others.
    fn counts(&self) -> bool {
        self.momentum > 0.0 && self.dampening > 0.0
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn update(&self, now: &Now, w: &Tensor, g: &Tensor, slots: &mut [Tensor]) -> Tensor {
        let g = now.penalized(w, g);
        let direction = match slots {
            [] => g,
            [momentum, ..] => {
                let new = match self.counts() {
                    false => g.clone(),
                    true => {
                        let damped = Tensor::full([], 1.0 - self.dampening, g.dtype());
                        &g * now.count().eq(1.0).select(&damped.full_like(1.0), &damped)
                    }
                };
                *momentum = &*momentum * self.momentum + new;
                if self.nesterov { g + &*momentum * self.momentum } else { momentum.clone() }
            }
        };
        w - direction * &now.rate
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "sgd",
        aliases: &["SGD"],
        peers: Peers::of("optim.SGD", "optimizers.SGD"),
        doc: "Stochastic gradient descent, with momentum where it is given.",
        params: &[
            rate(0.01),
            share("momentum", 0.0, "momentum"),
            Param::with_default("nesterov", Kind::Bool, Value::Bool(false), "Nesterov's momentum"),
            decay(0.0, "L2 penalty"),
            share("dampening", 0.0, "what the momentum leaves out of a gradient"),
        ],
    },
    slots: |args| usize::from(args.float("momentum") > 0.0),
    make: |args, vars, groups| {
        let sgd = Sgd {
            momentum: args.float("momentum"),
            dampening: args.float("dampening"),
            nesterov: args.bool("nesterov"),
            weight_decay: args.float("weight_decay"),
        };
        boxed(sgd, args, vars, groups)
    },
    samples: &[
        "lr = 0.1",
        "lr = 0.1, momentum = 0.5, dampening = 0.2, weight_decay = 1e-4",
        "lr = 0.1, momentum = 0.5, nesterov = true",
    ],
};
