//! A run in one line, and the tags that people give it.

use crate::{Alive, ENVIRONMENT, EVENTS, METRICS, MODEL, RunFolder, STATE, State};
use nerve_formats::{ErrorKind, FormatError, Limits, Reader, write_atomic};
use serde::Serialize;
use std::path::PathBuf;

/// The file with the tags of a run.
pub const TAGS: &str = "tags.json";
const MOST_TAGS: usize = 100;
const LONGEST_TAG: usize = 100;

/// A run in one line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overview {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// [`Status::word`](crate::Status::word), or `lost` where the process is gone, or `unknown`.
    pub status: &'static str,
    /// Why it stands so.
    pub reason: String,
    /// When it began first: seconds since 1970.
    pub began: Option<f64>,
    /// Until its last sign of life, in seconds.
    pub seconds: Option<f64>,
    /// The epoch in hand or the last one.
    pub epoch: Option<u64>,
    /// How many there are to be.
    pub epochs: Option<u64>,
    /// Steps since the training began.
    pub step: Option<u64>,
    /// The best epoch.
    pub best_epoch: Option<u64>,
    /// Its score.
    pub best: Option<f64>,
    /// The name of that score.
    pub goal: Option<String>,
    /// Whether there is a model file.
    pub model: bool,
    /// What people call it.
    pub tags: Vec<String>,
}

impl RunFolder {
    /// The run in one line, as it stands `now` (seconds since 1970). What cannot be read is left out:
    /// a run that is damaged is listed too.
    pub fn overview(&self, now: f64) -> Overview {
        let state = State::read(&self.file(STATE)).ok();
        let began = match &state {
            Some(state) => Some(state.began),
            None => self.began(),
        };
        let status = match &state {
            Some(state) if state.alive(now) == Alive::Lost => "lost",
            Some(state) => state.status.word(),
            None => "unknown",
        };
        let best = state.as_ref().and_then(|state| state.best);
        let state = state.as_ref();
        Overview {
            name: self.name(),
            path: self.path().to_path_buf(),
            status,
            reason: state.map(|state| state.reason.clone()).unwrap_or_default(),
            began,
            seconds: state.map(|state| (state.heartbeat - state.began).max(0.0)),
            epoch: state.map(|state| state.epoch),
            epochs: state.map(|state| state.epochs),
            step: state.map(|state| state.step),
            best_epoch: best.map(|(epoch, _)| epoch),
            best: best.map(|(_, score)| score),
            goal: state.and_then(|state| state.goal.clone()),
            model: self.file(MODEL).is_file(),
            tags: self.tags().unwrap_or_default(),
        }
    }

    /// When it began, as the environment says.
    fn began(&self) -> Option<f64> {
        self.environment()?.get("began")?.as_f64()
    }

    /// What `env.json` says; `None` where there is none.
    pub fn environment(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.small(ENVIRONMENT).ok()?).ok()
    }

    /// Whether it holds more than a recipe: what a training leaves.
    pub fn was_trained(&self) -> bool {
        [ENVIRONMENT, STATE, EVENTS, METRICS].iter().any(|name| self.file(name).is_file())
    }

    fn small(&self, name: &str) -> Result<Vec<u8>, FormatError> {
        let limits = Limits { max_bytes: 1 << 20, ..Limits::default() };
        let mut file = Reader::open(self.file(name), &limits)?;
        let length = file.remaining().unwrap_or(0);
        file.bytes("file", length)
    }

    /// Its tags, in their order.
    ///
    /// # Errors
    /// The file is there and holds no tags.
    pub fn tags(&self) -> Result<Vec<String>, FormatError> {
        if !self.file(TAGS).exists() {
            return Ok(Vec::new());
        }
        let wrong = |found: String| {
            let expected = "a list of texts";
            FormatError::new(ErrorKind::Malformed, self.file(TAGS), "tags", expected, found)
        };
        let tags: Vec<String> =
            serde_json::from_slice(&self.small(TAGS)?).map_err(|error| wrong(error.to_string()))?;
        check_tags(&tags).map_err(wrong)?;
        Ok(tags)
    }

    /// Gives it these tags in place of those that it had.
    ///
    /// # Errors
    /// A tag is empty, longer than 100 characters or holds such as cannot be shown; there are more
    /// than 100; or the file cannot be written.
    pub fn set_tags(&self, tags: &[String]) -> Result<(), FormatError> {
        check_tags(tags).map_err(|found| {
            let expected = "up to 100 tags, each of 1 to 100 characters that can be shown";
            FormatError::new(ErrorKind::Malformed, self.file(TAGS), "tags", expected, found)
        })?;
        let text = serde_json::to_string(tags).expect("texts") + "\n";
        write_atomic(self.file(TAGS), |file| file.write_all(text.as_bytes()))
    }
}

fn check_tags(tags: &[String]) -> Result<(), String> {
    if tags.len() > MOST_TAGS {
        return Err(format!("{} tags", tags.len()));
    }
    let bad = |tag: &&String| {
        tag.trim().is_empty()
            || tag.chars().count() > LONGEST_TAG
            || tag.chars().any(char::is_control)
    };
    tags.iter().find(bad).map_or(Ok(()), |tag| Err(format!("the tag `{tag}`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RESOLVED, Status};

    #[test]
    fn a_run_is_told_however_little_is_known_of_it() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::create(root.path(), "a", &[(RESOLVED, "")]).unwrap();
        assert!(!run.was_trained());
        let bare = run.overview(0.0);
        assert_eq!((bare.name.as_str(), bare.status, bare.began), ("a", "unknown", None));
        run.write(ENVIRONMENT, "{\"began\": 100}").unwrap();
        assert_eq!(run.overview(0.0).began, Some(100.0));
        assert!(run.was_trained());
        let state = State {
            status: Status::Running,
            reason: String::new(),
            pid: 7,
            heartbeat: 120.0,
            began: 90.0,
            epoch: 2,
            epochs: 5,
            step: 31,
            best: Some((1, 0.25)),
            goal: Some("val_loss".into()),
            exit_code: None,
        };
        state.write(&run.file(STATE)).unwrap();
        let running = run.overview(121.0);
        assert_eq!((running.status, running.seconds), ("running", Some(30.0)));
        assert_eq!((running.best_epoch, running.best), (Some(1), Some(0.25)));
        assert_eq!(run.overview(130.0).status, "lost");
    }

    #[test]
    fn tags_are_kept_and_checked() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::create(root.path(), "a", &[]).unwrap();
        assert_eq!(run.tags().unwrap(), Vec::<String>::new());
        let tags = ["baseline".to_string(), "größer".to_string()];
        run.set_tags(&tags).unwrap();
        assert_eq!(run.tags().unwrap(), tags);
        for bad in [String::new(), "a\u{1b}[31m".into(), "x".repeat(101)] {
            assert!(run.set_tags(&[bad]).is_err());
        }
        assert_eq!(run.tags().unwrap(), tags);
        std::fs::write(run.file(TAGS), "{\"a\": 1}").unwrap();
        assert!(run.tags().unwrap_err().to_string().contains("a list of texts"));
    }
}
