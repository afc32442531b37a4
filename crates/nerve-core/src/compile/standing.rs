//! What depends on nothing but variables that the plan does not write, and constants: filters in
//! the order that a convolution wants, the normalisation folded into them. It is computed when a
//! variable has changed, not in every run, by a plan of its own into memory that stays.

use super::plan::Plan;
use super::prepack::prepack;
use crate::op::{Op, Role};
use crate::tensor::{Tensor, topological};
use crate::var::Var;
use nerve_cpu::{Buffer, Precision, RunError};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a value depends on.
#[derive(Clone, Copy, PartialEq)]
enum Stands {
    /// On more than variables.
    No,
    /// On nothing: it is counted or filled in wherever it is needed.
    Free,
    /// On variables and constants.
    Yes,
}

/// A graph cut in two.
pub(super) struct Split {
    /// The roots, with constants in place of what stands.
    pub roots: Vec<Tensor>,
    /// What stands, and the memory that the constants are bound to.
    pub standing: Vec<(Tensor, Arc<Buffer>)>,
}

/// What each node depends on, if the plan writes the variables `writes`.
fn all_stands(order: &[Tensor], writes: &[(Var, Tensor)]) -> HashMap<u64, Stands> {
    let mut stands: HashMap<u64, Stands> = HashMap::new();
    for node in order {
        let value = match node.op() {
            // Random numbers are drawn again rather than stored.
            Op::Argument(_) | Op::Random(_) => Stands::No,
            Op::ReadVar(read) => {
                let var = &read.var;
                let written = writes.iter().any(|(w, _)| w == var || w.overlaps(var));
                if written { Stands::No } else { Stands::Yes }
            }
            Op::Constant(_) => Stands::Yes,
            _ => of_inputs(node.inputs().iter().map(|t| stands[&t.id()])),
        };
        stands.insert(node.id(), value);
    }
    stands
}

/// Cuts off what stands, if the plan writes the variables `writes`.
pub(super) fn split(roots: &[Tensor], writes: &[(Var, Tensor)], precision: Precision) -> Split {
    let stands = all_stands(&topological(roots, |_| false), writes);
    let roots = &prepack(roots, |t| stands[&t.id()] == Stands::Yes, precision);
    let order = topological(roots, |_| false);
    let stands = all_stands(&order, writes);
    let is_standing = |t: &Tensor| stands[&t.id()] == Stands::Yes;
    let used = used(&order, is_standing);
    let mut split = Split { roots: Vec::new(), standing: Vec::new() };
    let mut new: HashMap<u64, Tensor> = HashMap::new();
    for node in &order {
        let same = || node.clone();
        let rebuilt = || match node.inputs().iter().all(|t| new[&t.id()].id() == t.id()) {
            true => node.clone(),
            false => Tensor::apply(
                node.op().clone(),
                &node.inputs().iter().map(|t| &new[&t.id()]).collect::<Vec<_>>(),
            ),
        };
        let value = match node.op().rule().role() {
            Role::Leaf => same(),
            _ if !is_standing(node) => rebuilt(),
            _ if !used.all.contains(&node.id()) => same(),
            Role::Movement(_) if !used.packed.contains(&node.id()) => rebuilt(),
            // A single number is computed in no time.
            _ if node.numel() <= 1 => same(),
            _ => split.keep(node),
        };
        new.insert(node.id(), value);
    }
    split.roots = roots.iter().map(|t| new[&t.id()].clone()).collect();
    split
}

fn of_inputs(inputs: impl Iterator<Item = Stands>) -> Stands {
    inputs.fold(Stands::Free, |all, one| match (all, one) {
        (Stands::No, _) | (_, Stands::No) => Stands::No,
        (Stands::Yes, _) | (_, Stands::Yes) => Stands::Yes,
        _ => Stands::Free,
    })
}

/// Which of the values that stand the rest needs.
struct Used {
    /// All of them; movements are resolved by whoever reads them, what they move has to be there.
    all: HashSet<u64>,
    /// Those that a kernel would copy in every run to have their elements side by side.
    packed: HashSet<u64>,
}

fn used(order: &[Tensor], is_standing: impl Fn(&Tensor) -> bool) -> Used {
    let mut used = Used { all: HashSet::new(), packed: HashSet::new() };
    for node in order.iter().rev() {
        let role = node.op().rule().role();
        let passes = matches!(role, Role::Movement(_))
            && used.all.contains(&node.id())
            && !used.packed.contains(&node.id());
        if is_standing(node) && !passes {
            continue;
        }
        for (i, input) in node.inputs().iter().enumerate().filter(|(_, t)| is_standing(t)) {
            used.all.insert(input.id());
            if matches!(role, Role::Kernel(kernel) if kernel.packs(i)) && is_moved(input) {
                used.packed.insert(input.id());
            }
        }
    }
    used
}

/// Whether a movement other than a change of shape stands between the tensor and its elements.
fn is_moved(tensor: &Tensor) -> bool {
    let mut tensor = tensor;
    while let Op::Reshape(_) = tensor.op() {
        tensor = &tensor.inputs()[0];
    }
    matches!(tensor.op().rule().role(), Role::Movement(_))
}

impl Split {
    /// Memory for the value of `node`, as a constant.
    fn keep(&mut self, node: &Tensor) -> Tensor {
        let buffer = Arc::new(Buffer::zeroed(node.numel() * node.dtype().bytes()));
        self.standing.push((node.clone(), buffer.clone()));
        Tensor::from_buffer(buffer, node.shape().clone(), node.dtype())
    }
}

/// The plan that computes what stands, and when it last ran.
pub(super) struct Standing {
    plan: Plan,
    buffers: Vec<Arc<Buffer>>,
    /// When the variables that it reads changed last: the latest of these.
    versions: Vec<Arc<AtomicU64>>,
    /// What that was at the last run.
    seen: AtomicU64,
}

/// Before the first run.
const NEVER: u64 = u64::MAX;

impl Standing {
    pub(super) fn new(plan: Plan, buffers: Vec<Arc<Buffer>>) -> Standing {
        let mut versions: Vec<Arc<AtomicU64>> = Vec::new();
        for version in plan.versions() {
            if !versions.iter().any(|known| Arc::ptr_eq(known, &version)) {
                versions.push(version);
            }
        }
        Standing { plan, buffers, versions, seen: AtomicU64::new(NEVER) }
    }

    /// Computes it again if a variable has changed. Nobody else may run the plan meanwhile.
    pub(super) fn refresh(&self) -> Result<(), RunError> {
        let latest = self.versions.iter().map(|v| v.load(Ordering::Acquire)).max().unwrap_or(0);
        if self.seen.load(Ordering::Acquire) != latest {
            self.plan.run_into(&self.buffers)?;
            self.seen.store(latest, Ordering::Release);
        }
        Ok(())
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }
}
