//! A group made ready: its code improved, its values given registers, its scratch memory laid out.

use super::geometry::Geometry;
use super::lane::TILE_BYTES;
use super::runs::{self, Run};
use super::{BinaryOp, Fused, Step};
use crate::memory::ALIGN;

/// Everything about a group that does not depend on the memory it runs on.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) geometry: Geometry,
    /// The steps, improved; those that no output needs are in neither list below.
    pub(super) code: Vec<Step>,
    /// The runs that are computed in the place of some steps.
    pub(super) runs: Vec<Option<Run>>,
    /// Steps whose values are the same in every tile, in order.
    pub(super) once: Vec<usize>,
    /// The other steps, in order.
    pub(super) each: Vec<usize>,
    /// The register of each value.
    pub(super) register: Vec<usize>,
    pub(super) registers: usize,
    /// Loads that may be used where they lie, because nothing overwrites them before their use.
    pub(super) direct: Vec<bool>,
    /// The output in whose memory a value may be computed, because no input lies there.
    pub(super) forward: Vec<Option<usize>>,
    /// Inputs to ask for ahead of their use: those too large for the second-level cache, in a group
    /// that computes so much that the processor's own prefetching falls asleep.
    pub(super) streamed: Vec<usize>,
}

/// Bytes above which an input counts as streamed.
const STREAMED: usize = 512 * 1024;

/// Steps from which on a group is worth prefetching for.
const LONG: usize = 8;

impl Plan {
    pub(super) fn new(fused: &Fused) -> Plan {
        let geometry = Geometry::new(fused);
        let mut code = fused.code.clone();
        let invariant = invariant(fused, &geometry);
        contract(&mut code, fused, &invariant);
        let runs = runs::find(&code, fused, &invariant);
        let uses = |step: usize, visit: &mut dyn FnMut(u16)| match runs[step] {
            Some(run) => run.uses(visit),
            None => code[step].uses(visit),
        };
        let used = used(&uses, fused);
        let of = |wanted: bool| {
            (0..code.len()).filter(|&i| used[i] && invariant[i] == wanted).collect::<Vec<_>>()
        };
        let (once, each) = (of(true), of(false));
        let (register, registers) = registers(&uses, fused, &once, &each);
        let (direct, forward) = short_cuts(&code, fused, &invariant);
        let long = each.len() >= LONG;
        let streamed = |&i: &usize| long && fused.inputs[i].region.bytes > STREAMED;
        let streamed = (0..fused.inputs.len()).filter(streamed).collect();
        Plan { geometry, code, runs, once, each, register, registers, direct, forward, streamed }
    }

    /// Bytes of scratch memory: see [`super::run`].
    pub(super) fn scratch_bytes(&self, fused: &Fused) -> usize {
        let operands = self.operands(fused);
        let words = self.code.len() + operands + self.geometry.loops.len();
        let small = (words * 8).next_multiple_of(ALIGN) + 4 * ALIGN;
        let outputs = fused.outputs.len();
        small
            + (outputs * 16).next_multiple_of(ALIGN)
            + self.registers * TILE_BYTES
            + outputs * 3 * TILE_BYTES
    }

    pub(super) fn operands(&self, fused: &Fused) -> usize {
        fused.inputs.len() + fused.outputs.len() + self.geometry.positions.len()
    }
}

/// Which steps give the same values in every tile.
fn invariant(fused: &Fused, geometry: &Geometry) -> Vec<bool> {
    let still = |operand: usize| geometry.loops.iter().all(|l| l.steps[operand] == 0);
    let views = fused.inputs.len() + fused.outputs.len();
    let mut invariant: Vec<bool> = Vec::new();
    for (i, step) in fused.code.iter().enumerate() {
        let own = match step {
            Step::Load(input) => still(*input as usize),
            Step::Random { .. } => false,
            Step::Index(_) => {
                let position = geometry.positions.iter().position(|p| *p == i);
                position.is_some_and(|p| still(views + p))
            }
            step => {
                let mut all = true;
                step.uses(|value| all &= invariant[value as usize]);
                all
            }
        };
        invariant.push(own);
    }
    invariant
}

/// Turns a product that is used once, by an addition, into a multiply-add.
fn contract(code: &mut [Step], fused: &Fused, invariant: &[bool]) {
    let mut uses = vec![0; code.len()];
    code.iter().for_each(|step| step.uses(|value| uses[value as usize] += 1));
    fused.outputs.iter().for_each(|output| uses[output.value as usize] += 1);
    for i in 0..code.len() {
        let Step::Binary(BinaryOp::Add, a, b) = code[i] else { continue };
        let product = |value: u16| match code[value as usize] {
            Step::Binary(BinaryOp::Mul, x, y)
                if uses[value as usize] == 1 && !invariant[value as usize] =>
            {
                Some((x, y))
            }
            _ => None,
        };
        if let Some((x, y)) = product(a) {
            code[i] = Step::MulAdd(x, y, b);
        } else if let Some((x, y)) = product(b) {
            code[i] = Step::MulAdd(x, y, a);
        }
    }
}

/// Calls back with each value that a step uses.
type Uses<'a> = &'a dyn Fn(usize, &mut dyn FnMut(u16));

/// Which values some output needs.
fn used(uses: Uses<'_>, fused: &Fused) -> Vec<bool> {
    let mut used = vec![false; fused.code.len()];
    fused.outputs.iter().for_each(|output| used[output.value as usize] = true);
    for i in (0..used.len()).rev() {
        if used[i] {
            uses(i, &mut |value| used[value as usize] = true);
        }
    }
    used
}

/// Gives each value a register: to those computed once one of their own, to the others one that is
/// free. The result of a step never shares a register with what it is computed from.
fn registers(uses: Uses<'_>, fused: &Fused, once: &[usize], each: &[usize]) -> (Vec<usize>, usize) {
    let mut register = vec![0; fused.code.len()];
    let mut count = 0;
    for &value in once {
        register[value] = count;
        count += 1;
    }
    let permanent = count;
    let mut last_use = vec![0; fused.code.len()];
    for &step in each {
        uses(step, &mut |value| last_use[value as usize] = step);
    }
    for output in &fused.outputs {
        last_use[output.value as usize] = usize::MAX;
    }
    let mut free: Vec<usize> = Vec::new();
    let is_once = |value: usize| once.binary_search(&value).is_ok();
    for &step in each {
        register[step] = free.pop().unwrap_or_else(|| {
            count += 1;
            count - 1
        });
        let mut ended = Vec::new();
        uses(step, &mut |value| {
            let value = value as usize;
            if last_use[value] == step && !is_once(value) && !ended.contains(&register[value]) {
                ended.push(register[value]);
            }
        });
        free.extend(ended);
    }
    debug_assert!(free.iter().all(|&r| r >= permanent));
    (register, count)
}

/// Which loads need no copy, and which values can be computed in their output's memory.
fn short_cuts(code: &[Step], fused: &Fused, invariant: &[bool]) -> (Vec<bool>, Vec<Option<usize>>) {
    let stored = |output: usize| fused.outputs[output].reduce.is_none();
    let outputs = 0..fused.outputs.len();
    let overlaps = |output: usize, input: usize| {
        fused.outputs[output].view.region.overlaps(&fused.inputs[input].region)
    };
    let mut direct = vec![false; code.len()];
    let mut forward = vec![None; code.len()];
    for (i, step) in code.iter().enumerate() {
        let goes_to =
            || outputs.clone().filter(|&o| fused.outputs[o].value as usize == i && stored(o));
        if let Step::Load(input) = step {
            // A store in place of this input must not come before another store of it.
            let replaced = outputs.clone().any(|o| overlaps(o, *input as usize));
            direct[i] = !(replaced && goes_to().next().is_some());
        } else if !invariant[i] {
            let apart = |o: &usize| (0..fused.inputs.len()).all(|input| !overlaps(*o, input));
            forward[i] = goes_to().find(apart);
        }
    }
    (direct, forward)
}
