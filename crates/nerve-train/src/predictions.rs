//! What a network gives for data, row by row.

use crate::callback::CallbackError;
use crate::error::TrainError;
use crate::plans::{Plans, Traced};
use nerve_core::{DType, Precision, Shape, Step};
use nerve_data::{Batch, Loader};
use nerve_nn::{Context, Model};

/// What a network gave at one of its outputs for a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// The shape for one example.
    pub shape: Shape,
    /// The values, example after example.
    pub values: Vec<f32>,
}

impl Given {
    /// The values for one example of the batch.
    ///
    /// # Panics
    /// If there are fewer.
    #[track_caller]
    pub fn row(&self, example: usize) -> &[f32] {
        let width = self.shape.numel();
        &self.values[example * width..(example + 1) * width]
    }
}

/// Gives what a network gives for data. Its plans are made at the first use and kept.
///
/// ```
/// use nerve_data::{Arrays, Element, Field, Loader, LoaderOptions};
/// use nerve_nn::{Params, layers::Linear};
/// use nerve_train::Predictions;
/// use std::sync::Arc;
///
/// let data = Arrays::new(vec![(Field::new("x", &[1], Element::F32), vec![1f32, 2.0].into())])?;
/// let loader = Loader::new(Arc::new(data), LoaderOptions::default())?;
/// let model = Linear::new(&Params::new(42), 1, 3);
/// let mut rows = 0;
/// Predictions::new(&model).run(&loader, |batch, outputs| {
///     rows += batch.size();
///     assert_eq!(outputs[0].row(1).len(), 3);
///     Ok(())
/// })?;
/// assert_eq!(rows, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Predictions<'a> {
    model: &'a dyn Model,
    plans: Option<Plans<'a>>,
    outputs: Vec<Given>,
}

impl<'a> Predictions<'a> {
    /// Of this network.
    pub fn new(model: &'a dyn Model) -> Predictions<'a> {
        Predictions { model, plans: None, outputs: Vec::new() }
    }

    /// Calls `each` with each batch of the data, in their order, and what the network gives for it at
    /// each of its outputs. Of the data only the first fields are used, the inputs of the network.
    ///
    /// # Errors
    /// Those of the data and of `each`; an index out of range.
    ///
    /// # Panics
    /// If the shapes of the data do not fit the network.
    pub fn run(
        &mut self,
        loader: &Loader,
        mut each: impl FnMut(&Batch, &[Given]) -> Result<(), CallbackError>,
    ) -> Result<(), TrainError> {
        // Data of ever other lengths end with ever other batches; a plan for each of them is not kept.
        if self.plans.as_ref().is_some_and(|plans| plans.count() > MOST_PLANS) {
            self.plans = None;
        }
        let plans = match &mut self.plans {
            Some(plans) => plans,
            none => none.insert(forward(self.model, loader)?),
        };
        for batch in loader.epoch(0, 0) {
            let batch = batch?;
            read(plans.replay(&batch, 1, (0, 0))?, &mut self.outputs);
            each(&batch, &self.outputs).map_err(TrainError::Callback)?;
        }
        Ok(())
    }
}

/// Plans that are kept from one run to the next: each adds two at most.
const MOST_PLANS: usize = 2;

/// Reads the results of a step, within the memory that is there.
fn read(step: &Step, outputs: &mut Vec<Given>) {
    outputs.resize_with(step.results(), Given::default);
    for (i, output) in outputs.iter_mut().enumerate() {
        let shape = step.shape(i);
        if *output.shape != shape[1..] {
            output.shape = shape[1..].into();
        }
        output.values.resize(shape.numel(), 0.0);
        step.read_into(i, &mut output.values);
    }
}

/// The plans of a network in use.
fn forward<'a>(model: &'a dyn Model, loader: &Loader) -> Result<Plans<'a>, TrainError> {
    let function: Traced<'a> = Box::new(move |args| {
        let (_, inputs) = args.split_last().expect("the key");
        let outputs = model.outputs(inputs, &Context::eval());
        outputs.iter().map(|output| output.to_dtype(DType::F32)).collect()
    });
    let used = (model.input_count(), "the inputs".into());
    Plans::new(loader, used, function, Precision::Full)
}

/// The compiled network in use with the first batch of `loader` in it, and the rows of that batch:
/// to look at, or to run and to time by itself.
///
/// # Errors
/// Those of the data; [`DataError::Empty`](nerve_data::DataError::Empty) if there are none.
///
/// # Panics
/// If the shapes of the data do not fit the network.
pub fn first_use(model: &dyn Model, loader: &Loader) -> Result<(Step, usize), TrainError> {
    forward(model, loader)?.first(loader, (0, 0))
}
