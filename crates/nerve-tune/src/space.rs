//! What is searched.

use crate::TuneError;
use nerve_formats::escape;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Largest whole number that a parameter takes: beyond it f64 has gaps.
const EXACT: i64 = 1 << 53;
/// Most parameters, most choices of one, and most points of a grid.
const MOST: usize = 1_000;
const MOST_POINTS: usize = 1_000_000;

/// Which values a parameter takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Domain {
    /// A number from `low` to `high`.
    Float {
        /// The lower end.
        low: f64,
        /// The upper end.
        high: f64,
        /// Whether it is searched by its logarithm: where the order of magnitude counts.
        #[serde(default)]
        log: bool,
        /// The distance between the values, from `low` on; any number without it.
        #[serde(default)]
        step: Option<f64>,
    },
    /// A whole number from `low` to `high`.
    Int {
        /// The lower end.
        low: i64,
        /// The upper end.
        high: i64,
        /// Whether it is searched by its logarithm.
        #[serde(default)]
        log: bool,
        /// The distance between the values, from `low` on.
        step: i64,
    },
    /// One of these, which have no order.
    Choice(Vec<String>),
}

impl Domain {
    /// A number from `low` to `high`.
    pub fn float(low: f64, high: f64) -> Domain {
        Domain::Float { low, high, log: false, step: None }
    }

    /// A number from `low` to `high`, searched by its logarithm.
    pub fn log_float(low: f64, high: f64) -> Domain {
        Domain::Float { low, high, log: true, step: None }
    }

    /// A whole number from `low` to `high`.
    pub fn int(low: i64, high: i64) -> Domain {
        Domain::Int { low, high, log: false, step: 1 }
    }

    /// A whole number from `low` to `high`, searched by its logarithm.
    pub fn log_int(low: i64, high: i64) -> Domain {
        Domain::Int { low, high, log: true, step: 1 }
    }

    /// One of these.
    pub fn choice<S: Into<String>>(labels: impl IntoIterator<Item = S>) -> Domain {
        Domain::Choice(labels.into_iter().map(Into::into).collect())
    }

    /// How many values there are; `None` where there is no end to them.
    pub fn count(&self) -> Option<usize> {
        match *self {
            Domain::Float { low, high, .. } if low == high => Some(1),
            Domain::Float { step: None, .. } => None,
            Domain::Float { low, high, step: Some(step), .. } => {
                Some(((high - low) / step + 1e-9).floor() as usize + 1)
            }
            Domain::Int { low, high, step, .. } => {
                usize::try_from((high - low) / step).ok()?.checked_add(1)
            }
            Domain::Choice(ref labels) => Some(labels.len()),
        }
    }

    /// Why this is no domain.
    fn fault(&self) -> Option<String> {
        match *self {
            Domain::Float { low, high, log, step } => {
                let finite = low.is_finite() && high.is_finite() && (high - low).is_finite();
                match step {
                    _ if !finite => Some("its ends should be finite numbers".into()),
                    _ if low > high => Some(format!("low = {low} is above high = {high}")),
                    _ if log && low <= 0.0 => Some(format!("log needs low above 0, it is {low}")),
                    Some(_) if log => Some("log and step exclude each other".into()),
                    Some(step) if !(step > 0.0 && (high - low) / step < 1e9) => {
                        Some(format!("step = {step} is no distance between its values"))
                    }
                    _ => None,
                }
            }
            Domain::Int { low, high, log, step } => {
                let fits = low.unsigned_abs().max(high.unsigned_abs()) <= EXACT as u64;
                match step {
                    _ if !fits => Some("its ends should be below 2^53".into()),
                    _ if low > high => Some(format!("low = {low} is above high = {high}")),
                    _ if log && low < 1 => Some(format!("log needs low of 1 or more, it is {low}")),
                    _ if log && step != 1 => Some("log and step exclude each other".into()),
                    _ if step < 1 => Some(format!("step = {step}, it should be 1 or more")),
                    _ => None,
                }
            }
            Domain::Choice(ref labels) => match labels.len() {
                0 => Some("there is nothing to choose from".into()),
                n if n > MOST => Some(format!("{n} choices, there should be at most {MOST}")),
                _ => {
                    let twice = |label: &&String| labels.iter().filter(|it| it == label).count();
                    let label = labels.iter().find(|label| twice(label) > 1)?;
                    Some(format!("the choice {} is given twice", escape(label, 60)))
                }
            },
        }
    }

    /// The ends of what is searched, as [`Setting::inner`] counts.
    pub(crate) fn ends(&self) -> (f64, f64) {
        match *self {
            Domain::Float { low, high, step: Some(step), .. } => {
                let last = ((high - low) / step + 1e-9).floor();
                (low, (low + last * step).min(high))
            }
            Domain::Float { low, high, .. } => (low, high),
            Domain::Int { low, high, step, .. } => {
                (low as f64, (low + (high - low) / step * step) as f64)
            }
            Domain::Choice(ref labels) => (0.0, labels.len() as f64 - 1.0),
        }
    }

    /// The value nearest to a number that counts as [`Setting::inner`] does.
    pub(crate) fn nearest(&self, x: f64) -> Setting {
        let (low, high) = self.ends();
        match self {
            Domain::Float { step: None, .. } => Setting::Float(x.clamp(low, high)),
            Domain::Float { step: Some(step), .. } => {
                let x = low + ((x - low) / step).round() * step;
                Setting::Float(x.clamp(low, high))
            }
            Domain::Int { step, .. } => {
                let step = *step as f64;
                let x = low + ((x - low) / step).round() * step;
                Setting::Int(x.clamp(low, high) as i64)
            }
            Domain::Choice(labels) => {
                let at = x.clamp(low, high).round() as usize;
                Setting::Choice(at, labels[at].clone())
            }
        }
    }

    /// The value at a share of the way, from 0 up to 1: uniform shares give uniform values, or logarithms.
    pub(crate) fn at(&self, share: f64) -> Setting {
        let (low, high) = self.ends();
        match *self {
            Domain::Float { log: true, .. } => {
                self.nearest((low.ln() + share * (high.ln() - low.ln())).exp())
            }
            Domain::Float { step: None, .. } => self.nearest(low + share * (high - low)),
            Domain::Int { log: true, .. } => {
                let (first, last) = ((low - 0.5).ln(), (high + 0.5).ln());
                self.nearest((first + share * (last - first)).exp())
            }
            _ => {
                let count = self.count().unwrap_or(1);
                self.point(((share * count as f64) as usize).min(count - 1))
            }
        }
    }

    /// Value number `i` of a domain that can be counted.
    pub(crate) fn point(&self, i: usize) -> Setting {
        match *self {
            Domain::Float { low, step, .. } => self.nearest(low + i as f64 * step.unwrap_or(0.0)),
            Domain::Int { low, step, .. } => Setting::Int(low + i as i64 * step),
            Domain::Choice(_) => self.nearest(i as f64),
        }
    }

    /// Whether there is only one value.
    pub(crate) fn single(&self) -> bool {
        self.count() == Some(1)
    }

    /// The value that stands in a journal; `None` where it is none of this domain.
    pub(crate) fn read(&self, value: &Json) -> Option<Setting> {
        let (low, high) = self.ends();
        match self {
            Domain::Float { .. } => {
                let x = value.as_f64().filter(|x| (low..=high).contains(x))?;
                Some(Setting::Float(x))
            }
            Domain::Int { low: first, step, .. } => {
                let x = value.as_i64()?;
                let fits = (low..=high).contains(&(x as f64)) && (x - first) % step == 0;
                fits.then_some(Setting::Int(x))
            }
            Domain::Choice(labels) => {
                let text = value.as_str()?;
                let at = labels.iter().position(|label| label == text)?;
                Some(Setting::Choice(at, text.to_string()))
            }
        }
    }

    /// The value that stands in a text, `0.003`; `None` where it is none of this domain.
    pub fn parse(&self, text: &str) -> Option<Setting> {
        let setting = match self {
            Domain::Float { step: None, .. } => Setting::Float(text.parse().ok()?),
            // A number on the steps is taken as the one that was counted, to the last bit.
            Domain::Float { step: Some(step), .. } => {
                let x: f64 = text.parse().ok()?;
                let nearest = self.nearest(x);
                if (nearest.inner() - x).abs() > 1e-9 * step { return None } else { nearest }
            }
            Domain::Int { .. } => Setting::Int(text.parse().ok()?),
            Domain::Choice(labels) => {
                Setting::Choice(labels.iter().position(|label| label == text)?, text.to_string())
            }
        };
        self.read(&setting.json())
    }

    /// In words: `0.0001 to 0.1 by its logarithm`.
    pub fn words(&self) -> String {
        let tail = |log: bool, step: Option<String>| match (log, step) {
            (true, _) => " by its logarithm".to_string(),
            (false, Some(step)) => format!(" in steps of {step}"),
            (false, None) => String::new(),
        };
        match self {
            Domain::Float { low, high, log, step } => {
                format!("{low} to {high}{}", tail(*log, step.map(|step| step.to_string())))
            }
            Domain::Int { low, high, log, step } => {
                let step = (*step != 1).then(|| step.to_string());
                format!("whole, {low} to {high}{}", tail(*log, step))
            }
            Domain::Choice(labels) => {
                format!("one of {}", escape(&labels.join(", "), 200))
            }
        }
    }
}

/// A parameter: its name, the values it takes, and for a grid how many of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// The name, for instance a dotted path of a recipe.
    pub name: String,
    /// The values.
    pub domain: Domain,
    /// How many values a grid takes of a number that cannot be counted, both ends among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<usize>,
}

impl Parameter {
    /// A parameter of this name and domain.
    pub fn new(name: impl Into<String>, domain: Domain) -> Parameter {
        Parameter { name: name.into(), domain, points: None }
    }

    /// The same with so many values on a grid.
    #[must_use]
    pub fn points(self, points: usize) -> Parameter {
        Parameter { points: Some(points), ..self }
    }

    /// How many values a grid takes of it.
    pub(crate) fn on_grid(&self) -> Option<usize> {
        let count = self.domain.count();
        match (self.points, count) {
            (Some(points), Some(count)) => Some(points.min(count)),
            (points, count) => points.or(count),
        }
    }

    /// Value number `i` of those on a grid.
    pub(crate) fn grid_point(&self, i: usize) -> Setting {
        match (self.on_grid(), self.domain.count()) {
            (Some(points), Some(count)) if points == count => self.domain.point(i),
            (Some(points), count) => {
                let share = i as f64 / (points.max(2) - 1) as f64;
                match (&self.domain, count) {
                    (Domain::Float { low, high, log: true, .. }, _) => {
                        self.domain.nearest((low.ln() + share * (high.ln() - low.ln())).exp())
                    }
                    (Domain::Int { low, high, log: true, .. }, _) => {
                        let (low, high) = ((*low as f64).ln(), (*high as f64).ln());
                        self.domain.nearest((low + share * (high - low)).exp())
                    }
                    (_, Some(count)) => {
                        self.domain.point((share * (count - 1) as f64).round() as usize)
                    }
                    _ => self.domain.at(share),
                }
            }
            (None, _) => self.domain.at(0.5),
        }
    }
}

/// A value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// A number.
    Float(f64),
    /// A whole number.
    Int(i64),
    /// Which of the choices, and its label.
    Choice(usize, String),
}

impl Setting {
    /// The number.
    ///
    /// # Panics
    /// If it is a choice.
    #[track_caller]
    pub fn float(&self) -> f64 {
        match self {
            Setting::Choice(_, label) => panic!("the choice `{label}` is no number"),
            number => number.inner(),
        }
    }

    /// The whole number.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn int(&self) -> i64 {
        match self {
            Setting::Int(number) => *number,
            other => panic!("{other:?} is no whole number"),
        }
    }

    /// The label of the choice.
    ///
    /// # Panics
    /// If it is a number.
    #[track_caller]
    pub fn label(&self) -> &str {
        match self {
            Setting::Choice(_, label) => label,
            other => panic!("{other:?} is no choice"),
        }
    }

    /// As one number: that of a choice is its place in the list.
    pub(crate) fn inner(&self) -> f64 {
        match *self {
            Setting::Float(x) => x,
            Setting::Int(x) => x as f64,
            Setting::Choice(at, _) => at as f64,
        }
    }

    /// As it stands in a journal.
    pub fn json(&self) -> Json {
        match self {
            Setting::Float(x) => Json::from(*x),
            Setting::Int(x) => Json::from(*x),
            Setting::Choice(_, label) => Json::from(label.as_str()),
        }
    }
}

/// Parameters that are searched together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Space {
    parameters: Vec<Parameter>,
}

impl Space {
    /// A space of these parameters.
    ///
    /// # Errors
    /// There are none, two of the same name, or one whose domain is none.
    pub fn new(parameters: Vec<Parameter>) -> Result<Space, TuneError> {
        let refuse = |text: String| Err(TuneError::Space(text));
        if parameters.is_empty() || parameters.len() > MOST {
            let n = parameters.len();
            return refuse(format!("{n} parameters, there should be 1 to {MOST}"));
        }
        for (i, parameter) in parameters.iter().enumerate() {
            let name = escape(&parameter.name, 100);
            if parameters[..i].iter().any(|other| other.name == parameter.name) {
                return refuse(format!("`{name}` is given twice"));
            }
            if let Some(fault) = parameter.domain.fault() {
                return refuse(format!("`{name}`: {fault}"));
            }
            if parameter.points.is_some_and(|points| points == 0 || points > MOST_POINTS) {
                return refuse(format!("`{name}`: points should be 1 to {MOST_POINTS}"));
            }
        }
        Ok(Space { parameters })
    }

    /// The parameters.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The place of a parameter.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.parameters.iter().position(|parameter| parameter.name == name)
    }

    /// Makes sure that these are values of the parameters, in their order.
    pub(crate) fn check(&self, settings: &[Setting]) -> Result<(), TuneError> {
        let (n, found) = (self.parameters.len(), settings.len());
        if n != found {
            return Err(TuneError::Space(format!("expected {n} values, found {found}")));
        }
        for (parameter, setting) in self.parameters.iter().zip(settings) {
            let value = setting.json();
            if parameter.domain.read(&value).as_ref() != Some(setting) {
                let (name, value) = (escape(&parameter.name, 100), escape(&value.to_string(), 60));
                let words = parameter.domain.words();
                return Err(TuneError::Space(format!("`{name}`: expected {words}, found {value}")));
            }
        }
        Ok(())
    }

    /// How many points the grid has.
    ///
    /// # Errors
    /// A parameter cannot be counted, or there are too many points.
    pub fn grid(&self) -> Result<usize, TuneError> {
        self.parameters.iter().try_fold(1usize, |all, parameter| {
            let name = escape(&parameter.name, 100);
            let Some(points) = parameter.on_grid() else {
                let text = format!("`{name}`: a grid needs to know how many points, or which step");
                return Err(TuneError::Space(text));
            };
            all.checked_mul(points).filter(|&all| all <= MOST_POINTS).ok_or_else(|| {
                TuneError::Space(format!("the grid has more than {MOST_POINTS} points"))
            })
        })
    }

    /// What is different in another space, in words.
    pub(crate) fn differences(&self, old: &Space) -> Vec<String> {
        let name = |parameter: &Parameter| escape(&parameter.name, 100);
        let mut found = Vec::new();
        for new in &self.parameters {
            match old.parameters.iter().find(|old| old.name == new.name) {
                None => found.push(format!("`{}` is new", name(new))),
                Some(old) if old != new => found.push(format!(
                    "`{}` was {}, it is {}",
                    name(new),
                    old.domain.words(),
                    new.domain.words()
                )),
                Some(_) => {}
            }
        }
        let gone = |old: &&Parameter| self.position(&old.name).is_none();
        found.extend(
            old.parameters.iter().filter(gone).map(|old| format!("`{}` is gone", name(old))),
        );
        if found.is_empty() && self != old {
            found.push("the parameters stand in another order".into());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_inside_and_on_their_steps() {
        let domains = [
            Domain::float(-1.0, 3.0),
            Domain::log_float(1e-4, 1e-1),
            Domain::Float { low: 0.1, high: 0.95, log: false, step: Some(0.2) },
            Domain::int(-3, 4),
            Domain::log_int(1, 1000),
            Domain::Int { low: 16, high: 250, log: false, step: 16 },
            Domain::choice(["a", "b", "c"]),
        ];
        for domain in &domains {
            let (low, high) = domain.ends();
            for i in 0..=1000 {
                let setting = domain.at(f64::from(i) / 1000.0 * (1.0 - 1e-16));
                assert!((low..=high).contains(&setting.inner()), "{domain:?} {setting:?}");
                assert_eq!(domain.read(&setting.json()), Some(setting.clone()), "{domain:?}");
                assert_eq!(domain.nearest(setting.inner()), setting);
            }
            assert!((domain.at(0.0).inner() - low).abs() < 1e-12, "{domain:?}");
            assert!((domain.at(1.0).inner() - high).abs() < 1e-9, "{domain:?}");
        }
        assert_eq!(domains[2].count(), Some(5));
        assert_eq!(domains[2].ends().1, 0.1 + 4.0 * 0.2);
        assert_eq!(domains[5].count(), Some(15));
        assert_eq!(domains[5].ends(), (16.0, 240.0));
        // Uniform in the logarithm: half of the shares lie below the geometric mean.
        assert!((domains[1].at(0.5).inner() - (1e-4f64 * 1e-1).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn grids_hold_both_ends() {
        let values = |parameter: &Parameter| -> Vec<f64> {
            (0..parameter.on_grid().unwrap()).map(|i| parameter.grid_point(i).inner()).collect()
        };
        let lr = Parameter::new("lr", Domain::log_float(1e-3, 1e-1)).points(3);
        assert!(
            values(&lr).iter().zip([1e-3, 1e-2, 1e-1]).all(|(a, b)| (a / b - 1.0).abs() < 1e-12)
        );
        assert_eq!(values(&Parameter::new("n", Domain::int(2, 5))), [2.0, 3.0, 4.0, 5.0]);
        assert_eq!(values(&Parameter::new("n", Domain::int(0, 100)).points(3)), [0.0, 50.0, 100.0]);
        assert_eq!(values(&Parameter::new("c", Domain::choice(["a", "b"]))), [0.0, 1.0]);
        let space = Space::new(vec![lr, Parameter::new("n", Domain::int(2, 5))]).unwrap();
        assert_eq!(space.grid().unwrap(), 12);
        let endless = Space::new(vec![Parameter::new("x", Domain::float(0.0, 1.0))]).unwrap();
        assert!(endless.grid().unwrap_err().to_string().contains("how many points"));
        let vast = (0..4).map(|i| Parameter::new(format!("n{i}"), Domain::int(1, 1000))).collect();
        assert!(Space::new(vast).unwrap().grid().unwrap_err().to_string().contains("more than"));
    }

    #[test]
    fn what_is_no_space_says_why() {
        let refused =
            |domain: Domain| Space::new(vec![Parameter::new("x", domain)]).unwrap_err().to_string();
        assert!(refused(Domain::float(2.0, 1.0)).contains("low = 2 is above high = 1"));
        assert!(refused(Domain::float(f64::NAN, 1.0)).contains("finite"));
        assert!(refused(Domain::float(-f64::MAX, f64::MAX)).contains("finite"));
        assert!(refused(Domain::log_float(0.0, 1.0)).contains("above 0"));
        assert!(refused(Domain::log_int(0, 4)).contains("1 or more"));
        assert!(refused(Domain::int(i64::MIN, i64::MAX)).contains("2^53"));
        let step = |step| Domain::Float { low: 0.0, high: 1.0, log: false, step: Some(step) };
        for bad in [0.0, -1.0, f64::NAN, 1e-300] {
            assert!(refused(step(bad)).contains("no distance"), "{bad}");
        }
        assert!(refused(Domain::Int { low: 0, high: 9, log: false, step: 0 }).contains("step = 0"));
        assert!(refused(Domain::choice(["a", "b", "a"])).contains("given twice"));
        assert!(refused(Domain::Choice(Vec::new())).contains("nothing to choose"));
        assert!(Space::new(Vec::new()).is_err());
        let x = || Parameter::new("x", Domain::int(0, 1));
        assert!(Space::new(vec![x(), x()]).unwrap_err().to_string().contains("`x` is given twice"));
    }

    #[test]
    fn differences_are_told_in_words() {
        let space = |parameters: Vec<Parameter>| Space::new(parameters).unwrap();
        let old = space(vec![
            Parameter::new("lr", Domain::log_float(1e-4, 0.1)),
            Parameter::new("units", Domain::int(8, 64)),
        ]);
        let new = space(vec![
            Parameter::new("lr", Domain::log_float(1e-3, 0.1)),
            Parameter::new("act", Domain::choice(["relu", "tanh"])),
        ]);
        assert_eq!(
            new.differences(&old),
            [
                "`lr` was 0.0001 to 0.1 by its logarithm, it is 0.001 to 0.1 by its logarithm",
                "`act` is new",
                "`units` is gone"
            ]
        );
        assert!(old.differences(&old).is_empty());
    }
}
