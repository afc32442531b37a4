//! `nerve data stats`: what each column holds.

use super::check::plain;
use super::look::Look;
use crate::args::DataStats;
use crate::failure::Failure;
use crate::output;
use nerve::data::inspect::{Content, Stats, View, describe};
use serde_json::json;

pub fn run(args: &DataStats) -> Result<(), Failure> {
    let look = Look::at(&args.what, &args.overrides, None)?;
    let views = look.views();
    let wanted = |view: &&View<'_>| args.part.as_deref().is_none_or(|part| part == view.name);
    let shown: Vec<View<'_>> = views.iter().filter(wanted).copied().collect();
    if shown.is_empty() {
        let known: Vec<&str> = views.iter().map(|view| view.name).collect();
        let message = format!("there is no such part; there are {}", known.join(", "));
        return Err(Failure::Usage(message));
    }
    if args.json {
        let parts = shown.iter().map(|view| {
            let columns: Vec<_> = describe(*view).iter().map(Stats::to_json).collect();
            json!({ "part": view.name, "rows": view.rows.len(), "columns": columns })
        });
        return Ok(output::json(&json!({ "parts": parts.collect::<Vec<_>>() }))?);
    }
    let text: Vec<String> = shown.iter().map(|view| part(*view)).collect();
    Ok(output::result(&text.join("\n"))?)
}

fn part(view: View<'_>) -> String {
    let all = describe(view);
    let longest = all.iter().map(|stats| plain(&stats.column).chars().count()).max().unwrap_or(0);
    let width = longest.clamp(6, 30);
    let mut text = format!(
        "{}: {} rows\n{:width$}  {:>8} {:>8} {:>8}  values\n",
        view.name,
        view.rows.len(),
        "column",
        "count",
        "missing",
        "distinct"
    );
    for stats in &all {
        let (column, distinct) = (plain(&stats.column), stats.distinct);
        let (count, missing) = (stats.count, stats.missing);
        let values = values(&stats.content, count);
        text.push_str(&format!(
            "{column:width$}  {count:>8} {missing:>8} {distinct:>8}  {values}\n"
        ));
    }
    text
}

fn values(content: &Content, count: usize) -> String {
    match content {
        Content::Numbers(q) => {
            let [min, p05, p25, median, p75, p95, max] = q.values.map(number);
            let (mean, deviation) = (number(q.mean), number(q.deviation));
            format!(
                "{min} .. {max}, mean {mean}, deviation {deviation}, 5 25 50 75 95 %: {p05} {p25} {median} {p75} {p95}"
            )
        }
        Content::Texts { words, characters, .. } if words.median > 3 => format!(
            "texts of {} to {} words (half up to {}, 95 % up to {}), {} to {} characters",
            words.min, words.max, words.median, words.p95, characters.min, characters.max
        ),
        Content::Texts { top, .. } => {
            let shown = top.iter().take(5).map(|(name, n)| {
                let share = 100.0 * *n as f64 / count as f64;
                format!("{} {n} ({share:.1} %)", nerve::formats::escape(name, 40))
            });
            shown.collect::<Vec<_>>().join(", ")
        }
        Content::Arrays { shape, min, mean, max } => {
            let (min, mean, max) = (number(*min), number(*mean), number(*max));
            format!("arrays {shape:?}: {min} .. {max}, mean {mean}")
        }
        Content::Empty => "nothing".into(),
    }
}

/// Five digits that count.
fn number(x: f64) -> String {
    if x == 0.0 {
        return "0".into();
    }
    let digits = x.abs().log10().floor();
    if !(-5.0..9.0).contains(&digits) {
        return format!("{x:.4e}");
    }
    let text = format!("{x:.*}", (4.0 - digits).max(0.0) as usize);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 1.0, 0.125, 29.699117, 512.3292, 123456.7, 1e-7, -3.5e12].map(number);
        let expected = ["0", "1", "0.125", "29.699", "512.33", "123457", "1.0000e-7", "-3.5000e12"];
        assert_eq!(shown, expected);
    }
}
