//! Chunks that threads take from each other.
//!
//! Each thread begins with a share of its own, which is the same in every replay, so that what it has
//! written lies in its caches. It takes half of what is left of it at a time; when nothing is left, it
//! takes from the ends of the others. Threads are not equally fast: another process, or another
//! machine on the same core, takes time from one of them, and without this all the others wait. (Blumofe &
//! Leiserson, "Scheduling multithreaded computations by work stealing", 1999; the halves are those
//! of Polychronopoulos & Kuck, "Guided self-scheduling", 1987.)
//!
//! Who computes a chunk makes no difference to what it holds.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is left of one thread's share, in one word that changes at once: turn, start and end. It
/// lies on a cache line of its own (two, since these are fetched in pairs): as long as nobody takes
/// from it, a thread takes its chunks without a message.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Remaining(AtomicU64);

/// That word. The turns are counted by all threads alike, one for each set of chunks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Left {
    turn: u32,
    start: u16,
    end: u16,
}

impl Left {
    fn from_word(word: u64) -> Left {
        Left { turn: (word >> 32) as u32, start: (word >> 16) as u16, end: word as u16 }
    }

    fn word(self) -> u64 {
        u64::from(self.turn) << 32 | u64::from(self.start) << 16 | u64::from(self.end)
    }
}

/// Most chunks that can be balanced.
pub(super) const MOST: usize = u16::MAX as usize;

/// Thread `index`'s share of `chunks` chunks: contiguous, and the same for the same numbers.
#[inline]
pub(super) fn share(chunks: usize, index: usize, threads: usize) -> Range<usize> {
    chunks * index / threads..chunks * (index + 1) / threads
}

/// Calls `run` with chunks that nobody else gets, until all of `chunks` are taken: first those of
/// thread `index`. Every thread must call it for the same turns in the same order.
pub(super) fn balance(
    shares: &[Remaining],
    index: usize,
    turn: u32,
    chunks: usize,
    mut run: impl FnMut(Range<usize>),
) {
    debug_assert!(chunks <= MOST);
    for i in 0..shares.len() {
        let whose = (index + i) % shares.len();
        let all = share(chunks, whose, shares.len());
        while let Some(taken) = shares[whose].take(turn, &all, i == 0) {
            run(taken);
        }
    }
}

impl Remaining {
    /// Takes half of what is left: from the front if it is one's `own`, else from the end.
    ///
    /// The order of memory accesses does not matter here: chunks do not depend on each other, and
    /// there is a barrier between those that do.
    fn take(&self, turn: u32, all: &Range<usize>, own: bool) -> Option<Range<usize>> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let seen = Left::from_word(word);
            let left = match turn.wrapping_sub(seen.turn) {
                0 if seen.start == seen.end => return None,
                0 => seen,
                // Its owner has not begun. If he is still at what came before, there may be more
                // of that which only he knows.
                1 if own || seen.start == seen.end => {
                    Left { turn, start: all.start as u16, end: all.end as u16 }
                }
                _ => return None,
            };
            let half = (left.end - left.start).div_ceil(2);
            let (taken, rest) = match own {
                true => (left.start..left.start + half, left.start + half..left.end),
                false => (left.end - half..left.end, left.start..left.end - half),
            };
            let next = Left { turn, start: rest.start, end: rest.end }.word();
            match self.0.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) if taken.is_empty() => return None,
                Ok(_) => return Some(taken.start.into()..taken.end.into()),
                Err(now) => word = now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    /// Spins for a while that differs from call to call, now and then for long.
    fn dawdle(state: &mut u64) {
        *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let rounds = (*state >> 33) % 200 * if (*state >> 60) == 0 { 100 } else { 1 };
        (0..rounds).for_each(|_| std::hint::spin_loop());
    }

    #[test]
    fn every_chunk_is_run_once_whoever_is_late() {
        const TURNS: u32 = 600;
        for threads in [2, 3, 8] {
            let shares: Vec<Remaining> = (0..threads).map(|_| Remaining::default()).collect();
            let chunks = |turn: u32| [1, 2, 3, 7, 16, 41][turn as usize % 6];
            let runs: Vec<Vec<AtomicUsize>> = (0..=TURNS)
                .map(|turn| (0..chunks(turn)).map(|_| AtomicUsize::new(0)).collect())
                .collect();
            let barrier = Barrier::new(threads);
            std::thread::scope(|scope| {
                for index in 0..threads {
                    let (shares, runs, barrier) = (&shares, &runs, &barrier);
                    scope.spawn(move || {
                        let mut state = index as u64;
                        for turn in 1..=TURNS {
                            balance(shares, index, turn, chunks(turn), |some| {
                                for chunk in some {
                                    dawdle(&mut state);
                                    runs[turn as usize][chunk].fetch_add(1, Ordering::Relaxed);
                                }
                            });
                            // Stages of one turn, and of several.
                            if turn % 5 == 0 {
                                barrier.wait();
                                let all = runs[turn as usize].iter();
                                assert!(all.clone().all(|n| n.load(Ordering::Relaxed) == 1));
                            }
                        }
                    });
                }
            });
            assert!(runs[1..].iter().flatten().all(|n| n.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn a_late_thread_finds_its_share_taken() {
        let shares = [Remaining::default(), Remaining::default()];
        let mut taken = Vec::new();
        balance(&shares, 1, 1, 8, |some| taken.push(some));
        assert_eq!(taken, [4..6, 6..7, 7..8, 2..4, 1..2, 0..1]);
        balance(&shares, 0, 1, 8, |some| panic!("{some:?} is taken twice"));
        // Who is still at the turn before keeps what he has.
        assert_eq!(shares[0].take(2, &(0..4), true), Some(0..2));
        assert_eq!(shares[0].take(3, &(0..4), false), None);
    }

    #[test]
    fn shares_cover_all_chunks_once() {
        for (threads, chunks) in [(1, 5), (2, 5), (3, 1), (4, 0), (7, 100)] {
            let all: Vec<usize> = (0..threads).flat_map(|i| share(chunks, i, threads)).collect();
            assert_eq!(all, (0..chunks).collect::<Vec<_>>());
        }
    }
}
