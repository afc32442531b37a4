//! Scopes: which part of a network a node belongs to, for messages.

use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static SCOPE: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
}

/// Runs `f` in a part of a network: nodes that are built in it are said to be of `name`, inside of
/// the scope that is open already. Gradients belong where the operation does that they are of. It
/// changes nothing but messages: what was not a number is told by its part.
///
/// ```
/// use nerve_core::{Tensor, scope};
/// let y = scope("head", || scope("norm", || Tensor::ones([2]).square()));
/// assert_eq!(y.scope(), Some("head.norm"));
/// ```
pub fn scope<R>(name: &str, f: impl FnOnce() -> R) -> R {
    let inner = match current_scope() {
        Some(outer) => format!("{outer}.{name}").into(),
        None => Arc::from(name),
    };
    within(Some(inner), f)
}

/// The scope that is open on this thread.
pub fn current_scope() -> Option<Arc<str>> {
    SCOPE.with_borrow(Clone::clone)
}

/// Runs `f` in this scope alone.
pub(crate) fn within<R>(scope: Option<Arc<str>>, f: impl FnOnce() -> R) -> R {
    /// Closes the scope also when `f` panics.
    struct End(Option<Arc<str>>);
    impl Drop for End {
        fn drop(&mut self) {
            SCOPE.set(self.0.take());
        }
    }
    let _end = End(SCOPE.replace(scope));
    f()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Tensor, grad};

    #[test]
    fn gradients_belong_to_the_operation_that_they_are_of() {
        let x = Tensor::scalar(2.0f64);
        let y = scope("layer", || x.exp());
        let dx = scope("elsewhere", || grad(&y.log(), &[&x])).remove(0);
        assert_eq!((y.scope(), dx.scope()), (Some("layer"), Some("layer")));
        let fails = || scope("broken", || panic!("on purpose"));
        assert!(std::panic::catch_unwind(fails).is_err());
        assert_eq!(current_scope(), None);
    }
}
