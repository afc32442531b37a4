use super::{Entry, Loss, Target, check_like, like};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// Sigmoid, then minus the logarithm of the probability of the right answer:
/// −(t ln σ(x) + (1 − t) ln(1 − σ(x))), the mean over all values.
///
/// Computed as softplus(x) − t x, which cannot overflow. The network has no sigmoid of its own.
/// Outputs and targets have one shape; targets are 0, 1 or probabilities.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{BinaryCrossEntropyWithLogits, Loss};
/// let output = Tensor::from_slice(&[0.0f32, 200.0], [2, 1]);
/// let target = Tensor::from_slice(&[1.0f32, 1.0], [2, 1]);
/// let loss = BinaryCrossEntropyWithLogits.loss(&output, &target);
/// assert!((loss.item::<f32>() - 2f32.ln() / 2.0).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BinaryCrossEntropyWithLogits;

impl Loss for BinaryCrossEntropyWithLogits {
    fn loss(&self, output: &Tensor, target: &Tensor) -> Tensor {
        let target = like("binary_cross_entropy_with_logits", output, target);
        (output.softplus() - target * output).mean()
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_like(output, target)
    }
}

/// Minus the logarithm of the probability of the right answer: −(t ln p + (1 − t) ln(1 − p)), the
/// mean over all values.
///
/// For networks that end with a sigmoid. Logarithms below −100 count as −100, as in PyTorch, so
/// that a probability of 0 gives a finite loss. [`BinaryCrossEntropyWithLogits`] is more exact.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BinaryCrossEntropy;

impl Loss for BinaryCrossEntropy {
    fn loss(&self, output: &Tensor, target: &Tensor) -> Tensor {
        let target = like("binary_cross_entropy", output, target);
        // The smallest probability with a logarithm above −100: the gradient below it is zero
        // instead of infinite.
        let log = |p: Tensor| p.maximum((-100f64).exp()).log();
        let (yes, no) = (log(output.clone()), log(1.0 - output));
        -(&target * &yes + (1.0 - &target) * no).mean()
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_like(output, target)
    }
}

pub(super) static WITH_LOGITS: Entry = Entry {
    spec: Spec {
        name: "binary_cross_entropy_with_logits",
        aliases: &["bce_with_logits", "BCEWithLogitsLoss", "sigmoid_cross_entropy"],
        peers: Peers::of("nn.BCEWithLogitsLoss", "losses.BinaryCrossentropy(from_logits=True)"),
        doc: "Sigmoid, then minus the logarithm of the probability of the right answer.",
        params: &[],
    },
    build: |_| Box::new(BinaryCrossEntropyWithLogits),
};

pub(super) static OF_PROBABILITIES: Entry = Entry {
    spec: Spec {
        name: "binary_cross_entropy",
        aliases: &["bce", "BCELoss"],
        peers: Peers::of("nn.BCELoss", "losses.BinaryCrossentropy"),
        doc: "Minus the logarithm of the probability of the right answer, after a sigmoid.",
        params: &[],
    },
    build: |_| Box::new(BinaryCrossEntropy),
};
