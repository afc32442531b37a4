//! Pooling: the maximum or the mean of windows.

use super::expect_float;
use crate::compile::{Lowering, float};
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Op, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::fused::UnaryOp;
use nerve_cpu::{ConvPool, Instruction, NO_PLACE, Places, PoolKind, PoolShape};

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

/// The place of the maximum of each window: row · kernel width + column, the first of several.
/// u8, or i32 where windows have more than 255 places. What the gradient of a maximum needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaxPlace {
    /// The pooling, a maximum.
    pub pool: Pool,
    /// Whether the place of a maximum that is not above zero is [`NO_PLACE`]; for u8 only.
    pub positive: bool,
}

/// The gradient of [`Pool`] with respect to its input. Inputs: dy, and for a maximum the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolGrad {
    /// The pooling.
    pub pool: Pool,
    /// Height and width of the images.
    pub image: [usize; 2],
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

    /// Whether the place of a maximum fits a byte, with a number to spare.
    pub(crate) fn is_small(&self) -> bool {
        self.kernel[0].saturating_mul(self.kernel[1]) <= usize::from(NO_PLACE)
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
    /// the output.
    fn places(&self, x: &Tensor, y: &Shape) -> Vec<Tensor> {
        let value = if self.kind == PoolKind::Max { f64::NEG_INFINITY } else { 0.0 };
        let padded = x.pad(&self.amounts(), value);
        self.offsets().map(|(i, j)| padded.slice_window(i, j, self.stride, y)).collect()
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
    fn counts(&self, [h, w]: [usize; 2], y: &Shape, dtype: DType) -> Tensor {
        let image: Shape = [1, h, w, 1].into();
        let ones = Tensor::full(image, 1.0, dtype);
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
        let places = self.places(x, &shape).into_iter();
        Some(match self.kind {
            PoolKind::Max => places.reduce(|a, b| a.maximum(b))?,
            PoolKind::Avg => {
                let counts = self.counts([x.shape()[1], x.shape()[2]], &shape, x.dtype());
                places.reduce(|a, b| a + b)? / counts
            }
        })
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        let x = &inputs[0];
        let grad = PoolGrad { pool: *self, image: [x.shape()[1], x.shape()[2]] };
        let dx = match self.kind {
            PoolKind::Avg => Tensor::apply(grad, &[dy]),
            PoolKind::Max => {
                let places = Tensor::apply(MaxPlace { pool: *self, positive: false }, &[x]);
                Tensor::apply(grad, &[dy, &places])
            }
        };
        Ok(vec![Some(dx)])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for Pool {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let input = &node.inputs()[0];
        let relu = cx.epilogue().relu;
        let (x, y) = (cx.contiguous(input), Some(cx.output_region(node)));
        let shape = self.geometry(input.shape(), node.shape());
        let ty = float(node.dtype());
        let pool = nerve_cpu::Pool { ty, shape, x, y, relu, places: None };
        let both = match cx.last_for(input) {
            Some(Instruction::Conv(conv)) if conv.y == x => ConvPool::of(conv, &pool),
            _ => None,
        };
        match both {
            Some(both) => cx.replace_last(both),
            None => cx.emit_shared(*self, input, pool),
        }
    }

    fn epilogue(&self, _: &Tensor) -> Option<usize> {
        // An activation, but no bias: it has no columns.
        Some(0)
    }
}

impl Operation for MaxPlace {
    fn name(&self) -> &'static str {
        "max_place"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let (shape, _) = self.pool.infer(inputs)?;
        Ok((shape, if self.pool.is_small() { DType::U8 } else { DType::I32 }))
    }

    /// The number of the last element that is larger than all before it.
    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let (shape, dtype) = self.infer(inputs).ok()?;
        let mut elements = self.pool.places(&inputs[0], &shape).into_iter().enumerate();
        let mut top = elements.next()?.1;
        let mut place = Tensor::full(&shape, 0.0, DType::I32);
        for (number, x) in elements {
            let better = x.gt(&top).logical_or(x.is_nan().logical_and(top.is_nan().logical_not()));
            place = better.select(&Tensor::full(&shape, number as f64, DType::I32), &place);
            top = better.select(&x, &top);
        }
        if self.positive {
            let none = Tensor::full(&shape, f64::from(NO_PLACE), DType::I32);
            place = top.gt(0.0).select(&place, &none);
        }
        Some(place.to_dtype(dtype))
    }

    fn gradient(&self, _: &[Tensor], _: &Tensor, _: &Tensor) -> Gradients {
        Ok(vec![None])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for MaxPlace {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let input = &node.inputs()[0];
        let places = Some(Places { region: cx.output_region(node), positive: self.positive });
        // The pooling itself looks at the same elements.
        if let Some(Instruction::Pool(pool)) = cx.shared(self.pool, input)
            && pool.places.is_none()
        {
            pool.places = places;
            return;
        }
        let x = cx.contiguous(input);
        let shape = self.pool.geometry(input.shape(), node.shape());
        let ty = float(input.dtype());
        cx.emit(nerve_cpu::Pool { ty, shape, x, y: None, relu: false, places });
    }
}

impl Operation for PoolGrad {
    fn name(&self) -> &'static str {
        if self.pool.kind == PoolKind::Max { "max_pool_grad" } else { "avg_pool_grad" }
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let (dy, [h, w]) = (&inputs[0], self.image);
        Ok(([dy.shape()[0], h, w, dy.shape()[3]].into(), dy.dtype()))
    }

    /// Each place of the window gets its share of dy, at the places where it was read.
    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let (pool, dy) = (&self.pool, &inputs[0]);
        let share = |number: usize| match inputs.get(1) {
            None => dy / pool.counts(self.image, dy.shape(), dy.dtype()),
            Some(places) => {
                let number = Tensor::full(places.shape(), number as f64, places.dtype());
                places.eq(number).select(dy, &dy.zeros_like())
            }
        };
        let [sh, sw] = pool.stride;
        let padded = [self.image[0] + 2 * pool.padding[0], self.image[1] + 2 * pool.padding[1]];
        let spread = pool.offsets().enumerate().map(|(number, (i, j))| {
            let reach = [(dy.shape()[1] - 1) * sh + 1, (dy.shape()[2] - 1) * sw + 1];
            let behind = [padded[0] - i - reach[0], padded[1] - j - reach[1]];
            let before = [0, i as isize, j as isize, 0];
            let after = [0, behind[0] as isize, behind[1] as isize, 0];
            share(number).pad_general(&before, &after, &[0, sh - 1, sw - 1, 0], 0.0)
        });
        let dx = spread.reduce(|a, b| a + b)?;
        let ([a, b], [h, w]) = (pool.padding, self.image);
        Some(dx.slice(1, a, a + h).slice(2, b, b + w))
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Lower for PoolGrad {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let gradient = &node.inputs()[0];
        let places = node.inputs().get(1).map(|places| cx.contiguous(places));
        let dy = cx.contiguous(gradient);
        let dx = cx.output_region(node);
        let shape = self.pool.geometry(node.shape(), gradient.shape());
        cx.emit(nerve_cpu::PoolGrad { ty: float(node.dtype()), shape, places, dy, dx });
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
