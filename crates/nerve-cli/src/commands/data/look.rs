//! What is looked at: the parts of a recipe's data, or a file as a whole.

use crate::commands::{Loaded, load};
use crate::failure::Failure;
use nerve::data::inspect::View;
use nerve::data::source::{self, Options};
use nerve::recipe::{Recipe, Rows, Tables, built_in};
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
        if !is_recipe(what) {
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
        let look = Look::of(&recipe, recipe.tables().map_err(data)?);
        Ok(Look { target: target.map(str::to_string).or(look.target), ..look })
    }

    /// Reads the data of a recipe, and looks at each fold of the cross-validation that `nerve train` does.
    pub fn folds(what: &OsStr, overrides: &[OsString], k: usize) -> Result<Vec<Look>, Failure> {
        if !is_recipe(what) {
            let path = Path::new(what).display();
            return Err(Failure::Usage(format!(
                "folds are those of a recipe (.toml, or built in), and {path} is none; `nerve init` writes one"
            )));
        }
        let Loaded { recipe, .. } = load(what, overrides)?;
        let folds = recipe.folds(k).map_err(|error| Failure::Data(error.to_string()))?;
        Ok(folds.into_iter().map(|tables| Look::of(&recipe, tables)).collect())
    }

    fn of(recipe: &Recipe, tables: Tables) -> Look {
        let others = [("validation", tables.validation), ("test", tables.test)];
        let others = others.into_iter().filter_map(|(name, rows)| Some((name, rows?)));
        Look {
            parts: [("train", tables.train)].into_iter().chain(others).collect(),
            target: recipe.outputs.first().map(|output| output.name.clone()),
        }
    }

    /// The parts as they are inspected.
    pub fn views(&self) -> Vec<View<'_>> {
        let views = self.parts.iter();
        views.map(|part| View { name: part.0, table: &part.1.table, rows: &part.1.rows }).collect()
    }
}

fn is_recipe(what: &OsStr) -> bool {
    let path = Path::new(what);
    path.extension().is_some_and(|extension| extension == "toml")
        || what.to_str().is_some_and(|name| built_in(name).is_some() && !path.exists())
}
