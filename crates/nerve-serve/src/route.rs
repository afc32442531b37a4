//! From a request to its answer.
//!
//! The path is compared with names; no file name is made of it.

use crate::ask::{counted, elsewhere, infer, predict, small_json};
use crate::describe;
use crate::guard::{authorized, by_its_name, from_here};
use crate::loaded::Loaded;
use crate::openapi;
use crate::place::{Named, Place, What, steps};
use crate::refusal::Refusal;
use crate::said::{Body, JSON, Said, response};
use crate::server::{Counted, Shared};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response};
use serde_json::{Value, json};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Instant;

/// Answers a request, whatever happens on the way.
pub(crate) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
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
