//! A decoded picture in the channels and the size that a network takes.

use super::decode::Pixels;
use super::resize::Resizer;

/// What is done to a picture whose shape is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resize {
    /// Each side is scaled by itself.
    Stretch,
    /// Scaled to fit in, the rest black.
    Fit,
    /// Scaled to fill, what stands over cut off on both sides.
    Crop,
}

impl Resize {
    pub(crate) const NAMES: &'static [&'static str] = &["stretch", "fit", "crop"];

    pub(crate) fn from_name(name: &str) -> Resize {
        match name {
            "fit" => Resize::Fit,
            "crop" => Resize::Crop,
            _ => Resize::Stretch,
        }
    }

    /// The part of the source that is used, and the part of the target that it fills: first row and column, height and
    /// width.
    pub(crate) fn parts(self, source: [usize; 2], target: [usize; 2]) -> [[usize; 4]; 2] {
        let middle = |whole: [usize; 2], part: [usize; 2]| {
            [(whole[0] - part[0]) / 2, (whole[1] - part[1]) / 2, part[0], part[1]]
        };
        // `part`, in the proportions of `like`, as large as it fits into `whole`.
        let within = |whole: [usize; 2], like: [usize; 2]| {
            let ratios = [0, 1].map(|axis| whole[axis] as f64 / like[axis] as f64);
            let scale = ratios[0].min(ratios[1]);
            let part = [0, 1]
                .map(|axis| ((like[axis] as f64 * scale).round() as usize).clamp(1, whole[axis]));
            middle(whole, part)
        };
        let whole = |size: [usize; 2]| [0, 0, size[0], size[1]];
        match self {
            Resize::Stretch => [whole(source), whole(target)],
            Resize::Fit => [whole(source), within(target, source)],
            Resize::Crop => [within(source, target), whole(target)],
        }
    }
}

/// What was lost of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Lost {
    pub colours: bool,
    pub transparency: bool,
}

/// Writes a picture as `[channels, height, width]`: grey (ITU-R BT.601), red, green, blue, or these and alpha. What is
/// transparent lies over black, unless alpha is kept.
pub(crate) fn fill(
    pixels: &Pixels,
    channels: usize,
    size: [usize; 2],
    resize: Resize,
    out: &mut [u8],
) -> Lost {
    let [[top, left, height, width], spot] = resize.parts(pixels.size, size);
    let mut lost = Lost::default();
    let row_at = |y: usize| {
        let start = ((top + y) * pixels.size[1] + left) * pixels.channels;
        &pixels.bytes[start..start + width * pixels.channels]
    };
    if spot == [0, 0, height, width] {
        // Nothing is scaled.
        let mut row = vec![0; channels * width];
        for y in 0..height {
            spread(row_at(y), pixels.channels, channels, &mut row, &mut lost);
            for (channel, row) in row.chunks_exact(width).enumerate() {
                out[(channel * height + y) * width..][..width].copy_from_slice(row);
            }
        }
        return lost;
    }
    let [first_row, first_column, rows, columns] = spot;
    let mut resizer = Resizer::new([height, width], [rows, columns], channels);
    let mut row = vec![0; channels * width];
    for y in 0..height {
        spread(row_at(y), pixels.channels, channels, &mut row, &mut lost);
        resizer.add_row(&row);
    }
    if [rows, columns] != size {
        out.fill(0);
    }
    for (at, row) in resizer.finish().chunks_exact(columns).enumerate() {
        let (channel, y) = (at / rows, at % rows);
        let start = (channel * size[0] + first_row + y) * size[1] + first_column;
        out[start..start + columns].copy_from_slice(row);
    }
    lost
}

/// Pixels side by side to channels one after the other.
fn spread(row: &[u8], from: usize, to: usize, out: &mut [u8], lost: &mut Lost) {
    let width = row.len() / from;
    if from == to {
        for (x, pixel) in row.chunks_exact(from).enumerate() {
            pixel.iter().enumerate().for_each(|(channel, &value)| out[channel * width + x] = value);
        }
        return;
    }
    for (x, pixel) in row.chunks_exact(from).enumerate() {
        let (red, green, blue, alpha) = match *pixel {
            [grey] => (grey, grey, grey, 255),
            [grey, alpha] => (grey, grey, grey, alpha),
            [red, green, blue] => (red, green, blue, 255),
            [red, green, blue, alpha] => (red, green, blue, alpha),
            _ => unreachable!("one to four channels"),
        };
        if to == 4 {
            [red, green, blue, alpha]
                .into_iter()
                .enumerate()
                .for_each(|(c, v)| out[c * width + x] = v);
            continue;
        }
        lost.transparency |= alpha != 255;
        let over_black = |value: u8| ((u32::from(value) * u32::from(alpha) + 127) / 255) as u8;
        if to == 1 {
            lost.colours |= red != green || green != blue;
            // Weighed in whole numbers, so that grey stays what it is.
            let sum = 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue);
            out[x] = over_black(((sum + 500) / 1000) as u8);
        } else {
            [red, green, blue]
                .into_iter()
                .enumerate()
                .for_each(|(c, v)| out[c * width + x] = over_black(v));
        }
    }
}

/// Writes numbers in another size: each place takes the number of the nearest, places that nothing covers take `outside`.
pub(crate) fn fill_nearest<T: Copy>(
    values: &[T],
    source: [usize; 2],
    size: [usize; 2],
    resize: Resize,
    outside: T,
    out: &mut [T],
) {
    let [[top, left, height, width], [first_row, first_column, rows, columns]] =
        resize.parts(source, size);
    if [rows, columns] != size {
        out.fill(outside);
    }
    // The source pixel under the centre of each target pixel.
    let under = |at: usize, from: usize, to: usize| ((2 * at + 1) * from) / (2 * to);
    for y in 0..rows {
        let from = (top + under(y, height, rows)) * source[1] + left;
        let row = &mut out[(first_row + y) * size[1] + first_column..][..columns];
        for (x, value) in row.iter_mut().enumerate() {
            *value = values[from + under(x, width, columns)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_the_proportions() {
        let parts = |resize: Resize| resize.parts([100, 200], [50, 50]);
        assert_eq!(parts(Resize::Stretch), [[0, 0, 100, 200], [0, 0, 50, 50]]);
        assert_eq!(parts(Resize::Fit), [[0, 0, 100, 200], [12, 0, 25, 50]]);
        assert_eq!(parts(Resize::Crop), [[0, 50, 100, 100], [0, 0, 50, 50]]);
        // A line stays at least one pixel.
        assert_eq!(Resize::Fit.parts([1, 1000], [10, 10])[1], [4, 0, 1, 10]);
        assert_eq!(Resize::Crop.parts([1, 1000], [10, 10])[0], [0, 499, 1, 1]);
    }

    #[test]
    fn fitting_pads_with_black_and_cropping_cuts() {
        let pixels = Pixels { size: [1, 4], channels: 1, bytes: vec![10, 20, 30, 40] };
        let filled = |resize, size: [usize; 2]| {
            let mut out = vec![99; size[0] * size[1]];
            fill(&pixels, 1, size, resize, &mut out);
            out
        };
        assert_eq!(filled(Resize::Fit, [3, 4]), [0, 0, 0, 0, 10, 20, 30, 40, 0, 0, 0, 0]);
        assert_eq!(filled(Resize::Crop, [1, 2]), [20, 30]);
        assert_eq!(filled(Resize::Stretch, [1, 4]), [10, 20, 30, 40]);
    }

    #[test]
    fn numbers_take_the_nearest() {
        let mut out = [9; 4];
        fill_nearest(&[1, 2, 3, 4, 5, 6, 7, 8], [1, 8], [1, 4], Resize::Stretch, 0, &mut out);
        assert_eq!(out, [2, 4, 6, 8]);
        let mut out = [9; 6];
        fill_nearest(&[1, 2], [1, 2], [3, 2], Resize::Fit, 255, &mut out);
        assert_eq!(out, [255, 255, 1, 2, 255, 255]);
    }

    #[test]
    fn alpha_is_a_channel_or_lies_over_black() {
        let pixels = Pixels { size: [1, 1], channels: 4, bytes: vec![200, 100, 50, 128] };
        let mut four = [0; 4];
        assert_eq!(fill(&pixels, 4, [1, 1], Resize::Stretch, &mut four), Lost::default());
        assert_eq!(four, [200, 100, 50, 128]);
        let mut three = [0; 3];
        assert!(fill(&pixels, 3, [1, 1], Resize::Stretch, &mut three).transparency);
        assert_eq!(three, [100, 50, 25]);
    }
}
