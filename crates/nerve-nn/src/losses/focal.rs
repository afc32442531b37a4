use super::{
    CLASS_WEIGHTS, CrossEntropy, Entry, IGNORE_INDEX, Loss, REDUCTION, Sample, Target, Terms,
    Values, check_classes, check_like, ignore_index, indices, like,
};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// The power of what is missing to certainty. Below 1 the slope at zero is infinite: there what is
/// missing counts as at least 10⁻³⁰.
fn modulate(missing: &Tensor, gamma: f64) -> Tensor {
    match gamma > 0.0 && gamma < 1.0 {
        true => missing.maximum(1e-30).powf(gamma),
        false => missing.powf(gamma),
    }
}

/// The cross-entropy of each row, less for rows that are right already: (1 − p)^γ · −ln p, where p
/// is the probability of the right class.
///
/// Lin et al., "Focal loss for dense object detection", 2017: easy examples, of which there are
/// many, do not drown the hard ones. Outputs are logits `[batch, classes, …]`, targets class
/// indices. Class weights (α of the paper) multiply the terms and do not count in the mean.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Focal, Loss};
/// let (output, target) = (Tensor::zeros([1, 2]), Tensor::from_slice(&[1], [1]));
/// let loss = Focal::default().loss(&output, &target).item::<f32>();
/// assert!((loss - 0.25 * 2f32.ln()).abs() < 1e-6);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Focal {
    /// How much less: 0 is the cross-entropy.
    pub gamma: f64,
    /// Rows with this index as their target do not count.
    pub ignore_index: Option<i32>,
    /// What the terms of each class are multiplied with; empty: nothing.
    pub class_weights: Vec<f64>,
}

impl Default for Focal {
    /// γ = 2, all classes alike.
    fn default() -> Self {
        Focal { gamma: 2.0, ignore_index: None, class_weights: Vec::new() }
    }
}

impl Loss for Focal {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let target = indices("focal", output, target);
        let entropy = CrossEntropy { ignore_index: self.ignore_index, ..CrossEntropy::default() };
        let weighted =
            CrossEntropy { class_weights: self.class_weights.clone(), ..entropy.clone() };
        let plain = entropy.terms(output, &target);
        // 1 − p = −(e⁻ˡ − 1) with l = −ln p: exact where p is almost 1.
        let missing = -(-plain.values()).expm1();
        let terms = weighted.terms(output, &target).values() * modulate(&missing, self.gamma);
        match plain.weights() {
            None => Terms::new(terms),
            Some(counts) => Terms::counted(terms, counts.clone()),
        }
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_classes(output, target, self.class_weights.len())
    }
}

/// The binary cross-entropy of each value, less for values that are right already:
/// α_t (1 − p_t)^γ · −ln p_t, where p_t is the probability of the right answer.
///
/// Lin et al., "Focal loss for dense object detection", 2017. Outputs are logits; outputs and
/// targets have one shape. `alpha` weighs yes, 1 − `alpha` no; without it both are 1.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{BinaryFocal, Loss};
/// let loss = BinaryFocal::default().loss(&Tensor::zeros([1]), &Tensor::ones([1]));
/// assert!((loss.item::<f32>() - 0.25 * 0.25 * 2f32.ln()).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BinaryFocal {
    /// How much less: 0 is the binary cross-entropy.
    pub gamma: f64,
    /// The weight of yes.
    pub alpha: Option<f64>,
}

impl Default for BinaryFocal {
    /// γ = 2, α = 0.25.
    fn default() -> Self {
        BinaryFocal { gamma: 2.0, alpha: Some(0.25) }
    }
}

impl Loss for BinaryFocal {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let target = like("binary_focal", output, target);
        let no = 1.0 - &target;
        // Both from sigmoids of their own: 1 − σ(x) loses what is small.
        let missing = &target * (-output).sigmoid() + &no * output.sigmoid();
        let entropy = output.softplus() - &target * output;
        let terms = entropy * modulate(&missing, self.gamma);
        Terms::new(match self.alpha {
            None => terms,
            Some(alpha) => terms * (target * alpha + no * (1.0 - alpha)),
        })
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_like(output, target)
    }
}

const GAMMA: Param = Param::with_default(
    "gamma",
    Kind::non_negative(),
    Value::Float(2.0),
    "how much less what is right already counts; 0: not less",
);

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "focal",
        aliases: &["focal_loss", "CategoricalFocalCrossentropy"],
        peers: Peers::of("", "losses.CategoricalFocalCrossentropy"),
        doc: "The cross-entropy, less for examples that are right already.",
        params: &[GAMMA, IGNORE_INDEX, CLASS_WEIGHTS, REDUCTION],
    },
    build: |args| {
        Box::new(Focal {
            gamma: args.float("gamma"),
            ignore_index: ignore_index(args),
            class_weights: args.floats("class_weights"),
        })
    },
    across: false,
    samples: &[
        Sample::of("", Values::Real(&[4]), Values::Classes(&[], 4)),
        Sample::of(
            "gamma = 1.5, class_weights = [1, 2, 3], ignore_index = 1",
            Values::Real(&[3, 2]),
            Values::Classes(&[2], 3),
        ),
        Sample::of("gamma = 0.5", Values::Real(&[4]), Values::Classes(&[], 4)),
    ],
};

pub(super) static BINARY: Entry = Entry {
    spec: Spec {
        name: "binary_focal",
        aliases: &["sigmoid_focal_loss", "BinaryFocalCrossentropy"],
        peers: Peers::of("", "losses.BinaryFocalCrossentropy(from_logits=True)"),
        doc: "The binary cross-entropy, less for values that are right already.",
        params: &[
            GAMMA,
            Param::with_default(
                "alpha",
                Kind::float(-1.0, 1.0),
                Value::Float(0.25),
                "the weight of yes, 1 − alpha being that of no; below 0: none",
            ),
            REDUCTION,
        ],
    },
    build: |args| {
        let alpha = args.float("alpha");
        Box::new(BinaryFocal { gamma: args.float("gamma"), alpha: (alpha >= 0.0).then_some(alpha) })
    },
    across: false,
    samples: &[
        Sample::of("", Values::Real(&[3]), Values::Bits(&[3])),
        Sample::of("gamma = 0.5, alpha = -1", Values::Real(&[3]), Values::Unit(&[3])),
    ],
};
