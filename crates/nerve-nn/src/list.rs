//! Lists of layers of the registry that are made from arguments: what encoders and decoders are.

use crate::layers::block::Argument;
use crate::layers::find;
use nerve_formats::spec::{Item, Value, check};

/// A layer of the registry with these arguments.
///
/// # Errors
/// One of them is out of its range: they may come from a recipe.
///
/// # Panics
/// If there is no such layer.
#[track_caller]
pub(crate) fn layer(name: &str, given: &[(String, Value)]) -> Result<Item, String> {
    let entry = find(name).unwrap_or_else(|| panic!("no layer `{name}`"));
    match check(&entry.spec, given) {
        Ok(args) => Ok(Item { name: entry.spec.name, args }),
        Err(problems) => Err(format!("{name}: {}", problems[0].kind)),
    }
}

/// A layer of the registry: `item!("Conv2d", filters = 8, kernel = 3)?`.
macro_rules! item {
    ($name:expr $(, $key:ident = $value:expr)* $(,)?) => {
        $crate::list::layer(
            $name,
            &[$((
                stringify!($key).to_string(),
                $crate::layers::block::Argument::value($value),
            )),*],
        )
    };
}
pub(crate) use item;

/// As a recipe would write it.
fn written(value: &Value) -> Value {
    match value {
        Value::List(values) => Value::List(values.iter().map(written).collect()),
        Value::Item(item) => (**item).clone().value(),
        other => other.clone(),
    }
}

impl Argument for Item {
    fn value(self) -> Value {
        let kind = ("type".to_string(), Value::text(self.name));
        let args = self.args.iter().map(|(key, value)| (key.to_string(), written(value)));
        Value::Table([kind].into_iter().chain(args).collect())
    }
}

impl<T: Argument> Argument for Vec<T> {
    fn value(self) -> Value {
        Value::List(self.into_iter().map(Argument::value).collect())
    }
}

impl Argument for String {
    fn value(self) -> Value {
        Value::Text(self.into())
    }
}
