//! What a cell does to its gates, for some rows and some units at one step, and its gradient.
//!
//! Loops over the lanes of a vector count and are free of branches, so that the functions of
//! `math` become vector code.

use super::Cell;
use crate::real::{Real, per_isa};
use crate::simd::Vector;

/// Values of one vector, of any instruction set.
type Lanes<T> = [T; crate::real::LANES];

/// An array in memory: where its first element of the block lies, and how far apart its rows and
/// its gates are. Null if it is not there.
#[derive(Clone, Copy)]
pub(super) struct Plane<T> {
    pub at: *mut T,
    pub row: usize,
    pub gate: usize,
    /// How far away the elements of the next step are; 0 for working memory.
    pub ahead: isize,
}

impl<T> Plane<T> {
    /// An array that is not there.
    pub const NONE: Plane<T> = Plane { at: std::ptr::null_mut(), row: 0, gate: 0, ahead: 0 };

    /// The same array from element `offset` on.
    pub fn offset(self, offset: usize) -> Plane<T> {
        let at = if self.at.is_null() { self.at } else { self.at.wrapping_add(offset) };
        Plane { at, ..self }
    }

    /// Asks for the elements of the next step, which lie far from those of this one.
    #[inline(always)]
    fn fetch(&self, row: usize, gates: usize, unit: usize) {
        for gate in 0..gates {
            let now = self.at.wrapping_add(row * self.row + gate * self.gate + unit);
            fetch(now.wrapping_offset(self.ahead));
        }
    }

    #[inline(always)]
    unsafe fn pointer(&self, row: usize, gate: usize, unit: usize) -> *mut T {
        // SAFETY: by contract of the caller, inside the array.
        unsafe { self.at.add(row * self.row + gate * self.gate + unit) }
    }
}

/// Asks for the cache line at `at`, which need not exist.
#[inline(always)]
fn fetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor of this architecture has the instruction, and it never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// One step forward of a block of units.
pub(super) struct Advance<T> {
    pub cell: Cell,
    pub rows: usize,
    pub units: usize,
    /// The recurrent sums; overwritten.
    pub sums: Plane<T>,
    /// The input's part.
    pub x: Plane<T>,
    /// State h before, after, and where it is returned.
    pub before: Plane<T>,
    pub after: Plane<T>,
    pub y: Plane<T>,
    /// Cell state, in place.
    pub c: Plane<T>,
    /// What is kept, or nothing.
    pub kept: Plane<T>,
}

/// One step back of a block of units.
pub(super) struct Retreat<T> {
    pub cell: Cell,
    pub rows: usize,
    pub units: usize,
    /// The output of this step.
    pub y: Plane<T>,
    /// What was kept of this step.
    pub kept: Plane<T>,
    /// The state before this step; nothing if it was zero.
    pub before: Plane<T>,
    /// The cell state before this step; nothing if it was zero.
    pub c_before: Plane<T>,
    /// Gradient of the output of this step, or nothing.
    pub dy: Plane<T>,
    /// Gradient of the state h, in place: what comes from later steps, then what passes by the
    /// recurrent sums (of a GRU).
    pub dh: Plane<T>,
    /// Gradient of the cell state, in place.
    pub dc: Plane<T>,
    /// Gradient of the input's part.
    pub dx: Plane<T>,
    /// Gradient of the recurrent sums: working memory, and, of a GRU, where it is returned.
    pub dsums: Plane<T>,
    pub returned: Plane<T>,
}

/// The recurrent sums of one row, straight from the weights: where there are few rows, packing
/// takes longer than reading.
pub(super) struct Sums<T> {
    /// `[sums, units]`.
    pub weights: *const T,
    pub sums: usize,
    pub units: usize,
    /// The state, `[units]`.
    pub h: *const T,
    /// `[sums]`, or null.
    pub bias: *const T,
    /// `[sums]`.
    pub to: *mut T,
    /// Whether to begin with the last sums: what the nearest cache still holds of the weights is
    /// what was read last.
    pub backward: bool,
}

/// A value for each lane.
macro_rules! lanes {
    ($l:ident => $value:expr) => {{
        let mut all: Lanes<T> = [T::ZERO; crate::real::LANES];
        for $l in 0..V::LANES {
            all[$l] = $value;
        }
        all
    }};
}

/// # Safety
/// The instruction set of `V`; the lanes in `mask` may be read.
#[inline(always)]
unsafe fn get<V: Vector>(from: *const V::Elem, mask: V::Mask) -> Lanes<V::Elem> {
    let mut all = Lanes::default();
    // SAFETY: by contract; no vector has more lanes than the array.
    unsafe { V::load_masked(from, mask).store(all.as_mut_ptr()) };
    all
}

/// As [`get`]; zeros from an array that is not there.
#[inline(always)]
unsafe fn get_any<V: Vector>(
    plane: &Plane<V::Elem>,
    [row, gate, unit]: [usize; 3],
    mask: V::Mask,
) -> Lanes<V::Elem> {
    match plane.at.is_null() {
        true => Lanes::default(),
        // SAFETY: by contract.
        false => unsafe { get::<V>(plane.pointer(row, gate, unit), mask) },
    }
}

/// # Safety
/// The instruction set of `V`; the lanes in `mask` may be written.
#[inline(always)]
unsafe fn put<V: Vector>(all: &Lanes<V::Elem>, to: *mut V::Elem, mask: V::Mask) {
    // SAFETY: by contract.
    unsafe { V::load(all.as_ptr()).store_masked(to, mask) }
}

/// # Safety
/// As [`Vector`]; all planes that are there hold the rows and units.
#[inline(always)]
unsafe fn advance_body<T: Real, V: Vector<Elem = T>, const FMA: bool>(job: &Advance<T>) {
    for row in 0..job.rows {
        for unit in (0..job.units).step_by(V::LANES) {
            // SAFETY: by contract; the mask ends with the units.
            unsafe {
                let mask = V::mask((job.units - unit).min(V::LANES));
                let sum = |gate| get::<V>(job.sums.pointer(row, gate, unit), mask);
                let x = |gate| get::<V>(job.x.pointer(row, gate, unit), mask);
                let keep = |gate, all: &Lanes<T>| {
                    if !job.kept.at.is_null() {
                        put::<V>(all, job.kept.pointer(row, gate, unit), mask);
                    }
                };
                job.x.fetch(row, job.cell.gates(), unit);
                job.y.fetch(row, 1, unit);
                if !job.kept.at.is_null() {
                    job.kept.fetch(row, job.cell.kept(), unit);
                }
                let h = match job.cell {
                    Cell::Lstm => {
                        let (s, a) = ([sum(0), sum(1), sum(2), sum(3)], [x(0), x(1), x(2), x(3)]);
                        let before = get::<V>(job.c.pointer(row, 0, unit), mask);
                        let i = lanes!(l => (s[0][l] + a[0][l]).gate::<FMA>());
                        let f = lanes!(l => (s[1][l] + a[1][l]).gate::<FMA>());
                        let g = lanes!(l => (s[2][l] + a[2][l]).tanh::<FMA>());
                        let o = lanes!(l => (s[3][l] + a[3][l]).gate::<FMA>());
                        let c = lanes!(l => f[l] * before[l] + i[l] * g[l]);
                        for (gate, all) in [&i, &f, &g, &o, &c].into_iter().enumerate() {
                            keep(gate, all);
                        }
                        put::<V>(&c, job.c.pointer(row, 0, unit), mask);
                        put::<V>(&o, job.sums.pointer(row, 3, unit), mask);
                        continue;
                    }
                    Cell::Gru => {
                        let (s, a) = ([sum(0), sum(1), sum(2)], [x(0), x(1), x(2)]);
                        let before = get::<V>(job.before.pointer(row, 0, unit), mask);
                        let r = lanes!(l => (s[0][l] + a[0][l]).gate::<FMA>());
                        let z = lanes!(l => (s[1][l] + a[1][l]).gate::<FMA>());
                        let n = lanes!(l => (a[2][l] + r[l] * s[2][l]).tanh::<FMA>());
                        for (gate, all) in [&r, &z, &n, &s[2]].into_iter().enumerate() {
                            keep(gate, all);
                        }
                        lanes!(l => n[l] + z[l] * (before[l] - n[l]))
                    }
                    Cell::Tanh => {
                        let (s, a) = (sum(0), x(0));
                        lanes!(l => (s[l] + a[l]).tanh::<FMA>())
                    }
                    Cell::Relu => {
                        let (s, a) = (sum(0), x(0));
                        lanes!(l => relu(s[l] + a[l]))
                    }
                };
                put::<V>(&h, job.after.pointer(row, 0, unit), mask);
                put::<V>(&h, job.y.pointer(row, 0, unit), mask);
            }
        }
    }
    if job.cell == Cell::Lstm {
        // SAFETY: by contract.
        unsafe { show::<T, V, FMA>(job) };
    }
}

/// The second half of an LSTM's step, h = o tanh(c): apart from the first, since within one loop
/// each turn would wait for its cell state.
///
/// # Safety
/// As [`advance_body`].
#[inline(always)]
unsafe fn show<T: Real, V: Vector<Elem = T>, const FMA: bool>(job: &Advance<T>) {
    for row in 0..job.rows {
        for unit in (0..job.units).step_by(V::LANES) {
            // SAFETY: by contract; the mask ends with the units.
            unsafe {
                let mask = V::mask((job.units - unit).min(V::LANES));
                let o = get::<V>(job.sums.pointer(row, 3, unit), mask);
                let c = get::<V>(job.c.pointer(row, 0, unit), mask);
                let h = lanes!(l => o[l] * c[l].tanh::<FMA>());
                put::<V>(&h, job.after.pointer(row, 0, unit), mask);
                put::<V>(&h, job.y.pointer(row, 0, unit), mask);
            }
        }
    }
}

/// What is not a number stays so.
#[inline(always)]
fn relu<T: Real>(x: T) -> T {
    if T::ZERO > x { T::ZERO } else { x }
}

/// # Safety
/// As [`advance_body`].
#[inline(always)]
unsafe fn retreat_body<T: Real, V: Vector<Elem = T>, const FMA: bool>(job: &Retreat<T>) {
    let one = T::ONE;
    for row in 0..job.rows {
        for unit in (0..job.units).step_by(V::LANES) {
            // SAFETY: by contract; the mask ends with the units.
            unsafe {
                let mask = V::mask((job.units - unit).min(V::LANES));
                let kept = |gate| get::<V>(job.kept.pointer(row, gate, unit), mask);
                let send = |gate, all: &Lanes<T>| {
                    put::<V>(all, job.dsums.pointer(row, gate, unit), mask);
                    put::<V>(all, job.dx.pointer(row, gate, unit), mask);
                };
                job.kept.fetch(row, job.cell.kept(), unit);
                job.dx.fetch(row, job.cell.gates(), unit);
                job.y.fetch(row, usize::from(job.cell != Cell::Lstm), unit);
                for (plane, gates) in [(&job.dy, 1), (&job.returned, job.cell.gates())] {
                    if !plane.at.is_null() {
                        plane.fetch(row, gates, unit);
                    }
                }
                let (dy, carried) = (
                    get_any::<V>(&job.dy, [row, 0, unit], mask),
                    get::<V>(job.dh.pointer(row, 0, unit), mask),
                );
                let dh = lanes!(l => dy[l] + carried[l]);
                match job.cell {
                    Cell::Lstm => {
                        let [i, f, g, o, c] = [kept(0), kept(1), kept(2), kept(3), kept(4)];
                        let before = get_any::<V>(&job.c_before, [row, 0, unit], mask);
                        let later = get::<V>(job.dc.pointer(row, 0, unit), mask);
                        let t = lanes!(l => c[l].tanh::<FMA>());
                        let dc = lanes!(l => later[l] + dh[l] * o[l] * (one - t[l] * t[l]));
                        let di = lanes!(l => dc[l] * g[l] * (i[l] * (one - i[l])));
                        let df = lanes!(l => dc[l] * before[l] * (f[l] * (one - f[l])));
                        let dg = lanes!(l => dc[l] * i[l] * (one - g[l] * g[l]));
                        let d_o = lanes!(l => dh[l] * t[l] * (o[l] * (one - o[l])));
                        for (gate, all) in [&di, &df, &dg, &d_o].into_iter().enumerate() {
                            send(gate, all);
                        }
                        let dc = lanes!(l => dc[l] * f[l]);
                        put::<V>(&dc, job.dc.pointer(row, 0, unit), mask);
                    }
                    Cell::Gru => {
                        let [r, z, n, q] = [kept(0), kept(1), kept(2), kept(3)];
                        let before = get_any::<V>(&job.before, [row, 0, unit], mask);
                        let dn = lanes!(l => dh[l] * (one - z[l]) * (one - n[l] * n[l]));
                        let dz = lanes!(l => dh[l] * (before[l] - n[l]) * (z[l] * (one - z[l])));
                        let dr = lanes!(l => dn[l] * q[l] * (r[l] * (one - r[l])));
                        let dq = lanes!(l => dn[l] * r[l]);
                        send(0, &dr);
                        send(1, &dz);
                        send(2, &dn);
                        put::<V>(&dq, job.dsums.pointer(row, 2, unit), mask);
                        for (gate, all) in [&dr, &dz, &dq].into_iter().enumerate() {
                            put::<V>(all, job.returned.pointer(row, gate, unit), mask);
                        }
                        let past = lanes!(l => dh[l] * z[l]);
                        put::<V>(&past, job.dh.pointer(row, 0, unit), mask);
                    }
                    Cell::Tanh | Cell::Relu => {
                        let y = get::<V>(job.y.pointer(row, 0, unit), mask);
                        let d = match job.cell {
                            Cell::Tanh => lanes!(l => dh[l] * (one - y[l] * y[l])),
                            _ => lanes!(l => if y[l] > T::ZERO { dh[l] } else { T::ZERO }),
                        };
                        send(0, &d);
                    }
                }
            }
        }
    }
}

/// As many sums at a time as a vector has lanes, each over a row of weights; then their lanes are
/// exchanged and added up.
///
/// # Safety
/// As [`Vector`]; all that the job names is there.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // Counted loops unroll into plain registers.
unsafe fn sums_body<T: Real, V: Vector<Elem = T>, const FMA: bool>(job: &Sums<T>) {
    const MOST: usize = crate::real::LANES;
    let whole = job.units / V::LANES * V::LANES;
    let (mut lanes, mut turned) = ([T::ZERO; MOST * MOST], [T::ZERO; MOST * MOST]);
    let groups = job.sums.div_ceil(V::LANES);
    for group in 0..groups {
        let first = V::LANES * if job.backward { groups - 1 - group } else { group };
        let count = (job.sums - first).min(V::LANES);
        // SAFETY: by contract; where fewer rows are left, the last one is read again.
        unsafe {
            let row = |i: usize| job.weights.add((first + i.min(count - 1)) * job.units);
            // Four rows at a time, so that the weights are read nearly in the order of memory.
            for four in (0..V::LANES).step_by(4) {
                let rows = [row(four), row(four + 1), row(four + 2), row(four + 3)];
                let mut sums = [V::zero(); 4];
                for unit in (0..whole).step_by(V::LANES) {
                    let h = V::load(job.h.add(unit));
                    for i in 0..4 {
                        sums[i] = sums[i].fma(V::load(rows[i].add(unit)), h);
                    }
                }
                if whole < job.units {
                    let mask = V::mask(job.units - whole);
                    let h = V::load_masked(job.h.add(whole), mask);
                    for i in 0..4 {
                        sums[i] = sums[i].fma(V::load_masked(rows[i].add(whole), mask), h);
                    }
                }
                for i in 0..4 {
                    sums[i].store(lanes.as_mut_ptr().add((four + i) * V::LANES));
                }
            }
            let (from, to) = (lanes.as_ptr(), turned.as_mut_ptr());
            V::transpose(from, V::LANES, [V::LANES; 2], to, V::LANES, V::LANES);
            let mut all = [V::zero(); 4];
            for i in 0..V::LANES {
                all[i % 4] = all[i % 4].add(V::load(turned.as_ptr().add(i * V::LANES)));
            }
            let mut all = all[0].add(all[1]).add(all[2].add(all[3]));
            let mask = V::mask(count);
            if !job.bias.is_null() {
                all = all.add(V::load_masked(job.bias.add(first), mask));
            }
            all.store_masked(job.to.add(first), mask);
        }
    }
}

per_isa!(
    /// The recurrent sums of one row; the job names what is there, for the caller to see to.
    pub(super) fn row_sums<T: Real>(job: &Sums<T>) => sums_body [V, FMA]
);
per_isa!(
    /// One step forward. The planes hold the rows and units of the job; this is for the caller to
    /// see to.
    pub(super) fn advance<T: Real>(job: &Advance<T>) => advance_body [V, FMA]
);
per_isa!(
    /// One step back, as [`advance`].
    pub(super) fn retreat<T: Real>(job: &Retreat<T>) => retreat_body [V, FMA]
);
