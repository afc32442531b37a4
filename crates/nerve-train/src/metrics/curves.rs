//! Areas under curves: metrics that need all scores before they know anything.

use super::decision::{Answers, FROM_LOGITS};
use super::{Decision, Entry, Kept, Metric, Seen};
use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use nerve_nn::layers::Misfit;
use nerve_nn::losses::Target;

/// Examples by falling score: what every curve over all thresholds is read from.
///
/// Sorted once, it is walked as often as needed, each time with other weights of the examples: how
/// often each was drawn in a resample, for instance.
///
/// ```
/// use nerve_train::metrics::Sweep;
/// let sweep = Sweep::new(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]);
/// assert_eq!(sweep.roc_auc(|_| 1.0), 0.75);
/// // Without the second example all is in order.
/// assert_eq!(sweep.roc_auc(|row| if row == 1 { 0.0 } else { 1.0 }), 1.0);
/// ```
#[derive(Clone, Debug)]
pub struct Sweep {
    scores: Vec<f64>,
    rows: Vec<u32>,
    positive: Vec<bool>,
}

impl Sweep {
    /// Sorts the examples.
    ///
    /// # Panics
    /// If the numbers of scores and truths differ, or there are more than 2³².
    pub fn new(scores: &[f64], positive: &[bool]) -> Sweep {
        assert!(scores.len() == positive.len(), "{} scores, {}", scores.len(), positive.len());
        let count = u32::try_from(scores.len()).expect("fewer than 2³² examples");
        let mut rows: Vec<u32> = (0..count).collect();
        rows.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
        let at = |values: &[f64]| rows.iter().map(|&row| values[row as usize]).collect();
        let positive = rows.iter().map(|&row| positive[row as usize]).collect();
        Sweep { scores: at(scores), rows, positive }
    }

    /// Calls `each` with every distinct score, from the highest, and the weights of positives and
    /// negatives down to it; gives the totals.
    pub fn walk(
        &self,
        weight: impl Fn(usize) -> f64,
        mut each: impl FnMut(f64, f64, f64),
    ) -> (f64, f64) {
        let (mut yes, mut no) = (0.0, 0.0);
        for (i, &row) in self.rows.iter().enumerate() {
            match self.positive[i] {
                true => yes += weight(row as usize),
                false => no += weight(row as usize),
            }
            // Equal scores are one threshold.
            if self.scores.get(i + 1).is_none_or(|next| *next != self.scores[i]) {
                each(self.scores[i], yes, no);
            }
        }
        (yes, no)
    }

    /// [`roc_auc`] of weighted examples.
    pub fn roc_auc(&self, weight: impl Fn(usize) -> f64) -> f64 {
        let (mut area, mut before) = (0.0, (0.0, 0.0));
        let (yes, no) = self.walk(weight, |_, yes, no| {
            area += (no - before.1) * (yes + before.0) * 0.5;
            before = (yes, no);
        });
        if yes == 0.0 || no == 0.0 { f64::NAN } else { area / (yes * no) }
    }

    /// [`average_precision`] of weighted examples.
    pub fn average_precision(&self, weight: impl Fn(usize) -> f64) -> f64 {
        let (mut area, mut before) = (0.0, 0.0);
        let (all, _) = self.walk(weight, |_, yes, no| {
            if yes > before {
                area += (yes - before) * yes / (yes + no);
            }
            before = yes;
        });
        if all == 0.0 { 0.0 } else { area / all }
    }
}

/// The area under the receiver operating characteristic: the probability that an example of the
/// class has a higher score than another, ties counting half.
///
/// Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic
/// (ROC) curve", 1982. NaN if all are of the class, or none.
///
/// ```
/// use nerve_train::metrics::roc_auc;
/// let area = roc_auc(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]);
/// assert_eq!(area, 0.75);
/// ```
///
/// # Panics
/// If the numbers of scores and truths differ.
pub fn roc_auc(scores: &[f64], positive: &[bool]) -> f64 {
    Sweep::new(scores, positive).roc_auc(|_| 1.0)
}

/// The area under the curve of precision over recall, in steps: Σ (Rₙ − Rₙ₋₁) Pₙ over the distinct
/// scores, as in scikit-learn's `average_precision_score`. (Keras interpolates.) 0 if none is of
/// the class.
///
/// ```
/// use nerve_train::metrics::average_precision;
/// let area = average_precision(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]);
/// assert!((area - 5.0 / 6.0).abs() < 1e-12);
/// ```
///
/// # Panics
/// If the numbers of scores and truths differ.
pub fn average_precision(scores: &[f64], positive: &[bool]) -> f64 {
    Sweep::new(scores, positive).average_precision(|_| 1.0)
}

/// Which curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Curve {
    /// The receiver operating characteristic.
    #[default]
    Roc,
    /// Precision over recall.
    PrecisionRecall,
}

/// The area under a curve of all thresholds: [`roc_auc`] or [`average_precision`].
///
/// With several classes each is compared with all others (one-vs-rest) by its probability, and the
/// mean is over the classes for which the area is defined (a class without examples has no ROC, and
/// the average precision 0). Every score is kept until the end of the
/// epoch: 16 bytes an example for yes or no, 8 · (classes + 1) for several classes. How outputs are
/// read: [`Decision`].
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_train::metrics::{Auc, measure};
/// let output = Tensor::from_slice(&[-2.0f32, -0.5, -0.7, 1.5], [4]);
/// let target = Tensor::from_slice(&[0, 0, 1, 1], [4]);
/// assert_eq!(measure(&Auc::default(), &output, &target), 0.75);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Auc {
    /// Which curve.
    pub curve: Curve,
    /// Whether classes count by their numbers of examples.
    pub weighted: bool,
    /// How outputs are read.
    pub decision: Decision,
}

impl Metric for Auc {
    fn name(&self) -> String {
        let name = match self.curve {
            Curve::Roc => "roc_auc",
            Curve::PrecisionRecall => "pr_auc",
        };
        if self.weighted { format!("{name}_weighted") } else { name.into() }
    }

    fn observe(&self, output: &Tensor, target: &Tensor) -> Tensor {
        let (scores, target) = match self.decision.scores(output, target) {
            Answers::YesNo(scores, target) => (scores.unsqueeze(1), target),
            Answers::Classes(p, index) => (p, index.to_dtype(DType::F64)),
        };
        Tensor::concat(&[scores, target.unsqueeze(1)], 1)
    }

    fn add(&self, seen: &Seen<'_>, kept: &mut Kept) {
        kept.push(seen.values, seen.values.len() / (seen.count() as usize).max(1));
    }

    fn value(&self, kept: &Kept) -> f64 {
        let area = |class: usize, is: &dyn Fn(f64) -> bool| {
            let rows = kept.rows.chunks_exact(kept.width);
            let (scores, positive): (Vec<f64>, Vec<bool>) =
                rows.map(|row| (row[class], is(row[kept.width - 1]))).unzip();
            let area = match self.curve {
                Curve::Roc => roc_auc(&scores, &positive),
                Curve::PrecisionRecall => average_precision(&scores, &positive),
            };
            (area, positive.iter().filter(|&&yes| yes).count() as f64)
        };
        match kept.width {
            0 => f64::NAN,
            2 => area(0, &|target| target > 0.5).0,
            width => {
                let (mut sum, mut count) = (0.0, 0.0);
                for class in 0..width - 1 {
                    let (area, examples) = area(class, &|target| target == class as f64);
                    if !area.is_nan() {
                        let weight = if self.weighted { examples } else { 1.0 };
                        sum += weight * area;
                        count += weight;
                    }
                }
                sum / count
            }
        }
    }

    fn each_step(&self) -> bool {
        false
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        self.decision.check(output, target)
    }
}

static PARAMS: [Param; 2] = [
    Param::with_default(
        "average",
        Kind::Choice(&["macro", "weighted"]),
        Value::text("macro"),
        "how several classes become one: the plain mean, or weighted by their examples",
    ),
    FROM_LOGITS,
];

fn make(args: &Args, curve: Curve) -> Box<dyn Metric> {
    let weighted = args.text("average") == "weighted";
    Box::new(Auc { curve, weighted, decision: Decision::of(args) })
}

pub(super) static ROC: Entry = Entry {
    spec: Spec {
        name: "roc_auc",
        aliases: &["auc", "AUC"],
        peers: Peers::of("", "metrics.AUC"),
        doc: "The area under the receiver operating characteristic; one against the rest.",
        params: &PARAMS,
    },
    build: |args| make(args, Curve::Roc),
};

pub(super) static PR: Entry = Entry {
    spec: Spec {
        name: "pr_auc",
        aliases: &["average_precision"],
        peers: Peers::of("", "metrics.AUC(curve=\"PR\")"),
        doc: "The area under the curve of precision over recall; one against the rest.",
        params: &PARAMS,
    },
    build: |args| make(args, Curve::PrecisionRecall),
};
