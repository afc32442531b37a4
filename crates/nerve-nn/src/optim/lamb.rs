use super::adam::{DECAYS, Moments, moment_methods};
use super::{Entry, Now, Rule, Slot, Updater, boxed, decay, eps, rate};
use crate::params::Params;
use nerve_core::{Tensor, Var};
use nerve_formats::spec::{Peers, Spec};

/// [`AdamW`](super::AdamW) whose step is as long, for each parameter, as the parameter itself times
/// the rate: for very large batches.
///
/// You et al., "Large batch optimization for deep learning: training BERT in 76 minutes", 2020:
///
/// ```text
/// m, v as in Adam, corrected
/// u = m̂ / (√v̂ + ε) + λ w
/// w ← w − η (|w| / |u|) u         (the ratio is 1 where |w| or |u| is 0)
/// ```
///
/// Lengths are taken parameter by parameter, so a step is a few passes for each, not one for all.
///
/// ```
/// use nerve_nn::optim::{Lamb, Optimizer};
/// use nerve_nn::{Params, layers::Linear};
/// let params = Params::new(1);
/// Linear::new(&params.at("fc"), 4, 2);
/// assert_eq!(Lamb::new(&params, 1e-3).weight_decay(0.01).slots().len(), 5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lamb {
    /// The decays and ε.
    pub moments: Moments,
    /// λ.
    pub weight_decay: f64,
}

impl Default for Lamb {
    /// β₁ = 0.9, β₂ = 0.999, ε = 1e-6, λ = 0.
    fn default() -> Self {
        Lamb { moments: Moments { eps: 1e-6, ..Moments::default() }, weight_decay: 0.0 }
    }
}

impl Lamb {
    /// With the defaults, for all trainable parameters.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn new(params: &Params, learning_rate: f64) -> Updater<Lamb> {
        Updater::new(Lamb::default(), params, learning_rate)
    }
}

moment_methods!(Lamb);

impl Rule for Lamb {
    fn slots(&self, parameter: &Var) -> Vec<Slot> {
        self.moments.slots(parameter)
    }

    fn elementwise(&self) -> bool {
        false
    }

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn update(&self, now: &Now, w: &Tensor, g: &Tensor, slots: &mut [Tensor]) -> Tensor {
        let [m, v] = self.moments.means(g, slots);
        let [b1, b2] = self.moments.betas;
        let divisor = (v / now.correction(b2)).sqrt() + self.moments.eps;
        let step = now.penalized(w, &(m / now.correction(b1) / divisor));
        let [of_w, of_step] = [w, &step].map(|t| t.square().sum().sqrt());
        let one = of_w.full_like(1.0);
        let ratio = (&of_w * &of_step).gt(0.0).select(&(of_w / &of_step), &one);
        w - step * (ratio * &now.rate)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "lamb",
        aliases: &["LAMB", "Lamb"],
        peers: Peers::of("", "optimizers.Lamb"),
        doc: "AdamW with steps as long as the parameter times the rate (You et al., 2020).",
        params: &[rate(1e-3), DECAYS, eps(1e-6), decay(0.0, "decay λ, inside of the step")],
    },
    slots: |_| 2,
    make: |args, vars, groups| {
        let rule = Lamb { moments: Moments::of(args), weight_decay: args.float("weight_decay") };
        boxed(rule, args, vars, groups)
    },
    samples: &["lr = 0.05", "lr = 0.05, betas = [0.8, 0.9], weight_decay = 1e-4"],
};
