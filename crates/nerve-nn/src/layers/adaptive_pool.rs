use super::axes::{PerAxis, Words, per_axis};
use super::conv::expect_axes;
use super::{Effect, Entry, Layer, Misfit, Sample};
use crate::context::Context;
use crate::dims::{product, spatial};
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Param, Peers, Spec};

/// The mean of so many bins along each of `N` axes, whatever the extents of the input are. It goes
/// by the names [`AdaptiveAvgPool1d`], [`AdaptiveAvgPool2d`] and [`AdaptiveAvgPool3d`].
///
/// He et al., "Spatial pyramid pooling in deep convolutional networks", 2014.
///
/// Input `[batch, channels, extents…]`, output `[batch, channels, size…]`. Bin `i` of `o` along an
/// axis of `n` reads elements ⌊i n / o⌋ to ⌈(i + 1) n / o⌉ − 1, as in PyTorch: where `o` does not
/// divide `n`, neighbouring bins share elements. Each bin is then a reduction of its own.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::AdaptiveAvgPool2d};
/// let y = AdaptiveAvgPool2d::new(7).forward(&Tensor::ones([2, 3, 16, 9]), &Context::eval());
/// assert_eq!(**y.shape(), [2, 3, 7, 7]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveAvgPool<const N: usize> {
    /// Number of bins along each axis.
    pub size: [usize; N],
}

/// Of sequences `[batch, channels, length]`; see [`AdaptiveAvgPool`].
pub type AdaptiveAvgPool1d = AdaptiveAvgPool<1>;
/// Of images `[batch, channels, height, width]`; see [`AdaptiveAvgPool`].
pub type AdaptiveAvgPool2d = AdaptiveAvgPool<2>;
/// Of volumes `[batch, channels, depth, height, width]`; see [`AdaptiveAvgPool`].
pub type AdaptiveAvgPool3d = AdaptiveAvgPool<3>;

/// The largest value of so many bins along each of `N` axes; the bins are those of
/// [`AdaptiveAvgPool`]. It goes by the names [`AdaptiveMaxPool1d`], [`AdaptiveMaxPool2d`] and
/// [`AdaptiveMaxPool3d`].
///
/// Input `[batch, channels, extents…]`, output `[batch, channels, size…]`.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::AdaptiveMaxPool1d};
/// let x = Tensor::from_slice(&[1.0f32, 5.0, 2.0, 3.0, 4.0], [1, 1, 5]);
/// let y = AdaptiveMaxPool1d::new(2).forward(&x, &Context::eval());
/// assert_eq!(y.to_vec::<f32>(), [5.0, 4.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveMaxPool<const N: usize> {
    /// Number of bins along each axis.
    pub size: [usize; N],
}

/// Of sequences `[batch, channels, length]`; see [`AdaptiveMaxPool`].
pub type AdaptiveMaxPool1d = AdaptiveMaxPool<1>;
/// Of images `[batch, channels, height, width]`; see [`AdaptiveMaxPool`].
pub type AdaptiveMaxPool2d = AdaptiveMaxPool<2>;
/// Of volumes `[batch, channels, depth, height, width]`; see [`AdaptiveMaxPool`].
pub type AdaptiveMaxPool3d = AdaptiveMaxPool<3>;

/// Pools axis after axis: of means over boxes, and of maxima, that is the same.
fn bins<const N: usize>(
    x: &Tensor,
    size: [usize; N],
    pool: impl Fn(&Tensor, isize) -> Tensor,
) -> Tensor {
    // From the last axis on, along which the elements are neighbours.
    (0..N).rev().fold(x.clone(), |x, i| {
        let (axis, n, bins) = (i + 2, x.shape()[i + 2], size[i]);
        if n == bins {
            return x;
        }
        if n % bins == 0 {
            let mut shape = x.shape().to_vec();
            shape[axis] = bins;
            shape.insert(axis + 1, n / bins);
            return pool(&x.reshape(shape), axis as isize + 1).squeeze(axis as isize + 1);
        }
        let bin = |b: usize| {
            let part = x.slice(axis as isize, b * n / bins, ((b + 1) * n).div_ceil(bins));
            pool(&part, axis as isize)
        };
        Tensor::concat(&(0..bins).map(bin).collect::<Vec<_>>(), axis as isize)
    })
}

impl<const N: usize> AdaptiveAvgPool<N> {
    /// With so many bins along all axes, or along each.
    pub fn new(size: impl PerAxis<N>) -> AdaptiveAvgPool<N> {
        AdaptiveAvgPool { size: size.each() }
    }
}

impl<const N: usize> AdaptiveMaxPool<N> {
    /// With so many bins along all axes, or along each.
    pub fn new(size: impl PerAxis<N>) -> AdaptiveMaxPool<N> {
        AdaptiveMaxPool { size: size.each() }
    }
}

impl<const N: usize> Layer for AdaptiveAvgPool<N> {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        expect_axes::<N>("AdaptiveAvgPool", x);
        bins(x, self.size, |part, axis| part.mean_axes(&[axis], true))
    }
}

impl<const N: usize> Layer for AdaptiveMaxPool<N> {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        expect_axes::<N>("AdaptiveMaxPool", x);
        bins(x, self.size, |part, axis| part.max_axes(&[axis], true))
    }
}

impl<const N: usize> Words<N> {
    const ADAPTIVE: &'static [Param] =
        &[Param::required("size", Self::STEPS, "number of bins along each axis")
            .alias(&["output_size"])];
}

fn infer<const N: usize>(args: &Args, input: &[usize]) -> Result<Effect, Misfit> {
    let (channels, extents) = spatial::<N>(input)?;
    if extents.contains(&0) {
        return Err(Misfit { needs: "extents of one or more".into(), hint: String::new() });
    }
    let shape = [&[channels], &per_axis::<N>(args, "size")[..]].concat();
    Ok(Effect::cheap(shape, product(input), N as u128))
}

macro_rules! entries {
    ($($id:ident $n:literal $layer:ident $name:literal $alias:literal $torch:literal $keras:literal
        $doc:literal [$($sample:expr),*];)*) => {
        $(pub(super) static $id: Entry = Entry {
            spec: Spec {
                name: $name,
                aliases: &[$alias],
                peers: Peers::of($torch, $keras),
                doc: $doc,
                params: Words::<$n>::ADAPTIVE,
            },
            takes_indices: false,
            samples: &[$($sample),*],
            infer: infer::<$n>,
            make: |args, _, _| Box::new($layer::<$n> { size: per_axis(args, "size") }),
        };)*
    };
}

entries! {
    AVG1D 1 AdaptiveAvgPool "AdaptiveAvgPool1d" "AdaptiveAveragePooling1D"
        "nn.AdaptiveAvgPool1d" "layers.AdaptiveAveragePooling1D"
        "The mean of so many bins of a sequence." [Sample::of("size = 3", &[2, 7])];
    AVG2D 2 AdaptiveAvgPool "AdaptiveAvgPool2d" "AdaptiveAveragePooling2D"
        "nn.AdaptiveAvgPool2d" "layers.AdaptiveAveragePooling2D"
        "The mean of so many bins of an image." [
        Sample::of("size = [2, 3]", &[2, 4, 7]), Sample::of("output_size = 4", &[1, 2, 4])
    ];
    AVG3D 3 AdaptiveAvgPool "AdaptiveAvgPool3d" "AdaptiveAveragePooling3D"
        "nn.AdaptiveAvgPool3d" "layers.AdaptiveAveragePooling3D"
        "The mean of so many bins of a volume." [Sample::of("size = 2", &[2, 3, 4, 5])];
    MAX1D 1 AdaptiveMaxPool "AdaptiveMaxPool1d" "AdaptiveMaxPooling1D"
        "nn.AdaptiveMaxPool1d" "layers.AdaptiveMaxPooling1D"
        "The largest value of so many bins of a sequence." [Sample::of("size = 3", &[2, 7])];
    MAX2D 2 AdaptiveMaxPool "AdaptiveMaxPool2d" "AdaptiveMaxPooling2D"
        "nn.AdaptiveMaxPool2d" "layers.AdaptiveMaxPooling2D"
        "The largest value of so many bins of an image." [Sample::of("size = [2, 3]", &[2, 4, 7])];
    MAX3D 3 AdaptiveMaxPool "AdaptiveMaxPool3d" "AdaptiveMaxPooling3D"
        "nn.AdaptiveMaxPool3d" "layers.AdaptiveMaxPooling3D"
        "The largest value of so many bins of a volume." [Sample::of("size = 2", &[2, 3, 4, 5])];
}
