//! Which epoch of a training is the best.

use crate::history::{History, Row};

/// By which score epochs are compared. Without one it is the loss, over the validation data where
/// there are any; less is better.
///
/// ```
/// use nerve_train::{Goal, Mode};
/// let goal = Goal::new("val_roc_auc");
/// assert_eq!(goal.mode, Mode::Max);
/// assert!(goal.better(0.8, 0.7) && !goal.better(f64::NAN, 0.7));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Goal {
    /// The name of a score of the history: `val_loss`, `val_accuracy`, `val_price.mae`.
    pub metric: Option<String>,
    /// Whether less of it is better, or more.
    pub mode: Mode,
    /// By how much an epoch must be better than the best before.
    pub min_delta: f64,
}

/// Whether less of a score is better, or more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Less.
    #[default]
    Min,
    /// More.
    Max,
}

impl Mode {
    /// What is usual for a score of this name, as it stands in a history: less, but for shares of
    /// what is right and their like.
    pub fn usual(name: &str) -> Mode {
        let own = name.rsplit('.').next().unwrap_or(name);
        let own = own.strip_prefix("val_").unwrap_or(own);
        const MORE: &[&str] = &[
            "accuracy",
            "auc",
            "precision",
            "recall",
            "specificity",
            "iou",
            "dice",
            "f1",
            "f_beta",
            "fbeta",
            "kappa",
            "matthews",
            "mcc",
            "r2",
            "explained_variance",
            "top",
            "hit",
            "ndcg",
            "mrr",
            "map",
            "reciprocal",
            "average_precision",
            "coverage",
            "bleu",
            "chrf",
            "rouge",
        ];
        let loss = own.ends_with("loss") || own.ends_with("error") || own == "mape";
        if !loss && MORE.iter().any(|word| own.contains(word)) { Mode::Max } else { Mode::Min }
    }
}

impl Goal {
    /// This score, in the direction that is usual for it.
    pub fn new(metric: impl Into<String>) -> Goal {
        let metric = metric.into();
        Goal { mode: Mode::usual(&metric), metric: Some(metric), min_delta: 0.0 }
    }

    /// Whether `score` is better than the best so far. What is no number never is, and all else is
    /// better than it.
    pub fn better(&self, score: f64, best: f64) -> bool {
        let gain = match self.mode {
            Mode::Min => best - score,
            Mode::Max => score - best,
        };
        !score.is_nan() && (best.is_nan() || gain > self.min_delta)
    }

    /// The score of an epoch; `None` if there is no such score.
    pub fn score(&self, history: &History, row: &Row) -> Option<f64> {
        match &self.metric {
            Some(metric) => history.score(row, metric),
            None => Some(row.val_loss.unwrap_or(row.loss)),
        }
    }

    /// What is compared, in words: `val_loss`.
    pub fn name(&self, history: &History) -> String {
        let validated = history.rows.iter().any(|row| row.val_loss.is_some());
        let usual = if validated { "val_loss" } else { "loss" };
        self.metric.clone().unwrap_or_else(|| usual.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_direction_follows_from_the_name() {
        for name in ["accuracy", "val_accuracy", "val_y.roc_auc", "top_5", "f1_macro", "r2", "iou"]
        {
            assert_eq!(Mode::usual(name), Mode::Max, "{name}");
        }
        for name in
            ["loss", "val_loss", "y.loss", "rmse", "val_mape", "log_loss", "calibration_error"]
        {
            assert_eq!(Mode::usual(name), Mode::Min, "{name}");
        }
    }

    #[test]
    fn a_little_better_is_not_better() {
        let goal = Goal { min_delta: 0.1, ..Goal::default() };
        assert!(goal.better(0.5, 0.7) && !goal.better(0.65, 0.7) && !goal.better(0.9, 0.7));
        assert!(goal.better(0.5, f64::NAN) && goal.better(0.5, f64::INFINITY));
        assert!(!goal.better(f64::NAN, f64::NAN));
    }
}
