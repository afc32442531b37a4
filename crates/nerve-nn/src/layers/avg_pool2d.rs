use super::max_pool2d::{POOL, infer, pooling};
use super::{Entry, Layer, Sample};
use crate::context::Context;
use nerve_core::Tensor;
use nerve_formats::spec::{Peers, Spec};

/// The mean of each window. Zeros of the border count, as in PyTorch.
///
/// LeCun et al., "Gradient-based learning applied to document recognition", 1998.
///
/// Input `[batch, channels, height, width]`; of the output the last two are the numbers of windows.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::AvgPool2d};
/// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 6.0], [1, 1, 2, 2]);
/// assert_eq!(AvgPool2d::new(2).forward(&x, &Context::eval()).to_vec::<f32>(), [3.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool2d {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Step from one window to the next: down, right.
    pub stride: [usize; 2],
    /// Border at top and bottom, and left and right. At most half the window.
    pub padding: [usize; 2],
}

impl AvgPool2d {
    /// Square windows next to each other, without a border.
    pub fn new(kernel: usize) -> AvgPool2d {
        AvgPool2d { kernel: [kernel; 2], stride: [kernel; 2], padding: [0; 2] }
    }
}

impl Layer for AvgPool2d {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.avg_pool2d(self.kernel, self.stride, self.padding, true)
    }
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "AvgPool2d",
        aliases: &["AveragePooling2D", "AvgPool2D"],
        peers: Peers::of("nn.AvgPool2d", "layers.AveragePooling2D"),
        doc: "The mean of each window.",
        params: &POOL,
    },
    takes_indices: false,
    samples: &[Sample::of("pool_size = [1, 2], padding = [0, 1]", &[2, 3, 4])],
    infer,
    make: |args, _, _| {
        let [kernel, stride, padding] = pooling(args);
        Box::new(AvgPool2d { kernel, stride, padding })
    },
};
