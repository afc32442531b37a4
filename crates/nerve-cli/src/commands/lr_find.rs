//! `nerve lr-find`: which learning rate to begin with.

use crate::args::LrFind;
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

/// Size of the plot on the terminal, in characters; each holds 2 × 4 dots.
const PLOT: [usize; 2] = [64, 12];

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
        write(file, &picture(&curve, &name))?;
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
        output::result(&text(&curve))?;
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

/// Loss over the logarithm of the rate: what happened, and the running mean.
fn points(curve: &LrCurve, losses: &[f64]) -> Vec<(f64, f64)> {
    // Where it has diverged, the rest would be flat.
    let best = curve.smooth.iter().copied().fold(f64::INFINITY, f64::min);
    let first = curve.smooth.first().copied().unwrap_or(best);
    let most = first.max(best) + 0.5 * (first - best).abs().max(1e-9);
    let all = curve.rates.iter().map(|rate| rate.log10()).zip(losses.iter().copied());
    all.filter(|(_, loss)| *loss <= most).collect()
}

fn picture(curve: &LrCurve, name: &str) -> String {
    let (raw, smooth) = (points(curve, &curve.losses), points(curve, &curve.smooth));
    let both = || raw.iter().chain(&smooth).copied();
    let x = Axis::of("learning rate, powers of ten", both().map(|point| point.0));
    let y = Axis::of("loss", both().map(|point| point.1));
    let mut chart = Chart::new(format!("Learning-rate range test: {name}"), x, y)
        .dots(1, &raw)
        .line(0, "running mean", &smooth);
    if let Some(rate) = curve.valley() {
        let ends = both()
            .map(|point| point.1)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), y| (a.min(y), b.max(y)));
        chart = chart.even((rate.log10(), ends.0), (rate.log10(), ends.1));
    }
    standalone(&chart.svg())
}

fn text(curve: &LrCurve) -> String {
    let mut text = plot(&points(curve, &curve.smooth));
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

/// A line of dots, two across and four down in each character.
fn plot(points: &[(f64, f64)]) -> String {
    let finite: Vec<(f64, f64)> = points.iter().copied().filter(|p| p.1.is_finite()).collect();
    let ends = |of: fn(&(f64, f64)) -> f64| {
        let values = || finite.iter().map(of);
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
    };
    let ((left, right), (low, high)) = (ends(|p| p.0), ends(|p| p.1));
    let [wide, tall] = PLOT;
    let share = |x: f64, from: f64, to: f64| if to > from { (x - from) / (to - from) } else { 0.5 };
    let mut cells = vec![0u8; wide * tall];
    for (x, y) in &finite {
        let column = (share(*x, left, right) * (2 * wide - 1) as f64).round() as usize;
        let row = ((1.0 - share(*y, low, high)) * (4 * tall - 1) as f64).round() as usize;
        // The bits of a Braille character: the left column, the right one, and the last row.
        let bit = [[0, 3], [1, 4], [2, 5], [6, 7]][row % 4][column % 2];
        cells[row / 4 * wide + column / 2] |= 1 << bit;
    }
    let braille = |bits: &u8| char::from_u32(0x2800 + u32::from(*bits)).unwrap_or(' ');
    let mut text = String::new();
    for (i, line) in cells.chunks(wide).enumerate() {
        let label = match i {
            0 => format!("{high:.4}"),
            i if i + 1 == tall => format!("{low:.4}"),
            _ => String::new(),
        };
        let line: String = line.iter().map(braille).collect();
        text.push_str(&format!("{label:>10} ┤{line}\n"));
    }
    let (left, right) = (format!("{:.0e}", 10f64.powf(left)), format!("{:.0e}", 10f64.powf(right)));
    let gap = wide.saturating_sub(left.len() + right.len());
    text.push_str(&format!("{:>12}{left}{}{right}\n", "", " ".repeat(gap)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_goes_from_corner_to_corner() {
        let falling: Vec<(f64, f64)> = (0..50).map(|i| (f64::from(i), -f64::from(i))).collect();
        let text = plot(&falling);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), PLOT[1] + 1);
        assert!(lines[0].starts_with("    0.0000 ┤⠑"), "{text}");
        assert!(lines[PLOT[1] - 1].starts_with("  -49.0000 ┤"), "{text}");
        assert!(lines[PLOT[1] - 1].ends_with('⢄') || lines[PLOT[1] - 1].ends_with('⠢'), "{text}");
        // Nothing to draw is drawn all the same.
        assert_eq!(plot(&[]).lines().count(), PLOT[1] + 1);
    }
}
