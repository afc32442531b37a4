//! What outputs say: classes and probabilities, from logits of one or of several classes.

use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Args, Kind, Param, Value};
use nerve_nn::layers::Misfit;
use nerve_nn::losses::Target;

/// How outputs of a network are read by metrics of classes.
///
/// - Several classes: outputs `[batch, classes, …]`, targets class indices `[batch, …]`.
/// - Yes or no: outputs `[batch, …]` with targets of the same shape (0 or 1), or outputs
///   `[batch, 1, …]` with targets `[batch, …]`. No is class 0, yes class 1. Several such outputs
///   an example (labels that do not exclude each other) are counted together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// Whether outputs are logits; else they are probabilities.
    pub from_logits: bool,
    /// The probability above which an answer is yes.
    pub threshold: f64,
    /// Targets of this class do not count.
    pub ignore_index: Option<i32>,
}

impl Default for Decision {
    /// Logits, a threshold of one half, every target counts.
    fn default() -> Self {
        Decision { from_logits: true, threshold: 0.5, ignore_index: None }
    }
}

/// How many classes outputs of this shape tell apart (2 for yes or no), and whether each has an
/// output of its own; `None` if the shapes do not fit. Shapes with the batch.
fn classes(output: &[usize], target: &[usize]) -> Option<(usize, bool)> {
    let without = |axis: usize| [&output[..axis], &output[axis + 1..]].concat();
    match output == target {
        true => Some((2, false)),
        false if output.len() < 2 => None,
        false if output[1] == 1 && without(1) == target => Some((2, false)),
        false if output[output.len() - 1] == 1 && without(output.len() - 1) == target => {
            Some((2, false))
        }
        false => (without(1) == target).then_some((output[1], true)),
    }
}

/// `[batch, classes, …]` as `[batch · …, classes]`.
fn rows(x: &Tensor) -> Tensor {
    let order: Vec<usize> = [0].into_iter().chain(2..x.rank()).chain([1]).collect();
    let classes = x.shape()[1];
    x.permute(&order).reshape([x.numel() / classes.max(1), classes])
}

/// Probabilities and targets of a batch.
pub(super) enum Answers {
    /// Of yes, and whether it is yes (0 or 1), f64 `[n]`.
    YesNo(Tensor, Tensor),
    /// Of each class, f64 `[n, classes]`, and the class indices, i32 `[n]`.
    Classes(Tensor, Tensor),
}

impl Decision {
    /// The number of classes, and whether each has an output.
    #[track_caller]
    fn classes(&self, output: &Tensor, target: &Tensor) -> (usize, bool) {
        let (o, t) = (output.shape(), target.shape());
        match classes(o, t) {
            Some((n, each)) if !each || !target.dtype().is_float() => (n, each),
            _ => panic!(
                "outputs {output:?} and targets {target:?}: expected class indices for outputs \
                 [batch, classes, …], or one target for each output"
            ),
        }
    }

    /// How often each class was taken for each other, row by row of the actual class:
    /// f64 `[classes · classes]`.
    #[track_caller]
    pub(super) fn confusion(&self, output: &Tensor, target: &Tensor) -> Tensor {
        let (n, each) = self.classes(output, target);
        let actual = match target.dtype().is_float() {
            true => target.gt(0.5).to_dtype(DType::I32),
            false => target.to_dtype(DType::I32),
        };
        let actual = actual.reshape([target.numel()]);
        let predicted = match each {
            true => rows(output).argmax(1, false),
            false => {
                let t = self.threshold;
                let limit = if self.from_logits { (t / (1.0 - t)).ln() } else { t };
                output.gt(limit).to_dtype(DType::I32).reshape([output.numel()])
            }
        };
        let (code, cells) = (&actual * n as i32 + predicted, n * n);
        // What is ignored goes to a cell of its own, which is cut off.
        let code = match self.ignore_index {
            None => code,
            Some(ignored) => actual.eq(ignored).select(&code.full_like(cells as f64), &code),
        };
        let ones = Tensor::full(code.shape(), 1.0, DType::F64);
        let counts = Tensor::full([cells + 1], 0.0, DType::F64).scatter_add(0, &code, &ones);
        counts.slice(0, 0, cells)
    }

    /// Scores in which larger means more likely, in f64: as the probabilities, but for yes or no
    /// (and two classes) without the sigmoid, which makes ties of what is certain.
    #[track_caller]
    pub(super) fn scores(&self, output: &Tensor, target: &Tensor) -> Answers {
        let x = output.to_dtype(DType::F64);
        match self.classes(output, target) {
            (2, true) => {
                let x = rows(&x);
                let [no, yes] = [0, 1].map(|i| x.slice(1, i, i + 1).reshape([x.shape()[0]]));
                Answers::YesNo(yes - no, flat(target))
            }
            (_, false) => Answers::YesNo(x.reshape([x.numel()]), flat(target)),
            _ => self.probabilities(output, target),
        }
    }

    /// Probabilities in f64.
    #[track_caller]
    pub(super) fn probabilities(&self, output: &Tensor, target: &Tensor) -> Answers {
        let x = output.to_dtype(DType::F64);
        let (_, each) = self.classes(output, target);
        if each {
            let p = rows(&x);
            let p = if self.from_logits { p.softmax(1) } else { p };
            let index = target.to_dtype(DType::I32).reshape([target.numel()]);
            return Answers::Classes(p, index);
        }
        let p = x.reshape([x.numel()]);
        Answers::YesNo(if self.from_logits { p.sigmoid() } else { p }, flat(target))
    }

    /// Minus the logarithm of the probability of the right answer, in f64, and what each counts
    /// (1, or 0 for a target that is ignored): both `[n]`.
    #[track_caller]
    pub(crate) fn surprise(&self, output: &Tensor, target: &Tensor) -> (Tensor, Tensor) {
        let x = output.to_dtype(DType::F64);
        // As scikit-learn limits probabilities; those from logits need no limit.
        let log = |p: &Tensor| p.clamp(f64::EPSILON, 1.0 - f64::EPSILON).log();
        if self.classes(output, target).1 {
            let index = target.to_dtype(DType::I32).reshape([target.numel()]);
            let x = if self.from_logits { rows(&x) } else { log(&rows(&x)) };
            let counts = match self.ignore_index {
                None => Tensor::full(index.shape(), 1.0, DType::F64),
                Some(ignored) => index.ne(ignored).to_dtype(DType::F64),
            };
            if self.from_logits {
                return (x.cross_entropy(&index, self.ignore_index), counts);
            }
            let right = Tensor::iota(x.shape(), 1).eq(index.unsqueeze(1));
            let own = right.select(&x, &x.zeros_like()).sum_axes(&[1], false);
            return (-own * &counts, counts);
        }
        let (x, t) = (x.reshape([x.numel()]), flat(target));
        let surprise = match self.from_logits {
            true => x.softplus() - &t * &x,
            false => -(&t * log(&x) + (1.0 - &t) * log(&(1.0 - &x))),
        };
        let counts = surprise.full_like(1.0);
        (surprise, counts)
    }

    pub(super) fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        let with_batch = |shape: &[usize]| [&[7], shape].concat();
        let found = classes(&with_batch(output), &with_batch(&target.shape));
        let fits = match found {
            Some((n, true)) => !target.dtype.is_float() && target.classes.is_none_or(|c| c == n),
            Some((n, false)) => target.classes.is_none_or(|c| c == n),
            None => false,
        };
        match fits {
            true => Ok(()),
            false => Err(Misfit {
                needs: "one output for each class with class indices as targets, or one output \
                        for each target of yes or no"
                    .into(),
                hint: String::new(),
            }),
        }
    }

    /// From those of [`FROM_LOGITS`], [`THRESHOLD`] and [`IGNORE_INDEX`] that are there.
    pub(super) fn of(args: &Args) -> Decision {
        let default = Decision::default();
        let has = |name| args.has(name);
        Decision {
            from_logits: !has("from_logits") || args.bool("from_logits"),
            threshold: if has("threshold") { args.float("threshold") } else { default.threshold },
            ignore_index: has("ignore_index").then(|| args.int("ignore_index") as i32),
        }
    }
}

fn flat(target: &Tensor) -> Tensor {
    target.to_dtype(DType::F64).reshape([target.numel()])
}

pub(super) const FROM_LOGITS: Param = Param::with_default(
    "from_logits",
    Kind::Bool,
    Value::Bool(true),
    "whether outputs are logits, or probabilities already",
);

pub(super) const THRESHOLD: Param = Param::with_default(
    "threshold",
    Kind::Float { min: 0.0, max: 1.0, open_min: true, open_max: true },
    Value::Float(0.5),
    "the probability above which an answer is yes, where there is one output for it",
);

pub(super) const IGNORE_INDEX: Param = Param::optional(
    "ignore_index",
    Kind::int(i32::MIN as i64, i32::MAX as i64),
    "targets with this class do not count",
)
.alias(&["ignore_class"]);
