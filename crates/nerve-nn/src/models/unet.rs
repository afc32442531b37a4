//! Networks that give an image for an image.

use super::{LARGE, whole};
use crate::context::Context;
use crate::dims::image;
use crate::layers::block::{Block, layer};
use crate::layers::blocks::conv_norm;
use crate::layers::combine::Combine;
use crate::layers::{Entry, Layer, Misfit, Sample, containers};
use crate::params::Params;
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// An image for an image: down to small images with many channels and up again, where each size
/// sees what it was on the way down.
///
/// Ronneberger, Fischer & Brox, "U-Net: convolutional networks for biomedical image segmentation",
/// 2015; with batch normalisation, and with borders that keep the size, as has become usual.
/// Parameters are `down0`, …, `bottom`, `up0`, `join0`, …, `head`, counted from the largest size.
///
/// Input `[batch, channels, height, width]`, output `[batch, outputs, height, width]`; height and
/// width are multiples of 2^depth.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::models::{UNet, UNetOptions};
/// use nerve_nn::{Context, Layer, Params};
/// let options = UNetOptions { outputs: 2, width: 4, depth: 2 };
/// let model = UNet::new(&Params::new(42), 3, options);
/// let y = model.forward(&Tensor::ones([1, 3, 16, 24]), &Context::eval());
/// assert_eq!(**y.shape(), [1, 2, 16, 24]);
/// ```
pub struct UNet {
    network: Box<dyn Layer>,
}

/// The sizes of a [`UNet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UNetOptions {
    /// Channels of the result.
    pub outputs: usize,
    /// Channels of the largest size; each halving doubles them.
    pub width: usize,
    /// How often the image is halved.
    pub depth: usize,
}

/// Two 3×3 convolutions, each with batch normalisation and ReLU.
fn twice(filters: usize) -> Block {
    let relu = || Some(crate::layers::blocks::activation("relu"));
    Block::chain([conv_norm(filters, 3, 1, 1, relu()), conv_norm(filters, 3, 1, 1, relu())])
}

impl UNetOptions {
    /// The size number `level` and all smaller ones.
    fn level(&self, level: usize) -> Block {
        let filters = self.width.saturating_mul(1 << level);
        if level == self.depth {
            return Block::Chain(vec![twice(filters).named("bottom")]);
        }
        let up = layer!("ConvTranspose2d", filters = filters, kernel = 2, stride = 2);
        let below = Block::Chain(vec![
            layer!("MaxPool2d").inline(),
            self.level(level + 1).inline(),
            up.named(format!("up{level}")),
        ]);
        let both = Block::Branches {
            parts: vec![Block::chain([]).inline(), below.inline()],
            merge: Combine::Concat { axis: 1 },
        };
        Block::Chain(vec![
            twice(filters).named(format!("down{level}")),
            both.inline(),
            twice(filters).named(format!("join{level}")),
        ])
    }

    fn block(&self) -> Block {
        let head = layer!("Conv2d", filters = self.outputs, kernel = 1);
        Block::Chain(vec![self.level(0).inline(), head.named("head")])
    }
}

impl UNet {
    /// For images with `inputs` channels.
    ///
    /// # Panics
    /// If the depth is more than ten.
    #[track_caller]
    pub fn new(params: &Params, inputs: usize, options: UNetOptions) -> UNet {
        assert!(options.depth <= 10, "UNet: a depth of at most 10, found {}", options.depth);
        UNet { network: whole("UNet", &options.block(), [inputs, LARGE, LARGE], params) }
    }
}

impl Layer for UNet {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.network.forward(x, cx)
    }
}

pub(super) static UNET: Entry = containers::entry!(
    "UNet" ["unet"] Peers::NONE,
    "An image for an image: down to small ones and up again, each size beside what it was.",
    &[
        Param::optional(
            "outputs",
            Kind::count(),
            "channels of the result; without it those of the largest size, and no last convolution",
        )
        .alias(&["classes", "num_classes"]),
        Param::with_default(
            "width",
            Kind::int(1, 1 << 12),
            Value::Int(64),
            "channels of the largest size; each halving doubles them",
        ),
        Param::with_default("depth", Kind::int(1, 10), Value::Int(4), "how often it is halved"),
    ],
    &[
        Sample::of("outputs = 2, width = 2, depth = 2", &[1, 8, 12]),
        Sample::of("width = 3, depth = 1", &[2, 4, 6]),
    ],
    |args: &Args, input: &[usize]| -> Result<Block, Misfit> {
        let [_, height, width] = image(input)?;
        let depth = args.usize("depth");
        if !height.is_multiple_of(1 << depth) || !width.is_multiple_of(1 << depth) {
            return Err(Misfit {
                needs: format!("height and width that are multiples of {}", 1 << depth),
                hint: format!("it is {height} × {width}: pad it, or halve less often"),
            });
        }
        let options = UNetOptions { outputs: 1, width: args.usize("width"), depth };
        Ok(match args.has("outputs") {
            true => UNetOptions { outputs: args.usize("outputs"), ..options }.block(),
            false => options.level(0),
        })
    }
);
