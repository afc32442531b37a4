//! `nerve lr-find`: which learning rate to begin with.

use crate::args::LrFind;
use crate::commands::plot::{colour, terminal_width};
use crate::commands::{Loaded, load, set_threads, train};
use crate::failure::Failure;
use crate::output;
use nerve::formats::write_atomic;
use nerve::train::picture::{Axis, Chart, standalone};
use nerve::train::{LrCurve, LrRange};
use nerve_recipe::Session;
use nerve_recipe::source::escape;
use serde_json::json;
use std::path::Path;

/// Lines of the plot on the terminal.
const LINES: usize = 16;

pub fn run(args: &LrFind) -> Result<(), Failure> {
    if args.min >= args.max {
        let (min, max) = (args.min, args.max);
        return Err(Failure::Usage(format!("--min {min} is not below --max {max}")));
    }
    set_threads(&args.common)?;
    let Loaded { recipe, name } = load(&args.recipe, &args.overrides)?;
    if let Some(copy) = args.apply.as_ref().filter(|copy| copy.exists()) {
        let copy = escape(&copy.to_string_lossy());
        return Err(Failure::Usage(format!("--apply: `{copy}` is there already")));
    }
    let session = Session::new(&recipe)?;
    let range = LrRange { min: args.min, max: args.max, steps: args.steps as usize };
    let curve = session.find_learning_rate(range).map_err(|error| train::train_failure(&error))?;
    if let Some(file) = &args.output {
        write(file, &standalone(&chart(&curve, &name).svg()))?;
    }
    let suggested = curve.valley().map(rounded);
    if args.common.json {
        output::json(&json!({
            "recipe": name,
            "valley": curve.valley(),
            "steep": curve.steep(),
            "minimum": curve.minimum(),
            "suggested": suggested,
            "diverged": curve.diverged,
            "rates": curve.rates,
            "losses": curve.losses,
            "smooth": curve.smooth,
        }))?;
    } else {
        let plot = chart(&curve, &name).terminal(terminal_width() as usize, LINES, colour());
        output::result(&format!("{plot}\n{}", text(&curve)))?;
    }
    let Some(rate) = suggested else {
        return Err(Failure::Gate(
            "no valley: the loss does not fall at any of these rates. Try another range, more steps, or \
             look for what keeps the network from learning: nerve train --overfit 32"
                .to_string(),
        ));
    };
    match &args.apply {
        Some(copy) => apply(args, rate, copy),
        None if args.common.json => Ok(()),
        None => Ok(output::result(&format!("\nto use it: trainer.optimizer.lr={rate}"))?),
    }
}

/// Two digits: more would be noise.
fn rounded(rate: f64) -> f64 {
    format!("{rate:.1e}").parse().unwrap_or(rate)
}

/// Writes the recipe with this rate.
fn apply(args: &LrFind, rate: f64, copy: &Path) -> Result<(), Failure> {
    let mut overrides = args.overrides.clone();
    overrides.push(format!("trainer.optimizer.lr={rate}").into());
    let Loaded { recipe, .. } = load(&args.recipe, &overrides)?;
    write(copy, &recipe.resolved())?;
    let copy = escape(&copy.to_string_lossy());
    output::complain(&format!("wrote {copy} with trainer.optimizer.lr = {rate}"));
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    write_atomic(file, |to| to.write_all(text.as_bytes()))
        .map_err(|error| Failure::Runtime(error.to_string()))
}

/// Loss over the rate: what happened, and the running mean.
fn points(curve: &LrCurve, losses: &[f64]) -> Vec<(f64, f64)> {
    // Where it has diverged, the rest would be flat.
    let best = curve.smooth.iter().copied().fold(f64::INFINITY, f64::min);
    let first = curve.smooth.first().copied().unwrap_or(best);
    let most = first.max(best) + 0.5 * (first - best).abs().max(1e-9);
    let all = curve.rates.iter().copied().zip(losses.iter().copied());
    all.filter(|(_, loss)| *loss <= most).collect()
}

fn chart(curve: &LrCurve, name: &str) -> Chart {
    let (raw, smooth) = (points(curve, &curve.losses), points(curve, &curve.smooth));
    let both = || raw.iter().chain(&smooth).copied();
    let x = Axis::log("learning rate", both().map(|point| point.0));
    let y = Axis::of("loss", both().map(|point| point.1));
    let mut chart = Chart::new(format!("Learning-rate range test: {name}"), x, y)
        .dots(1, &raw)
        .line(0, "running mean", &smooth);
    if let Some(rate) = curve.valley() {
        let ends = both()
            .map(|point| point.1)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), y| (a.min(y), b.max(y)));
        chart = chart.even((rate, ends.0), (rate, ends.1));
    }
    chart
}

fn text(curve: &LrCurve) -> String {
    let mut text = String::new();
    let ends = match curve.diverged {
        true => "then the loss was four times its best",
        false => "to the end",
    };
    let (first, last) = (curve.rates.first(), curve.rates.last());
    text.push_str(&format!(
        "{} steps with rates from {:.1e} to {:.1e}, {ends}\n\n",
        curve.rates.len(),
        first.unwrap_or(&f64::NAN),
        last.unwrap_or(&f64::NAN)
    ));
    let rows = [
        ("valley", curve.valley(), "in the middle of the longest way down: begin with it"),
        ("steep", curve.steep(), "where the loss falls fastest"),
        ("minimum", curve.minimum(), "a tenth of where the loss is least"),
    ];
    for (name, rate, what) in rows {
        let rate = rate.map_or("none".to_string(), |rate| format!("{rate:.1e}"));
        text.push_str(&format!("{name:<9} {rate:>8}  {what}\n"));
    }
    text
}
