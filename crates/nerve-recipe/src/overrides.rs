//! `KEY=VALUE` arguments: one place of the recipe set to another value.

use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;
use crate::tree::{Data, Entry, Node, parse_value};
use crate::vocabulary::{self, COLUMNS, ROOT, SECTIONS};
use nerve_formats::spec::{Kind, Spec, Value, check_value, nearest};

/// Short names for the places that are changed most.
pub const SHORT: [(&str, &str); 7] = [
    ("epochs", "trainer.epochs"),
    ("batch", "trainer.batch_size"),
    ("batch_size", "trainer.batch_size"),
    ("lr", "trainer.optimizer.lr"),
    ("optimizer", "trainer.optimizer"),
    ("seed", "seed"),
    ("name", "name"),
];

/// An override that was carried out, for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The full path: `trainer.epochs`.
    pub path: String,
    /// What the recipe said, if it said something.
    pub before: Option<String>,
    /// What holds now.
    pub after: String,
}

/// Carries out `KEY=VALUE`, which is the text of source number `source`.
///
/// The value is read as TOML; what is no TOML value and has no quotes or brackets is text.
///
/// # Errors
/// One problem that points into the argument.
pub fn apply(tree: &mut Node, source: usize, argument: &str) -> Result<Applied, Diagnostic> {
    let Some(equals) = argument.find('=') else {
        let whole = Span { source, start: 0, end: argument.len() };
        return Err(Diagnostic::new(Code::Override, "expected KEY=VALUE", Some(whole))
            .label("there is no `=`")
            .note("for instance trainer.epochs=3, or epochs=3 for short"));
    };
    let key = argument[..equals].trim();
    let value = read_value(source, equals + 1, argument)?;
    let path = SHORT.iter().find(|(short, _)| *short == key).map_or(key, |(_, path)| *path);
    let key_span = Span { source, start: 0, end: equals };
    let segments: Vec<&str> = path.split('.').collect();
    check_root(&segments, key_span)?;
    let after = value.value().to_string();
    let before = set(tree, &segments, &mut Vec::new(), value, key_span)?;
    Ok(Applied { path: path.to_string(), before, after })
}

fn read_value(source: usize, offset: usize, argument: &str) -> Result<Node, Diagnostic> {
    let offset = argument.len() - argument[offset..].trim_start().len();
    let text = &argument[offset..];
    let span = Span { source, start: offset, end: argument.len() };
    if text.trim().is_empty() {
        return Err(Diagnostic::new(Code::Override, "the value is missing", Some(span))
            .label("expected a value after `=`"));
    }
    if let Some((node, mut problems)) = parse_value(source, offset, text) {
        return if problems.is_empty() { Ok(node) } else { Err(problems.remove(0)) };
    }
    if text.contains(['"', '\'', '[', ']', '{', '}', '\n', '\r']) {
        return Err(Diagnostic::new(
            Code::Override,
            "the value is neither TOML nor a word",
            Some(span),
        )
        .note("quote it for the shell: 'model.layers=[\"Flatten\"]'"));
    }
    let value = Value::Text(text.trim().to_string().into());
    Ok(Node { span, data: Data::Scalar(value) })
}

fn check_root(segments: &[&str], span: Span) -> Result<(), Diagnostic> {
    let first = segments[0];
    let known = ROOT.params.iter().any(|param| param.name == first)
        || SECTIONS.iter().chain(COLUMNS.iter()).any(|section| section.name == first);
    if known && segments.iter().all(|segment| !segment.is_empty()) {
        return Ok(());
    }
    let shorts = SHORT.iter().map(|(short, _)| *short);
    let roots = ROOT.params.iter().map(|param| param.name);
    let within = SECTIONS.iter().flat_map(|section| section.params.iter().map(|param| param.name));
    let tables = SECTIONS.iter().map(|section| section.name);
    let words: Vec<&str> = shorts.chain(roots).chain(tables).chain(within).collect();
    let message = format!("unknown setting `{}`", segments.join("."));
    let mut problem = Diagnostic::new(Code::Override, message, Some(span));
    if let Some(near) = nearest(first, words) {
        let full = SECTIONS
            .iter()
            .find(|section| section.params.iter().any(|param| param.name == near))
            .filter(|_| !SHORT.iter().any(|(short, _)| *short == near))
            .map_or(near.to_string(), |section| format!("{}.{near}", section.name));
        problem = problem.label(format!("did you mean `{full}`?"));
    }
    let shorts: Vec<&str> = SHORT.iter().map(|(short, _)| *short).collect();
    Err(problem.note(format!(
        "a full path such as trainer.optimizer.lr, or for short: {}",
        shorts.join(", ")
    )))
}

/// Walks to the place and sets it; what stood there before.
fn set(
    node: &mut Node,
    path: &[&str],
    walked: &mut Vec<String>,
    value: Node,
    key_span: Span,
) -> Result<Option<String>, Diagnostic> {
    let Some((first, rest)) = path.split_first() else {
        let before = std::mem::replace(node, value);
        return Ok(Some(before.value().to_string()));
    };
    // A name stands for a table with only a `type`: `optimizer = "adam"` can be given an `lr`.
    if let Data::Scalar(Value::Text(_)) = node.data {
        let named = Entry { key: "type".to_string(), key_span: node.span, node: node.clone() };
        node.data = expanded(node).unwrap_or(Data::Table(vec![named]));
    }
    let here = walked.join(".");
    walked.push(first.to_string());
    match &mut node.data {
        Data::List(nodes) => {
            let length = nodes.len();
            // A place is a number, or the name of what stands there: `input.age.normalize`.
            let named = nodes.iter().position(|node| name_of(node) == Some(*first));
            let place = first.parse::<usize>().ok().or(named);
            match place.and_then(|at| nodes.get_mut(at)) {
                Some(place) => set(place, rest, walked, value, key_span),
                None => Err(Diagnostic::new(
                    Code::Override,
                    format!("`{here}` has no place `{first}`"),
                    Some(key_span),
                )
                .label(format!("it is a list of {length}: expected a number below {length}"))),
            }
        }
        Data::Table(_) => set_in_table(node, first, rest, walked, value, key_span),
        Data::Scalar(found) => Err(Diagnostic::new(
            Code::Override,
            format!("`{here}` is {}, it has no `{first}`", found.kind_name()),
            Some(key_span),
        )),
    }
}

/// The short form of a thing, `Dense(8, relu)`, as a table that holds all that it says.
fn expanded(node: &Node) -> Option<Data> {
    fn everything() -> Vec<&'static Spec> {
        vocabulary::WORDS.iter().flat_map(|words| (words.specs)()).collect()
    }
    let short = |value: &Value| matches!(value, Value::Text(text) if text.contains('('));
    let value = Some(node.value()).filter(short)?;
    let kind = Kind::Item { what: "thing", specs: everything };
    // What it gets wrong is told by the check of the whole recipe.
    let item = check_value("", &kind, &value).ok()?;
    let mut table = parse_value(node.span.source, 0, &item.to_string())?.0;
    place_at(&mut table, node.span);
    Some(table.data)
}

/// Gives all that is in a node the place of the text that it was made from.
fn place_at(node: &mut Node, span: Span) {
    node.span = span;
    match &mut node.data {
        Data::Scalar(_) => {}
        Data::List(nodes) => nodes.iter_mut().for_each(|node| place_at(node, span)),
        Data::Table(entries) => entries.iter_mut().for_each(|entry| {
            entry.key_span = span;
            place_at(&mut entry.node, span);
        }),
    }
}

/// What a table of a list calls itself.
fn name_of(node: &Node) -> Option<&str> {
    match &node.get("name")?.node.data {
        Data::Scalar(Value::Text(name)) => Some(name),
        _ => None,
    }
}

fn set_in_table(
    node: &mut Node,
    key: &str,
    rest: &[&str],
    walked: &mut Vec<String>,
    value: Node,
    key_span: Span,
) -> Result<Option<String>, Diagnostic> {
    let param = spec_of(node, &walked[..walked.len() - 1])
        .and_then(|spec| spec.params.iter().find(|param| param.answers_to(key)));
    let Data::Table(entries) = &mut node.data else { return Ok(None) };
    // The recipe may use another name of the same key.
    let same =
        |entry: &Entry| entry.key == key || param.is_some_and(|param| param.answers_to(&entry.key));
    if let Some(entry) = entries.iter_mut().find(|entry| same(entry)) {
        if rest.is_empty() {
            let before = entry.node.value().to_string();
            *entry = Entry { key: key.to_string(), key_span, node: value };
            return Ok(Some(before));
        }
        return set(&mut entry.node, rest, walked, value, key_span);
    }
    let mut made = match rest.is_empty() {
        true => value.clone(),
        false => Node { span: key_span, data: Data::Table(starting_point(walked, key_span)) },
    };
    let before = match rest.is_empty() {
        true => None,
        false => set(&mut made, rest, walked, value, key_span)?.filter(|_| false),
    };
    entries.push(Entry { key: key.to_string(), key_span, node: made });
    Ok(before)
}

/// What a table holds that the recipe does not mention: where the default is a named thing, its name.
fn starting_point(walked: &[String], span: Span) -> Vec<Entry> {
    use nerve_formats::spec::Presence;
    let [section, key] = walked else { return Vec::new() };
    let param = SECTIONS
        .iter()
        .find(|spec| spec.name == section)
        .and_then(|spec| spec.params.iter().find(|param| param.answers_to(key)));
    match param.map(|param| &param.presence) {
        Some(Presence::Default(value @ Value::Text(_))) => {
            let node = Node { span, data: Data::Scalar(value.clone()) };
            vec![Entry { key: "type".to_string(), key_span: span, node }]
        }
        _ => Vec::new(),
    }
}

/// The description that governs a table of the recipe.
fn spec_of(node: &Node, path: &[String]) -> Option<&'static Spec> {
    if let Some(Data::Scalar(Value::Text(name))) = node.get("type").map(|entry| &entry.node.data) {
        return vocabulary::find(name);
    }
    match path {
        [] => Some(&ROOT),
        [section] => SECTIONS.iter().copied().find(|spec| spec.name == section),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::parse;

    fn tree() -> Node {
        let text = "seed = 1\n[trainer]\nepochs = 5\nbatch = 32\noptimizer = \"sgd\"\n[model]\n\
                    layers = [\"Flatten\", { type = \"Dense\", out_features = 10 }]\n";
        parse(0, text).0
    }

    fn changed(argument: &str) -> (Node, Applied) {
        let mut tree = tree();
        let applied = apply(&mut tree, 1, argument).unwrap();
        (tree, applied)
    }

    fn refused(argument: &str) -> Diagnostic {
        apply(&mut tree(), 1, argument).unwrap_err()
    }

    #[test]
    fn sets_by_path_and_by_short_name() {
        for argument in ["trainer.epochs=3", "epochs=3", "epochs= 3"] {
            let (tree, applied) = changed(argument);
            assert_eq!(
                tree.get("trainer").unwrap().node.get("epochs").unwrap().node.value(),
                Value::Int(3)
            );
            assert_eq!(applied.path, "trainer.epochs");
            assert_eq!(applied.before.as_deref(), Some("5"));
        }
        let (tree, _) = changed("name=first try");
        assert_eq!(tree.get("name").unwrap().node.value(), Value::text("first try"));
    }

    #[test]
    fn a_name_becomes_a_table_when_it_is_given_a_parameter() {
        let (tree, _) = changed("lr=3e-4");
        let optimizer = &tree.get("trainer").unwrap().node.get("optimizer").unwrap().node;
        assert_eq!(
            optimizer.value().to_string(),
            r#"{ type = "sgd", lr = 3e-4 }"#.replace("3e-4", "0.0003")
        );
    }

    #[test]
    fn another_name_of_the_same_key_is_replaced() {
        let (tree, applied) = changed("batch_size=8");
        let trainer = &tree.get("trainer").unwrap().node;
        assert!(trainer.get("batch").is_none());
        assert_eq!(applied.before.as_deref(), Some("32"));
        let (tree, _) = changed("model.layers.1.units=7");
        let model = &tree.get("model").unwrap().node;
        let layers = model.get("layers").unwrap().node.value().to_string();
        assert_eq!(layers, r#"["Flatten", { type = "Dense", units = 7 }]"#);
    }

    #[test]
    fn a_short_form_becomes_a_table_of_what_it_says() {
        let mut tree = parse(0, "[model]\nlayers = [\"Dense(8, relu)\"]").0;
        let applied = apply(&mut tree, 1, "model.layers.0.units=16").unwrap();
        assert_eq!(applied.before.as_deref(), Some("8"));
        let layers =
            tree.get("model").unwrap().node.get("layers").unwrap().node.value().to_string();
        assert!(layers.contains("units = 16, bias = true, activation = \"relu\""), "{layers}");
    }

    #[test]
    fn missing_tables_are_made_around_the_default() {
        let mut tree = parse(0, "seed = 1").0;
        let applied = apply(&mut tree, 1, "lr=0.5").unwrap();
        assert_eq!(applied.before, None);
        assert_eq!(
            tree.value().to_string(),
            r#"{ seed = 1, trainer = { optimizer = { type = "adam", lr = 0.5 } } }"#
        );
    }

    #[test]
    fn what_cannot_be_set_says_why() {
        assert_eq!(refused("epochs").message, "expected KEY=VALUE");
        assert_eq!(refused("epochs=").message, "the value is missing");
        let unknown = refused("epoch=3");
        assert_eq!(unknown.message, "unknown setting `epoch`");
        assert_eq!(unknown.label, "did you mean `epochs`?");
        assert_eq!(refused("validaton=0.2").label, "did you mean `data.validation`?");
        assert_eq!(refused("trainer..epochs=1").message, "unknown setting `trainer..epochs`");
        assert_eq!(
            refused("model.layers.2.units=1").label,
            "it is a list of 2: expected a number below 2"
        );
        assert_eq!(
            refused("trainer.epochs.x=1").message,
            "`trainer.epochs` is a whole number, it has no `x`"
        );
        assert!(refused("model.layers=[Flatten]").message.contains("neither TOML nor a word"));
        assert!(refused("seed=99999999999999999999").message.contains("64 bits"));
        let span = refused("model.layers=[Flatten]").span.unwrap();
        assert_eq!((span.source, span.start, span.end), (1, 13, 22));
    }
}
