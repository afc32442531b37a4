//! The table `[tune]`: what is searched, checked like the rest of a recipe, and a trial carried out.

mod trial;

pub use trial::{Kept, Saves, Trials};

use crate::diagnostic::{Code, Diagnostic, Report};
use crate::explain;
use crate::overrides::SHORT;
use crate::recipe::{Recipe, path};
use crate::source::{Source, escape};
use crate::tree::{Data, Entry, Node};
use crate::vocabulary::{RANGE, TUNE};
use nerve_formats::spec::{Args, Item, Segment, Target, Value, check};
use nerve_train::{Goal, Mode};
use nerve_tune::{Domain, Parameter, Pruner, Sampler, Setting, Space};

/// What the table `[tune]` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuning {
    /// The score that trials are compared by, if the recipe names one.
    pub metric: Option<String>,
    /// Whether less of it is better, or more, if the recipe says so.
    pub mode: Option<Mode>,
    /// How many trials there are to be.
    pub trials: usize,
    /// How they are chosen.
    pub sampler: Sampler,
    /// Which are ended early.
    pub pruner: Pruner,
    /// How long it may take.
    pub max_minutes: Option<f64>,
    /// What is searched; the names are paths of the recipe.
    pub space: Space,
    /// For each parameter the values of its choices as they stand in a recipe; none for numbers.
    texts: Vec<Vec<String>>,
}

impl Tuning {
    /// The arguments that set a recipe to these values: `trainer.optimizer.lr=0.003`.
    pub fn overrides(&self, settings: &[Setting]) -> Vec<String> {
        let parameters = self.space.parameters().iter().zip(&self.texts);
        let argument = |((parameter, texts), setting): ((&Parameter, &Vec<String>), &Setting)| {
            let value = match setting {
                Setting::Float(x) => Value::Float(*x).to_string(),
                Setting::Int(x) => x.to_string(),
                Setting::Choice(at, _) => texts[*at].clone(),
            };
            format!("{}={value}", parameter.name)
        };
        parameters.zip(settings).map(argument).collect()
    }

    /// The values that the recipe itself has, to be tried first.
    ///
    /// # Errors
    /// The search space does not hold them: where, in words.
    pub fn own(&self, recipe: &Recipe) -> Result<Vec<Setting>, String> {
        // As it is printed every default stands in its place.
        let plain = recipe.with(&[]).map_err(|report| report.brief())?;
        let mut source = Source::new("the recipe", plain.resolved());
        source.folder = recipe.sources[0].folder.clone();
        let resolved = Recipe::load(source, &[]).map_err(|report| report.brief())?;
        let parameters = self.space.parameters().iter().zip(&self.texts);
        parameters.map(|(parameter, texts)| own(&resolved, parameter, texts)).collect()
    }

    /// By what trials are compared: the score that `[tune]` names, else that by which epochs are compared.
    pub fn goal(&self, recipe: &Recipe) -> Goal {
        let own = recipe.goal();
        let mut goal = match &self.metric {
            Some(metric) => Goal::new(metric.clone()),
            None => Goal { metric: own.metric.or(Some("val_loss".into())), ..own },
        };
        goal.mode = self.mode.unwrap_or(goal.mode);
        goal
    }

    /// Whether all trials see the same data: no column is searched.
    pub fn shares_data(&self) -> bool {
        let column = |name: &str| name.starts_with("input.") || name.starts_with("output.");
        !self.space.parameters().iter().any(|parameter| column(&parameter.name))
    }
}

/// What a resolved recipe has in the place of a parameter.
fn own(resolved: &Recipe, parameter: &Parameter, texts: &[String]) -> Result<Setting, String> {
    let name = &parameter.name;
    let with = |text: &str| resolved.with(&[format!("{name}={text}")]);
    if let Domain::Choice(labels) = &parameter.domain {
        // However it is written: what changes nothing is what the recipe says.
        let (same, mine) = (resolved.resolved(), |recipe: Recipe| recipe.resolved());
        let at = texts.iter().position(|text| with(text).is_ok_and(|it| mine(it) == same));
        let missing = || format!("`{}` has none of its values", escape(name));
        return at.map(|at| Setting::Choice(at, labels[at].clone())).ok_or_else(missing);
    }
    let low = match parameter.domain {
        Domain::Int { low, .. } => low.to_string(),
        Domain::Float { low, .. } => Value::Float(low).to_string(),
        Domain::Choice(_) => String::new(),
    };
    let before = with(&low).ok().and_then(|recipe| recipe.overrides.last()?.before.clone());
    let before = before.ok_or_else(|| format!("`{}` is not set", escape(name)))?;
    parameter.domain.parse(&before).ok_or_else(|| {
        format!(
            "`{}` is {}, it is searched from {}",
            escape(name),
            escape(&before),
            parameter.domain.words()
        )
    })
}

/// A place of the search space: its path in the recipe, and where it stands.
struct Found<'t> {
    name: String,
    /// The way to it from the root of the recipe.
    at: Vec<Segment>,
    entry: &'t Entry,
}

/// Reads the checked table of a recipe that is in order without it.
pub(crate) fn read(recipe: &Recipe, args: &Args) -> Result<Tuning, Report> {
    let mut problems = Vec::new();
    let mut found = Vec::new();
    let at = path(TUNE.name, "space").to_vec();
    let space = recipe.tree.get(TUNE.name).and_then(|table| table.node.get("space"));
    if let Some(space) = space {
        match space.node.data {
            Data::Table(_) => collect(&space.node, String::new(), &at, &mut found),
            _ => {
                let message = "`space` should be a table".to_string();
                let problem = Diagnostic::new(Code::WrongType, message, Some(space.node.span));
                problems.push(problem.label("\"path.of.the.recipe\" = { low, high } or [values]"));
            }
        }
    }
    let mut parameters: Vec<Parameter> = Vec::new();
    let mut texts = Vec::new();
    for found in &found {
        match one(recipe, args, found, &parameters) {
            Ok((parameter, values)) => {
                parameters.push(parameter);
                texts.push(values);
            }
            Err(new) => problems.extend(new),
        }
    }
    let sampler = match args.text("sampler") {
        "random" => Sampler::Random,
        "grid" => Sampler::Grid,
        _ => Sampler::Tpe(nerve_tune::tpe::Tpe::default()),
    };
    if problems.is_empty() {
        let space = Space::new(parameters).and_then(|space| {
            if sampler == Sampler::Grid { space.grid().map(|_| space) } else { Ok(space) }
        });
        match space {
            Ok(space) => {
                return Ok(Tuning {
                    metric: args.has("metric").then(|| args.text("metric").to_string()),
                    mode: args.has("mode").then(|| match args.text("mode") {
                        "max" => Mode::Max,
                        _ => Mode::Min,
                    }),
                    trials: args.usize("trials"),
                    sampler,
                    pruner: pruner(args.item("pruner")),
                    max_minutes: args.has("max_minutes").then(|| args.float("max_minutes")),
                    space,
                    texts,
                });
            }
            Err(error) => {
                let span = recipe.place(&at, Target::Key);
                let message = error.to_string();
                problems.push(Diagnostic::new(Code::OutOfRange, message, Some(span)));
            }
        }
    }
    Err(Report::new(recipe.sources.clone(), problems))
}

fn pruner(item: &Item) -> Pruner {
    match item.name {
        "asha" => Pruner::Asha {
            min_resource: item.args.usize("min_epochs") as u64,
            reduction: item.args.usize("reduction") as u64,
        },
        "median" => Pruner::Median {
            startup: item.args.usize("startup"),
            warmup: item.args.usize("warmup") as u64,
        },
        _ => Pruner::None,
    }
}

/// The places under a table: a key may be a whole path, or lead to a table of further keys.
fn collect<'t>(table: &'t Node, above: String, way: &[Segment], found: &mut Vec<Found<'t>>) {
    for entry in table.entries() {
        let name = match above.as_str() {
            "" => entry.key.clone(),
            above => format!("{above}.{}", entry.key),
        };
        let at = [way, &[Segment::Key(entry.key.clone())]].concat();
        let tables = |node: &Node| matches!(node.data, Data::Table(_) | Data::List(_));
        let inner = entry.node.entries();
        let leads_on = !inner.is_empty() && inner.iter().all(|entry| tables(&entry.node));
        match leads_on {
            true => collect(&entry.node, name, &at, found),
            false => found.push(Found { name, at, entry }),
        }
    }
}

/// One parameter, with the texts of its choices.
fn one(
    recipe: &Recipe,
    args: &Args,
    found: &Found<'_>,
    before: &[Parameter],
) -> Result<(Parameter, Vec<String>), Vec<Diagnostic>> {
    let refuse = |code, message: String, label: &str| {
        vec![Diagnostic::new(code, message, Some(found.entry.key_span)).label(label)]
    };
    let short = SHORT.iter().find(|(short, _)| *short == found.name);
    let name = short.map_or(found.name.clone(), |(_, path)| path.to_string());
    let shown = escape(&name);
    if before.iter().any(|other| other.name == name) {
        let message = format!("`{shown}` is searched twice");
        return Err(refuse(Code::Duplicate, message, "remove one of the two"));
    }
    let root = name.split('.').next().unwrap_or_default();
    if ["data", "seed", "schema", "name", "eval", TUNE.name].contains(&root) {
        let message = format!("`{shown}` cannot be searched");
        let label = "trials are compared on the same data from the same seed";
        return Err(refuse(Code::Contradiction, message, label));
    }
    let weighs = |part: &str| ["loss", "weight", "class_weights"].contains(&part);
    let by_loss = !args.has("metric") || args.text("metric").ends_with("loss");
    if by_loss && name.split('.').any(weighs) {
        let message = format!("`{shown}` changes the loss, and trials are compared by the loss");
        return Err(refuse(Code::Contradiction, message, "name a `metric` in [tune]"));
    }
    let (domain, points, texts) = domain(recipe, found)?;
    let parameter = Parameter { name, domain, points };
    let alone = Space::new(vec![parameter.clone()]);
    alone.map_err(|error| refuse(Code::OutOfRange, error.to_string(), ""))?;
    fits(recipe, found, &parameter, &texts)?;
    Ok((parameter, texts))
}

type Values = (Domain, Option<usize>, Vec<String>);

/// The values of a place: a range or a list.
fn domain(recipe: &Recipe, found: &Found<'_>) -> Result<Values, Vec<Diagnostic>> {
    match &found.entry.node.data {
        Data::List(nodes) => {
            let texts: Vec<String> = nodes.iter().map(|node| node.value().to_string()).collect();
            let labels = nodes.iter().zip(&texts).map(|(node, text)| match node.value() {
                Value::Text(plain) => plain.to_string(),
                _ => text.clone(),
            });
            Ok((Domain::choice(labels), None, texts))
        }
        Data::Table(_) => {
            let given = found.entry.node.pairs();
            let args = check(&RANGE, &given).map_err(|problems| {
                let told = |problem| explain::problem(problem, &found.at, &recipe.tree);
                problems.into_iter().map(told).collect::<Vec<_>>()
            })?;
            let points = args.has("points").then(|| args.usize("points"));
            Ok((range(&given, &args), points, Vec::new()))
        }
        _ => {
            let value = found.entry.node.value();
            let message = format!(
                "`{}` should be a range or a list of values, found {}",
                escape(&found.name),
                value.kind_name()
            );
            let problem = Diagnostic::new(Code::WrongType, message, Some(found.entry.node.span));
            Err(vec![problem.label("{ low = ..., high = ... } or [..., ...]")])
        }
    }
}

/// Whole numbers if all that is given is whole.
fn range(given: &[(String, Value)], args: &Args) -> Domain {
    let whole = |key: &str| given.iter().find(|(name, _)| name == key).map(|(_, value)| value);
    let log = args.get("log") == Some(&Value::Bool(true));
    match (whole("low"), whole("high"), whole("step")) {
        (Some(Value::Int(low)), Some(Value::Int(high)), None) => {
            Domain::Int { low: *low, high: *high, log, step: 1 }
        }
        (Some(Value::Int(low)), Some(Value::Int(high)), Some(Value::Int(step))) => {
            Domain::Int { low: *low, high: *high, log, step: *step }
        }
        _ => {
            let step = args.has("step").then(|| args.float("step"));
            Domain::Float { low: args.float("low"), high: args.float("high"), log, step }
        }
    }
}

/// Whether the recipe takes the values: every choice, and both ends of a range.
fn fits(
    recipe: &Recipe,
    found: &Found<'_>,
    parameter: &Parameter,
    texts: &[String],
) -> Result<(), Vec<Diagnostic>> {
    let ends = match parameter.domain {
        Domain::Float { low, high, .. } => {
            [low, high].map(|x| Value::Float(x).to_string()).to_vec()
        }
        Domain::Int { low, high, .. } => [low, high].map(|x| x.to_string()).to_vec(),
        Domain::Choice(_) => texts.to_vec(),
    };
    let mut problems: Vec<Diagnostic> = Vec::new();
    for (i, text) in ends.iter().enumerate() {
        let argument = format!("{}={text}", parameter.name);
        let Err(report) = recipe.with(std::slice::from_ref(&argument)) else { continue };
        let place = match &found.entry.node.data {
            Data::List(nodes) => nodes[i].span,
            _ => found
                .entry
                .node
                .get(["low", "high"][i])
                .map_or(found.entry.node.span, |it| it.node.span),
        };
        for mut problem in report.problems {
            // The argument exists nowhere: what points into it means the path or the value in [tune].
            if let Some(span) = problem.span.filter(|span| span.source == recipe.sources.len()) {
                let in_path = span.start < parameter.name.len();
                problem.span = Some(if in_path { found.entry.key_span } else { place });
            } else {
                problem.notes.push(format!("with {}", escape(&argument)));
            }
            let known =
                |other: &Diagnostic| other.message == problem.message && other.span == problem.span;
            if !problems.iter().any(known) {
                problems.push(problem);
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

#[cfg(test)]
mod tests;
