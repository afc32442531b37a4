//! What the training data were like, in the room that a model file has for it.

use super::gauge::{Gauge, Kind, Reading};
use super::sketch::{Names, Numbers, Sketch};
use super::summary::Summary;
use nerve_data::Cells;
use serde_json::{Value as Json, json};
use std::path::Path;

/// The version of the form in files.
const VERSION: u64 = 1;
/// More features than this are in no reference that this program wrote.
const MOST: usize = 1 << 16;

/// One thing that was measured of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The column.
    pub column: String,
    /// The column and the aspect of it: `age`, `review.words`.
    pub feature: String,
    /// What was found.
    pub summary: Summary,
}

/// What the rows were like that a model was trained on, and what it says of rows that it was not trained on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reference {
    /// How many rows there were.
    pub rows: u64,
    /// What they held.
    pub features: Vec<Measured>,
    /// What the model said: `prediction.OUTPUT`, and for classes `prediction.OUTPUT.confidence`.
    pub predictions: Vec<Measured>,
}

/// Measures columns row by row.
pub struct Observer {
    columns: Vec<Observed>,
    refused: u64,
}

struct Observed {
    column: String,
    gauge: Gauge,
    sketches: Vec<Sketch>,
}

impl Observer {
    /// For these columns; up to `exact` numbers of each are kept as they are.
    pub fn new(columns: Vec<(String, Gauge)>, exact: usize) -> Observer {
        let observed = |(column, gauge): (String, Gauge)| {
            let sketch = |(_, kind): &(&str, Kind)| empty(*kind, exact);
            let sketches = gauge.aspects().iter().map(sketch).collect();
            Observed { column, gauge, sketches }
        };
        Observer { columns: columns.into_iter().map(observed).collect(), refused: 0 }
    }

    /// The names of the columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|observed| observed.column.as_str())
    }

    /// The gauge of a column.
    ///
    /// # Panics
    /// Without such a column.
    pub fn gauge(&self, column: usize) -> &Gauge {
        &self.columns[column].gauge
    }

    /// From now on names of files in cells start from `folder`.
    pub fn within(&mut self, folder: &Path) {
        for gauge in self.columns.iter_mut().map(|observed| &mut observed.gauge) {
            if let Gauge::Stored(feature) = gauge
                && let Some(within) = feature.within(folder)
            {
                *feature = within;
            }
        }
    }

    /// Measures the cell of a row of a column. What is nothing of its type counts as missing.
    ///
    /// # Panics
    /// Without such a column or row.
    pub fn observe(&mut self, column: usize, cells: &Cells, row: usize) {
        let Observed { gauge, sketches, .. } = &mut self.columns[column];
        let refused = &mut self.refused;
        gauge.read(cells, row, |at, reading| {
            *refused += u64::from(reading == Reading::Refused && at == 0);
            add(&mut sketches[at], reading);
        });
    }

    /// How many cells were nothing of their type.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// What was found.
    pub fn measured(&self) -> Vec<Measured> {
        let of = |observed: &Observed| {
            let Observed { column, gauge, sketches } = observed;
            let names = gauge.aspects().iter().zip(sketches);
            let measured = names.map(|((aspect, _), sketch)| Measured {
                column: column.clone(),
                feature: format!("{column}{aspect}"),
                summary: sketch.summary(),
            });
            measured.collect::<Vec<_>>()
        };
        self.columns.iter().flat_map(of).collect()
    }
}

/// An empty sketch.
pub(super) fn empty(kind: Kind, exact: usize) -> Sketch {
    match kind {
        Kind::Number => Sketch::Numbers(Numbers::new(exact)),
        Kind::Name => Sketch::Names(Names::default()),
    }
}

/// Adds what was measured.
pub(super) fn add(sketch: &mut Sketch, reading: Reading<'_>) {
    match (sketch, reading) {
        (Sketch::Numbers(numbers), Reading::Number(number)) => numbers.add(number),
        (Sketch::Names(names), Reading::Name(name)) => names.add(name),
        (Sketch::Numbers(numbers), _) => numbers.missing(),
        (Sketch::Names(names), _) => names.missing(),
    }
}

impl Reference {
    /// The same in little room.
    #[must_use]
    pub fn condensed(self) -> Reference {
        let condense = |all: Vec<Measured>| -> Vec<Measured> {
            let one = |it: Measured| Measured { summary: it.summary.condensed(), ..it };
            all.into_iter().map(one).collect()
        };
        let (features, predictions) = (condense(self.features), condense(self.predictions));
        Reference { rows: self.rows, features, predictions }
    }

    /// For a model file.
    pub fn to_json(&self) -> Json {
        let list = |all: &[Measured]| -> Vec<Json> {
            let one = |it: &Measured| {
                let mut json = it.summary.to_json();
                json["column"] = json!(it.column);
                json["feature"] = json!(it.feature);
                json
            };
            all.iter().map(one).collect()
        };
        json!({
            "version": VERSION, "rows": self.rows,
            "features": list(&self.features), "predictions": list(&self.predictions),
        })
    }

    /// From what [`Reference::to_json`] gave.
    ///
    /// # Errors
    /// In words: what is not as it should be.
    pub fn from_json(json: &Json) -> Result<Reference, String> {
        if json["version"].as_u64() != Some(VERSION) {
            let found = &json["version"];
            return Err(format!("expected a reference in version {VERSION}, found {found}"));
        }
        let list = |key: &str| -> Result<Vec<Measured>, String> {
            let all = json[key].as_array().filter(|all| all.len() <= MOST);
            let all = all.ok_or_else(|| format!("`{key}`: expected a list of at most {MOST}"))?;
            all.iter().map(measured).collect()
        };
        let rows = json["rows"].as_u64().ok_or("`rows`: expected a number of rows")?;
        Ok(Reference { rows, features: list("features")?, predictions: list("predictions")? })
    }
}

fn measured(json: &Json) -> Result<Measured, String> {
    let text = |key: &str| {
        json[key].as_str().map(str::to_string).ok_or_else(|| format!("`{key}`: expected a text"))
    };
    let feature = text("feature")?;
    let name = nerve_formats::escape(&feature, 100);
    let summary = Summary::from_json(json).map_err(|error| format!("feature `{name}`: {error}"))?;
    Ok(Measured { column: text("column")?, feature, summary })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nerve_data::features::Words;

    #[test]
    fn a_reference_reads_back_as_it_was() {
        let columns = vec![
            ("age".to_string(), Gauge::Number(Words::of_numbers())),
            ("note".to_string(), Gauge::Text),
            ("port".to_string(), Gauge::Name(Words::of_names())),
        ];
        let mut observer = Observer::new(columns, 2000);
        for row in 0..2 {
            let text = |a, b| Cells::Text([Some(a), b].into_iter().collect());
            observer.observe(0, &text("31.5", Some("old")), row);
            observer.observe(1, &text("one two", None), row);
            observer.observe(2, &text("S", Some("C")), row);
        }
        assert_eq!(observer.refused(), 1);
        let features = observer.measured();
        let names: Vec<&str> = features.iter().map(|it| it.feature.as_str()).collect();
        assert_eq!(names, ["age", "note.characters", "note.words", "note.non_letters", "port"]);
        assert_eq!((features[0].summary.count(), features[0].summary.missing()), (1, 1));
        let reference = Reference { rows: 2, features, predictions: Vec::new() }.condensed();
        let text = reference.to_json().to_string();
        let again = Reference::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(again, reference);
        let error = Reference::from_json(&json!({ "version": 2 })).unwrap_err();
        assert_eq!(error, "expected a reference in version 1, found 2");
    }
}
