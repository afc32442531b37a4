//! How near two pictures are.

/// For each picture: mean squared error, mean absolute error, peak signal-to-noise ratio, structural similarity.
pub(super) const SCORES: usize = 4;

/// The greatest value of a pixel.
const PEAK: f64 = 255.0;

/// The scores of one picture of `[channels, height, width]`, with values from 0 to 255.
///
/// PSNR = 10 log10(255² / MSE) in decibels, infinite for equal pictures. SSIM as in Wang, Bovik, Sheikh, Simoncelli, "Image
/// quality assessment: from error visibility to structural similarity" (2004): a Gaussian window of 11 × 11 with deviation
/// 1.5, K1 = 0.01, K2 = 0.03, the mean over all windows that lie inside, then over the channels; NaN below 11 pixels.
pub(super) fn compare(shape: &[usize], truth: &[f64], answer: &[f64]) -> [f64; SCORES] {
    let count = truth.len().max(1) as f64;
    let errors = || truth.iter().zip(answer).map(|(t, a)| a - t);
    let mse = errors().map(|e| e * e).sum::<f64>() / count;
    let mae = errors().map(f64::abs).sum::<f64>() / count;
    let psnr = 10.0 * (PEAK * PEAK / mse).log10();
    let (height, width) = match *shape {
        [.., height, width] => (height, width),
        _ => (0, 0),
    };
    let planes = truth.chunks_exact((height * width).max(1));
    let planes = planes.zip(answer.chunks_exact((height * width).max(1)));
    let each: Vec<f64> = planes.map(|(t, a)| ssim(t, a, height, width)).collect();
    [mse, mae, psnr, each.iter().sum::<f64>() / each.len() as f64]
}

const RADIUS: usize = 5;

/// The Gaussian window, along one side.
fn window() -> [f64; 2 * RADIUS + 1] {
    let weight = |i: usize| (-0.5 * ((i as f64 - RADIUS as f64) / 1.5).powi(2)).exp();
    let mut weights = [0.0; 2 * RADIUS + 1];
    weights.iter_mut().enumerate().for_each(|(i, w)| *w = weight(i));
    let sum: f64 = weights.iter().sum();
    weights.map(|w| w / sum)
}

fn ssim(x: &[f64], y: &[f64], height: usize, width: usize) -> f64 {
    if height.min(width) < 2 * RADIUS + 1 {
        return f64::NAN;
    }
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<f64>>();
    let mean = |values: &[f64]| blurred(values, height, width);
    let (mx, my) = (mean(x), mean(y));
    let (xx, yy, xy) = (mean(&product(x, x)), mean(&product(y, y)), mean(&product(x, y)));
    let (c1, c2) = ((0.01 * PEAK).powi(2), (0.03 * PEAK).powi(2));
    let at = |i: usize| {
        let (vx, vy) = (xx[i] - mx[i] * mx[i], yy[i] - my[i] * my[i]);
        let covariance = xy[i] - mx[i] * my[i];
        let above = (2.0 * mx[i] * my[i] + c1) * (2.0 * covariance + c2);
        above / ((mx[i] * mx[i] + my[i] * my[i] + c1) * (vx + vy + c2))
    };
    (0..mx.len()).map(at).sum::<f64>() / mx.len() as f64
}

/// The weighted means of all windows inside.
fn blurred(values: &[f64], height: usize, width: usize) -> Vec<f64> {
    let weights = window();
    let across = width + 1 - weights.len();
    let mut rows = Vec::with_capacity(height * across);
    for row in values.chunks_exact(width) {
        let sums = row.windows(weights.len());
        rows.extend(sums.map(|part| part.iter().zip(&weights).map(|(v, w)| v * w).sum::<f64>()));
    }
    let mut means = Vec::with_capacity((height + 1 - weights.len()) * across);
    for y in 0..height + 1 - weights.len() {
        for x in 0..across {
            let sum = weights.iter().enumerate().map(|(i, w)| w * rows[(y + i) * across + x]);
            means.push(sum.sum());
        }
    }
    means
}
