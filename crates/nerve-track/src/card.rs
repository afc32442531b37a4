//! The card of a model, made from its run folder: what it is, what it learned from, how well it works, and what nobody but
//! its makers can say (Mitchell et al. 2019, "Model Cards for Model Reporting", <https://arxiv.org/abs/1810.03993>).

use crate::{ENVIRONMENT, LAYERS, RunError, RunFolder, STATE, Setting, settings};
use serde_json::Value;
use std::fmt::Write;

/// The file of the card in a run folder.
pub const CARD: &str = "MODEL_CARD.md";
/// More classes than these are not listed one by one.
const MOST_CLASSES: usize = 20;
/// The card of the model that a run left, as Markdown.
///
/// # Errors
/// The resolved recipe cannot be read, or a file of the run is no text.
pub fn card(run: &RunFolder) -> Result<String, RunError> {
    let settings = settings(run)?;
    let json = |file: &str| -> Result<Value, RunError> {
        let text = run.read(file)?.unwrap_or_default();
        Ok(serde_json::from_str(&text).unwrap_or_default())
    };
    let environment = json(ENVIRONMENT)?;
    let mut card = format!("# {}\n\n", cell(&run.name()));
    model(&mut card, &settings, &json(LAYERS)?);
    data(&mut card, &settings, &environment);
    training(&mut card, &settings, &environment, &json(STATE)?);
    let judged = judged(run).map(|file| json(&file)).transpose()?;
    quality(&mut card, judged.as_ref().filter(|found| found.is_object()));
    card.push_str(
        "## What only its makers know\n\n\
         To be written before others use the model:\n\n\
         - for what, and for whom, it is meant, and for what not;\n\
         - who collected the data, under which licence, and whom they leave out;\n\
         - what a wrong answer costs, and who looks at the answers.\n",
    );
    Ok(card)
}

/// The file with the best evidence: rows of the test part, else those that `nerve evaluate` was given, else those of validation.
fn judged(run: &RunFolder) -> Option<String> {
    let entries = std::fs::read_dir(run.file("eval")).ok()?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let rank = |name: &String| match name.as_str() {
        "test.json" => (0, name.clone()),
        "validation.json" => (2, name.clone()),
        _ => (1, name.clone()),
    };
    names.filter(|name| name.ends_with(".json")).min_by_key(rank).map(|name| format!("eval/{name}"))
}

fn model(card: &mut String, settings: &[(String, Setting)], layers: &Value) {
    card.push_str("## The model\n\n| | column | type |\n|---|---|---|\n");
    for side in ["input", "output"] {
        for column in 0.. {
            let of = |key: &str| text(settings, &format!("{side}.{column}.{key}"));
            let Some(name) = of("name") else { break };
            let kind = of("type").unwrap_or_default();
            let _ = writeln!(card, "| {side} | {} | {} |", cell(&name), cell(&kind));
        }
    }
    if let Some(layers) = layers["layers"].as_array() {
        let sum = |key: &str| layers.iter().filter_map(|layer| layer[key].as_u64()).sum::<u64>();
        let _ = write!(
            card,
            "\n{} layers with {} parameters; {} floating-point operations for one row.\n",
            layers.len(),
            sum("parameters"),
            sum("flops")
        );
    }
    card.push('\n');
}

fn data(card: &mut String, settings: &[(String, Setting)], environment: &Value) {
    card.push_str("## The data\n\n| | |\n|---|---|\n");
    for (path, value) in settings.iter().filter(|(path, _)| path.starts_with("data.")) {
        let told = ["path", "train", "validation", "test", "split"];
        if told.iter().any(|key| path[5..].split('.').next() == Some(key)) {
            let _ = writeln!(card, "| {path} | {} |", cell(&value.to_string()));
        }
    }
    for part in ["train", "validation", "test"] {
        if let Some(rows) = environment["rows"][part].as_u64() {
            let _ = writeln!(card, "| rows for {part} | {rows} |");
        }
    }
    if let Some(digest) = environment["data"].as_str() {
        let _ = writeln!(card, "| fingerprint | {} |", cell(digest));
    }
    card.push('\n');
}

fn training(card: &mut String, settings: &[(String, Setting)], environment: &Value, state: &Value) {
    card.push_str("## The training\n\n| | |\n|---|---|\n");
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(card, "| {name} | {} |", cell(&value));
        }
    };
    let plain = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    row(
        "optimizer",
        text(settings, "trainer.optimizer.type").or(text(settings, "trainer.optimizer")),
    );
    row("learning rate", text(settings, "trainer.optimizer.lr"));
    row("batch size", text(settings, "trainer.batch_size"));
    row("epochs", plain(&state["epoch"]));
    row("steps", plain(&state["step"]));
    row("best epoch", plain(&state["best"][0]));
    row("judged by", plain(&state["goal"]));
    row("its best value", plain(&state["best"][1]));
    row("seed", plain(&environment["seed"]));
    row("nerve", plain(&environment["nerve"]));
    row("system", plain(&environment["system"]));
    row("instructions", plain(&environment["instructions"]));
    card.push_str(
        "\nThe same recipe, data and seed on the same kind of processor give the same bits: `resolved.toml` has every setting.\n\n",
    );
}

fn quality(card: &mut String, judged: Option<&Value>) {
    card.push_str("## How well it works\n\n");
    let Some(judged) = judged else {
        card.push_str("It was not judged: `nerve evaluate` does.\n\n");
        return;
    };
    let part = judged["part"].as_str().unwrap_or_default();
    let _ = writeln!(card, "On {} rows: {}.", judged["examples"], cell(part));
    if part == "validation" {
        card.push_str("The best epoch was chosen by these rows: on others expect a little less.\n");
    }
    for output in judged["outputs"].as_array().into_iter().flatten() {
        scores(card, output);
        classes(card, output);
    }
    card.push('\n');
}

/// The scores of an output, each with its interval, beside those of the simplest answers.
fn scores(card: &mut String, output: &Value) {
    let name = output["name"].as_str().unwrap_or_default();
    let empty = serde_json::Map::new();
    let baselines = output["baselines"].as_object().unwrap_or(&empty);
    let _ = write!(card, "\n### {}\n\n| score | value | 95 % interval |", cell(name));
    let names = baselines.keys().map(|name| format!(" {} |", cell(name)));
    let lines = "---:|".repeat(2 + baselines.len());
    let _ = writeln!(card, "{}\n|---|{lines}", names.collect::<String>());
    for (score, found) in output["scores"].as_object().into_iter().flatten() {
        let interval = match (found["low"].as_f64(), found["high"].as_f64()) {
            (Some(low), Some(high)) => format!("{low:.4} to {high:.4}"),
            _ => String::new(),
        };
        let _ = write!(card, "| {} | {} | {interval} |", cell(score), number(&found["value"]));
        let others = baselines.values().map(|scores| format!(" {} |", number(&scores[score])));
        let _ = writeln!(card, "{}", others.collect::<String>());
    }
}

fn classes(card: &mut String, output: &Value) {
    let Some(classes) = output["classes"].as_array().filter(|all| !all.is_empty()) else { return };
    if classes.len() > MOST_CLASSES {
        let _ = writeln!(card, "\n{} classes; `eval/` has the scores of each.", classes.len());
        return;
    }
    card.push_str("\n| class | rows | precision | recall | F1 |\n|---|---:|---:|---:|---:|\n");
    for class in classes {
        let _ = writeln!(
            card,
            "| {} | {} | {} | {} | {} |",
            cell(class["name"].as_str().unwrap_or_default()),
            class["support"].as_f64().unwrap_or_default(),
            number(&class["precision"]),
            number(&class["recall"]),
            number(&class["f1"])
        );
    }
}

fn text(settings: &[(String, Setting)], path: &str) -> Option<String> {
    settings.iter().find(|(own, _)| own == path).map(|(_, value)| value.to_string())
}

fn number(value: &Value) -> String {
    value.as_f64().map(|value| format!("{value:.4}")).unwrap_or_default()
}

/// A text from outside as the cell of a table: it can neither end the cell nor be read as markup.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for c in text.chars().take(500) {
        match c {
            '&' => cell.push_str("&amp;"),
            '<' => cell.push_str("&lt;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '#' | '!' => cell.extend(['\\', c]),
            c if c.is_control() => cell.push(' '),
            c => cell.push(c),
        }
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = r#"
        [data]
        path = "t.csv"
        split = { type = "random", fractions = [0.8, 0.1, 0.1] }
        [[input]]
        name = "a|b"
        type = "number"
        [[output]]
        name = "<img src=x>"
        type = "binary"
        [trainer]
        optimizer = { type = "adam", lr = 0.001 }
    "#;

    #[test]
    fn a_card_tells_what_the_folder_knows() {
        let root = tempfile::tempdir().unwrap();
        let judged = r#"{"part": "validation", "examples": 4, "outputs": [{"name": "<img src=x>",
            "baselines": {"majority": {"accuracy": 0.5}},
            "scores": {"accuracy": {"value": 0.75, "low": 0.6, "high": 0.9}},
            "classes": [{"name": "yes", "support": 3.0, "precision": 1.0, "recall": 0.5, "f1": 0.6667}]}]}"#;
        let files = [
            ("resolved.toml", RECIPE),
            ("env.json", r#"{"rows": {"train": 32}, "seed": 7, "nerve": "0.1.0"}"#),
            ("state.json", r#"{"epoch": 2, "best": [1, 0.5], "goal": "val_loss"}"#),
            ("model.json", r#"{"layers": [{"parameters": 18, "flops": 32}, {"parameters": 2}]}"#),
        ];
        let run = RunFolder::create(root.path(), "small", &files).unwrap();
        let card_before = card(&run).unwrap();
        assert!(card_before.contains("It was not judged"), "{card_before}");
        std::fs::create_dir(run.file("eval")).unwrap();
        run.write("eval/validation.json", judged).unwrap();
        let card = card(&run).unwrap();
        for line in [
            "# small",
            "| input | a\\|b | number |",
            "| output | &lt;img src=x> | binary |",
            "2 layers with 20 parameters; 32 floating-point operations for one row.",
            "| rows for train | 32 |",
            "| data.path | t.csv |",
            "| learning rate | 0.001 |",
            "| best epoch | 1 |",
            "On 4 rows: validation.",
            "| score | value | 95 % interval | majority |",
            "| accuracy | 0.7500 | 0.6000 to 0.9000 | 0.5000 |",
            "| yes | 3 | 1.0000 | 0.5000 | 0.6667 |",
        ] {
            assert!(card.lines().any(|own| own == line), "{line}\n{card}");
        }
        assert!(!card.contains("<img"));
    }
}
