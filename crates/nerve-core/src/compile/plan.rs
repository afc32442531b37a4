//! A plan: a graph as a flat list of instructions, with its memory, ready to run.

use super::lowering::{Destination, Lowering, Placed};
use super::standing::{self, Standing};
use super::units::{self, Schedule, Unit};
use super::{explain, memory, simplify};
use crate::dtype::DType;
use crate::op::{Op, Role};
use crate::shape::Shape;
use crate::tensor::{Tensor, topological};
use crate::var::{self, Home, Var};
use nerve_cpu::{Buffer, Instruction, Precision, Program, Replay, RunError};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{self, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a buffer of the plan is bound to.
#[derive(Clone)]
enum Bound {
    /// The argument with this number.
    Argument(usize),
    /// Memory that stays: a constant, or the home of variables.
    Fixed(Arc<Buffer>),
    /// The result with this number.
    Output,
}

/// A compiled graph.
pub struct Plan {
    replay: Mutex<Replay>,
    /// Buffer of each argument; none if it is not used.
    arguments: Vec<Option<usize>>,
    /// Buffer, shape and type of each result.
    outputs: Vec<(usize, Shape, DType)>,
    /// The variables, and where they were when the plan was made.
    homes: Vec<(Var, Home)>,
    /// The variables that it gives new values.
    changed: Vec<Var>,
    /// The versions to count up after a run.
    written: Vec<Arc<AtomicU64>>,
    /// How often variables had moved when the homes were last compared.
    moves: AtomicU64,
    text: String,
    /// What is computed only when a variable has changed.
    standing: Option<Box<Standing>>,
}

/// The graph that a plan is made of.
pub(super) struct Graph<'a> {
    /// Results.
    pub outputs: &'a [Tensor],
    /// Variables, and what they become.
    pub writes: &'a [(Var, Tensor)],
    /// Nodes that stand for arguments although they are other leaves: node, argument, offset.
    pub arguments: &'a [(u64, usize, usize)],
    /// How exactly products are computed.
    pub precision: Precision,
}

impl Plan {
    /// Plans `graph`: simplify → fuse → lower → memory → program.
    pub(super) fn new(graph: &Graph<'_>) -> Plan {
        let moves = var::moves();
        let roots: Vec<Tensor> =
            graph.outputs.iter().chain(graph.writes.iter().map(|w| &w.1)).cloned().collect();
        let split = standing::split(&simplify::simplify(&roots), graph.writes, graph.precision);
        let mut plan = Plan::of_simple(graph, &split.roots, moves);
        if !split.standing.is_empty() {
            let (nodes, buffers): (Vec<Tensor>, _) = split.standing.into_iter().unzip();
            let precision = graph.precision;
            let first = Graph { outputs: &nodes, writes: &[], arguments: &[], precision };
            let first = Plan::of_simple(&first, &nodes, moves);
            plan.standing = Some(Box::new(Standing::new(first, buffers)));
        }
        plan
    }

    /// Plans `graph`, whose roots are simplified to `roots`.
    fn of_simple(graph: &Graph<'_>, roots: &[Tensor], moves: u64) -> Plan {
        let (outputs, values) = roots.split_at(graph.outputs.len());
        let mut order = topological(roots, |_| false);
        order.sort_by_key(Tensor::id);
        let late: HashSet<u64> = values.iter().map(Tensor::id).collect();
        let schedule = units::schedule(&order, roots, &late);
        let mut planner = Planner::new(graph, &order);
        planner.choose_destinations(outputs, values, &schedule, &order);
        let (instructions, buffers) = planner.lower(outputs, values, &schedule);
        planner.finish(instructions, buffers, moves)
    }

    /// Runs the plan on `arguments`; gives fresh buffers with the results.
    ///
    /// # Errors
    /// If an index among the data is out of range.
    pub(super) fn run(&self, arguments: &[&Arc<Buffer>]) -> Result<Vec<Arc<Buffer>>, RunError> {
        let mut replay = self.lock();
        let fresh = |(index, shape, dtype): &(usize, Shape, DType)| {
            let buffer = Arc::new(Buffer::zeroed(shape.numel() * dtype.bytes()));
            replay.bind(*index, buffer.clone());
            buffer
        };
        let outputs = self.outputs.iter().map(fresh).collect();
        for (&slot, &buffer) in self.arguments.iter().zip(arguments) {
            if let Some(index) = slot {
                replay.bind(index, buffer.clone());
            }
        }
        let result = self.replay(&mut replay);
        replay.release();
        result.map(|()| outputs)
    }

    /// Runs a plan without arguments; its results go to `buffers`.
    pub(super) fn run_into(&self, buffers: &[Arc<Buffer>]) -> Result<(), RunError> {
        let mut replay = self.lock();
        for ((index, ..), buffer) in self.outputs.iter().zip(buffers) {
            replay.bind(*index, buffer.clone());
        }
        let result = self.replay(&mut replay);
        replay.release();
        result
    }

    /// Computes what stands, if it is not what it was.
    pub(super) fn refresh(&self) -> Result<(), RunError> {
        self.standing.as_ref().map_or(Ok(()), |standing| standing.refresh())
    }

    /// When the variables of the plan changed last: the latest of these.
    pub(super) fn versions(&self) -> impl Iterator<Item = Arc<AtomicU64>> + '_ {
        self.homes.iter().flat_map(|(_, home)| home.versions.read.iter().cloned())
    }

    pub(super) fn replay(&self, replay: &mut Replay) -> Result<(), RunError> {
        self.refresh()?;
        let result = replay.run();
        for version in &self.written {
            var::tick(version);
        }
        result
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Replay> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all variables are still where the plan expects them.
    pub(super) fn is_valid(&self) -> bool {
        let now = var::moves();
        if self.moves.load(atomic::Ordering::Acquire) == now {
            return true;
        }
        let stays = |(var, old): &(Var, Home)| {
            let home = var.home();
            Arc::ptr_eq(&home.buffer, &old.buffer) && home.offset == old.offset
        };
        let standing = self.standing.as_ref().is_none_or(|standing| standing.plan().is_valid());
        let valid = standing && self.homes.iter().all(stays);
        if valid {
            self.moves.store(now, atomic::Ordering::Release);
        }
        valid
    }

    pub(super) fn argument_buffer(&self, index: usize) -> Option<usize> {
        // Those behind the last one that is used are not listed.
        self.arguments.get(index).copied().flatten()
    }

    pub(super) fn output(&self, index: usize) -> &(usize, Shape, DType) {
        &self.outputs[index]
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs.len()
    }

    /// The variables, and where they lie.
    pub(super) fn homes(&self) -> &[(Var, Home)] {
        &self.homes
    }

    /// The variables that it gives new values.
    pub(super) fn written(&self) -> &[Var] {
        &self.changed
    }

    /// The instructions, groups, bytes and estimated operations, for people to read.
    pub fn explain(&self) -> &str {
        &self.text
    }

    /// As [`explain`](Plan::explain), what is computed only when a variable has changed: what
    /// depends on nothing but variables that the plan does not write.
    pub fn explain_standing(&self) -> Option<&str> {
        self.standing.as_ref().map(|standing| standing.plan().explain())
    }

    /// Floating-point operations of one run.
    pub fn flops(&self) -> u64 {
        self.lock().program().instructions().iter().map(|i| i.kernel().flops()).sum()
    }

    /// Bytes of working memory.
    pub fn arena_bytes(&self) -> usize {
        self.lock().program().arena_bytes()
    }
}

/// Collects what a plan needs beside its instructions.
struct Planner<'a> {
    graph: &'a Graph<'a>,
    /// The buffers of the program after the arena.
    bound: Vec<Bound>,
    sizes: Vec<usize>,
    leaves: HashMap<u64, (u32, usize)>,
    destinations: HashMap<u64, Destination>,
    homes: Vec<(Var, Home)>,
    /// Results and variables that need a copy at the end: which root.
    copied: Vec<bool>,
    output_buffers: Vec<usize>,
}

impl<'a> Planner<'a> {
    fn new(graph: &'a Graph<'a>, order: &[Tensor]) -> Self {
        let mut planner = Planner {
            graph,
            bound: Vec::new(),
            sizes: Vec::new(),
            leaves: HashMap::new(),
            destinations: HashMap::new(),
            homes: Vec::new(),
            copied: vec![false; graph.outputs.len() + graph.writes.len()],
            output_buffers: Vec::new(),
        };
        for leaf in order.iter().filter(|t| matches!(t.op().rule().role(), Role::Leaf)) {
            let bytes = leaf.numel() * leaf.dtype().bytes();
            let stands = graph.arguments.iter().find(|(id, ..)| *id == leaf.id());
            let place = match (leaf.op(), stands) {
                (_, Some(&(_, argument, offset))) => {
                    (planner.argument(argument, offset + bytes), offset)
                }
                (Op::Argument(argument), _) => (planner.argument(argument.index, bytes), 0),
                (Op::ReadVar(read), _) => planner.home(&read.var),
                _ => {
                    let value = leaf.value().expect("constants have a value").clone();
                    (planner.fixed(value), 0)
                }
            };
            planner.leaves.insert(leaf.id(), place);
        }
        planner
    }

    fn buffer(&mut self, bound: Bound, bytes: usize) -> u32 {
        self.bound.push(bound);
        self.sizes.push(bytes);
        u32::try_from(self.bound.len()).expect("far fewer buffers")
    }

    fn argument(&mut self, index: usize, bytes: usize) -> u32 {
        let known = self.bound.iter().position(|b| matches!(b, Bound::Argument(i) if *i == index));
        match known {
            Some(at) => {
                self.sizes[at] = self.sizes[at].max(bytes);
                at as u32 + 1
            }
            None => self.buffer(Bound::Argument(index), bytes),
        }
    }

    fn fixed(&mut self, buffer: Arc<Buffer>) -> u32 {
        let same = |b: &Bound| matches!(b, Bound::Fixed(known) if Arc::ptr_eq(known, &buffer));
        match self.bound.iter().position(same) {
            Some(at) => at as u32 + 1,
            None => {
                let bytes = buffer.bytes();
                self.buffer(Bound::Fixed(buffer), bytes)
            }
        }
    }

    fn home(&mut self, var: &Var) -> (u32, usize) {
        let home = var.home();
        if !self.homes.iter().any(|(known, _)| known == var) {
            self.homes.push((var.clone(), home.clone()));
        }
        (self.fixed(home.buffer), home.offset)
    }

    /// Decides which results are computed straight to where they belong.
    fn choose_destinations(
        &mut self,
        outputs: &[Tensor],
        values: &[Tensor],
        schedule: &Schedule,
        order: &[Tensor],
    ) {
        for (i, (tensor, original)) in outputs.iter().zip(self.graph.outputs).enumerate() {
            let bytes = original.numel() * original.dtype().bytes();
            let buffer = self.buffer(Bound::Output, bytes);
            self.output_buffers.push(buffer as usize);
            self.copied[i] = !self.claim(tensor, schedule, Destination::Buffer(buffer, 0));
        }
        let reads = self.var_reads(order, schedule, outputs.iter().chain(values));
        for (i, (value, (var, _))) in values.iter().zip(self.graph.writes).enumerate() {
            let (buffer, offset) = self.home(var);
            let done = schedule
                .unit_of
                .get(&value.id())
                .is_some_and(|&unit| done_before(value, unit, schedule, &reads, (buffer, offset)));
            let direct = done && self.claim(value, schedule, Destination::Buffer(buffer, offset));
            self.copied[outputs.len() + i] = !direct;
        }
        // Users first, so that a concatenation knows whether it lies in another one.
        for node in order.iter().rev() {
            self.claim_pieces(node, schedule, &reads);
        }
    }

    fn claim(&mut self, node: &Tensor, schedule: &Schedule, place: Destination) -> bool {
        let free = schedule.unit_of.contains_key(&node.id())
            && !self.destinations.contains_key(&node.id());
        if free {
            self.destinations.insert(node.id(), place);
        }
        free
    }

    /// Lets the kernels whose results a concatenation puts together write them there at once.
    fn claim_pieces(&mut self, node: &Tensor, schedule: &Schedule, reads: &[VarRead]) {
        let Op::Concat(concat) = node.op() else { return };
        if node.shape()[..concat.axis].iter().any(|&n| n != 1) || node.dtype().bytes() == 1 {
            return;
        }
        let inner: usize = node.shape()[concat.axis + 1..].iter().product();
        for (input, &start) in node.inputs().iter().zip(&concat.starts) {
            let mut base = input;
            while let Op::Reshape(_) = base.op() {
                base = &base.inputs()[0];
            }
            if self.may_store(base, node, start * inner, schedule, reads) {
                let place = Destination::Piece { of: node.clone(), start: start * inner };
                self.claim(base, schedule, place);
            }
        }
    }

    /// Whether `piece` may be stored at element `start` of the concatenation `whole` when its own
    /// unit runs: if that is the memory of a variable, others may still have to read it.
    fn may_store(
        &self,
        piece: &Tensor,
        whole: &Tensor,
        start: usize,
        schedule: &Schedule,
        reads: &[VarRead],
    ) -> bool {
        let Some(&unit) = schedule.unit_of.get(&piece.id()) else { return false };
        let (mut whole, mut start) = (whole, start);
        loop {
            match self.destinations.get(&whole.id()) {
                Some(Destination::Piece { of, start: outer }) => {
                    (whole, start) = (of, start + outer)
                }
                Some(&Destination::Buffer(buffer, offset)) => {
                    let place = (buffer, offset + start * piece.dtype().bytes());
                    return done_before(piece, unit, schedule, reads, place);
                }
                None => return true,
            }
        }
    }

    fn lower(
        &mut self,
        outputs: &[Tensor],
        values: &[Tensor],
        schedule: &Schedule,
    ) -> (Vec<Instruction>, usize) {
        let emit = |addresses: Option<&[usize]>| {
            let mut cx = Lowering::new(schedule, &self.leaves, &self.destinations, addresses);
            cx.precision = self.graph.precision;
            cx.run();
            self.copy_results(&mut cx, outputs, values);
            (cx.instructions, cx.slots)
        };
        let (instructions, slots) = emit(None);
        let (addresses, total) = memory::assign(&instructions, &slots);
        (emit(Some(&addresses)).0, total)
    }

    /// Copies the results that could not be computed in place. Variables come last, from copies if
    /// what they become is itself the old content of a variable.
    fn copy_results(&self, cx: &mut Lowering<'_>, outputs: &[Tensor], values: &[Tensor]) {
        for (i, tensor) in outputs.iter().enumerate().filter(|(i, _)| self.copied[*i]) {
            let to = cx.external(tensor, (self.output_buffers[i] as u32, 0));
            let from = cx.view(tensor);
            cx.copy(&from, &to);
        }
        let writes = values.iter().zip(self.graph.writes).enumerate();
        let copied = writes.filter(|(i, _)| self.copied[outputs.len() + i]);
        let mut moves: Vec<(Placed, Placed)> = Vec::new();
        for (_, (value, (var, _))) in copied {
            let home = self.homes.iter().find(|(known, _)| known == var).expect("homes are known");
            let buffer = self.bound.iter().position(
                |b| matches!(b, Bound::Fixed(known) if Arc::ptr_eq(known, &home.1.buffer)),
            );
            let buffer = buffer.expect("homes are bound") as u32 + 1;
            let from = cx.view(value);
            let from = if cx.is_external(&from) { cx.copied(&from) } else { from };
            moves.push((from, cx.external(value, (buffer, home.1.offset))));
        }
        for (from, to) in moves {
            cx.copy(&from, &to);
        }
    }

    fn finish(self, instructions: Vec<Instruction>, arena: usize, moves: u64) -> Plan {
        let sizes: Vec<usize> = std::iter::once(arena).chain(self.sizes.iter().copied()).collect();
        let text = explain::explain(&instructions, arena, &sizes);
        let program = Program::new(instructions, &sizes)
            .unwrap_or_else(|error| panic!("the compiler made a wrong plan: {error}\n{text}"));
        let buffers = self.bound.iter().map(|bound| match bound {
            Bound::Fixed(buffer) => Some(buffer.clone()),
            Bound::Argument(_) | Bound::Output => None,
        });
        let replay = Replay::new(program, buffers.collect());
        let arguments = self.bound.iter().filter_map(|b| match b {
            Bound::Argument(index) => Some(*index + 1),
            _ => None,
        });
        let count = arguments.max().unwrap_or(0);
        let mut arguments = vec![None; count];
        for (at, bound) in self.bound.iter().enumerate() {
            if let Bound::Argument(index) = bound {
                arguments[*index] = Some(at + 1);
            }
        }
        let shapes = self.graph.outputs.iter().map(|t| (t.shape().clone(), t.dtype()));
        let outputs = self.output_buffers.iter().zip(shapes).map(|(&b, (s, d))| (b, s, d));
        let mut written: Vec<Arc<AtomicU64>> = Vec::new();
        for (var, _) in self.graph.writes {
            for version in var.home().versions.written {
                if !written.iter().any(|known| Arc::ptr_eq(known, &version)) {
                    written.push(version);
                }
            }
        }
        Plan {
            replay: Mutex::new(replay),
            arguments,
            outputs: outputs.collect(),
            homes: self.homes,
            changed: self.graph.writes.iter().map(|(var, _)| var.clone()).collect(),
            written,
            moves: AtomicU64::new(moves),
            text,
            standing: None,
        }
    }
}

/// One tensor that reads variable memory.
struct VarRead {
    buffer: u32,
    offset: usize,
    bytes: usize,
    /// The last unit that reads it, through movements; `usize::MAX` for the end of the step.
    last: usize,
    /// Whether that unit sees the elements as they lie, each at its own point.
    direct: bool,
}

impl Planner<'_> {
    fn var_reads<'t>(
        &self,
        order: &[Tensor],
        schedule: &Schedule,
        roots: impl Iterator<Item = &'t Tensor>,
    ) -> Vec<VarRead> {
        let at_end = roots.filter(|t| !schedule.unit_of.contains_key(&t.id()));
        // The last unit that reads a node, and whether it does so elsewhere than at the same point.
        let mut last: HashMap<u64, (usize, bool)> =
            at_end.map(|t| (t.id(), (usize::MAX, true))).collect();
        // Users come before their inputs in this direction.
        for node in order.iter().rev() {
            let unit = schedule.unit_of.get(&node.id()).copied();
            let passed_on = || last.get(&node.id()).map(|&(reader, _)| reader);
            let Some(reader) = unit.or_else(passed_on) else { continue };
            let moves = !matches!(node.op().rule().role(), Role::Elementwise(_));
            for input in node.inputs() {
                let entry = last.entry(input.id()).or_insert((reader, moves));
                match reader.cmp(&entry.0) {
                    Ordering::Greater => *entry = (reader, moves),
                    Ordering::Equal => entry.1 |= moves,
                    Ordering::Less => {}
                }
            }
        }
        let reads = order.iter().filter(|t| matches!(t.op(), Op::ReadVar(_))).map(|leaf| {
            let (buffer, offset) = self.leaves[&leaf.id()];
            let (last, moves) = last.get(&leaf.id()).copied().unwrap_or((0, true));
            let bytes = leaf.numel() * leaf.dtype().bytes();
            VarRead { buffer, offset, bytes, last, direct: !moves }
        });
        reads.collect()
    }
}

/// Whether unit `unit` may store `value` over variable memory that others read: they are done by
/// then, or it is the group itself that reads each element where it writes it.
fn done_before(
    value: &Tensor,
    unit: usize,
    schedule: &Schedule,
    reads: &[VarRead],
    (buffer, offset): (u32, usize),
) -> bool {
    let bytes = value.numel() * value.dtype().bytes();
    let group = matches!(schedule.units[unit], Unit::Group { .. });
    let in_place = group && !matches!(value.op(), Op::Reduce(_));
    reads.iter().all(|read| {
        let apart = read.buffer != buffer
            || read.offset + read.bytes <= offset
            || offset + bytes <= read.offset;
        let same = (read.offset, read.bytes) == (offset, bytes) && in_place && read.direct;
        apart || read.last < unit || read.last == unit && same
    })
}
