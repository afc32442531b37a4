//! What a recipe says about its files.

use std::path::PathBuf;

use nerve_formats::spec::{Args, Kind, Param, Value};

/// Names of formats, as a recipe gives them.
pub const FORMATS: [&str; 13] = [
    "csv", "tsv", "jsonl", "json", "npy", "npz", "idx", "text", "parquet", "arrow", "images",
    "audio", "texts",
];

const NAMES: Kind = Kind::List { of: &Kind::Text, min_len: 1, max_len: 10_000 };

/// The keys that say how the files of `[data]` are read.
pub static PARAMS: [Param; 10] = [
    Param::optional(
        "format",
        Kind::Choice(&FORMATS),
        "the format of the files; without it, it is known by their content and their names",
    ),
    Param::optional(
        "delimiter",
        Kind::Text,
        "what stands between the fields of a CSV file: one character, or \"whitespace\"; without it, the one that fits",
    )
    .alias(&["sep", "separator"]),
    Param::with_default(
        "quote",
        Kind::Text,
        Value::text("\""),
        "what stands around fields that hold delimiters or line ends; \"\" where quotes are plain characters",
    ),
    Param::optional(
        "header",
        Kind::Bool,
        "whether the first line of a CSV file names the columns; true unless `columns` are given",
    ),
    Param::optional("columns", NAMES, "the names of the columns, in the order of the file"),
    Param::optional(
        "encoding",
        Kind::Text,
        "the encoding of texts that are not UTF-8: latin1, windows-1252, gb18030, utf-16le, shift_jis, ...",
    ),
    Param::with_default(
        "ragged",
        Kind::Choice(&["error", "skip"]),
        Value::text("error"),
        "what to do with a row that has more or fewer fields than there are columns",
    ),
    Param::with_default(
        "document",
        Kind::Bool,
        Value::Bool(false),
        "whether a text file is one row; otherwise each line is",
    ),
    Param::optional(
        "pieces",
        Kind::int(2, 1 << 20),
        "a plain text is cut into rows of so many characters, the ends of its lines among them",
    ),
    Param::optional(
        "labels",
        Kind::Text,
        "the labels of the idx images of `path` or `train`; without it the file of the same name with `labels` for `images`",
    )
    .alias(&["train_labels"]),
];

/// How files are read.
///
/// ```
/// use nerve_data::source::Options;
/// let options = Options { delimiter: Some(";".into()), ..Options::default() };
/// assert_eq!(options.quote, "\"");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The format; `None`: known by content and name.
    pub format: Option<String>,
    /// One ASCII character, or `whitespace`; `None`: the one that fits.
    pub delimiter: Option<String>,
    /// One ASCII character, or nothing.
    pub quote: String,
    /// Whether the first line names the columns; `None`: unless `columns` are given.
    pub header: Option<bool>,
    /// The names of the columns; empty for those in the file.
    pub columns: Vec<String>,
    /// A label of the Encoding Standard (WHATWG); `None`: UTF-8, or UTF-16 with its mark.
    pub encoding: Option<String>,
    /// Whether rows with a wrong number of fields are passed over, and counted.
    pub skip_ragged: bool,
    /// Whether a text file is one row.
    pub document: bool,
    /// Into rows of how many characters a text file is cut.
    pub pieces: Option<usize>,
    /// The file of labels beside a file of images.
    pub labels: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            format: None,
            delimiter: None,
            quote: "\"".into(),
            header: None,
            columns: Vec::new(),
            encoding: None,
            skip_ragged: false,
            document: false,
            pieces: None,
            labels: None,
        }
    }
}

impl Options {
    /// What checked arguments of [`PARAMS`] say.
    pub fn from_args(args: &Args) -> Options {
        let text = |name: &str| args.has(name).then(|| args.text(name).to_string());
        Options {
            format: text("format"),
            delimiter: text("delimiter"),
            quote: args.text("quote").into(),
            header: args.has("header").then(|| args.bool("header")),
            columns: if args.has("columns") { args.texts("columns") } else { Vec::new() },
            encoding: text("encoding"),
            skip_ragged: args.text("ragged") == "skip",
            document: args.bool("document"),
            pieces: args.has("pieces").then(|| args.usize("pieces")),
            labels: text("labels").map(PathBuf::from),
        }
    }

    /// Whether the first line of a CSV file names its columns.
    pub(super) fn has_header(&self) -> bool {
        self.header.unwrap_or(self.columns.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use nerve_formats::spec::{Peers, Spec, check};

    use super::*;

    static SPEC: Spec =
        Spec { name: "data", aliases: &[], peers: Peers::NONE, doc: "", params: &PARAMS };

    #[test]
    fn a_recipe_that_says_nothing_gives_the_defaults() {
        assert_eq!(Options::from_args(&check(&SPEC, &[]).unwrap()), Options::default());
    }

    #[test]
    fn what_a_recipe_says_is_taken_over() {
        let given = [
            ("sep".to_string(), Value::text(";")),
            ("columns".into(), Value::list(const { &[Value::text("en"), Value::text("fr")] })),
            ("ragged".into(), Value::text("skip")),
        ];
        let options = Options::from_args(&check(&SPEC, &given).unwrap());
        assert_eq!((options.delimiter.as_deref(), options.skip_ragged), (Some(";"), true));
        assert_eq!(options.columns, ["en", "fr"]);
        assert!(!options.has_header());
        assert!(check(&SPEC, &[("ragged".into(), Value::text("pad"))]).is_err());
    }
}
