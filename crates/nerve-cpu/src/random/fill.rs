//! Runs of random numbers, many blocks of the cipher at a time.
//!
//! Always inlined: the caller decides for which instruction set this is compiled.

use super::{Key, philox};

/// Blocks that are computed side by side: enough that the compiler makes one loop of vectors of
/// them rather than a long list of scalars.
const BLOCKS: usize = 64;

/// The blocks `first`, `first + 1`, …, word by word.
#[inline(always)]
fn blocks(key: Key, first: u64) -> [[u32; BLOCKS]; 4] {
    let mut words = [[0u32; BLOCKS]; 4];
    let [w0, w1, w2, w3] = &mut words;
    let lanes = w0.iter_mut().zip(w1).zip(w2).zip(w3);
    for (i, (((w0, w1), w2), w3)) in lanes.enumerate() {
        let counter = key.counter(first.wrapping_add(i as u64));
        [*w0, *w1, *w2, *w3] = philox(counter, key.cipher_key());
    }
    words
}

/// Fills `to` with numbers `first`, `first + 1`, …, where `$run(key, r)` gives the `$len` numbers
/// of run `r`. A macro, since a closure would not be compiled for the caller's instruction set.
macro_rules! fill {
    ($to:ident, $key:ident, $first:ident, $run:ident, $len:expr) => {{
        let mut done = 0;
        while done < $to.len() {
            let position = $first + done as u64;
            let skip = (position % $len as u64) as usize;
            let count = ($len - skip).min($to.len() - done);
            let run = $run($key, position / $len as u64);
            $to[done..done + count].copy_from_slice(&run[skip..skip + count]);
            done += count;
        }
    }};
}

/// Single precision: four numbers to a block.
pub mod f32 {
    use super::super::{Key, unit_f32};
    use super::{BLOCKS, blocks};

    #[inline(always)]
    fn uniform_run(key: Key, run: u64) -> [f32; 4 * BLOCKS] {
        let [w0, w1, w2, w3] = blocks(key, run * BLOCKS as u64);
        let mut values = [0.0; 4 * BLOCKS];
        for i in 0..BLOCKS {
            values[4 * i] = unit_f32(w0[i]);
            values[4 * i + 1] = unit_f32(w1[i]);
            values[4 * i + 2] = unit_f32(w2[i]);
            values[4 * i + 3] = unit_f32(w3[i]);
        }
        values
    }

    #[inline(always)]
    fn normal_run(key: Key, run: u64) -> [f32; 4 * BLOCKS] {
        let [w0, w1, w2, w3] = blocks(key, run * BLOCKS as u64);
        let mut values = [0.0; 4 * BLOCKS];
        for i in 0..BLOCKS {
            let (a, b) = crate::math::box_muller(w0[i], w1[i]);
            let (c, d) = crate::math::box_muller(w2[i], w3[i]);
            values[4 * i] = a;
            values[4 * i + 1] = b;
            values[4 * i + 2] = c;
            values[4 * i + 3] = d;
        }
        values
    }

    /// Numbers `first`, `first + 1`, … of [`Key::uniform_f32`].
    #[inline(always)]
    pub fn uniform(to: &mut [f32], key: Key, first: u64) {
        fill!(to, key, first, uniform_run, 4 * BLOCKS);
    }

    /// Numbers `first`, `first + 1`, … of [`Key::normal_f32`].
    #[inline(always)]
    pub fn normal(to: &mut [f32], key: Key, first: u64) {
        fill!(to, key, first, normal_run, 4 * BLOCKS);
    }
}

/// Double precision: two numbers to a block.
pub mod f64 {
    use super::super::{Key, unit_f64};
    use super::{BLOCKS, blocks};

    #[inline(always)]
    fn uniform_run(key: Key, run: u64) -> [f64; 2 * BLOCKS] {
        let [w0, w1, w2, w3] = blocks(key, run * BLOCKS as u64);
        let mut values = [0.0; 2 * BLOCKS];
        for i in 0..BLOCKS {
            values[2 * i] = unit_f64(w0[i] as u64 | (w1[i] as u64) << 32);
            values[2 * i + 1] = unit_f64(w2[i] as u64 | (w3[i] as u64) << 32);
        }
        values
    }

    /// Numbers `first`, `first + 1`, … of [`Key::uniform_f64`].
    #[inline(always)]
    pub fn uniform(to: &mut [f64], key: Key, first: u64) {
        fill!(to, key, first, uniform_run, 2 * BLOCKS);
    }

    /// Numbers `first`, `first + 1`, … of [`Key::normal_f64`], one after the other: what needs
    /// doubles does not need them fast.
    #[inline(always)]
    pub fn normal(to: &mut [f64], key: Key, first: u64) {
        for (i, to) in to.iter_mut().enumerate() {
            *to = key.normal_f64(first + i as u64);
        }
    }
}
