//! The words of `[tune]`.

use nerve_formats::spec::{Kind, Param, Peers, Spec, Value};

/// The table `[tune]`: what `nerve tune` searches, and how. It is no part of the recipes that it trains.
pub static TUNE: Spec = Spec {
    name: "tune",
    aliases: &[],
    peers: Peers::NONE,
    doc: "What `nerve tune` searches, and how.",
    params: &[
        Param::optional(
            "metric",
            Kind::Text,
            "the score that trials are compared by: val_loss, val_accuracy, ...; without it that by which \
             epochs are compared",
        ),
        Param::optional(
            "mode",
            Kind::Choice(&["min", "max"]),
            "whether less of it is better, or more; known for the metrics of the catalogue",
        ),
        Param::with_default(
            "trials",
            Kind::int(1, 1_000_000),
            Value::Int(60),
            "how many trials there are to be",
        ),
        Param::with_default(
            "sampler",
            Kind::Choice(&["tpe", "random", "grid"]),
            Value::text("tpe"),
            "how trials are chosen: where good ones were more frequent than others, at random, or every \
             point of a grid once",
        ),
        Param::with_default(
            "pruner",
            Kind::Item { what: "pruner", specs: pruners },
            Value::text("median"),
            "which trials are ended early, from their scores after each epoch",
        ),
        Param::optional(
            "max_minutes",
            Kind::positive(),
            "how long it may take; trials that run then are given up",
        ),
        Param::required(
            "space",
            Kind::Any("a table with a range or a list of values for each path"),
            "what is searched: for each path of the recipe a range { low, high } or a list of values",
        ),
    ],
};

/// A range of numbers in `space`.
pub static RANGE: Spec = Spec {
    name: "range",
    aliases: &[],
    peers: Peers::NONE,
    doc: "The numbers from low to high; whole ones if both ends are whole.",
    params: &[
        Param::required("low", Kind::number(), "the lower end"),
        Param::required("high", Kind::number(), "the upper end"),
        Param::with_default(
            "log",
            Kind::Bool,
            Value::Bool(false),
            "whether it is searched by its logarithm: where the order of magnitude counts",
        ),
        Param::optional("step", Kind::positive(), "the distance between the values, from low on"),
        Param::optional(
            "points",
            Kind::int(1, 1_000_000),
            "how many of its values are on a grid, both ends among them",
        ),
    ],
};

static PRUNERS: [Spec; 3] = [
    Spec {
        name: "none",
        aliases: &[],
        peers: Peers::NONE,
        doc: "Every trial comes to its end.",
        params: &[],
    },
    Spec {
        name: "median",
        aliases: &[],
        peers: Peers::NONE,
        doc: "A trial ends whose best score so far is worse than the median of others after as many epochs.",
        params: &[
            Param::with_default(
                "startup",
                Kind::int(1, 1_000_000),
                Value::Int(5),
                "how many trials come to their end before any is pruned",
            ),
            Param::with_default(
                "warmup",
                Kind::int(0, 1_000_000),
                Value::Int(0),
                "up to which epoch none is",
            ),
        ],
    },
    Spec {
        name: "asha",
        aliases: &["successive_halving"],
        peers: Peers::NONE,
        doc: "Asynchronous successive halving: of those that come to a rung the best go on to the next.",
        params: &[
            Param::with_default(
                "min_epochs",
                Kind::int(1, 1_000_000),
                Value::Int(1),
                "the epoch of the first rung",
            ),
            Param::with_default(
                "reduction",
                Kind::int(2, 1000),
                Value::Int(4),
                "of how many one goes on, and how many times as far the next rung is",
            ),
        ],
    },
];

/// Which trials of a tuning are ended early.
pub fn pruners() -> Vec<&'static Spec> {
    PRUNERS.iter().collect()
}
