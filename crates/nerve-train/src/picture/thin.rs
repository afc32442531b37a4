//! Lines with no more points than a picture can show.

/// A line over ascending x with no more than four points in each of so many columns: the first, the lowest,
/// the highest and the last, in their order. It looks the same, and no peak is lost.
///
/// ```
/// use nerve_train::picture::thinned;
/// let line: Vec<(f64, f64)> = (0..100_000).map(|i| (i as f64, (i % 7) as f64)).collect();
/// assert!(thinned(&line, 100).len() <= 400);
/// assert_eq!(thinned(&line[..50], 100), &line[..50]);
/// ```
pub fn thinned(points: &[(f64, f64)], columns: usize) -> Vec<(f64, f64)> {
    let columns = columns.max(1);
    if points.len() <= 4 * columns {
        return points.to_vec();
    }
    let (first, last) = (points[0].0, points[points.len() - 1].0);
    let column = |x: f64| ((x - first) / (last - first) * columns as f64) as usize;
    let mut thin = Vec::with_capacity(4 * columns);
    for group in
        points.chunk_by(|a, b| column(a.0).min(columns - 1) == column(b.0).min(columns - 1))
    {
        let by = |a: &usize, b: &usize| group[*a].1.total_cmp(&group[*b].1);
        let finite = || (0..group.len()).filter(|&i| group[i].1.is_finite());
        let lowest = finite().min_by(by);
        let highest = finite().max_by(by);
        let mut kept = vec![0, group.len() - 1];
        kept.extend(lowest.into_iter().chain(highest));
        kept.sort_unstable();
        kept.dedup();
        thin.extend(kept.into_iter().map(|i| group[i]));
    }
    thin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_and_ends_stay() {
        let mut line: Vec<(f64, f64)> = (0..10_000).map(|i| (i as f64, 0.5)).collect();
        line[5003].1 = 9.0;
        line[5004].1 = -9.0;
        line[7000].1 = f64::NAN;
        let thin = thinned(&line, 10);
        assert!(thin.len() <= 40, "{}", thin.len());
        assert!(thin.contains(&(5003.0, 9.0)) && thin.contains(&(5004.0, -9.0)));
        assert_eq!((thin[0], thin[thin.len() - 1]), (line[0], line[9999]));
        assert!(thin.is_sorted_by(|a, b| a.0 <= b.0));
        // All at one place.
        assert!(thinned(&vec![(1.0, 2.0); 100], 2).len() <= 8);
    }
}
