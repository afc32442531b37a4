//! What is said to a client.

use crate::events::Events;
use crate::refusal::Refusal;
use crate::server::Shared;
use http_body_util::Full;
use hyper::body::{self, Bytes, Frame, SizeHint};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

/// What is said to a client.
pub(crate) struct Said {
    pub status: u16,
    kind: &'static str,
    body: Body,
    more: Vec<(HeaderName, HeaderValue)>,
}

impl Said {
    pub fn new(kind: &'static str, body: impl Into<Vec<u8>>) -> Said {
        let body = Body::Whole(Full::new(Bytes::from(body.into())));
        Said { status: 200, kind, body, more: Vec::new() }
    }

    pub fn events(events: Events) -> Said {
        let body = Body::Events(Box::new(events));
        Said { status: 200, kind: EVENTS, body, more: Vec::new() }
            .with(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))
    }

    /// Whether all of it is there.
    pub fn is_whole(&self) -> bool {
        matches!(self.body, Body::Whole(_))
    }

    pub fn json(value: &Value) -> Said {
        Said::new(JSON, value.to_string())
    }

    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Said {
        self.more.push((name, value));
        self
    }

    pub fn status(self, status: u16) -> Said {
        Said { status, ..self }
    }
}

/// The body of an answer: there as a whole, or as it comes about.
pub(crate) enum Body {
    Whole(Full<Bytes>),
    Events(Box<Events>),
}

impl body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Body::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Body::Events(events) => events.poll(cx).map(|event| Some(Ok(Frame::data(event?)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(whole) if whole.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(whole) => whole.size_hint(),
            Body::Events(_) => SizeHint::default(),
        }
    }
}

pub(crate) const JSON: &str = "application/json";
pub(crate) const OCTETS: &str = "application/octet-stream";
pub(crate) const EVENTS: &str = "text/event-stream";

pub(crate) const INFERENCE_HEADER: HeaderName =
    HeaderName::from_static("inference-header-content-length");

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

pub(crate) fn response(shared: &Shared, said: Said) -> Response<Body> {
    let mut response = Response::new(said.body);
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
