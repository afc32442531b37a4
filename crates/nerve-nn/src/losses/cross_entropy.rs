use super::{
    CLASS_WEIGHTS, Entry, IGNORE_INDEX, Loss, REDUCTION, Sample, Target, Terms, Values, by_class,
    check_classes, ignore_index, indices, rows,
};
use crate::layers::Misfit;
use nerve_core::{Shape, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Softmax, then minus the logarithm of the probability of the right class:
/// −Σ target · ln softmax(output), the mean over all rows.
///
/// Also called negative log-likelihood; Bridle, "Probabilistic interpretation of feedforward
/// classification network outputs", 1990. The network has no softmax of its own. (Logarithms of
/// probabilities, from a log-softmax, serve as well: a second one leaves them as they are.)
///
/// Output `[batch, classes]` or `[batch, classes, …]`; target class indices (i32 or u8) `[batch]`
/// or `[batch, …]`, or probabilities of the shape and type of the output.
///
/// Class weights multiply the terms. With class indices, the mean is Σ wᵢ ℓᵢ / Σ wᵢ; with
/// probabilities they do not count in the mean. Both as in PyTorch.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{CrossEntropy, Loss};
/// let output = Tensor::from_slice(&[0.0f32, 0.0], [1, 2]);
/// let target = Tensor::from_slice(&[1i32], [1]);
/// let loss = CrossEntropy::default().loss(&output, &target);
/// assert!((loss.item::<f32>() - 2f32.ln()).abs() < 1e-6);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrossEntropy {
    /// The share ε of the target that is spread evenly over all classes: the right class is to get
    /// 1 − ε + ε / classes. Szegedy et al., "Rethinking the Inception architecture", 2015.
    pub label_smoothing: f64,
    /// Rows with this index as their target do not count, in sum and number.
    pub ignore_index: Option<i32>,
    /// What a row of each class counts; empty: 1. For classes that are rare.
    pub class_weights: Vec<f64>,
}

impl CrossEntropy {
    /// For targets that are class indices, one for each of the rows.
    fn of_indices(&self, logits: &Tensor, target: &Tensor) -> Terms {
        let dtype = logits.dtype();
        let mut loss = logits.cross_entropy(target, self.ignore_index);
        let counts = self.ignore_index.map(|ignored| target.ne(ignored).to_dtype(dtype));
        let mut weights = counts.clone();
        if !self.class_weights.is_empty() {
            // The class that is ignored need not be one of those that have a weight.
            let known = match self.ignore_index {
                None => target.clone(),
                Some(ignored) => target.eq(ignored).select(&target.zeros_like(), target),
            };
            let weight = by_class(&self.class_weights, &known, dtype);
            loss = loss * &weight;
            weights = Some(match weights {
                None => weight,
                Some(counts) => counts * weight,
            });
        }
        if self.label_smoothing > 0.0 {
            let mut even = -self.weighted(&logits.log_softmax(-1)).mean_axes(&[-1], false);
            if let Some(counts) = &counts {
                even = even * counts;
            }
            loss = loss * (1.0 - self.label_smoothing) + even * self.label_smoothing;
        }
        match weights {
            None => Terms::new(loss),
            Some(weights) => Terms::counted(loss, weights),
        }
    }

    /// For targets that are probabilities of each class.
    fn of_probabilities(&self, logits: &Tensor, target: &Tensor) -> Terms {
        let classes = logits.shape()[1] as f64;
        let target = match self.label_smoothing {
            0.0 => target.clone(),
            share => target * (1.0 - share) + share / classes,
        };
        Terms::new(logits.cross_entropy(&self.weighted(&target), None))
    }

    /// Values of the classes `[rows, classes]` times the weights of the classes.
    fn weighted(&self, x: &Tensor) -> Tensor {
        match self.class_weights.len() {
            0 => x.clone(),
            n => x * Tensor::from_slice(&self.class_weights, [n]).to_dtype(x.dtype()),
        }
    }
}

impl Loss for CrossEntropy {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let weights = self.class_weights.len();
        assert!(
            weights == 0 || output.shape().get(1) == Some(&weights),
            "cross_entropy: {weights} class weights for outputs {}",
            output.shape()
        );
        let (terms, shape) = if target.dtype().is_float() {
            assert!(
                output.rank() >= 2
                    && output.shape() == target.shape()
                    && output.dtype() == target.dtype(),
                "cross_entropy: probabilities {target:?} for output {output:?}"
            );
            let mut shape = output.shape().to_vec();
            shape.remove(1);
            (self.of_probabilities(&rows(output), &rows(target)), Shape::from(shape))
        } else {
            let target = indices("cross_entropy", output, target);
            let terms = self.of_indices(&rows(output), &target.reshape([target.numel()]));
            (terms, target.shape().clone())
        };
        terms.reshaped(&shape)
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_classes(output, target, self.class_weights.len())
    }
}

const SMOOTHING: Param = Param::with_default(
    "label_smoothing",
    Kind::fraction(),
    Value::Float(0.0),
    "the share of the target spread over all classes",
);

/// The same for texts, in which 0 fills up what is short.
pub(super) static OF_SEQUENCES: Entry = Entry {
    spec: Spec {
        name: "sequence_cross_entropy",
        aliases: &["sequence_softmax_cross_entropy"],
        peers: Peers::of("nn.CrossEntropyLoss(ignore_index=0)", ""),
        doc: "The cross-entropy of each token or tag of a sequence; what fills up its end does not count.",
        params: &[
            SMOOTHING,
            Param::with_default(
                "ignore_index",
                Kind::int(i32::MIN as i64, i32::MAX as i64),
                Value::Int(0),
                "targets with this class do not count",
            ),
            REDUCTION,
        ],
    },
    build: |args| {
        Box::new(CrossEntropy {
            label_smoothing: args.float("label_smoothing"),
            ignore_index: ignore_index(args),
            class_weights: Vec::new(),
        })
    },
    across: false,
    samples: &[Sample::of(
        "label_smoothing = 0.1",
        Values::Real(&[4, 3]),
        Values::Classes(&[3], 4),
    )],
};

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "cross_entropy",
        aliases: &[
            "softmax_cross_entropy",
            "CrossEntropy",
            "CrossEntropyLoss",
            "NLLLoss",
            "SparseCategoricalCrossentropy",
            "CategoricalCrossentropy",
        ],
        peers: Peers::of(
            "nn.CrossEntropyLoss",
            "losses.SparseCategoricalCrossentropy(from_logits=True)",
        ),
        doc: "Softmax, then minus the logarithm of the probability of the right class.",
        params: &[SMOOTHING, IGNORE_INDEX, CLASS_WEIGHTS, REDUCTION],
    },
    build: |args| {
        Box::new(CrossEntropy {
            label_smoothing: args.float("label_smoothing"),
            ignore_index: ignore_index(args),
            class_weights: args.floats("class_weights"),
        })
    },
    across: false,
    samples: &[
        Sample::of("", Values::Real(&[4]), Values::Classes(&[], 4)),
        Sample::of(
            "label_smoothing = 0.1, class_weights = [1, 2, 0.5], ignore_index = 2",
            Values::Real(&[3, 2]),
            Values::Classes(&[2], 3),
        ),
        Sample::of("class_weights = [1, 2, 3]", Values::Real(&[3]), Values::Shares(&[3])),
        Sample::of("reduction = 'sum'", Values::Real(&[3]), Values::Classes(&[], 3)),
    ],
};
