//! `GET /openapi.json`: what can be asked, for the models that are served now (OpenAPI 3.1).

use crate::columns::{Holds, InputColumn};
use crate::graph::{Graph, Port};
use crate::loaded::Loaded;
use crate::model::Served;
use crate::tensor::Datatype;
use nerve_data::features::Answer;
use nerve_formats::Meaning;
use serde_json::{Map, Value, json};

/// The description; one request of each kind for each model.
pub fn describe(models: &[Loaded], token: bool) -> Value {
    let mut paths = Map::new();
    let mut get = |path: String, about: &str, answer: Value| {
        paths.insert(path, json!({ "get": operation(about, None, answer) }));
    };
    let object = || json!({ "type": "object" });
    get("/v2/health/live".into(), "Whether the server runs.", object());
    get("/v2/health/ready".into(), "Whether every model answers.", object());
    get("/v2".into(), "What the server is.", object());
    get("/v2/models".into(), "The names of the models.", object());
    get("/v2/models/stats".into(), "What the models have done.", object());
    for model in models {
        let place = format!("/v2/models/{}", escaped(model.name()));
        get(place.clone(), "The tensors of the model.", object());
        get(format!("{place}/ready"), "Whether the model answers.", object());
        get(format!("{place}/config"), "How the model is run.", object());
        get(format!("{place}/stats"), "What the model has done.", object());
        if model.drifting().is_some() {
            let drift = format!("/drift/{}", escaped(model.name()));
            get(drift, "What the model was asked beside what it was trained on.", object());
        }
    }
    for model in models {
        let name = escaped(model.name());
        let post = |about: &str, body: Value, answer| json!({ "post": operation(about, Some(body), answer) });
        let (tensors, body, answer) = match model {
            Loaded::Rows(served) => (infer(served), rows(served), predicted(served)),
            Loaded::Graph(graph) => {
                (infer_arrays(graph), arrays(&graph.inputs, taken), arrays(&graph.outputs, given))
            }
        };
        paths.insert(
            format!("/v2/models/{name}/infer"),
            post("Answers tensors.", tensors, inferred()),
        );
        let mut predict = post("Answers rows.", body, answer);
        if let Loaded::Rows(served) = model
            && let Some(tokens) = tokens(served)
        {
            let parameter = json!({ "name": "max_tokens", "in": "query", "schema": tokens });
            predict["post"]["parameters"] = json!([parameter]);
            if served.continues() {
                let events = json!({ "schema": { "type": "string" } });
                predict["post"]["responses"]["200"]["content"]["text/event-stream"] = events;
            }
        }
        paths.insert(format!("/predict/{name}"), predict);
    }
    let index = json!({ "type": "object", "properties": { "ready": { "type": "boolean" } } });
    let lines = json!({ "type": "array", "items": { "type": "object", "required": ["name", "version", "state"] } });
    paths.insert(
        "/v2/repository/index".into(),
        json!({ "post": operation("The models and how they stand.", Some(index), lines) }),
    );
    let metrics = json!({ "200": { "description": "Counters.", "content": { "text/plain": { "schema": { "type": "string" } } } } });
    paths.insert(
        "/metrics".into(),
        json!({ "get": { "summary": "Counters for Prometheus.", "responses": metrics } }),
    );
    let mut all = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "nerve",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The Open Inference Protocol, version 2, and rows in the columns of the recipes.",
        },
        "paths": paths,
    });
    if token {
        all["components"] =
            json!({ "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } });
        all["security"] = json!([{ "token": [] }]);
    }
    all
}

fn operation(about: &str, body: Option<Value>, answer: Value) -> Value {
    let error = json!({
        "type": "object",
        "required": ["error"],
        "properties": { "error": { "type": "string" } },
    });
    let content = |schema: Value| json!({ "application/json": { "schema": schema } });
    let mut operation = json!({
        "summary": about,
        "responses": {
            "200": { "description": "The answer.", "content": content(answer) },
            "default": { "description": "Why there is none.", "content": content(error) },
        },
    });
    if let Some(body) = body {
        operation["requestBody"] = json!({ "required": true, "content": content(body) });
    }
    operation
}

/// What stands in a cell, within what every model of such columns takes.
fn cell(input: &InputColumn) -> Value {
    let datatype = input.tensor().0;
    match (&input.holds, input.feature.meaning()) {
        (Holds::Picture(_) | Holds::Sound(_), _) => {
            json!({ "type": "string", "contentEncoding": "base64" })
        }
        (_, Meaning::Category { names }) => json!({ "enum": &*names }),
        _ if datatype == Datatype::Fp64 => {
            json!({ "type": "number", "minimum": -1e6, "maximum": 1e6 })
        }
        _ => json!({ "type": "string", "maxLength": 1000 }),
    }
}

fn infer(model: &Served) -> Value {
    let tensor = |input: &InputColumn| {
        let (datatype, row) = input.tensor();
        let count: usize = row.iter().product();
        let shape: Vec<usize> = std::iter::once(1).chain(row).collect();
        let element = match datatype {
            Datatype::Uint8 => json!({ "type": "integer", "minimum": 0, "maximum": 255 }),
            Datatype::Fp32 => json!({ "type": "number", "minimum": -1e6, "maximum": 1e6 }),
            _ => cell(input),
        };
        json!({
            "type": "object",
            "required": ["name", "shape", "datatype", "data"],
            "additionalProperties": false,
            "properties": {
                "name": { "const": input.name },
                "shape": { "const": shape },
                "datatype": { "const": datatype.name() },
                "data": { "type": "array", "items": element, "minItems": count, "maxItems": count },
            },
        })
    };
    let mut asked = request(model.inputs.iter().map(tensor).collect());
    if let Some(tokens) = tokens(model) {
        asked["properties"]["parameters"] = json!({
            "type": "object",
            "properties": { "max_tokens": tokens },
            "additionalProperties": false,
        });
    }
    asked
}

/// How long a text may be asked for, of a model that writes.
fn tokens(model: &Served) -> Option<Value> {
    let most = model.most_tokens()?;
    Some(json!({ "type": "integer", "minimum": 1, "maximum": most }))
}

/// What goes to an ONNX file: arrays, with the extents that it does not say as 1.
fn infer_arrays(graph: &Graph) -> Value {
    let tensor = |port: &Port| {
        let shape: Vec<i64> = port.shape.iter().map(|&extent| extent.abs()).collect();
        let count: i64 = shape.iter().product();
        json!({
            "type": "object",
            "required": ["name", "shape", "datatype", "data"],
            "additionalProperties": false,
            "properties": {
                "name": { "const": port.name },
                "shape": { "const": shape },
                "datatype": { "const": port.datatype.name() },
                "data": { "type": "array", "items": element(port.datatype), "minItems": count, "maxItems": count },
            },
        })
    };
    request(graph.inputs.iter().map(tensor).collect())
}

/// A value for each input or output, as `of` describes it.
fn arrays(ports: &[Port], of: fn(&Port) -> Value) -> Value {
    let lists = |port: &Port| (port.name.clone(), of(port));
    let properties: Map<String, Value> = ports.iter().map(lists).collect();
    let names: Vec<&String> = ports.iter().map(|port| &port.name).collect();
    json!({ "type": "object", "required": names, "properties": properties, "additionalProperties": false })
}

/// Nested lists that an ONNX file takes, with the extents that it does not say as 1.
fn taken(port: &Port) -> Value {
    port.shape.iter().rev().fold(element(port.datatype), |items, extent| {
        let count = extent.abs();
        json!({ "type": "array", "items": items, "minItems": count, "maxItems": count })
    })
}

/// What it gives: nested lists, or one value of an array without axes.
fn given(port: &Port) -> Value {
    if port.shape.is_empty() { json!({}) } else { json!({ "type": "array" }) }
}

fn element(datatype: Datatype) -> Value {
    match (datatype, datatype.range()) {
        (Datatype::Bytes, _) => json!({ "type": "string", "maxLength": 1000 }),
        (Datatype::Bool, _) => json!({ "type": "boolean" }),
        // Of larger ones not all are kept exactly.
        (_, Some((least, most))) => {
            json!({ "type": "integer", "minimum": least.max(-1e9), "maximum": most.min(1e9) })
        }
        _ => json!({ "type": "number", "minimum": -1e6, "maximum": 1e6 }),
    }
}

fn request(tensors: Vec<Value>) -> Value {
    let count = tensors.len();
    json!({
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": { "type": "string", "maxLength": 100 },
            "inputs": { "type": "array", "prefixItems": tensors, "items": false, "minItems": count, "maxItems": count },
        },
        "additionalProperties": false,
    })
}

fn inferred() -> Value {
    let tensor = json!({ "type": "object", "required": ["name", "shape", "datatype", "data"] });
    json!({
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": { "type": "string" },
            "model_version": { "type": "string" },
            "id": { "type": "string" },
            "outputs": { "type": "array", "items": tensor },
        },
    })
}

fn rows(model: &Served) -> Value {
    let cells: Map<String, Value> =
        model.inputs.iter().map(|input| (input.name.clone(), cell(input))).collect();
    let names: Vec<&String> = model.inputs.iter().map(|input| &input.name).collect();
    let row = json!({ "type": "object", "required": names, "properties": cells, "additionalProperties": false });
    json!({ "type": "array", "items": row, "minItems": 1, "maxItems": 100 })
}

fn predicted(model: &Served) -> Value {
    let mut properties = Map::new();
    for output in &model.outputs {
        let own = match &output.sample {
            Answer::Number(_) => json!({ "type": "number" }),
            Answer::Classes(_) | Answer::Text(_) => json!({ "type": "string" }),
            _ => json!({ "type": "array" }),
        };
        properties.insert(output.name.clone(), own);
    }
    json!({ "type": "array", "items": { "type": "object", "properties": properties } })
}

/// A name as a step of a path.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let step =
        |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn names_are_steps_of_paths() {
        assert_eq!(escaped("mnist-2"), "mnist-2");
        assert_eq!(escaped("a b/{c}\u{e9}"), "a%20b%2F%7Bc%7D%C3%A9");
    }
}
