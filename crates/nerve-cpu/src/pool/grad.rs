//! Gradients of pooling.

use super::place::{self, Found};
use super::{Geometry, PoolKind, PoolShape, divide, together};
use crate::bounds::{apart, holds};
use crate::kernel::{Float, Kernel, Operand, Scratch};
use crate::memory::{Memory, Region};
use crate::real::{Real, RunOn, per_isa, run_by_float};
use crate::simd::{Isa, isa};
use std::ops::Range;

/// The gradient of [`Pool`](super::Pool) with respect to its input.
///
/// Maximum: the gradient of a window goes to the place that the forward instruction found, and
/// nowhere if that is [`NO_PLACE`](super::NO_PLACE). Mean: it is divided evenly among the places in
/// the image. Where windows overlap, gradients add up.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolGrad {
    /// Element type.
    pub ty: Float,
    /// The sizes.
    pub shape: PoolShape,
    /// The places of the maxima, `[n, oh, ow, c]`; needed for the maximum alone.
    pub places: Option<Region>,
    /// Gradient with respect to the output, `[n, oh, ow, c]`.
    pub dy: Region,
    /// Gradient with respect to the input, `[n, h, w, c]`.
    pub dx: Region,
}

/// Elements of `dx` in one chunk, about.
const GRAIN: usize = 32 * 1024;

/// How `dx` falls into chunks: several whole images, or several rows of one.
///
/// Rows come in multiples of the stride, so that windows side by side belong to one chunk. Where
/// windows overlap, those at a border are looked at by two chunks, and each takes its own rows.
#[derive(Clone, Copy, Debug)]
struct Cut {
    images: usize,
    rows: usize,
    blocks: usize,
}

impl Cut {
    fn new(g: &Geometry) -> Self {
        let h = g.down.extent;
        if g.image() <= GRAIN {
            return Cut { images: GRAIN / g.image().max(1), rows: h, blocks: 1 };
        }
        let rows = GRAIN.div_ceil(g.row()).next_multiple_of(g.down.stride).min(h);
        Cut { images: 1, rows, blocks: h.div_ceil(rows) }
    }

    fn chunks(&self, g: &Geometry) -> usize {
        (g.n.div_ceil(self.images) * self.blocks).max(1)
    }

    /// Images and rows of each that belong to a chunk.
    fn part(&self, g: &Geometry, chunk: usize) -> (Range<usize>, Range<usize>) {
        let (group, block) = (chunk / self.blocks, chunk % self.blocks);
        let images = (group * self.images).min(g.n)..((group + 1) * self.images).min(g.n);
        (images, block * self.rows..((block + 1) * self.rows).min(g.down.extent))
    }
}

/// The rows `own` of one image of `dx`, for the mean. `shares` holds one row of output, `spread`
/// one row of an image.
#[inline(always)]
fn avg_image<T: Real>(
    g: &Geometry,
    dy: &[T],
    own: &Range<usize>,
    shares: &mut [T],
    spread: &mut [T],
    dx: &mut [T],
) {
    let (row, out_row) = (g.row(), g.out_row());
    dx.fill(T::ZERO);
    for oy in g.down.touching(own.clone()) {
        shares.copy_from_slice(&dy[oy * out_row..][..out_row]);
        divide(g, oy, shares);
        spread_row(g, shares, spread);
        let window = g.down.window(oy);
        for iy in window.start.max(own.start)..window.end.min(own.end) {
            add(spread, &mut dx[(iy - own.start) * row..][..row]);
        }
    }
}

#[inline(always)]
fn add<T: Real>(x: &[T], y: &mut [T]) {
    y.iter_mut().zip(x).for_each(|(y, &x)| *y += x);
}

/// What each place of an image row receives from a row of windows, whose places get `shares`.
#[inline(always)]
fn spread_row<T: Real>(g: &Geometry, shares: &[T], spread: &mut [T]) {
    let (c, axis) = (g.c, g.across);
    let inner = if axis.stride == 1 { together(g) } else { 0..0 };
    spread.fill(T::ZERO);
    for ox in (0..inner.start).chain(inner.end..axis.out) {
        if c == 1 {
            spread[axis.window(ox)].iter_mut().for_each(|s| *s += shares[ox]);
            continue;
        }
        for ix in axis.window(ox) {
            add(&shares[ox * c..][..c], &mut spread[ix * c..][..c]);
        }
    }
    if inner.is_empty() {
        return;
    }
    let shares = &shares[inner.start * c..inner.end * c];
    for tap in 0..axis.kernel {
        let at = (inner.start - axis.pad + tap) * c;
        add(shares, &mut spread[at..][..shares.len()]);
    }
}

/// What one chunk works on: some images, and which rows of each.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) images: Range<usize>,
    pub(super) rows: Range<usize>,
}

#[inline(always)]
fn avg_body<T: Real>(g: &Geometry, part: &Part, dy: &[T], scratch: &mut [T], dx: &mut [T]) {
    let (shares, spread) = scratch.split_at_mut(g.out_row());
    let out = g.down.out * g.out_row();
    for (i, dx) in part.images.clone().zip(dx.chunks_exact_mut(part.rows.len() * g.row())) {
        avg_image(g, &dy[i * out..][..out], &part.rows, shares, spread, dx);
    }
}

per_isa!(
    fn avg_grad<T: Real>(g: &Geometry, part: &Part, dy: &[T], scratch: &mut [T], dx: &mut [T])
        => avg_body
);

impl PoolGrad {
    unsafe fn run_as<T: Real>(
        &self,
        isa: Isa,
        chunk: usize,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        let g = self.shape.geometry();
        let (images, rows) = Cut::new(&g).part(&g, chunk);
        // More than one image goes with all of their rows, so that the part is contiguous.
        let start = images.start * g.image() + rows.start * g.row();
        let range = start..start + images.len() * rows.len() * g.row();
        if range.is_empty() {
            return;
        }
        let part = Part { images, rows };
        // SAFETY: `check` saw n images in dx and x and n output images in dy; the parts of chunks
        // are disjoint.
        let (dy, dx) = unsafe { (memory.read::<T>(self.dy), memory.write(self.dx, range)) };
        match self.places {
            Some(places) if self.shape.kind == PoolKind::Max => {
                // SAFETY: as above.
                let found = unsafe { Found::read(&self.shape, places, memory) };
                place::spread(isa, &g, &part, found, dy, dx);
            }
            _ => avg_grad(isa, &g, &part, dy, scratch.slice(g.out_row() + g.row()), dx),
        }
    }
}

run_by_float!(PoolGrad);

impl Kernel for PoolGrad {
    fn name(&self) -> &'static str {
        match self.shape.kind {
            PoolKind::Max => "max_pool_grad",
            PoolKind::Avg => "avg_pool_grad",
        }
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        self.places.into_iter().for_each(|places| visit(Operand::read(places)));
        visit(Operand::read(self.dy));
        visit(Operand::write(self.dx));
    }

    fn check(&self) -> Result<(), String> {
        let (x, y) = self.shape.geometry().check()?;
        match self.places {
            Some(places) => holds("pool_grad places", places, y, self.shape.place_bytes())?,
            None if self.shape.kind == PoolKind::Max => {
                return Err("max_pool_grad needs the places of the maxima".into());
            }
            None => {}
        }
        holds("pool_grad dy", self.dy, y, self.ty.bytes())?;
        holds("pool_grad dx", self.dx, x, self.ty.bytes())?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        let g = self.shape.geometry();
        Cut::new(&g).chunks(&g)
    }

    fn flops(&self) -> u64 {
        2 * self.shape.geometry().flops()
    }

    fn scratch_bytes(&self) -> usize {
        match self.shape.kind {
            PoolKind::Max => 0,
            PoolKind::Avg => (self.shape.w + self.shape.ow) * self.shape.c * self.ty.bytes(),
        }
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract.
        unsafe { self.run_on(isa(), chunk, memory, scratch) }
    }
}
