//! Storing a tile turned, into a matrix that lies column by column.

use super::Activation;
use crate::simd::Vector;

/// `c[j, i] = activation(from[i, j] + bias[i] (+ c[j, i]))` for a tile of at most 16 rows.
pub(crate) struct Turn<T> {
    pub from: *const T,
    /// Elements between rows of the tile.
    pub from_stride: usize,
    pub rows: usize,
    pub columns: usize,
    /// Room for the turned tile.
    pub aside: *mut T,
    pub c: *mut T,
    /// Elements between what were columns of the tile.
    pub c_stride: usize,
    /// One value a row of the tile, or null.
    pub bias: *const T,
    /// Whether to add to what C holds.
    pub accumulate: bool,
    pub activation: Activation,
}

/// Turns a tile block by block, then stores it line by line.
///
/// # Safety
/// The instruction set of `V`; all that is named may be read or written.
#[inline(always)]
pub(crate) unsafe fn turn<V: Vector>(t: &Turn<V::Elem>) {
    let high = t.rows.next_multiple_of(V::LANES);
    // SAFETY: the caller's promise; the masks keep to the rows.
    unsafe {
        for j in (0..t.columns).step_by(V::LANES) {
            let columns = (t.columns - j).min(V::LANES);
            for i in (0..t.rows).step_by(V::LANES) {
                let rows = (t.rows - i).min(V::LANES);
                let from = t.from.add(i * t.from_stride + j);
                let to = t.aside.add(j * high + i);
                V::transpose(from, t.from_stride, [rows, columns], to, high, rows);
            }
        }
        for i in (0..t.rows).step_by(V::LANES) {
            let mask = V::mask((t.rows - i).min(V::LANES));
            let bias = match t.bias.is_null() {
                true => V::zero(),
                false => V::load_masked(t.bias.add(i), mask),
            };
            for j in 0..t.columns {
                let c = t.c.add(j * t.c_stride + i);
                let mut line = V::load_masked(t.aside.add(j * high + i), mask);
                if t.accumulate {
                    line = line.add(V::load_masked(c, mask));
                }
                if !t.bias.is_null() {
                    line = line.add(bias);
                }
                if t.activation == Activation::Relu {
                    line = V::zero().max(line);
                }
                line.store_masked(c, mask);
            }
        }
    }
}
