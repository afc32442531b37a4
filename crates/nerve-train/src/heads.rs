//! What a network is trained for: its outputs, each with a loss and metrics.

use crate::metrics::Metric;
use nerve_core::{DType, Shape, Tensor};
use nerve_nn::losses::{Loss, Target, Terms};
use std::sync::atomic::{AtomicBool, Ordering};

/// One output of a network: what it should give, and how that is judged.
///
/// The loss of a network is the sum of the losses of its heads, each times its weight. With several
/// heads the loss and the metrics of each are reported under its name: `price.loss`, `price.mae`;
/// with one head the metrics have their own names.
pub struct Head<'a> {
    /// Its name in tables.
    pub name: String,
    /// What is minimised.
    pub loss: Box<dyn Loss + 'a>,
    /// What is reported.
    pub metrics: Vec<Box<dyn Metric>>,
    /// The share of its loss in that of the network.
    pub weight: f64,
}

impl<'a> Head<'a> {
    /// A head of weight 1 without metrics.
    pub fn new(name: impl Into<String>, loss: impl Loss + 'a) -> Head<'a> {
        Head { name: name.into(), loss: Box::new(loss), metrics: Vec::new(), weight: 1.0 }
    }

    pub(crate) fn view(&self) -> View<'_> {
        let Head { name, loss, metrics, weight } = self;
        View { name, loss: &**loss, metrics, weight: *weight }
    }
}

/// A head that belongs to somebody else.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub name: &'a str,
    pub loss: &'a dyn Loss,
    pub metrics: &'a [Box<dyn Metric>],
    pub weight: f64,
}

/// All heads, and all that is reported of them.
pub(crate) struct Heads<'a> {
    heads: Vec<View<'a>>,
    /// In the order of their names.
    scores: Vec<Score<'a>>,
    weighted: bool,
    /// For each head whether its targets were found to be probabilities of each class.
    soft: Vec<AtomicBool>,
}

/// Something that is reported.
#[derive(Clone, Copy)]
pub(crate) struct Score<'a> {
    /// Of which head.
    pub head: usize,
    /// The loss of the head if there is none.
    pub metric: Option<&'a dyn Metric>,
}

impl<'a> Heads<'a> {
    #[track_caller]
    pub fn new(heads: Vec<View<'a>>, weighted: bool) -> Heads<'a> {
        assert!(!heads.is_empty(), "a network is trained for one head or more");
        let several = heads.len() > 1;
        let of = |(head, view): (usize, &View<'a>)| {
            let metrics: &'a [Box<dyn Metric>] = view.metrics;
            let loss = several.then_some(Score { head, metric: None });
            let metrics = metrics.iter().map(move |m| Score { head, metric: Some(&**m) });
            loss.into_iter().chain(metrics)
        };
        let scores = heads.iter().enumerate().flat_map(of).collect();
        let soft = heads.iter().map(|_| AtomicBool::new(false)).collect();
        Heads { heads, scores, weighted, soft }
    }

    pub fn scores(&self) -> &[Score<'a>] {
        &self.scores
    }

    /// The same heads, with weights of the examples or without.
    pub fn weighted(&self, weighted: bool) -> Heads<'a> {
        Heads::new(self.heads.clone(), weighted)
    }

    /// How many fields of the data are used: the inputs, the targets, and perhaps the weights; and
    /// the same in words.
    pub fn used(&self, inputs: usize) -> (usize, String) {
        let count = |n: usize, what: &str| match n {
            1 => format!("the {what}"),
            n => format!("{n} {what}s"),
        };
        let weights = if self.weighted { ", and the weights of the examples" } else { "" };
        let heads = self.heads.len();
        let what = format!("{}, {}{weights}", count(inputs, "input"), count(heads, "target"));
        (inputs + heads + usize::from(self.weighted), what)
    }

    /// The names under which the scores are reported.
    pub fn names(&self) -> Vec<String> {
        let name = |score: &Score<'_>| {
            let own = score.metric.map_or_else(|| "loss".into(), |metric| metric.name());
            match self.heads.len() {
                1 => own,
                _ => format!("{}.{own}", self.heads[score.head].name),
            }
        };
        self.scores.iter().map(name).collect()
    }

    /// The loss of all heads from the values of the scores; `None` with one head, whose loss is no
    /// score.
    pub fn total(&self, values: impl Fn(usize) -> f64) -> Option<f64> {
        let losses = self.scores.iter().enumerate().filter(|(_, score)| score.metric.is_none());
        let weighted = losses.map(|(at, score)| self.heads[score.head].weight * values(at));
        (self.heads.len() > 1).then(|| weighted.sum())
    }

    /// What metrics see of the target of a head: of probabilities of each class, as mixed examples have
    /// them, the class with the largest.
    fn seen(&self, head: usize, (view, target): (&View<'_>, &Tensor)) -> Tensor {
        let soft = is_soft(view.loss, target.dtype(), target.shape());
        self.soft[head].store(soft, Ordering::Relaxed);
        if soft { target.argmax(1, false) } else { target.clone() }
    }

    /// The shape of what metrics see of a target of this shape.
    pub fn seen_shape(&self, head: usize, target: &[usize], room: &mut Vec<usize>) {
        room.clear();
        room.extend_from_slice(target);
        if self.soft[head].load(Ordering::Relaxed) {
            room.remove(1);
        }
    }

    /// The loss of a batch from the outputs and the fields behind the inputs, and the results of a
    /// plan: the loss, what the scores observe, and, with one head, what the batch counts where terms
    /// have weights.
    #[track_caller]
    pub fn results(&self, outputs: &[Tensor], fields: &[Tensor]) -> (Tensor, Vec<Tensor>) {
        let count = self.heads.len();
        assert!(outputs.len() == count, "a network of {} outputs for {count} heads", outputs.len());
        let terms = |(i, head): (usize, &View<'_>)| {
            let terms = head.loss.terms(&outputs[i], &fields[i]);
            if self.weighted { terms.weighted(&fields[count]) } else { terms }
        };
        let terms: Vec<Terms> = self.heads.iter().enumerate().map(terms).collect();
        let losses: Vec<Tensor> =
            self.heads.iter().zip(&terms).map(|(head, terms)| head.loss.reduce(terms)).collect();
        let parts = self.heads.iter().zip(&losses).map(|(head, loss)| match head.weight {
            1.0 => loss.clone(),
            weight => loss * weight,
        });
        let total = parts.reduce(|sum, part| sum + part).expect("one head or more");
        let mut results = vec![total.to_dtype(DType::F32)];
        let seen: Vec<Tensor> =
            self.heads.iter().zip(fields).enumerate().map(|(i, all)| self.seen(i, all)).collect();
        results.extend(self.scores.iter().map(|&Score { head, metric }| match metric {
            Some(metric) => metric.observe(&outputs[head], &seen[head]).to_dtype(DType::F64),
            None => counted(&losses[head], &terms[head], outputs[head].shape()[0]),
        }));
        let weights = terms[0].weights().filter(|_| count == 1);
        results.extend(weights.map(|weights| weights.to_dtype(DType::F64).sum()));
        (total, results)
    }
}

/// Whether targets of this type and shape, with the batch, are probabilities of each class for this
/// loss: it would take class indices as well.
fn is_soft(loss: &dyn Loss, dtype: DType, shape: &[usize]) -> bool {
    let &[_, classes, ref places @ ..] = shape else { return false };
    let shape = Shape::from(places);
    let indices = Target { shape, dtype: DType::I32, classes: Some(classes) };
    let output = [&[classes], places].concat();
    dtype.is_float() && classes > 1 && loss.check(&output, &indices).is_ok()
}

/// The loss of a head times what its batch counts, and that: two sums that make a mean.
fn counted(loss: &Tensor, terms: &Terms, rows: usize) -> Tensor {
    let loss = loss.to_dtype(DType::F64).reshape([]);
    let count = match terms.weights() {
        Some(weights) => weights.to_dtype(DType::F64).sum(),
        None => loss.full_like(rows as f64),
    };
    Tensor::stack(&[&loss * &count, count], 0)
}
