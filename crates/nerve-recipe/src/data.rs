//! From the tables `[data]`, `[[input]]` and `[[output]]` to data sets: read, split, and every column through its feature.

use crate::columns;
use crate::features::Features;
use crate::per_series::OnScale;
use crate::recipe::Recipe;
use crate::sequences;
use nerve_data::features::Role;
use nerve_data::series::{self, Order, Timeline};
use nerve_data::source::{self, Options, TableStream};
use nerve_data::table::Prepared;
use nerve_data::{
    Arrays, Cells, DataError, Dataset, Field, Origin, Stream, Subset, Table, catalogue, mnist,
    split,
};
use nerve_formats::spec::{Item, Value};
use std::sync::Arc;

/// Rows of a table.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The table.
    pub table: Arc<Table>,
    /// Which of its rows, in their order.
    pub rows: Vec<usize>,
}

impl Rows {
    /// All rows of a table.
    pub fn all(table: Table) -> Rows {
        let rows = (0..table.rows()).collect();
        Rows { table: Arc::new(table), rows }
    }
}

/// The examples as they were read, split.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Those to learn from; all statistics come from them.
    pub train: Rows,
    /// Those that watch the training.
    pub validation: Option<Rows>,
    /// Those that judge it.
    pub test: Option<Rows>,
}

/// Data that are ready to be trained on.
#[derive(Clone)]
pub struct Data {
    /// The columns, and the fields that they become.
    pub features: Features,
    /// Whether a field with the weight of each example follows the slots.
    pub weighted: bool,
    /// The examples to learn from, to watch and to judge.
    pub train: Part,
    /// None where the recipe holds none back.
    pub validation: Option<Part>,
    /// None where the recipe has no test data.
    pub test: Option<Part>,
    /// What should be said about how the data were read.
    pub(crate) notes: Vec<String>,
}

/// A part of the data through its features.
#[derive(Clone)]
pub enum Part {
    /// All of it is in memory.
    Kept {
        /// The examples.
        dataset: Arc<dyn Dataset>,
        /// Where they come from.
        rows: Rows,
    },
    /// It is read from its files in each epoch: `[data] stream = true`.
    Streamed(Arc<TableStream>),
}

impl Part {
    /// How many examples there are.
    pub fn len(&self) -> usize {
        match self {
            Part::Kept { rows, .. } => rows.rows.len(),
            Part::Streamed(stream) => stream.count().unwrap_or(0) as usize,
        }
    }

    /// Whether there are none; never so in a recipe's data.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The fields of an example as it is stored.
    pub fn fields(&self) -> &[Field] {
        match self {
            Part::Kept { dataset, .. } => dataset.fields(),
            Part::Streamed(stream) => stream.fields(),
        }
    }

    /// The examples, if they are in memory.
    pub fn dataset(&self) -> Option<&Arc<dyn Dataset>> {
        match self {
            Part::Kept { dataset, .. } => Some(dataset),
            Part::Streamed(_) => None,
        }
    }

    /// Where the examples come from, if they are in memory.
    pub fn rows(&self) -> Option<&Rows> {
        match self {
            Part::Kept { rows, .. } => Some(rows),
            Part::Streamed(_) => None,
        }
    }
}

impl Recipe {
    /// Reads and splits the data.
    ///
    /// # Errors
    /// A file that is missing, damaged or does not fit; an empty part.
    pub fn tables(&self) -> Result<Tables, DataError> {
        let (whole, test) = self.whole()?;
        let validation = match self.data.get("validation") {
            Some(Value::Float(_)) | None => None,
            Some(_) => Some(self.usable(self.files("validation")?)?),
        };
        let test = test.map(|test| self.usable(test)).transpose()?;
        self.split(self.usable(whole)?, validation, test)
    }

    /// Reads what a key of `[data]` names.
    fn files(&self, key: &str) -> Result<Table, DataError> {
        source::read_all(&*self.source(key)?)
    }

    /// The data `k` times, each time with another part of them for the test: cross-validation. A test with files of its
    /// own is not looked at.
    ///
    /// # Errors
    /// As [`Recipe::tables`]; a split that has no folds, as by time.
    pub fn folds(&self, k: usize) -> Result<Vec<Tables>, DataError> {
        let whole = self.usable(self.whole()?.0)?;
        let way = self.data.item("split");
        let share = match self.data.get("validation") {
            Some(Value::Float(share)) => *share,
            _ if way.args.has("fractions") => {
                way.args.floats("fractions").get(1).copied().unwrap_or(0.0)
            }
            _ => 0.1,
        };
        let folds = split::folds(way, &whole.table, &whole.rows, k, share, self.seed())?;
        let of = |rows: Vec<usize>| Rows { table: whole.table.clone(), rows };
        let some = |rows: Vec<usize>| (!rows.is_empty()).then(|| of(rows));
        let tables = |fold: split::Parts| Tables {
            train: of(fold.train),
            validation: some(fold.validation),
            test: some(fold.test),
        };
        Ok(folds.into_iter().map(tables).collect())
    }

    /// What the recipe names to learn from, and its test where that has files of its own.
    fn whole(&self) -> Result<(Table, Option<Table>), DataError> {
        let data = &self.data;
        if data.bool("stream") {
            return Err(DataError::Option {
                option: "stream",
                expected: "false, since this needs all rows in memory (data.stream=false)".into(),
                found: "true".into(),
            });
        }
        if data.has("name") {
            return named(data.text("name"), &Options::from_args(data));
        }
        if data.has("path") {
            return Ok((self.files("path")?, None));
        }
        let test = data.has("test").then(|| self.files("test")).transpose()?;
        Ok((self.files("train")?, test))
    }

    /// A table with its rows by series and time, where the recipe names columns of these: series may be mixed row by row.
    ///
    /// # Errors
    /// A column that is not there; a time or a name that is none.
    pub fn in_order(&self, table: Table) -> Result<Table, DataError> {
        series::sorted(table, &Order::from_args(&self.data))
    }

    /// The rows of a table that no column leaves out, in the order of their time where they have one.
    pub(crate) fn usable(&self, table: Table) -> Result<Rows, DataError> {
        let mut table = self.in_order(table)?;
        let mut rows: Vec<usize> = (0..table.rows()).collect();
        let mut notes = Vec::new();
        for (role, columns) in [(Role::Input, &self.inputs), (Role::Output, &self.outputs)] {
            for column in columns {
                let before = rows.len();
                let cells = &table.column(&column.name)?.cells;
                let fitting = crate::features::begin(column, role, &table.origin().folder)?;
                rows.retain(|&row| !fitting.leaves_out(cells, row));
                if rows.len() < before {
                    let (left, name) = (before - rows.len(), crate::source::escape(&column.name));
                    notes.push(format!("{left} of {before} rows are left out: no `{name}`"));
                }
            }
        }
        notes.extend(self.leave_out_bad(&table, &mut rows)?);
        notes.into_iter().for_each(|note| table.note(note));
        Ok(Rows { table: Arc::new(table), rows })
    }

    /// Leaves out rows with a cell that its column cannot take, as many as the recipe allows, and says which.
    fn leave_out_bad(
        &self,
        table: &Table,
        rows: &mut Vec<usize>,
    ) -> Result<Vec<String>, DataError> {
        let most = self.data.usize("skip_bad");
        if most == 0 {
            return Ok(Vec::new());
        }
        let recipe = self.described(table)?;
        let mut notes = Vec::new();
        for (role, columns) in [(Role::Input, &recipe.inputs), (Role::Output, &recipe.outputs)] {
            for column in columns {
                // Only asked what it can take: what it learns from all parts is thrown away.
                let mut asked = crate::features::begin(column, role, &table.origin().folder)?;
                let cells = &table.column(&column.name)?.cells;
                let mut kept = Vec::with_capacity(rows.len());
                for &row in rows.iter() {
                    let Err(refusal) = asked.observe(cells, row) else {
                        kept.push(row);
                        continue;
                    };
                    let error = table.refuse(row, &column.name, refusal);
                    if notes.len() == most {
                        return Err(error);
                    }
                    notes.push(format!("left out: {error}"));
                }
                *rows = kept;
            }
        }
        Ok(notes)
    }

    /// Splits what has no files of its own.
    fn split(
        &self,
        whole: Rows,
        validation: Option<Rows>,
        test: Option<Rows>,
    ) -> Result<Tables, DataError> {
        if whole.rows.is_empty() {
            return Err(DataError::Empty { what: "training data".into() });
        }
        let Some(way) = self.way(validation.is_some(), test.is_some()) else {
            return Ok(Tables { train: whole, validation, test });
        };
        let parts = split::parts(&way, &whole.table, &whole.rows, self.seed())?;
        let of = |rows: Vec<usize>| Rows { table: whole.table.clone(), rows };
        let some = |rows: Vec<usize>| (!rows.is_empty()).then(|| of(rows));
        let (own_validation, own_test) = (some(parts.validation), some(parts.test));
        Ok(Tables {
            train: of(parts.train),
            validation: validation.or(own_validation),
            test: test.or(own_test),
        })
    }

    /// The way in which the data are split; `None` where nothing is. What has files of its own takes no share.
    pub(crate) fn way(&self, validation: bool, test: bool) -> Option<Item> {
        let mut way = self.data.item("split").clone();
        // A way without shares, by time or as the data say, stands alone: the recipe has checked that.
        if !way.args.has("fractions") {
            return Some(way);
        }
        let given = way.args.floats("fractions");
        let share = |i: usize| given.get(i).copied().unwrap_or(0.0);
        let watched = match self.data.get("validation") {
            Some(Value::Float(share)) => Some(*share),
            _ => None,
        };
        let shares = match (watched, validation, test) {
            (Some(watched), ..) => vec![1.0 - watched, watched],
            (None, true, true) => return None,
            (None, true, false) => vec![1.0 - share(2), 0.0, share(2)],
            (None, false, true) => vec![1.0 - share(1), share(1)],
            (None, false, false) => given,
        };
        if shares[0] == 1.0 {
            return None;
        }
        let shares = shares.into_iter().map(Value::Float).collect::<Vec<_>>();
        way.args = way.args.with("fractions", Value::List(shares.into()));
        Some(way)
    }

    /// Describes the columns of data that need no description: those that hold a file or picture and a label and
    /// nothing else.
    ///
    /// # Errors
    /// [`DataError::Column`] for other data.
    pub fn described(&self, table: &Table) -> Result<Recipe, DataError> {
        let names: Vec<String> = table.columns().iter().map(|it| it.name.clone()).collect();
        self.described_by(&names)
    }

    /// The same for data with these columns.
    pub(crate) fn described_by(&self, names: &[String]) -> Result<Recipe, DataError> {
        let mut recipe = self.clone();
        if !self.inputs.is_empty() || !self.outputs.is_empty() {
            return Ok(recipe);
        }
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        let [input, "label"] = names[..] else {
            return Err(DataError::Column {
                column: names.first().copied().unwrap_or("").into(),
                message:
                    "the recipe has no [[input]] and no [[output]] that say what goes in and what \
                          should come out; `nerve init FILE --target COLUMN` writes them"
                        .into(),
            });
        };
        recipe.inputs = vec![columns::plain(Role::Input, input, input)];
        recipe.outputs = vec![columns::plain(Role::Output, "label", "category")];
        Ok(recipe)
    }

    /// Fits the features to the training rows and prepares all parts.
    ///
    /// # Errors
    /// A column that is not there, a cell that its feature cannot take.
    pub fn prepare(&self, tables: &Tables) -> Result<Data, DataError> {
        let features = Features::fit(self, &tables.train)?;
        let slots = &features.slots;
        let mut scaled = OnScale::default();
        let weights = self.weights(&features, &tables.train)?;
        let mut part = |rows: &Rows, learned: bool| -> Result<Part, DataError> {
            let stride = Order::from_args(&self.data).stride;
            let rows = &self.whole_samples(&features, rows, learned, stride)?;
            sequences::as_long(&features, rows)?;
            let table = scaled.of(&features, &rows.table)?;
            let mut prepared = Prepared::new(table, slots.clone(), &rows.rows)?;
            if let Some(weights) = &weights {
                prepared = prepared.weighted(weights.of(&features, rows)?);
            }
            let dataset = Arc::new(Subset::new(prepared, rows.rows.clone())?);
            Ok(Part::Kept { dataset, rows: rows.clone() })
        };
        let train = part(&tables.train, true)?;
        let mut judged = |rows: &Rows| part(rows, false);
        let validation = tables.validation.as_ref().map(&mut judged).transpose()?;
        let test = tables.test.as_ref().map(judged).transpose()?;
        let weighted = weights.is_some();
        // Parts of one table have one set of notes.
        let mut notes: Vec<String> = Vec::new();
        for part in [Some(&train), validation.as_ref(), test.as_ref()].into_iter().flatten() {
            let all = part.rows().map_or(&[][..], |rows| rows.table.notes());
            let new: Vec<String> =
                all.iter().filter(|note| !notes.contains(note)).cloned().collect();
            notes.extend(new);
        }
        Ok(Data { features, weighted, train, validation, test, notes })
    }
}

impl Recipe {
    /// The rows that have around them all that a sample needs: a window of the past, what comes after. Of rows that are
    /// learned from, none reaches into another part. Of a series every `stride`-th of them.
    pub(crate) fn whole_samples(
        &self,
        features: &Features,
        rows: &Rows,
        learned: bool,
        stride: usize,
    ) -> Result<Rows, DataError> {
        let reach = features.reach();
        if reach == (0..1) {
            return Ok(rows.clone());
        }
        let timeline = Timeline::new(&rows.table, &Order::from_args(&self.data))?;
        let samples = timeline.samples(&rows.rows, reach.clone(), stride, learned);
        if samples.is_empty() {
            let (before, after) = (-reach.start, reach.end - 1);
            let rows = rows.rows.len();
            return Err(DataError::Empty {
                what: format!(
                    "{rows} rows of which each needs {before} before it and {after} after it without a gap"
                ),
            });
        }
        Ok(Rows { table: rows.table.clone(), rows: samples })
    }
}

impl Data {
    /// What should be said about the data: rows that were passed over or left out, and what the columns hold.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        notes.extend(self.features.notes());
        notes
    }

    /// What tells whether the data of a training have changed: the content of the tables and which of their rows are
    /// learned from.
    pub fn fingerprint(&self) -> String {
        let tables = [Some(&self.train), self.validation.as_ref()].into_iter().flatten();
        let mut parts: Vec<String> = Vec::new();
        let mut known: Vec<*const Table> = Vec::new();
        for part in tables {
            // What is read in each epoch is not read once more for this.
            let Some(Rows { table, rows }) = part.rows() else {
                parts.push(format!("{} rows", part.len()));
                continue;
            };
            if !known.contains(&Arc::as_ptr(table)) {
                known.push(Arc::as_ptr(table));
                parts.push(table.fingerprint());
            }
            let rows = rows.iter().map(|&row| row as f64).collect();
            let column = nerve_data::Column { name: "rows".into(), cells: Cells::Numbers(rows) };
            let rows = Table::new(vec![column], Origin::default()).expect("one column");
            parts.push(rows.fingerprint()[..16].to_string());
        }
        parts.join("-")
    }

    /// How many examples there are for training, validation and test.
    pub fn examples(&self) -> [usize; 3] {
        let length = |part: Option<&Part>| part.map_or(0, Part::len);
        [self.train.len(), length(self.validation.as_ref()), length(self.test.as_ref())]
    }
}

/// A data set of the catalogue: its table, or its training and its test data.
fn named(name: &str, options: &Options) -> Result<(Table, Option<Table>), DataError> {
    let (entry, folder) = (catalogue::entry(name)?, catalogue::find(name)?);
    match entry.table {
        Some(table) => Ok((source::read(&folder.join(table), options)?, None)),
        None => {
            let test = from_arrays(mnist::load_test(&folder)?)?;
            Ok((from_arrays(mnist::load_train(&folder)?)?, Some(test)))
        }
    }
}

/// Images and labels as a table, without a copy.
fn from_arrays(arrays: Arrays) -> Result<Table, DataError> {
    let columns = arrays.into_columns().into_iter().map(|(field, values)| nerve_data::Column {
        name: field.name.clone(),
        cells: Cells::Arrays(field, values),
    });
    Table::new(columns.collect(), Origin::default())
}

#[cfg(test)]
mod tests;
