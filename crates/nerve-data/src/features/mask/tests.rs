use std::fs;

use ::image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage};
use nerve_formats::spec::check;

use super::*;
use crate::Field;
use crate::features::Role;

fn setting(folder: &Path) -> Setting {
    Setting { role: Role::Output, folder: folder.to_path_buf() }
}

fn args(given: &[(&str, Value)]) -> Args {
    let given: Vec<(String, Value)> =
        given.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    check(&SPEC, &given).unwrap()
}

fn list(values: &[i64]) -> Value {
    Value::List(values.iter().map(|&value| Value::Int(value)).collect::<Vec<_>>().into())
}

fn fitted(
    args: &Args,
    folder: &Path,
    cells: &Cells,
    rows: &[usize],
) -> Result<Arc<dyn Feature>, String> {
    let mut fit = begin(args, &setting(folder))?;
    for &row in rows {
        fit.observe(cells, row).map_err(|refusal| format!("{refusal:?}"))?;
    }
    fit.finish()
}

fn stored(feature: &dyn Feature, cells: &Cells, row: usize) -> Result<Vec<u8>, String> {
    let mut out = vec![7; feature.stored().0.iter().product()];
    let stored = feature.store(cells, row, Slice::U8(&mut out));
    stored.map(|()| out).map_err(|refusal| format!("{refusal:?}"))
}

fn names(names: &[&str]) -> Cells {
    Cells::Text(names.iter().map(|name| Some(*name)).collect())
}

/// A PNG of a palette, two bits a pixel, that holds these numbers.
fn palette(width: u32, numbers: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, numbers.len() as u32 / width);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Two);
    encoder.set_palette(vec![0, 0, 0, 250, 0, 0, 0, 250, 0, 9, 9, 9]);
    let rows = numbers.chunks(width as usize).flat_map(|row| {
        row.chunks(4).map(|four| {
            four.iter().enumerate().fold(0, |byte, (at, number)| byte | (number << (6 - 2 * at)))
        })
    });
    let data: Vec<u8> = rows.collect();
    encoder.write_header().unwrap().write_image_data(&data).unwrap();
    bytes
}

#[test]
fn numbers_of_palettes_and_of_grey_are_classes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.png"), palette(5, &[0, 1, 2, 3, 0, 1, 1, 1, 2, 2])).unwrap();
    GrayImage::from_fn(5, 2, |x, _| Luma([x as u8 % 3])).save(folder.path().join("b.png")).unwrap();
    let cells = names(&["a.png", "b.png"]);
    let feature = fitted(&args(&[]), folder.path(), &cells, &[0]).unwrap();
    assert_eq!(feature.meaning(), Meaning::Mask { classes: 4 });
    assert_eq!(feature.stored(), (vec![2, 5], Element::U8));
    assert!(feature.kept());
    assert_eq!(stored(&*feature, &cells, 0).unwrap(), [0, 1, 2, 3, 0, 1, 1, 1, 2, 2]);
    assert_eq!(stored(&*feature, &cells, 1).unwrap(), [0, 1, 2, 0, 1, 0, 1, 2, 0, 1]);
    let head = feature.output().unwrap().head();
    assert_eq!(head.shape, [4, 2, 5]);
    // The numbers of the training split are the classes: 3 is not among those of the second file.
    let feature = fitted(&args(&[]), folder.path(), &cells, &[1]).unwrap();
    let error = stored(&*feature, &cells, 0).unwrap_err();
    assert!(error.contains("one of the 3 numbers") && error.contains("found: \"3\""), "{error}");
}

#[test]
fn ids_are_in_the_order_of_the_recipe_and_one_number_does_not_count() {
    let field = Field::new("mask", &[2, 2], Element::U8);
    let cells = Cells::Arrays(field, vec![10u8, 20, 255, 10].into());
    let given = args(&[("ids", list(&[20, 10]))]);
    let feature = fitted(&given, Path::new(""), &cells, &[0]).unwrap();
    assert_eq!(stored(&*feature, &cells, 0).unwrap(), [1, 0, 255, 1]);
    assert_eq!(feature.output().unwrap().classes(), ["20", "10"]);
    let with = args(&[("ids", list(&[20, 10, 255]))]);
    let feature = fitted(&with, Path::new(""), &cells, &[0]).unwrap();
    assert_eq!(stored(&*feature, &cells, 0).unwrap(), [1, 0, 2, 1]);
    let twice = args(&[("ids", list(&[20, 20]))]);
    assert!(fitted(&twice, Path::new(""), &cells, &[0]).unwrap_err().contains("twice"));
    let both = args(&[("ids", list(&[20, 10])), ("foreground", Value::Bool(true))]);
    assert!(fitted(&both, Path::new(""), &cells, &[0]).is_err());
}

#[test]
fn instances_become_foreground() {
    let folder = tempfile::tempdir().unwrap();
    let deep: ImageBuffer<Luma<u16>, Vec<u16>> =
        ImageBuffer::from_raw(3, 1, vec![0, 700, 65_535]).unwrap();
    deep.save(folder.path().join("a.png")).unwrap();
    let cells = names(&["a.png"]);
    let given = args(&[("foreground", Value::Bool(true))]);
    let feature = fitted(&given, folder.path(), &cells, &[0]).unwrap();
    assert_eq!(stored(&*feature, &cells, 0).unwrap(), [0, 1, 1]);
    let numbers = Cells::Arrays(Field::new("m", &[1, 3], Element::I32), vec![0, 700, -1].into());
    assert!(fitted(&given, folder.path(), &numbers, &[0]).unwrap_err().contains("found: \"-1\""));
}

#[test]
fn colours_are_classes_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let colors = "# of the camera\n0 0 0\tVoid\n64, 128, 64 Animal\n\n192 0 128 Archway\n";
    fs::write(folder.path().join("colors.txt"), colors).unwrap();
    let save = |name: &str, pixels: Vec<u8>| {
        let image = RgbImage::from_raw(2, 1, pixels).unwrap();
        image.save(folder.path().join(name)).unwrap();
    };
    save("a.png", vec![192, 0, 128, 64, 128, 64]);
    save("b.png", vec![192, 0, 128, 64, 128, 65]);
    let cells = names(&["a.png", "b.png"]);
    let given = args(&[("colors", Value::text("colors.txt"))]);
    let feature = fitted(&given, folder.path(), &cells, &[0]).unwrap();
    assert_eq!(feature.output().unwrap().classes(), ["Void", "Animal", "Archway"]);
    assert_eq!(stored(&*feature, &cells, 0).unwrap(), [2, 1]);
    let error = stored(&*feature, &cells, 1).unwrap_err();
    assert!(error.contains("the colour [64, 128, 65] in `b.png`"), "{error}");
    // The model file is enough: the file of colours is not read again.
    fs::remove_file(folder.path().join("colors.txt")).unwrap();
    let again = restore(&given, &setting(folder.path()), &feature.state()).unwrap();
    assert_eq!(again.state(), feature.state());
    assert_eq!(stored(&*again, &cells, 0).unwrap(), [2, 1]);
    assert!(fitted(&given, folder.path(), &cells, &[0]).is_err());
    let plain = fitted(&args(&[]), folder.path(), &cells, &[0]).unwrap_err();
    assert!(plain.contains("in colours"), "{plain}");
}

#[test]
fn files_of_colours_say_where_they_are_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.txt");
    let error = |text: &str| {
        fs::write(&path, text).unwrap();
        read_colors(&path).unwrap_err()
    };
    assert!(error("0 0 0 a\n0 0 256 b\n").contains("c.txt:2: expected `red green blue name`"));
    assert!(error("0 0 0 a\n0 0 0 b\n").contains("is there twice"));
    assert!(error("0 0 0 a\n").contains("expected 2 to 253 colours, found 1"));
}

#[test]
fn masks_of_several_sizes_need_a_size_and_are_resized_without_blending() {
    let folder = tempfile::tempdir().unwrap();
    GrayImage::from_fn(4, 4, |x, _| Luma([x as u8])).save(folder.path().join("a.png")).unwrap();
    GrayImage::from_fn(8, 8, |x, _| Luma([x as u8 / 2])).save(folder.path().join("b.png")).unwrap();
    RgbImage::from_pixel(8, 8, Rgb([1, 2, 3])).save(folder.path().join("c.jpg")).unwrap();
    let cells = names(&["a.png", "b.png", "c.jpg"]);
    let error = fitted(&args(&[]), folder.path(), &cells, &[0, 1]).unwrap_err();
    assert!(error.contains("`b.png` with 8 × 8"), "{error}");
    let four = args(&[("size", Value::Int(4))]);
    let feature = fitted(&four, folder.path(), &cells, &[0, 1]).unwrap();
    assert_eq!(stored(&*feature, &cells, 0), stored(&*feature, &cells, 1));
    let error = stored(&*feature, &cells, 2).unwrap_err();
    assert!(error.contains("a JPEG file, whose compression changes numbers"), "{error}");
}

#[test]
fn a_mask_is_delivered_as_integers_and_moves_like_a_picture() {
    let table = |name: &'static str, values: &[(&str, Value)]| {
        let values = values.iter().map(|(key, value)| (key.to_string(), value.clone()));
        Value::Table([("type".to_string(), Value::text(name))].into_iter().chain(values).collect())
    };
    let augment = Value::List(
        vec![
            table("ColorJitter", &[("brightness", Value::Float(0.5))]),
            table("RandomShift", &[("max", Value::Int(2))]),
        ]
        .into(),
    );
    let numbers: Vec<u8> = (0..36).map(|at| at % 6).collect();
    let cells = Cells::Arrays(Field::new("m", &[6, 6], Element::U8), numbers.clone().into());
    let feature = fitted(&args(&[("augment", augment)]), Path::new(""), &cells, &[0]).unwrap();
    let delivered = |random: Option<Random>| {
        let mut out = vec![0; 36];
        let stored = Values::U8(numbers.clone());
        feature.deliver(&stored, Slice::I32(&mut out), random, &mut Room::default());
        out
    };
    let plain: Vec<i32> = numbers.iter().map(|&number| number.into()).collect();
    assert_eq!(delivered(None), plain);
    for key in 0..20 {
        // The picture with the same augmentations at the same key.
        let mut pixels: Vec<f32> = numbers.iter().map(|&number| f32::from(number)).collect();
        let mut scratch = Vec::new();
        let mut image = Image::labels([6, 6], &mut pixels, 255.0, &mut scratch);
        let shift = transform::RandomShift { max: [2, 2] };
        let jitter = transform::ColorJitter::default();
        let list: [Arc<dyn Augment>; 2] = [Arc::new(jitter), Arc::new(shift)];
        transform::augment(&list, &mut image, Random::keyed(&[key]));
        let expected: Vec<i32> = pixels.iter().map(|&class| class as i32).collect();
        assert_eq!(delivered(Some(Random::keyed(&[key]))), expected);
    }
    let output = feature.output().unwrap();
    let mut values = vec![0.0; 6 * 36];
    values[2 * 36] = 1.0;
    let Answer::Pixels(pixels) = output.answer(&values) else { panic!("no pixels") };
    assert_eq!(pixels[..2], [2, 0]);
    assert_eq!(output.truth(&Values::U8(numbers.clone()), 0), Answer::Pixels(plain));
}

#[test]
fn a_damaged_state_is_refused() {
    let cells = Cells::Arrays(Field::new("m", &[1, 2], Element::U8), vec![0u8, 1].into());
    let feature = fitted(&args(&[]), Path::new(""), &cells, &[0]).unwrap();
    let restored = restore(&args(&[]), &setting(Path::new("")), &feature.state()).unwrap();
    assert_eq!(restored.state(), feature.state());
    for (key, value) in [
        ("size", json!([0, 1])),
        ("code", json!("x")),
        ("ids", json!([1])),
        ("ids", json!([0, 70_000])),
        ("names", json!([1])),
    ] {
        let mut bad = feature.state();
        bad[key] = value;
        assert!(restore(&args(&[]), &setting(Path::new("")), &bad).is_err(), "{key} {bad}");
    }
}

#[test]
fn masks_are_recognised_by_their_name() {
    let guess = |name: &str| infer(&Column { name: name.into(), cells: names(&["a.png"]) });
    assert!(guess("mask_path").is_some());
    assert!(guess("image_path").is_none());
}
