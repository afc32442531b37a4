//! The curves of a run, out of its events.

use crate::event::{Event, Number, What};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Steps since the training began.
    pub step: u64,
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// The wall clock, in seconds since 1970.
    pub t: f64,
    /// The number.
    pub v: f64,
}

/// A curve: its points in the order of their steps.
pub type Curve = Vec<Point>;

/// All curves of a run by their tags.
///
/// Lines are added as they come. Where a run was continued, what was written of later steps before
/// is taken away again.
#[derive(Clone, Debug, Default)]
pub struct Series {
    curves: BTreeMap<String, Curve>,
}

/// A scalar as it stands in its line, nothing copied.
#[derive(Deserialize)]
struct Scalar<'a> {
    t: f64,
    step: u64,
    epoch: u64,
    #[serde(borrow)]
    tag: Cow<'a, str>,
    v: Number,
}

impl Series {
    /// Adds a line. Gives the event if it is no scalar: it is for others. A line that is no event is
    /// an error.
    ///
    /// # Errors
    /// It is not JSON, or lacks something.
    pub fn line(&mut self, line: &str) -> Result<Option<Event>, serde_json::Error> {
        // Most lines are scalars, and there may be millions: they are not read into an `Event` first.
        if line.contains("\"k\":\"scalar\"")
            && let Ok(Scalar { t, step, epoch, tag, v }) = serde_json::from_str(line)
        {
            self.push(&tag, Point { step, epoch, t, v: v.0 });
            return Ok(None);
        }
        let event: Event = serde_json::from_str(line)?;
        match &event.what {
            What::Scalar { step, epoch, tag, v } => {
                self.push(tag, Point { step: *step, epoch: *epoch, t: event.t, v: v.0 });
                return Ok(None);
            }
            What::Begin { step, .. } => self.rewind(*step),
            _ => {}
        }
        Ok(Some(event))
    }

    /// Adds a point to the end of a curve: for numbers that stand in other events than scalars.
    pub fn push(&mut self, tag: &str, point: Point) {
        match self.curves.get_mut(tag) {
            Some(curve) => curve.push(point),
            None => drop(self.curves.insert(tag.to_string(), vec![point])),
        }
    }

    /// Takes away all points after a step.
    pub fn rewind(&mut self, step: u64) {
        for curve in self.curves.values_mut() {
            curve.truncate(curve.partition_point(|point| point.step <= step));
        }
        self.curves.retain(|_, curve| !curve.is_empty());
    }

    /// The curve of a tag.
    pub fn get(&self, tag: &str) -> Option<&Curve> {
        self.curves.get(tag)
    }

    /// All curves, in the order of their tags.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Curve)> {
        self.curves.iter().map(|(tag, curve)| (tag.as_str(), curve))
    }

    /// How many points there are in all curves.
    pub fn points(&self) -> usize {
        self.curves.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(step: u64, v: f64) -> String {
        let tag = "loss/train".to_string();
        Event { t: step as f64, what: What::Scalar { step, epoch: 1, tag, v: Number(v) } }.line()
    }

    fn begin(step: u64) -> String {
        format!(
            "{{\"t\":0,\"k\":\"begin\",\"format\":1,\"nerve\":\"0\",\"pid\":1,\"epochs\":3,\
             \"steps_per_epoch\":null,\"metrics\":[],\"goal\":null,\"maximize\":false,\"step\":{step}}}"
        )
    }

    #[test]
    fn a_run_that_was_continued_has_each_step_once() {
        let mut series = Series::default();
        for line in [begin(0), scalar(1, 0.9), scalar(2, 0.8), scalar(3, f64::NAN)] {
            series.line(&line).unwrap();
        }
        assert!(series.get("loss/train").unwrap()[2].v.is_nan());
        let event = series.line(&begin(2)).unwrap();
        assert!(matches!(event, Some(Event { what: What::Begin { step: 2, .. }, .. })));
        series.line(&scalar(3, 0.7)).unwrap();
        let curve = series.get("loss/train").unwrap();
        let points: Vec<_> = curve.iter().map(|point| (point.step, point.v)).collect();
        assert_eq!(points, [(1, 0.9), (2, 0.8), (3, 0.7)]);
        assert_eq!(series.points(), 3);
        series.rewind(0);
        assert_eq!(series.iter().count(), 0);
        assert!(series.line("{\"k\":\"scalar\"}").is_err());
    }

    #[test]
    fn a_tag_with_escapes_is_read_too() {
        let mut series = Series::default();
        let tag = "a\"b\n".to_string();
        let what = What::Scalar { step: 1, epoch: 1, tag: tag.clone(), v: Number(1.0) };
        series.line(&Event { t: 0.0, what }.line()).unwrap();
        assert_eq!(series.get(&tag).unwrap().len(), 1);
    }
}
