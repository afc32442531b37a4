//! Maximum and average pooling over the two middle axes of `[n, h, w, c]`, and their gradients.
//!
//! Channels lie together, so that a vector holds one place of many channels. A window that reaches
//! over the edge is clipped to the image; there is no padded copy.

mod grad;
mod place;

pub use grad::PoolGrad;
pub use place::{NO_PLACE, Places};

use crate::bounds::{apart, holds, product};
use crate::kernel::{Float, Kernel, Operand, Scratch};
use crate::memory::{Memory, Region};
use crate::real::{LANES, Real, RunOn, per_isa, run_by_float};
use crate::simd::{Isa, isa};
use place::{Search, Settle};
use std::ops::Range;

/// What becomes of the values of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// The largest; NaN if there is one. Padding counts as -inf.
    Max,
    /// The mean. Padding counts as 0.
    Avg,
}

/// The sizes of a pooling: images `[n, h, w, c]`, windows of `kernel` places, `[n, oh, ow, c]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolShape {
    /// Maximum or mean.
    pub kind: PoolKind,
    /// Number of images.
    pub n: usize,
    /// Height of an image.
    pub h: usize,
    /// Width of an image.
    pub w: usize,
    /// Number of channels.
    pub c: usize,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Steps between windows, down and across.
    pub stride: [usize; 2],
    /// Rows above and columns to the left that count as padding, each smaller than the kernel.
    pub pad: [usize; 2],
    /// Height of an output image. The last window must begin inside the image or the upper
    /// padding; it may reach over the lower edge.
    pub oh: usize,
    /// Width of an output image; as for the height.
    pub ow: usize,
    /// Whether a mean divides by all places of the window within the image and a border of `pad`
    /// on all four sides, or by those within the image alone.
    pub count_include_pad: bool,
}

/// `y[n, oy, ox, c]` = maximum or mean of `x[n, iy, ix, c]` over the window
/// `iy = oy * stride - pad + (0..kernel)`, clipped to the image, and the same for `ix`.
///
/// Of a maximum also the place in its window, which is all that its gradient needs to know of x.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Element type.
    pub ty: Float,
    /// The sizes.
    pub shape: PoolShape,
    /// Input, `[n, h, w, c]`.
    pub x: Region,
    /// Output, `[n, oh, ow, c]`; none if only the places are asked for.
    pub y: Option<Region>,
    /// Whether negative results become zero.
    pub relu: bool,
    /// Where to store the places of maxima.
    pub places: Option<Places>,
}

/// One of the two axes that windows move along.
#[derive(Clone, Copy)]
struct Axis {
    extent: usize,
    kernel: usize,
    stride: usize,
    pad: usize,
    out: usize,
}

impl Axis {
    /// Places inside the image that window number `o` covers; at least one.
    #[inline(always)]
    fn window(&self, o: usize) -> Range<usize> {
        let start = o * self.stride;
        start.saturating_sub(self.pad)..(start + self.kernel - self.pad).min(self.extent)
    }

    /// Places of window number `o` before the first one inside the image.
    #[inline(always)]
    fn clipped(&self, o: usize) -> usize {
        self.pad.saturating_sub(o * self.stride)
    }

    /// Places that count for window number `o` when padding does.
    #[inline(always)]
    fn counted(&self, o: usize) -> usize {
        let start = o * self.stride;
        (start + self.kernel).min(self.extent + 2 * self.pad) - start
    }

    /// Windows that touch any of the places `range`.
    fn touching(&self, range: Range<usize>) -> Range<usize> {
        let first = (range.start + self.pad + 1).saturating_sub(self.kernel).div_ceil(self.stride);
        let last = (range.end + self.pad).saturating_sub(1) / self.stride;
        first..(last + 1).min(self.out)
    }

    /// Windows that lie inside the image as a whole.
    fn inner(&self) -> Range<usize> {
        let first = self.pad.div_ceil(self.stride).min(self.out);
        let end = match (self.extent + self.pad).checked_sub(self.kernel) {
            Some(room) => (room / self.stride + 1).min(self.out),
            None => 0,
        };
        first..end.max(first)
    }

    fn check(&self, name: &str) -> Result<(), String> {
        let Axis { extent, kernel, stride, pad, out } = *self;
        if kernel == 0 || stride == 0 {
            return Err(format!("pool {name}: kernel {kernel} and stride {stride} must not be 0"));
        }
        if pad >= kernel {
            return Err(format!("pool {name}: padding {pad} must be below kernel {kernel}"));
        }
        let padded = pad.checked_mul(2).and_then(|p| p.checked_add(extent));
        let last = out.saturating_sub(1).checked_mul(stride);
        let (Some(_), Some(last)) = (padded, last) else {
            return Err(format!("pool {name}: sizes overflow"));
        };
        let begins_inside = extent > 0 && last < extent + pad;
        if last.checked_add(kernel).is_none() || (out > 0 && !begins_inside) {
            return Err(format!("pool {name}: window {out} begins after the end of {extent}"));
        }
        Ok(())
    }
}

/// The shape of a pooling instruction, forward or backward.
#[derive(Clone, Copy)]
struct Geometry {
    kind: PoolKind,
    n: usize,
    c: usize,
    down: Axis,
    across: Axis,
    count_include_pad: bool,
}

impl Geometry {
    /// Elements of one image.
    fn image(&self) -> usize {
        self.down.extent * self.row()
    }

    /// Elements of one row of an image.
    fn row(&self) -> usize {
        self.across.extent * self.c
    }

    /// Elements of one row of an output image.
    fn out_row(&self) -> usize {
        self.across.out * self.c
    }

    /// By how much the sum of window (oy, ox) is divided for its mean.
    #[inline(always)]
    fn divisor(&self, oy: usize, ox: usize) -> usize {
        if self.count_include_pad {
            self.down.counted(oy) * self.across.counted(ox)
        } else {
            self.down.window(oy).len() * self.across.window(ox).len()
        }
    }

    /// Whether all windows are 2 x 2, side by side and inside the image.
    fn is_quads(&self) -> bool {
        [self.down, self.across]
            .iter()
            .all(|a| a.kernel == 2 && a.stride == 2 && a.pad == 0 && 2 * a.out <= a.extent)
    }

    fn flops(&self) -> u64 {
        let taps = self.down.kernel * self.across.kernel;
        (self.n * self.down.out * self.out_row()) as u64 * taps as u64
    }

    /// Checks the sizes; returns the numbers of elements of input and output.
    fn check(&self) -> Result<(usize, usize), String> {
        self.down.check("height")?;
        self.across.check("width")?;
        // The index of a place in a window is kept in a float.
        if product(&[self.down.kernel, self.across.kernel])? > 1 << 24 {
            return Err("pool: the window is too large".into());
        }
        let x = product(&[self.n, self.down.extent, self.across.extent, self.c])?;
        let y = [self.n, self.down.out, self.across.out, self.c];
        product(&[&y[..], &[self.down.kernel, self.across.kernel]].concat())?;
        let y = product(&y)?;
        Ok((x, y))
    }
}

/// Values that one chunk looks at, about.
const GRAIN: usize = 64 * 1024;

/// Output rows of one chunk.
fn rows_per_chunk(g: &Geometry) -> usize {
    let each = g.out_row() * g.down.kernel * g.across.kernel;
    GRAIN.div_ceil(each.max(1))
}

/// The larger of both, or the NaN.
#[inline(always)]
fn larger<T: Real>(a: T, b: T) -> T {
    if (b > a) | b.is_nan() { b } else { a }
}

/// max(value, 0); NaN stays NaN.
#[inline(always)]
fn rectified<T: Real>(value: T) -> T {
    if value < T::ZERO { T::ZERO } else { value }
}

/// `y <- y o x`, elementwise, with maximum or sum for o.
#[inline(always)]
fn merge<T: Real>(kind: PoolKind, x: &[T], y: &mut [T]) {
    match kind {
        PoolKind::Max => y.iter_mut().zip(x).for_each(|(y, &x)| *y = larger(*y, x)),
        PoolKind::Avg => y.iter_mut().zip(x).for_each(|(y, &x)| *y += x),
    }
}

/// `y[i] <- y[i] o x[2 i]`.
#[inline(always)]
fn merge_even<T: Real>(kind: PoolKind, x: &[T], y: &mut [T]) {
    // A last pair may lack its second half, which nobody reads.
    let (pairs, rest) = x.as_chunks::<2>();
    for (y, &[x, _]) in y.iter_mut().zip(pairs) {
        *y = if kind == PoolKind::Max { larger(*y, x) } else { *y + x };
    }
    if let ([x], Some(y)) = (rest, y.get_mut(pairs.len())) {
        *y = if kind == PoolKind::Max { larger(*y, *x) } else { *y + *x };
    }
}

/// One row of maxima of 2 x 2 windows, from the two rows under it.
#[inline(always)]
fn quads<T: Real>(upper: &[T], lower: &[T], c: usize, y: &mut [T]) {
    if c == 1 {
        let rows = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
        for (y, (a, b)) in y.iter_mut().zip(rows) {
            *y = larger(larger(a[0], a[1]), larger(b[0], b[1]));
        }
        return;
    }
    let rows = upper.chunks_exact(2 * c).zip(lower.chunks_exact(2 * c));
    for (y, (upper, lower)) in y.chunks_exact_mut(c).zip(rows) {
        let ((a, b), (d, e)) = (upper.split_at(c), lower.split_at(c));
        quad(a, b, d, e, y);
    }
}

#[inline(always)]
fn quad<T: Real>(a: &[T], b: &[T], d: &[T], e: &[T], y: &mut [T]) {
    for ((((y, &a), &b), &d), &e) in y.iter_mut().zip(a).zip(b).zip(d).zip(e) {
        *y = larger(larger(a, b), larger(d, e));
    }
}

/// Maximum or sum of as many slices as `taps` yields, at least one.
#[inline(always)]
fn merge_all<'a, T: Real>(kind: PoolKind, mut taps: impl Iterator<Item = &'a [T]>, y: &mut [T]) {
    match (taps.next(), taps.next()) {
        (Some(a), Some(b)) => merge_two(kind, a, b, y),
        (Some(a), None) => y.copy_from_slice(a),
        _ => {}
    }
    for x in taps {
        merge(kind, x, y);
    }
}

#[inline(always)]
fn merge_two<T: Real>(kind: PoolKind, a: &[T], b: &[T], y: &mut [T]) {
    let pairs = y.iter_mut().zip(a).zip(b);
    match kind {
        PoolKind::Max => pairs.for_each(|((y, &a), &b)| *y = larger(a, b)),
        PoolKind::Avg => pairs.for_each(|((y, &a), &b)| *y = a + b),
    }
}

/// Windows that are handled together, tap by tap: those inside the image, where their places are
/// evenly spread in memory. Otherwise few channels would leave most of a vector idle.
#[inline(always)]
fn together(g: &Geometry) -> Range<usize> {
    match g.across.stride {
        1 => g.across.inner(),
        2 if g.c == 1 => g.across.inner(),
        _ => 0..0,
    }
}

/// One output row from `column`, which holds the maximum or sum down each column of the input.
#[inline(always)]
fn pool_across<T: Real>(g: &Geometry, column: &[T], y: &mut [T]) {
    let (c, axis, inner) = (g.c, g.across, together(g));
    for ox in (0..inner.start).chain(inner.end..axis.out) {
        let taps = axis.window(ox).map(|ix| &column[ix * c..][..c]);
        merge_all(g.kind, taps, &mut y[ox * c..][..c]);
    }
    let y = &mut y[inner.start * c..inner.end * c];
    if y.is_empty() {
        return;
    }
    let start = inner.start * axis.stride - axis.pad;
    if axis.stride == 1 {
        let len = y.len();
        let taps = (start..start + axis.kernel).map(|ix| &column[ix * c..][..len]);
        return merge_all(g.kind, taps, y);
    }
    y.fill(if g.kind == PoolKind::Max { T::LOWEST } else { T::ZERO });
    for tap in start..start + axis.kernel {
        merge_even(g.kind, &column[tap..tap + 2 * y.len() - 1], y);
    }
}

/// Divides each sum of row `oy` of windows.
#[inline(always)]
fn divide<T: Real>(g: &Geometry, oy: usize, sums: &mut [T]) {
    let (c, inner) = (g.c, g.across.inner());
    for ox in (0..inner.start).chain(inner.end..g.across.out) {
        divide_by(g.divisor(oy, ox), &mut sums[ox * c..][..c]);
    }
    if !inner.is_empty() {
        divide_by(g.divisor(oy, inner.start), &mut sums[inner.start * c..inner.end * c]);
    }
}

#[inline(always)]
fn divide_by<T: Real>(divisor: usize, sums: &mut [T]) {
    let by = T::from_usize(divisor);
    if divisor.is_power_of_two() {
        // Exact, and much faster.
        let scale = T::ONE / by;
        sums.iter_mut().for_each(|sum| *sum *= scale);
    } else {
        sums.iter_mut().for_each(|sum| *sum = *sum / by);
    }
}

#[inline(always)]
fn pool_body<T: Real>(
    g: &Geometry,
    x: &[T],
    rows: Range<usize>,
    column: &mut [T],
    relu: bool,
    y: &mut [T],
) {
    let (row, c) = (g.row(), g.c);
    for (r, y) in rows.zip(y.chunks_exact_mut(g.out_row())) {
        let (image, oy) = (r / g.down.out, r % g.down.out);
        let x = &x[image * g.image()..][..g.image()];
        let window = g.down.window(oy);
        let line = |iy: usize| &x[iy * row..][..row];
        if g.kind == PoolKind::Max && (c == 1 || c >= LANES) && g.is_quads() {
            quads(line(window.start), line(window.start + 1), c, y);
        } else {
            merge_all(g.kind, window.map(line), &mut column[..row]);
            pool_across(g, column, y);
            if g.kind == PoolKind::Avg {
                divide(g, oy, y);
            }
        }
        if relu {
            y.iter_mut().for_each(|y| *y = rectified(*y));
        }
    }
}

per_isa!(
    fn pool<T: Real>(g: &Geometry, x: &[T], rows: Range<usize>, column: &mut [T], relu: bool,
        y: &mut [T]) => pool_body
);

impl PoolShape {
    fn geometry(&self) -> Geometry {
        let axis = |d: usize, extent, out| Axis {
            extent,
            kernel: self.kernel[d],
            stride: self.stride[d],
            pad: self.pad[d],
            out,
        };
        Geometry {
            kind: self.kind,
            n: self.n,
            c: self.c,
            down: axis(0, self.h, self.oh),
            across: axis(1, self.w, self.ow),
            count_include_pad: self.count_include_pad,
        }
    }
}

impl Pool {
    unsafe fn run_as<T: Real>(
        &self,
        isa: Isa,
        chunk: usize,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        let g = self.shape.geometry();
        let (each, all) = (rows_per_chunk(&g), g.n * g.down.out);
        let rows = (chunk * each).min(all)..((chunk + 1) * each).min(all);
        let part = rows.start * g.out_row()..rows.end * g.out_row();
        if part.is_empty() {
            return;
        }
        // SAFETY: `check` saw n images in x and n * oh rows in y and places; the rows of chunks
        // are disjoint.
        let (x, y) = unsafe {
            let y = self.y.map(|y| memory.write::<T>(y, part.clone()));
            (memory.read::<T>(self.x), y)
        };
        match (&self.places, y) {
            (Some(places), y) => {
                // SAFETY: as above.
                let to = unsafe { places.write(&self.shape, memory, part) };
                let settle = Settle { relu: self.relu, positive: places.positive };
                let search = Search { g: &g, x, rows, settle };
                place::find(isa, &search, scratch.slice(g.out_row()), y, to);
            }
            (None, Some(y)) => pool(isa, &g, x, rows, scratch.slice(g.row()), self.relu, y),
            (None, None) => {}
        }
    }
}

impl Pool {
    /// All windows of images that lie in `x`, by the vectors of `isa`. Nobody asks for places.
    ///
    /// # Safety
    /// As [`Kernel::run`] of all chunks, but that `x` lies elsewhere.
    pub(crate) unsafe fn run_from(
        &self,
        isa: Isa,
        x: &mut Scratch<'_>,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        // SAFETY: by contract.
        unsafe {
            match self.ty {
                Float::F32 => self.run_from_as::<f32>(isa, x, memory, scratch),
                Float::F64 => self.run_from_as::<f64>(isa, x, memory, scratch),
            }
        }
    }

    unsafe fn run_from_as<T: Real>(
        &self,
        isa: Isa,
        x: &mut Scratch<'_>,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        let g = self.shape.geometry();
        let rows = 0..g.n * g.down.out;
        let part = 0..rows.len() * g.out_row();
        let Some(y) = self.y.filter(|_| !part.is_empty()) else { return };
        // SAFETY: `check` saw n * oh rows in y, which nobody else writes.
        let y = unsafe { memory.write::<T>(y, part) };
        pool(isa, &g, x.slice(g.n * g.image()), rows, scratch.slice(g.row()), self.relu, y);
    }
}

run_by_float!(Pool);

impl Kernel for Pool {
    fn name(&self) -> &'static str {
        match self.shape.kind {
            PoolKind::Max => "max_pool",
            PoolKind::Avg => "avg_pool",
        }
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.x));
        self.y.into_iter().for_each(|y| visit(Operand::write(y)));
        self.places.iter().for_each(|places| visit(Operand::write(places.region)));
    }

    fn check(&self) -> Result<(), String> {
        let (x, y) = self.shape.geometry().check()?;
        holds("pool x", self.x, x, self.ty.bytes())?;
        if let Some(region) = self.y {
            holds("pool y", region, y, self.ty.bytes())?;
        }
        if let Some(places) = &self.places {
            places.check(&self.shape, y)?;
        }
        apart(self)
    }

    fn chunks(&self) -> usize {
        (self.shape.n * self.shape.oh).div_ceil(rows_per_chunk(&self.shape.geometry())).max(1)
    }

    fn flops(&self) -> u64 {
        self.shape.geometry().flops()
    }

    fn scratch_bytes(&self) -> usize {
        self.shape.w.max(self.shape.ow) * self.shape.c * self.ty.bytes()
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract.
        unsafe { self.run_on(isa(), chunk, memory, scratch) }
    }
}

#[cfg(test)]
mod tests;
