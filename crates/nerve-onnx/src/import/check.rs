//! What a model must be before it is used: of operators that there are, with names that lead somewhere.

use super::ops;
use super::scope::normal;
use nerve_formats::onnx::{AttributeValue, Graph, Model, Node};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The nodes of a graph and of the graphs within them.
pub(super) fn each_node<'a>(nodes: &'a [Node], see: &mut dyn FnMut(&'a Node)) {
    for node in nodes {
        see(node);
        for attribute in &node.attributes {
            match &attribute.value {
                AttributeValue::Graph(graph) => each_node(&graph.nodes, see),
                AttributeValue::Graphs(graphs) => {
                    graphs.iter().for_each(|graph| each_node(&graph.nodes, see));
                }
                _ => {}
            }
        }
    }
}

/// The newest version of ONNX's operators that is known here.
pub(crate) const NEWEST: i64 = 28;

/// Names everything that is missing here.
pub(super) fn supported(model: &Model) -> Result<(), String> {
    if !(1..=100).contains(&model.ir_version) {
        return Err(format!("version {} of the format", model.ir_version));
    }
    let own = |domain: &str, name: &str| {
        model.functions.iter().any(|f| normal(&f.domain) == domain && f.name == name)
    };
    let mut missing: BTreeMap<String, usize> = BTreeMap::new();
    let mut see = |node: &Node| {
        let domain = normal(&node.domain);
        if !own(domain, &node.op_type) && ops::find(domain, &node.op_type).is_none() {
            let domain = if domain.is_empty() { String::new() } else { format!("{domain}.") };
            *missing.entry(format!("{domain}{}", node.op_type)).or_default() += 1;
        }
    };
    each_node(&model.graph.nodes, &mut see);
    model.functions.iter().for_each(|f| each_node(&f.nodes, &mut see));
    let mut complaints = Vec::new();
    match model.opset("") {
        None if model.graph.nodes.iter().any(|n| normal(&n.domain).is_empty()) => {
            complaints.push("the model does not say which version of the operators it uses".into());
        }
        Some(version) if !(1..=NEWEST).contains(&version) => {
            complaints
                .push(format!("version {version} of the operators; nerve knows 1 to {NEWEST}"));
        }
        _ => {}
    }
    if !missing.is_empty() {
        let list: Vec<String> = missing.iter().map(|(op, n)| format!("{op} ({n} nodes)")).collect();
        complaints.push(format!("operators that nerve does not have: {}", list.join(", ")));
    }
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("; ")) }
}

/// Brings the nodes into an order in which each comes after those that it needs, and checks the names.
pub(super) fn sort(graph: &mut Graph, weight: &dyn Fn(&str) -> bool) -> Result<(), String> {
    let inputs: HashSet<&str> = graph.inputs.iter().map(|i| i.name.as_str()).collect();
    let known = |name: &str| inputs.contains(name) || weight(name);
    let mut producer: HashMap<&str, usize> = HashMap::new();
    for (at, node) in graph.nodes.iter().enumerate() {
        for name in node.outputs.iter().filter(|name| !name.is_empty()) {
            if known(name) || producer.insert(name, at).is_some() {
                return Err(format!("value {name:?} is written twice"));
            }
        }
    }
    for info in &graph.outputs {
        if !known(&info.name) && !producer.contains_key(info.name.as_str()) {
            return Err(format!("nothing produces output {:?}", info.name));
        }
    }
    let mut needs = Vec::new();
    for node in &graph.nodes {
        let mut of = Vec::new();
        let mut see = |node: &Node| of.extend(node.inputs.iter().cloned());
        each_node(std::slice::from_ref(node), &mut see);
        for name in node.inputs.iter().filter(|name| !name.is_empty()) {
            if !known(name) && !producer.contains_key(name.as_str()) {
                return Err(format!(
                    "nothing produces {name:?}, an operand of node {:?}",
                    node.name
                ));
            }
        }
        needs.push(of.iter().filter_map(|name| producer.get(name.as_str()).copied()).collect());
    }
    let order = ordered(&needs).map_err(|cycle| {
        let names = cycle.iter().map(|&at| match graph.nodes[at].outputs.first() {
            Some(name) => name.clone(),
            None => graph.nodes[at].name.clone(),
        });
        format!("the graph has a cycle: {}", names.collect::<Vec<_>>().join(" → "))
    })?;
    let mut nodes: Vec<Option<Node>> =
        std::mem::take(&mut graph.nodes).into_iter().map(Some).collect();
    graph.nodes = order.iter().map(|&at| nodes[at].take().expect("each once")).collect();
    Ok(())
}

/// An order in which each comes after those it needs, otherwise as they stand; or a cycle.
fn ordered(needs: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut state = vec![State::New; needs.len()];
    let mut order = Vec::with_capacity(needs.len());
    for start in 0..needs.len() {
        // A node and how many of those it needs were looked at. Not recursive: graphs are deep.
        let mut stack = if state[start] == State::New { vec![(start, 0)] } else { Vec::new() };
        while let Some((at, looked)) = stack.last_mut() {
            let at = *at;
            state[at] = State::Open;
            match needs[at].get(*looked) {
                Some(&next) => {
                    *looked += 1;
                    match state[next] {
                        State::New => stack.push((next, 0)),
                        State::Done => {}
                        State::Open => {
                            let from = stack.iter().position(|(n, _)| *n == next).unwrap_or(0);
                            let mut cycle: Vec<usize> = stack[from..].iter().map(|s| s.0).collect();
                            cycle.push(next);
                            return Err(cycle);
                        }
                    }
                }
                None => {
                    state[at] = State::Done;
                    order.push(at);
                    stack.pop();
                }
            }
        }
    }
    Ok(order)
}
