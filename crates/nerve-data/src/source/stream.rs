//! Data larger than memory: rows from their files to the batch, chunk by chunk.

use std::sync::Arc;

use super::{Chunks, Source};
use crate::features::Fitting;
use crate::table::Slot;
use crate::{DataError, Feature, Field, Row, Samples, Stream, Table, Values};

/// How many rows are read at a time.
const CHUNK: usize = 4096;

/// A source through its features, read from front to back in each epoch: memory holds one chunk of rows.
///
/// Rows that a feature leaves out (`missing = "drop"`) are passed over. There is no random access, so the order is that of
/// the files; a [`Loader`](crate::Loader) shuffles within a window.
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
        Ok(TableStream { source, slots: slots.into(), fields, places: places.into() })
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
    mut fittings: Vec<(String, Box<dyn Fitting>)>,
) -> Result<Vec<Arc<dyn Feature>>, DataError> {
    let places = fittings.iter().map(|(column, _)| place(source, column));
    let places = places.collect::<Result<Vec<usize>, DataError>>()?;
    let mut chunks = Rows::of(source)?;
    while let Some(table) = chunks.next()? {
        for row in 0..table.rows() {
            let cells = |at: usize| &table.columns()[places[at]].cells;
            let mut all = fittings.iter().enumerate();
            if all.any(|(at, (_, fitting))| fitting.leaves_out(cells(at), row)) {
                continue;
            }
            for (at, (column, fitting)) in fittings.iter_mut().enumerate() {
                let observed = fitting.observe(cells(at), row);
                observed.map_err(|refusal| table.refuse(row, column, refusal))?;
            }
        }
    }
    let finished = fittings.into_iter().map(|(column, fitting)| {
        fitting.finish().map_err(|message| DataError::Column { column, message })
    });
    finished.collect()
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

    fn open(&self, _epoch: u64) -> Result<Box<dyn Samples>, DataError> {
        let parts = self.fields.iter().zip(&*self.slots).map(|(field, slot)| {
            let several = slot.parts.len() > 1;
            Values::zeros(field.element, if several { field.values_per_sample() } else { 0 })
        });
        Ok(Box::new(TableSamples {
            rows: Rows::of(&*self.source)?,
            slots: Arc::clone(&self.slots),
            places: Arc::clone(&self.places),
            side_by_side: parts.collect(),
            table: Table::default(),
            next: 0,
        }))
    }
}

struct TableSamples {
    rows: Rows,
    slots: Arc<[Slot]>,
    places: Arc<[Vec<usize>]>,
    /// For each slot of several features room for their values.
    side_by_side: Vec<Values>,
    table: Table,
    next: usize,
}

impl TableSamples {
    fn leaves_out(&self, row: usize) -> bool {
        let columns = self.table.columns();
        self.slots.iter().zip(&*self.places).any(|(slot, places)| {
            let mut parts = slot.parts.iter().zip(places);
            parts.any(|((_, feature), &at)| feature.leaves_out(&columns[at].cells, row))
        })
    }

    fn store(&mut self, index: usize, row: &mut Row<'_>) -> Result<(), DataError> {
        let table = &self.table;
        for (slot, (parts, places)) in self.slots.iter().zip(&*self.places).enumerate() {
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
        Ok(())
    }
}

impl Samples for TableSamples {
    fn read(&mut self, row: &mut Row<'_>) -> Result<bool, DataError> {
        loop {
            if self.next == self.table.rows() {
                match self.rows.next()? {
                    Some(table) => (self.table, self.next) = (table, 0),
                    None => return Ok(false),
                }
            }
            self.next += 1;
            if !self.leaves_out(self.next - 1) {
                self.store(self.next - 1, row)?;
                return Ok(true);
            }
        }
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
