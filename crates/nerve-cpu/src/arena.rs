//! Working memory, handed from replay to replay.
//!
//! Nothing in an arena outlives a run, so programs that do not run at the same time share one: the
//! plan that trains and the plan that validates, and all the small plans of single values.

use crate::memory::Buffer;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Arenas that nobody uses at the moment.
static SPARE: Mutex<Vec<Buffer>> = Mutex::new(Vec::new());
/// Most that are kept: more replays than this at the same time are rare.
const KEPT: usize = 4;

fn spare() -> MutexGuard<'static, Vec<Buffer>> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An arena of at least `bytes` bytes with undefined contents: a spare one, or, if all are too
/// small, a new one in the place of the largest of them.
pub(crate) fn take(bytes: usize) -> Buffer {
    let mut spare = spare();
    // Sorted by size: the first that is large enough wastes least.
    let fits = spare.partition_point(|arena| arena.bytes() < bytes);
    if fits < spare.len() {
        return spare.remove(fits);
    }
    spare.pop();
    drop(spare);
    Buffer::zeroed(bytes)
}

/// Gives an arena back.
pub(crate) fn give(arena: Buffer) {
    let mut spare = spare();
    if spare.len() == KEPT {
        spare.remove(0);
    }
    let at = spare.partition_point(|other| other.bytes() < arena.bytes());
    spare.insert(at, arena);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_out_what_fits_and_forgets_what_is_too_small() {
        let size = 123 << 20;
        let first = take(size);
        assert!(first.bytes() >= size);
        let address = first.as_ptr();
        give(first);
        let again = take(size - 5);
        assert_eq!(again.as_ptr(), address);
        give(again);
        let larger = take(size + 64);
        assert!(larger.bytes() >= size + 64);
        give(larger);
        assert!(spare().len() <= KEPT && spare().is_sorted_by_key(Buffer::bytes));
    }
}
