//! Layers that only move elements: to other shapes, axes and orders.

use super::{Effect, Entry, Layer, Misfit, ONE, Sample, place};
use crate::context::Context;
use crate::dims::{image, product};
use nerve_core::{Shape, Tensor};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// Moving costs nothing by itself, and keeps nothing.
fn moved(shape: impl Into<Shape>) -> Effect {
    Effect { kept: 0, ..Effect::cheap(shape, 0, 0) }
}

/// The elements of each example in another shape, in the same order.
///
/// Input `[batch, …]`, output `[batch, shape…]` with as many elements.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::Reshape};
/// let layer = Reshape { shape: vec![3, 4] };
/// assert_eq!(**layer.forward(&Tensor::ones([2, 12]), &Context::eval()).shape(), [2, 3, 4]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reshape {
    /// The shape of one example.
    pub shape: Vec<usize>,
}

impl Layer for Reshape {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.reshape([&[x.shape()[0]], &self.shape[..]].concat())
    }

    fn mask(&self, _: &Tensor, _: &Tensor) -> Option<Tensor> {
        None
    }
}

/// The axes of each example in another order.
///
/// Input `[batch, …]`; axis `i` of the output, from 1 on, is axis `axes[i − 1]` of the input; 0 is
/// the batch and stays.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::Permute};
/// let layer = Permute { axes: vec![2, 1] };
/// assert_eq!(**layer.forward(&Tensor::ones([2, 3, 4]), &Context::eval()).shape(), [2, 4, 3]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permute {
    /// Which axes, each once, counted with the batch.
    pub axes: Vec<usize>,
}

impl Layer for Permute {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.permute(&[&[0], &self.axes[..]].concat())
    }

    fn mask(&self, _: &Tensor, _: &Tensor) -> Option<Tensor> {
        None
    }
}

/// Part of an axis: elements `start` to `start + length − 1`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::Narrow};
/// let layer = Narrow { axis: 1, start: 1, length: 2 };
/// assert_eq!(**layer.forward(&Tensor::ones([2, 5, 4]), &Context::eval()).shape(), [2, 2, 4]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Narrow {
    /// The axis, counted with the batch or from the end.
    pub axis: isize,
    /// The first element.
    pub start: usize,
    /// How many.
    pub length: usize,
}

impl Layer for Narrow {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.slice(self.axis, self.start, self.start + self.length)
    }
}

/// Mixes channels between groups: a transpose of `[groups, channels / groups]`.
///
/// Zhang et al., "ShuffleNet: an extremely efficient convolutional neural network for mobile
/// devices", 2018.
///
/// Input `[batch, channels, …]`, output the same.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::ChannelShuffle};
/// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [1, 4, 1]);
/// let y = ChannelShuffle { groups: 2 }.forward(&x, &Context::eval());
/// assert_eq!(y.to_vec::<f32>(), [1.0, 3.0, 2.0, 4.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelShuffle {
    /// Number of groups.
    pub groups: usize,
}

impl Layer for ChannelShuffle {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let (n, c, g) = (x.shape()[0], x.shape()[1], self.groups);
        assert!(c % g == 0, "ChannelShuffle: {c} channels do not divide into {g} groups");
        let inner: usize = x.shape()[2..].iter().product();
        x.reshape([n, g, c / g, inner]).transpose(1, 2).reshape(x.shape())
    }
}

/// Channels become pixels: `[batch, channels · r², height, width]` to
/// `[batch, channels, height · r, width · r]`.
///
/// Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel
/// convolutional neural network", 2016.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::PixelShuffle};
/// let y = PixelShuffle { factor: 2 }.forward(&Tensor::ones([1, 8, 3, 4]), &Context::eval());
/// assert_eq!(**y.shape(), [1, 2, 6, 8]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelShuffle {
    /// How much larger the image becomes.
    pub factor: usize,
}

impl Layer for PixelShuffle {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let (&[n, c, h, w], r) = (&x.shape()[..], self.factor) else {
            panic!("PixelShuffle: expected [batch, channels, height, width], found {}", x.shape())
        };
        assert!(c % (r * r) == 0, "PixelShuffle: {c} channels are no multiple of {r}²");
        x.reshape([n, c / (r * r), r, r, h, w]).permute(&[0, 1, 4, 2, 5, 3]).reshape([
            n,
            c / (r * r),
            h * r,
            w * r,
        ])
    }
}

/// Pixels become channels: the inverse of [`PixelShuffle`].
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::PixelUnshuffle};
/// let y = PixelUnshuffle { factor: 2 }.forward(&Tensor::ones([1, 2, 6, 8]), &Context::eval());
/// assert_eq!(**y.shape(), [1, 8, 3, 4]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelUnshuffle {
    /// How much smaller the image becomes.
    pub factor: usize,
}

impl Layer for PixelUnshuffle {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let (&[n, c, h, w], r) = (&x.shape()[..], self.factor) else {
            panic!("PixelUnshuffle: expected [batch, channels, height, width], found {}", x.shape())
        };
        assert!(h % r == 0 && w % r == 0, "PixelUnshuffle: {h} × {w} is no multiple of {r}");
        x.reshape([n, c, h / r, r, w / r, r]).permute(&[0, 1, 3, 5, 2, 4]).reshape([
            n,
            c * r * r,
            h / r,
            w / r,
        ])
    }
}

/// The same row several times: `[batch, features]` to `[batch, n, features]`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::RepeatVector};
/// let y = RepeatVector { n: 3 }.forward(&Tensor::ones([2, 4]), &Context::eval());
/// assert_eq!(**y.shape(), [2, 3, 4]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatVector {
    /// How many times.
    pub n: usize,
}

impl Layer for RepeatVector {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        assert!(x.rank() == 2, "RepeatVector: expected [batch, features], found {}", x.shape());
        x.unsqueeze(1).broadcast_to([x.shape()[0], self.n, x.shape()[1]])
    }
}

const AXIS: Param =
    Param::required("axis", Kind::int(-8, 8), "the axis, counted with the batch or from the end")
        .alias(&["dim"]);

/// The shape with axis `at` replaced by others.
fn replaced(input: &[usize], at: usize, by: &[usize]) -> Vec<usize> {
    [&input[..at], by, &input[at + 1..]].concat()
}

macro_rules! shaping {
    ($($id:ident $name:literal [$($alias:literal),*] $torch:literal $keras:literal $doc:literal
        $params:expr, [$($sample:expr),*] $infer:expr, $make:expr;)*) => {
        $(pub(super) static $id: Entry = Entry {
            spec: Spec {
                name: $name,
                aliases: &[$($alias),*],
                peers: Peers::of($torch, $keras),
                doc: $doc,
                params: $params,
            },
            takes_indices: false,
            samples: &[$($sample),*],
            infer: $infer,
            make: $make,
        };)*
    };
}

static EXTENT: Kind = Kind::int(-1, 1 << 40);
static EXTENTS: Kind = Kind::List { of: &EXTENT, min_len: 1, max_len: 8 };

/// A shape of as many elements as `count`, of which one extent may be −1: what is left.
fn filled(args: &Args, count: u128) -> Result<Vec<usize>, Misfit> {
    let Some(Value::List(values)) = args.get("shape") else {
        unreachable!("the check has seen it")
    };
    let number = |value: &Value| if let Value::Int(n) = value { *n } else { -1 };
    let wanted: Vec<i64> = values.iter().map(number).collect();
    let known = wanted.iter().filter(|&&n| n >= 0).fold(1u128, |a, &n| a.saturating_mul(n as u128));
    let open = wanted.iter().filter(|&&n| n < 0).count();
    let fits = match open {
        0 => known == count,
        1 => known > 0 && count.is_multiple_of(known),
        _ => false,
    };
    if !fits {
        return Err(Misfit {
            needs: format!("a shape for {count} values, with -1 at most once"),
            hint: format!("it is {wanted:?}"),
        });
    }
    let rest = || usize::try_from(count / known).unwrap_or(usize::MAX);
    Ok(wanted.iter().map(|&n| usize::try_from(n).unwrap_or_else(|_| rest())).collect())
}

fn axis_of(args: &Args) -> isize {
    args.int("axis") as isize
}

/// The axes of a `Permute` as they are counted with the batch.
fn axes(args: &Args, rank: usize) -> Result<Vec<usize>, Misfit> {
    let mut axes = args.usizes("axes");
    if axes.first() == Some(&0) {
        axes.remove(0);
    }
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    if sorted == (1..=rank).collect::<Vec<_>>() {
        return Ok(axes);
    }
    Err(Misfit {
        needs: format!("each of the axes 1 to {rank} once"),
        hint: format!("the axes are {axes:?}; 0 is the batch, which stays"),
    })
}

shaping! {
    RESHAPE "Reshape" [] "Tensor.reshape" "layers.Reshape"
        "The elements of each example in another shape."
        &[Param::required("shape", EXTENTS, "the shape of one example; -1 is what is left")
            .alias(&["target_shape"])],
        [Sample::of("shape = [3, -1]", &[2, 6]), Sample::of("target_shape = [4]", &[2, 2])]
        |args, input| Ok(moved(filled(args, product(input))?)),
        |args, input, _| {
            let shape = filled(args, product(input)).expect("`infer` has accepted it");
            Box::new(Reshape { shape })
        };
    UNFLATTEN "Unflatten" [] "nn.Unflatten" ""
        "One axis split into several."
        &[AXIS, Param::required("shape", EXTENTS, "the new extents; -1 is what is left")
            .alias(&["unflattened_size"])],
        [Sample::of("axis = 1, shape = [3, -1]", &[6, 2])]
        |args, input| {
            let place = place(axis_of(args), input)?;
            Ok(moved(replaced(input, place, &filled(args, input[place] as u128)?)))
        },
        |args, input, _| {
            let place = place(axis_of(args), input).expect("`infer` has accepted it");
            let parts = filled(args, input[place] as u128).expect("`infer` has accepted it");
            Box::new(Reshape { shape: replaced(input, place, &parts) })
        };
    SQUEEZE "Squeeze" [] "torch.squeeze" ""
        "Without an axis of extent 1."
        &[AXIS],
        [Sample::of("axis = 2", &[3, 1, 2])]
        |args, input| {
            let place = place(axis_of(args), input)?;
            match input[place] {
                1 => Ok(moved(replaced(input, place, &[]))),
                n => Err(Misfit {
                    needs: "an extent of 1 along the axis".into(),
                    hint: format!("it is {n}"),
                }),
            }
        },
        |args, input, _| {
            let place = place(axis_of(args), input).expect("`infer` has accepted it");
            Box::new(Reshape { shape: replaced(input, place, &[]) })
        };
    UNSQUEEZE "Unsqueeze" ["ExpandDims"] "torch.unsqueeze" ""
        "With a new axis of extent 1."
        &[AXIS],
        [Sample::of("axis = 1", &[3, 2]), Sample::of("axis = -1", &[3])]
        |args, input| Ok(moved(unsqueezed(args, input)?)),
        |args, input, _| {
            let shape = unsqueezed(args, input).expect("`infer` has accepted it");
            Box::new(Reshape { shape })
        };
    PERMUTE "Permute" [] "torch.permute" "layers.Permute"
        "The axes of each example in another order."
        &[Param::required("axes", AXES, "which axis comes first, second, …; 1 is the first of an \
            example").alias(&["dims"])],
        [Sample::of("axes = [2, 1]", &[3, 2]), Sample::of("dims = [0, 3, 1, 2]", &[2, 3, 4])]
        |args, input| {
            let axes = axes(args, input.len())?;
            Ok(moved(axes.iter().map(|&a| input[a - 1]).collect::<Vec<_>>()))
        },
        |args, input, _| {
            let axes = axes(args, input.len()).expect("`infer` has accepted it");
            Box::new(Permute { axes })
        };
    NARROW "Narrow" [] "torch.narrow" ""
        "Part of an axis."
        &[
            AXIS,
            Param::required("start", Kind::int(0, 1 << 40), "the first element"),
            Param::required("length", Kind::count(), "how many"),
        ],
        [Sample::of("axis = 1, start = 1, length = 2", &[4, 3])]
        |args, input| {
            let place = place(axis_of(args), input)?;
            let (start, length) = (args.usize("start"), args.usize("length"));
            match start + length <= input[place] {
                true => Ok(moved(replaced(input, place, &[length]))),
                false => Err(Misfit {
                    needs: format!("{} values along the axis", start + length),
                    hint: format!("there are {}", input[place]),
                }),
            }
        },
        |args, _, _| Box::new(Narrow {
            axis: axis_of(args),
            start: args.usize("start"),
            length: args.usize("length"),
        });
    CHANNEL_SHUFFLE "ChannelShuffle" [] "nn.ChannelShuffle" ""
        "Mixes channels between groups."
        &[Param::with_default("groups", Kind::int(1, 1 << 20), ONE, "number of groups")],
        [Sample::of("groups = 2", &[6, 2, 3])]
        |args, input| {
            let (channels, groups) = (super::channels(input)?, args.usize("groups"));
            match channels.is_multiple_of(groups) {
                true => Ok(moved(input)),
                false => Err(Misfit {
                    needs: format!("channels that are a multiple of groups = {groups}"),
                    hint: format!("there are {channels}"),
                }),
            }
        },
        |args, _, _| Box::new(ChannelShuffle { groups: args.usize("groups") });
    PIXEL_SHUFFLE "PixelShuffle" ["DepthToSpace"] "nn.PixelShuffle" ""
        "Channels become pixels of a larger image."
        &[FACTOR_UP],
        [Sample::of("factor = 2", &[8, 2, 3])]
        |args, input| {
            let [c, h, w] = image(input)?;
            let r = args.usize("factor");
            match c.is_multiple_of(r * r) {
                true => Ok(moved([c / (r * r), h.saturating_mul(r), w.saturating_mul(r)])),
                false => Err(Misfit {
                    needs: format!("channels that are a multiple of {}", r * r),
                    hint: format!("there are {c}"),
                }),
            }
        },
        |args, _, _| Box::new(PixelShuffle { factor: args.usize("factor") });
    PIXEL_UNSHUFFLE "PixelUnshuffle" ["SpaceToDepth"] "nn.PixelUnshuffle" ""
        "Pixels become channels of a smaller image."
        &[FACTOR_DOWN],
        [Sample::of("factor = 2", &[2, 4, 6])]
        |args, input| {
            let [c, h, w] = image(input)?;
            let r = args.usize("factor");
            match h.is_multiple_of(r) && w.is_multiple_of(r) {
                true => Ok(moved([c.saturating_mul(r * r), h / r, w / r])),
                false => Err(Misfit {
                    needs: format!("height and width that are multiples of {r}"),
                    hint: format!("it is {h} × {w}"),
                }),
            }
        },
        |args, _, _| Box::new(PixelUnshuffle { factor: args.usize("factor") });
    REPEAT_VECTOR "RepeatVector" [] "" "layers.RepeatVector"
        "The same row several times."
        &[Param::required("n", Kind::count(), "how many times")],
        [Sample::of("n = 3", &[4])]
        |args, input| match input {
            &[features] => Ok(moved([args.usize("n"), features])),
            _ => Err(Misfit { needs: "[features]".into(), hint: String::new() }),
        },
        |args, _, _| Box::new(RepeatVector { n: args.usize("n") });
    IDENTITY "Identity" [] "nn.Identity" "layers.Identity"
        "What it gets, as it is."
        &[],
        [Sample::of("", &[3])]
        |_, input| Ok(moved(input)),
        |_, _, _| Box::new(crate::activations::Identity);
}

static AXES: Kind = Kind::List { of: &Kind::int(0, 8), min_len: 1, max_len: 9 };

const FACTOR_UP: Param =
    Param::required("factor", Kind::int(1, 1 << 10), "how much larger the image becomes")
        .alias(&["upscale_factor"]);
const FACTOR_DOWN: Param =
    Param::required("factor", Kind::int(1, 1 << 10), "how much smaller the image becomes")
        .alias(&["downscale_factor"]);

/// The shape with a new axis.
fn unsqueezed(args: &Args, input: &[usize]) -> Result<Vec<usize>, Misfit> {
    let axis = axis_of(args);
    // As an axis of the result.
    let rank = input.len() as isize + 1;
    let place = if axis > 0 { axis - 1 } else { axis + rank };
    let fits = axis != 0 && (0..rank).contains(&place);
    let place = usize::try_from(place).ok().filter(|_| fits).ok_or_else(|| Misfit {
        needs: format!("a new axis from 1 to {rank}"),
        hint: format!("it is {axis}"),
    })?;
    Ok([&input[..place], &[1], &input[place..]].concat())
}
