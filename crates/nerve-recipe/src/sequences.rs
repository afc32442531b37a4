//! What outputs that have steps ask of the rest of a recipe: texts that are written, and tags of the steps of an input.
//!
//! | who | takes | from |
//! |---|---|---|
//! | a text that comes out | `decoder = "generator"` | |
//! | a sequence that comes out | `decoder = "tagger"`, `max_len`, `keep` | the input |
//! | a text or sequence that goes in | an encoder that keeps its steps | the decoder |
//! | a text | its tokenizer | the column that it is `shared_with` |

use crate::columns::Column;
use crate::data::Rows;
use crate::diagnostic::{Code, Diagnostic};
use crate::features::{Features, Fitted};
use crate::tree::{Data, Node};
use nerve_data::features::{Refusal, Role};
use nerve_data::{DataError, Element, Values};
use nerve_formats::spec::{Args, Item, Segment, Target, Value};
use nerve_nn::{decoders, encoders};

/// Fills in what follows, and finds what does not fit.
pub(crate) fn fill(
    tree: &Node,
    [inputs, outputs]: [&mut [Column]; 2],
    problems: &mut Vec<Diagnostic>,
) {
    share(tree, [inputs, outputs], problems);
    let several = outputs.len() > 1;
    for output in outputs.iter_mut() {
        if let Some((message, label)) = decode(output, several) {
            let key = if output.args.has("decoder") { "decoder" } else { "type" };
            let span = tree.find(&output.path(Role::Output, Some(key)), Target::Value);
            let problem = Diagnostic::new(Code::Contradiction, message, Some(span));
            problems.push(problem.label(label));
        }
    }
    let Some(decoder) = outputs.iter().find_map(|output| steps(output).cloned()) else { return };
    tags(inputs, outputs);
    for input in inputs.iter_mut() {
        if let Some((key, message)) = keep_steps(tree, input, &decoder) {
            let span = tree.find(&input.path(Role::Input, key), Target::Value);
            let problem = Diagnostic::new(Code::Contradiction, message, Some(span));
            problems.push(problem.label("the decoder looks at the steps: reduce = \"none\""));
        }
    }
}

/// The decoder of an output that looks at steps.
fn steps(output: &Column) -> Option<&Item> {
    let Some(Value::Item(decoder)) = output.args.get("decoder") else { return None };
    ["generator", "tagger"].contains(&decoder.name).then_some(decoder)
}

fn item(item: Item) -> Value {
    Value::Item(Box::new(item))
}

/// Gives an output its decoder; what is wrong with the one it has, and what would be right.
fn decode(output: &mut Column, several: bool) -> Option<(String, String)> {
    let kind = output.feature.name;
    let usual = match kind {
        "text" => Some("generator"),
        "sequence" => Some("tagger"),
        _ => None,
    };
    let own = match output.args.get("decoder") {
        Some(Value::Item(decoder)) => Some(decoder.name),
        _ => None,
    };
    match (own, usual) {
        (None, Some(usual)) => {
            output.args = output.args.with("decoder", item(decoders::plain(usual)));
        }
        (Some("generator"), wanted) if wanted != Some("generator") => {
            let message = format!("`generator` writes a text, and the output is a {kind}");
            return Some((message, "of a text it says which token comes next".into()));
        }
        (Some("tagger"), wanted) if wanted != Some("tagger") => {
            let message = format!("`tagger` gives a sequence, and the output is a {kind}");
            return Some((message, "it names a symbol for each step of the input".into()));
        }
        (Some(own), Some(usual)) if own != usual => {
            let message = format!("`{own}` is no decoder for a {kind}");
            return Some((message, format!("decoder = {{ type = \"{usual}\", ... }}")));
        }
        _ => {}
    }
    let alone = several && usual.is_some();
    alone.then(|| {
        (format!("a {kind} that comes out is the only output"), "remove the others".into())
    })
}

/// Whether a key stands in the text of the recipe, inside a table of a column.
fn given(tree: &Node, column: &Column, role: Role, key: &str, inner: &str) -> bool {
    let table = tree.get(crate::columns::table(role));
    let Some(Data::List(nodes)) = table.map(|entry| &entry.node.data) else { return false };
    let item = nodes.get(column.entry).and_then(|node| node.get(key));
    item.is_some_and(|entry| entry.node.get(inner).is_some())
}

/// Gives an input of tokens an encoder that keeps its steps; what is wrong with the one that it has.
fn keep_steps(
    tree: &Node,
    input: &mut Column,
    decoder: &Item,
) -> Option<(Option<&'static str>, String)> {
    match input.args.get("encoder") {
        None if ["text", "sequence"].contains(&input.feature.name) => {
            let mut encoder = encoders::usual("transformer");
            for key in ["dim", "layers", "heads", "feed_forward", "dropout"] {
                if let Some(value) = decoder.args.get(key).filter(|_| decoder.name == "generator") {
                    encoder.args = encoder.args.with(key, value.clone());
                }
            }
            encoder.args = encoder.args.with("reduce", Value::text("none"));
            input.args = input.args.with("encoder", item(ordered(encoder)));
            None
        }
        Some(Value::Item(encoder)) if encoder.args.has("reduce") => {
            let reduce = encoder.args.text("reduce").to_string();
            if reduce == "none" {
                return None;
            }
            if given(tree, input, Role::Input, "encoder", "reduce") {
                let message = format!("`{}` makes one row of all steps", encoder.name);
                return Some((Some("encoder"), message));
            }
            let mut encoder = (**encoder).clone();
            encoder.args = encoder.args.with("reduce", Value::text("none"));
            input.args = input.args.with("encoder", item(ordered(encoder)));
            None
        }
        _ => None,
    }
}

/// The arguments in the order of their parameters.
fn ordered(mut encoder: Item) -> Item {
    let params = encoders::find(encoder.name).expect("of the registry").spec.params;
    let values = params.iter().filter_map(|p| Some((p.name, encoder.args.get(p.name)?.clone())));
    encoder.args = values.fold(Args::default(), |args, (name, value)| args.with(name, value));
    encoder
}

/// A sequence of tags is as long as the input, and keeps the same end of what is longer.
fn tags(inputs: &[Column], outputs: &mut [Column]) {
    let [input] = inputs else { return };
    for output in outputs.iter_mut().filter(|output| output.feature.name == "sequence") {
        for key in ["max_len", "keep"] {
            let known = input.feature.name == "sequence" || key == "max_len";
            let Some(value) = input.feature.args.get(key).filter(|_| known) else { continue };
            if key == "keep" || !output.feature.args.has(key) {
                output.feature.args = output.feature.args.with(key, value.clone());
            }
        }
    }
}

/// The tokenizer of a column.
fn tokenizer(column: &Column) -> Option<&Item> {
    match column.feature.args.get("tokenizer") {
        Some(Value::Item(tokenizer)) => Some(tokenizer),
        _ => None,
    }
}

/// The column with which another shares its tokenizer.
pub(crate) fn partner(column: &Column) -> Option<&str> {
    let args = &tokenizer(column)?.args;
    args.has("shared_with").then(|| args.text("shared_with"))
}

/// Gives the columns that others share a tokenizer with the same.
fn share(tree: &Node, [inputs, outputs]: [&mut [Column]; 2], problems: &mut Vec<Diagnostic>) {
    let roles = [Role::Input, Role::Output];
    let all: Vec<(Role, Column)> = [&*inputs, &*outputs]
        .into_iter()
        .zip(roles)
        .flat_map(|(columns, role)| columns.iter().map(move |column| (role, column.clone())))
        .collect();
    for (role, column) in &all {
        let Some(name) = partner(column) else { continue };
        let mut path = column.path(*role, Some("tokenizer"));
        path.push(Segment::Key("shared_with".into()));
        let mut refuse = |message: String, label: &str| {
            let span = Some(tree.find(&path, Target::Value));
            problems.push(Diagnostic::new(Code::Contradiction, message, span).label(label));
        };
        let shown = crate::source::escape(name);
        let texts: Vec<&Column> = all
            .iter()
            .map(|(_, other)| other)
            .filter(|other| other.feature.name == "text" && other.name != column.name)
            .collect();
        let Some(other) = texts.iter().find(|other| other.name == name) else {
            let known: Vec<&str> = texts.iter().map(|other| other.name.as_str()).collect();
            let near = format!("texts beside this one: {}", known.join(", "));
            refuse(format!("there is no other text `{shown}` in the recipe"), &near);
            continue;
        };
        let own = tokenizer(column).expect("it has one");
        let alike = |theirs: &Item| {
            let same = theirs.args.without("shared_with") == own.args.without("shared_with");
            let back = partner(other).is_none_or(|back| back == column.name);
            theirs.name == own.name && same && back
        };
        match tokenizer(other) {
            Some(theirs) if !alike(theirs) => {
                refuse(format!("`{shown}` has another tokenizer"), "give it to one of the two");
            }
            _ => {
                let back = Value::Text(column.name.clone().into());
                let same = Item { name: own.name, args: own.args.with("shared_with", back) };
                let columns = inputs.iter_mut().chain(outputs.iter_mut());
                for other in
                    columns.filter(|other| other.name == name && other.feature.name == "text")
                {
                    other.feature.args = other.feature.args.with("tokenizer", item(same.clone()));
                }
            }
        }
    }
}

/// Whether the tags of each row are as many as the steps of the input.
pub(crate) fn as_long(features: &Features, rows: &Rows) -> Result<(), DataError> {
    let ([input], [output]) = (&features.inputs[..], &features.outputs[..]) else { return Ok(()) };
    if output.column.feature.name != "sequence" {
        return Ok(());
    }
    let steps = |it: &Fitted| -> Result<Vec<usize>, DataError> {
        let cells = &rows.table.column(&it.column.name)?.cells;
        let longest = it.feature.stored().0.iter().product();
        let mut stored = Values::zeros(Element::I32, longest);
        let count = |&row: &usize| {
            let refused = it.feature.store(cells, row, stored.slice(0, longest));
            refused.map_err(|refusal| rows.table.refuse(row, &it.column.name, refusal))?;
            let Values::I32(numbers) = &stored else { return Ok(0) };
            Ok(numbers.iter().position(|&number| number == 0).unwrap_or(longest))
        };
        rows.rows.iter().map(count).collect()
    };
    if input.feature.stored().1 != Element::I32 {
        return Ok(());
    }
    for ((&row, there), here) in rows.rows.iter().zip(steps(input)?).zip(steps(output)?) {
        if there != here {
            let name = crate::source::escape(&input.column.name);
            let expected = format!("{there} symbols, as many as steps in `{name}`");
            let refusal = Refusal { expected, found: format!("{here}") };
            return Err(rows.table.refuse(row, &output.column.name, refusal));
        }
    }
    Ok(())
}

/// Whether nothing goes in: an output that is written needs no input.
pub(crate) fn written_alone(outputs: &[Column]) -> bool {
    !outputs.is_empty() && outputs.iter().all(|output| output.feature.name == "text")
}

#[cfg(test)]
mod tests;
