//! Fewer points for a picture that has fewer pixels, none of them invented.

use std::ops::Range;

/// The window of a curve that is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Where it begins on the x axis.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// How many columns of pixels there are.
    pub px: usize,
}

impl Window {
    /// Most columns that are given.
    pub const MOST: usize = 10_000;
}

/// The places of the points to draw, ascending, and whether these are all points of the window.
///
/// `x` and `v` give the coordinates of a point; x must ascend. In every column of pixels the first,
/// the lowest, the highest and the last point remain, and the first whose value is no finite number:
/// a line through them covers the same pixels as one through all (the M4 aggregation of Jugel et
/// al., 2014). One point on either side of the window is kept, so that the line reaches its edges.
pub fn thin(
    points: usize,
    x: impl Fn(usize) -> f64,
    v: impl Fn(usize) -> f64,
    window: Window,
) -> (Vec<usize>, bool) {
    let range = visible(points, &x, window);
    let columns = window.px.clamp(1, Window::MOST);
    if range.len() <= 4 * columns {
        return (range.collect(), true);
    }
    let (low, high) = (x(range.start), x(range.end - 1));
    let width = (high - low) / columns as f64;
    // Points that share one x, as after a clock that stands still, share a column too.
    let column = |i: usize| match width > 0.0 {
        true => (((x(i) - low) / width) as usize).min(columns - 1),
        false => 0,
    };
    let mut kept = Vec::with_capacity(4 * columns);
    let mut start = range.start;
    while start < range.end {
        let here = column(start);
        let end = (start..range.end).find(|&i| column(i) != here).unwrap_or(range.end);
        extremes(start..end, &v, &mut kept);
        start = end;
    }
    (kept, false)
}

/// The points in a window and one more on each side.
fn visible(points: usize, x: &impl Fn(usize) -> f64, window: Window) -> Range<usize> {
    let before = |limit: f64, or_at: bool| {
        let (mut low, mut high) = (0, points);
        while low < high {
            let middle = low.midpoint(high);
            match x(middle) < limit || or_at && x(middle) == limit {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    };
    let start = before(window.from, false).saturating_sub(1);
    start..(before(window.to, true) + 1).min(points).max(start)
}

/// Adds the first, lowest, highest and last place of a column, and the first without a finite value.
fn extremes(column: Range<usize>, v: &impl Fn(usize) -> f64, kept: &mut Vec<usize>) {
    let (mut low, mut high, mut bad) = (None, None, None);
    for i in column.clone() {
        let value = v(i);
        if !value.is_finite() {
            bad = bad.or(Some(i));
            continue;
        }
        if low.is_none_or(|at| value < v(at)) {
            low = Some(i);
        }
        if high.is_none_or(|at| value > v(at)) {
            high = Some(i);
        }
    }
    let begin = kept.len();
    kept.extend([Some(column.start), low, high, bad, Some(column.end - 1)].into_iter().flatten());
    kept[begin..].sort_unstable();
    kept.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Window = Window { from: f64::NEG_INFINITY, to: f64::INFINITY, px: 100 };

    #[test]
    fn every_column_keeps_its_lowest_and_highest_point() {
        let n = 100_000;
        let v = |i: usize| ((i * 7919) % 10_007) as f64 + if i == 54_321 { 1e6 } else { 0.0 };
        let (kept, exact) = thin(n, |i| i as f64, v, ALL);
        assert!(!exact && kept.len() <= 400, "{}", kept.len());
        assert!(kept.is_sorted_by(|a, b| a < b));
        assert!(kept.contains(&54_321) && kept.contains(&0) && kept.contains(&(n - 1)));
        let width = (n - 1) as f64 / 100.0;
        for column in 0..100 {
            let inside = |i: &usize| ((*i as f64 / width) as usize).min(99) == column;
            let best = |all: &mut dyn Iterator<Item = usize>| {
                all.filter(inside)
                    .map(v)
                    .fold((f64::MAX, f64::MIN), |a, v| (a.0.min(v), a.1.max(v)))
            };
            assert_eq!(best(&mut kept.iter().copied()), best(&mut (0..n)), "column {column}");
        }
    }

    #[test]
    fn a_window_has_its_points_and_a_neighbour_on_each_side() {
        let window = Window { from: 10.0, to: 20.0, px: 100 };
        let (kept, exact) = thin(1000, |i| i as f64, |_| 0.0, window);
        assert!(exact);
        assert_eq!(kept, (9..=21).collect::<Vec<_>>());
        let nothing = Window { from: f64::NAN, to: f64::NAN, px: 0 };
        thin(1000, |i| i as f64, |_| 0.0, nothing);
        assert_eq!(thin(0, |i| i as f64, |_| 0.0, ALL), (vec![], true));
        let turned = Window { from: 20.0, to: 10.0, px: 1 };
        thin(1000, |i| i as f64, |_| 0.0, turned);
    }

    #[test]
    fn what_is_no_number_is_kept_once_a_column() {
        let v = |i: usize| if i % 100 == 50 { f64::NAN } else { i as f64 };
        let (kept, _) = thin(100_000, |i| i as f64, v, ALL);
        assert!((90..=110).contains(&kept.iter().filter(|&&i| v(i).is_nan()).count()));
        let (kept, exact) = thin(100_000, |_| 1.0, |_| f64::INFINITY, ALL);
        assert_eq!((kept, exact), (vec![0, 99_999], false));
    }
}
