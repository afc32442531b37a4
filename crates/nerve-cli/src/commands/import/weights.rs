//! A state dict: tensors under the names of PyTorch, for the network of a recipe.

use crate::args::Import;
use crate::commands::{Loaded, load, set_threads};
use crate::failure::Failure;
use crate::output::{self, complain};
use nerve::formats::{Limits, SafeTensors};
use nerve::nn::transfer::{Report, Transfer};
use nerve_recipe::Session;
use nerve_recipe::source::escape;
use nerve_track::{CONFIG, RESOLVED, RunFolder};
use serde_json::json;
use std::path::PathBuf;

pub fn run(args: &Import) -> Result<(), Failure> {
    set_threads(&args.common)?;
    let transfer = transfer(args)?;
    if let Some(path) = args.output.as_ref().filter(|path| path.exists() && !args.force) {
        let name = escape(&path.to_string_lossy());
        return Err(Failure::Usage(format!("{name} exists; --force replaces it")));
    }
    let limits = Limits { max_bytes: u64::MAX, ..Limits::default() };
    let file = SafeTensors::open(&args.file, &limits)?;
    file.require_finite()?;
    let Loaded { recipe, name } = load(&args.recipe, &args.overrides)?;
    let session = Session::new(&recipe)?;
    let report = session
        .take_over(&transfer, &file)
        .map_err(|error| Failure::Data(format!("{}: {error}", file.file())))?;
    let path = match &args.output {
        Some(path) => {
            session.write(path)?;
            path.clone()
        }
        None => {
            let name = args.name.clone().unwrap_or(name);
            let files = [(CONFIG, session.recipe.text()), (RESOLVED, &session.recipe.resolved())];
            let run = RunFolder::create(&args.runs, &name, &files)?;
            session.write(&run.model())?;
            run.model()
        }
    };
    tell(args, &report, path)
}

fn transfer(args: &Import) -> Result<Transfer, Failure> {
    let mut transfer = Transfer::new().strict();
    if let Some(prefix) = &args.strip {
        transfer = transfer.rename(&format!("{prefix}*"), "*");
    }
    for renaming in &args.rename {
        transfer = transfer.rename_by(renaming).map_err(Failure::Usage)?;
    }
    if args.partial {
        transfer = transfer.partial();
    }
    let ignored: Vec<&str> = args.ignore.iter().map(String::as_str).collect();
    Ok(transfer.ignore(&ignored))
}

fn tell(args: &Import, report: &Report, path: PathBuf) -> Result<(), Failure> {
    let path = path.to_string_lossy();
    if args.common.json {
        let Report { loaded, kept, unused } = report;
        let value = json!({ "model": path, "loaded": loaded, "kept": kept, "unused": unused });
        return Ok(output::json(&value)?);
    }
    complain(&escape(&report.to_string()));
    Ok(output::result(&escape(&path))?)
}
