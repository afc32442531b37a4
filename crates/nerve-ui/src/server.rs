//! The server of the page: on the loopback, for reading only.

use crate::api::{self, Answer, Refusal, Scalars};
use crate::examples;
use crate::live;
use crate::page::{ASSETS, ICON, INDEX, POLICY, version};
use crate::runs::{Runs, now};
use crate::tuning;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nerve_track::{RunFolder, What};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Pages that can follow runs at the same time.
const LISTENERS: usize = 64;

/// How long a connection may take to say what it wants; also how long one may wait between two requests.
const HEADERS: Duration = Duration::from_secs(20);

/// Why there is no dashboard.
#[derive(Debug, thiserror::Error)]
pub enum UiError {
    /// There is no folder of runs.
    #[error("there is no folder `{0}`; `nerve train` makes one")]
    Folder(String),
    /// The address cannot be had.
    #[error("cannot listen on {address}: {cause}; --port 0 takes any that is free")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// The server cannot go on.
    #[error("the dashboard stopped: {0}")]
    Server(io::Error),
}

/// The dashboard over a folder of runs.
///
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// let dashboard = nerve_ui::Dashboard::open(folder.path(), 0).unwrap();
/// assert!(dashboard.address().ip().is_loopback());
/// ```
#[derive(Debug)]
pub struct Dashboard {
    runs: Runs,
    listener: std::net::TcpListener,
    address: SocketAddr,
}

impl Dashboard {
    /// Listens on the loopback; port 0 is any that is free.
    ///
    /// # Errors
    /// There is no such folder, or the port is in use.
    pub fn open(folder: &std::path::Path, port: u16) -> Result<Dashboard, UiError> {
        if !folder.is_dir() {
            let folder = nerve_formats::escape(&folder.to_string_lossy(), 200);
            return Err(UiError::Folder(folder));
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listen = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            io::Result::Ok((listener, address))
        };
        let (listener, address) = listen().map_err(|cause| UiError::Address { address, cause })?;
        Ok(Dashboard { runs: Runs::new(folder), listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the process ends.
    ///
    /// # Errors
    /// The system takes the socket away.
    pub fn serve(self) -> Result<(), UiError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(UiError::Server)?.block_on(async {
            let listener = TcpListener::from_std(self.listener).map_err(UiError::Server)?;
            accept(listener, router(self.runs), HEADERS).await
        })
    }
}

/// Answers whoever connects. A connection that does not say within `headers` what it wants is closed: else whoever opens
/// many and says nothing keeps the page from others.
async fn accept(listener: TcpListener, router: Router, headers: Duration) -> Result<(), UiError> {
    loop {
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            // The other side has gone already, or there are too many connections: the next may be better.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(headers);
        let connection = http.serve_connection(TokioIo::new(socket), service);
        // What goes wrong with a connection ends that connection.
        tokio::spawn(async move { drop(connection.await) });
    }
}

#[derive(Clone)]
struct Shared {
    runs: Arc<Runs>,
    listeners: Arc<Semaphore>,
}

/// All addresses.
fn router(runs: Runs) -> Router {
    let shared = Shared { runs: Arc::new(runs), listeners: Arc::new(Semaphore::new(LISTENERS)) };
    Router::new()
        .route(
            "/",
            get(async |headers: HeaderMap| fixed(&headers, "text/html; charset=utf-8", INDEX)),
        )
        .route("/icon.svg", get(async |headers: HeaderMap| fixed(&headers, "image/svg+xml", ICON)))
        .route("/assets/{*name}", get(asset))
        .route("/api/runs", get(list))
        .route("/api/runs/{run}/events", get(events))
        .route("/api/runs/{run}/picture", get(picture))
        .route("/api/runs/{run}/{what}", get(about))
        .route("/api/tunings", get(tunings))
        .route("/api/tunings/{name}", get(tuning))
        .fallback(async || refuse(StatusCode::NOT_FOUND, "there is nothing here"))
        .layer(middleware::from_fn(guard))
        .with_state(shared)
}

/// Lets through what is asked of this machine by its own name, and says with every answer what a
/// browser may do with it. A page from elsewhere whose name leads here (DNS rebinding) is refused.
async fn guard(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let mut response = match host.is_some_and(is_local) {
        true => next.run(request).await,
        false => refuse(
            StatusCode::MISDIRECTED_REQUEST,
            "this server answers to 127.0.0.1 and localhost",
        ),
    };
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let own = HeaderValue::from_static("same-origin");
    response.headers_mut().insert("cross-origin-resource-policy", own);
    response
}

/// Whether a `Host` is a name of this machine.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}

fn as_json(value: &Value) -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string())
}

fn refuse(status: StatusCode, text: &str) -> Response {
    (status, as_json(&json!({ "error": text }))).into_response()
}

fn fixed(headers: &HeaderMap, kind: &'static str, text: &'static str) -> Response {
    let version = version(text);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let tag = [(header::ETAG, version.clone())];
    match known.is_some_and(|known| known.split(',').any(|known| known.trim() == version)) {
        true => (StatusCode::NOT_MODIFIED, tag).into_response(),
        false => (tag, [(header::CONTENT_TYPE, kind)], text).into_response(),
    }
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => fixed(&headers, asset.kind, asset.text),
        None => refuse(StatusCode::NOT_FOUND, "there is no such file"),
    }
}

/// Carries out what waits for the disk on another thread.
async fn answer(work: impl FnOnce() -> Answer + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => as_json(&value).into_response(),
        Ok(Err(refusal)) => refused(&refusal),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "the answer failed"),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::Missing(_) => StatusCode::NOT_FOUND,
        Refusal::Wrong(_) => StatusCode::BAD_REQUEST,
        Refusal::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    refuse(status, &refusal.to_string())
}

async fn list(State(shared): State<Shared>) -> Response {
    answer(move || Ok(shared.runs.list(now()))).await
}

async fn tunings(State(shared): State<Shared>) -> Response {
    answer(move || Ok(tuning::list(shared.runs.root()))).await
}

async fn tuning(State(shared): State<Shared>, Path(name): Path<String>) -> Response {
    answer(move || tuning::trials(shared.runs.root(), &name)).await
}

/// What can be asked of a run.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    tag: Option<String>,
    name: String,
}

async fn about(
    State(shared): State<Shared>,
    Path((run, what)): Path<(String, String)>,
    request: Request,
) -> Response {
    let uri = request.uri().clone();
    answer(move || {
        let runs = &shared.runs;
        let run = found(runs, &run)?;
        let asked = || query::<Asked>(&uri);
        match what.as_str() {
            "tags" => api::tags(runs, &run, now()),
            "scalars" => api::scalars(runs, &run, &query::<Scalars>(&uri)?),
            "confusion" => api::confusion(runs, &run, asked()?.tag.as_deref()),
            "histograms" => api::histograms(runs, &run, &asked()?.tag.unwrap_or_default()),
            "layers" => api::layers(runs, &run),
            "recipe" => api::recipe(&run),
            "model" => api::model(&run),
            "evaluation" => api::evaluation(&run),
            "worst" => examples::worst(&run, &query(&uri)?),
            _ => Err(Refusal::Missing("there is nothing here".into())),
        }
    })
    .await
}

fn found(runs: &Runs, name: &str) -> Result<RunFolder, Refusal> {
    runs.find(name).ok_or_else(|| Refusal::Missing("there is no such run".into()))
}

fn query<T: for<'de> Deserialize<'de>>(uri: &axum::http::Uri) -> Result<T, Refusal> {
    let query = Query::try_from_uri(uri).map_err(|error| Refusal::Wrong(error.to_string()))?;
    Ok(query.0)
}

async fn events(
    State(shared): State<Shared>,
    Path(run): Path<String>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Response {
    let Ok(permit) = shared.listeners.clone().try_acquire_owned() else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "too many pages follow runs");
    };
    let runs = shared.runs.clone();
    let Ok(Ok(run)) = tokio::task::spawn_blocking(move || found(&runs, &run)).await else {
        return refuse(StatusCode::NOT_FOUND, "there is no such run");
    };
    // A page that comes back says itself how far it was.
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let stream = live::follow(shared.runs, run, seen.or(from.from).unwrap_or(0), permit);
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    (kind, Body::from_stream(stream)).into_response()
}

#[derive(Debug, Deserialize)]
struct From {
    from: Option<u64>,
}

async fn picture(
    State(shared): State<Shared>,
    Path(run): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let read = move || {
        let run = found(&shared.runs, &run)?;
        let by_event = shared.runs.with(&run, |book| {
            let named =
                |what: &What| matches!(what, What::Image { file, .. } if *file == asked.name);
            book.media.iter().any(|event| named(&event.what))
        })?;
        examples::picture(&run, &asked.name, by_event)
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok((bytes, kind))) => ([(header::CONTENT_TYPE, kind)], bytes).into_response(),
        Ok(Err(refusal)) => refused(&refusal),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "the answer failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    #[test]
    fn who_does_not_say_what_it_wants_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let dashboard = Dashboard::open(folder.path(), 0).unwrap();
        let address = dashboard.address();
        // It ends with the process.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = TcpListener::from_std(dashboard.listener).unwrap();
                accept(listener, router(dashboard.runs), Duration::from_millis(100)).await
            })
        });
        let mut slow = TcpStream::connect(address).unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nHost: 127").unwrap();
        let mut answer = Vec::new();
        slow.read_to_end(&mut answer).unwrap();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{answer:?}");
        let mut quick = TcpStream::connect(address).unwrap();
        quick.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").unwrap();
        quick.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["127.0.0.1", "127.0.0.1:6006", "localhost:1", "[::1]:80", "[::1]"] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:6006",
            "127.0.0.1.evil.example",
            "localhost:x",
            "::1",
            "0.0.0.0",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }
}
