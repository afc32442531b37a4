use super::{Effect, Entry, Layer, Sample};
use crate::context::Context;
use crate::dims::{image, product};
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// The mean of each channel.
///
/// Lin, Chen & Yan, "Network in network", 2013.
///
/// Input `[batch, channels, height, width]`, output `[batch, channels]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GlobalAvgPool2d;

impl Layer for GlobalAvgPool2d {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        assert!(
            x.rank() == 4,
            "GlobalAvgPool2d: expected [batch, channels, height, width], found {}",
            x.shape()
        );
        x.mean_axes(&[2, 3], false)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "GlobalAvgPool2d",
        aliases: &["GlobalAveragePooling2D", "GlobalAvgPool2D"],
        peers: Peers::of("nn.AdaptiveAvgPool2d(1)", "layers.GlobalAveragePooling2D"),
        doc: "The mean of each channel.",
        params: &[],
    },
    takes_indices: false,
    samples: &[Sample::of("", &[3, 2, 4])],
    infer: |_, input| {
        let [channels, ..] = image(input)?;
        Ok(Effect::cheap([channels], product(input), 1))
    },
    make: |_, _, _| Box::new(GlobalAvgPool2d),
};
