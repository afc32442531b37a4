//! Schedules made of schedules.

use super::{Entry, KIND, Progress, SPAN, Schedule, Span, build, unit};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// A schedule whose times are epochs: its rate changes between epochs only.
///
/// ```
/// use nerve_nn::schedules::{InEpochs, Progress, Schedule, Step};
/// let schedule = InEpochs(Step { every: 2, gamma: 0.5 });
/// let at = |step| Progress { step, total: 100, epoch: 10 };
/// assert_eq!([0, 19, 20].map(|step| schedule.rate(1.0, at(step))), [1.0, 1.0, 0.5]);
/// ```
pub struct InEpochs<S>(pub S);

impl<S: Schedule> Schedule for InEpochs<S> {
    fn rate(&self, base: f64, at: Progress) -> f64 {
        let epoch = at.epoch.max(1);
        let (step, total) = (at.step / epoch, at.total.div_ceil(epoch));
        self.0.rate(base, Progress { step, total, epoch: 1 })
    }

    fn observe(&self, scores: &[(&str, f64)]) {
        self.0.observe(scores);
    }

    fn state(&self) -> Vec<f64> {
        self.0.state()
    }

    fn restore(&self, state: &[f64]) {
        self.0.restore(state);
    }
}

impl Schedule for Box<dyn Schedule> {
    fn rate(&self, base: f64, at: Progress) -> f64 {
        (**self).rate(base, at)
    }

    fn observe(&self, scores: &[(&str, f64)]) {
        (**self).observe(scores);
    }

    fn state(&self) -> Vec<f64> {
        (**self).state()
    }

    fn restore(&self, state: &[f64]) {
        (**self).restore(state);
    }
}

/// Schedules one after the other. Each begins at step 0 and takes for the whole training what there
/// is until the next begins.
///
/// ```
/// use nerve_nn::schedules::{Cosine, Linear, Progress, Schedule, Sequence};
/// let schedule = Sequence::new(Box::new(Linear::warm_up(10))).then(10, Box::new(Cosine::default()));
/// let at = |step| Progress { step, total: 110, epoch: 10 };
/// assert_eq!([0, 5, 10].map(|step| schedule.rate(1.0, at(step))), [0.0, 0.5, 1.0]);
/// assert!((schedule.rate(1.0, at(60)) - 0.5).abs() < 1e-12);
/// ```
pub struct Sequence {
    parts: Vec<(Span, Box<dyn Schedule>)>,
}

impl Sequence {
    /// Begins with this one.
    pub fn new(first: Box<dyn Schedule>) -> Sequence {
        Sequence { parts: vec![(Span::Steps(0), first)] }
    }

    /// From this time on, counted from the beginning, with another one.
    #[must_use]
    pub fn then(mut self, at: impl Into<Span>, next: Box<dyn Schedule>) -> Sequence {
        self.parts.push((at.into(), next));
        self
    }
}

impl Schedule for Sequence {
    fn rate(&self, base: f64, at: Progress) -> f64 {
        let start = |i: usize| self.parts[i].0.of(at.total).round() as u64;
        let now = (0..self.parts.len()).rev().find(|&i| at.step >= start(i)).unwrap_or(0);
        let end = if now + 1 < self.parts.len() { start(now + 1) } else { at.total };
        let begin = start(now);
        let (step, total) = (at.step - begin.min(at.step), end.saturating_sub(begin));
        self.parts[now].1.rate(base, Progress { step, total, epoch: at.epoch })
    }

    fn observe(&self, scores: &[(&str, f64)]) {
        self.parts.iter().for_each(|(_, part)| part.observe(scores));
    }

    fn state(&self) -> Vec<f64> {
        let with_length = |(_, part): &(Span, Box<dyn Schedule>)| {
            let state = part.state();
            std::iter::once(state.len() as f64).chain(state).collect::<Vec<f64>>()
        };
        self.parts.iter().flat_map(with_length).collect()
    }

    fn restore(&self, mut state: &[f64]) {
        for (_, part) in &self.parts {
            let Some((&length, rest)) = state.split_first() else { return };
            let (own, others) = rest.split_at((length as usize).min(rest.len()));
            part.restore(own);
            state = others;
        }
    }
}

fn sequence(args: &Args) -> Box<dyn Schedule> {
    let list = |name| match args.get(name) {
        Some(Value::List(values)) => values.to_vec(),
        _ => Vec::new(),
    };
    let parts = list("parts").into_iter().filter_map(|value| match value {
        Value::Item(item) => Some(build(&item)),
        _ => None,
    });
    let times = list("at").into_iter().map(|value| match value {
        Value::Float(share) => Span::Share(share),
        Value::Int(steps) => Span::Steps(steps as u64),
        _ => Span::Steps(0),
    });
    let times = std::iter::once(Span::Steps(0)).chain(times);
    Box::new(Sequence { parts: times.zip(parts).collect() })
}

pub(super) static SEQUENCE: Entry = Entry {
    spec: Spec {
        name: "sequence",
        aliases: &["SequentialLR"],
        peers: Peers::of("optim.lr_scheduler.SequentialLR", ""),
        doc: "Schedules one after the other; each takes its part for the whole training.",
        params: &[
            Param::required(
                "parts",
                Kind::List { of: &KIND, min_len: 1, max_len: 100 },
                "the schedules",
            )
            .alias(&["schedulers"]),
            Param::required(
                "at",
                Kind::List { of: &SPAN, min_len: 0, max_len: 99 },
                "when the second and each further one begins; with a point: a share of all",
            )
            .alias(&["milestones"]),
            unit("steps"),
        ],
    },
    build: sequence,
    samples: &[
        "parts = [{ type = \"linear\", steps = 1.0 }, \"cosine\"], at = [10]",
        "parts = [\"constant\", \"plateau\", { type = \"step\", every = 1 }], at = [0.25, 0.5], \
         unit = \"epochs\"",
    ],
};
