//! A server that behaves as MLflow does, checks every field of what it is sent, and can be away.
#![allow(dead_code, missing_docs)]

pub mod samples;

use nerve_track::{FORMAT, Number, What};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// Nothing.
    None,
    /// The connection breaks before the request was looked at.
    Away,
    /// The request is carried out, but its answer is lost.
    Lost,
    /// The server says that it cannot now.
    Busy,
}

#[derive(Debug, Default)]
pub struct Run {
    pub name: String,
    pub experiment: String,
    pub start: i64,
    pub end: Option<i64>,
    pub status: String,
    pub tags: BTreeMap<String, String>,
    pub params: BTreeMap<String, String>,
    /// Key, value, timestamp, step; each once, as in MLflow's table.
    pub metrics: Vec<(String, String, i64, i64)>,
    pub artifacts: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Default)]
pub struct Store {
    pub experiments: Vec<String>,
    pub runs: Vec<Run>,
    /// Method and path of each request.
    pub requests: Vec<String>,
    pub troubles: VecDeque<Trouble>,
    /// The header that every request must have.
    pub authorization: Option<String>,
    /// What is wrong with a request, in words.
    pub faults: Vec<String>,
    pub local_artifacts: bool,
}

type Answer = Result<Value, (u16, &'static str, String)>;

pub struct Server {
    pub address: String,
    pub store: Arc<Mutex<Store>>,
}

impl Server {
    pub fn start() -> Server {
        Server::with("http://127.0.0.1", serve)
    }

    /// One that speaks TLS and shows a certificate of the test's authority.
    pub fn encrypted(name: &str) -> Server {
        let provider = nerve_tls::provider().unwrap();
        let chain = nerve_tls::certificates(&certificate(&format!("{name}.pem"))).unwrap();
        let key = PrivateKeyDer::from_pem_file(certificate(&format!("{name}.key"))).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let config = Arc::new(config.unwrap());
        Server::with("https://localhost", move |stream, store| {
            let connection = ServerConnection::new(config.clone()).unwrap();
            serve(StreamOwned::new(connection, stream), store)
        })
    }

    fn with(
        place: &str,
        serve: impl Fn(TcpStream, &Mutex<Store>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("{place}:{}", listener.local_addr().unwrap().port());
        let serve = Arc::new(serve);
        let store = Arc::new(Mutex::new(Store::default()));
        let shared = store.clone();
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (store, serve) = (shared.clone(), serve.clone());
                thread::spawn(move || drop(serve(stream, &store)));
            }
        });
        Server { address, store }
    }

    pub fn troubles(&self, troubles: &[Trouble]) {
        self.store.lock().unwrap().troubles.extend(troubles);
    }

    #[track_caller]
    pub fn no_faults(&self) {
        assert_eq!(self.store.lock().unwrap().faults, Vec::<String>::new());
    }
}

/// A file of the certificates for tests.
pub fn certificate(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../nerve-tls/tests/certificates").join(file)
}

fn serve(stream: impl Read + Write, store: &Mutex<Store>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_string());
        }
        let length: usize = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut store = store.lock().unwrap();
        let trouble = store.troubles.pop_front().unwrap_or(Trouble::None);
        let (status, text) = match trouble {
            Trouble::Away => return Ok(()),
            Trouble::Busy => (503, "busy".to_string()),
            Trouble::None | Trouble::Lost => {
                match answer(&mut store, line.trim_end(), &headers, &body) {
                    Ok(value) => (200, value.to_string()),
                    Err((status, code, message)) => {
                        (status, json!({ "error_code": code, "message": message }).to_string())
                    }
                }
            }
        };
        drop(store);
        if matches!(trouble, Trouble::Lost) {
            return Ok(());
        }
        let out = reader.get_mut();
        write!(
            out,
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )?;
        out.flush()?;
    }
}

fn answer(
    store: &mut Store,
    line: &str,
    headers: &BTreeMap<String, String>,
    body: &[u8],
) -> Answer {
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    store.requests.push(format!("{method} {target}"));
    if store.authorization.is_some() && headers.get("authorization") != store.authorization.as_ref()
    {
        return Err((401, "UNAUTHENTICATED", "who are you".into()));
    }
    if let Some(place) = target.strip_prefix("/api/2.0/mlflow-artifacts/artifacts/") {
        return artifact(store, method, place, body);
    }
    let Some(path) = target.strip_prefix("/api/2.0/mlflow/") else {
        return Err((404, "ENDPOINT_NOT_FOUND", target.into()));
    };
    if method == "GET" {
        let name = path.strip_prefix("experiments/get-by-name?experiment_name=");
        let name = name.ok_or((404, "ENDPOINT_NOT_FOUND", path.to_string()))?;
        let number = store.experiments.iter().position(|known| *known == decode(name));
        let missing = || (404, "RESOURCE_DOES_NOT_EXIST", format!("no experiment {name}"));
        let id = number.ok_or_else(missing)?.to_string();
        return Ok(json!({ "experiment": { "experiment_id": id, "name": decode(name) } }));
    }
    if headers.get("content-type").map(String::as_str) != Some("application/json") {
        store.faults.push(format!("{path}: content type {:?}", headers.get("content-type")));
    }
    if body.len() > 1_000_000 {
        store.faults.push(format!("{path}: a body of {} bytes", body.len()));
    }
    let body: Value =
        serde_json::from_slice(body).map_err(|e| (400, "BAD_REQUEST", e.to_string()))?;
    let fields = body.as_object().ok_or((400, "BAD_REQUEST", "no object".to_string()))?;
    match path {
        "experiments/create" => {
            only(store, path, fields, &["name"]);
            let name = fields["name"].as_str().unwrap().to_string();
            if store.experiments.contains(&name) {
                return Err((400, "RESOURCE_ALREADY_EXISTS", name));
            }
            store.experiments.push(name);
            Ok(json!({ "experiment_id": (store.experiments.len() - 1).to_string() }))
        }
        "runs/create" => create(store, fields),
        "runs/search" => search(store, fields),
        "runs/log-batch" => log(store, fields),
        "runs/update" => update(store, fields),
        _ => Err((404, "ENDPOINT_NOT_FOUND", path.into())),
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if let (b'%', [a, b, tail @ ..]) = (first, tail) {
            let hex = std::str::from_utf8(&[*a, *b]).unwrap().to_string();
            bytes.push(u8::from_str_radix(&hex, 16).unwrap());
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn only(store: &mut Store, path: &str, fields: &Map<String, Value>, known: &[&str]) {
    let strange = fields.keys().filter(|key| !known.contains(&key.as_str()));
    store.faults.extend(strange.map(|key| format!("{path}: the field {key}")));
}

fn good_key(key: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./: ".contains(c);
    let part = |part: &str| !["", ".", ".."].contains(&part);
    key.len() <= 250 && key.chars().all(plain) && key.split('/').all(part)
}

fn pairs(store: &mut Store, path: &str, list: &Value, longest: usize) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for pair in list.as_array().into_iter().flatten() {
        only(store, path, pair.as_object().unwrap(), &["key", "value"]);
        let text = |key: &str| pair[key].as_str().unwrap().to_string();
        if text("value").chars().count() > longest {
            store.faults.push(format!("{path}: a long value of {}", text("key")));
        }
        found.push((text("key"), text("value")));
    }
    found
}

fn info(store: &Store, number: usize) -> Value {
    let run = &store.runs[number];
    let uri = match store.local_artifacts {
        true => format!("/srv/{number}"),
        false => format!("mlflow-artifacts:/{}/{number}/artifacts", run.experiment),
    };
    json!({ "info": { "run_id": format!("run{number}"), "artifact_uri": uri, "status": run.status } })
}

fn create(store: &mut Store, fields: &Map<String, Value>) -> Answer {
    only(store, "runs/create", fields, &["experiment_id", "run_name", "start_time", "tags"]);
    let experiment = fields["experiment_id"].as_str().unwrap().to_string();
    if experiment.parse::<usize>().map_or(true, |id| id >= store.experiments.len()) {
        return Err((404, "RESOURCE_DOES_NOT_EXIST", experiment));
    }
    let tags = pairs(store, "runs/create", &fields["tags"], 5000).into_iter().collect();
    store.runs.push(Run {
        name: fields["run_name"].as_str().unwrap().into(),
        experiment,
        start: fields["start_time"].as_i64().unwrap(),
        status: "RUNNING".into(),
        tags,
        ..Run::default()
    });
    Ok(json!({ "run": info(store, store.runs.len() - 1) }))
}

fn search(store: &mut Store, fields: &Map<String, Value>) -> Answer {
    only(store, "runs/search", fields, &["experiment_ids", "filter", "max_results"]);
    let filter = fields["filter"].as_str().unwrap();
    let key = filter.strip_prefix("tags.\"nerve.export\" = '").unwrap().trim_end_matches('\'');
    let found = (0..store.runs.len())
        .filter(|&i| store.runs[i].tags.get("nerve.export").is_some_and(|tag| tag == key));
    let found: Vec<Value> = found.map(|i| info(store, i)).collect();
    // MLflow leaves out lists that are empty.
    Ok(if found.is_empty() { json!({}) } else { json!({ "runs": found }) })
}

fn number_of(
    store: &Store,
    fields: &Map<String, Value>,
) -> Result<usize, (u16, &'static str, String)> {
    let id = fields["run_id"].as_str().unwrap_or_default();
    let number = id.strip_prefix("run").and_then(|n| n.parse().ok());
    number.filter(|n| *n < store.runs.len()).ok_or((
        404,
        "RESOURCE_DOES_NOT_EXIST",
        format!("Run with id={id} not found"),
    ))
}

fn log(store: &mut Store, fields: &Map<String, Value>) -> Answer {
    let path = "runs/log-batch";
    only(store, path, fields, &["run_id", "metrics", "params"]);
    let number = number_of(store, fields)?;
    let params = pairs(store, path, &fields.get("params").cloned().unwrap_or_default(), 6000);
    let metrics = fields.get("metrics").and_then(Value::as_array).cloned().unwrap_or_default();
    if metrics.len() > 1000 || params.len() > 100 {
        let many = format!("{} metrics, {} params", metrics.len(), params.len());
        return Err((400, "INVALID_PARAMETER_VALUE", many));
    }
    for (key, value) in params {
        if !good_key(&key) {
            return Err((400, "INVALID_PARAMETER_VALUE", key));
        }
        let old = store.runs[number].params.insert(key.clone(), value.clone());
        if old.is_some_and(|old| old != value) {
            return Err((400, "INVALID_PARAMETER_VALUE", format!("{key} was already logged")));
        }
    }
    for metric in metrics {
        let fields = metric.as_object().unwrap();
        only(store, path, fields, &["key", "value", "timestamp", "step"]);
        let key = metric["key"].as_str().unwrap();
        let word = metric["value"].as_str();
        let sound = metric["value"].is_f64()
            || metric["value"].is_i64()
            || word.is_some_and(|word| ["NaN", "Infinity", "-Infinity"].contains(&word));
        if !sound || !good_key(key) {
            return Err((400, "INVALID_PARAMETER_VALUE", metric.to_string()));
        }
        let value = word.map_or_else(|| metric["value"].to_string(), str::to_string);
        let time = metric["timestamp"].as_i64().unwrap();
        let row = (key.to_string(), value, time, metric["step"].as_i64().unwrap());
        let rows = &mut store.runs[number].metrics;
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    Ok(json!({}))
}

fn update(store: &mut Store, fields: &Map<String, Value>) -> Answer {
    only(store, "runs/update", fields, &["run_id", "status", "end_time"]);
    let number = number_of(store, fields)?;
    let status = fields["status"].as_str().unwrap();
    if !["RUNNING", "FINISHED", "FAILED", "KILLED", "SCHEDULED"].contains(&status) {
        return Err((400, "INVALID_PARAMETER_VALUE", status.into()));
    }
    store.runs[number].status = status.into();
    store.runs[number].end = fields.get("end_time").and_then(Value::as_i64);
    Ok(json!({ "run_info": {} }))
}

fn artifact(store: &mut Store, method: &str, place: &str, body: &[u8]) -> Answer {
    let parts: Vec<&str> = place.split('/').collect();
    let ("PUT", [_, number, "artifacts", name]) = (method, &parts[..]) else {
        return Err((404, "ENDPOINT_NOT_FOUND", place.into()));
    };
    let number: usize = number.parse().unwrap();
    store.runs[number].artifacts.insert(decode(name), body.to_vec());
    Ok(json!({}))
}
