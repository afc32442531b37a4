//! The tables `[[input]]` and `[[output]]`: which columns go in, which should come out, and as what.

use crate::diagnostic::{Code, Diagnostic};
use crate::explain;
use crate::source::Source;
use crate::tree::{Data, Node};
use crate::vocabulary::{FEATURE, INPUT, OUTPUT};
use nerve_data::features::Role;
use nerve_formats::spec::{Args, Item, Segment, Spec, Target, Value, check, check_value};
use std::path::Path;

/// One column with what the recipe says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name in the data.
    pub name: String,
    /// The type of its feature, with what that takes.
    pub feature: Item,
    /// What stands beside the type: encoder, loss, ...
    pub args: Args,
    /// Which table of the recipe it stands in, from 0.
    pub entry: usize,
}

impl Column {
    /// The way to its table, or to a key of it.
    pub fn path(&self, role: Role, key: Option<&str>) -> Vec<Segment> {
        let mut path = vec![Segment::Key(table(role).to_string()), Segment::Index(self.entry)];
        path.extend(key.map(|key| Segment::Key(key.to_string())));
        path
    }
}

/// Words that name a file or a folder, and under which key.
const PATHS: [(&str, &str); 2] = [("file", "path"), ("MixNoise", "folder")];

impl Column {
    /// Names of files start from the folder of the text that holds them, here as in `[data]`.
    fn absolute_paths(&mut self, tree: &Node, role: Role, sources: &[Source]) {
        for key in ["tokenizer", "augment"] {
            let Some(value) = self.feature.args.get(key) else { continue };
            let span = tree.find(&self.path(role, Some(key)), Target::Value);
            let folder = sources.get(span.source).map(|source| &*source.folder);
            let mut value = value.clone();
            absolute(&mut value, folder.unwrap_or(Path::new("")));
            self.feature.args = self.feature.args.with(key, value);
        }
    }
}

fn absolute(value: &mut Value, folder: &Path) {
    match value {
        Value::List(values) => values.to_mut().iter_mut().for_each(|value| absolute(value, folder)),
        Value::Item(item) => {
            let named = PATHS.iter().find(|(name, key)| *name == item.name && item.args.has(key));
            let Some((_, key)) = named else { return };
            if let Ok(path) = std::path::absolute(folder.join(item.args.text(key))) {
                let path = Value::Text(path.to_string_lossy().into_owned().into());
                item.args = item.args.with(key, path);
            }
        }
        _ => {}
    }
}

/// Whether both describe the same columns in the same way, wherever they stand.
pub fn same(mine: &[Column], theirs: &[Column]) -> bool {
    let plain = |columns: &[Column]| -> Vec<(String, Item, Args)> {
        let parts = |c: &Column| (c.name.clone(), c.feature.clone(), c.args.without("name"));
        columns.iter().map(parts).collect()
    };
    plain(mine) == plain(theirs)
}

/// The name of the tables of a role.
pub fn table(role: Role) -> &'static str {
    spec(role).name
}

fn spec(role: Role) -> &'static Spec {
    match role {
        Role::Input => &INPUT,
        Role::Output => &OUTPUT,
    }
}

/// The columns of a role, in their order; none where the recipe has no such table.
pub fn read(
    tree: &Node,
    role: Role,
    sources: &[Source],
    problems: &mut Vec<Diagnostic>,
) -> Vec<Column> {
    let Some(entry) = tree.get(table(role)) else { return Vec::new() };
    let Data::List(nodes) = &entry.node.data else {
        let message = format!("`{}` should be a list of tables", table(role));
        let problem = Diagnostic::new(Code::WrongType, message, Some(entry.key_span));
        problems.push(problem.label(format!("write [[{}]] above each column", table(role))));
        return Vec::new();
    };
    let mut columns: Vec<Column> = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        for mut column in read_one(tree, role, i, node, problems) {
            column.absolute_paths(tree, role, sources);
            if columns.iter().any(|other| other.name == column.name) {
                let message = format!("the column `{}` is described twice", column.name);
                let span = tree.find(&column.path(role, Some("name")), Target::Value);
                let problem = Diagnostic::new(Code::Duplicate, message, Some(span));
                problems.push(problem.label("remove one of the two"));
            } else {
                columns.push(column);
            }
        }
    }
    columns
}

fn read_one(
    tree: &Node,
    role: Role,
    i: usize,
    node: &Node,
    problems: &mut Vec<Diagnostic>,
) -> Vec<Column> {
    let prefix = [Segment::Key(table(role).to_string()), Segment::Index(i)];
    let common = |key: &str| spec(role).params.iter().any(|param| param.answers_to(key));
    let (common, own): (Vec<_>, Vec<_>) =
        node.pairs().into_iter().partition(|(key, _)| common(key));
    let (args, feature) =
        (check(spec(role), &common), check_value("type", &FEATURE, &Value::Table(own)));
    let (args, Value::Item(feature)) = (match (args, feature) {
        (Ok(args), Ok(feature)) => (args, feature),
        (args, feature) => {
            let found = args.err().into_iter().chain(feature.err()).flatten();
            problems.extend(found.map(|problem| explain::problem(problem, &prefix, tree)));
            return Vec::new();
        }
    }) else {
        return Vec::new();
    };
    let names = match args.get("name") {
        Some(Value::Text(name)) => vec![name.to_string()],
        _ => args.texts("name"),
    };
    names
        .into_iter()
        .map(|name| Column { name, feature: (*feature).clone(), args: args.clone(), entry: i })
        .collect()
}

/// The column of this name and type, with all that stands beside it at its default.
///
/// # Panics
/// For a type that does not exist or needs arguments.
pub fn plain(role: Role, name: &str, kind: &str) -> Column {
    let given = [("name".to_string(), Value::Text(name.to_string().into()))];
    let kind = Value::Text(kind.to_string().into());
    match (check(spec(role), &given), check_value("type", &FEATURE, &kind)) {
        (Ok(args), Ok(Value::Item(feature))) => {
            Column { name: name.to_string(), feature: *feature, args, entry: 0 }
        }
        _ => panic!("the type {kind} of the column {name} does not stand alone"),
    }
}
