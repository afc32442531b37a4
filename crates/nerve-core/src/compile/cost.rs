//! What each instruction of a plan costs, and which variables it is about: for profiles.

use super::explain;
use super::plan::Plan;
use crate::var::{Home, Var};
use nerve_cpu::fused::{Fused, Step, View};
use nerve_cpu::{Access, ConvShape, Instruction, Operand, PoolShape, Region, Replay};
use std::sync::Arc;

/// What one instruction of a plan is and does.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// The name of its kernel: `conv`.
    pub name: &'static str,
    /// Its sizes, for people to read.
    pub detail: String,
    /// Floating-point operations; a multiply-add counts two.
    pub flops: u64,
    /// Bytes of its operands, each counted once: what has to be moved at least.
    pub bytes: u64,
    /// The variables that it is about; none where it sees no variable.
    pub variables: Vec<String>,
    /// What it does with them.
    pub role: VariableRole,
}

/// What an instruction does with variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VariableRole {
    /// It reads them.
    Read,
    /// It computes their gradients.
    Gradient,
    /// It gives them new values.
    Update,
}

impl Plan {
    /// What each instruction costs, in the order of [`Plan::explain`].
    pub fn costs(&self) -> Vec<Cost> {
        let replay = self.lock();
        let names = Names::new(&replay, self.homes());
        let cost = |(at, instruction): (usize, &Instruction)| {
            let (variables, role) = names.of(at, instruction);
            Cost {
                name: instruction.kernel().name(),
                detail: detail(instruction),
                flops: instruction.kernel().flops(),
                bytes: bytes(instruction),
                variables,
                role,
            }
        };
        replay.program().instructions().iter().enumerate().map(cost).collect()
    }
}

/// The bytes that an instruction touches.
fn bytes(instruction: &Instruction) -> u64 {
    if let Instruction::Fused(fused) = instruction {
        let views = fused.inputs.iter().chain(fused.outputs.iter().map(|o| &o.view));
        return views.map(|view| touched(fused, view)).sum();
    }
    let operands = instruction.operands();
    let all = |wanted: fn(Access) -> bool| {
        let wanted = operands.iter().filter(|o| wanted(o.access));
        wanted.map(|o| o.region.bytes as u64).sum::<u64>()
    };
    let (read, written) = (all(|a| a == Access::Read), all(|a| a != Access::Read));
    match instruction {
        // Of a table, only the rows that are picked; their numbers are small beside them.
        Instruction::Gather(_) | Instruction::GatherElements(_) => written + read.min(2 * written),
        _ => read + written,
    }
}

/// A view reaches over gaps, and repeats: what counts are its own elements.
fn touched(fused: &Fused, view: &View) -> u64 {
    let dims = fused.dims.iter().zip(&view.strides).filter(|(_, stride)| **stride != 0);
    let elements: usize = dims.map(|(dim, _)| *dim).product();
    (elements * view.element.bytes()) as u64
}

/// The sizes of an instruction.
fn detail(instruction: &Instruction) -> String {
    let known = explain::detail(instruction);
    if !known.is_empty() {
        return known;
    }
    match instruction {
        Instruction::Conv(conv) => convolution(&conv.shape),
        Instruction::ConvPool(both) => {
            let (conv, pool) = (convolution(&both.conv().shape), pooling(&both.pool().shape));
            format!("{conv}, {pool}")
        }
        Instruction::ConvWeightGrad(grad) => convolution(&grad.shape),
        Instruction::Pool(pool) => pooling(&pool.shape),
        Instruction::PoolGrad(grad) => pooling(&grad.shape),
        Instruction::Softmax(s) => format!("{}x{}", s.rows, s.cols),
        Instruction::SoftmaxGrad(s) => format!("{}x{}", s.rows, s.cols),
        Instruction::CrossEntropy(s) => format!("{}x{}", s.rows, s.cols),
        Instruction::CrossEntropyGrad(s) => format!("{}x{}", s.rows, s.cols),
        Instruction::PackB(pack) => format!("{}x{} batch {}", pack.k, pack.n, pack.batch),
        Instruction::SumParts(sum) => format!("{} parts of {}", sum.parts, sum.len),
        _ => {
            let list = |reads: bool| {
                let operands = instruction.operands().into_iter();
                let wanted = operands.filter(|o| (o.access == Access::Read) == reads);
                let sizes: Vec<_> = wanted.map(|o| explain::bytes(o.region.bytes)).collect();
                sizes.join(" + ")
            };
            format!("{} <- {}", list(false), list(true))
        }
    }
}

fn convolution(s: &ConvShape) -> String {
    let groups = if s.groups > 1 { format!(" groups {}", s.groups) } else { String::new() };
    let stride = if s.stride != [1; 2] { format!(" /{}", s.stride[0]) } else { String::new() };
    let (n, h, w, c) = (s.n, s.h, s.w, s.c);
    format!("{n}x{h}x{w}x{c} * {}x{}{stride} -> {}{groups}", s.kh, s.kw, s.co)
}

fn pooling(s: &PoolShape) -> String {
    format!("{}x{}x{}x{} / {}x{}", s.n, s.h, s.w, s.c, s.kernel[0], s.kernel[1])
}

/// Which memory belongs to which variables.
///
/// Stretches of the arena belong to one value after another, so what is known of them is known from
/// one instruction to another.
struct Names<'a> {
    /// Stretches that hold variables.
    homes: Vec<(Region, &'a Var)>,
    /// Instructions that write gradients, and the places of the variables that these are for.
    gradients: Vec<(usize, Region)>,
    /// The places of variables that are updated from gradients.
    updated: Vec<Region>,
    /// Copies of a variable, from the instruction that writes them on: in another order, or as the
    /// panels that a product reads.
    copies: Vec<(usize, Region, &'a Var)>,
}

impl<'a> Names<'a> {
    fn new(replay: &Replay, homes: &'a [(Var, Home)]) -> Names<'a> {
        let instructions = replay.program().instructions();
        let mut buffers: Vec<u32> =
            instructions.iter().flat_map(|i| i.operands()).map(|o| o.region.buffer).collect();
        buffers.sort_unstable();
        buffers.dedup();
        let place = |(var, home): &'a (Var, Home)| {
            let bound =
                |i: u32| replay.buffer(i as usize).is_some_and(|b| Arc::ptr_eq(b, &home.buffer));
            let buffer = buffers.iter().copied().find(|&i| bound(i))?;
            Some((Region::new(buffer, home.offset, var.bytes()), var))
        };
        let homes = homes.iter().filter_map(place).collect();
        let mut names =
            Names { homes, gradients: Vec::new(), updated: Vec::new(), copies: Vec::new() };
        for i in 0..instructions.len() {
            names.learn_copy(i, &instructions[i]);
            names.learn_gradients(&instructions[..i], &instructions[i]);
        }
        names
    }

    /// Panels, and permutations, hold what they were made from.
    fn learn_copy(&mut self, at: usize, instruction: &Instruction) {
        let Some((from, to)) = moved(instruction) else { return };
        if let [var] = self.read_at(at, &from)[..] {
            self.copies.push((at, to, var));
        }
    }

    /// An update writes variables and reads a stretch of the arena of the same length: gradients,
    /// by those who were the last to write there.
    fn learn_gradients(&mut self, before: &[Instruction], update: &Instruction) {
        let (operands, Instruction::Fused(_)) = (update.operands(), update) else { return };
        let homes = &self.homes;
        let is_home = |region: &Region| homes.iter().any(|(home, _)| home == region);
        let written = |o: &&Operand| o.access != Access::Read && is_home(&o.region);
        let mut found = Vec::new();
        for to in operands.iter().filter(written).map(|o| o.region) {
            let mut from = operands.iter().map(|o| &o.region);
            let Some(from) = from.find(|r| r.buffer == 0 && r.bytes == to.bytes) else { continue };
            self.updated.push(to);
            let mut last: Vec<Region> = Vec::new();
            for (at, instruction) in before.iter().enumerate().rev() {
                for Operand { region, access } in instruction.operands() {
                    let taken = last.iter().any(|later| later.overlaps(&region));
                    if access != Access::Read && contains(from, &region) && !taken {
                        let offset = to.offset + region.offset - from.offset;
                        let place = Region::new(to.buffer, offset, region.bytes);
                        found.extend(makers(before, at).into_iter().map(|at| (at, place)));
                        last.push(region);
                    }
                }
            }
        }
        self.gradients.extend(found);
    }

    /// The variables of instruction number `at`, and what it does with them.
    fn of(&self, at: usize, instruction: &Instruction) -> (Vec<String>, VariableRole) {
        let [mut read, mut updated] = [const { Vec::<&Var>::new() }; 2];
        for Operand { region, access } in instruction.operands() {
            match access {
                Access::Read => read.extend(self.read_at(at, &region)),
                _ => updated.extend(self.inside(&region)),
            }
        }
        let gradients = self.gradients_of(at);
        let (vars, role) = match (&updated[..], &gradients[..]) {
            ([], []) => (read, VariableRole::Read),
            ([], _) => (gradients, VariableRole::Gradient),
            _ => (updated, VariableRole::Update),
        };
        let mut names: Vec<String> = Vec::new();
        for var in vars {
            if !names.iter().any(|name| name == var.name()) {
                names.push(var.name().to_string());
            }
        }
        (names, role)
    }

    /// The same gradients update parameters and what the optimizer remembers of them as a whole:
    /// those that are seen one by one say more.
    fn gradients_of(&self, at: usize) -> Vec<&'a Var> {
        let here = self.gradients.iter().filter(|(i, _)| *i == at);
        let all: Vec<&Var> = here.flat_map(|(_, region)| self.inside(region)).collect();
        let part = |var: &&Var| {
            let home = self.homes.iter().find(|(_, known)| known == var);
            !home.is_some_and(|(home, _)| self.updated.contains(home))
        };
        match all.iter().copied().any(|var| part(&var)) {
            true => all.into_iter().filter(part).collect(),
            false => all.into_iter().take(1).collect(),
        }
    }

    /// The variables that instruction number `at` reads there, themselves or a copy.
    fn read_at(&self, at: usize, region: &Region) -> Vec<&'a Var> {
        let copy = |(from, to, _): &&(usize, Region, &Var)| *from < at && to == region;
        match self.copies.iter().rev().find(copy) {
            Some((_, _, var)) => vec![var],
            None => self.inside(region),
        }
    }

    /// The variable that is this stretch; else those that lie in it or hold it.
    fn inside(&self, region: &Region) -> Vec<&'a Var> {
        let exact = self.homes.iter().find(|(home, _)| home == region);
        if let Some((_, var)) = exact {
            return vec![var];
        }
        let overlap = self.homes.iter().filter(|(home, _)| home.overlaps(region));
        let overlap: Vec<_> = overlap.collect();
        // An arena is a variable too: its parts say more.
        let whole = |home: &Region| overlap.iter().any(|(o, _)| o != home && contains(home, o));
        overlap.iter().filter(|(home, _)| !whole(home)).map(|(_, var)| *var).collect()
    }
}

/// Where an instruction that only moves, or adds up parts, reads and writes.
fn moved(instruction: &Instruction) -> Option<(Region, Region)> {
    match instruction {
        Instruction::PackB(pack) => Some((pack.from, pack.to)),
        Instruction::WinogradFilter(filter) => Some((filter.from, filter.to)),
        Instruction::SumParts(sum) => Some((sum.from, sum.to)),
        Instruction::Fused(fused) => match (&fused.inputs[..], &fused.outputs[..]) {
            ([from], [to]) if fused.code == [Step::Load(0)] && to.reduce.is_none() => {
                Some((from.region, to.view.region))
            }
            _ => None,
        },
        _ => None,
    }
}

/// An instruction, and, where it only moves or adds up parts, those before it that made these.
fn makers(instructions: &[Instruction], at: usize) -> Vec<usize> {
    let mut makers = vec![at];
    let mut now = at;
    while let Some((from, _)) = moved(&instructions[now]) {
        let writes = |o: &Operand| o.access != Access::Read && o.region.overlaps(&from);
        let writer = instructions[..now].iter().rposition(|i| i.operands().iter().any(writes));
        let Some(writer) = writer.filter(|_| from.buffer == 0) else { break };
        makers.push(writer);
        now = writer;
    }
    makers
}

fn contains(outer: &Region, inner: &Region) -> bool {
    outer.buffer == inner.buffer
        && outer.offset <= inner.offset
        && inner.offset + inner.bytes <= outer.offset + outer.bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::tensor::Tensor;
    use crate::{Arena, compile, grad};

    #[test]
    fn a_training_step_names_its_layers() {
        let w1 = Var::new("fc1.weight", Tensor::ones([64, 48]));
        let w2 = Var::new("fc2.weight", Tensor::ones([48, 10]));
        let all = Arena::new("parameters", &[w1.clone(), w2.clone()]);
        let step = compile(|args: &[Tensor]| {
            let hidden = args[0].matmul(&w1.get()).relu();
            let loss = hidden.matmul(&w2.get()).square().mean();
            let grads = grad(&loss, &[&w1.get(), &w2.get()]);
            all.var().set(&all.var().get() - &(&all.gather(&grads) * 0.1));
            vec![loss]
        });
        let plan = step.plan(&[([32, 64].into(), DType::F32)]);
        let costs = plan.costs();
        assert_eq!(costs.len(), plan.explain().lines().count() - 1);
        assert_eq!(costs.iter().map(|cost| cost.flops).sum::<u64>(), plan.flops());
        use VariableRole::{Gradient, Read, Update};
        let named = |name: &str, role| {
            let named = |c: &&Cost| c.variables == [name] && c.role == role;
            costs.iter().filter(named).map(|c| c.name).collect::<Vec<_>>()
        };
        // Forward and the gradient of the input read the second; nobody asks for that of the input
        // of the first.
        let products = |names: Vec<&str>| names.iter().filter(|name| **name == "gemm").count();
        assert_eq!(products(named("fc1.weight", Read)), 1);
        assert_eq!(products(named("fc2.weight", Read)), 2);
        assert_eq!(products(named("fc1.weight", Gradient)), 1);
        assert_eq!(products(named("fc2.weight", Gradient)), 1);
        // One pass updates both.
        assert_eq!(named("parameters", Update), ["fused"]);
        let product = costs.iter().find(|c| c.detail.starts_with("32x48x64")).unwrap();
        assert_eq!((product.flops, product.bytes % 64), (2 * 32 * 48 * 64, 0));
    }

    #[test]
    fn only_what_is_touched_counts() {
        let pick = compile(|args: &[Tensor]| vec![args[0].index_select(0, &args[1])]);
        let plan = pick.plan(&[([1000, 16].into(), DType::F32), ([4].into(), DType::I32)]);
        let bytes: u64 = plan.costs().iter().map(|cost| cost.bytes).sum();
        assert!((4 * 16 * 4 * 2..2000).contains(&bytes), "{bytes}");
        let repeat = compile(|args: &[Tensor]| vec![&args[0] + &args[1]]);
        let plan = repeat.plan(&[([256, 100].into(), DType::F32), ([100].into(), DType::F32)]);
        assert_eq!(plan.costs()[0].bytes, 4 * (2 * 256 * 100 + 100));
    }
}
