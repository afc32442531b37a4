//! What the keys of a recipe must keep to among each other.

use super::{path, texts};
use crate::columns::Column;
use crate::diagnostic::{Code, Diagnostic};
use crate::sequences;
use crate::source::{Span, escape};
use crate::tree::Node;
use nerve_data::catalogue::catalogue;
use nerve_data::features::Role;
use nerve_formats::spec::{Args, Segment, Target, Value, nearest};
use nerve_train::judge::Gate;

/// What is wrong with gates, and with a ranking of which a part is missing.
pub(super) fn check_eval(tree: &Node, eval: &Args, problems: &mut Vec<Diagnostic>) {
    let span = |key: &str| Some(tree.find(&path("eval", key), Target::Value));
    for gate in texts(eval, "gate") {
        if let Err(message) = Gate::parse(&gate) {
            let message = format!("the gate `{}`: {message}", escape(&gate));
            problems.push(Diagnostic::new(Code::Contradiction, message, span("gate")));
        }
    }
    let given: Vec<&str> =
        ["user", "item", "relevant"].into_iter().filter(|key| eval.has(key)).collect();
    if let (Some(first), true) = (given.first(), given.len() < 3) {
        let message = "a ranking needs `user`, `item` and `relevant`".to_string();
        problems.push(Diagnostic::new(Code::Contradiction, message, span(first)));
    }
}

/// Rules between the keys of `[data]`.
pub(super) fn check_data(tree: &Node, data: &Args, problems: &mut Vec<Diagnostic>) {
    let at = |key: &str, target| Some(tree.find(&path("data", key), target));
    let mut refuse = |code, message: String, span, label: &str| {
        problems.push(Diagnostic::new(code, message, span).label(label));
    };
    let given: Vec<&str> =
        ["name", "path", "train"].into_iter().filter(|key| data.has(key)).collect();
    match given[..] {
        [_] => {}
        [first, second, ..] => refuse(
            Code::Contradiction,
            format!("`{first}` and `{second}` are both given"),
            at(second, Target::Key),
            match first {
                "name" => "a named data set brings its own files: remove one of the two",
                _ => "`path` is split by nerve, `train` has its test beside it: remove one",
            },
        ),
        [] => {
            let span = tree.get("data").map(|entry| entry.key_span);
            let message = "[data] needs `name`, `path` or `train`".to_string();
            refuse(Code::Missing, message, span, "which data?");
        }
    }
    let lonely =
        |key: &'static str, of: &'static str| (data.has(key) && !data.has(of)).then_some((key, of));
    if let Some((key, of)) = lonely("test_labels", "test") {
        let message = format!("`{key}` is given without `{of}`");
        refuse(Code::Contradiction, message, at(key, Target::Key), "labels of what?");
    }
    if !data.item("split").args.has("fractions") {
        let parts = |key: &&str| data.has(key) && (*key != "name" || has_test(data.text("name")));
        for key in ["name", "train", "validation"].into_iter().filter(parts) {
            let message =
                format!("`split = {}` and `{key}` are both given", data.item("split").name);
            let label = "this split chooses training, validation and test of one `path` by itself";
            refuse(Code::Contradiction, message, at(key, Target::Key), label);
        }
    }
    if data.has("name") {
        for key in ["test", "labels", "test_labels"] {
            if data.has(key) {
                let message = format!("`name` and `{key}` are both given");
                let label = "the named data set has its own";
                refuse(Code::Contradiction, message, at(key, Target::Key), label);
            }
        }
        check_known(data, at("name", Target::Value), problems);
    }
}

/// What `stream = true` cannot do, since it never has all rows.
pub(super) fn check_stream(
    tree: &Node,
    data: &Args,
    [inputs, outputs]: [&[Column]; 2],
    problems: &mut Vec<Diagnostic>,
) {
    if !data.bool("stream") {
        return;
    }
    let mut refuse = |message: String, at: &[Segment], label: &str| {
        let span = Some(tree.find(at, Target::Key));
        problems.push(Diagnostic::new(Code::Contradiction, message, span).label(label));
    };
    for (key, label) in [
        ("weights", "weights are kept in memory: leave `stream` out"),
        ("balance", "to draw examples of a class, all of them must be known: leave `stream` out"),
        ("time", "rows are read in the order of their files, which cannot be sorted"),
        ("series", "rows are read in the order of their files, which cannot be sorted"),
    ] {
        if data.has(key) {
            refuse(
                format!("`stream = true` and `{key}` are both given"),
                &path("data", key),
                label,
            );
        }
    }
    if data.usize("skip_bad") > 0 {
        let label = "a bad row is found in the middle of an epoch, when it is too late to count it";
        let message = "`stream = true` and `skip_bad` are both given".to_string();
        refuse(message, &path("data", "skip_bad"), label);
    }
    for (role, columns) in [(Role::Input, inputs), (Role::Output, outputs)] {
        for column in columns {
            if let Some(other) = sequences::partner(column) {
                let message =
                    format!("`stream = true`, and a tokenizer shared with `{}`", escape(other));
                let label = "rows pass by once: give each text a tokenizer of its own";
                refuse(message, &column.path(role, Some("tokenizer")), label);
            }
            if column.feature.name == "timeseries" {
                let message = format!("`stream = true` and the timeseries `{}`", column.name);
                let label = "it needs the rows around its own, which a stream does not keep";
                refuse(message, &column.path(role, Some("type")), label);
            }
            if column.args.has("class_weights") {
                let message = "`stream = true` and `class_weights` are both given".to_string();
                let label = "weights are kept in memory: leave `stream` out";
                refuse(message, &column.path(role, Some("class_weights")), label);
            }
            if matches!(column.feature.args.get("threshold"), Some(Value::Text(_))) {
                let message = "`stream = true` and a threshold that is to be chosen".to_string();
                let label =
                    "write a number; `nerve evaluate --threshold` chooses on rows in memory";
                refuse(message, &column.path(role, Some("threshold")), label);
            }
        }
    }
}

/// Whether a data set of the catalogue has a test of its own.
fn has_test(name: &str) -> bool {
    catalogue().iter().any(|entry| entry.name == name && entry.table.is_none())
}

fn check_known(data: &Args, span: Option<Span>, problems: &mut Vec<Diagnostic>) {
    let (name, known) = (data.text("name"), catalogue());
    if known.iter().any(|entry| entry.name == name) {
        return;
    }
    let names: Vec<&str> = known.iter().map(|entry| entry.name).collect();
    let near = nearest(name, names.iter().copied());
    let message = format!("unknown data set `{}`", escape(name));
    let problem = Diagnostic::new(Code::UnknownWord, message, span)
        .label(near.map(|near| format!("did you mean `{near}`?")).unwrap_or_default());
    problems.push(problem.note(format!("known: {}", names.join(", "))));
}

/// Rules between the columns.
pub(super) fn check_columns(
    tree: &Node,
    [inputs, outputs]: [&[Column]; 2],
    problems: &mut Vec<Diagnostic>,
) {
    for (given, other) in [("input", "output"), ("output", "input")] {
        let alone = given == "output" && sequences::written_alone(outputs);
        if let (Some(entry), None, false) = (tree.get(given), tree.get(other), alone) {
            let message = format!("there is [[{given}]] and no [[{other}]]");
            let problem = Diagnostic::new(Code::Missing, message, Some(entry.key_span));
            problems.push(problem.label("which columns go in, and which should come out?"));
        }
    }
    for output in outputs {
        let forecast = output.feature.name == "timeseries";
        if !forecast
            && inputs.iter().any(|input| input.name == output.name && input.feature.name != "image")
        {
            let message = format!("the column `{}` goes in and should come out", output.name);
            let span = tree.find(&output.path(Role::Output, Some("name")), Target::Value);
            let problem = Diagnostic::new(Code::Contradiction, message, Some(span));
            problems.push(problem.label("the network would only have to copy it"));
        }
    }
}

/// `[trainer] loss` and `metrics` speak of the one output there is.
pub(super) fn one_loss(tree: &Node, outputs: &[Column], trainer: &Args) -> Option<Diagnostic> {
    let key = ["loss", "metrics"].into_iter().find(|key| trainer.has(key))?;
    let twice = outputs.iter().any(|output| output.args.has(key));
    if outputs.len() < 2 && !twice {
        return None;
    }
    let message = match twice {
        true => format!("`{key}` is given in [trainer] and in [[output]]"),
        false => format!("`{key}` in [trainer], and {} outputs", outputs.len()),
    };
    let span = tree.find(&path("trainer", key), Target::Key);
    let problem = Diagnostic::new(Code::Contradiction, message, Some(span));
    Some(problem.label(format!("write `{key}` into the [[output]] it is meant for")))
}
