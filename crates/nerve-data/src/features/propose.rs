//! Guessing what the columns of a table are.

use std::collections::HashSet;

use nerve_formats::spec::Value;

use super::cell::Words;
use super::{Guess, registry};
use crate::{Cells, Column, Table};

/// What a column probably is.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The name of the column.
    pub column: String,
    /// The type; `None`: better left out.
    pub kind: Option<&'static str>,
    /// What the type is given beside its defaults.
    pub args: Vec<(&'static str, Value)>,
    /// Why, in words.
    pub reason: String,
}

/// Numbers of which all are whole and no more than this many differ may as well be names.
const FEW: usize = 10;

/// What each column of a table probably is, in their order: as an input.
///
/// ```
/// use nerve_data::{Cells, Column, Origin, Table, features::propose};
///
/// let column = |name: &str, texts: &[&str]| Column {
///     name: name.into(),
///     cells: Cells::Text(texts.iter().map(|text| Some(*text)).collect()),
/// };
/// let table = Table::new(
///     vec![column("age", &["31", "42", "", "28"]), column("smokes", &["no", "yes", "no", "no"])],
///     Origin::default(),
/// )?;
/// let kinds: Vec<_> = propose(&table).iter().map(|proposal| proposal.kind).collect();
/// assert_eq!(kinds, [Some("number"), Some("binary")]);
/// # Ok::<(), nerve_data::DataError>(())
/// ```
pub fn propose(table: &Table) -> Vec<Proposal> {
    table.columns().iter().map(propose_input).collect()
}

/// What a column probably is as an output: `binary`, `category`, `number` or another type that can be one; nothing where
/// it cannot be learned.
pub fn propose_output(column: &Column) -> Proposal {
    let seen = Seen::of(column);
    let proposal =
        |kind, args, reason| Proposal { column: column.name.clone(), kind, args, reason };
    if seen.different < 2 {
        return proposal(None, Vec::new(), seen.constant());
    }
    let incomplete = || match seen.missing {
        0 => Vec::new(),
        _ => vec![("missing", Value::text("drop"))],
    };
    let found = seen.different;
    if seen.numbers.as_ref().is_some_and(|_| found == 2) || (seen.numbers.is_none() && found == 2) {
        return proposal(
            Some("binary"),
            incomplete(),
            format!("two values in {} rows", seen.rows()),
        );
    }
    match &seen.numbers {
        Some(numbers) if seen.whole && found <= FEW && numbers.len() >= 20 * found => {
            let reason = format!("{found} whole numbers in {} rows: classes", numbers.len());
            proposal(Some("category"), incomplete(), reason)
        }
        Some(numbers) => {
            let mut args = incomplete();
            let mut reason = format!("{found} different numbers");
            if numbers.iter().all(|x| *x >= 0.0) && skewness(numbers) > 1.0 {
                args.push(("normalize", Value::text("log1p")));
                reason.push_str(", a long tail above: their logarithm is learned");
            }
            proposal(Some("number"), args, reason)
        }
        None => {
            let mut best = propose_input(column);
            if best.kind.is_none() || best.kind == Some("text") && found * 2 <= seen.rows() {
                best.kind = (found * 2 <= seen.rows()).then_some("category");
            }
            best.args = if best.kind == Some("category") { incomplete() } else { Vec::new() };
            best
        }
    }
}

fn propose_input(column: &Column) -> Proposal {
    let seen = Seen::of(column);
    let proposal =
        |kind, args, reason| Proposal { column: column.name.clone(), kind, args, reason };
    if matches!(&column.cells, Cells::Arrays(field, _) if field.values_per_sample() > 1) {
        return best(column).map_or_else(
            || proposal(None, Vec::new(), "arrays that no type takes".into()),
            |(kind, guess)| proposal(Some(kind), Vec::new(), guess.reason),
        );
    }
    if seen.different < 2 {
        return proposal(None, Vec::new(), seen.constant());
    }
    if seen.missing * 20 > column.cells.len() * 19 {
        let reason = format!("{} of {} values are missing", seen.missing, column.cells.len());
        return proposal(None, Vec::new(), reason);
    }
    let found = best(column);
    let named = found.as_ref().is_some_and(|(kind, guess)| {
        // A date, a set, a picture: certain of itself, and often different in every row.
        !["number", "category", "id"].contains(kind) && guess.confidence >= 0.5
    });
    if seen.counts_rows() || (!named && seen.numbers.is_none() && seen.is_id()) {
        let reason = "different in every row, as a number of the row or a name: it tells nothing";
        return proposal(None, Vec::new(), reason.into());
    }
    let Some((kind, Guess { mut reason, .. })) = found else {
        let reason = format!("{} different values, too many for names", seen.different);
        return proposal(None, Vec::new(), reason);
    };
    let mut args = Vec::new();
    if let ("number", Some(numbers)) = (kind, &seen.numbers)
        && skewness(numbers).abs() > 3.0
    {
        args.push(("normalize", Value::text("quantile")));
        reason.push_str("; a long tail: their rank is seen");
    }
    proposal(Some(kind), args, reason)
}

/// The type that is the surest of itself.
fn best(column: &Column) -> Option<(&'static str, Guess)> {
    let guesses = registry()
        .iter()
        .filter_map(|entry| (entry.infer)(column).map(|guess| (entry.spec.name, guess)));
    // The first of those that are equally sure.
    guesses.reduce(|best, next| if next.1.confidence > best.1.confidence { next } else { best })
}

/// What can be seen of a column at a glance.
struct Seen {
    /// How many values differ.
    different: usize,
    missing: usize,
    values: usize,
    /// All values, if all are numbers.
    numbers: Option<Vec<f64>>,
    /// Whether all are whole numbers.
    whole: bool,
    first: String,
}

impl Seen {
    fn of(column: &Column) -> Seen {
        let words = Words::of_numbers();
        let (mut names, mut numbers) = (HashSet::new(), Some(Vec::new()));
        let (mut missing, mut values, mut first) = (0, 0, String::new());
        for row in 0..column.cells.len() {
            let cell = column.cells.get(row);
            let Ok(Some(name)) = words.name(cell) else {
                missing += 1;
                continue;
            };
            if let Some(all) = &mut numbers {
                match words.number(cell) {
                    Ok(Some(number)) => all.push(number),
                    _ => numbers = None,
                }
            }
            if values == 0 {
                first = name.to_string();
            }
            values += 1;
            names.insert(name);
        }
        let numbers = numbers.filter(|numbers| !numbers.is_empty());
        let whole = numbers.as_ref().is_some_and(|all| all.iter().all(|x| x.fract() == 0.0));
        Seen { different: names.len(), missing, values, numbers, whole, first }
    }

    fn rows(&self) -> usize {
        self.values
    }

    fn constant(&self) -> String {
        match self.values {
            0 => "no value at all".into(),
            _ => format!("always `{}`", nerve_formats::escape(&self.first, 40)),
        }
    }

    /// Whether every value is another one, of enough.
    fn is_id(&self) -> bool {
        self.values >= 20 && self.different * 100 >= self.values * 99
    }

    /// Whether they count the rows: whole numbers that rise by one.
    fn counts_rows(&self) -> bool {
        let step = |pair: &[f64]| pair[1] - pair[0] == 1.0;
        self.values >= 20
            && self.whole
            && self.numbers.as_ref().is_some_and(|all| all.windows(2).all(step))
    }
}

/// The third standardised moment: 0 for what is symmetric, 2 for an exponential distribution.
fn skewness(numbers: &[f64]) -> f64 {
    let (mean, deviation) = super::scale::moments(numbers.iter().copied());
    if deviation == 0.0 || !deviation.is_finite() {
        return 0.0;
    }
    numbers.iter().map(|x| ((x - mean) / deviation).powi(3)).sum::<f64>() / numbers.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of a cell by its row.
    type Write = fn(usize) -> String;
    use crate::Origin;

    fn column(name: &str, texts: impl IntoIterator<Item = String>) -> Column {
        let texts: Vec<String> = texts.into_iter().collect();
        let cells = Cells::Text(texts.iter().map(|text| Some(&text[..])).collect());
        Column { name: name.into(), cells }
    }

    fn input(name: &str, text: impl Fn(usize) -> String) -> Proposal {
        let columns = vec![column(name, (0..100).map(text))];
        propose(&Table::new(columns, Origin::default()).unwrap()).remove(0)
    }

    #[test]
    fn columns_are_what_they_look_like() {
        let cases: [(&str, Write, Option<&str>); 14] = [
            ("age", |i| (i * 7 % 60).to_string(), Some("number")),
            ("fare", |i| format!("{}.5", i * 13 % 47), Some("number")),
            (
                "height",
                |i| if i % 9 == 0 { "NA".into() } else { (i % 31).to_string() },
                Some("number"),
            ),
            ("sex", |i| ["male", "female"][i % 2].into(), Some("binary")),
            ("survived", |i| (i % 2).to_string(), Some("binary")),
            ("port", |i| ["S", "C", "Q", ""][i % 4].into(), Some("category")),
            ("when", |i| format!("2024-01-{:02}", i % 28 + 1), Some("date")),
            ("genres", |i| ["Action|Drama", "Drama", "Comedy|Action"][i % 3].into(), Some("set")),
            ("colour", |i| format!("{} {} {}", i % 9, i, i * 3), Some("vector")),
            ("user_id", |i| format!("u{}", i % 25), Some("id")),
            ("row", |i| (i + 1).to_string(), None),
            ("name", |i| format!("name{i}"), None),
            ("unit", |_| "kg".into(), None),
            ("empty", |_| String::new(), None),
        ];
        for (name, text, kind) in cases {
            let found = input(name, text);
            assert_eq!(found.kind, kind, "{name}: {}", found.reason);
        }
        let story = |i: usize| format!("it was night number {i} and the wind blew {} times", i * i);
        assert_eq!(input("story", story).kind, Some("text"));
        assert_eq!(input("unit", |_| "kg".into()).reason, "always `kg`");
    }

    #[test]
    fn long_tails_are_ranked() {
        let found = input("income", |i| if i < 97 { i.to_string() } else { "900000".into() });
        assert_eq!(found.args, [("normalize", Value::text("quantile"))]);
    }

    #[test]
    fn outputs_are_classes_or_numbers() {
        let output = |text: fn(usize) -> String| propose_output(&column("y", (0..200).map(text)));
        let cases: [(Write, Option<&str>); 6] = [
            (|i| (i % 2).to_string(), Some("binary")),
            (|i| ["good", "bad"][i % 2].into(), Some("binary")),
            (|i| (i % 5).to_string(), Some("category")),
            (|i| ["a", "b", "c"][i % 3].into(), Some("category")),
            (|i| (i * 37 % 101).to_string(), Some("number")),
            (|_| "1".into(), None),
        ];
        for (i, (text, kind)) in cases.into_iter().enumerate() {
            let found = output(text);
            assert_eq!(found.kind, kind, "{i}: {}", found.reason);
        }
        let price = output(|i| format!("{}", 1000.0 * (1.05f64).powi(i as i32)));
        assert_eq!(price.args, [("normalize", Value::text("log1p"))]);
        let some = output(|i| if i == 3 { String::new() } else { (i % 2).to_string() });
        assert_eq!(some.args, [("missing", Value::text("drop"))]);
    }
}
