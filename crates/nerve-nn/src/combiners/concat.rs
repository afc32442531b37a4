use super::{Combiner, Entry, effect_of, row, widths};
use crate::context::Context;
use crate::encoders::{ACTIVATION, DROPOUT, NORM, fully_connected};
use crate::layers::{Effect, Layer, Misfit, Sequential};
use nerve_core::{Shape, Tensor};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// Side by side, and fully connected layers behind.
struct Concat {
    layers: Sequential,
}

impl Combiner for Concat {
    fn combine(&self, inputs: &[Tensor], cx: &Context) -> Tensor {
        let rows: Vec<Tensor> = inputs.iter().map(row).collect();
        let all = if let [one] = &rows[..] { one.clone() } else { Tensor::concat(&rows, 1) };
        self.layers.forward(&all, cx)
    }
}

static HIDDEN: [Value; 2] = [Value::Int(128), Value::Int(64)];
const SIZES: Kind = Kind::List { of: &Kind::int(1, 1 << 24), min_len: 0, max_len: 100 };

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "concat",
        aliases: &["concatenate"],
        peers: Peers::NONE,
        doc: "Side by side, and fully connected layers behind.",
        params: &[
            Param::with_default(
                "hidden",
                SIZES,
                Value::list(&HIDDEN),
                "units of the layers behind; empty for none",
            )
            .alias(&["fc", "units"]),
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
        Box::new(Concat { layers: made.expect("`infer` has accepted it").0 })
    },
};

fn infer(args: &Args, inputs: &[Shape]) -> Result<Effect, Misfit> {
    let width = widths(inputs).into_iter().fold(0usize, usize::saturating_add);
    if width == 0 {
        return Err(Misfit { needs: "one input or more".into(), hint: String::new() });
    }
    let list = fully_connected(args)
        .map_err(|hint| Misfit { needs: "layers within their ranges".into(), hint })?;
    effect_of(&list, width)
}
