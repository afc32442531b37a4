//! The layers of a recipe: what each takes, what shape it makes, and what it costs.

use nerve_formats::spec::{Args, Kind, Param, Spec, Value};

/// What a layer does to the shape of one example, and what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The shape of one example after the layer, without the batch.
    pub shape: Vec<usize>,
    /// Trainable numbers.
    pub parameters: u128,
    /// Numbers that are kept but not trained (running statistics).
    pub state: u128,
    /// Floating-point operations forward for one example; a multiply-add is two.
    pub flops: u128,
    /// Values that the backward pass needs, for one example.
    pub kept: u128,
}

/// Why a layer cannot take what it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What it needs, in words: `[channels, height, width]`.
    pub needs: String,
    /// What to do about it.
    pub hint: String,
}

/// One entry of the registry.
pub struct Layer {
    /// Name and parameters.
    pub spec: Spec,
    /// From the shape of one example before to the effect.
    pub infer: fn(&Args, &[usize]) -> Result<Effect, Misfit>,
}

/// All layers.
pub static LAYERS: [&Layer; 12] = [
    &CONV2D,
    &CONV1D,
    &MAX_POOL2D,
    &AVG_POOL2D,
    &GLOBAL_AVG_POOL2D,
    &FLATTEN,
    &DENSE,
    &DROPOUT,
    &BATCH_NORM,
    &LAYER_NORM,
    &EMBEDDING,
    &ACTIVATION,
];

/// The descriptions of all layers.
pub fn specs() -> Vec<&'static Spec> {
    LAYERS.iter().map(|layer| &layer.spec).collect()
}

/// The layer of a name as it stands in checked items.
pub fn find(name: &str) -> Option<&'static Layer> {
    LAYERS.iter().copied().find(|layer| layer.spec.name == name)
}

/// The activations that a layer can end with.
pub fn activations() -> Vec<&'static Spec> {
    macro_rules! plain {
        ($($name:literal, [$($alias:literal),*], $doc:literal;)*) => {
            vec![$({
                static SPEC: Spec =
                    Spec { name: $name, aliases: &[$($alias),*], doc: $doc, params: &[] };
                &SPEC
            }),*]
        };
    }
    plain! {
        "linear", ["none", "identity"], "x";
        "relu", ["ReLU"], "max(x, 0)";
        "sigmoid", ["Sigmoid"], "1 / (1 + exp(-x))";
        "tanh", ["Tanh"], "the hyperbolic tangent";
        "gelu", ["GELU"], "x times the normal distribution function of x";
        "silu", ["swish", "SiLU"], "x sigmoid(x)";
        "softplus", ["Softplus"], "log(1 + exp(x))";
    }
}

const ACTIVATION_PARAM: Param = Param::with_default(
    "activation",
    Kind::Item { what: "activation", specs: activations },
    Value::text("linear"),
    "the function after it",
);
const BIAS: Param =
    Param::with_default("bias", Kind::Bool, Value::Bool(true), "whether it has a bias")
        .alias(&["use_bias"]);
const ONE: Value = Value::Int(1);

static CONV2D: Layer = Layer {
    spec: Spec {
        name: "Conv2d",
        aliases: &["Conv2D"],
        doc: "Convolution of an image.",
        params: &[
            Param::required("filters", Kind::count(), "output channels").alias(&["out_channels"]),
            Param::required("kernel", Kind::count_or_pair(), "height and width of the filters")
                .alias(&["kernel_size"]),
            Param::with_default("stride", Kind::count_or_pair(), ONE, "step").alias(&["strides"]),
            PADDING,
            Param::with_default("dilation", Kind::count_or_pair(), ONE, "distance of the taps")
                .alias(&["dilation_rate"]),
            Param::with_default(
                "groups",
                Kind::int(1, 1 << 20),
                ONE,
                "separate groups of channels",
            ),
            BIAS,
            ACTIVATION_PARAM,
        ],
    },
    infer: conv2d,
};

const BORDER: Kind = Kind::int(0, 1 << 20);
const PADDING: Param = Param::with_default(
    "padding",
    Kind::OneOf(&[
        Kind::Choice(&["valid", "same"]),
        BORDER,
        Kind::List { of: &BORDER, min_len: 2, max_len: 2 },
    ]),
    Value::text("valid"),
    "border of zeros: none, as much as keeps the size at stride 1, or so many pixels",
);

static CONV1D: Layer = Layer {
    spec: Spec {
        name: "Conv1d",
        aliases: &["Conv1D"],
        doc: "Convolution of a sequence.",
        params: &[
            Param::required("filters", Kind::count(), "output channels").alias(&["out_channels"]),
            Param::required("kernel", Kind::int(1, 1 << 20), "length of the filters")
                .alias(&["kernel_size"]),
            Param::with_default("stride", Kind::int(1, 1 << 20), ONE, "step").alias(&["strides"]),
            Param::with_default(
                "padding",
                Kind::OneOf(&[Kind::Choice(&["valid", "same"]), BORDER]),
                Value::text("valid"),
                "border of zeros",
            ),
            Param::with_default("dilation", Kind::int(1, 1 << 20), ONE, "distance of the taps")
                .alias(&["dilation_rate"]),
            Param::with_default(
                "groups",
                Kind::int(1, 1 << 20),
                ONE,
                "separate groups of channels",
            ),
            BIAS,
            ACTIVATION_PARAM,
        ],
    },
    infer: conv1d,
};

const POOL: [Param; 3] = [
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

static MAX_POOL2D: Layer = Layer {
    spec: Spec {
        name: "MaxPool2d",
        aliases: &["MaxPooling2D", "MaxPool2D"],
        doc: "The greatest value of each window.",
        params: &POOL,
    },
    infer: pool2d,
};

static AVG_POOL2D: Layer = Layer {
    spec: Spec {
        name: "AvgPool2d",
        aliases: &["AveragePooling2D", "AvgPool2D"],
        doc: "The mean of each window.",
        params: &POOL,
    },
    infer: pool2d,
};

static GLOBAL_AVG_POOL2D: Layer = Layer {
    spec: Spec {
        name: "GlobalAvgPool2d",
        aliases: &["GlobalAveragePooling2D"],
        doc: "The mean of each channel.",
        params: &[],
    },
    infer: |_, input| {
        let [channels, height, width] = image(input)?;
        Ok(cheap(vec![channels], product(&[channels, height, width]), 1))
    },
};

static FLATTEN: Layer = Layer {
    spec: Spec { name: "Flatten", aliases: &[], doc: "All values in one row.", params: &[] },
    infer: |_, input| {
        let length = usize::try_from(product(input)).unwrap_or(usize::MAX);
        Ok(Effect { shape: vec![length], parameters: 0, state: 0, flops: 0, kept: 0 })
    },
};

static DENSE: Layer = Layer {
    spec: Spec {
        name: "Dense",
        aliases: &["Linear"],
        doc: "Every output is a weighted sum of every input.",
        params: &[
            Param::required("units", Kind::count(), "outputs").alias(&["out_features"]),
            BIAS,
            ACTIVATION_PARAM,
        ],
    },
    infer: dense,
};

static DROPOUT: Layer = Layer {
    spec: Spec {
        name: "Dropout",
        aliases: &[],
        doc: "While training, sets a random share of the values to zero.",
        params: &[Param::required("rate", Kind::fraction(), "the share").alias(&["p"])],
    },
    infer: |_, input| Ok(cheap(input.to_vec(), product(input), 2)),
};

static BATCH_NORM: Layer = Layer {
    spec: Spec {
        name: "BatchNorm",
        aliases: &["BatchNormalization", "BatchNorm1d", "BatchNorm2d"],
        doc: "Mean 0 and deviation 1 of each channel over the batch, then a scale and a shift.",
        params: &[
            Param::with_default(
                "eps",
                Kind::positive(),
                Value::Float(1e-5),
                "against division by zero",
            )
            .alias(&["epsilon"]),
            Param::with_default(
                "momentum",
                Kind::fraction(),
                Value::Float(0.1),
                "the weight of a new batch in the running statistics",
            ),
        ],
    },
    infer: |_, input| {
        let channels = input.first().copied().unwrap_or(1) as u128;
        let effect = cheap(input.to_vec(), product(input), 8);
        Ok(Effect { parameters: 2 * channels, state: 2 * channels, ..effect })
    },
};

static LAYER_NORM: Layer = Layer {
    spec: Spec {
        name: "LayerNorm",
        aliases: &["LayerNormalization"],
        doc: "Mean 0 and deviation 1 over the last dimension, then a scale and a shift.",
        params: &[Param::with_default(
            "eps",
            Kind::positive(),
            Value::Float(1e-5),
            "against division by zero",
        )
        .alias(&["epsilon"])],
    },
    infer: |_, input| {
        let last = input.last().copied().unwrap_or(1) as u128;
        Ok(Effect { parameters: 2 * last, ..cheap(input.to_vec(), product(input), 8) })
    },
};

static EMBEDDING: Layer = Layer {
    spec: Spec {
        name: "Embedding",
        aliases: &[],
        doc: "A learned row for each number.",
        params: &[
            Param::required("rows", Kind::count(), "how many different numbers there are")
                .alias(&["input_dim", "num_embeddings"]),
            Param::required("dim", Kind::count(), "length of a row")
                .alias(&["output_dim", "embedding_dim"]),
        ],
    },
    infer: |args, input| {
        let dim = args.usize("dim");
        let shape = input.iter().copied().chain([dim]).collect::<Vec<_>>();
        let parameters = args.usize("rows") as u128 * dim as u128;
        Ok(Effect { parameters, ..cheap(shape.clone(), product(&shape), 0) })
    },
};

static ACTIVATION: Layer = Layer {
    spec: Spec {
        name: "Activation",
        aliases: &[],
        doc: "A function of each value.",
        params: &[Param::required(
            "activation",
            Kind::Item { what: "activation", specs: activations },
            "the function",
        )],
    },
    infer: |_, input| Ok(cheap(input.to_vec(), product(input), 1)),
};

/// The product of all dimensions, as large as it may be.
pub fn product(shape: &[usize]) -> u128 {
    shape.iter().fold(1u128, |all, &n| all.saturating_mul(n as u128))
}

fn cheap(shape: Vec<usize>, read: u128, per_value: u128) -> Effect {
    let kept = product(&shape);
    let flops = read.saturating_mul(per_value);
    Effect { shape, parameters: 0, state: 0, flops, kept }
}

fn image(input: &[usize]) -> Result<[usize; 3], Misfit> {
    <[usize; 3]>::try_from(input).map_err(|_| Misfit {
        needs: "[channels, height, width]".to_string(),
        hint: match input.len() {
            1 => "an image has no place after Flatten or Dense".to_string(),
            n => format!("it gets {n} dimensions and needs 3"),
        },
    })
}

/// How many windows of `kernel` fit along one dimension.
fn windows(
    name: &str,
    length: usize,
    border: usize,
    kernel: usize,
    dilation: usize,
    stride: usize,
) -> Result<usize, Misfit> {
    let reach = (kernel - 1).saturating_mul(dilation).saturating_add(1);
    let padded = length.saturating_add(border);
    if reach > padded {
        return Err(Misfit {
            needs: format!("at least {reach} values along the {name}"),
            hint: "pool less before it, pad it, or take a smaller kernel".to_string(),
        });
    }
    Ok((padded - reach) / stride + 1)
}

/// The border on both sides together, and whether it is `same`.
fn border(args: &Args, kernel: [usize; 2], dilation: [usize; 2]) -> ([usize; 2], bool) {
    match args.get("padding") {
        Some(Value::Text(word)) if word == "same" => {
            ([0, 1].map(|i| (kernel[i] - 1).saturating_mul(dilation[i])), true)
        }
        Some(Value::Text(_)) | None => ([0, 0], false),
        Some(_) => (args.pair("padding").map(|border| 2 * border), false),
    }
}

fn grouped(channels: usize, filters: usize, groups: usize) -> Result<(), Misfit> {
    if channels % groups == 0 && filters % groups == 0 {
        return Ok(());
    }
    Err(Misfit {
        needs: format!("input channels and filters that are multiples of groups = {groups}"),
        hint: format!("there are {channels} channels and {filters} filters"),
    })
}

fn conv2d(args: &Args, input: &[usize]) -> Result<Effect, Misfit> {
    let [channels, height, width] = image(input)?;
    let (filters, groups) = (args.usize("filters"), args.usize("groups"));
    grouped(channels, filters, groups)?;
    let (kernel, stride, dilation) =
        (args.pair("kernel"), args.pair("stride"), args.pair("dilation"));
    let (border, _) = border(args, kernel, dilation);
    let height = windows("height", height, border[0], kernel[0], dilation[0], stride[0])?;
    let width = windows("width", width, border[1], kernel[1], dilation[1], stride[1])?;
    Ok(convolution(
        args,
        filters,
        channels / groups * kernel[0] * kernel[1],
        vec![filters, height, width],
    ))
}

fn conv1d(args: &Args, input: &[usize]) -> Result<Effect, Misfit> {
    let &[channels, length] = input else {
        return Err(Misfit {
            needs: "[channels, length]".to_string(),
            hint: format!("it gets {} dimensions and needs 2", input.len()),
        });
    };
    let (filters, groups) = (args.usize("filters"), args.usize("groups"));
    grouped(channels, filters, groups)?;
    let (kernel, stride, dilation) =
        (args.usize("kernel"), args.usize("stride"), args.usize("dilation"));
    let (border, _) = border(args, [kernel, 1], [dilation, 1]);
    let length = windows("length", length, border[0], kernel, dilation, stride)?;
    Ok(convolution(args, filters, channels / groups * kernel, vec![filters, length]))
}

/// Cost of a convolution in which each output value is a sum over `taps` inputs.
fn convolution(args: &Args, filters: usize, taps: usize, shape: Vec<usize>) -> Effect {
    let bias = if args.bool("bias") { filters as u128 } else { 0 };
    let values = product(&shape);
    Effect {
        parameters: (filters as u128).saturating_mul(taps as u128).saturating_add(bias),
        state: 0,
        flops: values.saturating_mul(2 * taps as u128),
        kept: values,
        shape,
    }
}

fn pool2d(args: &Args, input: &[usize]) -> Result<Effect, Misfit> {
    let [channels, height, width] = image(input)?;
    let pool = args.pair("pool");
    let stride = if args.has("stride") { args.pair("stride") } else { pool };
    let border = args.pair("padding");
    for i in 0..2 {
        if 2 * border[i] > pool[i] {
            return Err(Misfit {
                needs: format!("a border of at most half the window, {}", pool[i] / 2),
                hint: format!("padding is {}", border[i]),
            });
        }
    }
    let height = windows("height", height, 2 * border[0], pool[0], 1, stride[0])?;
    let width = windows("width", width, 2 * border[1], pool[1], 1, stride[1])?;
    let shape = vec![channels, height, width];
    let read = product(&shape);
    Ok(cheap(shape, read, (pool[0] * pool[1]) as u128))
}

fn dense(args: &Args, input: &[usize]) -> Result<Effect, Misfit> {
    let &[features] = input else {
        return Err(Misfit {
            needs: "[features]".to_string(),
            hint: "put a Flatten before it".to_string(),
        });
    };
    let units = args.usize("units");
    let weights = (units as u128).saturating_mul(features as u128);
    let bias = if args.bool("bias") { units as u128 } else { 0 };
    Ok(Effect {
        shape: vec![units],
        parameters: weights.saturating_add(bias),
        state: 0,
        flops: weights.saturating_mul(2),
        kept: units as u128,
    })
}
