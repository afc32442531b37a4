//! What is looked at: the parts of a recipe's data, or a file as a whole.

use crate::commands::{Loaded, load};
use crate::failure::Failure;
use nerve::data::inspect::View;
use nerve::data::source::{self, Options};
use nerve::recipe::{Rows, built_in};
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Rows under names, and the column that should be told.
pub struct Look {
    /// The parts, the first of which is learned from.
    pub parts: Vec<(&'static str, Rows)>,
    /// The column that the network should tell.
    pub target: Option<String>,
}

impl Look {
    /// Reads a recipe, which ends in `.toml` or is built in, or a file of data.
    pub fn at(what: &OsStr, overrides: &[OsString], target: Option<&str>) -> Result<Look, Failure> {
        let path = Path::new(what);
        let data = |error: nerve::data::DataError| Failure::Data(error.to_string());
        let is_recipe = path.extension().is_some_and(|extension| extension == "toml")
            || what.to_str().is_some_and(|name| built_in(name).is_some() && !path.exists());
        if !is_recipe {
            if let Some(first) = overrides.first() {
                let first = first.to_string_lossy();
                return Err(Failure::Usage(format!(
                    "`{first}` sets a place of a recipe, and {} is none",
                    path.display()
                )));
            }
            let table = source::read(path, &Options::default()).map_err(data)?;
            let rows = Rows::all(table);
            return Ok(Look { parts: vec![("data", rows)], target: target.map(str::to_string) });
        }
        let Loaded { recipe, .. } = load(what, overrides)?;
        let tables = recipe.tables().map_err(data)?;
        let others = [("validation", tables.validation), ("test", tables.test)];
        let others = others.into_iter().filter_map(|(name, rows)| Some((name, rows?)));
        let own = recipe.outputs.first().map(|output| output.name.clone());
        Ok(Look {
            parts: [("train", tables.train)].into_iter().chain(others).collect(),
            target: target.map(str::to_string).or(own),
        })
    }

    /// The parts as they are inspected.
    pub fn views(&self) -> Vec<View<'_>> {
        let views = self.parts.iter();
        views.map(|part| View { name: part.0, table: &part.1.table, rows: &part.1.rows }).collect()
    }
}
