//! What a recipe says about wrappers and groups.

use super::{
    Accumulated, Average, Averaged, Clip, Clipped, Group, Lookahead, Optimizer, Sam, Settings,
};
use crate::params::Params;
use crate::regularize;
use nerve_formats::spec::{Args, Item, Kind, Param, Peers, Spec, Value};

type Wrap = fn(Box<dyn Optimizer>, &Args, &Params) -> Box<dyn Optimizer>;

/// A kind of wrapper: its description, and how to put it around an optimizer.
pub struct Wrapper {
    /// Names and parameters.
    pub spec: Spec,
    /// Where it belongs: those of a smaller number lie inside.
    pub place: u8,
    /// How many numbers it keeps for each parameter.
    pub slots: usize,
    make: Wrap,
    /// Arguments as in a recipe, for tests.
    pub samples: &'static [&'static str],
}

const fn number(name: &'static str, default: f64, doc: &'static str) -> Param {
    Param::with_default(name, Kind::positive(), Value::Float(default), doc)
}

const fn count(name: &'static str, default: i64, doc: &'static str) -> Param {
    Param::with_default(name, Kind::count(), Value::Int(default), doc)
}

const fn yes_no(name: &'static str, default: bool, doc: &'static str) -> Param {
    Param::with_default(name, Kind::Bool, Value::Bool(default), doc)
}

const BUFFERS: Param = yes_no("buffers", false, "whether statistics of layers are averaged too");

fn averaged(
    inner: Box<dyn Optimizer>,
    average: Average,
    args: &Args,
    params: &Params,
) -> Box<dyn Optimizer> {
    let averaged = Averaged::new(inner, average);
    Box::new(if args.bool("buffers") { averaged.with_buffers(params) } else { averaged })
}

/// All wrappers.
pub static WRAPPERS: &[&Wrapper] = &[
    &Wrapper {
        spec: Spec {
            name: "sam",
            aliases: &["SAM"],
            peers: Peers::NONE,
            doc: "The gradient at the worst place nearby (Foret et al., 2021): twice the work.",
            params: &[
                number("rho", 0.05, "how far away"),
                yes_no("adaptive", false, "distances grow with the parameters"),
            ],
        },
        place: 0,
        slots: 0,
        make: |inner, args, _| {
            Box::new(Sam::new(inner, args.float("rho")).adaptive(args.bool("adaptive")))
        },
        samples: &["", "rho = 0.5, adaptive = true"],
    },
    &Wrapper {
        spec: Spec {
            name: "clip_value",
            aliases: &[],
            peers: Peers::of("nn.utils.clip_grad_value_", "optimizers.Optimizer(clipvalue)"),
            doc: "Each element of the gradient stays between −max and max.",
            params: &[Param::required("max", Kind::positive(), "the largest")],
        },
        place: 1,
        slots: 0,
        make: |inner, args, _| Box::new(Clipped::new(inner, Clip::Value(args.float("max")))),
        samples: &["max = 0.5"],
    },
    &Wrapper {
        spec: Spec {
            name: "clip_norm",
            aliases: &[],
            peers: Peers::of("", "optimizers.Optimizer(clipnorm)"),
            doc: "The gradient of each parameter is shortened to this length.",
            params: &[Param::required("max", Kind::positive(), "the length")],
        },
        place: 1,
        slots: 0,
        make: |inner, args, _| Box::new(Clipped::new(inner, Clip::Norm(args.float("max")))),
        samples: &["max = 0.5"],
    },
    &Wrapper {
        spec: Spec {
            name: "clip_global_norm",
            aliases: &["clip_grad_norm"],
            peers: Peers::of("nn.utils.clip_grad_norm_", "optimizers.Optimizer(global_clipnorm)"),
            doc: "All gradients together are shortened to this length.",
            params: &[Param::required("max", Kind::positive(), "the length")],
        },
        place: 1,
        slots: 0,
        make: |inner, args, _| Box::new(Clipped::new(inner, Clip::GlobalNorm(args.float("max")))),
        samples: &["max = 0.5"],
    },
    &Wrapper {
        spec: Spec {
            name: "lookahead",
            aliases: &["Lookahead"],
            peers: Peers::NONE,
            doc: "Some steps ahead, then back to a point on the way (Zhang et al., 2019).",
            params: &[
                count("steps", 5, "how many steps ahead"),
                Param::with_default(
                    "alpha",
                    Kind::float(0.0, 1.0),
                    Value::Float(0.5),
                    "how far along the way",
                ),
            ],
        },
        place: 2,
        slots: 1,
        make: |inner, args, _| {
            Box::new(Lookahead::new(inner, args.usize("steps") as u64, args.float("alpha")))
        },
        samples: &["", "steps = 2, alpha = 0.8"],
    },
    &Wrapper {
        spec: Spec {
            name: "ema",
            aliases: &["exponential_moving_average"],
            peers: Peers::of(
                "optim.swa_utils.AveragedModel(multi_avg_fn)",
                "optimizers.Optimizer(use_ema)",
            ),
            doc: "A running mean of the parameters is judged and saved in their place.",
            params: &[
                Param::with_default("decay", Kind::fraction(), Value::Float(0.999), "its decay")
                    .alias(&["ema_momentum"]),
                yes_no("warm_up", true, "the beginning is forgotten sooner"),
                BUFFERS,
            ],
        },
        place: 3,
        slots: 1,
        make: |inner, args, params| {
            let (decay, warm_up) = (args.float("decay"), args.bool("warm_up"));
            averaged(inner, Average::Exponential { decay, warm_up }, args, params)
        },
        samples: &["decay = 0.9", "decay = 0.5, warm_up = false, buffers = true"],
    },
    &Wrapper {
        spec: Spec {
            name: "swa",
            aliases: &["stochastic_weight_averaging"],
            peers: Peers::of("optim.swa_utils.AveragedModel", "callbacks.SwapEMAWeights"),
            doc: "The mean of the parameters at some steps is judged and saved in their place.",
            params: &[
                count("start", 1, "the first step that counts"),
                count("every", 1, "steps from one to the next"),
                BUFFERS,
            ],
        },
        place: 3,
        slots: 1,
        make: |inner, args, params| {
            let [start, every] = ["start", "every"].map(|name| args.usize(name) as u64);
            averaged(inner, Average::Mean { start, every }, args, params)
        },
        samples: &["", "start = 10, every = 3, buffers = true"],
    },
    &Wrapper {
        spec: Spec {
            name: "accumulate",
            aliases: &["gradient_accumulation"],
            peers: Peers::of("", "optimizers.Optimizer(gradient_accumulation_steps)"),
            doc: "One step for every so many batches, along their mean gradient.",
            params: &[count("batches", 4, "how many").alias(&["steps"])],
        },
        place: 4,
        slots: 1,
        make: |inner, args, _| Box::new(Accumulated::new(inner, args.usize("batches") as u64)),
        samples: &["", "batches = 1"],
    },
];

/// The descriptions of all wrappers.
pub fn wrapper_specs() -> Vec<&'static Spec> {
    WRAPPERS.iter().map(|wrapper| &wrapper.spec).collect()
}

/// Which wrappers a parameter takes.
pub const WRAPPER: Kind = Kind::Item { what: "wrapper of the optimizer", specs: wrapper_specs };

/// Puts the wrappers that a checked recipe names around an optimizer, each in its place whatever
/// their order in the recipe.
///
/// # Panics
/// If one is not from this registry.
pub fn wrap(optimizer: Box<dyn Optimizer>, items: &[Item], params: &Params) -> Box<dyn Optimizer> {
    let find = |item: &Item| {
        let found = WRAPPERS.iter().find(|wrapper| wrapper.spec.answers_to(item.name));
        *found.unwrap_or_else(|| panic!("no wrapper `{}`", item.name))
    };
    let mut wrappers: Vec<(&Wrapper, &Item)> =
        items.iter().map(|item| (find(item), item)).collect();
    wrappers.sort_by_key(|(wrapper, _)| wrapper.place);
    wrappers
        .into_iter()
        .fold(optimizer, |inner, (wrapper, item)| (wrapper.make)(inner, &item.args, params))
}

macro_rules! settings {
    ($($first:expr,)?) => {
        &[
            $($first,)?
            Param::with_default(
                "lr_factor",
                Kind::non_negative(),
                Value::Float(1.0),
                "the learning rate is multiplied by this",
            ),
            Param::optional(
                "weight_decay",
                Kind::non_negative(),
                "the weight decay; without it the optimizer's",
            ),
            Param::with_default("frozen", Kind::Bool, Value::Bool(false), "left as they are"),
            Param::with_default(
                "freeze_epochs",
                Kind::int(0, 1_000_000),
                Value::Int(0),
                "left as they are in so many epochs from the first on",
            ),
            Param::optional("regularizer", regularize::KIND, "a penalty on them"),
            Param::optional("constraint", regularize::CONSTRAINT, "what they are kept to"),
        ]
    };
}

const PATHS: Param = Param::required(
    "paths",
    Kind::List { of: &Kind::Text, min_len: 1, max_len: 1000 },
    "patterns of their paths: * stands for anything, a path also for what lies below it",
);

static GROUPS: [Spec; 3] = [
    Spec {
        name: "paths",
        aliases: &[],
        peers: Peers::NONE,
        doc: "The parameters whose path one of the patterns matches.",
        params: settings!(PATHS,),
    },
    Spec {
        name: "vectors",
        aliases: &[],
        peers: Peers::NONE,
        doc: "Parameters with one axis: biases, and scales and shifts of normalisations.",
        params: settings!(),
    },
    Spec {
        name: "all",
        aliases: &[],
        peers: Peers::NONE,
        doc: "All parameters (that no group before has).",
        params: settings!(),
    },
];

/// The descriptions of the ways to choose a group of parameters.
pub fn group_specs() -> Vec<&'static Spec> {
    GROUPS.iter().collect()
}

/// Which groups a parameter takes.
pub const GROUP: Kind = Kind::Item { what: "group of parameters", specs: group_specs };

/// The group that a checked recipe describes.
pub fn group(item: &Item) -> Group {
    let args = &item.args;
    let group = match item.name {
        "vectors" => Group::vectors(),
        "paths" => Group::of(&args.texts("paths").iter().map(String::as_str).collect::<Vec<_>>()),
        _ => Group::all(),
    };
    group.settings(Settings {
        lr_factor: args.float("lr_factor"),
        weight_decay: args.has("weight_decay").then(|| args.float("weight_decay")),
        frozen: args.bool("frozen"),
        freeze_epochs: args.usize("freeze_epochs") as u64,
        regularizer: args.has("regularizer").then(|| regularize::build(args.item("regularizer"))),
        constraint: args
            .has("constraint")
            .then(|| regularize::build_constraint(args.item("constraint"))),
    })
}
