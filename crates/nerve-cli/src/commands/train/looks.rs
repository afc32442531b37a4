//! What the network says of the validation data, row by row, for those who look at the run: now and then
//! while it trains, and once more when it has ended.

use super::shown;
use nerve::train::judge::{self, Bootstrap, Judged};
use nerve::train::{Background, Callback, CallbackError, Control, History};
use nerve_recipe::data::Rows;
use nerve_recipe::{Part, Predictor, Session};
use nerve_track::{EventLog, RunFolder, What};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows of the first look, and of one at most: a look doubles what the one before it took, as long as
/// there was time enough between them.
const FIRST: usize = 256;
const MOST: usize = 2048;
/// Of the time of a training at most one part in so many goes into asking the network; judging and writing
/// are done by the [`Background`], which has a measure of its own.
const SHARE: u32 = 200;
/// Most classes of a matrix that is written down again and again.
const CLASSES: usize = 100;
/// How many rows the resamples behind the intervals have together, after a training.
const RESAMPLED: usize = 3_000_000;
/// The part of the data that is looked at.
const PART: &str = "validation";

/// A callback that judges some of the validation rows after an epoch, if the last time is long enough
/// ago: the confusion matrix goes into the events, the worst rows into `eval/`.
pub struct Looks<'a> {
    session: &'a Session,
    place: PathBuf,
    background: Arc<Background>,
    log: EventLog,
    validation: Rows,
    rows: usize,
    /// When the next look may be.
    next: Instant,
}

impl<'a> Looks<'a> {
    /// `None` where there is nothing to look at: no validation data that are kept in memory.
    pub fn new(
        session: &'a Session,
        folder: &RunFolder,
        background: &Arc<Background>,
        log: EventLog,
    ) -> Option<Looks<'a>> {
        let validation = kept(session, session.data.validation.as_ref())?;
        let (place, background) = (folder.file("eval"), background.clone());
        let next = Instant::now();
        Some(Looks { session, place, background, log, validation, rows: FIRST, next })
    }

    fn look(&self, step: u64) -> Result<(), String> {
        let predictor = self.session.predictor();
        let rows = some(&predictor, &self.validation, self.rows);
        let judged = predictor.judged(PART, &rows, None).map_err(|error| error.to_string())?;
        let (place, log) = (self.place.clone(), self.log.clone());
        self.background.submit("looks", move || {
            let bootstrap = Bootstrap { resamples: 0, ..Bootstrap::default() };
            let options = judge::Options { bootstrap, ..judge::Options::default() };
            keep(&place, &log, (&judged, &options), (step, CLASSES))
        });
        Ok(())
    }
}

impl Callback for Looks<'_> {
    fn on_epoch_end(&mut self, history: &History) -> Result<Control, CallbackError> {
        let began = Instant::now();
        let step = history.last().map_or(0, |row| row.step);
        if began < self.next || self.background.waits("looks") {
            return Ok(Control::Continue);
        }
        if let Err(problem) = self.look(step) {
            let level = "warning".into();
            let text = format!("the validation rows cannot be looked at: {problem}");
            self.log.push(What::Note { level, text });
        }
        let rest = began.elapsed() * SHARE;
        // There was twice the time that was needed.
        if began.saturating_duration_since(self.next) > rest {
            self.rows = (2 * self.rows).min(MOST);
        }
        self.next = began.checked_add(rest).unwrap_or(began + Duration::from_secs(3600));
        Ok(Control::Continue)
    }
}

/// At most so many rows, evenly spread; the first ones where a row needs its neighbours.
fn some(predictor: &Predictor, rows: &Rows, most: usize) -> Rows {
    let apart = if predictor.reaches() { 1 } else { rows.rows.len().div_ceil(most).max(1) };
    let chosen = rows.rows.iter().step_by(apart).take(most).copied().collect();
    Rows { table: rows.table.clone(), rows: chosen }
}

/// The rows of a part, if it is kept in memory. Embeddings name nothing that could be right or wrong.
fn kept(session: &Session, part: Option<&Part>) -> Option<Rows> {
    let rows = part.and_then(Part::rows).cloned();
    rows.filter(|rows| !session.recipe.compares_examples() && !rows.rows.is_empty())
}

/// What the network says at the end of all validation data, or else of the test data. Data that are
/// streamed are not read once more for this.
///
/// # Errors
/// Why it cannot be said.
pub fn last(
    session: &Session,
    folder: &RunFolder,
    log: &EventLog,
    step: u64,
) -> Result<(), String> {
    let validation = kept(session, session.data.validation.as_ref()).map(|rows| (rows, PART));
    let test = || kept(session, session.data.test.as_ref()).map(|rows| (rows, "test"));
    let Some((rows, part)) = validation.or_else(test) else { return Ok(()) };
    let predictor = session.predictor();
    let judged = predictor.judged(part, &rows, session.data.train.rows());
    let judged = judged.map_err(|error| error.to_string())?;
    // Intervals as `nerve evaluate` gives them, as long as they take no more than a moment.
    let all = Bootstrap::default();
    let resamples = all.resamples.min(RESAMPLED / judged.rows.len().max(1));
    let bootstrap = Bootstrap { resamples, ..all };
    let options = judge::Options { bootstrap, ..judge::Options::default() };
    keep(&folder.file("eval"), log, (&judged, &options), (step, usize::MAX))
        .map_err(|problem| format!("{}: {problem}", shown(folder)))
}

/// Judges, writes into the folder, and puts the matrices of at most so many classes into the events.
fn keep(
    place: &Path,
    log: &EventLog,
    (judged, options): (&Judged, &judge::Options),
    (step, most): (u64, usize),
) -> Result<(), String> {
    let verdict = judge::judge(judged, options).map_err(|error| error.to_string())?;
    std::fs::create_dir_all(place).map_err(|error| error.to_string())?;
    judge::files::write(place, judged, &verdict).map_err(|error| error.to_string())?;
    judge::write_examples(place, judged).map_err(|error| error.to_string())?;
    for output in &verdict.outputs {
        let (Some(names), Some(confusion)) = (&output.names, &output.confusion) else { continue };
        if names.len() > most {
            continue;
        }
        let all = 0..names.len();
        let row = |t: usize| all.clone().map(|said| confusion.count(t, said) as u64).collect();
        log.push(What::Confusion {
            step,
            tag: format!("{}/{}", judged.part, output.name),
            labels: names.to_vec(),
            counts: all.clone().map(row).collect(),
        });
    }
    Ok(())
}
