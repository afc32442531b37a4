//! `nerve data preview`: examples as the network gets them, drawn.

use crate::args::DataPreview;
use crate::commands::{Loaded, load};
use crate::failure::Failure;
use crate::output;
use nerve::data::preview::{Sheet, Tile, examples};
use nerve::data::{DataError, Permutation};
use nerve_recipe::source::escape;
use serde_json::json;

/// Tiles in a row of those that are not augmented.
const COLUMNS: usize = 8;

pub fn run(args: &DataPreview) -> Result<(), Failure> {
    let Loaded { recipe, .. } = load(&args.recipe, &args.overrides)?;
    let of_data = |error: DataError| Failure::Data(error.to_string());
    let tables = recipe.tables().map_err(of_data)?;
    let recipe = recipe.described(&tables.train.table).map_err(of_data)?;
    let data = recipe.prepare(&tables).map_err(of_data)?;
    let kept = data.train.dataset().ok_or_else(|| Failure::Usage("nothing is in memory".into()));
    let dataset = &**kept?;
    let fields = dataset.fields();
    let plain = data.features.pipeline(fields, false).map_err(of_data)?;
    let training = data.features.pipeline(fields, true).map_err(of_data)?;
    let order = Permutation::keyed(dataset.len() as u64, &[recipe.seed()]);
    let count = (args.count as u64).min(dataset.len() as u64);
    let picks: Vec<usize> = (0..count).map(|at| order.get(at) as usize).collect();
    let pipelines = [Some(&plain), Some(&training).filter(|_| args.augment)];
    let (slots, fed) = (&data.features.slots, data.features.fed);
    let rows = examples(dataset, slots, fed, pipelines, recipe.seed(), &picks).map_err(of_data)?;
    let tiles = rows.iter().map(Vec::len).sum::<usize>();
    if tiles == 0 {
        let message = "nothing to draw: no column is a picture, a mask or a sound";
        return Err(Failure::Usage(message.to_string()));
    }
    // One tile an example: they stand in a grid.
    let grid: Vec<Vec<Tile>> = match rows.iter().all(|row| row.len() == 1) {
        true => rows.concat().chunks(COLUMNS).map(<[Tile]>::to_vec).collect(),
        false => rows,
    };
    let sheet = Sheet::new(&grid);
    sheet.write_png(&args.output).map_err(|error| Failure::Runtime(error.to_string()))?;
    let file = escape(&args.output.to_string_lossy());
    if args.json {
        return Ok(output::json(&json!({ "file": file, "examples": count, "drawings": tiles }))?);
    }
    Ok(output::result(&format!("{count} examples in {file}\n"))?)
}
