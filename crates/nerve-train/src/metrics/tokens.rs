//! Metrics of the tokens or tags of a sequence, of which those that fill it up do not count.

use super::{Entry, Kept, Metric, check_classes, expect_classes};
use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use nerve_nn::layers::Misfit;
use nerve_nn::losses::Target;

/// The share of tokens whose likeliest class is the right one, given all that is true before them.
///
/// Output `[batch, classes, time]`, target class indices `[batch, time]`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_train::metrics::{TokenAccuracy, measure};
/// let output = Tensor::from_slice(&[0.1f32, 0.1, 0.1, 0.9, 0.2, 0.9], [1, 2, 3]);
/// // The first is right, the second is not, the third fills up.
/// let target = Tensor::from_slice(&[1, 0, 0], [1, 3]);
/// let accuracy = TokenAccuracy { ignore_index: 0 };
/// assert_eq!(measure(&accuracy, &output, &target), 1.0);
/// assert_eq!(measure(&TokenAccuracy { ignore_index: -1 }, &output, &target), 1.0 / 3.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenAccuracy {
    /// Targets of this class do not count.
    pub ignore_index: i32,
}

impl Metric for TokenAccuracy {
    fn name(&self) -> String {
        "token_accuracy".into()
    }

    fn observe(&self, output: &Tensor, target: &Tensor) -> Tensor {
        expect_classes(output, target);
        let (scores, index) = rows(output, target);
        let counts = index.ne(self.ignore_index);
        let right = scores.argmax(1, false).eq(&index).logical_and(&counts);
        Tensor::stack(&[right.to_dtype(DType::F64).sum(), counts.to_dtype(DType::F64).sum()], 0)
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_classes(output, target)
    }
}

/// e to the power of the mean surprise at the right token: among how many equally likely ones the network chooses.
///
/// As [`LogLoss`](super::LogLoss), but in the precision of the network: the scores of all tokens in f64 would be as much
/// memory again as the network takes. The loss that is minimised shares them.
///
/// Output `[batch, classes, time]`, target class indices `[batch, time]`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_train::metrics::{TokenPerplexity, measure};
/// let target = Tensor::from_slice(&[3, 1, 0], [1, 3]);
/// let value = measure(&TokenPerplexity { ignore_index: 0 }, &Tensor::zeros([1, 8, 3]), &target);
/// assert!((value - 8.0).abs() < 1e-5);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenPerplexity {
    /// Targets of this class do not count.
    pub ignore_index: i32,
}

impl Metric for TokenPerplexity {
    fn name(&self) -> String {
        "perplexity".into()
    }

    fn observe(&self, output: &Tensor, target: &Tensor) -> Tensor {
        expect_classes(output, target);
        let (scores, index) = rows(output, target);
        let surprise = scores.cross_entropy(&index, Some(self.ignore_index));
        let counts = index.ne(self.ignore_index).to_dtype(DType::F64);
        Tensor::stack(&[surprise.to_dtype(DType::F64).sum(), counts.sum()], 0)
    }

    fn value(&self, kept: &Kept) -> f64 {
        kept.mean().exp()
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        check_classes(output, target)
    }
}

/// `[batch, classes, …]` as `[batch · …, classes]`, and the targets as `[batch · …]`.
fn rows(output: &Tensor, target: &Tensor) -> (Tensor, Tensor) {
    let order: Vec<usize> = [0].into_iter().chain(2..output.rank()).chain([1]).collect();
    let (count, classes) = (target.numel(), output.shape()[1]);
    let scores = output.permute(&order).reshape([count, classes]);
    (scores, target.to_dtype(DType::I32).reshape([count]))
}

const IGNORED: Param = Param::with_default(
    "ignore_index",
    Kind::int(i32::MIN as i64, i32::MAX as i64),
    Value::Int(0),
    "targets with this class do not count: what fills up short sequences",
);

fn ignored(args: &Args) -> i32 {
    args.int("ignore_index") as i32
}

pub(super) static ACCURACY: Entry = Entry {
    spec: Spec {
        name: "token_accuracy",
        aliases: &["TokenAccuracy"],
        peers: Peers::NONE,
        doc: "The share of tokens or tags whose likeliest class is the right one.",
        params: &[IGNORED],
    },
    build: |args| Box::new(TokenAccuracy { ignore_index: ignored(args) }),
};

pub(super) static PERPLEXITY: Entry = Entry {
    spec: Spec {
        name: "token_perplexity",
        aliases: &["TokenPerplexity"],
        peers: Peers::of("", "keras_hub.metrics.Perplexity"),
        doc: "Among how many equally likely tokens the network chooses; it is reported as perplexity.",
        params: &[IGNORED],
    },
    build: |args| Box::new(TokenPerplexity { ignore_index: ignored(args) }),
};
