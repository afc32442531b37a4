//! Arithmetic on extents that come from a recipe and may be as large as one can write.

use crate::layers::Misfit;

/// The product of all extents; saturates instead of overflowing.
pub(crate) fn product(extents: &[usize]) -> u128 {
    extents.iter().fold(1, |all, &n| all.saturating_mul(n as u128))
}

/// As an extent; what does not fit is refused later for its memory.
pub(crate) fn extent(n: u128) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// The names of `N` axes, the last ones of a volume.
pub(crate) fn names<const N: usize>() -> [&'static str; N] {
    std::array::from_fn(|i| match N {
        1 => "length",
        _ => ["depth", "height", "width"][3 + i - N],
    })
}

/// The channels of one example, and its extents along `N` axes.
pub(crate) fn spatial<const N: usize>(input: &[usize]) -> Result<(usize, [usize; N]), Misfit> {
    let split = input.split_first();
    let whole = split.and_then(|(&c, rest)| Some((c, <[usize; N]>::try_from(rest).ok()?)));
    whole.ok_or_else(|| Misfit {
        needs: format!("[channels, {}]", names::<N>().join(", ")),
        hint: match input.len() {
            1 if N == 2 => "an image has no place after Flatten or Dense".into(),
            n => format!("it gets {n} axes and needs {}", N + 1),
        },
    })
}

/// The channels, height and width of one image.
pub(crate) fn image(input: &[usize]) -> Result<[usize; 3], Misfit> {
    spatial::<2>(input).map(|(channels, [height, width])| [channels, height, width])
}

/// One axis along which a window slides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub name: &'static str,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
}

impl Window {
    /// From the first to the last element that one window reads, and those between.
    pub fn reach(&self) -> usize {
        (self.kernel - 1).saturating_mul(self.dilation).saturating_add(1)
    }

    /// How many windows fit along `length` elements with `border` more around them.
    pub fn count(&self, length: usize, border: (usize, usize)) -> Result<usize, Misfit> {
        let padded = length.saturating_add(border.0).saturating_add(border.1);
        if self.reach() > padded {
            return Err(Misfit {
                needs: format!("at least {} values along the {}", self.reach(), self.name),
                hint: "pool less before it, pad it, or take a smaller kernel".into(),
            });
        }
        Ok((padded - self.reach()) / self.stride + 1)
    }

    /// The border with as many more values behind it as complete the last window that starts
    /// inside: what is called `ceil_mode`.
    pub fn completed(&self, length: usize, (before, after): (usize, usize)) -> (usize, usize) {
        let padded = length.saturating_add(before).saturating_add(after);
        let Some(room) = padded.checked_sub(self.reach()) else { return (before, after) };
        let last = room.div_ceil(self.stride).saturating_mul(self.stride);
        match last < length.saturating_add(before) {
            true => (before, after + (last - room)),
            false => (before, after),
        }
    }

    /// The border that makes ⌈length / stride⌉ windows; an odd one is longer behind.
    pub fn same(&self, length: usize) -> (usize, usize) {
        let windows = length.div_ceil(self.stride).max(1);
        let wanted = ((windows - 1) * self.stride).saturating_add(self.reach());
        let total = wanted.saturating_sub(length);
        (total / 2, total - total / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_gives_the_rounded_up_quotient() {
        for length in 1..20 {
            for (kernel, stride, dilation) in
                [(3, 1, 1), (3, 2, 1), (2, 1, 1), (5, 3, 2), (1, 4, 1)]
            {
                let window = Window { name: "height", kernel, stride, dilation };
                let border = window.same(length);
                assert_eq!(window.count(length, border).ok(), Some(length.div_ceil(stride)));
                assert!(border.1 - border.0 <= 1);
            }
        }
    }

    #[test]
    fn absurd_extents_saturate() {
        let window = Window { name: "height", kernel: 1 << 62, stride: 1, dilation: 1 << 62 };
        assert!(window.count(28, (0, 0)).is_err());
        assert_eq!(product(&[usize::MAX; 9]), u128::MAX);
        assert_eq!(extent(u128::MAX), usize::MAX);
    }
}
