//! Convolutions along one to three axes, and their transposes. Made of convolutions of images.

use super::Conv2dOptions;
use crate::grad::vjp;
use crate::tensor::Tensor;

/// How a convolution along `N` axes is applied; the default is stride 1, no padding, one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvOptions<const N: usize> {
    /// Distance between the places where the filter is applied.
    pub stride: [usize; N],
    /// Zeros around the input: before, behind.
    pub padding: [(usize, usize); N],
    /// Distance between the elements that the filter reads.
    pub dilation: [usize; N],
    /// Number of groups of channels that do not see each other.
    pub groups: usize,
}

impl<const N: usize> Default for ConvOptions<N> {
    fn default() -> Self {
        ConvOptions { stride: [1; N], padding: [(0, 0); N], dilation: [1; N], groups: 1 }
    }
}

impl<const N: usize> ConvOptions<N> {
    /// Along the last two axes.
    fn plane(&self) -> Conv2dOptions {
        let [i, j] = [N - 2, N - 1];
        Conv2dOptions {
            stride: [self.stride[i], self.stride[j]],
            padding: [self.padding[i], self.padding[j]],
            dilation: [self.dilation[i], self.dilation[j]],
            groups: self.groups,
        }
    }

    /// From the first to the last element that a filter reads along each axis.
    fn reach(&self, weight: &Tensor) -> [usize; N] {
        std::array::from_fn(|i| self.dilation[i] * weight.shape()[i + 2].saturating_sub(1) + 1)
    }

    #[track_caller]
    fn expect(&self, what: &str, x: &Tensor, weight: &Tensor, channels: [&str; 2]) {
        assert!((1..=3).contains(&N), "{what}: along one, two or three axes, not {N}");
        assert!(
            x.rank() == N + 2 && weight.rank() == N + 2,
            "{what}: along {N} axes, the input is [n, channels, extents…] and the filters \
             [{}, {} / groups, extents…]; found {} and {}",
            channels[0],
            channels[1],
            x.shape(),
            weight.shape()
        );
    }
}

/// Convolution of volumes: each slice of the result is a convolution of images, of all the slices
/// that the filter sees at once. They are laid side by side as channels, so that there is one
/// product with a long inner sum; groups would mix, so there each slice of the filter has a
/// convolution of its own and the results are added.
#[track_caller]
fn volume<const N: usize>(x: &Tensor, weight: &Tensor, options: &ConvOptions<N>) -> Tensor {
    let (stride, dilation, padding) = (options.stride[0], options.dilation[0], options.padding[0]);
    let x = x.pad(&[(0, 0), (0, 0), padding, (0, 0), (0, 0)], 0.0);
    let (&[n, c, d, h, w], &[o, i, taps, kh, kw]) = (&x.shape()[..], &weight.shape()[..]) else {
        unreachable!("volumes have five axes")
    };
    let reach = options.reach(weight)[0];
    assert!(
        taps > 0 && reach <= d && stride > 0,
        "conv: a filter that reaches over {reach} with stride {stride} does not fit {d} (padding \
         included)"
    );
    let depth = (d - reach) / stride + 1;
    let slice = |tap: usize| {
        let seen = x.slice_by(2, tap * dilation, stride as isize, depth);
        seen.permute(&[0, 2, 1, 3, 4]).reshape([n * depth, c, h, w])
    };
    let y = if options.groups == 1 {
        let slices: Vec<Tensor> = (0..taps).map(slice).collect();
        let filters = weight.permute(&[0, 2, 1, 3, 4]).reshape([o, taps * i, kh, kw]);
        Tensor::concat(&slices, 1).conv2d(&filters, options.plane())
    } else {
        let part = |tap: usize| {
            let filters = weight.slice_by(2, tap, 1, 1).reshape([o, i, kh, kw]);
            slice(tap).conv2d(&filters, options.plane())
        };
        (0..taps).map(part).reduce(|a, b| a + b).expect("a filter has a slice")
    };
    let (oh, ow) = (y.shape()[2], y.shape()[3]);
    y.reshape([n, depth, o, oh, ow]).permute(&[0, 2, 1, 3, 4])
}

impl Tensor {
    /// Convolution along `N` axes, one to three, of `[n, c, extents…]` with filters
    /// `[o, c / groups, extents…]`: `[n, o, extents…]`, along each axis
    /// `(n + padding − dilation (k − 1) − 1) / stride + 1`.
    ///
    /// Volumes are convolved as images: what a filter sees in the first axis is copied side by
    /// side, so their working memory is as many times the input as filters are deep.
    ///
    /// ```
    /// use nerve_core::{Tensor, ops::ConvOptions};
    /// let (x, w) = (Tensor::ones([1, 1, 4, 3, 3]), Tensor::ones([1, 1, 2, 3, 3]));
    /// let y = x.conv(&w, ConvOptions { stride: [2, 1, 1], ..ConvOptions::default() });
    /// assert_eq!(y.to_vec::<f32>(), [18.0, 18.0]);
    /// ```
    ///
    /// # Panics
    /// If shapes or types do not fit.
    #[track_caller]
    pub fn conv<const N: usize>(&self, weight: &Tensor, options: ConvOptions<N>) -> Tensor {
        options.expect("conv", self, weight, ["out", "in"]);
        let ConvOptions { stride, padding, dilation, groups } = options;
        match N {
            1 => self.conv1d(weight, stride[0], padding[0], dilation[0], groups),
            2 => self.conv2d(weight, options.plane()),
            _ => volume(self, weight, &options),
        }
    }

    /// The transpose of a convolution, also called fractionally strided convolution or
    /// (wrongly) deconvolution: each element of `[n, c, extents…]` adds its multiple of a filter
    /// of `[c, o / groups, extents…]` to the result, along each axis
    /// `(n − 1) stride − padding + dilation (k − 1) + output_padding + 1`.
    ///
    /// It *is* the gradient of [`conv`](Tensor::conv) with these options with respect to its
    /// input, and costs as much. Of the images that such a convolution maps to one shape, the
    /// smallest is meant; `output_padding` adds so many at the end of each axis.
    ///
    /// Zeiler et al., "Deconvolutional networks", 2010.
    ///
    /// ```
    /// use nerve_core::{Tensor, ops::ConvOptions};
    /// let x = Tensor::from_slice(&[1.0f32, 2.0], [1, 1, 2]);
    /// let w = Tensor::from_slice(&[1.0f32, 10.0, 100.0], [1, 1, 3]);
    /// let y = x.conv_transpose(&w, ConvOptions { stride: [2], ..ConvOptions::default() }, [0]);
    /// assert_eq!(y.to_vec::<f32>(), [1.0, 10.0, 102.0, 20.0, 200.0]);
    /// ```
    ///
    /// # Panics
    /// If shapes or types do not fit.
    #[track_caller]
    pub fn conv_transpose<const N: usize>(
        &self,
        weight: &Tensor,
        options: ConvOptions<N>,
        output_padding: [usize; N],
    ) -> Tensor {
        options.expect("conv_transpose", self, weight, ["in", "out"]);
        let reach = options.reach(weight);
        let mut shape = vec![self.shape()[0], weight.shape()[1] * options.groups];
        for axis in 0..N {
            let (n, padding) = (self.shape()[axis + 2], options.padding[axis]);
            let whole =
                n.saturating_sub(1) * options.stride[axis] + reach[axis] + output_padding[axis];
            let cut = padding.0 + padding.1;
            assert!(
                n > 0 && cut < whole,
                "conv_transpose: a padding of {cut} leaves nothing of {whole} along axis {axis}"
            );
            shape.push(whole - cut);
        }
        let image = Tensor::full(shape, 0.0, self.dtype());
        let mut seen = image.conv(weight, options);
        for axis in 2..N + 2 {
            seen = seen.slice(axis as isize, 0, self.shape()[axis]);
        }
        assert!(
            seen.shape() == self.shape(),
            "conv_transpose: filters {} for an input of {}",
            weight.shape(),
            self.shape()
        );
        let mut gradient = vjp(&seen, self, &[image]);
        gradient.remove(0).expect("a convolution depends on its image")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradients, panic_message, sample};

    /// By definition, for one to three axes: `x` seen by `filter` where `forward`, else spread.
    fn by_definition(x: &Tensor, w: &Tensor, options: &ConvOptions<3>, y: &[usize]) -> Vec<f64> {
        let (xs, ws) = (x.to_vec::<f64>(), w.to_vec::<f64>());
        let (&[n, c, d, h, v], &[o, i, kd, kh, kw]) = (&x.shape()[..], &w.shape()[..]) else {
            unreachable!()
        };
        let mut sums = vec![0.0; y.iter().product()];
        let (kernel, image) = ([kd, kh, kw], [d, h, v]);
        for (at, sum) in sums.iter_mut().enumerate() {
            let (rest, z) = (at / y[4], [at / y[4] / y[3] % y[2], at / y[4] % y[3], at % y[4]]);
            let (out, b) = (rest / y[3] / y[2] % o, rest / y[3] / y[2] / o);
            for tap in 0..i * kd * kh * kw {
                let t = [tap / kw / kh % kd, tap / kw % kh, tap % kw];
                let channel = out / (o / options.groups) * i + tap / kw / kh / kd;
                let place = |a: usize| {
                    let p = z[a] * options.stride[a] + t[a] * options.dilation[a];
                    p.checked_sub(options.padding[a].0).filter(|&p| p < image[a])
                };
                if let (Some(p), Some(q), Some(r)) = (place(0), place(1), place(2)) {
                    sum.add_assign(
                        xs[(((b * c + channel) * d + p) * h + q) * v + r]
                            * ws[(out * i * kernel.iter().product::<usize>()) + tap],
                    );
                }
            }
        }
        assert_eq!(n, y[0]);
        sums
    }

    use std::ops::AddAssign;

    fn volumes() -> [(ConvOptions<3>, [usize; 5], [usize; 5]); 4] {
        let plain = ConvOptions::<3>::default();
        [
            (plain, [2, 2, 4, 3, 5], [3, 2, 2, 2, 3]),
            (
                ConvOptions { stride: [2, 1, 2], padding: [(1, 0), (0, 2), (1, 1)], ..plain },
                [1, 2, 5, 4, 3],
                [2, 2, 3, 3, 2],
            ),
            (
                ConvOptions { dilation: [2, 1, 1], groups: 2, padding: [(1, 1); 3], ..plain },
                [1, 4, 4, 2, 3],
                [4, 2, 2, 2, 1],
            ),
            (
                ConvOptions { stride: [3, 2, 1], groups: 3, ..plain },
                [2, 3, 5, 4, 2],
                [3, 1, 1, 2, 2],
            ),
        ]
    }

    #[test]
    fn a_convolution_of_volumes_equals_its_definition() {
        for (options, x, w) in volumes() {
            let (x, w) = (sample(x, 1), sample(w, 2));
            let y = x.conv(&w, options);
            let expected = by_definition(&x, &w, &options, y.shape());
            for (a, b) in y.to_vec::<f64>().iter().zip(&expected) {
                assert!((a - b).abs() < 1e-12, "{options:?}: {a} {b}");
            }
        }
    }

    /// ⟨conv(x), y⟩ = ⟨x, transpose(y)⟩ for all x and y.
    #[test]
    fn a_transpose_is_one() {
        for (options, x, w) in volumes() {
            let (x, w) = (sample(x, 1), sample(w, 2));
            let y = x.conv(&w, options);
            let dy = sample(y.shape(), 3);
            let reach = options.reach(&w);
            let missing = std::array::from_fn(|a| {
                let (before, after) = options.padding[a];
                x.shape()[a + 2] + before + after
                    - ((y.shape()[a + 2] - 1) * options.stride[a] + reach[a])
            });
            let back = dy.conv_transpose(&w, options, missing);
            assert_eq!(back.shape(), x.shape());
            let (a, b) = ((y * dy).sum().item::<f64>(), (back * x).sum().item::<f64>());
            assert!((a - b).abs() < 1e-12, "{options:?}: {a} {b}");
        }
    }

    #[test]
    fn a_transpose_may_reach_beyond_what_it_sees() {
        let (x, w) = (sample([1, 2, 3], 1), sample([2, 1, 2], 2));
        let options = ConvOptions { stride: [2], dilation: [3], ..ConvOptions::default() };
        let y = x.conv_transpose(&w, options, [2]).to_vec::<f64>();
        let less = x.conv_transpose(&w, options, [0]).to_vec::<f64>();
        assert_eq!(y, [less, vec![0.0; 2]].concat());
    }

    #[test]
    fn gradients() {
        let options = ConvOptions { stride: [2, 1, 1], ..ConvOptions::<3>::default() };
        let inputs = [sample([1, 2, 3, 2, 2], 1), sample([2, 2, 2, 2, 1], 2)];
        check_gradients(&inputs, |x| x[0].conv(&x[1], options));
        let inputs = [sample([1, 2, 2, 2, 1], 1), sample([2, 1, 2, 1, 2], 2)];
        check_gradients(&inputs, |x| x[0].conv_transpose(&x[1], options, [1, 0, 0]));
        let options =
            ConvOptions { stride: [2, 2], padding: [(1, 0), (0, 1)], ..ConvOptions::default() };
        let inputs = [sample([2, 2, 2, 3], 1), sample([2, 2, 3, 2], 2)];
        check_gradients(&inputs, |x| x[0].conv_transpose(&x[1], options, [1, 0]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (x, w) = (Tensor::ones([1, 2, 4]), Tensor::ones([2, 2, 5]));
        let message = panic_message(|| x.conv_transpose(&w, ConvOptions::<2>::default(), [0, 0]));
        assert!(message.contains("filters [in, out / groups, extents…]"), "{message}");
        let message = panic_message(|| {
            let padding = [(4, 4)];
            x.conv_transpose(&w, ConvOptions { padding, ..ConvOptions::default() }, [0])
        });
        assert!(message.contains("a padding of 8 leaves nothing of 8"), "{message}");
        let (x, w) = (Tensor::ones([1, 2, 1, 3, 3]), Tensor::ones([2, 2, 2, 3, 3]));
        let message = panic_message(|| x.conv(&w, ConvOptions::<3>::default()));
        assert!(message.contains("reaches over 2"), "{message}");
    }
}
