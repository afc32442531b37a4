//! What is computed before a plan is run: plans take numbers, so nodes that read texts of inputs (names of categories, say) are
//! applied beforehand, and the numbers that they give go into the plan in place of the texts.

use super::check::each_node;
use super::error::{ImportError, ImportErrorKind};
use super::network::Inner;
use super::scope::{Budget, Scope};
use super::value::Value;
use nerve_nn::Context;
use std::collections::HashSet;

/// The values that a plan begins with, by name, and the nodes that it leaves out.
pub(super) struct Early<'a> {
    pub values: Vec<(&'a str, Value)>,
    pub done: Vec<usize>,
}

impl Inner {
    /// Applies the nodes that read texts; none if texts meet numbers that are not known yet, or come out.
    pub fn early<'a>(&'a self, inputs: &[Value]) -> Result<Option<Early<'a>>, ImportError> {
        self.check(inputs)?;
        let (budget, cx) = (Budget::new(self), Context::eval());
        let mut scope = Scope::new(self, &budget, &cx);
        let (mut texts, mut values, mut done) = (HashSet::new(), Vec::new(), Vec::new());
        for (info, value) in self.inputs().zip(inputs) {
            match value {
                Value::Strings(_) => {
                    texts.insert(info.name.as_str());
                    scope.set(&info.name, value.clone());
                }
                _ => values.push((info.name.as_str(), value.clone())),
            }
        }
        for (at, node) in self.graph.nodes.iter().enumerate() {
            let own = node.inputs.iter().any(|name| texts.contains(name.as_str()));
            let mut inner = false;
            each_node(std::slice::from_ref(node), &mut |within| {
                let reads = within.inputs.iter().any(|name| texts.contains(name.as_str()));
                inner |= reads && !std::ptr::eq(within, node);
            });
            if !own && !inner {
                continue;
            }
            let known = |name: &String| {
                name.is_empty()
                    || texts.contains(name.as_str())
                    || self.constants.contains_key(name)
            };
            if inner || !node.inputs.iter().all(known) {
                return Ok(None);
            }
            scope.walk(std::slice::from_ref(node))?;
            done.push(at);
            for name in node.outputs.iter().filter(|name| !name.is_empty()) {
                match scope.output(name) {
                    Some(Value::Strings(_)) => _ = texts.insert(name.as_str()),
                    Some(value @ (Value::Tensor(_) | Value::Narrow(..))) => {
                        values.push((name.as_str(), self.evaluated(value)?));
                    }
                    _ => return Ok(None),
                }
            }
        }
        let says = |name: &str| texts.contains(name);
        let out = self.graph.outputs.iter().any(|info| says(&info.name));
        Ok((!out).then_some(Early { values, done }))
    }

    fn evaluated(&self, mut value: Value) -> Result<Value, ImportError> {
        let refuse =
            |message| ImportError::new(ImportErrorKind::Invalid, &self.name, None, message);
        super::run::evaluate(&mut value).map_err(refuse)?;
        Ok(value)
    }
}
