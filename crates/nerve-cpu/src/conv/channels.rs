//! Convolutions whose channels each have a filter of their own.
//!
//! Each pixel is read for few products, so what takes time is reading: a band of lines goes through all its
//! channels before the next one, while its pixels are in the cache.

use super::Conv;
use super::forward::Images;
use super::plan::Plan;
use crate::gemm::drive::pieces;
use crate::gemm::tile::{Ahead, CHANNEL_ROWS, Kernels, Repeat, Scalar, Tile};
use crate::memory::Memory;
use std::ops::Range;

impl Conv {
    /// Some vectors of channels for some lines.
    ///
    /// # Safety
    /// As [`Kernel::run`](crate::Kernel::run); nobody else writes these lines of these channels.
    pub(super) unsafe fn run_channels<T: Scalar>(
        &self,
        kernels: &Kernels<T>,
        plan: &Plan,
        strips: Range<usize>,
        lines: Range<usize>,
        memory: &Memory,
        images: &mut Images<'_, T>,
    ) {
        self.bands(lines, |lines| {
            for strip in strips.clone() {
                // SAFETY: the caller's promise.
                unsafe { self.channels(kernels, plan, strip, lines.clone(), memory, images) };
            }
        });
    }

    /// Cuts lines into those of one block of images each.
    fn bands(&self, lines: Range<usize>, mut visit: impl FnMut(Range<usize>)) {
        match self.lines().image {
            usize::MAX => pieces(lines, self.block_lines()).for_each(visit),
            image => {
                self.shape.blocks(lines, self.block_lines(), |block, _| visit(block.of(image)))
            }
        }
    }

    /// One vector of channels for some lines.
    unsafe fn channels<T: Scalar>(
        &self,
        kernels: &Kernels<T>,
        plan: &Plan,
        strip: usize,
        lines: Range<usize>,
        memory: &Memory,
        images: &mut Images<'_, T>,
    ) {
        let s = &self.shape.filled();
        let first = strip * kernels.lanes;
        let [down, right] = s.tap_steps();
        // SAFETY: `check` held all operands against the sizes.
        unsafe {
            let tile = Tile {
                a: std::ptr::null(),
                a_strides: [s.steps()[1], right],
                b: memory.ptr::<T>(self.filter).add(first),
                b_stride: s.co,
                depth: s.kw,
                outer: [Repeat { times: s.kh, a: down, b: s.kw * s.co }, Repeat::ONCE],
                c: images.y.add(first),
                c_stride: s.co,
                columns: kernels.lanes.min(s.co - first),
                bias: self.bias.map_or(std::ptr::null(), |bias| memory.ptr::<T>(bias).add(first)),
                accumulate: false,
                activation: self.activation,
                ahead: Ahead::NONE,
            };
            self.walk(kernels, plan, lines, CHANNEL_ROWS, images, first, tile, |rows, tile| {
                kernels.channels[rows - 1](tile);
            });
        }
    }
}
