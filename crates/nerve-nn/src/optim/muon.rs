use super::adam::Moments;
use super::{Entry, Now, Rule, Slot, Updater, boxed, decay, rate, share};
use crate::params::Params;
use crate::pattern;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// Momentum made orthogonal: every direction of a matrix is stepped along by the same length.
///
/// Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. For a matrix w
/// (of a convolution, all axes behind the first are columns), with momentum μ:
///
/// ```text
/// m ← μ m + (1 − μ) g             u = (1 − μ) g + μ m   (Nesterov), else  u = m
/// o = U Vᵀ of u = U S Vᵀ, by five Newton–Schulz steps  x ← a x + (b A + c A²) x,  A = x xᵀ
/// w ← (1 − η λ) w − η √max(1, rows / columns) o
/// ```
///
/// What is no matrix (biases, scales), and what `exclude` names, is stepped by
/// [`AdamW`](super::AdamW) at the rate η · `adam_lr_factor`; embeddings and the last layer belong
/// there too, says the paper. The coefficients a, b, c are the paper's: singular values end between
/// 0.7 and 1.2, not at 1. The iteration runs in the type of the parameters, where PyTorch has bf16,
/// and costs about 15 products of matrices for each parameter and step.
///
/// ```
/// use nerve_nn::optim::{Muon, Optimizer};
/// use nerve_nn::{Params, layers::Linear};
/// let params = Params::new(1);
/// Linear::new(&params.at("body"), 4, 8);
/// Linear::new(&params.at("head"), 8, 2);
/// let muon = Muon::new(&params, 0.02).exclude(&["head"]);
/// let names: Vec<String> = muon.slots().iter().map(|slot| slot.name().to_string()).collect();
/// assert_eq!(names[..3], ["momentum.body.weight", "exp_avg.body.bias", "exp_avg_sq.body.bias"]);
/// assert_eq!(names[3], "exp_avg.head.weight");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Muon {
    /// μ.
    pub momentum: f64,
    /// Whether in Nesterov's form.
    pub nesterov: bool,
    /// λ, decoupled.
    pub weight_decay: f64,
    /// Steps of the iteration.
    pub steps: usize,
    /// Patterns of matrices that are stepped by AdamW.
    pub exclude: Vec<String>,
    /// What the rate of AdamW is of that of Muon.
    pub adam_lr_factor: f64,
    /// The decays and ε of AdamW.
    pub moments: Moments,
}

impl Default for Muon {
    /// μ = 0.95 in Nesterov's form, λ = 0.1, 5 steps, nothing excluded; AdamW at the same rate.
    fn default() -> Self {
        Muon {
            momentum: 0.95,
            nesterov: true,
            weight_decay: 0.1,
            steps: 5,
            exclude: Vec::new(),
            adam_lr_factor: 1.0,
            moments: Moments::default(),
        }
    }
}

impl Muon {
    /// With the defaults, for all trainable parameters.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn new(params: &Params, learning_rate: f64) -> Updater<Muon> {
        Updater::new(Muon::default(), params, learning_rate)
    }

    fn is_matrix(&self, parameter: &Var) -> bool {
        let excluded = |p: &String| pattern::matches(p, parameter.name());
        parameter.shape().len() >= 2 && !self.exclude.iter().any(excluded)
    }

    /// The nearest matrix with singular values near 1, by Newton–Schulz.
    fn orthogonal(&self, u: &Tensor) -> Tensor {
        const COEFFICIENTS: [f64; 3] = [3.4445, -4.775, 2.0315];
        let [a, b, c] = COEFFICIENTS;
        let tall = u.shape()[0] > u.shape()[1];
        // Products of the shorter side are cheaper.
        let mut x = if tall { u.t() } else { u.clone() };
        x = &x / x.square().sum().sqrt().maximum(1e-7);
        for _ in 0..self.steps {
            let gram = x.matmul(&x.t());
            let mixed = &gram * b + gram.matmul(&gram) * c;
            x = &x * a + mixed.matmul(&x);
        }
        if tall { x.t() } else { x }
    }
}

impl Updater<Muon> {
    /// With momentum μ.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        self.with(|rule| rule.momentum = momentum)
    }

    /// With this decay λ.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        self.with(|rule| rule.weight_decay = weight_decay)
    }

    /// With these parameters left to AdamW, beside those that are no matrices.
    #[must_use]
    pub fn exclude(self, patterns: &[&str]) -> Self {
        self.with(|rule| rule.exclude = patterns.iter().map(|p| p.to_string()).collect())
    }

    /// With this rate of AdamW, as a factor of the rate.
    #[must_use]
    pub fn adam_lr_factor(self, factor: f64) -> Self {
        self.with(|rule| rule.adam_lr_factor = factor)
    }
}

impl Rule for Muon {
    fn slots(&self, parameter: &Var) -> Vec<Slot> {
        match self.is_matrix(parameter) {
            true => vec![Slot::like("momentum", parameter)],
            false => self.moments.slots(parameter),
        }
    }

    fn elementwise(&self) -> bool {
        false
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn update(&self, now: &Now, w: &Tensor, g: &Tensor, slots: &mut [Tensor]) -> Tensor {
        let [momentum] = slots else {
            let slower = now.with_rate(&now.rate * self.adam_lr_factor);
            return slower.decayed(w) - self.moments.step(&slower, g, slots);
        };
        let mu = self.momentum;
        *momentum = &*momentum * mu + g * (1.0 - mu);
        let u = if self.nesterov { g * (1.0 - mu) + &*momentum * mu } else { momentum.clone() };
        let rows = w.shape()[0];
        let columns = w.numel() / rows;
        let o = self.orthogonal(&u.reshape([rows, columns])).reshape(w.shape());
        let size = (rows as f64 / columns as f64).max(1.0).sqrt();
        now.decayed(w) - o * (&now.rate * size)
    }
}

fn muon(args: &Args) -> Muon {
    Muon {
        momentum: args.float("momentum"),
        nesterov: args.bool("nesterov"),
        weight_decay: args.float("weight_decay"),
        steps: args.usize("steps"),
        exclude: args.texts("exclude"),
        adam_lr_factor: args.float("adam_lr_factor"),
        moments: Moments::default(),
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "muon",
        aliases: &["Muon"],
        peers: Peers::of("optim.Muon", "optimizers.Muon"),
        doc: "Momentum made orthogonal, for matrices; AdamW for the rest (Jordan et al., 2024).",
        params: &[
            rate(1e-3),
            share("momentum", 0.95, "momentum"),
            Param::with_default("nesterov", Kind::Bool, Value::Bool(true), "Nesterov's momentum"),
            decay(0.1, "share of a parameter lost at rate 1"),
            Param::with_default("steps", Kind::int(1, 99), Value::Int(5), "Newton–Schulz steps")
                .alias(&["ns_steps"]),
            Param::with_default(
                "exclude",
                Kind::List { of: &Kind::Text, min_len: 0, max_len: 1000 },
                Value::list(&[]),
                "patterns of matrices that are left to AdamW",
            ),
            Param::with_default(
                "adam_lr_factor",
                Kind::positive(),
                Value::Float(1.0),
                "the rate of AdamW is the rate times this",
            ),
        ],
    },
    slots: |_| 2,
    make: |args, vars, groups| boxed(muon(args), args, vars, groups),
    samples: &[
        "lr = 0.05, weight_decay = 0.0",
        "lr = 0.05, momentum = 0.5, nesterov = false, weight_decay = 0.01, exclude = [\"*.v\"]",
    ],
};
