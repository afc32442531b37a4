use super::{Entry, Loss, REDUCTION, Sample, Target, Terms, Values};
use crate::layers::Misfit;
use nerve_core::{DType, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// Minus the logarithm of the probability of a sequence of labels, over all ways in which it may
/// lie in time: connectionist temporal classification.
///
/// Graves et al., "Connectionist temporal classification: labelling unsegmented sequence data with
/// recurrent neural networks", 2006. At each step of time the network says a label or nothing
/// (`blank`); equal labels in a row are one, unless a blank lies between. Speech, handwriting.
///
/// Outputs are logits `[batch, time, classes]`, targets labels (i32) `[batch, length]`; behind a
/// shorter sequence stand blanks or negative numbers. All steps of time count;
/// [`of`](Ctc::of) takes lengths. The sum over alignments runs forwards in logarithms, a step of the
/// graph for each step of time (about ten operations each; compiling takes time in proportion), and
/// the gradient is derived from it.
///
/// A term is the loss of a sequence, and the mean is over sequences, as in Keras. PyTorch's `mean`
/// divides each loss by the length of its target first: `length_normalized`. A target that does not
/// fit into the time has the loss ∞, or 0 with `zero_infinity`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Ctc, Loss};
/// // Two steps, two classes: "1" is said by 01, 10 and 11, three of four ways.
/// let loss = Ctc::default().loss(&Tensor::zeros([1, 2, 2]), &Tensor::from_slice(&[1], [1, 1]));
/// assert!((loss.item::<f32>() + 0.75f32.ln()).abs() < 1e-6);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ctc {
    /// The class that stands for nothing.
    pub blank: usize,
    /// Whether a target that does not fit into the time has the loss 0 and no gradient, not ∞.
    pub zero_infinity: bool,
    /// Whether each loss is divided by the number of labels (at least 1).
    pub length_normalized: bool,
}

/// The logarithm of a probability of zero: far below any other, and finite, so that differences of
/// two such are no NaN.
const NEVER: f64 = -1e30;

impl Ctc {
    /// Of logits `[batch, time, classes]`, labels `[batch, length]` and the number of steps that
    /// count of each sequence, i32 `[batch]`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn of(&self, logits: &Tensor, target: &Tensor, times: Option<&Tensor>) -> Terms {
        let (o, t) = (logits.shape(), target.shape());
        assert!(
            o.rank() == 3 && t.rank() == 2 && o[0] == t[0] && !target.dtype().is_float(),
            "ctc: output {o} and target {t}: [batch, time, classes], and labels [batch, length]"
        );
        assert!(o[1] > 0 && t[1] > 0, "ctc: output {o} and target {t}: nothing to align");
        assert!(self.blank < o[2], "ctc: blank {} of {} classes", self.blank, o[2]);
        let labels = Labels::of(target, self.blank as i32, logits.dtype());
        // What each state says, at all times: [batch, time, states].
        let states = labels.states.unsqueeze(1).broadcast_to([o[0], o[1], 2 * t[1] + 1]);
        let said = logits.log_softmax(2).gather(2, &states);
        let alpha = self.forward(&said, &labels, times);
        // The last label or the blank behind it.
        let last = labels.count.unsqueeze(1) * 2;
        let at = |state: Tensor| alpha.gather(1, &state).reshape([o[0]]);
        let blank = at(last.clone());
        // Without labels there is no last one.
        let label = labels.count.gt(0).select(&at((last - 1).maximum(0)), &blank.full_like(NEVER));
        let mut loss = -add(&[blank, label]);
        let never = loss.gt(-0.5 * NEVER);
        let worst = if self.zero_infinity { 0.0 } else { f64::INFINITY };
        loss = never.select(&loss.full_like(worst), &loss);
        if self.length_normalized {
            loss = loss / labels.count.maximum(1).to_dtype(logits.dtype());
        }
        Terms::new(loss)
    }

    /// ln of the probability of all that was said up to the end of time and of being in each state
    /// there: `[batch, states]`.
    fn forward(&self, said: &Tensor, labels: &Labels, times: Option<&Tensor>) -> Tensor {
        let &[batch, time, states] = &said.shape()[..] else { unreachable!("three axes") };
        let at = |t: usize| said.slice(1, t, t + 1).reshape([batch, states]);
        let never = |n| Tensor::full([batch, n], NEVER, said.dtype());
        // Only the first blank and the first label can begin.
        let begins = Tensor::iota([batch, states], 1).lt(2);
        let mut alpha = begins.select(&at(0), &never(states));
        for t in 1..time {
            let shifted =
                |by: usize| Tensor::concat(&[never(by), alpha.slice(1, 0, states - by)], 1);
            let skip = labels.skips.select(&shifted(2), &never(states));
            let next = add(&[alpha.clone(), shifted(1), skip]) + at(t);
            alpha = match times {
                None => next,
                Some(times) => times.unsqueeze(1).gt(t as i32).select(&next, &alpha),
            };
        }
        alpha
    }
}

/// ln Σ eˣ, at each place.
fn add(terms: &[Tensor]) -> Tensor {
    let top = terms[1..].iter().fold(terms[0].clone(), |top, x| top.maximum(x)).detach();
    let sum = terms.iter().map(|x| (x - &top).exp()).reduce(|a, b| a + b);
    sum.expect("at least one").log() + top
}

/// The labels with blanks between, before and behind them.
struct Labels {
    /// The class of each state, i32 `[batch, 2 · length + 1]`.
    states: Tensor,
    /// Whether the blank before a state may be left out: it lies between two different labels.
    skips: Tensor,
    /// How many labels there are, i32 `[batch]`.
    count: Tensor,
}

impl Labels {
    fn of(target: &Tensor, blank: i32, dtype: DType) -> Labels {
        let target = target.to_dtype(DType::I32);
        let &[batch, length] = &target.shape()[..] else { unreachable!("two axes") };
        let real = target.ge(0).logical_and(target.ne(blank));
        let count = real.to_dtype(dtype).sum_axes(&[1], false).to_dtype(DType::I32);
        let blanks = target.full_like(f64::from(blank));
        let labels = real.select(&target, &blanks);
        let pairs = Tensor::stack(&[blanks.clone(), labels], 2).reshape([batch, 2 * length]);
        let states = Tensor::concat(&[pairs, blanks.slice(1, 0, 1)], 1);
        let before =
            Tensor::concat(&[states.slice(1, 0, 2), states.slice(1, 0, 2 * length - 1)], 1);
        // The first two states have none before them, and are equal to themselves here.
        let skips = states.ne(blank).logical_and(states.ne(&before));
        Labels { states, skips, count }
    }
}

impl Loss for Ctc {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        self.of(output, target, None)
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        let fits = output.len() == 2 && target.shape.rank() == 1 && !target.dtype.is_float();
        match fits && self.blank < output[1] && target.classes.is_none_or(|n| n <= output[1]) {
            true => Ok(()),
            false => Err(Misfit {
                needs: "outputs [time, classes] with a class for the blank, and labels [length]"
                    .into(),
                hint: String::new(),
            }),
        }
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "ctc",
        aliases: &["CTC", "CTCLoss"],
        peers: Peers::of("nn.CTCLoss", "losses.CTC"),
        doc: "A sequence of labels, however it lies in time.",
        params: &[
            Param::with_default(
                "blank",
                Kind::int(0, 1 << 24),
                Value::Int(0),
                "the class that stands for nothing",
            ),
            Param::with_default(
                "zero_infinity",
                Kind::Bool,
                Value::Bool(false),
                "whether a target that does not fit into the time counts 0 instead of infinity",
            ),
            Param::with_default(
                "length_normalized",
                Kind::Bool,
                Value::Bool(false),
                "whether each loss is divided by the number of labels, as PyTorch's mean does",
            ),
            REDUCTION,
        ],
    },
    build: |args| {
        Box::new(Ctc {
            blank: args.usize("blank"),
            zero_infinity: args.bool("zero_infinity"),
            length_normalized: args.bool("length_normalized"),
        })
    },
    across: false,
    samples: &[
        Sample::of("", Values::Real(&[7, 4]), Values::Classes(&[3], 4)),
        Sample::of(
            "blank = 3, zero_infinity = true, length_normalized = true",
            Values::Real(&[5, 4]),
            Values::Classes(&[2], 4),
        ),
    ],
};
