//! From the table `[trainer]` to an optimizer, and the checks between its keys.

use crate::diagnostic::{Code, Diagnostic, Report};
use crate::recipe::{Recipe, items, path};
use nerve_formats::spec::{Args, Item, Segment, Target, nearest};
use nerve_nn::Params;
use nerve_nn::optim::{self, Clip, Clipped, Group, Optimizer};
use nerve_train::{EarlyStopping, Every, Goal, Mode};
use std::time::Duration;

impl Recipe {
    /// The optimizer with its groups and wrappers, for the parameters of a network.
    ///
    /// # Errors
    /// A group fits no parameter, or nothing is left to be trained.
    pub fn optimizer(&self, params: &Params) -> Result<Box<dyn Optimizer>, Report> {
        let groups: Vec<Group> = items(&self.trainer, "groups").iter().map(optim::group).collect();
        let key = if groups.is_empty() { "optimizer" } else { "groups" };
        let built = optim::build(self.trainer.item("optimizer"), params, &groups);
        let mut optimizer = built.map_err(|message| {
            let span = self.place(&path("trainer", key), Target::Key);
            self.refuse(Diagnostic::new(Code::Contradiction, message, Some(span)))
        })?;
        if self.trainer.has("clip") {
            let clip = Clip::GlobalNorm(self.trainer.float("clip"));
            optimizer = Box::new(Clipped::new(optimizer, clip));
        }
        Ok(optim::wrap(optimizer, &items(&self.trainer, "wrap"), params))
    }
}

/// Rules between the keys of `[trainer]`; gives the key that breaks one.
pub(crate) fn check(trainer: &Args) -> Vec<(Vec<Segment>, String, String)> {
    let at = || path("trainer", "schedule").to_vec();
    let problems = lengths(trainer.item("schedule")).into_iter();
    problems.map(|(what, message)| (at(), message, what)).collect()
}

impl Recipe {
    /// A schedule or an end that follows a score must name one that is measured.
    pub(crate) fn check_scores(&self, known: &[String]) -> Result<(), Report> {
        let plateaus = plateaus(self.trainer.item("schedule")).into_iter();
        let followed = plateaus.map(|plateau| ("schedule", &plateau.args));
        let early = self.trainer.has("early_stop").then(|| self.trainer.item("early_stop"));
        for (key, args) in followed.chain(early.map(|early| ("early_stop", &early.args))) {
            let wanted = args.has("metric").then(|| args.text("metric"));
            let Some(name) = wanted.filter(|name| !known.iter().any(|known| known == name)) else {
                continue;
            };
            let near = nearest(name, known.iter().map(String::as_str));
            let label = near.map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
            let message = format!("the {key} follows `{name}`; there are {}", known.join(", "));
            let span = Some(self.place(&path("trainer", key), Target::Value));
            return Err(
                self.refuse(Diagnostic::new(Code::Contradiction, message, span).label(label))
            );
        }
        Ok(())
    }

    /// By what epochs are compared.
    pub(crate) fn goal(&self) -> Goal {
        if !self.trainer.has("early_stop") {
            return Goal::default();
        }
        let args = &self.trainer.item("early_stop").args;
        let mut goal = match args.has("metric") {
            true => Goal::new(args.text("metric")),
            false => Goal::default(),
        };
        if args.has("mode") {
            goal.mode = if args.text("mode") == "max" { Mode::Max } else { Mode::Min };
        }
        Goal { min_delta: args.float("min_delta"), ..goal }
    }

    /// When the training is saved.
    pub fn checkpoints(&self) -> Every {
        let steps = self.log.has("checkpoint_steps");
        Every {
            epochs: Some(self.log.usize("checkpoint_epochs") as u64),
            steps: steps.then(|| self.log.usize("checkpoint_steps") as u64),
            time: Some(Duration::from_secs_f64(60.0 * self.log.float("checkpoint_minutes"))),
        }
    }

    /// What stops the training early, if the recipe asks for it.
    pub(crate) fn early_stopping(&self, params: &Params) -> Option<EarlyStopping> {
        let asked = self.trainer.has("early_stop");
        let patience = || self.trainer.item("early_stop").args.usize("patience") as u64;
        asked.then(|| EarlyStopping::new(params, patience()))
    }
}

/// The schedule, and those inside it, that follow a score.
fn plateaus(schedule: &Item) -> Vec<&Item> {
    let mut found = parts(schedule).into_iter().flat_map(plateaus).collect::<Vec<_>>();
    found.extend((schedule.name == "plateau").then_some(schedule));
    found
}

fn parts(schedule: &Item) -> Vec<&Item> {
    use nerve_formats::spec::Value;
    match schedule.args.get("parts") {
        Some(Value::List(values)) => values
            .iter()
            .filter_map(|value| if let Value::Item(item) = value { Some(&**item) } else { None })
            .collect(),
        _ => Vec::new(),
    }
}

/// Lists of a schedule that should be as long as each other and are not.
fn lengths(schedule: &Item) -> Vec<(String, String)> {
    use nerve_formats::spec::Value;
    let length = |name| match schedule.args.get(name) {
        Some(Value::List(values)) => values.len(),
        _ => 0,
    };
    let mut problems: Vec<(String, String)> =
        parts(schedule).into_iter().flat_map(lengths).collect();
    let mut expect = |wanted: usize, what: &str, each: &str| {
        if length("at") != wanted {
            let found = length("at");
            let message = format!("`{}` has {what}, and {found} in `at`", schedule.name);
            problems.push((format!("one for each {each}"), message));
        }
    };
    match schedule.name {
        "sequence" => {
            let parts = length("parts");
            expect(parts.max(1) - 1, &format!("{parts} parts"), "part but the first");
        }
        "piecewise" => {
            let rates = length("rates");
            expect(rates, &format!("{rates} rates"), "rate");
        }
        _ => {}
    }
    problems
}
