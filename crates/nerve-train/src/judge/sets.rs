//! Scores of sets: several names at once, each of which is there or not.
//!
//! As in scikit-learn (`jaccard_score`, `f1_score`, `precision_score`, `recall_score`, `hamming_loss`, `accuracy_score` of
//! indicator matrices); two empty sets are equal, so their Jaccard index is 1 (`zero_division = 1`), and a name that is
//! neither there nor answered counts 0 in `f1_macro` (`zero_division = 0`).

use super::answers::Answers;
use super::family::{Better, Family, Named};
use super::verdict::ClassScores;

/// Where a name of a set is answered as there.
const LIKELY: f32 = 0.5;

/// What was answered for each name in each row.
pub(super) struct Sets {
    names: usize,
    /// For each row and name: 0 rightly absent, 1 wrongly there, 2 missed, 3 rightly there.
    cells: Vec<u8>,
    /// The mean binary cross-entropy of each row.
    losses: Vec<f64>,
}

impl Sets {
    /// Of answers that are sets.
    pub fn new(answers: &Answers) -> Option<Sets> {
        let Answers::Sets { names, truth, probabilities } = answers else { return None };
        let both = truth.iter().zip(probabilities);
        let cells = both.map(|(&truth, &p)| 2 * truth + u8::from(p > LIKELY)).collect();
        Some(Sets { names: names.len(), cells, losses: losses(names.len(), truth, probabilities) })
    }

    fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.cells.chunks_exact(self.names.max(1))
    }

    /// For each name how often it was wrongly there, missed, rightly there.
    fn counts(&self, weights: &[f64]) -> Vec<[f64; 3]> {
        let mut counts = vec![[0.0; 3]; self.names];
        for (row, weight) in self.rows().zip(weights) {
            for (count, &cell) in counts.iter_mut().zip(row).filter(|(_, cell)| **cell > 0) {
                count[usize::from(cell) - 1] += weight;
            }
        }
        counts
    }

    /// The scores of each name by itself.
    pub fn by_name(&self) -> Vec<ClassScores> {
        let counts = self.counts(&vec![1.0; self.losses.len()]);
        let scores = |&[wrong, missed, right]: &[f64; 3]| ClassScores {
            precision: right / (right + wrong),
            recall: right / (right + missed),
            f1: f1([wrong, missed, right]),
            iou: right / (right + wrong + missed),
            support: right + missed,
        };
        counts.iter().map(scores).collect()
    }
}

/// The mean binary cross-entropy of each row; probabilities of 0 and 1 count as 1e-7 from them.
pub(super) fn losses(names: usize, truth: &[u8], probabilities: &[f32]) -> Vec<f64> {
    let term = |(&truth, &p): (&u8, &f32)| {
        let p = f64::from(p).clamp(1e-7, 1.0 - 1e-7);
        -if truth == 1 { p.ln() } else { (1.0 - p).ln() }
    };
    let rows = truth.chunks_exact(names.max(1)).zip(probabilities.chunks_exact(names.max(1)));
    rows.map(|(t, p)| t.iter().zip(p).map(term).sum::<f64>() / names.max(1) as f64).collect()
}

fn f1([wrong, missed, right]: [f64; 3]) -> f64 {
    let all = 2.0 * right + wrong + missed;
    if all > 0.0 { 2.0 * right / all } else { 0.0 }
}

impl Family for Sets {
    fn scores(&self) -> Vec<Named> {
        let higher = [
            "subset_accuracy",
            "jaccard",
            "f1_micro",
            "f1_macro",
            "precision_micro",
            "recall_micro",
        ];
        let higher = higher.iter().map(|name| (name.to_string(), Better::Higher));
        let lower =
            ["hamming_loss", "log_loss"].iter().map(|name| (name.to_string(), Better::Lower));
        higher.chain(lower).collect()
    }

    fn values(&self, weights: &[f64], out: &mut Vec<f64>) {
        let (mut equal, mut jaccard, mut wrong) = (0.0, 0.0, 0.0);
        for (row, weight) in self.rows().zip(weights) {
            let count = |wanted: u8| row.iter().filter(|&&cell| cell == wanted).count() as f64;
            let (right, misses) = (count(3), count(1) + count(2));
            equal += if misses == 0.0 { *weight } else { 0.0 };
            jaccard += weight * if right + misses > 0.0 { right / (right + misses) } else { 1.0 };
            wrong += weight * misses;
        }
        let all: f64 = weights.iter().sum();
        let counts = self.counts(weights);
        let add = |sum: [f64; 3], count: &[f64; 3]| [0, 1, 2].map(|i| sum[i] + count[i]);
        let sum = counts.iter().fold([0.0; 3], add);
        let names = self.names.max(1) as f64;
        let each = counts.iter().map(|&count| f1(count)).sum::<f64>() / names;
        let loss: f64 = self.losses.iter().zip(weights).map(|(loss, weight)| loss * weight).sum();
        out.extend([
            equal / all,
            jaccard / all,
            f1(sum),
            each,
            sum[2] / (sum[2] + sum[0]),
            sum[2] / (sum[2] + sum[1]),
            wrong / all / names,
            loss / all,
        ]);
    }
}
