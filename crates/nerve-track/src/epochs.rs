//! The epochs of a run with their scores.

use crate::event::{Event, What};
use crate::{EVENTS, METRICS, Reader, RunFolder};
use nerve_formats::{ErrorKind, FormatError, Limits};
use std::collections::BTreeMap;

/// An epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: u64,
    /// Steps since the training began.
    pub step: u64,
    /// Seconds of training.
    pub time_s: f64,
    /// The learning rate of its last step.
    pub lr: f64,
    /// Loss and metrics by the names of the history: `loss`, `accuracy`, `val_loss`, `val_accuracy`.
    pub scores: BTreeMap<String, f64>,
    /// Whether it was the best when it ended.
    pub best: bool,
}

/// The epochs of a run: of its events, or of `metrics.csv` where there are none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Epochs {
    /// First to last.
    pub rows: Vec<Epoch>,
}

impl Epochs {
    /// Reads those of a run. One that was continued has each epoch once.
    ///
    /// # Errors
    /// A file cannot be read, or the history is no table of numbers.
    pub fn of(run: &RunFolder) -> Result<Epochs, FormatError> {
        let path = run.file(EVENTS);
        let mut epochs = Epochs::default();
        let read = Reader::new(&path).lines(|line, _| {
            // The many scalars are passed over unread.
            if !line.contains("\"k\":\"scalar\"")
                && let Ok(event) = serde_json::from_str(line)
            {
                epochs.event(event);
            }
        });
        read.map_err(|error| FormatError::io(&path, "cannot read", &error))?;
        if epochs.rows.is_empty() && run.file(METRICS).exists() {
            return history(run);
        }
        Ok(epochs)
    }

    fn event(&mut self, event: Event) {
        match event.what {
            What::Begin { step, .. } => self.rows.retain(|row| row.step <= step),
            What::Epoch { epoch, step, time_s, lr, scores, best } => {
                let scores = scores.into_iter().map(|(name, score)| (name, score.0)).collect();
                self.rows.push(Epoch { epoch, step, time_s, lr, scores, best });
            }
            _ => {}
        }
    }

    /// The best epoch: the last that was better than all before it.
    pub fn best(&self) -> Option<&Epoch> {
        self.rows.iter().rev().find(|row| row.best)
    }

    /// The last epoch.
    pub fn last(&self) -> Option<&Epoch> {
        self.rows.last()
    }

    /// The names of all scores: the loss, the metrics, then those of the validation data.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<&String> = self.rows.iter().flat_map(|row| row.scores.keys()).collect();
        let order = |name: &String| {
            let plain = name.strip_prefix("val_").unwrap_or(name);
            (name.len() != plain.len(), plain != "loss", plain.to_string())
        };
        names.sort_by_cached_key(|name| order(name));
        names.dedup();
        names.into_iter().cloned().collect()
    }
}

/// The history of a run without events, from its CSV file. Which epoch was best it does not say.
fn history(run: &RunFolder) -> Result<Epochs, FormatError> {
    let path = run.file(METRICS);
    let limits = Limits { max_bytes: 64 << 20, ..Limits::default() };
    let mut file = nerve_formats::Reader::open(&path, &limits)?;
    let length = file.remaining().unwrap_or(0);
    let bytes = file.bytes("history", length)?;
    let text = String::from_utf8_lossy(&bytes);
    let wrong = |line: usize, found: &str| {
        let field = format!("line {}", line + 1);
        let expected = "as many numbers as the head has names";
        FormatError::new(ErrorKind::Malformed, &path, field, expected, found)
    };
    let mut lines = text.lines().enumerate();
    let head: Vec<&str> =
        lines.next().map(|(_, head)| head.split(',').collect()).unwrap_or_default();
    let mut rows = Vec::new();
    for (at, line) in lines {
        let cells: Vec<&str> = line.split(',').collect();
        if cells.len() != head.len() {
            return Err(wrong(at, line));
        }
        let mut row = Epoch {
            epoch: 0,
            step: 0,
            time_s: 0.0,
            lr: f64::NAN,
            scores: BTreeMap::new(),
            best: false,
        };
        for (name, cell) in head.iter().zip(cells).filter(|(_, cell)| !cell.is_empty()) {
            let number: f64 = cell.parse().map_err(|_| wrong(at, line))?;
            match *name {
                "epoch" => row.epoch = number as u64,
                "step" => row.step = number as u64,
                "time_s" => row.time_s = number,
                "lr" => row.lr = number,
                name => drop(row.scores.insert(name.to_string(), number)),
            }
        }
        rows.push(row);
    }
    Ok(Epochs { rows })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Number;
    use std::fmt::Write;

    #[test]
    fn epochs_come_from_events_and_a_continued_run_has_each_once() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::create(root.path(), "a", &[]).unwrap();
        assert_eq!(Epochs::of(&run).unwrap(), Epochs::default());
        let epoch = |epoch: u64, loss: f64, best| What::Epoch {
            epoch,
            step: epoch * 10,
            time_s: epoch as f64,
            lr: 0.1,
            scores: [("val_loss".to_string(), Number(loss)), ("loss".to_string(), Number(1.0))]
                .into(),
            best,
        };
        let begin = r#"{"t":0,"k":"begin","format":1,"nerve":"0","pid":1,"epochs":3,"steps_per_epoch":null,"metrics":[],"goal":null,"maximize":false,"step":10}"#;
        let mut text = String::new();
        for what in [epoch(1, 0.5, true), epoch(2, 0.1, true)] {
            writeln!(text, "{}", Event { t: 0.0, what }.line()).unwrap();
        }
        writeln!(text, "{begin}").unwrap();
        for what in [epoch(2, 0.4, true), epoch(3, f64::NAN, false)] {
            writeln!(text, "{}", Event { t: 0.0, what }.line()).unwrap();
        }
        run.write(EVENTS, &text).unwrap();
        let epochs = Epochs::of(&run).unwrap();
        assert_eq!(epochs.rows.iter().map(|row| row.epoch).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(epochs.best().unwrap().scores["val_loss"], 0.4);
        assert!(epochs.last().unwrap().scores["val_loss"].is_nan());
        assert_eq!(epochs.names(), ["loss", "val_loss"]);
    }

    #[test]
    fn a_run_without_events_has_its_history() {
        let root = tempfile::tempdir().unwrap();
        let head = "epoch,step,time_s,lr,loss,accuracy,val_loss,val_accuracy\n";
        let run = RunFolder::create(root.path(), "a", &[]).unwrap();
        run.write(METRICS, &format!("{head}1,10,1.5,0.1,0.5,0.75,,\n")).unwrap();
        let epochs = Epochs::of(&run).unwrap();
        assert_eq!(epochs.names(), ["loss", "accuracy"]);
        assert_eq!((epochs.rows[0].step, epochs.rows[0].time_s), (10, 1.5));
        assert_eq!(epochs.best(), None);
        run.write(METRICS, &format!("{head}1,10\n")).unwrap();
        assert!(Epochs::of(&run).unwrap_err().to_string().contains("line 2"));
        run.write(METRICS, &format!("{head}1,10,1.5,0.1,x,0.75,,\n")).unwrap();
        assert!(Epochs::of(&run).is_err());
    }
}
