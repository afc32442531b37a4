//! The columns of a recipe with all that was learned about them: the same in training and in use.

use crate::columns::{self, Column};
use crate::data::Rows;
use crate::per_series;
use crate::recipe::Recipe;
use nerve_data::features::{self, Feature, Fitting, Head, Output, Role, Setting};
use nerve_data::series::PerSeries;
use nerve_data::table::Slot;
use nerve_data::transform::Pipeline;
use nerve_data::{DataError, Element, Field};
use nerve_formats::Meaning;
use nerve_lens::drift::Reference;
use serde_json::{Value as Json, json};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A column with what was learned about it.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// What the recipe says of it.
    pub column: Column,
    /// Its feature.
    pub feature: Arc<dyn Feature>,
}

impl Fitted {
    /// What the network must give for it.
    ///
    /// # Panics
    /// For an input.
    #[track_caller]
    pub fn head(&self) -> Head {
        self.feature.output().expect("an output").head()
    }
}

/// All columns, and the fields that they become.
#[derive(Clone, Debug)]
pub struct Features {
    /// The columns that go in.
    pub inputs: Vec<Fitted>,
    /// The columns that should come out.
    pub outputs: Vec<Fitted>,
    /// The fields: first the inputs, of which plain numbers lie side by side in one, then what stands before each token of a
    /// text that is written, then the outputs.
    pub slots: Vec<Slot>,
    /// How many of the fields go into the network while it is trained.
    pub fed: usize,
    /// How many of them are known when it is asked: the inputs.
    pub asked: usize,
    /// The columns of which each series has a scale of its own.
    pub(crate) own_scales: Vec<PerSeries>,
    /// What the training rows were like; `None` in old model files.
    pub reference: Option<Arc<Reference>>,
}

/// A field as the network gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    /// Its name.
    pub name: String,
    /// The shape of one example.
    pub shape: Vec<usize>,
    /// What its numbers mean.
    pub meaning: Meaning,
    /// How many numbers each of the columns in it has.
    pub widths: Vec<usize>,
}

impl Feed {
    /// As an encoder sees it.
    pub(crate) fn for_network(&self) -> nerve_nn::encoders::Feed {
        let shape = self.shape.as_slice().into();
        nerve_nn::encoders::Feed { shape, meaning: self.meaning.clone() }
    }
}

impl Features {
    /// Learns from training rows what each feature must know.
    ///
    /// # Errors
    /// A column that is not there; a cell that its feature cannot take; an output that cannot be one.
    pub fn fit(recipe: &Recipe, train: &Rows) -> Result<Features, DataError> {
        let own_scales = per_series::fit(recipe, train)?;
        let table = per_series::applied(&own_scales, recipe.columns(), &train.table)?;
        let scaled = &Rows { table, rows: train.rows.clone() };
        let all = |columns: &[Column], role| -> Result<Vec<Fitted>, DataError> {
            columns.iter().map(|column| fit(recipe, column, role, scaled)).collect()
        };
        let inputs = all(&recipe.inputs, Role::Input)?;
        let outputs = all(&recipe.outputs, Role::Output)?;
        let mut features =
            Features { own_scales, ..Features::new(inputs, outputs, recipe.base_takes_several())? };
        features.reference = Some(Arc::new(crate::reference::of_rows(&features, train)?));
        Ok(features)
    }

    /// From features that were fitted in the order of the recipe's inputs and outputs.
    ///
    /// # Errors
    /// A column that cannot be an output.
    pub(crate) fn learned(
        recipe: &Recipe,
        features: Vec<Arc<dyn Feature>>,
    ) -> Result<Features, DataError> {
        let mut features = features.into_iter();
        let mut all = |columns: &[Column]| -> Vec<Fitted> {
            let fitted =
                |(column, feature): (&Column, _)| Fitted { column: column.clone(), feature };
            columns.iter().zip(&mut features).map(fitted).collect()
        };
        let inputs = all(&recipe.inputs);
        Features::new(inputs, all(&recipe.outputs), recipe.base_takes_several())
    }

    /// From what [`Features::state`] gave. `folder` is where file names in new data start from.
    ///
    /// # Errors
    /// A state that is missing or is none of its type.
    pub fn restore(recipe: &Recipe, state: &Json, folder: &Path) -> Result<Features, DataError> {
        let all = |columns: &[Column], role| -> Result<Vec<Fitted>, DataError> {
            let restored = columns.iter().enumerate().map(|(i, column)| {
                let state = &state[columns::table(role)][i];
                let setting = Setting { role, folder: folder.to_path_buf() };
                let feature = (entry(column).restore)(&column.feature.args, &setting, state);
                let feature = feature.map_err(|message| whole(column, message))?;
                Ok(Fitted { column: column.clone(), feature })
            });
            restored.collect()
        };
        let inputs = all(&recipe.inputs, Role::Input)?;
        let outputs = all(&recipe.outputs, Role::Output)?;
        let own_scales = per_series::restore(&state["series"])?;
        Ok(Features { own_scales, ..Features::new(inputs, outputs, recipe.base_takes_several())? })
    }

    /// With `apart` no inputs lie side by side.
    fn new(inputs: Vec<Fitted>, outputs: Vec<Fitted>, apart: bool) -> Result<Features, DataError> {
        if let Some(it) = outputs.iter().find(|it| it.feature.output().is_none()) {
            let message =
                format!("a column of type `{}` cannot be an output", it.column.feature.name);
            return Err(whole(&it.column, message));
        }
        let mut slots = side_by_side(&inputs, apart);
        let asked = slots.len();
        // What a text was before each of its tokens goes in beside the inputs, so that the text is learned in one step.
        slots.extend(outputs.iter().filter_map(|it| {
            let writing = it.feature.output().and_then(Output::writing)?;
            let parts = vec![(it.column.name.clone(), writing.past())];
            Some(Slot { name: format!("{} (past)", it.column.name), parts })
        }));
        let fed = slots.len();
        slots.extend(outputs.iter().map(|it| Slot::one(&*it.column.name, it.feature.clone())));
        // A column may go in and come out: a picture that is to be drawn again, a series.
        for slot in fed..slots.len() {
            if slots[..slot].iter().any(|other| other.name == slots[slot].name) {
                slots[slot].name.push_str(" (target)");
            }
        }
        Ok(Features { inputs, outputs, slots, fed, asked, own_scales: Vec::new(), reference: None })
    }

    /// The rows that a sample needs, relative to its own.
    pub fn reach(&self) -> Range<isize> {
        let all = self.slots.iter().map(Slot::reach);
        all.fold(0..1, |whole, reach| whole.start.min(reach.start)..whole.end.max(reach.end))
    }

    /// All that was learned, for the model file.
    pub fn state(&self) -> Json {
        let states =
            |all: &[Fitted]| -> Vec<Json> { all.iter().map(|it| it.feature.state()).collect() };
        let mut state = json!({ "input": states(&self.inputs), "output": states(&self.outputs) });
        if !self.own_scales.is_empty() {
            state["series"] = self.own_scales.iter().map(PerSeries::state).collect();
        }
        state
    }

    /// The inputs as the network gets them.
    pub fn feeds(&self) -> Vec<Feed> {
        let feed = |slot: &Slot| {
            let widths = slot.parts.iter().map(|(_, f)| f.delivered().0.iter().product()).collect();
            let (shape, meaning) = match &slot.parts[..] {
                [(_, feature)] => (feature.delivered().0, feature.meaning()),
                _ => (slot.field().shape, Meaning::Numbers),
            };
            Feed { name: slot.name.clone(), shape, meaning, widths }
        };
        self.slots[..self.asked].iter().map(feed).collect()
    }

    /// What is done to each example on its way to the network, from the stored `fields`; in `training` it is augmented.
    ///
    /// # Errors
    /// The fields are not those of the slots.
    pub fn pipeline(&self, fields: &[Field], training: bool) -> Result<Pipeline, DataError> {
        let known = fields.len().min(self.slots.len());
        let mut single =
            self.slots[..known].iter().enumerate().filter(|(_, slot)| slot.parts.len() == 1);
        let pipeline = single.try_fold(Pipeline::new(fields), |pipeline, (at, slot)| {
            let feature = slot.parts[0].1.clone();
            // Pictures and masks draw the same random numbers, so that they move together.
            let key = match feature.meaning() {
                Meaning::Image | Meaning::Mask { .. } => 0,
                _ => 1 + at as u64,
            };
            pipeline.deliver(&slot.name, feature, training, key)
        })?;
        if training { self.disturbed(pipeline) } else { Ok(pipeline) }
    }

    /// The pipeline with what is done to the columns of inputs in a batch.
    fn disturbed(&self, mut pipeline: Pipeline) -> Result<Pipeline, DataError> {
        for slot in &self.slots[..self.fed] {
            let mut from = 0;
            for (_, feature) in &slot.parts {
                let width = feature.delivered().0.iter().product();
                if !feature.disturbance().is_none() {
                    pipeline = pipeline.disturb(&slot.name, from, width, feature.disturbance())?;
                }
                from += width;
            }
        }
        Ok(pipeline)
    }

    /// What should be said about the data, with the name of the column.
    pub fn notes(&self) -> Vec<String> {
        let all = self.inputs.iter().chain(&self.outputs);
        let notes = all.flat_map(|it| {
            let notes = it.feature.notes().into_iter();
            notes.map(|note| format!("column `{}`: {note}", crate::source::escape(&it.column.name)))
        });
        notes.collect()
    }
}

fn entry(column: &Column) -> &'static features::Entry {
    features::find(column.feature.name).expect("a type of the registry")
}

fn whole(column: &Column, message: String) -> DataError {
    DataError::Column { column: column.name.clone(), message }
}

/// Begins to learn about a column of data whose file names start from `folder`.
pub(crate) fn begin(
    column: &Column,
    role: Role,
    folder: &Path,
) -> Result<Box<dyn Fitting>, DataError> {
    let setting = Setting { role, folder: folder.to_path_buf() };
    let begun = (entry(column).begin)(&column.feature.args, &setting);
    begun.map_err(|message| whole(column, message))
}

/// Learns from the training rows what the feature of a column must know.
fn fit(recipe: &Recipe, column: &Column, role: Role, train: &Rows) -> Result<Fitted, DataError> {
    let refuse = |message| whole(column, message);
    let mut fitting = begin(column, role, &train.table.origin().folder)?;
    // Columns that share a tokenizer look at the same texts in the same order.
    let shared = crate::sequences::partner(column);
    let names = recipe.inputs.iter().chain(&recipe.outputs).map(|column| column.name.as_str());
    let mut names: Vec<&str> =
        names.filter(|name| *name == column.name || Some(*name) == shared).collect();
    names.dedup();
    for name in names {
        let cells = &train.table.column(name)?.cells;
        for &row in &train.rows {
            let observed = match name == column.name {
                true => fitting.observe(cells, row),
                false => fitting.observe_beside(cells, row),
            };
            observed.map_err(|refusal| train.table.refuse(row, name, refusal))?;
        }
    }
    let feature = fitting.finish().map_err(refuse)?;
    Ok(Fitted { column: column.clone(), feature })
}

/// The inputs as fields: what is plain numbers lies side by side, unless it is wanted `apart`; everything else is a field of its own.
fn side_by_side(inputs: &[Fitted], apart: bool) -> Vec<Slot> {
    let plain = |it: &&Fitted| {
        let (shape, element) = it.feature.stored();
        element == Element::F32
            && shape.len() == 1
            && !it.feature.delivers()
            && it.feature.reach() == (0..1)
            && !it.column.args.has("encoder")
    };
    let numbers: Vec<&Fitted> = inputs.iter().filter(plain).collect();
    let together = numbers.len() > 1 && !apart;
    // Where the first of them stands.
    let mut slots = Vec::new();
    for it in inputs {
        if !(together && plain(&it)) {
            slots.push(Slot::one(&*it.column.name, it.feature.clone()));
        } else if std::ptr::eq(it, numbers[0]) {
            let part = |it: &&Fitted| (it.column.name.clone(), it.feature.clone());
            slots.push(Slot { name: free_name(inputs), parts: numbers.iter().map(part).collect() });
        }
    }
    slots
}

/// The name of the field of the numbers that lie side by side, which is no column's.
fn free_name(inputs: &[Fitted]) -> String {
    let mut name = "numbers".to_string();
    while inputs.iter().any(|it| it.column.name == name) {
        name.push('_');
    }
    name
}
