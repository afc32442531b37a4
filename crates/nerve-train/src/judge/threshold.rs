//! Where yes begins: the threshold of the probability, chosen on the validation part.

use crate::metrics::Sweep;
use serde_json::{Value as Json, json};

/// By which rule a threshold is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// The highest F1.
    MaxF1,
    /// The highest recall + specificity − 1. Youden, "Index for rating diagnostic tests", 1950.
    Youden,
    /// The lowest mean cost, of a wrong yes and of a wrong no.
    Cost {
        /// What a wrong yes costs.
        false_positive: f64,
        /// What a wrong no costs.
        false_negative: f64,
    },
    /// This one.
    Given(f64),
}

/// A threshold and where it comes from. An answer is yes where its probability is above the value.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// The probability above which an answer is yes.
    pub value: f64,
    /// The rule as [`Rule::text`] gives it.
    pub rule: String,
    /// What the rule reached on the rows on which it was chosen: the F1, Youden's index or the mean
    /// cost. `None` for a given threshold.
    pub reached: Option<f64>,
}

impl Default for Threshold {
    /// One half.
    fn default() -> Self {
        Threshold { value: 0.5, rule: "0.5".into(), reached: None }
    }
}

impl Rule {
    /// Reads `max_f1`, `youden`, `cost(1, 5)` (of a wrong yes, of a wrong no), or a number between 0 and
    /// 1.
    ///
    /// ```
    /// use nerve_train::judge::Rule;
    /// assert_eq!(Rule::parse("max_f1"), Ok(Rule::MaxF1));
    /// assert_eq!(Rule::parse("0.3"), Ok(Rule::Given(0.3)));
    /// let costs = Rule::Cost { false_positive: 1.0, false_negative: 5.0 };
    /// assert_eq!(Rule::parse("cost(1, 5)"), Ok(costs));
    /// assert!(Rule::parse("best").unwrap_err().contains("max_f1"));
    /// ```
    ///
    /// # Errors
    /// What may stand there.
    pub fn parse(text: &str) -> Result<Rule, String> {
        let text = text.trim();
        let expected = || {
            Err("expected `max_f1`, `youden`, `cost(FALSE_YES, FALSE_NO)` or a number between 0 and 1"
                .to_string())
        };
        match text {
            "max_f1" => return Ok(Rule::MaxF1),
            "youden" => return Ok(Rule::Youden),
            _ => {}
        }
        if let Some(costs) = text.strip_prefix("cost(").and_then(|text| text.strip_suffix(')')) {
            let costs: Option<Vec<f64>> =
                costs.split(',').map(|cost| cost.trim().parse().ok()).collect();
            return match costs.as_deref() {
                Some(&[false_positive, false_negative])
                    if [false_positive, false_negative]
                        .iter()
                        .all(|c| c.is_finite() && *c > 0.0) =>
                {
                    Ok(Rule::Cost { false_positive, false_negative })
                }
                _ => expected(),
            };
        }
        match text.parse::<f64>() {
            Ok(value) if value > 0.0 && value < 1.0 => Ok(Rule::Given(value)),
            _ => expected(),
        }
    }

    /// As [`Rule::parse`] reads it.
    pub fn text(&self) -> String {
        match self {
            Rule::MaxF1 => "max_f1".into(),
            Rule::Youden => "youden".into(),
            Rule::Cost { false_positive, false_negative } => {
                format!("cost({false_positive}, {false_negative})")
            }
            Rule::Given(value) => value.to_string(),
        }
    }

    /// Chooses. Thresholds lie half-way between neighbouring probabilities; of equally good ones the one
    /// nearest to one half is taken. Without rows of both kinds, or for a given one, nothing is chosen.
    ///
    /// ```
    /// use nerve_train::judge::Rule;
    /// let (p, yes) = ([0.1, 0.3, 0.4, 0.9], [false, true, false, true]);
    /// let chosen = Rule::MaxF1.choose(&p, &yes);
    /// assert!((chosen.value - 0.2).abs() < 1e-12);
    /// assert_eq!(chosen.reached, Some(0.8));
    /// ```
    ///
    /// # Panics
    /// If the numbers of probabilities and truths differ.
    pub fn choose(&self, probabilities: &[f64], positive: &[bool]) -> Threshold {
        let rule = self.text();
        if let Rule::Given(value) = *self {
            return Threshold { value, rule, reached: None };
        }
        let sweep = Sweep::new(probabilities, positive);
        let mut steps = vec![(1.0, 0.0, 0.0)];
        let (all_yes, all_no) = sweep.walk(|_| 1.0, |score, yes, no| steps.push((score, yes, no)));
        if all_yes == 0.0 || all_no == 0.0 {
            return Threshold { rule, ..Threshold::default() };
        }
        let gain = |yes: f64, no: f64| match *self {
            Rule::MaxF1 => 2.0 * yes / (all_yes + yes + no),
            Rule::Youden => yes / all_yes - no / all_no,
            Rule::Cost { false_positive, false_negative } => {
                -(false_positive * no + false_negative * (all_yes - yes)) / (all_yes + all_no)
            }
            Rule::Given(_) => 0.0,
        };
        let (mut best, mut value) = (f64::NEG_INFINITY, 0.5);
        for (i, &(score, yes, no)) in steps.iter().enumerate() {
            // Below this score, above the next: half-way. Below the last, nothing is left out.
            let next = steps.get(i + 1).map_or(0.0, |next| next.0);
            let threshold = f64::midpoint(score, next);
            let gain = gain(yes, no);
            let nearer = (threshold - 0.5f64).abs() < (value - 0.5f64).abs();
            if gain > best || (gain == best && nearer) {
                (best, value) = (gain, threshold);
            }
        }
        let reached = if matches!(self, Rule::Cost { .. }) { -best } else { best };
        Threshold { value, rule, reached: Some(reached) }
    }
}

impl Threshold {
    /// For a model file.
    pub fn to_json(&self) -> Json {
        json!({ "value": self.value, "rule": self.rule, "reached": self.reached })
    }

    /// From a model file.
    ///
    /// # Errors
    /// It is not what [`Threshold::to_json`] gave.
    pub fn from_json(json: &Json) -> Result<Threshold, String> {
        let value = json["value"].as_f64().filter(|value| (0.0..=1.0).contains(value));
        let rule = json["rule"].as_str().unwrap_or_default().to_string();
        let value = value.ok_or("the threshold is no number from 0 to 1")?;
        Ok(Threshold { value, rule, reached: json["reached"].as_f64() })
    }
}
