//! From a problem of the vocabulary to a problem at a place of the recipe.

use crate::diagnostic::{Code, Diagnostic};
use crate::tree::{Entry, Node};
use crate::vocabulary::{ROOT, SECTIONS};
use nerve_formats::spec::{Problem, ProblemKind, Segment, nearest};

/// The problem with its place; `prefix` leads from the root to the table that was checked.
pub fn problem(problem: Problem, prefix: &[Segment], tree: &Node) -> Diagnostic {
    let path: Vec<Segment> = prefix.iter().chain(&problem.path).cloned().collect();
    let span = Some(tree.find(&path, problem.target));
    let message = problem.kind.to_string();
    match problem.kind {
        ProblemKind::UnknownKey { key, of, nearest, allowed } => {
            let shown = table_name(&of);
            let message = format!("unknown key `{key}` in {shown}");
            let elsewhere = || {
                let section = SECTIONS.iter().find(|section| {
                    section.name != of && section.params.iter().any(|param| param.answers_to(&key))
                })?;
                Some(format!("`{key}` belongs into [{}]", section.name))
            };
            let meant = nearest.map(|near| format!("did you mean `{near}`?"));
            let label = meant.or_else(elsewhere).unwrap_or_default();
            let problem = Diagnostic::new(Code::UnknownKey, message, span).label(label);
            match allowed.is_empty() {
                true => problem.note(format!("{shown} takes no keys")),
                false => problem.note(format!("allowed here: {}", allowed.join(", "))),
            }
        }
        ProblemKind::UnknownWord { nearest, allowed, .. } => {
            let label = nearest.map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
            Diagnostic::new(Code::UnknownWord, message, span)
                .label(label)
                .note(format!("known: {}", allowed.join(", ")))
        }
        ProblemKind::WrongType { expected, .. } => {
            Diagnostic::new(Code::WrongType, message, span).label(format!("expected {expected}"))
        }
        ProblemKind::OutOfRange { .. } => Diagnostic::new(Code::OutOfRange, message, span),
        ProblemKind::Missing { key, of, doc, expected } => {
            let message = format!("missing key `{key}` in {}", table_name(&of));
            Diagnostic::new(Code::Missing, message, span)
                .label(format!("add {key} = ..."))
                .note(format!("{key}: {doc}; {expected}"))
        }
        ProblemKind::Twice { .. } => {
            Diagnostic::new(Code::Duplicate, message, span).label("remove one of the two")
        }
    }
}

/// A key or table at the top of the recipe that nothing knows.
pub fn unknown_root(entry: &Entry) -> Diagnostic {
    let key = entry.key.as_str();
    let is_table = matches!(entry.node.data, crate::tree::Data::Table(_));
    let what = if is_table { format!("table [{key}]") } else { format!("key `{key}`") };
    let keys = ROOT.params.iter().map(|param| param.name);
    let tables = SECTIONS.iter().map(|section| section.name);
    let home = |word: &str| {
        let section =
            SECTIONS.iter().find(|s| s.params.iter().any(|param| param.answers_to(word)))?;
        Some(format!("`{word}` belongs into [{}]", section.name))
    };
    let within = SECTIONS.iter().flat_map(|section| section.params.iter().map(|param| param.name));
    let label = home(key).or_else(|| {
        let near = nearest(key, keys.clone().chain(tables.clone()))
            .map(|near| format!("did you mean `{near}`?"));
        near.or_else(|| nearest(key, within).and_then(home))
    });
    let known: Vec<String> =
        keys.map(str::to_string).chain(tables.map(|table| format!("[{table}]"))).collect();
    Diagnostic::new(Code::UnknownKey, format!("unknown {what}"), Some(entry.key_span))
        .label(label.unwrap_or_default())
        .note(format!("allowed here: {}", known.join(", ")))
}

fn table_name(of: &str) -> String {
    match SECTIONS.iter().any(|section| section.name == of) {
        true => format!("[{of}]"),
        false => of.to_string(),
    }
}
