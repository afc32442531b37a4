//! The ways to split a table that a recipe can name.

use std::collections::HashMap;

use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};

use super::by_row::{ByRow, fixed_part, hash_part};
use super::{Parts, SPLIT, check, refuse};
use crate::civil;
use crate::features::{Refusal, name_of};
use crate::random::Random;
use crate::{DataError, Permutation, Table};

/// A way to split a table.
pub(super) struct Way {
    pub(super) spec: &'static Spec,
    /// Which rows belong together, and which are alike.
    sort: Sort,
}

enum Sort {
    /// Any row may go anywhere.
    Random,
    /// The parts have the same shares of each value.
    Stratify,
    /// Rows of one value stay together.
    Group,
    /// A row goes where its value always goes.
    Hash,
    /// The last are the test.
    Time,
    /// A column, or how many of each.
    Fixed,
}

static SHARE: Kind = Kind::float(0.0, 1.0);
static DEFAULT: [Value; 3] = [Value::Float(0.8), Value::Float(0.1), Value::Float(0.1)];

const FRACTIONS: Param = Param::with_default(
    "fractions",
    Kind::List { of: &SHARE, min_len: 2, max_len: 3 },
    Value::list(&DEFAULT),
    "the shares of training, validation and test",
);

const fn column(doc: &'static str) -> Param {
    Param::required("column", Kind::Text, doc)
}

const fn spec(
    name: &'static str,
    aliases: &'static [&'static str],
    doc: &'static str,
    params: &'static [Param],
) -> Spec {
    Spec { name, aliases, peers: Peers::NONE, doc, params }
}

static RANDOM_PARAMS: [Param; 1] = [FRACTIONS];
static STRATIFY_PARAMS: [Param; 2] = [column("the column of the classes"), FRACTIONS];
static GROUP_PARAMS: [Param; 2] =
    [column("the column that says which rows belong together"), FRACTIONS];
static HASH_PARAMS: [Param; 2] = [column("the column of the ids"), FRACTIONS];
static SHARE_OR_LENGTH: Kind =
    Kind::OneOf(&[Kind::Float { min: 0.0, max: 1.0, open_min: false, open_max: true }, Kind::Text]);
static TIME_PARAMS: [Param; 6] = [
    Param::optional(
        "column",
        Kind::Text,
        "the column of the dates, or of numbers that rise with time; without it that of `time` in [data]",
    ),
    Param::with_default(
        "val",
        SHARE_OR_LENGTH,
        Value::Float(0.1),
        "what lies before the test: a share of the rows, or a length of time such as \"14d\"",
    )
    .alias(&["validation"]),
    Param::with_default(
        "test",
        SHARE_OR_LENGTH,
        Value::Float(0.1),
        "the end: a share of the rows, or a length of time such as \"28d\" (s, min, h, d, w, y)",
    ),
    Param::optional(
        "format",
        Kind::Text,
        "how dates are written, as in strptime; without it, found",
    ),
    Param::optional(
        "per",
        Kind::Text,
        "a column: of each of its values the last rows are the test",
    ),
    Param::optional(
        "leave_out",
        Kind::count(),
        "with `per`: how many rows of each value are for the test, and as many before for validation",
    ),
];
static FIXED_PARAMS: [Param; 2] = [
    Param::optional("column", Kind::Text, "a column with train, val or test"),
    Param::optional(
        "counts",
        Kind::List { of: &Kind::int(0, 1 << 40), min_len: 2, max_len: 3 },
        "how many rows are for training, then validation, then the test, in the order of the data",
    ),
];

static RANDOM: Spec = spec("random", &[], "Rows drawn at random.", &RANDOM_PARAMS);
static STRATIFY: Spec = spec(
    "stratify",
    &["stratified"],
    "Rows drawn at random, with the same share of each class in all parts.",
    &STRATIFY_PARAMS,
);
static GROUP: Spec = spec(
    "group",
    &["grouped"],
    "Groups drawn at random: all rows of a patient, a user, a recording go to the same part.",
    &GROUP_PARAMS,
);
static HASH: Spec = spec(
    "hash",
    &[],
    "By the hash of an id: a row stays in its part when others are added.",
    &HASH_PARAMS,
);
static TIME: Spec = spec("time", &[], "The past for training, the end for the test.", &TIME_PARAMS);
static FIXED: Spec =
    spec("fixed", &[], "As the data say: a column, or the order of the rows.", &FIXED_PARAMS);

pub(super) static REGISTRY: [Way; 6] = [
    Way { spec: &RANDOM, sort: Sort::Random },
    Way { spec: &STRATIFY, sort: Sort::Stratify },
    Way { spec: &GROUP, sort: Sort::Group },
    Way { spec: &TIME, sort: Sort::Time },
    Way { spec: &HASH, sort: Sort::Hash },
    Way { spec: &FIXED, sort: Sort::Fixed },
];

/// Fills the parts that have a share; the others are empty.
fn named(fractions: &[f64], dealt: Vec<Vec<usize>>) -> Parts {
    let mut dealt = dealt.into_iter();
    let mut part = |i: usize| {
        fractions.get(i).filter(|f| **f > 0.0).and_then(|_| dealt.next()).unwrap_or_default()
    };
    Parts { train: part(0), validation: part(1), test: part(2) }
}

impl Way {
    /// How each row finds its part by itself; `None` for a way that must know the other rows.
    pub(super) fn by_row(&self, args: &Args, seed: u64) -> Result<Option<ByRow>, DataError> {
        match self.sort {
            Sort::Hash => Ok(Some(ByRow::hash(args.text("column"), &shares(args)?, seed))),
            Sort::Fixed if args.has("column") && !args.has("counts") => {
                Ok(Some(ByRow::named(args.text("column"))))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn parts(
        &self,
        args: &Args,
        table: &Table,
        rows: &[usize],
        seed: u64,
    ) -> Result<Parts, DataError> {
        let parts = match self.sort {
            Sort::Time => time(args, table, rows)?,
            Sort::Fixed => fixed(args, table, rows)?,
            _ => {
                let fractions = shares(args)?;
                let used: Vec<f64> = fractions.iter().copied().filter(|f| *f > 0.0).collect();
                named(&fractions, self.deal(args, table, rows, &used, seed)?)
            }
        };
        match parts.train.is_empty() {
            true => Err(DataError::Empty { what: "the training part of the split".into() }),
            false => Ok(parts),
        }
    }

    /// Deals rows out in these shares, each part sorted, none empty.
    pub(super) fn deal(
        &self,
        args: &Args,
        table: &Table,
        rows: &[usize],
        shares: &[f64],
        seed: u64,
    ) -> Result<Vec<Vec<usize>>, DataError> {
        let of_rows = |parts: Vec<Vec<usize>>| -> Vec<Vec<usize>> {
            parts.into_iter().map(|part| part.into_iter().map(|i| rows[i]).collect()).collect()
        };
        let dealt = match self.sort {
            Sort::Random | Sort::Fixed => of_rows(super::random(rows.len(), shares, seed)?),
            Sort::Stratify => {
                let classes = classes(args, table, rows)?;
                of_rows(super::stratified(&classes, shares, seed)?)
            }
            Sort::Group => groups(args, table, rows, shares, seed)?,
            Sort::Hash => hashed(args, table, rows, shares, seed)?,
            Sort::Time => return Err(no_folds()),
        };
        super::none_empty(dealt, rows.len())
    }

    /// The rows of each of k parts of nearly equal size.
    pub(super) fn folds(
        &self,
        args: &Args,
        table: &Table,
        rows: &[usize],
        k: usize,
        seed: u64,
    ) -> Result<Vec<Vec<usize>>, DataError> {
        let shares = vec![1.0 / k as f64; k];
        match self.sort {
            Sort::Group => super::none_empty(groups(args, table, rows, &shares, seed)?, rows.len()),
            Sort::Hash => super::none_empty(hashed(args, table, rows, &shares, seed)?, rows.len()),
            Sort::Time => Err(no_folds()),
            Sort::Stratify => Ok(rounds(&classes(args, table, rows)?, rows, k, seed)),
            Sort::Random | Sort::Fixed => Ok(rounds(&vec![0; rows.len()], rows, k, seed)),
        }
    }
}

/// The shares of the parts, of which some may be 0.
fn shares(args: &Args) -> Result<Vec<f64>, DataError> {
    let fractions = args.floats("fractions");
    let used: Vec<f64> = fractions.iter().copied().filter(|f| *f > 0.0).collect();
    check(&used)?;
    match fractions[0] == 0.0 {
        true => Err(refuse("a share for training", format!("{fractions:?}"))),
        false => Ok(fractions),
    }
}

fn no_folds() -> DataError {
    refuse(
        "a way that has folds: random, stratify, group or hash",
        "time, where a fold would learn from what comes after it",
    )
}

/// Deals the rows out in turn, class by class and at random within each, so that the folds differ by at most one row of
/// each class and by at most one in all, as in scikit-learn's `StratifiedKFold`.
fn rounds(classes: &[i32], rows: &[usize], k: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_cached_key(|&i| (classes[i], Random::keyed(&[SPLIT, seed, i as u64]).bits(), i));
    let mut folds = vec![Vec::with_capacity(rows.len() / k + 1); k];
    for (dealt, i) in order.into_iter().enumerate() {
        folds[dealt % k].push(rows[i]);
    }
    folds.iter_mut().for_each(|fold| fold.sort_unstable());
    folds
}

/// The number of the value of each row, in the order in which they appear. A row without one has a value of its own kind.
fn numbered(column: &str, table: &Table, rows: &[usize]) -> Result<(Vec<i32>, usize), DataError> {
    let cells = &table.column(column)?.cells;
    let mut numbers: HashMap<String, i32> = HashMap::new();
    let mut all = Vec::with_capacity(rows.len());
    for &row in rows {
        let name = name_of(cells.get(row)).map_err(|no| table.refuse(row, column, no))?;
        let next = numbers.len() as i32;
        all.push(*numbers.entry(name.unwrap_or_default().into_owned()).or_insert(next));
    }
    Ok((all, numbers.len()))
}

fn classes(args: &Args, table: &Table, rows: &[usize]) -> Result<Vec<i32>, DataError> {
    let column = args.text("column");
    let (classes, count) = numbered(column, table, rows)?;
    if count * 2 > rows.len() {
        return Err(refuse(
            "a column of classes to stratify by",
            format!("`{column}` with {count} different values in {} rows", rows.len()),
        ));
    }
    Ok(classes)
}

/// Groups in random order, each to the part that lacks most: a part is off its share by less than the largest group.
fn groups(
    args: &Args,
    table: &Table,
    rows: &[usize],
    shares: &[f64],
    seed: u64,
) -> Result<Vec<Vec<usize>>, DataError> {
    let (of_row, count) = numbered(args.text("column"), table, rows)?;
    let mut sizes = vec![0usize; count];
    of_row.iter().for_each(|&group| sizes[group as usize] += 1);
    let order = Permutation::keyed(count as u64, &[SPLIT, seed, 1]);
    let mut part_of = vec![0; count];
    let mut filled = vec![0usize; shares.len()];
    for position in 0..count as u64 {
        let group = order.get(position) as usize;
        let lacks = |part: usize| shares[part] * rows.len() as f64 - filled[part] as f64;
        let part =
            (1..shares.len()).fold(0, |best, p| if lacks(p) > lacks(best) { p } else { best });
        part_of[group] = part;
        filled[part] += sizes[group];
    }
    let mut parts = vec![Vec::new(); shares.len()];
    rows.iter().zip(of_row).for_each(|(&row, group)| parts[part_of[group as usize]].push(row));
    Ok(parts)
}

/// Each row by the hash of its id alone.
fn hashed(
    args: &Args,
    table: &Table,
    rows: &[usize],
    shares: &[f64],
    seed: u64,
) -> Result<Vec<Vec<usize>>, DataError> {
    let column = args.text("column");
    let cells = &table.column(column)?.cells;
    let mut parts = vec![Vec::new(); shares.len()];
    for &row in rows {
        let part = hash_part(cells.get(row), shares, seed);
        parts[part.map_err(|no| table.refuse(row, column, no))?].push(row);
    }
    Ok(parts)
}

fn fixed(args: &Args, table: &Table, rows: &[usize]) -> Result<Parts, DataError> {
    if args.has("counts") == args.has("column") {
        return Err(refuse("either `column` or `counts`", "both or none"));
    }
    if args.has("counts") {
        let counts = args.usizes("counts");
        let sum = counts.iter().try_fold(0usize, |sum, count| sum.checked_add(*count));
        if sum != Some(rows.len()) {
            let expected = format!("counts that add up to {}, the number of rows", rows.len());
            return Err(refuse(expected, format!("{counts:?}")));
        }
        let (train, rest) = rows.split_at(counts[0]);
        let (validation, test) = rest.split_at(counts[1]);
        return Ok(Parts {
            train: train.to_vec(),
            validation: validation.to_vec(),
            test: test.to_vec(),
        });
    }
    let column = args.text("column");
    let cells = &table.column(column)?.cells;
    let mut parts = Parts::default();
    for &row in rows {
        match fixed_part(cells.get(row)).map_err(|no| table.refuse(row, column, no))? {
            0 => parts.train.push(row),
            1 => parts.validation.push(row),
            _ => parts.test.push(row),
        }
    }
    Ok(parts)
}

/// When each row was, as a number that rises.
fn moments(args: &Args, table: &Table, rows: &[usize]) -> Result<Vec<f64>, DataError> {
    if !args.has("column") {
        return Err(refuse("`column`: that of the times", "none"));
    }
    let column = args.text("column");
    let cells = &table.column(column)?.cells;
    let mut formats = match args.has("format") {
        true => vec![args.text("format").to_string()],
        false => civil::formats(),
    };
    if let Some(problem) = formats.iter().find_map(|format| civil::format_problem(format)) {
        return Err(refuse("a format of dates", problem));
    }
    let mut names = Vec::with_capacity(rows.len());
    for &row in rows {
        let refuse = |no| table.refuse(row, column, no);
        let missing = || refuse(Refusal::new("a time to split by", cells.get(row)));
        names.push(name_of(cells.get(row)).map_err(refuse)?.ok_or_else(missing)?);
    }
    let number = |name: &str| name.parse::<f64>().ok().filter(|number| number.is_finite());
    if !args.has("format")
        && let Some(numbers) = names.iter().map(|name| number(name)).collect::<Option<Vec<f64>>>()
    {
        return Ok(numbers);
    }
    for (name, &row) in names.iter().zip(rows) {
        let fits = |format: &String| civil::read(name, format).is_some();
        if !formats.iter().any(fits) {
            let expected = format!("a date written as {}", formats[0]);
            let no = Refusal::new(expected, cells.get(row));
            return Err(table.refuse(row, column, no));
        }
        formats.retain(fits);
    }
    Ok(names.iter().filter_map(|name| Some(civil::read(name, formats.first()?)?.0)).collect())
}

fn time(args: &Args, table: &Table, rows: &[usize]) -> Result<Parts, DataError> {
    let moments = moments(args, table, rows)?;
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|&a, &b| moments[a].total_cmp(&moments[b]).then(a.cmp(&b)));
    if args.has("per") || args.has("leave_out") {
        return leave_out(args, table, rows, &order);
    }
    let Some(&last) = order.last() else { return Ok(Parts::default()) };
    let test = cut(args.get("test"), &moments, &order, order.len(), moments[last])?;
    let end = if test < order.len() { moments[order[test]] } else { moments[last] };
    let validation = cut(args.get("val"), &moments, &order, test, end)?;
    let part = |range: &[usize]| {
        let mut part: Vec<usize> = range.iter().map(|&i| rows[i]).collect();
        part.sort_unstable();
        part
    };
    Ok(Parts {
        train: part(&order[..validation]),
        validation: part(&order[validation..test]),
        test: part(&order[test..]),
    })
}

/// Where a part begins that ends before `end`, in the order of time. Rows of one moment stay together.
fn cut(
    length: Option<&Value>,
    moments: &[f64],
    order: &[usize],
    end: usize,
    until: f64,
) -> Result<usize, DataError> {
    let start = match length {
        Some(Value::Float(share)) => {
            end.saturating_sub((share * order.len() as f64).round() as usize)
        }
        Some(Value::Text(text)) => {
            let seconds = civil::duration(text).ok_or_else(|| {
                refuse("a share, or a length of time such as \"14d\" or \"36h\"", text.to_string())
            })?;
            let from = until - seconds;
            // The last moment of all belongs to the part that ends with it, the first of the test not to validation.
            let before =
                |&i: &usize| moments[i] < from || (end == order.len() && moments[i] == from);
            order[..end].partition_point(before)
        }
        _ => end,
    };
    // Back to the first row of this moment.
    match order.get(start).filter(|_| start < end) {
        Some(&first) => Ok(order.partition_point(|&i| moments[i] < moments[first])),
        None => Ok(start),
    }
}

/// Of each value the last rows for the test, as many before for validation.
fn leave_out(
    args: &Args,
    table: &Table,
    rows: &[usize],
    order: &[usize],
) -> Result<Parts, DataError> {
    if !args.has("per") {
        return Err(refuse("`per` beside `leave_out`: a column", "none"));
    }
    let count = if args.has("leave_out") { args.usize("leave_out") } else { 1 };
    let (of_row, groups) = numbered(args.text("per"), table, rows)?;
    let mut after = vec![0usize; groups];
    let mut parts = Parts::default();
    for &i in order.iter().rev() {
        let seen = &mut after[of_row[i] as usize];
        let part = match *seen / count {
            0 => &mut parts.test,
            1 => &mut parts.validation,
            _ => &mut parts.train,
        };
        part.push(rows[i]);
        *seen += 1;
    }
    for part in [&mut parts.train, &mut parts.validation, &mut parts.test] {
        part.sort_unstable();
    }
    Ok(parts)
}
