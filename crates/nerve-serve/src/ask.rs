//! Requests that a network answers: their bodies are read within bounds, and turned into rows.

use crate::columns::Cellar;
use crate::encode::Encoded;
use crate::events::Events;
use crate::graph::{Arrays, Graph};
use crate::infer;
use crate::loaded::Loaded;
use crate::model::Served;
use crate::refusal::Refusal;
use crate::rows::{self, Form};
use crate::said::{EVENTS, INFERENCE_HEADER, JSON, OCTETS, Said};
use crate::server::Shared;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use nerve_data::features::Answer;
use serde_json::Value;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

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
pub(crate) async fn counted(
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
        // They are counted when they have been told.
        Ok(said) if !said.is_whole() => {}
        Ok(_) => model.watch().answered(begun.elapsed()),
        Err(_) => model.watch().failed.add(begun.elapsed()),
    }
    result
}

/// Bodies up to here are read and turned into numbers where they arrive; larger ones, pictures and sounds elsewhere, so that
/// other connections go on.
const SMALL: usize = 16 << 10;

pub(crate) async fn elsewhere<T: Send + 'static>(
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

pub(crate) async fn infer(
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
        let taken = match &own {
            Loaded::Rows(served) => Taken::Rows(asked.encode(served)?),
            Loaded::Graph(graph) => Taken::Arrays(graph.asked(&mut asked)?),
        };
        own.watch().input.add(started.elapsed());
        Ok((asked, taken))
    };
    let (asked, taken) = elsewhere(small, read).await?;
    let most = shared.options.limits.answer_time;
    let until = begun + asked.timeout_us.map_or(most, |us| Duration::from_micros(us).min(most));
    let (started, (body, head)) = match (model, taken) {
        (Loaded::Rows(served), Taken::Rows(rows)) => {
            let answers = served.answer(rows, until).await?;
            (Instant::now(), asked.response(served, &answers))
        }
        (Loaded::Graph(graph), Taken::Arrays(arrays)) => {
            let answers = graph.answer(arrays, until).await?;
            (Instant::now(), graph.response(&asked, answers)?)
        }
        _ => unreachable!("it is of the kind of the model"),
    };
    model.watch().output.add(started.elapsed());
    Ok(match head {
        Some(head) => Said::new(OCTETS, body).with(INFERENCE_HEADER, HeaderValue::from(head)),
        None => Said::new(JSON, body),
    })
}

/// A request as the network of either kind of model takes it.
enum Taken {
    Rows(Encoded),
    Arrays(Vec<Arrays>),
}

pub(crate) async fn predict(
    shared: &Arc<Shared>,
    model: &Loaded,
    request: Request<Incoming>,
) -> Result<Said, Refusal> {
    let query = request.uri().query().unwrap_or("");
    match model {
        Loaded::Rows(served) => {
            let tokens = max_tokens(query, served)?;
            predict_rows(shared, served, tokens, request).await
        }
        Loaded::Graph(_) if !query.is_empty() => Err(Refusal::unreadable(
            "the query: the model is an ONNX file, which takes no parameters",
        )),
        Loaded::Graph(graph) => predict_arrays(shared, graph, request).await,
    }
}

/// `?max_tokens=40`, the one parameter of rows: how long a text may become.
fn max_tokens(query: &str, model: &Served) -> Result<Option<u64>, Refusal> {
    let unfit = |why: &str| Err(Refusal::unreadable(format!("the query: {why}")));
    match (query.strip_prefix("max_tokens="), model.most_tokens()) {
        _ if query.is_empty() => Ok(None),
        (_, None) => unfit("the model writes no texts, and takes no parameters"),
        (None, Some(_)) => unfit("expected max_tokens=NUMBER and nothing else"),
        (Some(number), Some(_)) => match number.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => unfit("`max_tokens`: expected a whole number above 0"),
        },
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
    shared: &Arc<Shared>,
    model: &Arc<Served>,
    max_tokens: Option<u64>,
    request: Request<Incoming>,
) -> Result<Said, Refusal> {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let wants = |kind: &str| accept.is_some_and(|accept| accept.contains(kind));
    let (csv, json) = (wants("text/csv"), wants(JSON));
    let heard = wants(EVENTS) && !csv && !json;
    if heard && !model.continues() {
        return Err(Refusal::new(
            406,
            "only a text that goes on comes in pieces: this model answers as a whole",
        ));
    }
    let begun = Instant::now();
    let until = begun + shared.options.limits.answer_time;
    let (encoded, form) = rows_of(shared, model, max_tokens, request).await?;
    if heard {
        let hearing = model.hear(encoded, until)?;
        let events = Events::begin(shared, model, hearing, [begun, until]).await?;
        return Ok(Said::events(events));
    }
    let answers: Vec<Vec<Answer>> = model.answer(encoded, until).await?;
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

/// The rows of a request as the model takes them, and the form in which they came.
async fn rows_of(
    shared: &Shared,
    model: &Arc<Served>,
    max_tokens: Option<u64>,
    request: Request<Incoming>,
) -> Result<(Encoded, Form), Refusal> {
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
                [input] => (vec![Cellar::Rows(vec![input.file(&bytes)?])], Form::Object),
                _ => {
                    return Err(Refusal::unfit(
                        "a file alone is for a model with one input: send JSON with files in base64",
                    ));
                }
            },
        };
        let rows = cells.first().map_or(0, Cellar::rows);
        let encoded = own.encode(&cells, rows, max_tokens)?;
        own.watch.input.add(started.elapsed());
        Ok((encoded, form))
    };
    elsewhere(small, read).await
}

/// A small body of JSON, which may be missing.
pub(crate) async fn small_json(
    shared: &Shared,
    request: Request<Incoming>,
) -> Result<Value, Refusal> {
    let bytes = body(shared, request).await?;
    match bytes.len() {
        0 => Ok(Value::Null),
        1..=65_536 => serde_json::from_slice(&bytes)
            .map_err(|error| Refusal::unreadable(format!("failed to parse the request: {error}"))),
        _ => Err(Refusal::new(413, "a body has at most 65536 bytes here")),
    }
}
