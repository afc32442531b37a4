//! What layers that work along one, two or three axes have in common: their words in a recipe, and
//! numbers for each axis.

use crate::dims::{Window, names};
use nerve_formats::spec::{Args, Kind, Param, Value};

/// A number for each of `N` axes: an array, or one number for all.
///
/// ```
/// use nerve_nn::layers::PerAxis;
/// assert_eq!(PerAxis::<2>::each(3), [3, 3]);
/// assert_eq!([3, 5].each(), [3, 5]);
/// ```
pub trait PerAxis<const N: usize> {
    /// The numbers.
    fn each(self) -> [usize; N];
}

impl<const N: usize> PerAxis<N> for usize {
    fn each(self) -> [usize; N] {
        [self; N]
    }
}

impl<const N: usize> PerAxis<N> for [usize; N] {
    fn each(self) -> [usize; N] {
        self
    }
}

/// Whole numbers from a recipe: one for all axes, or one for each.
pub(super) fn per_axis<const N: usize>(args: &Args, name: &str) -> [usize; N] {
    match args.usizes(name)[..] {
        [all] => [all; N],
        ref each => <[usize; N]>::try_from(each).expect("the check has counted them"),
    }
}

/// The windows of each axis.
pub(super) fn windows<const N: usize>(
    kernel: [usize; N],
    stride: [usize; N],
    dilation: [usize; N],
) -> [Window; N] {
    std::array::from_fn(|i| Window {
        name: names::<N>()[i],
        kernel: kernel[i],
        stride: stride[i],
        dilation: dilation[i],
    })
}

const STEP: Kind = Kind::int(1, 1 << 20);
const BORDER: Kind = Kind::int(0, 1 << 20);

/// The words of layers along `N` axes.
pub(super) struct Words<const N: usize>;

impl<const N: usize> Words<N> {
    const STEP_EACH: Kind = Kind::List { of: &STEP, min_len: N, max_len: N };
    const BORDER_EACH: Kind = Kind::List { of: &BORDER, min_len: N, max_len: N };
    /// One or more, once or for each axis.
    pub const STEPS: Kind = Kind::OneOf(&[STEP, Self::STEP_EACH]);
    /// Zero or more, once or for each axis.
    pub const BORDERS: Kind = Kind::OneOf(&[BORDER, Self::BORDER_EACH]);
    const WORDS: Kind =
        Kind::Choice(if N == 1 { &["valid", "same", "causal"] } else { &["valid", "same"] });
    const PADDINGS: Kind = Kind::OneOf(&[Self::WORDS, BORDER, Self::BORDER_EACH]);
    /// None, as much as keeps the size at stride 1, or numbers.
    pub const PLAIN_PADDINGS: Kind =
        Kind::OneOf(&[Kind::Choice(&["valid", "same"]), BORDER, Self::BORDER_EACH]);

    /// How large the filters are.
    pub const KERNEL: Param =
        Param::required("kernel", Self::STEPS, "extents of the filters").alias(&["kernel_size"]);
    /// How far the window moves.
    pub const STRIDE: Param =
        Param::with_default("stride", Self::STEPS, Value::Int(1), "step").alias(&["strides"]);
    /// What surrounds the input of a convolution.
    pub const PADDING: Param = Param::with_default(
        "padding",
        Self::PADDINGS,
        Value::text("valid"),
        "border: none, as much as keeps the size at stride 1 (causal: all in front), or so much",
    );
    /// How far the elements of a filter stand apart.
    pub const DILATION: Param =
        Param::with_default("dilation", Self::STEPS, Value::Int(1), "distance of the taps")
            .alias(&["dilation_rate"]);
    /// What a transposed convolution cuts off from its output.
    pub const CUT: Param = Param::with_default(
        "padding",
        Self::PLAIN_PADDINGS,
        Value::text("valid"),
        "cut off from the output: nothing, as much as makes it stride times as long, or so much",
    );
}
