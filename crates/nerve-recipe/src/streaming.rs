//! `[data] stream = true`: examples that are read from their files in each epoch, since memory does not hold them.

use crate::data::{Data, Part, Rows};
use crate::features::{Features, begin};
use crate::recipe::Recipe;
use crate::reference::Passing;
use nerve_data::features::{Fitting, Role};
use nerve_data::source::{self, Options, Source, TableStream};
use nerve_data::split::{self, ByRow};
use nerve_data::{DataError, Table, catalogue};
use nerve_formats::spec::Value;
use std::path::PathBuf;
use std::sync::Arc;

/// The files of a recipe, opened, and how their rows find their parts.
struct Opened {
    whole: Arc<dyn Source>,
    /// `None` where a part has no files of its own.
    validation: Option<Arc<dyn Source>>,
    test: Option<Arc<dyn Source>>,
    /// How the whole is split; `None` where all of it is for training.
    split: Option<ByRow>,
}

/// The numbers of the parts as a split gives them.
const VALIDATION: usize = 1;
const TEST: usize = 2;

impl Opened {
    /// The stream of a part, and what `known` says of its length; `None` where the recipe has no such part.
    fn part(
        &self,
        part: usize,
        features: &Features,
        known: u64,
    ) -> Result<Option<Part>, DataError> {
        let own = [None, self.validation.as_ref(), self.test.as_ref()][part];
        let slots = features.slots.clone();
        let stream = match (own, &self.split) {
            (Some(own), _) => TableStream::new(own.clone(), slots)?.count_samples()?,
            (None, None) if part == 0 => {
                TableStream::new(self.whole.clone(), slots)?.counted(known)
            }
            (None, Some(split)) if part == 0 || known > 0 => {
                let split = split.clone();
                let choice = move |table: &Table, row| Ok(split.part(table, row)? == part);
                let stream = TableStream::new(self.whole.clone(), slots)?;
                stream.choosing(Arc::new(choice)).counted(known)
            }
            _ => return Ok(None),
        };
        if nerve_data::Stream::count(&stream) == Some(0) {
            let what = ["training data", "validation data", "test data"][part];
            return Err(DataError::Empty { what: what.into() });
        }
        Ok(Some(Part::Streamed(Arc::new(stream))))
    }
}

impl Recipe {
    /// Fits the features in one pass over the training rows and makes a stream of each part.
    ///
    /// # Errors
    /// A file that is missing or does not fit, a cell that its feature cannot take, a part without rows.
    pub(crate) fn streamed(&self) -> Result<(Recipe, Data), DataError> {
        let opened = self.opened()?;
        let recipe = self.described_by(opened.whole.columns())?;
        // Where file names in cells start from is known with the first row.
        let first = opened.whole.chunks()?.next(1)?.unwrap_or_default();
        let mut passing = Passing::default();
        let mut fittings: Vec<(String, Box<dyn Fitting>)> = Vec::new();
        for (role, columns) in [(Role::Input, &recipe.inputs), (Role::Output, &recipe.outputs)] {
            for column in columns {
                let fitting = begin(column, role, &first.origin().folder)?;
                fittings.push((column.name.clone(), passing.beside(column, fitting)));
            }
        }
        let learned = source::fit_parts(&*opened.whole, fittings, |table, row| {
            opened.split.as_ref().map_or(Ok(0), |split| split.part(table, row))
        })?;
        let mut features = Features::learned(&recipe, learned.features)?;
        features.reference = Some(Arc::new(passing.reference(learned.rows[0])));
        let part = |number: usize| opened.part(number, &features, learned.rows[number]);
        let train = part(0)?.ok_or_else(|| DataError::Empty { what: "training data".into() })?;
        let (validation, test) = (part(VALIDATION)?, part(TEST)?);
        let mut notes = learned.notes;
        notes.push("the rows are read from their files in each epoch (`stream = true`)".into());
        Ok((recipe, Data { features, weighted: false, train, validation, test, notes }))
    }

    fn opened(&self) -> Result<Opened, DataError> {
        let data = &self.data;
        let open = |key: &str| self.source(key).map(Arc::from);
        let file = |key: &str| data.has(key).then(|| open(key)).transpose();
        let whole = match data.has("name") {
            true => named(data.text("name"), &Options::from_args(data))?,
            false => open(if data.has("path") { "path" } else { "train" })?,
        };
        let validation = match data.get("validation") {
            Some(Value::Float(_)) | None => None,
            Some(_) => file("validation")?,
        };
        let test = file("test")?;
        let split = match self.way(validation.is_some(), test.is_some()) {
            None => None,
            Some(way) => Some(split::by_row(&way, self.seed())?.ok_or_else(|| unsplit(way.name))?),
        };
        Ok(Opened { whole, validation, test, split })
    }

    /// What a key of `[data]` names, opened.
    ///
    /// # Errors
    /// There is no such file, or its format is not known.
    pub(crate) fn source(&self, key: &str) -> Result<Box<dyn Source>, DataError> {
        let names = match self.data.get(key) {
            Some(Value::Text(name)) => vec![name.to_string()],
            _ => self.data.texts(key),
        };
        let mut options = Options::from_args(&self.data);
        // `labels` are those of what is learned from; others are found by name, or have a key of their own.
        if !["path", "train"].contains(&key) {
            let own = format!("{key}_labels");
            options.labels = self.data.has(&own).then(|| PathBuf::from(self.data.text(&own)));
        }
        let paths: Vec<PathBuf> = names.into_iter().map(PathBuf::from).collect();
        source::open_files(&paths, &options)
    }

    /// Of a recipe with `stream = true` the rows of the test part, or else of the validation, read into memory to be judged,
    /// with the name of the part.
    ///
    /// # Errors
    /// Those of the files; the recipe has neither part.
    pub fn streamed_to_judge(&self) -> Result<(&'static str, Rows), DataError> {
        let opened = self.opened()?;
        for (part, name, own) in
            [(TEST, "test", &opened.test), (VALIDATION, "validation", &opened.validation)]
        {
            let rows = match (own, &opened.split) {
                (Some(own), _) => self.usable(source::read_all(&**own)?)?,
                (None, Some(split)) => self.chosen(&*opened.whole, split, part)?,
                (None, None) => continue,
            };
            if !rows.rows.is_empty() {
                return Ok((name, rows));
            }
        }
        Err(DataError::Empty { what: "test and validation data of the recipe".into() })
    }

    /// The rows of a source that belong to a part, and that no column leaves out.
    fn chosen(&self, source: &dyn Source, split: &ByRow, part: usize) -> Result<Rows, DataError> {
        let mut chunks = source.chunks()?;
        let (mut all, mut before) = (Table::default(), 0);
        while let Some(table) = chunks.next(4096)? {
            let count = table.rows() as u64;
            let Rows { table, rows } = self.usable(table.behind(before))?;
            before += count;
            let mut mine = Vec::new();
            for row in rows {
                if split.part(&table, row)? == part {
                    mine.push(row);
                }
            }
            all.append(table.select(&mine))?;
        }
        Ok(Rows::all(all))
    }
}

/// The table of a data set of the catalogue.
fn named(name: &str, options: &Options) -> Result<Arc<dyn Source>, DataError> {
    let (entry, folder) = (catalogue::entry(name)?, catalogue::find(name)?);
    let table = entry.table.ok_or_else(|| DataError::Option {
        option: "stream",
        expected: "a data set that is a table".into(),
        found: format!("`{name}`, whose pictures stay in memory: leave `stream` out"),
    })?;
    source::open(&folder.join(table), options).map(Arc::from)
}

/// Why a stream cannot be split in some way.
fn unsplit(way: &str) -> DataError {
    DataError::Option {
        option: "split",
        expected: BY_ROW.into(),
        found: format!("`{way}`, which must know all rows before it can place one"),
    }
}

/// What a stream can be split by.
pub(crate) const BY_ROW: &str = "with `stream = true` one in which each row finds its part by itself: \
     `{ type = \"hash\", column = ... }`, `{ type = \"fixed\", column = ... }`, or files of their own \
     for training, validation and test";

#[cfg(test)]
mod tests;
