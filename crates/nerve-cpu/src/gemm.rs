//! Matrix products.
//!
//! A product is cut twice: into chunks, which threads share, by `Plan`; and, inside a chunk,
//! into blocks that fit the caches and tiles that fit the registers, by `drive`. Where a matrix
//! is walked often, lies in the wrong order, or is to be rounded to bf16, it is first copied into
//! panels (`pack`).

mod dot;
pub(crate) mod drive;
pub(crate) mod pack;
mod ready;
mod sum;
pub(crate) mod tile;
mod turn;

pub use pack::PackB;
pub use ready::GemmKernel;
pub use sum::SumParts;
pub use tile::Activation;

use crate::kernel::{Float, Kernel, Operand, Precision, Scratch};
use crate::memory::{Memory, Region};
use crate::simd::{Isa, isa};
use pack::{check_extent, check_isa, check_product, lanes, pair};
use tile::Scalar;

/// `C = activation(A B + bias)`, or `C = activation(C + A B + bias)`, for a batch of matrices.
///
/// A is `m` by `k`, B is `k` by `n`, C is `m` by `n`, and the bias is a row of `n`. A transposed
/// matrix is one whose strides say so. `Cᵀ = Bᵀ Aᵀ` is the same product: [`Gemm::arranged`] chooses
/// between the two. [`Gemm::new`] fills in the plain case; the rest is set with
/// the update syntax: `Gemm { bias: Some(b), ..Gemm::new(...) }`.
///
/// C may not overlap what is read. With `k == 0` the product is zero. Sums over `k` are rounded
/// in an order fixed by the shape and the instruction set.
#[derive(Clone, Debug, PartialEq)]
pub struct Gemm {
    /// Type of all elements.
    pub ty: Float,
    /// Rows of A and C.
    pub m: usize,
    /// Columns of B and C.
    pub n: usize,
    /// Columns of A, rows of B: the length of the sums.
    pub k: usize,
    /// Number of products.
    pub batch: usize,
    /// The left matrix.
    pub a: Region,
    /// Elements between rows and between columns of A. One of them is 1.
    pub a_strides: [usize; 2],
    /// Elements between the matrices A of a batch; 0 if all share one.
    pub a_batch: usize,
    /// The right matrix.
    pub b: Region,
    /// Elements between rows and between columns of B. One of them is 1.
    pub b_strides: [usize; 2],
    /// Elements between the matrices B of a batch; 0 if all share one.
    pub b_batch: usize,
    /// B in panels, if [`Gemm::pack_instruction`] ran before; then `b` is not read.
    pub packed_b: Option<Region>,
    /// The result.
    pub c: Region,
    /// Elements between rows of C, whose columns lie side by side; or, if it is turned, between its
    /// columns.
    pub c_stride: usize,
    /// Whether C is stored column by column: as the transposed matrix, `n` by `m`.
    pub c_turned: bool,
    /// Elements between the matrices C of a batch.
    pub c_batch: usize,
    /// Values that are added to each line of C as it is stored: to each row, a row of `n`; or, if C
    /// is turned, to each column, a column of `m`.
    pub bias: Option<Region>,
    /// What is applied to each element at the end.
    pub activation: Activation,
    /// Whether to add to what C holds.
    pub accumulate: bool,
    /// Into how many stretches the sum over `k` is cut, to give threads work where C is small.
    /// With more than 1, `c` receives that many dense `m` by `n` matrices one after the other,
    /// to be added by [`SumParts`]; there is then no batch, bias, activation or accumulation.
    pub parts: usize,
    /// How exactly A and B are read. Products of no more than four rows or columns are exact.
    pub precision: Precision,
    /// Whose vectors; [`isa()`] unless a test wants another.
    pub isa: Isa,
}

/// Floating-point operations that are worth a hand-off to another thread: about 10 µs.
const CHUNK_FLOPS: u64 = 2_000_000;
/// Bytes that are worth a hand-off where each element is used a few times only: about 10 µs.
const CHUNK_BYTES: u64 = 1 << 20;
/// Chunks of one product, as long as they are small. More would only shrink the blocks that packed
/// panels serve.
const MANY_CHUNKS: u64 = 16;
/// Floating-point operations from which on there may be more chunks: about half a millisecond.
const LARGE_CHUNK_FLOPS: u64 = 128_000_000;
/// Most chunks of one product.
const MOST_CHUNKS: u64 = 32;
/// Longest stretch of `k`, in steps of a tile, that is summed in registers before C is touched: [`Gemm::depth_block`]
/// says when. A panel of B two vectors wide then fills 128 KiB: it streams from L2, which costs less than touching C more
/// often.
const LONG_BLOCK: usize = 1024;
/// The same where more would not stay in L2.
const SHORT_BLOCK: usize = 512;
/// Bytes of L2 that the rows of A and two panels of B may fill in a long block. The same on every processor, since sums
/// are rounded where a block ends.
const LONG_BYTES: usize = 640 << 10;
/// How much more it costs to pack an element than to read it.
const PACKING: usize = 8;
/// Most elements that are gathered into one copy for the products of a few rows or columns.
const GATHER: usize = 64 * 1024;

/// By which kernel a product is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// Tiles of C, by the micro-kernel.
    Tiles,
    /// Few rows: rows of A times columns of B, both contiguous along `k`.
    FewRows,
    /// Few columns: the same with the sides exchanged.
    FewColumns,
}

/// Where the tiles find B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SourceB {
    /// In place.
    Direct,
    /// In a panel that each chunk packs for itself.
    PackHere,
    /// In panels packed by an earlier instruction.
    Packed,
}

/// How a product is cut up. A function of the instruction alone.
#[derive(Clone, Copy, Debug)]
struct Plan {
    path: Path,
    b: SourceB,
    pack_a: bool,
    /// Width of a tile in vectors.
    width: usize,
    /// Matrices of the batch in one chunk.
    items: usize,
    /// Parts into which rows and columns are cut.
    rows: usize,
    columns: usize,
}

impl Gemm {
    /// The product of two dense row-major matrices, `[m, k]` and `[k, n]`.
    pub fn new(ty: Float, [m, n, k]: [usize; 3], a: Region, b: Region, c: Region) -> Self {
        Gemm {
            ty,
            m,
            n,
            k,
            batch: 1,
            a,
            a_strides: [k, 1],
            a_batch: 0,
            b,
            b_strides: [n, 1],
            b_batch: 0,
            packed_b: None,
            c,
            c_stride: n,
            c_turned: false,
            c_batch: 0,
            bias: None,
            activation: Activation::None,
            accumulate: false,
            parts: 1,
            precision: Precision::Full,
            isa: isa(),
        }
    }

    /// The same product, or `Cᵀ = Bᵀ Aᵀ` in its place where that spares more than it costs: where
    /// both sides run along `k`, the one that has to be packed should be the smaller one, and where
    /// neither does, none has to be.
    pub fn arranged(self) -> Self {
        let turned = |strides: [usize; 2]| strides[0] == 1 && strides[1] != 1;
        let plain = self.packed_b.is_none() && self.parts == 1 && self.path() == Path::Tiles;
        if !plain || self.m.min(self.n) < 2 {
            return self;
        }
        if self.rounds() {
            // Both are packed: the right side once for all, the left one while it is multiplied.
            return if self.m < self.n { self.transposed() } else { self };
        }
        if !turned(self.b_strides) {
            return self;
        }
        let (few, many) = (self.m <= self.n / 2, !self.collides(self.b_strides[1]));
        match turned(self.a_strides) || few && many {
            true => self.transposed(),
            false => self,
        }
    }

    /// `Cᵀ = Bᵀ Aᵀ`.
    fn transposed(self) -> Self {
        Gemm {
            m: self.n,
            n: self.m,
            a: self.b,
            a_strides: [self.b_strides[1], self.b_strides[0]],
            a_batch: self.b_batch,
            b: self.a,
            b_strides: [self.a_strides[1], self.a_strides[0]],
            b_batch: self.a_batch,
            c_turned: !self.c_turned,
            ..self
        }
    }

    /// Whether C has no elements.
    fn is_empty(&self) -> bool {
        self.m == 0 || self.n == 0 || self.batch == 0
    }

    /// Whether operands have to be packed because that is where they are rounded.
    fn rounds(&self) -> bool {
        self.ty == Float::F32 && self.precision == Precision::Bf16
    }

    /// Steps that tiles take along the depth.
    fn steps(&self) -> usize {
        self.k.div_ceil(pair(self.ty, self.isa, self.precision))
    }

    /// Number of lines in which C is stored, and their length.
    fn lines(&self) -> [usize; 2] {
        if self.c_turned { [self.n, self.m] } else { [self.m, self.n] }
    }

    /// Bytes of the panels, if it pays to pack B by an instruction of its own before this one:
    /// when several chunks would otherwise each pack the same columns. `None` if it does not.
    pub fn packed_b_bytes(&self) -> Option<usize> {
        if self.packed_b.is_some() || self.n == 0 || self.k == 0 || self.parts > 1 {
            return None;
        }
        let plan = self.plan();
        let shared = plan.rows > 1 || (self.b_batch == 0 && self.batch > plan.items);
        if plan.path != Path::Tiles || plan.b != SourceB::PackHere || !shared {
            return None;
        }
        self.panel_bytes()
    }

    /// Bytes of the panels that [`pack_instruction`](Gemm::pack_instruction) fills; `None` if they
    /// are more than there can be.
    pub fn panel_bytes(&self) -> Option<usize> {
        let columns = self.n.checked_next_multiple_of(lanes(self.ty, self.isa))?;
        self.b_items().checked_mul(columns)?.checked_mul(self.steps())?.checked_mul(self.ty.bytes())
    }

    /// Whether the product is faster if B was packed before it and the packing costs nothing: where
    /// it would otherwise have to be packed, or to change sides.
    pub fn prepacking_pays(&self) -> bool {
        let some = self.m > 0 && self.n > 0 && self.k > 0 && self.batch > 0;
        some && self.path() == Path::Tiles && self.plan().b == SourceB::PackHere
    }

    /// The instruction that packs B into `into`, which has at least
    /// [`packed_b_bytes`](Gemm::packed_b_bytes) bytes.
    pub fn pack_instruction(&self, into: Region) -> PackB {
        PackB {
            ty: self.ty,
            k: self.k,
            n: self.n,
            batch: self.b_items(),
            strides: self.b_strides,
            batch_stride: self.b_batch,
            width: self.width(),
            precision: self.precision,
            from: self.b,
            to: into,
            isa: self.isa,
        }
    }

    /// The same product, reading B from the panels that
    /// [`pack_instruction`](Gemm::pack_instruction) wrote to `from`.
    pub fn with_packed_b(self, from: Region) -> Self {
        Gemm { packed_b: Some(from), ..self }
    }

    /// How many [`parts`](Gemm::parts) give threads enough to do: 1 unless C is small and `k` long.
    /// The answer does not depend on the processor.
    pub fn suggested_parts(&self) -> usize {
        let plain = self.bias.is_none() && self.activation == Activation::None && !self.accumulate;
        if self.batch != 1 || !plain || self.packed_b.is_some() || self.c_turned {
            return 1;
        }
        let blocks = self.m.div_ceil(32) * self.n.div_ceil(64);
        let wanted = (self.flops() / CHUNK_FLOPS).min(16) as usize;
        match blocks < 8 && wanted > 1 {
            true => wanted.min(self.k / 512).max(1),
            false => 1,
        }
    }

    /// Different matrices B.
    fn b_items(&self) -> usize {
        if self.b_batch == 0 { self.batch.min(1) } else { self.batch }
    }

    fn width(&self) -> usize {
        match self.ty {
            Float::F32 => f32::kernels(self.isa).width(self.m, self.n),
            Float::F64 => f64::kernels(self.isa).width(self.m, self.n),
        }
    }

    fn path(&self) -> Path {
        let b_turned = self.b_strides[0] == 1 && self.b_strides[1] != 1;
        let a_gathers = self.a_strides[1] == 1 || self.m.saturating_mul(self.k) <= GATHER;
        let b_gathers = self.b_strides[0] == 1 || self.n.saturating_mul(self.k) <= GATHER;
        if self.packed_b.is_some() || self.parts > 1 || self.c_turned {
            Path::Tiles
        } else if self.m <= 4 && b_turned && a_gathers {
            Path::FewRows
        } else if self.n <= 4 && self.k / 32 >= self.n && self.a_strides[1] == 1 && b_gathers {
            Path::FewColumns
        } else {
            Path::Tiles
        }
    }

    #[inline]
    fn plan(&self) -> Plan {
        let path = self.path();
        let wide = if path == Path::Tiles { self.width() * lanes(self.ty, self.isa) } else { 4 };
        let b = match self.b_strides[1] {
            _ if self.packed_b.is_some() => SourceB::Packed,
            1 if self.rounds() => SourceB::PackHere,
            1 if self.m <= 28 || !self.collides(self.b_strides[0]) => SourceB::Direct,
            _ => SourceB::PackHere,
        };
        let stride = self.a_strides[usize::from(self.a_strides[0] == 1)];
        let pays = self.m >= 8 && self.n >= 4 * wide && self.collides(stride);
        let pack_a = path == Path::Tiles && (pays || self.rounds());
        let many = match path {
            Path::Tiles => self.flops() / CHUNK_FLOPS,
            // What takes the time is reading the larger side.
            Path::FewRows | Path::FewColumns => {
                let larger = self.batch * self.k * self.m.max(self.n);
                (larger * self.ty.bytes()) as u64 / CHUNK_BYTES
            }
        };
        let many = many.clamp(1, MANY_CHUNKS);
        let wanted = (self.flops() / LARGE_CHUNK_FLOPS).clamp(many, MOST_CHUNKS) as usize;
        let wanted = wanted.div_ceil(self.parts);
        let items = (self.batch / wanted).max(1);
        let wanted = wanted.div_ceil(self.batch.max(1));
        let weight = |packs| if packs { PACKING } else { 1 };
        let weights = [weight(pack_a), weight(b == SourceB::PackHere)];
        let [rows, columns] = self.split(wanted, self.n.div_ceil(wide), weights);
        let width = wide / lanes(self.ty, self.isa).min(wide);
        Plan { path, b, pack_a, width, items, rows, columns }
    }

    /// Whether lines of a matrix that are `stride` elements apart compete for the same few places
    /// in the caches, so that it pays to pack them.
    fn collides(&self, stride: usize) -> bool {
        self.k > 64 && stride.wrapping_mul(self.ty.bytes()).is_multiple_of(4096)
    }

    /// Cuts one matrix into about `wanted` chunks, such that the least is read again: each chunk
    /// reads its rows of A and its columns of B, which weigh more if it packs them first.
    fn split(&self, wanted: usize, panels: usize, [a, b]: [usize; 2]) -> [usize; 2] {
        if wanted <= 1 {
            return [1, 1];
        }
        let most_rows = self.m.div_ceil(16).max(1);
        let mut best = ([1, 1], usize::MAX);
        for rows in [1, 2, 4, 8, 16, 32] {
            let rows = wanted.min(rows).min(most_rows);
            let columns = wanted.div_ceil(rows).min(panels.max(1));
            let idle = wanted.saturating_sub(rows * columns).saturating_mul(self.m + self.n);
            let cost = (a * columns)
                .saturating_mul(self.m)
                .saturating_add((b * rows).saturating_mul(self.n))
                .saturating_add(idle);
            if cost <= best.1 {
                best = ([rows, columns], cost);
            }
        }
        best.0
    }

    /// Checks C: large enough, and no two chunks write the same element.
    fn check_c(&self) -> Result<(), String> {
        if self.parts > 1 {
            let plain = self.bias.is_none() && self.activation == Activation::None;
            let dense = self.c_stride == self.n && !self.c_turned;
            if self.batch != 1 || !plain || self.accumulate || !dense {
                return Err("a product in parts is dense, single, without bias, activation or \
                            accumulation"
                    .into());
            }
            return check_product("C", self.c, self.ty, &[self.parts, self.m, self.n]);
        }
        let [lines, length] = self.lines();
        let axes = [(self.batch, self.c_batch), (lines, self.c_stride), (length, 1)];
        check_extent("C", self.c, self.ty, &axes)?;
        if lines > 1 && self.c_stride < length {
            return Err(format!("rows of C overlap: {} apart, {length} long", self.c_stride));
        }
        // In range: the extent of C was just held against its region.
        let matrix = (lines.max(1) - 1) * self.c_stride + length;
        if self.batch > 1 && lines > 0 && self.c_batch < matrix {
            return Err(format!("matrices C overlap: {} apart, {matrix} long", self.c_batch));
        }
        Ok(())
    }
}

impl Kernel for Gemm {
    fn name(&self) -> &'static str {
        "gemm"
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.a));
        visit(Operand::read(self.packed_b.unwrap_or(self.b)));
        if let Some(bias) = self.bias {
            visit(Operand::read(bias));
        }
        // Gaps between the rows keep what they hold.
        let dense = self.c_stride == self.lines()[1]
            && (self.batch <= 1 || self.c_batch == self.m * self.n);
        match self.accumulate || !dense {
            true => visit(Operand::update(self.c)),
            false => visit(Operand::write(self.c)),
        }
    }

    fn check(&self) -> Result<(), String> {
        check_isa(self.isa)?;
        if self.parts == 0 || self.parts > self.k.max(1) {
            return Err(format!("{} parts of a sum of {}", self.parts, self.k));
        }
        if self.is_empty() {
            return Ok(());
        }
        for (name, strides) in [("A", self.a_strides), ("B", self.b_strides)] {
            if !strides.contains(&1) {
                return Err(format!("strides {strides:?} of {name}: one of them must be 1"));
            }
        }
        let [row, column] = self.a_strides;
        let axes = [(self.batch, self.a_batch), (self.m, row), (self.k, column)];
        check_extent("A", self.a, self.ty, &axes)?;
        if let Some(panels) = self.packed_b {
            let padded = self.n.checked_next_multiple_of(lanes(self.ty, self.isa));
            let lengths = [self.b_items(), self.steps(), padded.ok_or("too many columns")?];
            check_product("packed B", panels, self.ty, &lengths)?;
        } else {
            let [row, column] = self.b_strides;
            let axes = [(self.batch, self.b_batch), (self.k, row), (self.n, column)];
            check_extent("B", self.b, self.ty, &axes)?;
        }
        if let Some(bias) = self.bias {
            check_product("bias", bias, self.ty, &[self.lines()[1]])?;
        }
        self.check_c()?;
        crate::bounds::apart(self)
    }

    fn chunks(&self) -> usize {
        if self.is_empty() {
            return 1;
        }
        let plan = self.plan();
        self.batch.div_ceil(plan.items) * self.parts * plan.rows * plan.columns
    }

    fn flops(&self) -> u64 {
        [self.m, self.n, self.k]
            .iter()
            .fold(2 * self.batch as u64, |product, &length| product.saturating_mul(length as u64))
    }

    fn scratch_bytes(&self) -> usize {
        if self.is_empty() { 0 } else { self.scratch(&self.plan()) * self.ty.bytes() }
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        if !self.is_empty() {
            // SAFETY: the caller's promise.
            unsafe { self.run_planned(self.plan(), chunk..chunk + 1, memory, scratch) }
        }
    }
}

#[cfg(test)]
mod tests;
