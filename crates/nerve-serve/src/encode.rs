//! From cells to what a network takes.

use crate::batch::Examples;
use crate::columns::Cellar;
use crate::model::{Served, Way};
use crate::refusal::{Refusal, shown};
use crate::texts::Texts;
use nerve_data::features::{Answer, Room};
use nerve_data::series::{self, Order};
use nerve_data::{Column, DataError, Field, Origin, Table, Values};
use nerve_recipe::{Rows, Units};
use std::ops::Range;

/// Rows as the model takes them.
pub struct Encoded {
    pub(crate) pieces: Pieces,
    /// Where rows are those of series.
    pub(crate) samples: Option<Samples>,
}

/// Pieces of at most a batch.
pub(crate) enum Pieces {
    /// For a network that answers at once.
    Examples(Vec<Examples>),
    /// For one that writes.
    Texts(Vec<Texts>),
}

/// The rows of a request that are answered, of those of series.
pub(crate) struct Samples {
    /// Their numbers in the table of the request, whose rows are by series and time.
    rows: Vec<usize>,
    /// For each row of that table its number in the request.
    asked: Vec<usize>,
    /// The way of answers back from the scale of each series.
    units: Units,
}

impl Samples {
    /// What is said of the request: in its units, and in the order of its rows. `answers` has for each output those of all rows.
    pub fn told(&self, answers: Vec<Vec<Answer>>) -> Vec<Vec<Answer>> {
        let own = |(output, answers): (usize, Vec<Answer>)| {
            let mut told: Vec<(usize, Answer)> = self
                .rows
                .iter()
                .zip(answers)
                .map(|(&row, answer)| (self.asked[row], self.units.answer(output, row, answer)))
                .collect();
            told.sort_by_key(|(row, _)| *row);
            told.into_iter().map(|(_, answer)| answer).collect()
        };
        answers.into_iter().enumerate().map(own).collect()
    }
}

impl Served {
    /// Rows as the model takes them, in pieces of at most a batch. `cells` has as many columns as [`Served::columns`]. A text
    /// has at most `most_tokens`, or as many as the model file says.
    ///
    /// # Errors
    /// 422 with the column and the row of a cell that its feature cannot take; more tokens than there may be.
    pub fn encode(
        &self,
        cells: &[Cellar],
        rows: usize,
        most_tokens: Option<u64>,
    ) -> Result<Encoded, Refusal> {
        let encoded = match &self.way {
            Way::Written(scribe) if scribe.continues => {
                let texts = scribe.beginnings(&self.inputs[0].name, &cells[0], most_tokens)?;
                Encoded { pieces: Pieces::Texts(texts), samples: None }
            }
            way => {
                let (examples, samples) = self.examples(cells, rows)?;
                let pieces = match way {
                    Way::Computed(_) => Pieces::Examples(examples),
                    Way::Written(scribe) => Pieces::Texts(scribe.rows(examples, most_tokens)?),
                };
                Encoded { pieces, samples }
            }
        };
        if let Some(drifting) = &self.drifting {
            drifting.observe(cells, rows);
        }
        Ok(encoded)
    }

    fn examples(
        &self,
        cells: &[Cellar],
        rows: usize,
    ) -> Result<(Vec<Examples>, Option<Samples>), Refusal> {
        if self.predictor.reaches() {
            return self.of_series(cells).map(|(examples, samples)| (examples, Some(samples)));
        }
        let most = self.most_rows();
        let starts = (0..rows).step_by(most);
        let pieces = starts.map(|from| self.piece(cells, from..(from + most).min(rows)));
        Ok((pieces.collect::<Result<_, _>>()?, None))
    }

    fn piece(&self, cells: &[Cellar], rows: Range<usize>) -> Result<Examples, Refusal> {
        let mut room = Room::default();
        let mut values = |(number, field): (usize, &Field)| -> Result<Values, Refusal> {
            let slot = &self.slots[number];
            let mut all = Values::zeros(field.element, rows.len() * field.values_per_sample());
            let width = field.values_per_sample();
            let alone = match &slot.parts[..] {
                [(_, feature)] if feature.delivers() => Some(feature),
                _ => None,
            };
            let stored = slot.field();
            let mut one = Values::zeros(stored.element, stored.values_per_sample());
            for (at, row) in rows.clone().enumerate() {
                match alone {
                    Some(feature) => {
                        self.store(number, cells, row, &mut one, 0)?;
                        feature.deliver(&one, all.slice(at * width, width), None, &mut room);
                    }
                    None => self.store(number, cells, row, &mut all, at * width)?,
                }
            }
            Ok(all)
        };
        let fields = self
            .fields
            .iter()
            .enumerate()
            .map(|(k, field)| values((k, field)))
            .collect::<Result<_, _>>()?;
        Ok(Examples { rows: rows.len(), fields })
    }

    /// Writes the values of a row as they are stored, from `from` on.
    fn store(
        &self,
        slot: usize,
        cells: &[Cellar],
        row: usize,
        into: &mut Values,
        mut from: usize,
    ) -> Result<(), Refusal> {
        for ((column, feature), &at) in self.slots[slot].parts.iter().zip(&self.places[slot]) {
            let width = feature.stored().0.iter().product();
            let (cells, place) = cells[at].at(row);
            feature.store(cells, place, into.slice(from, width)).map_err(|refusal| {
                let (column, expected, found) = (shown(column), refusal.expected, refusal.found);
                let row = row + 1;
                Refusal::unfit(format!(
                    "column `{column}`, row {row}: expected {expected}, found {found}"
                ))
            })?;
            from += width;
        }
        Ok(())
    }

    /// Rows that follow each other: each sample needs those around its own. Series may be mixed row by row.
    fn of_series(&self, cells: &[Cellar]) -> Result<(Vec<Examples>, Samples), Refusal> {
        let unfit = |error: DataError| Refusal::unfit(error.to_string());
        let column = |(name, cells): (&str, &Cellar)| match cells {
            Cellar::Column(cells) => Ok(Column { name: name.to_string(), cells: cells.clone() }),
            Cellar::Rows(_) => Err(Refusal::unfit("a series has no files among its columns")),
        };
        let columns = self.columns().zip(cells).map(column).collect::<Result<Vec<_>, _>>()?;
        let table = Table::new(columns, Origin::default()).map_err(unfit)?;
        let order = Order::from_args(&self.predictor.card.recipe.data);
        let asked = series::in_order(&table, &order).map_err(unfit)?;
        let table = table.select(&asked);
        let rows = self.predictor.samples(&Rows::all(table), false).map_err(unfit)?;
        let units = self.predictor.units(&rows.table).map_err(unfit)?;
        let loader = self.predictor.loader(&rows, self.slots.clone()).map_err(unfit)?;
        let most = self.most_rows();
        let mut pieces = Vec::new();
        for batch in loader.epoch(0, 0) {
            let batch = batch.map_err(unfit)?;
            for from in (0..batch.size()).step_by(most) {
                let rows = most.min(batch.size() - from);
                let part = |(array, field): (&nerve_data::Array, &Field)| {
                    let width = field.values_per_sample();
                    cut(array.values(), from * width..(from + rows) * width)
                };
                let fields = batch.arrays().iter().zip(&self.fields).map(part).collect();
                pieces.push(Examples { rows, fields });
            }
        }
        Ok((pieces, Samples { rows: rows.rows, asked, units }))
    }
}

fn cut(values: &Values, range: Range<usize>) -> Values {
    match values {
        Values::F32(values) => values[range].to_vec().into(),
        Values::I32(values) => values[range].to_vec().into(),
        Values::U8(values) => values[range].to_vec().into(),
    }
}
