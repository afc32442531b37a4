use super::axes::{PerAxis, Words, per_axis, windows};
use super::conv::{Padding, expect_axes, extents_of};
use super::{Effect, Entry, Layer, Misfit, Sample};
use crate::context::Context;
use crate::dims::{product, spatial};
use nerve_core::{Tensor, ops};
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// The windows of a pooling along `N` axes, one to three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions<const N: usize> {
    /// Extents of the window.
    pub kernel: [usize; N],
    /// Step from one window to the next along each axis.
    pub stride: [usize; N],
    /// Border. An explicit one is at most half the window.
    pub padding: Padding<N>,
    /// Whether there is one more window where elements are left at the end (`ceil_mode` of
    /// PyTorch); it has to begin inside of the input or the border in front.
    pub ceil: bool,
}

impl<const N: usize> PoolOptions<N> {
    /// Windows next to each other, without a border; what is left at the end is not seen.
    pub fn new(kernel: impl PerAxis<N>) -> PoolOptions<N> {
        let kernel = kernel.each();
        PoolOptions { kernel, stride: kernel, padding: Padding::Valid, ceil: false }
    }

    fn from_args(args: &Args) -> PoolOptions<N> {
        let kernel = per_axis(args, "pool");
        PoolOptions {
            kernel,
            stride: if args.has("stride") { per_axis(args, "stride") } else { kernel },
            padding: Padding::from_args(args),
            ceil: args.bool("ceil_mode"),
        }
    }

    /// What these options mean for an input of these extents, and the border without what only
    /// completes the last window.
    fn for_input(&self, extents: [usize; N]) -> (ops::PoolOptions<N>, [(usize, usize); N]) {
        let windows = windows(self.kernel, self.stride, [1; N]);
        let border = std::array::from_fn(|i| self.padding.border(i, &windows[i], extents[i]));
        let padding = match self.ceil {
            true => std::array::from_fn(|i| windows[i].completed(extents[i], border[i])),
            false => border,
        };
        (ops::PoolOptions { kernel: self.kernel, stride: self.stride, padding }, border)
    }

    fn outputs(&self, extents: [usize; N]) -> Result<[usize; N], Misfit> {
        if let Padding::Explicit(border) = self.padding
            && let Some(i) = (0..N).find(|&i| 2 * border[i] > self.kernel[i])
        {
            return Err(Misfit {
                needs: format!("a border of at most half the window, {}", self.kernel[i] / 2),
                hint: format!("padding is {}", border[i]),
            });
        }
        let (options, _) = self.for_input(extents);
        let mut outputs = [0; N];
        for (i, window) in windows(self.kernel, self.stride, [1; N]).iter().enumerate() {
            outputs[i] = window.count(extents[i], options.padding[i])?;
        }
        Ok(outputs)
    }
}

/// The largest value of each window along `N` axes. It goes by the names [`MaxPool1d`],
/// [`MaxPool2d`] and [`MaxPool3d`].
///
/// Weng, Ahuja & Huang, "Cresceptron", 1992.
///
/// Input `[batch, channels, extents…]`; of the output the extents are the numbers of windows. The
/// border is never the largest.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::MaxPool2d};
/// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [1, 1, 2, 2]);
/// assert_eq!(MaxPool2d::new(2).forward(&x, &Context::eval()).to_vec::<f32>(), [4.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool<const N: usize> {
    /// The windows.
    pub options: PoolOptions<N>,
}

/// Of sequences `[batch, channels, length]`; see [`MaxPool`].
pub type MaxPool1d = MaxPool<1>;
/// Of images `[batch, channels, height, width]`; see [`MaxPool`].
pub type MaxPool2d = MaxPool<2>;
/// Of volumes `[batch, channels, depth, height, width]`; see [`MaxPool`].
pub type MaxPool3d = MaxPool<3>;

impl<const N: usize> MaxPool<N> {
    /// Windows next to each other, without a border.
    pub fn new(kernel: impl PerAxis<N>) -> MaxPool<N> {
        MaxPool { options: PoolOptions::new(kernel) }
    }
}

impl<const N: usize> Layer for MaxPool<N> {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        expect_axes::<N>("MaxPool", x);
        x.max_pool(self.options.for_input(extents_of(x.shape())).0)
    }
}

/// The mean of each window along `N` axes. It goes by the names [`AvgPool1d`], [`AvgPool2d`] and
/// [`AvgPool3d`].
///
/// LeCun et al., "Gradient-based learning applied to document recognition", 1998.
///
/// Input `[batch, channels, extents…]`; of the output the extents are the numbers of windows. The
/// zeros of an explicit border count unless `count_include_pad` is false, as in PyTorch; those of
/// `same` never do, as in Keras.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::AvgPool2d};
/// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 6.0], [1, 1, 2, 2]);
/// assert_eq!(AvgPool2d::new(2).forward(&x, &Context::eval()).to_vec::<f32>(), [3.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool<const N: usize> {
    /// The windows.
    pub options: PoolOptions<N>,
    /// Whether the zeros of an explicit border count.
    pub count_include_pad: bool,
}

/// Of sequences `[batch, channels, length]`; see [`AvgPool`].
pub type AvgPool1d = AvgPool<1>;
/// Of images `[batch, channels, height, width]`; see [`AvgPool`].
pub type AvgPool2d = AvgPool<2>;
/// Of volumes `[batch, channels, depth, height, width]`; see [`AvgPool`].
pub type AvgPool3d = AvgPool<3>;

impl<const N: usize> AvgPool<N> {
    /// Windows next to each other, without a border.
    pub fn new(kernel: impl PerAxis<N>) -> AvgPool<N> {
        AvgPool { options: PoolOptions::new(kernel), count_include_pad: true }
    }
}

impl<const N: usize> Layer for AvgPool<N> {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        expect_axes::<N>("AvgPool", x);
        let (options, border) = self.options.for_input(extents_of(x.shape()));
        let counts = self.count_include_pad && self.options.padding != Padding::Same;
        x.avg_pool(options, if counts { border } else { [(0, 0); N] })
    }
}

/// The p-norm of each window along `N` axes, (Σ |x|ᵖ)^(1/p): between a sum (p = 1) and a maximum
/// (p → ∞). It goes by the names [`LpPool1d`], [`LpPool2d`] and [`LpPool3d`].
///
/// Gulcehre et al., "Learned-norm pooling for deep feedforward and recurrent neural networks",
/// 2014.
///
/// Input `[batch, channels, extents…]`; of the output the extents are the numbers of windows.
/// PyTorch sums xᵖ, so that an odd p keeps signs and gives NaN for what comes out negative; here
/// it is a norm for every p. A window of zeros has the gradient zero.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::LpPool1d};
/// let x = Tensor::from_slice(&[3.0f32, -4.0], [1, 1, 2]);
/// assert_eq!(LpPool1d::new(2.0, 2).forward(&x, &Context::eval()).to_vec::<f32>(), [5.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LpPool<const N: usize> {
    /// The windows.
    pub options: PoolOptions<N>,
    /// The power, 1 or more.
    pub p: f64,
}

/// Of sequences `[batch, channels, length]`; see [`LpPool`].
pub type LpPool1d = LpPool<1>;
/// Of images `[batch, channels, height, width]`; see [`LpPool`].
pub type LpPool2d = LpPool<2>;
/// Of volumes `[batch, channels, depth, height, width]`; see [`LpPool`].
pub type LpPool3d = LpPool<3>;

impl<const N: usize> LpPool<N> {
    /// The power, and windows next to each other.
    ///
    /// # Panics
    /// If `p` is below 1.
    #[track_caller]
    pub fn new(p: f64, kernel: impl PerAxis<N>) -> LpPool<N> {
        assert!(p >= 1.0 && p.is_finite(), "LpPool: p is a number of 1 or more, found {p}");
        LpPool { options: PoolOptions::new(kernel), p }
    }
}

impl<const N: usize> Layer for LpPool<N> {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        expect_axes::<N>("LpPool", x);
        let (options, _) = self.options.for_input(extents_of(x.shape()));
        let powers = if self.p == 2.0 { x.square() } else { x.abs().powf(self.p) };
        let taps: usize = options.kernel.iter().product();
        let sums = powers.avg_pool(options, options.padding) * taps as f64;
        // The slope of a root at 0 is infinite, and counts as 0.
        let zero = sums.eq(0.0);
        let root = zero.select(&sums.full_like(1.0), &sums).powf(1.0 / self.p);
        zero.select(&sums.zeros_like(), &root)
    }
}

impl<const N: usize> Words<N> {
    const POOL_SIZE: Param =
        Param::with_default("pool", Self::STEPS, Value::Int(2), "extents of the window").alias(&[
            "pool_size",
            "kernel",
            "kernel_size",
        ]);
    const POOL_STRIDE: Param =
        Param::optional("stride", Self::STEPS, "step; without it that of the window")
            .alias(&["strides"]);
    const POOL_PADDING: Param = Param::with_default(
        "padding",
        Self::PLAIN_PADDINGS,
        Value::text("valid"),
        "border: none, as much as keeps the size at stride 1, or so much",
    );
    const MAX_POOL: &'static [Param] =
        &[Self::POOL_SIZE, Self::POOL_STRIDE, Self::POOL_PADDING, CEIL];
    const AVG_POOL: &'static [Param] = &[
        Self::POOL_SIZE,
        Self::POOL_STRIDE,
        Self::POOL_PADDING,
        CEIL,
        Param::with_default(
            "count_include_pad",
            Kind::Bool,
            Value::Bool(true),
            "whether the zeros of an explicit border count",
        ),
    ];
    const LP_POOL: &'static [Param] = &[
        Param::with_default(
            "p",
            Kind::float(1.0, 1e3),
            Value::Float(2.0),
            "the power: 1 is a sum, a large one nearly the maximum",
        )
        .alias(&["norm_type"]),
        Self::POOL_SIZE,
        Self::POOL_STRIDE,
        Self::POOL_PADDING,
        CEIL,
    ];
}

const CEIL: Param = Param::with_default(
    "ceil_mode",
    Kind::Bool,
    Value::Bool(false),
    "whether elements that are left at the end get a window",
);

fn infer<const N: usize>(args: &Args, input: &[usize]) -> Result<Effect, Misfit> {
    let (channels, extents) = spatial::<N>(input)?;
    let options = PoolOptions::<N>::from_args(args);
    let shape = [&[channels], &options.outputs(extents)?[..]].concat();
    let values = product(&shape);
    Ok(Effect::cheap(shape, values, product(&options.kernel)))
}

fn max<const N: usize>(args: &Args) -> Box<dyn Layer> {
    Box::new(MaxPool::<N> { options: PoolOptions::from_args(args) })
}

fn avg<const N: usize>(args: &Args) -> Box<dyn Layer> {
    let (options, count_include_pad) =
        (PoolOptions::from_args(args), args.bool("count_include_pad"));
    Box::new(AvgPool::<N> { options, count_include_pad })
}

fn lp<const N: usize>(args: &Args) -> Box<dyn Layer> {
    Box::new(LpPool::<N> { options: PoolOptions::from_args(args), p: args.float("p") })
}

macro_rules! entries {
    ($($id:ident $n:literal $params:ident $make:ident $name:literal [$($alias:literal),*]
        $torch:literal $keras:literal $doc:literal [$($sample:expr),*];)*) => {
        $(pub(super) static $id: Entry = Entry {
            spec: Spec {
                name: $name,
                aliases: &[$($alias),*],
                peers: Peers::of($torch, $keras),
                doc: $doc,
                params: Words::<$n>::$params,
            },
            takes_indices: false,
            samples: &[$($sample),*],
            infer: infer::<$n>,
            make: |args, _, _| $make::<$n>(args),
        };)*
    };
}

entries! {
    MAX1D 1 MAX_POOL max "MaxPool1d" ["MaxPooling1D", "MaxPool1D"]
        "nn.MaxPool1d" "layers.MaxPooling1D" "The largest value of each window of a sequence." [
        Sample::of("", &[2, 7]), Sample::of("pool = 3, stride = 2, padding = 'same'", &[2, 6])
    ];
    MAX2D 2 MAX_POOL max "MaxPool2d" ["MaxPooling2D", "MaxPool2D"]
        "nn.MaxPool2d" "layers.MaxPooling2D" "The largest value of each window." [
        Sample::of("", &[2, 4, 7]),
        Sample::of("pool = 3, stride = 1, padding = 1", &[1, 4, 4]),
        Sample::of("pool = [3, 2], stride = 2, ceil_mode = true", &[1, 6, 5])
    ];
    MAX3D 3 MAX_POOL max "MaxPool3d" ["MaxPooling3D", "MaxPool3D"]
        "nn.MaxPool3d" "layers.MaxPooling3D" "The largest value of each window of a volume." [
        Sample::of("pool = [1, 2, 2]", &[2, 2, 4, 5]),
        Sample::of("pool = 3, stride = 2, padding = 1", &[1, 3, 4, 5])
    ];
    AVG1D 1 AVG_POOL avg "AvgPool1d" ["AveragePooling1D", "AvgPool1D"]
        "nn.AvgPool1d" "layers.AveragePooling1D" "The mean of each window of a sequence." [
        Sample::of("pool = 3, padding = 1, count_include_pad = false, ceil_mode = true", &[2, 8])
    ];
    AVG2D 2 AVG_POOL avg "AvgPool2d" ["AveragePooling2D", "AvgPool2D"]
        "nn.AvgPool2d" "layers.AveragePooling2D" "The mean of each window." [
        Sample::of("pool_size = [1, 2], padding = [0, 1]", &[2, 3, 4]),
        Sample::of("pool = 3, stride = 2, padding = 'same'", &[2, 4, 5])
    ];
    AVG3D 3 AVG_POOL avg "AvgPool3d" ["AveragePooling3D", "AvgPool3D"]
        "nn.AvgPool3d" "layers.AveragePooling3D" "The mean of each window of a volume." [
        Sample::of("", &[2, 2, 4, 5])
    ];
    LP1D 1 LP_POOL lp "LpPool1d" ["LPPool1d"] "nn.LPPool1d" ""
        "The p-norm of each window of a sequence." [
        Sample::of("norm_type = 1.5, pool = 3, stride = 1", &[2, 5])
    ];
    LP2D 2 LP_POOL lp "LpPool2d" ["LPPool2d"] "nn.LPPool2d" ""
        "The p-norm of each window." [Sample::of("", &[2, 4, 5])];
    LP3D 3 LP_POOL lp "LpPool3d" ["LPPool3d"] "nn.LPPool3d" ""
        "The p-norm of each window of a volume." [Sample::of("p = 3", &[1, 2, 4, 5])];
}
