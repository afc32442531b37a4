//! From the tables `[data]`, `[[input]]` and `[[output]]` to data sets: read, split, and every column through its feature.

use crate::columns;
use crate::features::Features;
use crate::recipe::Recipe;
use nerve_data::features::Role;
use nerve_data::source::{self, Options};
use nerve_data::table::Prepared;
use nerve_data::{
    Arrays, Cells, DataError, Dataset, Origin, Subset, Table, catalogue, mnist, split,
};
use nerve_formats::read_idx;
use nerve_formats::spec::Value;
use std::path::{Path, PathBuf};
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
}

/// A part of the data through its features.
#[derive(Clone)]
pub struct Part {
    /// The examples.
    pub dataset: Arc<dyn Dataset>,
    /// Where they come from.
    pub rows: Rows,
}

impl Part {
    /// How many examples there are.
    pub fn len(&self) -> usize {
        self.rows.rows.len()
    }

    /// Whether there are none; never so in a recipe's data.
    pub fn is_empty(&self) -> bool {
        self.rows.rows.is_empty()
    }
}

impl Recipe {
    /// Reads and splits the data.
    ///
    /// # Errors
    /// A file that is missing, damaged or does not fit; an empty part.
    pub fn tables(&self) -> Result<Tables, DataError> {
        let data = &self.data;
        let (whole, test) = if data.has("name") {
            let folder = catalogue::find(data.text("name"))?;
            (self.named(&folder, false)?, Some(self.named(&folder, true)?))
        } else if data.has("path") {
            (self.files("path")?, None)
        } else {
            let test = data.has("test").then(|| self.files("test")).transpose()?;
            (self.files("train")?, test)
        };
        let validation = match data.get("validation") {
            Some(Value::Float(_)) | None => None,
            Some(_) => Some(Rows::all(self.files("validation")?)),
        };
        self.split(whole, validation, test.map(Rows::all))
    }

    fn named(&self, folder: &Path, test: bool) -> Result<Table, DataError> {
        from_arrays(if test { mnist::load_test(folder) } else { mnist::load_train(folder) }?)
    }

    /// Reads what a key of `[data]` names.
    fn files(&self, key: &str) -> Result<Table, DataError> {
        let names = match self.data.get(key) {
            Some(Value::Text(name)) => vec![name.to_string()],
            _ => self.data.texts(key),
        };
        let mut options = Options::from_args(&self.data);
        let labels = format!("{key}_labels");
        if self.data.has(&labels) {
            options.labels = Some(PathBuf::from(self.data.text(&labels)));
        }
        let mut all = Table::default();
        for name in names {
            let path = Path::new(&name);
            all.append(match options.labels.clone().or_else(|| beside(path)) {
                Some(labels) => idx(path, &labels)?,
                None => source::read(path, &options)?,
            })?;
        }
        Ok(all)
    }

    fn split(
        &self,
        whole: Table,
        validation: Option<Rows>,
        test: Option<Rows>,
    ) -> Result<Tables, DataError> {
        let whole = Rows::all(whole);
        if whole.rows.is_empty() {
            return Err(DataError::Empty { what: "training data".into() });
        }
        let share = match self.data.get("validation") {
            Some(Value::Float(share)) => *share,
            Some(_) => 0.0,
            None => 0.1,
        };
        if share == 0.0 {
            return Ok(Tables { train: whole, validation, test });
        }
        let shares = [1.0 - share, share];
        let parts = match self.data.text("split") {
            "stratified" => split::stratified(&self.strata(&whole.table)?, &shares, self.seed())?,
            _ => split::random(whole.rows.len(), &shares, self.seed())?,
        };
        let mut parts = parts.into_iter().map(|rows| Rows { table: whole.table.clone(), rows });
        let train = parts.next().unwrap_or(whole.clone());
        Ok(Tables { train, validation: validation.or(parts.next()), test })
    }

    /// The number of the class of each row, for a split that keeps their shares.
    fn strata(&self, table: &Table) -> Result<Vec<i32>, DataError> {
        let name = self.outputs.first().map_or("label", |output| &output.name);
        let cells = &table.column(name)?.cells;
        let mut seen = std::collections::BTreeMap::new();
        let keys: Vec<String> =
            (0..table.rows()).map(|row| format!("{:?}", cells.get(row))).collect();
        keys.iter().for_each(|key| {
            let next = seen.len() as i32;
            seen.entry(key.clone()).or_insert(next);
        });
        Ok(keys.iter().map(|key| seen[key]).collect())
    }

    /// Describes the columns of data that need no description: those that hold a file or picture and a label and
    /// nothing else.
    ///
    /// # Errors
    /// [`DataError::Column`] for other data.
    pub fn described(&self, table: &Table) -> Result<Recipe, DataError> {
        let mut recipe = self.clone();
        if !self.inputs.is_empty() {
            return Ok(recipe);
        }
        let names: Vec<&str> = table.columns().iter().map(|column| &*column.name).collect();
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
        let part = |rows: &Rows| -> Result<Part, DataError> {
            let prepared = Prepared::new(rows.table.clone(), slots.clone(), &rows.rows)?;
            let dataset = Arc::new(Subset::new(prepared, rows.rows.clone())?);
            Ok(Part { dataset, rows: rows.clone() })
        };
        let train = part(&tables.train)?;
        let validation = tables.validation.as_ref().map(part).transpose()?;
        let test = tables.test.as_ref().map(part).transpose()?;
        Ok(Data { features, weighted: false, train, validation, test })
    }
}

impl Data {
    /// How many examples there are for training, validation and test.
    pub fn examples(&self) -> [usize; 3] {
        let length = |part: Option<&Part>| part.map_or(0, Part::len);
        [self.train.len(), length(self.validation.as_ref()), length(self.test.as_ref())]
    }
}

/// A class number above this is no class number; a file of measurements was taken for labels.
const MOST_CLASSES: usize = 1 << 24;

fn idx(images: &Path, labels: &Path) -> Result<Table, DataError> {
    let classes = read_idx(labels)?.labels(labels, MOST_CLASSES)?.into_iter().max();
    from_arrays(mnist::load_idx(images, labels, classes.unwrap_or(0) as usize + 1)?)
}

/// Images and labels as a table, without a copy.
fn from_arrays(arrays: Arrays) -> Result<Table, DataError> {
    let columns = arrays.into_columns().into_iter().map(|(field, values)| nerve_data::Column {
        name: field.name.clone(),
        cells: Cells::Arrays(field, values),
    });
    Table::new(columns.collect(), Origin::default())
}

/// The file of labels that belongs to a file of images, by the custom of the idx format.
fn beside(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    let labels = name.replace("images", "labels").replace("idx3", "idx1");
    (labels != name).then(|| images.with_file_name(labels))
}

#[cfg(test)]
mod tests;
