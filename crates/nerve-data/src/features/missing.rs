//! What is done where a cell holds nothing.

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

use super::Role;

/// What is done where a cell holds nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Missing {
    /// The mean of the training split.
    Mean,
    /// The median of the training split.
    Median,
    /// The most frequent value of the training split.
    Mode,
    /// A given value.
    Const,
    /// The value above, the mean or the most frequent before the first.
    Ffill,
    /// A name of its own.
    Category,
    /// The row is left out.
    Drop,
    /// It is refused.
    Error,
}

const fn way(name: &'static str, doc: &'static str, params: &'static [Param]) -> Spec {
    Spec { name, aliases: &[], peers: Peers::NONE, doc, params }
}

static NUMBER_PARAMS: [Param; 1] =
    [Param::required("value", Kind::number(), "the number, in the units of the column")];
static NAME_PARAMS: [Param; 1] =
    [Param::required("value", Kind::Text, "the name, one of those of the column")];
static MEAN: Spec = way("mean", "The mean of the training split.", &[]);
static MEDIAN: Spec = way("median", "The median of the training split.", &[]);
static MODE: Spec = way("mode", "The most frequent value of the training split.", &[]);
static NUMBER: Spec = way("const", "A given number.", &NUMBER_PARAMS);
static NAME: Spec = way("const", "A given name.", &NAME_PARAMS);
static FFILL: Spec = way("ffill", "The value of the nearest of the 1,000 rows above.", &[]);
static CATEGORY: Spec = way("category", "A name of its own.", &[]);
static DROP: Spec = way("drop", "The row is left out.", &[]);
static ERROR: Spec = way("error", "It is an error.", &[]);

fn of_numbers() -> Vec<&'static Spec> {
    vec![&MEAN, &MEDIAN, &MODE, &NUMBER, &FFILL, &DROP, &ERROR]
}

fn of_names() -> Vec<&'static Spec> {
    vec![&CATEGORY, &MODE, &NAME, &FFILL, &DROP, &ERROR]
}

fn of_dates() -> Vec<&'static Spec> {
    vec![&MEAN, &FFILL, &DROP, &ERROR]
}

/// The parameter of columns of dates.
pub(super) const DATES: Param = Param::with_default(
    "missing",
    Kind::Item { what: "way with missing values", specs: of_dates },
    Value::text("mean"),
    "what stands in for a date that is not there; mean: the mean year, and no place in what comes round",
);

/// The parameter of columns of numbers.
pub(super) const NUMBERS: Param = Param::with_default(
    "missing",
    Kind::Item { what: "way with missing values", specs: of_numbers },
    Value::text("mean"),
    "what stands in for a number that is not there; for an output it is an error, or `drop`",
);

/// The parameter of columns of names.
pub(super) const NAMES: Param = Param::with_default(
    "missing",
    Kind::Item { what: "way with missing values", specs: of_names },
    Value::text("category"),
    "what stands in for a name that is not there; for an output it is an error, or `drop`",
);

/// The parameter that says whether a second value tells that there was none.
pub(super) const FLAG: Param = Param::optional(
    "missing_flag",
    Kind::Bool,
    "whether a second value says, with 1, that there is none; without it: if the training split lacks some",
);

impl Missing {
    /// What the recipe says. An answer that is not known cannot be learned from, so an output has no stand-ins.
    pub(super) fn of(args: &Args, role: Role) -> Missing {
        match args.item("missing").name {
            "drop" => Missing::Drop,
            _ if role == Role::Output => Missing::Error,
            "mean" => Missing::Mean,
            "median" => Missing::Median,
            "mode" => Missing::Mode,
            "const" => Missing::Const,
            "ffill" => Missing::Ffill,
            "category" => Missing::Category,
            _ => Missing::Error,
        }
    }

    /// Whether something stands in for what is missing.
    pub(super) fn fills(self) -> bool {
        !matches!(self, Missing::Drop | Missing::Error)
    }
}
