//! A trained network, from its file alone.

use crate::data::Rows;
use crate::features::Features;
use crate::model::{Card, CardError};
use crate::network::Network;
use crate::per_series::{OnScale, Units};
use crate::writing::Writer;
use nerve_data::features::{Answer, Output};
use nerve_data::image_file::{self, Picture};
use nerve_data::series::Order;
use nerve_data::table::{Prepared, Slot};
use nerve_data::{
    Cells, Column, DataError, Dataset, Element, Field, Loader, LoaderOptions, Origin, Subset,
    Table, Values,
};
use nerve_formats::{FormatError, Limits, Meaning, SafeTensors};
use nerve_nn::Params;
use nerve_nn::generate::GenerateError;
use nerve_nn::state::LoadError;
use nerve_train::{CallbackError, Given, Predictions, TrainError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a model cannot be opened or asked.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file cannot be read or is damaged.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Its metadata are not those of a model.
    #[error(transparent)]
    Card(#[from] CardError),
    /// Its architecture does not fit its input, or its numbers do not fit its architecture.
    #[error("{file}: {message}")]
    Network {
        /// The file.
        file: String,
        /// What does not fit.
        message: String,
    },
    /// Its normalisation does not fit its input, or a picture cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The examples cannot be run.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A text cannot be written.
    #[error("{0}")]
    Writing(GenerateError),
}

/// A trained network that answers what the rows of a table say.
pub struct Predictor {
    /// What its file says beside its numbers.
    pub card: Card,
    /// The network.
    pub network: Network,
}

/// What the network says of one row, and what is true where that is asked for.
#[derive(Clone, Debug)]
pub struct Said {
    /// The row of the table.
    pub row: usize,
    /// For each output what the network says.
    pub answers: Vec<Answer>,
    /// For each output what is true; empty where the table is not asked for it.
    pub truths: Vec<Answer>,
}

impl Predictor {
    /// Opens a model file.
    ///
    /// # Errors
    /// The file cannot be read, is no model, or its parts do not fit each other.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let file = SafeTensors::open(path, &Limits::default())?;
        let card = Card::read(file.file(), |key| file.metadata_value(key))?;
        let refuse =
            |message: String| ModelError::Network { file: file.file().to_string(), message };
        if card.recipe.compares_examples() {
            return Err(refuse("its outputs are embeddings, none of which names a class".into()));
        }
        let network = Network::within(Params::for_loading(), &card.recipe, &card.features);
        let network = network.map_err(refuse)?;
        network.params.load_safetensors(&file).map_err(|e: LoadError| refuse(e.to_string()))?;
        file.require_finite()?;
        Ok(Predictor { card, network })
    }

    /// The columns with what was learned about them.
    pub fn features(&self) -> &Features {
        &self.card.features
    }

    /// What the network says of some rows, in their order. With `truths` the table has the columns of the outputs too,
    /// and what stands there is told beside the answers.
    ///
    /// # Errors
    /// A column that is not there; a cell that its feature cannot take; those of `each`.
    pub fn answers(
        &self,
        rows: &Rows,
        truths: bool,
        each: impl FnMut(Said) -> Result<(), CallbackError>,
    ) -> Result<(), ModelError> {
        self.asking().answers(rows, truths, each)
    }

    /// The network made ready to be asked again and again, of one table after the other: it is compiled once.
    pub fn asking(&self) -> Asking<'_> {
        Asking { predictor: self, way: Way::Computed(Predictions::new(&*self.network.model)) }
    }

    /// The rows that have around them all that a sample needs; with `truths` also what comes after.
    ///
    /// # Errors
    /// There is none; the rows are not in the order of time.
    pub fn samples(&self, rows: &Rows, truths: bool) -> Result<Rows, DataError> {
        let features = self.features();
        match truths {
            true => {
                let stride = Order::from_args(&self.card.recipe.data).stride;
                self.card.recipe.whole_samples(features, rows, false, stride)
            }
            false => {
                let mut inputs = features.clone();
                inputs.slots.truncate(features.asked);
                self.card.recipe.whole_samples(&inputs, rows, false, 1)
            }
        }
    }

    /// What brings answers about rows of the table back to the units of its columns.
    ///
    /// # Errors
    /// The column that says which series a row belongs to is not there, or has no name in a row.
    pub fn units(&self, table: &Table) -> Result<Units, DataError> {
        Units::of(self.features(), table)
    }

    /// The rows as the network takes them, in batches; `slots` are the first of [`Features::slots`].
    ///
    /// # Errors
    /// A column that is not there; a cell that its feature cannot take.
    pub fn loader(&self, rows: &Rows, slots: Vec<Slot>) -> Result<Loader, DataError> {
        let table = OnScale::default().of(self.features(), &rows.table)?;
        let prepared = Prepared::new(table, slots, &rows.rows)?;
        let pipeline = self.features().pipeline(prepared.fields(), false)?;
        let dataset = Subset::new(prepared, rows.rows.clone())?;
        let batch_size = self.card.recipe.trainer.usize("batch_size");
        let options = LoaderOptions { batch_size, ..LoaderOptions::default() };
        Loader::new(Arc::new(dataset), options)?.with_pipeline(pipeline)
    }

    /// Files as rows of a table, for a network with one input: pictures, recordings.
    ///
    /// # Errors
    /// The network has another number of inputs.
    pub fn files(&self, paths: &[PathBuf]) -> Result<Table, ModelError> {
        let [input] = &self.features().inputs[..] else { return Err(self.no_single().into()) };
        let names: Vec<String> = paths.iter().map(|path| path.to_string_lossy().into()).collect();
        let cells = Cells::Text(names.iter().map(|name| Some(name.as_str())).collect());
        let column = Column { name: input.column.name.clone(), cells };
        let origin = Origin { files: Vec::new(), folder: PathBuf::new(), lines: Vec::new() };
        Ok(Table::new(vec![column], origin)?)
    }

    /// How many steps a row has, by what is stored of its first input, where the output is a tag for each step; `None`
    /// elsewhere.
    pub fn steps(&self, first: &Values, row: usize) -> Option<usize> {
        let longest = self.features().slots[0].parts[0].1.stored().0;
        let (Values::I32(values), &[longest], true) = (first, &longest[..], self.in_steps()) else {
            return None;
        };
        let tokens = &values[row * longest..][..longest];
        Some(tokens.iter().position(|&token| token == 0).unwrap_or(longest))
    }

    /// Reads a PNG or JPEG file as a network of one picture takes it.
    ///
    /// # Errors
    /// It is no such file, damaged or too large; the network takes something else.
    pub fn read(&self, path: &Path) -> Result<Picture, ModelError> {
        Ok(image_file::read(path, &self.pixels()?)?)
    }

    /// Pictures that were read, as a table.
    ///
    /// # Errors
    /// As [`Predictor::read`].
    pub fn pictures(&self, pixels: Vec<u8>) -> Result<Table, ModelError> {
        let field = self.pixels()?;
        let column =
            Column { name: field.name.clone(), cells: Cells::Arrays(field, pixels.into()) };
        Ok(Table::new(vec![column], Origin::default())?)
    }

    /// The field of the one picture that goes in.
    fn pixels(&self) -> Result<Field, DataError> {
        let [input] = &self.features().inputs[..] else { return Err(self.no_single()) };
        let (shape, element) = input.feature.stored();
        match (input.feature.meaning(), element) {
            (Meaning::Image, Element::U8) => Ok(Field::new(&*input.column.name, &shape, element)),
            _ => Err(DataError::Column {
                column: input.column.name.clone(),
                message: format!("the model takes `{}`, no picture", input.column.feature.name),
            }),
        }
    }

    fn no_single(&self) -> DataError {
        let inputs = &self.features().inputs;
        let message = format!("the model has {} inputs: give it a table with --data", inputs.len());
        let column = inputs.first().map_or_else(String::new, |it| it.column.name.clone());
        DataError::Column { column, message }
    }

    /// Whether a picture is mostly light while the training data are mostly dark, or the reverse:
    /// then it most likely shows dark writing on white for a network that learned the opposite.
    pub fn looks_inverted(&self, pixels: &[u8]) -> bool {
        let state = self.features().inputs.first().map(|it| it.feature.state());
        let Some(trained) = state.and_then(|state| state["mean"].as_f64()) else { return false };
        let sum: f64 = pixels.iter().map(|&pixel| f64::from(pixel)).sum();
        let here = sum / pixels.len().max(1) as f64;
        (trained - 127.5).abs() > 64.0
            && (here - 127.5).abs() > 32.0
            && (trained < 127.5) != (here < 127.5)
    }
}

/// A network that is asked of several tables, one after the other.
pub struct Asking<'p> {
    predictor: &'p Predictor,
    way: Way<'p>,
}

/// How the answers come about.
enum Way<'p> {
    /// All of them at once.
    Computed(Predictions<'p>),
    /// Token by token.
    Written(Box<Writer<'p>>),
}

impl Asking<'_> {
    /// As [`Predictor::answers`].
    ///
    /// # Errors
    /// As [`Predictor::answers`].
    pub fn answers(
        &mut self,
        rows: &Rows,
        truths: bool,
        mut each: impl FnMut(Said) -> Result<(), CallbackError>,
    ) -> Result<(), ModelError> {
        let features = self.predictor.features();
        let slots = match truths {
            true => features.slots.clone(),
            false => features.slots[..features.asked].to_vec(),
        };
        if let (Way::Computed(_), Some(writer)) = (&self.way, self.predictor.writer()?) {
            self.way = Way::Written(Box::new(writer));
        }
        let rows = &self.predictor.samples(rows, truths)?;
        let loader = self.predictor.loader(rows, slots)?;
        let outputs: Vec<_> =
            features.outputs.iter().filter_map(|it| it.feature.output()).collect();
        let units = self.predictor.units(&rows.table)?;
        let mut next = rows.rows.iter();
        let predictions = match &mut self.way {
            Way::Computed(predictions) => predictions,
            Way::Written(writer) => {
                if writer.continues() {
                    return Err(alone(features).into());
                }
                for batch in loader.epoch(0, 0) {
                    let batch = batch?;
                    let answers = writer.batch(&batch)?;
                    for (i, answer) in answers.into_iter().enumerate() {
                        let row = *next.next().expect("as many rows as examples");
                        let truth = |output: &&dyn Output| {
                            output.truth(batch.array(features.fed).values(), i)
                        };
                        let told = if truths { &outputs[..] } else { &[] };
                        let truths = told.iter().map(truth).collect();
                        each(Said { row, answers: vec![answer], truths })
                            .map_err(TrainError::Callback)?;
                    }
                }
                return Ok(());
            }
        };
        predictions.run(&loader, |batch, given| {
            for i in 0..batch.size() {
                let row = *next.next().expect("as many rows as examples");
                let steps = self.predictor.steps(batch.array(0).values(), i);
                let answer = |(k, (output, given)): (usize, (&&dyn Output, &Given))| {
                    let answer = match steps {
                        Some(steps) => output.answer_steps(given.row(i), steps),
                        None => output.answer(given.row(i)),
                    };
                    units.answer(k, row, answer)
                };
                let answers = outputs.iter().zip(given).enumerate().map(answer).collect();
                let truth = |(k, output): (usize, &&dyn Output)| {
                    units.answer(k, row, output.truth(batch.array(features.fed + k).values(), i))
                };
                let told = if truths { &outputs[..] } else { &[] };
                let truths = told.iter().enumerate().map(truth).collect();
                each(Said { row, answers, truths })?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

/// Why rows are no question to a model that continues a text.
fn alone(features: &Features) -> DataError {
    let column = features.outputs.first().map_or_else(String::new, |it| it.column.name.clone());
    let message = "the model continues a text, and takes no rows: `nerve generate` asks it".into();
    DataError::Column { column, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Recipe, Source};
    use nerve_core::Tensor;
    use nerve_formats::safetensors::to_bytes;
    use nerve_nn::Context;

    const RECIPE: &str = "[data]\npath = \"x.csv\"\n\
        [[input]]\nname = [\"a\", \"b\"]\ntype = \"number\"\n\
        [[output]]\nname = \"c\"\ntype = \"category\"\n\
        [model]\nlayers = [{ type = \"Dense\", units = 5, activation = \"relu\" }]\n\
        [trainer]\nbatch_size = 3\n";

    fn table() -> Table {
        let column = |name: &str, numbers: Vec<f64>| Column {
            name: name.into(),
            cells: Cells::Numbers(numbers),
        };
        let columns = vec![
            column("a", (0..8).map(|i| f64::from(i * i % 5)).collect()),
            column("b", (0..8).map(f64::from).collect()),
            column("c", (0..8).map(|i| f64::from(i % 3)).collect()),
        ];
        Table::new(columns, Origin::default()).unwrap()
    }

    fn card() -> Card {
        let recipe = Recipe::load(Source::new("r", RECIPE), &[]).unwrap();
        let features = Features::fit(&recipe, &Rows::all(table())).unwrap();
        Card { recipe, features, trained: serde_json::Value::Null }
    }

    #[test]
    fn a_saved_network_answers_from_its_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let card = card();
        let network = Network::new(&card.recipe, &card.features).unwrap();
        network.params.save_safetensors(&path, &card.metadata()).unwrap();
        let predictor = Predictor::open(&path).unwrap();
        let rows = Rows { rows: vec![7, 0, 3, 4], ..Rows::all(table()) };
        let mut said = Vec::new();
        predictor
            .answers(&rows, true, |row| {
                said.push(row);
                Ok(())
            })
            .unwrap();
        assert_eq!(said.iter().map(|row| row.row).collect::<Vec<_>>(), [7, 0, 3, 4]);
        // By hand: the same cells, normalised, through the network that was saved.
        let mean = |values: &[f64]| values.iter().sum::<f64>() / 8.0;
        let scaled = |values: &[f64], row: usize| {
            let m = mean(values);
            let deviation =
                mean(&values.iter().map(|x| (x - m).powi(2)).collect::<Vec<_>>()).sqrt();
            ((values[row] - m) / deviation) as f32
        };
        let a: Vec<f64> = (0..8).map(|i| f64::from(i * i % 5)).collect();
        let b: Vec<f64> = (0..8).map(f64::from).collect();
        for row in &said {
            let x = Tensor::from_slice(&[scaled(&a, row.row), scaled(&b, row.row)], [1, 2]);
            let y = &network.model.outputs(&[x], &Context::eval())[0];
            let expected: Vec<f32> = y.softmax(-1).to_vec();
            let Answer::Classes(found) = &row.answers[0] else { panic!("{row:?}") };
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
            let Answer::Classes(truth) = &row.truths[0] else { panic!("{row:?}") };
            assert_eq!(truth.iter().position(|&p| p == 1.0), Some(row.row % 3));
        }
    }

    #[test]
    fn asked_of_one_table_after_the_other_it_says_what_it_says_of_all() {
        let card = card();
        let network = Network::new(&card.recipe, &card.features).unwrap();
        let predictor = Predictor { card, network };
        let (all, mut asking) = (Rows::all(table()), predictor.asking());
        let mut said = |rows: Vec<usize>| {
            let mut answers = Vec::new();
            let rows = Rows { rows, ..all.clone() };
            let each = |said: Said| {
                answers.extend(said.answers);
                Ok(())
            };
            asking.answers(&rows, false, each).unwrap();
            answers
        };
        let whole = said((0..8).collect());
        // Tables of all lengths, more than plans can be kept for.
        for len in (1..=8).chain((1..8).rev()) {
            assert_eq!(said((0..len).collect()), whole[..len]);
        }
    }

    #[test]
    fn files_that_are_no_model_or_do_not_fit_say_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        let error = || match Predictor::open(&path) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("was accepted"),
        };
        assert!(error().contains("m.safetensors"));
        std::fs::write(&path, to_bytes(&[], &[]).unwrap()).unwrap();
        assert!(error().contains("no `format` in the metadata"), "{}", error());
        std::fs::write(&path, to_bytes(&[], &card().metadata()).unwrap()).unwrap();
        assert!(error().contains("`0.weight` [5, 2] is missing"), "{}", error());
    }
}
