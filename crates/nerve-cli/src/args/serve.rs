//! The arguments of `nerve serve`.

use super::Common;
use clap::{Args, ValueEnum};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// `nerve serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  nerve serve mnist                              the model of a run, at http://127.0.0.1:8000
  curl -H 'Content-Type: image/png' --data-binary @digit.png http://127.0.0.1:8000/predict
  curl -H 'Content-Type: text/csv' --data-binary @new.csv http://127.0.0.1:8000/predict
  nerve serve titanic digits=runs/mnist-2        two models, the second under another name
  nerve serve detector.onnx                      a model of another framework, with the tensors that it names
  nerve serve models/ --reload                   all of NAME/VERSION/model.safetensors, and what changes there
  NERVE_TOKEN=secret nerve serve mnist --http 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem

Speaks the Open Inference Protocol (version 2): POST /v2/models/NAME/infer. Rows in the columns of the
recipe go to POST /predict or /predict/NAME, as JSON or CSV, pictures and WAV files as they are.
Metrics for Prometheus: GET /metrics. What is asked beside what the model was trained on: GET /drift.
SIGTERM and Ctrl-C let requests under way be answered, and exit 0; SIGHUP looks for models that changed,
and reads the certificate again.")]
pub struct Serve {
    /// Runs (name or folder), model files, ONNX files, NAME=any of these, or one folder of NAME/VERSION/model.safetensors
    /// or NAME/VERSION/model.onnx
    #[arg(value_name = "MODEL", required = true)]
    pub models: Vec<String>,
    /// Where to listen; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000", value_parser = address)]
    pub http: SocketAddr,
    /// The most rows that are run together
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub max_batch: u32,
    /// How long the oldest request waits for others to be run with: 2ms, 500us
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = short)]
    pub max_delay: Duration,
    /// Give each row the same bits in every batch: a request alone takes the time of eight rows
    #[arg(long)]
    pub exact: bool,
    /// How many requests may wait for a model; more are answered with 503
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub queue: u32,
    /// How long a request may take before it is answered with 504: 500ms, 30s
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = short)]
    pub timeout: Duration,
    /// The most bytes of a request
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20, value_parser = clap::value_parser!(u32).range(1024..=1 << 30))]
    pub max_body: u32,
    /// The most connections at a time
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,
    /// Read the weights of ONNX files that stand in files beside them
    #[arg(long)]
    pub external_data: bool,
    /// A file with the token that requests must carry (Authorization: Bearer TOKEN) [default: NERVE_TOKEN]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A file with the certificate of this server in PEM, and behind it those that signed it: https
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// A file with its private key in PEM, not encrypted
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Listen beyond this machine without a token
    #[arg(long)]
    pub insecure_no_auth: bool,
    /// A name of this server in the header Host; may be given several times
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// Let requests load and unload models
    #[arg(long)]
    pub control: bool,
    /// Look every two seconds for models that came, changed or went
    #[arg(long)]
    pub reload: bool,
    /// Serve the others when a model cannot be loaded
    #[arg(long)]
    pub keep_going: bool,
    /// Metrics also under the names of another server
    #[arg(long, value_name = "SERVER", value_enum)]
    pub metrics_compat: Option<Compat>,
    /// How many of the last rows are compared with those of the training: GET /drift, /metrics, a warning in the log
    #[arg(long, value_name = "ROWS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(200..=100_000))]
    pub drift_window: u32,
    /// From which score on a column has drifted [default: p below 0.05, distances from 0.1]
    #[arg(long, value_name = "X", value_parser = score)]
    pub drift_threshold: Option<f64>,
    /// Do not compare rows with those of the training
    #[arg(long, conflicts_with_all = ["drift_window", "drift_threshold"])]
    pub no_drift: bool,
    /// Write a line of JSON for each request into this file, - for standard error
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// The folder that holds the run folders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    #[command(flatten)]
    pub common: Common,
}

/// Whose names metrics also have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compat {
    /// NVIDIA Triton Inference Server
    Triton,
}

/// `127.0.0.1:8000`, `[::1]:8000`, `localhost:8000`.
fn address(text: &str) -> Result<SocketAddr, String> {
    let expected = "expected an address and a port: 127.0.0.1:8000, [::1]:8000, localhost:0";
    let mut found = text.to_socket_addrs().map_err(|_| expected.to_string())?;
    found.next().ok_or_else(|| expected.to_string())
}

/// A score: a number from 0.
fn score(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|x: &f64| *x >= 0.0 && x.is_finite());
    number.ok_or_else(|| "expected a number from 0".to_string())
}

/// `500us`, `2ms`, `30s`.
fn short(text: &str) -> Result<Duration, String> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let found = units.iter().find_map(|(unit, seconds)| {
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        Duration::try_from_secs_f64(number * seconds).ok()
    });
    let hour = Duration::from_secs(3600);
    found
        .filter(|time| *time <= hour)
        .ok_or_else(|| "expected a time such as 500us, 2ms or 30s".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h53_addresses_and_times_that_cannot_be_are_refused() {
        for text in ["127.0.0.1:70000", "127.0.0.1", "here", ":", "127.0.0.1:-1", ""] {
            assert!(address(text).is_err(), "{text}");
        }
        assert_eq!(address("[::1]:8000").unwrap().port(), 8000);
        for text in ["2", "ms", "-1s", "2h", "1e99s", "NaNs"] {
            assert!(short(text).is_err(), "{text}");
        }
        assert_eq!(short("1.5ms"), Ok(Duration::from_micros(1500)));
    }
}
