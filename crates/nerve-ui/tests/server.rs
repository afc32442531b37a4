//! The server as a browser, a stranger and a damaged disk meet it.

mod common;

use common::{BEGAN, EVIL, Fixture, big, many, now};
use nerve_track::{EVENTS, Event, Number, STATE, Status, What};
use nerve_ui::Dashboard;
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// Serves a folder for the rest of the test.
fn serve(root: &Path) -> SocketAddr {
    let dashboard = Dashboard::open(root, 0).unwrap();
    let address = dashboard.address();
    std::thread::spawn(move || dashboard.serve().unwrap());
    address
}

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

/// Sends bytes as they are, and takes what comes until the other side closes.
fn raw(to: SocketAddr, request: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    let cut = reply.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(reply[..cut].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head, body: reply[cut + 4..].to_vec() }
}

fn ask(to: SocketAddr, method: &str, path: &str, more: &str) -> Reply {
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n{more}\r\n");
    raw(to, request.as_bytes())
}

fn get(to: SocketAddr, path: &str) -> Reply {
    ask(to, "GET", path, "")
}

#[test]
fn runs_are_listed_with_how_they_stand() {
    let root = tempfile::tempdir().unwrap();
    let fixture = |name, status, heartbeat| Fixture {
        name,
        done: 1,
        steps: 5,
        status,
        heartbeat,
        ..Fixture::default()
    };
    fixture("done", Status::Done, BEGAN).write(root.path());
    fixture("lives", Status::Running, now() + 60.0).write(root.path());
    fixture("lost", Status::Running, now() - 5.0).write(root.path());
    fixture("stopped", Status::Stopped, BEGAN).write(root.path());
    let damaged = fixture("damaged", Status::Done, BEGAN).write(root.path());
    fs::write(damaged.file(STATE), "{\"status\":").unwrap();
    fs::create_dir(root.path().join("no run")).unwrap();
    let to = serve(root.path());
    let reply = get(to, "/api/runs").json();
    let found: Vec<(&str, &str)> = reply["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| (run["name"].as_str().unwrap(), run["status"].as_str().unwrap()))
        .collect();
    let expected = [
        ("damaged", "unknown"),
        ("done", "done"),
        ("lives", "running"),
        ("lost", "crashed"),
        ("stopped", "stopped"),
    ];
    assert_eq!(found, expected);
    let done = &reply["runs"][1];
    assert_eq!(done["last"]["epoch"], 1.0);
    assert_eq!(done["best"]["goal"], "val_loss");
    assert_eq!(done["began"], BEGAN);
}

#[test]
fn a_run_that_is_named_itself_is_the_only_one() {
    let root = tempfile::tempdir().unwrap();
    let run = Fixture { done: 1, steps: 5, ..Fixture::default() }.write(root.path());
    let to = serve(run.path());
    let runs = get(to, "/api/runs").json();
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1);
    assert_eq!(get(to, "/api/runs/mnist/tags").json()["run"]["name"], "mnist");
}

#[test]
fn curves_come_exact_when_few_and_thinned_when_many() {
    let root = tempfile::tempdir().unwrap();
    Fixture { epochs: 2, done: 2, steps: 3, ..Fixture::default() }.write(root.path());
    big(root.path(), 40_000);
    let to = serve(root.path());
    let few = get(to, "/api/runs/mnist/scalars?tags=lr,none&x=epoch").json();
    let expected = json!({
        "step": [1, 2, 3, 4, 5, 6],
        "epoch": [1.0 / 3.0, 2.0 / 3.0, 1.0, 4.0 / 3.0, 5.0 / 3.0, 2.0],
        "seconds": [0.075, 0.15, 0.225, 0.3, 0.375, 0.45],
        "value": [0.00085, 0.0007, 0.00055, 0.0004, 0.00025, 0.0001],
        "total": 6, "exact": true,
    });
    let close = |found: &Value, expected: &Value| {
        (found.as_f64().unwrap() - expected.as_f64().unwrap()).abs() < 1e-12
    };
    assert_eq!(few["curves"].as_object().unwrap().len(), 1);
    let found = &few["curves"]["lr"];
    for name in ["step", "epoch", "seconds", "value"] {
        let pairs = found[name].as_array().unwrap().iter().zip(expected[name].as_array().unwrap());
        assert!(
            found[name].as_array().unwrap().len() == 6 && pairs.clone().all(|(a, b)| close(a, b)),
            "{name}: {found}"
        );
    }
    let many =
        get(to, "/api/runs/big/scalars?tags=loss/train&px=100").json()["curves"]["loss/train"]
            .clone();
    assert_eq!((many["exact"].as_bool(), many["total"].as_u64()), (Some(false), Some(10_000)));
    assert!(many["value"].as_array().unwrap().len() <= 400);
    let part = get(to, "/api/runs/big/scalars?tags=loss/train&px=100&from=500&to=600").json()["curves"]["loss/train"].clone();
    let steps: Vec<u64> =
        part["step"].as_array().unwrap().iter().map(|step| step.as_u64().unwrap()).collect();
    assert_eq!(steps, (499..=601).collect::<Vec<u64>>());
    assert_eq!(part["exact"], true);
    for (query, status) in [
        ("x=colour", 400),
        ("px=-1", 400),
        ("from=NaN&to=NaN&tags=loss/train", 200),
        ("px=99999999999&tags=loss/train", 200),
        ("smooth=2&tags=loss/train", 200),
    ] {
        assert_eq!(get(to, &format!("/api/runs/big/scalars?{query}")).status, status, "{query}");
    }
}

#[test]
fn a_continued_run_has_each_step_once_and_no_pause_in_its_seconds() {
    let root = tempfile::tempdir().unwrap();
    Fixture { epochs: 4, done: 4, steps: 20, resumed: true, ..Fixture::default() }
        .write(root.path());
    let to = serve(root.path());
    let curve =
        get(to, "/api/runs/mnist/scalars?tags=loss/train").json()["curves"]["loss/train"].clone();
    let steps: Vec<u64> =
        curve["step"].as_array().unwrap().iter().map(|step| step.as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=80).collect::<Vec<u64>>());
    let last = curve["seconds"].as_array().unwrap().last().unwrap().as_f64().unwrap();
    assert!(
        (last - 80.0 * 0.075).abs() < 0.01,
        "the hour between the processes does not count: {last}"
    );
    let tags = get(to, "/api/runs/mnist/tags").json();
    assert_eq!(tags["begins"].as_array().unwrap().len(), 2);
    assert_eq!(tags["begins"][1]["step"], 40);
    assert_eq!(tags["epochs"].as_array().unwrap().len(), 4);
}

#[test]
fn what_the_evaluation_tabs_show() {
    let root = tempfile::tempdir().unwrap();
    Fixture { done: 2, steps: 5, evil: true, ..Fixture::default() }.write(root.path());
    let to = serve(root.path());
    let confusion = get(to, "/api/runs/mnist/confusion?tag=val/digit").json();
    assert_eq!(confusion["matrices"].as_array().unwrap().len(), 2);
    assert_eq!(confusion["matrices"][0]["labels"][3], EVIL);
    let verdict = &get(to, "/api/runs/mnist/evaluation").json()["parts"]["val"];
    assert_eq!(verdict["rows"], true);
    let counts = &verdict["verdict"]["outputs"][0]["confusion"];
    let (truth, said) = (0..100)
        .map(|i| (i / 10, i % 10))
        .find(|&(t, s)| t != s && counts[t][s].as_u64() > Some(0))
        .unwrap();
    assert!(truth != 3 && said != 3);
    let cell =
        get(to, &format!("/api/runs/mnist/worst?part=val&output=digit&truth={truth}&said={said}"))
            .json();
    assert_eq!(cell["total"], counts[truth][said]);
    let all = get(to, "/api/runs/mnist/worst?part=val&wrong=true&n=1000").json();
    let losses: Vec<f64> = all["examples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["loss"].as_f64().unwrap())
        .collect();
    assert!(losses.is_sorted_by(|a, b| a >= b) && losses.len() > 10);
    assert!(all["examples"].as_array().unwrap().iter().all(|row| row["truth"] != row["said"]));
    let histograms = get(to, "/api/runs/mnist/histograms?tag=weights/fc1.weight").json();
    assert_eq!(histograms["histograms"].as_array().unwrap().len(), 2);
    assert_eq!(get(to, "/api/runs/mnist/histograms?tag=none").status, 404);
    assert!(get(to, "/api/runs/mnist/layers").json()["layers"]["fc1"]["dead"].is_number());
    assert_eq!(get(to, "/api/runs/mnist/recipe").json()["settings"]["trainer.optimizer.lr"], 0.001);
    assert_eq!(get(to, "/api/runs/mnist/model").json()["layers"].as_array().unwrap().len(), 10);
}

#[test]
fn a_picture_is_given_only_if_something_named_it() {
    let root = tempfile::tempdir().unwrap();
    let run = Fixture { done: 2, steps: 5, ..Fixture::default() }.write(root.path());
    fs::copy(run.file("eval/val/00000.png"), run.file("secret.png")).unwrap();
    fs::copy(run.file("eval/val/00000.png"), root.path().join("out.png")).unwrap();
    let mut events = OpenOptions::new().append(true).open(run.file(EVENTS)).unwrap();
    for file in ["env.json", "../out.png", "eval/val/00001.png"] {
        let what =
            What::Image { step: 1, tag: "x".into(), file: file.into(), caption: String::new() };
        writeln!(events, "{}", Event::now(what).line()).unwrap();
    }
    let to = serve(root.path());
    let status = |name: &str| get(to, &format!("/api/runs/mnist/picture?name={name}")).status;
    let good = get(to, "/api/runs/mnist/picture?name=eval/val/00000.png");
    assert_eq!((good.status, good.header("content-type")), (200, Some("image/png")));
    assert_eq!(status("eval/val/00001.png"), 200);
    for name in ["secret.png", "env.json", "../out.png", "..%2Fout.png", "/etc/passwd", "", "%00"] {
        assert_eq!(status(name), 404, "{name}");
    }
}

#[test]
fn h26_no_path_is_made_of_a_request() {
    let root = tempfile::tempdir().unwrap();
    let runs = root.path().join("runs");
    Fixture { done: 1, steps: 5, ..Fixture::default() }.write(&runs);
    Fixture { name: "outside", done: 1, steps: 5, ..Fixture::default() }.write(root.path());
    let to = serve(&runs);
    for run in [
        "..%2foutside",
        "../outside",
        "%2e%2e%2foutside",
        "mnist%2f..%2f..%2foutside",
        "mnist%00",
        "%c0%ae",
        ".",
        "..",
        "",
        "mnist/",
    ] {
        let reply = get(to, &format!("/api/runs/{run}/tags"));
        assert!(reply.status == 404 || reply.status == 400, "{run}: {}", reply.status);
    }
    for path in [
        "/assets/../Cargo.toml",
        "/assets/..%2f..%2fCargo.toml",
        "/assets/",
        "/etc/passwd",
        "//",
        "/api",
        "/api/runs/mnist/none",
    ] {
        let reply = get(to, path);
        assert_eq!(reply.status, 404, "{path}");
    }
    let said = String::from_utf8(get(to, "/api/runs/none/tags").body).unwrap();
    assert!(!said.contains(root.path().to_str().unwrap()), "h47: {said}");
}

#[test]
fn h48_other_names_of_this_machine_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let to = serve(root.path());
    let with = |host: &str| {
        raw(to, format!("GET /api/runs HTTP/1.1\r\n{host}Connection: close\r\n\r\n").as_bytes())
    };
    for host in [
        "Host: evil.example\r\n",
        "Host: 127.0.0.1.evil.example:80\r\n",
        "Host: 192.168.0.1\r\n",
        "Host:\r\n",
    ] {
        let reply = with(host);
        assert_eq!(reply.status, 421, "{host}");
    }
    assert!([400, 421].contains(&with("").status));
    let reply = with("Host: localhost:1234\r\nOrigin: http://evil.example\r\n");
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, None));
    assert_eq!(reply.header("cross-origin-resource-policy"), Some("same-origin"));
}

#[test]
fn h24_only_reading_is_answered() {
    let root = tempfile::tempdir().unwrap();
    let to = serve(root.path());
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        assert_eq!(ask(to, method, "/api/runs", "Content-Length: 0\r\n").status, 405, "{method}");
    }
    assert_eq!(raw(to, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").status, 400);
    let long = format!("/api/runs/{}/tags", "a".repeat(60_000));
    assert!([404, 414].contains(&get(to, &long).status));
    assert_eq!(get(to, "/api/runs").status, 200, "and it goes on");
}

#[test]
fn the_page_says_what_a_browser_may_load_and_is_sent_once() {
    let root = tempfile::tempdir().unwrap();
    let to = serve(root.path());
    let page = get(to, "/");
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let tag = page.header("etag").unwrap();
    let again = ask(to, "GET", "/", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!((again.status, again.body.len()), (304, 0));
    let script = get(to, "/assets/js/main.js");
    assert_eq!(
        (script.status, script.header("content-type")),
        (200, Some("text/javascript; charset=utf-8"))
    );
}

/// Reads a stream of events until `enough`.
fn listen(
    to: SocketAddr,
    path: &str,
    more: &str,
    mut enough: impl FnMut(&str, &str, &str) -> bool,
) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {to}\r\n{more}\r\n").unwrap();
    let (mut id, mut name, mut data) = (String::new(), String::new(), Vec::new());
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        match line.split_once(": ") {
            Some(("id", value)) => id = value.to_string(),
            Some(("event", value)) => name = value.to_string(),
            Some(("data", value)) => data.push(value.to_string()),
            _ if line.is_empty() && !data.is_empty() => {
                if enough(&id, &name, &data.join("\n")) {
                    return;
                }
                name.clear();
                data.clear();
            }
            _ => {}
        }
    }
    panic!("the stream ended");
}

#[test]
fn a_page_that_comes_back_misses_nothing_and_gets_nothing_twice() {
    let root = tempfile::tempdir().unwrap();
    let run = Fixture {
        done: 1,
        steps: 5,
        status: Status::Running,
        heartbeat: now() + 60.0,
        ..Fixture::default()
    }
    .write(root.path());
    let to = serve(root.path());
    let offset = get(to, "/api/runs/mnist/tags").json()["offset"].as_u64().unwrap();
    assert_eq!(offset, fs::metadata(run.file(EVENTS)).unwrap().len());
    let mut file = OpenOptions::new().append(true).open(run.file(EVENTS)).unwrap();
    let mut write = |steps: std::ops::Range<u64>| {
        for step in steps {
            let what = What::Scalar { step, epoch: 2, tag: "loss/train".into(), v: Number(0.5) };
            writeln!(file, "{}", Event::now(what).line()).unwrap();
        }
    };
    write(100..110);
    let (mut seen, mut last) = (Vec::new(), String::new());
    let mut collect = |path: &str, more: &str, until: u64| {
        listen(to, path, more, |id, name, data| {
            if name.is_empty() {
                let steps = data.lines().map(|line| {
                    serde_json::from_str::<Value>(line).unwrap()["step"].as_u64().unwrap()
                });
                seen.extend(steps);
                last = id.to_string();
            }
            seen.last() == Some(&until)
        });
        (seen.clone(), last.clone())
    };
    let (_, id) = collect(&format!("/api/runs/mnist/events?from={offset}"), "", 109);
    write(110..130);
    // As a browser comes back: the same address, and the id that it heard last.
    let more = format!("Last-Event-ID: {id}\r\n");
    let (seen, id) = collect(&format!("/api/runs/mnist/events?from={offset}"), &more, 129);
    assert_eq!(seen, (100..130).collect::<Vec<u64>>());
    assert_eq!(id, fs::metadata(run.file(EVENTS)).unwrap().len().to_string());
    // An offset in the middle of a line is not believed: all lines come.
    listen(to, "/api/runs/mnist/events?from=3", "", |_, name, data| {
        assert!(name == "state" || data.starts_with("{\"t\":") && data.contains("\"k\":\"begin\""));
        name.is_empty()
    });
    // How the run stands comes too, and that it was lost.
    let state =
        Fixture { status: Status::Running, heartbeat: now() - 2.5, ..Fixture::default() }.state();
    state.write(&run.file(STATE)).unwrap();
    let mut words = Vec::new();
    listen(to, &format!("/api/runs/mnist/events?from={id}"), "", |_, name, data| {
        if name == "state" {
            words.push(
                serde_json::from_str::<Value>(data).unwrap()["status"]
                    .as_str()
                    .unwrap()
                    .to_string(),
            );
        }
        words.last().is_some_and(|word| word == "crashed")
    });
    assert_eq!(words, ["running", "crashed"]);
}

#[test]
fn damaged_events_are_counted_and_the_rest_is_shown() {
    let root = tempfile::tempdir().unwrap();
    let run = Fixture { done: 1, steps: 5, ..Fixture::default() }.write(root.path());
    let mut file = OpenOptions::new().append(true).open(run.file(EVENTS)).unwrap();
    file.write_all(b"\xff\xfe torn\n{\"t\":1,\"k\":\"scalar\"}\n{\"t\":1,\"k\":\"hologram\"}\n")
        .unwrap();
    let hist = "{\"t\":1,\"k\":\"hist\",\"step\":1,\"epoch\":1,\"tag\":\"odd\",\"edges\":[],\"counts\":[1,2,3]}\n";
    file.write_all(hist.as_bytes()).unwrap();
    fs::write(run.file("eval/val.json"), "[").unwrap();
    let to = serve(root.path());
    let tags = get(to, "/api/runs/mnist/tags").json();
    assert_eq!(tags["skipped"], 2);
    assert_eq!(tags["tags"]["loss/train"]["points"], 5);
    let evaluation = get(to, "/api/runs/mnist/evaluation").json();
    assert!(evaluation["parts"]["val"]["problem"].as_str().unwrap().contains("eval/val.json"));
    // A shorter file is another one.
    let line = Event::now(Fixture::default().begin(0)).line();
    fs::write(run.file(EVENTS), format!("{line}\n")).unwrap();
    let tags = get(to, "/api/runs/mnist/tags").json();
    assert_eq!(tags["tags"], json!({}));
}

#[test]
fn five_hundred_runs_are_listed() {
    let root = tempfile::tempdir().unwrap();
    many(root.path(), 500);
    let to = serve(root.path());
    let list = get(to, "/api/runs").json();
    assert_eq!(list["runs"].as_array().unwrap().len(), 500);
    assert_eq!(list["runs"][499]["last"]["val_loss"], 0.6);
}

#[test]
fn a_tuning_is_shown_from_its_journal() {
    let root = tempfile::tempdir().unwrap();
    common::tuning(root.path());
    let to = serve(root.path());
    assert_eq!(get(to, "/api/tunings").json(), json!({ "tunings": ["mnist-tune"] }));
    let study = get(to, "/api/tunings/mnist-tune").json();
    assert_eq!(study["trials"].as_array().unwrap().len(), 40);
    assert_eq!(study["parameters"].as_array().unwrap().len(), 3);
    let value = |trial: &Value| trial["value"].as_f64().unwrap_or(f64::INFINITY);
    let least = study["trials"].as_array().unwrap().iter().map(value).fold(f64::INFINITY, f64::min);
    assert_eq!(value(&study["trials"][study["best"].as_u64().unwrap() as usize]), least);
    for name in ["none", "..", "mnist-tune%2f"] {
        assert!([404, 400].contains(&get(to, &format!("/api/tunings/{name}")).status), "{name}");
    }
    fs::write(root.path().join("mnist-tune/journal.jsonl"), "{}\n").unwrap();
    assert_eq!(get(to, "/api/tunings/mnist-tune").status, 500);
}

#[test]
fn a_report_is_one_file_that_no_name_can_break() {
    let root = tempfile::tempdir().unwrap();
    let fixture = Fixture { done: 3, steps: 30, evil: true, ..Fixture::default() };
    let run = fixture.write(root.path());
    let mut file = OpenOptions::new().append(true).open(run.file(EVENTS)).unwrap();
    let text = "</script><script>window.__evil=2</script><!--".to_string();
    writeln!(
        file,
        "{}",
        Event::now(What::Note { level: "note".into(), text: text.clone() }).line()
    )
    .unwrap();
    let report = nerve_ui::report(&run).unwrap();
    assert!(!report.contains("window.__evil=2</script>") && !report.contains("<img src=x"));
    // Each script and style stands in the policy by its hash; nothing is loaded from anywhere.
    let policy = report.split("content=\"").nth(1).unwrap().split('"').next().unwrap();
    let scripts = report.matches("<script>").count();
    assert_eq!(policy.matches("'sha256-").count(), scripts + report.matches("<style>").count());
    assert!(!policy.contains("unsafe") && policy.starts_with("default-src 'none'"));
    assert!(!report.contains(" src=\"/") && !report.contains(" href=\"/"));
    // What it holds is what the server would say.
    let begin = report.find("id=\"data\">").unwrap() + 10;
    let data: Value =
        serde_json::from_str(report[begin..].split("</script>").next().unwrap()).unwrap();
    assert_eq!(data["tags"]["notes"].as_array().unwrap().last().unwrap()["text"], text);
    assert_eq!(data["scalars"]["curves"]["loss/train"]["total"], 90);
    assert_eq!(
        data["worst"]["val"]["examples"].as_array().unwrap().len(),
        data["pictures"].as_object().unwrap().len()
    );
    assert!(!report.contains(root.path().to_str().unwrap()), "nor where the folder lies");
    nerve_ui::write_report(&run, &root.path().join("r.html")).unwrap();
    let written = fs::read_to_string(root.path().join("r.html")).unwrap();
    assert_eq!(written[..begin], report[..begin]);
}

#[test]
fn h53_a_port_in_use_and_a_missing_folder_are_told() {
    let root = tempfile::tempdir().unwrap();
    let first = Dashboard::open(root.path(), 0).unwrap();
    let second = Dashboard::open(root.path(), first.address().port()).unwrap_err().to_string();
    assert!(
        second.contains("cannot listen on 127.0.0.1:") && second.contains("--port 0"),
        "{second}"
    );
    let missing = Dashboard::open(&root.path().join("none"), 0).unwrap_err().to_string();
    assert!(missing.contains("there is no folder"), "{missing}");
}
