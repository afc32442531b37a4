//! What the protocol says, asked as its clients ask.

mod common;

use common::*;
use nerve_data::features::Answer;
use nerve_data::{Cells, Column, Origin, Table};
use nerve_recipe::{Rows, Said};
use nerve_serve::{Batching, Repository, Sources};
use serde_json::json;

#[test]
fn a_server_tells_of_itself_and_its_models() {
    let server = serve(MIXED);
    assert_eq!(server.get("/v2/health/live").json(), json!({ "live": true }));
    assert_eq!(server.get("/v2/health/ready").json(), json!({ "ready": true }));
    assert_eq!(server.get("/v2").json()["name"], "nerve");
    assert_eq!(server.get("/v2/").json(), server.get("/v2").json());
    assert_eq!(server.get("/v2/models").json(), json!({ "models": ["m"] }));
    let about = server.get("/v2/models/m").json();
    assert_eq!(about["versions"], json!(["1"]));
    assert_eq!(
        about["inputs"],
        json!([
            { "name": "a", "datatype": "FP64", "shape": [-1] },
            { "name": "colour", "datatype": "BYTES", "shape": [-1] },
            { "name": "note", "datatype": "BYTES", "shape": [-1] },
        ])
    );
    assert_eq!(
        about["outputs"],
        json!([
            { "name": "price", "datatype": "FP64", "shape": [-1] },
            { "name": "sold", "datatype": "BYTES", "shape": [-1] },
            { "name": "sold_probabilities", "datatype": "FP32", "shape": [-1, 2] },
        ])
    );
    assert_eq!(server.get("/v2/models/m/versions/1").json(), about);
    assert_eq!(server.get("/v2/models/m/ready").json(), json!({ "name": "m", "ready": true }));
    let config = server.get("/v2/models/m/versions/1/config").json();
    assert_eq!(
        (&config["max_batch_size"], &config["input"][1]["data_type"]),
        (&json!(32), &json!("TYPE_STRING"))
    );
    let index = server.post("/v2/repository/index", "").json();
    assert_eq!(index, json!([{ "name": "m", "version": "1", "state": "READY", "reason": "" }]));
}

#[test]
fn tensors_in_json_and_in_bytes_get_the_same_answer() {
    let server = serve(NUMBERS);
    let text = server.post(INFER, &infer("1", "2.5")).json();
    assert_eq!(
        (&text["model_name"], &text["model_version"], text.get("id")),
        (&json!("m"), &json!("1"), None)
    );
    assert_eq!(text["outputs"][1]["shape"], json!([1, 3]));
    let shares: Vec<f64> = serde_json::from_value(text["outputs"][1]["data"].clone()).unwrap();
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-6);
    let head = json!({
        "id": "42",
        "parameters": { "binary_data_output": true },
        "inputs": [
            { "name": "b", "shape": [1, 1], "datatype": "FP32", "parameters": { "binary_data_size": 4 } },
            { "name": "a", "shape": [1], "datatype": "INT64", "data": [1] },
        ],
    })
    .to_string();
    let body = [head.as_bytes(), &2.5f32.to_le_bytes()].concat();
    let length = head.len().to_string();
    let headers = [
        ("content-type", "application/octet-stream"),
        ("inference-header-content-length", &*length),
    ];
    let answer = server.send("POST", INFER, &headers, &body);
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    let begin: usize = answer.header("inference-header-content-length").unwrap().parse().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&answer.body[..begin]).unwrap();
    assert_eq!(
        (&told["id"], &told["outputs"][1]["parameters"]["binary_data_size"]),
        (&json!("42"), &json!(12))
    );
    let bytes = &answer.body[answer.body.len() - 12..];
    let exact: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    assert_eq!(exact, shares.iter().map(|&share| share as f32).collect::<Vec<_>>());
    let label = text["outputs"][0]["data"][0].as_str().unwrap().as_bytes();
    let expected = [&(label.len() as u32).to_le_bytes()[..], label].concat();
    assert_eq!(answer.body[begin..begin + expected.len()], expected);
}

#[test]
fn outputs_come_as_they_are_asked_for() {
    let server = serve(NUMBERS);
    let mut request: serde_json::Value = serde_json::from_str(&infer("1", "2")).unwrap();
    request["outputs"] = json!([
        { "name": "c_probabilities", "parameters": { "classification": 2 } },
        { "name": "c" },
    ]);
    let answer = server.post(INFER, &request.to_string()).json();
    let outputs = answer["outputs"].as_array().unwrap();
    assert_eq!(outputs[0]["shape"], json!([1, 2]));
    assert_eq!((&outputs[0]["datatype"], &outputs[1]["name"]), (&json!("BYTES"), &json!("c")));
    let best = outputs[0]["data"][0].as_str().unwrap();
    let parts: Vec<&str> = best.split(':').collect();
    assert_eq!(parts.len(), 3, "{best}");
    assert_eq!(outputs[1]["data"][0], parts[2]);
}

#[test]
fn rows_in_json_and_csv_get_the_same_answer() {
    let server = serve(MIXED);
    let rows = r#"[{"a": 3, "colour": "red", "note": "one \"two\"", "more": [1, {"x": 2}]},
        {"note": "three", "colour": "blue", "a": 7.5}]"#;
    let answer = server.post("/predict", rows);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let said = answer.json();
    assert!(said[0]["price"].is_f64() && said[0]["sold_probabilities"]["yes"].is_f64(), "{said}");
    let csv = "note,a,colour\r\n\"one \"\"two\"\"\",3,red\r\nthree,7.5,blue\r\n";
    let answer = server.send("POST", "/predict/m", &[("content-type", "text/csv")], csv.as_bytes());
    let lines: Vec<String> = answer.text().lines().map(str::to_string).collect();
    assert_eq!(lines[0], "price,sold,sold_p_no,sold_p_yes");
    for (line, said) in lines[1..].iter().zip(said.as_array().unwrap()) {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields[0].parse::<f64>().unwrap(), said["price"].as_f64().unwrap());
        assert_eq!(fields[1], said["sold"]);
        assert_eq!(fields[3], said["sold_probabilities"]["yes"].to_string());
    }
    let one =
        server.post("/predict/m/versions/1", r#"{"a": 3, "colour": "red", "note": "one \"two\""}"#);
    assert_eq!(one.json(), said[0], "an object gets an object");
    let headers = [("content-type", "text/csv"), ("accept", "application/json")];
    assert_eq!(server.send("POST", "/predict", &headers, csv.as_bytes()).json(), said);
}

#[test]
fn a_picture_is_the_same_as_file_as_base64_as_tensor_and_as_bytes() {
    let server = serve(PICTURE);
    let said = server.send("POST", "/predict", &[("content-type", "image/png")], &png());
    assert_eq!(said.status, 200, "{}", said.text());
    let said = said.json();
    let base64 = |bytes: &[u8]| -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let four = |three: &[u8]| {
            let bits = three.iter().fold(0u32, |bits, &b| bits << 8 | u32::from(b))
                << (8 * (3 - three.len()));
            let digit = move |at: usize| char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]);
            (0..=three.len()).map(digit).collect::<String>()
        };
        bytes.chunks(3).map(four).collect()
    };
    let row = json!([{ "image": format!("data:image/png;base64,{}", base64(&png())) }]);
    assert_eq!(server.post("/predict", &row.to_string()).json()[0], said);
    let pixels: Vec<u32> = (0..6).flat_map(|y| (0..5).map(move |x| x * 40 + y * 9)).collect();
    let request = json!({ "inputs": [{ "name": "image", "shape": [1, 1, 6, 5], "datatype": "UINT8", "data": pixels }] });
    let tensor = server.post(INFER, &request.to_string()).json();
    assert_eq!(tensor["outputs"][0]["data"][0], said["digit"], "{tensor}");
    let shares = tensor["outputs"][1]["data"][2].to_string();
    assert_eq!(shares, said["digit_probabilities"]["2"].to_string());
    let bytes: Vec<u8> = pixels.iter().map(|&pixel| pixel as u8).collect();
    let raw = server.send("POST", INFER, &[("inference-header-content-length", "0")], &bytes);
    assert_eq!(raw.status, 200, "{}", raw.text());
    assert!(
        raw.body
            .ends_with(&(said["digit_probabilities"]["2"].as_f64().unwrap() as f32).to_le_bytes())
    );
}

#[test]
fn a_folder_of_models_has_names_and_versions() {
    let (_keep, folder) = folder();
    save(NUMBERS, &folder.join("numbers/1/model.safetensors"));
    save(NUMBERS, &folder.join("numbers/12/any.safetensors"));
    save(MIXED, &folder.join("mixed/3/model.safetensors"));
    save(MIXED, &folder.join("tmp-mixed/3/model.safetensors"));
    save(MIXED, &folder.join("mixed/03/model.safetensors"));
    save(MIXED, &folder.join("mixed/.4/model.safetensors"));
    let sources = Sources { folder: Some(folder.clone()), ..Sources::default() };
    let repository = Repository::new(sources, Batching::default(), quiet);
    assert_eq!(repository.look().unwrap(), Vec::<String>::new());
    let server = start(repository, options());
    assert_eq!(server.get("/v2/models").json(), json!({ "models": ["mixed", "numbers"] }));
    assert_eq!(server.get("/v2/models/numbers").json()["versions"], json!(["1", "12"]));
    let answer = server.post("/v2/models/numbers/infer", &infer("1", "2")).json();
    assert_eq!(answer["model_version"], "12", "the newest, if none is named");
    let answer = server.post("/v2/models/numbers/versions/1/infer", &infer("1", "2")).json();
    assert_eq!(answer["model_version"], "1");
    assert!(server.post("/predict", "[{}]").error().contains("mixed, numbers"));
    let stats = server.get("/v2/models/stats").json();
    assert_eq!(stats["model_stats"].as_array().unwrap().len(), 3);
    let stats = server.get("/v2/models/numbers/versions/1/stats").json();
    let own = &stats["model_stats"][0];
    assert_eq!(
        (&own["inference_count"], &own["inference_stats"]["success"]["count"]),
        (&json!(1), &json!(1))
    );
}

#[test]
fn metrics_are_in_the_format_of_prometheus() {
    let mut options = options();
    options.triton_metrics = true;
    let server = start(empty().with(served(NUMBERS, Batching::default())), options);
    server.post(INFER, &infer("1", "2"));
    server.post(INFER, "{");
    let text = server.get("/metrics").text();
    for line in [
        "nerve_rows_total{model=\"m\",version=\"1\"} 1",
        "nerve_requests_total{code=\"400\"} 1",
        "nerve_batch_rows_bucket{model=\"m\",version=\"1\",le=\"1\"} 1",
        "nv_inference_request_success{model=\"m\",version=\"1\"} 1",
        "# TYPE nerve_request_seconds histogram",
        "nerve_failed_total{model=\"m\",version=\"1\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok() && !name.is_empty(), "{line}");
    }
}

#[test]
fn programs_and_people_are_told_what_can_be_asked() {
    let server = serve(MIXED);
    let described = server.get("/openapi.json").json();
    let infer = &described["paths"]["/v2/models/m/infer"]["post"]["requestBody"]["content"];
    let tensors = &infer["application/json"]["schema"]["properties"]["inputs"]["prefixItems"];
    assert_eq!(tensors[1]["properties"]["datatype"]["const"], "BYTES");
    for path in described["paths"].as_object().unwrap().iter() {
        let (path, operations) = path;
        if operations.get("get").is_some() {
            assert_eq!(server.get(path).status, 200, "{path}");
        }
    }
    let form = server.get("/form").json();
    let holds: Vec<&str> =
        (0..3).map(|at| form["models"][0]["inputs"][at]["holds"].as_str().unwrap()).collect();
    assert_eq!(holds, ["number", "choice", "text"]);
    let page = server.get("/");
    assert!(page.text().contains("<title>nerve</title>"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert_eq!(
        server.get("/page.js").header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
}

/// Two series on scales of their own, one a hundred times as large as the other.
const SERIES: &str = "[data]\npath = \"x.csv\"\ntime = \"when\"\nseries = \"meter\"\nfreq = \"1h\"\n\
    [[input]]\nname = \"load\"\ntype = \"timeseries\"\nwindow = 4\nnormalize = \"per_series_zscore\"\n\
    [[output]]\nname = \"load\"\ntype = \"timeseries\"\nhorizon = 2\n";

#[test]
fn a_series_is_answered_on_its_own_scale() {
    let server = serve(SERIES);
    let rows: Vec<(&str, i32)> =
        (0..6).flat_map(|hour| [("attic", hour), ("mill", hour)]).collect();
    let when = |hour: i32| format!("2024-05-02 {hour:02}:00");
    let load =
        |meter: &str, hour: i32| f64::from(hour % 3) * if meter == "mill" { 100.0 } else { 1.0 };
    let body: Vec<_> = rows
        .iter()
        .map(|&(meter, hour)| json!({ "when": when(hour), "meter": meter, "load": load(meter, hour) }))
        .collect();
    let answer = server.post("/predict", &json!(body).to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    // The same from the model file.
    let (names, hours): (Vec<_>, Vec<_>) =
        rows.iter().map(|&(meter, hour)| (meter, when(hour))).unzip();
    let columns = vec![
        Column {
            name: "when".into(),
            cells: Cells::Text(hours.iter().map(|it| Some(&**it)).collect()),
        },
        Column {
            name: "meter".into(),
            cells: Cells::Text(names.iter().map(|it| Some(*it)).collect()),
        },
        Column {
            name: "load".into(),
            cells: Cells::Numbers(rows.iter().map(|&(meter, hour)| load(meter, hour)).collect()),
        },
    ];
    let table = Table::new(columns, Origin::default()).unwrap();
    let model = predictor(SERIES);
    let order = nerve_data::series::Order::from_args(&model.card.recipe.data);
    let table = nerve_data::series::sorted(table, &order).unwrap();
    let mut expected = Vec::new();
    let each = |said: Said| {
        let Answer::Numbers(steps) = &said.answers[0] else { panic!("{said:?}") };
        expected.push(steps.clone());
        Ok(())
    };
    model.answers(&Rows::all(table), false, each).unwrap();
    // By series there; by hour in the request.
    let expected: Vec<_> = [0, 3, 1, 4, 2, 5].map(|i| expected[i].clone()).to_vec();
    assert_eq!(expected.len(), 6, "three hours of each have four before them");
    let all = answer.json();
    let found: Vec<Vec<f64>> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|row| serde_json::from_value(row["load"].clone()).unwrap())
        .collect();
    assert_eq!(found.len(), 6, "{all}");
    for (found, expected) in found.iter().zip(&expected) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{all} {expected}");
        }
    }
    // What the network says is small; the mill's loads are not.
    assert!(found.iter().filter(|steps| steps[0].abs() > 20.0).count() == 3, "{all}");
}
