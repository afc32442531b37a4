use super::{Combiner, Entry, row, widths};
use crate::context::Context;
use crate::dims::product;
use crate::layers::{Effect, Layer, Linear, Misfit};
use crate::params::Params;
use nerve_core::{Shape, Tensor};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// A mean of the inputs with shares that depend on all of them: h = Σᵢ gᵢ ⊙ tanh(Wᵢxᵢ), where the
/// gates gᵢ are, for each feature, a softmax over the inputs of Vᵢ \[x₁, …, xₙ\].
///
/// Arevalo et al., "Gated multimodal units for information fusion", 2017: with two inputs the softmax
/// is their sigmoid.
///
/// Parameters: `project.0.weight`, …, and `gate.weight` `[inputs · dim, Σ features]`.
pub struct Gated {
    /// Wᵢ: to rows of one length.
    pub project: Vec<Linear>,
    /// All Vᵢ.
    pub gate: Linear,
}

impl Gated {
    /// For inputs of so many features.
    #[track_caller]
    pub fn new(params: &Params, features: &[usize], dim: usize) -> Gated {
        let at = params.at("project");
        let project = |(i, &n): (usize, &usize)| Linear::new(&at.at(i), n, dim);
        let (all, count) = (features.iter().sum(), features.len());
        Gated {
            project: features.iter().enumerate().map(project).collect(),
            gate: Linear::new(&params.at("gate"), all, count * dim),
        }
    }
}

impl Combiner for Gated {
    fn combine(&self, inputs: &[Tensor], cx: &Context) -> Tensor {
        assert!(inputs.len() == self.project.len(), "gated: one input for each projection");
        let rows: Vec<Tensor> = inputs.iter().map(row).collect();
        let (batch, count) = (rows[0].shape()[0], rows.len());
        let values = rows.iter().zip(&self.project).map(|(x, linear)| linear.forward(x, cx).tanh());
        let values = Tensor::stack(&values.collect::<Vec<_>>(), 1);
        let dim = values.shape()[2];
        let gates = self.gate.forward(&Tensor::concat(&rows, 1), cx).reshape([batch, count, dim]);
        (gates.softmax(1) * values).sum_axes(&[1], false)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "gated",
        aliases: &["gmu"],
        peers: Peers::NONE,
        doc: "A mean of the inputs with shares that depend on all of them (Arevalo et al. 2017).",
        params: &[Param::with_default(
            "dim",
            Kind::int(1, 1 << 20),
            Value::Int(64),
            "length of the row that they become",
        )],
    },
    infer,
    make: |args, inputs, params| Box::new(Gated::new(params, &widths(inputs), args.usize("dim"))),
};

fn infer(args: &Args, inputs: &[Shape]) -> Result<Effect, Misfit> {
    let (dim, count) = (args.usize("dim"), inputs.len());
    if count == 0 {
        return Err(Misfit { needs: "one input or more".into(), hint: String::new() });
    }
    let all = widths(inputs).into_iter().fold(0usize, usize::saturating_add);
    let weights = product(&[all, dim, count + 1]);
    let values = product(&[dim, count]);
    Ok(Effect {
        parameters: weights.saturating_add(values.saturating_mul(2)),
        kept: values.saturating_mul(3),
        ..Effect::cheap([dim], weights, 2)
    })
}
