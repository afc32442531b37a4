//! The last touches: what nobody needs is left out, and names are put in order.

use super::writer::{Writer, stored};
use nerve_formats::onnx::{Graph, Node};
use std::collections::{HashMap, HashSet};

/// Moves what was written into a graph whose outputs have these names: pairs of the name of the value
/// and the wanted one.
pub(super) fn finish(mut writer: Writer, inputs: &[String], outputs: &[(String, String)]) -> Graph {
    for (from, to) in outputs {
        // A name of its own for each output, whoever gives the value; what is needless goes again.
        writer.nodes.push(Node::new("Identity", [from], [to]));
    }
    let needed: HashSet<String> = outputs.iter().map(|(_, to)| to.clone()).collect();
    let nodes = live(writer.nodes, needed);
    let nodes = direct(nodes, outputs);
    let nodes = renamed(nodes, inputs, outputs, &writer.constants.keys().cloned().collect());
    let mut seen = HashSet::new();
    let mut initializers = Vec::new();
    for name in nodes.iter().flat_map(|node| &node.inputs) {
        if let Some(data) = writer.constants.get(name)
            && seen.insert(name.clone())
        {
            let mut tensor = stored(name, data);
            tensor.name.clone_from(name);
            initializers.push(tensor);
        }
    }
    Graph { nodes, initializers, ..Graph::default() }
}

/// The nodes that something needed is computed by.
fn live(nodes: Vec<Node>, mut needed: HashSet<String>) -> Vec<Node> {
    let mut kept = Vec::new();
    for node in nodes.into_iter().rev() {
        if node.outputs.iter().any(|output| needed.contains(output)) {
            needed.extend(node.inputs.iter().cloned());
            kept.push(node);
        }
    }
    kept.reverse();
    // A result that nobody reads is not asked for, where it may be left out.
    let recurrent = |node: &&mut Node| matches!(&*node.op_type, "LSTM" | "GRU" | "RNN");
    for node in kept.iter_mut().filter(recurrent) {
        for output in node.outputs.iter_mut().filter(|output| !needed.contains(*output)) {
            output.clear();
        }
        while node.outputs.len() > 1 && node.outputs.last().is_some_and(String::is_empty) {
            node.outputs.pop();
        }
    }
    kept
}

/// Without the last step from a value to the name of an output, where the value can bear that name.
fn direct(mut nodes: Vec<Node>, outputs: &[(String, String)]) -> Vec<Node> {
    let mut given: HashMap<String, String> = HashMap::new();
    for (from, to) in outputs {
        let made = nodes.iter().any(|node| node.outputs.contains(from));
        if made && !given.contains_key(from) {
            given.insert(from.clone(), to.clone());
        }
    }
    nodes.retain(|node| {
        let renames = node.op_type == "Identity" && node.outputs.len() == 1;
        !(renames && given.get(&node.inputs[0]) == Some(&node.outputs[0]))
    });
    for node in &mut nodes {
        for name in node.inputs.iter_mut().chain(&mut node.outputs) {
            if let Some(new) = given.get(name) {
                name.clone_from(new);
            }
        }
    }
    nodes
}

/// With the names of nodes and their values counted again, as some nodes are gone.
fn renamed(
    mut nodes: Vec<Node>,
    inputs: &[String],
    outputs: &[(String, String)],
    constants: &HashSet<String>,
) -> Vec<Node> {
    let mut taken: HashSet<String> = constants.clone();
    taken.extend(inputs.iter().cloned());
    taken.extend(outputs.iter().map(|(_, to)| to.clone()));
    let fixed: HashSet<String> = taken.clone();
    let mut new_names: HashMap<String, String> = HashMap::new();
    for node in &mut nodes {
        let wanted = match node.name.rsplit_once('/') {
            Some((part, _)) => format!("{part}/{}", node.op_type),
            None => node.op_type.clone(),
        };
        let mut name = wanted.clone();
        let mut number = 1;
        while !taken.insert(name.clone()) {
            name = format!("{wanted}_{number}");
            number += 1;
        }
        for output in &mut node.outputs {
            if output.is_empty() || fixed.contains(output) {
                continue;
            }
            let suffix = output.strip_prefix(&*node.name).unwrap_or("").to_string();
            let new = format!("{name}{suffix}");
            taken.insert(new.clone());
            new_names.insert(std::mem::replace(output, new.clone()), new);
        }
        node.name = name;
        for input in &mut node.inputs {
            if let Some(new) = new_names.get(input) {
                input.clone_from(new);
            }
        }
    }
    nodes
}
