//! The recipe with every default written out.

use crate::columns;
use crate::recipe::Recipe;
use nerve_data::features::Role;
use nerve_formats::spec::{Args, Item, Value};
use std::fmt::Write;

/// As TOML, which reads back as the same recipe.
pub fn print(recipe: &Recipe) -> String {
    let mut out = String::new();
    keys(&mut out, &recipe.root);
    out.push_str("\n[data]\n");
    keys(&mut out, &recipe.data);
    for (role, columns) in [(Role::Input, &recipe.inputs), (Role::Output, &recipe.outputs)] {
        for column in columns {
            let _ = write!(out, "\n[[{}]]\nname = {}\n", columns::table(role), text(&column.name));
            let _ = writeln!(out, "type = {}", text(column.feature.name));
            keys(&mut out, &column.feature.args);
            keys(&mut out, &column.args.without("name"));
        }
    }
    out.push_str("\n[model]\n");
    if !recipe.layers.is_empty() {
        out.push_str(&layers(&recipe.layers));
    }
    entries(&mut out, recipe.start());
    out.push_str("\n[trainer]\n");
    keys(&mut out, &recipe.trainer);
    if !recipe.eval.is_empty() {
        out.push_str("\n[eval]\n");
        keys(&mut out, &recipe.eval);
    }
    out.push_str("\n[log]\n");
    keys(&mut out, &recipe.log);
    out
}

fn text(text: &str) -> Value {
    Value::Text(text.to_string().into())
}

/// The key `layers` with one layer a line.
pub fn layers(layers: &[Item]) -> String {
    let mut out = String::from("layers = [\n");
    for layer in layers {
        let _ = writeln!(out, "  {layer},");
    }
    out.push_str("]\n");
    out
}

fn keys(out: &mut String, args: &Args) {
    entries(out, args.iter());
}

fn entries<'a>(out: &mut String, args: impl Iterator<Item = (&'static str, &'a Value)>) {
    for (key, value) in args {
        match value {
            // One thing a line: such lists grow long.
            Value::List(values)
                if values
                    .iter()
                    .any(|v| matches!(v, Value::Item(item) if !item.args.is_empty())) =>
            {
                let _ = writeln!(out, "{key} = [");
                for value in values.iter() {
                    let _ = writeln!(out, "  {value},");
                }
                out.push_str("]\n");
            }
            _ => {
                let _ = writeln!(out, "{key} = {value}");
            }
        }
    }
}
