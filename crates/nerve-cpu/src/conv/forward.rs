//! The convolution itself.

use super::ConvShape;
use super::border::Block;
use super::few::Few;
use super::plan::{LINE, Lines, Plan};
use crate::gemm::drive::{piece, pieces};
use crate::gemm::pack::{Pack, check_isa, check_product};
use crate::gemm::tile::{Ahead, Kernels, Scalar, Tile};
use crate::gemm::{Activation, PackB};
use crate::kernel::{Float, Kernel, Operand, Precision, Scratch};
use crate::memory::{Memory, Region};
use crate::simd::{Isa, isa};
use std::ops::Range;

/// `y = activation(x * filter + bias)`, for a batch of images.
///
/// The gradient with respect to the images is a convolution too: of the gradient of the result,
/// with `stride - 1` zeros between its pixels and a border of zeros, and the filter turned around
/// with its channels exchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Type of all elements.
    pub ty: Float,
    /// The sizes.
    pub shape: ConvShape,
    /// The images, `[n, h, w, c]`.
    pub x: Region,
    /// The filter, `[kh, kw, c / groups, co]`.
    pub filter: Region,
    /// The filter as [`WinogradFilter`](crate::WinogradFilter) leaves it; then `filter` is not read.
    pub winograd: Option<Region>,
    /// The filter in panels, as [`pack_filter`](Conv::pack_filter) makes them; then `filter` is not
    /// read.
    pub packed: Option<Region>,
    /// The result, `[n, oh, ow, co]`.
    pub y: Region,
    /// One value for each channel of the result.
    pub bias: Option<Region>,
    /// What is applied to each element at the end.
    pub activation: Activation,
    /// How exactly the products take their operands.
    pub precision: Precision,
    /// Whose vectors; [`isa()`] unless a test wants another.
    pub isa: Isa,
}

impl Conv {
    /// A convolution without bias and activation.
    pub fn new(ty: Float, shape: ConvShape, x: Region, filter: Region, y: Region) -> Self {
        Conv {
            ty,
            shape,
            x,
            filter,
            winograd: None,
            packed: None,
            y,
            bias: None,
            activation: Activation::None,
            precision: Precision::Full,
            isa: isa(),
        }
    }

    /// Whether the operands are rounded. Pairs are neighbouring channels; where each channel has a
    /// filter of its own there are none. (Nor are they with few pixels: what takes time there is to
    /// read the filter, not to multiply.)
    pub(super) fn rounds(&self) -> bool {
        let s = &self.shape;
        (self.precision, self.ty) == (Precision::Bf16, Float::F32)
            && s.group_in().is_multiple_of(2)
            && !s.depthwise()
    }

    /// Width of the filter's panels in vectors, and how exactly they hold it; `None` if the convolution reads it as it lies.
    pub(super) fn panels(&self) -> Option<(usize, Precision)> {
        if self.winograd.is_some() || self.shape.groups > 1 || self.is_empty() {
            return None;
        }
        match (self.ty, Few::of(self, f32::kernels(self.isa))) {
            (Float::F64, _) => None,
            (_, Some(few)) => Some((few.width, Precision::Full)),
            _ if self.rounds() => {
                let kernels = f32::kernels_for(self.isa, self.precision);
                Some((self.plan(kernels).width, self.precision))
            }
            _ => None,
        }
    }

    /// Bytes of the filter in panels, if the convolution can read it so: with few pixels, whose time goes into reading the
    /// filter, and where operands are rounded.
    pub fn packed_bytes(&self) -> Option<usize> {
        let kernels = f32::kernels_for(self.isa, self.panels()?.1);
        let steps = (self.shape.taps() * self.shape.c).div_ceil(kernels.pair);
        let columns = self.shape.co.checked_next_multiple_of(kernels.lanes)?;
        columns.checked_mul(steps)?.checked_mul(self.ty.bytes())
    }

    /// Whether it pays to pack the filter even if it is read only once: each chunk would pack it for itself otherwise.
    pub fn packs_in_each_run(&self) -> bool {
        self.panels().is_some_and(|(_, precision)| precision != Precision::Full)
    }

    /// The instruction that packs the filter into `to`, which has at least
    /// [`packed_bytes`](Conv::packed_bytes) bytes.
    pub fn pack_filter(&self, to: Region) -> PackB {
        let s = &self.shape;
        let (width, precision) = self.panels().unwrap_or((1, self.precision));
        PackB {
            ty: self.ty,
            k: s.taps() * s.c,
            n: s.co,
            batch: 1,
            strides: [s.co, 1],
            batch_stride: 0,
            width,
            precision,
            from: self.filter,
            to,
            isa: self.isa,
        }
    }

    /// The same convolution, reading the filter from what [`pack_filter`](Conv::pack_filter) wrote
    /// to `from`.
    pub fn with_packed(self, from: Region) -> Self {
        Conv { packed: Some(from), ..self }
    }

    fn kernels<T: Scalar>(&self) -> &'static Kernels<T> {
        match self.rounds() {
            true => T::kernels_for(self.isa, self.precision),
            false => T::kernels(self.isa),
        }
    }

    fn direct_chunks<T: Scalar>(&self) -> usize {
        match Few::of(self, T::kernels(self.isa)) {
            Some(few) => few.chunks(self),
            None => self.plan(self.kernels::<T>()).cuts.iter().product(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shape.results() == 0
    }

    /// Chunk number `chunk`, where `y` is the place of the result.
    ///
    /// # Safety
    /// As [`Kernel::run`], but for the result: `y` has room for it, aligned to its elements.
    pub(super) unsafe fn run_to(
        &self,
        y: *mut u8,
        chunk: usize,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            if let Some(filter) = self.winograd {
                return self.run_winograd(filter, y.cast(), chunk, memory, scratch);
            }
            match self.ty {
                Float::F32 => self.run_typed::<f32>(y.cast(), chunk, memory, scratch),
                Float::F64 => self.run_typed::<f64>(y.cast(), chunk, memory, scratch),
            }
        }
    }

    unsafe fn run_typed<T: Scalar>(
        &self,
        y: *mut T,
        chunk: usize,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        let whole = T::kernels(self.isa);
        if let Some(few) = Few::of(self, whole) {
            // SAFETY: the caller's promise.
            return unsafe { self.run_few(&few, whole, chunk, y, memory, scratch) };
        }
        let kernels = self.kernels::<T>();
        let plan = self.plan(kernels);
        let groups = if self.shape.depthwise() { 1 } else { self.shape.groups };
        let lines = piece(plan.lines.count, plan.cuts[0], chunk / plan.cuts[1]);
        let strips = piece(groups * plan.strips, plan.cuts[1], chunk % plan.cuts[1]);
        let scratch = scratch.slice::<T>(self.scratch::<T>());
        let (panel, border) = scratch.split_at_mut(self.panel(&plan, kernels));
        // SAFETY: the caller's promise.
        let x = unsafe { memory.ptr::<T>(self.x) };
        let mut images = Images { x, border, block: None, y };
        if self.shape.depthwise() {
            // SAFETY: the caller's promise; chunks have different lines or strips.
            return unsafe {
                self.run_channels(kernels, &plan, strips, lines, memory, &mut images)
            };
        }
        for strip in strips {
            // SAFETY: as above.
            unsafe {
                self.strip(kernels, &plan, strip, lines.clone(), memory, panel, &mut images);
            }
        }
    }

    /// Words of working memory: the panel, and a block of images with their border.
    fn scratch<T: Scalar>(&self) -> usize {
        let whole = T::kernels(self.isa);
        if let Some(few) = Few::of(self, whole) {
            return few.scratch(whole);
        }
        let kernels = self.kernels::<T>();
        let plan = self.plan(kernels);
        let block = match self.in_place() {
            true => 0,
            false if plan.lines.image == usize::MAX => self.block_lines() * LINE * self.shape.c,
            false => self.shape.under(self.block_lines()),
        };
        self.panel(&plan, kernels) + block / kernels.pair
    }

    /// One strip of output channels for some lines.
    #[expect(clippy::too_many_arguments, reason = "the parts of one loop")]
    unsafe fn strip<T: Scalar>(
        &self,
        kernels: &Kernels<T>,
        plan: &Plan,
        strip: usize,
        lines: Range<usize>,
        memory: &Memory,
        panel: &mut [T],
        images: &mut Images<'_, T>,
    ) {
        let s = &self.shape;
        let (group, strip) = (strip / plan.strips, strip % plan.strips);
        let within = strip * plan.width * kernels.lanes;
        let columns = (plan.width * kernels.lanes).min(s.group_out() - within);
        let first = group * s.group_out() + within;
        // SAFETY: `check` held all operands against the sizes.
        unsafe {
            let mut b: *const T = memory.ptr::<T>(self.filter).add(first);
            let mut b_stride = s.co;
            if let Some(packed) = self.packed {
                let depth = s.taps() * self.words(kernels).c;
                b = memory.ptr::<T>(packed).add(within * depth);
                b_stride = columns.next_multiple_of(kernels.lanes);
            } else if plan.pack {
                let depth = s.taps() * s.group_in();
                let width = columns.next_multiple_of(kernels.lanes);
                let to = panel.as_mut_ptr();
                let order = Pack { from: b, stride: s.co, depth, columns, to, width };
                (kernels.pack_rows)(&order);
                (b, b_stride) = (to, width);
            }
            let f = self.words(kernels).filled();
            let (depth, outer) = f.window(b_stride);
            let tile = Tile {
                a: std::ptr::null(),
                a_strides: [f.steps()[1], 1],
                b,
                b_stride,
                depth,
                outer,
                c: images.y.add(first),
                c_stride: s.co,
                columns,
                bias: self.bias.map_or(std::ptr::null(), |bias| memory.ptr::<T>(bias).add(first)),
                accumulate: false,
                activation: self.activation,
                ahead: Ahead::NONE,
            };
            let vectors = columns.div_ceil(kernels.lanes);
            let tallest = kernels.tallest(plan.width);
            let first = group * f.group_in();
            self.walk(kernels, plan, lines, tallest, images, first, tile, |rows, tile| {
                kernels.tile(rows, vectors, true)(tile);
            });
        }
    }

    /// Calls `run` with the number of pixels and a tile for each piece of each line. The windows
    /// start at word `first` of a pixel; `tile` names the results of the first pixel of the first
    /// line.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "the parts of one loop")]
    pub(super) unsafe fn walk<T: Scalar>(
        &self,
        kernels: &Kernels<T>,
        plan: &Plan,
        lines: Range<usize>,
        tallest: usize,
        images: &mut Images<'_, T>,
        first: usize,
        tile: Tile<T>,
        run: impl Fn(usize, &Tile<T>),
    ) {
        let (s, words) = (&self.shape, &self.words(kernels).filled());
        if self.in_place() {
            let x = images.x.wrapping_add(first);
            // SAFETY: the caller's promise.
            unsafe { self.walk_lines(words, plan, lines, tallest, x, tile, run) };
            return;
        }
        if plan.lines.image == usize::MAX {
            for lines in pieces(lines, self.block_lines()) {
                // SAFETY: the border has room for so many lines; the rest is the caller's promise.
                unsafe {
                    let x = images.stretch(s, lines.clone(), kernels).wrapping_add(first);
                    self.walk_lines(words, plan, lines, tallest, x, Tile { ..tile }, &run);
                }
            }
            return;
        }
        s.blocks(lines, self.block_lines(), |block, _| {
            let lines = block.of(s.oh());
            // SAFETY: the border has room for a block; the rest is the caller's promise.
            unsafe {
                let x = images.bordered(s, block, kernels).wrapping_add(first);
                self.walk_lines(words, plan, lines, tallest, x, Tile { ..tile }, &run);
            }
        });
    }

    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "the parts of one loop")]
    unsafe fn walk_lines<T: Scalar>(
        &self,
        s: &ConvShape,
        plan: &Plan,
        lines: Range<usize>,
        tallest: usize,
        x: *const T,
        mut tile: Tile<T>,
        run: impl Fn(usize, &Tile<T>),
    ) {
        let Lines { count, length, last, image } = plan.lines;
        let y = tile.c;
        let [down, right] = s.steps();
        for line in lines {
            let from = match image {
                usize::MAX => line * length * s.c,
                _ => line / image * s.h * s.w * s.c + line % image * down,
            };
            let length_here = if line + 1 == count { last } else { length };
            for pixels in pieces(0..length_here, tallest) {
                tile.a = x.wrapping_add(from + pixels.start * right);
                // SAFETY: the pixels lie inside the result.
                unsafe { tile.c = y.add((line * length + pixels.start) * s.co) };
                run(pixels.len(), &tile);
            }
        }
    }
}

/// Where a chunk reads images: in place, or a block at a time with its border, rounded perhaps; and
/// where it writes results.
pub(super) struct Images<'a, T> {
    x: *const T,
    pub(super) y: *mut T,
    border: &'a mut [T],
    /// What `border` holds, and where the first image would start.
    block: Option<(Block, *const T)>,
}

impl<T: Scalar> Images<'_, T> {
    /// The address of the first image, if all had a border; valid for `block`.
    unsafe fn bordered(&mut self, s: &ConvShape, block: Block, kernels: &Kernels<T>) -> *const T {
        match &self.block {
            Some((known, x)) if *known == block => *x,
            _ => {
                let to = self.border.as_mut_ptr();
                // SAFETY: the caller's promise.
                let x = unsafe { s.copy_bordered(self.x, &block, to, kernels) };
                self.block = Some((block, x));
                x
            }
        }
    }

    /// The address of the first pixel, if all were copied; valid for these stretches of pixels.
    unsafe fn stretch(
        &mut self,
        s: &ConvShape,
        lines: Range<usize>,
        kernels: &Kernels<T>,
    ) -> *const T {
        let pixels = lines.start * LINE..(lines.end * LINE).min(s.n * s.h * s.w);
        let block = Block { images: 0..0, lines };
        match &self.block {
            Some((known, x)) if *known == block => *x,
            _ => {
                let to = self.border.as_mut_ptr();
                // SAFETY: the caller's promise.
                unsafe { (kernels.copy)(self.x.add(pixels.start * s.c), pixels.len() * s.c, to) };
                let x = to.wrapping_sub(pixels.start * s.c / kernels.pair).cast_const();
                self.block = Some((block, x));
                x
            }
        }
    }
}

impl Kernel for Conv {
    fn name(&self) -> &'static str {
        "conv"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.x));
        visit(Operand::read(self.winograd.or(self.packed).unwrap_or(self.filter)));
        if let Some(bias) = self.bias {
            visit(Operand::read(bias));
        }
        visit(Operand::write(self.y));
    }

    fn check(&self) -> Result<(), String> {
        check_isa(self.isa)?;
        self.shape.check()?;
        let s = &self.shape;
        check_product("images", self.x, self.ty, &[s.images()])?;
        if let Some(filter) = self.winograd {
            self.winograd_check()?;
            let elements = self.filter_elements().ok_or("too many channels")?;
            check_product("transformed filter", filter, self.ty, &[elements])?;
        } else if let Some(panels) = self.packed {
            let bytes = self.packed_bytes().ok_or("a convolution that reads no panels")?;
            check_product("panels", panels, self.ty, &[bytes / self.ty.bytes()])?;
        } else {
            check_product("filter", self.filter, self.ty, &[s.filter()])?;
        }
        check_product("result", self.y, self.ty, &[s.results()])?;
        if let Some(bias) = self.bias {
            check_product("bias", bias, self.ty, &[s.co])?;
        }
        crate::bounds::apart(self)
    }

    fn chunks(&self) -> usize {
        if self.is_empty() {
            return 1;
        }
        if self.winograd.is_some() {
            return self.winograd_chunks();
        }
        match self.ty {
            Float::F32 => self.direct_chunks::<f32>(),
            Float::F64 => self.direct_chunks::<f64>(),
        }
    }

    fn flops(&self) -> u64 {
        self.shape.flops()
    }

    fn scratch_bytes(&self) -> usize {
        if self.is_empty() {
            return 0;
        }
        if self.winograd.is_some() {
            return self.winograd_scratch();
        }
        let elements = match self.ty {
            Float::F32 => self.scratch::<f32>(),
            Float::F64 => self.scratch::<f64>(),
        };
        elements * self.ty.bytes()
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        if !self.is_empty() {
            // SAFETY: the caller's promise, and `check` held the result against the sizes.
            unsafe { self.run_to(memory.ptr(self.y), chunk, memory, scratch) }
        }
    }
}
