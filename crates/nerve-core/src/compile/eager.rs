//! The values of single tensors: their plans are kept by the graph that computes them.

use super::plan::{Graph, Plan};
use crate::dtype::DType;
use crate::op::{Op, Role};
use crate::ops::Argument;
use crate::shape::Shape;
use crate::tensor::{Tensor, topological};
use crate::trace;
use nerve_cpu::{Buffer, Precision, RunError};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// A graph up to the identity of its leaves: operation, shape and type of each node, and which
/// earlier nodes it uses.
type Key = Vec<(Op, Shape, DType, Vec<usize>)>;

/// Plans of single values. Bounded: the oldest goes first.
#[derive(Default)]
struct Cache {
    plans: HashMap<Arc<Key>, Arc<Plan>>,
    order: VecDeque<Arc<Key>>,
}

const CACHED: usize = 512;
static CACHE: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);

/// The elements of `tensor`, computed if they are not known yet.
#[track_caller]
pub(crate) fn evaluate(tensor: &Tensor) -> Arc<Buffer> {
    if let Some(known) = tensor.value() {
        return known.clone();
    }
    assert!(
        trace::current() == 0,
        "the value of {tensor:?} is read inside a compiled function, where there are no values \
         yet: return it from the function instead"
    );
    assert!(
        tensor.trace() == 0,
        "{tensor:?} belongs to a function that was compiled (built at {}): only what the function \
         returns has a value",
        tensor.location()
    );
    let buffer = match compute(tensor) {
        Ok(buffer) => buffer,
        Err(error) => panic!("{error}"),
    };
    tensor.set_value(buffer.clone());
    buffer
}

/// The elements of `tensor` if they can be had now: outside of compiled functions always, within one
/// if they depend on constants alone.
#[track_caller]
pub(crate) fn known(tensor: &Tensor) -> Result<Option<Arc<Buffer>>, RunError> {
    if let Some(known) = tensor.value() {
        return Ok(Some(known.clone()));
    }
    let inside = trace::current() != 0;
    let order = topological(std::slice::from_ref(tensor), |t| t.value().is_some());
    let leaf = |t: &Tensor| matches!(t.op().rule().role(), Role::Leaf) && t.value().is_none();
    let unknown = |t: &Tensor| leaf(t) && (inside || !matches!(t.op(), Op::ReadVar(_)));
    if order.iter().any(unknown) {
        return Ok(None);
    }
    let buffer = compute(tensor)?;
    if !inside {
        tensor.set_value(buffer.clone());
    }
    Ok(Some(buffer))
}

#[track_caller]
fn compute(tensor: &Tensor) -> Result<Arc<Buffer>, RunError> {
    if let Op::Full(full) = tensor.op() {
        return Ok(Arc::new(full.filled()));
    }
    let order = topological(std::slice::from_ref(tensor), |t| t.value().is_some());
    let position: HashMap<u64, usize> =
        order.iter().enumerate().map(|(i, t)| (t.id(), i)).collect();
    let (mut key, mut buffers, mut arguments) = (Key::new(), Vec::new(), Vec::new());
    for node in &order {
        let (op, inputs) = match leaf(node) {
            Some((buffer, offset)) => {
                arguments.push((node.id(), offset));
                buffers.push(buffer);
                (Op::Argument(Argument { index: offset }), Vec::new())
            }
            None => (node.op().clone(), node.inputs().iter().map(|t| position[&t.id()]).collect()),
        };
        key.push((op, node.shape().clone(), node.dtype(), inputs));
    }
    let known = locked().plans.get(&key).cloned();
    let plan = known.unwrap_or_else(|| {
        let (root, arguments) = cut(&order, &arguments);
        let precision = Precision::Full;
        let graph = Graph { outputs: &[root], writes: &[], arguments: &arguments, precision };
        let plan = Arc::new(Plan::new(&graph));
        remember(key, plan.clone());
        plan
    });
    Ok(plan.run(&buffers.iter().collect::<Vec<_>>())?.remove(0))
}

/// The graph with arguments in the place of nodes whose elements are there: pairs of such a node
/// and its offset. Gives the last node, and where the arguments lie.
fn cut(order: &[Tensor], known: &[(u64, usize)]) -> (Tensor, Vec<(u64, usize, usize)>) {
    let known: HashMap<u64, (usize, usize)> =
        known.iter().enumerate().map(|(index, &(id, offset))| (id, (index, offset))).collect();
    let mut new: HashMap<u64, Tensor> = HashMap::new();
    let mut arguments = Vec::new();
    for node in order {
        let replaced = match known.get(&node.id()) {
            Some(&(index, offset)) => {
                let leaf = Tensor::leaf(Argument { index }, node.shape().clone(), node.dtype());
                arguments.push((leaf.id(), index, offset));
                leaf
            }
            None => {
                let inputs: Vec<&Tensor> = node.inputs().iter().map(|t| &new[&t.id()]).collect();
                Tensor::apply(node.op().clone(), &inputs)
            }
        };
        new.insert(node.id(), replaced);
    }
    let root = order.last().expect("the node itself");
    (new[&root.id()].clone(), arguments)
}

fn locked() -> MutexGuard<'static, Cache> {
    CACHE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remember(key: Key, plan: Arc<Plan>) {
    let mut cache = locked();
    let key = Arc::new(key);
    if cache.plans.insert(key.clone(), plan).is_none() {
        cache.order.push_back(key);
    }
    if cache.order.len() > CACHED {
        let oldest = cache.order.pop_front().expect("it is longer than that");
        cache.plans.remove(&oldest);
    }
}

/// Where the elements of a node lie that need not be computed.
#[track_caller]
fn leaf(node: &Tensor) -> Option<(Arc<Buffer>, usize)> {
    if let Some(value) = node.value() {
        return Some((value.clone(), 0));
    }
    let Role::Leaf = node.op().rule().role() else { return None };
    let Op::ReadVar(read) = node.op() else {
        panic!("{node:?} has no value outside its compiled function")
    };
    assert!(
        read.version.is_none_or(|v| v == read.var.version()),
        "`{}` was changed after {node:?} read it at {}: evaluate the tensor before changing the \
         variable, or get it again",
        read.var.name(),
        node.location()
    );
    let home = read.var.home();
    Some((home.buffer, home.offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_that_are_kept_hold_no_values() {
        let x = Tensor::from_slice(&[1.0f32, 2.0], [2]);
        let y = (&x + 1.0) * 3.0;
        assert_eq!(y.to_vec::<f32>(), [6.0, 9.0]);
        for tensor in [&x, &y] {
            let buffer = tensor.value().expect("it was read");
            assert_eq!(Arc::strong_count(buffer), 1, "only the tensor holds its elements");
        }
    }

    #[test]
    fn the_number_of_kept_plans_is_bounded() {
        for n in 0..CACHED + 5 {
            assert_eq!((Tensor::scalar(1.0f64) * n as f64).item::<f64>(), n as f64);
        }
        let cache = locked();
        assert!(cache.plans.len() == cache.order.len() && cache.plans.len() <= CACHED);
    }
}
