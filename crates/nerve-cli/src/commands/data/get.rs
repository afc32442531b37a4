//! `nerve data get`: fetches named data sets.

use crate::args::{DataGet, FetchFrom};
use crate::failure::Failure;
use crate::output;
use crate::signals::Signals;
use nerve::data::DataError;
use nerve::data::catalogue::{Entry, Fetcher, Origin, catalogue, entry, suggestion};
use serde_json::json;

pub fn run(args: &DataGet) -> Result<(), Failure> {
    let wanted: Vec<&'static Entry> = match args.all {
        true => catalogue().iter().collect(),
        false => args.names.iter().map(|name| named(name)).collect::<Result<_, _>>()?,
    };
    let signals = Signals::catch()?;
    let mut say = |line: &str| output::complain(line);
    let mut fetcher = Fetcher::new(args.from.map(origin), &signals.stop, &mut say);
    let mut failed = Vec::new();
    for entry in wanted {
        match fetcher.get(entry, args.force) {
            Ok(fetched) => {
                let folder = fetched.folder.to_string_lossy().into_owned();
                match args.json {
                    true => output::json(&json!({
                        "name": entry.name, "folder": folder, "new": fetched.new, "table": entry.table,
                    }))?,
                    false => output::result(&format!("{} is in {folder}", entry.name))?,
                }
            }
            Err(DataError::Stopped) => return Err(Failure::Stopped(signals.number().unwrap_or(2))),
            // One that nobody gives does not hide the others.
            Err(error) => failed.push(error.to_string()),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::Runtime(failed.join("\n"))) }
}

fn named(name: &str) -> Result<&'static Entry, Failure> {
    entry(name).map_err(|error| {
        let meant = suggestion(name).map(|near| format!("; did you mean `{near}`?"));
        Failure::Usage(format!("{error}{}", meant.unwrap_or_default()))
    })
}

fn origin(from: FetchFrom) -> Origin {
    match from {
        FetchFrom::Url => Origin::Url,
        FetchFrom::Pip => Origin::Pip,
        FetchFrom::Npm => Origin::Npm,
        FetchFrom::Apt => Origin::Apt,
    }
}
