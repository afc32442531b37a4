//! Gradients of pooling.

use super::{Geometry, PoolKind, PoolShape, divide, together};
use crate::bounds::{apart, holds};
use crate::kernel::{Float, Kernel, Operand, Scratch};
use crate::memory::{Memory, Region};
use crate::real::{Real, RunOn, per_isa, run_by_float};
use crate::simd::{Isa, isa};
use std::ops::Range;

/// The gradient of [`Pool`](super::Pool) with respect to its input.
///
/// Maximum: the gradient of a window goes to its first largest element in row-major order, a NaN
/// counting as larger than anything. Mean: it is divided evenly among the places in the image.
/// Where windows overlap, gradients add up.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolGrad {
    /// Element type.
    pub ty: Float,
    /// The sizes.
    pub shape: PoolShape,
    /// Input of the forward instruction, `[n, h, w, c]`; needed for the maximum alone.
    pub x: Option<Region>,
    /// Gradient with respect to the output, `[n, oh, ow, c]`.
    pub dy: Region,
    /// Gradient with respect to the input, `[n, h, w, c]`.
    pub dx: Region,
}

/// Elements of `dx` in one chunk, about.
const GRAIN: usize = 32 * 1024;

/// Channels below which a vector over them does not pay.
const FEW: usize = 8;

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

/// Whether `value` displaces the maximum `top` found before it.
#[inline(always)]
#[allow(clippy::neg_cmp_op_on_partial_ord)] // A NaN is not smaller, and wins.
fn wins<T: Real>(value: T, top: T) -> bool {
    // No jump, which would be mispredicted.
    !(value <= top) & !top.is_nan()
}

/// The gradients of the four places of a 2 x 2 window.
#[inline(always)]
fn quad<T: Real>([a, b, c, d]: [T; 4], dy: T) -> [T; 4] {
    let (right_up, right_down) = (wins(b, a), wins(d, c));
    let (up, down) = (if right_up { b } else { a }, if right_down { d } else { c });
    let lower = wins(down, up);
    let (dy_up, dy_down) = if lower { (T::ZERO, dy) } else { (dy, T::ZERO) };
    [
        if right_up { T::ZERO } else { dy_up },
        if right_up { dy_up } else { T::ZERO },
        if right_down { T::ZERO } else { dy_down },
        if right_down { dy_down } else { T::ZERO },
    ]
}

/// One place of 2 x 2 windows, all channels: four inputs, the gradient, four gradients.
#[inline(always)]
fn quad_channels<T: Real>(
    [a, b, c, d]: [&[T]; 4],
    dy: &[T],
    da: &mut [T],
    db: &mut [T],
    dc: &mut [T],
    dd: &mut [T],
) {
    let n = dy.len();
    let (a, b, c, d) = (&a[..n], &b[..n], &c[..n], &d[..n]);
    let (da, db, dc, dd) = (&mut da[..n], &mut db[..n], &mut dc[..n], &mut dd[..n]);
    for i in 0..n {
        [da[i], db[i], dc[i], dd[i]] = quad([a[i], b[i], c[i], d[i]], dy[i]);
    }
}

#[inline(always)]
fn quad_pairs<T: Real>(
    upper: &[[T; 2]],
    lower: &[[T; 2]],
    dy: &[T],
    d_upper: &mut [[T; 2]],
    d_lower: &mut [[T; 2]],
) {
    let n = dy.len();
    let (upper, lower) = (&upper[..n], &lower[..n]);
    let (d_upper, d_lower) = (&mut d_upper[..n], &mut d_lower[..n]);
    for i in 0..n {
        let [a, b, c, d] = quad([upper[i][0], upper[i][1], lower[i][0], lower[i][1]], dy[i]);
        d_upper[i] = [a, b];
        d_lower[i] = [c, d];
    }
}

/// Both rows of `dx` under one row of 2 x 2 windows.
#[inline(always)]
fn quads<T: Real>(g: &Geometry, x: &[T], dy: &[T], dx: &mut [T]) {
    let (c, used) = (g.c, 2 * g.out_row());
    let (upper, lower) = x.split_at(g.row());
    let (d_upper, d_lower) = dx.split_at_mut(g.row());
    d_upper[used..].fill(T::ZERO);
    d_lower[used..].fill(T::ZERO);
    if c == 1 {
        let (upper, lower) = (upper.as_chunks().0, lower.as_chunks().0);
        let (d_upper, d_lower) = (d_upper.as_chunks_mut().0, d_lower.as_chunks_mut().0);
        return quad_pairs(upper, lower, dy, d_upper, d_lower);
    }
    for (ox, dy) in dy.chunks_exact(c).enumerate() {
        let pair = 2 * ox * c..2 * (ox + 1) * c;
        let ((a, b), (d, e)) = (upper[pair.clone()].split_at(c), lower[pair.clone()].split_at(c));
        let (da, db) = d_upper[pair.clone()].split_at_mut(c);
        let (dd, de) = d_lower[pair].split_at_mut(c);
        quad_channels([a, b, d, e], dy, da, db, dd, de);
    }
}

/// Adds the gradient of one window to the rows `own` of an image, of which `dx` begins at the
/// first; `x` is all of the image. `top` and `first` hold, channel by channel, the largest value
/// so far and the number of its place.
#[inline(always)]
fn route<T: Real>(
    g: &Geometry,
    x: &[T],
    dy: &[T],
    [down, across]: [Range<usize>; 2],
    own: &Range<usize>,
    (top, first): (&mut [T], &mut [T]),
    dx: &mut [T],
) {
    let (c, row) = (g.c, g.row());
    let mut tap = T::ZERO;
    for iy in down.clone() {
        for x in x[iy * row + across.start * c..][..across.len() * c].chunks_exact(c) {
            if tap == T::ZERO {
                top.copy_from_slice(x);
                first.fill(T::ZERO);
            } else {
                displace(x, tap, top, first);
            }
            tap += T::ONE;
        }
    }
    for iy in down.start.max(own.start)..down.end.min(own.end) {
        let mut tap = T::from_usize((iy - down.start) * across.len());
        let at = (iy - own.start) * row + across.start * c;
        for dx in dx[at..][..across.len() * c].chunks_exact_mut(c) {
            for ((dx, &dy), &first) in dx.iter_mut().zip(dy).zip(&*first) {
                *dx += if first == tap { dy } else { T::ZERO };
            }
            tap += T::ONE;
        }
    }
}

#[inline(always)]
fn displace<T: Real>(x: &[T], tap: T, top: &mut [T], first: &mut [T]) {
    for ((&x, top), first) in x.iter().zip(top).zip(first) {
        let better = wins(x, *top);
        *top = if better { x } else { *top };
        *first = if better { tap } else { *first };
    }
}

/// [`route`] for few channels, one after the other.
#[inline(always)]
fn route_few<T: Real>(
    g: &Geometry,
    x: &[T],
    dy: &[T],
    [down, across]: [Range<usize>; 2],
    own: &Range<usize>,
    dx: &mut [T],
) {
    let (c, row) = (g.c, g.row());
    for (l, &dy) in dy.iter().enumerate() {
        let mut first = down.start * row + across.start * c + l;
        for iy in down.clone() {
            for ix in across.clone() {
                let at = iy * row + ix * c + l;
                let better = wins(x[at], x[first]);
                // Selections would become jumps, mispredicted once or twice a window.
                first ^= (first ^ at) & usize::from(better).wrapping_neg();
            }
        }
        if (own.start * row..own.end * row).contains(&first) {
            dx[first - own.start * row] += dy;
        }
    }
}

/// The rows `own` of one image of `dx`, for the maximum.
#[inline(always)]
fn max_image<T: Real>(
    g: &Geometry,
    x: &[T],
    dy: &[T],
    own: &Range<usize>,
    scratch: &mut [T],
    dx: &mut [T],
) {
    let (row, out_row, c) = (g.row(), g.out_row(), g.c);
    let windows = g.down.touching(own.clone());
    if g.is_quads() {
        for oy in windows.clone() {
            let at = (2 * oy - own.start) * row;
            let x = &x[2 * oy * row..][..2 * row];
            quads(g, x, &dy[oy * out_row..][..out_row], &mut dx[at..][..2 * row]);
        }
        // A row under no window.
        dx[(2 * windows.end).saturating_sub(own.start) * row..].fill(T::ZERO);
        return;
    }
    dx.fill(T::ZERO);
    for oy in windows {
        for ox in 0..g.across.out {
            let dy = &dy[oy * out_row + ox * c..][..c];
            let window = [g.down.window(oy), g.across.window(ox)];
            if c < FEW {
                route_few(g, x, dy, window, own, dx);
            } else {
                route(g, x, dy, window, own, scratch.split_at_mut(c), dx);
            }
        }
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
struct Part {
    images: Range<usize>,
    rows: Range<usize>,
}

#[inline(always)]
fn max_body<T: Real>(
    g: &Geometry,
    part: &Part,
    x: &[T],
    dy: &[T],
    scratch: &mut [T],
    dx: &mut [T],
) {
    let (image, out) = (g.image(), g.down.out * g.out_row());
    for (i, dx) in part.images.clone().zip(dx.chunks_exact_mut(part.rows.len() * g.row())) {
        max_image(g, &x[i * image..][..image], &dy[i * out..][..out], &part.rows, scratch, dx);
    }
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
    fn max_grad<T: Real>(g: &Geometry, part: &Part, x: &[T], dy: &[T], scratch: &mut [T],
        dx: &mut [T]) => max_body
);
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
        match self.x {
            Some(x) if self.shape.kind == PoolKind::Max => {
                // SAFETY: as above.
                let x = unsafe { memory.read::<T>(x) };
                max_grad(isa, &g, &part, x, dy, scratch.slice(2 * g.c), dx);
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
        if let Some(x) = self.x {
            visit(Operand::read(x));
        }
        visit(Operand::read(self.dy));
        visit(Operand::write(self.dx));
    }

    fn check(&self) -> Result<(), String> {
        let (x, y) = self.shape.geometry().check()?;
        match self.x {
            Some(region) => holds("pool_grad x", region, x, self.ty.bytes())?,
            None if self.shape.kind == PoolKind::Max => return Err("max_pool_grad needs x".into()),
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
            PoolKind::Max => 2 * self.shape.c * self.ty.bytes(),
            PoolKind::Avg => (self.shape.w + self.shape.ow) * self.shape.c * self.ty.bytes(),
        }
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract.
        unsafe { self.run_on(isa(), chunk, memory, scratch) }
    }
}
