use super::{Core, Memory, Optimizer};
use nerve_core::{Arena, Tensor, Var};

/// An optimizer that steps once for every k gradients, along their mean: as with a batch k times as
/// large, in the memory of a small one.
///
/// The step is computed each time and thrown away unless it counts, since a plan has no branches:
/// the calls in between cost as much as a step, and one slot more is kept. Learning rates follow the
/// calls, not the steps that count. What a layer counts by itself (the statistics of batch
/// normalisation) sees small batches.
///
/// It belongs outside of all other wrappers.
///
/// ```
/// use nerve_core::{Tensor, compile};
/// use nerve_nn::optim::{Accumulated, Optimizer, Sgd};
/// use nerve_nn::{Params, init::Zeros};
/// let params = Params::new(1);
/// let w = params.var("w", [1], &Zeros);
/// let sgd = Accumulated::new(Sgd::new(&params, 1.0), 2);
/// let step = compile(|x: &[Tensor]| {
///     sgd.minimize(&(w.get() * &x[0]).sum());
///     vec![]
/// });
/// let mut values = Vec::new();
/// for gradient in [1.0f32, 2.0, 6.0, 10.0] {
///     step.call(&[&Tensor::from_slice(&[gradient], [1])]);
///     values.push(w.to_vec::<f32>()[0]);
/// }
/// assert_eq!(values, [0.0, -1.5, -1.5, -9.5]);
/// ```
pub struct Accumulated<O> {
    inner: O,
    count: u64,
    sums: Vec<Arena>,
    done: Var,
}

impl<O: Optimizer> Accumulated<O> {
    /// `inner`, stepping once for every `count` gradients.
    ///
    /// # Panics
    /// If `count` is 0.
    #[track_caller]
    pub fn new(inner: O, count: u64) -> Accumulated<O> {
        assert!(count > 0, "gradients are accumulated over at least one batch");
        let core = inner.core();
        let sums = core.blocks().iter().map(|block| block.zeros("gradient_sum")).collect();
        Accumulated { sums, done: core.number("gradients", 0.0), inner, count }
    }
}

impl<O: Optimizer> Optimizer for Accumulated<O> {
    fn core(&self) -> &Core {
        self.inner.core()
    }

    fn update(&self, gradients: Vec<Tensor>) {
        let done = self.done.get() + 1.0;
        let full = done.ge(self.count as f64);
        let sums: Vec<Tensor> =
            self.sums.iter().zip(gradients).map(|(sum, g)| sum.var().get() + g).collect();
        let blocks = self.core().blocks().iter().map(|block| block.arena().var());
        let memory = self.inner.memory();
        let changing: Vec<&Var> = blocks.chain(memory.iter().map(Memory::whole)).collect();
        let before: Vec<Tensor> = changing.iter().map(|var| var.get()).collect();
        self.inner.update(sums.iter().map(|sum| sum * (1.0 / self.count as f64)).collect());
        for (var, before) in changing.iter().zip(before) {
            var.set(full.select(&var.get(), &before));
        }
        for (var, sum) in self.sums.iter().map(Arena::var).zip(sums) {
            var.set(full.select(&sum.zeros_like(), &sum));
        }
        self.done.set(full.select(&done.zeros_like(), &done));
    }

    fn memory(&self) -> Vec<Memory<'_>> {
        let own = self.sums.iter().map(Memory::Block).chain([Memory::One(&self.done)]);
        self.inner.memory().into_iter().chain(own).collect()
    }

    fn gradients(&self, loss: &Tensor) -> Vec<Tensor> {
        self.inner.gradients(loss)
    }

    fn exchange_averages(&self) -> bool {
        self.inner.exchange_averages()
    }
}
