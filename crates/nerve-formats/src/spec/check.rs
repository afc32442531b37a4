//! The comparison of what was given with what is declared.

use super::{Args, Item, Kind, Param, Presence, Spec, Value, find, nearest, short};
use std::borrow::Cow;
use std::fmt;

/// One step on the way from the checked table to the place of a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Into the value under a key.
    Key(String),
    /// Into the value at a position of a list.
    Index(usize),
}

/// Which part of the place a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The last key of the path itself.
    Key,
    /// The value there.
    Value,
}

/// One thing that is wrong with what was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The way from the checked table to the place.
    pub path: Vec<Segment>,
    /// What is wrong there: the key or the value.
    pub target: Target,
    /// What is wrong.
    pub kind: ProblemKind,
}

/// What is wrong at a place.
#[derive(Clone, Debug, PartialEq)]
pub enum ProblemKind {
    /// There is no such parameter.
    UnknownKey {
        /// The key as given.
        key: String,
        /// The name of the thing that has no such parameter.
        of: String,
        /// The known key that was probably meant.
        nearest: Option<&'static str>,
        /// All known keys.
        allowed: Vec<&'static str>,
    },
    /// There is no such word in a choice, or no such thing in a registry.
    UnknownWord {
        /// What it should be: `activation`, `layer`, or the key of a choice.
        what: String,
        /// The word as given.
        word: String,
        /// The known word that was probably meant.
        nearest: Option<&'static str>,
        /// All known words.
        allowed: Vec<&'static str>,
    },
    /// The value is of another type.
    WrongType {
        /// The path's last key, or the name of the thing.
        key: String,
        /// What is expected, in words.
        expected: String,
        /// What was found, in words.
        found: String,
    },
    /// The value is of the right type and out of the range.
    OutOfRange {
        /// The path's last key.
        key: String,
        /// What is expected, in words.
        expected: String,
        /// The value.
        found: String,
    },
    /// A required parameter is not given.
    Missing {
        /// The parameter.
        key: &'static str,
        /// The name of the thing that needs it.
        of: String,
        /// What it means.
        doc: &'static str,
        /// What is expected, in words.
        expected: String,
    },
    /// The same parameter was given twice, under two of its names.
    Twice {
        /// The name as it was given the second time.
        key: String,
        /// The parameter.
        name: &'static str,
    },
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProblemKind::UnknownKey { key, of, .. } => write!(f, "unknown key `{key}` in {of}"),
            ProblemKind::UnknownWord { what, word, .. } => write!(f, "unknown {what} `{word}`"),
            ProblemKind::WrongType { key, expected, found } => {
                write!(f, "`{key}` should be {expected}, found {found}")
            }
            ProblemKind::OutOfRange { key, expected, found } => {
                write!(f, "`{key}` is {found}, it should be {expected}")
            }
            ProblemKind::Missing { key, of, .. } => write!(f, "missing key `{key}` in {of}"),
            ProblemKind::Twice { key, name } if key == name => write!(f, "`{key}` is given twice"),
            ProblemKind::Twice { key, name } => {
                write!(f, "`{key}` and `{name}` mean the same, and both are given")
            }
        }
    }
}

/// Compares the given keys and values with a description.
///
/// The key `type` is passed over: it is what chose the description.
///
/// # Errors
/// Every problem, in the order of the given keys; missing keys come last.
pub fn check(spec: &Spec, given: &[(String, Value)]) -> Result<Args, Vec<Problem>> {
    let mut problems = Vec::new();
    let args = check_params(spec.name, spec.params, given, &mut Vec::new(), &mut problems);
    if problems.is_empty() { Ok(args) } else { Err(problems) }
}

/// Compares one value with a kind; the value in its checked form.
///
/// `key` is the name of the value in messages.
///
/// # Errors
/// Every problem in the value; their paths begin at the value.
pub fn check_value(key: &str, kind: &Kind, value: &Value) -> Result<Value, Vec<Problem>> {
    let mut problems = Vec::new();
    let checked = check_kind(key, kind, value, &mut Vec::new(), &mut problems);
    match checked {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(problems),
    }
}

fn check_params(
    of: &str,
    params: &'static [Param],
    given: &[(String, Value)],
    path: &mut Vec<Segment>,
    problems: &mut Vec<Problem>,
) -> Args {
    let mut values: Vec<Option<Value>> = params.iter().map(|_| None).collect();
    let mut seen = vec![false; params.len()];
    for (key, value) in given {
        if key == "type" && !params.iter().any(|param| param.answers_to("type")) {
            continue;
        }
        path.push(Segment::Key(key.clone()));
        match params.iter().position(|param| param.answers_to(key)) {
            None => problems.push(unknown_key(of, params, key, path)),
            Some(i) if seen[i] => problems.push(Problem {
                path: path.clone(),
                target: Target::Key,
                kind: ProblemKind::Twice { key: key.clone(), name: params[i].name },
            }),
            Some(i) => {
                seen[i] = true;
                values[i] = check_kind(key, &params[i].kind, value, path, problems);
            }
        }
        path.pop();
    }
    let mut args = Args::default();
    for ((param, value), seen) in params.iter().zip(values).zip(seen) {
        let value = match (&param.presence, value) {
            (_, Some(value)) => Some(value),
            // What was given and refused is reported already.
            (_, None) if seen => None,
            (Presence::Default(value), None) => Some(checked_default(of, param, value)),
            (Presence::Optional, None) => None,
            (Presence::Required, None) => {
                problems.push(Problem {
                    path: path.clone(),
                    target: Target::Value,
                    kind: ProblemKind::Missing {
                        key: param.name,
                        of: of.to_string(),
                        doc: param.doc,
                        expected: param.kind.to_string(),
                    },
                });
                None
            }
        };
        if let Some(value) = value {
            args.push(param.name, value);
        }
    }
    args
}

/// Defaults pass through the same check, so that `"relu"` becomes the item with its own defaults.
fn checked_default(of: &str, param: &Param, value: &Value) -> Value {
    match check_value(param.name, &param.kind, value) {
        Ok(value) => value,
        Err(problems) => panic!(
            "the registry's default for `{}` of {of} breaks its own rule: {}",
            param.name, problems[0].kind
        ),
    }
}

fn unknown_key(of: &str, params: &'static [Param], key: &str, path: &[Segment]) -> Problem {
    let names = params
        .iter()
        .flat_map(|param| [param.name].into_iter().chain(param.aliases.iter().copied()));
    Problem {
        path: path.to_vec(),
        target: Target::Key,
        kind: ProblemKind::UnknownKey {
            key: key.to_string(),
            of: of.to_string(),
            nearest: nearest(key, names),
            allowed: params.iter().map(|param| param.name).collect(),
        },
    }
}

fn check_kind(
    key: &str,
    kind: &Kind,
    value: &Value,
    path: &mut Vec<Segment>,
    problems: &mut Vec<Problem>,
) -> Option<Value> {
    let mut refuse = |kind: ProblemKind| {
        problems.push(Problem { path: path.clone(), target: Target::Value, kind });
        None
    };
    let wrong_type = || ProblemKind::WrongType {
        key: key.to_string(),
        expected: kind.to_string(),
        found: found(value),
    };
    let out_of_range = || ProblemKind::OutOfRange {
        key: key.to_string(),
        expected: kind.to_string(),
        found: value.to_string(),
    };
    match (kind, value) {
        (Kind::Int { min, max }, Value::Int(number)) => {
            if (min..=max).contains(&number) {
                Some(value.clone())
            } else {
                refuse(out_of_range())
            }
        }
        (Kind::Float { .. }, Value::Int(number)) if in_range(kind, *number as f64) => {
            Some(Value::Float(*number as f64))
        }
        (Kind::Float { .. }, Value::Float(number)) if in_range(kind, *number) => {
            Some(value.clone())
        }
        (Kind::Float { .. }, Value::Int(_) | Value::Float(_)) => refuse(out_of_range()),
        (Kind::Bool, Value::Bool(_)) | (Kind::Text, Value::Text(_)) => Some(value.clone()),
        (Kind::Choice(words), Value::Text(word)) => {
            if words.contains(&word.as_ref()) {
                return Some(value.clone());
            }
            refuse(ProblemKind::UnknownWord {
                what: key.to_string(),
                word: word.to_string(),
                nearest: nearest(word, words.iter().copied()),
                allowed: words.to_vec(),
            })
        }
        (Kind::List { of, min_len, max_len }, Value::List(values)) => {
            if !(min_len..=max_len).contains(&&values.len()) {
                return refuse(out_of_range());
            }
            check_list(key, of, values, path, problems)
        }
        (Kind::Any(_), _) => Some(value.clone()),
        (Kind::OneOf(kinds), _) => check_one_of(key, kind, kinds, value, path, problems),
        (Kind::Table(spec), Value::Table(given)) => {
            let before = problems.len();
            let args = check_params(spec.name, spec.params, given, path, problems);
            let item = || Value::Item(Box::new(Item { name: spec.name, args }));
            (problems.len() == before).then(item)
        }
        (Kind::Item { what, specs }, _) => check_item(what, &specs(), value, path, problems)
            .map(|item| Value::Item(Box::new(item))),
        _ => refuse(wrong_type()),
    }
}

fn in_range(kind: &Kind, number: f64) -> bool {
    let Kind::Float { min, max, open_min, open_max } = *kind else { return false };
    number.is_finite()
        && if open_min { number > min } else { number >= min }
        && if open_max { number < max } else { number <= max }
}

fn found(value: &Value) -> String {
    match value {
        Value::Int(_) | Value::Float(_) | Value::Bool(_) => value.to_string(),
        Value::Text(text) if text.chars().count() <= 40 => format!("the text {value}"),
        _ => value.kind_name().to_string(),
    }
}

fn check_list(
    key: &str,
    of: &Kind,
    values: &[Value],
    path: &mut Vec<Segment>,
    problems: &mut Vec<Problem>,
) -> Option<Value> {
    let mut checked = Vec::with_capacity(values.len());
    for (i, value) in values.iter().enumerate() {
        path.push(Segment::Index(i));
        checked.push(check_kind(key, of, value, path, problems));
        path.pop();
    }
    checked.into_iter().collect::<Option<Vec<_>>>().map(|values| Value::List(values.into()))
}

/// The first kind that takes the value decides; otherwise the kind that came nearest reports, which
/// is the one that found the type right, and where there is none the whole choice is told.
fn check_one_of(
    key: &str,
    kind: &Kind,
    kinds: &[Kind],
    value: &Value,
    path: &mut Vec<Segment>,
    problems: &mut Vec<Problem>,
) -> Option<Value> {
    let mut nearly = None;
    for kind in kinds {
        let mut own = Vec::new();
        let checked = check_kind(key, kind, value, path, &mut own);
        if checked.is_some() && own.is_empty() {
            return checked;
        }
        let here = own.iter().any(|problem| {
            problem.path == *path && matches!(problem.kind, ProblemKind::WrongType { .. })
        });
        if !here && nearly.is_none() {
            nearly = Some(own);
        }
    }
    problems.extend(nearly.unwrap_or_else(|| {
        vec![Problem {
            path: path.clone(),
            target: Target::Value,
            kind: ProblemKind::WrongType {
                key: key.to_string(),
                expected: kind.to_string(),
                found: found(value),
            },
        }]
    }));
    None
}

fn check_item(
    what: &str,
    specs: &[&'static Spec],
    value: &Value,
    path: &mut Vec<Segment>,
    problems: &mut Vec<Problem>,
) -> Option<Item> {
    let mut refuse = |within: Option<Segment>, kind: ProblemKind| {
        let path = path.iter().cloned().chain(within).collect();
        problems.push(Problem { path, target: Target::Value, kind });
    };
    let named = match item_name(what, value) {
        Ok(named) => named,
        Err((within, kind)) => {
            refuse(within, kind);
            return None;
        }
    };
    let Some(spec) = find(specs, &named.name) else {
        let names =
            specs.iter().flat_map(|s| [s.name].into_iter().chain(s.aliases.iter().copied()));
        let kind = ProblemKind::UnknownWord {
            what: what.to_string(),
            word: named.name.to_string(),
            nearest: nearest(&named.name, names),
            allowed: specs.iter().map(|spec| spec.name).collect(),
        };
        refuse(named.within, kind);
        return None;
    };
    let given = match named.given {
        Given::Keys(given) => Cow::Borrowed(given),
        Given::Short(values) => match with_keys(spec, values) {
            Ok(given) => Cow::Owned(given),
            Err(kind) => {
                refuse(None, kind);
                return None;
            }
        },
    };
    let before = problems.len();
    let args = check_params(spec.name, spec.params, &given, path, problems);
    (problems.len() == before).then_some(Item { name: spec.name, args })
}

/// The values of a short form with their keys: one without belongs to the first parameter that takes it.
fn with_keys(
    spec: &'static Spec,
    values: Vec<(Option<String>, Value)>,
) -> Result<Vec<(String, Value)>, ProblemKind> {
    let keyed: Vec<&String> = values.iter().filter_map(|(key, _)| key.as_ref()).collect();
    let mut free: Vec<&'static Param> = spec.params.iter().collect();
    free.retain(|param| !keyed.iter().any(|key| param.answers_to(key)));
    let mut given = Vec::with_capacity(values.len());
    for (key, value) in values {
        let key = match key {
            Some(key) => key,
            None => {
                let takes = |param: &&Param| check_value(param.name, &param.kind, &value).is_ok();
                let Some(at) = free.iter().position(takes) else {
                    let names: Vec<&str> = free.iter().map(|param| param.name).collect();
                    return Err(ProblemKind::WrongType {
                        key: spec.name.to_string(),
                        expected: format!("a value for one of {}", names.join(", ")),
                        found: found(&value),
                    });
                };
                free.remove(at).name.to_string()
            }
        };
        given.push((key, value));
    }
    Ok(given)
}

/// A thing as it was written.
struct Named<'a> {
    name: Cow<'a, str>,
    given: Given<'a>,
    /// From the value to where the name stands.
    within: Option<Segment>,
}

/// What a thing was given.
enum Given<'a> {
    Keys(&'a [(String, Value)]),
    /// In the short form, where not all values have a key.
    Short(Vec<(Option<String>, Value)>),
}

/// The name in a name, in a short form, or in a table with `type`; otherwise what is wrong, and where.
fn item_name<'a>(
    what: &str,
    value: &'a Value,
) -> Result<Named<'a>, (Option<Segment>, ProblemKind)> {
    let within = || Some(Segment::Key("type".to_string()));
    let entries = match value {
        Value::Text(text) => {
            return match short::parse(text) {
                None => {
                    let name = Cow::Borrowed(&**text);
                    Ok(Named { name, given: Given::Keys(&[]), within: None })
                }
                Some(Ok(short)) => {
                    let given = Given::Short(short.values);
                    Ok(Named { name: Cow::Owned(short.name), given, within: None })
                }
                Some(Err(message)) => {
                    let key = what.to_string();
                    let expected = "Name(value, key = value)".to_string();
                    Err((None, ProblemKind::WrongType { key, expected, found: message }))
                }
            };
        }
        Value::Table(entries) => entries,
        other => {
            let kind = ProblemKind::WrongType {
                key: what.to_string(),
                expected: "a name in quotes, or a table with `type`".to_string(),
                found: found(other),
            };
            return Err((None, kind));
        }
    };
    match entries.iter().find(|(key, _)| key == "type") {
        Some((_, Value::Text(name))) => {
            Ok(Named { name: Cow::Borrowed(name), given: Given::Keys(entries), within: within() })
        }
        Some((_, other)) => {
            let kind = ProblemKind::WrongType {
                key: "type".to_string(),
                expected: format!("the name of a known {what} in quotes"),
                found: found(other),
            };
            Err((within(), kind))
        }
        None => {
            let kind = ProblemKind::Missing {
                key: "type",
                of: format!("this {what}"),
                doc: "which one it is",
                expected: format!("the name of a known {what}"),
            };
            Err((None, kind))
        }
    }
}

#[cfg(test)]
mod tests;
