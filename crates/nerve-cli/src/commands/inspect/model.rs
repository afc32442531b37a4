//! A model that nerve trained: its card.

use super::{Found, short, tensors};
use crate::commands::check::{inputs, outputs};
use crate::commands::list::columns;
use crate::failure::Failure;
use nerve::formats::safetensors::Contents;
use nerve_recipe::Card;
use nerve_recipe::summary::{bytes_text, thousands};
use serde_json::{Value, json};
use std::path::Path;

pub fn look(path: &Path, contents: &Contents) -> Result<Found, Failure> {
    let name = path.to_string_lossy();
    let card = Card::read(&name, |key| contents.metadata_value(key))
        .map_err(|error| Failure::Data(error.to_string()))?;
    let summary = card.recipe.summary(&card.features, [0; 3], None)?;
    let version = contents.metadata_value("nerve_version").unwrap_or("unknown");
    let mut text = format!(
        "trained by nerve {}, {} parameters, {}\n\n",
        short(version),
        thousands(summary.parameters()),
        bytes_text(contents.data_bytes.into())
    );
    text.push_str(&columns(&[
        ["inputs".to_string(), inputs(&card.features)],
        ["outputs".to_string(), outputs(&card.features)],
        ["trained".to_string(), trained(&card.trained)],
    ]));
    text.push_str(&format!("\n{}\n{}", summary.table(), tensors::table(&contents.tensors)));
    let mut value = tensors::json(contents);
    value["inputs"] = json!(inputs(&card.features));
    value["outputs"] = json!(outputs(&card.features));
    value["trained"] = card.trained.clone();
    value["model"] = summary.to_json();
    Ok(Found { kind: "model", text, json: value })
}

/// `epochs 5, loss 0.0312, val_accuracy 0.9912`.
fn trained(scores: &Value) -> String {
    let Some(scores) = scores.as_object().filter(|scores| !scores.is_empty()) else {
        return "not yet".into();
    };
    let one = |(name, value): (&String, &Value)| match value {
        Value::Number(number) if number.is_f64() => {
            format!("{} {:.4}", short(name), number.as_f64().unwrap_or(f64::NAN))
        }
        value => format!("{} {}", short(name), short(&value.to_string())),
    };
    scores.iter().map(one).collect::<Vec<_>>().join(", ")
}
