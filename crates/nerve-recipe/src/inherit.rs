//! What a recipe need not say twice: columns take it from each other.
//!
//! | who | takes | from |
//! |---|---|---|
//! | a mask | `size` and `resize`, `augment` | the picture |
//! | a series that goes in | `window` | the longest of the others |
//! | one that is known ahead | `horizon` | the forecast |
//! | a forecast | `quantiles` | its loss, or the loss from them |
//! | `split = { type = "time" }` | `column` | `time` of `[data]` |
//!
//! What texts and sequences that come out take is in [`sequences`](crate::sequences).

use crate::columns::Column;
use crate::diagnostic::{Code, Diagnostic};
use crate::recipe::{item_of, path};
use crate::tree::Node;
use crate::vocabulary::{DATA, INPUT, OUTPUT};
use crate::{generate, sequences};
use nerve_data::features::{Role, find};
use nerve_formats::spec::{Args, Param, Segment, Target, Value, check_value};

/// Fills in what the columns and the split leave to others.
pub(crate) fn fill(
    tree: &Node,
    data: &mut Args,
    trainer: &Args,
    [inputs, outputs]: [&mut [Column]; 2],
    problems: &mut Vec<Diagnostic>,
) {
    masks(inputs, outputs);
    series(inputs, outputs);
    for output in outputs.iter_mut().filter(|output| output.feature.name == "timeseries") {
        if let Err((key, message)) = quantiles(output, trainer) {
            let span = tree.find(&output.path(Role::Output, Some(key)), Target::Key);
            let problem = Diagnostic::new(Code::Contradiction, message, Some(span));
            problems.push(problem.label("give one of them, or the same in both"));
        }
    }
    split(tree, data, problems);
    sequences::fill(tree, [&mut *inputs, &mut *outputs], problems);
    generate::check(tree, outputs, problems);
    let columns = inputs.iter_mut().chain(outputs.iter_mut());
    for column in columns {
        if let Some(entry) = find(column.feature.name) {
            column.feature.args = ordered(&column.feature.args, entry.spec.params);
        }
    }
    inputs.iter_mut().for_each(|input| input.args = ordered(&input.args, INPUT.params));
    outputs.iter_mut().for_each(|output| output.args = ordered(&output.args, OUTPUT.params));
    *data = ordered(data, DATA.params);
}

/// The values in the order of their parameters, in which they would stand had the recipe given them.
fn ordered(args: &Args, params: &'static [Param]) -> Args {
    let given = params.iter().filter_map(|param| Some((param.name, args.get(param.name)?.clone())));
    given.fold(Args::default(), |args, (name, value)| args.with(name, value))
}

/// Masks lie on their picture: where there is one, or all are described alike.
fn masks(inputs: &[Column], outputs: &mut [Column]) {
    let mut pictures = inputs.iter().filter(|input| input.feature.name == "image");
    let Some(first) = pictures.next() else { return };
    let said = |column: &Column, key: &str| column.feature.args.get(key).cloned();
    let alike = |other: &Column| {
        ["size", "resize", "augment"].iter().all(|key| said(first, key) == said(other, key))
    };
    if !pictures.all(alike) {
        return;
    }
    for mask in outputs.iter_mut().filter(|output| output.feature.name == "mask") {
        if !mask.feature.args.has("size") {
            for key in ["size", "resize"] {
                take(mask, key, said(first, key));
            }
        }
        if matches!(mask.feature.args.get("augment"), Some(Value::List(list)) if list.is_empty()) {
            take(mask, "augment", said(first, "augment"));
        }
    }
}

fn take(column: &mut Column, key: &'static str, value: Option<Value>) {
    if let Some(value) = value {
        column.feature.args = column.feature.args.with(key, value);
    }
}

fn series(inputs: &mut [Column], outputs: &[Column]) {
    let longest = |columns: &[Column], key: &str| {
        let of_series = columns.iter().filter(|column| column.feature.name == "timeseries");
        let given = of_series.filter(|column| column.feature.args.has(key));
        let longest = given.map(|column| column.feature.args.usize(key)).max();
        longest.map(|length| Value::Int(length as i64))
    };
    let (window, horizon) = (longest(inputs, "window"), longest(outputs, "horizon"));
    for input in inputs.iter_mut().filter(|input| input.feature.name == "timeseries") {
        if !input.feature.args.has("window") {
            take(input, "window", window.clone());
        }
        if input.feature.args.bool("known_future") && !input.feature.args.has("horizon") {
            take(input, "horizon", horizon.clone());
        }
    }
}

/// A forecast of quantiles has the loss whose minimum they are, with the same of them.
fn quantiles(output: &mut Column, trainer: &Args) -> Result<(), (&'static str, String)> {
    let own = output.feature.args.get("quantiles").cloned();
    let loss = output.args.get("loss").or(trainer.get("loss")).and_then(item_of);
    match (own, loss) {
        (None, Some(loss)) if loss.name == "quantile" => {
            let given = loss.args.get("quantiles").cloned();
            let several = |value: &Value| matches!(value, Value::List(list) if list.len() > 1);
            take(output, "quantiles", given.filter(several));
        }
        (Some(own), Some(loss)) if loss.name == "quantile" => {
            if loss.args.get("quantiles") != Some(&own) {
                let message = "`quantiles` and those of the loss differ".to_string();
                return Err(("quantiles", message));
            }
        }
        (Some(_), Some(loss)) => {
            let message = format!("`quantiles`, and the loss `{}`, which has none", loss.name);
            return Err(("quantiles", message));
        }
        (Some(own), None) => {
            let given = Value::Table(vec![
                ("type".into(), Value::text("quantile")),
                ("quantiles".into(), own),
            ]);
            if let Ok(loss) = check_value("loss", &nerve_nn::losses::KIND, &given) {
                output.args = output.args.with("loss", loss);
            }
        }
        (None, _) => {}
    }
    Ok(())
}

/// The types of outputs that each task has.
const TASKS: [(&str, &[&str]); 8] = [
    ("classification", &["category", "binary", "set"]),
    ("regression", &["number", "vector"]),
    ("segmentation", &["mask"]),
    ("forecast", &["timeseries"]),
    ("autoencode", &["image", "vector"]),
    ("recommend", &["number", "binary"]),
    ("tagging", &["set", "sequence"]),
    ("generation", &["text"]),
];

/// The words that `task` may be.
pub(crate) const TASK_NAMES: &[&str] = &[
    "classification",
    "regression",
    "segmentation",
    "forecast",
    "autoencode",
    "recommend",
    "tagging",
    "generation",
];

/// Whether the outputs are of the task that the recipe says it is about.
pub(crate) fn check_task(
    tree: &Node,
    root: &Args,
    outputs: &[Column],
    problems: &mut Vec<Diagnostic>,
) {
    if !root.has("task") {
        return;
    }
    let task = root.text("task");
    let types = TASKS.iter().find(|(name, _)| *name == task).map_or(&[][..], |(_, types)| types);
    for output in outputs.iter().filter(|output| !types.contains(&output.feature.name)) {
        let (name, kind) = (crate::source::escape(&output.name), output.feature.name);
        let message = format!("the task is {task}, and the output `{name}` is a {kind}");
        let span = tree.find(&[Segment::Key("task".to_string())], Target::Value);
        let problem = Diagnostic::new(Code::Contradiction, message, Some(span));
        problems.push(problem.label(format!("its outputs are of the types {}", types.join(", "))));
    }
}

fn split(tree: &Node, data: &mut Args, problems: &mut Vec<Diagnostic>) {
    let mut way = data.item("split").clone();
    if way.name != "time" || way.args.has("column") {
        return;
    }
    match data.get("time").cloned() {
        Some(column) => {
            let with = way.args.with("column", column);
            let spec = nerve_data::split::specs().into_iter().find(|spec| spec.name == way.name);
            way.args = spec.map_or(with.clone(), |spec| ordered(&with, spec.params));
            *data = data.with("split", Value::Item(Box::new(way)));
        }
        None => {
            let span = tree.find(&path("data", "split"), Target::Value);
            let message = "a split by time needs the column of the times".to_string();
            let problem = Diagnostic::new(Code::Missing, message, Some(span));
            problems.push(problem.label("write { type = \"time\", column = \"...\" }"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Recipe, Source};
    use nerve_formats::spec::Value;

    fn load(text: &str) -> Result<Recipe, String> {
        Recipe::load(Source::new("r.toml", text), &[]).map_err(|report| report.to_string())
    }

    #[test]
    fn a_mask_lies_on_its_picture() {
        let text = "[data]\npath = \"x.csv\"\n\
            [[input]]\nname = \"photo\"\ntype = \"image\"\nsize = [32, 48]\nresize = \"crop\"\n\
            augment = [\"RandomFlip\"]\n\
            [[output]]\nname = \"mask\"\ntype = \"mask\"\n";
        let recipe = load(text).unwrap();
        let (image, mask) = (&recipe.inputs[0].feature.args, &recipe.outputs[0].feature.args);
        for key in ["size", "resize", "augment"] {
            assert_eq!(image.get(key), mask.get(key), "{key}");
        }
        // What it says itself stands, and the whole reads back as it is.
        let own = load(&format!("{text}size = [16, 16]\n")).unwrap();
        assert_eq!(own.outputs[0].feature.args.pair("size"), [16, 16]);
        assert_eq!(own.outputs[0].feature.args.text("resize"), "stretch");
        assert!(load(&recipe.resolved()).unwrap().same(&recipe));
    }

    const SERIES: &str = "[data]\npath = \"x.csv\"\ntime = \"when\"\nsplit = { type = \"time\", val = \"2d\", test = \"4d\" }\n\
        [[input]]\nname = \"load\"\ntype = \"timeseries\"\nwindow = 24\n\
        [[input]]\nname = \"holiday\"\ntype = \"timeseries\"\nknown_future = true\n\
        [[output]]\nname = \"load\"\ntype = \"timeseries\"\nhorizon = 6\n";

    #[test]
    fn series_take_window_horizon_and_time_from_each_other() {
        let recipe = load(SERIES).unwrap();
        let holiday = &recipe.inputs[1].feature.args;
        assert_eq!((holiday.usize("window"), holiday.usize("horizon")), (24, 6));
        assert_eq!(recipe.data.item("split").args.text("column"), "when");
        let error = load(&SERIES.replace("time = \"when\"\n", "")).unwrap_err();
        assert!(error.contains("needs the column of the times"), "{error}");
    }

    #[test]
    fn a_task_is_held_against_the_outputs() {
        assert!(load(&format!("task = \"forecast\"\n{SERIES}")).is_ok());
        let error = load(&format!("task = \"regression\"\n{SERIES}")).unwrap_err();
        assert!(error.contains("the task is regression, and the output `load`"), "{error}");
        assert!(load(&format!("task = \"generation\"\n{SERIES}")).is_err());
        assert!(super::TASKS.iter().map(|task| task.0).eq(super::TASK_NAMES.iter().copied()));
    }

    #[test]
    fn quantiles_and_their_loss_are_said_once() {
        let loss = "loss = { type = \"quantile\", q = [0.1, 0.5, 0.9] }\n";
        let three = load(&format!("{SERIES}{loss}")).unwrap();
        assert_eq!(three.outputs[0].feature.args.floats("quantiles"), [0.1, 0.5, 0.9]);
        let own = load(&format!("{SERIES}quantiles = [0.1, 0.5, 0.9]\n")).unwrap();
        let Some(Value::Item(item)) = own.outputs[0].args.get("loss") else { panic!("no loss") };
        assert_eq!((item.name, item.args.floats("quantiles")), ("quantile", vec![0.1, 0.5, 0.9]));
        assert!(load(&own.resolved()).unwrap().same(&own));
        let differ = load(&format!("{SERIES}{loss}quantiles = [0.2, 0.8]\n")).unwrap_err();
        assert!(differ.contains("differ"), "{differ}");
        let other = load(&format!("{SERIES}loss = \"mae\"\nquantiles = [0.2, 0.8]\n"));
        assert!(other.unwrap_err().contains("which has none"));
        // The loss of the median alone is a forecast of numbers.
        let median = load(&format!("{SERIES}loss = \"quantile\"\n")).unwrap();
        assert!(!median.outputs[0].feature.args.has("quantiles"));
    }
}
