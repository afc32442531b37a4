//! The order of the rows of a table in time.

use std::ops::Range;

use nerve_formats::spec::{Args, Kind, Param, Value};

use crate::features::Refusal;
use crate::{Cell, DataError, Table, civil};

/// What the table `[data]` of a recipe says about time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The column of the time; without it the rows are in order and equally far apart.
    pub time: Option<String>,
    /// The column that says which series a row belongs to; without it all are one.
    pub series: Option<String>,
    /// The time from row to row, as `30min`; without it the median of what is found.
    pub freq: Option<String>,
    /// Every how many-th row of a run is an example to learn from and to judge by.
    pub stride: usize,
}

/// The keys of `[data]` that [`Order::from_args`] reads.
pub static PARAMS: [Param; 4] = [
    Param::optional(
        "time",
        Kind::Text,
        "the column of the time, by which the rows are put in order",
    ),
    Param::optional("series", Kind::Text, "the column that says which series a row belongs to"),
    Param::optional("freq", Kind::Text, "the time from row to row, such as \"30min\" or \"1d\""),
    Param::with_default(
        "stride",
        Kind::int(1, 1_000_000),
        Value::Int(1),
        "of series: every how many-th row is an example, from the first on that has all before it; prediction answers all",
    ),
];

impl Order {
    /// From the checked values of [`PARAMS`].
    pub fn from_args(args: &Args) -> Order {
        let text = |key: &str| args.has(key).then(|| args.text(key).to_string());
        let stride = args.usize("stride");
        Order { time: text("time"), series: text("series"), freq: text("freq"), stride }
    }
}

/// Which series each row belongs to, as a number, and its time in seconds.
struct Keys {
    series: Vec<usize>,
    times: Vec<f64>,
}

impl Keys {
    fn of(table: &Table, order: &Order) -> Result<Keys, DataError> {
        let rows = table.rows();
        let series = series_of(table, order)?;
        let times = match &order.time {
            Some(name) => moments(table, name)?,
            None => (0..rows).map(|row| row as f64).collect(),
        };
        Ok(Keys { series, times })
    }
}

/// For each row of a table the number of its series, in the order in which they appear; all are one without a column.
///
/// # Errors
/// [`DataError::UnknownColumn`]; [`DataError::Cell`] for a name that is none.
pub fn series_of(table: &Table, order: &Order) -> Result<Vec<usize>, DataError> {
    order.series.as_ref().map_or(Ok(vec![0; table.rows()]), |column| numbered(table, column))
}

/// For each row the number of its name, in the order in which they appear.
fn numbered(table: &Table, column: &str) -> Result<Vec<usize>, DataError> {
    let cells = &table.column(column)?.cells;
    let mut known = std::collections::HashMap::new();
    let number = |row| {
        let name = match cells.get(row) {
            Cell::Text(text) if !text.trim().is_empty() => text.trim().to_string(),
            Cell::Number(number) => number.to_string(),
            cell => {
                return Err(table.refuse(row, column, Refusal::new("the name of a series", cell)));
            }
        };
        let next = known.len();
        Ok(*known.entry(name).or_insert(next))
    };
    (0..table.rows()).map(number).collect()
}

/// The time of each row in seconds: numbers as they are, dates by the one format that reads them all.
fn moments(table: &Table, column: &str) -> Result<Vec<f64>, DataError> {
    let cells = &table.column(column)?.cells;
    let refuse =
        |row, expected: &str| table.refuse(row, column, Refusal::new(expected, cells.get(row)));
    let rows = 0..table.rows();
    let number = |row| match cells.get(row) {
        Cell::Number(number) => Some(number),
        Cell::Text(text) => text.trim().parse::<f64>().ok().filter(|number| number.is_finite()),
        _ => None,
    };
    if rows.is_empty() || number(0).is_some() {
        return rows
            .map(|row| number(row).ok_or_else(|| refuse(row, "a number, as above")))
            .collect();
    }
    let read = |row, format: &str| match cells.get(row) {
        Cell::Text(text) => civil::read(text.trim(), format).map(|moment| moment.0),
        _ => None,
    };
    // The first cell leaves few formats; the one that gets furthest decides.
    let mut furthest = (0, String::new());
    for format in civil::formats() {
        match rows.clone().find(|&row| read(row, &format).is_none()) {
            None => return Ok(rows.filter_map(|row| read(row, &format)).collect()),
            Some(row) if row > furthest.0 => furthest = (row, format),
            Some(_) => {}
        }
    }
    Err(match furthest {
        (0, _) => refuse(0, "a date or a number"),
        (row, format) => refuse(row, &format!("a date written as {format}, as above")),
    })
}

/// The rows of a table by series, in the order in which these appear, and within each by time.
///
/// # Errors
/// [`DataError::UnknownColumn`]; [`DataError::Cell`] for a time or name that is none.
pub fn in_order(table: &Table, order: &Order) -> Result<Vec<usize>, DataError> {
    let mut rows: Vec<usize> = (0..table.rows()).collect();
    if order.time.is_some() || order.series.is_some() {
        let Keys { series, times } = Keys::of(table, order)?;
        rows.sort_by(|&a, &b| series[a].cmp(&series[b]).then(times[a].total_cmp(&times[b])));
    }
    Ok(rows)
}

/// The table with its rows [in order](in_order).
///
/// # Errors
/// As there.
pub fn sorted(table: Table, order: &Order) -> Result<Table, DataError> {
    let rows = in_order(&table, order)?;
    Ok(if rows.is_sorted() { table } else { table.select(&rows) })
}

/// Which rows of a table follow one another without a gap.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// Rows of one series, each one step after the other.
    runs: Vec<Range<usize>>,
    rows: usize,
}

impl Timeline {
    /// Of a table that is [`sorted`].
    ///
    /// A gap is where the next row of a series comes later than one and a half steps: days of 23 hours are none, months
    /// are as long as they are.
    ///
    /// # Errors
    /// [`DataError::Cell`] for a time that is none, or that is not after the one before it in its series;
    /// [`DataError::Option`] for a `freq` that is no length of time.
    pub fn new(table: &Table, order: &Order) -> Result<Timeline, DataError> {
        let Keys { series, times } = Keys::of(table, order)?;
        let rows = table.rows();
        let follows = |row: usize| series[row] == series[row - 1];
        let mut steps = Vec::new();
        if let Some(column) = &order.time {
            for row in (1..rows).filter(|&row| follows(row)) {
                if times[row] <= times[row - 1] {
                    let cell = table.column(column)?.cells.get(row);
                    let expected = format!("a time after that of {}", table.place(row - 1));
                    return Err(table.refuse(row, column, Refusal::new(expected, cell)));
                }
                steps.push(times[row] - times[row - 1]);
            }
        }
        let step = match (&order.freq, &order.time) {
            (Some(text), Some(_)) => {
                civil::duration(text).filter(|&s| s > 0.0).ok_or_else(|| {
                    let expected = "a length of time such as \"30min\", \"1h\" or \"1d\"".into();
                    DataError::Option { option: "freq", expected, found: text.clone() }
                })?
            }
            _ => median(&mut steps),
        };
        let breaks = (1..rows).filter(|&row| {
            !follows(row) || (order.time.is_some() && times[row] - times[row - 1] > 1.5 * step)
        });
        let starts: Vec<usize> = std::iter::once(0).chain(breaks).collect();
        let ends = starts[1..].iter().copied().chain([rows]);
        let runs = starts.iter().zip(ends).map(|(&start, end)| start..end);
        Ok(Timeline { runs: runs.filter(|run| !run.is_empty()).collect(), rows })
    }

    /// For each row the first row of its run: what is known of a series before a row begins there.
    pub fn starts(&self) -> Vec<usize> {
        let mut starts = vec![0; self.rows];
        for run in &self.runs {
            starts[run.clone()].fill(run.start);
        }
        starts
    }

    /// The runs of rows that follow one another.
    pub fn runs(&self) -> &[Range<usize>] {
        &self.runs
    }

    /// The rows that have all the rows that are reached from them, `reach` relative to each, in their own run; of these every
    /// `stride`-th of a run.
    pub fn origins(&self, reach: Range<isize>, stride: usize) -> Vec<usize> {
        let before = (-reach.start).max(0) as usize;
        let after = (reach.end - 1).max(0) as usize;
        let of_run = |run: &Range<usize>| {
            let end = run.end.saturating_sub(after);
            (run.start.saturating_add(before)..end).step_by(stride.max(1))
        };
        self.runs.iter().flat_map(of_run).collect()
    }

    /// The [`Timeline::origins`] that belong to a part of the data, of which `rows` are the rows, sorted.
    ///
    /// All rows from the origin on must be of that part; if it is what is `learned` from, also those before the origin. So
    /// no value that judges the network was seen in training, neither as a target nor in a window, while validation and
    /// test may look back at what is known by then.
    pub fn samples(
        &self,
        rows: &[usize],
        reach: Range<isize>,
        stride: usize,
        learned: bool,
    ) -> Vec<usize> {
        let mut inside = vec![false; self.rows];
        rows.iter().filter(|&&row| row < self.rows).for_each(|&row| inside[row] = true);
        // For each row the first of the rows up to it that are all of the part.
        let mut first = vec![usize::MAX; self.rows];
        for row in (0..self.rows).filter(|&row| inside[row]) {
            let before = row.checked_sub(1).map(|before| first[before]);
            first[row] = before.filter(|&first| first != usize::MAX).unwrap_or(row);
        }
        let after = (reach.end - 1).max(0) as usize;
        let before = if learned { (-reach.start).max(0) as usize } else { 0 };
        let mut samples = self.origins(reach, stride);
        samples.retain(|&row| first[row + after] <= row - before);
        samples
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cells, Column, Origin};

    fn text(name: &str, cells: &[&str]) -> Column {
        let cells = Cells::Text(cells.iter().map(|cell| Some(*cell)).collect());
        Column { name: name.into(), cells }
    }

    fn order(time: Option<&str>, series: Option<&str>, freq: Option<&str>) -> Order {
        let own = |name: Option<&str>| name.map(str::to_string);
        Order { time: own(time), series: own(series), freq: own(freq), stride: 1 }
    }

    fn one(run: Range<usize>) -> Vec<Range<usize>> {
        std::iter::once(run).collect()
    }

    fn table(columns: Vec<Column>) -> Table {
        Table::new(columns, Origin::default()).unwrap()
    }

    #[test]
    fn rows_are_put_in_order_by_series_and_time() {
        let when = ["2024-01-02", "2024-01-01", "2024-01-03", "2024-01-01"];
        let table = table(vec![text("day", &when), text("who", &["b", "a", "b", "b"])]);
        let order = order(Some("day"), Some("who"), None);
        let sorted = sorted(table, &order).unwrap();
        let read = |column: &str, row| match sorted.column(column).unwrap().cells.get(row) {
            Cell::Text(text) => text.to_string(),
            cell => panic!("{cell:?}"),
        };
        let all: Vec<String> =
            (0..4).map(|row| read("who", row) + &read("day", row)[8..]).collect();
        assert_eq!(all, ["b01", "b02", "b03", "a01"]);
        assert_eq!(Timeline::new(&sorted, &order).unwrap().runs(), [0..3, 3..4]);
        // Each row still knows where it stood.
        assert_eq!(sorted.place(0), "the data:4");
    }

    #[test]
    fn a_gap_parts_what_follows() {
        let hours = ["0", "1", "2", "5", "6", "7"];
        let table = table(vec![text("hour", &hours)]);
        let runs = |freq| {
            let order = order(Some("hour"), None, freq);
            Timeline::new(&table, &order).unwrap().runs().to_vec()
        };
        assert_eq!(runs(None), [0..3, 3..6]);
        assert_eq!(runs(Some("4s")), one(0..6));
        let error = Timeline::new(&table, &order(Some("hour"), None, Some("often"))).unwrap_err();
        assert!(error.to_string().contains("length of time"), "{error}");
        assert_eq!(Timeline::new(&table, &order(None, None, None)).unwrap().runs(), one(0..6));
    }

    #[test]
    fn months_are_as_long_as_they_are() {
        let months: Vec<String> = (1..=12).map(|m| format!("2023-{m:02}-01")).collect();
        let months: Vec<&str> = months.iter().map(String::as_str).collect();
        let table = table(vec![text("month", &months)]);
        let timeline = Timeline::new(&table, &order(Some("month"), None, None)).unwrap();
        assert_eq!(timeline.runs(), one(0..12));
    }

    #[test]
    fn a_time_that_stands_twice_or_is_none_is_an_error_with_its_row() {
        let error = |cells: &[&str]| {
            let table = table(vec![text("t", cells)]);
            Timeline::new(&table, &order(Some("t"), None, None)).unwrap_err().to_string()
        };
        let twice = error(&["1", "2", "2"]);
        assert!(twice.contains("row 3 of the data, column `t`: expected a time after"), "{twice}");
        let none = error(&["2024-01-01", "2024-01-02", "soon"]);
        assert!(none.contains("row 3") && none.contains("as above"), "{none}");
        assert!(error(&["1", ""]).contains("row 2"));
        assert!(error(&["x"]).contains("a date or a number"));
    }

    #[test]
    fn origins_have_all_that_they_reach() {
        let table = table(vec![text("s", &["a", "a", "a", "a", "a", "b", "b", "b"])]);
        let timeline = Timeline::new(&table, &order(None, Some("s"), None)).unwrap();
        assert_eq!(timeline.origins(-1..2, 1), [1, 2, 3, 6]);
        assert_eq!(timeline.origins(-1..2, 2), [1, 3, 6]);
        assert_eq!(timeline.origins(0..1, 1).len(), 8);
        assert!(timeline.origins(-9..2, 1).is_empty());
    }

    #[test]
    fn no_training_sample_touches_what_judges_it() {
        let rows: Vec<String> = (0..40).map(|i| i.to_string()).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let table = table(vec![text("t", &rows)]);
        let timeline = Timeline::new(&table, &order(Some("t"), None, None)).unwrap();
        let (train, test): (Vec<usize>, Vec<usize>) = ((0..25).collect(), (25..40).collect());
        let (window, horizon) = (6, 3);
        let reach = 1 - window..horizon + 1;
        let learned = timeline.samples(&train, reach.clone(), 1, true);
        assert_eq!(learned, (5..22).collect::<Vec<_>>());
        let judged = timeline.samples(&test, reach.clone(), 1, false);
        assert_eq!(judged, (25..37).collect::<Vec<_>>());
        // Every other row at random leaves nothing to learn from.
        let odd: Vec<usize> = (0..40).filter(|row| row % 2 == 1).collect();
        assert!(timeline.samples(&odd, reach, 1, true).is_empty());
    }
}
