use std::fs;

use ::image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage};
use nerve_formats::spec::check;

use super::*;
use crate::features::find;
use crate::{Array, Row};

fn setting(folder: &Path) -> Setting {
    Setting { role: Role::Input, folder: folder.to_path_buf() }
}

fn args(given: &[(&str, Value)]) -> Args {
    let given: Vec<(String, Value)> =
        given.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    check(&SPEC, &given).unwrap()
}

fn list(values: &[i64]) -> Value {
    Value::List(values.iter().map(|&value| Value::Int(value)).collect::<Vec<_>>().into())
}

/// A list of augmentations as a recipe has them.
fn shifts() -> Value {
    let table = |name: &'static str, key: &str, value| {
        Value::Table(vec![("type".into(), Value::text(name)), (key.into(), value)])
    };
    Value::List(
        vec![
            table("RandomShift", "max", Value::Int(2)),
            table("RandomRotation", "degrees", Value::Int(10)),
        ]
        .into(),
    )
}

fn fitted(
    args: &Args,
    folder: &Path,
    cells: &Cells,
    rows: &[usize],
) -> Result<Arc<dyn Feature>, String> {
    let mut fit = begin(args, &setting(folder)).unwrap();
    for &row in rows {
        fit.observe(cells, row).map_err(|refusal| format!("{refusal:?}"))?;
    }
    fit.finish()
}

fn stored(feature: &dyn Feature, cells: &Cells, row: usize) -> Result<Vec<u8>, Refusal> {
    let (shape, _) = feature.stored();
    let mut out = vec![7; shape.iter().product()];
    feature.store(cells, row, Slice::U8(&mut out)).map(|()| out)
}

fn delivered(feature: &dyn Feature, bytes: &[u8], random: Option<Random>) -> Vec<f32> {
    let mut out = vec![0.0; bytes.len()];
    let stored = Values::U8(bytes.to_vec());
    feature.deliver(&stored, Slice::F32(&mut out), random, &mut Room::default());
    out
}

fn arrays(shape: &[usize], bytes: Vec<u8>) -> Cells {
    Cells::Arrays(Field::new("image", shape, Element::U8), bytes.into())
}

fn names(names: &[&str]) -> Cells {
    Cells::Text(names.iter().map(|name| Some(*name)).collect())
}

fn save(folder: &Path, name: &str, image: impl Into<DynamicImage>) {
    image.into().save(folder.join(name)).unwrap();
}

#[test]
fn bytes_in_memory_are_normalised_with_the_training_split_alone() {
    // Row 2 is not of the training split.
    let cells = arrays(&[1, 1, 2], vec![0, 10, 20, 30, 255, 255]);
    let feature = fitted(&args(&[]), Path::new(""), &cells, &[0, 1]).unwrap();
    assert_eq!(feature.stored(), (vec![1, 1, 2], Element::U8));
    assert_eq!(feature.delivered(), (vec![1, 1, 2], Element::F32));
    assert!(!feature.kept(), "they are in memory already");
    let deviation = 125f64.sqrt();
    assert_eq!(feature.state()["subtract"][0], 15.0);
    assert_eq!(feature.state()["mean"], 15.0);
    let bytes = stored(&*feature, &cells, 2).unwrap();
    let expected = ((255.0 - 15.0) / deviation) as f32;
    for value in delivered(&*feature, &bytes, None) {
        assert!((value - expected).abs() < 1e-5, "{value} {expected}");
    }
    assert!(feature.output().is_none());
}

#[test]
fn channels_may_come_last_and_grey_comes_from_colours() {
    let cells = arrays(&[2, 1, 3], vec![1, 2, 3, 4, 5, 6]);
    let plain = args(&[("normalize", Value::text("none"))]);
    let feature = fitted(&plain, Path::new(""), &cells, &[0]).unwrap();
    assert_eq!(feature.stored().0, [3, 2, 1]);
    assert_eq!(stored(&*feature, &cells, 0).unwrap(), [1, 4, 2, 5, 3, 6]);
    assert_eq!(delivered(&*feature, &[9, 8, 7, 6, 5, 4], None), [9.0, 8.0, 7.0, 6.0, 5.0, 4.0]);
    let grey = args(&[("channels", Value::Int(1)), ("size", Value::Int(1))]);
    let feature = fitted(&grey, Path::new(""), &cells, &[0]).unwrap();
    assert_eq!(stored(&*feature, &cells, 0).unwrap(), [4]);
    let floats = Cells::Arrays(Field::new("x", &[2, 2], Element::F32), vec![0.0f32; 4].into());
    let error = fitted(&plain, Path::new(""), &floats, &[0]).unwrap_err();
    assert!(error.contains("expected: \"bytes of shape"), "{error}");
}

#[test]
fn a_folder_of_pictures_becomes_one_shape() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "a.png", GrayImage::from_pixel(4, 2, Luma([100])));
    save(folder.path(), "b.png", RgbImage::from_pixel(4, 2, Rgb([200, 0, 100])));
    save(folder.path(), "c.png", GrayImage::from_pixel(6, 6, Luma([50])));
    let cells = names(&["a.png", "b.png", "c.png", "none.png"]);
    let feature = fitted(&args(&[]), folder.path(), &cells, &[0, 1]).unwrap();
    assert_eq!(feature.stored().0, [3, 2, 4]);
    assert!(feature.kept());
    // Red is 100 in one and 200 in the other.
    assert_eq!(feature.state()["subtract"], json!([150.0, 50.0, 100.0]));
    assert_eq!(feature.state()["divide"], json!([50.0, 50.0, 1.0]));
    assert_eq!(
        stored(&*feature, &cells, 1).unwrap()[..9],
        [200, 200, 200, 200, 200, 200, 200, 200, 0]
    );
    assert_eq!(stored(&*feature, &cells, 2).unwrap(), [50; 24]);
    let refusal = stored(&*feature, &cells, 3).unwrap_err();
    assert_eq!(refusal.expected, "a file that can be read");
    assert!(refusal.found.starts_with("`none.png`: "), "{}", refusal.found);
    assert!(stored(&*feature, &names(&[""]), 0).is_err());
    assert!(stored(&*feature, &Cells::Numbers(vec![1.0]), 0).is_err());
}

#[test]
fn i11_pictures_of_different_sizes_need_a_size() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "a.png", GrayImage::from_pixel(4, 2, Luma([100])));
    save(folder.path(), "c.png", GrayImage::from_pixel(6, 5, Luma([50])));
    let cells = names(&["a.png", "c.png"]);
    assert_eq!(
        fitted(&args(&[]), folder.path(), &cells, &[0, 1]).unwrap_err(),
        "pictures differ in size: `a.png` has 4 × 2 pixels, `c.png` 6 × 5; give `size = [height, width]`"
    );
    for resize in Resize::NAMES {
        let args = args(&[("size", list(&[3, 3])), ("resize", Value::text(resize))]);
        let feature = fitted(&args, folder.path(), &cells, &[0, 1]).unwrap();
        assert_eq!(feature.stored().0, [1, 3, 3]);
        let black = stored(&*feature, &cells, 0).unwrap().iter().filter(|&&byte| byte == 0).count();
        assert_eq!(black > 0, *resize == "fit");
    }
}

#[test]
fn i10_the_first_bad_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), "a.png", GrayImage::from_pixel(2, 2, Luma([100])));
    fs::write(folder.path().join("b.png"), b"GIF89a..").unwrap();
    let cells = names(&["a.png", "b.png"]);
    let error = fitted(&args(&[]), folder.path(), &cells, &[0, 1]).unwrap_err();
    assert!(error.contains("`b.png`: a GIF file"), "{error}");
    // Where nothing is measured, it shows when it is read.
    let given = args(&[
        ("size", Value::Int(2)),
        ("channels", Value::Int(1)),
        ("normalize", Value::text("unit")),
    ]);
    let feature = fitted(&given, folder.path(), &cells, &[0, 1]).unwrap();
    assert!(stored(&*feature, &cells, 0).is_ok());
    assert!(stored(&*feature, &cells, 1).unwrap_err().found.contains("b.png"));
}

#[test]
fn the_state_restores_the_same_feature_or_is_refused() {
    let cells = arrays(&[3, 2, 2], (0..24).map(|i| i * 10).collect());
    let args = args(&[("augment", shifts())]);
    let feature = fitted(&args, Path::new(""), &cells, &[0, 1]).unwrap();
    let state = feature.state();
    let again: Json = serde_json::from_str(&state.to_string()).unwrap();
    let restored = restore(&args, &setting(Path::new("")), &again).unwrap();
    assert_eq!(restored.state(), state);
    let bytes: Vec<u8> = (0..12).map(|i| i * 20).collect();
    let random = || Some(Random::keyed(&[1, 2]));
    assert_eq!(delivered(&*restored, &bytes, None), delivered(&*feature, &bytes, None));
    assert_eq!(delivered(&*restored, &bytes, random()), delivered(&*feature, &bytes, random()));
    for (key, value) in [
        ("size", json!([0, 2])),
        ("size", json!([1_000_000, 2])),
        ("size", json!("x")),
        ("channels", json!(2)),
        ("subtract", json!([1.0])),
        ("divide", json!([1.0, 0.0, 1.0])),
    ] {
        let mut bad = state.clone();
        bad[key] = value;
        assert!(restore(&args, &setting(Path::new("")), &bad).is_err(), "{key} {bad}");
    }
}

#[test]
fn training_pictures_are_augmented_others_are_not() {
    let cells = arrays(&[1, 8, 8], (0..64).map(|i| i * 3).collect());
    let feature = fitted(&args(&[("augment", shifts())]), Path::new(""), &cells, &[0]).unwrap();
    let bytes = stored(&*feature, &cells, 0).unwrap();
    let plain = delivered(&*feature, &bytes, None);
    let random = |key| Some(Random::keyed(&[key]));
    let changed = (0..20).filter(|&key| delivered(&*feature, &bytes, random(key)) != plain).count();
    assert!(changed > 15, "{changed} of 20");
    assert_eq!(delivered(&*feature, &bytes, random(3)), delivered(&*feature, &bytes, random(3)));
    // What comes in from outside is black, as it is normalised.
    let black = delivered(&*feature, &[0; 64], None)[0];
    let moved = delivered(&*feature, &bytes, random(0));
    assert!(moved.iter().all(|&value| value >= black));
}

#[test]
fn an_output_gives_bytes_again() {
    let cells = arrays(&[1, 2, 2], vec![0, 50, 100, 250]);
    let setting = Setting { role: Role::Output, folder: PathBuf::new() };
    let mut fit = begin(&args(&[]), &setting).unwrap();
    fit.observe(&cells, 0).unwrap();
    let feature = fit.finish().unwrap();
    let output = feature.output().unwrap();
    assert_eq!(output.head().shape, [1, 2, 2]);
    let bytes = Values::U8(vec![9, 9, 9, 9, 0, 50, 100, 250]);
    assert_eq!(output.truth(&bytes, 1), Answer::Numbers(vec![0.0, 50.0, 100.0, 250.0]));
    // As it stands in a batch, on the scale of the network.
    let batch = Values::F32(delivered(&*feature, &[0, 50, 100, 250], None));
    assert_eq!(output.truth(&batch, 0), Answer::Numbers(vec![0.0, 50.0, 100.0, 250.0]));
    let Answer::Numbers(values) = output.answer(&delivered(&*feature, &[0, 50, 100, 250], None))
    else {
        panic!("no numbers");
    };
    for (value, byte) in values.iter().zip([0.0, 50.0, 100.0, 250.0]) {
        assert!((value - byte).abs() < 1e-3, "{value} {byte}");
    }
}

#[test]
fn columns_of_pictures_are_recognised() {
    let guess = |cells: Cells| infer(&Column { name: "x".into(), cells }).is_some();
    assert!(guess(names(&["a/b.PNG", "c.jpeg"])));
    assert!(!guess(names(&["a.png", "c.txt"])));
    assert!(!guess(Cells::Text([None].into_iter().collect())));
    assert!(!guess(Cells::Numbers(vec![1.0])));
    assert!(guess(arrays(&[2, 2], vec![0; 4])));
    assert!(!guess(arrays(&[4], vec![0; 4])));
}

#[test]
fn prepared_pictures_go_through_the_pipeline() {
    use crate::table::{Prepared, Slot};
    use crate::transform::{Draw, Pipeline};
    use crate::{Dataset, Origin, Table};

    let cells = arrays(&[1, 2, 2], vec![0, 50, 100, 250, 1, 2, 3, 4]);
    let args = args(&[("normalize", Value::text("unit"))]);
    let feature = fitted(&args, Path::new(""), &cells, &[0]).unwrap();
    let table =
        Table::new(vec![Column { name: "image".into(), cells }], Origin::default()).unwrap();
    let slots = vec![Slot::one("image", feature.clone())];
    let data = Prepared::new(Arc::new(table), slots, &[0, 1]).unwrap();
    let pipeline = Pipeline::new(data.fields()).deliver("image", feature, true, 0).unwrap();
    let mut sample = vec![Array::zeros(&data.fields()[0], 1)];
    data.read(1, &mut Row::new(&mut sample, 0)).unwrap();
    let mut out = vec![Array::zeros(&pipeline.output_fields()[0], 1)];
    let draw = Draw { seed: 1, epoch: 0, index: 1 };
    pipeline.apply(draw, &sample, &mut Row::new(&mut out, 0), &mut Room::default());
    assert_eq!(out[0].f32(), [1.0, 2.0, 3.0, 4.0].map(|byte: f32| byte / 255.0));
    assert!(find("image").is_some());
}
