use super::{Combiner, Entry, effect_of, row, widths};
use crate::context::Context;
use crate::encoders::{ACTIVATION, DROPOUT, NORM, fully_connected};
use crate::layers::{Effect, Layer, Misfit, Sequential};
use nerve_core::{Shape, Tensor};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// The product of the first two inputs, u and v, of one length each: Σₖ uₖ vₖ + u₀ + v₀, where u₀ and
/// v₀, their last numbers, are their biases. Matrix factorisation, if both are embeddings: Koren, Bell
/// & Volinsky, "Matrix factorization techniques for recommender systems", 2009.
///
/// With layers behind, what these make of all inputs side by side stands beside the product: He et
/// al., "Neural collaborative filtering", 2017.
///
/// Output `[batch, 1]`, or `[batch, 1 + units of the last layer]`.
pub struct Dot {
    /// The layers beside the product; none if empty.
    pub layers: Sequential,
}

impl Combiner for Dot {
    fn combine(&self, inputs: &[Tensor], cx: &Context) -> Tensor {
        let rows: Vec<Tensor> = inputs.iter().map(row).collect();
        let (u, v) = (&rows[0], &rows[1]);
        let last = u.shape()[1] - 1;
        let factors = |x: &Tensor| x.slice(1, 0, last);
        let bias = |x: &Tensor| x.slice(1, last, last + 1);
        let product = (factors(u) * factors(v)).sum_axes(&[1], true) + bias(u) + bias(v);
        if self.layers.layers.is_empty() {
            return product;
        }
        let beside = self.layers.forward(&Tensor::concat(&rows, 1), cx);
        Tensor::concat(&[product, beside], 1)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "dot",
        aliases: &["dot_product", "ncf"],
        peers: Peers::NONE,
        doc: "The product of the first two inputs, and perhaps a network of all beside it.",
        params: &[
            Param::with_default(
                "hidden",
                Kind::List { of: &Kind::int(1, 1 << 24), min_len: 0, max_len: 100 },
                Value::list(&[]),
                "units of the layers beside the product",
            )
            .alias(&["mlp", "fc"]),
            ACTIVATION,
            NORM,
            DROPOUT,
        ],
    },
    infer,
    make: |args, inputs, params| {
        let width = widths(inputs).iter().sum();
        let list = fully_connected(args).expect("`infer` has accepted it");
        let made = Sequential::from_items(&list, &[width].into(), params);
        Box::new(Dot { layers: made.expect("`infer` has accepted it").0 })
    },
};

fn infer(args: &Args, inputs: &[Shape]) -> Result<Effect, Misfit> {
    let widths = widths(inputs);
    if widths.len() < 2 || widths[0] != widths[1] || widths[0] < 2 {
        return Err(Misfit {
            needs: "two inputs of one length, 2 or more, before all others".into(),
            hint: match widths[..] {
                [a, b, ..] => format!("they are {a} and {b}: give both encoders the same `dim`"),
                _ => format!("there are {}", widths.len()),
            },
        });
    }
    let product = Effect::cheap([1], widths[0] as u128, 2);
    let list = fully_connected(args)
        .map_err(|hint| Misfit { needs: "layers within their ranges".into(), hint })?;
    if list.is_empty() {
        return Ok(product);
    }
    let all = widths.into_iter().fold(0usize, usize::saturating_add);
    let beside = effect_of(&list, all)?;
    let shape: Shape = [beside.shape[0].saturating_add(1)].into();
    Ok(product.then(beside).then(Effect { kept: 0, ..Effect::cheap(shape, 0, 0) }))
}
