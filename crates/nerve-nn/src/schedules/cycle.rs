//! Schedules that go along a wave.

use super::decay::{LENGTH, share};
use super::{Entry, Progress, SPAN, Schedule, Span, at_least_zero, positive, unit};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};
use std::f64::consts::PI;

/// From `from` to `to` along half a cosine.
fn cosine(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * share).cos()) / 2.0
}

/// A straight warm-up to η, then half a cosine down to η₁ at time T, where it stays.
///
/// Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, without the
/// restarts. T counts from the beginning, warm-up included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    /// η₁.
    pub end: f64,
    /// T.
    pub steps: Span,
    /// How long it warms up.
    pub warmup: Span,
}

impl Default for Cosine {
    /// Down to 0 at the end of the training, without warm-up.
    fn default() -> Self {
        Cosine { end: 0.0, steps: Span::ALL, warmup: Span::Steps(0) }
    }
}

impl Schedule for Cosine {
    fn rate(&self, base: f64, at: Progress) -> f64 {
        let (time, warmup) = (at.step as f64, self.warmup.of(at.total));
        if time < warmup {
            return base * time / warmup;
        }
        cosine(base, self.end, share(time - warmup, self.steps.of(at.total) - warmup))
    }
}

/// Half a cosine from η down to η₁, again and again, each `factor` times as long as the one before.
///
/// Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineRestarts {
    /// The length of the first.
    pub first: u64,
    /// How much longer each is than the one before, from 1.
    pub factor: f64,
    /// η₁.
    pub end: f64,
    /// What the top is multiplied by at each restart: 1 in PyTorch, `m_mul` in Keras.
    pub shrink: f64,
}

impl Schedule for CosineRestarts {
    fn rate(&self, base: f64, at: Progress) -> f64 {
        let (mut start, mut length, mut top) = (0.0, self.first.max(1) as f64, base);
        let time = at.step as f64;
        if self.factor <= 1.0 {
            let cycles = (time / length).floor();
            start = cycles * length;
            top *= self.shrink.powf(cycles);
        } else {
            while time >= start + length {
                start += length;
                length *= self.factor;
                top *= self.shrink;
            }
        }
        cosine(top, self.end, (time - start) / length)
    }
}

/// How a rate goes from one value to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anneal {
    /// Along half a cosine.
    Cosine,
    /// In a straight line.
    Linear,
}

/// Up from `max / div` to `max`, and down to `max / div / final_div` at the end of the training.
///
/// Smith & Topin, "Super-convergence: very fast training of neural networks using large learning
/// rates", 2019, as PyTorch has it; the momentum stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneCycle {
    /// The top; without it the rate of the optimizer.
    pub max: Option<f64>,
    /// The share of the time that goes up.
    pub up: f64,
    /// How far below the top it begins.
    pub div: f64,
    /// How far below the beginning it ends.
    pub final_div: f64,
    /// Along which line.
    pub anneal: Anneal,
    /// Whether it comes down to the beginning as fast as it went up, and from there to the end.
    pub three_phases: bool,
}

impl Default for OneCycle {
    /// PyTorch's: 30 % upwards, from 1/25 of the top, to 1/250,000, along a cosine.
    fn default() -> Self {
        OneCycle {
            max: None,
            up: 0.3,
            div: 25.0,
            final_div: 1e4,
            anneal: Anneal::Cosine,
            three_phases: false,
        }
    }
}

impl Schedule for OneCycle {
    fn rate(&self, base: f64, at: Progress) -> f64 {
        let top = self.max.unwrap_or(base);
        let (low, total) = (top / self.div, at.total as f64);
        let end = low / self.final_div;
        // Times are those of steps, of which the last is number total − 1.
        let phases = match self.three_phases {
            true => vec![
                (self.up * total - 1.0, low, top),
                (2.0 * self.up * total - 2.0, top, low),
                (total - 1.0, low, end),
            ],
            false => vec![(self.up * total - 1.0, low, top), (total - 1.0, top, end)],
        };
        let (time, mut start) = (at.step as f64, 0.0);
        for (until, from, to) in phases {
            if time <= until {
                let passed = share(time - start, until - start);
                return match self.anneal {
                    Anneal::Cosine => cosine(from, to, passed),
                    Anneal::Linear => from + (to - from) * passed,
                };
            }
            start = until;
        }
        end
    }
}

/// How the height of the waves of [`Cyclic`] changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cycle {
    /// Not at all.
    Triangular,
    /// Half of the one before.
    Triangular2,
    /// γ to the power of the step.
    ExpRange(f64),
}

/// Up from `low` to `high` in `up` steps and back in `down` steps, again and again.
///
/// Smith, "Cyclical learning rates for training neural networks", 2017.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cyclic {
    /// The lower end; without it the rate of the optimizer.
    pub low: Option<f64>,
    /// The upper end.
    pub high: f64,
    /// Steps upwards.
    pub up: u64,
    /// Steps downwards.
    pub down: u64,
    /// How the height changes.
    pub mode: Cycle,
}

impl Schedule for Cyclic {
    fn rate(&self, base: f64, at: Progress) -> f64 {
        let (up, down) = (self.up.max(1) as f64, self.down.max(1) as f64);
        let (low, time) = (self.low.unwrap_or(base), at.step as f64);
        let cycles = (time / (up + down)).floor();
        let inside = time - cycles * (up + down);
        let height = if inside <= up { inside / up } else { (up + down - inside) / down };
        let scale = match self.mode {
            Cycle::Triangular => 1.0,
            Cycle::Triangular2 => 0.5f64.powf(cycles),
            Cycle::ExpRange(gamma) => gamma.powf(time),
        };
        low + (self.high - low) * height * scale
    }
}

const END: Param = at_least_zero("end", 0.0, "the lowest rate").alias(&["eta_min", "min_lr"]);

pub(super) static COSINE: Entry = Entry {
    spec: Spec {
        name: "cosine",
        aliases: &["CosineAnnealingLR", "CosineDecay"],
        peers: Peers::of(
            "optim.lr_scheduler.CosineAnnealingLR",
            "optimizers.schedules.CosineDecay",
        ),
        doc: "A warm-up, then half a cosine down (Loshchilov & Hutter, 2017).",
        params: &[
            END,
            LENGTH,
            Param::with_default(
                "warmup",
                SPAN,
                Value::Int(0),
                "how long it warms up from 0; with a point: a share of all",
            )
            .alias(&["warmup_steps"]),
            unit("steps"),
        ],
    },
    build: |args| {
        Box::new(Cosine {
            end: args.float("end"),
            steps: Span::from(args, "steps").unwrap_or(Span::ALL),
            warmup: Span::from(args, "warmup").unwrap_or(Span::Steps(0)),
        })
    },
    samples: &["", "warmup = 0.05, end = 1e-4", "steps = 30, warmup = 5"],
};

pub(super) static COSINE_RESTARTS: Entry = Entry {
    spec: Spec {
        name: "cosine_restarts",
        aliases: &["CosineAnnealingWarmRestarts", "CosineDecayRestarts"],
        peers: Peers::of(
            "optim.lr_scheduler.CosineAnnealingWarmRestarts",
            "optimizers.schedules.CosineDecayRestarts",
        ),
        doc: "Half a cosine down, again and again (Loshchilov & Hutter, 2017).",
        params: &[
            Param::required("first", Kind::count(), "the length of the first")
                .alias(&["T_0", "first_decay_steps"]),
            Param::with_default(
                "factor",
                Kind::float(1.0, 1e6),
                Value::Float(1.0),
                "how much longer each is than the one before",
            )
            .alias(&["T_mult", "t_mul"]),
            END,
            positive("shrink", 1.0, "the factor of the top at each restart").alias(&["m_mul"]),
            unit("steps"),
        ],
    },
    build: |args| {
        Box::new(CosineRestarts {
            first: args.usize("first") as u64,
            factor: args.float("factor"),
            end: args.float("end"),
            shrink: args.float("shrink"),
        })
    },
    samples: &["first = 10", "first = 5, factor = 2.0, end = 1e-3, shrink = 0.9"],
};

pub(super) static ONE_CYCLE: Entry = Entry {
    spec: Spec {
        name: "one_cycle",
        aliases: &["OneCycleLR"],
        peers: Peers::of("optim.lr_scheduler.OneCycleLR", ""),
        doc: "Up to a high rate, and down to nearly nothing (Smith & Topin, 2019).",
        params: &[
            Param::optional("max_lr", Kind::positive(), "the top; without it the optimizer's rate"),
            Param::with_default("up", Kind::fraction(), Value::Float(0.3), "the share upwards")
                .alias(&["pct_start"]),
            positive("div", 25.0, "how far below the top it begins").alias(&["div_factor"]),
            positive("final_div", 1e4, "how far below the beginning it ends")
                .alias(&["final_div_factor"]),
            Param::with_default(
                "anneal",
                Kind::Choice(&["cosine", "linear"]),
                Value::text("cosine"),
                "along which line",
            )
            .alias(&["anneal_strategy"]),
            Param::with_default(
                "three_phases",
                Kind::Bool,
                Value::Bool(false),
                "down to the beginning as fast as up, then to the end",
            )
            .alias(&["three_phase"]),
        ],
    },
    build: |args| {
        Box::new(OneCycle {
            max: args.has("max_lr").then(|| args.float("max_lr")),
            up: args.float("up"),
            div: args.float("div"),
            final_div: args.float("final_div"),
            anneal: match args.text("anneal") {
                "linear" => Anneal::Linear,
                _ => Anneal::Cosine,
            },
            three_phases: args.bool("three_phases"),
        })
    },
    samples: &["", "max_lr = 3e-3, up = 0.4, anneal = \"linear\", three_phases = true"],
};

pub(super) static CYCLIC: Entry = Entry {
    spec: Spec {
        name: "cyclic",
        aliases: &["CyclicLR"],
        peers: Peers::of("optim.lr_scheduler.CyclicLR", ""),
        doc: "Up and down between two rates, again and again (Smith, 2017).",
        params: &[
            Param::optional("low", Kind::positive(), "the lower; without it the optimizer's rate")
                .alias(&["base_lr"]),
            Param::required("high", Kind::positive(), "the upper").alias(&["max_lr"]),
            Param::with_default("up", Kind::count(), Value::Int(2000), "how long upwards")
                .alias(&["step_size_up"]),
            Param::optional("down", Kind::count(), "how long downwards; without it as upwards")
                .alias(&["step_size_down"]),
            Param::with_default(
                "mode",
                Kind::Choice(&["triangular", "triangular2", "exp_range"]),
                Value::text("triangular"),
                "the height: the same, half of the one before, or gamma to the power of the time",
            ),
            positive("gamma", 1.0, "of exp_range"),
            unit("steps"),
        ],
    },
    build: |args| {
        let up = args.usize("up") as u64;
        Box::new(Cyclic {
            low: args.has("low").then(|| args.float("low")),
            high: args.float("high"),
            up,
            down: if args.has("down") { args.usize("down") as u64 } else { up },
            mode: match args.text("mode") {
                "triangular2" => Cycle::Triangular2,
                "exp_range" => Cycle::ExpRange(args.float("gamma")),
                _ => Cycle::Triangular,
            },
        })
    },
    samples: &[
        "high = 0.1, up = 5",
        "low = 0.01, high = 0.1, up = 4, down = 6, mode = \"exp_range\", gamma = 0.9",
    ],
};
