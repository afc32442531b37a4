//! What is probably wrong with data.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value as Json, json};

use super::stats::{Content, Stats, describe};
use super::{View, labels};
use crate::features::cell::Words;
use crate::{Cell, Cells, DataError};

/// What is probably wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What kind of thing it is.
    pub kind: FindingKind,
    /// The column that it is about; none: the rows.
    pub column: Option<String>,
    /// In words, with counts.
    pub message: String,
    /// Where to look: at most five places, such as `titanic.csv:17`.
    pub places: Vec<String>,
}

/// Kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// Most values of a column are missing, or some of the target.
    Missing,
    /// A column whose values are all the same.
    Constant,
    /// A column whose values are all different, as a name or the number of a row.
    IdLike,
    /// Rows that are equal.
    Duplicates,
    /// Rows of one part that another part has too: what is judged by was learned from.
    AcrossParts,
    /// Rows that are equal but for the target.
    Contradiction,
    /// Classes of very different size.
    Imbalance,
    /// Values outside of what training shows.
    OutOfRange,
    /// A column that tells the target.
    Leak,
    /// Rows whose neighbours all have another label.
    SuspiciousLabel,
}

impl FindingKind {
    /// Its name in JSON and on the screen: `out_of_range`.
    pub fn name(self) -> &'static str {
        match self {
            FindingKind::Missing => "missing",
            FindingKind::Constant => "constant",
            FindingKind::IdLike => "id_like",
            FindingKind::Duplicates => "duplicates",
            FindingKind::AcrossParts => "across_parts",
            FindingKind::Contradiction => "contradiction",
            FindingKind::Imbalance => "imbalance",
            FindingKind::OutOfRange => "out_of_range",
            FindingKind::Leak => "leak",
            FindingKind::SuspiciousLabel => "suspicious_label",
        }
    }
}

impl Finding {
    /// As an object; its keys do not change between versions.
    pub fn to_json(&self) -> Json {
        json!({
            "kind": self.kind.name(),
            "column": self.column,
            "message": self.message,
            "places": self.places,
        })
    }
}

const PLACES: usize = 5;
/// The largest class may have this many times the examples of the smallest.
const IMBALANCE: f64 = 10.0;
/// Two columns of numbers with a correlation above this say the same.
const SAME: f64 = 0.9999;

/// Looks for what is probably wrong in the parts of data, the first of which is what is learned from. `target` is the
/// column that the network should tell.
///
/// # Errors
/// [`DataError::UnknownColumn`] for the target.
pub fn check(parts: &[View<'_>], target: Option<&str>) -> Result<Vec<Finding>, DataError> {
    let Some(&train) = parts.first() else { return Ok(Vec::new()) };
    let at = target.map(|target| train.table.position(target)).transpose()?;
    let stats = describe(train);
    let mut findings = Vec::new();
    columns(train, &stats, at, &mut findings);
    duplicates(parts, at, &mut findings);
    out_of_range(parts, &stats, &mut findings);
    if let Some(at) = at {
        imbalance(train, at, &mut findings);
        leaks(train, &stats, at, &mut findings);
        wrong_labels(train, &stats, at, &mut findings);
    }
    Ok(findings)
}

fn places(view: View<'_>, rows: impl IntoIterator<Item = usize>) -> Vec<String> {
    rows.into_iter().take(PLACES).map(|row| view.table.place(row)).collect()
}

fn about(kind: FindingKind, column: &str, message: String) -> Finding {
    Finding { kind, column: Some(column.into()), message, places: Vec::new() }
}

fn columns(view: View<'_>, stats: &[Stats], at: Option<usize>, findings: &mut Vec<Finding>) {
    for (i, column) in stats.iter().enumerate() {
        let (rows, missing) = (view.rows.len(), column.missing);
        let share = 100.0 * missing as f64 / rows.max(1) as f64;
        if missing * 2 > rows || (missing > 0 && at == Some(i)) {
            let message = format!("{missing} of {rows} values are missing ({share:.1} %)");
            findings.push(about(FindingKind::Missing, &column.column, message));
        }
        if matches!(column.content, Content::Arrays { .. }) {
            continue;
        }
        if column.distinct == 1 {
            let message = format!("all {} values are the same: it tells nothing", column.count);
            findings.push(about(FindingKind::Constant, &column.column, message));
        }
        let cells = &view.table.columns()[i].cells;
        if column.count >= 20
            && column.distinct == column.count
            && at != Some(i)
            && is_id(column, cells, view)
        {
            let message =
                format!("all {} values are different: a name or number of the row", column.count);
            findings.push(about(FindingKind::IdLike, &column.column, message));
        }
    }
}

/// Names that are no sentences, or whole numbers that follow each other.
fn is_id(stats: &Stats, cells: &Cells, view: View<'_>) -> bool {
    match &stats.content {
        Content::Texts { words, .. } => words.median <= 3,
        Content::Numbers(q) => {
            let [min, .., max] = q.values;
            let whole = |row: &usize| {
                Words::of_numbers()
                    .number(cells.get(*row))
                    .is_ok_and(|x| x.is_none_or(|x| x.fract() == 0.0))
            };
            max - min + 1.0 <= 2.0 * stats.count as f64 && view.rows.iter().all(whole)
        }
        _ => false,
    }
}

/// A number for what stands in a row, without one of the columns.
fn fingerprint(view: View<'_>, row: usize, without: Option<usize>) -> u64 {
    // Its keys are fixed, so the same rows are found each time.
    let mut hasher = DefaultHasher::new();
    for (i, column) in view.table.columns().iter().enumerate() {
        if Some(i) == without {
            continue;
        }
        match column.cells.get(row) {
            Cell::Missing => 0u8.hash(&mut hasher),
            Cell::Text(text) => (1u8, text.trim()).hash(&mut hasher),
            Cell::Number(number) => (2u8, number.to_bits()).hash(&mut hasher),
            Cell::F32(values) => values.iter().for_each(|value| value.to_bits().hash(&mut hasher)),
            Cell::I32(values) => values.hash(&mut hasher),
            Cell::U8(values) => values.hash(&mut hasher),
        }
    }
    hasher.finish()
}

fn duplicates(parts: &[View<'_>], at: Option<usize>, findings: &mut Vec<Finding>) {
    // Of a table with a single column besides the target, equal rows are what one expects.
    if parts[0].table.columns().len() < 2 {
        return;
    }
    let mut before: Vec<(&str, HashSet<u64>)> = Vec::new();
    for &part in parts {
        let mut seen: HashMap<u64, usize> = HashMap::new();
        let (mut again, mut elsewhere) = (Vec::new(), HashMap::<&str, Vec<usize>>::new());
        for &row in part.rows {
            let print = fingerprint(part, row, None);
            if seen.insert(print, row).is_some() {
                again.push(row);
            }
            if let Some((name, _)) = before.iter().find(|(_, prints)| prints.contains(&print)) {
                elsewhere.entry(name).or_default().push(row);
            }
        }
        let finding = |kind, message, rows: &[usize]| Finding {
            kind,
            column: None,
            message,
            places: places(part, rows.iter().copied()),
        };
        if !again.is_empty() {
            let message = format!("{} rows of {} are there before", again.len(), part.name);
            findings.push(finding(FindingKind::Duplicates, message, &again));
        }
        for (name, _) in &before {
            if let Some(rows) = elsewhere.get(name) {
                let message = format!("{} rows of {} are in {name} too", rows.len(), part.name);
                findings.push(finding(FindingKind::AcrossParts, message, rows));
            }
        }
        before.push((part.name, seen.into_keys().collect()));
    }
    let Some(at) = at else { return };
    let train = parts[0];
    let mut targets: HashMap<u64, HashSet<String>> = HashMap::new();
    let mut rows = Vec::new();
    for &row in train.rows {
        let own = targets.entry(fingerprint(train, row, Some(at))).or_default();
        own.insert(name(train, at, row));
        if own.len() > 1 {
            rows.push(row);
        }
    }
    if !rows.is_empty() {
        let message = format!("{} rows equal others but for the target", rows.len());
        let places = places(train, rows);
        findings.push(Finding { kind: FindingKind::Contradiction, column: None, message, places });
    }
}

fn name(view: View<'_>, column: usize, row: usize) -> String {
    let cell = view.table.columns()[column].cells.get(row);
    match Words::of_names().name(cell) {
        Ok(name) => name.unwrap_or_default().into_owned(),
        Err(_) => format!("{cell:?}"),
    }
}

/// Whether a column holds classes: names, or few numbers.
fn is_classes(stats: &Stats, rows: usize) -> bool {
    stats.distinct >= 2
        && match stats.content {
            Content::Numbers(_) => stats.distinct <= 20 && stats.distinct * 20 <= rows,
            Content::Texts { .. } => stats.distinct * 2 <= rows,
            _ => false,
        }
}

fn counts(view: View<'_>, at: usize) -> Vec<(String, usize)> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    view.rows.iter().for_each(|&row| *counts.entry(name(view, at, row)).or_default() += 1);
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts
}

fn imbalance(view: View<'_>, at: usize, findings: &mut Vec<Finding>) {
    let counts = counts(view, at);
    let (Some((most, large)), Some((least, small))) = (counts.first(), counts.last()) else {
        return;
    };
    let ratio = *large as f64 / *small as f64;
    if counts.len() >= 2 && counts.len() * 20 <= view.rows.len() && ratio > IMBALANCE {
        let message = format!(
            "`{most}` has {large} examples, `{least}` {small}: {ratio:.0} times as many \
             (`class_weights = \"balanced\"` evens it out)"
        );
        let column = &view.table.columns()[at].name;
        findings.push(about(FindingKind::Imbalance, column, message));
    }
}

fn out_of_range(parts: &[View<'_>], stats: &[Stats], findings: &mut Vec<Finding>) {
    for part in &parts[1..] {
        for column in stats {
            let Ok(at) = part.table.position(&column.column) else { continue };
            let cells = &part.table.columns()[at].cells;
            let (rows, what) = match &column.content {
                Content::Numbers(q) => {
                    let words = Words::of_numbers();
                    let [min, .., max] = q.values;
                    let outside = |row: &usize| match words.number(cells.get(*row)) {
                        Ok(number) => number.is_some_and(|x| x < min || x > max),
                        Err(_) => true,
                    };
                    let rows: Vec<usize> = part.rows.iter().copied().filter(outside).collect();
                    (rows, format!("outside of {min} to {max}, the range in {}", parts[0].name))
                }
                Content::Texts { words, .. }
                    if words.median <= 3 && is_classes(column, parts[0].rows.len()) =>
                {
                    let Ok(own) = parts[0].table.position(&column.column) else { continue };
                    let known: HashSet<String> =
                        parts[0].rows.iter().map(|&row| name(parts[0], own, row)).collect();
                    let unknown = |row: &usize| !known.contains(&name(*part, at, *row));
                    let rows = part.rows.iter().copied().filter(unknown).collect();
                    (rows, format!("not among the {} names of {}", known.len(), parts[0].name))
                }
                _ => continue,
            };
            if !rows.is_empty() {
                let message = format!("{} values of {} are {what}", rows.len(), part.name);
                let mut finding = about(FindingKind::OutOfRange, &column.column, message);
                finding.places = places(*part, rows);
                findings.push(finding);
            }
        }
    }
}

fn leaks(view: View<'_>, stats: &[Stats], at: usize, findings: &mut Vec<Finding>) {
    let classes = is_classes(&stats[at], view.rows.len());
    for (i, column) in stats.iter().enumerate() {
        // A value for each row tells everything, and nothing of new rows.
        let repeats = column.distinct >= 2 && column.distinct * 2 <= view.rows.len();
        let tells = match (&column.content, &stats[at].content) {
            _ if i == at => false,
            (Content::Numbers(_), Content::Numbers(_)) if !classes => {
                correlation(view, i, at) > SAME
            }
            _ => classes && repeats && determines(view, i, at),
        };
        if tells {
            let target = &view.table.columns()[at].name;
            let message = format!("it alone tells `{target}`, row for row");
            findings.push(about(FindingKind::Leak, &column.column, message));
        }
    }
}

/// Whether equal values of a column always come with equal targets.
fn determines(view: View<'_>, column: usize, at: usize) -> bool {
    let mut targets: HashMap<String, String> = HashMap::new();
    view.rows.iter().all(|&row| {
        let target = name(view, at, row);
        *targets.entry(name(view, column, row)).or_insert_with(|| target.clone()) == target
    })
}

/// The absolute correlation of two columns of numbers, over the rows that have both.
fn correlation(view: View<'_>, a: usize, b: usize) -> f64 {
    let words = Words::of_numbers();
    let number = |column: usize, row: usize| {
        words.number(view.table.columns()[column].cells.get(row)).ok().flatten()
    };
    let pairs: Vec<(f64, f64)> =
        view.rows.iter().filter_map(|&row| number(a, row).zip(number(b, row))).collect();
    let n = pairs.len() as f64;
    if n < 20.0 {
        return 0.0;
    }
    let (x, y) =
        (pairs.iter().map(|p| p.0).sum::<f64>() / n, pairs.iter().map(|p| p.1).sum::<f64>() / n);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        (xx, yy, xy) = (xx + (a - x) * (a - x), yy + (b - y) * (b - y), xy + (a - x) * (b - y));
    }
    if xx * yy > 0.0 { (xy / (xx * yy).sqrt()).abs() } else { 0.0 }
}

fn wrong_labels(view: View<'_>, stats: &[Stats], at: usize, findings: &mut Vec<Finding>) {
    if !is_classes(&stats[at], view.rows.len()) {
        return;
    }
    let found = labels::suspicious(view, at);
    let Some((_, own, others)) = found.first() else { return };
    let message = format!(
        "{} rows have a label that none of their 10 nearest neighbours has, as `{own}` among `{others}`",
        found.len()
    );
    let mut finding = about(FindingKind::SuspiciousLabel, &stats[at].column, message);
    finding.places = places(view, found.iter().map(|(row, ..)| *row));
    findings.push(finding);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, Origin, Random, Table};

    fn table(columns: &[(&str, Vec<String>)]) -> Table {
        let column = |(name, texts): &(&str, Vec<String>)| Column {
            name: name.to_string(),
            cells: Cells::Text(texts.iter().map(|text| Some(&text[..])).collect()),
        };
        Table::new(columns.iter().map(column).collect(), Origin::default()).unwrap()
    }

    fn texts(n: usize, text: impl Fn(usize) -> String) -> Vec<String> {
        (0..n).map(text).collect()
    }

    /// Noise that tells nothing, so that rows differ.
    fn noise(i: usize, key: u64) -> f32 {
        Random::keyed(&[key, i as u64]).uniform()
    }

    fn kinds(table: &Table, rows: &[usize], target: &str) -> Vec<(FindingKind, Option<String>)> {
        let view = View { name: "train", table, rows };
        let found = check(&[view], Some(target)).unwrap();
        found.into_iter().map(|finding| (finding.kind, finding.column)).collect()
    }

    #[test]
    fn sound_data_are_left_alone() {
        let a = texts(200, |i| noise(i, 1).to_string());
        let b = texts(200, |i| noise(i, 2).to_string());
        let y = texts(200, |i| format!("{}", u8::from(noise(i, 1) + 0.3 * noise(i, 3) > 0.6)));
        let table = table(&[("a", a), ("b", b), ("y", y)]);
        assert_eq!(kinds(&table, &(0..200).collect::<Vec<_>>(), "y"), []);
    }

    #[test]
    fn columns_that_tell_nothing_or_too_much_are_found() {
        let n = 100;
        let y = texts(n, |i| if i < 95 { "no".into() } else { "yes".into() });
        let columns = [
            ("row", texts(n, |i| (i + 7).to_string())),
            ("name", texts(n, |i| format!("Person {i}"))),
            ("unit", texts(n, |_| "kg".into())),
            (
                "gone",
                texts(n, |i| if i % 3 == 0 { noise(i, 1).to_string() } else { String::new() }),
            ),
            ("copy", y.iter().map(|y| y.to_uppercase()).collect()),
            ("x", texts(n, |i| noise(i, 4).to_string())),
            ("y", y),
        ];
        let found = kinds(&table(&columns), &(0..n).collect::<Vec<_>>(), "y");
        let expected = [
            (FindingKind::IdLike, "row"),
            (FindingKind::IdLike, "name"),
            (FindingKind::Constant, "unit"),
            (FindingKind::Missing, "gone"),
            (FindingKind::Imbalance, "y"),
            (FindingKind::Leak, "copy"),
        ];
        for (kind, column) in expected {
            assert!(found.contains(&(kind, Some(column.into()))), "{kind:?} {column}: {found:?}");
        }
        assert!(!found.iter().any(|(_, column)| column.as_deref() == Some("x")), "{found:?}");
    }

    #[test]
    fn equal_rows_are_found_within_and_across_parts() {
        let a = texts(60, |i| (i % 50).to_string());
        let y = texts(60, |i| if i == 55 { "9".into() } else { (i % 2).to_string() });
        let table = table(&[("a", a), ("y", y)]);
        let (train, test): (Vec<usize>, Vec<usize>) = ((0..52).collect(), (52..60).collect());
        let views = [
            View { name: "train", table: &table, rows: &train },
            View { name: "test", table: &table, rows: &test },
        ];
        let found = check(&views, Some("y")).unwrap();
        let message = |kind| {
            found.iter().filter(|f| f.kind == kind).map(|f| f.message.clone()).collect::<Vec<_>>()
        };
        assert_eq!(message(FindingKind::Duplicates), ["2 rows of train are there before"]);
        assert_eq!(message(FindingKind::AcrossParts), ["7 rows of test are in train too"]);
        assert_eq!(
            message(FindingKind::OutOfRange),
            ["1 values of test are outside of 0 to 1, the range in train"]
        );
        let all: Vec<usize> = (0..60).collect();
        let views = [View { name: "data", table: &table, rows: &all }];
        let found = check(&views, Some("y")).unwrap();
        let contradiction = found.iter().find(|f| f.kind == FindingKind::Contradiction).unwrap();
        assert_eq!(contradiction.places, ["row 56 of the data"]);
        assert!(check(&views, Some("z")).unwrap_err().to_string().contains("no column `z`"));
    }

    #[test]
    fn a_label_among_others_is_suspicious() {
        let side = |i: usize| if i < 50 { 0.0 } else { 10.0 };
        let a = texts(100, |i| (side(i) + noise(i, 1)).to_string());
        let b = texts(100, |i| (side(i) + noise(i, 2)).to_string());
        let y = texts(100, |i| if (i < 50) == (i != 20) { "left".into() } else { "right".into() });
        let table = table(&[("a", a), ("b", b), ("y", y)]);
        let rows: Vec<usize> = (0..100).collect();
        let view = View { name: "train", table: &table, rows: &rows };
        let found = check(&[view], Some("y")).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].kind, &found[0].places[..]),
            (FindingKind::SuspiciousLabel, &["row 21 of the data".to_string()][..])
        );
        assert!(found[0].message.contains("`right` among `left`"), "{}", found[0].message);
    }

    #[test]
    fn a_number_that_is_the_target_leaks() {
        let a = texts(50, |i| format!("{}", noise(i, 1) * 2.0 + 1.0));
        let y = texts(50, |i| format!("{}", noise(i, 1)));
        let table = table(&[("a", a), ("b", texts(50, |i| noise(i, 3).to_string())), ("y", y)]);
        let rows: Vec<usize> = (0..50).collect();
        assert_eq!(kinds(&table, &rows, "y"), [(FindingKind::Leak, Some("a".into()))]);
    }
}
