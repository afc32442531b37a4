//! The events of a run: `events.jsonl`, one JSON object a line, appended and never changed.
//!
//! ```text
//! {"t":1763779200.123,"k":"scalar","step":120,"epoch":1,"tag":"loss/train","v":0.41}
//! ```
//!
//! `t` is the wall clock in seconds since 1970, `k` the kind of event; what else stands in a line
//! depends on the kind. Lines of kinds that a reader does not know are for other readers.
//!
//! A run that was continued has a second [`What::Begin`], which says after which step it goes on:
//! what was written of later steps before it no longer counts.

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// The version of the lines that this version writes.
pub const FORMAT: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it was written: seconds since 1970 by the wall clock, which may jump.
    pub t: f64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "snake_case")]
pub enum What {
    /// A process begins to train. The first line, and once more whenever the run is continued.
    Begin {
        /// [`FORMAT`].
        format: u32,
        /// The version of nerve.
        nerve: String,
        /// The process.
        pid: u32,
        /// How many epochs there are to be.
        epochs: u64,
        /// Steps in an epoch, where that is known.
        steps_per_epoch: Option<u64>,
        /// The names of the scores of an epoch beside the loss.
        metrics: Vec<String>,
        /// The score by which epochs are compared, and whether more of it is better.
        goal: Option<String>,
        /// Whether more of the goal is better.
        maximize: bool,
        /// The step after which it goes on: 0 at the first beginning.
        step: u64,
    },
    /// A number on a curve.
    Scalar {
        /// Steps since the training began.
        step: u64,
        /// The epoch, counted from 1.
        epoch: u64,
        /// Which curve: `loss/train`, `loss/val`, `accuracy/val`, `lr`, `time/step_ms`, `grad_norm`.
        tag: String,
        /// The number.
        v: Number,
    },
    /// An epoch has ended: a row of the history.
    Epoch {
        /// The epoch, counted from 1.
        epoch: u64,
        /// Steps since the training began.
        step: u64,
        /// Seconds of training.
        time_s: f64,
        /// The learning rate of the last step.
        lr: f64,
        /// Loss and metrics by the names of the history: `loss`, `accuracy`, `val_loss`, `val_accuracy`.
        scores: BTreeMap<String, Number>,
        /// Whether it is the best so far.
        best: bool,
    },
    /// How numbers are distributed: weights, gradients, activations.
    Hist {
        /// Steps since the training began.
        step: u64,
        /// The epoch, counted from 1.
        epoch: u64,
        /// Of what: `weights/fc1.weight`, `grads/fc1.weight`, `acts/2.ReLU`.
        tag: String,
        /// The borders of the bins, ascending: one more than counts.
        edges: Vec<f64>,
        /// How many numbers fell into each bin; the last bin includes its right border.
        counts: Vec<u64>,
        /// How many of the numbers were looked at had no finite value.
        #[serde(default)]
        bad: u64,
    },
    /// A picture.
    Image {
        /// Steps since the training began.
        step: u64,
        /// Of what.
        tag: String,
        /// The PNG file, by its path in the run folder.
        file: String,
        /// What is to be said of it.
        #[serde(default)]
        caption: String,
    },
    /// A text.
    Text {
        /// Steps since the training began.
        step: u64,
        /// Of what.
        tag: String,
        /// The text, Markdown.
        text: String,
    },
    /// Which classes are taken for which.
    Confusion {
        /// Steps since the training began.
        step: u64,
        /// Of what: `val/digit`: the part of the data, and the output.
        tag: String,
        /// The classes.
        labels: Vec<String>,
        /// For each true class how often each class was said.
        counts: Vec<Vec<u64>>,
    },
    /// What a layer did in a step of an epoch, to tell its health.
    Layer {
        /// Steps since the training began.
        step: u64,
        /// The epoch, counted from 1.
        epoch: u64,
        /// The layer or parameter.
        tag: String,
        /// Numbers by name: `dead` (share of units that are never active), `update_ratio`
        /// (‖Δw‖ / ‖w‖ of a step), `time_ms`.
        values: BTreeMap<String, Number>,
    },
    /// How busy the machine is.
    System {
        /// Steps since the training began.
        step: u64,
        /// Shares of the processor time by name: `process`, `machine`, from 0 to the number of cores.
        cpu: BTreeMap<String, f64>,
        /// Memory in bytes by name: `rss`, `free`.
        memory: BTreeMap<String, u64>,
        /// The share of the time that the training waited for data, since the last such line.
        data_wait: Number,
    },
    /// The training was saved, so that it can go on from here.
    Checkpoint {
        /// Steps since the training began.
        step: u64,
        /// The epoch that was running, counted from 1.
        epoch: u64,
        /// Its folder, in the run folder.
        folder: String,
        /// How long the training stood still for it, in milliseconds.
        stopped_ms: f64,
        /// How long it took until it was safe on the disk, in milliseconds.
        saved_ms: f64,
    },
    /// Something to know: what a person reads on the terminal beside the progress.
    Note {
        /// `note`, `warning` or `error`.
        level: String,
        /// The text.
        text: String,
    },
    /// The process ends its training. A run without this line after its last beginning was killed, or runs.
    End {
        /// As in the [`State`](crate::State).
        status: crate::Status,
        /// Why.
        reason: String,
        /// Steps since the training began.
        step: u64,
    },
    /// Of a kind that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Event {
    /// What happened now.
    pub fn now(what: What) -> Event {
        let t = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64());
        // To the microsecond: more is noise.
        Event { t: (t * 1e6).round() / 1e6, what }
    }

    /// The line, without its end.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("plain data with text keys")
    }
}

/// A number that may be infinite or none at all, for which JSON has no word: then it is the text
/// `"NaN"`, `"Infinity"` or `"-Infinity"`.
#[derive(Clone, Copy, Debug)]
pub struct Number(pub f64);

impl PartialEq for Number {
    /// As what is written: NaN is NaN.
    fn eq(&self, other: &Number) -> bool {
        self.0 == other.0 || self.0.is_nan() && other.0.is_nan()
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            x if x.is_finite() => to.serialize_f64(x),
            x if x.is_nan() => to.serialize_str("NaN"),
            x if x > 0.0 => to.serialize_str("Infinity"),
            _ => to.serialize_str("-Infinity"),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
            }

            fn visit_f64<E: de::Error>(self, x: f64) -> Result<Number, E> {
                Ok(Number(x))
            }

            fn visit_i64<E: de::Error>(self, x: i64) -> Result<Number, E> {
                Ok(Number(x as f64))
            }

            fn visit_u64<E: de::Error>(self, x: u64) -> Result<Number, E> {
                Ok(Number(x as f64))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                match text {
                    "NaN" => Ok(Number(f64::NAN)),
                    "Infinity" => Ok(Number(f64::INFINITY)),
                    "-Infinity" => Ok(Number(f64::NEG_INFINITY)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        from.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_the_format_says_and_reads_back() {
        let what = What::Scalar { step: 120, epoch: 1, tag: "loss/train".into(), v: Number(0.41) };
        let event = Event { t: 1763779200.123, what };
        let line = event.line();
        assert_eq!(
            line,
            r#"{"t":1763779200.123,"k":"scalar","step":120,"epoch":1,"tag":"loss/train","v":0.41}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }

    #[test]
    fn numbers_that_json_lacks_are_words() {
        for (x, text) in [
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"Infinity\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
            (0.1 + 0.2, "0.30000000000000004"),
            (-0.0, "-0.0"),
        ] {
            assert_eq!(serde_json::to_string(&Number(x)).unwrap(), text);
            assert_eq!(serde_json::from_str::<Number>(text).unwrap(), Number(x));
        }
        assert_eq!(serde_json::from_str::<Number>("3").unwrap(), Number(3.0));
        assert!(serde_json::from_str::<Number>("\"nan\"").is_err());
    }

    #[test]
    fn an_unknown_kind_is_for_other_readers() {
        let event: Event = serde_json::from_str(r#"{"t":1,"k":"hologram","depth":3}"#).unwrap();
        assert_eq!(event.what, What::Unknown);
    }
}
