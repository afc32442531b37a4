//! Trials: a training on little of the data, before the real one.

use crate::data::{Part, Rows};
use crate::session::Session;
use nerve_data::{DataError, Subset};
use std::sync::Arc;

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// So many batches of each part: whether everything works.
    Batches(usize),
    /// So many examples, which should be learned by heart: they also watch the training, and none
    /// are left for a test. They are not augmented, mixed or drawn by class, and nothing ends the
    /// training early.
    Overfit(usize),
}

impl Session {
    /// How many examples are to be learned by heart, if that is tried.
    pub fn overfit(&self) -> Option<usize> {
        match self.trial {
            Some(Trial::Overfit(count)) => Some(count),
            _ => None,
        }
    }

    /// The same training on little of its data.
    ///
    /// # Errors
    /// The data are read from their files in each epoch, where no examples can be picked.
    pub fn trial(mut self, trial: Trial) -> Result<Session, DataError> {
        let batch = self.recipe.trainer.usize("batch_size");
        let data = &mut self.data;
        match trial {
            Trial::Batches(count) => {
                let most = batch.saturating_mul(count);
                data.train = few(&data.train, most)?;
                for part in [&mut data.validation, &mut data.test].into_iter().flatten() {
                    *part = few(part, most)?;
                }
            }
            Trial::Overfit(count) => {
                data.train = few(&data.train, count)?;
                data.validation = Some(data.train.clone());
                data.test = None;
            }
        }
        self.trial = Some(trial);
        Ok(self)
    }
}

/// At most so many examples, spread evenly: files are often sorted by class.
fn few(part: &Part, most: usize) -> Result<Part, DataError> {
    let Part::Kept { dataset, rows } = part else {
        return Err(DataError::Option {
            option: "stream",
            expected: "stream = false, so that a few examples can be picked".into(),
            found: "stream = true".into(),
        });
    };
    let total = dataset.len();
    let count = most.clamp(1, total.max(1)).min(total);
    let picked: Vec<usize> = (0..count).map(|i| i * total / count).collect();
    let rows = Rows {
        table: rows.table.clone(),
        rows: picked.iter().filter_map(|&i| rows.rows.get(i).copied()).collect(),
    };
    let dataset = Subset::new(dataset.clone(), picked)?;
    Ok(Part::Kept { dataset: Arc::new(dataset), rows })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;
    use crate::{Recipe, Report};
    use nerve_track::{EventLog, Reader, What};

    /// Rings: the class is whether a point is far from the middle, and the file is sorted by it.
    fn recipe(folder: &std::path::Path, log: &str) -> Result<Recipe, Report> {
        let mut rows = String::from("x,y,ring\n");
        for i in 0..400 {
            let (angle, radius) = (i as f32 * 0.7, if i < 200 { 0.5 } else { 1.5 });
            let (x, y) = (radius * angle.cos(), radius * angle.sin());
            rows.push_str(&format!("{x:.4},{y:.4},{}\n", ["near", "far"][i / 200]));
        }
        std::fs::write(folder.join("rings.csv"), rows).unwrap();
        let text = format!(
            "seed = 3\n[data]\npath = \"rings.csv\"\n[[input]]\nname = [\"x\", \"y\"]\ntype = \"number\"\n\
             [[output]]\nname = \"ring\"\ntype = \"category\"\n\
             [model]\ncombiner = {{ type = \"concat\", hidden = [16, 16] }}\n\
             [trainer]\nepochs = 40\nbatch_size = 16\noptimizer = {{ type = \"adam\", lr = 0.02 }}\n\
             early_stop = {{ patience = 1 }}\n[log]\nhistograms = \"{log}\"\n"
        );
        let mut source = Source::new("r.toml", text);
        source.folder = folder.to_path_buf();
        Recipe::load(source, &[])
    }

    #[test]
    fn a_few_examples_are_learned_by_heart() {
        let folder = tempfile::tempdir().unwrap();
        let session = Session::new(&recipe(folder.path(), "none").unwrap()).unwrap();
        let session = session.trial(Trial::Overfit(20)).unwrap();
        assert_eq!(session.data.examples(), [20, 20, 0]);
        let before = session.watched().unwrap();
        let fit = session.fit(Arc::default(), None, &mut []).unwrap();
        let row = fit.history.last().unwrap();
        assert_eq!((row.epoch, row.step), (40, 80), "nothing stops it early");
        assert!(row.val_loss.unwrap() < 0.2 * before, "{before} {:?}", row.val_loss);
        assert!((session.watched().unwrap() - row.val_loss.unwrap()).abs() < 1e-9);
    }

    #[test]
    fn a_few_batches_of_each_part() {
        let folder = tempfile::tempdir().unwrap();
        let session = Session::new(&recipe(folder.path(), "none").unwrap()).unwrap();
        let all = session.data.examples();
        let session = session.trial(Trial::Batches(2)).unwrap();
        assert_eq!(session.data.examples(), [32, 32.min(all[1]), 32.min(all[2])]);
    }

    #[test]
    fn health_is_written_down_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let train = |depth: &str| {
            let session = Session::new(&recipe(folder.path(), depth).unwrap()).unwrap();
            let session = session.trial(Trial::Overfit(40)).unwrap();
            let path = folder.path().join(format!("{depth}.jsonl"));
            let log = EventLog::open(&path).unwrap();
            session.fit_logged(Arc::default(), None, &mut [], Some(log.clone())).unwrap();
            log.flush(false).unwrap();
            let events = Reader::new(&path).events().unwrap();
            let tags: Vec<String> = events
                .into_iter()
                .filter_map(|event| match event.what {
                    What::Hist { tag, .. } | What::Layer { tag, .. } => Some(tag),
                    _ => None,
                })
                .collect();
            let vars = session.network.params.vars();
            (vars.iter().map(|var| var.to_vec::<f32>()).collect::<Vec<_>>(), tags)
        };
        let [none, weights, all] = ["none", "weights", "all"].map(train);
        assert_eq!((&none.0, &none.0), (&weights.0, &all.0), "the same bits");
        let has = |tags: &[String], word: &str| tags.iter().any(|tag| tag.starts_with(word));
        assert!(none.1.is_empty() && !has(&weights.1, "acts/"));
        for tag in ["weights/", "combiner."] {
            assert!(has(&weights.1, tag) && has(&all.1, tag), "{tag}: {:?}", weights.1);
        }
        assert!(has(&all.1, "acts/") && has(&all.1, "grads/"), "{:?}", all.1);
    }
}
