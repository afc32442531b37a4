//! Runs of random numbers, many blocks of the cipher at a time.
//!
//! Always inlined: the caller decides for which instruction set this is compiled.

use super::{Key, philox_lanes};

/// Blocks that are computed side by side: one to each lane of a vector of words.
const BLOCKS: usize = 16;

/// The blocks `first`, `first + 1`, …, word by word.
#[inline(always)]
fn blocks(key: Key, first: u64) -> [[u32; BLOCKS]; 4] {
    let mut counter = [[0u32; BLOCKS]; 4];
    for i in 0..BLOCKS {
        let words = key.counter(first.wrapping_add(i as u64));
        for (lanes, word) in counter.iter_mut().zip(words) {
            lanes[i] = word;
        }
    }
    philox_lanes(counter, key.cipher_key())
}

/// Fills `to` with numbers `first`, `first + 1`, …, given how to fill a run that starts at a
/// multiple of `RUN`.
#[inline(always)]
fn fill<T: Copy + Default, const RUN: usize>(
    to: &mut [T],
    first: u64,
    whole: impl Fn(u64) -> [T; RUN],
) {
    let mut done = 0;
    while done < to.len() {
        let position = first + done as u64;
        let skip = (position % RUN as u64) as usize;
        let count = (RUN - skip).min(to.len() - done);
        let run = whole(position / RUN as u64);
        to[done..done + count].copy_from_slice(&run[skip..skip + count]);
        done += count;
    }
}

/// Single precision: four numbers to a block.
pub mod f32 {
    use super::super::{Key, unit_f32};
    use super::{BLOCKS, blocks, fill};

    /// Numbers `first`, `first + 1`, … of [`Key::uniform_f32`].
    #[inline(always)]
    pub fn uniform(to: &mut [f32], key: Key, first: u64) {
        fill(to, first, |run| {
            let words = blocks(key, run * BLOCKS as u64);
            let mut values = [0.0; 4 * BLOCKS];
            for i in 0..BLOCKS {
                for (word, lanes) in words.iter().enumerate() {
                    values[4 * i + word] = unit_f32(lanes[i]);
                }
            }
            values
        });
    }

    /// Numbers `first`, `first + 1`, … of [`Key::normal_f32`].
    #[inline(always)]
    pub fn normal(to: &mut [f32], key: Key, first: u64) {
        fill(to, first, |run| {
            let words = blocks(key, run * BLOCKS as u64);
            let mut pairs = [[0.0f32; BLOCKS]; 4];
            for i in 0..BLOCKS {
                (pairs[0][i], pairs[1][i]) = crate::math::box_muller(words[0][i], words[1][i]);
                (pairs[2][i], pairs[3][i]) = crate::math::box_muller(words[2][i], words[3][i]);
            }
            let mut values = [0.0; 4 * BLOCKS];
            for i in 0..BLOCKS {
                for (word, lanes) in pairs.iter().enumerate() {
                    values[4 * i + word] = lanes[i];
                }
            }
            values
        });
    }
}

/// Double precision: two numbers to a block.
pub mod f64 {
    use super::super::{Key, unit_f64};
    use super::{BLOCKS, blocks, fill};

    /// Numbers `first`, `first + 1`, … of [`Key::uniform_f64`].
    #[inline(always)]
    pub fn uniform(to: &mut [f64], key: Key, first: u64) {
        fill(to, first, |run| {
            let words = blocks(key, run * BLOCKS as u64);
            let mut values = [0.0; 2 * BLOCKS];
            for i in 0..BLOCKS {
                for half in 0..2 {
                    let (low, high) = (words[2 * half][i], words[2 * half + 1][i]);
                    values[2 * i + half] = unit_f64(low as u64 | (high as u64) << 32);
                }
            }
            values
        });
    }

    /// Numbers `first`, `first + 1`, … of [`Key::normal_f64`].
    #[inline(always)]
    pub fn normal(to: &mut [f64], key: Key, first: u64) {
        fill(to, first, |pair| [key.normal_f64(2 * pair), key.normal_f64(2 * pair + 1)]);
    }
}
