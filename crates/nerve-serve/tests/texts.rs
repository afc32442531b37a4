//! Models that write texts, that go on with one, and that name each step of a sequence.

mod common;

use common::*;
use nerve_data::{Cells, Column, Origin, Random, Table};
use nerve_recipe::{Predictor, Recipe, Rows, Said, Session, Source, Tables};
use nerve_serve::{Batching, Repository, Served, Sources};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const BACK: &str = "task = \"generation\"\n[data]\npath = \"x.csv\"\n\
    [[input]]\nname = \"there\"\ntype = \"text\"\n\
    tokenizer = { type = \"words\", shared_with = \"back\" }\n\
    encoder = { type = \"transformer\", layers = 1, dim = 32, heads = 2 }\n\
    [[output]]\nname = \"back\"\ntype = \"text\"\n\
    decoder = { type = \"generator\", layers = 1, dim = 32, heads = 2 }\n\
    [trainer]\nepochs = 4\nbatch_size = 32\noptimizer = { type = \"adam\", lr = 5e-3 }\n";

const LETTERS: &str = "task = \"generation\"\n[data]\npath = \"x.csv\"\n\
    [[output]]\nname = \"text\"\ntype = \"text\"\nend = false\n\
    tokenizer = { type = \"characters\", blanks = \"keep\", lower = false }\n\
    decoder = { type = \"generator\", layers = 1, dim = 32, heads = 2 }\n\
    generate = { method = \"sample\", temperature = 0.7 }\n\
    [trainer]\nepochs = 4\nbatch_size = 16\noptimizer = { type = \"adam\", lr = 3e-3 }\n";

const TAGS: &str = "task = \"tagging\"\n[data]\npath = \"x.csv\"\n\
    [[input]]\nname = \"there\"\ntype = \"sequence\"\n\
    encoder = { type = \"rnn\", units = 8, bidirectional = true, width = 8 }\n\
    [[output]]\nname = \"back\"\ntype = \"sequence\"\n\
    [trainer]\nepochs = 1\nbatch_size = 32\noptimizer = { type = \"adam\", lr = 1e-2 }\n";

fn column(name: &str, texts: &[String]) -> Column {
    let cells = Cells::Text(texts.iter().map(|text| Some(text.as_str())).collect());
    Column { name: name.into(), cells }
}

fn of(columns: Vec<Column>) -> Rows {
    Rows::all(Table::new(columns, Origin::default()).unwrap())
}

/// Words of digits, and the same from the end.
fn digits(rows: usize) -> Rows {
    let mut random = Random::keyed(&[1]);
    let mut word = || -> Vec<String> {
        let length = 1 + random.below(4) as usize;
        (0..length).map(|_| random.below(4).to_string()).collect()
    };
    let words: Vec<Vec<String>> = (0..rows).map(|_| word()).collect();
    let there: Vec<String> = words.iter().map(|word| word.join(" ")).collect();
    let back = words.iter().map(|word| word.iter().rev().cloned().collect::<Vec<_>>().join(" "));
    of(vec![column("there", &there), column("back", &back.collect::<Vec<_>>())])
}

/// Pieces of sixteen characters of one long text.
fn lines() -> Rows {
    let text: String = (0..400).map(|i| ["one\n", "two ", "three\n"][i % 3]).collect();
    let letters: Vec<char> = text.chars().collect();
    let pieces: Vec<String> = letters.chunks(16).map(|piece| piece.iter().collect()).collect();
    of(vec![column("text", &pieces)])
}

/// The file of a model that was trained for a moment, once for all tests.
fn file(recipe: &'static str) -> PathBuf {
    static FILES: [OnceLock<(tempfile::TempDir, PathBuf)>; 3] = [const { OnceLock::new() }; 3];
    let at = [BACK, LETTERS, TAGS].iter().position(|known| *known == recipe).unwrap();
    let train = || {
        let rows = if recipe == LETTERS { lines() } else { digits(600) };
        let tables = Tables { train: rows, validation: None, test: None };
        let recipe = Recipe::load(Source::new("r.toml", recipe), &[]).unwrap();
        let session = Session::with(&recipe, &tables).unwrap();
        session.fit(Arc::new(AtomicBool::new(false)), None, &mut []).unwrap();
        let (keep, folder) = folder();
        let path = folder.join("model.safetensors");
        session.write(&path).unwrap();
        (keep, path)
    };
    FILES[at].get_or_init(train).1.clone()
}

fn serving(recipe: &'static str, batching: Batching) -> Running {
    let served = Served::open("m", 1, &file(recipe), batching).unwrap();
    let mut options = options();
    options.limits.answer_time = Duration::from_secs(60);
    start(empty().with(served), options)
}

/// What the model file itself says of words of digits.
fn said(recipe: &'static str, there: &[&str]) -> Vec<String> {
    let texts: Vec<String> = there.iter().map(|text| text.to_string()).collect();
    let mut all = Vec::new();
    let each = |said: Said| {
        let nerve_data::features::Answer::Text(text) = &said.answers[0] else { panic!("{said:?}") };
        all.push(text.clone());
        Ok(())
    };
    let predictor = Predictor::open(&file(recipe)).unwrap();
    predictor.answers(&of(vec![column("there", &texts)]), false, each).unwrap();
    all
}

/// What the model file goes on with.
fn goes_on(beginning: &str, most: Option<usize>) -> String {
    let predictor = Predictor::open(&file(LETTERS)).unwrap();
    let mut writer = predictor.writer().unwrap().unwrap();
    let own = writer.options().max_new;
    writer.options().max_new = most.unwrap_or(own);
    let mut text = String::new();
    let mut tell = |piece: &str| {
        text.push_str(piece);
        ControlFlow::Continue(())
    };
    writer.stream(beginning, &mut tell).unwrap();
    text
}

fn bytes(name: &str, texts: &[&str]) -> Value {
    json!({ "name": name, "shape": [texts.len()], "datatype": "BYTES", "data": texts })
}

const WORDS: [&str; 3] = ["0 1 2", "3", "2 2 1 0"];

#[test]
fn rows_get_the_texts_that_the_model_file_writes() {
    let server = serving(BACK, Batching { most_rows: 4, ..Batching::default() });
    let expected = said(BACK, &WORDS);
    assert_eq!(expected[..2], ["2 1 0", "3"], "it has learned something");
    let rows: Vec<Value> = WORDS.iter().map(|there| json!({ "there": there })).collect();
    let answer = server.post("/predict", &json!(rows).to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let texts: Vec<Value> = expected.iter().map(|text| json!({ "back": text })).collect();
    assert_eq!(answer.json(), json!(texts));
    let one = server.post("/predict", &rows[1].to_string());
    assert_eq!(one.json(), texts[1], "an object gets an object");
    let csv = "there\n0 1 2\n3\n2 2 1 0\n";
    let answer = server.send("POST", "/predict", &[("content-type", "text/csv")], csv.as_bytes());
    assert_eq!(answer.text(), format!("back\n{}\n", expected.join("\n")));
    let tensors = json!({ "inputs": [bytes("there", &WORDS)] });
    let output = json!([{ "name": "back", "datatype": "BYTES", "shape": [3], "data": expected }]);
    assert_eq!(server.post(INFER, &tensors.to_string()).json()["outputs"], output);
    // More rows than a batch has.
    let many: Vec<Value> = (0..7).map(|i| rows[i % 3].clone()).collect();
    let answers = server.post("/predict", &json!(many).to_string()).json();
    assert_eq!(answers, (0..7).map(|i| texts[i % 3].clone()).collect::<Value>());
}

#[test]
fn texts_come_in_bytes_and_of_as_many_tokens_as_are_wanted() {
    let server = serving(BACK, Batching { most_rows: 2, ..Batching::default() });
    let raw = server.send("POST", INFER, &[("inference-header-content-length", "0")], b"0 1 2");
    assert_eq!(raw.status, 200, "{}", raw.text());
    let text = said(BACK, &["0 1 2"])[0].clone();
    assert!(raw.body.ends_with(&[&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()));
    let asked = |most: Value| {
        let request =
            json!({ "inputs": [bytes("there", &["0 1 2"])], "parameters": { "max_tokens": most } });
        server.post(INFER, &request.to_string())
    };
    let short = asked(json!(1)).json();
    let first = text.split(' ').next().unwrap();
    assert_eq!(short["outputs"][0]["data"], json!([first]));
    assert_eq!(asked(json!(1.0)).json(), short, "the same number");
    let most = server.get("/v2/models/m").json()["properties"]["max_tokens"].as_u64().unwrap();
    for (wrong, found) in [(0, "0"), (most + 1, &*(most + 1).to_string())] {
        let answer = asked(json!(wrong));
        assert_eq!(answer.status, 422);
        let expected = format!("parameter `max_tokens`: expected 1 to {most}, found {found}");
        assert_eq!(answer.error(), expected);
    }
    for wrong in [json!("many"), json!(1.5), json!(-1)] {
        assert_eq!(asked(wrong).status, 400);
    }
}

#[test]
fn rows_say_in_the_query_how_long_a_text_may_become() {
    let server = serving(LETTERS, Batching::default());
    let body = json!({ "text": "one\ntw" }).to_string();
    let asked = |query: &str| server.post(&format!("/predict{query}"), &body);
    let expected = json!({ "text": goes_on("one\ntw", Some(7)) });
    assert_eq!(asked("?max_tokens=7").json(), expected);
    let about = server.get("/v2/models/m").json();
    let most = about["properties"]["max_tokens"].as_u64().unwrap();
    for (wrong, status) in [
        ("?max_tokens=0", 422),
        (&*format!("?max_tokens={}", most + 1), 422),
        ("?max_tokens=", 400),
        ("?max_tokens=-1", 400),
        ("?max_tokens=7&seed=1", 400),
        ("?tokens=7", 400),
    ] {
        let answer = asked(wrong);
        assert_eq!(answer.status, status, "{wrong}: {}", answer.text());
        assert!(answer.error().contains("max_tokens"), "{wrong}: {}", answer.error());
    }
    let described = server.get("/openapi.json").json();
    let parameter = &described["paths"]["/predict/m"]["post"]["parameters"][0];
    assert_eq!(parameter["schema"]["maximum"], most);
    let server = serve(NUMBERS);
    let answer = server.post("/predict?max_tokens=7", r#"{"a": 1, "b": 2}"#);
    assert_eq!(answer.status, 400);
    assert_eq!(answer.error(), "the query: the model writes no texts, and takes no parameters");
}

#[test]
fn a_text_goes_on_as_the_model_file_goes_on() {
    let server = serving(LETTERS, Batching::default());
    let beginnings = ["one\ntw", "", "two three\none\ntwo three\none\ntwo three\n"];
    let [first, second, _] = beginnings.map(|it| goes_on(it, None));
    assert!(first != second && !first.is_empty(), "beginnings count: {first}");
    for beginning in beginnings {
        let answer = server.post("/predict", &json!({ "text": beginning }).to_string());
        assert_eq!(answer.json(), json!({ "text": goes_on(beginning, None) }), "{beginning}");
    }
    let request =
        json!({ "inputs": [bytes("text", &beginnings)], "parameters": { "max_tokens": 40 } });
    let answer = server.post(INFER, &request.to_string()).json();
    let expected: Vec<String> = beginnings.iter().map(|it| goes_on(it, Some(40))).collect();
    assert_eq!(answer["outputs"][0]["data"], json!(expected), "{answer}");
    let csv = "text\n\"one\ntw\"\n";
    let headers = [("content-type", "text/csv"), ("accept", "application/json")];
    let answer = server.send("POST", "/predict", &headers, csv.as_bytes());
    assert_eq!(answer.json(), json!([{ "text": goes_on("one\ntw", None) }]));
}

/// The value of a counter of the model.
fn metric(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split(' ').next_back()?.parse().ok())
        .unwrap_or_else(|| panic!("{metrics}"))
}

/// The events of a text, until the server closes the connection: what each says, and of which kind it is.
fn heard(server: &Running, path: &str, text: &str) -> (common::Answer, Vec<(String, Value)>) {
    let mut stream = server.connect();
    let headers = [
        ("content-type", "application/json"),
        ("accept", "text/event-stream"),
        ("connection", "close"),
    ];
    let body = json!({ "text": text }).to_string();
    stream.write_all(&request("POST", path, &headers, body.as_bytes())).unwrap();
    let answer = common::read(&mut stream);
    let mut chunks = Vec::new();
    stream.read_to_end(&mut chunks).unwrap();
    let (mut rest, mut events) = (&*chunks, String::new());
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap(), 16).unwrap();
        let from = at + 2;
        events.push_str(std::str::from_utf8(&rest[from..from + length]).unwrap());
        rest = &rest[from + length + 2..];
        if length == 0 {
            break;
        }
    }
    let event = |text: &str| {
        let (kind, data) = text.split_once("data: ").unwrap();
        let kind = kind.trim().trim_start_matches("event: ").to_string();
        (kind, serde_json::from_str(data).unwrap())
    };
    let events = events.split_terminator("\n\n").map(event).collect();
    (answer, events)
}

#[test]
fn a_text_is_heard_while_it_is_written() {
    let server = serving(LETTERS, Batching::default());
    for (path, tokens) in [("/predict", None), ("/predict/m?max_tokens=30", Some(30))] {
        let (answer, mut events) = heard(&server, path, "one\ntw");
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("text/event-stream"))
        );
        assert_eq!(events.pop(), Some(("end".into(), json!({}))));
        assert!(events.len() > 5, "piece by piece: {events:?}");
        assert!(events.iter().all(|(kind, _)| kind.is_empty()), "{events:?}");
        let text: String = events.iter().map(|(_, data)| data["text"].as_str().unwrap()).collect();
        assert_eq!(text, goes_on("one\ntw", tokens));
    }
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("nerve_rows_total{model=\"m\",version=\"1\"} 2\n"), "{metrics}");
    server.is_well();
}

#[test]
fn what_cannot_be_heard_is_refused_before_it_begins() {
    let events = [("content-type", "application/json"), ("accept", "text/event-stream")];
    let server = serving(BACK, Batching { most_rows: 1, ..Batching::default() });
    let answer = server.send("POST", "/predict", &events, br#"{"there": "1"}"#);
    assert_eq!(answer.status, 406);
    assert!(answer.error().contains("answers as a whole"), "{}", answer.error());
    let server = serving(LETTERS, Batching::default());
    let two = br#"[{"text": "one"}, {"text": "two"}]"#;
    let answer = server.send("POST", "/predict", &events, two);
    assert_eq!(answer.status, 422);
    assert_eq!(answer.error(), "a text in pieces comes alone: expected one row, found 2");
    // Who takes JSON too gets JSON.
    let both = [events[0], ("accept", "application/json, text/event-stream")];
    let answer = server.send("POST", "/predict", &both, br#"{"text": "one\ntw"}"#);
    assert_eq!(answer.json(), json!({ "text": goes_on("one\ntw", None) }));
}

const CANCELLED: &str = "nerve_rejected_total{model=\"m\",version=\"1\",reason=\"cancelled\"}";

#[test]
fn who_stops_hearing_stops_the_writing() {
    let server = serving(LETTERS, Batching::default());
    let body = json!({ "text": "one\ntw" }).to_string();
    let headers = [("content-type", "application/json"), ("accept", "text/event-stream")];
    let long = request("POST", "/predict?max_tokens=4096", &headers, body.as_bytes());
    // A fast machine may have written all of it before the server knows.
    let stopped = (0..50).any(|_| {
        let mut stream = server.connect();
        stream.write_all(&long).unwrap();
        assert_eq!(common::read(&mut stream).status, 200);
        drop(stream);
        let answer = server.post("/predict", &body);
        assert_eq!(answer.json(), json!({ "text": goes_on("one\ntw", None) }));
        metric(&server.get("/metrics").text(), CANCELLED) > 0
    });
    assert!(stopped, "{}", server.get("/metrics").text());
    server.is_well();
}

#[test]
fn a_text_under_way_is_heard_to_its_end_while_the_server_drains() {
    let server = serving(LETTERS, Batching::default());
    let mut stream = server.connect();
    let body = json!({ "text": "one\ntw" }).to_string();
    let headers = [("content-type", "application/json"), ("accept", "text/event-stream")];
    let path = "/predict?max_tokens=400";
    stream.write_all(&request("POST", path, &headers, body.as_bytes())).unwrap();
    assert_eq!(common::read(&mut stream).status, 200);
    server.begin_to_stop();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("event: end"), "{rest}");
}

#[test]
fn each_step_of_a_sequence_is_named_as_the_model_file_names_it() {
    let server = serving(TAGS, Batching { most_rows: 4, ..Batching::default() });
    let rows: Vec<Value> = WORDS.iter().map(|there| json!({ "there": there })).collect();
    let answer = server.post("/predict", &json!(rows).to_string());
    let texts: Vec<Value> = said(TAGS, &WORDS).iter().map(|tags| json!({ "back": tags })).collect();
    assert_eq!(answer.json(), json!(texts));
    assert_eq!(server.get("/v2/models/m").json()["properties"]["task"], "tagging");
}

#[test]
fn requests_at_the_same_time_get_each_their_own_text() {
    let batching = Batching { delay: Duration::from_millis(300), ..Batching::default() };
    let server = serving(BACK, Batching { most_rows: 4, ..batching });
    let ask = |there: &str| {
        let mut stream = server.connect();
        let headers = [("content-type", "application/json")];
        let body = json!({ "there": there }).to_string();
        stream.write_all(&request("POST", "/predict", &headers, body.as_bytes())).unwrap();
        stream
    };
    let asked = WORDS.map(ask);
    let answers = asked.map(|mut stream| common::read(&mut stream).json());
    let expected: Vec<Value> =
        said(BACK, &WORDS).iter().map(|text| json!({ "back": text })).collect();
    assert_eq!(answers.to_vec(), expected);
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("nerve_rows_total{model=\"m\",version=\"1\"} 3"), "{metrics}");
    let batches = metrics.lines().find_map(|it| it.strip_prefix("nerve_batches_total{")).unwrap();
    assert!(!batches.ends_with(" 3"), "they were written together: {batches}");
}

#[test]
fn a_wrong_request_is_told_what_is_wrong() {
    let server = serving(BACK, Batching { most_rows: 1, ..Batching::default() });
    let answer = server.post("/predict", r#"{"back": "1"}"#);
    assert_eq!((answer.status, &*answer.error()), (422, "no row has a column `there`"));
    let answer = server.post(INFER, &json!({ "inputs": [bytes("back", &["1"])] }).to_string());
    assert_eq!(answer.status, 422);
    assert_eq!(answer.error(), "the model has no input `back`: it has there");
    let server = serving(LETTERS, Batching::default());
    let long = json!({ "text": "a".repeat(70_000) }).to_string();
    let answer = server.post("/predict", &long);
    assert_eq!(answer.status, 422);
    let expected = "column `text`, row 1: expected the beginning of a text of at most 65536 bytes, found 70000 bytes";
    assert_eq!(answer.error(), expected);
    server.is_well();
}

#[test]
fn a_text_whose_time_is_over_is_not_written_on() {
    let server = serving(LETTERS, Batching::default());
    let long = |timeout: Option<u64>| {
        let mut parameters = json!({ "max_tokens": 4096 });
        if let Some(timeout) = timeout {
            parameters["timeout"] = json!(timeout);
        }
        // Ten batches.
        let texts = ["one\n"; 320];
        json!({ "inputs": [bytes("text", &texts)], "parameters": parameters }).to_string()
    };
    let answer = server.post(INFER, &long(Some(50_000)));
    assert_eq!(answer.status, 504, "{}", answer.text());
    // A client that goes takes its text with it.
    let mut stream = server.connect();
    stream.write_all(&request("POST", INFER, &[], long(None).as_bytes())).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    drop(stream);
    let answer = server.post("/predict", r#"{"text": "one\ntw"}"#);
    assert_eq!(answer.json(), json!({ "text": goes_on("one\ntw", None) }));
    // Of 21 batches most were not written to their end.
    let metrics = server.get("/metrics").text();
    assert!(metric(&metrics, "nerve_batches_total{") < 12, "{metrics}");
    let late = "nerve_rejected_total{model=\"m\",version=\"1\",reason=\"deadline\"} 1";
    assert!(metrics.contains(late), "{metrics}");
    server.is_well();
}

#[test]
fn programs_and_people_are_told_of_texts() {
    let server = serving(LETTERS, Batching::default());
    let about = server.get("/v2/models/m").json();
    let text = json!([{ "name": "text", "datatype": "BYTES", "shape": [-1] }]);
    assert_eq!((&about["inputs"], &about["outputs"]), (&text, &text));
    assert_eq!(about["properties"]["task"], "generation");
    let config = server.get("/v2/models/m/config").json();
    assert_eq!(config["input"][0]["data_type"], "TYPE_STRING");
    let form = &server.get("/form").json()["models"][0];
    assert_eq!(form["inputs"], json!([{ "name": "text", "holds": "text", "beginning": true }]));
    assert_eq!(form["outputs"], json!([{ "name": "text", "written": true }]));
    let described = server.get("/openapi.json").json();
    for (path, operations) in described["paths"].as_object().unwrap() {
        if operations.get("get").is_some() && !path.starts_with("/drift") {
            assert_eq!(server.get(path).status, 200, "{path}");
        }
    }
    let infer = &described["paths"]["/v2/models/m/infer"]["post"]["requestBody"]["content"];
    let schema = &infer["application/json"]["schema"]["properties"]["parameters"];
    assert_eq!(schema["properties"]["max_tokens"]["maximum"], about["properties"]["max_tokens"]);
    // There is no column whose drift could be watched.
    let drift = server.get("/drift");
    assert_eq!((drift.status, &drift.json()["rows"]), (200, &json!(0)), "{}", drift.text());
    server.is_well();
}

#[test]
fn a_folder_loads_models_that_write() {
    let (_keep, folder) = folder();
    let place = folder.join("back/1");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::copy(file(BACK), place.join("model.safetensors")).unwrap();
    let sources = Sources { folder: Some(folder.clone()), ..Sources::default() };
    let repository =
        Repository::new(sources, Batching { most_rows: 1, ..Batching::default() }, quiet);
    assert_eq!(repository.look().unwrap(), Vec::<String>::new());
    let server = start(repository, options());
    let answer = server.post("/predict/back", r#"{"there": "3"}"#);
    assert_eq!(answer.json(), json!({ "back": said(BACK, &["3"])[0] }));
}
