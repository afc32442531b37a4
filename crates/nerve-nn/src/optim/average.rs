use super::{Core, Memory, Optimizer};
use crate::params::{Params, Role};
use nerve_core::{Arena, Tensor, Var};

/// Which average of the parameters over the steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Average {
    /// a ← d a + (1 − d) w after each step. Polyak & Juditsky, "Acceleration of stochastic
    /// approximation by averaging", 1992, in the form that forgets.
    Exponential {
        /// d, for instance 0.999.
        decay: f64,
        /// Whether d is at most (1 + t) / (10 + t) in step t, so that the beginning is forgotten
        /// soon.
        warm_up: bool,
    },
    /// The mean of the parameters after steps `start`, `start` + `every`, …: stochastic weight
    /// averaging, Izmailov et al., "Averaging weights leads to wider optima and better
    /// generalization", 2018. Before that the average is the parameters themselves.
    Mean {
        /// The first step that counts, from 1.
        start: u64,
        /// Steps from one to the next: an epoch, in the paper.
        every: u64,
    },
}

/// An optimizer that keeps an average of the parameters, which often judges better than they do.
///
/// The average is made in the pass of the update and costs one slot.
/// [`exchange_averages`](Optimizer::exchange_averages) puts it in the place of the parameters, for
/// an evaluation or for good; the trainer does so around each validation and at the end.
///
/// Statistics of layers are averaged too if [`with_buffers`](Averaged::with_buffers) is asked for.
/// Without it batch normalisation judges averaged parameters by statistics of the last ones: good
/// enough for exponential averages; for a mean over epochs PyTorch advises a pass over the data
/// (`update_bn`).
///
/// ```
/// use nerve_core::{Tensor, compile};
/// use nerve_nn::optim::{Average, Averaged, Optimizer, Sgd};
/// use nerve_nn::{Params, init::Zeros};
/// let params = Params::new(1);
/// let w = params.var("w", [1], &Zeros);
/// let average = Average::Exponential { decay: 0.5, warm_up: false };
/// let sgd = Averaged::new(Sgd::new(&params, 1.0), average);
/// let step = compile(|_: &[Tensor]| {
///     sgd.minimize(&w.get().sum());
///     vec![]
/// });
/// (0..3).for_each(|_| _ = step.call(&[]));
/// assert_eq!(w.to_vec::<f32>(), [-3.0]);
/// assert!(sgd.exchange_averages());
/// assert_eq!(w.to_vec::<f32>(), [-2.125]); // ((0 − ½) / 2 − 1) / 2 − 1.5
/// sgd.exchange_averages();
/// assert_eq!(w.to_vec::<f32>(), [-3.0]);
/// ```
pub struct Averaged<O> {
    inner: O,
    average: Average,
    averages: Vec<Arena>,
    /// Statistics of layers and their averages.
    buffers: Vec<(Var, Var)>,
    count: Var,
}

impl<O: Optimizer> Averaged<O> {
    /// `inner` with this average, which begins with the parameters as they are.
    ///
    /// # Panics
    /// If the average is one over every 0th step.
    #[track_caller]
    pub fn new(inner: O, average: Average) -> Averaged<O> {
        let every = if let Average::Mean { every, .. } = average { every } else { 1 };
        assert!(every > 0, "an average over every 0th step");
        let core = inner.core();
        let averages = core.blocks().iter().map(|block| block.copies("average")).collect();
        let count = core.number("averaged_steps", 0.0);
        Averaged { averages, count, inner, average, buffers: Vec::new() }
    }

    /// With the floating-point statistics of the network averaged as well.
    #[must_use]
    pub fn with_buffers(mut self, params: &Params) -> Self {
        let buffers = params.all().into_iter().filter(|entry| entry.role == Role::Buffer);
        let with_average = |var: Var| {
            let name = format!("average.{}", var.name());
            (var.clone(), Var::new(name, var.get().evaluated()))
        };
        let floats = buffers.map(|entry| entry.var).filter(|var| var.dtype().is_float());
        self.buffers = floats.map(with_average).collect();
        self
    }

    /// What is averaged, and its averages.
    fn pairs(&self) -> Vec<(&Var, &Var)> {
        let blocks = self.inner.core().blocks().iter().map(|block| block.arena().var());
        let buffers = self.buffers.iter().map(|(var, average)| (var, average));
        blocks.zip(self.averages.iter().map(Arena::var)).chain(buffers).collect()
    }

    /// How much of the difference between parameter and average goes into the average.
    fn share(&self, count: &Tensor) -> Tensor {
        match self.average {
            Average::Exponential { decay, warm_up: false } => count.full_like(1.0 - decay),
            Average::Exponential { decay, warm_up: true } => {
                1.0 - ((count + 1.0) / (count + 10.0)).minimum(decay)
            }
            Average::Mean { start, every } => {
                let (start, every) = (start.max(1) as f64, every as f64);
                // How many have been averaged with this one, where it is one of them.
                let number = (count - start) / every;
                let whole = number.floor();
                let (one, zero) = (count.full_like(1.0), count.zeros_like());
                let counts = number.eq(&whole).select(&(1.0 / (&whole + 1.0)), &zero);
                count.lt(start).select(&one, &counts)
            }
        }
    }
}

impl<O: Optimizer> Optimizer for Averaged<O> {
    fn core(&self) -> &Core {
        self.inner.core()
    }

    fn update(&self, gradients: Vec<Tensor>) {
        self.inner.update(gradients);
        let count = self.count.get() + 1.0;
        let share = self.share(&count);
        for (var, average) in self.pairs() {
            let (w, a) = (var.get(), average.get());
            average.set(&a + (w - &a) * share.to_dtype(a.dtype()));
        }
        self.count.set(count);
    }

    fn memory(&self) -> Vec<Memory<'_>> {
        let blocks = self.averages.iter().map(Memory::Block);
        let buffers = self.buffers.iter().map(|(_, average)| Memory::One(average));
        let own = blocks.chain(buffers).chain([Memory::One(&self.count)]);
        self.inner.memory().into_iter().chain(own).collect()
    }

    fn gradients(&self, loss: &Tensor) -> Vec<Tensor> {
        self.inner.gradients(loss)
    }

    fn exchange_averages(&self) -> bool {
        for (var, average) in self.pairs() {
            let (w, a) = (var.get().evaluated(), average.get().evaluated());
            var.set(a);
            average.set(w);
        }
        true
    }
}
