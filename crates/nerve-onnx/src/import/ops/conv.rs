//! Convolutions.

use super::Operator;
use super::elementwise::one;
use crate::import::call::{Call, extent};
use crate::import::error::Stop;
use nerve_core::Tensor;
use nerve_core::ops::ConvOptions;

pub(super) const OPERATORS: &[(&str, Operator)] = &[("Conv", |call| {
    let (x, w) = (call.tensor(0)?, call.tensor(1)?);
    let y = convolve(call, x, w)?;
    one(biased(y, call.optional(2)?)?)
})];

/// Windows along the axes behind batch and channels, as convolutions and pooling have them.
pub(super) struct Windows {
    /// Extent of the window.
    pub kernel: Vec<usize>,
    /// Distance between windows.
    pub stride: Vec<usize>,
    /// Distance between the elements of a window.
    pub dilation: Vec<usize>,
    /// Padding: before, behind.
    pub padding: Vec<(usize, usize)>,
}

impl Windows {
    /// From the settings of a node; `kernel` is known from a weight or is a setting.
    pub fn of(call: &Call<'_>, x: &Tensor, kernel: Option<&[usize]>) -> Result<Windows, Stop> {
        let Some(axes) = x.rank().checked_sub(2).filter(|n| (1..=3).contains(n)) else {
            let shape = x.shape();
            return Err(format!(
                "expected [n, channels, extents…] of one to three axes, found {shape}"
            )
            .into());
        };
        let list = |name: &str, default: usize| -> Result<Vec<usize>, Stop> {
            let given = call.ints(name)?.unwrap_or(vec![default as i64; axes]);
            let values = given.iter().map(|&v| extent(v)).collect::<Result<Vec<_>, _>>()?;
            match values.len() == axes && values.iter().all(|&v| v > 0 && v < 1 << 31) {
                true => Ok(values),
                false => Err(format!("{name} {given:?} for {axes} axes").into()),
            }
        };
        let kernel = match (kernel, call.attribute("kernel_shape")) {
            (Some(kernel), None) => kernel.to_vec(),
            (None, None) => return Err("attribute kernel_shape is missing".into()),
            (known, Some(_)) => {
                let kernel = list("kernel_shape", 1)?;
                if known.is_some_and(|known| known != kernel) {
                    return Err(format!("kernel_shape {kernel:?} for a weight of {known:?}").into());
                }
                kernel
            }
        };
        let (stride, dilation) = (list("strides", 1)?, list("dilations", 1)?);
        let mut windows = Windows { kernel, stride, dilation, padding: vec![(0, 0); axes] };
        windows.pad(call, &x.shape()[2..])?;
        Ok(windows)
    }

    /// From the first to the last element of a window, along axis `i`.
    pub fn reach(&self, i: usize) -> usize {
        self.dilation[i] * self.kernel[i].saturating_sub(1) + 1
    }

    fn pad(&mut self, call: &Call<'_>, extents: &[usize]) -> Result<(), Stop> {
        let axes = extents.len();
        let auto = call.text("auto_pad", "NOTSET")?;
        for i in 0..axes {
            let out = extents[i].div_ceil(self.stride[i]);
            let need =
                (out.saturating_sub(1) * self.stride[i] + self.reach(i)).saturating_sub(extents[i]);
            self.padding[i] = match auto {
                "SAME_UPPER" => (need / 2, need - need / 2),
                "SAME_LOWER" => (need - need / 2, need / 2),
                "VALID" => (0, 0),
                "NOTSET" => match call.ints("pads")? {
                    None => (0, 0),
                    Some(pads) if pads.len() != 2 * axes => {
                        return Err(format!("pads {pads:?} for {axes} axes").into());
                    }
                    Some(pads) => {
                        let each = |at: i64| {
                            extent(at)
                                .ok()
                                .filter(|&p| p < 1 << 31)
                                .ok_or_else(|| format!("pads from 0 to 2^31, found {at}"))
                        };
                        (each(pads[i])?, each(pads[i + axes])?)
                    }
                },
                other => return Err(format!("auto_pad: unknown {other:?}").into()),
            };
        }
        Ok(())
    }

    /// Checks that a window fits into the padded input.
    pub fn check(&self, x: &Tensor) -> Result<(), Stop> {
        for (i, &n) in x.shape()[2..].iter().enumerate() {
            let all = n + self.padding[i].0 + self.padding[i].1;
            if self.reach(i) > all {
                let reach = self.reach(i);
                return Err(
                    format!("a window over {reach} does not fit {all}, padding included").into()
                );
            }
        }
        Ok(())
    }

    pub fn options<const N: usize>(&self, groups: usize) -> ConvOptions<N> {
        let four = |list: &[usize]| std::array::from_fn(|i| list[i]);
        ConvOptions {
            stride: four(&self.stride),
            padding: std::array::from_fn(|i| self.padding[i]),
            dilation: four(&self.dilation),
            groups,
        }
    }
}

/// The convolution that a node describes, of any operands.
pub(super) fn convolve(call: &Call<'_>, x: &Tensor, w: &Tensor) -> Result<Tensor, Stop> {
    if w.rank() != x.rank() || w.dtype() != x.dtype() {
        return Err(format!("filters {} for an input of {}", w.shape(), x.shape()).into());
    }
    let windows = Windows::of(call, x, Some(w.shape().get(2..).unwrap_or(&[])))?;
    windows.check(x)?;
    let groups = extent(call.int("group", 1)?)?;
    let (channels, filters) = (x.shape()[1], w.shape()[0]);
    let fits =
        groups > 0 && filters % groups == 0 && w.shape()[1].checked_mul(groups) == Some(channels);
    if !fits {
        return Err(
            format!("filters {} in {groups} groups for {channels} channels", w.shape()).into()
        );
    }
    Ok(match x.rank() {
        3 => x.conv::<1>(w, windows.options(groups)),
        4 => x.conv::<2>(w, windows.options(groups)),
        _ => x.conv::<3>(w, windows.options(groups)),
    })
}

/// Plus a bias for each channel.
pub(super) fn biased(y: Tensor, bias: Option<&Tensor>) -> Result<Tensor, Stop> {
    let Some(bias) = bias else { return Ok(y) };
    if **bias.shape() != [y.shape()[1]] || bias.dtype() != y.dtype() {
        return Err(format!("bias {} for {} channels", bias.shape(), y.shape()[1]).into());
    }
    let dims = [&[y.shape()[1]][..], &vec![1; y.rank() - 2]].concat();
    Ok(&y + &bias.reshape(dims))
}
