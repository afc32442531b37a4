//! `nerve check`: what a recipe would do, without doing it.

use crate::args::Check;
use crate::commands::{Loaded, load, set_threads};
use crate::failure::Failure;
use crate::output;
use nerve_recipe::session::Checked;
use nerve_recipe::source::escape;
use nerve_recipe::summary::{bytes_text, shape_text, thousands};
use nerve_recipe::{Features, Summary, machine};
use serde_json::json;

pub fn run(args: &Check) -> Result<(), Failure> {
    set_threads(&args.common)?;
    let Loaded { recipe, .. } = load(&args.recipe, &args.overrides)?;
    let Checked { recipe, data, summary } = recipe.read()?;
    if args.resolved {
        return Ok(output::result(&recipe.resolved())?);
    }
    let [train, held, test] = data.examples();
    let epochs = recipe.trainer.usize("epochs");
    let epoch = seconds(&summary, train);
    if args.common.json {
        let mut value = summary.to_json();
        value["rows"] = json!({ "train": train, "validation": held, "test": test });
        value["epochs"] = json!(epochs);
        value["seconds_per_epoch"] = json!(epoch);
        return Ok(output::json(&value)?);
    }
    let mut text = summary.table();
    text.push_str(&format!(
        "\n\
         Data          {} training, {} validation, {} test examples\n\
         Inputs        {}\n\
         Outputs       {}\n\
         Parameters    {} ({})\n\
         MFLOPs        {:.2} forward, {:.2} training, for one example\n\
         Memory        about {} at batch {}, of it {} activations\n\
         Time          about {} an epoch, {} for {epochs} epochs\n",
        thousands(train as u128),
        thousands(held as u128),
        thousands(test as u128),
        inputs(&data.features),
        outputs(&data.features),
        thousands(summary.parameters()),
        bytes_text(summary.parameters() * 4),
        summary.flops() as f64 / 1e6,
        summary.training_flops() as f64 / 1e6,
        bytes_text(summary.training_bytes()),
        summary.batch,
        bytes_text(summary.activation_bytes()),
        time_text(epoch),
        time_text(epoch * epochs as f64),
    ));
    if summary.precision != "f32" {
        let line = format!("Precision     matrix products of {}, else f32\n", summary.precision);
        text.push_str(&line);
    }
    for note in data.notes() {
        text.push_str(&format!("Note          {note}\n"));
    }
    Ok(output::result(&text)?)
}

/// `image [1, 28, 28]`.
pub fn inputs(features: &Features) -> String {
    let feeds = features.feeds().into_iter();
    let shown: Vec<String> =
        feeds.map(|feed| format!("{} {}", escape(&feed.name), shape_text(&feed.shape))).collect();
    shown.join(", ")
}

/// `label (category [10])`.
pub fn outputs(features: &Features) -> String {
    let shown = features.outputs.iter().map(|it| {
        let shape = shape_text(&it.head().shape);
        format!("{} ({} {shape})", escape(&it.column.name), it.column.feature.name)
    });
    shown.collect::<Vec<String>>().join(", ")
}

/// The share of the speed of one large matrix product that a training step reaches; measured on
/// small convolutional networks, where much of the time goes into reading and writing memory.
const SHARE: f64 = 0.48;

/// An estimate of the seconds that one epoch takes on this machine: what is computed, and what is moved by the optimizer,
/// which goes through every parameter in each step, and by tables of vectors.
fn seconds(summary: &Summary, examples: usize) -> f64 {
    let work = summary.training_flops() as f64 * examples as f64;
    let computing = work / (machine::gemm_flops() * SHARE);
    let steps = examples.div_ceil(summary.batch.max(1)) as f64;
    let moved =
        steps * summary.update_bytes() as f64 + summary.gathered_bytes() as f64 * examples as f64;
    // As fast as the cache or the memory in which all of it fits.
    let whole = summary.update_bytes().clamp(1 << 16, 1 << 28) as usize;
    computing + moved / machine::peak_bandwidth(machine::threads(), whole)
}

/// `8.1 s`, `3 min 20 s`, `2 h 5 min`.
pub fn time_text(seconds: f64) -> String {
    let whole = seconds.round();
    if !seconds.is_finite() {
        "unknown".to_string()
    } else if seconds < 100.0 {
        format!("{seconds:.1} s")
    } else if seconds < 6000.0 {
        format!("{} min {} s", (whole / 60.0).floor(), whole % 60.0)
    } else {
        format!("{} h {} min", (whole / 3600.0).floor(), ((whole % 3600.0) / 60.0).floor())
    }
}

#[cfg(test)]
mod tests {
    use super::time_text;

    #[test]
    fn times_are_said_as_people_say_them() {
        assert_eq!(time_text(8.12), "8.1 s");
        assert_eq!(time_text(200.0), "3 min 20 s");
        assert_eq!(time_text(7500.0), "2 h 5 min");
        assert_eq!(time_text(f64::NAN), "unknown");
    }
}
