use super::{Entry, Loss, Target};
use crate::layers::Misfit;
use nerve_core::{DType, Shape, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Softmax, then minus the logarithm of the probability of the right class:
/// −Σ target · ln softmax(output), the mean over all rows.
///
/// Also called negative log-likelihood; Bridle, "Probabilistic interpretation of feedforward
/// classification network outputs", 1990. The network has no softmax of its own.
///
/// Output `[batch, classes]` or `[batch, classes, …]`; target class indices (i32 or u8) `[batch]`
/// or `[batch, …]`, or probabilities of the shape and type of the output.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{CrossEntropy, Loss};
/// let output = Tensor::from_slice(&[0.0f32, 0.0], [1, 2]);
/// let target = Tensor::from_slice(&[1i32], [1]);
/// let loss = CrossEntropy::default().loss(&output, &target);
/// assert!((loss.item::<f32>() - 2f32.ln()).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrossEntropy {
    /// The share ε of the target that is spread evenly over all classes: the right class is to get
    /// 1 − ε + ε / classes. Szegedy et al., "Rethinking the Inception architecture", 2015.
    pub label_smoothing: f64,
    /// Rows with this index as their target do not count, in sum and number.
    pub ignore_index: Option<i32>,
}

impl CrossEntropy {
    /// For targets that are class indices, one for each of `rows`.
    fn of_indices(&self, logits: &Tensor, target: &Tensor) -> Tensor {
        let (rows, dtype) = (target.numel(), logits.dtype());
        let target = target.to_dtype(DType::I32).reshape([rows]);
        let mut loss = logits.cross_entropy(&target, self.ignore_index);
        let counts = self.ignore_index.map(|ignored| target.ne(ignored).to_dtype(dtype));
        if self.label_smoothing > 0.0 {
            let mut even = -logits.log_softmax(-1).mean_axes(&[-1], false);
            if let Some(counts) = &counts {
                even = even * counts;
            }
            loss = loss * (1.0 - self.label_smoothing) + even * self.label_smoothing;
        }
        match counts {
            None => loss.mean(),
            Some(counts) => loss.sum() / counts.sum(),
        }
    }

    /// For targets that are probabilities of each class.
    fn of_probabilities(&self, logits: &Tensor, target: &Tensor) -> Tensor {
        let classes = logits.shape()[1] as f64;
        let target = match self.label_smoothing {
            0.0 => target.clone(),
            share => target * (1.0 - share) + share / classes,
        };
        logits.cross_entropy(&target, None).mean()
    }
}

/// The classes as the last of two axes.
fn rows(x: &Tensor) -> Tensor {
    if x.rank() == 2 {
        return x.clone();
    }
    let order: Vec<usize> = [0].into_iter().chain(2..x.rank()).chain([1]).collect();
    let classes = x.shape()[1];
    x.permute(&order).reshape([x.numel() / classes.max(1), classes])
}

impl Loss for CrossEntropy {
    fn loss(&self, output: &Tensor, target: &Tensor) -> Tensor {
        assert!(
            output.rank() >= 2,
            "cross_entropy: expected [batch, classes, …], found {}",
            output.shape()
        );
        if target.dtype().is_float() {
            assert!(
                output.shape() == target.shape() && output.dtype() == target.dtype(),
                "cross_entropy: probabilities {target:?} for output {output:?}"
            );
            return self.of_probabilities(&rows(output), &rows(target));
        }
        let mut expected = output.shape().to_vec();
        expected.remove(1);
        assert!(
            *target.shape() == Shape::from(expected),
            "cross_entropy: output {} and class indices {}: one index for each row of classes",
            output.shape(),
            target.shape()
        );
        self.of_indices(&rows(output), target)
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        let expected: Shape = match target.classes {
            Some(classes) => [&[classes][..], &target.shape].concat().into(),
            None if target.dtype.is_float() => target.shape.clone(),
            // How many classes there are is not known; any number will do.
            None if output.get(1..) == Some(&*target.shape) => return Ok(()),
            None => Shape::from([&[2][..], &target.shape].concat()),
        };
        match output == &*expected {
            true => Ok(()),
            false => Err(Misfit {
                needs: expected.to_string(),
                hint: "one output for each class".into(),
            }),
        }
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "cross_entropy",
        aliases: &["softmax_cross_entropy", "CrossEntropy", "CrossEntropyLoss"],
        peers: Peers::of(
            "nn.CrossEntropyLoss",
            "losses.SparseCategoricalCrossentropy(from_logits=True)",
        ),
        doc: "Softmax, then minus the logarithm of the probability of the right class.",
        params: &[
            Param::with_default(
                "label_smoothing",
                Kind::fraction(),
                Value::Float(0.0),
                "the share of the target spread over all classes",
            ),
            Param::optional(
                "ignore_index",
                Kind::int(i32::MIN as i64, i32::MAX as i64),
                "examples with this class do not count",
            ),
        ],
    },
    build: |args| {
        Box::new(CrossEntropy {
            label_smoothing: args.float("label_smoothing"),
            ignore_index: args.has("ignore_index").then(|| args.int("ignore_index") as i32),
        })
    },
};
