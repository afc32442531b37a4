//! The history of a training: a row for each epoch.

use crate::callback::{Callback, CallbackError, Control};
use crate::goal::Goal;
use nerve_formats::{FormatError, write_atomic};
use std::path::{Path, PathBuf};

/// One epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// Steps since the training began.
    pub step: u64,
    /// Seconds since the training began, validation included.
    pub time_s: f64,
    /// The learning rate of the last step.
    pub lr: f64,
    /// The mean loss of the epoch, while the network changed.
    pub loss: f64,
    /// The value of each metric, likewise.
    pub metrics: Vec<f64>,
    /// The mean loss over the validation data after the epoch.
    pub val_loss: Option<f64>,
    /// The value of each metric over the validation data; empty without any.
    pub val_metrics: Vec<f64>,
}

/// All epochs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The names of the metrics.
    pub metrics: Vec<String>,
    /// The epochs, first to last.
    pub rows: Vec<Row>,
    /// By what they are compared.
    pub goal: Goal,
}

impl History {
    /// The last epoch.
    pub fn last(&self) -> Option<&Row> {
        self.rows.last()
    }

    /// The best epoch, as the [`Goal`] says: without one that with the lowest loss, over the
    /// validation data where there are any. The first of several.
    pub fn best(&self) -> Option<&Row> {
        let score = |row: &Row| self.goal.score(self, row).unwrap_or(f64::NAN);
        self.rows.iter().reduce(|best, row| match self.goal.better(score(row), score(best)) {
            true => row,
            false => best,
        })
    }

    /// Whether the last epoch is the best so far.
    pub fn last_is_best(&self) -> bool {
        self.last().is_some_and(|last| self.best().is_some_and(|best| best.epoch == last.epoch))
    }

    /// A score of an epoch by its name: `loss`, `accuracy`, `val_loss`, `val_accuracy`.
    pub fn score(&self, row: &Row, name: &str) -> Option<f64> {
        let of = |name: &str, loss: Option<f64>, metrics: &[f64]| match name {
            "loss" => loss,
            _ => metrics.get(self.metrics.iter().position(|metric| metric == name)?).copied(),
        };
        of(name, Some(row.loss), &row.metrics)
            .or_else(|| of(name.strip_prefix("val_")?, row.val_loss, &row.val_metrics))
    }

    /// The names of all scores of the last epoch.
    pub fn scores(&self) -> Vec<String> {
        let own = || std::iter::once("loss").chain(self.metrics.iter().map(String::as_str));
        let validated = self.last().is_some_and(|row| row.val_loss.is_some());
        let validation = own().filter(|_| validated).map(|name| format!("val_{name}"));
        own().map(String::from).chain(validation).collect()
    }

    /// As CSV: `epoch,step,time_s,lr,loss,accuracy,val_loss,val_accuracy`, with a column for each
    /// metric, and empty fields where nothing was measured. Numbers read back as they are.
    pub fn to_csv(&self) -> String {
        let validated = self.rows.iter().any(|row| row.val_loss.is_some());
        let names = |prefix: &'static str| {
            let metrics = self.metrics.iter().map(move |name| format!("{prefix}{name}"));
            std::iter::once(format!("{prefix}loss")).chain(metrics)
        };
        let mut head: Vec<String> = ["epoch", "step", "time_s", "lr"].map(String::from).to_vec();
        head.extend(names(""));
        if validated {
            head.extend(names("val_"));
        }
        let mut csv = head.join(",") + "\n";
        for row in &self.rows {
            let Row { epoch, step, time_s, lr, loss, .. } = row;
            let mut fields = vec![format!("{epoch},{step},{time_s:.3},{lr},{loss}")];
            fields.extend(row.metrics.iter().map(f64::to_string));
            if validated {
                let text = |value: Option<&f64>| value.map(f64::to_string).unwrap_or_default();
                fields.push(text(row.val_loss.as_ref()));
                fields.extend((0..self.metrics.len()).map(|i| text(row.val_metrics.get(i))));
            }
            csv += &(fields.join(",") + "\n");
        }
        csv
    }

    /// Writes [`to_csv`](History::to_csv) to a file, which is whole or as it was before.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn write_csv(&self, path: impl AsRef<Path>) -> Result<(), FormatError> {
        write_atomic(path, |file| file.write_all(self.to_csv().as_bytes()))
    }
}

/// Writes the history to a CSV file after each epoch, so that it is there however a training ends.
#[derive(Clone, Debug)]
pub struct HistoryFile {
    path: PathBuf,
}

impl HistoryFile {
    /// Writes to this file.
    pub fn new(path: impl Into<PathBuf>) -> HistoryFile {
        HistoryFile { path: path.into() }
    }
}

impl Callback for HistoryFile {
    fn on_epoch_end(&mut self, history: &History) -> Result<Control, CallbackError> {
        history.write_csv(&self.path)?;
        Ok(Control::Continue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        let row = |epoch, loss, val_loss: Option<f64>| Row {
            epoch,
            step: 10 * epoch,
            time_s: epoch as f64,
            lr: 0.001,
            loss,
            metrics: vec![0.5],
            val_loss,
            val_metrics: val_loss.map(|loss| vec![1.0 - loss]).unwrap_or_default(),
        };
        History {
            metrics: vec!["accuracy".into()],
            rows: vec![row(1, 0.5, Some(0.25)), row(2, 0.1, Some(0.5)), row(3, 0.2, None)],
            goal: Goal::default(),
        }
    }

    #[test]
    fn a_row_an_epoch() {
        assert_eq!(
            history().to_csv(),
            "epoch,step,time_s,lr,loss,accuracy,val_loss,val_accuracy\n\
             1,10,1.000,0.001,0.5,0.5,0.25,0.75\n\
             2,20,2.000,0.001,0.1,0.5,0.5,0.5\n\
             3,30,3.000,0.001,0.2,0.5,,\n"
        );
        let mut plain = history();
        plain.rows.drain(..2);
        assert_eq!(
            plain.to_csv(),
            "epoch,step,time_s,lr,loss,accuracy\n3,30,3.000,0.001,0.2,0.5\n"
        );
    }

    #[test]
    fn the_best_epoch_is_that_of_the_lowest_validation_loss() {
        let mut history = history();
        assert_eq!(history.best().map(|row| row.epoch), Some(3));
        history.rows[2].val_loss = Some(0.3);
        assert_eq!(history.best().map(|row| row.epoch), Some(1));
        history.rows[0].val_loss = Some(f64::NAN);
        assert_eq!(history.best().map(|row| row.epoch), Some(3));
        history.goal = Goal::new("accuracy");
        assert_eq!(history.best().map(|row| row.epoch), Some(1), "all have 0.5, the first");
        history.rows[1].metrics[0] = 0.6;
        assert_eq!(history.best().map(|row| row.epoch), Some(2));
        assert_eq!(history.score(&history.rows[0], "val_accuracy"), Some(0.75));
        assert_eq!(history.score(&history.rows[0], "val_acc"), None);
        assert_eq!(History::default().best(), None);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.csv");
        HistoryFile::new(&path).on_epoch_end(&history()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), history().to_csv());
        let missing = folder.path().join("no folder").join("history.csv");
        let error = HistoryFile::new(missing).on_epoch_end(&history()).unwrap_err();
        assert!(error.to_string().contains("no folder"), "{error}");
    }
}
