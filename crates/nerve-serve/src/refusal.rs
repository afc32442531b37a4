//! What a client is told when its request is not answered.

use nerve_formats::escape;

/// A status and a sentence. The sentence names nothing of this machine: no path, no address, no line of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What is wrong, for `{"error": ...}`.
    pub message: String,
}

/// The longest message; what a client sent stands in it shortened.
const LONGEST: usize = 600;

impl Refusal {
    /// A refusal with this status.
    pub fn new(status: u16, message: impl AsRef<str>) -> Refusal {
        Refusal { status, message: escape(message.as_ref(), LONGEST) }
    }

    /// 400: what was sent cannot be read at all.
    pub fn unreadable(message: impl AsRef<str>) -> Refusal {
        Refusal::new(400, message)
    }

    /// 422: it can be read, and does not fit the model.
    pub fn unfit(message: impl AsRef<str>) -> Refusal {
        Refusal::new(422, message)
    }

    /// 404.
    pub fn missing(message: impl AsRef<str>) -> Refusal {
        Refusal::new(404, message)
    }

    /// 503: later, perhaps.
    pub fn busy(message: impl AsRef<str>) -> Refusal {
        Refusal::new(503, message)
    }
}

/// A name as it may stand in a message.
pub(crate) fn shown(name: &str) -> String {
    escape(name, 80)
}
