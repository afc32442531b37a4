use super::{BORDER, Effect, Entry, Layer, Misfit, Sample};
use crate::context::Context;
use crate::dims::{Window, image, product};
use nerve_core::Tensor;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

/// The largest value of each window.
///
/// Weng, Ahuja & Huang, "Cresceptron", 1992.
///
/// Input `[batch, channels, height, width]`; of the output the last two are the numbers of windows.
///
/// ```
/// use nerve_core::Tensor;
/// use nerve_nn::{Context, Layer, layers::MaxPool2d};
/// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [1, 1, 2, 2]);
/// assert_eq!(MaxPool2d::new(2).forward(&x, &Context::eval()).to_vec::<f32>(), [4.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2d {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Step from one window to the next: down, right.
    pub stride: [usize; 2],
    /// Border at top and bottom, and left and right; never the largest. At most half the window.
    pub padding: [usize; 2],
}

impl MaxPool2d {
    /// Square windows next to each other, without a border.
    pub fn new(kernel: usize) -> MaxPool2d {
        MaxPool2d { kernel: [kernel; 2], stride: [kernel; 2], padding: [0; 2] }
    }
}

impl Layer for MaxPool2d {
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.max_pool2d(self.kernel, self.stride, self.padding)
    }
}

/// The parameters of pooling.
pub(super) const POOL: [Param; 3] = [
    Param::with_default(
        "pool",
        Kind::count_or_pair(),
        Value::Int(2),
        "height and width of the window",
    )
    .alias(&["pool_size", "kernel", "kernel_size"]),
    Param::optional("stride", Kind::count_or_pair(), "step; without it that of the window")
        .alias(&["strides"]),
    Param::with_default(
        "padding",
        Kind::OneOf(&[BORDER, Kind::List { of: &BORDER, min_len: 2, max_len: 2 }]),
        Value::Int(0),
        "border in pixels",
    ),
];

/// Window, step and border from checked arguments.
pub(super) fn pooling(args: &Args) -> [[usize; 2]; 3] {
    let pool = args.pair("pool");
    [pool, if args.has("stride") { args.pair("stride") } else { pool }, args.pair("padding")]
}

/// The effect of pooling.
pub(super) fn infer(args: &Args, input: &[usize]) -> Result<Effect, Misfit> {
    let [channels, height, width] = image(input)?;
    let [pool, stride, border] = pooling(args);
    for i in 0..2 {
        if 2 * border[i] > pool[i] {
            return Err(Misfit {
                needs: format!("a border of at most half the window, {}", pool[i] / 2),
                hint: format!("padding is {}", border[i]),
            });
        }
    }
    let count = |name, i: usize, length| {
        let window = Window { name, kernel: pool[i], stride: stride[i], dilation: 1 };
        window.count(length, (border[i], border[i]))
    };
    let shape = [channels, count("height", 0, height)?, count("width", 1, width)?];
    Ok(Effect::cheap(shape, product(&shape), product(&pool)))
}

pub(super) static ENTRY: Entry = Entry {
    spec: Spec {
        name: "MaxPool2d",
        aliases: &["MaxPooling2D", "MaxPool2D"],
        peers: Peers::of("nn.MaxPool2d", "layers.MaxPooling2D"),
        doc: "The largest value of each window.",
        params: &POOL,
    },
    takes_indices: false,
    samples: &[
        Sample::of("", &[2, 4, 7]),
        Sample::of("pool = 3, stride = 1, padding = 1", &[1, 4, 4]),
    ],
    infer,
    make: |args, _, _| {
        let [kernel, stride, padding] = pooling(args);
        Box::new(MaxPool2d { kernel, stride, padding })
    },
};
