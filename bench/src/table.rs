//! Result lines as a table of ratios: `nerve-bench table FILE... [--svg FILE]`.
//!
//! Of the repeats of one measurement the median counts. A ratio above 1 means that nerve is better:
//! faster, or smaller. The modes with `bf16` in their name make rows of their own.

use crate::picture;
use std::error::Error;
use std::fmt::Write;

/// The repeats of one mode of one framework.
#[derive(Debug, PartialEq)]
struct Values {
    framework: String,
    mode: String,
    values: Vec<f64>,
}

/// One measurement, by all who made it, in order of appearance.
#[derive(Debug)]
struct Measured {
    workload: String,
    metric: String,
    all: Vec<Values>,
}

/// One line of the table.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// `C`, or `F bf16`.
    pub workload: String,
    /// `train samples/s`.
    pub metric: String,
    nerve: Value,
    /// PyTorch as it comes, and the best of all peers: each with the ratio to it.
    eager: Option<Ratio>,
    /// The best of all peers.
    pub best: Option<Ratio>,
}

/// A median, and how far the repeats were from each other.
#[derive(Debug, PartialEq)]
struct Value {
    median: f64,
    spread: f64,
}

/// How nerve compares with a peer.
#[derive(Debug, PartialEq)]
pub struct Ratio {
    value: Value,
    /// Framework and mode.
    pub who: String,
    /// Above 1 where nerve is better.
    pub ratio: f64,
}

/// Prints the table of the files, and draws the picture where one is asked for.
///
/// # Errors
/// A file that cannot be read or written, or one without results.
pub fn run(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let (mut text, mut svg, mut title) = (String::new(), None, "");
    let mut arguments = arguments.iter();
    while let Some(&argument) = arguments.next() {
        let mut next = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument {
            "--svg" => svg = Some(next()?),
            "--title" => title = next()?,
            _ => {
                let file = std::fs::read_to_string(argument);
                text.push_str(&file.map_err(|error| format!("{argument}: {error}"))?);
            }
        }
    }
    let rows = rows(&read(&text));
    if rows.is_empty() {
        return Err("no lines of nerve in the results".into());
    }
    print!("{}", markdown(&rows));
    if let Some(path) = svg {
        std::fs::write(path, picture::bars(&rows, title))?;
    }
    Ok(())
}

fn read(text: &str) -> Vec<Measured> {
    let mut all: Vec<Measured> = Vec::new();
    for line in text.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let ["RESULT", framework, mode, workload, metric, value, _] = columns[..] else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let short = mode.split([' ', '+']).any(|part| part == "bf16");
        let workload = if short { format!("{workload} bf16") } else { workload.to_string() };
        let known = all.iter().position(|m| m.workload == workload && m.metric == metric);
        let at = known.unwrap_or_else(|| {
            let metric = metric.to_string();
            all.push(Measured { workload, metric, all: Vec::new() });
            all.len() - 1
        });
        let same = |v: &&mut Values| v.framework == framework && v.mode == mode;
        match all[at].all.iter_mut().find(same) {
            Some(known) => known.values.push(value),
            None => all[at].all.push(Values {
                framework: framework.to_string(),
                mode: mode.to_string(),
                values: vec![value],
            }),
        }
    }
    // By letter, whatever was run first; the order of the metrics stays.
    all.sort_by(|a, b| a.workload.cmp(&b.workload));
    all
}

fn rows(all: &[Measured]) -> Vec<Row> {
    all.iter().filter_map(Row::of).collect()
}

impl Row {
    /// `None` where nerve did not run.
    fn of(measured: &Measured) -> Option<Row> {
        let of_nerve = |v: &&Values| v.framework.starts_with("nerve");
        let own = measured.all.iter().find(of_nerve)?;
        let nerve = Value::of(&own.values);
        let rising = measured.metric.ends_with("/s") || measured.metric.ends_with("peak");
        let compared = |peer: &Values| {
            let value = Value::of(&peer.values);
            let ratio = nerve.median / value.median;
            let framework = peer.framework.split(' ').next().unwrap_or_default();
            let mode = peer.mode.split(' ').filter(|word| !is_threads(word));
            let who = [framework].into_iter().chain(mode).collect::<Vec<_>>().join(" ");
            Ratio { value, who, ratio: if rising { ratio } else { ratio.recip() } }
        };
        let peers = || measured.all.iter().filter(|v| !of_nerve(v)).map(compared);
        Some(Row {
            workload: measured.workload.clone(),
            metric: measured.metric.clone(),
            eager: peers().find(|peer| peer.who == "torch eager"),
            best: peers().min_by(|a, b| a.ratio.total_cmp(&b.ratio)),
            nerve,
        })
    }
}

/// `2T`.
fn is_threads(word: &str) -> bool {
    word.strip_suffix('T').is_some_and(|number| number.parse::<u32>().is_ok())
}

impl Value {
    /// Of at least one value.
    fn of(values: &[f64]) -> Value {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0;
        Value { median, spread: (sorted[n - 1] - sorted[0]) / median }
    }

    /// With `±` where the repeats differ enough to make a ratio doubtful.
    fn text(&self) -> String {
        let number = match self.median {
            x if x >= 10_000.0 => thousands(x),
            x if x >= 1000.0 => format!("{x:.0}"),
            x if x >= 1.0 => format!("{x:.1}"),
            x => format!("{x:.4}"),
        };
        match self.spread > 0.2 {
            true => format!("{number} ±{:.0} %", 50.0 * self.spread),
            false => number,
        }
    }
}

fn thousands(x: f64) -> String {
    let digits = format!("{x:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "|  | metric | nerve | fastest peer |  | ratio | PyTorch eager | ratio |\n\
         |---|---|--:|--:|---|--:|--:|--:|\n",
    );
    for row in rows {
        let ratio = |ratio: &Option<Ratio>| {
            let of = ratio.as_ref().map(|r| [r.value.text(), format!("{:.2}", r.ratio)]);
            of.unwrap_or_default()
        };
        let [best, best_ratio] = ratio(&row.best);
        let [eager, eager_ratio] = ratio(&row.eager);
        let who = row.best.as_ref().map_or("", |best| &best.who);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {best} | {who} | {best_ratio} | {eager} | {eager_ratio} |",
            row.workload,
            row.metric,
            row.nerve.text(),
        );
    }
    text
}

#[cfg(test)]
pub mod tests {
    use super::*;

    const LINES: &str = "\
        RESULT\tnerve 0.1.0\tavx512 2T\tC\ttrain samples/s\t8000\t0.1\n\
        RESULT\ttorch 2\teager 2T\tC\ttrain samples/s\t2000\t0.1\n\
        noise\n\
        RESULT\ttorch 2\teager 2T\tC\ttrain samples/s\t4000\t0.1\n\
        RESULT\ttf 2\tfn 2T malloc\tC\ttrain samples/s\t5000\t0.1\n\
        RESULT\tnerve 0.1.0\tavx512 2T\tB\tinfer b1 us\t4\t0.1\n\
        RESULT\tort 1\trun 2T\tB\tinfer b1 us\t2\t0.1\n\
        RESULT\ttorch 2\teager 2T\tB\tinfer b1 us\t20\t0.1\n\
        RESULT\tnerve 0.1.0\tavx512+bf16 2T\tF\ttrain samples/s\t300\t0\n\
        RESULT\tnerve 0.1.0\tavx512 2T\tF\ttrain samples/s\t150\t0\n\
        RESULT\ttorch 2\teager+bf16 2T\tF\ttrain samples/s\t100\t0\n\
        RESULT\ttorch 2\teager 2T\tG\ttrain samples/s\t100\t0\n";

    pub fn example() -> Vec<Row> {
        rows(&read(LINES))
    }

    #[test]
    fn the_fastest_peer_of_each_row_is_what_counts() {
        let rows = example();
        let names: Vec<_> = rows.iter().map(|row| row.workload.as_str()).collect();
        // G has no line of nerve: nothing to compare.
        assert_eq!(names, ["B", "C", "F", "F bf16"]);
        let best = |row: &Row| row.best.as_ref().map(|b| (b.who.clone(), b.ratio));
        assert_eq!(best(&rows[0]), Some(("ort run".into(), 0.5)));
        assert_eq!(best(&rows[1]), Some(("tf fn malloc".into(), 1.6)));
        assert_eq!(best(&rows[2]), None);
        assert_eq!(best(&rows[3]), Some(("torch eager+bf16".into(), 3.0)));
        // Two repeats: the mean of both is their median, and they are far apart.
        let eager = rows[1].eager.as_ref().unwrap();
        assert_eq!((eager.value.text().as_str(), eager.ratio), ("3000 ±33 %", 8.0 / 3.0));
    }

    #[test]
    fn the_table_says_both_ratios() {
        let text = markdown(&example());
        let line =
            "| C | train samples/s | 8000 | 5000 | tf fn malloc | 1.60 | 3000 ±33 % | 2.67 |";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("| F | train samples/s | 150.0 |  |  |  |  |  |"), "{text}");
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        assert!(run(&["no-such-file"]).is_err());
        assert!(run(&[]).is_err());
        assert!(run(&["--svg"]).is_err());
    }
}
