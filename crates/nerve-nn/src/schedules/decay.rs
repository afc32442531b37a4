//! Schedules that go one way.

use super::{Entry, Progress, SPAN, Schedule, Span, at_least_zero, positive, unit, whole};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// The same learning rate for all steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Constant;

impl Schedule for Constant {
    fn rate(&self, base: f64, _: Progress) -> f64 {
        base
    }
}

/// η γ^⌊t / `every`⌋.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Steps from one change to the next, at least 1.
    pub every: u64,
    /// γ.
    pub gamma: f64,
}

impl Schedule for Step {
    fn rate(&self, base: f64, at: Progress) -> f64 {
        base * self.gamma.powf((at.step / self.every.max(1)) as f64)
    }
}

/// η γ^n after n of the times `at`; a change is in force from its step on.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiStep {
    /// When the rate changes.
    pub at: Vec<u64>,
    /// γ.
    pub gamma: f64,
}

impl Schedule for MultiStep {
    fn rate(&self, base: f64, at: Progress) -> f64 {
        base * self.gamma.powf(passed(&self.at, at.step) as f64)
    }
}

fn passed(times: &[u64], step: u64) -> usize {
    times.iter().filter(|&&time| step >= time).count()
}

/// A rate for each piece of the time. From step `at[i]` on `rates[i]`, before `at[0]` the rate of
/// the optimizer. (Keras' `PiecewiseConstantDecay` counts the boundary to the piece before.)
#[derive(Clone, Debug, PartialEq)]
pub struct Piecewise {
    /// When the rate changes.
    pub at: Vec<u64>,
    /// What it becomes: one for each.
    pub rates: Vec<f64>,
}

impl Schedule for Piecewise {
    fn rate(&self, base: f64, at: Progress) -> f64 {
        match passed(&self.at, at.step).min(self.rates.len()) {
            0 => base,
            n => self.rates[n - 1],
        }
    }
}

/// η γ^(t / `every`): without jumps, where [`Step`] has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exponential {
    /// γ.
    pub gamma: f64,
    /// The time in which the rate is multiplied by γ once.
    pub every: u64,
}

impl Schedule for Exponential {
    fn rate(&self, base: f64, at: Progress) -> f64 {
        base * self.gamma.powf(at.step as f64 / self.every.max(1) as f64)
    }
}

/// η₁ + (η − η₁) (1 − t / T)^p until T, then η₁.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Polynomial {
    /// p.
    pub power: f64,
    /// η₁.
    pub end: f64,
    /// T.
    pub steps: Span,
}

impl Schedule for Polynomial {
    fn rate(&self, base: f64, at: Progress) -> f64 {
        let left = 1.0 - share(at.step as f64, self.steps.of(at.total));
        self.end + (base - self.end) * left.powf(self.power)
    }
}

/// The share of `length` that has passed, from 0 to 1.
pub(super) fn share(time: f64, length: f64) -> f64 {
    if length > 0.0 { (time / length).clamp(0.0, 1.0) } else { 1.0 }
}

/// From `from` η to `to` η in a straight line until T, and on at `to` η: a warm-up, or a cooling
/// down.
///
/// With `from` 0 the first step has rate 0, as in Keras and in the library of the transformers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// The first factor.
    pub from: f64,
    /// The last factor.
    pub to: f64,
    /// T.
    pub steps: Span,
}

impl Linear {
    /// From 0 to η in so many steps.
    pub fn warm_up(steps: impl Into<Span>) -> Linear {
        Linear { from: 0.0, to: 1.0, steps: steps.into() }
    }
}

impl Schedule for Linear {
    fn rate(&self, base: f64, at: Progress) -> f64 {
        let passed = share(at.step as f64, self.steps.of(at.total));
        base * (self.from + (self.to - self.from) * passed)
    }
}

/// η min(t / T, √(T / t)) with t counted from 1: a warm-up to η in T steps, then the inverse square
/// root.
///
/// Vaswani et al., "Attention is all you need", 2017 ("Noam"), where η is (width · T)^−½.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InverseSqrt {
    /// T.
    pub warmup: Span,
}

impl Schedule for InverseSqrt {
    fn rate(&self, base: f64, at: Progress) -> f64 {
        let (time, warmup) = ((at.step + 1) as f64, self.warmup.of(at.total).max(1.0));
        base * (time / warmup).min((warmup / time).sqrt())
    }
}

const TIMES: Kind = Kind::List { of: &Kind::int(0, 1 << 40), min_len: 1, max_len: 1000 };

pub(super) const LENGTH: Param = Param::with_default(
    "steps",
    SPAN,
    Value::Float(1.0),
    "until when; with a point: a share of all",
)
.alias(&["total_iters", "T_max", "decay_steps"]);

pub(super) static CONSTANT: Entry = Entry {
    spec: Spec {
        name: "constant",
        aliases: &["Constant"],
        peers: Peers::of("optim.lr_scheduler.ConstantLR", ""),
        doc: "The same learning rate for all steps.",
        params: &[],
    },
    build: |_| Box::new(Constant),
    samples: &[""],
};

pub(super) static STEP: Entry = Entry {
    spec: Spec {
        name: "step",
        aliases: &["StepLR"],
        peers: Peers::of("optim.lr_scheduler.StepLR", ""),
        doc: "The rate is multiplied by gamma every so often.",
        params: &[
            Param::required("every", Kind::count(), "how often").alias(&["step_size"]),
            positive("gamma", 0.1, "the factor"),
            unit("epochs"),
        ],
    },
    build: |args| Box::new(Step { every: args.usize("every") as u64, gamma: args.float("gamma") }),
    samples: &["every = 3", "every = 20, gamma = 0.5, unit = \"steps\""],
};

pub(super) static MULTI_STEP: Entry = Entry {
    spec: Spec {
        name: "multi_step",
        aliases: &["MultiStepLR"],
        peers: Peers::of("optim.lr_scheduler.MultiStepLR", ""),
        doc: "The rate is multiplied by gamma at each of some times.",
        params: &[
            Param::required("at", TIMES, "the times").alias(&["milestones"]),
            positive("gamma", 0.1, "the factor"),
            unit("epochs"),
        ],
    },
    build: |args| Box::new(MultiStep { at: whole(args, "at"), gamma: args.float("gamma") }),
    samples: &["at = [2, 3]"],
};

pub(super) static PIECEWISE: Entry = Entry {
    spec: Spec {
        name: "piecewise",
        aliases: &["PiecewiseConstantDecay"],
        peers: Peers::of("", "optimizers.schedules.PiecewiseConstantDecay"),
        doc: "The rate becomes another one at each of some times.",
        params: &[
            Param::required("at", TIMES, "the times").alias(&["boundaries"]),
            Param::required(
                "rates",
                Kind::List { of: &Kind::non_negative(), min_len: 1, max_len: 1000 },
                "what it becomes: one for each time",
            )
            .alias(&["values"]),
            unit("steps"),
        ],
    },
    build: |args| Box::new(Piecewise { at: whole(args, "at"), rates: args.floats("rates") }),
    samples: &["at = [10, 20], rates = [0.01, 0.001]"],
};

pub(super) static EXPONENTIAL: Entry = Entry {
    spec: Spec {
        name: "exponential",
        aliases: &["ExponentialLR", "ExponentialDecay"],
        peers: Peers::of(
            "optim.lr_scheduler.ExponentialLR",
            "optimizers.schedules.ExponentialDecay",
        ),
        doc: "The rate shrinks by a factor in each time.",
        params: &[
            Param::required("gamma", Kind::positive(), "the factor").alias(&["decay_rate"]),
            Param::with_default("every", Kind::count(), Value::Int(1), "the time")
                .alias(&["decay_steps"]),
            unit("epochs"),
        ],
    },
    build: |args| {
        Box::new(Exponential { gamma: args.float("gamma"), every: args.usize("every") as u64 })
    },
    samples: &["gamma = 0.9", "gamma = 0.5, every = 10, unit = \"steps\""],
};

pub(super) static POLYNOMIAL: Entry = Entry {
    spec: Spec {
        name: "polynomial",
        aliases: &["PolynomialLR", "PolynomialDecay"],
        peers: Peers::of("optim.lr_scheduler.PolynomialLR", "optimizers.schedules.PolynomialDecay"),
        doc: "The rate falls to its end along a power of the time that is left.",
        params: &[
            positive("power", 1.0, "the power"),
            at_least_zero("end", 0.0, "the last rate").alias(&["end_learning_rate"]),
            LENGTH,
            unit("steps"),
        ],
    },
    build: |args| {
        Box::new(Polynomial {
            power: args.float("power"),
            end: args.float("end"),
            steps: Span::from(args, "steps").unwrap_or(Span::ALL),
        })
    },
    samples: &["", "power = 2.0, end = 0.001, steps = 30"],
};

pub(super) static LINEAR: Entry = Entry {
    spec: Spec {
        name: "linear",
        aliases: &["linear_warmup", "LinearLR", "warmup"],
        peers: Peers::of("optim.lr_scheduler.LinearLR", ""),
        doc: "The rate goes from one factor to another in a straight line: a warm-up.",
        params: &[
            at_least_zero("from", 0.0, "the first factor").alias(&["start_factor"]),
            at_least_zero("to", 1.0, "the last factor").alias(&["end_factor"]),
            LENGTH,
            unit("steps"),
        ],
    },
    build: |args| {
        Box::new(Linear {
            from: args.float("from"),
            to: args.float("to"),
            steps: Span::from(args, "steps").unwrap_or(Span::ALL),
        })
    },
    samples: &["steps = 0.1", "from = 1.0, to = 0.1, steps = 30"],
};

pub(super) static INVERSE_SQRT: Entry = Entry {
    spec: Spec {
        name: "inverse_sqrt",
        aliases: &["noam", "InverseSquareRoot"],
        peers: Peers::NONE,
        doc: "A warm-up, then the inverse square root of the time (Vaswani et al., 2017).",
        params: &[
            Param::required("warmup", SPAN, "how long it warms up; with a point: a share of all"),
            unit("steps"),
        ],
    },
    build: |args| {
        Box::new(InverseSqrt { warmup: Span::from(args, "warmup").unwrap_or(Span::Steps(0)) })
    },
    samples: &["warmup = 10", "warmup = 0.25"],
};
