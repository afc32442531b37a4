//! A text that is heard while it is written: `POST /predict` with `Accept: text/event-stream`.
//!
//! Each event is a line of JSON (server-sent events, WHATWG HTML, "Server-sent events"):
//!
//! ```text
//! data: {"text":"To be"}
//!
//! data: {"text":", or"}
//!
//! event: end
//! data: {}
//! ```
//!
//! The pieces together are what is said without it. What fails on the way ends with `event: error` and the error; what
//! fails before the first piece gets its status, as any other request.

use crate::batch::{Done, Failed, Reply};
use crate::model::{Served, refusal};
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::texts::Texts;
use hyper::body::Bytes;
use nerve_data::features::Answer;
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedReceiver;

/// A text that is being written.
pub(crate) struct Hearing {
    /// Its pieces, until it ends. The writer does not wait for those who read: there are at most as many as tokens.
    pub pieces: UnboundedReceiver<String>,
    /// What became of it; there before the pieces have ended.
    pub reply: Reply<Texts>,
}

/// The events of an answer. The request is under way until they are dropped.
pub(crate) struct Events {
    shared: Arc<Shared>,
    model: Arc<Served>,
    begun: Instant,
    hearing: Hearing,
    /// The event that is told next, if it is known.
    next: Option<Bytes>,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// It is not known yet: who drops the events now has left.
    Open,
    Answered,
    Failed,
}

impl Events {
    /// Waits for the first piece, or for the end of a text without one.
    ///
    /// # Errors
    /// 504 when the time is over before that, 500 when the network fails, 503 when the model goes.
    pub async fn begin(
        shared: &Arc<Shared>,
        model: &Arc<Served>,
        mut hearing: Hearing,
        [begun, until]: [Instant; 2],
    ) -> Result<Events, Refusal> {
        let first = tokio::time::timeout_at(until.into(), hearing.pieces.recv()).await;
        let first = first.map_err(|_| refusal(&model.watch, Failed::Late))?;
        let (next, fate) = match first {
            Some(piece) => (told(model, &piece), Fate::Open),
            None => {
                let reply = (&mut hearing.reply).await;
                finished(model, reply.unwrap_or(Err(Failed::Stopped)))?;
                (end(), Fate::Answered)
            }
        };
        let (shared, model) = (shared.clone(), model.clone());
        shared.active.add(1);
        Ok(Events { shared, model, begun, hearing, next: Some(next), fate })
    }

    /// The next event; `None` behind the last.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(next));
        }
        if self.fate != Fate::Open {
            return Poll::Ready(None);
        }
        if let Some(piece) = ready!(self.hearing.pieces.poll_recv(cx)) {
            return Poll::Ready(Some(told(&self.model, &piece)));
        }
        let reply = ready!(Pin::new(&mut self.hearing.reply).poll(cx));
        let last = match finished(&self.model, reply.unwrap_or(Err(Failed::Stopped))) {
            Ok(()) => {
                self.fate = Fate::Answered;
                end()
            }
            Err(refusal) => {
                self.fate = Fate::Failed;
                event(Some("error"), &json!({ "error": refusal.message }))
            }
        };
        Poll::Ready(Some(last))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let (watch, time) = (&self.model.watch, self.begun.elapsed());
        match self.fate {
            Fate::Answered => watch.answered(time),
            Fate::Failed => watch.failed.add(time),
            Fate::Open => watch.cancelled.add(1),
        }
        self.shared.active.less(1);
    }
}

/// A text that has come to its end.
fn finished(model: &Served, reply: Result<Done<Vec<Answer>>, Failed>) -> Result<(), Refusal> {
    let done = reply.map_err(|failed| refusal(&model.watch, failed))?;
    model.watch.computed(done.waited, done.ran);
    Ok(())
}

fn told(model: &Served, piece: &str) -> Bytes {
    let name = model.outputs[0].name.clone();
    event(None, &Value::Object([(name, Value::from(piece))].into_iter().collect()))
}

fn end() -> Bytes {
    event(Some("end"), &json!({}))
}

fn event(kind: Option<&str>, data: &Value) -> Bytes {
    let kind = kind.map_or(String::new(), |kind| format!("event: {kind}\n"));
    format!("{kind}data: {data}\n\n").into()
}
