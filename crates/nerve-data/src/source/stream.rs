//! Data larger than memory: rows from their files to the batch, chunk by chunk.

use std::sync::Arc;

use super::{Chunks, Source};
use crate::features::Fitting;
use crate::table::Slot;
use crate::{DataError, Feature, Field, Row, Samples, Stream, Table, Values};

/// How many rows are read at a time.
const CHUNK: usize = 4096;

/// Whether a row of a table belongs to a stream.
pub type Choice = Arc<dyn Fn(&Table, usize) -> Result<bool, DataError> + Send + Sync>;

/// A source through its features, read from front to back in each epoch: memory holds one chunk of rows.
///
/// Rows that a feature leaves out (`missing = "drop"`) are passed over, and so are those that are not chosen. There is no
/// random access, so the order is that of the files; a [`Loader`](crate::Loader) shuffles within a window.
///
/// ```
/// use std::sync::Arc;
/// use nerve_data::features::{Role, Setting, find};
/// use nerve_data::source::{self, Options, TableStream};
/// use nerve_data::table::Slot;
/// use nerve_data::{Loader, LoaderOptions};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("numbers.csv");
/// # std::fs::write(&path, "x\n1\n2\n3\n")?;
///
/// let source: Arc<dyn source::Source> = source::open(&path, &Options::default())?.into();
/// let setting = Setting { role: Role::Input, folder: folder.path().into() };
/// let number = find("number").unwrap();
/// let args = nerve_formats::spec::check(number.spec, &[]).unwrap();
/// let fitting = (number.begin)(&args, &setting)?;
/// let features = source::fit(&*source, vec![("x".to_string(), fitting)])?;
/// let slots = vec![Slot::one("x", features[0].clone())];
/// let stream = TableStream::new(source, slots)?;
/// let options = LoaderOptions { batch_size: 2, ..LoaderOptions::default() };
/// let sizes: Vec<usize> = Loader::stream(Arc::new(stream), options)?
///     .epoch(0, 0)
///     .map(|batch| batch.unwrap().array(0).rows())
///     .collect();
/// assert_eq!(sizes, [2, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TableStream {
    source: Arc<dyn Source>,
    slots: Arc<[Slot]>,
    fields: Vec<Field>,
    /// For each slot the place of the column of each of its features.
    places: Arc<[Vec<usize>]>,
    /// Which rows are taken; `None` for all.
    choice: Option<Choice>,
    /// How many they are, if they were counted.
    count: Option<u64>,
}

impl TableStream {
    /// A stream of these fields.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`]; [`DataError::Column`] for a feature that needs rows around its own, which a stream
    /// does not have.
    pub fn new(source: Arc<dyn Source>, slots: Vec<Slot>) -> Result<TableStream, DataError> {
        let mut places = Vec::with_capacity(slots.len());
        for slot in &slots {
            let mut of_slot = Vec::with_capacity(slot.parts.len());
            for (column, feature) in &slot.parts {
                if feature.reach() != (0..1) {
                    let message =
                        "it needs the rows around its own, which `stream = true` does not keep";
                    let (column, message) = (column.clone(), message.into());
                    return Err(DataError::Column { column, message });
                }
                of_slot.push(place(&*source, column)?);
            }
            places.push(of_slot);
        }
        let fields = slots.iter().map(Slot::field).collect();
        let (slots, places) = (slots.into(), places.into());
        Ok(TableStream { source, slots, fields, places, choice: None, count: None })
    }

    /// The same of these rows alone: a part of a split.
    #[must_use]
    pub fn choosing(self, choice: Choice) -> TableStream {
        TableStream { choice: Some(choice), count: None, ..self }
    }

    /// The same, whose samples were counted before: an epoch has as many steps as they make.
    #[must_use]
    pub fn counted(self, count: u64) -> TableStream {
        TableStream { count: Some(count), ..self }
    }

    fn rows(&self) -> Result<TableRows, DataError> {
        Ok(TableRows {
            rows: Rows::of(&*self.source)?,
            slots: Arc::clone(&self.slots),
            places: Arc::clone(&self.places),
            choice: self.choice.clone(),
            table: Table::default(),
            next: 0,
        })
    }

    /// Reads through the source to count the samples.
    ///
    /// # Errors
    /// Those of the source, and of the choice of rows.
    pub fn count_samples(self) -> Result<TableStream, DataError> {
        let (mut rows, mut count) = (self.rows()?, 0);
        while rows.advance()?.is_some() {
            count += 1;
        }
        Ok(self.counted(count))
    }
}

/// The place of a column of a source.
fn place(source: &dyn Source, column: &str) -> Result<usize, DataError> {
    let known = source.columns();
    known.iter().position(|name| name == column).ok_or_else(|| {
        let nearest = nerve_formats::spec::nearest(column, known.iter().map(String::as_str));
        let nearest = nearest.map(str::to_string);
        DataError::UnknownColumn { column: column.into(), known: known.to_vec(), nearest }
    })
}

/// Fits features in one pass over a source; each is given with the name of its column. Rows that one of them leaves out are
/// observed by none.
///
/// # Errors
/// [`DataError::UnknownColumn`], [`DataError::Cell`] for the first cell that a feature cannot take,
/// [`DataError::Column`] when what was seen does not suffice, and those of the source.
pub fn fit(
    source: &dyn Source,
    fittings: Vec<(String, Box<dyn Fitting>)>,
) -> Result<Vec<Arc<dyn Feature>>, DataError> {
    fit_parts(source, fittings, |_, _| Ok(0)).map(|learned| learned.features)
}

/// What one pass over a source has shown.
pub struct Learned {
    /// The features, in the order of their fittings.
    pub features: Vec<Arc<dyn Feature>>,
    /// How many rows each part has: training, validation, test. Those that are left out do not count.
    pub rows: [u64; 3],
    /// What should be said about how it was read: rows that were passed over or left out.
    pub notes: Vec<String>,
}

/// The same where `part` says of each row whether it is for training (0), for validation (1) or for the test (2): features
/// learn from the training rows alone.
///
/// # Errors
/// As [`fit`], and those of `part`.
///
/// # Panics
/// If `part` gives another number.
pub fn fit_parts(
    source: &dyn Source,
    mut fittings: Vec<(String, Box<dyn Fitting>)>,
    part: impl Fn(&Table, usize) -> Result<usize, DataError>,
) -> Result<Learned, DataError> {
    let places = fittings.iter().map(|(column, _)| place(source, column));
    let places = places.collect::<Result<Vec<usize>, DataError>>()?;
    let (mut rows, mut all) = ([0; 3], 0u64);
    let mut left_out = vec![0u64; fittings.len()];
    let mut chunks = Rows::of(source)?;
    while let Some(table) = chunks.next()? {
        all += table.rows() as u64;
        for row in 0..table.rows() {
            let cells = |at: usize| &table.columns()[places[at]].cells;
            let leaves_out = |at: &usize| fittings[*at].1.leaves_out(cells(*at), row);
            if let Some(at) = (0..fittings.len()).find(leaves_out) {
                left_out[at] += 1;
                continue;
            }
            let part = part(&table, row)?;
            rows[part] += 1;
            if part > 0 {
                continue;
            }
            for (at, (column, fitting)) in fittings.iter_mut().enumerate() {
                let observed = fitting.observe(cells(at), row);
                observed.map_err(|refusal| table.refuse(row, column, refusal))?;
            }
        }
    }
    let mut notes = chunks.chunks.notes();
    for (left, (column, _)) in left_out.iter().zip(&fittings).filter(|(left, _)| **left > 0) {
        let column = nerve_formats::escape(column, 200);
        notes.push(format!("{left} of {all} rows are left out: no `{column}`"));
        all -= left;
    }
    let finished = fittings.into_iter().map(|(column, fitting)| {
        fitting.finish().map_err(|message| DataError::Column { column, message })
    });
    Ok(Learned { features: finished.collect::<Result<_, _>>()?, rows, notes })
}

/// Chunks whose tables know how many rows stand before them.
struct Rows {
    chunks: Box<dyn Chunks>,
    before: u64,
}

impl Rows {
    fn of(source: &dyn Source) -> Result<Rows, DataError> {
        Ok(Rows { chunks: source.chunks()?, before: 0 })
    }

    fn next(&mut self) -> Result<Option<Table>, DataError> {
        let Some(table) = self.chunks.next(CHUNK)? else { return Ok(None) };
        let rows = table.rows() as u64;
        let table = table.behind(self.before);
        self.before += rows;
        Ok(Some(table))
    }
}

impl Stream for TableStream {
    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn count(&self) -> Option<u64> {
        self.count
    }

    fn open(&self, _epoch: u64) -> Result<Box<dyn Samples>, DataError> {
        let parts = self.fields.iter().zip(&*self.slots).map(|(field, slot)| {
            let several = slot.parts.len() > 1;
            Values::zeros(field.element, if several { field.values_per_sample() } else { 0 })
        });
        Ok(Box::new(TableSamples { side_by_side: parts.collect(), rows: self.rows()? }))
    }
}

/// The rows of a stream, one after the other.
struct TableRows {
    rows: Rows,
    slots: Arc<[Slot]>,
    places: Arc<[Vec<usize>]>,
    choice: Option<Choice>,
    table: Table,
    next: usize,
}

impl TableRows {
    /// Goes to the next row that belongs to the stream, and gives its number in the table.
    fn advance(&mut self) -> Result<Option<usize>, DataError> {
        loop {
            if self.next == self.table.rows() {
                match self.rows.next()? {
                    Some(table) => (self.table, self.next) = (table, 0),
                    None => return Ok(None),
                }
            }
            let row = self.next;
            self.next += 1;
            if !self.leaves_out(row)
                && self.choice.as_ref().map_or(Ok(true), |choice| choice(&self.table, row))?
            {
                return Ok(Some(row));
            }
        }
    }

    fn leaves_out(&self, row: usize) -> bool {
        let columns = self.table.columns();
        self.slots.iter().zip(&*self.places).any(|(slot, places)| {
            let mut parts = slot.parts.iter().zip(places);
            parts.any(|((_, feature), &at)| feature.leaves_out(&columns[at].cells, row))
        })
    }
}

struct TableSamples {
    rows: TableRows,
    /// For each slot of several features room for their values.
    side_by_side: Vec<Values>,
}

impl Samples for TableSamples {
    fn read(&mut self, row: &mut Row<'_>) -> Result<bool, DataError> {
        let Some(index) = self.rows.advance()? else { return Ok(false) };
        let TableRows { table, slots, places, .. } = &self.rows;
        for (slot, (parts, places)) in slots.iter().zip(&**places).enumerate() {
            let several = parts.parts.len() > 1;
            let mut from = 0;
            for ((column, feature), &at) in parts.parts.iter().zip(places) {
                let cells = &table.columns()[at].cells;
                let stored = if several {
                    let width = feature.stored().0.iter().product();
                    let out = self.side_by_side[slot].slice(from, width);
                    from += width;
                    feature.store(cells, index, out)
                } else {
                    feature.store(cells, index, row.slice(slot))
                };
                stored.map_err(|refusal| table.refuse(index, column, refusal))?;
            }
            if several {
                row.copy_from(slot, &self.side_by_side[slot], 0);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nerve_formats::spec::{Value, check};

    use super::*;
    use crate::features::{Role, Setting, find};
    use crate::source::{Options, open, read};
    use crate::table::Prepared;
    use crate::{Array, Dataset};

    fn fitting(kind: &str, given: &[(&str, &'static str)], role: Role) -> Box<dyn Fitting> {
        let entry = find(kind).unwrap();
        let given: Vec<(String, Value)> =
            given.iter().map(|(key, value)| (key.to_string(), Value::text(value))).collect();
        let setting = Setting { role, folder: ".".into() };
        (entry.begin)(&check(entry.spec, &given).unwrap(), &setting).unwrap()
    }

    fn fittings() -> Vec<(String, Box<dyn Fitting>)> {
        vec![
            ("a".into(), fitting("number", &[], Role::Input)),
            ("b".into(), fitting("number", &[("normalize", "minmax")], Role::Input)),
            ("c".into(), fitting("category", &[], Role::Output)),
        ]
    }

    fn slots(features: &[Arc<dyn Feature>]) -> Vec<Slot> {
        let parts = vec![("a".into(), features[0].clone()), ("b".into(), features[1].clone())];
        vec![Slot { name: "numbers".into(), parts }, Slot::one("c", features[2].clone())]
    }

    fn rows(stream: &TableStream) -> Vec<Array> {
        let mut samples = stream.open(0).unwrap();
        let mut all = Vec::new();
        loop {
            let mut arrays: Vec<Array> =
                stream.fields().iter().map(|field| Array::zeros(field, 1)).collect();
            if !samples.read(&mut Row::new(&mut arrays, 0)).unwrap() {
                return all;
            }
            all.extend(arrays);
        }
    }

    #[test]
    fn a_stream_gives_what_the_prepared_table_gives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        // Three chunks, the last of them not full.
        let count = 2 * CHUNK + 17;
        let lines: String =
            (0..count).map(|i| format!("{},{},{}\n", i % 13, i, ["x", "y"][i % 2])).collect();
        fs::write(&path, format!("a,b,c\n{lines}")).unwrap();
        let source: Arc<dyn Source> = open(&path, &Options::default()).unwrap().into();
        let features = fit(&*source, fittings()).unwrap();
        let stream = TableStream::new(source, slots(&features)).unwrap();
        let table = Arc::new(read(&path, &Options::default()).unwrap());
        let all: Vec<usize> = (0..count).collect();
        let prepared = Prepared::new(table, slots(&features), &all).unwrap();
        let streamed = rows(&stream);
        assert_eq!(streamed.len(), 2 * count);
        for (index, sample) in streamed.chunks(2).enumerate() {
            let mut arrays: Vec<Array> =
                prepared.fields().iter().map(|field| Array::zeros(field, 1)).collect();
            prepared.read(index, &mut Row::new(&mut arrays, 0)).unwrap();
            assert_eq!(sample, arrays, "row {index}");
        }
        assert_eq!(rows(&stream), streamed, "each epoch is the same");
    }

    #[test]
    fn a_part_is_counted_read_alone_and_resumed_in_the_middle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let count = CHUNK + 900;
        let row = |i: usize| match i % 10 {
            3 => format!(",{i},x\n"),
            _ => format!("{i},{i},{}\n", ["x", "y"][i % 2]),
        };
        fs::write(&path, "a,b,c\n".to_string() + &(0..count).map(row).collect::<String>()).unwrap();
        let source: Arc<dyn Source> = open(&path, &Options::default()).unwrap().into();
        let mut fittings = fittings();
        fittings[0].1 = fitting("number", &[("missing", "drop")], Role::Input);
        let by_five = |row: usize| if row.is_multiple_of(5) { 2 } else { 0 };
        // The number in `b` is that of the row.
        let number = |table: &Table, row: usize| match table.columns()[1].cells.get(row) {
            crate::Cell::Text(text) => text.parse::<usize>().unwrap(),
            other => panic!("{other:?}"),
        };
        let part = move |table: &Table, row| Ok(by_five(number(table, row)));
        let learned = fit_parts(&*source, fittings, part).unwrap();
        let used: Vec<usize> = (0..count).filter(|i| i % 10 != 3).collect();
        let mine = used.iter().filter(|i| !i.is_multiple_of(5)).count();
        assert_eq!(learned.rows, [mine as u64, 0, (used.len() - mine) as u64]);
        let left = count - used.len();
        assert_eq!(learned.notes, [format!("{left} of {count} rows are left out: no `a`")]);
        let stream = TableStream::new(source, slots(&learned.features)).unwrap();
        let choice: Choice = Arc::new(move |table, row| Ok(part(table, row)? == 0));
        let stream = Arc::new(stream.choosing(choice).count_samples().unwrap());
        assert_eq!(stream.count(), Some(mine as u64));
        let options = crate::LoaderOptions {
            batch_size: 64,
            shuffle: true,
            shuffle_buffer: 100,
            seed: 5,
            ..crate::LoaderOptions::default()
        };
        let loader = crate::Loader::stream(stream, options).unwrap();
        assert_eq!(loader.batches(), Some(mine.div_ceil(64) as u64));
        let read = |from: u64| -> Vec<Vec<f32>> {
            loader.epoch(3, from).map(|batch| batch.unwrap().array(0).f32().to_vec()).collect()
        };
        let whole = read(0);
        assert_eq!(whole.len(), mine.div_ceil(64));
        assert_eq!(read(20 * 64), whole[20..], "resumed");
    }

    #[test]
    fn refusals_name_the_line_and_the_row() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let lines = "1,2,x\n".repeat(CHUNK) + "1,oops,y\n";
        fs::write(&path, format!("a,b,c\n{lines}")).unwrap();
        let source = open(&path, &Options::default()).unwrap();
        let error = fit(&*source, fittings()).err().unwrap().to_string();
        assert!(error.starts_with("t.csv:4098, column `b`: expected a number"), "{error}");
        let error = fit(&*source, vec![("d".into(), fitting("number", &[], Role::Input))]);
        assert!(error.err().unwrap().to_string().contains("no column `d`"));
        // A file without lines counts its rows through all chunks.
        let npy = nerve_formats::Npy {
            shape: vec![CHUNK + 1],
            data: nerve_formats::NpyData::F64(
                (0..CHUNK).map(|_| 1.0).chain([f64::NAN]).collect::<Vec<_>>(),
            ),
        };
        let path = folder.path().join("a.npy");
        fs::write(&path, npy.to_bytes()).unwrap();
        let source = open(&path, &Options::default()).unwrap();
        let strict = fitting("number", &[("missing", "error")], Role::Input);
        let error = fit(&*source, vec![("a".into(), strict)]).err().unwrap().to_string();
        assert!(error.starts_with("row 4097 of a.npy, column `a`"), "{error}");
    }
}
