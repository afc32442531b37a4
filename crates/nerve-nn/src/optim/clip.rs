use super::{Core, Memory, Optimizer};
use nerve_core::Tensor;

/// How gradients are kept from becoming too large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clip {
    /// Each element between −c and c.
    Value(f64),
    /// The gradient of each parameter shortened to this length where it is longer.
    Norm(f64),
    /// All gradients together shortened to this length where they are longer: their direction
    /// stays. Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks",
    /// 2013.
    GlobalNorm(f64),
}

/// An optimizer with [`Clip`]ped gradients.
///
/// Values are clipped in the pass of the update; a global norm costs one pass more, the norms of
/// each parameter two. Lengths are multiplied by c / (|g| + 1e-6), as `clip_grad_norm_` of PyTorch
/// does it.
///
/// ```
/// use nerve_core::{Tensor, compile};
/// use nerve_nn::optim::{Clip, Clipped, Optimizer, Sgd};
/// use nerve_nn::{Params, init::Ones};
/// let params = Params::new(1);
/// let w = params.var("w", [4], &Ones);
/// let sgd = Clipped::new(Sgd::new(&params, 1.0), Clip::GlobalNorm(1.0));
/// compile(|_: &[Tensor]| {
///     sgd.minimize(&w.get().square().sum());
///     vec![]
/// })
/// .call(&[]);
/// // The gradient [2, 2, 2, 2] has length 4: it becomes [½, ½, ½, ½].
/// assert!((w.to_vec::<f32>()[0] - 0.5).abs() < 1e-6);
/// ```
pub struct Clipped<O> {
    inner: O,
    clip: Clip,
}

impl<O: Optimizer> Clipped<O> {
    /// `inner` with clipped gradients.
    pub fn new(inner: O, clip: Clip) -> Clipped<O> {
        Clipped { inner, clip }
    }

    fn clipped(&self, gradients: Vec<Tensor>) -> Vec<Tensor> {
        let factor = |norm: Tensor, most: f64| ((norm + 1e-6).recip() * most).minimum(1.0);
        match self.clip {
            Clip::Value(most) => gradients.iter().map(|g| g.clamp(-most, most)).collect(),
            Clip::GlobalNorm(most) => {
                let factor = factor(Core::norm(&gradients), most);
                gradients.iter().map(|g| g * &factor).collect()
            }
            Clip::Norm(most) => {
                let one = |g: &Tensor| g * factor(Core::norm(std::slice::from_ref(g)), most);
                let blocks = self.core().blocks().iter().zip(&gradients);
                blocks
                    .map(|(block, g)| {
                        let parts: Vec<Tensor> = block.arena().split(g).iter().map(one).collect();
                        block.arena().gather(&parts)
                    })
                    .collect()
            }
        }
    }
}

impl<O: Optimizer> Optimizer for Clipped<O> {
    fn core(&self) -> &Core {
        self.inner.core()
    }

    fn update(&self, gradients: Vec<Tensor>) {
        self.inner.update(self.clipped(gradients));
    }

    fn memory(&self) -> Vec<Memory<'_>> {
        self.inner.memory()
    }

    fn gradients(&self, loss: &Tensor) -> Vec<Tensor> {
        self.inner.gradients(loss)
    }

    fn exchange_averages(&self) -> bool {
        self.inner.exchange_averages()
    }
}
