//! Samples of registries, as they are written in a recipe.

use nerve_formats::spec::{Args, Spec, Value, check};
use toml::de::{DeTable, DeValue};

/// The checked arguments that `text`, the inside of an inline table, gives to `spec`.
pub fn args(spec: &'static Spec, text: &str) -> Args {
    let wrapped = format!("x = {{ {text} }}");
    let table =
        DeTable::parse(&wrapped).unwrap_or_else(|error| panic!("{}: {text}: {error}", spec.name));
    let Value::Table(given) = value(table.get_ref()["x"].get_ref()) else { unreachable!() };
    check(spec, &given).unwrap_or_else(|problems| panic!("{}: {text}: {problems:?}", spec.name))
}

/// Checked arguments as they would be written.
pub fn written(value: &Value) -> Value {
    match value {
        Value::List(values) => Value::List(values.iter().map(written).collect()),
        Value::Item(item) => {
            let mut given = vec![("type".to_string(), Value::text(item.name))];
            given.extend(item.args.iter().map(|(key, value)| (key.to_string(), written(value))));
            Value::Table(given)
        }
        other => other.clone(),
    }
}

fn value(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string().into()),
        DeValue::Integer(number) => Value::Int(number.as_str().parse().unwrap()),
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap()),
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(values) => {
            Value::List(values.iter().map(|v| self::value(v.get_ref())).collect())
        }
        DeValue::Table(table) => Value::Table(
            table
                .iter()
                .map(|(k, v)| (k.get_ref().to_string(), self::value(v.get_ref())))
                .collect(),
        ),
    }
}
