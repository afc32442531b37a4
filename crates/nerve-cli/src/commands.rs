//! What the commands do.

mod bench;
mod card;
mod check;
mod compare;
pub mod data;
mod embed;
mod evaluate;
mod export;
mod generate;
mod import;
mod init;
mod inspect;
mod list;
mod lr_find;
mod monitor;
mod plot;
mod predict;
mod resume;
mod runs;
mod serve;
mod train;
mod tune;
pub mod ui;

use crate::args::{Command, Common};
use crate::failure::Failure;
use crate::output;
use nerve_recipe::source::escape;
use nerve_recipe::{BUILT_IN, Predictor, Recipe, Source, built_in, machine};
use nerve_track::RunFolder;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Carries out a command.
pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Check(args) => check::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Export(args) => export::run(&args),
        Command::LrFind(args) => lr_find::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Resume(args) => resume::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::List(args) => list::run(&args),
        Command::Schema(_) => Ok(output::json(&nerve_recipe::schema::schema())?),
        Command::Data(command) => data::run(&command),
        Command::Tune(args) => tune::run(&args),
        Command::Runs(args) => runs::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Plot(args) => plot::run(&args),
        Command::Init(args) => init::init(&args),
        Command::New(args) => init::new(&args),
        Command::Monitor(args) => monitor::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Ui(args) => ui::serve(&args),
        Command::Report(args) => ui::report(&args),
        Command::Card(args) => card::run(&args),
    }
}

/// A checked recipe with a name.
pub struct Loaded {
    /// The recipe.
    pub recipe: Recipe,
    /// The name that its run gets if nobody gives another.
    pub name: String,
}

/// Reads a built-in recipe by its name, or a recipe file.
pub fn load(recipe: &OsStr, overrides: &[OsString]) -> Result<Loaded, Failure> {
    let overrides: Vec<String> =
        overrides.iter().map(|text| text.to_string_lossy().into_owned()).collect();
    let path = Path::new(recipe);
    let named = recipe.to_str().and_then(|name| Some((name, built_in(name)?)));
    // A file of that name that lies here is what was meant.
    if let Some((name, source)) = named.filter(|_| !path.is_file()) {
        let recipe = Recipe::load(source, &overrides)?;
        return Ok(Loaded { recipe, name: name.to_string() });
    }
    if !path.exists() {
        return Err(Failure::Usage(no_recipe(recipe)));
    }
    let recipe = Recipe::load(Source::read(path)?, &overrides)?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    Ok(Loaded { recipe, name: name.unwrap_or_else(|| "run".to_string()) })
}

/// Opens the model of a run.
pub fn open(runs: &Path, run: &Path) -> Result<(RunFolder, Predictor), Failure> {
    let folder = RunFolder::find(runs, run)?;
    let predictor =
        Predictor::open(&folder.model()).map_err(|error| Failure::Data(error.to_string()))?;
    Ok((folder, predictor))
}

fn no_recipe(recipe: &OsStr) -> String {
    let name = recipe.to_string_lossy();
    let known = BUILT_IN.iter().map(|(name, _)| *name);
    let mut text = format!("no recipe `{}`: there is no such file", escape(&name));
    if let Some(near) = nerve_recipe::nearest(&name, known.clone()) {
        text.push_str(&format!("; did you mean `{near}`?"));
    }
    let known: Vec<&str> = known.collect();
    text.push_str(&format!("\nbuilt-in recipes: {}", known.join(", ")));
    text
}

/// Sets the number of threads: the flag, else what the environment says, else one a core.
pub fn set_threads(common: &Common) -> Result<usize, Failure> {
    let most = 1024;
    let wanted = match (common.threads, std::env::var("NERVE_THREADS")) {
        (Some(threads), _) => Some(threads as usize),
        (None, Ok(text)) => {
            let number = text.parse().ok().filter(|n| (1..=most).contains(n));
            Some(number.ok_or_else(|| {
                let text = escape(&text);
                Failure::Usage(format!(
                    "NERVE_THREADS is `{text}`, expected a number from 1 to {most}"
                ))
            })?)
        }
        (None, Err(_)) => None,
    };
    if let Some(threads) = wanted {
        machine::set_threads(threads);
    }
    Ok(machine::threads())
}
