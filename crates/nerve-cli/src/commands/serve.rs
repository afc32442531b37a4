//! `nerve serve`: trained networks answer requests over HTTP.

use crate::args::Serve;
use crate::commands::set_threads;
use crate::failure::Failure;
use crate::output::{self, complain};
use crate::signals::Signals;
use nerve_recipe::source::escape;
use nerve_serve::{
    Batching, BindError, Limits, Log, Options, Repository, Server, Source, Sources, Tls, Token,
    Watching,
};
use nerve_track::RunFolder;
use serde_json::json;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often models that changed are looked for.
const LOOK: Duration = Duration::from_secs(2);

pub fn run(args: &Serve) -> Result<(), Failure> {
    set_threads(&args.common)?;
    let tls = tls(args)?;
    let options = Options { tls: tls.clone(), ..options(args)? };
    let sources = sources(args)?;
    let batching = Batching {
        most_rows: args.max_batch as usize,
        delay: args.max_delay,
        queue: args.queue as usize,
        exact: args.exact,
    };
    let watching = Watching { window: args.drift_window as usize, threshold: args.drift_threshold };
    let repository = Repository::new(sources, batching, complain);
    let repository = Arc::new(repository.watching((!args.no_drift).then_some(watching)));
    // The address first: a server that cannot listen need not load anything.
    let log = log(args.log.as_deref())?;
    let server = Server::bind(repository.clone(), options, log).map_err(refused)?;
    let bad = repository
        .look()
        .map_err(|error| Failure::Data(format!("the folder of models: {error}")))?;
    match bad.is_empty() || args.keep_going {
        true => bad.iter().for_each(|text| complain(text)),
        false => return Err(Failure::Data(bad.join("\n"))),
    }
    if repository.index().is_empty() {
        return Err(Failure::Data("there are no models".to_string()));
    }
    let signals = Signals::catch()
        .map_err(|error| Failure::Runtime(format!("cannot catch signals: {error}")))?;
    announce(&server, &repository, tls.is_some(), args.common.json)?;
    let look_now =
        surviving().map_err(|error| Failure::Runtime(format!("cannot catch signals: {error}")))?;
    watch(&repository, args.reload, look_now, tls);
    let drained = server.run(|| signals.stop.load(Ordering::SeqCst));
    match drained.map_err(|error| Failure::Runtime(format!("the server stopped: {error}")))? {
        true => Ok(()),
        false => Err(Failure::Runtime("not all requests could be answered in time".to_string())),
    }
}

/// From now on SIGHUP sets the flag, and SIGUSR1, which would end the process, does nothing.
fn surviving() -> io::Result<Arc<AtomicBool>> {
    let hung_up = Arc::new(AtomicBool::new(false));
    #[cfg(unix)]
    {
        use signal_hook::consts::{SIGHUP, SIGUSR1};
        signal_hook::flag::register(SIGHUP, hung_up.clone())?;
        signal_hook::flag::register(SIGUSR1, Arc::default())?;
    }
    Ok(hung_up)
}

/// Looks for models that changed: when the flag is set, and now and then if that is wanted. The flag is for the
/// certificate, too.
fn watch(
    repository: &Arc<Repository>,
    regularly: bool,
    now: Arc<AtomicBool>,
    tls: Option<Arc<Tls>>,
) {
    let repository = Arc::downgrade(repository);
    let work = move || {
        let mut last = Instant::now();
        while let Some(repository) = repository.upgrade() {
            let hung_up = now.swap(false, Ordering::SeqCst);
            if let Some(tls) = &tls
                && hung_up
                && let Err(error) = tls.reload()
            {
                complain(&format!("the certificate stays as it was: {error}"));
            }
            if hung_up || (regularly && last.elapsed() >= LOOK) {
                match repository.look() {
                    Ok(refused) => refused.iter().for_each(|text| complain(text)),
                    Err(error) => complain(&format!("the folder of models: {error}")),
                }
                last = Instant::now();
            }
            drop(repository);
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    std::thread::spawn(work);
}

fn announce(
    server: &Server,
    repository: &Repository,
    encrypted: bool,
    json: bool,
) -> Result<(), Failure> {
    let url = format!("{}://{}", if encrypted { "https" } else { "http" }, server.address());
    let names = repository.names();
    match json {
        true => output::json(&json!({ "url": url, "models": names }))?,
        false => output::result(&format!("{url}   {}   Ctrl-C ends it", names.join(", ")))?,
    }
    Ok(())
}

fn refused(error: BindError) -> Failure {
    match error {
        BindError::Open(_) => Failure::Usage(error.to_string()),
        BindError::Address { .. } => Failure::Address(error.to_string()),
    }
}

fn options(args: &Serve) -> Result<Options, Failure> {
    let limits = Limits {
        body: args.max_body as usize,
        connections: args.connections as usize,
        answer_time: args.timeout,
        ..Limits::default()
    };
    Ok(Options {
        address: args.http,
        token: token(args.token_file.as_deref())?,
        open: args.insecure_no_auth,
        hosts: args.allow_host.clone(),
        control: args.control,
        triton_metrics: args.metrics_compat.is_some(),
        limits,
        ..Options::default()
    })
}

/// From a file or the environment: what stands on the command line can be read by everybody on this machine.
fn token(file: Option<&Path>) -> Result<Option<Token>, Failure> {
    let text = match file {
        Some(file) => Some(fs::read_to_string(file).map_err(|error| {
            Failure::Usage(format!("--token-file `{}`: {error}", escape(&file.to_string_lossy())))
        })?),
        None => std::env::var("NERVE_TOKEN").ok(),
    };
    let Some(text) = text else { return Ok(None) };
    let token = Token::new(text.trim());
    token.map(Some).ok_or_else(|| Failure::Usage("the token is empty".to_string()))
}

fn tls(args: &Serve) -> Result<Option<Arc<Tls>>, Failure> {
    let (Some(cert), Some(key)) = (&args.tls_cert, &args.tls_key) else { return Ok(None) };
    let tls = Tls::open(cert, key).map_err(|error| Failure::Usage(format!("TLS: {error}")))?;
    Ok(Some(Arc::new(tls)))
}

fn log(file: Option<&Path>) -> Result<Option<Log>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let log = match file == Path::new("-") {
        true => Log::new(io::stderr()),
        false => OpenOptions::new().create(true).append(true).open(file).and_then(Log::new),
    };
    let refuse =
        |error| Failure::Runtime(format!("the log `{}`: {error}", escape(&file.to_string_lossy())));
    log.map(Some).map_err(refuse)
}

fn sources(args: &Serve) -> Result<Sources, Failure> {
    if let [folder] = &args.models[..]
        && is_repository(Path::new(folder))
    {
        let folder = Some(PathBuf::from(folder));
        return Ok(Sources { folder, external_data: args.external_data, ..Sources::default() });
    }
    let mut files: Vec<Source> = Vec::new();
    for text in &args.models {
        let (name, place) = match text.split_once('=') {
            // A file whose name has such a sign is meant as it is.
            Some((name, place)) if !Path::new(text).exists() => {
                (Some(name.to_string()), Path::new(place))
            }
            _ => (None, Path::new(text)),
        };
        let (known, file) = model(&args.runs, place)?;
        let name = name.unwrap_or(known);
        if name.is_empty() || name.contains('/') {
            return Err(Failure::Usage(format!("`{}` is no name of a model", escape(&name))));
        }
        // The same name again is its next version.
        let version = 1 + files.iter().filter(|source| source.name == name).count() as u64;
        files.push(Source { name, version, file });
    }
    Ok(Sources { files, external_data: args.external_data, folder: None })
}

/// The name and the file of a model: a file, or a run.
fn model(runs: &Path, place: &Path) -> Result<(String, PathBuf), Failure> {
    if !place.is_file() {
        let run = RunFolder::find(runs, place)?;
        return Ok((run.name(), run.model()));
    }
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let folder = place
        .parent()
        .and_then(|folder| folder.file_name())
        .map(|name| name.to_string_lossy().into_owned());
    let name = match stem(place) {
        // The file of a run is called after the run.
        Some(name) if name == "model" => folder.unwrap_or(name),
        Some(name) => name,
        None => "model".to_string(),
    };
    Ok((name, place.to_path_buf()))
}

/// Whether a folder has models in `NAME/VERSION/`.
fn is_repository(folder: &Path) -> bool {
    let sources = Sources { folder: Some(folder.to_path_buf()), ..Sources::default() };
    sources.list().is_ok_and(|models| !models.is_empty())
}
