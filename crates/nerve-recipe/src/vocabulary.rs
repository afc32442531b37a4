//! The words of a recipe: what each table may hold, and the registries that fill the rest.

mod tuning;
mod words;

pub use tuning::{RANGE, TUNE, pruners};
pub use words::{WORDS, Words, find};

use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};
use std::sync::LazyLock;

/// The newest recipe format that this version reads.
pub const SCHEMA: i64 = 1;

/// The keys outside any table.
pub static ROOT: Spec = Spec {
    name: "the recipe",
    aliases: &[],
    peers: Peers::NONE,
    doc: "What is trained, on what, and how.",
    params: &[
        Param::with_default(
            "schema",
            Kind::int(1, i64::MAX),
            Value::Int(SCHEMA),
            "the version of the recipe format",
        ),
        Param::with_default(
            "seed",
            Kind::int(0, i64::MAX),
            Value::Int(42),
            "the start of all random numbers: the same seed gives the same model, bit for bit",
        ),
        Param::optional("name", Kind::Text, "the name of the run folder"),
        Param::optional(
            "task",
            Kind::Choice(crate::inherit::TASK_NAMES),
            "what the recipe is about, held against the types of its outputs; it follows from them and may be left out",
        ),
    ],
};

/// The tables of a recipe, in the order in which they are printed.
pub static SECTIONS: LazyLock<[&'static Spec; 6]> =
    LazyLock::new(|| [&*DATA, &MODEL, &TRAINER, &EVAL, &LOG, &TUNE]);

/// The table `[data]`: which files, how they are read, how the examples are split.
pub static DATA: LazyLock<Spec> = LazyLock::new(|| {
    let files = FILES_AND_SPLIT.iter().chain(&nerve_data::source::PARAMS);
    let params = files.chain(&nerve_data::series::PARAMS).cloned();
    Spec {
        name: "data",
        aliases: &[],
        peers: Peers::NONE,
        doc: "Where the examples come from and how they are split.",
        params: params.collect::<Vec<Param>>().leak(),
    }
});

static FILES_AND_SPLIT: [Param; 12] = [
    Param::optional("name", Kind::Text, "a data set of the catalogue, for instance \"mnist\""),
    Param::optional(
        "path",
        FILES,
        "one file, several alike, or a folder, that is split into training, validation and test",
    ),
    Param::optional("train", FILES, "the training data, where the test has files of its own"),
    Param::optional("test", FILES, "the test data"),
    Param::optional(
        "test_labels",
        Kind::Text,
        "its labels, else found by name as those of `train`",
    ),
    Param::optional(
        "validation",
        Kind::OneOf(&[Kind::fraction(), FILES]),
        "what watches the training: a file, or the share of the training data that is held back",
    ),
    Param::with_default(
        "split",
        nerve_data::split::KIND,
        Value::text("random"),
        "how training, validation and test are chosen",
    ),
    Param::optional(
        "balance",
        Kind::Choice(&["batches", "oversample"]),
        "batches: an epoch draws as many examples of each class; oversample: every example of the \
         largest class once, and those of the others as often as it takes to be as many",
    ),
    Param::optional(
        "weights",
        Kind::Text,
        "the column with the weight of each example in the loss",
    ),
    Param::with_default(
        "skip_bad",
        Kind::int(0, 1 << 30),
        Value::Int(0),
        "how many rows may be left out since a cell or its file cannot be read; each is named",
    ),
    Param::with_default(
        "stream",
        Kind::Bool,
        Value::Bool(false),
        "whether the rows are read from their files in each epoch, since memory does not hold them",
    ),
    Param::with_default(
        "shuffle_buffer",
        Kind::int(1, 1 << 30),
        Value::Int(10_000),
        "with `stream`: among how many rows in memory the next example is drawn",
    ),
];

const FILES: Kind =
    Kind::OneOf(&[Kind::Text, Kind::List { of: &Kind::Text, min_len: 1, max_len: 10_000 }]);

/// What stands in a table `[[input]]` beside the type of the column and what the type takes.
pub static INPUT: Spec = Spec {
    name: "input",
    aliases: &[],
    peers: Peers::NONE,
    doc: "A column that goes into the network.",
    params: &[
        NAME,
        Param::optional(
            "encoder",
            nerve_nn::encoders::KIND,
            "what becomes of it before it meets the others; the type has a usual one",
        ),
    ],
};

/// What stands in a table `[[output]]` beside the type of the column and what the type takes.
pub static OUTPUT: Spec = Spec {
    name: "output",
    aliases: &[],
    peers: Peers::NONE,
    doc: "A column that the network should tell.",
    params: &[
        NAME,
        Param::optional(
            "decoder",
            nerve_nn::decoders::KIND,
            "from what the network has made of its inputs to this output",
        ),
        Param::optional(
            "loss",
            nerve_nn::losses::KIND,
            "what is minimised; the type has a usual one",
        ),
        Param::optional(
            "metrics",
            METRICS,
            "what is reported beside the loss; the type has usual ones",
        ),
        Param::with_default(
            "weight",
            Kind::positive(),
            Value::Float(1.0),
            "what its loss counts beside that of other outputs",
        ),
        Param::optional(
            "generate",
            Kind::Table(&crate::generate::GENERATE),
            "of a text: how it is written, token by token",
        ),
        Param::optional(
            "class_weights",
            Kind::OneOf(&[
                Kind::Choice(&["balanced"]),
                Kind::List { of: &CLASS_WEIGHT, min_len: 2, max_len: 1 << 20 },
            ]),
            "what examples of each class count: balanced is n / (classes × examples of the class)",
        ),
    ],
};

const NAME: Param = Param::required(
    "name",
    Kind::OneOf(&[Kind::Text, Kind::List { of: &Kind::Text, min_len: 1, max_len: 10_000 }]),
    "the column, or several that are described alike",
);

static CLASS_WEIGHT: Kind = Kind::positive();

/// The tables that may stand several times, one for each column.
pub static COLUMNS: [&Spec; 2] = [&INPUT, &OUTPUT];

/// The type of a column.
pub static FEATURE: Kind =
    Kind::Item { what: "type of column", specs: nerve_data::features::specs };

const METRICS: Kind = Kind::List { of: &nerve_train::metrics::KIND, min_len: 0, max_len: 16 };

/// The table `[model]`.
pub static MODEL: Spec = Spec {
    name: "model",
    aliases: &[],
    peers: Peers::NONE,
    doc: "The network.",
    params: &[
        Param::optional(
            "layers",
            Kind::List { of: &LAYER, min_len: 1, max_len: 10_000 },
            "the layers of a network of one input, first to last; the batch dimension is never written. \
             Instead of them, `type` and what it takes: a network of the zoo; or neither, and each \
             input has an encoder",
        ),
        Param::optional(
            "combiner",
            nerve_nn::combiners::KIND,
            "where several inputs meet, once each has been encoded",
        ),
        BASE,
        BASE_INPUTS,
        BASE_OUTPUT,
        INIT_FROM,
        INIT_RENAME,
        INIT_EXCEPT,
        FREEZE,
        LORA,
    ],
};

/// What the table `[model]` may hold beside a network of the zoo.
pub static START: Spec = Spec {
    name: "model",
    aliases: &[],
    peers: Peers::NONE,
    doc: "The network.",
    params: &[BASE, BASE_INPUTS, BASE_OUTPUT, INIT_FROM, INIT_RENAME, INIT_EXCEPT, FREEZE, LORA],
};

const BASE: Param = Param::optional(
    "base",
    Kind::Text,
    "an ONNX file: the inputs go through its network, and what comes out goes into the layers; its weights are the \
     parameters `base.*`",
);
const BASE_INPUTS: Param = Param::optional(
    "base_inputs",
    PATTERNS,
    "for each column that goes in, in their order, the input of `base` that takes it, if there are several",
);
const BASE_OUTPUT: Param = Param::optional(
    "base_output",
    Kind::Text,
    "the value of the graph of `base` that comes out, if not its only output: before its last layer, say",
);
const INIT_FROM: Param = Param::optional(
    "init_from",
    Kind::Text,
    "a model file, or any safetensors file, whose parameters are taken over, under the same names",
);
const INIT_RENAME: Param = Param::with_default(
    "init_rename",
    PATTERNS,
    Value::list(&[]),
    "what the names of that file are here: \"bert.* = encoders.text.0.*\"",
);
const INIT_EXCEPT: Param = Param::with_default(
    "init_except",
    PATTERNS,
    Value::list(&[]),
    "patterns of parameters that begin fresh all the same: a new last layer",
);
const FREEZE: Param = Param::with_default(
    "freeze",
    PATTERNS,
    Value::list(&[]),
    "patterns of parameters that are not trained",
);
const LORA: Param = Param::optional(
    "lora",
    nerve_nn::lora::KIND,
    "small adapters are trained beside the weights, and merged in what is saved",
);

const PATTERNS: Kind = Kind::List { of: &Kind::Text, min_len: 0, max_len: 1000 };

static LAYER: Kind = Kind::Item { what: "layer", specs: nerve_nn::layers::specs };

/// What the table `[model]` may be instead: a network of the zoo, with `type`.
pub static NETWORK: Kind = Kind::Item { what: "network", specs: nerve_nn::models::specs };

/// The table `[eval]`: what `nerve evaluate` does unless its flags say otherwise.
pub static EVAL: Spec = Spec {
    name: "eval",
    aliases: &["evaluate"],
    peers: Peers::NONE,
    doc: "How the trained network is judged.",
    params: &[
        Param::optional("slices", TEXTS, "columns by whose values the rows are judged apart"),
        Param::optional(
            "group",
            Kind::Text,
            "the column whose values hold rows together that are not independent of each other",
        ),
        Param::optional(
            "gate",
            Kind::OneOf(&[Kind::Text, TEXTS]),
            "what must be reached, or `nerve evaluate` ends with exit code 4: \"accuracy >= 0.97\"",
        ),
        Param::optional("worst", Kind::int(0, 10_000), "how many of the worst rows are shown"),
        Param::optional(
            "resamples",
            Kind::int(0, 1_000_000),
            "how many bootstrap resamples the intervals are from; 0 for none",
        ),
        Param::optional(
            "season",
            Kind::int(1, 1_000_000),
            "after how many rows a series repeats itself: the naive forecast, and what MASE divides by; \
             1 without it",
        ),
        Param::optional(
            "user",
            Kind::Text,
            "for recommendations the column of the users: the rows of each are ranked",
        ),
        Param::optional("item", Kind::Text, "the column of the items that are ranked"),
        Param::optional(
            "relevant",
            Kind::float(f64::MIN, f64::MAX),
            "from which truth on an item is relevant",
        ),
        Param::optional("k", Kind::int(1, 1_000_000), "how many items are shown; 10 without it"),
    ],
};

const TEXTS: Kind = Kind::List { of: &Kind::Text, min_len: 1, max_len: 1000 };

/// The table `[log]`: what a run writes down. Nothing of it changes what is learned.
pub static LOG: Spec = Spec {
    name: "log",
    aliases: &[],
    peers: Peers::NONE,
    doc: "What a run writes down, and how often it is saved.",
    params: &[
        Param::optional(
            "every",
            Kind::count(),
            "a point on the curves after so many steps; without it up to ten in a second",
        ),
        Param::optional(
            "grad_norm",
            Kind::Bool,
            "whether the length of all gradients together, before clipping, is a curve; without it, where \
             something is clipped",
        ),
        Param::with_default(
            "checkpoint_epochs",
            Kind::count(),
            Value::Int(1),
            "the training is saved after so many epochs, and after each that is the best",
        ),
        Param::with_default(
            "checkpoint_minutes",
            Kind::positive(),
            Value::Float(5.0),
            "the training is saved after so much time as well",
        ),
        Param::optional(
            "checkpoint_steps",
            Kind::count(),
            "the training is saved after so many steps as well",
        ),
        Param::with_default(
            "histograms",
            Kind::Choice(&["none", "weights", "all"]),
            Value::text("weights"),
            "what is looked at after each epoch: weights and how far a step goes; all: gradients, \
             activations, dead units and times of the first batch too, for some steps' time",
        ),
    ],
};

/// The table `[trainer]`.
pub static TRAINER: Spec = Spec {
    name: "trainer",
    aliases: &[],
    peers: Peers::NONE,
    doc: "How the network is trained.",
    params: &[
        Param::with_default(
            "epochs",
            Kind::int(0, 1_000_000),
            Value::Int(20),
            "how many times each training example is seen",
        ),
        Param::with_default(
            "batch_size",
            Kind::int(1, 1 << 20),
            Value::Int(64),
            "how many examples go into one step",
        )
        .alias(&["batch"]),
        Param::with_default(
            "shuffle",
            Kind::Bool,
            Value::Bool(true),
            "whether each epoch goes through the training examples in an order of its own",
        ),
        Param::optional(
            "loss",
            nerve_nn::losses::KIND,
            "what is minimised, where there is one output; its type has a usual one",
        ),
        Param::optional(
            "metrics",
            METRICS,
            "what is reported beside the loss, where there is one output; its type has usual ones",
        ),
        Param::with_default(
            "optimizer",
            nerve_nn::optim::KIND,
            Value::text("adam"),
            "how the parameters follow the gradient",
        ),
        Param::with_default(
            "groups",
            Kind::List { of: &nerve_nn::optim::GROUP, min_len: 0, max_len: 1000 },
            Value::list(&[]),
            "parameters with settings of their own; each belongs to the first group that fits",
        ),
        Param::with_default(
            "wrap",
            Kind::List { of: &nerve_nn::optim::WRAPPER, min_len: 0, max_len: 16 },
            Value::list(&[]),
            "what is put around the optimizer: clipping, averages, accumulation, ...",
        ),
        Param::optional(
            "clip",
            Kind::positive(),
            "all gradients together are shortened to this length: short for clip_global_norm",
        ),
        Param::with_default(
            "schedule",
            nerve_nn::schedules::KIND,
            Value::text("constant"),
            "how the learning rate changes from step to step",
        ),
        Param::optional(
            "mix",
            Kind::Item { what: "mixing", specs: nerve_data::transform::mix_specs },
            "training examples of a batch are mixed with each other, and so are their classes",
        ),
        Param::optional(
            "early_stop",
            Kind::Table(&EARLY_STOP),
            "stops once no epoch has been the best for a while, and takes the best one's parameters",
        ),
        Param::with_default(
            "steps_per_call",
            Kind::count(),
            Value::Int(1),
            "after how many steps progress, curves and whatever else looks on are told",
        ),
        Param::optional(
            "max_minutes",
            Kind::positive(),
            "how long the training may take: the epoch in hand is then the last",
        ),
        Param::with_default(
            "precision",
            Kind::Choice(&["f32", "bf16"]),
            Value::text("f32"),
            "of the operands of products and convolutions; parameters, gradients and sums are f32 in any case",
        ),
    ],
};

/// The table `early_stop`.
static EARLY_STOP: Spec = Spec {
    name: "early_stop",
    aliases: &[],
    peers: Peers::of("", "callbacks.EarlyStopping"),
    doc: "When the training stops before its last epoch; the best parameters are restored.",
    params: &[
        Param::optional(
            "metric",
            Kind::Text,
            "the score that is followed: val_loss, val_accuracy, ...; without it the loss of the validation",
        ),
        Param::optional(
            "mode",
            Kind::Choice(&["min", "max"]),
            "whether less of it is better, or more; known for the metrics of the catalogue",
        ),
        Param::with_default(
            "patience",
            Kind::count(),
            Value::Int(5),
            "after how many epochs of which none was the best",
        ),
        Param::with_default(
            "min_delta",
            Kind::non_negative(),
            Value::Float(0.0),
            "by how much an epoch must be better",
        ),
    ],
};

/// The random changes to training examples.
pub fn augmentations() -> Vec<&'static Spec> {
    nerve_data::transform::registry().iter().map(|entry| entry.spec).collect()
}
