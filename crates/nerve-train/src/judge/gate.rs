//! Gates: what a network must reach.

use super::Verdict;
use std::fmt;

/// A bar for one score: `accuracy >= 0.97`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// The output, where it is named: `price.mae <= 20`.
    output: Option<String>,
    score: String,
    bound: Bound,
    comparison: Comparison,
    value: f64,
}

/// Which number of a score is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Value,
    Low,
    High,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    AtLeast,
    More,
    AtMost,
    Less,
}

/// A gate and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Passed {
    /// The gate as it is written.
    pub gate: String,
    /// What was found.
    pub found: f64,
    /// Whether it suffices.
    pub passed: bool,
}

impl Gate {
    /// Reads a gate: a score, `>=`, `>`, `<=` or `<`, and a number. Before the score its output can stand
    /// (`price.mae`), behind it `.low` or `.high` for an end of its interval.
    ///
    /// ```
    /// use nerve_train::judge::Gate;
    /// let gate = Gate::parse("accuracy.low>=0.96").unwrap();
    /// assert_eq!(gate.to_string(), "accuracy.low >= 0.96");
    /// assert!(Gate::parse("accuracy = 0.96").is_err());
    /// ```
    ///
    /// # Errors
    /// What may stand there.
    pub fn parse(text: &str) -> Result<Gate, String> {
        let wrong = |what: &str| {
            Err(format!("{what}; expected for instance `accuracy >= 0.97` or `price.mae < 20`"))
        };
        let found = [
            (">=", Comparison::AtLeast),
            ("<=", Comparison::AtMost),
            (">", Comparison::More),
            ("<", Comparison::Less),
        ]
        .into_iter()
        .find_map(|(sign, comparison)| text.split_once(sign).map(|sides| (comparison, sides)));
        let Some((comparison, (name, value))) = found else {
            return wrong("a gate has one of >=, >, <=, <");
        };
        let value = match value.trim().parse::<f64>() {
            Ok(value) if value.is_finite() => value,
            _ => return wrong("behind the comparison of a gate stands a number"),
        };
        let (name, bound) = match name.trim().rsplit_once('.') {
            Some((name, "low")) => (name, Bound::Low),
            Some((name, "high")) => (name, Bound::High),
            _ => (name.trim(), Bound::Value),
        };
        let (output, score) = match name.rsplit_once('.') {
            Some((output, score)) => (Some(output.to_string()), score),
            None => (None, name),
        };
        if score.is_empty() || score.contains(char::is_whitespace) {
            return wrong("before the comparison of a gate stands the name of a score");
        }
        Ok(Gate { output, score: score.into(), bound, comparison, value })
    }

    /// Compares. A score that has no value passes no gate.
    ///
    /// # Errors
    /// There is no such output or score; with those that there are.
    pub fn check(&self, verdict: &Verdict) -> Result<Passed, String> {
        let names = || verdict.outputs.iter().map(|output| output.name.clone()).collect::<Vec<_>>();
        let output = match &self.output {
            Some(name) => verdict.outputs.iter().find(|output| output.name == *name),
            None => verdict.outputs.first(),
        };
        let Some(output) = output else {
            return Err(format!("`{self}`: the outputs are {}", names().join(", ")));
        };
        let Some(score) = output.scores.iter().find(|score| score.name == self.score) else {
            let scores: Vec<&str> = output.scores.iter().map(|s| s.name.as_str()).collect();
            return Err(format!(
                "`{self}`: the scores of {} are {}",
                output.name,
                scores.join(", ")
            ));
        };
        let end = |low: bool| {
            score.interval.map_or(f64::NAN, |interval| if low { interval.0 } else { interval.1 })
        };
        let found = match self.bound {
            Bound::Value => score.value,
            Bound::Low => end(true),
            Bound::High => end(false),
        };
        let passed = match self.comparison {
            Comparison::AtLeast => found >= self.value,
            Comparison::More => found > self.value,
            Comparison::AtMost => found <= self.value,
            Comparison::Less => found < self.value,
        };
        Ok(Passed { gate: self.to_string(), found, passed })
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(output) = &self.output {
            write!(f, "{output}.")?;
        }
        let bound = match self.bound {
            Bound::Value => "",
            Bound::Low => ".low",
            Bound::High => ".high",
        };
        let sign = match self.comparison {
            Comparison::AtLeast => ">=",
            Comparison::More => ">",
            Comparison::AtMost => "<=",
            Comparison::Less => "<",
        };
        write!(f, "{}{bound} {sign} {}", self.score, self.value)
    }
}
