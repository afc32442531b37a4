//! Variables that stand for another tensor for a while.

use crate::tensor::Tensor;
use crate::var::Var;
use std::cell::RefCell;

thread_local! {
    /// Number of the variable and what it stands for; the last one counts.
    static BOUND: RefCell<Vec<(u64, Tensor)>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` while reading each of these variables gives the tensor beside it: a network with other
/// parameters than its own, for instance with parameters that are computed.
///
/// Only what this thread reads while `f` runs is concerned; the variables keep their content. The
/// innermost of several bindings counts.
///
/// ```
/// use nerve_core::{Tensor, Var, bind, grad};
/// let w = Var::new("w", Tensor::scalar(2.0f64));
/// let network = |x: f64| w.get() * x;
/// let part = Tensor::scalar(5.0f64);
/// let y = bind(&[(w.clone(), w.get() + &part)], || network(3.0));
/// assert_eq!(y.item::<f64>(), 21.0);
/// assert_eq!(grad(&y, &[&part])[0].item::<f64>(), 3.0);
/// assert_eq!(network(3.0).item::<f64>(), 6.0);
/// ```
///
/// # Panics
/// If a tensor does not have the shape and the type of its variable.
#[track_caller]
pub fn bind<R>(values: &[(Var, Tensor)], f: impl FnOnce() -> R) -> R {
    /// Undoes the binding also when `f` panics.
    struct End(usize);
    impl Drop for End {
        fn drop(&mut self) {
            BOUND.with_borrow_mut(|bound| bound.truncate(self.0));
        }
    }
    for (var, tensor) in values {
        assert!(
            tensor.shape() == var.shape() && tensor.dtype() == var.dtype(),
            "bind: `{}` holds {} {}, found {} {}",
            var.name(),
            var.dtype(),
            var.shape(),
            tensor.dtype(),
            tensor.shape()
        );
    }
    let pairs = values.iter().map(|(var, tensor)| (var.id(), tensor.clone()));
    let _end = BOUND.with_borrow_mut(|bound| {
        let end = End(bound.len());
        bound.extend(pairs);
        end
    });
    f()
}

/// What the variable of this number stands for, if it is bound.
pub(crate) fn bound(id: u64) -> Option<Tensor> {
    BOUND.with_borrow(|bound| bound.iter().rev().find(|(var, _)| *var == id).map(|b| b.1.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile;

    #[test]
    fn nested_traced_and_after_a_panic() {
        let w = Var::new("w", Tensor::scalar(1.0f32));
        let to = |value: f32| [(w.clone(), Tensor::scalar(value))];
        let sum = bind(&to(10.0), || bind(&to(100.0), || w.get()) + w.get());
        assert_eq!((sum.item::<f32>(), w.get().item::<f32>()), (110.0, 1.0));
        let fails = || bind(&to(5.0), || panic!("on purpose"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(fails)).is_err());
        assert_eq!(w.get().item::<f32>(), 1.0);
        let traced = compile(|_: &[Tensor]| {
            let twice = w.get() * 2.0;
            vec![bind(&[(w.clone(), twice)], || w.get() * 3.0), w.get()]
        });
        let results: Vec<f32> = traced.call(&[]).iter().map(Tensor::item).collect();
        assert_eq!(results, [6.0, 1.0]);
    }

    #[test]
    #[should_panic(expected = "bind: `w` holds f32 [2]")]
    fn another_shape() {
        let w = Var::new("w", Tensor::ones([2]));
        bind(&[(w, Tensor::ones([3]))], || ());
    }
}
