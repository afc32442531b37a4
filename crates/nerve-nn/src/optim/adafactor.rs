use super::{Entry, Now, Rule, Slot, Updater, boxed, decay, rate};
use crate::params::Params;
use nerve_core::{DType, Shape, Tensor, Var};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Adaptive steps with hardly any memory: of a matrix only the mean squares of its rows and of its
/// columns are kept, whose product stands for those of the elements.
///
/// Shazeer & Stern, "Adafactor: adaptive learning rates with sublinear memory cost", 2018:
///
/// ```text
/// β = 1 − t^κ                      κ = −0.8
/// r ← β r + (1 − β) mean over columns of g²        c ← β c + (1 − β) mean over rows of g²
/// v = r cᵀ / mean(r)               (a vector keeps v itself)
/// u = g / √v,  u ← u / max(1, rms(u) / d)
/// w ← (1 − η λ) w − max(ε, rms(w)) min(η, 1/√t) u
/// ```
///
/// This is PyTorch's form: steps are relative to the size of the parameter and the rate η bounds
/// them; there is no first moment. Axes before the last two are batches of matrices. Parameter by
/// parameter, so a step is a few passes for each, not one for all.
///
/// ```
/// use nerve_nn::optim::{Adafactor, Optimizer};
/// use nerve_nn::{Params, layers::Linear};
/// let params = Params::new(1);
/// Linear::new(&params.at("fc"), 1000, 500);
/// let optimizer = Adafactor::new(&params, 1e-2);
/// let kept: usize = optimizer.slots().iter().map(|slot| slot.shape().numel()).sum();
/// assert_eq!(kept, 1000 + 500 + 500 + 1); // rows, columns, the bias, the step
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adafactor {
    /// κ, below 0.
    pub beta2_decay: f64,
    /// ε: the least size a parameter is taken to have.
    pub eps: f64,
    /// d: the largest root mean square of a step before the rate.
    pub clip: f64,
    /// λ, decoupled.
    pub weight_decay: f64,
}

impl Default for Adafactor {
    /// κ = −0.8, ε = 1e-3, d = 1, λ = 0.
    fn default() -> Self {
        Adafactor { beta2_decay: -0.8, eps: 1e-3, clip: 1.0, weight_decay: 0.0 }
    }
}

impl Adafactor {
    /// With the defaults, for all trainable parameters.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn new(params: &Params, learning_rate: f64) -> Updater<Adafactor> {
        Updater::new(Adafactor::default(), params, learning_rate)
    }

    /// The running estimate of g², from what is kept.
    fn variance(&self, g: &Tensor, new: &Tensor, slots: &mut [Tensor]) -> Tensor {
        let mix = |old: &Tensor, now: Tensor| old + (now - old) * new;
        let [rows, columns] = slots else {
            slots[0] = mix(&slots[0], g.square());
            return slots[0].clone();
        };
        *rows = mix(rows, g.square().mean_axes(&[-1], true));
        *columns = mix(columns, g.square().mean_axes(&[-2], true));
        let smallest = if g.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        // The one factor takes the division: the product of both could leave the range.
        (&*rows / rows.mean_axes(&[-2], true).maximum(smallest)) * &*columns
    }
}

impl Updater<Adafactor> {
    /// With this exponent κ, below 0: how fast the means forget less.
    #[must_use]
    pub fn beta2_decay(self, exponent: f64) -> Self {
        self.with(|rule| rule.beta2_decay = exponent)
    }

    /// With this bound d of the step.
    #[must_use]
    pub fn clip(self, clip: f64) -> Self {
        self.with(|rule| rule.clip = clip)
    }

    /// With this decay λ.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        self.with(|rule| rule.weight_decay = weight_decay)
    }
}

impl Rule for Adafactor {
    fn slots(&self, parameter: &Var) -> Vec<Slot> {
        let shape = parameter.shape();
        if shape.len() < 2 {
            return vec![Slot::like("variance", parameter)];
        }
        let without = |axis: usize| {
            let mut dims = shape.to_vec();
            dims[axis] = 1;
            Shape::from(dims)
        };
        let (last, before) = (shape.len() - 1, shape.len() - 2);
        let slot = |name, axis| Slot { shape: without(axis), ..Slot::like(name, parameter) };
        vec![slot("row_var", last), slot("col_var", before)]
    }

    fn elementwise(&self) -> bool {
        false
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn update(&self, now: &Now, w: &Tensor, g: &Tensor, slots: &mut [Tensor]) -> Tensor {
        let rms = |t: &Tensor| t.square().mean().sqrt();
        let new = (now.count().log() * self.beta2_decay).exp();
        let bound = now.rate.minimum(now.count().rsqrt());
        let step = rms(w).maximum(self.eps) * bound;
        let smallest = if g.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let variance = self.variance(g, &new, slots).maximum(smallest * smallest);
        let u = g * variance.rsqrt();
        let limit = (rms(&u) * (1.0 / self.clip)).maximum(1.0);
        now.decayed(w) - u * (step / limit)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "adafactor",
        aliases: &["Adafactor", "AdaFactor"],
        peers: Peers::of("optim.Adafactor", "optimizers.Adafactor"),
        doc: "Adaptive steps that keep rows and columns alone (Shazeer & Stern, 2018).",
        params: &[
            rate(1e-2),
            Param::with_default(
                "beta2_decay",
                Kind::float(-1.0, 0.0),
                Value::Float(-0.8),
                "exponent with which the means forget less",
            ),
            Param::with_default(
                "eps",
                Kind::positive(),
                Value::Float(1e-3),
                "the least size a parameter is taken to have",
            )
            .alias(&["epsilon_2"]),
            Param::with_default("clip", Kind::positive(), Value::Float(1.0), "bound of the step")
                .alias(&["d", "clip_threshold"]),
            decay(0.0, "share of a parameter lost at rate 1"),
        ],
    },
    slots: |_| 1,
    make: |args, vars, groups| {
        let [beta2_decay, eps, clip, weight_decay] =
            ["beta2_decay", "eps", "clip", "weight_decay"].map(|name| args.float(name));
        boxed(Adafactor { beta2_decay, eps, clip, weight_decay }, args, vars, groups)
    },
    samples: &["lr = 0.1", "lr = 0.1, clip = 2.0, beta2_decay = -0.5, weight_decay = 1e-4"],
};
