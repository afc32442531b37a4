//! All columns together: which have drifted, and whether the data have.

use super::summary::Summary;
use super::tests::{Test, Verdict};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// From this share of drifted columns on the data have drifted, as Evidently has it.
pub const SHARE: f64 = 0.5;
/// The most new names that are told.
const TOLD: usize = 10;

/// What is asked for beside the defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// Tests of columns that should not get the one that [`Test::of`] gives them.
    pub tests: BTreeMap<String, Test>,
    /// A threshold for all tests.
    pub threshold: Option<f64>,
    /// Thresholds of columns.
    pub thresholds: BTreeMap<String, f64>,
    /// From which share of drifted columns on the data have drifted.
    pub share: f64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            tests: BTreeMap::new(),
            threshold: None,
            thresholds: BTreeMap::new(),
            share: SHARE,
        }
    }
}

/// A column of the reference beside the same column now.
#[derive(Clone, Debug)]
pub struct ColumnDrift {
    /// The column, and the aspect of it that was measured: `age`, `review.words`.
    pub feature: String,
    /// What the reference has.
    pub reference: Summary,
    /// What there is now.
    pub current: Summary,
    /// What the test says; why there is none, in words.
    pub verdict: Result<Verdict, String>,
    /// Names that the reference does not have, the most frequent first.
    pub new_names: Vec<(String, u64)>,
}

/// What became of the data.
#[derive(Clone, Debug)]
pub struct Drift {
    /// The columns.
    pub columns: Vec<ColumnDrift>,
    /// From which share of drifted columns on the data have drifted.
    pub share: f64,
}

/// Compares one column.
pub fn compare(
    feature: &str,
    reference: Summary,
    current: Summary,
    options: &Options,
) -> ColumnDrift {
    let chosen = options.tests.get(feature).copied();
    let threshold = options.thresholds.get(feature).copied().or(options.threshold);
    let test = chosen.unwrap_or_else(|| Test::of(&reference, &current));
    let verdict = test.judge(&reference, &current, threshold);
    let new_names = new_names(&reference, &current);
    ColumnDrift { feature: feature.to_string(), reference, current, verdict, new_names }
}

fn new_names(reference: &Summary, current: &Summary) -> Vec<(String, u64)> {
    let (Summary::Names(reference), Summary::Names(current)) = (reference, current) else {
        return Vec::new();
    };
    let known =
        |name: &str| reference.names.binary_search_by(|(own, _)| own.as_str().cmp(name)).is_ok();
    let mut new: Vec<(String, u64)> = match reference.rest {
        0 => current.names.iter().filter(|(name, _)| !known(name)).cloned().collect(),
        _ => Vec::new(),
    };
    new.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    new.truncate(TOLD);
    new
}

impl ColumnDrift {
    /// Whether it has drifted. A column that had values and has none now has.
    pub fn drifted(&self) -> bool {
        match &self.verdict {
            Ok(verdict) => verdict.drifted,
            Err(_) => self.current.count() == 0 && self.reference.count() > 0,
        }
    }

    /// Whether the share of missing values is another: a test of two proportions at 5 %. It is told, and counts as no
    /// drift of the values.
    pub fn missing_changed(&self) -> bool {
        let side = |summary: &Summary| {
            let names =
                vec![("no".to_string(), summary.missing()), ("yes".to_string(), summary.count())];
            Summary::Names(super::NameSummary { missing: 0, names, rest: 0 })
        };
        let judged = Test::Z.judge(&side(&self.reference), &side(&self.current), None);
        judged.is_ok_and(|verdict| verdict.drifted)
    }

    /// For programs.
    pub fn to_json(&self) -> Json {
        let side = |summary: &Summary| {
            let mut json =
                json!({ "count": summary.count(), "missing_share": summary.missing_share() });
            if let Summary::Numbers(numbers) = summary
                && numbers.count > 0
            {
                json["mean"] = json!(numbers.mean);
                json["deviation"] = json!(numbers.deviation);
                json["least"] = json!(numbers.least);
                json["greatest"] = json!(numbers.greatest);
            }
            json
        };
        let mut json = json!({
            "feature": self.feature, "drifted": self.drifted(), "missing_changed": self.missing_changed(),
            "reference": side(&self.reference), "current": side(&self.current),
        });
        match &self.verdict {
            Ok(verdict) => {
                json["test"] = json!(verdict.test.name());
                json["score"] = json!(verdict.score);
                json["threshold"] = json!(verdict.threshold);
            }
            Err(reason) => json["reason"] = json!(reason),
        }
        if !self.new_names.is_empty() {
            let names: Vec<&String> = self.new_names.iter().map(|(name, _)| name).collect();
            json["new_names"] = json!(names);
        }
        json
    }
}

impl Drift {
    /// The columns that could be judged.
    fn judged(&self) -> usize {
        self.columns.iter().filter(|column| column.verdict.is_ok() || column.drifted()).count()
    }

    /// How many columns have drifted.
    pub fn drifted_columns(&self) -> usize {
        self.columns.iter().filter(|column| column.drifted()).count()
    }

    /// The share of columns that have drifted, of those that could be judged; 0 of none.
    pub fn drifted_share(&self) -> f64 {
        self.drifted_columns() as f64 / self.judged().max(1) as f64
    }

    /// Whether the data have drifted: enough columns have, and at least one.
    pub fn drifted(&self) -> bool {
        self.drifted_columns() > 0 && self.drifted_share() >= self.share
    }

    /// For programs.
    pub fn to_json(&self) -> Json {
        let columns: Vec<Json> = self.columns.iter().map(ColumnDrift::to_json).collect();
        json!({
            "drifted": self.drifted(), "drifted_columns": self.drifted_columns(), "columns_judged": self.judged(),
            "drifted_share": self.drifted_share(), "share_threshold": self.share, "columns": columns,
        })
    }
}
