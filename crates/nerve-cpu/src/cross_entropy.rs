//! Cross-entropy between rows of logits and their targets, fused with the softmax, and its
//! gradient.

use crate::bounds::{apart, holds, product};
use crate::kernel::{Fault, Float, Kernel, Operand, Scratch};
use crate::memory::{Memory, Region};
use crate::real::{Real, RunOn, per_isa, run_by_float};
use crate::rows::{self, Peak, logarithms, peaks, row_chunks, rows_of};
use crate::simd::{Isa, Vector, isa};
use std::ops::Range;

/// What a row of logits should say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The number of the right class, `[rows]` of i32.
    Index(Region),
    /// A probability for each class, `[rows, cols]` of the type of the logits. Rows need not sum
    /// to one.
    Probability(Region),
}

impl Target {
    fn region(&self) -> Region {
        match *self {
            Target::Index(region) | Target::Probability(region) => region,
        }
    }
}

/// Cross-entropy of each row: `loss = logsumexp(logits) - logits[t]` for a class index t, or
/// `-sum_j p_j log_softmax(logits)_j` for probabilities p, where a p_j of 0 contributes 0 whatever
/// the logit.
///
/// An index outside `0..cols` is reported with its row as the position, and the loss of that row
/// is NaN. Computed as log(sum_k exp(x_k - m)) - (x_t - m) with m the row's largest logit.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossEntropy {
    /// Element type of logits, probabilities and loss.
    pub ty: Float,
    /// Number of rows (samples).
    pub rows: usize,
    /// Number of classes.
    pub cols: usize,
    /// A class index that marks rows which do not count: their loss is 0.
    pub ignore_index: Option<i32>,
    /// Input, `[rows, cols]`.
    pub logits: Region,
    /// The targets.
    pub target: Target,
    /// Output, `[rows]`.
    pub loss: Region,
}

/// The gradient of [`CrossEntropy`] with respect to the logits:
/// `dlogits_j = dloss (softmax(logits)_j sum(p) - p_j)`, where p is 1 at the class index and 0
/// elsewhere, or the probabilities.
///
/// Rows whose index is ignored or outside `0..cols` (which is reported) get 0.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossEntropyGrad {
    /// Element type of all operands but class indices.
    pub ty: Float,
    /// Number of rows (samples).
    pub rows: usize,
    /// Number of classes.
    pub cols: usize,
    /// A class index that marks rows which do not count: their gradient is 0.
    pub ignore_index: Option<i32>,
    /// Input of the forward instruction, `[rows, cols]`.
    pub logits: Region,
    /// The targets.
    pub target: Target,
    /// Gradient with respect to the losses, `[rows]`.
    pub dloss: Region,
    /// Gradient with respect to the logits, `[rows, cols]`.
    pub dlogits: Region,
}

/// Rows whose maxima and sums are held on the stack at a time.
const GROUP: usize = 128;

/// The targets of a group of rows.
#[derive(Clone, Copy)]
enum Goal<'a, T> {
    Index { index: &'a [i32], ignore: Option<i32> },
    Probability(&'a [T]),
}

/// One row's class index, when it is one.
#[derive(Clone, Copy)]
enum Class {
    At(usize),
    Ignored,
    Wrong,
}

#[inline(always)]
fn class(index: i32, cols: usize, ignore: Option<i32>) -> Class {
    if ignore == Some(index) {
        Class::Ignored
    } else {
        match usize::try_from(index) {
            Ok(class) if class < cols => Class::At(class),
            _ => Class::Wrong,
        }
    }
}

/// Losses of a group of rows.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn loss_body<T: Real, V: Vector<Elem = T>, const FMA: bool>(
    x: &[T],
    cols: usize,
    goal: Goal<'_, T>,
    loss: &mut [T],
) {
    let mut found = [Peak { top: T::ZERO, sum: T::ONE }; GROUP];
    let found = &mut found[..loss.len()];
    // SAFETY: by contract.
    unsafe { peaks::<T, V, FMA>(x, cols, None, found) };
    logarithms::<T, FMA>(found);
    for (r, (loss, peak)) in loss.iter_mut().zip(found).enumerate() {
        let row = r * cols..(r + 1) * cols;
        *loss = match goal {
            Goal::Index { index, ignore } => match class(index[r], cols, ignore) {
                Class::At(t) => peak.sum - (x[row.start + t] - peak.top),
                Class::Ignored => T::ZERO,
                Class::Wrong => T::NAN,
            },
            // SAFETY: by contract.
            Goal::Probability(p) => unsafe { weighted::<T, V>(&x[row.clone()], &p[row], peak) },
        };
    }
}

/// sum_j p_j (log_sum - (x_j - top)), the terms with p_j = 0 left out.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn weighted<T: Real, V: Vector<Elem = T>>(x: &[T], p: &[T], peak: &Peak<T>) -> T {
    let mut terms = [T::ZERO; rows::BLOCK];
    let mut loss = T::ZERO;
    for (x, p) in x.chunks(rows::BLOCK).zip(p.chunks(rows::BLOCK)) {
        let terms = &mut terms[..x.len()];
        for ((term, &x), &p) in terms.iter_mut().zip(x).zip(p) {
            let full = p * (peak.sum - (x - peak.top));
            *term = if p == T::ZERO { T::ZERO } else { full };
        }
        // SAFETY: by contract.
        loss += unsafe { rows::sum::<T, V>(terms) };
    }
    loss
}

/// Gradients of a group of rows.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn grad_body<T: Real, V: Vector<Elem = T>, const FMA: bool>(
    x: &[T],
    cols: usize,
    goal: Goal<'_, T>,
    dloss: &[T],
    dx: &mut [T],
) {
    if cols == 0 {
        return;
    }
    let mut found = [Peak { top: T::ZERO, sum: T::ONE }; GROUP];
    let found = &mut found[..dloss.len()];
    // SAFETY: by contract.
    unsafe { peaks::<T, V, FMA>(x, cols, Some(&mut *dx), found) };
    for (r, (dx, peak)) in dx.chunks_exact_mut(cols).zip(found).enumerate() {
        match goal {
            Goal::Index { index, ignore } => match class(index[r], cols, ignore) {
                Class::At(t) => {
                    // exp(x - top) / sum - 1 at the class; elsewhere there is nothing to subtract.
                    let at = (dx[t] / peak.sum - T::ONE) * dloss[r];
                    let scale = dloss[r] / peak.sum;
                    for dx in &mut *dx {
                        *dx *= scale;
                    }
                    dx[t] = at;
                }
                Class::Ignored | Class::Wrong => dx.fill(T::ZERO),
            },
            Goal::Probability(p) => {
                let p = &p[r * cols..][..cols];
                // SAFETY: by contract.
                let scale = unsafe { rows::sum::<T, V>(p) } / peak.sum;
                for (dx, &p) in dx.iter_mut().zip(p) {
                    *dx = (*dx * scale - p) * dloss[r];
                }
            }
        }
    }
}

per_isa!(
    fn losses<T: Real>(x: &[T], cols: usize, goal: Goal<'_, T>, loss: &mut [T])
        => loss_body [V, FMA]
);
per_isa!(
    fn gradients<T: Real>(x: &[T], cols: usize, goal: Goal<'_, T>, dloss: &[T], dx: &mut [T])
        => grad_body [V, FMA]
);

/// The targets of `rows`, as slices.
///
/// # Safety
/// The region was checked, and nobody writes it.
unsafe fn goal<'a, T: Real>(
    target: &Target,
    rows: Range<usize>,
    cols: usize,
    ignore: Option<i32>,
    memory: &'a Memory,
) -> Goal<'a, T> {
    // SAFETY: by contract.
    unsafe {
        match *target {
            Target::Index(region) => Goal::Index { index: &memory.read(region)[rows], ignore },
            Target::Probability(region) => {
                Goal::Probability(&memory.read(region)[rows.start * cols..rows.end * cols])
            }
        }
    }
}

/// Reports the first index of `rows` that is out of range.
fn report<T>(goal: Goal<'_, T>, first: usize, cols: usize, fault: &Fault) {
    if let Goal::Index { index, ignore } = goal {
        let wrong = |&i: &i32| matches!(class(i, cols, ignore), Class::Wrong);
        if let Some(r) = index.iter().position(wrong) {
            fault.report(first + r, index[r].into());
        }
    }
}

fn check_target(target: &Target, ty: Float, rows: usize, elements: usize) -> Result<(), String> {
    match *target {
        Target::Index(region) => holds("cross_entropy index", region, rows, 4),
        Target::Probability(region) => {
            holds("cross_entropy probability", region, elements, ty.bytes())
        }
    }
}

/// The rows of a chunk in groups of [`GROUP`].
fn groups(chunk: usize, rows: usize, cols: usize) -> impl Iterator<Item = Range<usize>> {
    let all = rows_of(chunk, rows, cols);
    let end = all.end;
    all.step_by(GROUP).map(move |start| start..(start + GROUP).min(end))
}

impl CrossEntropy {
    unsafe fn run_as<T: Real>(
        &self,
        isa: Isa,
        chunk: usize,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        for rows in groups(chunk, self.rows, self.cols) {
            // SAFETY: `check` saw rows * cols logits and targets and rows losses; the rows of
            // chunks are disjoint.
            let (x, loss, goal) = unsafe {
                let goal =
                    goal::<T>(&self.target, rows.clone(), self.cols, self.ignore_index, memory);
                (memory.read::<T>(self.logits), memory.write(self.loss, rows.clone()), goal)
            };
            report(goal, rows.start, self.cols, scratch.fault);
            let x = &x[rows.start * self.cols..rows.end * self.cols];
            losses(isa, x, self.cols, goal, loss);
        }
    }
}

impl Kernel for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.logits));
        visit(Operand::read(self.target.region()));
        visit(Operand::write(self.loss));
    }

    fn check(&self) -> Result<(), String> {
        let elements = product(&[self.rows, self.cols])?;
        holds("cross_entropy logits", self.logits, elements, self.ty.bytes())?;
        check_target(&self.target, self.ty, self.rows, elements)?;
        holds("cross_entropy loss", self.loss, self.rows, self.ty.bytes())?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        row_chunks(self.rows, self.cols)
    }

    fn flops(&self) -> u64 {
        // An exponential counts ten.
        13 * (self.rows * self.cols) as u64
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract.
        unsafe { self.run_on(isa(), chunk, memory, scratch) }
    }
}

impl CrossEntropyGrad {
    unsafe fn run_as<T: Real>(
        &self,
        isa: Isa,
        chunk: usize,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        for rows in groups(chunk, self.rows, self.cols) {
            let part = rows.start * self.cols..rows.end * self.cols;
            // SAFETY: `check` saw rows * cols logits, targets and gradients and rows losses; the
            // rows of chunks are disjoint.
            let (x, dloss, dx, goal) = unsafe {
                let goal =
                    goal::<T>(&self.target, rows.clone(), self.cols, self.ignore_index, memory);
                let (x, dloss) = (memory.read::<T>(self.logits), memory.read::<T>(self.dloss));
                (x, dloss, memory.write(self.dlogits, part.clone()), goal)
            };
            report(goal, rows.start, self.cols, scratch.fault);
            gradients(isa, &x[part], self.cols, goal, &dloss[rows], dx);
        }
    }
}

run_by_float!(CrossEntropy, CrossEntropyGrad);

impl Kernel for CrossEntropyGrad {
    fn name(&self) -> &'static str {
        "cross_entropy_grad"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.logits));
        visit(Operand::read(self.target.region()));
        visit(Operand::read(self.dloss));
        visit(Operand::write(self.dlogits));
    }

    fn check(&self) -> Result<(), String> {
        let elements = product(&[self.rows, self.cols])?;
        holds("cross_entropy_grad logits", self.logits, elements, self.ty.bytes())?;
        check_target(&self.target, self.ty, self.rows, elements)?;
        holds("cross_entropy_grad dloss", self.dloss, self.rows, self.ty.bytes())?;
        holds("cross_entropy_grad dlogits", self.dlogits, elements, self.ty.bytes())?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        row_chunks(self.rows, self.cols)
    }

    fn flops(&self) -> u64 {
        15 * (self.rows * self.cols) as u64
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract.
        unsafe { self.run_on(isa(), chunk, memory, scratch) }
    }
}

#[cfg(test)]
mod tests;
