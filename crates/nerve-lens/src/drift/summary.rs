//! What was seen of a column, in a form that can be compared and kept in a file.

use serde_json::{Value as Json, json};

/// Up to this many rows a summary keeps the numbers as they are; tests of small samples need them.
pub(super) const SMALL: u64 = 1000;
/// How many values stand for the numbers of more rows, each for as many.
const QUANTILES: usize = 512;
/// How many names of many rows are kept, the most frequent.
const KEPT_NAMES: usize = 256;
/// More than this many values or names are in no summary that this program wrote.
const MOST: usize = 1 << 16;

/// Numbers or names of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Summary {
    /// Of a column of numbers.
    Numbers(NumberSummary),
    /// Of a column of names.
    Names(NameSummary),
}

/// The numbers of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberSummary {
    /// Rows with a number.
    pub count: u64,
    /// Rows without.
    pub missing: u64,
    /// The least number; infinite where there is none.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, with all rows as the divisor.
    pub deviation: f64,
    /// Whether values stand for others near them.
    pub approximate: bool,
    /// Values, in ascending order, and for how many rows each stands.
    pub points: Vec<(f64, f64)>,
}

/// The names of a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NameSummary {
    /// Rows without a name.
    pub missing: u64,
    /// Names and how many rows have them, in the order of the names.
    pub names: Vec<(String, u64)>,
    /// Rows with other names.
    pub rest: u64,
}

impl Summary {
    /// Rows with a value.
    pub fn count(&self) -> u64 {
        match self {
            Summary::Numbers(numbers) => numbers.count,
            Summary::Names(names) => names.count(),
        }
    }

    /// Rows without.
    pub fn missing(&self) -> u64 {
        match self {
            Summary::Numbers(numbers) => numbers.missing,
            Summary::Names(names) => names.missing,
        }
    }

    /// The share of rows without a value; 0 of no rows.
    pub fn missing_share(&self) -> f64 {
        self.missing() as f64 / (self.count() + self.missing()).max(1) as f64
    }

    /// The same in little room, for a model file.
    #[must_use]
    pub fn condensed(self) -> Summary {
        match self {
            Summary::Numbers(numbers) => Summary::Numbers(numbers.condensed()),
            Summary::Names(names) => Summary::Names(names.condensed()),
        }
    }

    /// For a file.
    pub fn to_json(&self) -> Json {
        match self {
            Summary::Numbers(numbers) => numbers.to_json(),
            Summary::Names(names) => {
                json!({ "names": names.names, "rest": names.rest, "missing": names.missing })
            }
        }
    }

    /// From what [`Summary::to_json`] gave.
    ///
    /// # Errors
    /// In words: what is not as it should be.
    pub fn from_json(json: &Json) -> Result<Summary, String> {
        match json["names"].is_array() {
            true => names_from(json).map(Summary::Names),
            false => NumberSummary::from_json(json).map(Summary::Numbers),
        }
    }
}

impl NumberSummary {
    fn condensed(mut self) -> NumberSummary {
        if self.count <= SMALL || self.points.len() <= QUANTILES {
            return self;
        }
        // Rows in ascending order, in pieces of the same number; each is its mean.
        let piece = self.count as f64 / QUANTILES as f64;
        let mut points = Vec::with_capacity(QUANTILES);
        let (mut sum, mut room) = (0.0, piece);
        for &(value, rows) in &self.points {
            let mut left = rows;
            while left > 0.0 {
                let taken = left.min(room);
                sum += taken * value;
                left -= taken;
                room -= taken;
                if room <= piece * 1e-9 && points.len() + 1 < QUANTILES {
                    points.push((f64::from((sum / piece) as f32), piece));
                    (sum, room) = (0.0, piece);
                } else if room <= 0.0 {
                    // What rounding left over belongs to the last piece.
                    room = f64::MAX;
                }
            }
        }
        let before: f64 = points.len() as f64 * piece;
        points.push((f64::from((sum / (self.count as f64 - before)) as f32), piece));
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.points = points;
        self.approximate = true;
        self
    }

    fn to_json(&self) -> Json {
        let mut json = json!({
            "count": self.count, "missing": self.missing, "mean": self.mean, "deviation": self.deviation,
            "approximate": self.approximate,
        });
        if self.count > 0 {
            (json["least"], json["greatest"]) = (json!(self.least), json!(self.greatest));
        }
        // Values that stand for one row each, or all for the same, need no numbers of rows.
        let even =
            self.points.first().is_none_or(|first| self.points.iter().all(|p| p.1 == first.1));
        match even {
            true => json["values"] = json!(self.points.iter().map(|p| p.0).collect::<Vec<_>>()),
            false => json["points"] = json!(self.points),
        }
        json
    }

    fn from_json(json: &Json) -> Result<NumberSummary, String> {
        let number =
            |json: &Json| json.as_f64().filter(|x| x.is_finite()).ok_or("expected a number");
        let get = |key: &str| number(&json[key]).map_err(|message| format!("`{key}`: {message}"));
        let count = rows(json, "count")?;
        let mut points = Vec::new();
        match (json["values"].as_array(), json["points"].as_array()) {
            (Some(values), None) if values.len() <= MOST => {
                let each = count as f64 / values.len().max(1) as f64;
                for value in values {
                    points.push((number(value)?, each));
                }
            }
            (None, Some(pairs)) if pairs.len() <= MOST => {
                for pair in pairs {
                    let rows = number(&pair[1])?;
                    if rows <= 0.0 {
                        return Err("`points`: expected numbers of rows above 0".into());
                    }
                    points.push((number(&pair[0])?, rows));
                }
            }
            _ => return Err(format!("expected `values` or `points`, at most {MOST}")),
        }
        points.sort_by(|a: &(f64, f64), b| a.0.total_cmp(&b.0));
        if points.is_empty() != (count == 0) {
            return Err(format!("{count} rows and {} values", points.len()));
        }
        let (least, greatest) = match count {
            0 => (f64::INFINITY, f64::NEG_INFINITY),
            _ => (get("least")?, get("greatest")?),
        };
        Ok(NumberSummary {
            count,
            missing: rows(json, "missing")?,
            least,
            greatest,
            mean: get("mean")?,
            deviation: get("deviation")?.max(0.0),
            approximate: json["approximate"].as_bool().unwrap_or(true),
            points,
        })
    }

    /// Of how many different values at most `most` are, or `None` of more.
    pub(super) fn distinct(&self, most: usize) -> Option<Vec<f64>> {
        let mut values: Vec<f64> = Vec::new();
        for (value, _) in &self.points {
            if values.last() != Some(value) {
                values.push(*value);
            }
            if values.len() > most {
                return None;
            }
        }
        Some(values)
    }
}

impl NameSummary {
    /// Rows with a name.
    pub fn count(&self) -> u64 {
        self.names.iter().map(|(_, rows)| rows).sum::<u64>() + self.rest
    }

    fn condensed(mut self) -> NameSummary {
        if self.names.len() > KEPT_NAMES {
            self.names.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            self.rest += self.names.drain(KEPT_NAMES..).map(|(_, rows)| rows).sum::<u64>();
            self.names.sort();
        }
        self
    }
}

fn rows(json: &Json, key: &str) -> Result<u64, String> {
    // Sums of them stay below 2^63.
    let rows = json[key].as_u64().filter(|rows| *rows < 1 << 53);
    rows.ok_or_else(|| format!("`{key}`: expected a number of rows"))
}

fn names_from(json: &Json) -> Result<NameSummary, String> {
    let pairs = json["names"].as_array().filter(|pairs| pairs.len() <= MOST);
    let pairs = pairs.ok_or_else(|| format!("`names`: expected at most {MOST}"))?;
    let name = |pair: &Json| match (pair[0].as_str(), pair[1].as_u64()) {
        (Some(name), Some(rows)) if rows < 1 << 53 => Ok((name.to_string(), rows)),
        _ => Err("`names`: expected a name and a number of rows".to_string()),
    };
    let mut names = pairs.iter().map(name).collect::<Result<Vec<_>, _>>()?;
    names.sort();
    names.dedup_by(|later, first| later.0 == first.0);
    Ok(NameSummary { missing: rows(json, "missing")?, names, rest: rows(json, "rest")? })
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Names, Numbers};
    use super::*;

    fn numbers(values: impl Iterator<Item = f64>) -> NumberSummary {
        let mut numbers = Numbers::new(1 << 16);
        values.for_each(|value| numbers.add(value));
        numbers.summary()
    }

    #[test]
    fn a_summary_reads_back_as_it_was() {
        let few = numbers((0..900).map(|i| f64::from(i).sqrt()));
        let steps = numbers((0..5000).map(|i| f64::from(i % 7)));
        let many = numbers((0..5000).map(|i| f64::from(i).ln_1p())).condensed();
        let mut names = Names::default();
        ["b", "a", "b"].into_iter().for_each(|name| names.add(name));
        names.missing();
        let none = numbers(std::iter::empty());
        for summary in [few, steps, many, none]
            .map(Summary::Numbers)
            .into_iter()
            .chain([Summary::Names(names.summary())])
        {
            let text = summary.to_json().to_string();
            let again = Summary::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(again, summary, "{text}");
        }
    }

    #[test]
    fn many_numbers_become_few_of_the_same_mean() {
        let whole = numbers((0..30_000).map(|i| f64::from(i % 3001).powi(2)));
        let small = whole.clone().condensed();
        assert_eq!(small.points.len(), QUANTILES);
        let mean = small.points.iter().map(|p| p.0 * p.1).sum::<f64>() / 30_000.0;
        assert!((mean / whole.mean - 1.0).abs() < 1e-6, "{mean} {}", whole.mean);
        assert!((small.points.iter().map(|p| p.1).sum::<f64>() - 30_000.0).abs() < 1e-6);
        assert!(Summary::Numbers(small).to_json().to_string().len() < 10_000);
    }

    #[test]
    fn many_names_become_the_most_frequent() {
        let mut names = Names::default();
        (0..2000).for_each(|i| (0..1 + i / 500).for_each(|_| names.add(&format!("n{i:04}"))));
        let all = names.summary().count();
        let small = names.summary().condensed();
        assert_eq!((small.names.len(), small.count()), (KEPT_NAMES, all));
        assert!(small.names.iter().all(|(_, rows)| *rows == 4));
    }

    #[test]
    fn what_no_sketch_wrote_is_refused() {
        for text in [
            "null",
            "{}",
            "{\"names\":[[1,2]],\"rest\":0,\"missing\":0}",
            "{\"names\":[[\"a\",-1]],\"rest\":0,\"missing\":0}",
            "{\"names\":[],\"rest\":1e300,\"missing\":0}",
            "{\"count\":2,\"missing\":0,\"mean\":0,\"deviation\":0,\"values\":[]}",
            "{\"count\":1,\"missing\":0,\"mean\":0,\"deviation\":0,\"values\":[\"x\"],\"least\":0,\"greatest\":0}",
            "{\"count\":1,\"missing\":0,\"mean\":0,\"deviation\":0,\"points\":[[1,-1]],\"least\":0,\"greatest\":0}",
            "{\"count\":1,\"missing\":0,\"mean\":null,\"deviation\":0,\"values\":[1],\"least\":0,\"greatest\":0}",
        ] {
            let json = serde_json::from_str(text).unwrap();
            assert!(Summary::from_json(&json).is_err(), "{text}");
        }
    }
}
