//! Pooling.

use super::Operator;
use super::conv::Windows;
use super::elementwise::one;
use crate::import::call::{Call, Results};
use crate::import::error::Stop;
use nerve_core::ops::PoolOptions;

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("MaxPool", max_pool),
    ("AveragePool", average_pool),
    ("GlobalAveragePool", |call| one(call.tensor(0)?.mean_axes(&spatial(call)?, true))),
    ("GlobalMaxPool", |call| one(call.tensor(0)?.max_axes(&spatial(call)?, true))),
];

fn spatial(call: &Call<'_>) -> Result<Vec<isize>, Stop> {
    let x = call.tensor(0)?;
    match x.rank() {
        0..=2 => Err(format!("expected [n, channels, extents…], found {}", x.shape()).into()),
        rank => Ok((2..rank as isize).collect()),
    }
}

/// The windows, with padding behind for those that hang over the end where `ceil_mode` wants them; and
/// how much of the padding was asked for.
fn windows(call: &Call<'_>) -> Result<(Windows, Vec<(usize, usize)>), Stop> {
    let x = call.tensor(0)?;
    let mut windows = Windows::of(call, x, None)?;
    windows.check(x)?;
    let asked = windows.padding.clone();
    if call.flag("ceil_mode", false)? {
        for i in 0..asked.len() {
            let all = x.shape()[i + 2] + asked[i].0 + asked[i].1;
            let (reach, stride) = (windows.reach(i), windows.stride[i]);
            let mut count = (all - reach).div_ceil(stride) + 1;
            // A window that begins in the padding behind is none.
            if (count - 1) * stride >= x.shape()[i + 2] + asked[i].0 {
                count -= 1;
            }
            let need = (count - 1) * stride + reach;
            windows.padding[i].1 += need.saturating_sub(all);
        }
    }
    Ok((windows, asked))
}

fn options<const N: usize>(windows: &Windows) -> PoolOptions<N> {
    PoolOptions {
        kernel: std::array::from_fn(|i| windows.kernel[i]),
        stride: std::array::from_fn(|i| windows.stride[i]),
        padding: std::array::from_fn(|i| windows.padding[i]),
    }
}

fn max_pool(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let (windows, _) = windows(call)?;
    if call.wants(1) {
        return Err(Stop::Unsupported("the places of the maxima".into()));
    }
    if windows.dilation.iter().any(|&d| d != 1) || !x.dtype().is_float() {
        return Err(Stop::Unsupported("dilated windows, and windows over integers".into()));
    }
    one(match x.rank() {
        3 => x.max_pool::<1>(options(&windows)),
        4 => x.max_pool::<2>(options(&windows)),
        _ => x.max_pool::<3>(options(&windows)),
    })
}

fn average_pool(call: &Call<'_>) -> Results {
    let x = call.tensor(0)?;
    let (windows, asked) = windows(call)?;
    if windows.dilation.iter().any(|&d| d != 1) {
        return Err(Stop::Unsupported("dilated windows".into()));
    }
    let counted = match call.flag("count_include_pad", false)? {
        true => asked,
        false => vec![(0, 0); asked.len()],
    };
    one(match x.rank() {
        3 => x.avg_pool::<1>(options(&windows), std::array::from_fn(|i| counted[i])),
        4 => x.avg_pool::<2>(options(&windows), std::array::from_fn(|i| counted[i])),
        _ => x.avg_pool::<3>(options(&windows), std::array::from_fn(|i| counted[i])),
    })
}
