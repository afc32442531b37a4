//! What a tile asks the caches for while it multiplies.

use crate::simd::{Prefetch, Vector, prefetch};

/// What a tile asks the caches for while it multiplies: the rows that the next tiles will read.
///
/// The processor finds out by itself what lies side by side, but not where the next panel starts,
/// nor rows that are far apart; and a tile has address units to spare. Nothing is read: the
/// addresses may lie outside the matrix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead<T> {
    /// The first row, as wide as the tile.
    pub at: *const T,
    /// Elements between rows.
    pub stride: usize,
    /// Number of rows, one for each step of the depth.
    pub rows: usize,
    /// Part of the next block of A. Tiles that read A along the depth, in place, do not ask for it:
    /// they have no registers left.
    pub block: Lines<T>,
}

impl<T> Ahead<T> {
    /// Asks for nothing.
    pub const NONE: Self = Ahead { at: std::ptr::null(), stride: 0, rows: 0, block: Lines::NONE };
}

/// Rows of a matrix, of which a tile asks for a cache line in each step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines<T> {
    pub at: *const T,
    /// Elements between rows.
    pub stride: usize,
    /// Elements of a row that are wanted.
    pub width: usize,
    /// Number of lines.
    pub count: usize,
}

impl<T> Lines<T> {
    pub const NONE: Self = Lines { at: std::ptr::null(), stride: 0, width: 0, count: 0 };
}

/// Elements on a cache line.
pub(crate) const fn line<T>() -> usize {
    64 / size_of::<T>()
}

/// Elements of A along the depth, from the current step on, at which a tile asks for more.
const AHEAD_ALONG_DEPTH: usize = 64;

/// How far a tile has come with asking.
pub(super) struct Next<T> {
    ahead: Ahead<T>,
    /// Of the line in the block of A.
    column: usize,
    /// Of A along the depth, in elements.
    row: usize,
}

impl<T> Next<T> {
    #[inline(always)]
    pub fn new(ahead: Ahead<T>) -> Self {
        Next { ahead, column: 0, row: 0 }
    }

    /// Asks for what belongs to so many steps of the depth from `d` on, at which A is `a` with its rows
    /// `row` elements apart.
    #[inline(always)]
    pub fn ask<V: Vector<Elem = T>, const MR: usize, const NV: usize, const DEPTH: bool>(
        &mut self,
        steps: usize,
        d: usize,
        a: *const T,
        row: usize,
    ) {
        if DEPTH {
            // Rows in turn: all of them while a step moves by a line.
            let lines = line::<T>();
            let turns = lines / V::STEPS;
            let each = MR.div_ceil(turns);
            for _ in 0..each {
                prefetch::<{ Prefetch::NEAR }, _>(a.wrapping_add(AHEAD_ALONG_DEPTH + self.row));
                self.row += row;
            }
            if self.row >= turns * each * row {
                self.row = 0;
            }
        } else {
            // Where the rows lie side by side, the next tile's are the next ones.
            for i in 0..(steps * MR).div_ceil(line::<T>()) {
                prefetch::<{ Prefetch::FAR }, _>(a.wrapping_add(2 * MR - 1 + i * line::<T>()));
            }
        }
        if d < self.ahead.rows {
            for _ in 0..steps {
                for j in 0..(NV * V::LANES).div_ceil(line::<T>()) {
                    prefetch::<{ Prefetch::FAR }, _>(self.ahead.at.wrapping_add(j * line::<T>()));
                }
                self.ahead.at = self.ahead.at.wrapping_add(self.ahead.stride);
            }
        }
        let block = &mut self.ahead.block;
        if !DEPTH && d < block.count {
            for _ in 0..steps {
                prefetch::<{ Prefetch::FAR }, _>(block.at.wrapping_add(self.column));
                self.column += line::<T>();
                if self.column >= block.width {
                    (block.at, self.column) = (block.at.wrapping_add(block.stride), 0);
                }
            }
        }
    }
}
