//! What a server says of rows that are not like those of the training.

mod common;

use common::{MIXED, PICTURE, Running, empty, options, save, served, start};
use nerve_serve::{Batching, Served, Watching};
use serde_json::json;
use std::sync::Mutex;

/// Rows as the training had them: `a` from 0 to 23, three colours in turn. `shift` moves them.
fn rows(count: usize, shift: f64, colour: &str) -> String {
    let row = |i: usize| {
        let a = (i % 24) as f64 + shift;
        let colour = if colour.is_empty() { ["red", "green", "blue"][i % 3] } else { colour };
        let note = ["one two", "two three", "three four five"][i % 3];
        format!("{{\"a\": {a}, \"colour\": \"{colour}\", \"note\": \"{note}\"}}")
    };
    format!("[{}]", (0..count).map(row).collect::<Vec<_>>().join(","))
}

/// The value of a line of the metrics.
#[track_caller]
fn metric(server: &Running, line: &str) -> f64 {
    let text = server.get("/metrics").text();
    let found = text.lines().find_map(|own| own.strip_prefix(line));
    let value = found.unwrap_or_else(|| panic!("no `{line}` in\n{text}"));
    value.trim().parse().unwrap()
}

fn drifted(server: &Running) -> Vec<(String, bool)> {
    let answer = server.get("/drift");
    assert_eq!(answer.status, 200, "{answer:?}");
    let columns = answer.json()["columns"].as_array().unwrap().clone();
    let one = |column: &serde_json::Value| {
        (column["feature"].as_str().unwrap().to_string(), column["drifted"].as_bool().unwrap())
    };
    columns.iter().map(one).collect()
}

const M: &str = "{model=\"m\",version=\"1\"";

#[test]
fn rows_as_in_the_training_do_not_drift() {
    let server = common::serve(MIXED);
    assert!(drifted(&server).is_empty(), "too few rows to say anything");
    assert_eq!(server.post("/predict", &rows(240, 0.0, "")).status, 200);
    let columns = drifted(&server);
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "colour", "note.characters", "note.words", "note.non_letters"]);
    assert!(columns.iter().all(|(_, drifted)| !drifted), "{columns:?}");
    assert_eq!(metric(&server, &format!("nerve_drift_detected{M},feature=\"a\"}}")), 0.0);
    assert!(metric(&server, &format!("nerve_drift_score{M},feature=\"a\",test=\"ks\"}}")) > 0.9);
    assert_eq!(metric(&server, &format!("nerve_input_missing_total{M},feature=\"a\"}}")), 0.0);
    assert_eq!(metric(&server, &format!("nerve_input_out_of_range_total{M},feature=\"a\"}}")), 0.0);
    // One of two classes for each row.
    let class = |name: &str| {
        metric(&server, &format!("nerve_prediction_total{M},output=\"sold\",class=\"{name}\"}}"))
    };
    assert_eq!(class("no") + class("yes"), 240.0);
    let confidence = format!("nerve_prediction_confidence_count{M},output=\"sold\"}}");
    assert_eq!(metric(&server, &confidence), 240.0);
    assert!(server.stop());
}

static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn tell(text: &str) {
    TOLD.lock().unwrap().push(text.to_string());
}

#[test]
fn rows_that_have_moved_do_and_the_log_says_so_once() {
    let (_folder, path) = common::folder();
    save(MIXED, &path.join("m/1/model.safetensors"));
    let sources = nerve_serve::Sources { folder: Some(path), ..Default::default() };
    let repository = nerve_serve::Repository::new(sources, Batching::default(), tell);
    assert!(repository.look().unwrap().is_empty());
    let server = start(repository, options());
    assert_eq!(server.post("/predict", &rows(240, 12.0, "violet")).status, 200);
    let columns = drifted(&server);
    let yes: Vec<&str> =
        columns.iter().filter(|(_, drifted)| *drifted).map(|(name, _)| name.as_str()).collect();
    assert_eq!(yes, ["a", "colour"], "{columns:?}");
    assert_eq!(metric(&server, &format!("nerve_drift_detected{M},feature=\"colour\"}}")), 1.0);
    assert_eq!(
        metric(&server, &format!("nerve_input_out_of_range_total{M},feature=\"a\"}}")),
        120.0
    );
    let colour = format!("nerve_input_out_of_range_total{M},feature=\"colour\"}}");
    assert_eq!(metric(&server, &colour), 240.0);
    let told = TOLD.lock().unwrap().clone();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("m, version 1: `a` drifts: ks "), "{told:?}");
    let page = server.send("GET", "/drift/m", &[("accept", "text/html")], b"");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert!(page.text().contains("<svg") && page.text().contains("(another name)"));
    assert_eq!(server.get("/drift/other").status, 404);
    assert!(server.stop());
}

#[test]
fn what_is_long_past_is_forgotten() {
    let watching = Watching { window: 240, threshold: None };
    let watched = served(MIXED, Batching::default()).watching(Some(watching));
    let server = start(empty().with(watched), options());
    server.post("/predict", &rows(240, 12.0, "violet"));
    server.post("/predict", &rows(240, 0.0, ""));
    let columns = drifted(&server);
    assert!(columns.len() == 5 && columns.iter().all(|(_, drifted)| !drifted), "{columns:?}");
    assert_eq!(server.get("/drift").json()["rows"], 480);
}

#[test]
fn missing_cells_are_counted_and_a_threshold_can_be_given() {
    let watching = Watching { window: 1000, threshold: Some(1e-300) };
    let watched = served(MIXED, Batching::default()).watching(Some(watching));
    let server = start(empty().with(watched), options());
    server.post("/predict", &rows(240, 3.0, ""));
    assert!(drifted(&server).iter().all(|(_, drifted)| !drifted));
    let answer = server.post("/predict", "{\"a\": null, \"colour\": \"red\", \"note\": \"x\"}");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(metric(&server, &format!("nerve_input_missing_total{M},feature=\"a\"}}")), 1.0);
}

#[test]
fn a_server_need_not_watch() {
    let quiet = served(MIXED, Batching::default()).watching(None);
    let server = start(empty().with(quiet), options());
    assert_eq!(server.post("/predict", &rows(1, 0.0, "")).status, 200);
    assert!(server.get("/drift").error().contains("not watched"));
    assert!(!server.get("/metrics").text().contains("nerve_prediction_total{"));
}

#[test]
fn a_model_file_without_a_reference_goes_on_working() {
    let mut predictor = common::predictor(MIXED);
    predictor.card.features.reference = None;
    let (_folder, path) = common::folder();
    predictor.save(&path.join("old.safetensors")).unwrap();
    let old = Served::open("m", 1, &path.join("old.safetensors"), Batching::default()).unwrap();
    let server = start(empty().with(old), options());
    assert_eq!(server.post("/predict", &rows(300, 0.0, "")).status, 200);
    assert!(server.get("/drift").error().contains("older version"));
    assert_eq!(metric(&server, &format!("nerve_input_missing_total{M},feature=\"a\"}}")), 0.0);
}

#[test]
fn pictures_that_have_become_darker_drift() {
    let server = common::serve(PICTURE);
    // As they were in the training, but with a tenth of the light.
    let picture = |i: usize| -> Vec<u8> {
        (30 * i..30 * (i + 1)).map(|at| (at * 37 % 251 / 10) as u8).collect()
    };
    let ask = |i: usize| {
        let images = [1, 2, 3, 4].map(|k| picture((i + k) % 24)).concat();
        let tensor =
            json!({ "name": "image", "shape": [4, 1, 6, 5], "datatype": "UINT8", "data": images });
        let answer = server.post(common::INFER, &json!({ "inputs": [tensor] }).to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        server.get("/drift").json()["columns"].as_array().is_some_and(|columns| !columns.is_empty())
    };
    // Some requests are passed over, since measuring takes time.
    assert!((0..100_000).any(ask), "{}", server.get("/drift").text());
    let columns = drifted(&server);
    assert_eq!(columns[0], ("image.brightness".to_string(), true), "{columns:?}");
    assert_eq!(columns[1], ("image.contrast".to_string(), true), "{columns:?}");
    assert_eq!(
        metric(&server, &format!("nerve_drift_detected{M},feature=\"image.brightness\"}}")),
        1.0
    );
}
