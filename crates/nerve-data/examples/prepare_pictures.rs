//! How many pictures a second one thread prepares: `cargo run --release -p nerve-data --example prepare_pictures`.
//!
//! Digits of 28 × 28 in memory, turned and shifted; a folder of JPEG files of 224 × 224, decoded and augmented each time.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use nerve_data::features::{Feature, Role, Setting, find};
use nerve_data::table::{Prepared, Slot};
use nerve_data::transform::Pipeline;
use nerve_data::{
    Cells, Column, Element, Field, Loader, LoaderOptions, Origin, Random, Table, Values,
};
use nerve_formats::spec::{Value, check};

type Anything<T> = Result<T, Box<dyn std::error::Error>>;

fn item(name: &'static str, args: &[(&str, Value)]) -> Value {
    let args = args.iter().map(|(key, value)| (key.to_string(), value.clone()));
    Value::Table([("type".to_string(), Value::text(name))].into_iter().chain(args).collect())
}

/// Seconds that this thread has computed, where the system tells; else since the start.
fn seconds(start: Instant) -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |ns| ns / 1e9)
}

/// Prepares an epoch on this thread, and says how long it took.
fn measure(what: &str, folder: &Path, cells: Cells, augment: Vec<Value>) -> Anything<()> {
    let rows = cells.len();
    let entry = find("image").ok_or("no feature `image`")?;
    let args = [
        ("augment".to_string(), Value::List(augment.into())),
        ("normalize".to_string(), Value::text("unit")),
        ("size".to_string(), Value::Int(if rows > 10_000 { 28 } else { 224 })),
        ("channels".to_string(), Value::Int(if rows > 10_000 { 1 } else { 3 })),
    ];
    let args = check(entry.spec, &args).map_err(|problems| format!("{problems:?}"))?;
    let setting = Setting { role: Role::Input, folder: folder.to_path_buf() };
    let mut fit = (entry.begin)(&args, &setting)?;
    for row in 0..rows {
        fit.observe(&cells, row).map_err(|refusal| format!("{refusal:?}"))?;
    }
    // A restored feature reads files each time.
    let state = fit.finish()?.state();
    let feature: Arc<dyn Feature> = (entry.restore)(&args, &setting, &state)?;
    let column = Column { name: "image".into(), cells };
    let table = Arc::new(Table::new(vec![column], Origin::default())?);
    let data = Prepared::new(table, vec![Slot::one("image", feature.clone())], &[])?;
    let fields = nerve_data::Dataset::fields(&data).to_vec();
    let pipeline = Pipeline::new(&fields).deliver("image", feature, true, 0)?;
    let options =
        LoaderOptions { batch_size: 64, shuffle: true, prefetch: 0, ..LoaderOptions::default() };
    let loader = Loader::new(Arc::new(data), options)?.with_pipeline(pipeline)?;
    let mut best = f64::INFINITY;
    for epoch in 0..3 {
        let clock = Instant::now();
        let start = seconds(clock);
        for batch in loader.epoch(epoch, 0) {
            std::hint::black_box(batch?.size());
        }
        best = best.min(seconds(clock) - start);
    }
    println!("{what}: {:.0} pictures/s", rows as f64 / best);
    Ok(())
}

fn main() -> Anything<()> {
    let digits = || {
        let mut random = Random::keyed(&[1]);
        let bytes: Vec<u8> = (0..20_000 * 784).map(|_| random.bits() as u8).collect();
        Cells::Arrays(Field::new("image", &[1, 28, 28], Element::U8), Values::U8(bytes))
    };
    let shift = || item("RandomShift", &[("max", Value::Int(2))]);
    let turn = || item("RandomRotation", &[("degrees", Value::Int(10))]);
    let here = Path::new("");
    measure("28 × 28, normalised", here, digits(), vec![])?;
    measure("28 × 28, shifted", here, digits(), vec![shift()])?;
    measure("28 × 28, shifted and turned", here, digits(), vec![shift(), turn()])?;
    let folder = std::env::temp_dir().join("nerve-prepare-pictures");
    std::fs::create_dir_all(&folder)?;
    let mut random = Random::keyed(&[2]);
    let names: Vec<String> = (0..100).map(|at| format!("{at}.jpg")).collect();
    for name in &names {
        let noise = random.below(40);
        let picture = image::RgbImage::from_fn(224, 224, |x, y| {
            let mut value = |a: u64| {
                ((u64::from(x) * a + u64::from(y * y) / 40 + random.below(noise + 1)) % 256) as u8
            };
            image::Rgb([value(1), value(2), value(3)])
        });
        picture.save(folder.join(name))?;
    }
    let files = || Cells::Text(names.iter().map(|name| Some(name.as_str())).collect());
    measure("JPEG 224 × 224, decoded", &folder, files(), vec![])?;
    let crop = item("RandomResizedCrop", &[]);
    let flip = item("RandomFlip", &[]);
    let jitter = item(
        "ColorJitter",
        &[("brightness", Value::Float(0.4)), ("saturation", Value::Float(0.4))],
    );
    measure("  cropped and mirrored", &folder, files(), vec![crop.clone(), flip.clone()])?;
    measure("  and colours changed", &folder, files(), vec![crop, flip, jitter])?;
    let random = item("RandAugment", &[]);
    measure("  RandAugment", &folder, files(), vec![random])?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
