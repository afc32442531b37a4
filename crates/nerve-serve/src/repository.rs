//! The models that are served: their names, their versions, and how they come and go.

use crate::batch::Batching;
use crate::drift::Watching;
use crate::loaded::Loaded;
use crate::refusal::{Refusal, shown};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

/// A model file with the name and the version under which it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The name.
    pub name: String,
    /// The version, from 1.
    pub version: u64,
    /// The file.
    pub file: PathBuf,
}

/// Where models come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Files that were named.
    pub files: Vec<Source>,
    /// A folder of `NAME/VERSION/model.safetensors` or `model.onnx`, as Triton has it.
    pub folder: Option<PathBuf>,
    /// Whether ONNX files may have their weights in files beside them.
    pub external_data: bool,
}

impl Sources {
    /// All files that there are now. Names that begin with a dot or with `tmp-` are left out, and so is what has no number
    /// as its version.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> Result<Vec<Source>, std::io::Error> {
        let mut all = self.files.clone();
        let Some(folder) = &self.folder else { return Ok(all) };
        for (name, path) in folders(folder)? {
            for (version, path) in folders(&path).unwrap_or_default() {
                let number = version
                    .parse()
                    .ok()
                    .filter(|&number: &u64| number > 0 && !version.starts_with(['0', '+']));
                if let (Some(version), Some(file)) = (number, model_file(&path)) {
                    all.push(Source { name: name.clone(), version, file });
                }
            }
        }
        Ok(all)
    }
}

fn folders(path: &Path) -> Result<Vec<(String, PathBuf)>, std::io::Error> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(name) =
            name.filter(|name| !name.starts_with('.') && !name.starts_with("tmp-") && path.is_dir())
        {
            all.push((name.to_string(), path));
        }
    }
    all.sort();
    Ok(all)
}

/// `model.safetensors`, `model.onnx`, or the only file of these two kinds.
fn model_file(folder: &Path) -> Option<PathBuf> {
    let usual = ["model.safetensors", "model.onnx"].map(|name| folder.join(name));
    if let Some(usual) = usual.into_iter().find(|file| file.is_file()) {
        return Some(usual);
    }
    let entries = std::fs::read_dir(folder).ok()?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let model = |path: &PathBuf| {
        path.extension().is_some_and(|end| end == "safetensors" || end == "onnx") && path.is_file()
    };
    let mut files = paths.filter(model);
    files.next().filter(|_| files.next().is_none())
}

/// By what a file is known to be another one.
type Mark = (u64, Option<SystemTime>);

fn mark(file: &Path) -> Option<Mark> {
    let about = std::fs::metadata(file).ok()?;
    Some((about.len(), about.modified().ok()))
}

/// A version of a model.
#[derive(Clone)]
struct Version {
    source: Source,
    mark: Option<Mark>,
    /// What answers; `None` if it never could be loaded, or was unloaded.
    served: Option<Loaded>,
    /// Why its file could not be loaded the last time.
    refused: Option<String>,
}

type Models = BTreeMap<String, BTreeMap<u64, Version>>;

/// A line of the repository's index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The name of the model.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// Whether it answers.
    pub ready: bool,
    /// Why not, or why it still answers as before.
    pub reason: String,
}

/// All models. A request holds the version that answers it, so that replacing one lets requests end.
pub struct Repository {
    sources: Sources,
    batching: Batching,
    models: RwLock<Arc<Models>>,
    /// Held while models are loaded: one at a time.
    loading: Mutex<()>,
    log: fn(&str),
    watching: Option<Watching>,
}

/// What a client hears of a model that cannot be loaded; the cause has paths in it and goes to the log.
const REFUSED: &str = "the model file was refused; the log of the server says why";

impl Repository {
    /// Nothing is loaded yet. What is wrong with a model that a request loads is told to `log`.
    pub fn new(sources: Sources, batching: Batching, log: fn(&str)) -> Repository {
        let (models, loading) = (RwLock::default(), Mutex::new(()));
        Repository { sources, batching, models, loading, log, watching: Some(Watching::default()) }
    }

    /// The same, in which the rows of the models are watched in another way, or not at all.
    #[must_use]
    pub fn watching(self, watching: Option<Watching>) -> Repository {
        Repository { watching, ..self }
    }

    /// Compares what the models were asked with what they were trained on, and tells what begins to drift.
    pub(crate) fn look_at_drift(&self) {
        self.served().iter().for_each(|model| drop(self.drift(model)));
    }

    /// What a model was asked beside what it was trained on.
    pub(crate) fn drift(&self, model: &Loaded) -> Option<Arc<nerve_lens::drift::Drift>> {
        let (name, version) = (shown(model.name()), model.version());
        let tell = |text: &str| (self.log)(&format!("{name}, version {version}: {text}"));
        Some(model.drifting()?.drift(tell))
    }

    /// With a model that no file has: it is not looked at again.
    pub fn with(self, served: impl Into<Loaded>) -> Repository {
        let served = served.into();
        let name = served.name().to_string();
        let source = Source { name, version: served.version(), file: PathBuf::new() };
        let version = Version { source, mark: None, served: Some(served), refused: None };
        self.put(version);
        self
    }

    /// How long the oldest request waits for others.
    pub fn delay(&self) -> std::time::Duration {
        self.batching.delay
    }

    fn models(&self) -> Arc<Models> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Models)) {
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = (**models).clone();
        change(&mut changed);
        *models = Arc::new(changed);
    }

    fn put(&self, version: Version) {
        self.change(|models| {
            let versions = models.entry(version.source.name.clone()).or_default();
            versions.insert(version.source.version, version);
        });
    }

    /// Loads what is new or has changed, and lets go of what is not there any more. A file that is refused leaves the
    /// version before it in its place. Gives what was refused, in words.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn look(&self) -> Result<Vec<String>, std::io::Error> {
        let _one = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = self.sources.list()?;
        let mut refused = Vec::new();
        for source in &sources {
            let known = self.known(source);
            let mark = mark(&source.file);
            match known {
                Some(version)
                    if version.mark == mark || (mark.is_none() && version.served.is_some()) => {}
                known => refused.extend(self.load_file(source, mark, known)),
            }
        }
        let folder = self.sources.folder.is_some();
        let gone = |version: &Version| {
            folder && version.source.file != Path::new("") && !sources.contains(&version.source)
        };
        if self.models().values().flatten().any(|(_, version)| gone(version)) {
            self.change(|models| {
                models
                    .values_mut()
                    .for_each(|versions| versions.retain(|_, version| !gone(version)));
                models.retain(|_, versions| !versions.is_empty());
            });
        }
        Ok(refused)
    }

    fn known(&self, source: &Source) -> Option<Version> {
        let models = self.models();
        models
            .get(&source.name)?
            .get(&source.version)
            .filter(|known| known.source == *source)
            .cloned()
    }

    /// Loads a file, and puts it into the place of the version before it if it can be used.
    fn load_file(
        &self,
        source: &Source,
        mark: Option<Mark>,
        known: Option<Version>,
    ) -> Option<String> {
        // A model that makes the compiler panic is refused like any other.
        let Source { name, version, file } = source;
        let open = || {
            let external = self.sources.external_data;
            let opened = Loaded::open(name, *version, file, self.batching, external)?;
            Ok::<_, crate::ServeError>(opened.watching(self.watching))
        };
        let opened = catch_unwind(AssertUnwindSafe(open));
        let opened = match opened {
            Ok(opened) => opened.map_err(|error| error.to_string()),
            Err(_) => Err("the network cannot be compiled".to_string()),
        };
        let (served, refused) = match opened {
            Ok(served) => (Some(served), None),
            Err(error) => (known.and_then(|known| known.served), Some(error)),
        };
        let text = refused.as_ref().map(|error| {
            format!("model `{}` version {}: {error}", shown(&source.name), source.version)
        });
        let refused = refused.map(|_| REFUSED.to_string());
        self.put(Version { source: source.clone(), mark, served, refused });
        text
    }

    /// Loads all versions of a model again.
    ///
    /// # Errors
    /// 404: there are no files of it; 503: one is refused.
    pub fn load(&self, name: &str) -> Result<(), Refusal> {
        let _one = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let sources =
            self.sources.list().map_err(|_| Refusal::busy("the repository cannot be read"))?;
        let own: Vec<&Source> = sources.iter().filter(|source| source.name == name).collect();
        if own.is_empty() {
            return Err(unknown(name));
        }
        let load =
            |source: &&Source| self.load_file(source, mark(&source.file), self.known(source));
        let refused: Vec<String> = own.iter().filter_map(load).collect();
        refused.iter().for_each(|text| (self.log)(text));
        match refused.len() {
            0 => Ok(()),
            _ => Err(Refusal::busy(format!("model `{}`: {REFUSED}", shown(name)))),
        }
    }

    /// Lets go of all versions of a model. Requests that are under way are answered.
    ///
    /// # Errors
    /// 404: there is no such model.
    pub fn unload(&self, name: &str) -> Result<(), Refusal> {
        if !self.models().contains_key(name) {
            return Err(unknown(name));
        }
        self.change(|models| {
            for version in
                models.get_mut(name).into_iter().flat_map(|versions| versions.values_mut())
            {
                (version.served, version.refused) = (None, Some("unloaded".to_string()));
            }
        });
        Ok(())
    }

    /// The version of a model that answers: the one that is named, or the newest.
    ///
    /// # Errors
    /// 404: there is none; 503: it is not ready.
    pub fn find(&self, name: &str, version: Option<&str>) -> Result<Loaded, Refusal> {
        let models = self.models();
        let versions = models.get(name).ok_or_else(|| unknown(name))?;
        let not_ready = || Refusal::busy(format!("model `{}` is not ready", shown(name)));
        let Some(version) = version else {
            let newest = versions.values().rev().find_map(|version| version.served.clone());
            return newest.ok_or_else(not_ready);
        };
        let number =
            version.parse().ok().filter(|_| version.bytes().all(|byte| byte.is_ascii_digit()));
        let known = number.and_then(|number: u64| versions.get(&number)).ok_or_else(|| {
            Refusal::missing(format!("model `{}` has no version `{}`", shown(name), shown(version)))
        })?;
        known.served.clone().ok_or_else(not_ready)
    }

    /// The one model that there is, for requests that name none.
    ///
    /// # Errors
    /// 404: there are several, or none.
    pub fn only(&self) -> Result<Loaded, Refusal> {
        let models = self.models();
        let names: Vec<String> = models.keys().map(|name| shown(name)).collect();
        match &names[..] {
            [_] => self.find(models.keys().next().map_or("", String::as_str), None),
            [] => Err(Refusal::missing("there are no models")),
            _ => Err(Refusal::missing(format!(
                "there are several models: use /predict/NAME with one of {}",
                names.join(", ")
            ))),
        }
    }

    /// The versions of a model.
    pub fn versions(&self, name: &str) -> Vec<u64> {
        let models = self.models();
        let ready =
            |(number, version): (&u64, &Version)| version.served.is_some().then_some(*number);
        models.get(name).map_or(Vec::new(), |versions| versions.iter().filter_map(ready).collect())
    }

    /// The names of the models.
    pub fn names(&self) -> Vec<String> {
        self.models().keys().cloned().collect()
    }

    /// What answers now.
    pub fn served(&self) -> Vec<Loaded> {
        let models = self.models();
        models
            .values()
            .flat_map(BTreeMap::values)
            .filter_map(|version| version.served.clone())
            .collect()
    }

    /// The newest version of each model that answers.
    pub fn newest(&self) -> Vec<Loaded> {
        let models = self.models();
        let newest = |versions: &BTreeMap<u64, Version>| {
            versions.values().rev().find_map(|version| version.served.clone())
        };
        models.values().filter_map(newest).collect()
    }

    /// All versions, with what keeps them from answering.
    pub fn index(&self) -> Vec<Line> {
        let line = |version: &Version| Line {
            name: version.source.name.clone(),
            version: version.source.version,
            ready: version.served.is_some(),
            reason: version.refused.clone().unwrap_or_default(),
        };
        self.models().values().flat_map(BTreeMap::values).map(line).collect()
    }

    /// Whether every model has a version that answers.
    pub fn ready(&self) -> bool {
        let models = self.models();
        !models.is_empty()
            && models
                .values()
                .all(|versions| versions.values().any(|version| version.served.is_some()))
    }
}

fn unknown(name: &str) -> Refusal {
    Refusal::missing(format!("Request for unknown model: '{}' is not found", shown(name)))
}
