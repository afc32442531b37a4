//! A table through its features: a data set of plain arrays.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::features::Feature;
use crate::{DataError, Dataset, Element, Field, Row, Table, Values};

/// A field of the data set, and the features that fill it: one, or several that lie side by side because all of them are
/// plain numbers.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The name of the field.
    pub name: String,
    /// For each feature the name of its column.
    pub parts: Vec<(String, Arc<dyn Feature>)>,
}

impl Slot {
    /// A field of one feature, called like its column.
    pub fn one(column: impl Into<String>, feature: Arc<dyn Feature>) -> Slot {
        let column = column.into();
        Slot { name: column.clone(), parts: vec![(column, feature)] }
    }

    /// The field of the stored values.
    ///
    /// # Panics
    /// When several features are not all plain numbers, `f32 [n]`.
    #[track_caller]
    pub fn field(&self) -> Field {
        if let [(_, feature)] = &self.parts[..] {
            let (shape, element) = feature.stored();
            return Field::new(self.name.clone(), &shape, element);
        }
        let widths = self.parts.iter().map(|(column, feature)| match feature.stored() {
            (shape, Element::F32)
                if shape.len() == 1 && !feature.delivers() && feature.reach() == (0..1) =>
            {
                shape[0]
            }
            other => panic!("column `{column}` is {other:?}, only plain numbers lie side by side"),
        });
        Field::new(self.name.clone(), &[widths.sum()], Element::F32)
    }

    /// Whether its stored values stay in memory.
    fn kept(&self) -> bool {
        self.parts.iter().all(|(_, feature)| feature.kept())
    }

    /// The same with names of files that start from `folder`.
    fn within(mut self, folder: &Path) -> Slot {
        for (_, feature) in &mut self.parts {
            if let Some(within) = feature.within(folder) {
                *feature = within;
            }
        }
        self
    }

    /// The rows that a sample needs, relative to its own.
    pub fn reach(&self) -> Range<isize> {
        self.parts.first().map_or(0..1, |(_, feature)| feature.reach())
    }
}

/// A table through its features.
///
/// What is small is stored once, for all rows; files are read when their row is.
#[derive(Debug)]
pub struct Prepared {
    table: Arc<Table>,
    fields: Vec<Field>,
    slots: Vec<Slot>,
    /// For each slot the number of the column of each part.
    columns: Vec<Vec<usize>>,
    kept: Vec<Option<Values>>,
}

impl Prepared {
    /// Prepares the rows that are `used`, and those that they reach; the others may hold what no feature can take, and read as
    /// zeros.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`]; [`DataError::Cell`] for the first cell that its feature cannot take.
    pub fn new(table: Arc<Table>, slots: Vec<Slot>, used: &[usize]) -> Result<Prepared, DataError> {
        let folder = &table.origin().folder;
        let slots: Vec<Slot> = slots.into_iter().map(|slot| slot.within(folder)).collect();
        let fields: Vec<Field> = slots.iter().map(Slot::field).collect();
        let columns = slots
            .iter()
            .map(|slot| slot.parts.iter().map(|(name, _)| table.position(name)).collect())
            .collect::<Result<Vec<Vec<usize>>, DataError>>()?;
        let kept = vec![None; slots.len()];
        let mut prepared = Prepared { table, fields, slots, columns, kept };
        for slot in 0..prepared.slots.len() {
            if prepared.slots[slot].kept() {
                prepared.kept[slot] = Some(prepared.keep(slot, used)?);
            }
        }
        Ok(prepared)
    }

    /// The same with a field `weight` behind the others: what each row of the table counts.
    ///
    /// # Panics
    /// When there are not as many weights as rows.
    #[must_use]
    #[track_caller]
    pub fn weighted(mut self, weights: Vec<f32>) -> Prepared {
        assert_eq!(weights.len(), self.table.rows(), "a weight for each row");
        self.fields.push(Field::new("weight", &[], Element::F32));
        self.kept.push(Some(weights.into()));
        self
    }

    /// The stored values of all rows of a field, if they are in memory.
    pub fn values(&self, field: usize) -> Option<&Values> {
        self.kept[field].as_ref()
    }

    /// The table.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The fields with their features.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    fn keep(&self, slot: usize, used: &[usize]) -> Result<Values, DataError> {
        let field = &self.fields[slot];
        let reach = self.slots[slot].reach();
        let len = field.values_per_sample() / reach.len().max(1);
        let mut values = Values::zeros(field.element, len * self.table.rows());
        let rows = reached(used, &reach, self.table.rows());
        let mut from = 0;
        for ((column, feature), &at) in self.slots[slot].parts.iter().zip(&self.columns[slot]) {
            let width = feature.stored().0.iter().product::<usize>() / reach.len().max(1);
            let cells = &self.table.columns()[at].cells;
            for &row in rows.iter() {
                let out = values.slice(row * len + from, width);
                let stored = feature.store(cells, row, out);
                stored.map_err(|refusal| self.table.refuse(row, column, refusal))?;
            }
            from += width;
        }
        Ok(values)
    }

    /// Where the rows begin that a sample reaches.
    fn start(&self, index: usize, reach: &Range<isize>) -> Result<usize, DataError> {
        let start = index.checked_add_signed(reach.start);
        let inside = |start: &usize| *start + reach.len() <= self.table.rows();
        start.filter(inside).ok_or_else(|| DataError::Sample {
            index: index as u64,
            message: format!(
                "it needs the rows from {} to {} around it, and the data have rows 0 to {}",
                reach.start,
                reach.end - 1,
                self.table.rows().saturating_sub(1)
            ),
        })
    }
}

/// The rows that samples reach, sorted, each once.
fn reached<'a>(used: &'a [usize], reach: &Range<isize>, rows: usize) -> Cow<'a, [usize]> {
    if *reach == (0..1) {
        return Cow::Borrowed(used);
    }
    let mut needed = vec![false; rows];
    for &row in used {
        let bound = |by: isize| row.saturating_add_signed(by).min(rows);
        needed[bound(reach.start)..bound(reach.end)].fill(true);
    }
    (0..rows).filter(|&row| needed[row]).collect()
}

impl Dataset for Prepared {
    fn len(&self) -> usize {
        self.table.rows()
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn read(&self, index: usize, row: &mut Row<'_>) -> Result<(), DataError> {
        for (slot, kept) in self.kept.iter().enumerate() {
            match kept {
                // The weights lie behind the slots.
                Some(values) => match self.slots.get(slot).map_or(0..1, Slot::reach) {
                    Range { start: 0, end: 1 } => row.copy_from(slot, values, index),
                    reach => {
                        let start = self.start(index, &reach)?;
                        row.copy_rows(slot, values, start, reach.len());
                    }
                },
                None => {
                    let (column, feature) = &self.slots[slot].parts[0];
                    let cells = &self.table.columns()[self.columns[slot][0]].cells;
                    let stored = feature.store(cells, index, row.slice(slot));
                    stored.map_err(|refusal| self.table.refuse(index, column, refusal))?;
                }
            }
        }
        Ok(())
    }
}
