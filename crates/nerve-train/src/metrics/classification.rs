//! Metrics that are read from the confusion matrix.

use super::decision::{FROM_LOGITS, IGNORE_INDEX, THRESHOLD};
use super::{Average, Confusion, Decision, Entry, Kept, Metric};
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use nerve_nn::layers::Misfit;
use nerve_nn::losses::Target;

/// A score that is read from the confusion matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClassScore {
    /// The share of what was predicted that is right.
    Precision,
    /// The share of what there was that was found.
    Recall,
    /// The share of the others that was left alone.
    Specificity,
    /// The harmonic mean of precision and recall, recall counting β times as much.
    FBeta(f64),
    /// Intersection over union.
    Iou,
    /// The mean recall of the classes that there are.
    BalancedAccuracy,
    /// Cohen's κ, with the power of the distances as weights.
    Kappa(i32),
    /// Matthews' correlation coefficient.
    Matthews,
}

/// A score of a classification, from counts over all batches.
///
/// The graph counts how often each class was taken for each other, classes² numbers a batch; the
/// score is computed from their sum, at the end of an epoch. [`Confusion::new`] of what was kept
/// is the matrix. How outputs are read: [`Decision`].
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_train::metrics::{Average, ClassMetric, ClassScore, Decision, measure};
/// let recall = ClassMetric {
///     score: ClassScore::Recall,
///     average: Average::Class(1),
///     decision: Decision::default(),
/// };
/// let output = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 1.0], [2, 2]);
/// let target = Tensor::from_slice(&[1, 1], [2]);
/// assert_eq!(measure(&recall, &output, &target), 0.5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassMetric {
    /// Which score.
    pub score: ClassScore,
    /// How the scores of several classes become one; of no meaning for the last three.
    pub average: Average,
    /// How outputs are read.
    pub decision: Decision,
}

impl Metric for ClassMetric {
    fn name(&self) -> String {
        let name = match self.score {
            ClassScore::Precision => "precision".into(),
            ClassScore::Recall => "recall".into(),
            ClassScore::Specificity => "specificity".into(),
            ClassScore::FBeta(beta) => format!("f{beta}"),
            ClassScore::Iou => "iou".into(),
            ClassScore::BalancedAccuracy => "balanced_accuracy".into(),
            ClassScore::Kappa(_) => "kappa".into(),
            ClassScore::Matthews => "matthews".into(),
        };
        match self.average {
            Average::Class(class) => format!("{name}_{class}"),
            Average::Micro => format!("{name}_micro"),
            Average::Weighted => format!("{name}_weighted"),
            Average::Macro | Average::Auto => name,
        }
    }

    fn observe(&self, output: &Tensor, target: &Tensor) -> Tensor {
        self.decision.confusion(output, target)
    }

    fn value(&self, kept: &Kept) -> f64 {
        if kept.sums.is_empty() {
            return f64::NAN;
        }
        let confusion = Confusion::new(&kept.sums);
        let average = |score: &dyn Fn(super::Part) -> f64| confusion.average(self.average, score);
        match self.score {
            ClassScore::Precision => average(&|part| part.precision()),
            ClassScore::Recall => average(&|part| part.recall()),
            ClassScore::Specificity => average(&|part| part.specificity()),
            ClassScore::FBeta(beta) => average(&|part| part.f_beta(beta)),
            ClassScore::Iou => average(&|part| part.iou()),
            ClassScore::BalancedAccuracy => confusion.balanced_accuracy(),
            ClassScore::Kappa(power) => confusion.kappa(power),
            ClassScore::Matthews => confusion.matthews(),
        }
    }

    fn each_step(&self) -> bool {
        false
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        self.decision.check(output, target)
    }
}

const AVERAGE: Kind =
    Kind::OneOf(&[Kind::Choice(&["auto", "micro", "macro", "weighted"]), Kind::int(0, 1 << 24)]);

const fn average(default: &'static str) -> Param {
    Param::with_default(
        "average",
        AVERAGE,
        Value::text(default),
        "how the scores of several classes become one; auto: class 1 of two classes, else macro; \
         a number: that class",
    )
}

fn make(args: &Args, score: ClassScore) -> Box<dyn Metric> {
    let average = match args.get("average") {
        Some(Value::Int(_)) => Average::Class(args.usize("average")),
        Some(_) => match args.text("average") {
            "micro" => Average::Micro,
            "macro" => Average::Macro,
            "weighted" => Average::Weighted,
            _ => Average::Auto,
        },
        None => Average::Auto,
    };
    Box::new(ClassMetric { score, average, decision: Decision::of(args) })
}

static AVERAGED: [Param; 4] = [average("auto"), THRESHOLD, FROM_LOGITS, IGNORE_INDEX];
static OVER_CLASSES: [Param; 4] = [average("macro"), THRESHOLD, FROM_LOGITS, IGNORE_INDEX];
static WHOLE: [Param; 3] = [THRESHOLD, FROM_LOGITS, IGNORE_INDEX];
static F: [Param; 5] = [
    Param::with_default(
        "beta",
        Kind::positive(),
        Value::Float(1.0),
        "how many times as much recall counts as precision",
    ),
    average("auto"),
    THRESHOLD,
    FROM_LOGITS,
    IGNORE_INDEX,
];
static KAPPA_PARAMS: [Param; 4] = [
    Param::with_default(
        "weights",
        Kind::Choice(&["none", "linear", "quadratic"]),
        Value::text("none"),
        "whether mistakes weigh by the distance of the class numbers, or its square",
    ),
    THRESHOLD,
    FROM_LOGITS,
    IGNORE_INDEX,
];

const fn spec(
    name: &'static str,
    aliases: &'static [&'static str],
    keras: &'static str,
    doc: &'static str,
    params: &'static [Param],
) -> Spec {
    Spec { name, aliases, peers: Peers::of("", keras), doc, params }
}

pub(super) static ENTRIES: [Entry; 9] = [
    Entry {
        spec: spec(
            "precision",
            &["Precision"],
            "metrics.Precision",
            "The share of what was predicted that is right.",
            &AVERAGED,
        ),
        build: |args| make(args, ClassScore::Precision),
    },
    Entry {
        spec: spec(
            "recall",
            &["Recall", "sensitivity"],
            "metrics.Recall",
            "The share of what there was that was found.",
            &AVERAGED,
        ),
        build: |args| make(args, ClassScore::Recall),
    },
    Entry {
        spec: spec(
            "f1",
            &["f_beta", "F1Score", "FBetaScore"],
            "metrics.FBetaScore",
            "The harmonic mean of precision and recall.",
            &F,
        ),
        build: |args| make(args, ClassScore::FBeta(args.float("beta"))),
    },
    Entry {
        spec: spec(
            "specificity",
            &["Specificity"],
            "",
            "The share of the others that was left alone.",
            &AVERAGED,
        ),
        build: |args| make(args, ClassScore::Specificity),
    },
    Entry {
        spec: spec(
            "balanced_accuracy",
            &["BalancedAccuracy"],
            "",
            "The mean recall of the classes that there are examples of.",
            &WHOLE,
        ),
        build: |args| make(args, ClassScore::BalancedAccuracy),
    },
    Entry {
        spec: spec(
            "kappa",
            &["cohen_kappa", "CohenKappa"],
            "",
            "Cohen's kappa: how much more often both agree than by chance.",
            &KAPPA_PARAMS,
        ),
        build: |args| {
            let power = match args.text("weights") {
                "linear" => 1,
                "quadratic" => 2,
                _ => 0,
            };
            make(args, ClassScore::Kappa(power))
        },
    },
    Entry {
        spec: spec(
            "matthews",
            &["mcc", "MatthewsCorrCoef"],
            "",
            "Matthews' correlation coefficient.",
            &WHOLE,
        ),
        build: |args| make(args, ClassScore::Matthews),
    },
    Entry {
        spec: spec(
            "iou",
            &["mean_iou", "MeanIoU", "jaccard"],
            "metrics.MeanIoU",
            "Intersection over union of the regions of each class.",
            &OVER_CLASSES,
        ),
        build: |args| make(args, ClassScore::Iou),
    },
    Entry {
        spec: spec(
            "dice",
            &["Dice"],
            "",
            "Twice the intersection over the sum of the regions of each class: F1.",
            &OVER_CLASSES,
        ),
        build: |args| make(args, ClassScore::FBeta(1.0)),
    },
];
