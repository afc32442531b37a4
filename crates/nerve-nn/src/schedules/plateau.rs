use super::{Entry, Progress, Schedule, at_least_zero};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Reduces the rate when a score has not become better for some epochs.
///
/// After each epoch the score is compared with the best so far; better means by more than the share
/// `threshold` of it. After more than `patience` epochs that were not better, the rate is multiplied
/// by `factor`, and `cooldown` epochs pass before epochs are counted again: PyTorch's
/// `ReduceLROnPlateau`. (Keras compares by an amount, `min_delta`, not a share.)
///
/// ```
/// use nerve_nn::schedules::{Plateau, Progress, Schedule};
/// let plateau = Plateau { patience: 1, ..Plateau::default() };
/// let at = Progress { step: 0, total: 100, epoch: 10 };
/// for loss in [1.0, 0.5, 0.6] {
///     plateau.observe(&[("val_loss", loss)]);
/// }
/// assert_eq!(plateau.rate(0.1, at), 0.1);
/// plateau.observe(&[("val_loss", 0.7)]); // the second that is not better
/// assert!((plateau.rate(0.1, at) - 0.01).abs() < 1e-12);
/// ```
#[derive(Debug)]
pub struct Plateau {
    /// The name of the score; without it `val_loss`, or `loss` where there is no validation.
    pub metric: Option<String>,
    /// Whether a larger score is better.
    pub larger_is_better: bool,
    /// What the rate is multiplied by.
    pub factor: f64,
    /// How many epochs may pass without a better score.
    pub patience: u64,
    /// By which share a score has to be better.
    pub threshold: f64,
    /// Epochs after a change in which nothing is counted.
    pub cooldown: u64,
    /// The least rate.
    pub min: f64,
    /// What it has seen.
    pub seen: Seen,
}

/// What a [`Plateau`] has seen so far.
#[derive(Debug, Default)]
pub struct Seen(Mutex<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    best: f64,
    bad: u64,
    cooling: u64,
    reductions: u64,
}

impl Default for State {
    fn default() -> State {
        State { best: f64::NAN, bad: 0, cooling: 0, reductions: 0 }
    }
}

impl Default for Plateau {
    /// A tenth after 10 epochs without a loss that is better by 0.01 %.
    fn default() -> Self {
        Plateau {
            metric: None,
            larger_is_better: false,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            cooldown: 0,
            min: 0.0,
            seen: Seen::default(),
        }
    }
}

impl Plateau {
    fn state(&self) -> MutexGuard<'_, State> {
        self.seen.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[track_caller]
    fn score(&self, scores: &[(&str, f64)]) -> f64 {
        let find = |name: &str| scores.iter().find(|(known, _)| *known == name).map(|s| s.1);
        let found = match &self.metric {
            Some(name) => find(name),
            None => find("val_loss").or_else(|| find("loss")),
        };
        found.unwrap_or_else(|| {
            let known: Vec<&str> = scores.iter().map(|(name, _)| *name).collect();
            let name = self.metric.as_deref().unwrap_or("loss");
            panic!("the schedule follows `{name}`; there are {}", known.join(", "))
        })
    }

    /// What the reductions so far make of a rate.
    fn reduced(&self, base: f64, reductions: u64) -> f64 {
        // One after the other, because none goes below the least rate, or changes next to nothing.
        (0..reductions).fold(base, |rate, _| {
            let next = (rate * self.factor).max(self.min);
            if rate - next > 1e-8 { next } else { rate }
        })
    }
}

impl Schedule for Plateau {
    fn rate(&self, base: f64, _: Progress) -> f64 {
        self.reduced(base, self.state().reductions)
    }

    fn observe(&self, scores: &[(&str, f64)]) {
        let score = self.score(scores);
        let mut state = self.state();
        let better = match self.larger_is_better {
            _ if state.best.is_nan() => true,
            true => score > state.best * (1.0 + self.threshold),
            false => score < state.best * (1.0 - self.threshold),
        };
        match better {
            true => (state.best, state.bad) = (score, 0),
            false => state.bad += 1,
        }
        if state.cooling > 0 {
            (state.cooling, state.bad) = (state.cooling - 1, 0);
        }
        if state.bad > self.patience {
            state.reductions += 1;
            (state.cooling, state.bad) = (self.cooldown, 0);
        }
    }

    fn state(&self) -> Vec<f64> {
        let State { best, bad, cooling, reductions } = *Plateau::state(self);
        vec![best, bad as f64, cooling as f64, reductions as f64]
    }

    fn restore(&self, state: &[f64]) {
        if let [best, bad, cooling, reductions] = *state {
            let [bad, cooling, reductions] = [bad, cooling, reductions].map(|n| n as u64);
            *Plateau::state(self) = State { best, bad, cooling, reductions };
        }
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "plateau",
        aliases: &["ReduceLROnPlateau", "reduce_on_plateau"],
        peers: Peers::of("optim.lr_scheduler.ReduceLROnPlateau", "callbacks.ReduceLROnPlateau"),
        doc: "The rate is reduced when a score has not become better for some epochs.",
        params: &[
            Param::optional(
                "metric",
                Kind::Text,
                "the score; without it val_loss, or loss without a validation",
            )
            .alias(&["monitor"]),
            Param::with_default(
                "mode",
                Kind::Choice(&["min", "max"]),
                Value::text("min"),
                "which scores are better: small or large ones",
            ),
            Param::with_default("factor", Kind::fraction(), Value::Float(0.1), "the factor"),
            Param::with_default(
                "patience",
                Kind::int(0, 1 << 30),
                Value::Int(10),
                "how many epochs may pass without a better score",
            ),
            at_least_zero("threshold", 1e-4, "by which share a score has to be better"),
            Param::with_default(
                "cooldown",
                Kind::int(0, 1 << 30),
                Value::Int(0),
                "epochs after a change that are not counted",
            ),
            at_least_zero("min", 0.0, "the least rate").alias(&["min_lr"]),
        ],
    },
    build: |args| {
        Box::new(Plateau {
            metric: args.has("metric").then(|| args.text("metric").to_string()),
            larger_is_better: args.text("mode") == "max",
            factor: args.float("factor"),
            patience: args.usize("patience") as u64,
            threshold: args.float("threshold"),
            cooldown: args.usize("cooldown") as u64,
            min: args.float("min"),
            seen: Seen::default(),
        })
    },
    samples: &["", "metric = \"accuracy\", mode = \"max\", patience = 1, cooldown = 1, min = 1e-5"],
};
