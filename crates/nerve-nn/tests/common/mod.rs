//! Samples of registries, as they are written in a recipe, and values of other frameworks.
#![allow(dead_code)]

pub mod golden;

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

/// Refuses a name that two things of a registry answer to, and a key that two parameters of one do.
pub fn names_are_used_once<'a>(specs: impl Iterator<Item = &'a Spec>) {
    let mut names = Vec::new();
    let once = |mut names: Vec<&str>, what: &str| {
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{what}: a name is used twice");
    };
    for spec in specs {
        names.extend([&[spec.name], spec.aliases].concat());
        let keys = spec.params.iter().flat_map(|param| [&[param.name], param.aliases].concat());
        once(keys.collect(), spec.name);
    }
    once(names, "the registry");
}
