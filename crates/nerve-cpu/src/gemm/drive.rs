//! One chunk of a product: blocks for the caches, tiles for the registers.

use super::dot::Dot;
use super::pack::{Pack, STEPS};
use super::tile::{Ahead, Kernels, Lines, Repeat, Scalar, Tile, line};
use super::turn::Turn;
use super::{Activation, Gemm, LONG_BLOCK, LONG_BYTES, Path, Plan, SHORT_BLOCK, SourceB};
use crate::caches::l2_bytes;
use crate::kernel::{Float, Scratch};
use crate::memory::Memory;
use std::ops::Range;

/// Piece number `i` of `0..length` cut into `pieces` pieces that differ by at most one.
#[inline]
pub(crate) fn piece(length: usize, pieces: usize, i: usize) -> Range<usize> {
    // The longer ones lie between the others, so that neighbours together are even, too.
    let (short, longer) = (length / pieces, length % pieces);
    let start = |i: usize| i * short + i * longer / pieces;
    start(i)..start(i + 1)
}

/// Some neighbouring pieces together.
fn pieces_of(length: usize, pieces: usize, some: Range<usize>) -> Range<usize> {
    piece(length, pieces, some.start).start..piece(length, pieces, some.end - 1).end
}

/// Cuts `range` into as few pieces of at most `most` as do, as even as can be. At least one.
#[inline]
pub(crate) fn pieces(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let count = range.len().div_ceil(most).max(1);
    let (short, mut longer) = (range.len() / count, range.len() % count);
    let mut start = range.start;
    (0..count).map(move |_| {
        let end = start + short + usize::from(longer > 0);
        longer = longer.saturating_sub(1);
        std::mem::replace(&mut start, end)..end
    })
}

/// Part `i` of `parts` of some lines.
fn part<T>(all: Lines<T>, parts: usize, i: usize) -> Lines<T> {
    let lines = all.width.div_ceil(line::<T>()).max(1);
    let rows = piece(all.count / lines, parts, i);
    Lines { at: all.at.wrapping_add(rows.start * all.stride), count: rows.len() * lines, ..all }
}

/// One product of a batch while it is computed.
struct Job<'a, T: 'static> {
    gemm: &'a Gemm,
    plan: Plan,
    kernels: &'static Kernels<T>,
    a: *const T,
    b: *const T,
    bias: *const T,
    c: *mut T,
    /// The rows, columns and steps of the depth that belong to the chunk: steps of a tile, each
    /// of `kernels.pair` elements.
    rows: Range<usize>,
    columns: Range<usize>,
    depth: Range<usize>,
}

/// Chunks that are computed as one.
struct Block {
    /// Which matrices of the batch, and which stretch of the depth.
    outer: usize,
    bands: Range<usize>,
    strips: Range<usize>,
}

impl Gemm {
    /// Elements of working memory that a chunk needs.
    pub(super) fn scratch(&self, plan: &Plan) -> usize {
        match plan.path {
            Path::Tiles => self.block_a(plan) + self.panel_b(plan) + 2 * self.turned_tile(plan),
            Path::FewRows if self.a_strides[1] != 1 => self.m * self.k,
            Path::FewColumns if self.b_strides[0] != 1 => self.n * self.k,
            _ => 0,
        }
    }

    /// Most steps of the depth that are taken at a time.
    ///
    /// A long block is one whose rows of A, packed and as they come next, stay in L2 beside the panel
    /// in use and the next one. Rows of B that are read in place share few places there.
    fn depth_block(&self, plan: &Plan) -> usize {
        let steps = self.steps().min(LONG_BLOCK);
        let rows = self.m.div_ceil(plan.rows) << usize::from(plan.pack_a);
        let wide = plan.width * super::lanes(self.ty, self.isa);
        let bytes = (rows + 2 * wide).saturating_mul(steps * self.ty.bytes());
        let long = plan.b != SourceB::Direct && bytes <= LONG_BYTES;
        if long { LONG_BLOCK } else { SHORT_BLOCK }
    }

    /// Most rows of A that are taken at a time: as many as fill half of L2, together with those that
    /// are asked for to be packed next.
    fn row_block(&self, plan: &Plan) -> usize {
        let steps = self.steps().clamp(1, self.depth_block(plan));
        (l2_bytes() / 2 / (steps * self.ty.bytes())) >> usize::from(plan.pack_a)
    }

    fn block_a(&self, plan: &Plan) -> usize {
        // Of several bands, if one thread has them.
        let rows = self.m.min(self.row_block(plan));
        let elements = rows * self.steps().min(self.depth_block(plan));
        // A multiple of any vector, so that the panel behind it starts on a cache line.
        if plan.pack_a { elements.next_multiple_of(16) } else { 0 }
    }

    fn panel_b(&self, plan: &Plan) -> usize {
        let wide = plan.width * super::lanes(self.ty, self.isa);
        let steps = self.steps().min(self.depth_block(plan));
        if plan.b == SourceB::PackHere { steps * wide } else { 0 }
    }

    /// A tile that waits to be turned on its way to C, in whole cache lines.
    fn turned_tile(&self, plan: &Plan) -> usize {
        let lanes = super::lanes(self.ty, self.isa);
        // No tile is taller than 16 rows.
        if self.c_turned { 16 * plan.width * lanes.next_multiple_of(16) } else { 0 }
    }

    /// Runs chunks that follow each other. Each is some matrices of the batch, or one stretch, band
    /// and strip of one; strips and bands side by side become one, which packs and reads less.
    ///
    /// # Safety
    /// As [`Kernel::run_all`](crate::Kernel::run_all); the product is not empty, and the plan is its own.
    pub(super) unsafe fn run_planned(
        &self,
        plan: Plan,
        chunks: Range<usize>,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        let mut first = chunks.start;
        while first < chunks.end {
            let (line, strip) = (first / plan.columns, first % plan.columns);
            let (left, band) = (chunks.end - first, line % plan.rows);
            let [bands, strips] = match strip == 0 && left >= plan.columns {
                true => [(left / plan.columns).min(plan.rows - band), plan.columns],
                false => [1, left.min(plan.columns - strip)],
            };
            let block = Block {
                outer: line / plan.rows,
                bands: band..band + bands,
                strips: strip..strip + strips,
            };
            first += bands * strips;
            // SAFETY: the caller's promise.
            unsafe {
                match self.ty {
                    Float::F32 => self.run_typed::<f32>(plan, block, memory, scratch),
                    Float::F64 => self.run_typed::<f64>(plan, block, memory, scratch),
                }
            }
        }
    }

    /// # Safety
    /// As [`run_planned`](Self::run_planned).
    unsafe fn run_typed<T: Scalar>(
        &self,
        plan: Plan,
        block: Block,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        let Block { outer, bands, strips } = block;
        let (items, part) = (outer / self.parts, outer % self.parts);
        let kernels = T::kernels_for(self.isa, self.precision);
        let steps = self.steps();
        let wide = if plan.path == Path::Tiles { plan.width * kernels.lanes } else { 4 };
        let all = self.n.div_ceil(wide);
        let panels = pieces_of(all, plan.columns, strips);
        let scratch = scratch.slice::<T>(self.scratch(&plan));
        let last = self.batch.min((items + 1) * plan.items);
        for item in items * plan.items..last {
            let (b, b_batch) = match self.packed_b {
                Some(panels) if self.b_batch == 0 => (panels, 0),
                Some(panels) => (panels, steps * self.n.next_multiple_of(kernels.lanes)),
                None => (self.b, self.b_batch),
            };
            // SAFETY: `check` held every matrix of the batch against its region.
            unsafe {
                let c = memory.ptr::<T>(self.c).add(item * self.c_batch);
                let job = Job {
                    gemm: self,
                    plan,
                    kernels,
                    a: memory.ptr::<T>(self.a).add(item * self.a_batch),
                    b: memory.ptr::<T>(b).add(item * b_batch),
                    bias: self.bias.map_or(std::ptr::null(), |bias| memory.ptr(bias)),
                    c: c.add(part * self.m * self.n * usize::from(self.parts > 1)),
                    rows: pieces_of(self.m, plan.rows, bands.clone()),
                    columns: panels.start * wide..self.n.min(panels.end * wide),
                    depth: piece(steps, self.parts, part),
                };
                match plan.path {
                    Path::Tiles => job.tiles(scratch),
                    Path::FewRows | Path::FewColumns => job.dots(scratch),
                }
            }
        }
    }
}

impl<T: Scalar> Job<'_, T> {
    /// Tiles of C. For each stretch of the depth and block of rows, the panels of B pass by once;
    /// each stays in L1 while it meets all rows of the block.
    unsafe fn tiles(&self, scratch: &mut [T]) {
        let g = self.gemm;
        let (block_a, rest) = scratch.split_at_mut(g.block_a(&self.plan));
        let (panel_b, turned) = rest.split_at_mut(g.panel_b(&self.plan));
        for rows in pieces(self.rows.clone(), g.row_block(&self.plan).max(1)) {
            for depth in pieces(self.depth.clone(), g.depth_block(&self.plan)) {
                // SAFETY: rows, columns and depth lie inside the matrices that `check` admitted.
                unsafe {
                    if self.plan.pack_a {
                        self.pack_a(rows.clone(), depth.clone(), block_a);
                    }
                    let next = self.next_block(&rows, &depth);
                    self.block(rows.clone(), depth, next, block_a.as_ptr(), panel_b, turned);
                }
            }
        }
    }

    /// All columns of the chunk for a block of rows and a stretch of the depth.
    #[inline]
    unsafe fn block(
        &self,
        rows: Range<usize>,
        depth: Range<usize>,
        next: Lines<T>,
        block_a: *const T,
        panel_b: &mut [T],
        turned: &mut [T],
    ) {
        let g = self.gemm;
        let lanes = self.kernels.lanes;
        let wide = self.plan.width * lanes;
        let (first, last) = (depth.start == self.depth.start, depth.end == self.depth.end);
        let along_depth = !self.plan.pack_a && g.a_strides[1] == 1;
        let tallest = self.kernels.tallest(self.plan.width);
        let bands = rows.len().div_ceil(tallest);
        let tiles = bands * self.columns.len().div_ceil(wide);
        for (p, start) in self.columns.clone().step_by(wide).enumerate() {
            let columns = wide.min(self.columns.end - start);
            let vectors = columns.div_ceil(lanes);
            // SAFETY: as the caller's.
            unsafe {
                let (b, b_stride) = self.panel(start, columns, depth.clone(), panel_b);
                let mut tile = Tile {
                    a: block_a,
                    a_strides: g.a_strides,
                    b,
                    b_stride,
                    depth: depth.len(),
                    outer: [Repeat::ONCE; 2],
                    c: self.c,
                    c_stride: g.c_stride,
                    columns,
                    bias: std::ptr::null(),
                    accumulate: g.accumulate || !first,
                    activation: if last { g.activation } else { Activation::None },
                    ahead: Ahead::NONE,
                };
                if last && !self.bias.is_null() {
                    tile.bias = self.bias.add(if g.c_turned { rows.start } else { start });
                }
                for (i, band) in pieces(rows.clone(), tallest).enumerate() {
                    if self.plan.pack_a {
                        tile.a = block_a.add((band.start - rows.start) * depth.len());
                        tile.a_strides = [1, band.len()];
                    } else {
                        let [row, step] = g.a_strides;
                        tile.a = self.a.wrapping_add(band.start * row + depth.start * step);
                    }
                    tile.ahead = self.ahead(start + wide, piece(depth.len(), bands, i), &depth);
                    tile.ahead.block = part(next, tiles, p * bands + i);
                    let kernel = self.kernels.tile(band.len(), vectors, along_depth);
                    if g.c_turned {
                        tile.c = self.c.add(start * g.c_stride + rows.start);
                        self.turned(kernel, tile, band.start - rows.start, band.len(), turned);
                    } else {
                        tile.c = self.c.add(band.start * g.c_stride + start);
                        kernel(&tile);
                    }
                }
            }
        }
    }

    /// Computes a tile aside and stores it turned: `tile` names the first row of the block in C and
    /// in the bias, of which this tile is `rows` rows from `row` on.
    #[inline(never)]
    unsafe fn turned(
        &self,
        kernel: super::tile::TileFn<T>,
        tile: Tile<T>,
        row: usize,
        rows: usize,
        aside: &mut [T],
    ) {
        let wide = self.plan.width * self.kernels.lanes;
        let (from, to) = aside.split_at_mut(aside.len() / 2);
        debug_assert!(rows * wide <= from.len());
        let bias = if tile.bias.is_null() { tile.bias } else { tile.bias.wrapping_add(row) };
        // SAFETY: the tile fits the working memory; the rest is the caller's promise.
        unsafe {
            kernel(&Tile {
                c: from.as_mut_ptr(),
                c_stride: wide,
                bias: std::ptr::null(),
                accumulate: false,
                activation: Activation::None,
                ..tile
            });
            (self.kernels.turn)(&Turn {
                from: from.as_ptr(),
                from_stride: wide,
                rows,
                columns: tile.columns,
                aside: to.as_mut_ptr(),
                c: tile.c.add(row),
                c_stride: tile.c_stride,
                bias,
                accumulate: tile.accumulate,
                activation: tile.activation,
            });
        }
    }

    /// What a tile asks for while it works: its share, `steps` of the stretch `depth`, of the panel
    /// that comes next.
    #[inline]
    fn ahead(&self, start: usize, steps: Range<usize>, depth: &Range<usize>) -> Ahead<T> {
        let g = self.gemm;
        // The panel of the next chunk, too: most often the same thread goes on with it.
        if start >= g.n {
            return Ahead::NONE;
        }
        let (at, stride) = match self.plan.b {
            SourceB::Direct => (depth.start * g.b_strides[0] + start, g.b_strides[0]),
            SourceB::Packed => {
                let lanes = self.kernels.lanes;
                let width = (self.plan.width * lanes).min((g.n - start).next_multiple_of(lanes));
                (start * g.steps() + depth.start * width, width)
            }
            SourceB::PackHere => return Ahead::NONE,
        };
        let at = self.b.wrapping_add(at + steps.start * stride);
        Ahead { at, stride, rows: steps.len(), block: Lines::NONE }
    }

    /// The block of A that is packed after that of `rows` and `depth`: further along the depth, or in
    /// the rows below, which may belong to the next chunk.
    fn next_block(&self, rows: &Range<usize>, depth: &Range<usize>) -> Lines<T> {
        let g = self.gemm;
        let (row, steps) = match depth.end < self.depth.end {
            true => (rows.start, depth.end..self.depth.end.min(depth.end + depth.len())),
            false => (rows.end, self.depth.start..self.depth.start + depth.len()),
        };
        let steps = self.kernels.elements(&steps, g.k);
        let again = row >= self.rows.end && self.plan.columns > 1;
        if !self.plan.pack_a || row >= g.m || again {
            return Lines::NONE;
        }
        let (rows, at) = (rows.len().min(g.m - row), row * g.a_strides[0]);
        let at = self.a.wrapping_add(at + steps.start * g.a_strides[1]);
        let (stride, width, lines) = match g.a_strides[1] {
            1 => (g.a_strides[0], steps.len(), rows),
            stride => (stride, rows, steps.len()),
        };
        Lines { at, stride, width, count: lines * width.div_ceil(line::<T>()) }
    }

    /// Where the tiles find the columns `start ..` of B: pointer and elements between steps.
    #[inline]
    unsafe fn panel(
        &self,
        start: usize,
        columns: usize,
        depth: Range<usize>,
        panel_b: &mut [T],
    ) -> (*const T, usize) {
        let g = self.gemm;
        let width = columns.next_multiple_of(self.kernels.lanes);
        let [row, column] = g.b_strides;
        let elements = self.kernels.elements(&depth, g.k);
        let in_place = self.b.wrapping_add(elements.start * row + start * column);
        match self.plan.b {
            SourceB::Direct => (in_place, row),
            SourceB::Packed => {
                (self.b.wrapping_add(start * g.steps() + depth.start * width), width)
            }
            SourceB::PackHere => {
                debug_assert!(depth.len() * width <= panel_b.len());
                let to = panel_b.as_mut_ptr();
                let (pack, stride) = match column {
                    1 => (self.kernels.pack_rows, row),
                    _ => (self.kernels.pack_columns, column),
                };
                let depth = elements.len();
                let order = Pack { from: in_place, stride, depth, columns, to, width };
                // SAFETY: inside B, and inside the panel.
                unsafe { pack(&order) };
                (to, width)
            }
        }
    }

    /// Packs a block of A: for each band of rows that a tile takes, step by step of the depth.
    unsafe fn pack_a(&self, rows: Range<usize>, depth: Range<usize>, block: &mut [T]) {
        let [row, step] = self.gemm.a_strides;
        let (pack, stride) = match step {
            1 => (self.kernels.pack_columns, row),
            _ => (self.kernels.pack_rows, step),
        };
        debug_assert!(rows.len() * depth.len() <= block.len());
        // Where steps of the depth lie apart, the bands take a few steps in turn, so that a line
        // of A is still in the cache when the next band wants its share of it.
        let steps = if step == 1 { depth.len().max(1) } else { STEPS };
        for start in depth.clone().step_by(steps) {
            let stretch = start..depth.end.min(start + steps);
            let elements = self.kernels.elements(&stretch, self.gemm.k);
            for band in pieces(rows.clone(), self.kernels.tallest(self.plan.width)) {
                let to = (band.start - rows.start) * depth.len();
                // SAFETY: inside A, and inside the block.
                unsafe {
                    pack(&Pack {
                        from: self.a.wrapping_add(band.start * row + elements.start * step),
                        stride,
                        depth: elements.len(),
                        columns: band.len(),
                        to: block.as_mut_ptr().add(to + (start - depth.start) * band.len()),
                        width: band.len(),
                    });
                }
            }
        }
    }

    /// Rows of A times columns of B, both contiguous along the depth, four by four.
    unsafe fn dots(&self, scratch: &mut [T]) {
        let g = self.gemm;
        let few_rows = self.plan.path == Path::FewRows;
        // SAFETY: as for `tiles`; the scratch holds the few vectors that must be gathered.
        unsafe {
            let ([mut few, many], [mut few_stride, many_stride], count, range) = match few_rows {
                true => ([self.a, self.b], [g.a_strides[0], g.b_strides[1]], g.m, &self.columns),
                false => ([self.b, self.a], [g.b_strides[1], g.a_strides[0]], g.n, &self.rows),
            };
            let step = if few_rows { g.a_strides[1] } else { g.b_strides[0] };
            if step != 1 {
                for i in 0..count {
                    for d in 0..g.k {
                        scratch[i * g.k + d] = *few.add(i * few_stride + d * step);
                    }
                }
                (few, few_stride) = (scratch.as_ptr(), g.k);
            }
            let mut out = [T::default(); 16];
            for j in range.clone().step_by(4) {
                let others = (range.end - j).min(4);
                let dot = Dot {
                    p: few,
                    p_stride: few_stride,
                    q: many.wrapping_add(j * many_stride),
                    q_stride: many_stride,
                    depth: g.k,
                    out: &mut out,
                };
                (self.kernels.dots[count - 1][others - 1])(&dot);
                for (i, sums) in out.chunks_exact(4).enumerate().take(count) {
                    for (o, &sum) in sums.iter().enumerate().take(others) {
                        let (row, column) = if few_rows { (i, j + o) } else { (j + o, i) };
                        self.finish(row, column, sum);
                    }
                }
            }
        }
    }

    /// Bias, activation and store of one element.
    #[inline]
    unsafe fn finish(&self, row: usize, column: usize, mut value: T) {
        let g = self.gemm;
        // SAFETY: inside C and the bias.
        unsafe {
            let c = self.c.add(row * g.c_stride + column);
            if g.accumulate {
                value += *c;
            }
            if !self.bias.is_null() {
                value += *self.bias.add(column);
            }
            *c = g.activation.apply(value);
        }
    }
}
