//! A trained network, from its file alone.

use crate::features::Features;
use crate::model::{Card, CardError};
use crate::network::Network;
use nerve_core::RunError;
use nerve_data::features::Answer;
use nerve_data::table::{Prepared, Slot};
use nerve_data::{
    Cells, Column, DataError, Dataset, Loader, LoaderOptions, Origin, Subset, Table,
};
use nerve_formats::{FormatError, Limits, SafeTensors};
use nerve_nn::state::LoadError;
use nerve_train::{Predictions, TrainError};
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
    /// An example has an index that the network does not take.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The examples cannot be run.
    #[error(transparent)]
    Train(#[from] TrainError),
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
        let network = Network::new(&card.recipe, &card.features).map_err(refuse)?;
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
        mut each: impl FnMut(Said) -> Result<(), CallbackError>,
    ) -> Result<(), ModelError> {
        let features = self.features();
        let slots = match truths {
            true => features.slots.clone(),
            false => features.slots[..features.fed].to_vec(),
        };
        let loader = self.loader(rows, slots)?;
        let outputs: Vec<_> = features.outputs.iter().filter_map(|it| it.feature.output()).collect();
        let mut next = rows.rows.iter();
        let mut predictions = Predictions::new(&*self.network.model);
        predictions.run(&loader, |batch, given| {
            for i in 0..batch.size() {
                let row = *next.next().expect("as many rows as examples");
                let answers = outputs.iter().zip(given).map(|(output, given)| output.answer(given.row(i)));
                let answers = answers.collect();
                let truth = |(k, output): (usize, &&dyn nerve_data::features::Output)| {
                    output.truth(batch.array(features.fed + k).values(), i)
                };
                let told = if truths { &outputs[..] } else { &[] };
                let truths = told.iter().enumerate().map(truth).collect();
                each(Said { row, answers, truths })?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// The rows as the network takes them, in batches.
    pub(crate) fn loader(&self, rows: &Rows, slots: Vec<Slot>) -> Result<Loader, DataError> {
        let prepared = Prepared::new(rows.table.clone(), slots, &rows.rows)?;
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
        let [input] = &self.features().inputs[..] else {
            return Err(DataError::Column {
                column: self.features().inputs.first().map_or("", |it| &it.column.name).into(),
                message: format!(
                    "the model has {} inputs: give it a table with --data",
                    self.features().inputs.len()
                ),
            }
            .into());
        };
        let names: Vec<String> = paths.iter().map(|path| path.to_string_lossy().into()).collect();
        let cells = Cells::Text(names.iter().map(|name| Some(name.as_str())).collect());
        let column = Column { name: input.column.name.clone(), cells };
        let origin = Origin { files: Vec::new(), folder: PathBuf::new(), lines: Vec::new() };
        Ok(Table::new(vec![column], origin)?)
    }
}
