//! What the tests of features share.

use std::path::PathBuf;
use std::sync::Arc;

use nerve_formats::spec::{Args, Value, check};

use super::{Feature, Refusal, Role, Setting, find};
use crate::{Cells, Values};

/// A column of texts.
pub(super) fn texts(texts: &[&str]) -> Cells {
    Cells::Text(texts.iter().copied().map(Some).collect())
}

fn value(text: &str) -> Value {
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return Value::List(inner.split(',').map(|text| value(text.trim())).collect());
    }
    if let Some(inner) = text.strip_prefix("{ ").and_then(|text| text.strip_suffix(" }")) {
        let pair = |text: &str| {
            let (key, text) = text.split_once(" = ").expect("key = value");
            (key.trim().to_string(), value(text))
        };
        return Value::Table(inner.split(',').map(pair).collect());
    }
    match (text.parse::<i64>(), text.parse::<f64>(), text.parse::<bool>()) {
        (Ok(number), ..) => Value::Int(number),
        (_, Ok(number), _) => Value::Float(number),
        (_, _, Ok(truth)) => Value::Bool(truth),
        _ => Value::Text(text.trim_matches('"').to_string().into()),
    }
}

fn args(kind: &str, given: &[(&str, &str)]) -> Args {
    let given: Vec<(String, Value)> =
        given.iter().map(|(key, text)| (key.to_string(), value(text))).collect();
    check(find(kind).expect(kind).spec, &given).expect("the arguments of a test")
}

fn try_fit(
    kind: &str,
    given: &[(&str, &str)],
    role: Role,
    cells: &Cells,
) -> Result<Arc<dyn Feature>, String> {
    let setting = Setting { role, folder: PathBuf::new() };
    let (entry, args) = (find(kind).expect(kind), args(kind, given));
    let mut fitting = (entry.begin)(&args, &setting)?;
    for row in (0..cells.len()).filter(|&row| !fitting.leaves_out(cells, row)).collect::<Vec<_>>() {
        fitting.observe(cells, row).map_err(|refusal| format!("row {row}: {refusal:?}"))?;
    }
    let feature = fitting.finish()?;
    // Whatever is made must come back the same from the model file.
    let text = feature.state().to_string();
    let state = serde_json::from_str(&text).expect("JSON");
    let restored = (entry.restore)(&args, &setting, &state).expect("its own state");
    assert_eq!((restored.stored(), restored.meaning()), (feature.stored(), feature.meaning()));
    for row in 0..cells.len() {
        assert_eq!(
            stored(&*restored, cells, row),
            stored(&*feature, cells, row),
            "restored, row {row}"
        );
    }
    Ok(feature)
}

/// A feature fitted to all cells. Values are written as in a recipe.
#[track_caller]
pub(super) fn fit(
    kind: &str,
    given: &[(&str, &str)],
    role: Role,
    cells: &Cells,
) -> Arc<dyn Feature> {
    try_fit(kind, given, role, cells).expect("a feature")
}

/// Why there is no feature.
#[track_caller]
pub(super) fn fit_error(kind: &str, given: &[(&str, &str)], role: Role, cells: &Cells) -> String {
    try_fit(kind, given, role, cells).expect_err("an error")
}

/// What a feature stores of a row.
pub(super) fn stored(feature: &dyn Feature, cells: &Cells, row: usize) -> Result<Values, Refusal> {
    let (shape, element) = feature.stored();
    let len = shape.iter().product();
    let mut values = Values::zeros(element, len);
    feature.store(cells, row, values.slice(0, len))?;
    Ok(values)
}
