//! Requests to MLflow and their errors.

use nerve_formats::{FormatError, escape};
use nerve_tls::TlsError;
use serde_json::Value;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Answers are read up to this many bytes.
const MOST_ANSWER: u64 = 8 << 20;
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(60);

/// Who sends.
#[derive(Clone)]
pub enum Credentials {
    /// A name and a password.
    Basic(String, String),
    /// A token.
    Bearer(String),
}

impl std::fmt::Debug for Credentials {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    fn header(&self) -> String {
        match self {
            Credentials::Bearer(token) => format!("Bearer {token}"),
            Credentials::Basic(name, password) => {
                format!("Basic {}", base64(format!("{name}:{password}").as_bytes()))
            }
        }
    }
}

/// How a server is spoken to.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Who sends.
    pub credentials: Option<Credentials>,
    /// A file with the certificates, in PEM, of whom to trust: else those whom the system trusts. Only for https.
    pub authorities: Option<PathBuf>,
}

impl Access {
    /// That of the environment, as every client of MLflow takes it: `MLFLOW_TRACKING_USERNAME` and
    /// `MLFLOW_TRACKING_PASSWORD`, or `MLFLOW_TRACKING_TOKEN`; `MLFLOW_TRACKING_SERVER_CERT_PATH`.
    ///
    /// # Errors
    /// `MLFLOW_TRACKING_INSECURE_TLS` is set: certificates are always checked.
    pub fn from_env() -> Result<Access, MlflowError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if variable("MLFLOW_TRACKING_INSECURE_TLS").is_some_and(|value| value != "false") {
            return Err(MlflowError::Usage(
                "MLFLOW_TRACKING_INSECURE_TLS is set, but certificates are always checked: unset it, and name the \
                 certificate of the server's authority in MLFLOW_TRACKING_SERVER_CERT_PATH"
                    .into(),
            ));
        }
        let name = variable("MLFLOW_TRACKING_USERNAME");
        let credentials = match (name, variable("MLFLOW_TRACKING_PASSWORD")) {
            (Some(name), Some(password)) => Some(Credentials::Basic(name, password)),
            _ => variable("MLFLOW_TRACKING_TOKEN").map(Credentials::Bearer),
        };
        let authorities = variable("MLFLOW_TRACKING_SERVER_CERT_PATH").map(PathBuf::from);
        Ok(Access { credentials, authorities })
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte));
        let bits = bits << (8 * (3 - three.len()));
        for i in 0..4 {
            let index = (bits >> (18 - 6 * i)) as usize & 63;
            text.push(if i <= three.len() { char::from(LETTERS[index]) } else { '=' });
        }
    }
    text
}

/// Why something was not sent.
#[derive(Debug, thiserror::Error)]
pub enum MlflowError {
    /// It cannot be done as it was asked for.
    #[error("{0}")]
    Usage(String),
    /// The server does not answer, or says that it cannot now.
    #[error("{address} does not answer: {reason}")]
    Away {
        /// The server.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The server refuses.
    #[error("MLflow refuses {request}: {code}: {message} (HTTP {status})")]
    Refused {
        /// What was asked.
        request: String,
        /// The status of HTTP.
        status: u16,
        /// MLflow's name of the error.
        code: String,
        /// What it says about it.
        message: String,
    },
    /// What answers is not MLflow.
    #[error("this does not look like MLflow: {0}")]
    Strange(String),
    /// The server cannot show that it is the one of this address.
    #[error(
        "{address} is not to be trusted: {reason}\n       name the certificate of its authority in \
         MLFLOW_TRACKING_SERVER_CERT_PATH if that is not one that the system knows"
    )]
    Untrusted {
        /// The server.
        address: String,
        /// What is wrong with its certificate.
        reason: String,
    },
    /// There is no encryption.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// A file of the run cannot be read or written.
    #[error("{0}")]
    File(#[from] FormatError),
}

impl MlflowError {
    /// Whether trying again later can help.
    pub fn is_transient(&self) -> bool {
        matches!(self, MlflowError::Away { .. })
    }

    /// Whether it is MLflow's error of this name.
    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self, MlflowError::Refused { code, .. } if code == name)
    }
}

#[derive(Debug)]
pub(super) struct Client {
    address: String,
    agent: Agent,
    credentials: Option<String>,
}

impl Client {
    pub(super) fn new(address: &str, access: &Access) -> Result<Client, MlflowError> {
        let usage = |text: String| Err(MlflowError::Usage(text));
        let shown = escape(address, 200);
        let encrypted = address.strip_prefix("https://");
        let host = encrypted.or_else(|| address.strip_prefix("http://")).unwrap_or_default();
        let bad = |c: char| c.is_whitespace() || c.is_control() || "?#@\\".contains(c);
        if host.trim_matches('/').is_empty() || host.contains(bad) {
            return usage(format!("`{shown}` is no address as https://mlflow.example:5000"));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // What is named is spoken to, and nobody else.
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .timeout_recv_body(Some(ANSWER))
            .user_agent(concat!("nerve/", env!("CARGO_PKG_VERSION")));
        let config = match encrypted {
            Some(_) => config.tls_config(tls(access.authorities.as_deref())?).build(),
            None => config.build(),
        };
        Ok(Client {
            address: address.trim_end_matches('/').to_string(),
            agent: config.new_agent(),
            credentials: access.credentials.as_ref().map(Credentials::header),
        })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The number of an experiment by its name.
    pub(super) fn experiment(&self, name: &str) -> Result<String, MlflowError> {
        let path = format!("experiments/get-by-name?experiment_name={}", percent(name));
        let answer = self.with(self.agent.get(self.url(&path))).call();
        let answer = self.answer("experiments/get-by-name", answer)?;
        super::text(&answer, &["experiment", "experiment_id"])
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, MlflowError> {
        let request = self.with(self.agent.post(self.url(path)));
        let answer = request.header("Content-Type", "application/json").send(body.to_string());
        self.answer(path, answer)
    }

    /// Sends a file as an artifact.
    pub(super) fn put(&self, place: &str, path: &Path) -> Result<(), MlflowError> {
        let file =
            File::open(path).map_err(|error| FormatError::io(path, "cannot open", &error))?;
        let place: Vec<String> = place.split('/').map(percent).collect();
        let url =
            format!("{}/api/2.0/mlflow-artifacts/artifacts/{}", self.address, place.join("/"));
        let answer = self.with(self.agent.put(url)).send(file);
        self.answer("an artifact", answer).map(drop)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/2.0/mlflow/{path}", self.address)
    }

    fn with<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.credentials {
            Some(header) => request.header("Authorization", header),
            None => request,
        }
    }

    fn answer(
        &self,
        request: &str,
        answer: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, MlflowError> {
        let away = |reason: String| MlflowError::Away {
            address: self.address.clone(),
            reason: escape(&reason, 300),
        };
        let mut answer = answer.map_err(|error| match untrusted(&error) {
            true => MlflowError::Untrusted {
                address: self.address.clone(),
                reason: escape(&error.to_string(), 300),
            },
            false => away(error.to_string()),
        })?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(MOST_ANSWER).read_to_vec();
        let body = body.map_err(|error| away(error.to_string()))?;
        let value: Option<Value> = serde_json::from_slice(&body).ok();
        match (status, value) {
            (200..=299, Some(value)) => Ok(value),
            (200..=299, None) if body.iter().all(u8::is_ascii_whitespace) => Ok(Value::Null),
            (200..=299, None) => Err(MlflowError::Strange("an answer that is no JSON".into())),
            (408 | 429 | 500..=599, _) => Err(away(format!("HTTP {status} to {request}"))),
            (status, value) => {
                let value = value.unwrap_or_default();
                let text =
                    |key: &str| escape(value[key].as_str().unwrap_or("no reason given"), 500);
                Err(MlflowError::Refused {
                    request: request.to_string(),
                    status,
                    code: text("error_code"),
                    message: text("message"),
                })
            }
        }
    }
}

/// Whether the other side is not who it should be, or speaks no TLS: waiting does not help.
fn untrusted(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(cause) => cause.kind() == ErrorKind::InvalidData,
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => true,
        _ => false,
    }
}

/// Who is trusted: the `authorities` of a file, else those of the system.
fn tls(authorities: Option<&Path>) -> Result<TlsConfig, MlflowError> {
    let trusted = nerve_tls::trusted(authorities)?;
    let roots = trusted.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
    Ok(TlsConfig::builder()
        .unversioned_rustls_crypto_provider(nerve_tls::provider()?)
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .build())
}

/// A text as it may stand in an address (RFC 3986, section 2.3).
fn percent(text: &str) -> String {
    let one = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for bad in ["", "http://", "ftp://a", "http://a b", "http://me@a", "127.0.0.1:5000"] {
            assert!(Client::new(bad, &Access::default()).is_err(), "{bad}");
        }
        let client = Client::new("http://a:5000/", &Access::default()).unwrap();
        assert_eq!(client.address(), "http://a:5000");
    }

    #[test]
    fn texts_are_encoded() {
        assert_eq!(percent("a b/ä"), "a%20b%2F%C3%A4");
        let header = Credentials::Basic("Aladdin".into(), "open sesame".into()).header();
        // RFC 7617, section 2.
        assert_eq!(header, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(Credentials::Bearer("t".into()).header(), "Bearer t");
        assert!(!format!("{:?}", Credentials::Bearer("secret".into())).contains("secret"));
    }
}
