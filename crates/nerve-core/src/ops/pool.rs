//! Pooling: the maximum or the mean of windows.

use super::expect_float;
use crate::compile::{Lowering, float};
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Op, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::fused::UnaryOp;
use nerve_cpu::{PoolKind, PoolShape};

/// Maximum or mean of windows of an image `[n, h, w, c]`. Padding counts as −∞ for the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// Which of the two.
    pub kind: PoolKind,
    /// Extent of the window.
    pub kernel: [usize; 2],
    /// Distance between windows.
    pub stride: [usize; 2],
    /// Padding on each side.
    pub padding: [usize; 2],
    /// Whether a mean counts the padding.
    pub count_include_pad: bool,
}

/// The gradient of [`Pool`] with respect to its input. Inputs: x, dy. Of several equal maxima the
/// first of the window takes all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolGrad {
    /// The pooling.
    pub pool: Pool,
}

impl Pool {
    fn extent(&self, axis: usize, n: usize) -> Result<usize, String> {
        let (k, s, p) = (self.kernel[axis], self.stride[axis], self.padding[axis]);
        if k == 0 || s == 0 || 2 * p > k {
            return Err(format!(
                "kernel {k} and stride {s} must not be 0, padding {p} at most half the kernel"
            ));
        }
        let room = (n + 2 * p).checked_sub(k);
        let room = room.ok_or_else(|| format!("a window of {k} does not fit {n} + 2 · {p}"))?;
        Ok(room / s + 1)
    }

    /// The machine's description of pooling `x` into `y`.
    fn geometry(&self, x: &Shape, y: &Shape) -> PoolShape {
        let (&[n, h, w, c], &[_, oh, ow, _]) = (&x[..], &y[..]) else {
            unreachable!("images have four axes")
        };
        let Pool { kind, kernel, stride, padding: pad, count_include_pad } = *self;
        PoolShape { kind, n, h, w, c, kernel, stride, pad, oh, ow, count_include_pad }
    }

    /// For each place of the window the elements of all windows at that place, with the shape of
    /// the output, and the padded input's shape.
    fn places(&self, x: &Tensor, y: &Shape) -> (Vec<Tensor>, Shape) {
        let value = if self.kind == PoolKind::Max { f64::NEG_INFINITY } else { 0.0 };
        let padded = x.pad(&self.amounts(), value);
        let places = self.offsets().map(|(i, j)| padded.slice_window(i, j, self.stride, y));
        (places.collect(), padded.shape().clone())
    }

    fn offsets(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let [kh, kw] = self.kernel;
        (0..kh).flat_map(move |i| (0..kw).map(move |j| (i, j)))
    }

    fn amounts(&self) -> [(usize, usize); 4] {
        let [a, b] = self.padding;
        [(0, 0), (a, a), (b, b), (0, 0)]
    }

    /// How many elements each window of a mean counts, `[1, oh, ow, 1]`.
    fn counts(&self, x: &Tensor, y: &Shape) -> Tensor {
        let image: Shape = [1, x.shape()[1], x.shape()[2], 1].into();
        let ones = Tensor::full(image, 1.0, x.dtype());
        let border = if self.count_include_pad { 1.0 } else { 0.0 };
        let padded = ones.pad(&self.amounts(), border);
        let window: Shape = [1, y[1], y[2], 1].into();
        let places = self.offsets().map(|(i, j)| padded.slice_window(i, j, self.stride, &window));
        places.reduce(|a, b| a + b).expect("a window has a place")
    }
}

impl Tensor {
    /// Of an image `[n, h, w, c]` the element `(i, j)` of each window.
    fn slice_window(&self, i: usize, j: usize, stride: [usize; 2], y: &Shape) -> Tensor {
        self.slice_by(1, i, stride[0] as isize, y[1]).slice_by(2, j, stride[1] as isize, y[2])
    }
}

impl Operation for Pool {
    fn name(&self) -> &'static str {
        if self.kind == PoolKind::Max { "max_pool" } else { "avg_pool" }
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        expect_float(&inputs[0])?;
        let &[n, h, w, c] = &inputs[0].shape()[..] else {
            return Err(format!("an image has four axes, found {}", inputs[0].shape()));
        };
        Ok(([n, self.extent(0, h)?, self.extent(1, w)?, c].into(), inputs[0].dtype()))
    }

    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let x = &inputs[0];
        let (shape, _) = self.infer(inputs).ok()?;
        let (places, _) = self.places(x, &shape);
        let places = places.into_iter();
        Some(match self.kind {
            PoolKind::Max => places.reduce(|a, b| a.maximum(b))?,
            PoolKind::Avg => places.reduce(|a, b| a + b)? / self.counts(x, &shape),
        })
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        Ok(vec![Some(Tensor::apply(PoolGrad { pool: *self }, &[&inputs[0], dy]))])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for Pool {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let input = &node.inputs()[0];
        let (x, y) = (cx.contiguous(input), cx.output_region(node));
        let shape = self.geometry(input.shape(), node.shape());
        cx.emit(nerve_cpu::Pool { ty: float(node.dtype()), shape, x, y });
    }
}

impl Operation for PoolGrad {
    fn name(&self) -> &'static str {
        if self.pool.kind == PoolKind::Max { "max_pool_grad" } else { "avg_pool_grad" }
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        Ok((inputs[0].shape().clone(), inputs[0].dtype()))
    }

    /// Each place of the window gets its share of dy, at the places where it was read.
    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let (pool, x, dy) = (&self.pool, &inputs[0], &inputs[1]);
        let (places, padded) = pool.places(x, dy.shape());
        let shares: Vec<Tensor> = match pool.kind {
            PoolKind::Avg => vec![dy / pool.counts(x, dy.shape()); places.len()],
            PoolKind::Max => {
                let top = places.iter().cloned().reduce(|a, b| a.maximum(b))?;
                let mut free = top.eq(&top);
                let share = |place: &Tensor| {
                    let first = place.eq(&top).logical_and(&free);
                    free = free.logical_and(first.logical_not());
                    first.select(dy, &dy.zeros_like())
                };
                places.iter().map(share).collect()
            }
        };
        let [sh, sw] = pool.stride;
        let spread = pool.offsets().zip(shares).map(|((i, j), share)| {
            let reach = [(dy.shape()[1] - 1) * sh + 1, (dy.shape()[2] - 1) * sw + 1];
            let behind = [padded[1] - i - reach[0], padded[2] - j - reach[1]];
            let before = [0, i as isize, j as isize, 0];
            let after = [0, behind[0] as isize, behind[1] as isize, 0];
            share.pad_general(&before, &after, &[0, sh - 1, sw - 1, 0], 0.0)
        });
        let dx = spread.reduce(|a, b| a + b)?;
        let [a, b] = pool.padding;
        Some(dx.slice(1, a, a + x.shape()[1]).slice(2, b, b + x.shape()[2]))
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for PoolGrad {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let [input, gradient] = node.inputs() else { unreachable!("two operands") };
        // A mean does not ask what the elements were.
        let max = self.pool.kind == PoolKind::Max;
        let x = max.then(|| cx.contiguous(input));
        let dy = cx.contiguous(gradient);
        let dx = cx.output_region(node);
        let shape = self.pool.geometry(input.shape(), gradient.shape());
        cx.emit(nerve_cpu::PoolGrad { ty: float(node.dtype()), shape, x, dy, dx });
    }
}

impl Tensor {
    /// The maximum of each window of images `[n, c, h, w]`: `[n, c, oh, ow]` with
    /// `oh = (h + 2 padding − kernel) / stride + 1`.
    ///
    /// ```
    /// use nerve_core::Tensor;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [1, 1, 2, 2]);
    /// assert_eq!(x.max_pool2d([2, 2], [2, 2], [0, 0]).item::<f32>(), 4.0);
    /// ```
    #[track_caller]
    pub fn max_pool2d(
        &self,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
    ) -> Tensor {
        self.pool2d(Pool { kind: PoolKind::Max, kernel, stride, padding, count_include_pad: false })
    }

    /// The mean of each window of images `[n, c, h, w]`; `count_include_pad` says whether the
    /// padding counts as zeros.
    #[track_caller]
    pub fn avg_pool2d(
        &self,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        count_include_pad: bool,
    ) -> Tensor {
        self.pool2d(Pool { kind: PoolKind::Avg, kernel, stride, padding, count_include_pad })
    }

    #[track_caller]
    fn pool2d(&self, pool: Pool) -> Tensor {
        assert!(
            self.rank() == 4,
            "{}: images are [n, channels, height, width], found {}",
            pool.name(),
            self.shape()
        );
        // The maximum of what is not negative is what is not negative of the maximum: after the
        // pooling there is less of it, forwards and backwards.
        if let (PoolKind::Max, Op::Unary(unary)) = (pool.kind, self.op())
            && unary.op == UnaryOp::Relu
        {
            return self.inputs()[0].pool2d(pool).relu();
        }
        Tensor::apply(pool, &[&self.permute(&[0, 2, 3, 1])]).permute(&[0, 3, 1, 2])
    }
}
