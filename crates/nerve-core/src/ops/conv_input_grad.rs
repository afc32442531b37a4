//! The gradient of a strided convolution with respect to its image.

use super::{Conv, Slice, expect_same};
use crate::dtype::DType;
use crate::op::{Operation, Role};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Part of the gradient of a [`Conv`] with respect to its image. Inputs: dy `[n, oh, ow, o]` and
/// the filter `[kh, kw, c / groups, o]`.
///
/// With stride s, each pixel of the image is seen by the taps of one phase only, every s-th tap
/// (where the dilation is 1). So the gradient falls into s × s images, one for each phase, and
/// each is a plain convolution of dy with the taps of its phase: together they multiply no more
/// often than the convolution itself did. (Spreading dy by the stride and convolving with the whole
/// filter would take s² times as long.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvInputGrad {
    /// The convolution.
    pub conv: Conv,
    /// The first row and column of the image that are wanted.
    pub start: [usize; 2],
    /// How many of them.
    pub extent: [usize; 2],
}

/// The taps of an axis that see the pixels of one phase, and the border of zeros that dy needs.
struct Phase {
    /// The first tap, the distance to the next, and their number.
    taps: (usize, usize, usize),
    /// Of elements of dy.
    border: (isize, isize),
}

/// One axis of the image.
struct Axis {
    /// For each phase; none where no tap sees it.
    phases: Vec<Option<Phase>>,
    /// Pixels of each phase.
    pixels: usize,
    /// The only phase that is seen, if there is but one: the others are zeros between.
    only: Option<usize>,
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl ConvInputGrad {
    /// Less of it, if only the part `slice` of the result is wanted.
    pub(crate) fn sliced(&self, slice: &Slice, shape: &Shape) -> Option<ConvInputGrad> {
        let plain = slice.step.iter().all(|&step| step == 1);
        let whole = [0, 3].iter().all(|&a| slice.shape[a] == shape[a]);
        (plain && whole && !slice.shape.contains(&0)).then(|| ConvInputGrad {
            start: [0, 1].map(|a| self.start[a] + slice.start[a + 1]),
            extent: [slice.shape[1], slice.shape[2]],
            ..*self
        })
    }

    /// Distance in dy between neighbouring taps of a phase.
    fn dilation(&self, axis: usize) -> usize {
        self.conv.dilation[axis] / gcd(self.conv.dilation[axis], self.conv.stride[axis])
    }

    /// Pixel `start + r + s q` is seen by tap k at output `q − (k d − start − r) / s`.
    fn axis(&self, axis: usize, kernel: usize, outputs: usize) -> Axis {
        let (s, d) = (self.conv.stride[axis], self.conv.dilation[axis]);
        let (start, extent) = (self.start[axis], self.extent[axis]);
        let every = s / gcd(d, s);
        let first = |r: usize| (0..kernel.min(every)).find(|k| k * d % s == (start + r) % s);
        let seen: Vec<usize> = (0..s.min(extent)).filter(|&r| first(r).is_some()).collect();
        let only = (seen.len() == 1 && s > 1).then(|| seen[0]);
        let pixels = (extent - only.unwrap_or(0)).div_ceil(s);
        let phase = |r: usize| {
            let first = first(r)?;
            let count = (kernel - first).div_ceil(every);
            let back = ((first * d) as isize - (start + r) as isize) / s as isize;
            let reach = ((count - 1) * self.dilation(axis)) as isize;
            let after = pixels as isize - back - outputs as isize;
            Some(Phase { taps: (first, every, count), border: (back + reach, after) })
        };
        let phases = match only {
            Some(r) => vec![phase(r)],
            None => (0..s.min(extent)).map(phase).collect(),
        };
        Axis { phases, pixels, only }
    }

    /// The image of one phase: dy convolved with its taps, turned around.
    fn phase(&self, dy: &Tensor, filter: &Tensor, [down, right]: [&Phase; 2]) -> Tensor {
        let taps = [down, right].into_iter().enumerate().fold(filter.clone(), |filter, (a, p)| {
            let (first, every, count) = p.taps;
            filter.slice_by(a, first + (count - 1) * every, -(every as isize), count)
        });
        let &[kh, kw, i, o] = &taps.shape()[..] else { unreachable!("filters have four axes") };
        let g = self.conv.groups;
        let turned = taps.reshape([kh, kw, i, g, o / g]).permute(&[0, 1, 4, 3, 2]).reshape([
            kh,
            kw,
            o / g,
            g * i,
        ]);
        let border = |end: fn(&Phase) -> isize| [0, end(down), end(right), 0];
        let dy = dy.pad_general(&border(|p| p.border.0), &border(|p| p.border.1), &[0; 4], 0.0);
        let dilation = [0, 1].map(|axis| self.dilation(axis));
        Tensor::apply(Conv { stride: [1, 1], dilation, ..self.conv }, &[&dy, &turned])
    }
}

impl Operation for ConvInputGrad {
    fn name(&self) -> &'static str {
        "conv_input_grad"
    }

    fn infer(&self, inputs: &[Tensor]) -> Result<(Shape, DType), String> {
        let (dy, filter) = (&inputs[0], &inputs[1]);
        let channels = filter.shape()[2] * self.conv.groups;
        let shape = [dy.shape()[0], self.extent[0], self.extent[1], channels];
        Ok((shape.into(), expect_same(dy, filter)?))
    }

    fn decompose(&self, inputs: &[Tensor]) -> Option<Tensor> {
        let (dy, filter) = (&inputs[0], &inputs[1]);
        let (shape, dtype) = self.infer(inputs).ok()?;
        let (n, channels) = (shape[0], shape[3]);
        let [rows, columns] = [0, 1].map(|a| self.axis(a, filter.shape()[a], dy.shape()[a + 1]));
        let nothing = |axis: &Axis| axis.phases.iter().all(Option::is_none);
        if nothing(&rows) || nothing(&columns) {
            return Some(Tensor::full(shape, 0.0, dtype));
        }
        let mut images = Vec::new();
        for down in &rows.phases {
            for right in &columns.phases {
                images.push(match (down, right) {
                    (Some(down), Some(right)) => self.phase(dy, filter, [down, right]),
                    _ => Tensor::full([n, rows.pixels, columns.pixels, channels], 0.0, dtype),
                });
            }
        }
        let (down, right) = (rows.phases.len(), columns.phases.len());
        let woven = Tensor::stack(&images, 0)
            .reshape([down, right, n, rows.pixels, columns.pixels, channels])
            .permute(&[2, 3, 0, 4, 1, 5])
            .reshape([n, rows.pixels * down, columns.pixels * right, channels]);
        // Zeros where no tap sees the image; what is too much is cut off.
        let (mut before, mut after, mut between) = ([0; 4], [0; 4], [0; 4]);
        for (a, axis) in [(1, &rows), (2, &columns)] {
            if let Some(only) = axis.only {
                (before[a], between[a]) = (only as isize, self.conv.stride[a - 1] - 1);
            }
            let length = woven.shape()[a] + (woven.shape()[a] - 1) * between[a];
            after[a] = self.extent[a - 1] as isize - before[a] - length as isize;
        }
        Some(woven.pad_general(&before, &after, &between, 0.0))
    }

    fn role(&self) -> Role<'_> {
        Role::Composite
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grad;
    use crate::ops::Border;
    use crate::testing::sample;

    /// By definition: what each output says to the pixels that it saw.
    fn by_definition(dy: &Tensor, filter: &Tensor, conv: Conv, [h, w]: [usize; 2]) -> Vec<f64> {
        let (dys, ws) = (dy.to_vec::<f64>(), filter.to_vec::<f64>());
        let (&[n, oh, ow, o], &[kh, kw, i, _]) = (&dy.shape()[..], &filter.shape()[..]) else {
            unreachable!()
        };
        let (g, mut dx) = (conv.groups, vec![0.0; n * h * w * i * conv.groups]);
        for at in 0..n * oh * ow * o * kh * kw * i {
            let (c, at) = (at % i, at / i);
            let (kx, at) = (at % kw, at / kw);
            let (ky, at) = (at % kh, at / kh);
            let (out, at) = (at % o, at / o);
            let (x, at) = (at % ow, at / ow);
            let (y, image) = (at % oh, at / oh);
            let row = y * conv.stride[0] + ky * conv.dilation[0];
            let column = x * conv.stride[1] + kx * conv.dilation[1];
            let channel = out / (o / g) * i + c;
            dx[((image * h + row) * w + column) * i * g + channel] +=
                dys[((image * oh + y) * ow + x) * o + out] * ws[((ky * kw + kx) * i + c) * o + out];
        }
        dx
    }

    #[test]
    fn equals_its_definition_for_any_stride() {
        for (image, kernel, stride, dilation, groups) in [
            ([7, 6], [3, 3], [2, 2], [1, 1], 1),
            ([8, 9], [1, 1], [2, 3], [1, 1], 1),
            ([9, 8], [2, 3], [3, 1], [1, 2], 2),
            ([11, 13], [3, 2], [2, 4], [2, 6], 1),
            ([9, 12], [3, 3], [4, 3], [2, 3], 2),
            ([3, 5], [2, 2], [9, 5], [1, 1], 1),
            ([5, 5], [3, 5], [7, 2], [1, 1], 1),
        ] {
            let conv = Conv { stride, dilation, groups, border: Border::default() };
            let x = sample([2, image[0], image[1], 2 * groups], 1);
            let filter = sample([kernel[0], kernel[1], 2, 3 * groups], 2);
            let y = Tensor::apply(conv, &[&x, &filter]);
            let dy = sample(y.shape(), 3);
            let expected = by_definition(&dy, &filter, conv, image);
            let found = grad(&(y * &dy).sum(), &[&x]).remove(0).to_vec::<f64>();
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-12, "{conv:?} {image:?}: {a} {b}");
            }
            // A part of it is the same as the part of the whole.
            let part = ConvInputGrad { conv, start: [1, 2], extent: [image[0] - 1, image[1] - 3] };
            let part = Tensor::apply(part, &[&dy, &filter]).to_vec::<f64>();
            let whole = Tensor::from_slice(&expected, x.shape().clone());
            let cut = whole.slice(1, 1, image[0]).slice(2, 2, image[1] - 1).to_vec::<f64>();
            assert!(part.iter().zip(&cut).all(|(a, b)| (a - b).abs() < 1e-12), "{conv:?}");
        }
    }

    #[test]
    fn multiplies_no_more_often_than_the_convolution() {
        let border = Border::default();
        let conv = Conv { stride: [2, 2], dilation: [1, 1], groups: 1, border };
        let (x, filter) = (sample([2, 18, 18, 8], 1), sample([3, 3, 8, 16], 2));
        let forward = crate::compile(|a: &[Tensor]| vec![Tensor::apply(conv, &[&a[0], &a[1]])]);
        let backward = crate::compile(|a: &[Tensor]| {
            let whole = ConvInputGrad { conv, start: [0, 0], extent: [18, 18] };
            vec![Tensor::apply(whole, &[&a[0], &a[1]]).slice(1, 1, 17).slice(2, 1, 17)]
        });
        let signature = |a: &Tensor, b: &Tensor| [a, b].map(|t| (t.shape().clone(), t.dtype()));
        let dy = sample([2, 8, 8, 16], 3);
        let forward = forward.step(&signature(&x, &filter)).plan().flops();
        let backward = backward.step(&signature(&dy, &filter)).plan().flops();
        // What is left are copies, counted as an operation for each element.
        assert!(backward < forward + forward / 5, "{backward} {forward}");
    }
}
