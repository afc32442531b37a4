//! Descriptions of the things that a file from outside may name, and the check of what it gives them.
//!
//! A layer, an optimizer, a loss, a transform: each stands in a registry of its own crate with a
//! [`Spec`], its name and the parameters that it takes. A recipe names one of them and gives
//! values; [`check`] compares the two, reports *all* problems at once, and hands back [`Args`] in
//! which every default is filled and every value is of the declared kind and within its range.
//! Constructors then read `Args` without any further checking.
//!
//! This module knows neither TOML nor networks. It stands here, in the crate for outside data,
//! because the crates that own registries and the crate that reads recipes both use it.
//!
//! ```
//! use nerve_formats::spec::{check, Kind, Param, Peers, Spec, Value};
//!
//! static DROPOUT: Spec = Spec {
//!     name: "Dropout",
//!     aliases: &[],
//!     peers: Peers::NONE, doc: "Sets a share of the values to zero while training.",
//!     params: &[Param::required("rate", Kind::fraction(), "the share that is set to zero")],
//! };
//! let args = check(&DROPOUT, &[("rate".into(), Value::Float(0.5))]).unwrap();
//! assert_eq!(args.float("rate"), 0.5);
//! let problems = check(&DROPOUT, &[("rat".into(), Value::Int(1))]).unwrap_err();
//! assert_eq!(problems.len(), 2); // an unknown key, and the one that is missing
//! ```

mod args;
mod check;
mod nearest;
mod short;

pub use args::Args;
pub use check::{Problem, ProblemKind, Segment, Target, check, check_value};
pub use nearest::nearest;

use std::borrow::Cow;
use std::fmt;

/// One thing that can be named: a layer, a loss, an optimizer, a transform.
#[derive(Debug)]
pub struct Spec {
    /// The name it is printed under, for instance `Conv2d`.
    pub name: &'static str,
    /// Other names that mean the same, for instance `Conv2D`.
    pub aliases: &'static [&'static str],
    /// What it is called elsewhere.
    pub peers: Peers,
    /// One sentence: what it does.
    pub doc: &'static str,
    /// What it can be given, in the order in which it is printed.
    pub params: &'static [Param],
}

impl Spec {
    /// Whether `name` is the name or one of the aliases.
    pub fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}

/// What a thing is called in PyTorch (below `torch`) and in Keras (below `keras`); empty where
/// there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peers {
    /// For instance `nn.Conv2d`.
    pub torch: &'static str,
    /// For instance `layers.Conv2D`.
    pub keras: &'static str,
}

impl Peers {
    /// It stands in neither.
    pub const NONE: Peers = Peers::of("", "");

    /// The names in PyTorch and in Keras.
    pub const fn of(torch: &'static str, keras: &'static str) -> Peers {
        Peers { torch, keras }
    }
}

/// Finds the description that answers to `name`.
pub fn find<'a>(specs: &[&'a Spec], name: &str) -> Option<&'a Spec> {
    specs.iter().copied().find(|spec| spec.answers_to(name))
}

/// One parameter of a [`Spec`].
#[derive(Clone, Debug)]
pub struct Param {
    /// The key, for instance `filters`.
    pub name: &'static str,
    /// Other keys that mean the same, for instance `out_channels`.
    pub aliases: &'static [&'static str],
    /// What it means, with its unit; a few words.
    pub doc: &'static str,
    /// Which values it takes.
    pub kind: Kind,
    /// What happens when it is not given.
    pub presence: Presence,
}

impl Param {
    /// A parameter that must be given.
    pub const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Param { name, aliases: &[], doc, kind, presence: Presence::Required }
    }

    /// A parameter that has the value `default` where it is not given.
    pub const fn with_default(
        name: &'static str,
        kind: Kind,
        default: Value,
        doc: &'static str,
    ) -> Self {
        Param { name, aliases: &[], doc, kind, presence: Presence::Default(default) }
    }

    /// A parameter that may be absent; the constructor then decides, for instance from another one.
    pub const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Param { name, aliases: &[], doc, kind, presence: Presence::Optional }
    }

    /// The same parameter, also known under other keys.
    pub const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Whether `key` is the name or one of the aliases.
    pub fn answers_to(&self, key: &str) -> bool {
        self.name == key || self.aliases.contains(&key)
    }
}

/// What happens when a parameter is not given.
#[derive(Clone, Debug, PartialEq)]
pub enum Presence {
    /// It is an error.
    Required,
    /// It is absent from the [`Args`].
    Optional,
    /// It has this value.
    Default(Value),
}

/// Which values a parameter takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number from `min` to `max`, both included.
    Int {
        /// The smallest value.
        min: i64,
        /// The largest value.
        max: i64,
    },
    /// A finite number; whole numbers are taken too. NaN and infinity never are.
    Float {
        /// The lower end.
        min: f64,
        /// The upper end.
        max: f64,
        /// Whether `min` itself is refused.
        open_min: bool,
        /// Whether `max` itself is refused.
        open_max: bool,
    },
    /// `true` or `false`.
    Bool,
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of `min_len` to `max_len` values of one kind.
    List {
        /// The kind of each value.
        of: &'static Kind,
        /// The fewest values.
        min_len: usize,
        /// The most values.
        max_len: usize,
    },
    /// Whatever one of these kinds takes; the first that does, decides.
    OneOf(&'static [Kind]),
    /// A thing from another registry, written as its name (`"relu"`) or as a table with a `type`
    /// (`{ type = "leaky_relu", slope = 0.1 }`).
    Item {
        /// What it is called in messages, for instance `activation`.
        what: &'static str,
        /// The registry.
        specs: fn() -> Vec<&'static Spec>,
    },
    /// A table of this description, without a `type`: `{ metric = "val_loss", patience = 3 }`.
    Table(&'static Spec),
    /// Whatever is given, taken as it is; whoever declares it checks it. These are the words for it.
    Any(&'static str),
}

impl Kind {
    /// A whole number of one or more, as for a number of units.
    pub const fn count() -> Self {
        Kind::Int { min: 1, max: 1 << 40 }
    }

    /// A whole number from `min` to `max`, both included.
    pub const fn int(min: i64, max: i64) -> Self {
        Kind::Int { min, max }
    }

    /// A number above zero.
    pub const fn positive() -> Self {
        Kind::Float { min: 0.0, max: f64::MAX, open_min: true, open_max: false }
    }

    /// A number of zero or more.
    pub const fn non_negative() -> Self {
        Kind::Float { min: 0.0, max: f64::MAX, open_min: false, open_max: false }
    }

    /// A share: from zero up to, but not including, one.
    pub const fn fraction() -> Self {
        Kind::Float { min: 0.0, max: 1.0, open_min: false, open_max: true }
    }

    /// Any finite number.
    pub const fn number() -> Self {
        Kind::Float { min: f64::MIN, max: f64::MAX, open_min: false, open_max: false }
    }

    /// A number from `min` to `max`, both included.
    pub const fn float(min: f64, max: f64) -> Self {
        Kind::Float { min, max, open_min: false, open_max: false }
    }

    /// A count, or two of them (height, width), as for the kernel of a convolution.
    pub const fn count_or_pair() -> Self {
        const ONE: Kind = Kind::int(1, 1 << 20);
        Kind::OneOf(&[ONE, Kind::List { of: &ONE, min_len: 2, max_len: 2 }])
    }
}

/// The words that stand for a kind in messages: `a whole number of 1 or more`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Kind::Int { min, max } if max >= 1 << 20 && min > i64::MIN => {
                write!(f, "a whole number of {min} or more")
            }
            Kind::Int { min: i64::MIN, .. } => write!(f, "a whole number"),
            Kind::Int { min, max } => write!(f, "a whole number from {min} to {max}"),
            Kind::Float { min: f64::MIN, .. } => write!(f, "a finite number"),
            Kind::Float { min, max: f64::MAX, open_min: true, .. } => {
                write!(f, "a number above {min}")
            }
            Kind::Float { min, max: f64::MAX, .. } => write!(f, "a number of {min} or more"),
            Kind::Float { min, max, open_min, open_max } => match (open_min, open_max) {
                (false, false) => write!(f, "a number from {min} to {max}"),
                (true, false) => write!(f, "a number above {min}, up to {max}"),
                (false, true) => write!(f, "a number of {min} or more, and below {max}"),
                (true, true) => write!(f, "a number above {min} and below {max}"),
            },
            Kind::Any(words) => write!(f, "{words}"),
            Kind::Bool => write!(f, "true or false"),
            Kind::Text => write!(f, "text in quotes"),
            Kind::Choice(words) => write!(f, "one of {}", quoted(words)),
            Kind::List { of, min_len, max_len } if min_len == max_len => {
                write!(f, "a list of {min_len} values, each {of}")
            }
            Kind::List { of, min_len: 0, .. } => write!(f, "a list, each value {of}"),
            Kind::List { of, min_len, .. } => {
                write!(f, "a list of {min_len} or more values, each {of}")
            }
            Kind::OneOf(kinds) => {
                for (i, kind) in kinds.iter().enumerate() {
                    write!(f, "{}{kind}", if i == 0 { "" } else { ", or " })?;
                }
                Ok(())
            }
            Kind::Table(spec) => {
                let keys: Vec<&str> = spec.params.iter().map(|param| param.name).collect();
                write!(f, "a table with {}", keys.join(", "))
            }
            Kind::Item { what, .. } => {
                let article = if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
                write!(f, "{article} {what}: its name, or a table with `type`")
            }
        }
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// A value as it was given, or as it stands in [`Args`] after the check.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Int(i64),
    /// A number with a point or an exponent.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// Text.
    Text(Cow<'static, str>),
    /// A list.
    List(Cow<'static, [Value]>),
    /// A table of keys and values, in the order given. In checked arguments only for [`Kind::Any`].
    Table(Vec<(String, Value)>),
    /// A thing of a registry with its checked arguments. Only in checked arguments.
    Item(Box<Item>),
    /// Something that no parameter takes, for instance a date; the words for it in messages.
    Other(&'static str),
}

/// A named thing of a registry, with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The name of its [`Spec`] (never an alias).
    pub name: &'static str,
    /// Its checked arguments.
    pub args: Args,
}

impl Value {
    /// Text that is known at compile time; for defaults.
    pub const fn text(text: &'static str) -> Self {
        Value::Text(Cow::Borrowed(text))
    }

    /// A list that is known at compile time; for defaults.
    pub const fn list(values: &'static [Value]) -> Self {
        Value::List(Cow::Borrowed(values))
    }

    /// What it is, in a message: `text`, `a whole number`.
    pub fn kind_name(&self) -> &'static str {
        match self {
            Value::Int(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Bool(_) => "true or false",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Table(_) | Value::Item(_) => "a table",
            Value::Other(name) => name,
        }
    }
}

/// As it would stand in a recipe.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write_float(f, *value),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Text(text) => write_text(f, text),
            Value::List(values) => {
                write!(f, "[")?;
                for (i, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if i == 0 { "" } else { ", " })?;
                }
                write!(f, "]")
            }
            Value::Table(entries) => {
                write_table(f, entries.iter().map(|(key, value)| (key.as_str(), value)), true)
            }
            Value::Item(item) if item.args.is_empty() => write_text(f, item.name),
            Value::Item(item) => write!(f, "{item}"),
            Value::Other(name) => write!(f, "{name}"),
        }
    }
}

/// As an inline table: `{ type = "Dropout", rate = 0.5 }`.
impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{ type = \"{}\"", self.name)?;
        for (key, value) in self.args.iter() {
            write!(f, ", {key} = {value}")?;
        }
        write!(f, " }}")
    }
}

fn write_table<'a>(
    f: &mut fmt::Formatter<'_>,
    entries: impl Iterator<Item = (&'a str, &'a Value)>,
    mut first: bool,
) -> fmt::Result {
    write!(f, "{{")?;
    for (key, value) in entries {
        write!(f, "{} ", if first { "" } else { "," })?;
        first = false;
        let bare = !key.is_empty()
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if bare {
            write!(f, "{key}")?
        } else {
            write_text(f, key)?
        }
        write!(f, " = {value}")?;
    }
    write!(f, " }}")
}

/// The shortest text that reads back as the same number, and as a number with a fraction.
fn write_float(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) && value.is_finite() {
        return write!(f, "{value:e}");
    }
    if value.is_nan() {
        return write!(f, "nan");
    }
    // `{:?}` keeps the point of a whole number, so that it reads back as a float.
    write!(f, "{value:?}")
}

/// A basic TOML string (which is also a JSON string): quotes, backslashes and control characters escaped.
fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    write!(f, "\"")?;
    for c in text.chars() {
        match c {
            '"' => write!(f, "\\\"")?,
            '\\' => write!(f, "\\\\")?,
            '\n' => write!(f, "\\n")?,
            '\t' => write!(f, "\\t")?,
            '\r' => write!(f, "\\r")?,
            c if c.is_control() => write!(f, "\\u{:04X}", c as u32)?,
            c => write!(f, "{c}")?,
        }
    }
    write!(f, "\"")
}
