//! A page in one file for people: each column of the reference beside the same column now.

use super::compare::{ColumnDrift, Drift};
use super::summary::{NumberSummary, Summary};
use std::fmt::Write;

/// Bars of a histogram.
const BARS: usize = 24;
/// Names that are drawn.
const NAMES: usize = 12;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1c1c1c;\
background:#fff}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.35rem .6rem;border-bottom:1px solid \
#ddd;vertical-align:middle}.n{text-align:right;font-variant-numeric:tabular-nums}.yes{color:#b00020;font-weight:600}\
.r{fill:#0072b2}.c{fill:#e69f00}svg{display:block}small{color:#555}";

/// The page: no script, nothing from elsewhere.
///
/// `title` and all names are escaped.
pub fn page(title: &str, drift: &Drift) -> String {
    let title = escape(title);
    let mut text = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1><p>"
    );
    let (drifted, all) = (drift.drifted_columns(), drift.columns.len());
    let verdict = if drift.drifted() {
        "<span class=\"yes\">The data have drifted</span>"
    } else {
        "No drift of the data"
    };
    let _ = write!(
        text,
        "{verdict}: {drifted} of {all} columns have ({:.0} %; from {:.0} % on the data have).</p>\
         <p><svg width=\"220\" height=\"16\" role=\"img\" aria-label=\"blue: reference, orange: current\"><rect class=\"r\" \
         width=\"12\" height=\"12\" y=\"2\"/><text x=\"18\" y=\"12\">reference</text><rect class=\"c\" width=\"12\" \
         height=\"12\" x=\"110\" y=\"2\"/><text x=\"128\" y=\"12\">current</text></svg></p><table><thead><tr><th>column</th>\
         <th>test</th><th class=\"n\">score</th><th class=\"n\">threshold</th><th>drift</th><th class=\"n\">missing</th>\
         <th>share of rows</th></tr></thead><tbody>",
        100.0 * drift.drifted_share(),
        100.0 * drift.share,
    );
    drift.columns.iter().for_each(|column| row(&mut text, column));
    text.push_str("</tbody></table></body></html>\n");
    text
}

fn row(text: &mut String, column: &ColumnDrift) {
    let (test, score, threshold) = match &column.verdict {
        Ok(v) => (v.test.name().to_string(), format!("{:.4}", v.score), format!("{}", v.threshold)),
        Err(reason) => (escape(reason), String::new(), String::new()),
    };
    let drift = if column.drifted() { "<span class=\"yes\">yes</span>" } else { "no" };
    let share = |summary: &Summary| 100.0 * summary.missing_share();
    let _ = write!(
        text,
        "<tr><td>{}</td><td>{test}</td><td class=\"n\">{score}</td><td class=\"n\">{threshold}</td><td>{drift}</td>\
         <td class=\"n\">{:.1} % → {:.1} %</td><td>{}</td></tr>",
        escape(&column.feature),
        share(&column.reference),
        share(&column.current),
        picture(column),
    );
}

/// Bars of both sides, side by side.
fn picture(column: &ColumnDrift) -> String {
    let (labels, bars) = match (&column.reference, &column.current) {
        (Summary::Numbers(a), Summary::Numbers(b)) => histograms(a, b),
        (Summary::Names(a), Summary::Names(b)) => {
            let (all_a, all_b) = (a.count().max(1) as f64, b.count().max(1) as f64);
            let rows = |side: &super::NameSummary, name: &str| {
                let found = side.names.iter().find(|(own, _)| own == name);
                found.map_or(0.0, |(_, rows)| *rows as f64)
            };
            let mut names: Vec<&str> =
                a.names.iter().chain(&b.names).map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let shares = |name: &str| [rows(a, name) / all_a, rows(b, name) / all_b];
            names.sort_by(|x, y| {
                let sum = |name: &str| shares(name).iter().sum::<f64>();
                sum(y).total_cmp(&sum(x)).then_with(|| x.cmp(y))
            });
            names.truncate(NAMES);
            let bars = names.iter().map(|name| shares(name)).collect();
            (names.iter().map(|name| name.to_string()).collect(), bars)
        }
        _ => (Vec::new(), Vec::new()),
    };
    let most = bars.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
    let (width, height) = (360.0, 44.0);
    let step = width / bars.len().max(1) as f64;
    let mut svg = format!("<svg width=\"{width}\" height=\"{height}\" role=\"img\">");
    for (at, pair) in bars.iter().enumerate() {
        let label = escape(labels.get(at).map_or("", String::as_str));
        let _ = write!(
            svg,
            "<g><title>{label}: {:.1} % → {:.1} %</title>",
            100.0 * pair[0],
            100.0 * pair[1]
        );
        for (side, class) in ["r", "c"].into_iter().enumerate() {
            let tall = pair[side] / most * (height - 2.0);
            let x = at as f64 * step + side as f64 * step * 0.45;
            let _ = write!(
                svg,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"/>",
                height - tall,
                step * 0.42
            );
        }
        svg.push_str("</g>");
    }
    svg.push_str("</svg>");
    match (labels.first(), labels.last()) {
        (Some(first), Some(last)) if labels.len() == BARS => {
            let end = last.split(" to ").nth(1).unwrap_or(last);
            let begin = first.split(" to ").next().unwrap_or(first);
            format!("{svg}<small>{} to {}</small>", escape(begin), escape(end))
        }
        _ => {
            let names: Vec<String> = labels.iter().take(4).map(|name| escape(name)).collect();
            format!("{svg}<small>{}</small>", names.join(", "))
        }
    }
}

fn histograms(a: &NumberSummary, b: &NumberSummary) -> (Vec<String>, Vec<[f64; 2]>) {
    let (least, greatest) = (a.least.min(b.least), a.greatest.max(b.greatest));
    if greatest <= least || !(greatest - least).is_finite() {
        let share = |side: &NumberSummary| if side.count > 0 { 1.0 } else { 0.0 };
        return (vec![format!("{least}")], vec![[share(a), share(b)]]);
    }
    let mut bars = vec![[0.0; 2]; BARS];
    for (side, summary) in [a, b].into_iter().enumerate() {
        for (value, rows) in &summary.points {
            let at = ((value - least) / (greatest - least) * BARS as f64) as usize;
            bars[at.min(BARS - 1)][side] += rows / summary.count.max(1) as f64;
        }
    }
    let edge = |at: usize| short(least + (greatest - least) * at as f64 / BARS as f64);
    ((0..BARS).map(|at| format!("{} to {}", edge(at), edge(at + 1))).collect(), bars)
}

/// A number with four digits.
fn short(number: f64) -> String {
    let digits = match number.abs() {
        0.0 => return "0".into(),
        size if !(1e-4..1e7).contains(&size) => return format!("{number:.3e}"),
        size => (3.0 - size.log10().floor()).clamp(0.0, 7.0) as usize,
    };
    format!("{number:.digits$}")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars().take(200) {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::{Names, Numbers, Options, compare};
    use super::*;

    #[test]
    fn the_page_draws_both_sides_and_trusts_no_name() {
        let numbers = |shift: f64| {
            let mut numbers = Numbers::new(1000);
            (0..50).for_each(|i| numbers.add(f64::from(i) + shift));
            Summary::Numbers(numbers.summary())
        };
        let names = |extra: &str| {
            let mut names = Names::default();
            ["a", "b", extra, extra].into_iter().for_each(|name| names.add(name));
            Summary::Names(names.summary())
        };
        let options = Options::default();
        let empty = Summary::Numbers(Numbers::new(2).summary());
        let columns = vec![
            compare("age", numbers(0.0), numbers(30.0), &options),
            compare("<b>", names("b"), names("<script>"), &options),
            compare("none", numbers(0.0), empty, &options),
        ];
        let drift = Drift { columns, share: 0.5 };
        let page = page("a & b", &drift);
        assert!(page.contains("<h1>a &amp; b</h1>") && page.contains("The data have drifted"));
        assert!(
            page.contains("&lt;script&gt;") && !page.contains("<script") && !page.contains("<b>")
        );
        assert!(page.contains("no values in the current data"));
        assert_eq!(page.matches("<rect class=\"r\"").count(), 1 + BARS + 3 + BARS);
        assert!(!page.contains("NaN") && !page.contains("http"));
    }
}
