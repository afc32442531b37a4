//! Colours: changes of single pixels, on values from 0 to 255. The formulas are those of torchvision and Pillow.

use super::Image;

/// Grey of a colour: ITU-R BT.601.
pub(super) const GREY: [f32; 3] = [0.299, 0.587, 0.114];

/// What is blended stays a colour.
fn blend(value: f32, other: f32, factor: f32) -> f32 {
    (other + (value - other) * factor).clamp(0.0, 255.0)
}

/// The channels that are colours: not alpha.
fn colours<'a>(image: &'a mut Image<'_>) -> (usize, &'a mut [f32]) {
    let plane = image.height() * image.width();
    let channels = image.channels();
    let colours = if matches!(channels, 2 | 4) { channels - 1 } else { channels };
    (plane, &mut image.pixels()[..colours * plane])
}

/// Every value of every colour becomes what `f` gives.
pub(super) fn each(image: &mut Image<'_>, f: impl Fn(f32) -> f32) {
    colours(image).1.iter_mut().for_each(|value| *value = f(*value));
}

/// Every pixel of red, green and blue; nothing where there is grey alone.
fn each_colour(image: &mut Image<'_>, f: impl Fn([f32; 3]) -> [f32; 3]) {
    let (plane, pixels) = colours(image);
    if pixels.len() != 3 * plane {
        return;
    }
    let (red, rest) = pixels.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        [*red, *green, *blue] = f([*red, *green, *blue]);
    }
}

fn grey_of(colour: [f32; 3]) -> f32 {
    GREY.iter().zip(colour).map(|(weight, value)| weight * value).sum()
}

/// 0: black; 1: as it is.
pub(super) fn brightness(image: &mut Image<'_>, factor: f32) {
    each(image, |value| (value * factor).clamp(0.0, 255.0));
}

/// 0: all as grey as the mean; 1: as it is.
pub(super) fn contrast(image: &mut Image<'_>, factor: f32) {
    let (plane, pixels) = colours(image);
    let weights: &[f32] = if pixels.len() == 3 * plane { &GREY } else { &[1.0] };
    let sum: f64 = pixels
        .chunks_exact(plane)
        .zip(weights)
        .map(|(plane, &weight)| {
            f64::from(weight) * plane.iter().map(|&value| f64::from(value)).sum::<f64>()
        })
        .sum();
    let mean = (sum / plane as f64) as f32;
    each(image, |value| blend(value, mean, factor));
}

/// 0: grey; 1: as it is.
pub(super) fn saturation(image: &mut Image<'_>, factor: f32) {
    each_colour(image, |colour| {
        let grey = grey_of(colour);
        colour.map(|value| blend(value, grey, factor))
    });
}

/// Turns the wheel of colours by a share of it, -0.5 to 0.5.
pub(super) fn hue(image: &mut Image<'_>, turn: f32) {
    each_colour(image, |colour| {
        let most = colour[0].max(colour[1]).max(colour[2]);
        let least = colour[0].min(colour[1]).min(colour[2]);
        let range = most - least;
        if range <= 0.0 {
            return colour;
        }
        let [red, green, blue] = colour.map(|value| (most - value) / range);
        // Sixths of the wheel.
        let hue = if most == colour[0] {
            blue - green
        } else if most == colour[1] {
            2.0 + red - blue
        } else {
            4.0 + green - red
        };
        let hue = (hue + 6.0 * turn).rem_euclid(6.0);
        // How far each of the three is from its own place on the wheel.
        let channel = |at: f32| {
            let place = (hue + at).rem_euclid(6.0);
            most - range * place.min(4.0 - place).clamp(0.0, 1.0)
        };
        [channel(5.0), channel(3.0), channel(1.0)]
    });
}

/// All channels become grey.
pub(super) fn greyscale(image: &mut Image<'_>) {
    each_colour(image, |colour| [grey_of(colour); 3]);
}

/// Light becomes dark.
pub(super) fn invert(image: &mut Image<'_>) {
    each(image, |value| 255.0 - value);
}

/// What is as light as the threshold becomes dark.
pub(super) fn solarize(image: &mut Image<'_>, threshold: f32) {
    each(image, |value| if value >= threshold { 255.0 - value } else { value });
}

/// Keeps the highest bits of each value.
pub(super) fn posterize(image: &mut Image<'_>, bits: u32) {
    let mask = !(0xFFu32 >> bits) as u8;
    each(image, |value| f32::from(byte(value) & mask));
}

fn byte(value: f32) -> u8 {
    // Converting keeps it within 0 to 255.
    (value + 0.5) as u8
}

/// Spreads the values of each channel over all of 0 to 255.
pub(super) fn auto_contrast(image: &mut Image<'_>) {
    let (plane, pixels) = colours(image);
    for channel in pixels.chunks_exact_mut(plane) {
        let least = channel.iter().copied().fold(f32::INFINITY, f32::min);
        let most = channel.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if most > least {
            let scale = 255.0 / (most - least);
            channel.iter_mut().for_each(|value| *value = (*value - least) * scale);
        }
    }
}

/// Spreads the values of each channel so that all are about equally frequent.
pub(super) fn equalize(image: &mut Image<'_>) {
    let (plane, pixels) = colours(image);
    for channel in pixels.chunks_exact_mut(plane) {
        let mut counts = [0usize; 256];
        channel.iter().for_each(|&value| counts[usize::from(byte(value))] += 1);
        let last = counts.iter().rev().copied().find(|&count| count > 0).unwrap_or(0);
        let step = (plane - last) / 255;
        if step == 0 {
            continue;
        }
        let mut sum = step / 2;
        let table: [f32; 256] = std::array::from_fn(|at| {
            let value = (sum / step).min(255) as f32;
            sum += counts[at];
            value
        });
        channel.iter_mut().for_each(|value| *value = table[usize::from(byte(*value))]);
    }
}

/// 0: smooth; 1: as it is; above: sharper. The outermost pixels stay.
pub(super) fn sharpness(image: &mut Image<'_>, factor: f32) {
    let (height, width) = (image.height(), image.width());
    if height < 3 || width < 3 {
        return;
    }
    image.remap(|source, target| {
        for y in 1..height - 1 {
            for x in 1..width - 1 {
                let row = |y: usize| source[y * width + x - 1..][..3].iter().sum::<f32>();
                let middle = source[y * width + x];
                let smooth = (row(y - 1) + row(y) + row(y + 1) + 4.0 * middle) / 13.0;
                target[y * width + x] = blend(middle, smooth, factor);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(channels: usize, pixels: &[f32], f: impl Fn(&mut Image<'_>)) -> Vec<f32> {
        let mut pixels = pixels.to_vec();
        let mut scratch = Vec::new();
        let width = pixels.len() / channels;
        f(&mut Image::new([1, width], &mut pixels, &mut scratch));
        pixels
    }

    #[test]
    fn hue_turns_the_primary_colours_into_each_other() {
        let red = [200.0, 10.0, 10.0];
        let turned = |turn: f32| changed(3, &red, |image| hue(image, turn));
        let close = |a: Vec<f32>, b: [f32; 3]| {
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3), "{a:?} {b:?}");
        };
        close(turned(0.0), red);
        close(turned(1.0 / 3.0), [10.0, 200.0, 10.0]);
        close(turned(-1.0 / 3.0), [10.0, 10.0, 200.0]);
        close(turned(0.5), [10.0, 200.0, 200.0]);
        close(changed(3, &[5.0, 5.0, 5.0], |image| hue(image, 0.3)), [5.0; 3]);
    }

    #[test]
    fn grey_has_no_colours_to_change_and_alpha_is_left_alone() {
        let grey = [10.0, 20.0];
        assert_eq!(changed(1, &grey, |image| saturation(image, 0.0)), grey);
        assert_eq!(changed(1, &grey, |image| hue(image, 0.4)), grey);
        assert_eq!(changed(1, &grey, |image| contrast(image, 0.0)), [15.0, 15.0]);
        let four = [10.0, 20.0, 30.0, 77.0];
        assert_eq!(changed(4, &four, invert), [245.0, 235.0, 225.0, 77.0]);
        assert_eq!(changed(4, &four, |image| brightness(image, 20.0)), [200.0, 255.0, 255.0, 77.0]);
    }

    #[test]
    fn tables_of_values() {
        let values = [0.0, 100.0, 128.0, 255.0];
        assert_eq!(changed(1, &values, |image| solarize(image, 128.0)), [0.0, 100.0, 127.0, 0.0]);
        assert_eq!(changed(1, &values, |image| posterize(image, 2)), [0.0, 64.0, 128.0, 192.0]);
        assert_eq!(changed(1, &values, |image| posterize(image, 8)), values);
        assert_eq!(changed(1, &values, |image| posterize(image, 0)), [0.0; 4]);
        assert_eq!(changed(1, &[10.0, 20.0, 30.0], auto_contrast), [0.0, 127.5, 255.0]);
        assert_eq!(changed(1, &[7.0, 7.0], auto_contrast), [7.0, 7.0]);
    }
}
