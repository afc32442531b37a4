//! `number`: one measurement a row, brought to a common scale.

use std::sync::Arc;

use nerve_formats::Meaning;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Value};
use serde_json::{Value as Json, json};

use super::cell::{NUMBER_NA, Words, above};
use super::missing::{self, Missing};
use super::scale::{self, Scale, quantile};
use super::{Answer, Entry, Feature, Fitting, Guess, Head, Output, Refusal, Role, Setting};
use crate::table::augment::Disturbance;
use crate::{Cell, Cells, Column, Element, Slice, Values};

pub(super) const ENTRY: Entry = Entry { spec: &SPEC, infer, begin, restore };

static SPEC: Spec = Spec {
    name: "number",
    aliases: &[],
    peers: Peers::of("", "layers.Normalization"),
    doc: "A number, brought to a common scale with what the training split shows.",
    params: &[
        missing::NUMBERS,
        missing::FLAG,
        NUMBER_NA,
        Param::with_default(
            "normalize",
            Kind::Choice(scale::METHODS),
            Value::text("zscore"),
            scale::DOC,
        ),
        Param::optional(
            "clip",
            Kind::positive(),
            "outliers of an input are drawn in: c z / sqrt(c\u{b2} + z\u{b2}) of the scaled value z stays within \u{b1}c",
        ),
        Param::optional(
            "augment",
            Kind::List { of: &AUGMENTATION, min_len: 0, max_len: 100 },
            "random changes to training rows: noise, and numbers of other rows",
        ),
    ],
};

const AUGMENTATION: Kind =
    Kind::Item { what: "augmentation of numbers", specs: crate::table::augment::of_numbers };

fn infer(column: &Column) -> Option<Guess> {
    let (words, cells) = (Words::of_numbers(), &column.cells);
    let mut given = 0usize;
    for row in 0..cells.len() {
        given += usize::from(words.number(cells.get(row)).ok()?.is_some());
    }
    let missing = cells.len() - given;
    (given > 0).then(|| Guess {
        confidence: 0.6,
        reason: match missing {
            0 => format!("all {given} values are numbers"),
            _ => format!("all {given} values are numbers, {missing} are missing"),
        },
    })
}

fn begin(args: &Args, setting: &Setting) -> Result<Box<dyn Fitting>, String> {
    let reading = Reading::of(args, setting)?;
    let method = args.text("normalize");
    Ok(Box::new(Fit {
        reading,
        method: scale::METHODS.iter().copied().find(|name| *name == method).unwrap_or("none"),
        constant: args
            .item("missing")
            .args
            .get("value")
            .map(|_| args.item("missing").args.float("value")),
        flag: args.get("missing_flag").map(|_| args.bool("missing_flag")),
        values: Vec::new(),
        missing: 0,
    }))
}

fn restore(args: &Args, setting: &Setting, state: &Json) -> Result<Arc<dyn Feature>, String> {
    Ok(Arc::new(Number {
        reading: Reading::of(args, setting)?,
        scale: Scale::restore(&state["scale"])?,
        fill: state["fill"].as_f64().ok_or("`fill` is no number")?,
        flag: state["flag"].as_bool().ok_or("`flag` is neither true nor false")?,
        notes: Vec::new(),
    }))
}

/// What is known before the data are seen.
#[derive(Clone, Debug)]
struct Reading {
    words: Words,
    missing: Missing,
    clip: Option<f64>,
    /// Whether numbers must be above -1.
    log: bool,
    disturbance: Disturbance,
}

impl Reading {
    fn of(args: &Args, setting: &Setting) -> Result<Reading, String> {
        let clip = args.get("clip").map(|_| args.float("clip"));
        if clip.is_some() && setting.role == Role::Output {
            return Err("`clip` is for inputs: an answer could not leave the range".into());
        }
        let disturbance = Disturbance::of(args);
        if setting.role == Role::Output && !disturbance.is_none() {
            return Err("`augment` is for inputs: the truth stays as it is".into());
        }
        Ok(Reading {
            words: Words::of(args),
            missing: Missing::of(args, setting.role),
            clip,
            log: args.text("normalize") == "log1p",
            disturbance,
        })
    }

    /// The number in a cell; `None` where something stands in for it.
    fn read(&self, cell: Cell<'_>) -> Result<Option<f64>, Refusal> {
        match self.words.number(cell)? {
            Some(number) if self.log && number <= -1.0 => {
                Err(Refusal::new("a number above -1, whose logarithm `log1p` can take", cell))
            }
            None if self.missing == Missing::Error => Err(Refusal::new(
                "a number (`missing` says what to do without; `drop` leaves the row out)",
                cell,
            )),
            number => Ok(number),
        }
    }

    fn leaves_out(&self, cell: Cell<'_>) -> bool {
        self.missing == Missing::Drop && self.words.number(cell) == Ok(None)
    }
}

struct Fit {
    reading: Reading,
    method: &'static str,
    constant: Option<f64>,
    flag: Option<bool>,
    values: Vec<f64>,
    missing: usize,
}

impl Fitting for Fit {
    fn leaves_out(&self, cells: &Cells, row: usize) -> bool {
        self.reading.leaves_out(cells.get(row))
    }

    fn observe(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        match self.reading.read(cells.get(row))? {
            Some(number) => self.values.push(number),
            None => self.missing += 1,
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Feature>, String> {
        let mut sorted = self.values;
        if sorted.is_empty() {
            return Err("no number in the training split".into());
        }
        sorted.sort_by(f64::total_cmp);
        let scale = Scale::fit(self.method, &sorted);
        let fill = match self.reading.missing {
            Missing::Const => self.constant.unwrap_or(0.0),
            Missing::Median => quantile(&sorted, 0.5),
            Missing::Mode => mode(&sorted),
            _ => sorted.iter().sum::<f64>() / sorted.len() as f64,
        };
        if !scale.is_finite() || !fill.is_finite() {
            return Err("the numbers are too large to be brought to a common scale".into());
        }
        if !scale.takes(fill) {
            return Err(format!("{fill} stands in for missing numbers, and has no logarithm"));
        }
        let fills = self.reading.missing.fills();
        Ok(Arc::new(Number {
            flag: fills && self.flag.unwrap_or(self.missing > 0),
            notes: notes(&sorted),
            reading: self.reading,
            scale,
            fill,
        }))
    }
}

/// The most frequent of sorted numbers, the least of them if there are several.
fn mode(sorted: &[f64]) -> f64 {
    let runs = sorted.chunk_by(|a, b| a == b);
    runs.fold((0, 0.0), |best, run| if run.len() > best.0 { (run.len(), run[0]) } else { best }).1
}

fn notes(sorted: &[f64]) -> Vec<String> {
    /// From here on, whole numbers have neighbours that f64 cannot tell from them.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let mut notes = Vec::new();
    if sorted[0] == sorted[sorted.len() - 1] {
        notes.push(format!("constant: every number of the training split is {}", sorted[0]));
    }
    let large = sorted.iter().filter(|x| x.abs() >= EXACT && x.fract() == 0.0).count();
    if large > 0 {
        notes.push(format!(
            "{large} whole numbers from 2^53 on lose digits: if they are names, the type is `id`"
        ));
    }
    notes
}

/// A number on its way to the network.
#[derive(Clone, Debug)]
struct Number {
    reading: Reading,
    scale: Scale,
    /// What stands in for a missing number, in the units of the column.
    fill: f64,
    /// Whether a second value says that it is missing.
    flag: bool,
    notes: Vec<String>,
}

impl Feature for Number {
    fn stored(&self) -> (Vec<usize>, Element) {
        (vec![1 + usize::from(self.flag)], Element::F32)
    }

    fn leaves_out(&self, cells: &Cells, row: usize) -> bool {
        self.reading.leaves_out(cells.get(row))
    }

    fn store(&self, cells: &Cells, row: usize, mut out: Slice<'_>) -> Result<(), Refusal> {
        let cell = cells.get(row);
        let found = self.reading.read(cell)?;
        let number = found.unwrap_or_else(|| {
            let above = || above(cells, row, |cell| self.reading.read(cell).ok().flatten());
            let above = if self.reading.missing == Missing::Ffill { above() } else { None };
            above.unwrap_or(self.fill)
        });
        let scaled = self.scale.apply(number);
        let drawn_in = |clip: f64| clip * scaled / (clip * clip + scaled * scaled).sqrt();
        let value = self.reading.clip.map_or(scaled, drawn_in) as f32;
        if !value.is_finite() {
            return Err(Refusal::new("a number of a size that can be computed with", cell));
        }
        let out = out.f32();
        out[0] = value;
        if self.flag {
            out[1] = f32::from(u8::from(found.is_none()));
        }
        Ok(())
    }

    fn disturbance(&self) -> Disturbance {
        self.reading.disturbance
    }

    fn meaning(&self) -> Meaning {
        Meaning::Numbers
    }

    fn state(&self) -> Json {
        json!({ "scale": self.scale.state(), "fill": self.fill, "flag": self.flag })
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn output(&self) -> Option<&dyn Output> {
        Some(self)
    }
}

impl Output for Number {
    fn head(&self) -> Head {
        Head { shape: vec![1], loss: "mse", metrics: &["rmse", "mae", "r2"] }
    }

    fn answer(&self, values: &[f32]) -> Answer {
        Answer::Number(self.scale.invert(values[0].into()))
    }

    fn truth(&self, stored: &Values, row: usize) -> Answer {
        let Values::F32(values) = stored else { unreachable!("numbers are stored as f32") };
        self.answer(&values[row..=row])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fit, fit_error, stored, texts};
    use super::*;

    const INPUT: Role = Role::Input;
    const OUTPUT: Role = Role::Output;

    fn values(feature: &dyn Feature, cells: &Cells, row: usize) -> Vec<f32> {
        match stored(feature, cells, row).unwrap() {
            Values::F32(values) => values,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_missing_is_filled_and_flagged() {
        let cells = texts(&["1", "2", "NA", "6", ""]);
        let ways = [
            ("mean", 3.0),
            ("median", 2.0),
            ("mode", 1.0),
            ("{ type = \"const\", value = -9 }", -9.0),
            ("ffill", 2.0),
        ];
        for (way, expected) in ways {
            let feature = fit("number", &[("missing", way), ("normalize", "none")], INPUT, &cells);
            assert_eq!(values(&*feature, &cells, 2), [expected, 1.0], "{way}");
            assert_eq!(values(&*feature, &cells, 3), [6.0, 0.0], "{way}");
        }
        let feature = fit("number", &[("missing_flag", "false")], INPUT, &cells);
        assert_eq!(feature.stored().0, [1]);
        // Nothing is missing in training: one value, and at prediction the mean stands in.
        let seen = texts(&["1", "3"]);
        let feature = fit("number", &[], INPUT, &seen);
        assert_eq!(values(&*feature, &cells, 2), [0.0]);
        let feature = fit("number", &[("missing_flag", "true")], INPUT, &seen);
        assert_eq!(values(&*feature, &cells, 2), [0.0, 1.0]);
    }

    #[test]
    fn rows_are_left_out_or_refused() {
        let cells = texts(&["1", "?", "3", "x"]);
        let feature = fit("number", &[("missing", "drop")], INPUT, &texts(&["1", "3"]));
        let left_out: Vec<bool> = (0..4).map(|row| feature.leaves_out(&cells, row)).collect();
        assert_eq!(left_out, [false, true, false, false]);
        let refusal = stored(&*feature, &cells, 3).unwrap_err();
        assert_eq!((&refusal.expected[..], &refusal.found[..]), ("a number", "`x`"));
        let feature = fit("number", &[("missing", "error")], INPUT, &texts(&["1", "3"]));
        assert!(stored(&*feature, &cells, 1).is_err());
        // The mean is no answer.
        let feature = fit("number", &[], OUTPUT, &texts(&["1", "3"]));
        assert!(stored(&*feature, &cells, 1).unwrap_err().expected.contains("`drop`"));
    }

    #[test]
    fn outliers_are_drawn_in() {
        let cells = texts(&["0", "1", "1e9", "-1e9"]);
        let feature = fit(
            "number",
            &[("clip", "3.0"), ("normalize", "robust")],
            INPUT,
            &texts(&["0", "1", "2"]),
        );
        assert_eq!(values(&*feature, &cells, 1), [0.0]);
        assert_eq!([values(&*feature, &cells, 2), values(&*feature, &cells, 3)], [[3.0], [-3.0]]);
        let error = fit_error("number", &[("clip", "3.0")], OUTPUT, &cells);
        assert!(error.contains("for inputs"), "{error}");
    }

    #[test]
    fn answers_are_in_the_units_of_the_column() {
        let cells = texts(&["100", "200", "400", "1000"]);
        for method in scale::METHODS {
            let feature = fit("number", &[("normalize", method)], OUTPUT, &cells);
            let output = feature.output().unwrap();
            for (row, expected) in [(1, 200.0), (2, 400.0)] {
                let Answer::Number(number) =
                    output.truth(&stored(&*feature, &cells, row).unwrap(), 0)
                else {
                    panic!("no number")
                };
                assert!((number - expected).abs() < 1e-3, "{method}: {number}");
            }
        }
    }

    #[test]
    fn c16_c17_constant_and_huge_numbers_are_noted() {
        let feature = fit("number", &[], INPUT, &texts(&["5", "5"]));
        assert_eq!(feature.notes(), ["constant: every number of the training split is 5"]);
        let feature = fit("number", &[], INPUT, &texts(&["9007199254740993", "1"]));
        assert!(
            feature.notes()[0].contains("1 whole numbers from 2^53 on"),
            "{:?}",
            feature.notes()
        );
        assert!(fit("number", &[], INPUT, &texts(&["9007199254740991", "0"])).notes().is_empty());
    }

    #[test]
    fn numbers_that_no_scale_holds_are_refused() {
        let error = fit_error("number", &[], INPUT, &texts(&["1e308", "-1e308"]));
        assert!(error.contains("too large"), "{error}");
        let feature = fit("number", &[("normalize", "none")], INPUT, &texts(&["1"]));
        assert!(stored(&*feature, &texts(&["1e300"]), 0).is_err());
        let feature = fit("number", &[("normalize", "log1p")], INPUT, &texts(&["0", "9"]));
        assert!(stored(&*feature, &texts(&["-1"]), 0).unwrap_err().expected.contains("above -1"));
        assert!(fit_error("number", &[], INPUT, &texts(&["", "NA"])).contains("no number"));
    }

    #[test]
    fn the_mode_is_the_least_of_the_most_frequent() {
        assert_eq!(mode(&[1.0, 2.0, 2.0, 3.0, 3.0]), 2.0);
        assert_eq!(mode(&[7.0]), 7.0);
    }
}
