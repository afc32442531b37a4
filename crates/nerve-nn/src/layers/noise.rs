//! Dropout's kin: what disturbs a network while it is trained, and does nothing else.

use super::{Effect, Entry, Layer, Misfit, Sample, channels};
use crate::context::Context;
use crate::dims::product;
use nerve_core::Tensor;
use nerve_formats::spec::{Kind, Param, Peers, Spec};

/// While training, sets whole channels to zero with probability `rate` and scales the others by
/// 1 / (1 − `rate`): neighbouring pixels say much the same, so dropping single ones drops little.
///
/// Tompson et al., "Efficient object localization using convolutional networks", 2015.
///
/// Input `[batch, channels, …]`, output the same.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::SpatialDropout};
/// let cx = Context::train(&Tensor::random_key(1, 1));
/// let y = SpatialDropout { rate: 0.5 }.forward(&Tensor::ones([1, 8, 9]), &cx).to_vec::<f32>();
/// assert!(y.chunks(9).all(|channel| channel == [0.0; 9] || channel == [2.0; 9]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpatialDropout {
    /// The share that is set to zero, from 0 up to but not including 1.
    pub rate: f64,
}

/// `x` where a draw for each element of the first `axes` axes is true, scaled by 1 / `keep`.
fn kept(x: &Tensor, cx: &Context, axes: usize, keep: f64) -> Tensor {
    let mut shape = vec![1; x.rank()];
    shape[..axes].copy_from_slice(&x.shape()[..axes]);
    cx.bernoulli(shape, keep).select(&(x * (1.0 / keep)), &x.zeros_like())
}

impl Layer for SpatialDropout {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        assert!(
            x.rank() >= 2,
            "SpatialDropout: expected [batch, channels, …], found {}",
            x.shape()
        );
        match cx.is_training() && self.rate > 0.0 {
            true => kept(x, cx, 2, 1.0 - self.rate),
            false => x.clone(),
        }
    }
}

/// While training, sets whole examples to zero with probability `rate` and scales the others by
/// 1 / (1 − `rate`): at the end of the body of a [`Residual`](super::Residual) it leaves the whole
/// block out (stochastic depth).
///
/// Huang et al., "Deep networks with stochastic depth", 2016; Larsson, Maire & Shakhnarovich,
/// "FractalNet", 2017.
///
/// Input `[batch, …]`, output the same.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::DropPath};
/// let cx = Context::train(&Tensor::random_key(1, 1));
/// let y = DropPath { rate: 0.5 }.forward(&Tensor::ones([8, 9]), &cx).to_vec::<f32>();
/// assert!(y.chunks(9).all(|example| example == [0.0; 9] || example == [2.0; 9]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropPath {
    /// The share that is set to zero, from 0 up to but not including 1.
    pub rate: f64,
}

impl Layer for DropPath {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        match cx.is_training() && self.rate > 0.0 {
            true => kept(x, cx, 1, 1.0 - self.rate),
            false => x.clone(),
        }
    }
}

/// While training, sets each value with probability `rate` to what a [`Selu`] comes to at −∞, then
/// scales and shifts all so that mean 0 and variance 1 stay.
///
/// Klambauer et al., "Self-normalizing neural networks", 2017. To be used after
/// [`Selu`](crate::activations::Selu).
///
/// [`Selu`]: crate::activations::Selu
///
/// Input `[batch, …]`, output the same.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::AlphaDropout};
/// let x = Tensor::ones([2, 3]);
/// let y = AlphaDropout { rate: 0.1 }.forward(&x, &Context::eval());
/// assert_eq!(y.to_vec::<f32>(), [1.0; 6]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlphaDropout {
    /// The share that is dropped, from 0 up to but not including 1.
    pub rate: f64,
}

impl Layer for AlphaDropout {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        if !cx.is_training() || self.rate == 0.0 {
            return x.clone();
        }
        // −λα of SELU.
        let low = -1.7580993408473766;
        let keep = 1.0 - self.rate;
        let scale = (keep + low * low * keep * self.rate).powf(-0.5);
        let shift = -scale * self.rate * low;
        let kept = cx.bernoulli(x.shape(), keep).select(x, &x.full_like(low));
        kept * scale + shift
    }
}

/// While training, adds normal random numbers with mean 0.
///
/// Bishop, "Training with noise is equivalent to Tikhonov regularization", 1995.
///
/// Input `[batch, …]`, output the same.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::GaussianNoise};
/// let y = GaussianNoise { std: 0.1 }.forward(&Tensor::ones([3]), &Context::eval());
/// assert_eq!(y.to_vec::<f32>(), [1.0; 3]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianNoise {
    /// The standard deviation.
    pub std: f64,
}

impl Layer for GaussianNoise {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        match cx.is_training() && self.std > 0.0 {
            true => x + cx.normal(x.shape(), x.dtype()) * self.std,
            false => x.clone(),
        }
    }
}

/// While training, multiplies by normal random numbers with mean 1 and standard deviation
/// √(rate / (1 − rate)), which are those of a [`Dropout`](super::Dropout) of this rate.
///
/// Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
///
/// Input `[batch, …]`, output the same.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::GaussianDropout};
/// let y = GaussianDropout { rate: 0.1 }.forward(&Tensor::ones([3]), &Context::eval());
/// assert_eq!(y.to_vec::<f32>(), [1.0; 3]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianDropout {
    /// The rate of the dropout that it stands for, from 0 up to but not including 1.
    pub rate: f64,
}

impl Layer for GaussianDropout {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        if !cx.is_training() || self.rate == 0.0 {
            return x.clone();
        }
        let std = (self.rate / (1.0 - self.rate)).sqrt();
        x * (cx.normal(x.shape(), x.dtype()) * std + 1.0)
    }
}

const RATE: Param = Param::required("rate", Kind::fraction(), "the share").alias(&["p"]);

fn same(input: &[usize]) -> Result<Effect, Misfit> {
    Ok(Effect::cheap(input, product(input), 2))
}

macro_rules! entries {
    ($($id:ident $name:literal [$($alias:literal),*] $torch:literal $keras:literal $doc:literal
        $param:expr, $sample:expr, $infer:expr, $make:expr;)*) => {
        $(pub(super) static $id: Entry = Entry {
            spec: Spec {
                name: $name,
                aliases: &[$($alias),*],
                peers: Peers::of($torch, $keras),
                doc: $doc,
                params: &[$param],
            },
            takes_indices: false,
            samples: &[$sample],
            infer: $infer,
            make: $make,
        };)*
    };
}

entries! {
    SPATIAL_DROPOUT "SpatialDropout" [
        "Dropout1d", "Dropout2d", "Dropout3d", "SpatialDropout1D", "SpatialDropout2D",
        "SpatialDropout3D"
    ]
        "nn.Dropout1d, 2d, 3d" "layers.SpatialDropout1D, 2D, 3D"
        "While training, sets whole channels to zero."
        RATE, Sample::of("rate = 0.5", &[8, 3]),
        |_, input| channels(input).and_then(|_| same(input)),
        |args, _, _| Box::new(SpatialDropout { rate: args.float("rate") });
    DROP_PATH "DropPath" ["StochasticDepth"] "torchvision.ops.StochasticDepth" ""
        "While training, sets whole examples to zero."
        RATE, Sample::of("rate = 0.25", &[3]),
        |_, input| same(input),
        |args, _, _| Box::new(DropPath { rate: args.float("rate") });
    ALPHA_DROPOUT "AlphaDropout" [] "nn.AlphaDropout" "layers.AlphaDropout"
        "Dropout for self-normalising networks, after selu."
        RATE, Sample::of("rate = 0.25", &[9]),
        |_, input| same(input),
        |args, _, _| Box::new(AlphaDropout { rate: args.float("rate") });
    GAUSSIAN_NOISE "GaussianNoise" [] "" "layers.GaussianNoise"
        "While training, adds normal random numbers."
        Param::required("std", Kind::non_negative(), "the standard deviation").alias(&["stddev"]),
        Sample::of("std = 0.5", &[9]),
        |_, input| same(input),
        |args, _, _| Box::new(GaussianNoise { std: args.float("std") });
    GAUSSIAN_DROPOUT "GaussianDropout" [] "" "layers.GaussianDropout"
        "While training, multiplies by normal random numbers around 1."
        RATE, Sample::of("rate = 0.25", &[9]),
        |_, input| same(input),
        |args, _, _| Box::new(GaussianDropout { rate: args.float("rate") });
}
