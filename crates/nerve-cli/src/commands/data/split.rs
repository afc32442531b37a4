//! `nerve data split`: which rows go where.

use super::check::plain;
use super::look::Look;
use crate::args::DataSplit;
use crate::failure::Failure;
use crate::output;
use nerve::data::features::name_of;
use nerve::data::inspect::View;
use serde_json::json;
use std::collections::BTreeMap;

pub fn run(args: &DataSplit) -> Result<(), Failure> {
    let look = Look::at(&args.what, &args.overrides, None)?;
    let views = look.views();
    if args.rows {
        let rows = |view: &View<'_>| {
            let places = view.rows.iter().map(|&row| view.table.place(row));
            places.map(|place| format!("{}\t{}\n", view.name, place)).collect::<String>()
        };
        return Ok(output::result(&views.iter().map(rows).collect::<String>())?);
    }
    let target = look.target.as_deref().unwrap_or_default();
    let classes: Vec<BTreeMap<String, usize>> =
        views.iter().map(|view| classes(*view, target)).collect();
    // Numbers that all differ are no classes.
    let few = classes.iter().all(|counts| counts.len() <= 20);
    if args.json {
        let parts = views.iter().zip(&classes).map(|(view, counts)| {
            let counts = few.then_some(counts);
            json!({ "part": view.name, "rows": view.rows.len(), "classes": counts })
        });
        return Ok(output::json(&json!({ "parts": parts.collect::<Vec<_>>() }))?);
    }
    let all: usize = views.iter().map(|view| view.rows.len()).sum();
    let mut text = String::new();
    for (view, counts) in views.iter().zip(&classes) {
        let (name, rows) = (view.name, view.rows.len());
        let share = 100.0 * rows as f64 / all.max(1) as f64;
        text.push_str(&format!("{name:<11}{rows:>9} rows {share:>5.1} %"));
        for (class, count) in counts.iter().filter(|_| few) {
            let share = 100.0 * *count as f64 / rows.max(1) as f64;
            text.push_str(&format!("   {} {share:.1} %", plain(class)));
        }
        text.push('\n');
    }
    Ok(output::result(&text)?)
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
