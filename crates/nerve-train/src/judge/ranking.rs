//! Recommendations: how good the order is into which the answers put the items of each user.

use super::family::{Better, Family, Named};
use crate::metrics::{hit_at, ndcg_at, reciprocal_rank};

/// Rows as lists: those of one group (a user) are items, ranked by the number that was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Lists {
    /// For each row its group.
    pub group: Vec<u32>,
    /// For each row its item.
    pub item: Vec<u32>,
    /// For each row how often its item occurs in the training part: the order of the baseline.
    pub popularity: Option<Vec<f64>>,
    /// From which truth on an item is relevant.
    pub relevant: f64,
    /// How many items are shown.
    pub k: usize,
}

impl Lists {
    pub(super) fn select(&self, rows: &[usize]) -> Lists {
        let some = |values: &[u32]| rows.iter().map(|&row| values[row]).collect();
        Lists {
            group: some(&self.group),
            item: some(&self.item),
            popularity: self.popularity.as_ref().map(|p| rows.iter().map(|&r| p[r]).collect()),
            ..*self
        }
    }
}

/// Scores of the lists, each a mean over groups. Groups without a relevant item or without another one
/// are left out: no order of them could be wrong.
pub(super) struct Ranks {
    k: usize,
    /// Of each group its first row, which has the weight of the group, and its scores.
    groups: Vec<(usize, [f64; 3])>,
    /// The items that each group is shown.
    shown: Vec<Vec<u32>>,
    items: usize,
}

impl Ranks {
    /// Items ranked by `scores`; `truth` says how good they are. The gain in NDCG is the truth itself.
    pub fn new(lists: &Lists, scores: &[f64], truth: &[f64]) -> Ranks {
        let groups = lists.group.iter().max().map_or(0, |&group| group as usize + 1);
        let mut rows = vec![Vec::new(); groups];
        lists.group.iter().enumerate().for_each(|(row, &group)| rows[group as usize].push(row));
        let mut ranks = Ranks {
            k: lists.k,
            groups: Vec::new(),
            shown: Vec::new(),
            items: lists.item.iter().max().map_or(0, |&item| item as usize + 1),
        };
        for rows in rows.iter().filter(|rows| !rows.is_empty()) {
            let gains: Vec<f64> = rows.iter().map(|&row| truth[row].max(0.0)).collect();
            let good = |&row: &usize| f64::from(u8::from(truth[row] >= lists.relevant));
            let relevant: Vec<f64> = rows.iter().map(good).collect();
            let found: f64 = relevant.iter().sum();
            if found == 0.0 || found == rows.len() as f64 {
                continue;
            }
            let own: Vec<f64> = rows.iter().map(|&row| scores[row]).collect();
            let k = lists.k;
            let scores = [
                ndcg_at(&own, &gains, k),
                hit_at(&own, &relevant, k),
                reciprocal_rank(&own, &relevant, k),
            ];
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.sort_by(|&a, &b| own[b].total_cmp(&own[a]));
            ranks.shown.push(order.iter().take(k).map(|&i| lists.item[rows[i]]).collect());
            ranks.groups.push((rows[0], scores));
        }
        ranks
    }
}

impl Family for Ranks {
    fn scores(&self) -> Vec<Named> {
        ["ndcg", "hit", "mrr", "item_coverage"]
            .map(|name| (format!("{name}_at_{}", self.k), Better::Higher))
            .to_vec()
    }

    fn values(&self, weights: &[f64], out: &mut Vec<f64>) {
        let (mut sums, mut all) = ([0.0; 3], 0.0);
        let mut seen = vec![false; self.items];
        for ((first, scores), shown) in self.groups.iter().zip(&self.shown) {
            let weight = weights[*first];
            all += weight;
            sums.iter_mut().zip(scores).for_each(|(sum, score)| *sum += weight * score);
            if weight > 0.0 {
                shown.iter().for_each(|&item| seen[item as usize] = true);
            }
        }
        out.extend(sums.map(|sum| sum / all));
        out.push(seen.iter().filter(|&&seen| seen).count() as f64 / self.items as f64);
    }
}
