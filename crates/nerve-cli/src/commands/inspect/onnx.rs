//! ONNX: what goes in and out, and which operators are used.

use super::{Found, pairs, short};
use crate::commands::list::columns;
use crate::failure::Failure;
use nerve::formats::onnx::{Dim, Graph, Model, Node, Type, ValueInfo, read_structure};
use nerve::onnx::import::supports;
use nerve_recipe::summary::{bytes_text, thousands};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

pub fn look(path: &Path) -> Result<Found, Failure> {
    let model = read_structure(path)?;
    let graph = &model.graph;
    let weights: u128 = graph.initializers.iter().map(|tensor| tensor.numel() as u128).sum();
    let bytes: u128 = graph.initializers.iter().map(|tensor| tensor.bytes().len() as u128).sum();
    let operators = operators(graph);
    let nodes: u64 = operators.values().sum();
    let mut text = format!(
        "{} nodes, {} numbers in {} constants, {}\n\n",
        thousands(nodes.into()),
        thousands(weights),
        thousands(graph.initializers.len() as u128),
        bytes_text(bytes)
    );
    text.push_str(&columns(&about(&model)));
    let mut rows = vec![["", "name", "type"].map(String::from)];
    for (what, values) in [("input", inputs(graph)), ("output", graph.outputs.iter().collect())] {
        rows.extend(values.iter().map(|value| {
            [what.to_string(), short(&value.name), value.kind.as_ref().map_or(String::new(), kind)]
        }));
    }
    text.push_str(&format!("\n{}", columns(&rows)));
    let counts: Vec<(String, String)> =
        operators.iter().map(|(name, count)| (name.clone(), count.to_string())).collect();
    text.push_str(&format!("\noperators\n{}", pairs(&counts)));
    let missing = missing(&model);
    if !missing.is_empty() {
        text.push_str(&format!(
            "\nnerve does not have {}: it cannot run this model\n",
            missing.join(", ")
        ));
    }
    if !model.metadata.is_empty() {
        text.push_str(&format!("\nmetadata\n{}", pairs(&model.metadata)));
    }
    let value =
        |value: &&ValueInfo| json!({ "name": value.name, "type": value.kind.as_ref().map(kind) });
    let opsets: BTreeMap<&str, i64> =
        model.opsets.iter().map(|(domain, version)| (domain.as_str(), *version)).collect();
    let json = json!({
        "ir_version": model.ir_version,
        "producer": format!("{} {}", model.producer_name, model.producer_version).trim(),
        "opsets": opsets,
        "inputs": inputs(graph).iter().map(value).collect::<Vec<Value>>(),
        "outputs": graph.outputs.iter().map(|o| value(&o)).collect::<Vec<Value>>(),
        "nodes": nodes,
        "operators": operators,
        "unsupported": missing,
        "numbers": u64::try_from(weights).unwrap_or(u64::MAX),
        "bytes": u64::try_from(bytes).unwrap_or(u64::MAX),
    });
    Ok(Found { kind: "ONNX model", text, json })
}

fn about(model: &Model) -> Vec<[String; 2]> {
    let opset = |(domain, version): &(String, i64)| match domain.as_str() {
        "" => version.to_string(),
        domain => format!("{} {version}", short(domain)),
    };
    let opsets: Vec<String> = model.opsets.iter().map(opset).collect();
    let producer = format!("{} {}", model.producer_name, model.producer_version);
    vec![
        ["opset".into(), opsets.join(", ")],
        ["format".into(), model.ir_version.to_string()],
        ["producer".into(), short(producer.trim())],
    ]
}

/// What has to be given: an input with a constant of its name is a default.
fn inputs(graph: &Graph) -> Vec<&ValueInfo> {
    let given = |value: &&ValueInfo| !graph.initializers.iter().any(|t| t.name == value.name);
    graph.inputs.iter().filter(given).collect()
}

/// How often each operator is used; those within branches and loops are theirs.
fn operators(graph: &Graph) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for node in &graph.nodes {
        let name = match node.domain.as_str() {
            "" => node.op_type.clone(),
            domain => format!("{domain}.{}", node.op_type),
        };
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// The operators that cannot be run.
fn missing(model: &Model) -> Vec<String> {
    let own = |node: &Node| {
        model.functions.iter().any(|f| f.domain == node.domain && f.name == node.op_type)
    };
    let mut names: Vec<String> = model
        .graph
        .nodes
        .iter()
        .filter(|node| !supports(&node.domain, &node.op_type) && !own(node))
        .map(|node| short(&node.op_type))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// `float [batch, 3, 224, 224]`.
fn kind(kind: &Type) -> String {
    let array = |dtype: &str, dims: &Option<Vec<Dim>>| match dims {
        None => format!("{dtype} of any shape"),
        Some(dims) => {
            let dims = dims.iter().map(|dim| match dim {
                Dim::Fixed(n) => n.to_string(),
                Dim::Named(name) if name.is_empty() => "?".into(),
                Dim::Named(name) => short(name),
            });
            format!("{dtype} [{}]", dims.collect::<Vec<String>>().join(", "))
        }
    };
    match kind {
        Type::Tensor(dtype, dims) => array(dtype.name(), dims),
        Type::Sparse(dtype, dims) => format!("sparse {}", array(dtype.name(), dims)),
        Type::Sequence(of) => format!("sequence of {}", self::kind(of)),
        Type::Optional(of) => format!("optional {}", self::kind(of)),
        Type::Map(key, of) => format!("map from {} to {}", key.name(), self::kind(of)),
    }
}
