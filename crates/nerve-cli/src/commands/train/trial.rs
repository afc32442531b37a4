//! `nerve train --fast-dev-run` and `--overfit N`: a small training before the real one.

use super::{How, Training, create, settings, train_failure};
use crate::args::Train;
use crate::commands::{Loaded, load};
use crate::failure::Failure;
use crate::output::complain;
use nerve_recipe::source::escape;
use nerve_recipe::{Recipe, Session, Trial};
use nerve_track::{EVENTS, Reader, RunFolder, What};
use std::path::PathBuf;

/// Batches of each part in a fast run.
const BATCHES: usize = 3;
/// Steps that learning by heart gets at least.
const STEPS: usize = 500;
/// What is left of the loss where examples were learned by heart.
const LEARNED: f64 = 0.05;

/// A folder that goes when it is done with.
struct Away(PathBuf);

impl Drop for Away {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs everything for a few batches, in a folder that is removed.
pub fn fast(args: &Train, how: &How, name: &str) -> Result<(), Failure> {
    let recipe = with(args, "trainer.epochs=1".into())?;
    let session = few(Session::new(&recipe)?, Trial::Batches(BATCHES))?;
    let temporary = std::env::temp_dir().join(format!("nerve-fast-{}", std::process::id()));
    let away = Away(temporary);
    let folder = create(&away.0, name, &session, how.threads)?;
    let lock = folder.lock()?;
    let batch = session.recipe.trainer.usize("batch_size");
    Training { session, folder, lock, from: None, notes: Vec::new() }.run(how)?;
    drop(away);
    complain(&format!(
        "all of it works: {BATCHES} batches of {batch} to learn from, to watch and to judge, a checkpoint, a \
         model; nothing is kept. The scores mean nothing"
    ));
    Ok(())
}

/// Trains on a few examples, and says whether they were learned by heart.
pub fn overfit(
    args: &Train,
    how: &How,
    recipe: &Recipe,
    (name, count): (&str, usize),
) -> Result<(), Failure> {
    let batches = count.div_ceil(recipe.trainer.usize("batch_size")).max(1);
    let epochs = recipe.trainer.usize("epochs").max(STEPS.div_ceil(batches));
    let recipe = with(args, format!("trainer.epochs={epochs}"))?;
    let session = few(Session::new(&recipe)?, Trial::Overfit(count))?;
    let count = session.data.train.len();
    let before = session.watched().map_err(|error| train_failure(&error))?;
    let folder = create(&args.runs, &format!("{name}-overfit"), &session, how.threads)?;
    let lock = folder.lock()?;
    let kept = folder.clone();
    let notes = vec![format!(
        "{count} examples for at least {STEPS} steps, to learn from and to watch; no augmentation, no early stop"
    )];
    Training { session, folder, lock, from: None, notes }.run(how)?;
    let after = last_loss(&kept);
    if after <= LEARNED * before.abs() {
        complain(&format!(
            "it can learn: the loss of {count} examples went from {before:.4} to {after:.4}"
        ));
        return Ok(());
    }
    Err(Failure::Gate(format!(
        "the loss of {count} examples went from {before:.4} to {after:.4}, and not below {:.0} % of it: a \
         network that does not learn a few examples by heart will not learn many. Look at the learning rate \
         (nerve lr-find), the size of the network, dropout and weight decay, and whether the inputs tell the \
         target at all",
        100.0 * LEARNED
    )))
}

/// The recipe with one more setting.
fn with(args: &Train, setting: String) -> Result<Recipe, Failure> {
    let mut overrides = settings(args);
    overrides.push(setting.into());
    let Loaded { recipe, .. } = load(&args.recipe, &overrides)?;
    Ok(recipe)
}

fn few(session: Session, trial: Trial) -> Result<Session, Failure> {
    session.trial(trial).map_err(|error| Failure::Usage(escape(&error.to_string())))
}

/// The loss of the last epoch on the examples that watch, by the run's own record.
fn last_loss(folder: &RunFolder) -> f64 {
    let events = Reader::new(folder.file(EVENTS)).events().unwrap_or_default();
    let mut losses = events.into_iter().filter_map(|event| match event.what {
        What::Epoch { scores, .. } => scores.get("val_loss").map(|loss| loss.0),
        _ => None,
    });
    losses.next_back().unwrap_or(f64::NAN)
}
