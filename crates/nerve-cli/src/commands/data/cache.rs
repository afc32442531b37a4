//! `nerve data cache`: the pictures that were decoded before.

use crate::args::{Cache, DataCache};
use crate::failure::Failure;
use crate::output;
use nerve::data::cache;
use nerve_recipe::source::escape;
use serde_json::json;
use std::path::PathBuf;

pub fn run(args: &DataCache) -> Result<(), Failure> {
    let folder = folder().ok_or_else(|| {
        Failure::Usage("there is no cache: NERVE_CACHE is off, or there is no home folder".into())
    })?;
    let (found, word) = match args.what {
        Cache::List => (cache::contents(&folder), "in"),
        Cache::Clear => (cache::clear(&folder)?, "removed from"),
    };
    let (entries, bytes) = (found.entries, found.bytes);
    if args.json {
        let folder = folder.to_string_lossy();
        return Ok(output::json(&json!({ "folder": folder, "entries": entries, "bytes": bytes }))?);
    }
    let place = escape(&folder.to_string_lossy());
    let megabytes = bytes as f64 / 1e6;
    Ok(output::result(&format!("{entries} pictures, {megabytes:.1} MB, {word} {place}\n"))?)
}

/// Where pictures are kept, unless that is switched off.
pub fn folder() -> Option<PathBuf> {
    let off = std::env::var_os("NERVE_CACHE").is_some_and(|value| value == "off");
    cache::folder().filter(|_| !off)
}
