//! The runs of a folder, and how each stands.

use crate::book::{Book, number};
use crate::files;
use nerve_track::{
    Alive, ENVIRONMENT, EVENTS, METRICS, MODEL, RESOLVED, RunFolder, STATE, Setting, State, list,
    settings_in,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers of events that are kept in memory before the runs that were not asked for longest go.
const MOST: usize = 12_000_000;

/// The runs of a folder.
#[derive(Debug)]
pub struct Runs {
    root: PathBuf,
    /// What was read of the small files of a run, and the files that it was read from.
    known: Mutex<HashMap<PathBuf, Known>>,
    books: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    books: HashMap<PathBuf, (u64, Arc<Mutex<Book>>)>,
    clock: u64,
}

#[derive(Clone, Debug)]
struct Known {
    stamps: [Stamp; 2],
    summary: Summary,
}

/// What tells one version of a file from another: its length and when it was written.
type Stamp = Option<(u64, SystemTime)>;

/// What the list shows of a run.
#[derive(Clone, Debug, Default)]
struct Summary {
    state: Option<State>,
    model: bool,
    last: BTreeMap<String, Value>,
    began: Option<f64>,
    command: Value,
    rows: Value,
}

impl Runs {
    /// Of a folder that holds run folders, or that is one.
    pub fn new(root: &Path) -> Runs {
        // Absolute, so that a run that is the current folder has a name too.
        let root = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
        Runs { root, known: Mutex::default(), books: Mutex::default() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All runs by their names.
    pub fn all(&self) -> Vec<RunFolder> {
        match self.root.join(RESOLVED).is_file() {
            true => RunFolder::open(&self.root, &self.root).into_iter().collect(),
            false => list(&self.root),
        }
    }

    /// The run of a name: one of those that are listed.
    pub fn find(&self, name: &str) -> Option<RunFolder> {
        self.all().into_iter().find(|run| run.name() == name)
    }

    /// The list: of each run how it stands, and its last and best scores.
    pub fn list(&self, now: f64) -> Value {
        let runs: Vec<Value> = self.all().iter().map(|run| self.summary(run, now)).collect();
        json!({ "root": self.root.to_string_lossy(), "now": now, "runs": runs })
    }

    /// How a run stands.
    pub fn summary(&self, run: &RunFolder, now: f64) -> Value {
        let stamps = [STATE, METRICS].map(|name| stamp(&run.file(name)));
        let known = locked(&self.known).get(run.path()).cloned();
        let summary = match known.filter(|known| known.stamps == stamps) {
            Some(known) => known.summary,
            None => {
                let summary = read(run);
                let known = Known { stamps, summary: summary.clone() };
                locked(&self.known).insert(run.path().to_path_buf(), known);
                summary
            }
        };
        let bytes = std::fs::metadata(run.file(EVENTS)).map_or(0, |file| file.len());
        summary.json(&run.name(), now, bytes)
    }

    /// Calls `with` with what the events of a run say, the newest included.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn with<T>(&self, run: &RunFolder, with: impl FnOnce(&Book) -> T) -> std::io::Result<T> {
        let book = {
            let mut shelf = locked(&self.books);
            shelf.clock += 1;
            let clock = shelf.clock;
            let make = || (clock, Arc::new(Mutex::new(Book::new(run))));
            let place = shelf.books.entry(run.path().to_path_buf()).or_insert_with(make);
            place.0 = clock;
            place.1.clone()
        };
        let answer = {
            let mut book = book.lock().unwrap_or_else(|poisoned| {
                // Whoever had it was interrupted in the middle of a line: it is read anew.
                book.clear_poison();
                let mut book = poisoned.into_inner();
                *book = Book::new(run);
                book
            });
            book.refresh()?;
            with(&book)
        };
        self.tidy();
        Ok(answer)
    }

    /// Puts away the runs that were not asked for longest, until the rest fits; one always stays.
    fn tidy(&self) {
        let mut shelf = locked(&self.books);
        loop {
            // A book in use is not waited for: it counts next time.
            let weight = |book: &Mutex<Book>| book.try_lock().map_or(0, |book| book.weight());
            let total: usize = shelf.books.values().map(|(_, book)| weight(book)).sum();
            if total <= MOST || shelf.books.len() < 2 {
                return;
            }
            let oldest = shelf.books.iter().min_by_key(|(_, (used, _))| *used);
            let Some(path) = oldest.map(|(path, _)| path.clone()) else { return };
            shelf.books.remove(&path);
        }
    }
}

impl Summary {
    fn json(&self, name: &str, now: f64, bytes: u64) -> Value {
        let state = self.state.as_ref();
        let word = match state.map(|state| (state.alive(now), state.status)) {
            Some((Alive::Lost, _)) => "crashed",
            Some((_, status)) => status.word(),
            None if self.model => "done",
            None => "unknown",
        };
        let best = state.and_then(|state| {
            let (epoch, score) = state.best?;
            Some(json!({ "epoch": epoch, "score": number(score), "goal": state.goal }))
        });
        json!({
            "name": name,
            "status": word,
            "reason": state.map(|state| state.reason.as_str()).unwrap_or_default(),
            "age": state.map(|state| ((now - state.heartbeat).max(0.0) * 10.0).round() / 10.0),
            "heartbeat": state.map(|state| state.heartbeat),
            "began": state.map(|state| state.began).or(self.began),
            "epoch": state.map(|state| state.epoch),
            "epochs": state.map(|state| state.epochs),
            "step": state.map(|state| state.step),
            "exit_code": state.and_then(|state| state.exit_code),
            "best": best,
            "last": self.last,
            "command": self.command,
            "rows": self.rows,
            "bytes": bytes,
        })
    }
}

/// Reads the small files of a run. What is missing or damaged is left out.
fn read(run: &RunFolder) -> Summary {
    let environment = files::json(run, ENVIRONMENT, 1 << 20).ok().flatten().unwrap_or_default();
    let table = files::ends(&run.file(METRICS)).ok().flatten();
    let mut last = BTreeMap::new();
    if let Some((head, row)) = table.filter(|(head, row)| head != row) {
        for (name, cell) in head.split(',').zip(row.split(',')) {
            if let Ok(value) = cell.parse::<f64>() {
                last.insert(name.to_string(), number(value));
            }
        }
    }
    Summary {
        state: State::read(&run.file(STATE)).ok(),
        model: run.file(MODEL).is_file(),
        last,
        began: environment.get("began").and_then(Value::as_f64),
        command: environment.get("command").cloned().unwrap_or_default(),
        rows: environment.get("rows").filter(|rows| rows.is_object()).cloned().unwrap_or_default(),
    }
}

/// The settings of a recipe one by one: `trainer.optimizer.lr` → `0.001`.
pub fn settings(text: &str) -> Result<Map<String, Value>, String> {
    let value = |setting: Setting| match setting {
        // JSON has no infinite numbers.
        Setting::Float(x) if !x.is_finite() => json!(x.to_string()),
        setting => json!(setting),
    };
    Ok(settings_in(text)?.into_iter().map(|(path, setting)| (path, value(setting))).collect())
}

fn stamp(path: &Path) -> Stamp {
    let file = std::fs::metadata(path).ok()?;
    Some((file.len(), file.modified().ok()?))
}

/// The wall clock: seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64())
}

/// A lock whose last owner may have panicked: what it guards is read anew at need.
fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_laid_out_setting_by_setting() {
        let text = "seed = 42\n[trainer]\nlr = 1e-3\nnames = ['a', 'b']\n[[model.layers]]\ntype = 'Dense'\n\
                    units = 10\n[[model.layers]]\ntype = 'ReLU'\n[split]\nby = { column = 'x', at = 1979-05-27 }\n";
        let flat = Value::Object(settings(text).unwrap());
        let expected = json!({
            "seed": 42, "trainer.lr": 0.001, "trainer.names": "[\"a\", \"b\"]",
            "model.layers.0.type": "Dense", "model.layers.0.units": 10, "model.layers.1.type": "ReLU",
            "split.by.column": "x", "split.by.at": "1979-05-27",
        });
        assert_eq!(flat, expected);
        assert!(settings("a = ").is_err());
    }
}
