//! In what two recipes differ, whatever their layout.

use crate::tree::{self, Data, Node};

/// A place where two recipes differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its dotted path: `trainer.optimizer.lr`, `model.layers.2`, `input.age.type`.
    pub path: String,
    /// What stands there in the first; none if nothing does.
    pub before: Option<String>,
    /// What stands there in the second.
    pub after: Option<String>,
}

/// The places where two resolved recipes differ, in the order of the first. Columns are known by
/// their names, layers by their numbers.
///
/// ```
/// use nerve_recipe::differences::differences;
/// let found = differences("seed = 1\n[trainer]\nepochs = 3\n", "seed = 1\n[trainer]\nepochs = 5\n");
/// assert_eq!(found[0].path, "trainer.epochs");
/// assert_eq!((found[0].before.as_deref(), found[0].after.as_deref()), (Some("3"), Some("5")));
/// ```
pub fn differences(before: &str, after: &str) -> Vec<Difference> {
    let [before, after] = [before, after].map(|text| {
        let mut found = Vec::new();
        flatten(&tree::parse(0, text).0, String::new(), &mut found);
        found
    });
    let find = |list: &[(String, String)], path: &str| {
        list.iter().find(|(known, _)| known == path).map(|(_, value)| value.clone())
    };
    let changed = before.iter().filter_map(|(path, value)| {
        let other = find(&after, path);
        (other.as_ref() != Some(value)).then(|| Difference {
            path: path.clone(),
            before: Some(value.clone()),
            after: other,
        })
    });
    let new = after.iter().filter(|(path, _)| find(&before, path).is_none());
    let new = new.map(|(path, value)| Difference {
        path: path.clone(),
        before: None,
        after: Some(value.clone()),
    });
    changed.chain(new).collect()
}

/// Every value that is no table, with its path.
fn flatten(node: &Node, path: String, found: &mut Vec<(String, String)>) {
    let join = |part: &str| if path.is_empty() { part.into() } else { format!("{path}.{part}") };
    match &node.data {
        Data::Table(entries) => {
            entries.iter().for_each(|entry| flatten(&entry.node, join(&entry.key), found));
        }
        Data::List(nodes) if nodes.iter().any(|node| matches!(node.data, Data::Table(_))) => {
            for (i, node) in nodes.iter().enumerate() {
                let name = node.get("name").map(|entry| entry.node.value().to_string());
                let name = name.map(|name| name.trim_matches('"').to_string());
                flatten(node, join(&name.unwrap_or_else(|| i.to_string())), found);
            }
        }
        _ => found.push((path, node.value().to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_by_name_and_layers_by_number() {
        let before = "[[input]]\nname = \"age\"\ntype = \"number\"\n\
                      [model]\nlayers = [{ type = \"Dense\", units = 3 }, \"Relu\"]\n";
        let after = "[model]\nlayers = [{ type = \"Dense\", units = 4 }, \"Relu\"]\n\
                     [[input]]\ntype = \"category\"\nname = \"age\"\nmissing = \"mode\"\n";
        let found: Vec<String> = differences(before, after)
            .into_iter()
            .map(|it| format!("{}: {:?} {:?}", it.path, it.before, it.after))
            .collect();
        assert_eq!(
            found,
            [
                "input.age.type: Some(\"\\\"number\\\"\") Some(\"\\\"category\\\"\")",
                "model.layers.0.units: Some(\"3\") Some(\"4\")",
                "input.age.missing: None Some(\"\\\"mode\\\"\")",
            ]
        );
        assert_eq!(differences(before, before), []);
    }
}
