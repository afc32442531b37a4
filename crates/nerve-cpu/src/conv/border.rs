//! Blocks of pixels that stay in the cache, and their copies with a border of zeros.

use super::ConvShape;
use crate::gemm::tile::{Kernels, Scalar};
use std::ops::Range;

/// A block of results: lines of one image, or whole images.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    pub images: Range<usize>,
    pub lines: Range<usize>,
}

impl Block {
    /// Its lines, counted from the first of all images, which have `image` lines each.
    pub(super) fn of(&self, image: usize) -> Range<usize> {
        let start = self.images.start * image;
        match self.images.len() {
            1 => start + self.lines.start..start + self.lines.end,
            _ => start..self.images.end * image,
        }
    }
}

impl ConvShape {
    /// Cuts lines of results into blocks of at most `most` lines (at least one). At least one
    /// block, though it be empty: somebody has to write the zeros. Calls `visit` with each, and
    /// whether it is the first.
    pub(super) fn blocks(
        &self,
        lines: Range<usize>,
        most: usize,
        mut visit: impl FnMut(Block, bool),
    ) {
        let image = self.oh().max(1);
        let (mut line, mut first) = (lines.start, true);
        while line < lines.end || first {
            let (n, within) = (line / image, line % image);
            let whole = if within == 0 { (most.min(lines.end - line)) / image } else { 0 };
            let (block, taken) = if whole > 0 {
                (Block { images: n..n + whole, lines: 0..image }, whole * image)
            } else {
                // Even pieces of what is left of the image.
                let left = (image - within).min(lines.end - line);
                let taken = left.div_ceil(left.div_ceil(most).max(1));
                (Block { images: n..n + 1, lines: within..within + taken }, taken)
            };
            visit(block, first);
            (line, first) = (line + taken, false);
        }
    }

    /// Elements under the largest block of `most` lines, border included.
    pub(super) fn under(&self, most: usize) -> usize {
        let row = self.extent(1) * self.c;
        let image = self.oh().max(1);
        match most / image {
            0 => self.rows(&(0..most)).len().min(self.extent(0)) * row,
            images => images.min(self.n) * self.extent(0) * row,
        }
    }

    /// The rows under some lines of results, border included.
    fn rows(&self, lines: &Range<usize>) -> Range<usize> {
        let [stride, dilation] = [self.stride[0], self.dilation[0]];
        if lines.is_empty() {
            return 0..0;
        }
        let first = lines.start * stride;
        first..(lines.end - 1) * stride + (self.kh - 1) * dilation + 1
    }

    /// Copies what lies under `block` to `to`, with its zeros, as words of `kernels`. Gives the
    /// address at which the first of all images with their zeros would start, in words.
    ///
    /// # Safety
    /// `x` is the first of all images; `to` has room for the words [`under`](ConvShape::under) a
    /// block of its size.
    pub(super) unsafe fn copy_bordered<T: Scalar>(
        &self,
        x: *const T,
        block: &Block,
        to: *mut T,
        kernels: &Kernels<T>,
    ) -> *const T {
        if block.lines.is_empty() {
            return to;
        }
        let (height, row) = (self.extent(0), self.extent(1) * self.c / kernels.pair);
        // Whole images are copied whole: the next one starts behind the last row.
        let whole = block.images.len() > 1 || block.lines == (0..self.oh());
        let rows = if whole { 0..height } else { self.rows(&block.lines) };
        let mut at = to;
        for image in block.images.clone() {
            for y in rows.clone() {
                // SAFETY: the row exists in the image if `source` says so, and there is room.
                unsafe {
                    match self.source(0, y) {
                        Some(y) => {
                            let from = x.add((image * self.h + y) * self.w * self.c);
                            self.copy_row(from, at, kernels);
                        }
                        None => at.write_bytes(0, row),
                    }
                    at = at.add(row);
                }
            }
        }
        to.wrapping_sub((block.images.start * height + rows.start) * row)
    }

    /// One row of an image, with the zeros left, right and between.
    unsafe fn copy_row<T: Scalar>(&self, from: *const T, to: *mut T, kernels: &Kernels<T>) {
        let (c, [left, right], between) = (self.c, self.pad[1], self.between[1]);
        let inside = self.extent(1) - left - right;
        let words = c / kernels.pair;
        // SAFETY: the caller's promise.
        unsafe {
            to.write_bytes(0, left * words);
            let to = to.add(left * words);
            if between == 0 {
                (kernels.copy)(from, self.w * c, to);
            } else {
                to.write_bytes(0, inside * words);
                for x in 0..self.w {
                    (kernels.copy)(from.add(x * c), c, to.add(x * (between + 1) * words));
                }
            }
            to.add(inside * words).write_bytes(0, right * words);
        }
    }

    /// The row (axis 0) or column (axis 1) of the image at place `at` of the image with its zeros;
    /// nothing where there is a zero.
    #[inline(always)]
    pub(super) fn source(&self, axis: usize, at: usize) -> Option<usize> {
        let at = at.checked_sub(self.pad[axis][0])?;
        let (at, rest) = match self.between[axis] {
            0 => (at, 0),
            zeros => (at / (zeros + 1), at % (zeros + 1)),
        };
        (rest == 0 && at < [self.h, self.w][axis]).then_some(at)
    }
}
