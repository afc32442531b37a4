//! From a request to its answer.
//!
//! The path is compared with names; no file name is made of it.

use crate::describe;
use crate::graph::{Arrays, Graph};
use crate::infer;
use crate::loaded::Loaded;
use crate::model::{Encoded, Served};
use crate::openapi;
use crate::place::{Named, Place, What, steps};
use crate::refusal::Refusal;
use crate::rows::{self, Form};
use crate::server::{Counted, Shared};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use nerve_data::features::Answer;
use serde_json::{Value, json};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

/// What is said to a client.
pub(crate) struct Said {
    status: u16,
    kind: &'static str,
    body: Vec<u8>,
    more: Vec<(HeaderName, HeaderValue)>,
}

impl Said {
    fn new(kind: &'static str, body: impl Into<Vec<u8>>) -> Said {
        Said { status: 200, kind, body: body.into(), more: Vec::new() }
    }

    fn json(value: &Value) -> Said {
        Said::new(JSON, value.to_string())
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Said {
        self.more.push((name, value));
        self
    }

    fn status(self, status: u16) -> Said {
        Said { status, ..self }
    }
}

const JSON: &str = "application/json";
const OCTETS: &str = "application/octet-stream";
const INFERENCE_HEADER: HeaderName = HeaderName::from_static("inference-header-content-length");

impl From<Refusal> for Said {
    fn from(refusal: Refusal) -> Said {
        let said = Said::json(&json!({ "error": refusal.message })).status(refusal.status);
        match refusal.status {
            503 => said.with(header::RETRY_AFTER, HeaderValue::from_static("1")),
            // The rest of such a request is not read.
            408 | 413 => said.with(header::CONNECTION, HeaderValue::from_static("close")),
            401 => said.with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            _ => said,
        }
    }
}

/// Answers a request, whatever happens on the way.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let begun = Instant::now();
    let _active = Counted::new(&shared.active);
    let told = shared
        .log
        .as_ref()
        .map(|log| (log, request.method().clone(), request.uri().path().to_string()));
    let mut work = pin!(respond(shared, request));
    // A panic is the fault of one request, and ends that one alone.
    let caught = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(poll) => poll,
        Err(_) => Poll::Ready(Err(Refusal::new(500, "the server failed on this request"))),
    });
    let said = caught.await.unwrap_or_else(Said::from);
    if let Some(counter) = shared.codes.get(usize::from(said.status)) {
        counter.add(1);
    }
    if let Some((log, method, path)) = told {
        log.tell(method.as_str(), &path, said.status, begun.elapsed());
    }
    response(shared, said)
}

fn response(shared: &Shared, said: Said) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(said.body)));
    *response.status_mut() =
        StatusCode::from_u16(said.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if !said.kind.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(said.kind));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if shared.draining.load(Ordering::Relaxed) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.extend(said.more);
    response
}

async fn respond(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Said, Refusal> {
    let headers = request.headers();
    if headers.contains_key(header::CONTENT_LENGTH)
        && headers.contains_key(header::TRANSFER_ENCODING)
    {
        return Ok(Said::from(Refusal::unreadable(
            "a body has one length: Content-Length or Transfer-Encoding",
        ))
        .with(header::CONNECTION, HeaderValue::from_static("close")));
    }
    by_its_name(shared, headers)?;
    let path = request.uri().path().to_string();
    let steps = steps(&path).ok_or_else(|| Refusal::missing("Not Found"))?;
    let steps: Vec<&str> = steps.iter().map(|step| &**step).collect();
    let place = Place::of(&steps).ok_or_else(|| Refusal::missing("Not Found"))?;
    // Health is for those who look after machines, and the page is the same for everybody: it asks for the token itself.
    if !matches!(place, Place::Live | Place::Ready | Place::Page(_)) {
        from_here(headers)?;
        authorized(shared, headers)?;
    }
    let allowed = if place.posts() { "POST, OPTIONS" } else { "GET, HEAD, OPTIONS" };
    let fits = match *request.method() {
        Method::OPTIONS => {
            return Ok(Said::new("", "")
                .status(204)
                .with(header::ALLOW, HeaderValue::from_static(allowed)));
        }
        Method::POST => place.posts(),
        Method::GET | Method::HEAD => !place.posts(),
        _ => false,
    };
    if !fits {
        let said = Said::from(Refusal::new(405, "Method Not Allowed"));
        return Ok(said.with(header::ALLOW, HeaderValue::from_static(allowed)));
    }
    match place {
        Place::Index => index(shared, request).await,
        Place::Control(model, load) => control(shared, model, load, request).await,
        Place::Model(named, What::Infer) => {
            let model = shared.repository.find(named.model, named.version)?;
            counted(shared, &model, infer(shared, &model, request)).await
        }
        Place::Predict(named) => {
            let model = match named {
                Some(named) => shared.repository.find(named.model, named.version)?,
                None => shared.repository.only()?,
            };
            counted(shared, &model, predict(shared, &model, request)).await
        }
        Place::Drift(named) => drift(shared, named, request.headers()),
        other => tell(shared, &other),
    }
}

/// Refuses what a page from elsewhere makes a browser ask by a name that leads here.
fn by_its_name(shared: &Shared, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or("");
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let Shared { options, .. } = shared;
    let local = matches!(name, "127.0.0.1" | "localhost" | "[::1]");
    let any = !options.address.ip().is_loopback() && options.hosts.is_empty();
    if !(local || any || options.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))) {
        return Err(Refusal::new(421, "this server does not answer to that name"));
    }
    Ok(())
}

/// Refuses what a page from elsewhere makes a browser ask across sites.
fn from_here(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let elsewhere =
        || Err(Refusal::new(403, "requests from pages of other sites are not answered"));
    match (text("sec-fetch-site"), text("origin")) {
        (Some("cross-site" | "same-site"), _) => elsewhere(),
        (_, Some(origin)) if origin.split_once("://").map(|(_, from)| from) != text("host") => {
            elsewhere()
        }
        _ => Ok(()),
    }
}

fn authorized(shared: &Shared, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(token) = &shared.options.token else { return Ok(()) };
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let given =
        given.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
    match given {
        Some((_, given)) if token.is(given) => Ok(()),
        _ => Err(Refusal::new(401, "a token is needed: Authorization: Bearer TOKEN")),
    }
}

/// What is answered without a body.
fn tell(shared: &Shared, place: &Place<'_>) -> Result<Said, Refusal> {
    let repository = &shared.repository;
    let draining = shared.draining.load(Ordering::Relaxed);
    Ok(match place {
        Place::Live => Said::json(&json!({ "live": true })),
        Place::Ready if draining => {
            return Err(Refusal::busy("Server is not ready: it is about to end"));
        }
        Place::Ready if repository.ready() => Said::json(&json!({ "ready": true })),
        Place::Ready => return Err(Refusal::busy("Server is not ready")),
        Place::Server => Said::json(&describe::server()),
        Place::OpenApi => {
            Said::json(&openapi::describe(&repository.served(), shared.options.token.is_some()))
        }
        Place::Form => Said::json(&describe::form(&repository.newest())),
        Place::Page(file) => page(file),
        Place::Names => Said::json(&json!({ "models": repository.names() })),
        Place::AllStatistics => statistics(&repository.served()),
        Place::Metrics => {
            let codes = shared.codes.iter().enumerate();
            let codes = codes
                .map(|(code, count)| (code as u16, count.get()))
                .filter(|(_, count)| *count > 0);
            let codes: Vec<(u16, u64)> = codes.collect();
            let open = shared.connections.get();
            let text = describe::metrics(repository, open, &codes, shared.options.triton_metrics);
            Said::new("text/plain; version=0.0.4; charset=utf-8", text)
        }
        Place::Model(named, what) => {
            let model = repository.find(named.model, named.version)?;
            match what {
                What::About => {
                    Said::json(&describe::model(&model, &repository.versions(model.name())))
                }
                What::Ready => Said::json(&json!({ "name": model.name(), "ready": true })),
                What::Config => {
                    Said::json(&describe::config(&model, repository.delay().as_micros()))
                }
                _ if named.version.is_some() => statistics(&[model]),
                _ => {
                    let mut own = repository.served();
                    own.retain(|other| other.name() == model.name());
                    statistics(&own)
                }
            }
        }
        _ => return Err(Refusal::missing("Not Found")),
    })
}

/// `GET /drift`: what a model was asked beside what it was trained on, as a page for browsers and JSON for all others.
fn drift(shared: &Shared, named: Option<Named<'_>>, headers: &HeaderMap) -> Result<Said, Refusal> {
    let repository = &shared.repository;
    let model = match named {
        Some(named) => repository.find(named.model, named.version)?,
        None => repository.only()?,
    };
    let off = || Refusal::missing("the inputs of this model are not watched");
    let watched = model.drifting().ok_or_else(off)?;
    if !watched.has_reference {
        return Err(Refusal::missing(
            "the model file does not say what its training data were like: it was written by an older version",
        ));
    }
    let found = repository.drift(&model).ok_or_else(off)?;
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/html")) {
        let rows = watched.rows().min(watched.watching.window as u64);
        let title = format!("{}, the last {rows} rows", model.name());
        let page = nerve_lens::drift::page(&title, &found);
        let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
        return Ok(Said::new("text/html; charset=utf-8", page)
            .with(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)));
    }
    let mut json = found.to_json();
    json["model"] = json!(model.name());
    json["version"] = json!(model.version().to_string());
    json["rows"] = json!(watched.rows());
    json["window"] = json!(watched.watching.window);
    json["least_rows"] = json!(crate::drift::LEAST);
    Ok(Said::json(&json))
}

/// What the browser may load for the page: its own files, and answers of its own server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn page(file: &str) -> Said {
    let (kind, text) = match file {
        "page.css" => ("text/css; charset=utf-8", include_str!("../assets/page.css")),
        "page.js" => ("text/javascript; charset=utf-8", include_str!("../assets/page.js")),
        _ => ("text/html; charset=utf-8", include_str!("../assets/index.html")),
    };
    Said::new(kind, text)
        .with(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
        .with(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
        .with(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
}

fn statistics(models: &[Loaded]) -> Said {
    let all: Vec<Value> = models.iter().map(describe::statistics).collect();
    Said::json(&json!({ "model_stats": all }))
}

/// Reads a body within the bounds of bytes and time.
async fn body(shared: &Shared, request: Request<Incoming>) -> Result<Vec<u8>, Refusal> {
    let limits = shared.options.limits;
    let headers = request.headers();
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(header::CONTENT_ENCODING).iter().all(plain) {
        return Err(Refusal::new(415, "compressed bodies are not read"));
    }
    let too_large = || Refusal::new(413, format!("a body has at most {} bytes", limits.body));
    let told = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| told > limits.body as u64) {
        return Err(too_large());
    }
    let until = tokio::time::Instant::now() + limits.body_time;
    let mut body = request.into_body();
    // In one piece: a million pieces of one byte cost a million bytes.
    let mut bytes = Vec::with_capacity(told.map_or(0, |told| told.min(1 << 16) as usize));
    loop {
        let frame = tokio::time::timeout_at(until, body.frame()).await;
        let frame = frame.map_err(|_| Refusal::new(408, "the body did not arrive in time"))?;
        let Some(frame) = frame else { return Ok(bytes) };
        let frame =
            frame.map_err(|_| Refusal::unreadable("the body ended early or is malformed"))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > limits.body {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
    }
}

/// Counts how an inference ends, also when its client leaves before that.
async fn counted(
    shared: &Shared,
    model: &Loaded,
    work: impl Future<Output = Result<Said, Refusal>>,
) -> Result<Said, Refusal> {
    struct Left<'m>(&'m Loaded, bool);
    impl Drop for Left<'_> {
        fn drop(&mut self) {
            self.0.watch().cancelled.add(u64::from(!self.1));
        }
    }
    if shared.draining.load(Ordering::Relaxed) {
        return Err(Refusal::busy("Server is not ready: it is about to end"));
    }
    let begun = Instant::now();
    let mut left = Left(model, false);
    let result = work.await;
    left.1 = true;
    match &result {
        Ok(_) => model.watch().answered(begun.elapsed()),
        Err(_) => model.watch().failed.add(begun.elapsed()),
    }
    result
}

/// Bodies up to here are read and turned into numbers where they arrive; larger ones, pictures and sounds elsewhere, so that
/// other connections go on.
const SMALL: usize = 16 << 10;

async fn elsewhere<T: Send + 'static>(
    small: bool,
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    if small {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Refusal::new(500, "the server failed on this request")))
}

/// The media type of a body, without parameters and in small letters.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    (!kind.is_empty()).then_some(kind)
}

async fn infer(
    shared: &Shared,
    model: &Loaded,
    request: Request<Incoming>,
) -> Result<Said, Refusal> {
    // Clients of the protocol send none, or octets for bytes.
    let kind = media_type(request.headers());
    if !matches!(kind.as_deref(), None | Some(JSON | OCTETS)) {
        return Err(Refusal::new(415, "expected application/json or application/octet-stream"));
    }
    let head = match request.headers().get(INFERENCE_HEADER) {
        None => None,
        Some(value) => {
            let text =
                value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let length = text.and_then(|text| text.parse::<usize>().ok());
            let wrong =
                || Refusal::unreadable("Inference-Header-Content-Length is no number of bytes");
            Some(length.ok_or_else(wrong)?)
        }
    };
    let begun = Instant::now();
    let bytes = body(shared, request).await?;
    model.room()?;
    let small = bytes.len() <= SMALL;
    let own = model.clone();
    let read = move || {
        let started = Instant::now();
        let mut asked = match (head, &own) {
            (Some(0), Loaded::Rows(served)) => infer::read_raw(&bytes, served)?,
            (Some(0), Loaded::Graph(graph)) => graph.raw(&bytes)?,
            (head, _) => infer::read(&bytes, head)?,
        };
        let pieces = match &own {
            Loaded::Rows(served) => Pieces::Rows(asked.encode(served)?),
            Loaded::Graph(graph) => Pieces::Arrays(graph.asked(&mut asked)?),
        };
        own.watch().input.add(started.elapsed());
        Ok((asked, pieces))
    };
    let (asked, pieces) = elsewhere(small, read).await?;
    let most = shared.options.limits.answer_time;
    let until = begun + asked.timeout_us.map_or(most, |us| Duration::from_micros(us).min(most));
    let (started, (body, head)) = match (model, pieces) {
        (Loaded::Rows(served), Pieces::Rows(rows)) => {
            let answers = served.answer(rows, until).await?;
            (Instant::now(), asked.response(served, &answers))
        }
        (Loaded::Graph(graph), Pieces::Arrays(arrays)) => {
            let answers = graph.answer(arrays, until).await?;
            (Instant::now(), graph.response(&asked, answers)?)
        }
        _ => unreachable!("the pieces are of the kind of the model"),
    };
    model.watch().output.add(started.elapsed());
    Ok(match head {
        Some(head) => Said::new(OCTETS, body).with(INFERENCE_HEADER, HeaderValue::from(head)),
        None => Said::new(JSON, body),
    })
}

/// A request as the network of either kind of model takes it.
enum Pieces {
    Rows(Encoded),
    Arrays(Vec<Arrays>),
}

async fn predict(
    shared: &Shared,
    model: &Loaded,
    request: Request<Incoming>,
) -> Result<Said, Refusal> {
    match model {
        Loaded::Rows(served) => predict_rows(shared, served, request).await,
        Loaded::Graph(graph) => predict_arrays(shared, graph, request).await,
    }
}

/// `POST /predict` of an ONNX file: nested lists by the names of the inputs.
async fn predict_arrays(
    shared: &Shared,
    graph: &Arc<Graph>,
    request: Request<Incoming>,
) -> Result<Said, Refusal> {
    if media_type(request.headers()).as_deref() != Some(JSON) {
        return Err(Refusal::new(
            415,
            "the model is an ONNX file, which knows no columns and no files: expected application/json with an object \
             that has nested lists for each input",
        ));
    }
    let begun = Instant::now();
    let bytes = body(shared, request).await?;
    graph.room()?;
    let (small, own) = (bytes.len() <= SMALL, graph.clone());
    let read = move || {
        let started = Instant::now();
        let arrays = own.lists(&bytes)?;
        own.watch.input.add(started.elapsed());
        Ok(arrays)
    };
    let arrays = elsewhere(small, read).await?;
    let answers = graph.answer(arrays, begun + shared.options.limits.answer_time).await?;
    let started = Instant::now();
    let text = graph.listed(&answers)?;
    graph.watch.output.add(started.elapsed());
    Ok(Said::new(JSON, text))
}

async fn predict_rows(
    shared: &Shared,
    model: &Arc<Served>,
    request: Request<Incoming>,
) -> Result<Said, Refusal> {
    let kind = media_type(request.headers()).unwrap_or_default();
    let file = matches!(
        kind.as_str(),
        "image/png" | "image/jpeg" | "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave"
    );
    if !(file || matches!(kind.as_str(), JSON | "text/csv")) {
        return Err(Refusal::new(
            415,
            "expected application/json, text/csv, image/png, image/jpeg or audio/wav",
        ));
    }
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let wants = |kind: &str| accept.is_some_and(|accept| accept.contains(kind));
    let (csv, json) = (wants("text/csv"), wants(JSON));
    let begun = Instant::now();
    let bytes = body(shared, request).await?;
    model.room()?;
    let small = bytes.len() <= SMALL && !file;
    let own = model.clone();
    let read = move || {
        let started = Instant::now();
        let (cells, form) = match kind.as_str() {
            JSON => rows::from_json(&own, &bytes)?,
            "text/csv" => (rows::from_csv(&own, &bytes)?, Form::Csv),
            _ => match &own.inputs[..] {
                [input] => {
                    (vec![crate::columns::Cellar::Rows(vec![input.file(&bytes)?])], Form::Object)
                }
                _ => {
                    return Err(Refusal::unfit(
                        "a file alone is for a model with one input: send JSON with files in base64",
                    ));
                }
            },
        };
        let rows = cells.first().map_or(0, crate::columns::Cellar::rows);
        let encoded = own.encode(&cells, rows, None)?;
        own.watch.input.add(started.elapsed());
        Ok((encoded, form))
    };
    let (encoded, form) = elsewhere(small, read).await?;
    let answers: Vec<Vec<Answer>> =
        model.answer(encoded, begun + shared.options.limits.answer_time).await?;
    let form = match form {
        _ if csv => Form::Csv,
        Form::Csv if json => Form::Json,
        form => form,
    };
    let started = Instant::now();
    let text = rows::write(model, &answers, form)?;
    model.watch.output.add(started.elapsed());
    Ok(Said::new(if form == Form::Csv { "text/csv; charset=utf-8" } else { JSON }, text))
}

/// A small body of JSON, which may be missing.
async fn small_json(shared: &Shared, request: Request<Incoming>) -> Result<Value, Refusal> {
    let bytes = body(shared, request).await?;
    match bytes.len() {
        0 => Ok(Value::Null),
        1..=65_536 => serde_json::from_slice(&bytes)
            .map_err(|error| Refusal::unreadable(format!("failed to parse the request: {error}"))),
        _ => Err(Refusal::new(413, "a body has at most 65536 bytes here")),
    }
}

async fn index(shared: &Shared, request: Request<Incoming>) -> Result<Said, Refusal> {
    let asked = small_json(shared, request).await?;
    let only_ready = match &asked["ready"] {
        Value::Null => false,
        Value::Bool(ready) => *ready,
        _ => return Err(Refusal::unreadable("`ready`: expected true or false")),
    };
    let mut lines = shared.repository.index();
    lines.retain(|line| line.ready || !only_ready);
    let line = |line: &crate::repository::Line| {
        let state = if line.ready { "READY" } else { "UNAVAILABLE" };
        json!({ "name": line.name, "version": line.version.to_string(), "state": state, "reason": line.reason })
    };
    Ok(Said::json(&lines.iter().map(line).collect()))
}

async fn control(
    shared: &Arc<Shared>,
    model: &str,
    load: bool,
    request: Request<Incoming>,
) -> Result<Said, Refusal> {
    if !shared.options.control {
        return Err(Refusal::new(
            403,
            "models are not loaded or unloaded by requests here; --control allows it",
        ));
    }
    let asked = small_json(shared, request).await?;
    let parameters = asked["parameters"].as_object();
    if load && parameters.is_some_and(|parameters| !parameters.is_empty()) {
        return Err(Refusal::new(
            501,
            "a model is loaded as its files are; parameters of `load` are not supported",
        ));
    }
    let (shared, model) = (shared.clone(), model.to_string());
    // Loading reads files and compiles.
    let work = move || match load {
        true => shared.repository.load(&model),
        false => shared.repository.unload(&model),
    };
    elsewhere(false, work).await?;
    Ok(Said::new(JSON, ""))
}
