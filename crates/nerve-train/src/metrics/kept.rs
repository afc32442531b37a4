//! What a metric keeps of the batches it has seen.

/// What a metric has computed of one batch.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The elements of what [`Metric::observe`](super::Metric::observe) gave.
    pub values: &'a [f64],
    /// The shape of the targets; the first axis is the batch.
    pub target: &'a [usize],
}

impl Seen<'_> {
    /// How many targets there were.
    pub fn count(&self) -> f64 {
        self.target.iter().product::<usize>() as f64
    }
}

/// What a metric keeps of all batches so far: sums, maxima, and rows that are kept whole. Each
/// metric uses what it needs. Two can be [merged](Kept::merge), for data that were measured in
/// parts.
///
/// Sums of counts are exact up to 2⁵³. Only rows take memory that grows with the data.
///
/// ```
/// use nerve_train::metrics::Kept;
/// let (mut a, mut b) = (Kept::default(), Kept::default());
/// a.add(&[1.0, 2.0]);
/// b.add(&[10.0, 20.0]);
/// a.merge(&b);
/// assert_eq!(a.sums, [11.0, 22.0]);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// Sums over all batches.
    pub sums: Vec<f64>,
    /// Maxima over all batches.
    pub maxima: Vec<f64>,
    /// Rows of all batches, one after the other.
    pub rows: Vec<f64>,
    /// How many numbers are in a row.
    pub width: usize,
}

impl Kept {
    /// Adds to the sums.
    pub fn add(&mut self, values: &[f64]) {
        if self.sums.len() < values.len() {
            self.sums.resize(values.len(), 0.0);
        }
        self.sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }

    /// Raises the maxima to these.
    pub fn raise(&mut self, values: &[f64]) {
        if self.maxima.len() < values.len() {
            self.maxima.resize(values.len(), f64::NEG_INFINITY);
        }
        // NaN stays: what cannot be compared is not forgotten.
        let higher = |top: f64, v: f64| if v > top || v.is_nan() { v } else { top };
        self.maxima.iter_mut().zip(values).for_each(|(top, &v)| *top = higher(*top, v));
    }

    /// Keeps rows of `width` numbers.
    pub fn push(&mut self, rows: &[f64], width: usize) {
        self.width = width;
        self.rows.extend_from_slice(rows);
    }

    /// Adds what another has kept, of other batches.
    pub fn merge(&mut self, other: &Kept) {
        self.add(&other.sums);
        self.raise(&other.maxima);
        if other.width > 0 {
            self.push(&other.rows, other.width);
        }
    }

    /// Forgets all, and keeps the memory.
    pub fn clear(&mut self) {
        self.sums.clear();
        self.maxima.clear();
        self.rows.clear();
    }

    /// The quotient of the first two sums: a mean, where they are a sum and a count.
    pub fn mean(&self) -> f64 {
        match self.sums[..] {
            [sum, count, ..] => sum / count,
            _ => f64::NAN,
        }
    }
}
