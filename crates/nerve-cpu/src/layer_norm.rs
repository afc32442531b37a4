//! Layer normalisation and root-mean-square normalisation of rows, and their gradients.

use crate::bounds::{apart, holds, product};
use crate::kernel::{Float, Kernel, Operand, Scratch};
use crate::memory::{Memory, Region};
use crate::real::{Real, RunOn, per_isa, run_by_float};
use crate::rows::{dot, row_chunks, rows_of, subtract, sum};
use crate::simd::{Isa, Vector, isa};

/// `y = (x - mean) / sqrt(var + eps) * weight + bias` of each row, with the row's own mean and its
/// variance over n; not `centred`, the mean counts as 0 and `var` is the mean of the squares.
///
/// One pass over memory: a row is walked three times, but it is in the nearest cache by then.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm {
    /// Element type of all operands.
    pub ty: Float,
    /// Number of rows.
    pub rows: usize,
    /// Elements of a row.
    pub cols: usize,
    /// Whether to subtract the mean.
    pub centred: bool,
    /// Added to the variance.
    pub eps: f64,
    /// Input, `[rows, cols]`.
    pub x: Region,
    /// The scale, `[cols]`.
    pub weight: Region,
    /// The shift, `[cols]`.
    pub bias: Option<Region>,
    /// Output, `[rows, cols]`.
    pub y: Region,
}

/// The gradient of [`LayerNorm`] with respect to input, scale and shift.
///
/// With u = (x - mean) / std and g = dy * weight: `dx = (g - mean(g) - u * mean(g * u)) / std`,
/// `dweight = sum of dy * u` and `dbias = sum of dy` over the rows. Mean and deviation are computed
/// again from x, which has to be read anyway, so that nothing need be kept from the forward pass.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNormGrad {
    /// Element type of all operands.
    pub ty: Float,
    /// Number of rows.
    pub rows: usize,
    /// Elements of a row.
    pub cols: usize,
    /// Whether the mean was subtracted.
    pub centred: bool,
    /// What was added to the variance.
    pub eps: f64,
    /// Input of the forward instruction, `[rows, cols]`.
    pub x: Region,
    /// The scale, `[cols]`.
    pub weight: Region,
    /// Gradient with respect to the output, `[rows, cols]`.
    pub dy: Region,
    /// Gradient with respect to the input, `[rows, cols]`.
    pub dx: Region,
    /// Those with respect to scale and shift, one pair of rows for each chunk: `[parts, 2, cols]`,
    /// to be added by [`SumParts`](crate::SumParts).
    pub parts: Region,
}

impl LayerNormGrad {
    /// Number of pairs of rows that `rows` rows of `cols` elements leave in
    /// [`parts`](LayerNormGrad::parts).
    pub fn part_count(rows: usize, cols: usize) -> usize {
        row_chunks(rows, cols)
    }
}

/// Writes the row without its mean to `c`, and gives 1 / sqrt(var + eps).
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn centre<T: Real, V: Vector<Elem = T>>(x: &[T], c: &mut [T], centred: bool, eps: T) -> T {
    let n = T::from_usize(x.len());
    // SAFETY: by contract.
    unsafe {
        match centred {
            true => subtract(x, sum::<T, V>(x) / n, c),
            false => c.copy_from_slice(x),
        }
        T::ONE / (dot::<T, V>(c, c) / n + eps).sqrt()
    }
}

/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn norm_body<T: Real, V: Vector<Elem = T>, const FMA: bool>(
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    centred: bool,
    eps: T,
) {
    let cols = weight.len();
    for (x, y) in x.chunks_exact(cols).zip(y.chunks_exact_mut(cols)) {
        // SAFETY: by contract.
        let scale = unsafe { centre::<T, V>(x, y, centred, eps) };
        match bias {
            Some(bias) => {
                for ((y, &w), &b) in y.iter_mut().zip(weight).zip(bias) {
                    *y = *y * scale * w + b;
                }
            }
            None => {
                for (y, &w) in y.iter_mut().zip(weight) {
                    *y = *y * scale * w;
                }
            }
        }
    }
}

/// `sums` holds the gradient of the scale and that of the shift, `c` one row.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
#[allow(clippy::too_many_arguments)] // Five rows, and how they were normalised.
unsafe fn grad_body<T: Real, V: Vector<Elem = T>, const FMA: bool>(
    x: &[T],
    weight: &[T],
    dy: &[T],
    dx: &mut [T],
    sums: &mut [T],
    c: &mut [T],
    centred: bool,
    eps: T,
) {
    let cols = weight.len();
    let n = T::from_usize(cols);
    sums.fill(T::ZERO);
    let (dweight, dbias) = sums.split_at_mut(cols);
    let rows = x.chunks_exact(cols).zip(dy.chunks_exact(cols)).zip(dx.chunks_exact_mut(cols));
    for ((x, dy), dx) in rows {
        for ((g, &dy), &w) in dx.iter_mut().zip(dy).zip(weight) {
            *g = dy * w;
        }
        // SAFETY: by contract.
        let (scale, mean, slope) = unsafe {
            let scale = centre::<T, V>(x, c, centred, eps);
            let mean = if centred { sum::<T, V>(dx) / n } else { T::ZERO };
            (scale, mean, dot::<T, V>(dx, c) / n * scale * scale)
        };
        for ((dx, &c), (&dy, (dw, db))) in
            dx.iter_mut().zip(&*c).zip(dy.iter().zip(dweight.iter_mut().zip(&mut *dbias)))
        {
            *dw += dy * c * scale;
            *db += dy;
            *dx = (*dx - mean - c * slope) * scale;
        }
    }
}

per_isa!(
    fn norm<T: Real>(
        x: &[T], weight: &[T], bias: Option<&[T]>, y: &mut [T], centred: bool, eps: T,
    ) => norm_body [V, FMA]
);
per_isa!(
    #[allow(clippy::too_many_arguments)]
    fn norm_grad<T: Real>(
        x: &[T], weight: &[T], dy: &[T], dx: &mut [T], sums: &mut [T], c: &mut [T], centred: bool, eps: T,
    ) => grad_body [V, FMA]
);

impl LayerNorm {
    unsafe fn run_as<T: Real>(&self, isa: Isa, chunk: usize, memory: &Memory, _: &mut Scratch<'_>) {
        let rows = rows_of(chunk, self.rows, self.cols);
        let part = rows.start * self.cols..rows.end * self.cols;
        if part.is_empty() {
            return;
        }
        // SAFETY: `check` saw the elements in each region; the rows of chunks are disjoint.
        unsafe {
            let x = &memory.read::<T>(self.x)[part.clone()];
            let weight = &memory.read::<T>(self.weight)[..self.cols];
            let bias = self.bias.map(|bias| &memory.read::<T>(bias)[..self.cols]);
            let y = memory.write(self.y, part);
            norm(isa, x, weight, bias, y, self.centred, T::rounded(self.eps));
        }
    }
}

impl LayerNormGrad {
    unsafe fn run_as<T: Real>(
        &self,
        isa: Isa,
        chunk: usize,
        memory: &Memory,
        scratch: &mut Scratch<'_>,
    ) {
        let rows = rows_of(chunk, self.rows, self.cols);
        let part = rows.start * self.cols..rows.end * self.cols;
        if self.cols == 0 {
            return;
        }
        let sums = 2 * self.cols * chunk..2 * self.cols * (chunk + 1);
        // SAFETY: `check` saw the elements in each region; rows and sums of chunks are disjoint.
        unsafe {
            let x = &memory.read::<T>(self.x)[part.clone()];
            let weight = &memory.read::<T>(self.weight)[..self.cols];
            let dy = &memory.read::<T>(self.dy)[part.clone()];
            let (dx, sums) = (memory.write(self.dx, part), memory.write(self.parts, sums));
            let (c, eps) = (scratch.slice::<T>(self.cols), T::rounded(self.eps));
            norm_grad(isa, x, weight, dy, dx, sums, c, self.centred, eps);
        }
    }
}

run_by_float!(LayerNorm, LayerNormGrad);

impl Kernel for LayerNorm {
    fn name(&self) -> &'static str {
        if self.centred { "layer_norm" } else { "rms_norm" }
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.x));
        visit(Operand::read(self.weight));
        if let Some(bias) = self.bias {
            visit(Operand::read(bias));
        }
        visit(Operand::write(self.y));
    }

    fn check(&self) -> Result<(), String> {
        let elements = product(&[self.rows, self.cols])?;
        let bytes = self.ty.bytes();
        holds("layer_norm x", self.x, elements, bytes)?;
        holds("layer_norm weight", self.weight, self.cols, bytes)?;
        if let Some(bias) = self.bias {
            holds("layer_norm bias", bias, self.cols, bytes)?;
        }
        holds("layer_norm y", self.y, elements, bytes)?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        row_chunks(self.rows, self.cols)
    }

    fn flops(&self) -> u64 {
        7 * (self.rows * self.cols) as u64
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract.
        unsafe { self.run_on(isa(), chunk, memory, scratch) }
    }
}

impl Kernel for LayerNormGrad {
    fn name(&self) -> &'static str {
        if self.centred { "layer_norm_grad" } else { "rms_norm_grad" }
    }

    fn operands(&self, visit: &mut dyn FnMut(Operand)) {
        visit(Operand::read(self.x));
        visit(Operand::read(self.weight));
        visit(Operand::read(self.dy));
        visit(Operand::write(self.dx));
        visit(Operand::write(self.parts));
    }

    fn check(&self) -> Result<(), String> {
        let elements = product(&[self.rows, self.cols])?;
        let sums = product(&[Self::part_count(self.rows, self.cols), 2, self.cols])?;
        let bytes = self.ty.bytes();
        holds("layer_norm_grad x", self.x, elements, bytes)?;
        holds("layer_norm_grad weight", self.weight, self.cols, bytes)?;
        holds("layer_norm_grad dy", self.dy, elements, bytes)?;
        holds("layer_norm_grad dx", self.dx, elements, bytes)?;
        holds("layer_norm_grad parts", self.parts, sums, bytes)?;
        apart(self)
    }

    fn chunks(&self) -> usize {
        row_chunks(self.rows, self.cols)
    }

    fn flops(&self) -> u64 {
        16 * (self.rows * self.cols) as u64
    }

    fn scratch_bytes(&self) -> usize {
        self.cols * self.ty.bytes()
    }

    unsafe fn run(&self, chunk: usize, memory: &Memory, scratch: &mut Scratch<'_>) {
        // SAFETY: by contract.
        unsafe { self.run_on(isa(), chunk, memory, scratch) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Buffer;
    use crate::real::testing::{Rng, near, refuses_short, run_each, whole};

    struct Reference {
        y: Vec<f64>,
        dx: Vec<f64>,
        dweight: Vec<f64>,
        dbias: Vec<f64>,
    }

    /// By the definition, in f64.
    fn reference(
        [x, weight, bias, dy]: [&[f64]; 4],
        (rows, cols): (usize, usize),
        centred: bool,
        eps: f64,
    ) -> Reference {
        let (mut y, mut dx) = (vec![0.0; rows * cols], vec![0.0; rows * cols]);
        let (mut dweight, mut dbias) = (vec![0.0; cols], vec![0.0; cols]);
        let n = cols as f64;
        for r in 0..rows {
            let at = |j: usize| r * cols + j;
            let mean = match centred {
                true => (0..cols).map(|j| x[at(j)]).sum::<f64>() / n,
                false => 0.0,
            };
            let var = (0..cols).map(|j| (x[at(j)] - mean).powi(2)).sum::<f64>() / n;
            let std = (var + eps).sqrt();
            let u = |j: usize| (x[at(j)] - mean) / std;
            let g = |j: usize| dy[at(j)] * weight[j];
            let mean_g = if centred { (0..cols).map(g).sum::<f64>() / n } else { 0.0 };
            let mean_gu = (0..cols).map(|j| g(j) * u(j)).sum::<f64>() / n;
            for j in 0..cols {
                y[at(j)] = u(j) * weight[j] + bias[j];
                dx[at(j)] = (g(j) - mean_g - u(j) * mean_gu) / std;
                dweight[j] += dy[at(j)] * u(j);
                dbias[j] += dy[at(j)];
            }
        }
        Reference { y, dx, dweight, dbias }
    }

    fn forward_and_backward<T: Real + Default>(ty: Float, rows: usize, cols: usize, centred: bool) {
        let mut rng = Rng((rows * 7919 + cols) as u64);
        let mut draw = |n: usize| rng.reals::<T>(n, 2.0);
        let (x, weight, bias, dy) = (draw(rows * cols), draw(cols), draw(cols), draw(rows * cols));
        let wide = |v: &[T]| v.iter().map(|v| v.to_f64()).collect::<Vec<f64>>();
        let eps = 1e-5;
        let want = reference(
            [&wide(&x), &wide(&weight), &wide(&bias), &wide(&dy)],
            (rows, cols),
            centred,
            eps,
        );
        let parts = LayerNormGrad::part_count(rows, cols);
        let zeroed = |n: usize| Buffer::zeroed(n * ty.bytes());
        let buffers = [
            Buffer::from_slice(&x),
            Buffer::from_slice(&weight),
            Buffer::from_slice(&bias),
            Buffer::from_slice(&dy),
            zeroed(rows * cols),
            zeroed(rows * cols),
            zeroed(parts * 2 * cols),
        ];
        let refs: Vec<&Buffer> = buffers.iter().collect();
        let at = |i: usize| whole(i as u32, &buffers[i]);
        let forward = LayerNorm {
            ty,
            rows,
            cols,
            centred,
            eps,
            x: at(0),
            weight: at(1),
            bias: Some(at(2)),
            y: at(4),
        };
        let tolerance = match ty {
            Float::F32 => 2e-5,
            Float::F64 => 1e-11,
        };
        let same = |what: &str, isa: Isa, got: &[T], want: &[f64], scale: f64| {
            for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
                let what = format_args!("{what} {isa:?} {rows}x{cols} centred={centred} [{i}]");
                near(got, want, tolerance * scale, what);
            }
        };
        run_each(&forward, &refs, |isa| {
            same("y", isa, &buffers[4].to_vec(0..rows * cols), &want.y, 1.0);
        });
        let plain = LayerNorm { bias: None, ..forward };
        run_each(&plain, &refs, |isa| {
            let y: Vec<T> = buffers[4].to_vec(0..rows * cols);
            let bias = wide(&bias);
            let less: Vec<f64> =
                want.y.iter().enumerate().map(|(i, y)| y - bias[i % cols.max(1)]).collect();
            same("y without bias", isa, &y, &less, 4.0);
        });
        let back = LayerNormGrad {
            ty,
            rows,
            cols,
            centred,
            eps,
            x: at(0),
            weight: at(1),
            dy: at(3),
            dx: at(5),
            parts: at(6),
        };
        run_each(&back, &refs, |isa| {
            // A short row may have hardly any deviation to divide by.
            let slack = if cols < 4 { 300.0 } else { 4.0 };
            same("dx", isa, &buffers[5].to_vec(0..rows * cols), &want.dx, slack);
            let sums = wide(&buffers[6].to_vec::<T>(0..parts * 2 * cols));
            let total = |k: usize| (0..parts).map(|p| sums[p * 2 * cols + k]).sum::<f64>();
            for j in 0..cols {
                let bound = tolerance * slack * (rows as f64).sqrt().max(1.0);
                for (got, want) in [(total(j), want.dweight[j]), (total(cols + j), want.dbias[j])] {
                    let off = (got - want).abs();
                    assert!(off <= bound * want.abs().max(1.0), "{isa:?} {rows}x{cols} {j}: {off}");
                }
            }
        });
    }

    #[test]
    fn agrees_with_the_definition() {
        let shapes = [(0, 3), (3, 0), (1, 1), (5, 2), (64, 10), (33, 17), (7, 64), (300, 33)];
        for (rows, cols) in shapes.into_iter().chain([(3, 1000), (2, 5000), (200, 256)]) {
            for centred in [true, false] {
                forward_and_backward::<f32>(Float::F32, rows, cols, centred);
                forward_and_backward::<f64>(Float::F64, rows, cols, centred);
            }
        }
    }

    #[test]
    fn a_large_mean_does_not_hide_the_deviation() {
        let x: Vec<f32> = (0..64).map(|i| 1e4 + (i % 2) as f32).collect();
        let (a, w, y) =
            (Buffer::from_slice(&x), Buffer::from_slice(&[1f32; 64]), Buffer::zeroed(4 * 64));
        let kernel = LayerNorm {
            ty: Float::F32,
            rows: 1,
            cols: 64,
            centred: true,
            eps: 0.0,
            x: whole(0, &a),
            weight: whole(1, &w),
            bias: None,
            y: whole(2, &y),
        };
        crate::kernel::run_alone(&kernel, &[&a, &w, &y]);
        for (i, y) in y.to_vec::<f32>(0..64).into_iter().enumerate() {
            assert!((y.abs() - 1.0).abs() < 1e-3 && (y > 0.0) == (i % 2 == 1), "{i}: {y}");
        }
    }

    #[test]
    fn check_refuses_short_and_overlapping_regions() {
        let ty = Float::F64;
        let (at, row) = (|i: u32| Region::new(i, 8, 6 * 8), |i: u32| Region::new(i, 8, 3 * 8));
        let forward = LayerNorm {
            ty,
            rows: 2,
            cols: 3,
            centred: true,
            eps: 1e-5,
            x: at(0),
            weight: row(1),
            bias: Some(row(2)),
            y: at(3),
        };
        refuses_short(
            &forward,
            &[
                |k| &mut k.x,
                |k| &mut k.weight,
                |k| k.bias.as_mut().expect("it has one"),
                |k| &mut k.y,
            ],
        );
        let back = LayerNormGrad {
            ty,
            rows: 2,
            cols: 3,
            centred: true,
            eps: 1e-5,
            x: at(0),
            weight: row(1),
            dy: at(2),
            dx: at(3),
            parts: at(4),
        };
        refuses_short(
            &back,
            &[|k| &mut k.x, |k| &mut k.weight, |k| &mut k.dy, |k| &mut k.dx, |k| &mut k.parts],
        );
        assert!(LayerNorm { y: at(0), ..forward.clone() }.check().is_err());
        assert!(LayerNorm { rows: usize::MAX, ..forward }.check().is_err());
        assert!(LayerNormGrad { dx: at(2), ..back }.check().is_err());
    }
}
