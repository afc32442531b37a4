//! Runs of steps that are common enough to be one loop: what optimizers do to every parameter.
//!
//! A step of its own reads its operands from the nearest cache and writes its result there. In a
//! run the values in between stay in registers. Products are rounded together with the sum they go
//! into where the processor can, else the bits are those of the single steps.

use super::{BinaryOp, Fused, Step, UnaryOp};

/// A run, under the number of its last step. `s`, `t`, `f` and `e` are the same at every point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Run {
    /// c − a·b: gradient descent.
    MulSub { a: u16, b: u16, c: u16 },
    /// a·s + b·t, or a·s + b²·t: running means, of squares too.
    Blend { a: u16, s: u16, b: u16, t: u16, square: bool },
    /// w − m·f / (√v + e): a step scaled by what is usual for each parameter.
    Scaled { w: u16, m: u16, f: u16, v: u16, e: u16 },
}

impl Run {
    /// Calls `visit` with each value that the run uses.
    pub(super) fn uses(self, visit: impl FnMut(u16)) {
        match self {
            Run::MulSub { a, b, c } => [a, b, c].into_iter().for_each(visit),
            Run::Blend { a, s, b, t, .. } => [a, s, b, t].into_iter().for_each(visit),
            Run::Scaled { w, m, f, v, e } => [w, m, f, v, e].into_iter().for_each(visit),
        }
    }
}

/// The runs of a group, by the number of the step that each replaces.
pub(super) fn find(code: &[Step], fused: &Fused, invariant: &[bool]) -> Vec<Option<Run>> {
    if fused.compute.is_integer() {
        return vec![None; code.len()];
    }
    let mut uses = vec![0; code.len()];
    code.iter().for_each(|step| step.uses(|value| uses[value as usize] += 1));
    fused.outputs.iter().for_each(|output| uses[output.value as usize] += 1);
    let finder = Finder { code, uses: &uses, invariant, same: &same(code, fused) };
    (0..code.len()).map(|i| if invariant[i] { None } else { finder.at(i) }).collect()
}

/// Which values are the same at every point.
fn same(code: &[Step], fused: &Fused) -> Vec<bool> {
    let mut same: Vec<bool> = Vec::new();
    for step in code {
        let own = match step {
            Step::Const(_) => true,
            Step::Load(input) => fused.inputs[*input as usize].strides.iter().all(|&s| s == 0),
            Step::Index(_) | Step::Random { .. } => false,
            step => {
                let mut all = true;
                step.uses(|value| all &= same[value as usize]);
                all
            }
        };
        same.push(own);
    }
    same
}

struct Finder<'a> {
    code: &'a [Step],
    uses: &'a [usize],
    invariant: &'a [bool],
    same: &'a [bool],
}

impl Finder<'_> {
    fn at(&self, i: usize) -> Option<Run> {
        match self.code[i] {
            Step::Binary(BinaryOp::Sub, c, x) => self.scaled(c, x).or_else(|| {
                let (a, b) = self.product(x)?;
                Some(Run::MulSub { a, b, c })
            }),
            Step::MulAdd(x, y, c) => {
                let (a, s) = self.scalar_last(x, y)?;
                let (x, t) = self.scaled_product(c)?;
                Some(match self.inner(x) {
                    Some(Step::Unary(UnaryOp::Square, b)) => {
                        Run::Blend { a, s, b, t, square: true }
                    }
                    _ => Run::Blend { a, s, b: x, t, square: false },
                })
            }
            _ => None,
        }
    }

    /// The step of a value that nobody else uses and that differs from tile to tile.
    fn inner(&self, value: u16) -> Option<Step> {
        let at = value as usize;
        (self.uses[at] == 1 && !self.invariant[at]).then(|| self.code[at].clone())
    }

    fn product(&self, value: u16) -> Option<(u16, u16)> {
        match self.inner(value)? {
            Step::Binary(BinaryOp::Mul, a, b) => Some((a, b)),
            _ => None,
        }
    }

    /// Both values, the one that is the same at every point last.
    fn scalar_last(&self, a: u16, b: u16) -> Option<(u16, u16)> {
        match (self.same[a as usize], self.same[b as usize]) {
            (false, true) => Some((a, b)),
            (true, false) => Some((b, a)),
            _ => None,
        }
    }

    fn scaled_product(&self, value: u16) -> Option<(u16, u16)> {
        let (a, b) = self.product(value)?;
        self.scalar_last(a, b)
    }

    fn scaled(&self, w: u16, quotient: u16) -> Option<Run> {
        let Step::Binary(BinaryOp::Div, above, below) = self.inner(quotient)? else { return None };
        let (m, f) = self.scaled_product(above)?;
        let Step::Binary(BinaryOp::Add, a, b) = self.inner(below)? else { return None };
        let (root, e) = self.scalar_last(a, b)?;
        let Step::Unary(UnaryOp::Sqrt, v) = self.inner(root)? else { return None };
        Some(Run::Scaled { w, m, f, v, e })
    }
}
