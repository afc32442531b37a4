use super::{Combiner, Entry};
use crate::context::Context;
use crate::dims::product;
use crate::init::Normal;
use crate::layers::transformer_encoder::effect_of;
use crate::layers::{Effect, Layer, Linear, Misfit, TransformerEncoder, TransformerOptions};
use crate::params::Params;
use nerve_core::{Shape, Tensor, Var};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// Attention of the inputs to each other: each is a token, or several where its encoder gives
/// `[tokens, features]`, brought to one length by a linear layer of its own. A learned token is put
/// before them; what the layers make of it is the output.
///
/// Gorishniy et al., "Revisiting deep learning models for tabular data" (FT-Transformer), 2021. The
/// layers normalise what they read.
///
/// Parameters: `cls`, `project.0.weight`, …, `encoder.…`.
pub struct Attention {
    /// `[1, dim]`.
    pub cls: Var,
    /// One for each input.
    pub project: Vec<Linear>,
    /// The layers.
    pub encoder: TransformerEncoder,
}

impl Attention {
    /// For inputs of so many features.
    ///
    /// # Panics
    /// If `dim` does not divide into the heads.
    #[track_caller]
    pub fn new(
        params: &Params,
        features: &[usize],
        dim: usize,
        depth: usize,
        options: TransformerOptions,
    ) -> Attention {
        let at = params.at("project");
        let project = |(i, &n): (usize, &usize)| Linear::new(&at.at(i), n, dim);
        let std = (dim.max(1) as f64).sqrt().recip();
        Attention {
            cls: params.var("cls", [1, dim], &Normal { mean: 0.0, std }),
            project: features.iter().enumerate().map(project).collect(),
            encoder: TransformerEncoder::new(&params.at("encoder"), dim, depth, options),
        }
    }
}

impl Combiner for Attention {
    fn combine(&self, inputs: &[Tensor], cx: &Context) -> Tensor {
        assert!(inputs.len() == self.project.len(), "attention: one input for each projection");
        let batch = inputs[0].shape()[0];
        let dim = self.cls.shape()[1];
        let cls = self.cls.get().unsqueeze(0).broadcast_to([batch, 1, dim]);
        let token = |(x, linear): (&Tensor, &Linear)| match x.rank() {
            2 => linear.forward(x, cx).unsqueeze(1),
            _ => linear.forward(x, cx),
        };
        let tokens = inputs.iter().zip(&self.project).map(token);
        let tokens: Vec<Tensor> = [cls].into_iter().chain(tokens).collect();
        let y = self.encoder.forward(&Tensor::concat(&tokens, 1), cx);
        y.slice(1, 0, 1).squeeze(1)
    }
}

const SIZE: Kind = Kind::int(1, 1 << 20);

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "attention",
        aliases: &["ft_transformer", "transformer"],
        peers: Peers::NONE,
        doc: "Attention of the inputs to each other, as tokens (Gorishniy et al. 2021).",
        params: &[
            Param::with_default("dim", SIZE, Value::Int(64), "length of a token"),
            Param::with_default(
                "layers",
                Kind::int(1, 1000),
                Value::Int(3),
                "layers of attention, one after the other",
            )
            .alias(&["blocks"]),
            Param::with_default(
                "heads",
                Kind::int(1, 1 << 10),
                Value::Int(4),
                "heads of attention",
            ),
            Param::optional(
                "feed_forward",
                SIZE,
                "units between the two linear layers of each; without it twice dim",
            )
            .alias(&["ff"]),
            Param::with_default(
                "dropout",
                Kind::fraction(),
                Value::Float(0.1),
                "the share of values that is dropped while training",
            ),
        ],
    },
    infer,
    make: |args, inputs, params| {
        let features: Vec<usize> = inputs.iter().map(|shape| shape[shape.rank() - 1]).collect();
        let (dim, depth) = (args.usize("dim"), args.usize("layers"));
        Box::new(Attention::new(params, &features, dim, depth, options(args)))
    },
};

fn options(args: &Args) -> TransformerOptions {
    let feed_forward = match args.has("feed_forward") {
        true => args.usize("feed_forward"),
        false => args.usize("dim") * 2,
    };
    TransformerOptions {
        dropout: args.float("dropout"),
        norm_first: true,
        ..TransformerOptions::new(args.usize("heads"), feed_forward)
    }
}

fn infer(args: &Args, inputs: &[Shape]) -> Result<Effect, Misfit> {
    let dim = args.usize("dim");
    let (mut tokens, mut parameters, mut flops) = (1usize, dim as u128, 0u128);
    for shape in inputs {
        let (count, features) = match shape[..] {
            [features] => (1, features),
            [count, features] => (count, features),
            _ => {
                return Err(Misfit {
                    needs: "inputs that are rows, or rows of tokens".into(),
                    hint: format!("one is {shape}"),
                });
            }
        };
        tokens = tokens.saturating_add(count);
        let linear = product(&[features, dim]);
        parameters = parameters.saturating_add(linear).saturating_add(dim as u128);
        flops = flops.saturating_add(product(&[count, features, dim]).saturating_mul(2));
    }
    let one = effect_of(&options(args), &[tokens, dim])?;
    let depth = args.usize("layers") as u128;
    let norm = 2 * dim as u128;
    Ok(Effect {
        parameters: one.parameters.saturating_mul(depth).saturating_add(parameters + norm),
        flops: one.flops.saturating_mul(depth).saturating_add(flops),
        kept: one.kept.saturating_mul(depth),
        shape: [dim].into(),
        ..one
    })
}
