//! Reductions: tiles are added place by place, and the places folded together now and then.
//!
//! A running total of each place of a tile costs one addition a value, whatever is reduced. After
//! at most [`CARRY_EVERY`] tiles the totals are folded along the reduced dimensions of the tile
//! into a carry of double precision, so the error of a long sum does not grow with its length.

use super::Reduce;
use super::lane::{Lane, STEP};

/// Tiles that are added in the group's own precision before the total is carried.
pub(super) const CARRY_EVERY: usize = 16;

/// Independent totals in a run.
const TOTALS: usize = 32;

/// `to[i] = combine(to[i], x[i])`.
#[inline(always)]
fn accumulate_body<T: Lane>(reduce: Reduce, to: &mut [T], x: &[T]) {
    #[inline(always)]
    fn each<T: Lane>(to: &mut [T], x: &[T], combine: impl Fn(T, T) -> T) {
        let len = to.len().min(x.len()) & !(STEP - 1);
        for (to, &x) in to[..len].iter_mut().zip(&x[..len]) {
            *to = combine(*to, x);
        }
    }
    match reduce {
        Reduce::Sum => each(to, x, |a, b| T::combine(Reduce::Sum, a, b)),
        Reduce::Prod => each(to, x, |a, b| T::combine(Reduce::Prod, a, b)),
        Reduce::Max => each(to, x, |a, b| T::combine(Reduce::Max, a, b)),
        Reduce::Min => each(to, x, |a, b| T::combine(Reduce::Min, a, b)),
    }
}

/// All values of `x` combined.
#[inline(always)]
fn fold_run<T: Lane>(
    x: &[T],
    identity: T,
    combine: impl Fn(T, T) -> T,
    carry: impl Fn(T::Carry, T::Carry) -> T::Carry,
) -> T::Carry {
    let mut total = identity.widen();
    let chunks = x.chunks_exact(TOTALS);
    let rest = chunks.remainder();
    if x.len() >= TOTALS {
        let mut totals = [identity; TOTALS];
        for chunk in chunks {
            for (total, x) in totals.iter_mut().zip(chunk) {
                *total = combine(*total, *x);
            }
        }
        for x in totals {
            total = carry(total, x.widen());
        }
    }
    for x in rest {
        total = carry(total, x.widen());
    }
    total
}

/// Combines the values of a tile into `to`: `levels` says for each level of the tile its extent
/// and its step in `to`, which is 0 where it is reduced.
#[inline(always)]
fn fold_with<T: Lane>(
    levels: &[(usize, isize)],
    x: &[T],
    to: &mut [T::Carry],
    identity: T,
    combine: impl Fn(T, T) -> T + Copy,
    carry: impl Fn(T::Carry, T::Carry) -> T::Carry + Copy,
) {
    let Some((&(run, step), outer)) = levels.split_last() else {
        to[0] = carry(to[0], x[0].widen());
        return;
    };
    for (number, x) in x.chunks_exact(run).enumerate() {
        let (mut rest, mut at) = (number, 0);
        for &(count, step) in outer.iter().rev() {
            at += (rest % count) * step as usize;
            rest /= count;
        }
        if step == 0 {
            to[at] = carry(to[at], fold_run(x, identity, combine, carry));
        } else {
            for (to, x) in to[at..at + run].iter_mut().zip(x) {
                *to = carry(*to, x.widen());
            }
        }
    }
}

#[inline(always)]
fn fold_body<T: Lane>(reduce: Reduce, levels: &[(usize, isize)], x: &[T], to: &mut [T::Carry]) {
    macro_rules! fold {
        ($reduce:expr) => {
            fold_with(
                levels,
                x,
                to,
                T::identity($reduce),
                |a, b| T::combine($reduce, a, b),
                |a, b| T::combine_carry($reduce, a, b),
            )
        };
    }
    match reduce {
        Reduce::Sum => fold!(Reduce::Sum),
        Reduce::Prod => fold!(Reduce::Prod),
        Reduce::Max => fold!(Reduce::Max),
        Reduce::Min => fold!(Reduce::Min),
    }
}

crate::real::per_isa! {
    /// `to[i] = combine(to[i], x[i])`, up to a multiple of [`STEP`].
    pub(super) fn accumulate<T: Lane>(reduce: Reduce, to: &mut [T], x: &[T]) => accumulate_body
}
crate::real::per_isa! {
    /// Combines the values of a tile into `to`, along `levels`.
    pub(super) fn fold<T: Lane>(
        reduce: Reduce,
        levels: &[(usize, isize)],
        x: &[T],
        to: &mut [T::Carry],
    ) => fold_body
}
