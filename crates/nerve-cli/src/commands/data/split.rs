//! `nerve data split`: which rows go where.

use super::check::plain;
use super::look::Look;
use crate::args::DataSplit;
use crate::failure::Failure;
use crate::output;
use nerve::data::features::name_of;
use nerve::data::inspect::View;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub fn run(args: &DataSplit) -> Result<(), Failure> {
    let looks = match args.folds {
        Some(k) => Look::folds(&args.what, &args.overrides, k as usize)?,
        None => vec![Look::at(&args.what, &args.overrides, None)?],
    };
    if args.json {
        let mut splits: Vec<Value> = looks.iter().map(|look| object(look, args.rows)).collect();
        let value = match args.folds {
            Some(_) => json!({ "folds": splits }),
            None => splits.remove(0),
        };
        return Ok(output::json(&value)?);
    }
    let mut text = String::new();
    for (i, look) in looks.iter().enumerate() {
        match (args.folds, args.rows) {
            (Some(_), true) => text.push_str(&rows(look, &format!("{}\t", i + 1))),
            (None, true) => text.push_str(&rows(look, "")),
            (Some(k), false) => {
                text.push_str(&format!("Fold {}/{k}\n{}", i + 1, counts(look)));
            }
            (None, false) => text.push_str(&counts(look)),
        }
    }
    Ok(output::result(&text)?)
}

fn places(view: View<'_>) -> impl Iterator<Item = String> + '_ {
    view.rows.iter().map(move |&row| view.table.place(row))
}

/// A line for each row: part and place, tabs between.
fn rows(look: &Look, before: &str) -> String {
    let lines = |view: View<'_>| -> String {
        places(view).map(|place| format!("{before}{}\t{place}\n", view.name)).collect()
    };
    look.views().into_iter().map(lines).collect()
}

/// The classes in each part.
fn classes_of(look: &Look) -> Vec<BTreeMap<String, usize>> {
    let target = look.target.as_deref().unwrap_or_default();
    let all: Vec<_> = look.views().into_iter().map(|view| classes(view, target)).collect();
    // Numbers that all differ are no classes.
    let few = all.iter().all(|counts| counts.len() <= 20);
    if few { all } else { vec![BTreeMap::new(); all.len()] }
}

fn object(look: &Look, rows: bool) -> Value {
    let parts = look.views().into_iter().zip(classes_of(look)).map(|(view, counts)| {
        let counts = (!counts.is_empty()).then_some(counts);
        let mut part = json!({ "part": view.name, "rows": view.rows.len(), "classes": counts });
        if rows {
            part["places"] = places(view).collect();
        }
        part
    });
    json!({ "parts": parts.collect::<Vec<_>>() })
}

/// A line for each part: its share of the rows and, in it, that of each class.
fn counts(look: &Look) -> String {
    let views = look.views();
    let all: usize = views.iter().map(|view| view.rows.len()).sum();
    let mut text = String::new();
    for (view, counts) in views.iter().zip(classes_of(look)) {
        let (name, rows) = (view.name, view.rows.len());
        let share = 100.0 * rows as f64 / all.max(1) as f64;
        text.push_str(&format!("{name:<11}{rows:>9} rows {share:>5.1} %"));
        for (class, count) in counts {
            let share = 100.0 * count as f64 / rows.max(1) as f64;
            text.push_str(&format!("   {} {share:.1} %", plain(&class)));
        }
        text.push('\n');
    }
    text
}

fn classes(view: View<'_>, target: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    if let Ok(column) = view.table.column(target) {
        for &row in view.rows {
            if let Ok(Some(name)) = name_of(column.cells.get(row)) {
                *counts.entry(name.into_owned()).or_default() += 1;
            }
        }
    }
    counts
}
