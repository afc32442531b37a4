//! Many at a time, faults in the network, models that change, and the end: H13, H32 to H42, H51.

mod common;

use common::*;
use nerve_data::{Random, Values};
use nerve_serve::batch::{Examples, Runner};
use nerve_serve::plans::Plans;
use nerve_serve::{Batching, Repository, Served, Source, Sources};
use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Holds batches back until it is opened; says NaN of rows whose first value is large, and panics at larger ones.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    open: bool,
    entered: usize,
}

impl Gate {
    fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }

    /// Waits until a batch stands before it: what comes now waits in the queue.
    fn is_busy(&self) {
        until(|| self.0.0.lock().unwrap().entered > 0);
    }
}

impl Runner for Gate {
    fn most_rows(&self) -> usize {
        32
    }

    fn run(&mut self, batch: &[&Examples], _: &dyn Fn() -> bool) -> Result<Vec<Vec<f32>>, String> {
        let mut state = self.0.0.lock().unwrap();
        state.entered += 1;
        while !state.open {
            state = self.0.1.wait(state).unwrap();
        }
        drop(state);
        let mut all = Vec::new();
        for examples in batch {
            let Values::F32(values) = &examples.fields[0] else { panic!("numbers") };
            for row in values.chunks_exact(2) {
                assert!(row[0] < 1e6, "a test panics");
                all.extend(if row[0] > 1e3 { [f32::NAN; 3] } else { [row[0], 0.0, 0.0] });
            }
        }
        Ok(vec![all])
    }
}

fn gated(batching: Batching) -> (Gate, Running) {
    let gate = Gate::default();
    let served =
        Served::with_runner("m", 1, predictor(NUMBERS), Box::new(gate.clone()), batching).unwrap();
    let mut options = options();
    options.limits.answer_time = Duration::from_secs(20);
    (gate, start(empty().with(served), options))
}

fn metric(server: &Running, line: &str) -> u64 {
    let text = server.get("/metrics").text();
    let found = text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no `{line}` in\n{text}"))
}

fn begin(server: &Running, a: &str) -> std::net::TcpStream {
    let mut stream = server.connect();
    stream.write_all(&request("POST", INFER, &[], infer(a, "1").as_bytes())).unwrap();
    stream
}

fn until(mut ready: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if ready() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it did not happen");
}

#[test]
fn h13_h36_h38_one_request_fails_and_the_others_do_not() {
    let (gate, server) = gated(Batching::default());
    let first = begin(&server, "1");
    gate.is_busy();
    let more = ["1e5", "1e9", "2"].map(|a| begin(&server, a));
    let asked: Vec<_> = std::iter::once(first).chain(more).collect();
    until(|| metric(&server, "nerve_queue_depth{model=\"m\",version=\"1\"}") == 3);
    gate.open();
    let answers: Vec<Answer> =
        asked.into_iter().map(|mut stream| common::read(&mut stream)).collect();
    assert_eq!(
        answers.iter().map(|answer| answer.status).collect::<Vec<_>>(),
        [200, 500, 500, 200]
    );
    let message = answers[1].error();
    assert!(message.starts_with("non_finite_output: `c` has 3 values"), "{message}");
    assert_eq!(answers[2].error(), "the model failed on this request");
    assert!(
        metric(&server, "nerve_rejected_total{model=\"m\",version=\"1\",reason=\"panic\"}") >= 1
    );
    assert_eq!(server.post(INFER, &infer("1", "1")).status, 200);
}

#[test]
fn h32_a_client_that_leaves_frees_its_place() {
    let (gate, server) = gated(Batching { queue: 2, ..Batching::default() });
    let first = begin(&server, "1");
    gate.is_busy();
    let left: Vec<_> = (0..2).map(|_| begin(&server, "1")).collect();
    until(|| metric(&server, "nerve_queue_depth{model=\"m\",version=\"1\"}") == 2);
    drop(left);
    until(|| {
        metric(&server, "nerve_rejected_total{model=\"m\",version=\"1\",reason=\"cancelled\"}") >= 2
    });
    gate.open();
    drop(first);
    until(|| metric(&server, "nerve_queue_depth{model=\"m\",version=\"1\"}") == 0);
    assert_eq!(server.post(INFER, &infer("1", "1")).status, 200);
}

#[test]
fn h33_a_flood_is_turned_away_and_passes() {
    let (gate, server) = gated(Batching { queue: 4, ..Batching::default() });
    let asked: Vec<_> = (0..40).map(|_| begin(&server, "1")).collect();
    until(|| {
        metric(&server, "nerve_rejected_total{model=\"m\",version=\"1\",reason=\"full\"}") >= 30
    });
    gate.open();
    let answers: Vec<Answer> =
        asked.into_iter().map(|mut stream| common::read(&mut stream)).collect();
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    assert!((4..=10).contains(&good), "{good}");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    }
    assert_eq!(server.post(INFER, &infer("1", "1")).status, 200);
}

#[test]
fn h35_a_request_whose_time_is_over_is_not_run() {
    let (gate, server) = gated(Batching::default());
    let first = begin(&server, "1");
    gate.is_busy();
    let mut late: serde_json::Value = serde_json::from_str(&infer("1", "1")).unwrap();
    late["parameters"] = json!({ "timeout": 20_000 });
    let answer = server.post(INFER, &late.to_string());
    assert_eq!(answer.status, 504, "{}", answer.text());
    gate.open();
    assert_eq!(common::read(&mut { first }).status, 200);
    assert_eq!(metric(&server, "nerve_rows_total{model=\"m\",version=\"1\"}"), 1);
}

#[test]
fn h37_each_gets_its_own_rows_as_if_it_were_alone() {
    let batching = Batching { exact: true, ..Batching::default() };
    let server = start(empty().with(served(NUMBERS, batching)), options());
    let ask = |a: usize, b: usize| infer(&a.to_string(), &b.to_string());
    let alone: Vec<Vec<u8>> =
        (0..40).map(|i| server.post(INFER, &ask(i, i * 7 % 11)).body).collect();
    std::thread::scope(|scope| {
        for client in 0..8 {
            let (server, alone, ask) = (&server, &alone, &ask);
            scope.spawn(move || {
                let mut stream = server.connect();
                for i in (0..40).map(|i| (i * 3 + client * 5) % 40) {
                    stream
                        .write_all(&request("POST", INFER, &[], ask(i, i * 7 % 11).as_bytes()))
                        .unwrap();
                    assert_eq!(common::read(&mut stream).body, alone[i]);
                }
            });
        }
    });
    let (batches, rows) = (
        metric(&server, "nerve_batches_total{model=\"m\",version=\"1\"}"),
        metric(&server, "nerve_rows_total{model=\"m\",version=\"1\"}"),
    );
    assert!(rows == 360 && batches <= rows, "{rows} rows in {batches} batches");
}

/// Rows of every batch size, through a network, say bit for bit what they say alone, and nearly so where small batches
/// have plans of their own.
fn rows_do_not_depend_on_their_batch(recipe: &str) {
    for least in [8, 1] {
        rows_in_batches(recipe, least);
    }
}

fn rows_in_batches(recipe: &str, least: usize) {
    let served = served(recipe, Batching::default());
    let fields = served.fields().to_vec();
    let mut plans = Plans::new(&served.predictor().network.model, &fields, (least, 32)).unwrap();
    let mut row = |seed: u64| {
        let values = fields.iter().map(|field| {
            let n = field.values_per_sample() as u64;
            match field.element {
                nerve_data::Element::F32 => {
                    let value = |i: u64| Random::keyed(&[seed, i]).between(-2.0, 2.0);
                    Values::F32((0..n).map(value).collect())
                }
                nerve_data::Element::I32 => {
                    Values::I32((0..n).map(|i| ((seed + i) % 3) as i32).collect())
                }
                nerve_data::Element::U8 => {
                    Values::U8((0..n).map(|i| ((seed * 31 + i) % 256) as u8).collect())
                }
            }
        });
        Examples { rows: 1, fields: values.collect() }
    };
    let rows: Vec<Examples> = (0..32).map(&mut row).collect();
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
    let alone: Vec<Vec<Vec<f32>>> =
        rows.iter().map(|row| plans.run(&[row], &|| true).unwrap()).collect();
    for size in 1..=32 {
        let batch: Vec<&Examples> = rows[..size].iter().rev().collect();
        for (output, values) in plans.run(&batch, &|| true).unwrap().iter().enumerate() {
            let width = values.len() / size;
            for (at, row) in (0..size).rev().enumerate() {
                let own = &values[at * width..(at + 1) * width];
                let (own, alone) = (own, &alone[row][output]);
                if least > 1 {
                    assert_eq!(bits(own), bits(alone), "row {row} in a batch of {size}");
                }
                // The bound that docs/serving.md states.
                let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * b.abs().max(1.0);
                assert!(own.iter().zip(alone).all(near), "row {row} in a batch of {size}");
            }
        }
    }
}

#[test]
fn h37_dense_networks_say_the_same_in_every_batch() {
    let wide = NUMBERS
        .replace("units = 5", "units = 300")
        .replace("}]", "}, { type = \"Dense\", units = 77, activation = \"gelu\" }]");
    rows_do_not_depend_on_their_batch(NUMBERS);
    rows_do_not_depend_on_their_batch(&wide);
}

#[test]
fn h37_convolutions_and_several_encoders_say_the_same_in_every_batch() {
    rows_do_not_depend_on_their_batch(PICTURE);
    rows_do_not_depend_on_their_batch(MIXED);
}

#[test]
fn h39_requests_of_different_sizes_share_batches() {
    let server = serve(NUMBERS);
    let rows = |n: usize| format!("[{}]", vec!["{\"a\":1,\"b\":2}"; n].join(","));
    let one = server.post("/predict", &rows(1)).json()[0].clone();
    for n in [2, 31, 32, 33, 100] {
        let answer = server.post("/predict", &rows(n)).json();
        assert_eq!(answer.as_array().unwrap().len(), n);
        assert!(answer.as_array().unwrap().iter().all(|row| *row == one));
    }
}

#[test]
fn h40_h41_a_model_that_is_damaged_or_deleted_leaves_the_one_before_it() {
    let (_keep, folder) = folder();
    let file = folder.join("one.safetensors");
    save(NUMBERS, &file);
    let source = Source { name: "m".into(), version: 1, file: file.clone() };
    let sources = Sources { files: vec![source], ..Sources::default() };
    let repository = Repository::new(sources, Batching::default(), quiet);
    repository.look().unwrap();
    let server = start(repository, options());
    let before = server.post(INFER, &infer("1", "2")).body;
    std::fs::write(&file, b"damaged").unwrap();
    assert_eq!(server.repository.look().unwrap().len(), 1);
    assert_eq!(server.post(INFER, &infer("1", "2")).body, before);
    assert_eq!(server.get("/v2/models/m/ready").status, 200);
    let index = server.post("/v2/repository/index", "{}").json();
    let reason = index[0]["reason"].as_str().unwrap().to_string();
    assert!(reason.contains("was refused") && !reason.contains('/'), "{reason}");
    assert!(server.repository.look().unwrap().is_empty(), "it is not tried again until it changes");
    std::fs::remove_file(&file).unwrap();
    server.repository.look().unwrap();
    assert_eq!(server.post(INFER, &infer("1", "2")).body, before);
    save(MIXED, &file);
    assert!(server.repository.look().unwrap().is_empty());
    assert_eq!(server.post(INFER, &infer("1", "2")).status, 422, "the new one has other inputs");
}

#[test]
fn h42_a_server_whose_model_is_bad_is_not_ready() {
    let (_keep, folder) = folder();
    let file = folder.join("one.safetensors");
    std::fs::write(&file, b"x").unwrap();
    let sources = Sources {
        files: vec![Source { name: "m".into(), version: 1, file }],
        ..Sources::default()
    };
    let repository = Repository::new(sources, Batching::default(), quiet);
    assert!(repository.look().unwrap()[0].contains("one.safetensors"));
    let server = start(repository, options());
    assert_eq!(
        (server.get("/v2/health/ready").status, server.get("/v2/health/live").status),
        (503, 200)
    );
    assert_eq!(server.post(INFER, &infer("1", "2")).status, 503);
    let index = server.post("/v2/repository/index", "{\"ready\":true}").json();
    assert_eq!(index, json!([]));
}

#[test]
fn models_come_and_go_while_requests_are_answered() {
    let (_keep, folder) = folder();
    save(NUMBERS, &folder.join("m/1/model.safetensors"));
    let sources = Sources { folder: Some(folder.clone()), ..Sources::default() };
    let repository = Repository::new(sources, Batching::default(), quiet);
    repository.look().unwrap();
    let mut options = options();
    options.control = true;
    let server = start(repository, options);
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| {
            let mut stream = server.connect();
            for _ in 0..500 {
                stream.write_all(&request("POST", INFER, &[], infer("1", "2").as_bytes())).unwrap();
                assert_eq!(common::read(&mut stream).status, 200);
            }
        });
        for version in 2..5 {
            save(NUMBERS, &folder.join(format!("m/{version}/model.safetensors")));
            server.repository.look().unwrap();
            std::fs::remove_dir_all(folder.join(format!("m/{}", version - 1))).unwrap();
            server.repository.look().unwrap();
        }
        asks.join().unwrap();
    });
    assert_eq!(server.get("/v2/models/m").json()["versions"], json!(["4"]));
    assert_eq!(server.post("/v2/repository/models/m/unload", "{}").status, 200);
    assert_eq!(server.post(INFER, &infer("1", "2")).status, 503);
    assert_eq!(server.get("/v2/health/ready").status, 503);
    assert_eq!(server.post("/v2/repository/models/m/load", "{}").status, 200);
    assert_eq!(server.post(INFER, &infer("1", "2")).status, 200);
    assert_eq!(server.post("/v2/repository/models/z/load", "{}").status, 404);
    let config =
        server.post("/v2/repository/models/m/load", "{\"parameters\":{\"config\":\"{}\"}}");
    assert_eq!(config.status, 501);
}

#[test]
fn h51_what_is_under_way_is_answered_before_the_end() {
    let (gate, server) = gated(Batching::default());
    let first = begin(&server, "1");
    gate.is_busy();
    let more = (0..49).map(|_| begin(&server, "1"));
    let asked: Vec<_> = std::iter::once(first).chain(more).collect();
    until(|| metric(&server, "nerve_queue_depth{model=\"m\",version=\"1\"}") == 49);
    server.begin_to_stop();
    until(|| server.get("/v2/health/ready").status == 503);
    assert_eq!(server.post(INFER, &infer("1", "1")).status, 503, "nothing new is begun");
    gate.open();
    for mut stream in asked {
        let answer = common::read(&mut stream);
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
    assert!(server.stop());
}
