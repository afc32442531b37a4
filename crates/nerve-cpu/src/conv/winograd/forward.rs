//! The convolution: blocks of tiles, from pixels to results.

use super::super::{Conv, ConvShape};
use super::transform::{Input, Output, transforms};
use super::{LINE, PLACES, Soon, Tiles, WinogradFilter, plane, row_stride};
use crate::gemm::Activation;
use crate::gemm::drive::{piece, pieces};
use crate::gemm::tile::{Ahead, Repeat, Scalar, Tile};
use crate::kernel::{Float, Scratch};
use crate::memory::{Memory, Region};
use crate::simd::Prefetch;

/// Bytes of transformed pixels in a block: with the filter and the products they fill L2.
const BLOCK_BYTES: usize = 448 * 1024;
/// Fewest and most tiles of a block: multiples of the tallest tile of products.
const TILES: [usize; 2] = [28, 56];
/// Output channels that are worth transforming the pixels again.
const GROUP: usize = 64;
/// Work of a chunk in floating-point operations.
const CHUNK_FLOPS: u64 = 4_000_000;

/// How the work is cut. A function of the shape, but for the width of a panel.
pub(super) struct Plan {
    tiles: usize,
    blocks: usize,
    groups: usize,
    /// Vectors in a panel.
    width: usize,
    /// Tiles in the largest block.
    most: usize,
    /// Words of the channels of a pixel: see [`form`](super::form).
    words: usize,
}

impl Plan {
    fn of(conv: &Conv) -> Plan {
        let s = &conv.shape;
        let kernels = f32::kernels_for(conv.isa, conv.precision);
        let tiles = Tiles::of(s).count;
        let words = s.c.div_ceil(kernels.pair);
        let fit = BLOCK_BYTES / (PLACES * words.next_multiple_of(LINE) * size_of::<f32>());
        let block = (fit / 14 * 14).clamp(TILES[0], TILES[1]);
        let blocks = tiles.div_ceil(block);
        // An even number of a few, so that two threads have the same to do.
        let blocks = if (2..16).contains(&blocks) { blocks.next_multiple_of(2) } else { blocks };
        let wanted = (s.flops() / CHUNK_FLOPS).clamp(1, 64) as usize;
        let groups = wanted.div_ceil(blocks).min(s.co.div_ceil(GROUP));
        let most = tiles.div_ceil(blocks);
        let width = kernels.width(most, s.co);
        Plan { tiles, blocks, groups, width, most, words }
    }
}

impl Conv {
    /// Bytes of the transformed filter, if this convolution is faster with it, which depends on
    /// the shape (and on `NERVE_WINOGRAD`): see [`winograd`](super). `None` if it is not.
    pub fn winograd_bytes(&self) -> Option<usize> {
        match self.winograd.is_none() && self.shape.winograd_pays(self.ty, true) {
            true => self.filter_elements()?.checked_mul(size_of::<f32>()),
            false => None,
        }
    }

    /// Words of the transformed filter.
    pub(in super::super) fn filter_elements(&self) -> Option<usize> {
        let nowhere = Region::new(0, 0, 0);
        self.winograd_filter(nowhere, 0, [0; 4], nowhere).words()
    }

    /// The instruction that transforms the filter into `to`, which has at least
    /// [`winograd_bytes`](Conv::winograd_bytes) bytes. The filter may lie in any order: its first
    /// element is number `offset` of `from`, and `strides` are the elements between rows, columns,
    /// input and output channels.
    pub fn winograd_filter(
        &self,
        from: Region,
        offset: usize,
        strides: [isize; 4],
        to: Region,
    ) -> WinogradFilter {
        let ConvShape { c, co, .. } = self.shape;
        let (width, precision) = (Plan::of(self).width, self.precision);
        WinogradFilter { c, co, from, offset, strides, width, precision, to, isa: self.isa }
    }

    /// The same convolution, reading the filter from what
    /// [`winograd_filter`](Conv::winograd_filter) wrote to `from`.
    pub fn with_winograd(self, from: Region) -> Self {
        Conv { winograd: Some(from), ..self }
    }

    /// Vectors in a panel of the transformed filter.
    pub(in super::super) fn winograd_width(&self) -> usize {
        Plan::of(self).width
    }

    pub(in super::super) fn winograd_check(&self) -> Result<(), String> {
        match self.shape.winograd_fits(self.ty) {
            true => Ok(()),
            false => Err("only 3 by 3 filters in f32, of stride 1, are transformed".into()),
        }
    }

    pub(in super::super) fn winograd_chunks(&self) -> usize {
        let plan = Plan::of(self);
        plan.blocks * plan.groups
    }

    /// Elements of the transformed pixels, the products and some zeros.
    fn winograd_parts(&self, plan: &Plan) -> [usize; 3] {
        let wide = plan.width * f32::kernels(self.isa).lanes;
        let pixels = PLACES * plane(plan.most, row_stride(plan.words));
        [pixels, PLACES * plane(plan.most, wide), self.shape.c.next_multiple_of(LINE)]
    }

    pub(in super::super) fn winograd_scratch(&self) -> usize {
        self.winograd_parts(&Plan::of(self)).iter().sum::<usize>() * Float::F32.bytes()
    }

    /// # Safety
    /// As [`Kernel::run`](crate::Kernel::run).
    pub(in super::super) unsafe fn run_winograd(
        &self,
        filter: Region,
        y: *mut f32,
        chunk: usize,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        let (s, plan) = (&self.shape, Plan::of(self));
        let kernels = f32::kernels_for(self.isa, self.precision);
        let transforms = transforms(self.isa, self.precision);
        let (block, group) = (chunk / plan.groups, chunk % plan.groups);
        let tiles = piece(plan.tiles, plan.blocks, block);
        let wide = plan.width * kernels.lanes;
        let parts = self.winograd_parts(&plan);
        let (pixels, rest) = scratch.slice::<f32>(parts.iter().sum()).split_at_mut(parts[0]);
        let (products, zeros) = rest.split_at_mut(parts[1]);
        zeros.fill(0.0);
        let words = plan.words;
        let (stride, between) = (row_stride(words), plane(plan.most, row_stride(words)));
        let between_products = plane(plan.most, wide);
        // SAFETY: `check` held all operands against the sizes, and `winograd_parts` the scratch;
        // chunks have different tiles or channels.
        unsafe {
            (transforms.input)(&Input {
                shape: s,
                tiles: tiles.clone(),
                x: memory.ptr::<f32>(self.x),
                channels: s.c,
                zeros: zeros.as_ptr(),
                to: pixels.as_mut_ptr(),
                stride,
                plane: between,
            });
            let next = match block + 1 < plan.blocks {
                true => piece(plan.tiles, plan.blocks, block + 1),
                false => 0..0,
            };
            let next = Soon::input(s, memory.ptr::<f32>(self.x), next, s.c);
            let panels = piece(s.co.div_ceil(wide), plan.groups, group);
            for (number, panel) in panels.clone().enumerate() {
                let first = panel * wide;
                let columns = wide.min(s.co - first);
                let width = columns.next_multiple_of(kernels.lanes);
                let whole = PLACES * plane(words, wide);
                let panel = memory.ptr::<f32>(filter).add(panel * whole).cast_const();
                let mut tile = Tile {
                    a: pixels.as_ptr(),
                    a_strides: [stride, 1],
                    b: panel,
                    b_stride: width,
                    depth: words,
                    outer: [Repeat::ONCE; 2],
                    c: products.as_mut_ptr(),
                    c_stride: wide,
                    columns: width,
                    bias: std::ptr::null(),
                    accumulate: false,
                    activation: Activation::None,
                    ahead: Ahead::NONE,
                };
                let (vectors, tallest) = (width / kernels.lanes, kernels.tallest(plan.width));
                let bands = tiles.len().div_ceil(tallest);
                let y = y.add(first);
                let results = Soon::output(s, y, tiles.clone(), columns);
                for i in 0..PLACES {
                    next.ask::<{ Prefetch::FAR }>(number * PLACES + i, panels.len() * PLACES);
                    results.ask::<{ Prefetch::WRITE }>(i, PLACES);
                    tile.b = panel.add(i * plane(words, width));
                    for (number, band) in pieces(0..tiles.len(), tallest).enumerate() {
                        // The matrix of the next place, or of the next panel.
                        let rows = piece(words, bands, number);
                        let at = tile.b.wrapping_add(plane(words, width) + rows.start * width);
                        tile.ahead = Ahead { at, stride: width, rows: rows.len(), ..Ahead::NONE };
                        tile.a = pixels.as_ptr().add(i * between + band.start * stride);
                        let to = i * between_products + band.start * wide;
                        tile.c = products.as_mut_ptr().add(to);
                        kernels.tile(band.len(), vectors, true)(&tile);
                    }
                }
                let bias = |bias: Region| memory.ptr::<f32>(bias).add(first).cast_const();
                (transforms.output)(&Output {
                    shape: s,
                    tiles: tiles.clone(),
                    from: products.as_ptr(),
                    stride: wide,
                    plane: between_products,
                    y,
                    columns,
                    bias: self.bias.map_or(std::ptr::null(), bias),
                    relu: self.activation == Activation::Relu,
                });
            }
        }
    }
}
