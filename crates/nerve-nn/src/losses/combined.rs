use super::{Entry, KIND, Loss, REDUCTION, Sample, Target, Terms, Values, build};
use crate::layers::Misfit;
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Item, Kind, Param, Peers, Spec, Value};

/// Several losses of one output, each times a weight: cross-entropy and Dice of a mask, for instance.
///
/// A term for each example: the sum of what each loss gives for it, which is the mean of its own terms
/// over the example.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Combined, Loss, Mae, Mse};
/// let parts: [(f64, Box<dyn Loss>); 2] = [(0.5, Box::new(Mse)), (2.0, Box::new(Mae))];
/// let loss = Combined { parts: parts.into() };
/// let value = loss.loss(&Tensor::full([2, 3], 3.0, nerve_core::DType::F32), &Tensor::ones([2, 3]));
/// assert_eq!(value.item::<f32>(), 0.5 * 4.0 + 2.0 * 2.0);
/// ```
pub struct Combined {
    /// The weight of each, and the loss.
    pub parts: Vec<(f64, Box<dyn Loss>)>,
}

/// The mean of the terms of each example, weighted by what they count: `[batch]`.
fn by_example(terms: &Terms) -> Tensor {
    let (values, batch) = (terms.values(), terms.values().shape()[0]);
    let rows = |x: &Tensor| {
        let rest = x.numel() / batch.max(1);
        x.reshape([batch, rest])
    };
    match terms.weights() {
        None => rows(values).mean_axes(&[1], false),
        Some(weights) => {
            let count = rows(weights).sum_axes(&[1], false);
            // Where nothing counts, the sum of the values is 0 too.
            let some = count.eq(0.0).select(&count.full_like(1.0), &count);
            rows(values).sum_axes(&[1], false) / some
        }
    }
}

impl Loss for Combined {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let part = |(weight, loss): &(f64, Box<dyn Loss>)| {
            by_example(&loss.terms(output, target)) * *weight
        };
        let sum = self.parts.iter().map(part).reduce(|sum, part| sum + part);
        Terms::new(sum.expect("combined: one loss or more"))
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        self.parts.iter().try_for_each(|(_, loss)| loss.check(output, target))
    }
}

static WEIGHT: Kind = Kind::positive();

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "combined",
        aliases: &["sum_of_losses"],
        peers: Peers::NONE,
        doc: "Several losses of one output, each times a weight.",
        params: &[
            Param::required(
                "losses",
                Kind::List { of: &KIND, min_len: 1, max_len: 100 },
                "the losses, which have a term for each example or for its elements",
            ),
            Param::with_default(
                "weights",
                Kind::List { of: &WEIGHT, min_len: 0, max_len: 100 },
                Value::list(&[]),
                "what each counts; those that are missing 1",
            ),
            REDUCTION,
        ],
    },
    build: |args| Box::new(of(args)),
    across: false,
    samples: &[
        Sample::of(
            "losses = ['mse', 'mae'], weights = [0.5, 2]",
            Values::Real(&[3]),
            Values::Real(&[3]),
        ),
        Sample::of(
            "losses = ['cross_entropy', 'dice'], weights = [0.5]",
            Values::Real(&[3, 2, 2]),
            Values::Classes(&[2, 2], 3),
        ),
    ],
};

fn of(args: &Args) -> Combined {
    let weights = args.floats("weights");
    let Some(Value::List(losses)) = args.get("losses") else { unreachable!("it is required") };
    let item = |value: &Value| -> Item {
        let Value::Item(item) = value else { unreachable!("the check has seen it") };
        (**item).clone()
    };
    let weight = |i: usize| weights.get(i).copied().unwrap_or(1.0);
    let part = |(i, value): (usize, &Value)| (weight(i), build(&item(value)));
    Combined { parts: losses.iter().enumerate().map(part).collect() }
}
