use super::{
    Entry, IGNORE_INDEX, Loss, REDUCTION, Sample, Target, Terms, Values, check_classes, check_like,
    ignore_index, indices, like,
};
use crate::layers::Misfit;
use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// How little two regions overlap, from probabilities p and targets t over pixels:
/// 1 − (TP + s) / (TP + α FP + β FN + s), with TP = Σ p t, FP = Σ p (1 − t), FN = Σ (1 − p) t.
///
/// α = β = ½ is Dice's loss (Milletari et al., "V-Net", 2016), 1 − 2 Σ p t / (Σ p + Σ t); α = β = 1
/// the soft Jaccard index or intersection over union; others that of Tversky (Salehi et al., 2017),
/// where a larger β makes what is missed dearer than what is too much. The smoothing s keeps empty
/// regions from 0 / 0.
///
/// Outputs are logits: `[batch, classes, …]` with class indices `[batch, …]` as targets go through
/// a softmax, others, with targets of their shape, through a sigmoid. A term for each example and
/// class (axis 1), over all axes behind; of outputs `[batch, n]` a term for each example. The mean
/// counts each class of each example once, whatever its size.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Loss, Overlap};
/// let probabilities = Tensor::from_slice(&[1.0f32, 1.0, 0.0, 0.0], [1, 4]);
/// let target = Tensor::from_slice(&[0.0f32, 1.0, 1.0, 0.0], [1, 4]);
/// let dice = Overlap { from_logits: false, smooth: 0.0, ..Overlap::dice() };
/// assert_eq!(dice.loss(&probabilities, &target).item::<f32>(), 0.5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overlap {
    /// The weight α of false positives.
    pub alpha: f64,
    /// The weight β of false negatives.
    pub beta: f64,
    /// The smoothing s.
    pub smooth: f64,
    /// Whether outputs are logits, or probabilities already.
    pub from_logits: bool,
    /// Pixels of this class do not count, where targets are class indices.
    pub ignore_index: Option<i32>,
}

impl Overlap {
    /// That of Dice. 2 Σ p t / (Σ p + Σ t) with 1 added above and below is a smoothing of ½ here.
    pub fn dice() -> Overlap {
        Overlap { alpha: 0.5, beta: 0.5, smooth: 0.5, from_logits: true, ignore_index: None }
    }

    /// That of Jaccard: intersection over union.
    pub fn jaccard() -> Overlap {
        Overlap { alpha: 1.0, beta: 1.0, smooth: 1.0, ..Overlap::dice() }
    }

    /// Probabilities and targets of one shape.
    fn regions(&self, output: &Tensor, target: &Tensor) -> (Tensor, Tensor) {
        let by_class = !target.dtype().is_float() && target.rank() + 1 == output.rank();
        if !by_class || output.shape().get(1) == Some(&1) {
            let p = if self.from_logits { output.sigmoid() } else { output.clone() };
            // A mask without the axis of its one class is taken as meant.
            let flat = output.shape().get(1) == Some(&1) && target.rank() + 1 == output.rank();
            let target = if flat { target.unsqueeze(1) } else { target.clone() };
            return (p, like("overlap", output, &target));
        }
        let index = indices("overlap", output, target).unsqueeze(1);
        let t = Tensor::iota(output.shape(), 1).eq(&index).to_dtype(output.dtype());
        let p = if self.from_logits { output.softmax(1) } else { output.clone() };
        match self.ignore_index {
            None => (p, t),
            Some(ignored) => {
                let counts = index.ne(ignored).to_dtype(output.dtype());
                (p * &counts, t * counts)
            }
        }
    }
}

impl Loss for Overlap {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let (p, t) = self.regions(output, target);
        let first = if p.rank() > 2 { 2 } else { 1 };
        let axes: Vec<isize> = (first..p.rank() as isize).collect();
        let sum = |x: &Tensor| x.sum_axes(&axes, false);
        let both = sum(&(&p * &t));
        // Σ p = TP + FP, Σ t = TP + FN.
        let rest = (sum(&p) - &both) * self.alpha + (sum(&t) - &both) * self.beta;
        // Where there is nothing at all, nothing is missed.
        let whole = &both + rest + self.smooth;
        let none = whole.eq(0.0);
        let ratio = (both + self.smooth) / none.select(&whole.full_like(1.0), &whole);
        Terms::new(none.select(&ratio.zeros_like(), &(1.0 - ratio)))
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        let single = output.first() == Some(&1) && output.get(1..) == Some(&*target.shape);
        let by_class = target.dtype != DType::F32 && target.shape.rank() + 1 == output.len();
        match (single, by_class) {
            (true, _) => Ok(()),
            (_, true) => check_classes(output, target, 0),
            _ => check_like(output, target),
        }
    }
}

const FROM_LOGITS: Param = Param::with_default(
    "from_logits",
    Kind::Bool,
    Value::Bool(true),
    "whether outputs are logits, or probabilities already",
);

const fn smooth(default: f64) -> Param {
    Param::with_default(
        "smooth",
        Kind::non_negative(),
        Value::Float(default),
        "what is added above and below",
    )
}

const fn share(name: &'static str, doc: &'static str) -> Param {
    Param::with_default(name, Kind::non_negative(), Value::Float(0.5), doc)
}

fn common(args: &Args, overlap: Overlap) -> Overlap {
    Overlap {
        from_logits: args.bool("from_logits"),
        ignore_index: ignore_index(args),
        smooth: args.float("smooth"),
        ..overlap
    }
}

static MASKS: [Sample; 3] = [
    Sample::of("", Values::Real(&[3, 4]), Values::Bits(&[3, 4])),
    Sample::of(
        "smooth = 0.1, ignore_index = 1",
        Values::Real(&[3, 2, 2]),
        Values::Classes(&[2, 2], 3),
    ),
    Sample::of("from_logits = false", Values::Unit(&[1, 2, 3]), Values::Bits(&[2, 3])),
];

pub(super) static DICE: Entry = Entry {
    spec: Spec {
        name: "dice",
        aliases: &["Dice", "DiceLoss"],
        peers: Peers::of("", "losses.Dice"),
        doc: "How little two regions overlap: one minus Dice's coefficient.",
        params: &[smooth(1.0), FROM_LOGITS, IGNORE_INDEX, REDUCTION],
    },
    build: |args| {
        let made = common(args, Overlap::dice());
        // The usual form has twice of all above and below.
        Box::new(Overlap { smooth: 0.5 * made.smooth, ..made })
    },
    across: false,
    samples: &MASKS,
};

pub(super) static JACCARD: Entry = Entry {
    spec: Spec {
        name: "jaccard",
        aliases: &["soft_iou", "JaccardLoss"],
        peers: Peers::NONE,
        doc: "How little two regions overlap: one minus intersection over union.",
        params: &[smooth(1.0), FROM_LOGITS, IGNORE_INDEX, REDUCTION],
    },
    build: |args| Box::new(common(args, Overlap::jaccard())),
    across: false,
    samples: &MASKS,
};

pub(super) static TVERSKY: Entry = Entry {
    spec: Spec {
        name: "tversky",
        aliases: &["Tversky", "TverskyLoss"],
        peers: Peers::of("", "losses.Tversky"),
        doc: "How little two regions overlap, with weights for what is too much and what is missed.",
        params: &[
            share("alpha", "the weight of false positives"),
            share("beta", "the weight of false negatives"),
            smooth(1.0),
            FROM_LOGITS,
            IGNORE_INDEX,
            REDUCTION,
        ],
    },
    build: |args| {
        let (alpha, beta) = (args.float("alpha"), args.float("beta"));
        Box::new(Overlap { alpha, beta, ..common(args, Overlap::dice()) })
    },
    across: false,
    samples: &[Sample::of("alpha = 0.3, beta = 0.7", Values::Real(&[3, 4]), Values::Bits(&[3, 4]))],
};
