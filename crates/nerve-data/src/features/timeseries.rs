//! `timeseries`: a window of measurements up to a row, or what comes after it.

use std::ops::Range;
use std::sync::Arc;

use nerve_formats::Meaning;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use serde_json::{Value as Json, json};

use super::cell::{NUMBER_NA, Words};
use super::scale::Scale;
use super::{Answer, Entry, Feature, Fitting, Head, Output, Refusal, Role, Room, Setting};
use crate::series::augment::{self, Augment, Frames, Stage};
use crate::{Cell, Cells, Element, Random, Slice, Values};

/// It is never guessed: numbers in order are a series only to one who wants to look ahead.
pub(super) const ENTRY: Entry = Entry { spec: &SPEC, infer: |_| None, begin, restore };

/// The way to a common scale that is each series' own. It is gone before a cell comes here: what is read is on it.
pub const PER_SERIES: &str = "per_series_zscore";

const LENGTH: Kind = Kind::int(1, 100_000);
const AUGMENTATION: Kind = Kind::Item { what: "augmentation of series", specs: augment::of_series };
const QUANTILE: Kind = Kind::Float { min: 0.0, max: 1.0, open_min: true, open_max: true };

static SPEC: Spec = Spec {
    name: "timeseries",
    aliases: &["time_series"],
    peers: Peers::NONE,
    doc: "Measurements over time: as an input those up to now, as an output those to come.",
    params: &[
        Param::optional(
            "window",
            LENGTH,
            "of an input: how many rows up to and with the present one",
        ),
        Param::optional("horizon", LENGTH, "of an output: how many rows ahead"),
        Param::with_default(
            "known_future",
            Kind::Bool,
            Value::Bool(false),
            "of an input: whether the rows of the horizon are known too, as of a calendar; then `horizon` says how many",
        ),
        Param::with_default(
            "normalize",
            Kind::Choice(&["zscore", "minmax", "robust", "log1p", PER_SERIES, "none"]),
            Value::text("zscore"),
            "as of a number; per_series_zscore: mean 0 and deviation 1 over the training split of each series by itself, where \
             `series` of [data] parts them; a series that is not in it takes those of all; it holds for the column, in and out",
        ),
        Param::optional(
            "missing",
            Kind::Choice(&["interpolate", "ffill", "error"]),
            "interpolate: on the line between the neighbours in the window; ffill: the one before; an output has `error` \
             unless this says otherwise, an input `interpolate`",
        ),
        NUMBER_NA,
        Param::optional(
            "quantiles",
            Kind::List { of: &QUANTILE, min_len: 2, max_len: 99 },
            "of an output: the quantiles that are forecast, rising; its loss is `quantile` with the same",
        ),
        Param::optional(
            "augment",
            Kind::List { of: &AUGMENTATION, min_len: 0, max_len: 32 },
            "of an input: random changes while training, in this order",
        ),
    ],
};

fn begin(args: &Args, setting: &Setting) -> Result<Box<dyn Fitting>, String> {
    Ok(Box::new(Fit { plan: Plan::new(args, setting)?, values: Vec::new() }))
}

fn restore(args: &Args, setting: &Setting, state: &Json) -> Result<Arc<dyn Feature>, String> {
    let scale = Scale::restore(&state["scale"])?;
    Ok(Arc::new(Series { plan: Plan::new(args, setting)?, scale, lacking: 0, seen: 0 }))
}

/// What stands in for a value that is missing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Missing {
    Interpolate,
    Ffill,
    Error,
}

/// What the recipe says.
#[derive(Debug)]
struct Plan {
    output: bool,
    reach: Range<isize>,
    method: String,
    missing: Missing,
    words: Words,
    quantiles: Arc<[f64]>,
    augment: Vec<Arc<dyn Augment>>,
}

impl Plan {
    fn new(args: &Args, setting: &Setting) -> Result<Plan, String> {
        let output = setting.role == Role::Output;
        let length = |key: &str| args.has(key).then(|| args.usize(key) as isize);
        let known = args.bool("known_future");
        let reach = match (output, length("window"), length("horizon"), known) {
            (true, _, Some(horizon), _) => 1..horizon + 1,
            (true, _, None, _) => {
                return Err("an output needs `horizon`: how many rows ahead".into());
            }
            (false, Some(window), None, false) => 1 - window..1,
            (false, Some(window), Some(horizon), true) => 1 - window..horizon + 1,
            (false, None, ..) => return Err("an input needs `window`: how many rows back".into()),
            (false, _, Some(_), false) => {
                return Err("`horizon` of an input without `known_future = true`".into());
            }
            (false, _, None, true) => {
                return Err("`known_future` needs `horizon`: how many rows ahead are known".into());
            }
        };
        if output && (args.has("augment") || known) {
            return Err("`augment` and `known_future` are for inputs".into());
        }
        let missing = match args.has("missing").then(|| args.text("missing")) {
            Some("interpolate") => Missing::Interpolate,
            Some("ffill") => Missing::Ffill,
            None if !output => Missing::Interpolate,
            _ => Missing::Error,
        };
        let quantiles = if args.has("quantiles") { args.floats("quantiles") } else { Vec::new() };
        if !quantiles.is_sorted_by(|a, b| a < b) {
            return Err("`quantiles` must rise".into());
        }
        let stages = [(Stage::Series, 1.0)];
        let built = augment::build(args.get("augment"), &stages, &setting.folder)?;
        Ok(Plan {
            output,
            reach,
            method: args.text("normalize").to_string(),
            missing,
            words: Words::of(args),
            quantiles: quantiles.into(),
            augment: built.into_iter().map(|(_, augment)| augment).collect(),
        })
    }

    fn read(&self, cell: Cell<'_>) -> Result<Option<f64>, Refusal> {
        match self.words.number(cell)? {
            None if self.missing == Missing::Error => Err(Refusal::new(
                "a number (`missing` says what stands in where there is none)",
                cell,
            )),
            number => Ok(number),
        }
    }
}

struct Fit {
    plan: Plan,
    /// The numbers of the training split, NaN where there are none.
    values: Vec<f64>,
}

impl Fitting for Fit {
    fn observe(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        let number = self.plan.read(cells.get(row))?;
        self.values.push(number.unwrap_or(f64::NAN));
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Arc<dyn Feature>, String> {
        let seen = self.values.len();
        self.values.retain(|value| !value.is_nan());
        if self.values.is_empty() {
            return Err("no number in the training split".into());
        }
        self.values.sort_by(f64::total_cmp);
        if self.plan.method == "log1p" && self.values[0] <= -1.0 {
            let least = self.values[0];
            return Err(format!("`log1p` is for values above -1, and the least is {least}"));
        }
        let scale = Scale::fit(&self.plan.method, &self.values);
        let lacking = seen - self.values.len();
        Ok(Arc::new(Series { plan: self.plan, scale, lacking, seen }))
    }
}

/// A window of a series on its way to the network, or from it.
///
/// What is stored of a row is its value on the common scale, NaN where there is none; gaps are filled within a window, so
/// that no sample takes from beyond what it may know.
#[derive(Debug)]
struct Series {
    plan: Plan,
    scale: Scale,
    lacking: usize,
    seen: usize,
}

impl Series {
    fn len(&self) -> usize {
        self.plan.reach.len()
    }
}

impl Feature for Series {
    fn stored(&self) -> (Vec<usize>, Element) {
        (vec![self.len()], Element::F32)
    }

    fn reach(&self) -> Range<isize> {
        self.plan.reach.clone()
    }

    fn store(&self, cells: &Cells, row: usize, mut out: Slice<'_>) -> Result<(), Refusal> {
        let cell = cells.get(row);
        out.f32()[0] = match self.plan.read(cell)? {
            None => f32::NAN,
            Some(number) if self.scale.takes(number) => self.scale.apply(number) as f32,
            Some(_) => return Err(Refusal::new("a number above -1, for `log1p`", cell)),
        };
        Ok(())
    }

    fn delivered(&self) -> (Vec<usize>, Element) {
        let shape = if self.plan.output { vec![self.len()] } else { vec![self.len(), 1] };
        (shape, Element::F32)
    }

    fn delivers(&self) -> bool {
        true
    }

    fn deliver(
        &self,
        stored: &Values,
        mut out: Slice<'_>,
        random: Option<Random>,
        room: &mut Room,
    ) {
        let Values::F32(stored) = stored else { unreachable!("series are stored as f32") };
        let values = out.f32();
        values.copy_from_slice(stored);
        fill(values, self.plan.missing);
        if let Some(mut random) = random {
            let mut frames = Frames { values, features: 1, room: &mut room.f32 };
            self.plan.augment.iter().for_each(|augment| augment.apply(&mut frames, &mut random));
        }
    }

    fn meaning(&self) -> Meaning {
        Meaning::Frames
    }

    fn state(&self) -> Json {
        json!({ "scale": self.scale.state() })
    }

    fn notes(&self) -> Vec<String> {
        match (self.lacking, self.plan.missing) {
            (0, _) => Vec::new(),
            (lacking, Missing::Ffill) => {
                vec![format!(
                    "{lacking} of {} values are missing: the one before stands in",
                    self.seen
                )]
            }
            (lacking, _) => {
                vec![format!("{lacking} of {} values are missing: interpolated", self.seen)]
            }
        }
    }

    fn output(&self) -> Option<&dyn Output> {
        self.plan.output.then_some(self as &dyn Output)
    }
}

/// Fills the gaps of a window: at its ends with the nearest value, where it has none at all with 0, the middle of the scale.
fn fill(values: &mut [f32], missing: Missing) {
    let Some(first) = values.iter().position(|value| !value.is_nan()) else {
        values.fill(0.0);
        return;
    };
    let start = values[first];
    values[..first].fill(start);
    let mut last = first;
    for at in first + 1..values.len() {
        if values[at].is_nan() {
            continue;
        }
        let (from, to, len) = (values[last], values[at], at - last);
        for (i, value) in values[last + 1..at].iter_mut().enumerate() {
            let share = (i + 1) as f32 / len as f32;
            *value = if missing == Missing::Ffill { from } else { from + (to - from) * share };
        }
        last = at;
    }
    let end = values[last];
    values[last + 1..].fill(end);
}

impl Output for Series {
    fn head(&self) -> Head {
        let mut shape = vec![self.len()];
        if self.plan.quantiles.is_empty() {
            return Head { shape, loss: "mae", metrics: &["mae", "rmse"] };
        }
        shape.push(self.plan.quantiles.len());
        Head { shape, loss: "quantile", metrics: &[] }
    }

    /// The forecast in the units of the column. Quantiles are put in order: what crosses does so by the error of the network
    /// alone, and in order they are nearer to the truth (Chernozhukov, Fernandez-Val, Galichon, "Quantile and probability
    /// curves without crossing", 2010).
    fn answer(&self, values: &[f32]) -> Answer {
        let invert = |&value: &f32| self.scale.invert(f64::from(value));
        let mut values: Vec<f64> = values.iter().map(invert).collect();
        if self.plan.quantiles.is_empty() {
            return Answer::Numbers(values);
        }
        let steps = values.chunks_exact_mut(self.plan.quantiles.len());
        steps.for_each(|step| step.sort_by(f64::total_cmp));
        Answer::Quantiles { at: self.plan.quantiles.clone(), values }
    }

    fn truth(&self, stored: &Values, row: usize) -> Answer {
        let Values::F32(stored) = stored else { unreachable!("series are stored as f32") };
        let mut values = stored[row * self.len()..(row + 1) * self.len()].to_vec();
        fill(&mut values, self.plan.missing);
        Answer::Numbers(values.iter().map(|&v| self.scale.invert(f64::from(v))).collect())
    }
}

#[cfg(test)]
mod tests {
    use nerve_formats::spec::check;

    use super::*;
    use crate::{Array, Field, Row};

    fn feature(
        role: Role,
        given: &[(&str, Value)],
        cells: &Cells,
    ) -> Result<Arc<dyn Feature>, String> {
        let given: Vec<(String, Value)> =
            given.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
        let setting = Setting { role, folder: ".".into() };
        let mut fit = begin(&check(&SPEC, &given).unwrap(), &setting)?;
        for row in 0..cells.len() {
            fit.observe(cells, row).map_err(|refusal| refusal.expected)?;
        }
        fit.finish()
    }

    fn stored(feature: &dyn Feature, cells: &Cells) -> Vec<f32> {
        let mut out = [Array::zeros(&Field::new("", &[1], Element::F32), 1)];
        let row = |row| {
            feature.store(cells, row, Row::new(&mut out, 0).slice(0)).unwrap();
            out[0].f32()[0]
        };
        (0..cells.len()).map(row).collect()
    }

    fn delivered(feature: &dyn Feature, stored: Vec<f32>, random: Option<Random>) -> Vec<f32> {
        let (shape, element) = feature.delivered();
        let mut out = [Array::zeros(&Field::new("", &shape, element), 1)];
        let mut row = Row::new(&mut out, 0);
        feature.deliver(&Values::F32(stored), row.slice(0), random, &mut Room::default());
        out[0].f32().to_vec()
    }

    fn numbers(values: &[f64]) -> Cells {
        Cells::Numbers(values.to_vec())
    }

    const WINDOW: (&str, Value) = ("window", Value::Int(4));
    const HORIZON: (&str, Value) = ("horizon", Value::Int(2));

    #[test]
    fn windows_reach_back_and_horizons_ahead() {
        let cells = numbers(&[1.0, 2.0, 3.0]);
        let input = feature(Role::Input, &[WINDOW], &cells).unwrap();
        assert_eq!((input.reach(), input.delivered().0), (-3..1, vec![4, 1]));
        let known = [WINDOW, HORIZON, ("known_future", Value::Bool(true))];
        let known = feature(Role::Input, &known, &cells).unwrap();
        assert_eq!((known.reach(), known.stored().0), (-3..3, vec![6]));
        let output = feature(Role::Output, &[HORIZON], &cells).unwrap();
        assert_eq!((output.reach(), output.delivered().0), (1..3, vec![2]));
        assert_eq!(output.output().unwrap().head().shape, [2]);
        assert!(input.output().is_none());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let cells = numbers(&[1.0, 2.0]);
        let refused = |role, given: &[(&str, Value)]| feature(role, given, &cells).unwrap_err();
        assert!(refused(Role::Input, &[]).contains("`window`"));
        assert!(refused(Role::Output, &[WINDOW]).contains("`horizon`"));
        assert!(refused(Role::Input, &[WINDOW, HORIZON]).contains("known_future"));
        let known = ("known_future", Value::Bool(true));
        assert!(refused(Role::Input, &[WINDOW, known.clone()]).contains("`horizon`"));
        assert!(refused(Role::Output, &[HORIZON, known]).contains("inputs"));
        let log = ("normalize", Value::text("log1p"));
        let error = feature(Role::Input, &[WINDOW, log], &numbers(&[3.0, -1.0])).unwrap_err();
        assert!(error.contains("above -1"), "{error}");
        assert!(feature(Role::Input, &[WINDOW], &numbers(&[f64::NAN])).is_err());
    }

    #[test]
    fn a_forecast_comes_back_in_the_units_of_the_column() {
        let values = [3.0, 5.0, 10.0, 2.0];
        for method in ["zscore", "minmax", "log1p", "none"] {
            let given = [HORIZON, ("normalize", Value::text(method))];
            let feature = feature(Role::Output, &given, &numbers(&values)).unwrap();
            let stored = stored(&*feature, &numbers(&values));
            let output = feature.output().unwrap();
            for answer in
                [output.answer(&stored[2..]), output.truth(&Values::F32(stored.clone()), 1)]
            {
                let Answer::Numbers(found) = answer else { panic!("{answer:?}") };
                assert!(
                    (found[0] - 10.0).abs() < 1e-5 && (found[1] - 2.0).abs() < 1e-5,
                    "{found:?}"
                );
            }
            let args = given.iter().map(|(key, value)| (key.to_string(), value.clone()));
            let args = check(&SPEC, &args.collect::<Vec<_>>()).unwrap();
            let setting = Setting { role: Role::Output, folder: ".".into() };
            let again = restore(&args, &setting, &feature.state()).unwrap();
            assert_eq!(self::stored(&*again, &numbers(&values)), stored);
        }
        let quantiles = [Value::Float(0.1), Value::Float(0.5), Value::Float(0.9)];
        let given = [
            HORIZON,
            ("quantiles", Value::List(quantiles.to_vec().into())),
            ("normalize", Value::text("none")),
        ];
        let feature = feature(Role::Output, &given, &numbers(&values)).unwrap();
        let output = feature.output().unwrap();
        assert_eq!(output.head().shape, [2, 3]);
        let answer = output.answer(&[1.0, 2.0, 3.0, 4.0, 6.0, 5.0]);
        let values = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(answer, Answer::Quantiles { at: vec![0.1, 0.5, 0.9].into(), values });
        assert_eq!(super::super::middle(&[0.1, 0.5, 0.9]), 1);
        let falling = Value::List(vec![Value::Float(0.9), Value::Float(0.1)].into());
        let error =
            self::feature(Role::Output, &[HORIZON, ("quantiles", falling)], &numbers(&[1.0, 2.0]));
        assert!(error.unwrap_err().contains("must rise"));
    }

    #[test]
    fn gaps_are_filled_from_within_the_window() {
        let nan = f32::NAN;
        let filled = |missing: &'static str, values: [f32; 4]| {
            let given = [WINDOW, ("missing", Value::text(missing))];
            let feature = feature(Role::Input, &given, &numbers(&[1.0, f64::NAN])).unwrap();
            assert_eq!(feature.notes().len(), 1);
            delivered(&*feature, values.to_vec(), None)
        };
        assert_eq!(filled("interpolate", [1.0, nan, nan, 4.0]), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(filled("ffill", [1.0, nan, nan, 4.0]), [1.0, 1.0, 1.0, 4.0]);
        assert_eq!(filled("interpolate", [nan, 2.0, nan, nan]), [2.0; 4]);
        assert_eq!(filled("interpolate", [nan; 4]), [0.0; 4]);
        let refused = feature(Role::Output, &[HORIZON], &numbers(&[1.0, f64::NAN])).unwrap_err();
        assert!(refused.contains("`missing` says"), "{refused}");
    }

    #[test]
    fn augmentation_is_for_training_alone() {
        let list = Value::List(vec![Value::text("Jitter"), Value::text("Scaling")].into());
        let cells = numbers(&[1.0, 2.0]);
        let feature = feature(Role::Input, &[WINDOW, ("augment", list)], &cells).unwrap();
        let run = |random| delivered(&*feature, vec![0.5, 1.0, 1.5, 2.0], random);
        assert_eq!(run(None), [0.5, 1.0, 1.5, 2.0]);
        assert_eq!(run(Some(Random::new(1))), run(Some(Random::new(1))));
        assert_ne!(run(Some(Random::new(1))), run(Some(Random::new(2))));
    }
}
