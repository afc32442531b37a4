use super::{
    CLASS_WEIGHTS, Entry, Loss, REDUCTION, Sample, Target, Terms, Values, by_class, check_classes,
    indices, rows,
};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Where the right class is, in outputs `[rows, classes]`, and its output `[rows, 1]`.
fn right(logits: &Tensor, target: &Tensor) -> (Tensor, Tensor) {
    let index = target.reshape([target.numel(), 1]);
    let is_right = Tensor::iota(logits.shape(), 1).eq(&index);
    (is_right, logits.gather(1, &index))
}

/// How much each wrong class comes too near to the right one, the mean over the classes:
/// Σ max(0, margin − x_right + x_wrong)ᵖ / classes.
///
/// Weston and Watkins, "Support vector machines for multi-class pattern recognition", 1999. Outputs
/// `[batch, classes, …]`, targets class indices. Class weights multiply the terms but do not count
/// in the mean, as in PyTorch.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Loss, MultiMargin};
/// let output = Tensor::from_slice(&[1.0f32, 0.5, -3.0, 0.0], [1, 4]);
/// let target = Tensor::from_slice(&[0], [1]);
/// assert_eq!(MultiMargin::default().loss(&output, &target).item::<f32>(), 0.125);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MultiMargin {
    /// By how much the right class is to lead.
    pub margin: f64,
    /// Whether what is missing is squared.
    pub squared: bool,
    /// What the terms of each class are multiplied with; empty: nothing.
    pub class_weights: Vec<f64>,
}

impl Default for MultiMargin {
    /// A margin of 1, not squared, all classes alike.
    fn default() -> Self {
        MultiMargin { margin: 1.0, squared: false, class_weights: Vec::new() }
    }
}

impl Loss for MultiMargin {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let index = indices("multi_margin", output, target);
        let logits = rows(output);
        let (is_right, own) = right(&logits, &index);
        let short = (&logits - own + self.margin).relu();
        let short = if self.squared { short.square() } else { short };
        let wrong = is_right.select(&short.zeros_like(), &short);
        let terms = wrong.mean_axes(&[1], false).reshape(index.shape());
        Terms::new(match self.class_weights[..] {
            [] => terms,
            _ => terms * by_class(&self.class_weights, &index, output.dtype()),
        })
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_classes(output, target, self.class_weights.len())
    }
}

/// How much the best wrong class comes too near to the right one:
/// max(0, 1 − x_right + max x_wrong).
///
/// Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based vector
/// machines", 2001. Outputs `[batch, classes, …]`, targets class indices.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{CategoricalHinge, Loss};
/// let output = Tensor::from_slice(&[1.0f32, 0.5, -3.0], [1, 3]);
/// let loss = CategoricalHinge.loss(&output, &Tensor::from_slice(&[0], [1]));
/// assert_eq!(loss.item::<f32>(), 0.5);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CategoricalHinge;

impl Loss for CategoricalHinge {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let index = indices("categorical_hinge", output, target);
        let logits = rows(output);
        let (is_right, own) = right(&logits, &index);
        // With one class there is no wrong one, and nothing is missing.
        let wrong = is_right.select(&logits.full_like(-1e30), &logits);
        let short = (wrong.max_axes(&[1], true) - own + 1.0).relu();
        Terms::new(short.reshape(index.shape()))
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_classes(output, target, 0)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "multi_margin",
        aliases: &["MultiMargin", "MultiMarginLoss"],
        peers: Peers::of("nn.MultiMarginLoss", ""),
        doc: "How much each wrong class comes too near to the right one.",
        params: &[
            Param::with_default(
                "margin",
                Kind::positive(),
                Value::Float(1.0),
                "by how much the right class is to lead",
            ),
            Param::with_default("p", Kind::int(1, 2), Value::Int(1), "2: squared"),
            CLASS_WEIGHTS,
            REDUCTION,
        ],
    },
    build: |args| {
        Box::new(MultiMargin {
            margin: args.float("margin"),
            squared: args.int("p") == 2,
            class_weights: args.floats("class_weights"),
        })
    },
    across: false,
    samples: &[
        Sample::of("", Values::Real(&[4]), Values::Classes(&[], 4)),
        Sample::of(
            "p = 2, margin = 0.5, class_weights = [1, 2, 0.5]",
            Values::Real(&[3, 2]),
            Values::Classes(&[2], 3),
        ),
    ],
};

pub(super) static CATEGORICAL_HINGE: Entry = Entry {
    spec: Spec {
        name: "categorical_hinge",
        aliases: &["CategoricalHinge"],
        peers: Peers::of("", "losses.CategoricalHinge"),
        doc: "How much the best wrong class comes too near to the right one.",
        params: &[REDUCTION],
    },
    build: |_| Box::new(CategoricalHinge),
    across: false,
    samples: &[Sample::of("", Values::Real(&[4]), Values::Classes(&[], 4))],
};
