//! The page and the data of one run in one file that needs no server and no network.

use crate::api::{self, Refusal, Scalars};
use crate::examples::{self, Ask};
use crate::page::{ASSETS, INDEX, base64, hash};
use crate::runs::{Runs, now};
use nerve_track::{RunFolder, What};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// Columns for which each curve keeps its lowest and highest points.
const COLUMNS: usize = 1500;
/// Examples of each part of the data, the worst.
const EXAMPLES: usize = 300;
/// Bytes of all pictures together.
const PICTURES: usize = 16 << 20;

/// The report of a run as HTML.
///
/// Curves of very many points are thinned as on a screen of 1,500 columns, and say so. Scripts are in
/// the file, and its policy allows no others: it names each by its SHA-256.
///
/// # Errors
/// A file of the run cannot be read.
pub fn report(run: &RunFolder) -> Result<String, Refusal> {
    let data = data(run)?;
    // In a script element only `<` could end it or begin a comment.
    let data = data.to_string().replace('<', "\\u003c");
    let (mut scripts, mut styles) = (Vec::new(), Vec::new());
    let mut page = INDEX.replace("<link rel=\"icon\" href=\"/icon.svg\">\n", "");
    for asset in ASSETS {
        // The parser of the browser ends a script at its end tag, wherever that stands.
        debug_assert!(!asset.text.contains("</script") && !asset.text.contains("</style"));
        let (tag, inline, hashes) = match asset.name.ends_with(".css") {
            true => (
                format!("<link rel=\"stylesheet\" href=\"/assets/{}\">", asset.name),
                format!("<style>{}</style>", asset.text),
                &mut styles,
            ),
            false => (
                format!("<script defer src=\"/assets/{}\"></script>", asset.name),
                format!("<script>{}</script>", asset.text),
                &mut scripts,
            ),
        };
        hashes.push(hash(asset.text));
        page = place(&page, &tag, &inline);
    }
    let policy = format!(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         script-src {}; style-src {}; img-src data: blob:; base-uri 'none'; form-action 'none'\">",
        scripts.join(" "),
        styles.join(" ")
    );
    page = place(&page, "<!-- policy -->", &policy);
    let data = format!("<script type=\"application/json\" id=\"data\">{data}</script>");
    Ok(place(&page, "<!-- data -->", &data))
}

/// Puts a text in the only place where another stands.
fn place(page: &str, mark: &str, text: &str) -> String {
    let (before, after) = page.split_once(mark).expect("the page names all its files");
    [before, text, after].concat()
}

/// The answers to all that the page asks about the run.
fn data(run: &RunFolder) -> Result<Value, Refusal> {
    let runs = Runs::new(run.path());
    let tags = api::tags(&runs, run, now())?;
    let all = tags["tags"].as_object().cloned().unwrap_or_default();
    let escaped = |tag: &String| tag.replace('\\', "\\\\").replace(',', "\\,");
    let ask = Scalars {
        tags: all.keys().map(escaped).collect::<Vec<_>>().join(","),
        px: Some(COLUMNS),
        ..Scalars::default()
    };
    let names = |what: &str| -> Vec<String> {
        let names = tags[what].as_array().into_iter().flatten();
        names.filter_map(|name| name.as_str().map(String::from)).collect()
    };
    let mut confusion = Map::new();
    for tag in names("confusions") {
        confusion.insert(tag.clone(), api::confusion(&runs, run, Some(&tag))?);
    }
    let mut histograms = Map::new();
    for tag in names("histograms") {
        histograms.insert(tag.clone(), api::histograms(&runs, run, &tag)?);
    }
    let mut pictures: BTreeSet<String> = runs.with(run, |book| {
        let file = |what: &What| match what {
            What::Image { file, .. } => Some(file.clone()),
            _ => None,
        };
        book.media.iter().filter_map(|event| file(&event.what)).collect()
    })?;
    let mut worst = Map::new();
    for part in examples::parts(run) {
        let ask = Ask { part: part.clone(), n: Some(EXAMPLES), ..Ask::default() };
        let Ok(found) = examples::worst(run, &ask) else { continue };
        let rows = found["examples"].as_array().into_iter().flatten();
        pictures.extend(rows.filter_map(|row| Some(row["picture"].as_str()?.to_string())));
        worst.insert(part, found);
    }
    let mut list = runs.list(now());
    // Where the folder lies concerns nobody whom the file is sent to.
    list["root"] = json!(concat!("a report of nerve ", env!("CARGO_PKG_VERSION")));
    Ok(json!({
        "runs": list,
        "tags": tags,
        "scalars": api::scalars(&runs, run, &ask)?,
        "confusion": confusion,
        "histograms": histograms,
        "layers": api::layers(&runs, run)?,
        "recipe": api::recipe(run)?,
        "model": api::model(run)?,
        "evaluation": api::evaluation(run)?,
        "worst": worst,
        "pictures": inlined(run, pictures),
    }))
}

/// Pictures as addresses that hold them, as many as fit.
fn inlined(run: &RunFolder, names: BTreeSet<String>) -> Map<String, Value> {
    let (mut pictures, mut room) = (Map::new(), PICTURES);
    for name in names {
        let Ok((bytes, kind)) = examples::picture(run, &name, true) else { continue };
        if bytes.len() <= room {
            room -= bytes.len();
            pictures.insert(name, json!(format!("data:{kind};base64,{}", base64(&bytes))));
        }
    }
    pictures
}

/// Writes the [`report`] of a run to a file, which is whole or as it was before.
///
/// # Errors
/// A file of the run cannot be read, or the report cannot be written.
pub fn write_report(run: &RunFolder, to: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let page = report(run)?;
    nerve_formats::write_atomic(to, |file| file.write_all(page.as_bytes()))?;
    Ok(())
}
