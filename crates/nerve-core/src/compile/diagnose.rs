//! Where a number that is not finite came from: the graph of a step, node by node.
//!
//! A plan fuses and forgets; so the function is traced once more, each node counts what of it is
//! finite, and the way back from the result leads to where the first one was born.

use super::compiled::Compiled;
use super::plan::{Graph, Plan};
use super::step::Step;
use crate::dtype::DType;
use crate::op::{Op, Role};
use crate::shape::Shape;
use crate::tensor::{Tensor, topological};
use nerve_cpu::Buffer;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// Where the first number that is not finite came from, of those that led to the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnosis {
    /// What it spoilt: result 0 is the loss of a training step.
    pub spoilt: Spoilt,
    /// The operation that gave it.
    pub origin: Origin,
    /// Where that was infinite: the operation that made NaN of it, if another did.
    pub then: Option<Origin>,
}

/// What is not finite at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spoilt {
    /// The result of this number.
    Result(usize),
    /// What this variable becomes.
    Variable(String),
}

/// An operation that gave a number that is not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// What it is.
    pub kind: OriginKind,
    /// The part of the network that it belongs to; see [`scope`](crate::scope()).
    pub scope: Option<String>,
    /// Whether it comes after the loss: it is of a gradient or of an update.
    pub backward: bool,
    /// Where in the source it was built.
    pub location: &'static Location<'static>,
    /// What it gave.
    pub output: Census,
    /// What it was given, where that are floating-point numbers.
    pub inputs: Vec<Census>,
}

/// What gave a number that is not finite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginKind {
    /// An operation.
    Operation(&'static str),
    /// The argument of this number held it.
    Argument(usize),
    /// The variable of this name held it before.
    Variable(String),
}

/// What kinds of numbers there are in a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Census {
    /// Its shape.
    pub shape: Shape,
    /// How many are NaN.
    pub nan: usize,
    /// How many are +∞.
    pub infinite: usize,
    /// How many are −∞.
    pub negative_infinite: usize,
    /// How many are 0.
    pub zero: usize,
    /// The smallest and the largest that are finite, if any is.
    pub range: Option<(f64, f64)>,
}

impl<F: Fn(&[Tensor]) -> Vec<Tensor>> Compiled<F> {
    /// Says where the first number came from that is not finite, of those that led to a result or a
    /// variable of this `step`, for the arguments that are in it and the variables as they are: if a
    /// run was bad, they have to be [set back](crate::Backup). Nothing is changed. None if all is
    /// well: also where a number was only just too large, since nothing is fused here.
    ///
    /// Infinite numbers that lead to nothing bad, such as those of a mask, are passed over.
    ///
    /// ```
    /// use nerve_core::{DType, Tensor, compile, scope};
    /// let share = compile(|x: &[Tensor]| vec![(scope("entropy", || x[0].log()) * &x[0]).sum()]);
    /// let step = share.step(&[([3].into(), DType::F32)]);
    /// step.write(0, &[0.5f32, 0.0, 0.5]);
    /// step.run().unwrap();
    /// assert!(step.read::<f32>(0)[0].is_nan());
    /// assert_eq!(
    ///     share.diagnose(&step).unwrap().to_string(),
    ///     "`log` in `entropy` gave -inf first (1 of 3 values; its input [3] goes from 0 to 0.5, \
    ///      1 is 0), of which `mul` made NaN"
    /// );
    /// ```
    ///
    /// # Panics
    /// As [`Compiled::plan`].
    #[track_caller]
    pub fn diagnose(&self, step: &Step) -> Option<Diagnosis> {
        let (outputs, writes) = self.graph(step.signature());
        let roots: Vec<Tensor> =
            outputs.iter().chain(writes.iter().map(|w| &w.1)).cloned().collect();
        let mut nodes = topological(&roots, |_| false);
        nodes.retain(|node| node.dtype().is_float() && node.numel() > 0);
        nodes.sort_by_key(Tensor::id);
        let run = |wanted: &[Tensor]| {
            let (writes, arguments, precision) = (&[], &[], self.exactness());
            let plan = Plan::new(&Graph { outputs: wanted, writes, arguments, precision });
            plan.run(&step.argument_buffers().iter().collect::<Vec<_>>()).ok()
        };
        let seen = Seen::new(&nodes, run)?;
        let (spoilt, bad) = seen.spoilt(&outputs, &writes)?;
        let loss = outputs.first().map_or(u64::MAX, Tensor::id);
        let describe = |node: &Tensor| {
            let inputs = node.inputs().iter().filter(|t| t.dtype().is_float() && t.numel() > 0);
            let wanted: Vec<Tensor> = std::iter::once(node).chain(inputs).cloned().collect();
            let values = run(&wanted)?;
            let mut counts = wanted.iter().zip(&values).map(|(t, v)| Census::of(t, v));
            let output = counts.next()?;
            Some(Origin {
                kind: kind(node),
                scope: node.scope().map(str::to_string),
                backward: node.id() > loss,
                location: node.location(),
                output,
                inputs: counts.collect(),
            })
        };
        let born = seen.back(bad, |state| state.nan);
        let mut origin = born.clone();
        if let Some(infinite) = seen.input(&born, |state| state.infinite) {
            let first = seen.back(infinite, |state| state.infinite);
            // A constant that is infinite was meant so: a mask.
            let computed = !first.inputs().is_empty() && !is_choice(&first);
            if computed || is_given(&first) {
                origin = first;
            }
        }
        let then = (origin.id() != born.id()).then(|| describe(&born)).flatten();
        Some(Diagnosis { spoilt, origin: describe(&origin)?, then })
    }
}

/// Whether a node only chooses among numbers: it gives none of its own.
fn is_choice(node: &Tensor) -> bool {
    matches!(node.op(), Op::Select(_)) || matches!(node.op().rule().role(), Role::Movement(_))
}

fn is_given(node: &Tensor) -> bool {
    matches!(node.op(), Op::Argument(_) | Op::ReadVar(_))
}

fn kind(node: &Tensor) -> OriginKind {
    match node.op() {
        Op::Argument(argument) => OriginKind::Argument(argument.index),
        Op::ReadVar(read) => OriginKind::Variable(read.var.name().to_string()),
        op => OriginKind::Operation(op.rule().name()),
    }
}

/// Whether a node holds numbers that are not finite.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    nan: bool,
    infinite: bool,
}

/// All nodes, looked at.
struct Seen {
    states: HashMap<u64, State>,
    /// The variables that held such numbers before.
    before: Vec<crate::Var>,
}

impl Seen {
    /// Each node counts for itself, so that none has to be kept.
    fn new(nodes: &[Tensor], run: impl Fn(&[Tensor]) -> Option<Vec<Arc<Buffer>>>) -> Option<Seen> {
        let count = |truth: Tensor| truth.to_dtype(DType::F64).sum();
        let probes: Vec<Tensor> =
            nodes.iter().flat_map(|x| [count(x.is_finite()), count(x.is_nan())]).collect();
        let counts = run(&probes)?;
        let state = |(node, counts): (&Tensor, &[Arc<Buffer>])| {
            let [finite, nan] = [0, 1].map(|i| counts[i].to_vec::<f64>(0..1)[0]);
            let infinite = finite + nan < node.numel() as f64;
            (node.id(), State { nan: nan > 0.0, infinite })
        };
        let states: HashMap<u64, State> = nodes.iter().zip(counts.chunks(2)).map(state).collect();
        let bad = nodes.iter().filter(|node| states[&node.id()].nan || states[&node.id()].infinite);
        let read = bad.filter_map(|node| match node.op() {
            Op::ReadVar(read) => Some(read.var.clone()),
            _ => None,
        });
        let before = read.collect();
        Some(Seen { states, before })
    }

    fn state(&self, node: &Tensor) -> State {
        self.states.get(&node.id()).copied().unwrap_or_default()
    }

    /// The first result if it is not finite: the loss; else the first variable that becomes so, and
    /// was not; else another result.
    fn spoilt(
        &self,
        outputs: &[Tensor],
        writes: &[(crate::Var, Tensor)],
    ) -> Option<(Spoilt, Tensor)> {
        let bad = |node: &Tensor| self.state(node).nan || self.state(node).infinite;
        let result = |i: usize| (Spoilt::Result(i), outputs[i].clone());
        if outputs.first().is_some_and(bad) {
            return Some(result(0));
        }
        let before = |var: &crate::Var| self.before.iter().any(|known| known == var);
        let became = writes.iter().find(|(var, value)| bad(value) && !before(var));
        let variable = |(var, value): &(crate::Var, Tensor)| {
            (Spoilt::Variable(var.name().to_string()), value.clone())
        };
        became.map(variable).or_else(|| outputs.iter().position(bad).map(result))
    }

    /// The earliest input that is so.
    fn input(&self, node: &Tensor, so: fn(&State) -> bool) -> Option<Tensor> {
        let bad = node.inputs().iter().filter(|t| so(&self.state(t)));
        bad.min_by_key(|t| t.id()).cloned()
    }

    /// From a node back along those that are so, to the first.
    fn back(&self, node: Tensor, so: fn(&State) -> bool) -> Tensor {
        let mut node = node;
        while let Some(before) = self.input(&node, so) {
            node = before;
        }
        node
    }
}

impl Census {
    fn of(node: &Tensor, values: &Buffer) -> Census {
        let n = node.numel();
        let values: Vec<f64> = match node.dtype() {
            DType::F32 => values.to_vec::<f32>(0..n).into_iter().map(f64::from).collect(),
            _ => values.to_vec(0..n),
        };
        let count = |so: fn(f64) -> bool| values.iter().filter(|&&x| so(x)).count();
        let finite = || values.iter().copied().filter(|x| x.is_finite());
        let ends = (finite().reduce(f64::min), finite().reduce(f64::max));
        Census {
            shape: node.shape().clone(),
            nan: count(f64::is_nan),
            infinite: count(|x| x == f64::INFINITY),
            negative_infinite: count(|x| x == f64::NEG_INFINITY),
            zero: count(|x| x == 0.0),
            range: ends.0.zip(ends.1),
        }
    }

    /// How many there are.
    pub fn total(&self) -> usize {
        self.shape.numel()
    }

    /// The worst that there is, and how often: NaN, then the infinities.
    fn worst(&self) -> (&'static str, usize) {
        match self {
            Census { nan: 1.., .. } => ("NaN", self.nan),
            Census { negative_infinite: 1.., .. } => ("-inf", self.negative_infinite),
            _ => ("inf", self.infinite),
        }
    }
}

impl fmt::Display for Census {
    /// `[64, 10] goes from 0 to 0.98, 7 are 0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.shape)?;
        match self.range {
            Some((low, high)) if low == high => write!(f, " is {}", short(low))?,
            Some((low, high)) => write!(f, " goes from {} to {}", short(low), short(high))?,
            None => write!(f, " has no finite value")?,
        }
        let kinds = [
            (self.zero, "0"),
            (self.nan, "NaN"),
            (self.infinite, "inf"),
            (self.negative_infinite, "-inf"),
        ];
        for (count, what) in kinds.iter().filter(|(count, _)| (1..self.total()).contains(count)) {
            write!(f, ", {count} {} {what}", if *count == 1 { "is" } else { "are" })?;
        }
        Ok(())
    }
}

/// Four digits are enough to see what is wrong.
fn short(x: f64) -> String {
    let rounded: f64 = format!("{x:.3e}").parse().unwrap_or(x);
    match rounded.abs() {
        0.0 | 1e-3..1e6 => rounded.to_string(),
        _ => format!("{rounded:e}"),
    }
}

impl Origin {
    /// Its name and place.
    fn place(&self) -> String {
        let name = match &self.kind {
            OriginKind::Argument(index) => return format!("argument {index}"),
            OriginKind::Variable(name) => return format!("`{name}`"),
            OriginKind::Operation(name) => name,
        };
        match (&self.scope, self.backward) {
            (Some(scope), false) => format!("`{name}` in `{scope}`"),
            (Some(scope), true) => format!("`{name}` in the gradient of `{scope}`"),
            (None, false) => format!("`{name}`"),
            (None, true) => format!("`{name}` in the gradients or the update"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((what, count), total) = (self.output.worst(), self.output.total());
        let values = if total == 1 { "value" } else { "values" };
        let Origin { kind: OriginKind::Operation(_), .. } = self else {
            return write!(f, "{} held {what} before ({count} of {total} {values})", self.place());
        };
        write!(f, "{} gave {what} first ({count} of {total} {values}", self.place())?;
        match &self.inputs[..] {
            [] => {}
            [one] => write!(f, "; its input {one}")?,
            all => {
                let all: Vec<String> = all.iter().map(Census::to_string).collect();
                write!(f, "; of its inputs {}", all.join("; "))?;
            }
        }
        f.write_str(")")
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.origin)?;
        match &self.then {
            Some(then) => write!(f, ", of which {} made NaN", then.place()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Var, compile, grad, scope};

    /// What is said of a function of one argument of these values.
    fn said(values: &[f32], f: impl Fn(&Tensor) -> Vec<Tensor>) -> Option<String> {
        let compiled = compile(|x: &[Tensor]| f(&x[0]));
        let step = compiled.step(&[([values.len()].into(), DType::F32)]);
        step.write(0, values);
        step.run().unwrap();
        compiled.diagnose(&step).map(|found| found.to_string())
    }

    #[test]
    fn names_the_operation_where_it_began() {
        let root = |x: &Tensor| vec![(scope("0.Root", || x.sqrt()) * 2.0).sum()];
        assert_eq!(
            said(&[4.0, -1.0], root).unwrap(),
            "`sqrt` in `0.Root` gave NaN first (1 of 2 values; its input [2] goes from -1 to 4)"
        );
        assert_eq!(said(&[4.0, 1.0], root), None);
        // Infinite, and nothing worse: the loss itself is.
        let large = |x: &Tensor| vec![x.exp().sum()];
        let text = said(&[100.0, 1.0], large).unwrap();
        assert!(text.starts_with("`exp` gave inf first (1 of 2 values; its input [2]"), "{text}");
        // 0/0 is born of two inputs.
        let ratio = |x: &Tensor| vec![(x / &(x * 2.0)).sum()];
        let text = said(&[0.0, 1.0], ratio).unwrap();
        assert!(text.contains("`div` gave NaN first (1 of 2 values; of its inputs [2]"), "{text}");
    }

    #[test]
    fn a_mask_is_no_culprit() {
        // −∞ where a mask is, as attention has it: the shares are finite, and the root is to blame.
        let masked = |x: &Tensor| {
            let hidden = x.ge(0.0).select(x, &x.full_like(f64::NEG_INFINITY));
            let shares = hidden.reshape([1, 3]).softmax(1);
            vec![(shares.sum() + scope("tail", || (x - 5.0).sqrt()).sum())]
        };
        let text = said(&[1.0, -2.0, 9.0], masked).unwrap();
        assert!(text.starts_with("`sqrt` in `tail` gave NaN"), "{text}");
        // All of a row masked: it is the softmax that makes NaN, of what was meant to be so.
        let text = said(&[-1.0, -2.0, -9.0], |x| vec![masked(x)[0].sum()]).unwrap();
        assert!(text.contains("softmax"), "{text}");
        assert!(text.contains("has no finite value"), "{text}");
    }

    #[test]
    fn gradients_updates_and_what_was_bad_before() {
        let w = Var::new("fc1.weight", Tensor::from_slice(&[0.0f32, 4.0], [2]));
        let train = |x: &Tensor| {
            let loss = scope("1.Root", || (w.get() * x).sqrt()).sum();
            let dw = &grad(&loss, &[&w])[0];
            w.set(w.get() - dw * 0.1);
            vec![loss]
        };
        let compiled = compile(|x: &[Tensor]| train(&x[0]));
        let step = compiled.step(&[([2].into(), DType::F32)]);
        step.write(0, &[1.0f32, 1.0]);
        let found = compiled.diagnose(&step).unwrap();
        let text = found.to_string();
        assert!(text.contains("in the gradient of `1.Root` gave inf first"), "{text}");
        assert_eq!(found.spoilt, Spoilt::Variable("fc1.weight".into()));
        assert_eq!(w.to_vec::<f32>(), [0.0, 4.0], "a diagnosis changes nothing");
        // Data, and variables, that were no numbers to begin with.
        assert_eq!(
            said(&[1.0, f32::NAN], |x| vec![x.sum()]).unwrap(),
            "argument 0 held NaN before (1 of 2 values)"
        );
        w.write(&[1.0f32, f32::INFINITY]);
        assert_eq!(
            said(&[1.0, 0.0], |x| vec![(w.get() * x).sum()]).unwrap(),
            "`fc1.weight` held inf before (1 of 2 values), of which `mul` made NaN"
        );
    }
}
