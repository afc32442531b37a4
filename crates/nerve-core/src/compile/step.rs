//! A plan with fixed memory for its arguments and results.

use super::compiled::Signature;
use super::plan::Plan;
use crate::dtype::{DType, Element};
use crate::shape::Shape;
use crate::var::Var;
use nerve_cpu::{Buffer, Replay, RunError};
use std::sync::Arc;
use std::time::Duration;

/// A plan with fixed memory for its arguments and results: what a training loop runs.
///
/// ```
/// use nerve_core::{DType, Tensor, compile};
/// let double = compile(|args: &[Tensor]| vec![&args[0] * 2.0]);
/// let step = double.step(&[([3].into(), DType::F32)]);
/// step.write(0, &[1.0f32, 2.0, 3.0]);
/// step.run().unwrap();
/// assert_eq!(step.read::<f32>(0), [2.0, 4.0, 6.0]);
/// ```
pub struct Step {
    plan: Arc<Plan>,
    signature: Signature,
    arguments: Vec<Arc<Buffer>>,
    outputs: Vec<Arc<Buffer>>,
}

impl Step {
    pub(super) fn new(plan: Arc<Plan>, signature: &[(Shape, DType)]) -> Step {
        let room =
            |shape: &Shape, dtype: DType| Arc::new(Buffer::zeroed(shape.numel() * dtype.bytes()));
        let arguments = signature.iter().map(|(shape, dtype)| room(shape, *dtype)).collect();
        let outputs = (0..plan.outputs()).map(|i| room(&plan.output(i).1, plan.output(i).2));
        Step { outputs: outputs.collect(), arguments, signature: signature.to_vec(), plan }
    }

    /// Copies `values` in as argument `index`.
    ///
    /// # Panics
    /// If their number or type is not that of the signature.
    #[track_caller]
    pub fn write<T: Element<Stored = T> + nerve_cpu::memory::Plain>(
        &self,
        index: usize,
        values: &[T],
    ) {
        let (shape, dtype) = &self.signature[index];
        assert!(
            T::DTYPE == *dtype && values.len() == shape.numel(),
            "write: argument {index} is {dtype} {shape}, found {} values of {}",
            values.len(),
            T::DTYPE
        );
        self.arguments[index].write(0, values);
    }

    /// Runs the plan once.
    ///
    /// # Errors
    /// If an index among the arguments is out of range.
    ///
    /// # Panics
    /// If a variable has been moved into an arena since the step was made.
    #[track_caller]
    pub fn run(&self) -> Result<(), RunError> {
        assert!(
            self.plan.is_valid(),
            "a variable has moved since this step was made: make it again"
        );
        let mut replay = self.plan.lock();
        self.bind(&mut replay);
        self.plan.replay(&mut replay)
    }

    /// Runs the plan once, each instruction on its own, and adds the time each took to `times`,
    /// which has one entry for each line of [`Plan::explain`].
    ///
    /// # Errors
    /// As [`Step::run`].
    pub fn profile(&self, times: &mut Vec<Duration>) -> Result<(), RunError> {
        let mut replay = self.plan.lock();
        self.bind(&mut replay);
        self.plan.refresh()?;
        times.resize(replay.program().instructions().len(), Duration::ZERO);
        replay.profile(times)
    }

    /// Others may have run the same plan with their memory since.
    fn bind(&self, replay: &mut Replay) {
        for (index, buffer) in self.arguments.iter().enumerate() {
            if let Some(slot) = self.plan.argument_buffer(index) {
                rebind(replay, slot, buffer);
            }
        }
        for (index, buffer) in self.outputs.iter().enumerate() {
            rebind(replay, self.plan.output(index).0, buffer);
        }
    }

    /// The elements of result `index` after the last run.
    ///
    /// # Panics
    /// If `T` is not their type.
    #[track_caller]
    pub fn read<T: Element>(&self, index: usize) -> Vec<T> {
        let (_, shape, dtype) = self.plan.output(index);
        assert!(T::DTYPE == *dtype, "read: result {index} is {dtype}, asked for {}", T::DTYPE);
        let stored: Vec<T::Stored> = self.outputs[index].to_vec(0..shape.numel());
        stored.into_iter().map(T::load).collect()
    }

    /// The variables that a run changes: with its arguments, all that the next run can depend on, if
    /// nobody else changes any.
    pub fn written(&self) -> &[Var] {
        self.plan.written()
    }

    pub(super) fn signature(&self) -> &Signature {
        &self.signature
    }

    pub(super) fn argument_buffers(&self) -> &[Arc<Buffer>] {
        &self.arguments
    }

    /// How many results there are.
    pub fn results(&self) -> usize {
        self.plan.outputs()
    }

    /// The shape of result `index`.
    ///
    /// # Panics
    /// If there are fewer results.
    #[track_caller]
    pub fn shape(&self, index: usize) -> &Shape {
        &self.plan.output(index).1
    }

    /// Copies the elements of result `index` to `into`, without allocating.
    ///
    /// # Panics
    /// If their number or type is not that of the result.
    #[track_caller]
    pub fn read_into<T: Element<Stored = T> + nerve_cpu::memory::Plain>(
        &self,
        index: usize,
        into: &mut [T],
    ) {
        let (_, shape, dtype) = self.plan.output(index);
        assert!(
            T::DTYPE == *dtype && into.len() == shape.numel(),
            "read_into: result {index} is {dtype} {shape}, asked for {} values of {}",
            into.len(),
            T::DTYPE
        );
        self.outputs[index].read_into(0, into);
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

fn rebind(replay: &mut Replay, slot: usize, buffer: &Arc<Buffer>) {
    if !replay.buffer(slot).is_some_and(|bound| Arc::ptr_eq(bound, buffer)) {
        replay.bind(slot, buffer.clone());
    }
}
