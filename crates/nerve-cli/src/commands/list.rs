//! `nerve list`: what a recipe may name.

use crate::args::List;
use crate::failure::Failure;
use crate::output;
use nerve::formats::spec::{Param, Presence, Spec};
use nerve::nn::layers;
use nerve_recipe::nearest;
use nerve_recipe::source::escape;
use nerve_recipe::summary::shape_text;
use nerve_recipe::vocabulary::{WORDS, Words};
use serde_json::{Value, json};

pub fn run(args: &List) -> Result<(), Failure> {
    if args.markdown {
        return Ok(output::result(&markdown())?);
    }
    let Some(what) = &args.what else {
        let (text, value) = (overview(), WORDS.iter().map(of_kind).collect());
        return show(args, &text, &Value::Array(value));
    };
    if let Some(words) = WORDS.iter().find(|words| words.kind == *what) {
        return show(args, &table(words), &of_kind(words));
    }
    // A word may be of several kinds: `loss` is a metric, `linear` an activation and a layer.
    let found: Vec<(&Words, &Spec)> = WORDS
        .iter()
        .flat_map(|words| (words.specs)().into_iter().map(move |spec| (words, spec)))
        .filter(|(_, spec)| spec.answers_to(what))
        .collect();
    match found.is_empty() {
        true => Err(Failure::Usage(unknown(what))),
        false => {
            let texts: Vec<String> = found.iter().map(|(words, spec)| page(words, spec)).collect();
            let values = found.iter().map(|(words, spec)| of_word(words, spec)).collect();
            show(args, &texts.join("\n"), &Value::Array(values))
        }
    }
}

fn show(args: &List, text: &str, value: &Value) -> Result<(), Failure> {
    if args.json {
        output::json(value)?
    } else {
        output::result(text)?
    }
    Ok(())
}

fn unknown(what: &str) -> String {
    let mut known: Vec<&str> = WORDS.iter().map(|words| words.kind).collect();
    let kinds = known.join(", ");
    known.extend(WORDS.iter().flat_map(|words| (words.specs)()).flat_map(names));
    let near = nearest(what, known);
    let meant = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    format!("nothing is called `{}`{meant}\nkinds: {kinds}", escape(what))
}

fn names(spec: &'static Spec) -> impl Iterator<Item = &'static str> {
    std::iter::once(spec.name).chain(spec.aliases.iter().copied())
}

fn overview() -> String {
    let line =
        |words: &Words| format!("{:<14}{:>4}   {}\n", words.kind, (words.specs)().len(), words.doc);
    let mut text: String = WORDS.iter().map(line).collect();
    text.push_str("\n`nerve list KIND` shows them, `nerve list WORD` what one can be given.\n");
    text
}

/// All words of a kind in columns.
fn table(words: &Words) -> String {
    let row = |spec: &Spec| [spec.name, spec.peers.torch, spec.peers.keras, spec.doc];
    let mut rows = vec![[words.kind, "PyTorch", "Keras", ""]];
    rows.extend((words.specs)().into_iter().map(row));
    columns(&rows)
}

/// Cells in columns as wide as they need, two spaces apart.
pub fn columns<const N: usize, T: AsRef<str>>(rows: &[[T; N]]) -> String {
    let width = |i: usize| rows.iter().map(|row| row[i].as_ref().chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|i| width(i).unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths).filter(|(_, width)| *width > 0) {
            line.push_str(&format!("{:<width$}  ", cell.as_ref()));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// All about one word.
fn page(words: &Words, spec: &Spec) -> String {
    let mut text = format!("{} ({}): {}\n", spec.name, words.kind, spec.doc);
    for (label, names) in [
        ("also", spec.aliases.join(", ")),
        ("PyTorch", spec.peers.torch.to_string()),
        ("Keras", spec.peers.keras.to_string()),
    ] {
        if !names.is_empty() {
            text.push_str(&format!("{label:<9}{names}\n"));
        }
    }
    if !spec.params.is_empty() {
        let rows: Vec<[String; 3]> = spec.params.iter().map(describe).collect();
        text.push_str(&format!("\n{}", columns(&rows)));
    }
    let examples = examples(spec);
    if !examples.is_empty() {
        text.push_str(&format!("\nExamples\n{}", columns(&examples)));
    }
    text
}

fn describe(param: &Param) -> [String; 3] {
    let also = match param.aliases.is_empty() {
        true => String::new(),
        false => format!(" (also {})", param.aliases.join(", ")),
    };
    let default = match &param.presence {
        Presence::Required => "must be given".to_string(),
        Presence::Optional => "optional".to_string(),
        Presence::Default(value) => format!("= {value}"),
    };
    [param.name.to_string(), default, format!("{}{also}: {}", param.doc, param.kind)]
}

/// How a layer is written, and what it does to a shape.
fn examples(spec: &Spec) -> Vec<[String; 2]> {
    let entry = layers::find(spec.name).filter(|entry| std::ptr::eq(&entry.spec, spec));
    let samples = entry.map_or(&[][..], |entry| entry.samples);
    let row = |sample: &layers::Sample| {
        let comma = if sample.args.is_empty() { "" } else { ", " };
        let written = format!("{{ type = \"{}\"{comma}{} }}", spec.name, sample.args);
        [written, format!("on examples of {}", shape_text(sample.input))]
    };
    samples.iter().map(row).collect()
}

fn of_kind(words: &Words) -> Value {
    let specs: Vec<Value> = (words.specs)().into_iter().map(|spec| of_word(words, spec)).collect();
    json!({ "kind": words.kind, "doc": words.doc, "words": specs })
}

fn of_word(words: &Words, spec: &Spec) -> Value {
    let param = |param: &Param| {
        let default = match &param.presence {
            Presence::Default(value) => json!(value.to_string()),
            _ => Value::Null,
        };
        json!({
            "name": param.name,
            "aliases": param.aliases,
            "doc": param.doc,
            "takes": param.kind.to_string(),
            "required": param.presence == Presence::Required,
            "default": default,
        })
    };
    json!({
        "name": spec.name,
        "kind": words.kind,
        "aliases": spec.aliases,
        "torch": spec.peers.torch,
        "keras": spec.peers.keras,
        "doc": spec.doc,
        "params": spec.params.iter().map(param).collect::<Vec<_>>(),
        "examples": examples(spec).iter().map(|[written, _]| written).collect::<Vec<_>>(),
    })
}

/// The page of the documentation.
fn markdown() -> String {
    let mut text = "# What a recipe may name\n\n\
        Every entry of the registries beside its names in PyTorch (below `torch`) and in Keras (below\n\
        `keras`). Written by `nerve list --markdown`; `nerve list NAME` shows what an entry can be given.\n"
        .to_string();
    for words in &WORDS {
        text.push_str(&format!("\n## {}\n\n{}.\n\n", title(words.kind), title(words.doc)));
        text.push_str("| nerve | also | PyTorch | Keras | |\n|---|---|---|---|---|\n");
        for spec in (words.specs)() {
            let code = |name: &str| match name.is_empty() {
                true => String::new(),
                false => format!("`{name}`"),
            };
            let aliases: Vec<String> = spec.aliases.iter().map(|alias| code(alias)).collect();
            text.push_str(&format!(
                "| {} | {} | {} | {} | {} |\n",
                code(spec.name),
                aliases.join(" "),
                code(spec.peers.torch),
                code(spec.peers.keras),
                spec.doc.replace('|', "\\|"),
            ));
        }
    }
    text
}

fn title(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
