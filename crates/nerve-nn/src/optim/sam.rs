use super::{Core, Memory, Optimizer};
use nerve_core::{Tensor, Var, grad, substitute};

/// An optimizer that follows the gradient at the worst place nearby, and so seeks flat valleys.
///
/// Foret et al., "Sharpness-aware minimization for efficiently improving generalization", 2021:
///
/// ```text
/// e = ρ g / |g|                   g the gradient at w, its length over all parameters
/// the inner optimizer steps along the gradient at w + e, from w
/// ```
///
/// Each step differentiates the network twice. The loss is a graph, so it is simply copied with
/// w + e in the place of w: dropout drops the same values in both, and statistics of layers are
/// counted once. Adaptive (Kwon et al., "ASAM", 2021): e = ρ w² g / |w g|.
///
/// It belongs inside of all other wrappers.
///
/// ```
/// use nerve_core::{Tensor, compile};
/// use nerve_nn::optim::{Optimizer, Sam, Sgd};
/// use nerve_nn::{Params, init::Ones};
/// let params = Params::new(1);
/// let w = params.var("w", [1], &Ones);
/// let sam = Sam::new(Sgd::new(&params, 0.1), 0.5);
/// compile(|_: &[Tensor]| {
///     sam.minimize(&w.get().square().sum());
///     vec![]
/// })
/// .call(&[]);
/// // The gradient at 1 + 0.5 is 3.
/// assert!((w.to_vec::<f32>()[0] - 0.7).abs() < 1e-6);
/// ```
pub struct Sam<O> {
    inner: O,
    rho: f64,
    adaptive: bool,
}

impl<O: Optimizer> Sam<O> {
    /// `inner` with the gradient at a distance `rho` ρ: 0.05 in the paper.
    pub fn new(inner: O, rho: f64) -> Sam<O> {
        Sam { inner, rho, adaptive: false }
    }

    /// With distances that grow with the parameters.
    #[must_use]
    pub fn adaptive(self, adaptive: bool) -> Sam<O> {
        Sam { adaptive, ..self }
    }
}

impl<O: Optimizer> Optimizer for Sam<O> {
    fn core(&self) -> &Core {
        self.inner.core()
    }

    fn update(&self, gradients: Vec<Tensor>) {
        self.inner.update(gradients);
    }

    fn memory(&self) -> Vec<Memory<'_>> {
        self.inner.memory()
    }

    fn gradients(&self, loss: &Tensor) -> Vec<Tensor> {
        let core = self.core();
        let here: Vec<Tensor> = core.parameters().iter().map(Var::get).collect();
        let mut uphill = core.gather(&self.inner.gradients(loss));
        let blocks: Vec<Tensor> = core.blocks().iter().map(|b| b.arena().var().get()).collect();
        if self.adaptive {
            uphill = uphill.iter().zip(&blocks).map(|(g, w)| g * w.abs()).collect();
        }
        let scale = 1.0 / (Core::norm(&uphill) + 1e-12) * self.rho;
        if self.adaptive {
            uphill = uphill.iter().zip(&blocks).map(|(g, w)| g * w.abs()).collect();
        }
        let there = blocks.iter().zip(uphill).zip(core.blocks());
        let there: Vec<Tensor> = there
            .flat_map(|((w, uphill), block)| block.arena().split(&(w + uphill * &scale)))
            .collect();
        let pairs: Vec<(Tensor, Tensor)> = here.into_iter().zip(there.iter().cloned()).collect();
        grad(&substitute(loss, &pairs), &there)
    }

    fn exchange_averages(&self) -> bool {
        self.inner.exchange_averages()
    }
}
