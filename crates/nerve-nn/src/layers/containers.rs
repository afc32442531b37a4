//! Layers that are made of layers, in a recipe: `Sequential`, `Residual`, `Branches`, `Repeat`,
//! `TimeDistributed`.

use super::block::{Block, items, layer};
use super::combine::Combine;
use super::{Effect, Entry, Layer, Misfit, Sample, specs};
use crate::activations;
use crate::context::Context;
use crate::params::Params;
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

static LAYER: Kind = Kind::Item { what: "layer", specs };
static LAYERS: Kind = Kind::List { of: &LAYER, min_len: 0, max_len: 1000 };

/// The layers inside.
const INSIDE: Param = Param::required(
    "layers",
    Kind::List { of: &LAYER, min_len: 1, max_len: 1000 },
    "the layers, first to last",
);

/// An entry of which the arguments say what it is made of.
macro_rules! entry {
    ($name:literal [$($alias:literal),*] $peers:expr, $doc:literal, $params:expr, $samples:expr,
        $block:expr) => {
        Entry {
            spec: Spec {
                name: $name,
                aliases: &[$($alias),*],
                peers: $peers,
                doc: $doc,
                params: $params,
            },
            takes_indices: false,
            samples: $samples,
            infer: |args, input| {
                let block: Block = $block(args, input)?;
                block.infer(input)
            },
            make: |args, input, params| {
                let block: Result<Block, Misfit> = $block(args, input);
                block.expect("`infer` has accepted it").make(input, params)
            },
        }
    };
}

pub(crate) use entry;

pub(super) static SEQUENTIAL: Entry = entry!(
    "Sequential" [] Peers::of("nn.Sequential", "Sequential"),
    "Layers one after the other, as one layer.",
    &[INSIDE],
    &[Sample::of(
        "layers = [{ type = 'Dense', units = 3 }, 'tanh', { type = 'Dense', units = 2 }]",
        &[4],
    )],
    |args: &Args, _: &[usize]| Ok(Block::from_list(args, "layers"))
);

pub(super) static RESIDUAL: Entry = entry!(
    "Residual" [] Peers::NONE,
    "The sum of what its layers give and what it gets, which may go through a shortcut.",
    &[
        INSIDE,
        Param::with_default(
            "shortcut",
            LAYERS,
            Value::list(&[]),
            "layers on the way of the input to the sum; without them it is added as it is",
        ),
        Param::with_default(
            "projection",
            Kind::Choice(&["none", "plain", "batch_norm"]),
            Value::text("none"),
            "instead of a shortcut: a linear map (a 1×1 convolution) to the shape of the result \
             where shapes differ, alone or with batch normalisation",
        ),
        activations::PARAM,
    ],
    &[
        Sample::of(
            "layers = [{ type = 'Conv2d', filters = 2, kernel = 3, padding = 'same' }], \
             activation = 'tanh'",
            &[2, 3, 4],
        ),
        Sample::of(
            "layers = [{ type = 'Conv2d', filters = 3, kernel = 3, stride = 2, padding = 1 }], \
             projection = 'batch_norm'",
            &[2, 5, 4],
        ),
        Sample::of("layers = [{ type = 'Dense', units = 3 }], projection = 'plain'", &[4]),
        Sample::of(
            "layers = [{ type = 'Dense', units = 3 }], \
             shortcut = [{ type = 'Dense', units = 3, bias = false }]",
            &[4],
        ),
    ],
    residual
);

fn residual(args: &Args, input: &[usize]) -> Result<Block, Misfit> {
    let body = Block::from_list(args, "layers");
    let projection = args.text("projection");
    let shortcut = if !items(args.get("shortcut")).is_empty() {
        if projection != "none" {
            return Err(Misfit {
                needs: "either a shortcut or a projection".into(),
                hint: "both are given".into(),
            });
        }
        Some(Block::from_list(args, "shortcut").named("shortcut"))
    } else if projection == "none" {
        None
    } else {
        let output = body.infer(input)?.shape;
        (*output != *input)
            .then(|| project(input, &output, projection == "batch_norm"))
            .transpose()?
            .map(|block| block.named("projection"))
    };
    Ok(Block::Residual {
        body: Box::new(body.named("layers")),
        shortcut: shortcut.map(Box::new),
        activation: Some(args.item("activation").clone()),
    })
}

/// A linear map, the same everywhere, from examples of one shape to those of another.
pub(crate) fn project(input: &[usize], output: &[usize], norm: bool) -> Result<Block, Misfit> {
    let misfit = || Misfit {
        needs: "layers whose output a 1×1 convolution with a stride can reach".into(),
        hint: format!("they give {}", nerve_core::Shape::from(output)),
    };
    if input.len() != output.len() || input.contains(&0) || output.contains(&0) {
        return Err(misfit());
    }
    let strides: Vec<usize> =
        input[1..].iter().zip(&output[1..]).map(|(i, o)| i.div_ceil(*o)).collect();
    let reached = |((i, o), s): ((&usize, &usize), &usize)| i.div_ceil(*s) == *o;
    if !input[1..].iter().zip(&output[1..]).zip(&strides).all(reached) {
        return Err(misfit());
    }
    let filters = output[0];
    let stride =
        Value::List(strides.iter().map(|&s| Value::Int(s as i64)).collect::<Vec<_>>().into());
    let map = match strides.len() {
        0 => layer!("Dense", units = filters, bias = !norm),
        1 => layer!("Conv1d", filters = filters, kernel = 1, stride = stride, bias = !norm),
        2 => layer!("Conv2d", filters = filters, kernel = 1, stride = stride, bias = !norm),
        3 => layer!("Conv3d", filters = filters, kernel = 1, stride = stride, bias = !norm),
        _ => return Err(misfit()),
    };
    Ok(if norm { Block::chain([map, layer!("BatchNorm")]) } else { map })
}

pub(super) static BRANCHES: Entry = entry!(
    "Branches" ["Parallel"]
    Peers::of("", "layers.Concatenate, Add, Multiply, Subtract, Average, Maximum, Minimum"),
    "Lists of layers side by side on the same input, whose outputs are merged.",
    &[
        Param::required(
            "branches",
            Kind::List { of: &LAYERS, min_len: 1, max_len: 1000 },
            "the lists of layers; an empty one passes its input on",
        ),
        Param::with_default(
            "merge",
            Kind::Choice(Combine::WORDS),
            Value::text("concat"),
            "how the outputs become one; all but concat broadcast",
        )
        .alias(&["mode"]),
        Param::with_default(
            "axis",
            Kind::int(-8, 8),
            Value::Int(1),
            "of concat, counted with the batch: 1 is that of the channels",
        )
        .alias(&["dim"]),
    ],
    &[
        Sample::of(
            "branches = [[], [{ type = 'Conv2d', filters = 3, kernel = 3, padding = 1 }, 'relu']]",
            &[2, 3, 4],
        ),
        Sample::of(
            "branches = [[], ['sigmoid'], [{ type = 'Dense', units = 4 }]], merge = 'multiply'",
            &[4],
        ),
        Sample::of("branches = [['tanh'], [], ['silu']], merge = 'max'", &[2, 5]),
        Sample::of("branches = [['tanh'], []], merge = 'mean'", &[2, 5]),
        Sample::of("branches = [['tanh'], []], axis = -1", &[2, 5]),
    ],
    branches
);

fn branches(args: &Args, _: &[usize]) -> Result<Block, Misfit> {
    let Some(Value::List(lists)) = args.get("branches") else {
        unreachable!("the check has seen it")
    };
    let part = |(i, list): (usize, &Value)| {
        Block::chain(items(Some(list)).into_iter().map(Block::Layer)).named(format!("branches.{i}"))
    };
    let merge = Combine::named(args.text("merge"), args.int("axis") as isize);
    Ok(Block::Branches { parts: lists.iter().enumerate().map(part).collect(), merge })
}

/// How often a list may be repeated: each time has parameters of its own.
const REPEATS: i64 = 1000;

pub(super) static REPEAT: Entry = Entry {
    spec: Spec {
        name: "Repeat",
        aliases: &[],
        peers: Peers::NONE,
        doc: "The same layers several times, each time with parameters of their own.",
        params: &[Param::required("n", Kind::int(1, REPEATS), "how many times"), INSIDE],
    },
    takes_indices: false,
    samples: &[Sample::of("n = 3, layers = [{ type = 'Dense', units = 4 }, 'tanh']", &[2])],
    infer: |args, input| {
        let (block, n) = (Block::from_list(args, "layers"), args.usize("n"));
        let mut all = block.infer(input)?;
        for round in 1..n {
            let next = block.infer(&all.shape)?;
            if next.shape == all.shape {
                // From here on every round is like this one.
                let times = (n - round) as u128;
                let [parameters, state, flops, kept] =
                    [next.parameters, next.state, next.flops, next.kept]
                        .map(|number| number.saturating_mul(times));
                return Ok(all.then(Effect { shape: next.shape, parameters, state, flops, kept }));
            }
            all = all.then(next);
        }
        Ok(all)
    },
    make: |args, input, params| {
        let block = Block::from_list(args, "layers");
        Block::chain(vec![block; args.usize("n")]).make(input, params)
    },
};

/// A layer applied to every step of a sequence, with the same parameters.
///
/// Input `[batch, steps, …]`, output `[batch, steps, …']`: the layer sees `[batch · steps, …]`.
/// Batch normalisation inside takes all steps as one batch, as in Keras.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::layers::{Linear, TimeDistributed};
/// use nerve_nn::{Context, Layer, Params};
/// let layer = Box::new(Linear::new(&Params::new(42).at("layer"), 8, 3));
/// let y = TimeDistributed { layer }.forward(&Tensor::ones([2, 5, 8]), &Context::eval());
/// assert_eq!(**y.shape(), [2, 5, 3]);
/// ```
pub struct TimeDistributed {
    /// What is applied to each step.
    pub layer: Box<dyn Layer>,
}

impl Layer for TimeDistributed {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        assert!(x.rank() >= 2, "TimeDistributed: expected [batch, steps, …], found {}", x.shape());
        let fold = |rest: &[usize], first: &[usize]| [first, rest].concat();
        let (batch, steps) = (x.shape()[0], x.shape()[1]);
        let y = self.layer.forward(&x.reshape(fold(&x.shape()[2..], &[batch * steps])), cx);
        y.reshape(fold(&y.shape()[1..], &[batch, steps]))
    }
}

/// The layer inside, and the steps and shape of each of an input.
fn each_step<'a>(args: &Args, input: &'a [usize]) -> Result<(Block, usize, &'a [usize]), Misfit> {
    let (&steps, shape) = input.split_first().ok_or_else(|| Misfit {
        needs: "[steps, …]".into(),
        hint: "it gets single numbers".into(),
    })?;
    Ok((Block::Layer(args.item("layer").clone()), steps, shape))
}

pub(super) static TIME_DISTRIBUTED: Entry = Entry {
    spec: Spec {
        name: "TimeDistributed",
        aliases: &[],
        peers: Peers::of("", "layers.TimeDistributed"),
        doc: "A layer applied to every step of a sequence.",
        params: &[Param::required("layer", LAYER, "what is applied to each step")],
    },
    takes_indices: false,
    samples: &[
        Sample::of("layer = { type = 'Dense', units = 3 }", &[2, 4]),
        Sample::of("layer = { type = 'Conv2d', filters = 2, kernel = 2 }", &[3, 1, 3, 4]),
    ],
    infer: |args, input| {
        let (block, steps, shape) = each_step(args, input)?;
        let each = block.infer(shape)?;
        let [flops, kept] = [each.flops, each.kept].map(|n| n.saturating_mul(steps as u128));
        let shape = [&[steps], &each.shape[..]].concat().into();
        Ok(Effect { shape, flops, kept, ..each })
    },
    make: |args, input, params: &Params| {
        let (block, _, shape) = each_step(args, input).expect("`infer` has accepted it");
        Box::new(TimeDistributed { layer: block.make(shape, &params.at("layer")) })
    },
};
