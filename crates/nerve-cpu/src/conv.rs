//! Convolutions over images whose channels lie side by side (NHWC), without a gathered copy.
//!
//! A convolution is a product of matrices whose left side is never written down: row `p` is the
//! window under output pixel `p`. Along a row of the filter the window is contiguous in the image,
//! so the micro-kernel of [`gemm`](crate::gemm) walks it in place, one stretch for each filter row.

//!
//! A border of zeros is part of the description, not of the image: kernels copy the few rows that
//! they work on into scratch memory with their border (`conv/border.rs`), where they stay in the cache.
//! Filters of 3 by 3 elements have a second algorithm with fewer multiplications ([`winograd`]).

mod border;
mod channels;
mod few;
mod forward;
mod plan;
mod pooled;
mod rounded;
#[cfg(test)]
mod tests;
mod weight;
pub mod winograd;

pub use forward::Conv;
pub use pooled::ConvPool;
pub use weight::ConvWeightGrad;
pub use winograd::WinogradFilter;

use crate::bounds;
use crate::gemm::tile::Repeat;

/// The sizes of a convolution. One dimension: `h`, `kh`, vertical stride and dilation are 1.
///
/// Images are `[n, h, w, c]`, filters `[kh, kw, c / groups, co]`, results `[n, oh, ow, co]`, all
/// dense. Output channels `g * co / groups ..` see input channels `g * c / groups ..`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// Number of images.
    pub n: usize,
    /// Rows of an image, without padding.
    pub h: usize,
    /// Columns of an image, without padding.
    pub w: usize,
    /// Channels of an image.
    pub c: usize,
    /// Rows of the filter.
    pub kh: usize,
    /// Columns of the filter.
    pub kw: usize,
    /// Channels of the result.
    pub co: usize,
    /// Independent groups of channels. Divides `c` and `co`.
    pub groups: usize,
    /// Rows and columns of the image from one window to the next.
    pub stride: [usize; 2],
    /// Rows and columns of the image from one filter element to the next.
    pub dilation: [usize; 2],
    /// Zeros around the image: above and below, left and right.
    pub pad: [[usize; 2]; 2],
    /// Zeros between neighbouring rows and columns of the image, as the gradient of a strided
    /// convolution has them.
    pub between: [usize; 2],
}

impl ConvShape {
    /// Rows of the result; 0 if the filter is taller than the image.
    pub fn oh(&self) -> usize {
        windows(self.extent(0), self.kh, self.stride[0], self.dilation[0])
    }

    /// Columns of the result; 0 if the filter is wider than the image.
    pub fn ow(&self) -> usize {
        windows(self.extent(1), self.kw, self.stride[1], self.dilation[1])
    }

    /// Rows or columns of the image with all its zeros.
    fn extent(&self, axis: usize) -> usize {
        let n = [self.h, self.w][axis];
        let zeros = n.saturating_sub(1).saturating_mul(self.between[axis]);
        let [before, after] = self.pad[axis];
        n.saturating_add(zeros).saturating_add(before).saturating_add(after)
    }

    /// Whether there are zeros that the image in memory does not hold.
    fn is_padded(&self) -> bool {
        self.pad != [[0; 2]; 2] || self.between != [0; 2]
    }

    /// The same convolution of images that hold their zeros.
    fn filled(&self) -> ConvShape {
        let (h, w) = (self.extent(0), self.extent(1));
        ConvShape { h, w, pad: [[0; 2]; 2], between: [0; 2], ..*self }
    }

    /// Floating-point operations; a multiply-add counts two.
    pub fn flops(&self) -> u64 {
        2 * self.results() as u64 * (self.taps() * self.group_in()) as u64
    }

    /// Elements of the images.
    pub fn images(&self) -> usize {
        self.n * self.h * self.w * self.c
    }

    /// Elements of the filter.
    pub fn filter(&self) -> usize {
        self.taps() * self.group_in() * self.co
    }

    /// Elements of the result.
    pub fn results(&self) -> usize {
        self.n * self.oh() * self.ow() * self.co
    }

    fn taps(&self) -> usize {
        self.kh * self.kw
    }

    /// Input channels of a group.
    fn group_in(&self) -> usize {
        self.c / self.groups
    }

    /// Output channels of a group.
    fn group_out(&self) -> usize {
        self.co / self.groups
    }

    /// Whether each channel has a filter of its own.
    fn depthwise(&self) -> bool {
        self.groups == self.c && self.groups == self.co && self.groups > 1
    }

    /// Whether a row of the filter is contiguous in the image.
    fn row_contiguous(&self) -> bool {
        self.groups == 1 && (self.dilation[1] == 1 || self.kw == 1)
    }

    /// Elements from one row of windows to the next, and from one window to the next.
    fn steps(&self) -> [usize; 2] {
        // A stride beyond the image is never walked.
        [self.stride[0].min(self.h) * self.w * self.c, self.stride[1].min(self.w) * self.c]
    }

    /// Elements from one tap to the one below it, and to the one on its right.
    fn tap_steps(&self) -> [usize; 2] {
        [self.dilation[0].min(self.h) * self.w * self.c, self.dilation[1].min(self.w) * self.c]
    }

    /// The walk over a window, as the micro-kernel wants it: the length of what is contiguous, and
    /// the two levels around it. Rows of the filter are `b_stride` elements apart.
    fn window(&self, b_stride: usize) -> (usize, [Repeat; 2]) {
        let [row, right] = self.tap_steps();
        let depth = self.group_in();
        if self.row_contiguous() {
            let depth = depth * self.kw;
            (depth, [Repeat { times: self.kh, a: row, b: depth * b_stride }, Repeat::ONCE])
        } else {
            let column = Repeat { times: self.kw, a: right, b: depth * b_stride };
            (depth, [column, Repeat { times: self.kh, a: row, b: self.kw * depth * b_stride }])
        }
    }

    /// Checks that the sizes make sense and that no product of them overflows.
    fn check(&self) -> Result<(), String> {
        let ConvShape { n, h, w, c, kh, kw, co, groups, stride, dilation, .. } = *self;
        if groups == 0 || !c.is_multiple_of(groups) || !co.is_multiple_of(groups) {
            return Err(format!("{groups} groups do not divide {c} and {co} channels"));
        }
        if [kh, kw, stride[0], stride[1], dilation[0], dilation[1]].contains(&0) {
            return Err("filter, stride and dilation are at least 1".into());
        }
        bounds::product(&[n, h, w, c])?;
        bounds::product(&[n, self.extent(0), self.extent(1), c])?;
        bounds::product(&[kh, kw, c, co])?;
        bounds::product(&[n, self.oh(), self.ow(), co, kh, kw, c])?;
        Ok(())
    }
}

/// Of several chunks an even number, so that two threads have the same to do.
fn even(chunks: usize) -> usize {
    if chunks > 1 { chunks.next_multiple_of(2) } else { 1 }
}

fn windows(length: usize, taps: usize, stride: usize, dilation: usize) -> usize {
    let span = (taps - 1).saturating_mul(dilation).saturating_add(1);
    if length < span { 0 } else { (length - span) / stride + 1 }
}
