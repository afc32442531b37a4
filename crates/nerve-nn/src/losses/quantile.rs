use super::{Entry, Loss, REDUCTION, Sample, Target, Terms, Values, check_like, like};
use crate::layers::Misfit;
use nerve_core::{Shape, Tensor};
use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// The pinball loss, whose minimum is a quantile of the targets: max(q d, (q − 1) d) with
/// d = target − output.
///
/// Koenker and Bassett, "Regression quantiles", 1978. With q = 0.9 an output that is too small
/// costs nine times as much as one that is too large, so that nine of ten targets come to lie below
/// it.
///
/// One quantile: outputs and targets have one shape. Several: the outputs have one more axis, the
/// last, with a value for each; each is compared with the same target.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::losses::{Loss, Quantile};
/// let loss = Quantile { quantiles: vec![0.25, 0.75] };
/// let output = Tensor::from_slice(&[1.0f32, 3.0], [1, 2]);
/// let terms = loss.terms(&output, &Tensor::from_slice(&[2.0f32], [1]));
/// assert_eq!(terms.values().to_vec::<f32>(), [0.25, 0.25]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Quantile {
    /// The quantiles, each above 0 and below 1.
    pub quantiles: Vec<f64>,
}

impl Default for Quantile {
    /// The median: half the absolute difference.
    fn default() -> Self {
        Quantile { quantiles: vec![0.5] }
    }
}

impl Loss for Quantile {
    fn terms(&self, output: &Tensor, target: &Tensor) -> Terms {
        let pinball = |d: &Tensor, q: &Tensor| (d * q).maximum(d * (q - 1.0));
        if let [q] = self.quantiles[..] {
            let d = like("quantile", output, target) - output;
            return Terms::new((&d * q).maximum(&d * (q - 1.0)));
        }
        let (o, t, count) = (output.shape(), target.shape(), self.quantiles.len());
        assert!(
            o.strip_suffix(&[count]) == Some(&t[..]),
            "quantile: output {o} and target {t}: {count} outputs for each target, on a last axis"
        );
        let q = Tensor::from_slice(&self.quantiles, [count]).to_dtype(output.dtype());
        let target = target.to_dtype(output.dtype()).unsqueeze(t.rank());
        Terms::new(pinball(&(target - output), &q))
    }

    fn check(&self, output: &[usize], target: &Target) -> Result<(), Misfit> {
        let count = self.quantiles.len();
        if count == 1 {
            return check_like(output, target);
        }
        match output.strip_suffix(&[count]) == Some(&*target.shape) {
            true => Ok(()),
            false => Err(Misfit {
                needs: Shape::from([&target.shape[..], &[count]].concat()).to_string(),
                hint: format!("{count} outputs for each target, on a last axis"),
            }),
        }
    }
}

static SHARE: Kind = Kind::Float { min: 0.0, max: 1.0, open_min: true, open_max: true };
static MEDIAN: [Value; 1] = [Value::Float(0.5)];

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "quantile",
        aliases: &["Quantile", "pinball", "QuantileLoss"],
        peers: Peers::NONE,
        doc: "The pinball loss, whose minimum is a quantile of the targets.",
        params: &[
            Param::with_default(
                "quantiles",
                Kind::List { of: &SHARE, min_len: 1, max_len: 1024 },
                Value::list(&MEDIAN),
                "the quantiles, each above 0 and below 1",
            )
            .alias(&["q", "alpha"]),
            REDUCTION,
        ],
    },
    build: |args| Box::new(Quantile { quantiles: args.floats("quantiles") }),
    across: false,
    samples: &[
        Sample::of("", Values::Real(&[3]), Values::Real(&[3])),
        Sample::of("quantiles = [0.1, 0.5, 0.9]", Values::Real(&[3]), Values::Real(&[])),
        Sample::of("quantiles = [0.2, 0.8]", Values::Real(&[4, 2]), Values::Real(&[4])),
    ],
};
