//! `nerve bench`: where the time of a step goes, and how near each instruction is to what the
//! machine can do.

mod measure;
mod roofline;

use crate::args::{Bench, Order};
use crate::commands::{Loaded, load, set_threads};
use crate::failure::Failure;
use crate::output;
use measure::{Line, Profile, Roofs};
use nerve_recipe::source::escape;
use nerve_recipe::summary::bytes_text;
use nerve_recipe::{Recipe, Session, machine};
use serde_json::{Value, json};
use std::time::Duration;

pub fn run(args: &Bench) -> Result<(), Failure> {
    let threads = set_threads(&args.common)?;
    let mut overrides = args.overrides.clone();
    overrides.extend(args.batch.map(|batch| format!("trainer.batch_size={batch}").into()));
    let Loaded { recipe, name } = load(&args.recipe, &overrides)?;
    let session = Session::new(&recipe)?;
    let (step, rows) =
        session.step(!args.infer).map_err(|error| Failure::Data(error.to_string()))?;
    let roofs = Roofs::measure(threads);
    let time = Duration::from_secs_f64(args.seconds);
    let layers = |variable: &str| layer(&recipe, variable);
    let profile = Profile::measure(&step, rows, &roofs, time, layers)
        .map_err(|error| Failure::Data(error.to_string()))?;
    let kind = if args.infer { "inference" } else { "training" };
    let title = format!(
        "nerve {} · {} · {kind}, batch {rows} · {threads} thread{}, {}",
        env!("CARGO_PKG_VERSION"),
        escape(&name),
        if threads == 1 { "" } else { "s" },
        machine::instructions(),
    );
    if let Some(path) = &args.svg {
        std::fs::write(path, roofline::picture(&profile, &roofs, &title)).map_err(|error| {
            Failure::Runtime(format!("cannot write {}: {error}", escape(&path.to_string_lossy())))
        })?;
    }
    let shown = shown(&profile.lines, args.top, args.sort);
    if args.common.json {
        let mut value = summary(&profile, &roofs);
        value["recipe"] = json!(name);
        value["mode"] = json!(kind);
        value["threads"] = json!(threads);
        value["instruction_set"] = json!(machine::instructions());
        value["instructions"] = shown.iter().map(|line| instruction(line, &profile)).collect();
        return Ok(output::json(&value)?);
    }
    let mut text = format!("{title}\n{}\n\n", roofs_text(&roofs));
    text.push_str(&table(&shown, &profile));
    text.push_str(&totals(&profile, &roofs));
    Ok(output::result(&text)?)
}

/// The layer that a variable belongs to: `2.weight` is a part of `2 Conv2d`.
fn layer(recipe: &Recipe, variable: &str) -> String {
    let Some((path, _)) = variable.rsplit_once('.') else { return variable.to_string() };
    let index = path.split('.').next().and_then(|first| first.parse::<usize>().ok());
    match index.and_then(|index| recipe.layers.get(index)) {
        Some(item) => format!("{path} {}", item.name),
        None => path.to_string(),
    }
}

/// The lines that are asked for, in the order that is asked for.
fn shown(lines: &[Line], top: Option<u32>, order: Order) -> Vec<&Line> {
    let mut shown: Vec<&Line> = lines.iter().collect();
    shown.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    shown.truncate(top.map_or(usize::MAX, |n| n as usize));
    if order == Order::Program {
        shown.sort_by_key(|line| line.number);
    }
    shown
}

fn roofs_text(roofs: &Roofs) -> String {
    let peak = match roofs.flops {
        Some(flops) => format!("{:.0} GFLOP/s", flops / 1e9),
        None => "not known for portable code".to_string(),
    };
    let memory: Vec<String> = roofs
        .bandwidths
        .iter()
        .map(|&(bytes, speed)| {
            format!("{:.0} ({})", speed / 1e9, bytes_text(bytes as u128).replace(".0 ", " "))
        })
        .collect();
    format!("roofs: {peak}; memory {} GB/s", memory.join(", "))
}

/// Characters of a cell that is cut.
const WIDE: usize = 40;

fn table(lines: &[&Line], profile: &Profile) -> String {
    let heads =
        ["#", "kernel", "layer", "what", "µs", "share", "GFLOP/s", "GB/s", "roof", "reached"];
    let mut rows = vec![heads.map(str::to_string)];
    for line in lines {
        rows.push([
            line.number.to_string(),
            line.kernel.to_string(),
            cut(&line.layer),
            cut(&line.detail),
            format!("{:.1}", line.seconds * 1e6),
            format!("{:.1} %", 100.0 * line.seconds / profile.sum),
            format!("{:.1}", line.flops as f64 / line.seconds / 1e9),
            format!("{:.1}", line.bytes as f64 / line.seconds / 1e9),
            line.roof.name().to_string(),
            format!("{:.0} %", 100.0 * line.reached()),
        ]);
    }
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: [usize; 10] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).enumerate().map(|(i, (cell, width))| match i {
            1..=3 | 8 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    let others = profile.lines.len() - lines.len();
    if others > 0 {
        let sum: f64 = lines.iter().map(|line| line.seconds).sum();
        let share = 100.0 * (1.0 - sum / profile.sum);
        text.push_str(&format!("and {others} others, which take {share:.1} %\n"));
    }
    text
}

fn cut(text: &str) -> String {
    match text.chars().count() > WIDE {
        true => text.chars().take(WIDE - 1).chain(['…']).collect(),
        false => text.to_string(),
    }
}

fn totals(profile: &Profile, roofs: &Roofs) -> String {
    let speed = profile.flops as f64 / profile.step;
    let share = roofs.flops.map(|peak| format!(", {:.0} % of the peak", 100.0 * speed / peak));
    let bound = profile.lines.iter().map(|line| line.roof.seconds).sum::<f64>();
    format!(
        "\n\
         Instructions  {} in {:.1} µs one by one; at their roofs {:.1} µs\n\
         Step          {:.1} µs, {:.0} examples a second\n\
         Speed         {:.1} GFLOP/s{}\n\
         Memory        {} of working memory\n",
        profile.lines.len(),
        profile.sum * 1e6,
        bound * 1e6,
        profile.step * 1e6,
        profile.rows as f64 / profile.step,
        speed / 1e9,
        share.unwrap_or_default(),
        bytes_text(profile.arena as u128),
    )
}

fn summary(profile: &Profile, roofs: &Roofs) -> Value {
    let speed = profile.flops as f64 / profile.step;
    let bandwidths: Vec<Value> = roofs
        .bandwidths
        .iter()
        .map(|(bytes, speed)| json!({ "bytes": bytes, "bytes_per_second": speed }))
        .collect();
    json!({
        "batch": profile.rows,
        "step_seconds": profile.step,
        "instruction_seconds": profile.sum,
        "examples_per_second": profile.rows as f64 / profile.step,
        "flops": profile.flops,
        "flops_per_second": speed,
        "share_of_peak": roofs.flops.map(|peak| speed / peak),
        "peak_flops_per_second": roofs.flops,
        "bandwidth": bandwidths,
        "working_bytes": profile.arena,
    })
}

fn instruction(line: &Line, profile: &Profile) -> Value {
    json!({
        "number": line.number,
        "kernel": line.kernel,
        "layer": line.layer,
        "what": line.detail,
        "seconds": line.seconds,
        "share": line.seconds / profile.sum,
        "flops": line.flops,
        "bytes": line.bytes,
        "roof": line.roof.name(),
        "reached": line.reached(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use measure::Roof;

    pub fn example() -> Profile {
        let line = |number, seconds, flops, bytes| Line {
            number,
            kernel: "gemm",
            layer: "1 Dense".to_string(),
            detail: "x".repeat(60),
            flops,
            bytes,
            seconds,
            roof: Roof { seconds: seconds / 2.0, compute: number == 0 },
        };
        let lines = vec![
            line(0, 1e-6, 1000, 10),
            line(1, 4e-6, 0, 400),
            line(2, 2e-6, 7, 0),
            line(3, 3e-6, 9000, 100),
        ];
        Profile { lines, sum: 1e-5, step: 8e-6, rows: 4, flops: 10_007, arena: 4096 }
    }

    #[test]
    fn the_longest_are_shown_in_either_order() {
        let profile = example();
        let numbers = |top, order| {
            let shown = shown(&profile.lines, top, order);
            shown.iter().map(|line| line.number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(None, Order::Program), [0, 1, 2, 3]);
        assert_eq!(numbers(None, Order::Time), [1, 3, 2, 0]);
        assert_eq!(numbers(Some(2), Order::Time), [1, 3]);
        assert_eq!(numbers(Some(3), Order::Program), [1, 2, 3]);
    }

    #[test]
    fn the_table_says_what_is_left_out() {
        let profile = example();
        let text = table(&shown(&profile.lines, Some(1), Order::Time), &profile);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("40.0 %") && lines[1].contains("memory"), "{text}");
        assert!(lines[1].contains("…") && lines[1].ends_with("50 %"), "{text}");
        assert_eq!(lines[2], "and 3 others, which take 60.0 %");
    }

    #[test]
    fn the_picture_has_a_dot_for_each_instruction_that_computes() {
        let roofs = Roofs {
            flops: Some(5e11),
            bandwidths: vec![(1 << 15, 1e12), (1 << 20, 4e11), (1 << 27, 5e10)],
        };
        let svg = roofline::picture(&example(), &roofs, "a <title>");
        // The second computes nothing, the third moves nothing.
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("a &lt;title&gt;") && svg.contains("500 GFLOP/s"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("=\"inf"), "{svg}");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }
}
