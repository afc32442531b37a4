//! Ensembles of decision trees (`ai.onnx.ml`), as an ordinary graph: all trees are walked down at once, one level after the
//! other, by looking up the node in which each example stands in each tree.

use super::Operator;
use super::elementwise::one;
use super::scores::{classes, transform};
use crate::import::call::{Call, Results, extent};
use crate::import::error::Stop;
use nerve_core::{DType, Tensor};
use nerve_formats::onnx;
use std::collections::HashMap;

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("ai.onnx.ml.TreeEnsembleRegressor", regressor),
    ("ai.onnx.ml.TreeEnsembleClassifier", classifier),
    ("ai.onnx.ml.TreeEnsemble", ensemble),
];

/// What a node asks of its column.
#[derive(Clone, Copy, PartialEq)]
enum Test {
    Leq,
    Lt,
    Gte,
    Gt,
    Eq,
    Neq,
}

/// A node: it asks, or is a leaf.
#[derive(Clone, Copy)]
struct Branch {
    test: Test,
    column: usize,
    threshold: f64,
    /// Where it goes on if the answer is yes, and if it is no.
    next: [usize; 2],
    /// Whether a missing value counts as a yes.
    missing: bool,
}

/// Trees whose nodes are numbered through.
struct Forest {
    /// None for a leaf.
    nodes: Vec<Option<Branch>>,
    roots: Vec<usize>,
    /// What a leaf adds: node, target, weight.
    weights: Vec<(usize, usize, f64)>,
    targets: usize,
}

impl Forest {
    /// The nodes in which the examples end in each tree: `[examples, trees]`.
    fn leaves(&self, call: &Call<'_>, x: &Tensor) -> Result<Tensor, Stop> {
        let [examples, columns] = x.shape()[..] else {
            return Err(format!("expected [examples, columns], found {}", x.shape()).into());
        };
        let branches = || self.nodes.iter().flatten();
        if let Some(far) = branches().find(|branch| branch.column >= columns) {
            return Err(format!("a node asks for column {} of {columns}", far.column).into());
        }
        call.scope.afford(&[examples, self.roots.len()], DType::I64)?;
        let table = |of: &dyn Fn(usize, Option<&Branch>) -> f64, dtype: DType| {
            let values: Vec<f64> =
                self.nodes.iter().enumerate().map(|(i, node)| of(i, node.as_ref())).collect();
            Tensor::from_slice(&values, [values.len()]).to_dtype(dtype)
        };
        // Leaves lead to themselves.
        let next = |side: usize| {
            table(&|i, node| node.map_or(i, |branch| branch.next[side]) as f64, DType::I64)
        };
        let (yes, no) = (next(0), next(1));
        let column = table(&|_, node| node.map_or(0, |branch| branch.column) as f64, DType::I64);
        let threshold = table(&|_, node| node.map_or(0.0, |branch| branch.threshold), x.dtype());
        let missing =
            table(&|_, node| f64::from(u8::from(node.is_some_and(|b| b.missing))), DType::Bool);
        let any_missing = branches().any(|branch| branch.missing);
        let tests: Vec<Test> = [Test::Leq, Test::Lt, Test::Gte, Test::Gt, Test::Eq, Test::Neq]
            .into_iter()
            .filter(|test| branches().any(|branch| branch.test == *test))
            .collect();
        let roots: Vec<i64> = self.roots.iter().map(|&root| root as i64).collect();
        let roots = Tensor::from_slice(&roots, [1, roots.len()]);
        let mut at = roots.broadcast_to([examples, self.roots.len()]);
        let look = |table: &Tensor, at: &Tensor| table.index_select(0, at);
        for _ in 0..self.depth()? {
            let value = x.gather(1, &look(&column, &at));
            let bound = look(&threshold, &at);
            let mut answer: Option<Tensor> = None;
            for &test in &tests {
                let own = match test {
                    Test::Leq => value.le(&bound),
                    Test::Lt => value.lt(&bound),
                    Test::Gte => value.ge(&bound),
                    Test::Gt => value.gt(&bound),
                    Test::Eq => value.eq(&bound),
                    Test::Neq => value.ne(&bound),
                };
                answer = Some(match answer {
                    None => own,
                    Some(others) => {
                        let asked = table(
                            &|_, node| f64::from(u8::from(node.is_some_and(|b| b.test == test))),
                            DType::Bool,
                        );
                        look(&asked, &at).select(&own, &others)
                    }
                });
            }
            let Some(mut answer) = answer else { break };
            if any_missing {
                answer = value.is_nan().logical_and(look(&missing, &at)).logical_or(answer);
            }
            at = answer.select(&look(&yes, &at), &look(&no, &at));
        }
        Ok(at)
    }

    /// The most questions on the way to a leaf.
    fn depth(&self) -> Result<usize, Stop> {
        let (mut level, mut depth, mut seen) = (self.roots.clone(), 0, 0);
        loop {
            level = level
                .iter()
                .filter_map(|&at| self.nodes[at].as_ref())
                .flat_map(|branch| branch.next)
                .collect();
            if level.is_empty() {
                return Ok(depth);
            }
            depth += 1;
            seen += level.len();
            if seen > 2 * self.nodes.len() {
                return Err("a tree that leads back into itself".into());
            }
        }
    }

    /// For each example what its leaves say of each target, together: `[examples, targets]`.
    fn values(&self, call: &Call<'_>, x: &Tensor, how: &str) -> Result<Tensor, Stop> {
        let leaves = self.leaves(call, x)?;
        call.scope.afford(&[self.nodes.len(), self.targets], DType::F32)?;
        call.scope.afford(&[x.shape()[0], self.roots.len(), self.targets], x.dtype())?;
        let nothing = match how {
            "MIN" => f64::INFINITY,
            "MAX" => f64::NEG_INFINITY,
            _ => 0.0,
        };
        let mut table = vec![nothing; self.nodes.len() * self.targets];
        let mut given = vec![false; table.len()];
        for &(node, target, weight) in &self.weights {
            let at = node * self.targets + target;
            table[at] = if given[at] { table[at] + weight } else { weight };
            given[at] = true;
        }
        let table =
            Tensor::from_slice(&table, [self.nodes.len(), self.targets]).to_dtype(x.dtype());
        let all = table.index_select(0, &leaves);
        Ok(match how {
            "SUM" => all.sum_axes(&[1], false),
            "AVERAGE" => all.sum_axes(&[1], false) / self.roots.len() as f64,
            "MIN" => -(-all).max_axes(&[1], false),
            "MAX" => all.max_axes(&[1], false),
            other => {
                return Err(format!("expected SUM, AVERAGE, MIN or MAX, found {other:?}").into());
            }
        })
    }

    /// The trees of the first versions: nodes are numbered within their trees, and leaves have a prefix for their settings.
    fn of(call: &Call<'_>, leaf: &str) -> Result<Forest, Stop> {
        let ints = |name: &str| {
            let found = call.ints(name)?;
            found.ok_or_else(|| Stop::from(format!("attribute {name} is missing")))
        };
        let trees = ints("nodes_treeids")?;
        let ids = ints("nodes_nodeids")?;
        let columns = ints("nodes_featureids")?;
        let modes = call.texts("nodes_modes")?.ok_or("attribute nodes_modes is missing")?;
        let sides = [ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?];
        let thresholds =
            numbers(call, "nodes_values")?.ok_or("attribute nodes_values is missing")?;
        let missing = call.ints("nodes_missing_value_tracks_true")?.unwrap_or_default();
        let n = ids.len();
        let lengths = [trees.len(), columns.len(), modes.len(), sides[0].len(), sides[1].len()];
        if lengths.iter().any(|&length| length != n) || thresholds.len() != n {
            return Err(
                format!("lists of {lengths:?} and {} for {n} nodes", thresholds.len()).into()
            );
        }
        let places: HashMap<(i64, i64), usize> =
            trees.iter().zip(&ids).enumerate().map(|(i, (&tree, &id))| ((tree, id), i)).collect();
        let place = |tree: i64, id: i64| {
            let found = places.get(&(tree, id)).copied();
            found.ok_or_else(|| Stop::from(format!("tree {tree} has no node {id}")))
        };
        let node = |i: usize| -> Result<Option<Branch>, Stop> {
            let Some(test) = test(&modes[i])? else { return Ok(None) };
            Ok(Some(Branch {
                test,
                column: extent(columns[i])?,
                threshold: thresholds[i],
                next: [place(trees[i], sides[0][i])?, place(trees[i], sides[1][i])?],
                missing: missing.get(i).is_some_and(|&tracks| tracks != 0),
            }))
        };
        let nodes = (0..n).map(node).collect::<Result<Vec<_>, Stop>>()?;
        let [leaf_trees, leaf_nodes, targets] =
            [&format!("{leaf}_treeids"), &format!("{leaf}_nodeids"), &format!("{leaf}_ids")]
                .map(|name| ints(name));
        let (leaf_trees, leaf_nodes, targets) = (leaf_trees?, leaf_nodes?, targets?);
        let weights = numbers(call, &format!("{leaf}_weights"))?.unwrap_or_default();
        let count = weights.len();
        if [leaf_trees.len(), leaf_nodes.len(), targets.len()] != [count; 3] {
            return Err(format!("lists of different lengths for {count} weights").into());
        }
        let weight =
            |i: usize| Ok((place(leaf_trees[i], leaf_nodes[i])?, extent(targets[i])?, weights[i]));
        let weights = (0..count).map(weight).collect::<Result<Vec<_>, Stop>>()?;
        // The root of a tree is the node to which none leads: the first of those that are written.
        let led: std::collections::HashSet<usize> =
            nodes.iter().flatten().flat_map(|branch| branch.next).collect();
        let mut with_root = std::collections::HashSet::new();
        let is_root = |&i: &usize| !led.contains(&i) && with_root.insert(trees[i]);
        let roots: Vec<usize> = (0..n).filter(is_root).collect();
        // In a circle every node is led to, so that it hangs on no root.
        let (mut reached, mut open) = (vec![false; n], roots.clone());
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut reached[at], true) {
                open.extend(nodes[at].iter().flat_map(|branch| branch.next));
            }
        }
        if let Some(lost) = (0..n).find(|&i| nodes[i].is_some() && !reached[i]) {
            let (tree, id) = (trees[lost], ids[lost]);
            return Err(format!(
                "node {id} of tree {tree} hangs on no root: it leads back to itself"
            )
            .into());
        }
        let targets = weights.iter().map(|&(_, target, _)| target + 1).max().unwrap_or(0);
        Ok(Forest { nodes, roots, weights, targets })
    }
}

/// What a mode asks; none for a leaf.
fn test(mode: &str) -> Result<Option<Test>, Stop> {
    Ok(Some(match mode {
        "BRANCH_LEQ" => Test::Leq,
        "BRANCH_LT" => Test::Lt,
        "BRANCH_GTE" => Test::Gte,
        "BRANCH_GT" => Test::Gt,
        "BRANCH_EQ" => Test::Eq,
        "BRANCH_NEQ" => Test::Neq,
        "LEAF" => return Ok(None),
        other => return Err(Stop::Unsupported(format!("nodes of mode {other:?}"))),
    }))
}

/// Numbers that newer versions may have as an array of doubles.
fn numbers(call: &Call<'_>, name: &str) -> Result<Option<Vec<f64>>, Stop> {
    match call.array(&format!("{name}_as_tensor"))? {
        Some(array) => floats(array).map(Some),
        None => call.floats(name),
    }
}

fn floats(array: &onnx::Tensor) -> Result<Vec<f64>, Stop> {
    let value = crate::import::Value::from_onnx(array).map_err(Stop::Unsupported)?;
    crate::import::call::numbers::<f64>(value.tensor().ok_or("expected numbers")?)
}

/// Examples as floating-point numbers: doubles stay doubles.
fn given(call: &Call<'_>) -> Result<Tensor, Stop> {
    let x = call.tensor(0)?;
    Ok(if x.dtype() == DType::F64 { x.clone() } else { x.to_dtype(DType::F32) })
}

fn regressor(call: &Call<'_>) -> Results {
    let mut forest = Forest::of(call, "target")?;
    forest.targets = forest.targets.max(extent(call.int("n_targets", 1)?)?);
    let x = given(call)?;
    let mut y = forest.values(call, &x, call.text("aggregate_function", "SUM")?)?;
    if let Some(base) = numbers(call, "base_values")? {
        y = y + row(&base, forest.targets, x.dtype())?;
    }
    one(transform(call, &y)?.to_dtype(DType::F32))
}

/// A number for each target, which is added for every example.
fn row(values: &[f64], targets: usize, dtype: DType) -> Result<Tensor, Stop> {
    if values.len() != targets && values.len() != 1 {
        return Err(format!("base_values: {} numbers for {targets}", values.len()).into());
    }
    Ok(Tensor::from_slice(values, [values.len()]).to_dtype(dtype))
}

fn classifier(call: &Call<'_>) -> Results {
    let mut forest = Forest::of(call, "class")?;
    let x = given(call)?;
    let labels = super::scores::Labels::of(call)?;
    let first = forest.weights.first().map(|&(_, target, _)| target);
    let single = labels.count() == 2 && forest.weights.iter().all(|w| Some(w.1) == first);
    let positive = forest.weights.iter().all(|&(.., weight)| weight >= 0.0);
    let base = numbers(call, "base_values")?;
    if single {
        // All say how likely the second class is.
        forest.weights.iter_mut().for_each(|weight| weight.1 = 0);
    }
    forest.targets = if single { 1 } else { labels.count().max(forest.targets) };
    let mut y = forest.values(call, &x, "SUM")?;
    if let Some(base) = base.filter(|base| !base.is_empty()) {
        let base = if single { &base[base.len() - 1..] } else { &base[..] };
        y = y + row(base, forest.targets, x.dtype())?;
    }
    classes(call, &labels, &y.to_dtype(DType::F32), positive)
}

/// The operator of version 5: branches and leaves in lists of their own.
fn ensemble(call: &Call<'_>) -> Results {
    let ints = |name: &str| {
        let found = call.ints(name)?;
        found.ok_or_else(|| Stop::from(format!("attribute {name} is missing")))
    };
    let array = |name: &str| {
        let found = call.array(name)?;
        found.ok_or_else(|| Stop::from(format!("attribute {name} is missing"))).and_then(floats)
    };
    let columns = ints("nodes_featureids")?;
    let n = columns.len();
    let sides = [ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?];
    let to_leaf = [ints("nodes_trueleafs")?, ints("nodes_falseleafs")?];
    let thresholds = array("nodes_splits")?;
    let modes = call.array("nodes_modes")?.ok_or("attribute nodes_modes is missing")?.bytes();
    let missing = call.ints("nodes_missing_value_tracks_true")?.unwrap_or_default();
    let (targets, weights) = (ints("leaf_targetids")?, array("leaf_weights")?);
    let lengths = [sides[0].len(), sides[1].len(), to_leaf[0].len(), to_leaf[1].len()];
    if lengths != [n; 4]
        || thresholds.len() != n
        || modes.len() != n
        || targets.len() != weights.len()
    {
        return Err(format!("lists of different lengths for {n} nodes").into());
    }
    let leaves = weights.len();
    let place = |side: usize, i: usize| {
        let (at, leaf) = (extent(sides[side][i])?, to_leaf[side][i] != 0);
        let inside = at < if leaf { leaves } else { n };
        if !inside {
            return Err(Stop::from(format!("node {i} leads to {at}, which is not there")));
        }
        Ok(if leaf { n + at } else { at })
    };
    let tests = [Test::Leq, Test::Lt, Test::Gte, Test::Gt, Test::Eq, Test::Neq];
    let branch = |i: usize| -> Result<Option<Branch>, Stop> {
        let test = tests.get(usize::from(modes[i])).copied();
        let test = test.ok_or_else(|| Stop::Unsupported("nodes that ask for a set".into()))?;
        let (column, threshold) = (extent(columns[i])?, thresholds[i]);
        let missing = missing.get(i).is_some_and(|&tracks| tracks != 0);
        Ok(Some(Branch { test, column, threshold, next: [place(0, i)?, place(1, i)?], missing }))
    };
    let mut nodes = (0..n).map(branch).collect::<Result<Vec<_>, Stop>>()?;
    nodes.extend(std::iter::repeat_n(None, leaves));
    let roots: Vec<usize> =
        ints("tree_roots")?.iter().map(|&root| extent(root)).collect::<Result<_, _>>()?;
    if roots.iter().any(|&root| root >= n) {
        return Err("a root that is no node".into());
    }
    let weight =
        |(i, (&target, &weight)): (usize, (&i64, &f64))| Ok((n + i, extent(target)?, weight));
    let weights: Vec<_> =
        targets.iter().zip(&weights).enumerate().map(weight).collect::<Result<_, Stop>>()?;
    let least = weights.iter().map(|&(_, target, _)| target + 1).max().unwrap_or(0);
    let targets = extent(call.int("n_targets", 1)?)?.max(least);
    let forest = Forest { nodes, roots, weights, targets };
    let how = ["AVERAGE", "SUM", "MIN", "MAX"];
    let how = how.get(extent(call.int("aggregate_function", 1)?)?).copied();
    let x = call.tensor(0)?;
    let y = forest.values(call, x, how.ok_or("aggregate_function: expected 0 to 3")?)?;
    one(transform(call, &y)?)
}
