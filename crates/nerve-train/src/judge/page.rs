//! The verdict as one HTML page: no script, no address, nothing beside itself.
//!
//! All that comes from data (names of columns and classes, cells) is escaped. A policy in the page forbids
//! scripts and requests, should one ever get in.

use super::files::main_scores;
use super::{OutputVerdict, Passed, Pixels, Score, Slice, Verdict, Worst, number_text};
use crate::judge::curves::thinned;
use crate::judge::family::Better;
use crate::metrics::Confusion;
use crate::picture::{Axis, Chart, STYLE, data_uri, encode, escape, heat_map};
use std::fmt::Write;

const LAYOUT: &str = "\
*{box-sizing:border-box}body{margin:0 auto;max-width:1120px;padding:24px 20px 60px;background:var(--paper);\
color:var(--ink);font:15px/1.5 system-ui,sans-serif}h1{font-size:24px;margin:0 0 4px}\
h2{font-size:19px;margin:40px 0 10px;padding-top:18px;border-top:1px solid var(--line)}\
h3{font-size:15px;margin:26px 0 8px}p{margin:6px 0}.soft{color:var(--soft)}\
table{border-collapse:collapse;font-size:13.5px;font-variant-numeric:tabular-nums}\
th{font-weight:600;text-align:right;color:var(--soft)}td{text-align:right}\
th[colspan]{text-align:left;padding-left:14px}td:nth-child(n+3){padding-left:10px}th,td{padding:3px 12px 3px 0;border-bottom:1px solid var(--line);vertical-align:top}\
th:first-child,td:first-child{text-align:left}.wide{overflow-x:auto}\
.figures{display:flex;flex-wrap:wrap;gap:14px;align-items:flex-start}\
figure{margin:0;padding:10px;background:var(--panel);border-radius:8px;max-width:100%;overflow-x:auto}\
.chips{display:flex;flex-wrap:wrap;gap:10px;margin:12px 0}.chip{background:var(--panel);border-radius:8px;\
padding:8px 14px}.chip b{display:block;font-size:21px;font-variant-numeric:tabular-nums}\
.chip small{color:var(--soft)}.bad{color:var(--bad);font-weight:600}\
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:12px}\
.card{background:var(--panel);border-radius:8px;padding:10px;font-size:13px;overflow-wrap:anywhere;\
break-inside:avoid}.card img{image-rendering:pixelated;width:112px;border-radius:4px;background:#888}\
.card dl{margin:6px 0 0;display:grid;grid-template-columns:auto 1fr;gap:0 8px}.card dt{color:var(--soft)}\
.card dd{margin:0}@media print{body{max-width:none;padding:0;font-size:11px}h2{break-after:avoid}\
figure,tr{break-inside:avoid}}";

/// The page. `facts` stand below the title, as `model` and its file.
pub fn page(
    title: &str,
    facts: &[(String, String)],
    verdict: &Verdict,
    gates: &[Passed],
) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; img-src data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{0}</title>\n<style>{STYLE}{LAYOUT}</style>\n</head>\n<body>\n<h1>{0}</h1>\n",
        escape(title)
    );
    let _ = writeln!(page, "<p class=\"soft\">{}</p>", facts_text(facts, verdict));
    for gate in gates {
        let (class, word) = if gate.passed { ("", "passed") } else { ("bad", "missed") };
        let (text, found) = (escape(&gate.gate), number_text(gate.found));
        let _ = writeln!(page, "<p class=\"{class}\">Gate {text}: {word}, found {found}</p>");
    }
    for output in &verdict.outputs {
        output_section(&mut page, output, verdict);
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn facts_text(facts: &[(String, String)], verdict: &Verdict) -> String {
    let own = [
        ("part".to_string(), verdict.part.clone()),
        ("rows".to_string(), verdict.examples.to_string()),
    ];
    let all = facts.iter().chain(&own);
    let texts: Vec<String> =
        all.map(|(name, value)| format!("{} {}", escape(name), escape(value))).collect();
    texts.join(" · ")
}

fn output_section(page: &mut String, output: &OutputVerdict, verdict: &Verdict) {
    let (name, kind) = (escape(&output.name), output.kind);
    let _ = writeln!(page, "<h2>{name} <span class=\"soft\">{kind}</span></h2>");
    chips(page, output);
    if let Some(threshold) = &output.threshold {
        let positive = output.names.as_ref().map_or("yes", |names| names[1].as_str());
        let reached = threshold.reached.map_or_else(String::new, |reached| {
            format!(", which reached {} on the validation part", number_text(reached))
        });
        let _ = writeln!(
            page,
            "<p>The answer is <b>{}</b> where its probability is above {} (threshold {}{reached}).</p>",
            escape(positive),
            number_text(threshold.value),
            escape(&threshold.rule),
        );
    }
    figures(page, output);
    scores_table(page, output, verdict);
    classes_table(page, output);
    output.slices.iter().for_each(|slice| slice_table(page, slice));
    worst_cards(page, &output.worst);
}

/// The scores that people ask for first.
fn chips(page: &mut String, output: &OutputVerdict) {
    page.push_str("<div class=\"chips\">\n");
    for i in main_scores(&output.scores) {
        let score = &output.scores[i];
        let against = output.baselines.iter().filter(|(_, values)| values[i].is_finite());
        // The baseline that is hardest to beat.
        let best = against.reduce(|a, b| match score.better {
            Better::Higher if b.1[i] > a.1[i] => b,
            Better::Lower if b.1[i] < a.1[i] => b,
            _ => a,
        });
        let best = best.map_or_else(String::new, |(name, values)| {
            format!("; {} {}", escape(name), number_text(values[i]))
        });
        let (name, value) = (escape(&score.name), number_text(score.value));
        let interval = interval_text(score);
        let _ = writeln!(
            page,
            "<div class=\"chip\">{name}<b>{value}</b><small>{interval}{best}</small></div>"
        );
    }
    page.push_str("</div>\n");
}

fn interval_text(score: &Score) -> String {
    let text = |(low, high)| format!("{} … {}", number_text(low), number_text(high));
    score.interval.map_or_else(String::new, text)
}

fn figures(page: &mut String, output: &OutputVerdict) {
    let mut figures = Vec::new();
    if let (Some(names), Some(confusion)) = (&output.names, &output.confusion) {
        figures.push(heat_map("Confusion", ["actual", "predicted"], names, &counts(confusion)));
    }
    figures.extend(reliability(output));
    figures.extend(curves(output));
    figures.extend(residuals(output));
    figures.extend(steps(output));
    page.push_str("<div class=\"figures\">\n");
    for svg in figures {
        let _ = writeln!(page, "<figure>{svg}</figure>");
    }
    page.push_str("</div>\n");
}

fn counts(confusion: &Confusion) -> Vec<f64> {
    let all = || 0..confusion.classes();
    all().flat_map(|a| all().map(move |p| confusion.count(a, p))).collect()
}

fn unit(label: &str) -> Axis {
    Axis::of(label, [0.0, 1.0])
}

fn reliability(output: &OutputVerdict) -> Option<String> {
    let bins = &output.reliability;
    let all: u64 = bins.iter().map(|bin| bin.count).sum();
    let points: Vec<_> = bins.iter().map(|bin| (bin.predicted, bin.observed)).collect();
    let share = |count: u64| count as f64 / all.max(1) as f64;
    let bars: Vec<_> = bins.iter().map(|bin| (bin.low, bin.high, share(bin.count))).collect();
    let x = match &output.names {
        Some(names) if names.len() == 2 => format!("probability of {}", names[1]),
        _ => "probability of the answer".to_string(),
    };
    let chart = Chart::new("Reliability", unit(&x), unit("how often it came true"))
        .even((0.0, 0.0), (1.0, 1.0))
        .bars(2, &bars)
        .line(0, "", &points);
    (!bins.is_empty()).then(|| chart.svg())
}

/// Points of curves beyond this many are not seen.
const MOST_POINTS: usize = 300;

fn curves(output: &OutputVerdict) -> Vec<String> {
    if output.curve.is_empty() {
        return Vec::new();
    }
    let points = thinned(&output.curve, MOST_POINTS);
    let roc: Vec<_> = points.iter().map(|p| (p.false_positive_rate, p.recall)).collect();
    let pr: Vec<_> = points.iter().map(|p| (p.recall, p.precision)).collect();
    let named = |score: &str| {
        output.score(score).map_or_else(String::new, |score| format!("area {:.3}", score.value))
    };
    // Without looking, precision is the share of yes, whatever the recall.
    let share = output.curve.last().map_or(0.0, |last| last.precision);
    let roc = Chart::new("ROC", unit("false positive rate"), unit("recall"))
        .even((0.0, 0.0), (1.0, 1.0))
        .line(0, named("roc_auc"), &roc);
    let pr = Chart::new("Precision and recall", unit("recall"), unit("precision"))
        .even((0.0, share), (1.0, share))
        .line(1, named("pr_auc"), &pr);
    vec![roc.svg(), pr.svg()]
}

fn residuals(output: &OutputVerdict) -> Vec<String> {
    let pairs = &output.pairs;
    if pairs.is_empty() {
        return Vec::new();
    }
    let swapped: Vec<_> = pairs.iter().map(|&(truth, answer)| (answer, truth)).collect();
    let rest: Vec<_> = pairs.iter().map(|&(truth, answer)| (answer, truth - answer)).collect();
    let both = || pairs.iter().flat_map(|&(truth, answer)| [truth, answer]);
    let ends = both().filter(|v| v.is_finite());
    let (low, high) = ends.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    let answers = || Axis::of("predicted", pairs.iter().map(|pair| pair.1));
    let truth =
        Chart::new("True over predicted", Axis::of("predicted", both()), Axis::of("true", both()))
            .even((low, low), (high, high))
            .dots(0, &swapped);
    // Room above and below, and the same of both: what lies above zero was predicted too low.
    let most = rest.iter().map(|point| point.1.abs()).filter(|v| v.is_finite()).fold(0.0, f64::max);
    let errors = Chart::new("Residuals", answers(), Axis::of("true − predicted", [-most, most]))
        .even((low, 0.0), (high, 0.0))
        .dots(1, &rest);
    vec![truth.svg(), errors.svg()]
}

fn steps(output: &OutputVerdict) -> Option<String> {
    let steps = &output.steps;
    let of = |value: fn(&super::StepError) -> f64| -> Vec<(f64, f64)> {
        steps.iter().map(|step| (step.step as f64, value(step))).collect()
    };
    let (mae, rmse) = (of(|step| step.mae), of(|step| step.rmse));
    let highest = rmse.iter().map(|point| point.1);
    let x = Axis::of("steps ahead", steps.iter().map(|step| step.step as f64));
    let chart = Chart::new("Error by step", x, Axis::of("error", highest.chain([0.0])))
        .line(0, "mae", &mae)
        .line(1, "rmse", &rmse);
    (!steps.is_empty()).then(|| chart.svg())
}

fn scores_table(page: &mut String, output: &OutputVerdict, verdict: &Verdict) {
    let (level, resamples) = (100.0 * verdict.bootstrap.level, verdict.bootstrap.resamples);
    page.push_str("<h3>Scores</h3>\n<div class=\"wide\"><table>\n<tr><th></th><th>value</th>");
    let _ = write!(page, "<th>{level:.0} % interval</th>");
    for (name, _) in &output.baselines {
        let _ = write!(page, "<th>baseline: {}</th>", escape(name));
    }
    page.push_str("</tr>\n");
    for (i, score) in output.scores.iter().enumerate() {
        let (name, value) = (escape(&score.name), number_text(score.value));
        let better = match score.better {
            Better::Higher => "↑",
            Better::Lower => "↓",
        };
        let interval = interval_text(score);
        let _ = write!(
            page,
            "<tr><td>{name} <span class=\"soft\">{better}</span></td><td>{value}</td><td>{interval}</td>"
        );
        for (_, values) in &output.baselines {
            let _ = write!(page, "<td>{}</td>", number_text(values[i]));
        }
        page.push_str("</tr>\n");
    }
    let by = verdict
        .group
        .as_ref()
        .map_or_else(String::new, |column| format!(", whole groups of {}", escape(column)));
    let _ = writeln!(
        page,
        "</table></div>\n<p class=\"soft\">Intervals: percentiles of {resamples} bootstrap \
         resamples{by}. ↑ higher is better, ↓ lower.</p>"
    );
}

/// Tables of classes show no more than this; the files have all.
const MOST_CLASSES: usize = 100;

fn classes_table(page: &mut String, output: &OutputVerdict) {
    let Some(names) = &output.names else { return };
    page.push_str(
        "<h3>Classes</h3>\n<div class=\"wide\"><table>\n<tr><th></th><th>precision</th><th>recall</th>\
         <th>F1</th><th>IoU</th><th>support</th></tr>\n",
    );
    for (name, class) in names.iter().zip(&output.classes).take(MOST_CLASSES) {
        let scores = [class.precision, class.recall, class.f1, class.iou].map(number_text);
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(name),
            scores.join("</td><td>"),
            class.support
        );
    }
    page.push_str("</table></div>\n");
    if names.len() > MOST_CLASSES {
        let _ =
            writeln!(page, "<p class=\"soft\">The first {MOST_CLASSES} of {}.</p>", names.len());
    }
}

fn slice_table(page: &mut String, slice: &Slice) {
    let Some(first) = slice.groups.first() else { return };
    let shown = main_scores(&first.scores);
    let _ = write!(
        page,
        "<h3>By {0}</h3>\n<div class=\"wide\"><table>\n<tr><th>{0}</th><th>rows</th>",
        escape(&slice.column)
    );
    for &i in &shown {
        let _ = write!(page, "<th colspan=\"2\">{}</th>", escape(&first.scores[i].name));
    }
    page.push_str("</tr>\n");
    for group in &slice.groups {
        let _ = write!(page, "<tr><td>{}</td><td>{}</td>", escape(&group.name), group.examples);
        for &i in &shown {
            let score = &group.scores[i];
            let (value, interval) = (number_text(score.value), interval_text(score));
            let _ = write!(page, "<td>{value}</td><td class=\"soft\">{interval}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
}

/// Cells are cut here: what is longer stands in `worst.jsonl`.
const MOST_LETTERS: usize = 160;

fn worst_cards(page: &mut String, worst: &[Worst]) {
    if worst.is_empty() {
        return;
    }
    page.push_str("<h3>Worst answers</h3>\n<div class=\"cards\">\n");
    for row in worst {
        page.push_str("<div class=\"card\">");
        row.pictures.iter().for_each(|pixels| page.push_str(&image(pixels)));
        let sure = row.probabilities.map_or_else(String::new, |(said, right)| {
            format!(
                " <span class=\"soft\">{:.1} %, true {:.1} %</span>",
                100.0 * said,
                100.0 * right
            )
        });
        let _ = write!(
            page,
            "<div><b>{}</b> → <b class=\"bad\">{}</b>{sure}</div>\
             <div class=\"soft\">{} · loss {}</div><dl>",
            escape(&cut(&row.truth)),
            escape(&cut(&row.answer)),
            escape(&row.place),
            number_text(row.loss)
        );
        for (column, cell) in &row.cells {
            let _ =
                write!(page, "<dt>{}</dt><dd>{}</dd>", escape(&cut(column)), escape(&cut(cell)));
        }
        page.push_str("</dl></div>\n");
    }
    page.push_str("</div>\n");
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST_LETTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// Pictures are made no larger than this on their longer side: nearest pixels.
const MOST_PIXELS: usize = 128;

fn image(pixels: &Pixels) -> String {
    let (h, w) = (pixels.height, pixels.width);
    let by = h.max(w).div_ceil(MOST_PIXELS);
    let (rows, columns) = (h.div_ceil(by), w.div_ceil(by));
    let mut small = Vec::with_capacity(pixels.channels * rows * columns);
    for c in 0..pixels.channels {
        for y in (0..h).step_by(by) {
            small.extend((0..w).step_by(by).map(|x| pixels.bytes[(c * h + y) * w + x]));
        }
    }
    let uri = data_uri(&encode(pixels.channels, rows, columns, &small));
    format!("<img alt=\"the picture of this row\" src=\"{uri}\">")
}
