//! What the training data were like, for whoever watches the model in use.

use crate::data::Rows;
use crate::features::{Features, Fitted};
use crate::predictor::{ModelError, Predictor, Said};
use crate::session::Session;
use nerve_data::features::{Answer, Feature, Fitting, Refusal};
use nerve_data::{Cells, DataError};
use nerve_lens::drift::{Gauge, Measured, Names, Numbers, Observer, Reference, Sketch};
use nerve_track::RunFolder;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Numbers of a column that are kept as they are while the rows go by.
pub const EXACT: usize = 2048;
/// Rows of columns whose cells name files are measured at most: each file is read.
const FILES: usize = 256;
/// Rows of columns that hold pictures and sounds themselves are measured at most, and rows that the model is asked about.
const MEDIA: usize = 1000;

/// How a column is measured.
pub fn gauge(fitted: &Fitted) -> Option<Gauge> {
    let item = &fitted.column.feature;
    Gauge::of(item.name, &item.args, Some(&fitted.feature))
}

/// Columns that go in and come out, without those that do both a second time.
fn columns(features: &Features) -> Vec<(String, Gauge)> {
    let mut all: Vec<(String, Gauge)> = Vec::new();
    for fitted in features.inputs.iter().chain(&features.outputs) {
        let name = &fitted.column.name;
        if all.iter().all(|(known, _)| known != name) {
            all.extend(gauge(fitted).map(|gauge| (name.clone(), gauge)));
        }
    }
    all
}

/// Measures the training rows.
pub(crate) fn of_rows(features: &Features, train: &Rows) -> Result<Reference, DataError> {
    let mut observer = Observer::new(columns(features), EXACT);
    let names: Vec<String> = observer.columns().map(str::to_string).collect();
    for (at, name) in names.iter().enumerate() {
        let cells = &train.table.column(name)?.cells;
        let most = match (observer.gauge(at).costly(), cells) {
            (false, _) => train.rows.len(),
            (true, Cells::Text(_)) => FILES,
            (true, _) => MEDIA,
        };
        for row in spread(&train.rows, most) {
            observer.observe(at, cells, row);
        }
    }
    let (rows, features) = (train.rows.len() as u64, observer.measured());
    Ok(Reference { rows, features, predictions: Vec::new() }.condensed())
}

/// At most so many of the rows, the same distance from each other.
fn spread(rows: &[usize], most: usize) -> impl Iterator<Item = usize> {
    let count = rows.len().min(most);
    (0..count).map(move |i| rows[i * rows.len() / count.max(1)])
}

/// What is measured of columns while their features learn from rows that pass by once.
#[derive(Default)]
pub(crate) struct Passing(Vec<Rc<RefCell<Observer>>>);

impl Passing {
    /// The same fitting, measured by the way if its cells cost nothing to look at.
    pub(crate) fn beside(
        &mut self,
        column: &crate::columns::Column,
        fitting: Box<dyn Fitting>,
    ) -> Box<dyn Fitting> {
        let known = self.0.iter().any(|it| it.borrow().columns().any(|name| name == column.name));
        let gauge = Gauge::of(column.feature.name, &column.feature.args, None);
        let Some(gauge) = gauge.filter(|_| !known) else { return fitting };
        let observer = Observer::new(vec![(column.name.clone(), gauge)], EXACT);
        let observer = Rc::new(RefCell::new(observer));
        self.0.push(observer.clone());
        Box::new(Watched { fitting, observer })
    }

    /// What was measured in this many training rows.
    pub(crate) fn reference(self, rows: u64) -> Reference {
        let features = self.0.iter().flat_map(|observer| observer.borrow().measured()).collect();
        Reference { rows, features, predictions: Vec::new() }.condensed()
    }
}

struct Watched {
    fitting: Box<dyn Fitting>,
    observer: Rc<RefCell<Observer>>,
}

impl Fitting for Watched {
    fn leaves_out(&self, cells: &Cells, row: usize) -> bool {
        self.fitting.leaves_out(cells, row)
    }

    fn observe(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        self.fitting.observe(cells, row)?;
        self.observer.borrow_mut().observe(0, cells, row);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Feature>, String> {
        self.fitting.finish()
    }
}

/// What a model says of rows: the class it decides for and how sure it is of that, or a number.
pub struct Predicted {
    outputs: Vec<(String, Sketch, Option<Numbers>)>,
}

impl Predicted {
    /// Nothing yet, for the outputs of these features.
    pub fn new(features: &Features) -> Predicted {
        let output = |fitted: &Fitted| {
            let classes =
                fitted.feature.output().is_some_and(|output| !output.classes().is_empty());
            let numbers = || Numbers::new(EXACT);
            let (said, sure) = match classes {
                true => (Sketch::Names(Names::default()), Some(numbers())),
                false => (Sketch::Numbers(numbers()), None),
            };
            (fitted.column.name.clone(), said, sure)
        };
        Predicted { outputs: features.outputs.iter().map(output).collect() }
    }

    /// Adds the answer of an output for a row; sets, masks and forecasts of several steps are not measured.
    pub fn add(&mut self, predictor: &Predictor, output: usize, answer: &Answer) {
        let classes = predictor.features().outputs[output].feature.output();
        let classes = classes.map_or(&[][..], |output| output.classes());
        match (answer, &mut self.outputs[output]) {
            (Answer::Number(number), (_, Sketch::Numbers(numbers), _)) => numbers.add(*number),
            (Answer::Classes(shares), (_, Sketch::Names(names), Some(sure))) => {
                let decided = predictor.decided(output, shares);
                if let (Some(name), Some(share)) = (classes.get(decided), shares.get(decided)) {
                    names.add(name);
                    sure.add(f64::from(*share));
                }
            }
            _ => {}
        }
    }

    /// What was found; outputs that said nothing are left out.
    pub fn measured(&self) -> Vec<Measured> {
        let mut all = Vec::new();
        for (name, said, sure) in &self.outputs {
            let mut push = |feature: String, sketch: &Sketch| {
                let summary = sketch.summary();
                if summary.count() > 0 {
                    all.push(Measured { column: name.clone(), feature, summary });
                }
            };
            push(format!("prediction.{name}"), said);
            if let Some(sure) = sure {
                push(format!("prediction.{name}.confidence"), &Sketch::Numbers(sure.clone()));
            }
        }
        all
    }
}

impl Predictor {
    /// What the training data were like; `None` in model files that were written before this was kept.
    pub fn reference(&self) -> Option<&Reference> {
        self.features().reference.as_deref()
    }

    /// What the model says of some of the rows, at most a thousand of them.
    ///
    /// # Errors
    /// As [`Predictor::answers`].
    pub fn predicted(&self, rows: &Rows) -> Result<Vec<Measured>, ModelError> {
        let some = Rows { table: rows.table.clone(), rows: spread(&rows.rows, MEDIA).collect() };
        let mut predicted = Predicted::new(self.features());
        // A sample that needs others around it has them in the table.
        self.answers(&some, false, |Said { answers, .. }| {
            answers.iter().enumerate().for_each(|(k, answer)| predicted.add(self, k, answer));
            Ok(())
        })?;
        Ok(predicted.measured())
    }
}

impl Session {
    /// Asks the model of a run about rows that watched its training, or else about those it learned from, and keeps in its
    /// file what it says: the reference of its predictions. Rows that are streamed are not asked about, nor models that write.
    ///
    /// # Errors
    /// Those of the file, and of [`Predictor::answers`].
    pub fn remember_predictions(&self, run: &RunFolder) -> Result<(), ModelError> {
        let part = self.data.validation.as_ref().unwrap_or(&self.data.train);
        let Some(rows) = part.rows().filter(|_| !self.recipe.compares_examples()) else {
            return Ok(());
        };
        let mut predictor = Predictor::open(&run.model())?;
        // Texts and tags are not measured, and take long to write.
        if predictor.in_steps() {
            return Ok(());
        }
        let Some(reference) = predictor.card.features.reference.as_deref() else { return Ok(()) };
        let mut reference = reference.clone();
        reference.predictions = predictor.predicted(rows)?;
        predictor.card.features.reference = Some(Arc::new(reference.condensed()));
        Ok(predictor.save(&run.model())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Card, Network, Recipe, Source};
    use nerve_data::{Column, Field, Origin, Table};
    use nerve_lens::drift::Summary;

    const RECIPE: &str = "[data]\npath = \"x.csv\"\n\
        [[input]]\nname = \"a\"\ntype = \"number\"\n\
        [[input]]\nname = \"note\"\ntype = \"text\"\nmax_len = 4\n\
        [[input]]\nname = \"picture\"\ntype = \"image\"\n\
        [[output]]\nname = \"c\"\ntype = \"category\"\n\
        [model]\ncombiner = \"concat\"\n";

    fn table() -> Table {
        let text = |values: &[&str]| {
            Cells::Text((0..24).map(|i| Some(values[i % values.len()])).collect())
        };
        let field = Field::new("picture", &[1, 6, 5], nerve_data::Element::U8);
        let pixels: Vec<u8> = (0..24 * 30).map(|i| (i * 37 % 251) as u8).collect();
        let columns = [
            ("a", text(&["1", "2", "", "4"])),
            ("note", text(&["one two", "three"])),
            ("picture", Cells::Arrays(field, pixels.into())),
            ("c", text(&["x", "y", "z"])),
        ];
        let columns = columns.map(|(name, cells)| Column { name: name.into(), cells });
        Table::new(columns.to_vec(), Origin::default()).unwrap()
    }

    #[test]
    fn the_training_rows_alone_are_remembered_in_the_model_file() {
        let recipe = Recipe::load(Source::new("r", RECIPE), &[]).unwrap();
        let rows = Rows { rows: (0..8).collect(), ..Rows::all(table()) };
        let features = Features::fit(&recipe, &rows).unwrap();
        let reference = features.reference.clone().unwrap();
        assert_eq!(reference.rows, 8);
        let names: Vec<&str> = reference.features.iter().map(|it| &*it.feature).collect();
        assert_eq!(
            names,
            [
                "a",
                "note.characters",
                "note.words",
                "note.non_letters",
                "picture.brightness",
                "picture.contrast",
                "c"
            ]
        );
        assert_eq!(
            (reference.features[0].summary.count(), reference.features[0].summary.missing()),
            (6, 2)
        );
        let Summary::Names(classes) = &reference.features[6].summary else { panic!() };
        assert_eq!(
            classes.names,
            [("x".to_string(), 3), ("y".to_string(), 3), ("z".to_string(), 2)]
        );
        let card = Card { recipe, features, trained: serde_json::Value::Null };
        let metadata = card.metadata();
        let get = |key: &str| metadata.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        let again = Card::read("m", get).unwrap();
        assert_eq!(again.features.reference, card.features.reference);
        // Files that were written before it was kept have none.
        let old = Card::read("m", |key| get(key).filter(|_| key != "reference")).unwrap();
        assert!(old.features.reference.is_none());
        let damaged = Card::read("m", |key| if key == "reference" { Some("{}") } else { get(key) });
        assert!(damaged.unwrap_err().to_string().contains("`reference` in the metadata: expected"));
    }

    #[test]
    fn what_a_model_says_is_measured() {
        let recipe = Recipe::load(Source::new("r", RECIPE), &[]).unwrap();
        let rows = Rows::all(table());
        let features = Features::fit(&recipe, &rows).unwrap();
        let network = Network::new(&recipe, &features).unwrap();
        let card = Card { recipe, features, trained: serde_json::Value::Null };
        let said = Predictor { card, network }.predicted(&rows).unwrap();
        let names: Vec<&str> = said.iter().map(|it| &*it.feature).collect();
        assert_eq!(names, ["prediction.c", "prediction.c.confidence"]);
        assert_eq!((said[0].summary.count(), said[1].summary.count()), (24, 24));
        let Summary::Numbers(sure) = &said[1].summary else { panic!() };
        assert!(sure.least >= 1.0 / 3.0 - 1e-6 && sure.greatest <= 1.0);
    }
}
