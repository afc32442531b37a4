use super::*;
use crate::source::Source;
use nerve_formats::{Idx, IdxData, write_idx};
use std::path::Path;

const MODEL: &str = "[model]\nlayers = [\"Flatten\", { type = \"Dense\", units = 3 }]\n";

/// A folder with 12 images of 2 x 3 in 3 classes, and 3 for the test.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, dims: &[usize], data: Vec<u8>| {
        let idx = Idx { dims: dims.to_vec(), data: IdxData::U8(data) };
        write_idx(folder.path().join(name), &idx).unwrap();
    };
    write("train-images-idx3-ubyte", &[12, 2, 3], (0..72).collect());
    write("train-labels-idx1-ubyte", &[12], (0..12).map(|i| i % 3).collect());
    write("test-images.gz", &[3, 2, 3], vec![9; 18]);
    write("test-labels.gz", &[3], vec![0, 1, 2]);
    folder
}

fn recipe(folder: &Path, data: &str) -> Recipe {
    let path = folder.join("recipe.toml");
    std::fs::write(&path, format!("[data]\n{data}\n{MODEL}")).unwrap();
    Recipe::load(Source::read(&path).unwrap(), &[]).unwrap()
}

/// The recipe with its columns described, and the data.
fn prepared(recipe: &Recipe) -> (Recipe, Data) {
    let tables = recipe.tables().unwrap();
    let recipe = recipe.described(&tables.train.table).unwrap();
    let data = recipe.prepare(&tables).unwrap();
    (recipe, data)
}

/// The class of each example of a part.
fn classes(data: &Data, part: &Part) -> Vec<i32> {
    nerve_data::labels(
        &**part.dataset().unwrap(),
        "label",
        data.features.outputs[0].head().shape[0],
    )
    .unwrap()
}

#[test]
fn idx_files_are_found_from_the_recipe_and_split() {
    let folder = folder();
    let text = "train = \"train-images-idx3-ubyte\"\ntest = \"test-images.gz\"\n\
                validation = 0.25\nsplit = { type = \"stratify\", column = \"label\" }";
    let (recipe, data) = prepared(&recipe(folder.path(), text));
    assert_eq!(data.examples(), [9, 3, 3]);
    let feeds = data.features.feeds();
    assert_eq!((feeds.len(), &feeds[0].shape[..]), (1, &[1, 2, 3][..]));
    let mut seen = classes(&data, data.validation.as_ref().unwrap());
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2]);
    let pipeline = data.features.pipeline(data.train.fields(), true).unwrap();
    assert_eq!(pipeline.output_fields()[0].element, nerve_data::Element::F32);
    // The resolved recipe finds them from anywhere.
    let again = Recipe::load(Source::new("resolved", recipe.resolved()), &[]).unwrap();
    assert!(again.same(&recipe));
    assert_eq!(prepared(&again).1.examples(), [9, 3, 3]);
}

#[test]
fn the_digits_are_those_of_the_catalogue() {
    let recipe = Recipe::load(crate::built_in("mnist").unwrap(), &[]).unwrap();
    let (_, data) = prepared(&recipe);
    assert_eq!(data.examples(), [54_000, 6_000, 10_000]);
    assert_eq!(data.features.outputs[0].head().shape, [10]);
}

#[test]
fn what_was_learned_comes_back_from_its_state() {
    let folder = folder();
    let (recipe, data) = prepared(&recipe(folder.path(), "train = \"train-images-idx3-ubyte\""));
    let state = data.features.state();
    let again = Features::restore(&recipe, &state, folder.path()).unwrap();
    assert_eq!(again.state(), state);
    assert_eq!(again.feeds(), data.features.feeds());
    let error = Features::restore(&recipe, &serde_json::json!({}), folder.path()).unwrap_err();
    assert!(error.to_string().starts_with("column `image`"), "{error}");
}

#[test]
fn data_that_do_not_fit_name_the_file() {
    let folder = folder();
    let error = |text: &str| {
        let recipe = recipe(folder.path(), text);
        let tables = recipe.tables();
        let error =
            tables.and_then(|tables| recipe.described(&tables.train.table)?.prepare(&tables));
        let error = error.err().unwrap().to_string();
        error.replace(&format!("{}/", folder.path().display()), "")
    };
    assert!(error("train = \"none-images\"").contains("none-images"));
    assert!(error("train = \"x.bin\"").contains("x.bin"));
    let wrong = "train = \"train-images-idx3-ubyte\"\nlabels = \"test-labels.gz\"";
    assert!(error(wrong).contains("expected 12 samples"), "{}", error(wrong));
}

#[test]
fn rows_that_are_left_out_are_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.csv"), "a,b\n1,x\n,y\n2,y\n3,x\n").unwrap();
    let path = folder.path().join("r.toml");
    let text = "[data]\npath = \"t.csv\"\nvalidation = 0.0\n\
                [[input]]\nname = \"a\"\ntype = \"number\"\nmissing = \"drop\"\n\
                [[output]]\nname = \"b\"\ntype = \"category\"\n";
    std::fs::write(&path, text).unwrap();
    let recipe = Recipe::load(Source::read(&path).unwrap(), &[]).unwrap();
    let (_, data) = prepared(&recipe);
    assert_eq!(data.examples(), [3, 0, 0]);
    assert_eq!(data.notes()[0], "1 of 4 rows are left out: no `a`");
}

#[test]
fn i10_bad_rows_are_left_out_as_many_as_are_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let picture = |name: &str, bytes: &[u8]| {
        std::fs::create_dir_all(folder.path().join("p").join(&name[..1])).unwrap();
        std::fs::write(folder.path().join("p").join(name), bytes).unwrap();
    };
    let shades = [0u8, 40, 80, 120];
    let shipped: Vec<Vec<u8>> =
        shades.iter().map(|&shade| nerve_train::picture::encode(1, 4, 4, &[shade; 16])).collect();
    for (i, bytes) in shipped.iter().enumerate() {
        picture(&format!("a/{i}.png"), bytes);
        picture(&format!("b/{i}.png"), bytes);
    }
    picture("a/5.png", &shipped[1][..40]);
    picture("b/6.png", b"no picture");
    let load = |bad: &str| recipe(folder.path(), &format!("path = \"p\"\nvalidation = 0.0\n{bad}"));
    let (_, data) = prepared(&load("skip_bad = 2"));
    assert_eq!(data.examples(), [8, 0, 0]);
    let notes = data.notes();
    assert!(notes[0].starts_with("left out: a/5.png, column `image`"), "{notes:?}");
    assert!(notes[1].starts_with("left out: b/6.png, column `image`"), "{notes:?}");
    let error = load("skip_bad = 1").tables().unwrap_err().to_string();
    assert!(error.starts_with("b/6.png"), "{error}");
}

#[test]
fn examples_count_what_the_recipe_says() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String =
        (0..8).map(|i| format!("{i},{},{}\n", ["x", "y"][usize::from(i > 5)], i + 1)).collect();
    std::fs::write(folder.path().join("t.csv"), format!("a,b,w\n{rows}")).unwrap();
    let path = folder.path().join("r.toml");
    let text = "[data]\npath = \"t.csv\"\nvalidation = 0.0\nweights = \"w\"\n\
                [[input]]\nname = \"a\"\ntype = \"number\"\n\
                [[output]]\nname = \"b\"\ntype = \"category\"\nclass_weights = \"balanced\"\n";
    std::fs::write(&path, text).unwrap();
    let recipe = Recipe::load(Source::read(&path).unwrap(), &[]).unwrap();
    let (_, data) = prepared(&recipe);
    let mut weights = Vec::new();
    nerve_data::for_each_sample(&**data.train.dataset().unwrap(), |_, sample| {
        weights.push(sample.last().unwrap().f32()[0]);
        Ok(())
    })
    .unwrap();
    // 8 / (2 × 6) for the six, 8 / (2 × 2) for the two, times 1 to 8.
    let share = |i: usize| if i > 5 { 2.0 } else { 8.0f32 / 12.0 };
    let expected: Vec<f32> = (0..8).map(|i| (i + 1) as f32 * share(i)).collect();
    assert_eq!(weights, expected);
}

#[test]
fn all_files_of_a_recipe_start_from_its_folder() {
    let text = "[data]\npath = \"sounds\"\n\
                [[input]]\nname = \"t\"\ntype = \"text\"\n\
                tokenizer = { type = \"file\", path = \"words/tokenizer.json\" }\n\
                [[input]]\nname = \"s\"\ntype = \"audio\"\n\
                augment = [\"AddNoise\", { type = \"MixNoise\", folder = \"noise\" }]\n\
                [[output]]\nname = \"y\"\ntype = \"binary\"\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.toml");
    std::fs::write(&path, text).unwrap();
    let recipe = Recipe::load(Source::read(&path).unwrap(), &[]).unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let tokenizer = recipe.inputs[0].feature.args.item("tokenizer");
    assert_eq!(tokenizer.args.text("path"), at("words/tokenizer.json"));
    let augment = crate::recipe::items(&recipe.inputs[1].feature.args, "augment");
    assert_eq!(augment[1].args.text("folder"), at("noise"));
    let again = Recipe::load(Source::new("resolved", recipe.resolved()), &[]).unwrap();
    assert!(again.same(&recipe));
}

#[test]
fn rows_of_a_table_are_disturbed_in_training_alone() {
    let folder = tempfile::tempdir().unwrap();
    let row = |i: usize| format!("{i},{},{},{i}\n", i * 2, ["x", "y"][i % 2]);
    let rows: String = (0..64).map(row).collect();
    std::fs::write(folder.path().join("t.csv"), format!("a,b,k,y\n{rows}")).unwrap();
    let path = folder.path().join("r.toml");
    let text = "[data]\npath = \"t.csv\"\nvalidation = 0.0\n\
                [[input]]\nname = \"a\"\ntype = \"number\"\n\
                [[input]]\nname = \"b\"\ntype = \"number\"\n\
                augment = [\"NumberNoise(0.1)\", \"SwapNoise(0.2)\"]\n\
                [[input]]\nname = \"k\"\ntype = \"category\"\nmask = 0.0\n\
                augment = [\"SwapNoise(0.5)\"]\n\
                [[output]]\nname = \"y\"\ntype = \"number\"\n";
    std::fs::write(&path, text).unwrap();
    let (_, data) = prepared(&Recipe::load(Source::read(&path).unwrap(), &[]).unwrap());
    let batch = |training: bool| {
        let pipeline = data.features.pipeline(data.train.fields(), training).unwrap();
        let options = nerve_data::LoaderOptions { batch_size: 64, ..Default::default() };
        let dataset = data.train.dataset().unwrap().clone();
        let loader = nerve_data::Loader::new(dataset, options).unwrap();
        let batch = loader.with_pipeline(pipeline).unwrap().epoch(0, 0).next().unwrap().unwrap();
        let arrays = batch.arrays();
        (arrays[0].f32().to_vec(), arrays[1].i32().to_vec(), arrays[2].f32().to_vec())
    };
    let (used, trained) = (batch(false), batch(true));
    let column = |values: &[f32], at: usize| -> Vec<f32> {
        values.iter().skip(at).step_by(2).copied().collect()
    };
    assert_eq!(column(&used.0, 0), column(&trained.0, 0), "`a` is left alone");
    let pairs = column(&used.0, 1).into_iter().zip(column(&trained.0, 1));
    assert!(pairs.clone().all(|(a, b)| a != b));
    assert!((40..64).contains(&pairs.filter(|(a, b)| (a - b).abs() < 0.4).count()));
    assert_ne!(used.1, trained.1);
    assert_eq!(used.2, trained.2, "and so are the truths");
    assert_eq!(batch(true), trained);
    let text = std::fs::read_to_string(&path).unwrap() + "augment = [\"NumberNoise\"]\n";
    std::fs::write(&path, text).unwrap();
    let recipe = Recipe::load(Source::read(&path).unwrap(), &[]).unwrap();
    let error = recipe.read().err().unwrap().to_string();
    assert!(error.contains("`augment` is for inputs"), "{error}");
}
