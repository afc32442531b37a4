//! `date`: a day, or a moment, as the parts of calendar and clock that vary.

use std::f64::consts::TAU;
use std::sync::Arc;

use nerve_formats::Meaning;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec};
use serde_json::{Value as Json, json};

use super::cell::{NUMBER_NA, Words, above};
use super::missing::{self, Missing};
use super::scale::moments;
use super::{Entry, Feature, Fitting, Guess, Refusal, Role, Setting};
use crate::civil::{self, Civil, Moment};
use crate::{Cell, Cells, Column, Element, Slice};

pub(super) const ENTRY: Entry = Entry { spec: &SPEC, infer, begin, restore };

const PARTS: &[&str] = &["year", "month", "day", "day_of_year", "weekday", "hour", "minute"];

static SPEC: Spec = Spec {
    name: "date",
    aliases: &["datetime"],
    peers: Peers::NONE,
    doc: "A day or a moment: the year as a number, what comes round as sine and cosine.",
    params: &[
        Param::optional(
            "format",
            Kind::Text,
            "how it is written, as in strptime: \"%d.%m.%Y %H:%M\"; without it, found in the training split",
        ),
        Param::optional(
            "parts",
            Kind::List { of: &Kind::Choice(PARTS), min_len: 1, max_len: 7 },
            "what the network sees; without it: year, month, day, weekday and hour, as far as they vary",
        ),
        missing::DATES,
        missing::FLAG,
        NUMBER_NA,
    ],
};

fn infer(column: &Column) -> Option<Guess> {
    let (words, cells) = (Words::of_numbers(), &column.cells);
    if matches!(cells, Cells::Numbers(_) | Cells::Arrays(..)) && !called_date(&column.name) {
        return None;
    }
    let mut formats = civil::formats();
    let mut rows = 0usize;
    for row in 0..cells.len() {
        let Some(text) = words.name(cells.get(row)).ok()? else { continue };
        formats.retain(|format| civil::read(&text, format).is_some());
        if formats.is_empty() {
            return None;
        }
        rows += 1;
    }
    let format = formats.first().filter(|_| rows > 0)?;
    // A bare number may be anything.
    let bare = ["%Y", "%s", "%Y%m%d"].contains(&&format[..]);
    (!bare || called_date(&column.name)).then(|| Guess {
        confidence: 0.8,
        reason: format!("all {rows} values are dates written as {format}"),
    })
}

fn called_date(name: &str) -> bool {
    let name = name.to_lowercase();
    ["date", "time", "year", "day", "timestamp"].iter().any(|word| name.contains(word))
}

/// What is known before the data are seen.
#[derive(Clone, Debug)]
struct Reading {
    words: Words,
    missing: Missing,
}

impl Reading {
    fn text(&self, cell: Cell<'_>) -> Result<Option<String>, Refusal> {
        match self.words.name(cell)? {
            None if self.missing == Missing::Error => {
                Err(Refusal::new("a date (`missing` says what to do without)", cell))
            }
            name => Ok(name.map(|name| name.into_owned())),
        }
    }

    fn leaves_out(&self, cell: Cell<'_>) -> bool {
        self.missing == Missing::Drop && self.words.name(cell) == Ok(None)
    }
}

fn begin(args: &Args, setting: &Setting) -> Result<Box<dyn Fitting>, String> {
    if setting.role == Role::Output {
        return Err("a date is no output; a number, such as the days until then, can be".into());
    }
    let formats = match args.has("format") {
        true => vec![args.text("format").to_string()],
        false => civil::formats(),
    };
    if let Some(problem) = formats.iter().find_map(|format| civil::format_problem(format)) {
        return Err(format!("`format`: {problem}"));
    }
    Ok(Box::new(Fit {
        reading: reading(args, setting),
        formats,
        parts: args.has("parts").then(|| args.texts("parts")),
        flag: args.has("missing_flag").then(|| args.bool("missing_flag")),
        texts: Vec::new(),
        missing: 0,
    }))
}

fn reading(args: &Args, setting: &Setting) -> Reading {
    Reading { words: Words::of(args), missing: Missing::of(args, setting.role) }
}

fn restore(args: &Args, setting: &Setting, state: &Json) -> Result<Arc<dyn Feature>, String> {
    let format = state["format"].as_str().filter(|format| civil::format_problem(format).is_none());
    let number = |key: &str| {
        let number = state["year"][key].as_f64().filter(|number| number.is_finite());
        number.ok_or_else(|| format!("`{key}` is no number"))
    };
    let parts = state["parts"].as_array().ok_or("`parts` is no list")?;
    let parts: Option<Vec<&'static str>> = parts.iter().map(|part| known(part.as_str()?)).collect();
    Ok(Arc::new(Date {
        reading: reading(args, setting),
        format: format.ok_or("`format` is none")?.to_string(),
        parts: parts.filter(|parts| !parts.is_empty()).ok_or("`parts` has an unknown one")?,
        year: (number("subtract")?, number("divide")?),
        flag: state["flag"].as_bool().ok_or("`flag` is neither true nor false")?,
        notes: Vec::new(),
    }))
}

fn known(part: &str) -> Option<&'static str> {
    PARTS.iter().copied().find(|name| *name == part)
}

struct Fit {
    reading: Reading,
    /// Those that all rows so far are written in.
    formats: Vec<String>,
    parts: Option<Vec<String>>,
    flag: Option<bool>,
    texts: Vec<String>,
    missing: usize,
}

impl Fitting for Fit {
    fn leaves_out(&self, cells: &Cells, row: usize) -> bool {
        self.reading.leaves_out(cells.get(row))
    }

    fn observe(&mut self, cells: &Cells, row: usize) -> Result<(), Refusal> {
        let cell = cells.get(row);
        let Some(text) = self.reading.text(cell)? else {
            self.missing += 1;
            return Ok(());
        };
        let fits = |format: &String| civil::read(&text, format).is_some();
        if !self.formats.iter().any(fits) {
            let before = match &self.formats[..] {
                [format, ..] if !self.texts.is_empty() => {
                    format!("a date written as {format}, like the rows before")
                }
                [format] => format!("a date written as {format}"),
                _ => "a date (`format` says how it is written)".into(),
            };
            return Err(Refusal::new(before, cell));
        }
        self.formats.retain(fits);
        self.texts.push(text);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Feature>, String> {
        if self.texts.is_empty() {
            return Err("no date in the training split".into());
        }
        let format = self.formats[0].clone();
        let mut notes = Vec::new();
        if let Some(other) = self.formats.get(1) {
            notes.push(format!("read as {format}; {other} would fit too: `format` decides"));
        }
        let moments: Vec<Civil> = self
            .texts
            .iter()
            .filter_map(|text| civil::read(text, &format).map(Moment::civil))
            .collect();
        let parts = match self.parts {
            Some(parts) => parts.iter().filter_map(|part| known(part)).collect(),
            None => varying(&moments),
        };
        if parts.is_empty() {
            return Err("every date of the training split is the same".into());
        }
        let (mean, deviation) = self::moments(moments.iter().map(|civil| civil.year as f64));
        Ok(Arc::new(Date {
            flag: self.reading.missing.fills() && self.flag.unwrap_or(self.missing > 0),
            reading: self.reading,
            format,
            parts,
            year: (mean, if deviation > 0.0 { deviation } else { 1.0 }),
            notes,
        }))
    }
}

/// The parts that tell the dates apart.
fn varying(moments: &[Civil]) -> Vec<&'static str> {
    let differs = |part: &&str| {
        let number = |civil: &Civil| match *part {
            "year" => civil.year,
            _ => turn(part, civil).0 as i64,
        };
        moments.iter().any(|civil| number(civil) != number(&moments[0]))
    };
    ["year", "month", "day", "weekday", "hour"].into_iter().filter(differs).collect()
}

/// Where something that comes round stands, from 0, and after how many it begins again.
fn turn(part: &str, civil: &Civil) -> (f64, f64) {
    let second = f64::from(civil.second);
    match part {
        "month" => (f64::from(civil.month - 1), 12.0),
        "day" => (f64::from(civil.day - 1), 31.0),
        "day_of_year" => (f64::from(civil.day_of_year - 1), 365.25),
        "weekday" => (f64::from(civil.weekday), 7.0),
        "hour" => (second / 3600.0, 24.0),
        _ => (second / 60.0 % 60.0, 60.0),
    }
}

/// A date on its way to the network.
#[derive(Clone, Debug)]
struct Date {
    reading: Reading,
    format: String,
    parts: Vec<&'static str>,
    /// Mean and deviation of the years.
    year: (f64, f64),
    /// Whether a last value says that there is none.
    flag: bool,
    notes: Vec<String>,
}

impl Date {
    fn moment(&self, cell: Cell<'_>) -> Result<Option<Moment>, Refusal> {
        let Some(text) = self.reading.text(cell)? else { return Ok(None) };
        let refusal = || Refusal::new(format!("a date written as {}", self.format), cell);
        civil::read(&text, &self.format).map(Some).ok_or_else(refusal)
    }
}

impl Feature for Date {
    fn stored(&self) -> (Vec<usize>, Element) {
        let values = self.parts.iter().map(|part| if *part == "year" { 1 } else { 2 });
        (vec![values.sum::<usize>() + usize::from(self.flag)], Element::F32)
    }

    fn leaves_out(&self, cells: &Cells, row: usize) -> bool {
        self.reading.leaves_out(cells.get(row))
    }

    fn store(&self, cells: &Cells, row: usize, mut out: Slice<'_>) -> Result<(), Refusal> {
        let found = self.moment(cells.get(row))?;
        let moment = found.or_else(|| match self.reading.missing {
            Missing::Ffill => above(cells, row, |cell| self.moment(cell).ok().flatten()),
            _ => None,
        });
        let out = out.f32();
        // Without a date: the mean year, and the middle of every circle.
        out.fill(0.0);
        if self.flag {
            out[out.len() - 1] = f32::from(u8::from(found.is_none()));
        }
        let Some(civil) = moment.map(Moment::civil) else { return Ok(()) };
        let mut at = 0;
        for part in &self.parts {
            if *part == "year" {
                out[at] = ((civil.year as f64 - self.year.0) / self.year.1) as f32;
                at += 1;
                continue;
            }
            let (place, of) = turn(part, &civil);
            let (sin, cos) = (TAU * place / of).sin_cos();
            (out[at], out[at + 1]) = (sin as f32, cos as f32);
            at += 2;
        }
        Ok(())
    }

    fn meaning(&self) -> Meaning {
        Meaning::Numbers
    }

    fn state(&self) -> Json {
        json!({
            "format": self.format,
            "parts": self.parts,
            "year": { "subtract": self.year.0, "divide": self.year.1 },
            "flag": self.flag,
        })
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fit, fit_error, stored, texts};
    use super::*;
    use crate::Values;

    fn values(feature: &dyn Feature, text: &str) -> Vec<f32> {
        match stored(feature, &texts(&[text]), 0).unwrap() {
            Values::F32(values) => values,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_varies_is_seen() {
        let seen = texts(&["2023-01-01", "2025-01-02"]);
        let feature = fit("date", &[], Role::Input, &seen);
        assert_eq!(feature.state()["parts"], json!(["year", "day", "weekday"]));
        let found = values(&*feature, "2025-01-01");
        let angle = 2.0 * std::f32::consts::TAU / 7.0;
        let expected = [1.0, 0.0, 1.0, angle.sin(), angle.cos()];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        let feature =
            fit("date", &[("parts", "[hour]")], Role::Input, &texts(&["2024-01-01 06:00"]));
        assert!((values(&*feature, "2024-05-05 18:00")[0] + 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_format_is_found_in_all_rows() {
        let feature = fit("date", &[], Role::Input, &texts(&["01/02/2024", "25/02/2024"]));
        assert_eq!(feature.state()["format"], json!("%d/%m/%Y"));
        let feature = fit("date", &[], Role::Input, &texts(&["01/02/2024", "05/06/2024"]));
        assert!(feature.notes()[0].contains("%d/%m/%Y would fit too"), "{:?}", feature.notes());
        let feature = fit("date", &[], Role::Input, &texts(&["1700000000", "1700086400"]));
        assert_eq!(feature.state()["format"], json!("%s"));
        let error = fit_error("date", &[], Role::Input, &texts(&["2024-01-01", "1.1.2024"]));
        assert!(error.contains("row 1") && error.contains("like the rows before"), "{error}");
        let error = fit_error("date", &[("format", "%d %Q")], Role::Input, &texts(&["1"]));
        assert!(error.contains("%Q"), "{error}");
        assert!(fit_error("date", &[], Role::Input, &texts(&["2024-01-01"])).contains("the same"));
        assert!(
            fit_error("date", &[], Role::Output, &texts(&["2024-01-01"])).contains("no output")
        );
    }

    #[test]
    fn missing_dates_are_flagged() {
        let seen = texts(&["2023-01-01", "", "2023-02-01"]);
        let feature = fit("date", &[], Role::Input, &seen);
        assert_eq!(stored(&*feature, &seen, 1).unwrap(), vec![0.0f32, 0.0, 0.0, 0.0, 1.0].into());
        let feature = fit("date", &[("missing", "ffill")], Role::Input, &seen);
        let Values::F32(found) = stored(&*feature, &seen, 1).unwrap() else { panic!() };
        assert_eq!((found[1], found[4]), (1.0, 1.0));
        let feature = fit("date", &[("missing", "drop")], Role::Input, &seen);
        assert!(feature.leaves_out(&seen, 1));
    }
}
