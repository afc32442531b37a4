//! Pooling along one to three axes with any border. Made of the pooling of images.

use crate::tensor::Tensor;

/// The windows of a pooling along `N` axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolOptions<const N: usize> {
    /// Extent of the window.
    pub kernel: [usize; N],
    /// Distance between windows.
    pub stride: [usize; N],
    /// Padding: before, behind.
    pub padding: [(usize, usize); N],
}

impl<const N: usize> PoolOptions<N> {
    /// Windows next to each other, without padding.
    pub fn new(kernel: [usize; N]) -> PoolOptions<N> {
        PoolOptions { kernel, stride: kernel, padding: [(0, 0); N] }
    }

    /// Pools with `pool`, which takes images, kernel, stride and padding. A window of a volume is
    /// one of a plane and then one through the planes: of maxima and of means that is the same.
    #[track_caller]
    fn apply(
        &self,
        x: &Tensor,
        border: f64,
        pool: impl Fn(&Tensor, [usize; 2], [usize; 2], [usize; 2]) -> Tensor,
    ) -> Tensor {
        assert!(
            (1..=3).contains(&N) && x.rank() == N + 2,
            "pooling along {N} axes: the input is [n, channels, extents…], found {}",
            x.shape()
        );
        let PoolOptions { kernel: k, stride: s, padding } = *self;
        let own = (0..N).all(|a| padding[a].0 == padding[a].1 && 2 * padding[a].0 <= k[a]);
        let amounts = [&[(0, 0); 2], &padding[..]].concat();
        let (x, p) = match own {
            true => (x.clone(), padding.map(|(before, _)| before)),
            false => (x.pad(&amounts, border), [0; N]),
        };
        let last = |all: [usize; N]| [all[N - 2], all[N - 1]];
        match N {
            1 => pool(&x.unsqueeze(2), [1, k[0]], [1, s[0]], [0, p[0]]).squeeze(2),
            2 => pool(&x, last(k), last(s), last(p)),
            _ => {
                let &[n, c, d, h, w] = &x.shape()[..] else { unreachable!("five axes") };
                let planes = x.permute(&[0, 2, 1, 3, 4]).reshape([n * d, c, h, w]);
                let y = pool(&planes, last(k), last(s), last(p));
                let (h, w) = (y.shape()[2], y.shape()[3]);
                let rows = y.reshape([n, d, c, h * w]).permute(&[0, 2, 1, 3]);
                let y = pool(&rows, [k[0], 1], [s[0], 1], [p[0], 0]);
                y.reshape([n, c, y.shape()[2], h, w])
            }
        }
    }
}

impl Tensor {
    /// The maximum of each window along the last `N` axes of `[n, c, extents…]`, one to three.
    /// Padding is never the maximum.
    ///
    /// ```
    /// use nerve_core::{Tensor, ops::PoolOptions};
    /// let x = Tensor::from_slice(&[1.0f32, 3.0, 2.0], [1, 1, 3]);
    /// let windows = PoolOptions { padding: [(0, 1)], ..PoolOptions::new([2]) };
    /// assert_eq!(x.max_pool(windows).to_vec::<f32>(), [3.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// If the windows do not fit.
    #[track_caller]
    pub fn max_pool<const N: usize>(&self, options: PoolOptions<N>) -> Tensor {
        options.apply(self, f64::NEG_INFINITY, |x, k, s, p| x.max_pool2d(k, s, p))
    }

    /// The mean of each window along the last `N` axes of `[n, c, extents…]`, one to three. Of the
    /// padding, so many zeros count before and behind as `counted` says.
    ///
    /// ```
    /// use nerve_core::{Tensor, ops::PoolOptions};
    /// let x = Tensor::from_slice(&[1.0f32, 3.0, 2.0], [1, 1, 3]);
    /// let windows = PoolOptions { padding: [(0, 1)], ..PoolOptions::new([2]) };
    /// assert_eq!(x.avg_pool(windows, [(0, 1)]).to_vec::<f32>(), [2.0, 1.0]);
    /// assert_eq!(x.avg_pool(windows, [(0, 0)]).to_vec::<f32>(), [2.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// If the windows do not fit, or one contains nothing that counts.
    #[track_caller]
    pub fn avg_pool<const N: usize>(
        &self,
        options: PoolOptions<N>,
        counted: [(usize, usize); N],
    ) -> Tensor {
        let mut y = options.apply(self, 0.0, |x, k, s, p| x.avg_pool2d(k, s, p, true));
        for axis in 0..N {
            if counted[axis] == options.padding[axis] {
                continue;
            }
            let (k, (before, _)) = (options.kernel[axis], options.padding[axis]);
            // From the first to behind the last place that counts, in the padded axis.
            let first = before.saturating_sub(counted[axis].0);
            let end = before + self.shape()[axis + 2] + counted[axis].1;
            let scale = |window: usize| {
                let start = window * options.stride[axis];
                let count = (start + k).min(end).saturating_sub(start.max(first));
                assert!(count > 0, "avg_pool: window {window} of axis {axis} counts nothing");
                k as f64 / count as f64
            };
            let windows = y.shape()[axis + 2];
            let scales: Vec<f64> = (0..windows).map(scale).collect();
            if scales.iter().any(|&s| s != 1.0) {
                let mut shape = vec![1; N + 2];
                shape[axis + 2] = windows;
                y = y * Tensor::from_slice(&scales, shape).to_dtype(self.dtype());
            }
        }
        y
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradients, panic_message, sample};

    const CASES: [(PoolOptions<3>, [(usize, usize); 3]); 3] = [
        (
            PoolOptions { kernel: [2, 3, 2], stride: [1, 2, 2], padding: [(1, 1), (1, 1), (0, 0)] },
            [(1, 1), (0, 0), (0, 0)],
        ),
        (
            PoolOptions { kernel: [3, 2, 2], stride: [2, 1, 3], padding: [(0, 2), (1, 0), (1, 1)] },
            [(0, 1), (1, 0), (0, 1)],
        ),
        (PoolOptions { kernel: [1, 1, 3], stride: [1, 2, 1], padding: [(0, 0); 3] }, [(0, 0); 3]),
    ];

    /// The elements of `x` in each window, and how many places of it count.
    fn windows(
        x: &Tensor,
        options: &PoolOptions<3>,
        counted: &[(usize, usize); 3],
        y: &[usize],
    ) -> Vec<(Vec<f64>, usize)> {
        let xs = x.to_vec::<f64>();
        let &[_, c, d, h, w] = &x.shape()[..] else { unreachable!() };
        let image = [d, h, w];
        let mut all = Vec::new();
        for at in 0..y.iter().product() {
            let o = [at / y[4] / y[3] % y[2], at / y[4] % y[3], at % y[4]];
            let channel = at / (y[4] * y[3] * y[2]);
            assert!(channel < y[0] * c);
            let (mut seen, mut count) = (Vec::new(), 0);
            let [kd, kh, kw] = options.kernel;
            for tap in 0..kd * kh * kw {
                let t = [tap / kw / kh, tap / kw % kh, tap % kw];
                let at = |a: usize| {
                    (o[a] * options.stride[a] + t[a]) as isize - options.padding[a].0 as isize
                };
                let counts = |a: usize| {
                    let (before, after) = counted[a];
                    (-(before as isize)..(image[a] + after) as isize).contains(&at(a))
                };
                count += usize::from((0..3).all(counts));
                if (0..3).all(|a| (0..image[a] as isize).contains(&at(a))) {
                    let p = [0, 1, 2].map(|a| at(a) as usize);
                    seen.push(xs[((channel * d + p[0]) * h + p[1]) * w + p[2]]);
                }
            }
            all.push((seen, count));
        }
        all
    }

    #[test]
    fn pooling_of_volumes_equals_its_definition() {
        let x = sample([2, 2, 4, 5, 6], 1);
        for (options, counted) in &CASES {
            let (top, mean) = (x.max_pool(*options), x.avg_pool(*options, *counted));
            let expected = windows(&x, options, counted, top.shape());
            let (top, mean) = (top.to_vec::<f64>(), mean.to_vec::<f64>());
            for (i, (seen, count)) in expected.iter().enumerate() {
                assert_eq!(top[i], seen.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b)));
                let exact = seen.iter().sum::<f64>() / *count as f64;
                assert!((mean[i] - exact).abs() < 1e-12, "{options:?}: {} {exact}", mean[i]);
            }
        }
    }

    #[test]
    fn gradients() {
        let inputs = [sample([1, 1, 3, 3, 3], 1)];
        for (options, counted) in CASES {
            check_gradients(&inputs, |x| x[0].max_pool(options));
            check_gradients(&inputs, |x| x[0].avg_pool(options, counted));
        }
        let one = PoolOptions { padding: [(0, 1)], ..PoolOptions::new([2]) };
        check_gradients(&[sample([2, 1, 3], 1)], |x| x[0].avg_pool(one, [(0, 0)]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let message = panic_message(|| Tensor::ones([1, 2, 4]).max_pool(PoolOptions::new([2, 2])));
        assert!(message.contains("pooling along 2 axes"), "{message}");
    }
}
