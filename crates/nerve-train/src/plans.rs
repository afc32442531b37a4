//! The compiled step: a plan for each number of rows, fed with batches.

use crate::error::TrainError;
use nerve_core::ops::random_key;
use nerve_core::{Compiled, DType, Diagnosis, Precision, Shape, Step, Tensor, compile};
use nerve_data::{Array, Batch, DataError, Element, Field, Loader, Values};

/// Rows of the arguments: the fields of the data that are used (inputs, targets, perhaps the weights
/// of the examples), and the key of the random numbers.
pub(crate) type Traced<'a> = Box<dyn Fn(&[Tensor]) -> Vec<Tensor> + 'a>;

/// A compiled function of a batch and a key that gives the loss, f32, and what metrics observe,
/// f64.
pub(crate) struct Plans<'a> {
    compiled: Compiled<Traced<'a>>,
    fields: Vec<Field>,
    /// One for the full batch, one for the last of an epoch.
    steps: Vec<(usize, Step)>,
}

impl<'a> Plans<'a> {
    pub fn new(
        loader: &Loader,
        (used, what): (usize, String),
        function: Traced<'a>,
        precision: Precision,
    ) -> Result<Plans<'a>, TrainError> {
        let all = loader.fields();
        let Some(fields) = all.get(..used).map(<[Field]>::to_vec) else {
            return Err(TrainError::Fields { found: all.len(), needed: used, what });
        };
        let compiled = compile(function).precision(precision);
        Ok(Plans { compiled, fields, steps: Vec::new() })
    }

    /// How many plans there are.
    pub fn count(&self) -> usize {
        self.steps.len()
    }

    /// The step for so many rows.
    pub fn step(&mut self, rows: usize) -> &Step {
        let known = self.steps.iter().position(|(r, _)| *r == rows);
        let at = known.unwrap_or_else(|| {
            let argument = |field: &Field| {
                let shape: Shape = [&[rows], &field.shape[..]].concat().into();
                (shape, dtype(field.element))
            };
            let key = ([4].into(), DType::I32);
            let signature: Vec<_> = self.fields.iter().map(argument).chain([key]).collect();
            self.steps.push((rows, self.compiled.step(&signature)));
            self.steps.len() - 1
        });
        &self.steps[at].1
    }

    /// The step for a batch, with the batch in it.
    fn load(&mut self, batch: &Batch, key: (u64, u64)) -> &Step {
        let used = self.fields.len();
        let step = self.step(batch.size());
        (0..used).for_each(|field| write(step, field, batch.array(field)));
        step.write(used, &random_key(key.0, key.1));
        step
    }

    /// The step for the first batch of a loader, with the batch in it, and its rows.
    pub fn first(mut self, loader: &Loader, key: (u64, u64)) -> Result<(Step, usize), TrainError> {
        let none = || DataError::Empty { what: "data".into() };
        let batch = loader.epoch(0, 0).next().ok_or_else(none)??;
        self.load(&batch, key);
        let at = self.steps.iter().position(|(rows, _)| *rows == batch.size());
        Ok((self.steps.remove(at.expect("just made")).1, batch.size()))
    }

    /// Where a number comes from that is not finite, with this batch and the variables as they are.
    pub fn diagnose(&mut self, batch: &Batch, key: (u64, u64)) -> Option<Diagnosis> {
        self.load(batch, key);
        let at = self.steps.iter().position(|(rows, _)| *rows == batch.size())?;
        self.compiled.diagnose(&self.steps[at].1)
    }

    /// The name of the field that is argument number `index`.
    pub fn field(&self, index: usize) -> Option<String> {
        self.fields.get(index).map(|field| field.name.clone())
    }

    /// Runs one batch; its results are in the step.
    pub fn replay(
        &mut self,
        batch: &Batch,
        epoch: u64,
        key: (u64, u64),
    ) -> Result<&Step, TrainError> {
        let step = self.load(batch, key);
        step.run().map_err(|error| {
            let (first, last) = (batch.start(), batch.end().saturating_sub(1));
            TrainError::Index { epoch, first, last, error }
        })?;
        Ok(step)
    }

    /// Runs one batch and reads its results into `readings`.
    pub fn run(
        &mut self,
        batch: &Batch,
        epoch: u64,
        key: (u64, u64),
        readings: &mut Readings,
    ) -> Result<(), TrainError> {
        let step = self.replay(batch, epoch, key)?;
        step.read_into(0, std::slice::from_mut(&mut readings.loss));
        for (i, values) in readings.metrics.iter_mut().enumerate() {
            // Within its capacity from the second batch on: only the last one is smaller.
            values.resize(step.shape(i + 1).numel(), 0.0);
            step.read_into(i + 1, values);
        }
        let last = readings.metrics.len() + 1;
        readings.count = batch.size() as f64;
        let mut results = step.results();
        if let Some(norm) = &mut readings.grad_norm {
            results -= 1;
            step.read_into(results, std::slice::from_mut(norm));
        }
        if results > last {
            step.read_into(last, std::slice::from_mut(&mut readings.count));
        }
        Ok(())
    }
}

/// The results of a step: the loss, and what each score observed.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    pub loss: f32,
    /// What the batch counts in the mean loss: its examples, or the weights of the terms if they
    /// have such.
    pub count: f64,
    pub metrics: Vec<Vec<f64>>,
    /// The length of all gradients together, where the step has it as its last result.
    pub grad_norm: Option<f32>,
}

fn dtype(element: Element) -> DType {
    match element {
        Element::F32 => DType::F32,
        Element::I32 => DType::I32,
        Element::U8 => DType::U8,
    }
}

fn write(step: &Step, index: usize, array: &Array) {
    match array.values() {
        Values::F32(values) => step.write(index, values),
        Values::I32(values) => step.write(index, values),
        Values::U8(values) => step.write(index, values),
    }
}
