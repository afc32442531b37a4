//! Gradients: a walk backwards over the graph that adds nodes.

use crate::scope;
use crate::tensor::{Tensor, topological};
use crate::var::Var;
use std::collections::{HashMap, HashSet};

/// What a gradient can be taken with respect to: a tensor or a variable.
pub trait Source {
    /// The node.
    fn source(&self) -> Tensor;
    /// What to call it in messages.
    fn label(&self) -> String;
}

impl Source for Tensor {
    fn source(&self) -> Tensor {
        self.clone()
    }
    fn label(&self) -> String {
        format!("{self:?} built at {}", self.location())
    }
}

impl Source for Var {
    fn source(&self) -> Tensor {
        self.get()
    }
    fn label(&self) -> String {
        format!("`{}`", self.name())
    }
}

impl<T: Source + ?Sized> Source for &T {
    fn source(&self) -> Tensor {
        (**self).source()
    }
    fn label(&self) -> String {
        (**self).label()
    }
}

/// The gradient of the scalar `loss` with respect to each of `wrt`: tensors of their shapes.
///
/// Reverse mode (Rumelhart, Hinton & Williams, "Learning representations by back-propagating
/// errors", 1986): each operation contributes the product of the gradient of its output with its
/// own derivative. The result is made of ordinary nodes, so it can be differentiated again.
///
/// ```
/// use nerve_core::{Tensor, grad};
/// let x = Tensor::scalar(3.0f64);
/// let y = x.square() * &x; // x³
/// let dy = grad(&y, &[&x]).remove(0); // 3 x²
/// let ddy = grad(&dy, &[&x]).remove(0); // 6 x
/// assert_eq!((dy.item::<f64>(), ddy.item::<f64>()), (27.0, 18.0));
/// ```
///
/// # Panics
/// If `loss` is not a scalar of a floating-point type, if it does not depend on one of `wrt`
/// (a silent zero would hide a mistake), or if an operation between them has no gradient.
#[track_caller]
pub fn grad<S: Source>(loss: &Tensor, wrt: &[S]) -> Vec<Tensor> {
    assert!(
        loss.numel() == 1 && loss.dtype().is_float(),
        "grad: the loss is one number of type f32 or f64, found {} {}; take its mean or sum",
        loss.dtype(),
        loss.shape()
    );
    let sources: Vec<Tensor> = wrt.iter().map(Source::source).collect();
    let gradients = backward(loss, &loss.full_like(1.0), &sources, false);
    if let Some(i) = gradients.iter().position(Option::is_none) {
        panic!(
            "grad: the loss does not depend on {}, or only through a value without gradient \
             (an index, a comparison, detach)",
            wrt[i].label()
        );
    }
    gradients.into_iter().flatten().collect()
}

/// The product of `dy` with the derivative of `y` with respect to each of `wrt`, which are taken
/// as independent of each other.
#[track_caller]
pub(crate) fn vjp(y: &Tensor, dy: &Tensor, wrt: &[Tensor]) -> Vec<Option<Tensor>> {
    let mut parts = backward(y, dy, wrt, true);
    // The operands of an operation: one that stands twice among them counts once.
    for i in 1..wrt.len() {
        if wrt[..i].iter().any(|t| t.id() == wrt[i].id()) {
            parts[i] = None;
        }
    }
    parts
}

#[track_caller]
fn backward(y: &Tensor, dy: &Tensor, wrt: &[Tensor], stop: bool) -> Vec<Option<Tensor>> {
    let wanted: HashSet<u64> = wrt.iter().map(Tensor::id).collect();
    let order = topological(std::slice::from_ref(y), |t| stop && wanted.contains(&t.id()));
    // Only what leads to one of `wrt` needs a gradient at all.
    let mut leads: HashSet<u64> = HashSet::new();
    for node in &order {
        let inside = |t: &Tensor| leads.contains(&t.id());
        let is_wanted = wanted.contains(&node.id());
        if is_wanted || node.dtype().is_float() && node.inputs().iter().any(inside) {
            leads.insert(node.id());
        }
    }
    let mut gradients: HashMap<u64, Tensor> = HashMap::from([(y.id(), dy.clone())]);
    for node in order.iter().rev() {
        let expand = leads.contains(&node.id()) && !(stop && wanted.contains(&node.id()));
        let Some(dy) = gradients.get(&node.id()).filter(|_| expand).cloned() else { continue };
        if !node.inputs().iter().any(|t| leads.contains(&t.id())) {
            continue;
        }
        let parts = scope::within(node.scope_handle(), || {
            node.op().rule().gradient(node.inputs(), node, &dy)
        });
        let parts = match parts {
            Ok(parts) => parts,
            Err(why) => panic!("grad: {why}, built at {}", node.location()),
        };
        for (input, part) in node.inputs().iter().zip(parts) {
            let Some(part) = part.filter(|_| leads.contains(&input.id())) else { continue };
            assert!(
                part.shape() == input.shape(),
                "gradient of {}: {} for an input of {}",
                node.op().rule().name(),
                part.shape(),
                input.shape()
            );
            gradients.entry(input.id()).and_modify(|sum| *sum = &*sum + &part).or_insert(part);
        }
    }
    wrt.iter()
        .map(|t| gradients.get(&t.id()).filter(|_| leads.contains(&t.id())).cloned())
        .collect()
}
