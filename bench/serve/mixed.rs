//! Sends good, bad and cut-off requests in a random order, and checks every answer.
//!
//! ```text
//! nerve-mixed 127.0.0.1:8000 MODEL --rows rows.csv --right right.csv --pid PID --requests 1000000
//! ```
//!
//! `rows.csv` has number columns and no quotes; `right.csv` is what `nerve predict` says of these rows: texts must be the same, numbers
//! differ by no more than 1e-5. Of ten requests six are good (rows as CSV, as JSON, as tensors in JSON and in bytes),
//! three are bad, each with the status it must get, and one is cut off: within its head or body, or before its answer is read.

mod process;

use process::{Holds, holds};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const USAGE: &str = "nerve-mixed ADDRESS MODEL --rows FILE --right FILE --pid PID [--requests 1000000] \
                     [--connections 8] [--seed 1]";

struct Plan {
    address: String,
    model: String,
    /// The names of the columns.
    names: Vec<String>,
    rows: Vec<Vec<String>>,
    right: Vec<Vec<String>>,
    pid: u32,
    requests: u64,
    connections: u64,
    seed: u64,
}

type Lines = Vec<Vec<String>>;

fn lines(file: &str) -> Option<Lines> {
    let text = std::fs::read_to_string(file).ok()?;
    Some(text.lines().map(|line| line.split(',').map(str::to_string).collect()).collect())
}

impl Plan {
    fn read(args: &[String]) -> Option<Plan> {
        let (places, options) = args.split_at_checked(2)?;
        let option = |key: &str| {
            let mut pairs = options.as_chunks::<2>().0.iter();
            pairs.find(|[name, _]| name == key).map(|[_, value]| value.as_str())
        };
        let number =
            |key: &str, usual: u64| option(key).map_or(Some(usual), |text| text.parse().ok());
        let (mut rows, mut right) = (lines(option("--rows")?)?, lines(option("--right")?)?);
        let names = rows.remove(0);
        // Where a row stood in its file is no answer.
        if right.remove(0)[0] == "place" {
            right.iter_mut().for_each(|line| drop(line.remove(0)));
        }
        (rows.len() == right.len() && !rows.is_empty()).then_some(())?;
        Some(Plan {
            address: places[0].clone(),
            model: places[1].clone(),
            names,
            rows,
            right,
            pid: option("--pid")?.parse().ok()?,
            requests: number("--requests", 1_000_000)?,
            connections: number("--connections", 8)?.max(1),
            seed: number("--seed", 1)?,
        })
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(plan) = Plan::read(&args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let (plan, done) = (Arc::new(plan), Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    let workers: Vec<_> = (0..plan.connections)
        .map(|number| {
            let (plan, done) = (plan.clone(), done.clone());
            std::thread::spawn(move || Client::new(&plan, number).work(&done))
        })
        .collect();
    let samples = watch(&plan, &done);
    let mut seen = Seen::default();
    for worker in workers {
        match worker.join() {
            Ok(part) => seen.add(part),
            Err(_) => seen.wrong += 1,
        }
    }
    std::thread::sleep(Duration::from_secs(1));
    report(&plan, &seen, samples, begun.elapsed())
}

/// What the server held, after each fiftieth of the requests.
fn watch(plan: &Plan, done: &AtomicU64) -> Vec<Holds> {
    let mut samples = Vec::new();
    loop {
        let so_far = done.load(Ordering::Relaxed);
        if so_far >= plan.requests * (samples.len() as u64 + 1) / 50 {
            let Some(now) = holds(plan.pid) else { return samples };
            samples.push(now);
            if samples.len() % 5 == 0 {
                println!("{so_far} requests: {} KiB, {} files", now.resident, now.files);
            }
        }
        if so_far >= plan.requests {
            return samples;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn report(plan: &Plan, seen: &Seen, samples: Vec<Holds>, took: Duration) -> ExitCode {
    let Some(end) = holds(plan.pid) else {
        println!("the server has gone");
        return ExitCode::FAILURE;
    };
    for ((kind, status), count) in &seen.counts {
        println!("{kind:>8} {status:>4} {count:>9}");
    }
    // What is needed once is there after a tenth of the requests.
    let settled = &samples[(samples.len() / 10).min(samples.len().saturating_sub(1))..];
    let sizes = settled.iter().map(|held| held.resident).chain([end.resident]);
    let (least, most) = (sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0));
    println!(
        "{} requests in {:.0} s; wrong answers: {}; resident after a tenth: {least} to {most} KiB ({:.1} %); files at the end: {}",
        seen.counts.values().sum::<u64>(),
        took.as_secs_f64(),
        seen.wrong,
        100.0 * (most - least) as f64 / least.max(1) as f64,
        end.files,
    );
    seen.examples.iter().for_each(|example| println!("{example}"));
    if seen.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Seen {
    /// By the kind of the request and the status of the answer, 0 where there is none.
    counts: BTreeMap<(&'static str, u16), u64>,
    wrong: u64,
    examples: Vec<String>,
}

impl Seen {
    fn add(&mut self, part: Seen) {
        for (key, count) in part.counts {
            *self.counts.entry(key).or_default() += count;
        }
        self.wrong += part.wrong;
        self.examples.extend(part.examples);
        self.examples.truncate(5);
    }

    fn count(&mut self, kind: &'static str, status: u16) {
        *self.counts.entry((kind, status)).or_default() += 1;
    }

    fn wrong(&mut self, request: &[u8], answer: &Answer) {
        self.wrong += 1;
        if self.examples.len() < 5 {
            let (request, body) =
                (String::from_utf8_lossy(request), String::from_utf8_lossy(&answer.body));
            self.examples.push(format!("{request:?} got {} {body:?}", answer.status));
        }
    }
}

#[derive(Default)]
struct Answer {
    status: u16,
    closes: bool,
    body: Vec<u8>,
}

struct Client<'p> {
    plan: &'p Plan,
    random: Random,
    share: u64,
    stream: Option<TcpStream>,
    seen: Seen,
}

impl<'p> Client<'p> {
    fn new(plan: &'p Plan, number: u64) -> Client<'p> {
        let share =
            plan.requests / plan.connections + u64::from(number < plan.requests % plan.connections);
        let random = Random(plan.seed.wrapping_mul(1_000_003).wrapping_add(number));
        Client { plan, random, share, stream: None, seen: Seen::default() }
    }

    fn work(mut self, done: &AtomicU64) -> Seen {
        for _ in 0..self.share {
            match self.random.below(10) {
                0 => self.cut(),
                1..4 => self.bad(),
                _ => self.good(),
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
        self.seen
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(&self.plan.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(stream)
    }

    /// The answer; status 0 where the connection ended without one.
    fn ask(&mut self, request: &[u8]) -> Answer {
        let stream = match self.stream.take() {
            Some(stream) => Ok(stream),
            None => self.connect(),
        };
        let Ok(mut stream) = stream else { return Answer::default() };
        // A server that has had enough answers while we write.
        let _ = stream.write_all(request);
        let answer = read(&mut stream).unwrap_or_default();
        if answer.status != 0 && !answer.closes {
            self.stream = Some(stream);
        }
        answer
    }

    fn good(&mut self) {
        let (request, from, count, form) = self.good_request();
        let answer = self.ask(&request);
        self.seen.count("good", answer.status);
        let right = &self.plan.right[from..from + count];
        let fits = answer.status == 200
            && match form {
                Form::Table => same_table(&answer.body, right),
                Form::Tensors => same_classes(&answer.body, right),
            };
        if !fits {
            self.seen.wrong(&request, &answer);
        }
    }

    /// A request, its rows from where and how many, and the form of its answer.
    fn good_request(&mut self) -> (Vec<u8>, usize, usize, Form) {
        let Plan { rows, names, model, .. } = self.plan;
        let from = self.random.below(rows.len());
        let count = 1 + self.random.below(4.min(rows.len() - from));
        let rows = &rows[from..from + count];
        let predict = format!("/predict/{model}");
        let infer = format!("/v2/models/{model}/infer");
        let column = |at: usize| rows.iter().map(move |row| row[at].as_str());
        let input = |at: usize, rest: &str| {
            format!(
                "{{\"name\":\"{}\",\"shape\":[{count}],\"datatype\":\"FP64\",{rest}}}",
                names[at]
            )
        };
        let (request, form) = match self.random.below(4) {
            0 => {
                let lines: Vec<String> = rows.iter().map(|row| row.join(",")).collect();
                let body = format!("{}\n{}\n", names.join(","), lines.join("\n"));
                (post(&predict, "Content-Type: text/csv\r\n", body.as_bytes()), Form::Table)
            }
            1 => {
                let cell = |(name, cell): (&String, &String)| format!("\"{name}\":{cell}");
                let row = |row: &Vec<String>| {
                    names.iter().zip(row).map(cell).collect::<Vec<_>>().join(",")
                };
                let lines: Vec<String> = rows.iter().map(row).collect();
                let body = format!("[{{{}}}]", lines.join("},{"));
                let head = "Content-Type: application/json\r\nAccept: text/csv\r\n";
                (post(&predict, head, body.as_bytes()), Form::Table)
            }
            2 => {
                let data = |at| {
                    let data = column(at).collect::<Vec<_>>().join(",");
                    input(at, &format!("\"data\":[{data}]"))
                };
                let inputs: Vec<String> = (0..names.len()).map(data).collect();
                let body = format!("{{\"inputs\":[{}]}}", inputs.join(","));
                (post(&infer, "", body.as_bytes()), Form::Tensors)
            }
            _ => {
                let size = |at| {
                    input(at, &format!("\"parameters\":{{\"binary_data_size\":{}}}", 8 * count))
                };
                let inputs: Vec<String> = (0..names.len()).map(size).collect();
                let head = format!("{{\"inputs\":[{}]}}", inputs.join(","));
                let numbers = (0..names.len()).flat_map(column);
                let bytes =
                    numbers.flat_map(|text| text.parse::<f64>().unwrap_or(f64::NAN).to_le_bytes());
                let more = format!("Inference-Header-Content-Length: {}\r\n", head.len());
                let body: Vec<u8> = head.bytes().chain(bytes).collect();
                (post(&infer, &more, &body), Form::Tensors)
            }
        };
        (request, from, count, form)
    }

    fn bad(&mut self) {
        let bad = bad(self.plan);
        let (status, request) = &bad[self.random.below(bad.len())];
        let answer = self.ask(request);
        self.seen.count("bad", answer.status);
        if answer.status != *status {
            self.seen.wrong(request, &answer);
        }
    }

    fn cut(&mut self) {
        let (request, ..) = self.good_request();
        self.seen.count("cut off", 0);
        let Ok(mut stream) = self.connect() else { return self.seen.wrong += 1 };
        let length = self.random.below(request.len() + 1);
        let _ = stream.write_all(&request[..length]);
        // Half of them say that nothing more will come, and wait for what is said to that.
        if self.random.below(2) == 0 {
            let _ = stream.shutdown(Shutdown::Write);
            let answer = read(&mut stream).unwrap_or_default();
            if !matches!(answer.status, 0 | 400) && length < request.len() {
                self.seen.wrong(&request[..length], &answer);
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Form {
    /// CSV.
    Table,
    /// The Open Inference Protocol.
    Tensors,
}

fn post(path: &str, head: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Bad requests, and what they must get.
fn bad(plan: &Plan) -> Vec<(u16, Vec<u8>)> {
    let (predict, infer) =
        (format!("/predict/{}", plan.model), format!("/v2/models/{}/infer", plan.model));
    let json = |text: &str| post(&predict, "Content-Type: application/json\r\n", text.as_bytes());
    let tensors = |text: &str| post(&infer, "", text.as_bytes());
    let deep = "[".repeat(5000);
    let plain = |line: &str| format!("{line}\r\nHost: localhost\r\n\r\n").into_bytes();
    let name = &plan.names[0];
    vec![
        (400, json("")),
        (400, json("{")),
        (400, json("nonsense")),
        (400, json(&deep)),
        (400, json(&format!("{{\"{name}\": 1, \"{name}\": 2}}"))),
        (422, json("[]")),
        (422, json("{}")),
        (422, json(&format!("{{\"{name}\": \"far\"}}"))),
        (400, tensors("")),
        (400, tensors("{\"inputs\": 3}")),
        (400, tensors(&deep)),
        (422, tensors("{\"inputs\": []}")),
        (
            422,
            tensors(
                "{\"inputs\": [{\"name\": \"?\", \"shape\": [1], \"datatype\": \"FP64\", \"data\": [1]}]}",
            ),
        ),
        (
            422,
            tensors(&format!(
                "{{\"inputs\": [{{\"name\": \"{name}\", \"shape\": [9223372036854775807, 2], \"datatype\": \"FP64\", \"data\": [1]}}]}}"
            )),
        ),
        (
            422,
            tensors(&format!(
                "{{\"inputs\": [{{\"name\": \"{name}\", \"shape\": [-1], \"datatype\": \"FP64\", \"data\": [1]}}]}}"
            )),
        ),
        (400, post(&infer, "Inference-Header-Content-Length: 99999\r\n", b"{}")),
        (400, post(&infer, "Inference-Header-Content-Length: -1\r\n", b"{}")),
        (415, post(&predict, "Content-Type: text/html\r\n", b"<p>")),
        (415, post(&predict, "Content-Type: text/csv\r\nContent-Encoding: gzip\r\n", b"x")),
        (400, post(&predict, "Content-Type: text/csv\r\n", b"\xff\xfe\n1")),
        (404, plain("GET /v2/models/none HTTP/1.1")),
        (404, plain("GET /../../etc/passwd HTTP/1.1")),
        (404, plain("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1")),
        (405, plain(&format!("DELETE {predict} HTTP/1.1"))),
        (405, plain(&format!("GET {infer} HTTP/1.1"))),
        (421, b"GET /v2 HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n".to_vec()),
        (400, b"\x16\x03\x01\x00\x05hello\r\n\r\n".to_vec()),
    ]
}

fn read(stream: &mut TcpStream) -> io::Result<Answer> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    let mut more = |bytes: &mut Vec<u8>| match stream.read(&mut piece)? {
        0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        count => {
            bytes.extend_from_slice(&piece[..count]);
            Ok(())
        }
    };
    let head = loop {
        match bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(end) => break end,
            None => more(&mut bytes)?,
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let length = field("content-length:").and_then(|length| length.parse().ok()).unwrap_or(0);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let closes = field("connection:") == Some("close");
    while bytes.len() < head + 4 + length {
        more(&mut bytes)?;
    }
    Ok(Answer { status, closes, body: bytes.split_off(head + 4) })
}

/// Whether a cell says the same: the same text, or about the same number.
fn same(found: &str, right: &str) -> bool {
    let numbers = found.parse::<f64>().ok().zip(right.parse::<f64>().ok());
    found == right || numbers.is_some_and(|(found, right)| (found - right).abs() <= 1e-5)
}

fn same_table(body: &[u8], right: &[Vec<String>]) -> bool {
    let Ok(text) = std::str::from_utf8(body) else { return false };
    let rows: Lines =
        text.lines().skip(1).map(|line| line.split(',').map(str::to_string).collect()).collect();
    let row = |(found, right): (&Vec<String>, &Vec<String>)| {
        found.len() == right.len() && found.iter().zip(right).all(|(a, b)| same(a, b))
    };
    rows.len() == right.len() && rows.iter().zip(right).all(row)
}

/// Whether the texts of the first output are those of the first column.
fn same_classes(body: &[u8], right: &[Vec<String>]) -> bool {
    let text = String::from_utf8_lossy(body);
    let data = text.split_once("\"data\":[").and_then(|(_, rest)| rest.split_once(']'));
    let found: Vec<&str> = data.map_or("", |(data, _)| data).split(',').collect();
    found.len() == right.len()
        && found.iter().zip(right).all(|(found, right)| same(found.trim_matches('"'), &right[0]))
}
