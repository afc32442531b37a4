//! How a server is set up.

use crate::tls::Tls;
use sha2::{Digest, Sha256};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How a server is set up. What is not said is safe: the loopback, no control from outside, every size and time bounded.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 is any that is free.
    pub address: SocketAddr,
    /// What requests must carry as `Authorization: Bearer TOKEN`, but for those after its health.
    pub token: Option<Token>,
    /// The certificate, where connections are encrypted.
    pub tls: Option<Arc<Tls>>,
    /// Whether it may listen beyond the loopback without a token.
    pub open: bool,
    /// Names of this server in `Host` beside those of the loopback; any name where it listens beyond the loopback and
    /// none is given.
    pub hosts: Vec<String>,
    /// Whether models may be loaded and unloaded by requests.
    pub control: bool,
    /// Whether `/metrics` has the names of Triton, too.
    pub triton_metrics: bool,
    /// Bounds.
    pub limits: Limits,
    /// Threads with connections of their own.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Options {
            address: (Ipv4Addr::LOCALHOST, 8000).into(),
            token: None,
            tls: None,
            open: false,
            hosts: Vec::new(),
            control: false,
            triton_metrics: false,
            limits: Limits::default(),
            threads: cores.min(4),
        }
    }
}

/// What a client may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub body: usize,
    /// Bytes of a head: request line and header fields.
    pub head: usize,
    /// Header fields.
    pub fields: usize,
    /// Connections at a time.
    pub connections: usize,
    /// For a head to arrive, how long a connection may be idle, and how long shaking hands may take.
    pub head_time: Duration,
    /// For a body to arrive.
    pub body_time: Duration,
    /// For a client to take a piece of its answer.
    pub write_time: Duration,
    /// For a request to be answered.
    pub answer_time: Duration,
    /// For requests under way, when the server ends.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body: 16 << 20,
            head: 64 << 10,
            fields: 100,
            connections: 1024,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            write_time: Duration::from_secs(30),
            answer_time: Duration::from_secs(30),
            drain_time: Duration::from_secs(30),
        }
    }
}

/// A secret, kept as its digest.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Of this text, which must not be empty.
    pub fn new(text: &str) -> Option<Token> {
        (!text.is_empty()).then(|| Token(Sha256::digest(text.as_bytes()).into()))
    }

    /// Whether a text is the secret, in a time that says nothing about where they differ.
    pub fn is(&self, text: &[u8]) -> bool {
        let other: [u8; 32] = Sha256::digest(text).into();
        let differs = self.0.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b));
        std::hint::black_box(differs) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn h43_a_token_is_itself_alone() {
        let token = Token::new("secret").unwrap();
        assert!(token.is(b"secret"));
        for other in [&b""[..], b"secre", b"secrets", b"Secret", &[0; 1 << 20]] {
            assert!(!token.is(other));
        }
        assert!(Token::new("").is_none());
        assert_eq!(format!("{token:?}"), "Token");
    }
}
