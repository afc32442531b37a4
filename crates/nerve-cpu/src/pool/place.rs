//! The places of maxima in their windows: found on the way forward, followed on the way back.

use super::grad::Part;
use super::{Geometry, PoolShape, rectified};
use crate::bounds::holds;
use crate::memory::{Memory, Plain, Region};
use crate::real::{LANES, Real, per_isa};
use std::ops::Range;

/// The place of a maximum that is not above zero, where only positive ones are asked for.
pub const NO_PLACE: u8 = u8::MAX;

/// Where the places of the maxima go: for each window `row * kernel width + column` of its largest
/// element, the first of several, a NaN counting as larger than anything. Padding counts as part of
/// the window, but is never the largest.
///
/// Bytes for windows of up to 255 places, else i32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Places {
    /// `[n, oh, ow, c]`.
    pub region: Region,
    /// Whether a maximum that is not above zero has [`NO_PLACE`], so that the gradient of a ReLU
    /// behind the pooling need not be taken on its own. For places in bytes only.
    pub positive: bool,
}

impl PoolShape {
    /// Bytes of the place of one maximum.
    pub fn place_bytes(&self) -> usize {
        let taps = self.kernel[0].saturating_mul(self.kernel[1]);
        if taps <= usize::from(NO_PLACE) { 1 } else { 4 }
    }
}

impl Places {
    pub(super) fn check(&self, shape: &PoolShape, count: usize) -> Result<(), String> {
        if shape.kind != super::PoolKind::Max {
            return Err("avg_pool has no places".into());
        }
        if self.positive && shape.place_bytes() != 1 {
            return Err("max_pool: no mark for a maximum below zero in a window that large".into());
        }
        holds("pool places", self.region, count, shape.place_bytes())
    }

    /// # Safety
    /// As [`Memory::write`]; the region was checked.
    pub(super) unsafe fn write<'m>(
        &self,
        shape: &PoolShape,
        memory: &'m Memory,
        part: Range<usize>,
    ) -> FoundMut<'m> {
        // SAFETY: by contract.
        unsafe {
            match shape.place_bytes() {
                1 => FoundMut::Narrow(memory.write(self.region, part)),
                _ => FoundMut::Wide(memory.write(self.region, part)),
            }
        }
    }
}

/// Places to fill.
pub(super) enum FoundMut<'m> {
    Narrow(&'m mut [u8]),
    Wide(&'m mut [i32]),
}

/// Places that were found.
#[derive(Clone, Copy)]
pub(super) enum Found<'m> {
    Narrow(&'m [u8]),
    Wide(&'m [i32]),
}

impl<'m> Found<'m> {
    /// # Safety
    /// As [`Memory::read`]; the region was checked.
    pub(super) unsafe fn read(shape: &PoolShape, region: Region, memory: &'m Memory) -> Self {
        // SAFETY: by contract.
        unsafe {
            match shape.place_bytes() {
                1 => Found::Narrow(memory.read(region)),
                _ => Found::Wide(memory.read(region)),
            }
        }
    }
}

/// A number that a place is stored as.
trait Place: Plain + PartialEq {
    fn new(place: usize) -> Self;
    fn index(self) -> usize;
}

impl Place for u8 {
    #[inline(always)]
    fn new(place: usize) -> Self {
        place as u8
    }
    #[inline(always)]
    fn index(self) -> usize {
        self.into()
    }
}

impl Place for i32 {
    #[inline(always)]
    fn new(place: usize) -> Self {
        place as i32
    }
    #[inline(always)]
    fn index(self) -> usize {
        self as usize
    }
}

/// Whether `value` displaces the maximum `top` found before it.
#[inline(always)]
#[allow(clippy::neg_cmp_op_on_partial_ord)] // A NaN is not smaller, and wins.
fn wins<T: Real>(value: T, top: T) -> bool {
    // No jump, which would be mispredicted.
    !(value <= top) & !top.is_nan()
}

/// The maximum of a 2 x 2 window and its place.
#[inline(always)]
fn quad<T: Real, P: Place>([a, b, c, d]: [T; 4]) -> (T, P) {
    let (right_up, right_down) = (wins(b, a), wins(d, c));
    let (up, down) = (if right_up { b } else { a }, if right_down { d } else { c });
    let lower = wins(down, up);
    let place = match (lower, right_up, right_down) {
        (false, right, _) => P::new(right.into()),
        (true, _, right) => P::new(2 + usize::from(right)),
    };
    (if lower { down } else { up }, place)
}

/// What is done to a maximum and its place before they are stored.
#[derive(Clone, Copy)]
pub(super) struct Settle {
    /// Whether the maximum becomes zero if it is negative.
    pub(super) relu: bool,
    /// Whether the place is [`NO_PLACE`] unless the maximum is above zero.
    pub(super) positive: bool,
}

impl Settle {
    #[inline(always)]
    fn settle<T: Real, P: Place>(self, (top, place): (T, P)) -> (T, P) {
        let none = self.positive & ((top <= T::ZERO) | top.is_nan());
        let place = if none { P::new(NO_PLACE.into()) } else { place };
        (if self.relu { rectified(top) } else { top }, place)
    }
}

/// One place of 2 x 2 windows, all channels.
#[inline(always)]
fn quad_channels<T: Real, P: Place>(
    [a, b, d, e]: [&[T]; 4],
    settle: Settle,
    y: &mut [T],
    places: &mut [P],
) {
    let n = y.len();
    let (a, b, d, e, places) = (&a[..n], &b[..n], &d[..n], &e[..n], &mut places[..n]);
    for i in 0..n {
        (y[i], places[i]) = settle.settle(quad([a[i], b[i], d[i], e[i]]));
    }
}

/// One row of 2 x 2 windows, from the two rows under it.
#[inline(always)]
fn quads<T: Real, P: Place>(
    [upper, lower]: [&[T]; 2],
    c: usize,
    settle: Settle,
    y: &mut [T],
    places: &mut [P],
) {
    if c == 1 {
        let rows = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
        for ((y, place), (a, b)) in y.iter_mut().zip(places).zip(rows) {
            (*y, *place) = settle.settle(quad([a[0], a[1], b[0], b[1]]));
        }
        return;
    }
    let rows = upper.chunks_exact(2 * c).zip(lower.chunks_exact(2 * c));
    let to = y.chunks_exact_mut(c).zip(places.chunks_exact_mut(c));
    for ((y, places), (upper, lower)) in to.zip(rows) {
        let ((a, b), (d, e)) = (upper.split_at(c), lower.split_at(c));
        quad_channels([a, b, d, e], settle, y, places);
    }
}

/// The maximum of window (oy, ox) and its place, channel by channel.
#[inline(always)]
fn window<T: Real, P: Place>(
    g: &Geometry,
    x: &[T],
    [oy, ox]: [usize; 2],
    top: &mut [T],
    first: &mut [P],
) {
    let (c, row) = (g.c, g.row());
    let (above, left) = (g.down.clipped(oy), g.across.clipped(ox));
    let mut begun = false;
    for (r, iy) in g.down.window(oy).enumerate() {
        for (i, ix) in g.across.window(ox).enumerate() {
            let place = P::new((above + r) * g.across.kernel + left + i);
            let x = &x[iy * row + ix * c..][..c];
            if begun {
                displace(x, place, top, first);
            } else {
                top.copy_from_slice(x);
                first.fill(place);
                begun = true;
            }
        }
    }
}

#[inline(always)]
fn displace<T: Real, P: Place>(x: &[T], place: P, top: &mut [T], first: &mut [P]) {
    for ((&x, top), first) in x.iter().zip(top).zip(first) {
        let better = wins(x, *top);
        *top = if better { x } else { *top };
        *first = if better { place } else { *first };
    }
}

/// The windows to search: images, rows of windows, and what is done to what is found.
pub(super) struct Search<'a, T> {
    pub(super) g: &'a Geometry,
    pub(super) x: &'a [T],
    pub(super) rows: Range<usize>,
    pub(super) settle: Settle,
}

/// Maxima and places of some rows of windows; the maxima go to `unread`, one row of output, if
/// nobody wants them.
#[inline(always)]
fn find_as<T: Real, P: Place>(
    search: &Search<'_, T>,
    unread: &mut [T],
    mut y: Option<&mut [T]>,
    places: &mut [P],
) {
    let Search { g, x, rows, settle } = search;
    let (row, out_row, c) = (g.row(), g.out_row(), g.c);
    let together = (c == 1 || c >= LANES) && g.is_quads();
    for (number, (r, places)) in rows.clone().zip(places.chunks_exact_mut(out_row)).enumerate() {
        let y = match &mut y {
            Some(y) => &mut y[number * out_row..][..out_row],
            None => &mut unread[..out_row],
        };
        let (image, oy) = (r / g.down.out, r % g.down.out);
        let x = &x[image * g.image()..][..g.image()];
        if together {
            let (upper, lower) = x[2 * oy * row..][..2 * row].split_at(row);
            quads([upper, lower], c, *settle, y, places);
            continue;
        }
        for ox in 0..g.across.out {
            let at = ox * c..(ox + 1) * c;
            window(g, x, [oy, ox], &mut y[at.clone()], &mut places[at]);
        }
        for (y, place) in y.iter_mut().zip(places) {
            (*y, *place) = settle.settle((*y, *place));
        }
    }
}

#[inline(always)]
fn find_body<T: Real>(
    search: &Search<'_, T>,
    unread: &mut [T],
    y: Option<&mut [T]>,
    places: FoundMut<'_>,
) {
    match places {
        FoundMut::Narrow(places) => find_as(search, unread, y, places),
        FoundMut::Wide(places) => find_as(search, unread, y, places),
    }
}

per_isa!(
    /// Maxima, if anybody wants them, and their places; `unread` has room for a row of maxima.
    pub(super) fn find<T: Real>(search: &Search<'_, T>, unread: &mut [T], y: Option<&mut [T]>,
        places: FoundMut<'_>) => find_body
);

/// `dx = dy` where the place is number `at`, else 0.
#[inline(always)]
fn take<T: Real, P: Place>(places: &[P], at: usize, dy: &[T], dx: &mut [T]) {
    let at = P::new(at);
    for ((dx, &dy), &place) in dx.iter_mut().zip(dy).zip(places) {
        *dx = if place == at { dy } else { T::ZERO };
    }
}

/// Both rows of `dx` under one row of 2 x 2 windows.
#[inline(always)]
fn spread_quads<T: Real, P: Place>(g: &Geometry, places: &[P], dy: &[T], dx: &mut [T]) {
    let (c, used) = (g.c, 2 * g.out_row());
    let (upper, lower) = dx.split_at_mut(g.row());
    upper[used..].fill(T::ZERO);
    lower[used..].fill(T::ZERO);
    if c == 1 {
        let pairs = upper.as_chunks_mut::<2>().0.iter_mut().zip(lower.as_chunks_mut::<2>().0);
        for ((&place, &dy), (upper, lower)) in places.iter().zip(dy).zip(pairs) {
            let to = |at: usize| if place == P::new(at) { dy } else { T::ZERO };
            (*upper, *lower) = ([to(0), to(1)], [to(2), to(3)]);
        }
        return;
    }
    let pairs = upper.chunks_exact_mut(2 * c).zip(lower.chunks_exact_mut(2 * c));
    let windows = places.chunks_exact(c).zip(dy.chunks_exact(c));
    for ((places, dy), (upper, lower)) in windows.zip(pairs) {
        let ((a, b), (d, e)) = (upper.split_at_mut(c), lower.split_at_mut(c));
        for (at, dx) in [a, b, d, e].into_iter().enumerate() {
            take(places, at, dy, dx);
        }
    }
}

/// Adds the gradient of window (oy, ox) to the rows `own` of an image, of which `dx` begins at the
/// first.
#[inline(always)]
fn spread_window<T: Real, P: Place>(
    g: &Geometry,
    [oy, ox]: [usize; 2],
    (places, dy): (&[P], &[T]),
    own: &Range<usize>,
    dx: &mut [T],
) {
    let (c, row) = (g.c, g.row());
    let (down, across) = (g.down.window(oy), g.across.window(ox));
    let (above, left) = (g.down.clipped(oy), g.across.clipped(ox));
    for iy in down.start.max(own.start)..down.end.min(own.end) {
        let number = (above + iy - down.start) * g.across.kernel + left;
        let dx = &mut dx[(iy - own.start) * row + across.start * c..][..across.len() * c];
        if c == 1 {
            // One of few places: no need to look at them all.
            let place = places[0].index().wrapping_sub(number);
            dx.get_mut(place).into_iter().for_each(|dx| *dx += dy[0]);
            continue;
        }
        for (i, dx) in dx.chunks_exact_mut(c).enumerate() {
            let place = P::new(number + i);
            for ((dx, &dy), &own) in dx.iter_mut().zip(dy).zip(places) {
                *dx += if own == place { dy } else { T::ZERO };
            }
        }
    }
}

/// The rows `own` of one image of `dx`.
#[inline(always)]
fn spread_image<T: Real, P: Place>(
    g: &Geometry,
    places: &[P],
    dy: &[T],
    own: &Range<usize>,
    dx: &mut [T],
) {
    let (row, out_row, c) = (g.row(), g.out_row(), g.c);
    let windows = g.down.touching(own.clone());
    if g.is_quads() {
        for oy in windows.clone() {
            let out = oy * out_row..(oy + 1) * out_row;
            let dx = &mut dx[(2 * oy - own.start) * row..][..2 * row];
            spread_quads(g, &places[out.clone()], &dy[out], dx);
        }
        // A row under no window.
        dx[(2 * windows.end).saturating_sub(own.start) * row..].fill(T::ZERO);
        return;
    }
    dx.fill(T::ZERO);
    for oy in windows {
        for ox in 0..g.across.out {
            let at = oy * out_row + ox * c..oy * out_row + (ox + 1) * c;
            spread_window(g, [oy, ox], (&places[at.clone()], &dy[at]), own, dx);
        }
    }
}

#[inline(always)]
fn spread_as<T: Real, P: Place>(g: &Geometry, part: &Part, places: &[P], dy: &[T], dx: &mut [T]) {
    let out = g.down.out * g.out_row();
    for (i, dx) in part.images.clone().zip(dx.chunks_exact_mut(part.rows.len() * g.row())) {
        let image = i * out..(i + 1) * out;
        spread_image(g, &places[image.clone()], &dy[image], &part.rows, dx);
    }
}

#[inline(always)]
fn spread_body<T: Real>(g: &Geometry, part: &Part, found: Found<'_>, dy: &[T], dx: &mut [T]) {
    match found {
        Found::Narrow(places) => spread_as(g, part, places, dy, dx),
        Found::Wide(places) => spread_as(g, part, places, dy, dx),
    }
}

per_isa!(
    /// Gradients to the places that were found, for a part of `dx`.
    pub(super) fn spread<T: Real>(g: &Geometry, part: &Part, found: Found<'_>, dy: &[T],
        dx: &mut [T]) => spread_body
);
