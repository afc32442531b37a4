//! A checked recipe.

mod rules;

use crate::base::Base;
use crate::columns::{self, Column};
use crate::diagnostic::{Code, Diagnostic, Report};
use crate::overrides::{self, Applied};
use crate::source::{Source, Span};
use crate::tree::{self, Node};
use crate::tuning::{self, Tuning};
use crate::vocabulary::{
    COLUMNS, DATA, EVAL, LOG, MODEL, NETWORK, ROOT, SCHEMA, SECTIONS, START, TRAINER, TUNE,
};
use crate::{explain, inherit, pretrained, resolved, training};
use nerve_data::features::Role;
use nerve_formats::spec::{Args, Item, Segment, Target, Value, check, check_value};
use std::sync::{Arc, OnceLock};

/// A recipe in which every word is known, every value is in its range and every default is filled.
///
/// Whether the layers fit the data and the memory is checked by [`Recipe::summary`], which needs
/// to know the shape of the data.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The texts it was read from: the recipe, then the arguments.
    pub sources: Vec<Source>,
    /// The overrides that were carried out.
    pub overrides: Vec<Applied>,
    /// The keys outside any table: `schema`, `seed`, and `name` where it is given.
    pub root: Args,
    /// The table `[data]`.
    pub data: Args,
    /// The columns that go in.
    pub inputs: Vec<Column>,
    /// The columns that should come out.
    pub outputs: Vec<Column>,
    /// The table `[model]`.
    pub model: Args,
    /// The layers.
    pub layers: Vec<Item>,
    /// The table `[trainer]`.
    pub trainer: Args,
    /// The table `[eval]`.
    pub eval: Args,
    /// The table `[log]`.
    pub log: Args,
    /// What the table `[tune]` says, if there is one. It is no part of what is trained.
    pub tune: Option<Tuning>,
    pub(crate) tree: Node,
    /// The network in front of the layers, once it was read.
    pub(crate) base: Arc<OnceLock<Result<Arc<Base>, String>>>,
    /// Whether it is of a model file, and has all that it needs.
    alone: bool,
}

/// The recipes that are part of the program: name and text.
pub const BUILT_IN: [(&str, &str); 15] = [
    ("mnist", include_str!("../../../recipes/mnist.toml")),
    ("fashion-mnist", include_str!("../../../recipes/fashion-mnist.toml")),
    ("boston", include_str!("../../../recipes/boston.toml")),
    ("credit", include_str!("../../../recipes/credit.toml")),
    ("titanic", include_str!("../../../recipes/titanic.toml")),
    ("ames", include_str!("../../../recipes/ames.toml")),
    ("reviews", include_str!("../../../recipes/reviews.toml")),
    ("reviews-zh", include_str!("../../../recipes/reviews-zh.toml")),
    ("bbc", include_str!("../../../recipes/bbc.toml")),
    ("electricity", include_str!("../../../recipes/electricity.toml")),
    ("movielens", include_str!("../../../recipes/movielens.toml")),
    ("voices", include_str!("../../../recipes/voices.toml")),
    ("multimodal", include_str!("../../../recipes/multimodal.toml")),
    ("translate", include_str!("../../../recipes/translate.toml")),
    ("shakespeare", include_str!("../../../recipes/shakespeare.toml")),
];

/// The text of a recipe that is part of the program.
pub fn built_in(name: &str) -> Option<Source> {
    BUILT_IN
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(name, text)| Source::new(format!("{name} (built in)"), *text))
}

impl Recipe {
    /// Reads and checks a recipe with overrides such as `trainer.epochs=3`.
    ///
    /// ```
    /// use nerve_recipe::{Recipe, built_in};
    /// let recipe = Recipe::load(built_in("mnist").unwrap(), &["lr=3e-4".to_string()]).unwrap();
    /// assert_eq!(recipe.trainer.item("optimizer").args.float("lr"), 3e-4);
    /// ```
    ///
    /// # Errors
    /// A report of all problems.
    pub fn load(source: Source, overrides: &[String]) -> Result<Self, Report> {
        Recipe::parsed(source, overrides, false)
    }

    /// The recipe in a model file, which has every default filled and stands alone: what lies beside the files that it names is
    /// not looked at.
    ///
    /// # Errors
    /// As [`Recipe::load`].
    pub fn of_model(source: Source) -> Result<Self, Report> {
        Recipe::parsed(source, &[], true)
    }

    fn parsed(source: Source, overrides: &[String], alone: bool) -> Result<Self, Report> {
        let (mut tree, mut problems) = tree::parse(0, &source.text);
        let mut sources = vec![source];
        sources.extend(overrides.iter().map(Source::argument));
        // What follows a syntax error cannot be trusted to be what was meant.
        if problems.iter().any(|problem| problem.code == Code::Syntax) {
            return Err(Report::new(sources, problems));
        }
        let mut applied = Vec::new();
        for (i, argument) in overrides.iter().enumerate() {
            match overrides::apply(&mut tree, i + 1, argument) {
                Ok(done) => applied.push(done),
                Err(problem) => problems.push(problem),
            }
        }
        if let Some(problem) = newer(&tree) {
            return Err(Report::new(sources, vec![problem]));
        }
        absolute_paths(&mut tree, &sources);
        let tune = tree.get(TUNE.name).and_then(|_| check_section(&tree, &TUNE, &mut problems));
        let mut recipe = Recipe::checked_tree(tree, sources, applied, problems, alone)?;
        if let Some(args) = tune {
            recipe.tune = Some(tuning::read(&recipe, &args)?);
        }
        Ok(recipe)
    }

    /// This recipe with other values at some places, for a trial: what stands in `[tune]` is left out.
    ///
    /// # Errors
    /// As [`Recipe::load`].
    pub fn with(&self, overrides: &[String]) -> Result<Self, Report> {
        let (mut tree, mut sources) = (self.tree.clone(), self.sources.clone());
        if let tree::Data::Table(entries) = &mut tree.data {
            entries.retain(|entry| entry.key != TUNE.name);
        }
        let (mut applied, mut problems) = (self.overrides.clone(), Vec::new());
        for argument in overrides {
            sources.push(Source::argument(argument));
            match overrides::apply(&mut tree, sources.len() - 1, argument) {
                Ok(done) => applied.push(done),
                Err(problem) => problems.push(problem),
            }
        }
        Recipe::checked_tree(tree, sources, applied, problems, self.alone)
    }

    /// The checks of everything but `[tune]`.
    fn checked_tree(
        tree: Node,
        sources: Vec<Source>,
        overrides: Vec<Applied>,
        mut problems: Vec<Diagnostic>,
        alone: bool,
    ) -> Result<Self, Report> {
        let root = check_root(&tree, &mut problems);
        let [mut data, trainer, eval, log] = [&*DATA, &TRAINER, &EVAL, &LOG]
            .map(|section| check_section(&tree, section, &mut problems));
        let model = check_model(&tree, &mut problems);
        let mut inputs = columns::read(&tree, Role::Input, &sources, &mut problems);
        let mut outputs = columns::read(&tree, Role::Output, &sources, &mut problems);
        if let (Some(data), Some(trainer)) = (&mut data, &trainer) {
            inherit::fill(&tree, data, trainer, [&mut inputs, &mut outputs], &mut problems);
        }
        if let (Some((model, _)), false) = (&model, alone) {
            pretrained::fill(&tree, model, &mut inputs, &mut problems);
        }
        if let Some(data) = &data {
            rules::check_data(&tree, data, &mut problems);
            rules::check_stream(&tree, data, [&inputs, &outputs], &mut problems);
        }
        rules::check_columns(&tree, [&inputs, &outputs], &mut problems);
        if let Some(root) = &root {
            inherit::check_task(&tree, root, &outputs, &mut problems);
        }
        if let Some(trainer) = &trainer {
            if let Some(problem) = rules::one_loss(&tree, &outputs, trainer) {
                problems.push(problem);
            }
            for (at, message, label) in training::check(trainer) {
                let span = Some(tree.find(&at, Target::Value));
                problems.push(Diagnostic::new(Code::Contradiction, message, span).label(label));
            }
        }
        if let Some(eval) = &eval {
            rules::check_eval(&tree, eval, &mut problems);
        }
        if let (Some(root), Some(data), Some((model, layers)), Some(trainer), Some(eval), Some(log)) =
            (root, data, model, trainer, eval, log)
            && problems.is_empty()
        {
            return Ok(Recipe {
                sources,
                overrides,
                root,
                data,
                inputs,
                outputs,
                model,
                layers,
                trainer,
                eval,
                log,
                tune: None,
                tree,
                base: Arc::default(),
                alone,
            });
        }
        Err(Report::new(sources, problems))
    }

    /// The recipe with every default written out. Reads back as the same recipe.
    pub fn resolved(&self) -> String {
        resolved::print(self)
    }

    /// The start of all random numbers.
    pub fn seed(&self) -> u64 {
        self.root.int("seed") as u64
    }

    /// The name of the run, if the recipe gives one.
    pub fn name(&self) -> Option<&str> {
        self.root.has("name").then(|| self.root.text("name"))
    }

    /// The recipe's own text, comments and all.
    pub fn text(&self) -> &str {
        self.sources.first().map_or("", |source| &source.text)
    }

    /// The place of a value, for problems that show only later.
    pub fn place(&self, path: &[Segment], target: Target) -> Span {
        self.tree.find(path, target)
    }

    /// A report of one problem at a place of this recipe.
    pub fn refuse(&self, problem: Diagnostic) -> Report {
        Report::new(self.sources.clone(), vec![problem])
    }

    /// What the table `[model]` says beside the layers, which may stand there in two ways.
    pub(crate) fn start(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.model.iter().filter(|(key, _)| *key != "layers")
    }

    /// Whether both describe the same data, model and training, wherever they were read from.
    pub fn same(&self, other: &Recipe) -> bool {
        self.root == other.root
            && self.data == other.data
            && columns::same(&self.inputs, &other.inputs)
            && columns::same(&self.outputs, &other.outputs)
            && self.start().eq(other.start())
            && self.trainer == other.trainer
            && self.eval == other.eval
            && self.log == other.log
    }
}

pub(crate) fn item_of(value: &Value) -> Option<Item> {
    match value {
        Value::Item(item) => Some((**item).clone()),
        _ => None,
    }
}

/// The things of a checked list.
pub fn items(args: &Args, name: &str) -> Vec<Item> {
    match args.get(name) {
        Some(Value::List(values)) => values.iter().filter_map(item_of).collect(),
        _ => Vec::new(),
    }
}

/// The path to a key of a section.
pub fn path(section: &str, key: &str) -> [Segment; 2] {
    [Segment::Key(section.to_string()), Segment::Key(key.to_string())]
}

fn newer(tree: &Node) -> Option<Diagnostic> {
    let entry = tree.get("schema")?;
    match entry.node.value() {
        Value::Int(version) if version > SCHEMA => {
            let message = format!(
                "this recipe is written in format {version}; nerve {} reads up to format {SCHEMA}",
                env!("CARGO_PKG_VERSION")
            );
            let problem = Diagnostic::new(Code::Newer, message, Some(entry.node.span));
            Some(problem.label("needs a newer nerve"))
        }
        _ => None,
    }
}

fn check_root(tree: &Node, problems: &mut Vec<Diagnostic>) -> Option<Args> {
    let is_section =
        |key: &str| SECTIONS.iter().chain(COLUMNS.iter()).any(|section| section.name == key);
    let mut given = tree.pairs();
    given.retain(|(key, _)| !is_section(key));
    // What is no key of the root is told by `explain`, which also knows the tables.
    for entry in tree.entries() {
        let known = ROOT.params.iter().any(|param| param.answers_to(&entry.key));
        if !known && !is_section(&entry.key) {
            problems.push(explain::unknown_root(entry));
            given.retain(|(key, _)| *key != entry.key);
        }
    }
    match check(&ROOT, &given) {
        Ok(args) => {
            check_name(tree, &args, problems);
            Some(args)
        }
        Err(found) => {
            problems.extend(found.into_iter().map(|p| explain::problem(p, &[], tree)));
            None
        }
    }
}

/// The name becomes a folder's: it must be one, and stay inside `runs`.
fn check_name(tree: &Node, root: &Args, problems: &mut Vec<Diagnostic>) {
    if !root.has("name") {
        return;
    }
    if let Err(reason) = run_name(root.text("name")) {
        let span = tree.find(&[Segment::Key("name".to_string())], Target::Value);
        let problem = Diagnostic::new(Code::OutOfRange, reason, Some(span));
        problems.push(problem.label("it becomes the name of a folder"));
    }
}

/// Whether a name can be that of a run folder.
///
/// # Errors
/// What is wrong with it.
pub fn run_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.chars().count() > 100 {
        return Err("a run's name has 1 to 100 characters".to_string());
    }
    if name.starts_with(['.', '-']) || name.ends_with([' ', '.']) || name.starts_with(' ') {
        return Err("a run's name does not begin with `.` or `-`, nor end with `.`".to_string());
    }
    if name == "latest" {
        return Err("`latest` is the link to the newest run".to_string());
    }
    match name.chars().find(|c| c.is_control() || "/\\:*?\"<>|".contains(*c)) {
        Some(c) => Err(format!("a run's name cannot hold `{}`", c.escape_debug())),
        None => Ok(()),
    }
}

/// The table `[model]`, and the layers: a list of them, or the one network of the zoo that the table
/// itself describes.
fn check_model(tree: &Node, problems: &mut Vec<Diagnostic>) -> Option<(Args, Vec<Item>)> {
    let table = tree.get(MODEL.name).map(|entry| &entry.node);
    let Some(table) = table.filter(|node| node.get("type").is_some()) else {
        let args = check_section(tree, &MODEL, problems)?;
        let layers = items(&args, "layers");
        return Some((args, layers));
    };
    let beside = |key: &str| START.params.iter().any(|param| param.answers_to(key));
    let (start, network) = table.pairs().into_iter().partition(|(key, _)| beside(key));
    let start: Vec<(String, Value)> = start;
    let (args, network) =
        (check(&START, &start), check_value("type", &NETWORK, &Value::Table(network)));
    let (args, network) = match (args, network) {
        (Ok(args), Ok(network)) => (args, network),
        (args, network) => {
            let prefix = [Segment::Key(MODEL.name.to_string())];
            let found = args.err().into_iter().chain(network.err()).flatten();
            problems.extend(found.map(|p| explain::problem(p, &prefix, tree)));
            return None;
        }
    };
    item_of(&network).map(|item| (args, vec![item]))
}

/// A text or a list of texts; none where there is nothing.
pub fn texts(args: &Args, key: &str) -> Vec<String> {
    match args.get(key) {
        Some(Value::Text(text)) => vec![text.to_string()],
        Some(_) => args.texts(key),
        None => Vec::new(),
    }
}

fn check_section(
    tree: &Node,
    section: &'static nerve_formats::spec::Spec,
    problems: &mut Vec<Diagnostic>,
) -> Option<Args> {
    let name = section.name;
    let prefix = [Segment::Key(name.to_string())];
    let given = match tree.get(name) {
        Some(entry) if matches!(entry.node.data, tree::Data::Table(_)) => entry.node.pairs(),
        Some(entry) => {
            let found = entry.node.value().kind_name();
            let message = format!("`{name}` should be a table, found {found}");
            let problem = Diagnostic::new(Code::WrongType, message, Some(entry.node.span));
            problems.push(problem.label(format!("write [{name}] on a line of its own")));
            return None;
        }
        // Everything about network and training has a default; the data cannot have one.
        None if name != DATA.name => Vec::new(),
        None => {
            let problem = Diagnostic::new(Code::Missing, format!("missing table [{name}]"), None);
            problems.push(problem.note(format!("[{name}]: {}", section.doc)));
            return None;
        }
    };
    match check(section, &given) {
        Ok(args) => Some(args),
        Err(found) => {
            problems.extend(found.into_iter().map(|p| explain::problem(p, &prefix, tree)));
            None
        }
    }
}

/// File names start from the folder of the text that holds them; from then on it is all the same
/// where the command was called, also when the resolved recipe is read again.
fn absolute_paths(tree: &mut Node, sources: &[Source]) {
    let files = ["path", "train", "labels", "train_labels", "validation", "test", "test_labels"];
    let files = files.map(|key| ("data", key));
    for (table, key) in files.into_iter().chain([("model", "init_from"), ("model", "base")]) {
        let Some(node) = tree.get_mut(table).and_then(|table| table.get_mut(key)) else { continue };
        match &mut node.data {
            tree::Data::List(names) => names.iter_mut().for_each(|name| absolute(name, sources)),
            _ => absolute(node, sources),
        }
    }
}

fn absolute(node: &mut Node, sources: &[Source]) {
    let tree::Data::Scalar(Value::Text(name)) = &node.data else { return };
    let folder = sources.get(node.span.source).map(|source| source.folder.clone());
    if let Ok(path) = std::path::absolute(folder.unwrap_or_default().join(name.as_ref())) {
        let text = path.to_string_lossy().into_owned();
        node.data = tree::Data::Scalar(Value::Text(text.into()));
    }
}

#[cfg(test)]
mod tests;
