//! The filter, transformed once for all chunks of a convolution.

use super::transform::{Filter, Transforms, transforms};
use super::{LINE, PLACES, plane};
use crate::bounds;
use crate::gemm::drive::piece;
use crate::gemm::pack::{check_isa, check_product};
use crate::gemm::tile::Scalar;
use crate::kernel::{Float, Kernel, Operand, Precision, Scratch};
use crate::memory::{Memory, Region};
use crate::simd::{Isa, Prefetch, prefetch};

/// `U = G g Gᵀ` of each 3 by 3 filter, in the panels that a [`Conv`](crate::Conv) reads. Made by
/// [`Conv::winograd_filter`](crate::Conv::winograd_filter).
///
/// A panel holds `width` vectors of output channels: 16 matrices, `c` rows each, or half as many
/// if a row holds pairs of bf16, with a cache line between the matrices. The last panel is only as
/// wide as it needs.
#[derive(Clone, Debug, PartialEq)]
pub struct WinogradFilter {
    /// Input channels.
    pub c: usize,
    /// Output channels.
    pub co: usize,
    /// The filter, in any order: `[3, 3, c, co]` after [`strides`](WinogradFilter::strides).
    pub from: Region,
    /// The element of `from` that is the first of the filter.
    pub offset: usize,
    /// Elements between rows, columns, input channels and output channels.
    pub strides: [isize; 4],
    /// Width of a panel in vectors of `isa`.
    pub width: usize,
    /// How exactly.
    pub precision: Precision,
    /// The panels.
    pub to: Region,
    /// Whose vectors.
    pub isa: Isa,
}

/// Input channels that are asked for before they are transformed.
const AHEAD: isize = 4;
/// Elements of the filter that a chunk transforms, about.
const CHUNK: usize = 8 * 1024;

impl WinogradFilter {
    fn lanes(&self) -> usize {
        f32::kernels(self.isa).lanes
    }

    /// Rows of each matrix, and input channels in a row.
    fn rows(&self) -> (usize, usize) {
        let pair = f32::kernels_for(self.isa, self.precision).pair;
        (self.c.div_ceil(pair), pair)
    }

    /// Words of a panel as wide as any.
    fn panel(&self, rows: usize) -> usize {
        PLACES * plane(rows, self.width * self.lanes())
    }

    /// Words of all panels.
    pub(super) fn words(&self) -> Option<usize> {
        let columns = self.co.checked_next_multiple_of(self.lanes())?;
        let between = self.co.div_ceil(self.width * self.lanes()) * LINE;
        columns.checked_mul(self.rows().0)?.checked_add(between)?.checked_mul(PLACES)
    }

    /// Asks for the filters to a vector of output channels, where they lie side by side but far from
    /// those of the next input channel.
    #[inline]
    fn ask(&self, from: *const f32, lanes: usize) {
        let step = self.strides[3].unsigned_abs();
        if step > 1 && step < LINE {
            for element in (0..lanes * step).step_by(LINE) {
                prefetch::<{ Prefetch::NEAR }, _>(from.wrapping_add(element));
            }
        }
    }

    /// Panels, and stretches of the input channels. Together the chunks.
    fn split(&self) -> [usize; 2] {
        let wide = self.width * self.lanes();
        let stretches = (self.c * wide * 9).div_ceil(CHUNK).clamp(1, self.rows().0.max(1));
        [self.co.div_ceil(wide).max(1), stretches]
    }

    unsafe fn run_chunk(&self, chunk: usize, memory: &Memory) {
        let (kernels, lanes) = (transforms(self.isa, self.precision), self.lanes());
        let (rows, pair) = self.rows();
        let [_, stretches] = self.split();
        let (panel, stretch) = (chunk / stretches, chunk % stretches);
        let first = panel * self.width * lanes;
        let columns = (self.width * lanes).min(self.co - first);
        let width = columns.next_multiple_of(lanes);
        // SAFETY: `check` held all elements and all panels against their regions.
        unsafe {
            let from = memory.ptr::<f32>(self.from).add(self.offset).cast_const();
            let to = memory.ptr::<f32>(self.to).add(panel * self.panel(rows));
            let stretch = piece(rows, stretches, stretch);
            for c in stretch.start * pair..self.c.min(stretch.end * pair) {
                for v in (0..columns).step_by(lanes) {
                    let at = c as isize * self.strides[2] + (first + v) as isize * self.strides[3];
                    let there = lanes.min(columns - v);
                    let soon = at + AHEAD * self.strides[2];
                    self.ask(from.wrapping_offset(soon), there);
                    let to = to.add(c / pair * width + v);
                    let lone = c % pair == 0 && c + 1 == self.c;
                    let store = kernels.filter[if lone { 2 } else { c % pair }];
                    self.vector(kernels, store, from.offset(at), there, to, plane(rows, width));
                }
            }
        }
    }

    /// The filters from one input channel to a vector of output channels.
    unsafe fn vector(
        &self,
        kernels: &Transforms,
        store: unsafe fn(&Filter),
        from: *const f32,
        lanes: usize,
        to: *mut f32,
        plane: usize,
    ) {
        let [down, right, _, out] = self.strides;
        let at = |tap: usize| (tap / 3) as isize * down + (tap % 3) as isize * right;
        // SAFETY: the caller's promise: nine taps for each lane.
        unsafe {
            let mut gathered = [0.0f32; 9 * 16];
            let row = |tap: usize| gathered.as_ptr().wrapping_add(16 * tap);
            let taps: [*const f32; 9] = if out == 1 {
                std::array::from_fn(|tap| from.wrapping_offset(at(tap)))
            } else if let (1 | -1, true, Ok(stride)) = (right, down == 3 * right, out.try_into()) {
                // The nine taps of a filter lie side by side, perhaps the last one first.
                let turned = right < 0;
                let start = if turned { from.offset(at(8)) } else { from };
                let taps = std::array::from_fn(|tap| row(if turned { 8 - tap } else { tap }));
                (kernels.transpose)(start, stride, [lanes, 9], gathered.as_mut_ptr());
                taps
            } else {
                let taps = std::array::from_fn(row);
                for tap in 0..9 {
                    for lane in 0..lanes {
                        gathered[16 * tap + lane] = *from.offset(at(tap) + lane as isize * out);
                    }
                }
                taps
            };
            store(&Filter { taps, lanes, to, plane });
        }
    }
}

impl Kernel for WinogradFilter {
    fn name(&self) -> &'static str {
        "winograd_filter"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.from));
        visit(Operand::write(self.to));
    }

    fn check(&self) -> Result<(), String> {
        check_isa(self.isa)?;
        if self.width == 0 || self.width > 4 {
            return Err(format!("panels of {} vectors", self.width));
        }
        if self.c == 0 || self.co == 0 {
            return Err("a filter without channels".into());
        }
        bounds::apart(self)?;
        let (mut low, mut high) = (self.offset as i128, self.offset as i128);
        for (length, stride) in [3, 3, self.c, self.co].into_iter().zip(self.strides) {
            let reach = (length as i128 - 1) * stride as i128;
            low += reach.min(0);
            high += reach.max(0);
        }
        if low < 0 || high >= isize::MAX as i128 {
            return Err(format!("strides {:?} lead outside the filter", self.strides));
        }
        check_product("filter", self.from, Float::F32, &[high as usize + 1])?;
        let words = self.words().ok_or("too many channels")?;
        check_product("panels", self.to, Float::F32, &[words])
    }

    fn chunks(&self) -> usize {
        let [panels, stretches] = self.split();
        panels * stretches
    }

    fn flops(&self) -> u64 {
        // 28 additions and halvings for 16 values.
        28 * (self.c * self.co) as u64
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, _: &mut Scratch<'_>) {
        // SAFETY: the caller's promise.
        unsafe { self.run_chunk(chunk, memory) };
    }
}
