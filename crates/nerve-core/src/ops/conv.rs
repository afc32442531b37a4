//! Convolution in one and two dimensions, as the field has it: cross-correlation.

use super::{ConvInputGrad, Slice, expect_float, expect_same};
use crate::compile::{Lowering, float};
use crate::dtype::DType;
use crate::op::{Gradients, Lower, Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;
use nerve_cpu::{Activation, ConvShape, Region};

/// Convolution of images `[n, h, w, c]` with filters `[kh, kw, c / groups, o]`: `[n, oh, ow, o]`.
///
/// A third operand is the filter in another form, as the compiler puts it there
/// ([`WinogradFilter`](super::WinogradFilter), [`FilterPanels`](super::FilterPanels)); of the second only the shape counts then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv {
    /// Distance between the places where the filter is applied.
    pub stride: [usize; 2],
    /// Distance between the elements that the filter reads.
    pub dilation: [usize; 2],
    /// Number of groups of channels that do not see each other.
    pub groups: usize,
    /// Zeros to imagine around the image: none where the image is padded already. The compiler
    /// moves padding in here.
    pub border: Border,
}

/// Zeros around an image and between its rows and columns that are not stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Border {
    /// Above and below, left and right.
    pub pad: [[usize; 2]; 2],
    /// Between neighbouring rows, and columns.
    pub between: [usize; 2],
}

impl Border {
    /// `image` with its zeros.
    fn around(&self, image: &Tensor) -> Tensor {
        let [[top, bottom], [left, right]] = self.pad.map(|pair| pair.map(|n| n as isize));
        let [down, across] = self.between;
        image.pad_general(&[0, top, left, 0], &[0, bottom, right, 0], &[0, down, across, 0], 0.0)
    }

    /// Height and width of an image with its zeros.
    fn extents(&self, image: &Shape) -> [usize; 2] {
        [0, 1].map(|axis| {
            let (n, [before, after]) = (image[axis + 1], self.pad[axis]);
            before + n + n.saturating_sub(1) * self.between[axis] + after
        })
    }
}

/// The gradient of [`Conv`] with respect to the filters. Inputs: x, dy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvWeightGrad {
    /// The convolution.
    pub conv: Conv,
    /// Height and width of the filter.
    pub kernel: [usize; 2],
}

impl Conv {
    fn extent(&self, axis: usize, n: usize, k: usize) -> Result<usize, String> {
        let reach = self.dilation[axis] * k.saturating_sub(1) + 1;
        let room = n.checked_sub(reach).filter(|_| k > 0);
        let room = room.ok_or_else(|| {
            format!("a filter that reaches over {reach} does not fit {n} (padding included)")
        })?;
        Ok(room / self.stride[axis] + 1)
    }

    /// The gradient with respect to the input: a convolution of the output's gradient, surrounded
    /// by zeros, with the filters turned around; with a stride, several of them.
    fn input_gradient(&self, x: &Shape, filter: &Tensor, dy: &Tensor) -> Tensor {
        if self.stride != [1, 1] {
            let op = ConvInputGrad { conv: *self, start: [0, 0], extent: [x[1], x[2]] };
            return Tensor::apply(op, &[dy, filter]);
        }
        let &[kh, kw, i, o] = &filter.shape()[..] else { unreachable!("filters have four axes") };
        let g = self.groups;
        let turned = filter
            .flip(&[0, 1])
            .reshape([kh, kw, i, g, o / g])
            .permute(&[0, 1, 4, 3, 2])
            .reshape([kh, kw, o / g, g * i]);
        let reach = [(kh - 1) * self.dilation[0], (kw - 1) * self.dilation[1]];
        let border = [(0, 0), (reach[0], reach[0]), (reach[1], reach[1]), (0, 0)];
        Tensor::apply(*self, &[&dy.pad(&border, 0.0), &turned])
    }

    /// The part of the image that is enough if only the part `slice` of the result is wanted.
    pub(crate) fn sliced(&self, slice: &Slice, image: &Shape, filter: &Shape) -> Option<Slice> {
        let plain = (self.stride, self.border) == ([1, 1], Border::default())
            && slice.step.iter().all(|&step| step == 1);
        let all_channels = slice.start[3] == 0 && slice.shape[3] == filter[3];
        if !plain || !all_channels || slice.shape.contains(&0) {
            return None;
        }
        let mut shape = slice.shape.to_vec();
        shape[3] = image[3];
        for axis in [1, 2] {
            shape[axis] += self.dilation[axis - 1] * (filter[axis - 1] - 1);
        }
        Some(Slice { start: slice.start.clone(), step: slice.step.clone(), shape: shape.into() })
    }
}

impl Operation for Conv {
    fn name(&self) -> &'static str {
        "conv"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let (x, filter) = (&inputs[0], &inputs[1]);
        let dtype = expect_same(x, filter)?;
        expect_float(x)?;
        let (&[n, _, _, c], &[kh, kw, i, o]) = (&x.shape()[..], &filter.shape()[..]) else {
            return Err(format!("images {} and filters {}", x.shape(), filter.shape()));
        };
        let g = self.groups;
        if g == 0 || [self.stride, self.dilation].concat().contains(&0) {
            return Err("groups, stride and dilation must not be 0".into());
        }
        if c != i * g || o % g != 0 {
            return Err(format!(
                "{c} input channels and {o} output channels in {g} groups: filters expect {i} \
                 input channels a group"
            ));
        }
        let [h, w] = self.border.extents(x.shape());
        Ok(([n, self.extent(0, h, kh)?, self.extent(1, w, kw)?, o].into(), dtype))
    }

    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let plain = Conv { border: Border::default(), ..*self };
        let image = self.border.around(&inputs[0]);
        (*self != plain).then(|| Tensor::apply(plain, &[&image, &inputs[1]]))
    }

    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dy: &Tensor) -> Gradients {
        if let Some(padded) = self.decompose(inputs) {
            return Ok(crate::grad::vjp(&padded, dy, inputs));
        }
        let (x, filter) = (&inputs[0], &inputs[1]);
        let kernel = [filter.shape()[0], filter.shape()[1]];
        let dw = Tensor::apply(ConvWeightGrad { conv: *self, kernel }, &[x, dy]);
        Ok(vec![Some(self.input_gradient(x.shape(), filter, dy)), Some(dw)])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Operation for ConvWeightGrad {
    fn name(&self) -> &'static str {
        "conv_weight_grad"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let (x, dy) = (&inputs[0], &inputs[1]);
        let (channels, [kh, kw]) = (x.shape()[3] / self.conv.groups, self.kernel);
        Ok(([kh, kw, channels, dy.shape()[3]].into(), expect_same(x, dy)?))
    }

    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let plain = Conv { border: Border::default(), ..self.conv };
        let image = self.conv.border.around(&inputs[0]);
        let op = ConvWeightGrad { conv: plain, ..*self };
        (self.conv != plain).then(|| Tensor::apply(op, &[&image, &inputs[1]]))
    }

    /// The result is linear in both operands, as the convolution is in its own.
    fn gradient(&self, inputs: &[Tensor], _: &Tensor, dw: &Tensor) -> Gradients {
        if let Some(padded) = self.decompose(inputs) {
            return Ok(crate::grad::vjp(&padded, dw, inputs));
        }
        let (x, dy) = (&inputs[0], &inputs[1]);
        let dx = self.conv.input_gradient(x.shape(), dw, dy);
        Ok(vec![Some(dx), Some(Tensor::apply(self.conv, &[x, dw]))])
    }

    fn role(&self) -> Role<'_> {
        Role::Kernel(self)
    }
}

impl Conv {
    /// The machine's description of applying `kernel` to `x` with `o` channels of results.
    fn geometry(&self, x: &Shape, [kh, kw]: [usize; 2], o: usize) -> ConvShape {
        let &[n, h, w, c] = &x[..] else { unreachable!("images have four axes") };
        let Conv { stride, dilation, groups, border } = *self;
        let Border { pad, between } = border;
        ConvShape { n, h, w, c, kh, kw, co: o, groups, stride, dilation, pad, between }
    }
}

impl Conv {
    /// The instruction, still without its operands.
    pub(crate) fn kernel(&self, dtype: DType, image: &Shape, filter: &Shape) -> nerve_cpu::Conv {
        let nowhere = Region::new(0, 0, 0);
        let shape = self.geometry(image, [filter[0], filter[1]], filter[3]);
        nerve_cpu::Conv::new(float(dtype), shape, nowhere, nowhere, nowhere)
    }
}

impl Lower for Conv {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let (image, filter) = (&node.inputs()[0], &node.inputs()[1]);
        let epilogue = cx.epilogue();
        let x = cx.contiguous(image);
        let conv = nerve_cpu::Conv {
            x,
            y: cx.output_region(node),
            bias: epilogue.bias,
            activation: if epilogue.relu { Activation::Relu } else { Activation::None },
            precision: cx.precision(),
            ..self.kernel(node.dtype(), image.shape(), filter.shape())
        };
        let conv = match node.inputs().get(2) {
            Some(form) if conv.winograd_bytes().is_some() => {
                conv.with_winograd(cx.contiguous(form))
            }
            Some(panels) => conv.with_packed(cx.contiguous(panels)),
            None => {
                let conv = nerve_cpu::Conv { filter: cx.contiguous(filter), ..conv };
                match conv.packed_bytes() {
                    Some(bytes) if conv.packs_in_each_run() => {
                        let panels = cx.temporary(bytes);
                        cx.emit(conv.pack_filter(panels));
                        conv.with_packed(panels)
                    }
                    _ => conv,
                }
            }
        };
        cx.emit(conv);
    }

    fn epilogue(&self, node: &Tensor) -> Option<usize> {
        node.shape().last().copied()
    }

    fn packs(&self, operand: usize) -> bool {
        operand == 1
    }
}

impl Lower for ConvWeightGrad {
    fn lower(&self, node: &Tensor, cx: &mut Lowering<'_>) {
        let [image, gradient] = node.inputs() else { unreachable!("two operands") };
        let (x, dy) = (cx.contiguous(image), cx.contiguous(gradient));
        let (ty, dw) = (float(node.dtype()), cx.output_region(node));
        let shape = self.conv.geometry(image.shape(), self.kernel, gradient.shape()[3]);
        let precision = cx.precision();
        let instruction = nerve_cpu::ConvWeightGrad::new(ty, shape, x, dy, dw);
        let mut instruction = nerve_cpu::ConvWeightGrad { precision, ..instruction };
        let parts = instruction.parts();
        if parts > 1 {
            instruction.dw = cx.temporary(parts * dw.bytes);
            let from = instruction.dw;
            cx.emit(instruction);
            return cx.sum_parts(ty, parts, from, dw);
        }
        cx.emit(instruction);
    }
}

/// How a convolution is applied to images; the default is stride 1, no padding, one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dOptions {
    /// Distance between the places where the filter is applied: down, across.
    pub stride: [usize; 2],
    /// Zeros around the image: (above, below), (left, right).
    pub padding: [(usize, usize); 2],
    /// Distance between the elements that the filter reads.
    pub dilation: [usize; 2],
    /// Number of groups of channels that do not see each other.
    pub groups: usize,
}

impl Default for Conv2dOptions {
    fn default() -> Self {
        Conv2dOptions { stride: [1, 1], padding: [(0, 0); 2], dilation: [1, 1], groups: 1 }
    }
}

impl Tensor {
    /// Convolution of images `[n, c, h, w]` with filters `[o, c / groups, kh, kw]`:
    /// `[n, o, oh, ow]` with `oh = (h + padding − dilation (kh − 1) − 1) / stride + 1`.
    ///
    /// ```
    /// use nerve_core::{Tensor, ops::Conv2dOptions};
    /// let x = Tensor::ones([1, 1, 3, 3]);
    /// let w = Tensor::ones([1, 1, 3, 3]);
    /// let same = Conv2dOptions { padding: [(1, 1); 2], ..Conv2dOptions::default() };
    /// let y = x.conv2d(&w, same);
    /// assert_eq!(y.to_vec::<f32>(), [4.0, 6.0, 4.0, 6.0, 9.0, 6.0, 4.0, 6.0, 4.0]);
    /// ```
    #[track_caller]
    pub fn conv2d(&self, weight: &Tensor, options: Conv2dOptions) -> Tensor {
        assert!(
            self.rank() == 4 && weight.rank() == 4,
            "conv2d: images are [n, channels, height, width], filters [out, in / groups, height, \
             width]; found {} and {}",
            self.shape(),
            weight.shape()
        );
        let Conv2dOptions { stride, padding, dilation, groups } = options;
        let (&[n, c, h, w], &[o, i, kh, kw]) = (&self.shape()[..], &weight.shape()[..]) else {
            unreachable!("four axes each")
        };
        if w == 1 && kw == 1 && h > 1 && padding[1] == (0, 0) {
            // A column of pixels is computed as a row: rows are what the kernel takes as one.
            let turn = |[a, b]: [usize; 2]| [b, a];
            let options = Conv2dOptions {
                stride: turn(stride),
                padding: [padding[1], padding[0]],
                dilation: turn(dilation),
                groups,
            };
            let y = self.reshape([n, c, 1, h]).conv2d(&weight.reshape([o, i, 1, kh]), options);
            return y.reshape([n, o, y.shape()[3], 1]);
        }
        let x = self.permute(&[0, 2, 3, 1]).pad(&[(0, 0), padding[0], padding[1], (0, 0)], 0.0);
        let filter = weight.permute(&[2, 3, 1, 0]);
        let conv = Conv { stride, dilation, groups, border: Border::default() };
        Tensor::apply(conv, &[&x, &filter]).permute(&[0, 3, 1, 2])
    }

    /// Convolution of sequences `[n, c, length]` with filters `[o, c / groups, k]`; `padding` is
    /// the number of zeros in front and behind.
    #[track_caller]
    pub fn conv1d(
        &self,
        weight: &Tensor,
        stride: usize,
        padding: (usize, usize),
        dilation: usize,
        groups: usize,
    ) -> Tensor {
        assert!(
            self.rank() == 3 && weight.rank() == 3,
            "conv1d: sequences are [n, channels, length], filters [out, in / groups, length]; \
             found {} and {}",
            self.shape(),
            weight.shape()
        );
        let options = Conv2dOptions {
            stride: [1, stride],
            padding: [(0, 0), padding],
            dilation: [1, dilation],
            groups,
        };
        self.unsqueeze(2).conv2d(&weight.unsqueeze(2), options).squeeze(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample;
    use crate::{Precision, Var, compile, grad};

    fn same() -> Conv2dOptions {
        Conv2dOptions { padding: [(1, 1); 2], ..Conv2dOptions::default() }
    }

    /// A convolution, and both its gradients.
    fn block(inputs: &[Tensor]) -> Vec<Tensor> {
        let (x, w) = (&inputs[0], &inputs[1]);
        let y = (x.conv2d(w, same()) + 0.5).relu();
        let mut all = grad(&y.square().sum(), &[x, w]);
        all.push(y);
        all
    }

    /// The largest of the differences, as a share of the largest value.
    fn difference(a: &Tensor, b: &Tensor) -> f64 {
        let (a, b) = (a.to_vec::<f32>(), b.to_vec::<f64>());
        let largest = b.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        a.iter().zip(&b).fold(0.0, |m: f64, (&a, b)| m.max((f64::from(a) - b).abs())) / largest
    }

    #[test]
    fn fewer_multiplications_give_the_same_values() {
        let inputs = [sample([8, 32, 9, 10], 1), sample([48, 32, 3, 3], 2)];
        let singles = inputs.each_ref().map(|t| t.to_dtype(DType::F32).evaluated());
        for (found, exact) in block(&singles).iter().zip(block(&inputs)) {
            let difference = difference(found, &exact);
            assert!(difference < 2e-6, "{difference}");
        }
    }

    /// The names of the instructions of a training step.
    fn instructions(dtype: DType) -> Vec<String> {
        let step = compile(block)
            .step(&[([64, 32, 14, 14].into(), dtype), ([64, 32, 3, 3].into(), dtype)]);
        let names = step.plan().explain().lines().skip(1).map(|line| {
            let word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            line.split_whitespace().find(word).unwrap_or_default().to_string()
        });
        names.collect()
    }

    #[test]
    fn padding_is_never_stored_and_filters_are_read_where_they_lie() {
        let names = instructions(DType::F32);
        let count = |name: &str| names.iter().filter(|n| *n == name).count();
        assert_eq!(count("conv"), 2, "{names:?}");
        assert_eq!(count("conv_weight_grad"), 1, "{names:?}");
        // Unless the environment turns it off.
        if count("winograd_filter") > 0 {
            assert_eq!(count("winograd_filter"), 2, "{names:?}");
        }
        // The image, its gradient and the filter's are permuted; what is left is arithmetic.
        let single = count("fused");
        let double = instructions(DType::F64);
        let double = double.iter().filter(|n| *n == "fused").count();
        assert!(single <= double, "{single} {double}");
        assert!(single <= 6, "{names:?}");
    }

    #[test]
    fn an_imagined_border_is_padding() {
        let border = Border { pad: [[1, 0], [2, 1]], between: [1, 0] };
        let plain = Conv { stride: [1, 2], dilation: [1, 1], groups: 1, border: Border::default() };
        let conv = Conv { border, ..plain };
        let (x, w) = (sample([2, 3, 4, 2], 1), sample([2, 3, 2, 3], 2));
        let results = [(conv, x.clone()), (plain, border.around(&x))].map(|(conv, image)| {
            let y = Tensor::apply(conv, &[&image, &w]);
            let slopes = grad(&y.square().sum(), &[&x, &w]);
            [y.to_vec::<f64>(), slopes[0].to_vec(), slopes[1].to_vec()]
        });
        for (a, b) in results[0].iter().flatten().zip(results[1].iter().flatten()) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
        let dy = sample([2, 5, 3, 3], 3);
        let [found, exact] =
            [(conv, x.clone()), (plain, border.around(&x))].map(|(conv, image)| {
                let op = ConvWeightGrad { conv, kernel: [2, 3] };
                Tensor::apply(op, &[&image, &dy]).to_vec::<f64>()
            });
        assert!(found.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    /// Losses of a few steps of training a small network to do what another one does.
    fn losses(precision: Precision) -> Vec<f32> {
        let single = |shape: &[usize], seed| (sample(shape, seed) * 0.2).to_dtype(DType::F32);
        let shapes = [[16, 8, 3, 3], [16, 16, 3, 3], [24, 16, 3, 3]];
        let network = |x: &Tensor, w: &[Tensor]| {
            let x = x.conv2d(&w[0], same()).relu();
            let x = (x.conv2d(&w[1], same()) + x).relu();
            x.conv2d(&w[2], Conv2dOptions { stride: [2, 2], ..same() })
        };
        let seeds = [1, 2].map(|s| [0, 1, 2].map(|i| single(&shapes[i], 10 * s + i as u64)));
        let x = sample([12, 8, 13, 12], 3).to_dtype(DType::F32).evaluated();
        let wanted = network(&x, &seeds[0]).evaluated();
        let vars = seeds[1].each_ref().map(|w| Var::new("w", w.evaluated()));
        let step = compile(|a: &[Tensor]| {
            let w = vars.each_ref().map(Var::get);
            let loss = (network(&a[0], &w) - &a[1]).square().mean();
            for ((var, w), slope) in vars.iter().zip(&w).zip(grad(&loss, &w.each_ref())) {
                var.set(w - slope * 0.2);
            }
            vec![loss]
        });
        let step = step.precision(precision);
        (0..20).map(|_| step.call(&[&x, &wanted])[0].to_vec::<f32>()[0]).collect()
    }

    #[test]
    fn products_of_bf16_learn_as_well() {
        let [full, rounded] = [Precision::Full, Precision::Bf16].map(losses);
        assert!(full[19] < 0.3 * full[0], "{full:?}");
        assert!(full != rounded, "as exact as f32");
        for (a, b) in full.iter().zip(&rounded) {
            assert!((a - b).abs() < 0.02 * a, "{full:?} {rounded:?}");
        }
        for threads in [1, 2, 3] {
            crate::set_threads(threads);
            assert_eq!(losses(Precision::Bf16), rounded, "{threads} threads");
        }
    }
}
