//! Checked values by name.

use super::{Item, Value};

/// The values of a thing's parameters after the check: every default filled, every value of the
/// declared kind. In the order of the parameters.
///
/// The getters panic, at the caller's line, when the parameter is not declared or of another kind:
/// that is a mistake in the registry, which its first test shows, never one in a recipe.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Args {
    values: Vec<(&'static str, Value)>,
}

impl Args {
    /// The same with another value of a parameter; of the declared kind, which is not checked again.
    #[must_use]
    pub fn with(&self, name: &'static str, value: Value) -> Args {
        let mut args = self.without(name);
        args.push(name, value);
        args
    }

    /// All values but that of one parameter.
    pub fn without(&self, name: &str) -> Args {
        let values = self.values.iter().filter(|(key, _)| *key != name).cloned().collect();
        Args { values }
    }

    pub(super) fn push(&mut self, name: &'static str, value: Value) {
        self.values.push((name, value));
    }

    /// Whether there is no value at all.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All values with their names, in the order of the parameters.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.values.iter().map(|(name, value)| (*name, value))
    }

    /// The value of a parameter, or `None` where an optional one was not given.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Whether the parameter has a value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    #[track_caller]
    fn expect(&self, name: &str) -> &Value {
        match self.get(name) {
            Some(value) => value,
            None => panic!("the registry declares no value for the parameter `{name}`"),
        }
    }

    /// A whole number.
    #[track_caller]
    pub fn int(&self, name: &str) -> i64 {
        match self.expect(name) {
            Value::Int(value) => *value,
            other => panic!("parameter `{name}` is {}, not a whole number", other.kind_name()),
        }
    }

    /// A whole number whose declared range begins at zero or above.
    #[track_caller]
    pub fn usize(&self, name: &str) -> usize {
        match usize::try_from(self.int(name)) {
            Ok(value) => value,
            Err(_) => panic!("parameter `{name}` may be negative: use `int`"),
        }
    }

    /// A number.
    #[track_caller]
    pub fn float(&self, name: &str) -> f64 {
        match self.expect(name) {
            Value::Float(value) => *value,
            other => panic!("parameter `{name}` is {}, not a number", other.kind_name()),
        }
    }

    /// `true` or `false`.
    #[track_caller]
    pub fn bool(&self, name: &str) -> bool {
        match self.expect(name) {
            Value::Bool(value) => *value,
            other => panic!("parameter `{name}` is {}, not true or false", other.kind_name()),
        }
    }

    /// A text or a choice.
    #[track_caller]
    pub fn text(&self, name: &str) -> &str {
        match self.expect(name) {
            Value::Text(value) => value,
            other => panic!("parameter `{name}` is {}, not text", other.kind_name()),
        }
    }

    /// A thing of another registry.
    #[track_caller]
    pub fn item(&self, name: &str) -> &Item {
        match self.expect(name) {
            Value::Item(item) => item,
            other => panic!("parameter `{name}` is {}, not an item", other.kind_name()),
        }
    }

    /// Whole numbers of zero or more: a list, or one number as a list of one.
    #[track_caller]
    pub fn usizes(&self, name: &str) -> Vec<usize> {
        let number = |value: &Value| match value {
            Value::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        };
        let numbers = match self.expect(name) {
            Value::List(values) => values.iter().map(number).collect::<Option<Vec<_>>>(),
            value => number(value).map(|value| vec![value]),
        };
        match numbers {
            Some(numbers) => numbers,
            None => panic!("parameter `{name}` is not whole numbers of zero or more"),
        }
    }

    /// The texts of a list.
    #[track_caller]
    pub fn texts(&self, name: &str) -> Vec<String> {
        let text = |value: &Value| match value {
            Value::Text(text) => Some(text.to_string()),
            _ => None,
        };
        let texts = match self.expect(name) {
            Value::List(values) => values.iter().map(text).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        texts.unwrap_or_else(|| panic!("parameter `{name}` is not a list of texts"))
    }

    /// Numbers: a list, or one number as a list of one.
    #[track_caller]
    pub fn floats(&self, name: &str) -> Vec<f64> {
        let number = |value: &Value| match value {
            Value::Float(value) => Some(*value),
            Value::Int(value) => Some(*value as f64),
            _ => None,
        };
        let numbers = match self.expect(name) {
            Value::List(values) => values.iter().map(number).collect::<Option<Vec<_>>>(),
            value => number(value).map(|value| vec![value]),
        };
        match numbers {
            Some(numbers) => numbers,
            None => panic!("parameter `{name}` is not numbers"),
        }
    }

    /// Two whole numbers (height, width); one number stands for both.
    #[track_caller]
    pub fn pair(&self, name: &str) -> [usize; 2] {
        match self.usizes(name)[..] {
            [both] => [both, both],
            [first, second] => [first, second],
            _ => panic!("parameter `{name}` is not one or two whole numbers"),
        }
    }
}
