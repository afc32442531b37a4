use super::{Core, Memory, Optimizer};
use nerve_core::{Arena, Tensor, Var};

/// An optimizer that runs ahead k steps, and is then called back to a point on the way.
///
/// Zhang et al., "Lookahead optimizer: k steps forward, 1 step back", 2019. Every k-th step, with
/// slow weights s:
///
/// ```text
/// s ← s + α (w − s)
/// w ← s
/// ```
///
/// What the inner optimizer remembers is kept. Computed in the pass of the update; one slot more.
///
/// ```
/// use nerve_core::{Tensor, compile};
/// use nerve_nn::optim::{Lookahead, Optimizer, Sgd};
/// use nerve_nn::{Params, init::Zeros};
/// let params = Params::new(1);
/// let w = params.var("w", [1], &Zeros);
/// let sgd = Lookahead::new(Sgd::new(&params, 1.0), 3, 0.5);
/// let step = compile(|_: &[Tensor]| {
///     sgd.minimize(&w.get().sum());
///     vec![]
/// });
/// let path = [0; 4].map(|_| {
///     step.call(&[]);
///     w.to_vec::<f32>()[0]
/// });
/// assert_eq!(path, [-1.0, -2.0, -1.5, -2.5]);
/// ```
pub struct Lookahead<O> {
    inner: O,
    steps: u64,
    alpha: f64,
    slow: Vec<Arena>,
    count: Var,
}

impl<O: Optimizer> Lookahead<O> {
    /// `inner` with `steps` k (5 in the paper) and `alpha` α (0.5).
    ///
    /// # Panics
    /// If k is 0.
    #[track_caller]
    pub fn new(inner: O, steps: u64, alpha: f64) -> Lookahead<O> {
        assert!(steps > 0, "looking ahead takes at least one step");
        let core = inner.core();
        let slow = core.blocks().iter().map(|block| block.copies("slow")).collect();
        Lookahead { slow, count: core.number("steps_ahead", 0.0), inner, steps, alpha }
    }
}

impl<O: Optimizer> Optimizer for Lookahead<O> {
    fn core(&self) -> &Core {
        self.inner.core()
    }

    fn update(&self, gradients: Vec<Tensor>) {
        self.inner.update(gradients);
        let count = self.count.get() + 1.0;
        let back = count.ge(self.steps as f64);
        for (block, slow) in self.core().blocks().iter().zip(&self.slow) {
            let (w, s) = (block.arena().var().get(), slow.var().get());
            let between = &s + (&w - &s) * self.alpha;
            slow.var().set(back.select(&between, &s));
            block.arena().var().set(back.select(&between, &w));
        }
        self.count.set(back.select(&count.zeros_like(), &count));
    }

    fn memory(&self) -> Vec<Memory<'_>> {
        let own = self.slow.iter().map(Memory::Block).chain([Memory::One(&self.count)]);
        self.inner.memory().into_iter().chain(own).collect()
    }

    fn gradients(&self, loss: &Tensor) -> Vec<Tensor> {
        self.inner.gradients(loss)
    }

    fn exchange_averages(&self) -> bool {
        self.inner.exchange_averages()
    }
}
