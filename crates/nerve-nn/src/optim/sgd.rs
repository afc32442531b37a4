use super::{Entry, Group, Optimizer, decay, rate};
use crate::params::Params;
use nerve_core::{Arena, Tensor, Var};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Stochastic gradient descent, with momentum where it is asked for.
///
/// Robbins & Monro, "A stochastic approximation method", 1951; momentum: Polyak, 1964; Nesterov's
/// form: Sutskever et al., "On the importance of initialization and momentum in deep learning",
/// 2013. With parameters w, gradients g, momentum μ, decay λ and rate η:
///
/// ```text
/// g ← g + λ w
/// m ← μ m + g
/// w ← w − η m             or, with Nesterov,  w ← w − η (g + μ m)
/// ```
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
pub struct Sgd {
    group: Group,
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
    buffer: Option<Arena>,
}

impl Sgd {
    /// Plain gradient descent of all trainable parameters.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn new(params: &Params, learning_rate: f64) -> Sgd {
        Sgd {
            group: Group::new(params, learning_rate),
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            buffer: None,
        }
    }

    /// With momentum μ, from 0 to below 1.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Sgd {
        self.buffer = (momentum > 0.0).then(|| self.group.slot("momentum"));
        Sgd { momentum, ..self }
    }

    /// With Nesterov's form of the momentum.
    #[must_use]
    pub fn nesterov(self, nesterov: bool) -> Sgd {
        Sgd { nesterov, ..self }
    }

    /// With weight decay λ: the gradient of λ/2 · |w|².
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Sgd {
        Sgd { weight_decay, ..self }
    }
}

impl Optimizer for Sgd {
    fn group(&self) -> &Group {
        &self.group
    }

    fn step(&self, gradients: &[Tensor]) {
        let (w, mut g) = (self.group.whole().get(), self.group.gather(gradients));
        if self.weight_decay > 0.0 {
            g = g + &w * self.weight_decay;
        }
        let direction = match &self.buffer {
            None => g,
            Some(buffer) => {
                let m = buffer.var().get() * self.momentum + &g;
                buffer.var().set(m.clone());
                if self.nesterov { g + m * self.momentum } else { m }
            }
        };
        self.group.whole().set(w - direction * self.group.rate());
    }

    fn slots(&self) -> Vec<Var> {
        self.buffer.iter().flat_map(|buffer| buffer.parts().to_vec()).collect()
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
            Param::with_default("momentum", Kind::fraction(), Value::Float(0.0), "momentum"),
            Param::with_default("nesterov", Kind::Bool, Value::Bool(false), "Nesterov's momentum"),
            decay(0.0, "L2 penalty"),
        ],
    },
    slots: |args| usize::from(args.float("momentum") > 0.0),
    make: |args, params| {
        let sgd = Sgd::new(params, args.float("lr"))
            .momentum(args.float("momentum"))
            .nesterov(args.bool("nesterov"))
            .weight_decay(args.float("weight_decay"));
        Box::new(sgd)
    },
};
