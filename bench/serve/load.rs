//! Asks a server the same thing again and again, and says how many answers a second came and after which time.
//!
//! ```text
//! nerve-load 127.0.0.1:8000 /predict/small --type application/json --body row.json --connections 64 --seconds 10
//! nerve-load 127.0.0.1:8000 /v2/models/small/infer --body row.json --connections 64 --rate 5000
//! ```
//!
//! Without `--rate` the loop is closed: each connection asks again when it was answered, which finds the most that
//! the server can do. With it the loop is open: requests begin at random times (Poisson) at this rate, and their
//! time counts from when they should have begun, so that a server that stands still cannot hide it. Answers of 503 and 429
//! are refusals: they have times of their own, and those without `Retry-After` are counted. A flood is a rate that is ten times
//! what the closed loop found, with many connections: each has one request under way.
//!
//! `--header 'Inference-Header-Content-Length: 147'` for tensors in bytes. `--every 60 --pid PID` says after each minute what the
//! server holds and how the times of that minute were.

mod process;

use std::collections::HashMap;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

const USAGE: &str = "nerve-load ADDRESS PATH --body FILE [--type application/json] [--connections 64] \
                     [--seconds 10] [--warm 2] [--rate PER_SECOND] [--header 'NAME: VALUE'] \
                     [--every SECONDS --pid PID]";

struct Plan {
    address: String,
    request: Vec<u8>,
    connections: usize,
    warm: Duration,
    time: Duration,
    rate: Option<f64>,
    /// How often to say how it goes, and of which process.
    every: Option<(f64, u32)>,
}

impl Plan {
    fn read(args: &[String]) -> Option<Plan> {
        let (places, options) = args.split_at_checked(2)?;
        let options: HashMap<&str, &str> = options
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[key, value]| (key.as_str(), value.as_str()))
            .collect();
        let number =
            |key: &str, usual: f64| options.get(key).map_or(Some(usual), |text| text.parse().ok());
        let body = std::fs::read(options.get("--body")?).ok()?;
        let kind = options.get("--type").copied().unwrap_or("application/json");
        let (address, path) = (places[0].clone(), &places[1]);
        let more = options.get("--header").map_or(String::new(), |line| format!("{line}\r\n"));
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {kind}\r\n{more}Content-Length: {}\r\n\r\n",
            body.len()
        );
        Some(Plan {
            address,
            request: [head.as_bytes(), &body].concat(),
            connections: number("--connections", 64.0)? as usize,
            warm: Duration::from_secs_f64(number("--warm", 2.0)?),
            time: Duration::from_secs_f64(number("--seconds", 10.0)?),
            rate: options.get("--rate").map(|text| text.parse()).transpose().ok()?,
            every: match (options.get("--every"), options.get("--pid")) {
                (Some(every), Some(pid)) => Some((every.parse().ok()?, pid.parse().ok()?)),
                _ => None,
            },
        })
    }
}

/// When each answer's request was due, in seconds since the beginning, and how many microseconds it took from then.
type Times = Vec<(f32, f32)>;

#[derive(Default)]
struct Seen {
    /// Answers of 200.
    times: Times,
    /// Answers of 503 and 429.
    refused: Times,
    /// Refusals that do not say when to come again.
    curt: usize,
    failed: usize,
}

impl Seen {
    fn add(&mut self, more: Seen) {
        self.times.extend(more.times);
        self.refused.extend(more.refused);
        self.curt += more.curt;
        self.failed += more.failed;
    }
}

/// The time that this share of the answers did not exceed; `sorted` are times in microseconds.
fn at(sorted: &[f32], share: f64) -> f32 {
    let index = (share * sorted.len() as f64) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f32::NAN)
}

/// The times from one moment to another, sorted.
fn between(times: &[(f32, f32)], from: f64, to: f64) -> Vec<f32> {
    let within = |(when, _): &&(f32, f32)| (from..to).contains(&f64::from(*when));
    let mut found: Vec<f32> = times.iter().filter(within).map(|(_, time)| *time).collect();
    found.sort_by(f32::total_cmp);
    found
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(plan) = Plan::read(&args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let seen = match runtime {
        Ok(runtime) => tokio::task::LocalSet::new().block_on(&runtime, run(Rc::new(plan))),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    println!("{seen}");
    ExitCode::SUCCESS
}

async fn run(plan: Rc<Plan>) -> String {
    let begin = Instant::now() + plan.warm;
    let end = begin + plan.time;
    // The times at which requests should begin; a closed loop needs none.
    let (times, due) = mpsc::unbounded_channel::<Instant>();
    let due = Rc::new(Mutex::new(due));
    let mut workers = Vec::new();
    for _ in 0..plan.connections {
        let (plan, due) = (plan.clone(), due.clone());
        workers.push(tokio::task::spawn_local(
            async move { connection(&plan, &due, begin, end).await },
        ));
    }
    let watched =
        plan.every.map(|(every, pid)| tokio::task::spawn_local(watch(every, pid, begin, end)));
    if let Some(rate) = plan.rate {
        let mut next = Instant::now();
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        while next < end {
            while Instant::now() < next {
                match plan.every {
                    // For an hour a core is too much: requests begin up to a millisecond late, which their time says.
                    Some(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                    None => tokio::task::yield_now().await,
                }
            }
            let _ = times.send(next);
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let uniform = ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            next += Duration::from_secs_f64(-uniform.ln() / rate);
        }
    }
    drop(times);
    let mut all = Seen::default();
    for worker in workers {
        match worker.await {
            Ok(seen) => all.add(seen),
            Err(_) => all.failed += 1,
        }
    }
    let windows = match watched {
        Some(watched) => watched.await.unwrap_or_default(),
        None => Vec::new(),
    };
    let mut text = String::new();
    for (from, to, held) in windows {
        let times = between(&all.times, from, to);
        text.push_str(&format!(
            "{to:.0} s: {} answers, p50 {:.0}, p99 {:.0}; {} KiB, {} files\n",
            times.len(),
            at(&times, 0.5),
            at(&times, 0.99),
            held.resident,
            held.files
        ));
    }
    let told = |times: &Times| {
        let times = between(times, f64::MIN, f64::MAX);
        format!(
            "{:.0} a second; microseconds: p50 {:.0}, p90 {:.0}, p99 {:.0}, p99.9 {:.0}, most {:.0}",
            times.len() as f64 / plan.time.as_secs_f64(),
            at(&times, 0.5),
            at(&times, 0.9),
            at(&times, 0.99),
            at(&times, 0.999),
            at(&times, 1.0)
        )
    };
    text += &format!("{} answers, {} failed, {}", all.times.len(), all.failed, told(&all.times));
    if !all.refused.is_empty() {
        let (count, curt) = (all.refused.len(), all.curt);
        text += &format!("\n{count} refused, {curt} without Retry-After, {}", told(&all.refused));
    }
    text
}

/// What the server held at the end of each window: from when to when, in seconds since the beginning.
async fn watch(
    every: f64,
    pid: u32,
    begin: Instant,
    end: Instant,
) -> Vec<(f64, f64, process::Holds)> {
    let mut windows = Vec::new();
    let mut from = 0.0;
    loop {
        let to = from + every;
        let until = begin + Duration::from_secs_f64(to);
        if until > end {
            return windows;
        }
        tokio::time::sleep_until(until.into()).await;
        let Some(held) = process::holds(pid) else { return windows };
        eprintln!("{to:.0} s: {} KiB, {} files", held.resident, held.files);
        windows.push((from, to, held));
        from = to;
    }
}

async fn connection(
    plan: &Plan,
    due: &Mutex<mpsc::UnboundedReceiver<Instant>>,
    begin: Instant,
    end: Instant,
) -> Seen {
    let mut seen = Seen::default();
    let Ok(mut stream) = TcpStream::connect(&plan.address).await else {
        seen.failed += 1;
        return seen;
    };
    let _ = stream.set_nodelay(true);
    let mut room = Vec::with_capacity(1 << 16);
    loop {
        let since = match plan.rate {
            Some(_) => match due.lock().await.recv().await {
                Some(since) => since,
                None => return seen,
            },
            None => Instant::now(),
        };
        if since >= end {
            return seen;
        }
        let answered = ask(&mut stream, &plan.request, &mut room).await;
        let time = || ((since - begin).as_secs_f32(), since.elapsed().as_secs_f32() * 1e6);
        match answered {
            Ok(_) if since < begin => {}
            Ok(Answer { status: 200, .. }) => seen.times.push(time()),
            Ok(Answer { status: 429 | 503, again }) => {
                seen.refused.push(time());
                seen.curt += usize::from(!again);
            }
            Ok(_) => seen.failed += 1,
            Err(_) => {
                seen.failed += 1;
                match TcpStream::connect(&plan.address).await {
                    Ok(fresh) => stream = fresh,
                    Err(_) => return seen,
                }
            }
        }
    }
}

struct Answer {
    status: u16,
    /// Whether it says when to come again.
    again: bool,
}

/// The answer, which is read whole.
async fn ask(stream: &mut TcpStream, request: &[u8], room: &mut Vec<u8>) -> io::Result<Answer> {
    let mut rest = request;
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    room.clear();
    loop {
        read(stream, room).await?;
        let Some(head) = room.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&room[..head]).to_ascii_lowercase();
        let length =
            text.split("content-length:").nth(1).and_then(|rest| rest.split("\r\n").next());
        let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
        while room.len() < head + 4 + length {
            read(stream, room).await?;
        }
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        return Ok(Answer { status, again: text.contains("\r\nretry-after:") });
    }
}

async fn read(stream: &TcpStream, room: &mut Vec<u8>) -> io::Result<()> {
    let mut piece = [0; 16 << 10];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                room.extend_from_slice(&piece[..count]);
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
