//! `nerve data check`: what is probably wrong with data.

use super::look::Look;
use crate::args::DataCheck;
use crate::failure::Failure;
use crate::output;
use nerve::data::inspect;
use serde_json::json;

pub fn run(args: &DataCheck) -> Result<(), Failure> {
    let look = Look::at(&args.what, &args.overrides, args.target.as_deref())?;
    let views = look.views();
    let found = inspect::check(&views, look.target.as_deref())
        .map_err(|error| Failure::Data(error.to_string()))?;
    if args.json {
        let rows: Vec<_> = views
            .iter()
            .map(|view| json!({ "part": view.name, "rows": view.rows.len() }))
            .collect();
        let findings: Vec<_> = found.iter().map(inspect::Finding::to_json).collect();
        output::json(&json!({ "parts": rows, "target": look.target, "findings": findings }))?;
    } else {
        let sizes: Vec<String> =
            views.iter().map(|view| format!("{} {} rows", view.name, view.rows.len())).collect();
        let mut text = format!("{}\n", sizes.join(", "));
        for finding in &found {
            let column = finding.column.as_deref().map(|c| format!(" `{}`", plain(c)));
            let (kind, column) = (finding.kind.name(), column.unwrap_or_default());
            text.push_str(&format!("{kind}{column}: {}\n", plain(&finding.message)));
            if !finding.places.is_empty() {
                text.push_str(&format!("    {}\n", finding.places.join(", ")));
            }
        }
        match found.len() {
            0 => text.push_str("nothing found\n"),
            1 => text.push_str("1 finding\n"),
            n => text.push_str(&format!("{n} findings\n")),
        }
        output::result(&text)?;
    }
    match args.strict && !found.is_empty() {
        true => Err(Failure::Gate(format!("{} findings in the data", found.len()))),
        false => Ok(()),
    }
}

/// Names from data on one line.
pub fn plain(text: &str) -> String {
    nerve::formats::escape(text, 200)
}
