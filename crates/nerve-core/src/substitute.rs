//! The same computation of other values.

use crate::tensor::{Tensor, topological};
use std::collections::HashMap;

/// `y` as it would be if each first tensor of `pairs` were the second one.
///
/// A network is a graph: where its loss is wanted at other parameters too, the graph is copied with
/// others in their place. What does not depend on them is shared. Random numbers stay the same,
/// because they are a function of a key that stays.
///
/// ```
/// use nerve_core::{Tensor, substitute};
/// let x = Tensor::scalar(3.0f64);
/// let y = x.square() + &x;
/// let at_four = substitute(&y, &[(x.clone(), &x + 1.0)]);
/// assert_eq!(at_four.item::<f64>(), 20.0);
/// ```
///
/// # Panics
/// If the shapes or types of a pair differ.
#[track_caller]
pub fn substitute(y: &Tensor, pairs: &[(Tensor, Tensor)]) -> Tensor {
    let mut new: HashMap<u64, Tensor> = HashMap::new();
    for (old, replacement) in pairs {
        assert!(
            old.shape() == replacement.shape() && old.dtype() == replacement.dtype(),
            "substitute: {replacement:?} cannot take the place of {old:?}"
        );
        new.insert(old.id(), replacement.clone());
    }
    // The replacements may be computed from what they replace, which is not to be followed.
    let replaced = |t: &Tensor| new.contains_key(&t.id());
    for node in topological(std::slice::from_ref(y), replaced) {
        let changed = |t: &Tensor| new.contains_key(&t.id());
        if changed(&node) || !node.inputs().iter().any(changed) {
            continue;
        }
        let inputs: Vec<&Tensor> =
            node.inputs().iter().map(|t| new.get(&t.id()).unwrap_or(t)).collect();
        let copy = Tensor::apply(node.op().clone(), &inputs);
        new.insert(node.id(), copy);
    }
    new.remove(&y.id()).unwrap_or_else(|| y.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grad;

    #[test]
    fn several_at_once_and_only_what_depends_on_them() {
        let [a, b, c] = [2.0, 3.0, 5.0].map(Tensor::scalar::<f64>);
        let kept = c.square();
        let y = &a * &b + &kept;
        // Swapped: the replacement of the one is the other, not its replacement.
        let swapped = substitute(&(&a - &b), &[(a.clone(), b.clone()), (b.clone(), a.clone())]);
        assert_eq!(swapped.item::<f64>(), 1.0);
        let other = substitute(&y, &[(a.clone(), &a * 10.0)]);
        assert_eq!(other.item::<f64>(), 85.0);
        assert!(other.inputs()[1].id() == kept.id(), "shared");
        assert!(substitute(&kept, &[(a.clone(), b.clone())]).id() == kept.id());
        assert!(substitute(&a, &[(a.clone(), b.clone())]).id() == b.id());
    }

    #[test]
    fn gradients_at_another_place() {
        let x = Tensor::scalar(3.0f64);
        let y = x.square() * &x;
        let there = &x + 1.0;
        let slope = grad(&substitute(&y, &[(x, there.clone())]), &[&there]).remove(0);
        assert_eq!(slope.item::<f64>(), 48.0);
    }
}
