use super::{Effect, Entry, Layer, Misfit, Sample, SequencePooling};
use crate::context::Context;
use crate::dims::{names, product};
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// The mean of each channel. It goes by the names [`GlobalAvgPool1d`], [`GlobalAvgPool2d`] and
/// [`GlobalAvgPool3d`].
///
/// Lin, Chen & Yan, "Network in network", 2013.
///
/// Input `[batch, channels, extents…]` with `N` extents, output `[batch, channels]`; if `keep`,
/// with extents of 1. If `channels_last`, the input is `[batch, extents…, channels]`: of words
/// after an embedding, `[batch, words, features]`, the mean over the words that a mask does not deny
/// ([`SequencePooling`]).
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::GlobalAvgPool2d};
/// let y = GlobalAvgPool2d::default().forward(&Tensor::ones([2, 8, 4, 4]), &Context::eval());
/// assert_eq!(**y.shape(), [2, 8]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GlobalAvgPool<const N: usize> {
    /// Whether the extents stay, as 1.
    pub keep: bool,
    /// Whether the channels are the last axis.
    pub channels_last: bool,
}

/// Of sequences `[batch, channels, length]`; see [`GlobalAvgPool`].
pub type GlobalAvgPool1d = GlobalAvgPool<1>;
/// Of images `[batch, channels, height, width]`; see [`GlobalAvgPool`].
pub type GlobalAvgPool2d = GlobalAvgPool<2>;
/// Of volumes `[batch, channels, depth, height, width]`; see [`GlobalAvgPool`].
pub type GlobalAvgPool3d = GlobalAvgPool<3>;

/// The largest value of each channel. It goes by the names [`GlobalMaxPool1d`],
/// [`GlobalMaxPool2d`] and [`GlobalMaxPool3d`].
///
/// Oquab et al., "Is object localization for free?", 2015.
///
/// Shapes are those of [`GlobalAvgPool`].
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::GlobalMaxPool1d};
/// let x = Tensor::from_slice(&[1.0f32, 3.0, 2.0], [1, 1, 3]);
/// let y = GlobalMaxPool1d::default().forward(&x, &Context::eval());
/// assert_eq!(y.to_vec::<f32>(), [3.0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GlobalMaxPool<const N: usize> {
    /// Whether the extents stay, as 1.
    pub keep: bool,
    /// Whether the channels are the last axis.
    pub channels_last: bool,
}

/// Of sequences `[batch, channels, length]`; see [`GlobalMaxPool`].
pub type GlobalMaxPool1d = GlobalMaxPool<1>;
/// Of images `[batch, channels, height, width]`; see [`GlobalMaxPool`].
pub type GlobalMaxPool2d = GlobalMaxPool<2>;
/// Of volumes `[batch, channels, depth, height, width]`; see [`GlobalMaxPool`].
pub type GlobalMaxPool3d = GlobalMaxPool<3>;

/// The axes of the extents.
#[track_caller]
fn extents<const N: usize>(layer: &str, x: &Tensor, channels_last: bool) -> Vec<isize> {
    let first = if channels_last { 1 } else { 2 };
    assert!(
        x.rank() == N + 2,
        "{layer}{N}d: expected [batch, {}], found {}",
        order::<N>(channels_last),
        x.shape()
    );
    (first..first + N as isize).collect()
}

/// The axes of one example, in words.
fn order<const N: usize>(channels_last: bool) -> String {
    match channels_last {
        true => format!("{}, channels", names::<N>().join(", ")),
        false => format!("channels, {}", names::<N>().join(", ")),
    }
}

/// Over the steps of a sequence, of which a mask may deny some.
fn over_time(pooling: SequencePooling, x: &Tensor, keep: bool, cx: &Context) -> Tensor {
    let y = pooling.forward(x, cx);
    if keep { y.unsqueeze(1) } else { y }
}

impl<const N: usize> Layer for GlobalAvgPool<N> {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let axes = extents::<N>("GlobalAvgPool", x, self.channels_last);
        match N == 1 && self.channels_last {
            true => over_time(SequencePooling::Mean, x, self.keep, cx),
            false => x.mean_axes(&axes, self.keep),
        }
    }
}

impl<const N: usize> Layer for GlobalMaxPool<N> {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let axes = extents::<N>("GlobalMaxPool", x, self.channels_last);
        match N == 1 && self.channels_last {
            true => over_time(SequencePooling::Max, x, self.keep, cx),
            false => x.max_axes(&axes, self.keep),
        }
    }
}

const PARAMS: &[Param] = &[
    Param::with_default(
        "keepdims",
        Kind::Bool,
        Value::Bool(false),
        "whether the extents stay, as 1",
    ),
    Param::with_default(
        "data_format",
        Kind::Choice(&["channels_first", "channels_last"]),
        Value::text("channels_first"),
        "channels_last: for words after an embedding, [words, features]",
    ),
];

fn last(args: &Args) -> bool {
    args.text("data_format") == "channels_last"
}

fn infer<const N: usize>(args: &Args, input: &[usize]) -> Result<Effect, Misfit> {
    if input.len() != N + 1 || input.contains(&0) {
        return Err(Misfit {
            needs: format!("[{}]", order::<N>(last(args))),
            hint: format!("it gets {} axes and needs {}", input.len(), N + 1),
        });
    }
    let mut shape = vec![if last(args) { input[N] } else { input[0] }];
    if args.bool("keepdims") {
        let place = if last(args) { 0 } else { 1 };
        shape.splice(place..place, [1; N]);
    }
    Ok(Effect::cheap(shape, product(input), 1))
}

macro_rules! entries {
    ($($id:ident $n:literal $layer:ident $name:literal [$($alias:literal),*] $torch:literal
        $keras:literal $doc:literal [$($sample:expr),*];)*) => {
        $(pub(super) static $id: Entry = Entry {
            spec: Spec {
                name: $name,
                aliases: &[$($alias),*],
                peers: Peers::of($torch, $keras),
                doc: $doc,
                params: PARAMS,
            },
            takes_indices: false,
            samples: &[$($sample),*],
            infer: infer::<$n>,
            make: |args, _, _| Box::new($layer::<$n> {
                keep: args.bool("keepdims"),
                channels_last: last(args),
            }),
        };)*
    };
}

entries! {
    AVG1D 1 GlobalAvgPool "GlobalAvgPool1d" ["GlobalAveragePooling1D", "GlobalAvgPool1D"]
        "nn.AdaptiveAvgPool1d(1)" "layers.GlobalAveragePooling1D"
        "The mean of each channel of a sequence." [
        Sample::of("", &[3, 4]),
        Sample::of("data_format = 'channels_last', keepdims = true", &[3, 4])
    ];
    AVG2D 2 GlobalAvgPool "GlobalAvgPool2d" ["GlobalAveragePooling2D", "GlobalAvgPool2D"]
        "nn.AdaptiveAvgPool2d(1)" "layers.GlobalAveragePooling2D"
        "The mean of each channel." [
        Sample::of("", &[3, 2, 4]), Sample::of("keepdims = true", &[3, 2, 4])
    ];
    AVG3D 3 GlobalAvgPool "GlobalAvgPool3d" ["GlobalAveragePooling3D", "GlobalAvgPool3D"]
        "nn.AdaptiveAvgPool3d(1)" "layers.GlobalAveragePooling3D"
        "The mean of each channel of a volume." [Sample::of("", &[3, 2, 4, 2])];
    MAX1D 1 GlobalMaxPool "GlobalMaxPool1d" ["GlobalMaxPooling1D", "GlobalMaxPool1D"]
        "nn.AdaptiveMaxPool1d(1)" "layers.GlobalMaxPooling1D"
        "The largest value of each channel of a sequence." [
        Sample::of("data_format = 'channels_last'", &[3, 4])
    ];
    MAX2D 2 GlobalMaxPool "GlobalMaxPool2d" ["GlobalMaxPooling2D", "GlobalMaxPool2D"]
        "nn.AdaptiveMaxPool2d(1)" "layers.GlobalMaxPooling2D"
        "The largest value of each channel." [Sample::of("", &[3, 2, 4])];
    MAX3D 3 GlobalMaxPool "GlobalMaxPool3d" ["GlobalMaxPooling3D", "GlobalMaxPool3D"]
        "nn.AdaptiveMaxPool3d(1)" "layers.GlobalMaxPooling3D"
        "The largest value of each channel of a volume." [Sample::of("", &[3, 2, 4, 2])];
}
