//! `nerve init`: a recipe from the columns of a file. `nerve new`: a ready recipe.

use crate::args::{Init, New};
use crate::failure::Failure;
use crate::output;
use nerve::data::source::{self, Options};
use nerve_recipe::nearest;
use nerve_recipe::source::escape;
use nerve_recipe::starter::{TEMPLATES, starter};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

pub fn init(args: &Init) -> Result<(), Failure> {
    let data = |error: nerve::data::DataError| Failure::Data(error.to_string());
    let table = source::read(&args.data, &Options::default()).map_err(data)?;
    let out = args.out.clone().unwrap_or_else(|| {
        let stem = args.data.file_stem().unwrap_or("recipe".as_ref());
        Path::new(stem).with_extension("toml")
    });
    let to_stdout = out == Path::new("-");
    // The recipe names its files from its own folder.
    let beside = to_stdout || out.parent().is_none_or(|folder| folder == Path::new(""));
    let path = match beside {
        true => args.data.clone(),
        false => std::path::absolute(&args.data).unwrap_or_else(|_| args.data.clone()),
    };
    let Some(path) = path.to_str() else {
        return Err(Failure::Usage(
            "the name of the file is not UTF-8: a recipe cannot name it".into(),
        ));
    };
    let command = format!("nerve init {path} --target {}", args.target);
    let text = starter(&table, path, &args.target, &command).map_err(data)?;
    if to_stdout {
        return Ok(output::result(&text)?);
    }
    write(&out, &text, args.force)?;
    said(&out, args.json)
}

pub fn new(args: &New) -> Result<(), Failure> {
    let Some(template) = TEMPLATES.iter().find(|template| template.name == args.template) else {
        let near = nearest(&args.template, TEMPLATES.iter().map(|template| template.name));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let known: String =
            TEMPLATES.iter().map(|t| format!("\n  {:<10} {}", t.name, t.doc)).collect();
        let wrong = escape(&args.template);
        return Err(Failure::Usage(format!("no template `{wrong}`{near}\ntemplates:{known}")));
    };
    let mut out = PathBuf::from(&args.name);
    if out.extension().is_none_or(|extension| extension != "toml") {
        out = PathBuf::from(format!("{}.toml", args.name));
    }
    write(&out, template.text, args.force)?;
    said(&out, args.json)
}

/// Writes a file that is not there yet, or may be replaced.
fn write(out: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    match force {
        true => options.write(true).create(true).truncate(true),
        false => options.write(true).create_new(true),
    };
    let name = out.display();
    let mut file = options.open(out).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::Usage(format!("{name} exists: `--force` replaces it"))
        }
        _ => Failure::Runtime(format!("cannot write {name}: {error}")),
    })?;
    file.write_all(text.as_bytes())
        .map_err(|error| Failure::Runtime(format!("cannot write {name}: {error}")))
}

fn said(out: &Path, json: bool) -> Result<(), Failure> {
    let name = out.display();
    match json {
        true => output::json(&json!({ "recipe": name.to_string() }))?,
        false => output::result(&format!("{name}\n"))?,
    }
    Ok(())
}
