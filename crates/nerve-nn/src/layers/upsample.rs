use super::axes::{Words, per_axis};
use super::conv::expect_axes;
use super::{Effect, Entry, Layer, Misfit, Sample};
use crate::context::Context;
use crate::dims::{product, spatial};
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// More (or fewer) elements along the last `N` axes of `[batch, channels, extents…]`, from those
/// that are there. It goes by the names [`Upsample1d`], [`Upsample2d`] and [`Upsample3d`].
///
/// Output element `i` of `m` lies at `(i + ½) n / m − ½` of the `n` input elements, or, with
/// `align_corners`, at `i (n − 1) / (m − 1)`, where the corners of both coincide. `Nearest` takes
/// element ⌊i n / m⌋, as PyTorch and Keras do; `Linear` weights the two neighbours (bilinear on
/// images, trilinear on volumes). There is no filter against aliasing, so it is not for shrinking.
///
/// Whole factors are moves and weighted sums, fused with what surrounds them; other sizes gather
/// elements by index, of which the backward pass is a scattered sum.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::{Interpolation, Target, Upsample1d}};
/// let x = Tensor::from_slice(&[0.0f32, 4.0], [1, 1, 2]);
/// let up = |mode| Upsample1d { target: Target::Factor([2]), mode, align_corners: false };
/// let y = up(Interpolation::Linear).forward(&x, &Context::eval());
/// assert_eq!(y.to_vec::<f32>(), [0.0, 1.0, 3.0, 4.0]);
/// let y = up(Interpolation::Nearest).forward(&x, &Context::eval());
/// assert_eq!(y.to_vec::<f32>(), [0.0, 0.0, 4.0, 4.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upsample<const N: usize> {
    /// How large the result is.
    pub target: Target<N>,
    /// What stands between the elements.
    pub mode: Interpolation,
    /// Whether first and last elements stay where they are; of `Linear`.
    pub align_corners: bool,
}

/// Of sequences `[batch, channels, length]`; see [`Upsample`].
pub type Upsample1d = Upsample<1>;
/// Of images `[batch, channels, height, width]`; see [`Upsample`].
pub type Upsample2d = Upsample<2>;
/// Of volumes `[batch, channels, depth, height, width]`; see [`Upsample`].
pub type Upsample3d = Upsample<3>;

/// How large the result of an [`Upsample`] is along each axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<const N: usize> {
    /// So many times as large.
    Factor([usize; N]),
    /// This large.
    Size([usize; N]),
}

/// What stands between the elements of an [`Upsample`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// The nearest element.
    Nearest,
    /// The mean of the neighbours, weighted by distance.
    Linear,
}

impl<const N: usize> Target<N> {
    fn extents(self, input: [usize; N]) -> [usize; N] {
        match self {
            Target::Factor(factors) => std::array::from_fn(|i| input[i].saturating_mul(factors[i])),
            Target::Size(size) => size,
        }
    }
}

/// Elements of an axis by their numbers.
fn select(x: &Tensor, axis: usize, index: impl Iterator<Item = usize>) -> Tensor {
    let index: Vec<i32> = index.map(|i| i as i32).collect();
    x.index_select(axis as isize, &Tensor::from_slice(&index, [index.len()]))
}

/// A number for each element of an axis, to be used with `x`.
fn along(x: &Tensor, axis: usize, numbers: &[f64]) -> Tensor {
    let mut shape = vec![1; x.rank()];
    shape[axis] = numbers.len();
    Tensor::from_slice(numbers, shape).to_dtype(x.dtype())
}

/// Between neighbours, `factor` elements for each: each phase is one weighted sum of the axis with
/// itself moved by one.
fn linear_factor(x: &Tensor, axis: usize, factor: usize) -> Tensor {
    let (n, a) = (x.shape()[axis], axis as isize);
    let ends = [x.slice(a, 0, 1), x.clone(), x.slice(a, n - 1, n)];
    let padded = Tensor::concat(&ends, a);
    let phase = |p: usize| {
        // From the element itself, less than half an element to either side.
        let place = (p as f64 + 0.5) / factor as f64 - 0.5;
        let first = if place < 0.0 { 0 } else { 1 };
        let weight = if place < 0.0 { place + 1.0 } else { place };
        let part = |start: usize| padded.slice(a, start, start + n);
        part(first) * (1.0 - weight) + part(first + 1) * weight
    };
    let phases: Vec<Tensor> = (0..factor).map(phase).collect();
    let mut shape = x.shape().to_vec();
    shape[axis] = n * factor;
    Tensor::stack(&phases, axis + 1).reshape(shape)
}

/// Between neighbours, `m` elements in all.
fn linear_size(x: &Tensor, axis: usize, m: usize, align_corners: bool) -> Tensor {
    let n = x.shape()[axis];
    let place = |i: usize| match (align_corners, m) {
        (true, 1) => 0.0,
        (true, _) => i as f64 * (n - 1) as f64 / (m - 1) as f64,
        (false, _) => ((i as f64 + 0.5) * n as f64 / m as f64 - 0.5).max(0.0),
    };
    let low = |i: usize| (place(i).floor() as usize).min(n - 1);
    let weights: Vec<f64> = (0..m).map(|i| (place(i) - low(i) as f64).min(1.0)).collect();
    let below = select(x, axis, (0..m).map(low));
    let above = select(x, axis, (0..m).map(|i| (low(i) + 1).min(n - 1)));
    let weights = along(x, axis, &weights);
    &below + (above - &below) * weights
}

impl<const N: usize> Layer for Upsample<N> {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        expect_axes::<N>("Upsample", x);
        let input = super::conv::extents_of(x.shape());
        let target = self.target.extents(input);
        (0..N).fold(x.clone(), |x, i| {
            let (axis, n, m) = (i + 2, input[i], target[i]);
            assert!(n > 0 && m > 0, "Upsample{N}d: from {n} to {m} elements");
            let whole = m.is_multiple_of(n).then_some(m / n);
            match (self.mode, whole) {
                (_, Some(1)) => x,
                (Interpolation::Nearest, Some(factor)) => {
                    x.repeat_interleave(factor, axis as isize)
                }
                (Interpolation::Nearest, None) => select(&x, axis, (0..m).map(|i| i * n / m)),
                (Interpolation::Linear, Some(factor)) if !self.align_corners => {
                    linear_factor(&x, axis, factor)
                }
                (Interpolation::Linear, _) => linear_size(&x, axis, m, self.align_corners),
            }
        })
    }
}

impl<const N: usize> Words<N> {
    const UPSAMPLE: &'static [Param] = &[
        Param::optional(
            "factor",
            Self::STEPS,
            "how many times as large; without it and a size, twice",
        )
        .alias(&["scale_factor"]),
        Param::optional("size", Self::STEPS, "how large, instead of a factor"),
        Param::with_default(
            "mode",
            Kind::Choice(&["nearest", "linear", "bilinear", "trilinear"]),
            Value::text("nearest"),
            "what stands between elements; the last three mean the same",
        )
        .alias(&["interpolation"]),
        Param::with_default(
            "align_corners",
            Kind::Bool,
            Value::Bool(false),
            "whether the corners of both images coincide",
        ),
    ];
}

fn layer<const N: usize>(args: &Args) -> Upsample<N> {
    let target = match (args.has("factor"), args.has("size")) {
        (_, true) => Target::Size(per_axis(args, "size")),
        (true, _) => Target::Factor(per_axis(args, "factor")),
        (false, false) => Target::Factor([2; N]),
    };
    let mode = match args.text("mode") {
        "nearest" => Interpolation::Nearest,
        _ => Interpolation::Linear,
    };
    Upsample { target, mode, align_corners: args.bool("align_corners") }
}

fn infer<const N: usize>(args: &Args, input: &[usize]) -> Result<Effect, Misfit> {
    let (channels, extents) = spatial::<N>(input)?;
    let misfit = |needs: &str, hint: &str| Misfit { needs: needs.into(), hint: hint.into() };
    if args.has("factor") && args.has("size") {
        return Err(misfit("either a factor or a size", "both are given"));
    }
    if extents.iter().any(|&n| n == 0 || i32::try_from(n).is_err()) {
        return Err(misfit("extents of one or more, within i32", ""));
    }
    let shape = [&[channels], &layer::<N>(args).target.extents(extents)[..]].concat();
    let values = product(&shape);
    let each = if args.text("mode") == "nearest" { 0 } else { 4 * N as u128 };
    Ok(Effect::cheap(shape, values, each))
}

macro_rules! entries {
    ($($id:ident $n:literal $name:literal $alias:literal $torch:literal $keras:literal $doc:literal
        [$($sample:expr),*];)*) => {
        $(pub(super) static $id: Entry = Entry {
            spec: Spec {
                name: $name,
                aliases: &[$alias],
                peers: Peers::of($torch, $keras),
                doc: $doc,
                params: Words::<$n>::UPSAMPLE,
            },
            takes_indices: false,
            samples: &[$($sample),*],
            infer: infer::<$n>,
            make: |args, _, _| Box::new(layer::<$n>(args)),
        };)*
    };
}

entries! {
    UP1D 1 "Upsample1d" "UpSampling1D" "nn.Upsample" "layers.UpSampling1D"
        "A longer sequence from its elements." [
        Sample::of("", &[2, 3]), Sample::of("size = 7, mode = 'linear'", &[2, 3])
    ];
    UP2D 2 "Upsample2d" "UpSampling2D" "nn.Upsample" "layers.UpSampling2D"
        "A larger image from its pixels." [
        Sample::of("factor = [2, 3], mode = 'bilinear'", &[2, 3, 2]),
        Sample::of("factor = 2, mode = 'bilinear', align_corners = true", &[1, 3, 2]),
        Sample::of("size = [5, 4]", &[1, 3, 2])
    ];
    UP3D 3 "Upsample3d" "UpSampling3D" "nn.Upsample" "layers.UpSampling3D"
        "A larger volume from its elements." [
        Sample::of("", &[1, 2, 3, 2]), Sample::of("factor = 2, mode = 'trilinear'", &[1, 2, 1, 3])
    ];
}
