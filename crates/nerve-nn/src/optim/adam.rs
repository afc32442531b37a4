use super::{Entry, Group, Optimizer, decay, rate};
use crate::params::Params;
use nerve_core::{Arena, Tensor, Var};
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
pub struct Adam {
    moments: Moments,
    weight_decay: f64,
}

/// [`Adam`] with a weight decay that does not pass through the moments: w ← (1 − η λ) w before the
/// step.
///
/// Loshchilov & Hutter, "Decoupled weight decay regularization", 2019.
pub struct AdamW {
    moments: Moments,
    weight_decay: f64,
}

/// What the two have in common.
struct Moments {
    group: Group,
    betas: [f64; 2],
    eps: f64,
    /// The mean of the gradient.
    first: Arena,
    /// The mean of its square.
    second: Arena,
    /// The number of steps. As a float it stays at 2²⁴ (f32) once it gets there, where the
    /// corrections have long been 1.
    count: Var,
}

impl Moments {
    #[track_caller]
    fn new(params: &Params, learning_rate: f64) -> Moments {
        let group = Group::new(params, learning_rate);
        Moments {
            betas: [0.9, 0.999],
            eps: 1e-8,
            first: group.slot("exp_avg"),
            second: group.slot("exp_avg_sq"),
            count: group.counter("step"),
            group,
        }
    }

    /// What is to be subtracted from the parameters: η m̂ / (√v̂ + ε).
    fn update(&self, g: &Tensor) -> Tensor {
        let count = self.count.get() + 1.0;
        self.count.set(count.clone());
        let [b1, b2] = self.betas;
        // 1 − βᵗ without cancellation: for t = 1 and β₂ = 0.999 a power would lose three digits.
        let correction = |beta: f64| -(&count * beta.ln()).expm1();
        let m = self.first.var().get() * b1 + g * (1.0 - b1);
        let v = self.second.var().get() * b2 + g.square() * (1.0 - b2);
        self.first.var().set(m.clone());
        self.second.var().set(v.clone());
        // Both sides of the fraction times the root of the second correction, so that all that is
        // the same for each parameter is one factor and one summand.
        let root = correction(b2).sqrt();
        let factor = self.group.rate() * &root / correction(b1);
        m * factor / (v.sqrt() + root * self.eps)
    }

    fn slots(&self) -> Vec<Var> {
        [self.first.parts(), self.second.parts(), std::slice::from_ref(&self.count)].concat()
    }

    fn with(mut self, args: &Args) -> Moments {
        let betas = args.floats("betas");
        (self.betas, self.eps) = ([betas[0], betas[1]], args.float("eps"));
        self
    }
}

impl Adam {
    /// With β₁ = 0.9, β₂ = 0.999, ε = 1e-8, without a penalty, for all trainable parameters.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn new(params: &Params, learning_rate: f64) -> Adam {
        Adam { moments: Moments::new(params, learning_rate), weight_decay: 0.0 }
    }

    /// With these decays, each from 0 to below 1.
    #[must_use]
    pub fn betas(mut self, first: f64, second: f64) -> Adam {
        self.moments.betas = [first, second];
        self
    }

    /// With this ε, which bounds the steps where gradients are tiny.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Adam {
        self.moments.eps = eps;
        self
    }

    /// With a penalty: the gradient of λ/2 · |w|².
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Adam {
        Adam { weight_decay, ..self }
    }
}

impl AdamW {
    /// With β₁ = 0.9, β₂ = 0.999, ε = 1e-8, λ = 0.01, for all trainable parameters.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn new(params: &Params, learning_rate: f64) -> AdamW {
        AdamW { moments: Moments::new(params, learning_rate), weight_decay: 0.01 }
    }

    /// With these decays, each from 0 to below 1.
    #[must_use]
    pub fn betas(mut self, first: f64, second: f64) -> AdamW {
        self.moments.betas = [first, second];
        self
    }

    /// With this ε, which bounds the steps where gradients are tiny.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> AdamW {
        self.moments.eps = eps;
        self
    }

    /// With this decay λ.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> AdamW {
        AdamW { weight_decay, ..self }
    }
}

impl Optimizer for Adam {
    fn group(&self) -> &Group {
        &self.moments.group
    }

    fn step(&self, gradients: &[Tensor]) {
        let group = self.group();
        let (w, mut g) = (group.whole().get(), group.gather(gradients));
        if self.weight_decay > 0.0 {
            g = g + &w * self.weight_decay;
        }
        group.whole().set(w - self.moments.update(&g));
    }

    fn slots(&self) -> Vec<Var> {
        self.moments.slots()
    }
}

impl Optimizer for AdamW {
    fn group(&self) -> &Group {
        &self.moments.group
    }

    fn step(&self, gradients: &[Tensor]) {
        let group = self.group();
        let (w, g) = (group.whole().get(), group.gather(gradients));
        let kept = 1.0 - group.rate() * self.weight_decay;
        group.whole().set(w * kept - self.moments.update(&g));
    }

    fn slots(&self) -> Vec<Var> {
        self.moments.slots()
    }
}

// Named, because a value with a destructor cannot be promoted out of an expression.
static BETAS: [Value; 2] = [Value::Float(0.9), Value::Float(0.999)];

const DECAYS: Param = Param::with_default(
    "betas",
    Kind::List { of: &Kind::fraction(), min_len: 2, max_len: 2 },
    Value::list(&BETAS),
    "decay of the two moments",
);

const EPS: Param =
    Param::with_default("eps", Kind::positive(), Value::Float(1e-8), "against division by zero")
        .alias(&["epsilon"]);

pub(super) static ADAM: Entry = Entry {
    spec: Spec {
        name: "adam",
        aliases: &["Adam"],
        peers: Peers::of("optim.Adam", "optimizers.Adam"),
        doc: "Steps of a size that adapts to each parameter (Kingma & Ba, 2015).",
        params: &[rate(1e-3), DECAYS, EPS, decay(0.0, "L2 penalty")],
    },
    slots: |_| 2,
    make: |args, params| {
        let moments = Moments::new(params, args.float("lr")).with(args);
        Box::new(Adam { moments, weight_decay: args.float("weight_decay") })
    },
};

pub(super) static ADAM_W: Entry = Entry {
    spec: Spec {
        name: "adamw",
        aliases: &["AdamW"],
        peers: Peers::of("optim.AdamW", "optimizers.AdamW"),
        doc: "Adam with a weight decay of its own (Loshchilov & Hutter, 2019).",
        params: &[rate(1e-3), DECAYS, EPS, decay(0.01, "share of a parameter lost at rate 1")],
    },
    slots: |_| 2,
    make: |args, params| {
        let moments = Moments::new(params, args.float("lr")).with(args);
        Box::new(AdamW { moments, weight_decay: args.float("weight_decay") })
    },
};
