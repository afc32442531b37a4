use super::*;
use crate::data::Rows;
use crate::features::Features;
use crate::summary::Summary;
use nerve_data::{Cells, Element, Field, Origin, Table};
use std::sync::LazyLock;

fn load(text: &str) -> Result<Recipe, Report> {
    Recipe::load(Source::new("r.toml", text), &[])
}

/// The recipe of the digits, with its loss and metrics written out.
fn mnist() -> String {
    let judged = "batch_size = 64\nloss = \"cross_entropy\"\nmetrics = [\"accuracy\"]";
    built_in("mnist").unwrap().text.replace("batch_size = 64", judged)
}

/// What is learned from ten pictures of the size of the digits.
static IMAGES: LazyLock<Features> = LazyLock::new(|| {
    let column = |field: Field, values| nerve_data::Column {
        name: field.name.clone(),
        cells: Cells::Arrays(field, values),
    };
    let pixels: Vec<u8> = (0..10 * 784).map(|i| (i % 251) as u8).collect();
    let image = column(Field::new("image", &[1, 28, 28], Element::U8), pixels.into());
    let labels: Vec<i32> = (0..10).collect();
    let label = column(Field::new("label", &[], Element::I32), labels.into());
    let table = Table::new(vec![image, label], Origin::default()).unwrap();
    Features::fit(&load(&mnist()).unwrap(), &Rows::all(table)).unwrap()
});

fn summary(recipe: &Recipe, memory: Option<u64>) -> Result<Summary, Report> {
    recipe.summary(&IMAGES, [54_000, 6_000, 10_000], memory)
}

/// The recipe of the digits with one line changed; the report, which must name the changed line.
fn broken(from: &str, to: &str) -> String {
    let text = mnist();
    assert!(text.contains(from), "{from}");
    let text = text.replacen(from, to, 1);
    let report = match load(&text) {
        Err(report) => report,
        Ok(recipe) => {
            let known = ["loss", "accuracy", "val_loss", "val_accuracy"].map(str::to_string);
            let fits = summary(&recipe, Some(8 << 30));
            fits.and_then(|_| recipe.check_scores(&known)).unwrap_err()
        }
    };
    report.to_string()
}

#[test]
fn the_built_in_recipe_is_the_network_of_the_tutorial() {
    let recipe = load(&mnist()).unwrap();
    let summary = summary(&recipe, None).unwrap();
    // 32*9+32 + 64*32*9+64 + 3136*512+512 + 512*10+10
    assert_eq!(summary.parameters(), 320 + 18_496 + 1_606_144 + 5_130);
    let shapes: Vec<_> = summary.rows.iter().map(|row| row.effect.shape.clone()).collect();
    assert_eq!(*shapes[0], [32, 28, 28]);
    assert_eq!(*shapes[3], [64, 7, 7]);
    assert_eq!(*shapes[4], [3136]);
    assert_eq!(*shapes[8], [10]);
    assert_eq!(summary.rows[0].effect.flops, 2 * 9 * 32 * 28 * 28);
    assert_eq!(summary.rows[2].effect.flops, 2 * 9 * 32 * 64 * 14 * 14);
    assert_eq!(recipe.seed(), 42);
    // Adam reads and writes the parameter and its two numbers, a gradient is written and read; nothing is looked up.
    assert_eq!(summary.update_bytes(), summary.parameters() * 4 * 8);
    assert_eq!(summary.gathered_bytes(), 0);
    assert!(
        summary.table().contains("2 Conv2d + relu  [64, 14, 14]      18,496    7.23"),
        "{}",
        summary.table()
    );
}

#[test]
fn resolved_fills_every_default_and_reads_back_as_the_same() {
    let recipe = load(&mnist()).unwrap();
    let text = recipe.resolved();
    let again = load(&text).unwrap();
    assert!(recipe.same(&again));
    assert_eq!(text, again.resolved());
    for line in
        ["split = { type = \"random\"", "schema = 1", "  { type = \"Dropout\", rate = 0.5 },"]
    {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    assert!(text.contains("stride = 1, padding = \"same\", dilation = 1"), "{text}");
}

#[test]
fn overrides_win_over_the_file_and_are_recorded() {
    let arguments = ["epochs=3", "lr=3e-4", "model.layers.6.units=100"].map(str::to_string);
    let recipe = Recipe::load(built_in("mnist").unwrap(), &arguments).unwrap();
    assert_eq!(recipe.trainer.int("epochs"), 3);
    assert_eq!(recipe.layers[6].args.int("units"), 100);
    let said: Vec<_> = recipe
        .overrides
        .iter()
        .map(|o| (o.path.as_str(), o.before.as_deref(), o.after.as_str()))
        .collect();
    assert_eq!(said[0], ("trainer.epochs", Some("5"), "3"));
    assert_eq!(said[1], ("trainer.optimizer.lr", Some("0.001"), "0.0003"));
    let bad = Recipe::load(built_in("mnist").unwrap(), &["epochs=-1".to_string()]).unwrap_err();
    let text = bad.to_string();
    assert!(text.contains("error[E2105]: `epochs` is -1"), "{text}");
    assert!(text.contains("command line, character 8\n | epochs=-1\n |        ^^"), "{text}");
}

#[test]
fn f01_unknown_keys_name_the_nearest_one() {
    let text = broken("epochs = 5", "epochss = 5");
    assert!(text.contains("error[E2103]: unknown key `epochss` in [trainer]"), "{text}");
    assert!(text.contains("--> r.toml:34:1"), "{text}");
    assert!(text.contains("^^^^^^^ did you mean `epochs`?"), "{text}");
    assert!(text.contains("allowed here: epochs, batch_size"), "{text}");
    let text = broken("lr = 1e-3", "learning_rte = 1e-3");
    assert!(text.contains("unknown key `learning_rte` in adam"), "{text}");
    assert!(text.contains("did you mean `learning_rate`?"), "{text}");
    let text = broken("[trainer]", "[trainr]");
    assert!(
        text.contains("unknown table [trainr]") && text.contains("did you mean `trainer`?"),
        "{text}"
    );
    let text = broken("seed = 42", "epochs = 42");
    assert!(text.contains("`epochs` belongs into [trainer]"), "{text}");
    let text = broken("epochs = 5", "validation = 0.1");
    assert!(text.contains("`validation` belongs into [data]"), "{text}");
    let text = broken("normalize = \"zscore\"", "normalise = \"zscore\"");
    assert!(text.contains("unknown key `normalise` in image"), "{text}");
    let text = broken("\"Flatten\"", "\"Flaten\"");
    assert!(text.contains("error[E2107]: unknown layer `Flaten`"), "{text}");
    assert!(text.contains("did you mean `Flatten`?"), "{text}");
}

#[test]
fn f02_wrong_types_say_expected_and_found() {
    let text = broken("epochs = 5", "epochs = \"five\"");
    assert!(text.contains("error[E2104]: `epochs` should be a whole number"), "{text}");
    assert!(text.contains("found the text \"five\""), "{text}");
    let text = broken("epochs = 5", "epochs = 5.0");
    assert!(text.contains("E2104"), "{text}");
    let text = broken("epochs = 5", "epochs = 2026-01-01");
    assert!(text.contains("found a date or time"), "{text}");
    let text = broken("optimizer = { type = \"adam\", lr = 1e-3 }", "optimizer = 3");
    assert!(text.contains("`optimizer` should be a name in quotes, or a table"), "{text}");
}

#[test]
fn f03_missing_keys_and_tables() {
    let text = broken("filters = 32, ", "");
    assert!(text.contains("error[E2106]: missing key `filters` in Conv2d"), "{text}");
    assert!(text.contains("r.toml:22:12"), "{text}");
    let text = load("seed = 1\n").unwrap_err().to_string();
    assert!(text.contains("missing table [data]"), "{text}");
    let text = broken("name = \"mnist\"", "");
    assert!(text.contains("[data] needs `name`, `path` or `train`"), "{text}");
    let text = broken("name = \"mnist\"", "name = \"mnist\"\ntrain = \"x\"");
    assert!(text.contains("E2109") && text.contains("`name` and `train` are both given"), "{text}");
}

#[test]
fn f04_ranges() {
    for (from, to) in [
        ("lr = 1e-3", "lr = 0"),
        ("lr = 1e-3", "lr = -1e-3"),
        ("lr = 1e-3", "lr = nan"),
        ("lr = 1e-3", "lr = inf"),
        ("batch_size = 64", "batch_size = 0"),
        ("epochs = 5", "epochs = -1"),
        ("rate = 0.5", "rate = 1.0"),
        ("kernel = 3", "kernel = 0"),
        ("validation = 0.1", "validation = 1"),
        ("seed = 42", "seed = -1"),
        ("seed = 42", "name = \"../x\""),
        ("seed = 42", "name = \"\""),
    ] {
        let text = broken(from, to);
        assert!(text.contains("error[E2105]"), "{to}: {text}");
    }
}

#[test]
fn the_precision_is_one_of_two() {
    assert_eq!(load(&mnist()).unwrap().trainer.text("precision"), "f32");
    let with =
        |word: &str| mnist().replace("epochs = 5", &format!("epochs = 5\nprecision = {word}"));
    let recipe = load(&with("\"bf16\"")).unwrap();
    assert_eq!(summary(&recipe, None).unwrap().precision, "bf16");
    for word in ["\"f16\"", "\"BF16\"", "16"] {
        let text = load(&with(word)).unwrap_err().to_string();
        assert!(text.contains("bf16"), "{word}: {text}");
    }
}

#[test]
fn f12_a_newer_format_says_which_version_is_needed() {
    let text = broken("schema = 1", "schema = 2\nfuture = true");
    assert!(text.contains("error[E2108]: this recipe is written in format 2"), "{text}");
    assert!(text.ends_with("1 problem found; nothing was started."), "{text}");
}

#[test]
fn f13_layers_that_do_not_fit_are_named_with_both_shapes() {
    let text = broken("  \"Flatten\",\n", "");
    assert!(
        text.contains("layer 5 (Dense) does not fit: it gets [64, 7, 7], it needs [features]"),
        "{text}"
    );
    assert!(text.contains("r.toml:27:12") && text.contains("put a Flatten before it"), "{text}");
    assert!(text.contains("layer 4 (Dropout) gives [64, 7, 7]"), "{text}");
    let text = broken("units = 10", "units = 12");
    assert!(text.contains("gives [12]; the 10 classes of the data need [10]"), "{text}");
    let text = broken("kernel = 3, padding = \"same\"", "kernel = 29");
    assert!(text.contains("layer 0 (Conv2d) does not fit: it gets [1, 28, 28]"), "{text}");
    assert!(text.contains("one example of the data is [1, 28, 28]"), "{text}");
    let text = broken("filters = 32", "groups = 2, filters = 32");
    assert!(text.contains("multiples of groups = 2"), "{text}");
}

#[test]
fn f14_a_model_without_end_is_refused_with_an_estimate() {
    let text = broken("units = 512", "units = 319000000");
    assert!(
        text.contains("error[E2111]: training needs about 14.9 TB, this machine has 8.00 GB"),
        "{text}"
    );
    assert!(text.contains("1,000,703,000,000 parameters"), "{text}");
    for huge in ["units = 1099511627776", "units = 1099511627776, bias = false"] {
        assert!(broken("units = 512", huge).contains("E2111"));
    }
}

#[test]
fn losses_that_cannot_compare_classes_and_models_without_parameters() {
    let text = broken("loss = \"cross_entropy\"", "loss = \"mse\"");
    assert!(text.contains("error[E2109]: the loss `mse` does not fit"), "{text}");
    let text = broken(
        "loss = \"cross_entropy\"",
        "loss = { type = \"cross_entropy\", class_weights = [1, 2], reduction = \"sum\" }",
    );
    assert!(text.contains("needs 10 class weights"), "{text}");
    let text = broken(
        "loss = \"cross_entropy\"",
        "loss = { type = \"cross_entropy\", reduction = \"none\" }",
    );
    assert!(text.contains("known: mean, sum"), "{text}");
    let text = mnist();
    let start = text.find("layers = [").unwrap();
    let end = text.find("]\n\n[trainer]").unwrap();
    let text = format!("{}layers = [\"Flatten\"{}", &text[..start], &text[end..]);
    let head = summary(&load(&text).unwrap(), None).unwrap();
    assert_eq!((head.rows.len(), head.parameters()), (2, 7850), "the output adds its own layer");
    let text = text.replace("\"cross_entropy\"", "\"triplet\"").replace("[\"accuracy\"]", "[]");
    let report = summary(&load(&text).unwrap(), None).unwrap_err().to_string();
    assert!(report.contains("there is nothing to train"), "{report}");
}

#[test]
fn embeddings_need_no_output_for_each_class_and_metrics_of_their_own() {
    let text = mnist()
        .replace("loss = \"cross_entropy\"", "loss = \"triplet\"")
        .replace("units = 10", "units = 16");
    let report = summary(&load(&text).unwrap(), None).unwrap_err().to_string();
    assert!(report.contains("the metric `accuracy` does not fit"), "{report}");
    let none = text.replace("metrics = [\"accuracy\"]", "metrics = []");
    let recipe = load(&none).unwrap();
    assert_eq!(*summary(&recipe, None).unwrap().rows.last().unwrap().effect.shape, [16]);
}

#[test]
fn all_problems_come_in_one_report() {
    let text = mnist()
        .replace("epochs = 5", "epochss = 5")
        .replace("batch_size = 64", "batch_size = 0")
        .replace("filters = 32", "filters = \"many\"")
        .replace("zscore", "zcore")
        .replace("seed = 42", "sead = 42");
    let report = load(&text).unwrap_err();
    let codes: Vec<_> = report.problems.iter().map(|p| p.code.number()).collect();
    assert_eq!(codes, ["E2103", "E2107", "E2104", "E2103", "E2105"]);
    assert!(report.to_string().ends_with("5 problems found; nothing was started."));
}

#[test]
fn mutated_recipes_are_never_accepted_silently() {
    // Each key of the recipe, one letter doubled: the word is unknown, and the report says so.
    let text = mnist();
    let mut tried = 0;
    for (at, _) in text.match_indices(" = ") {
        let before = &text[..at];
        let start = before.rfind([' ', '\n', '{']).map_or(0, |i| i + 1);
        let line = before.rfind('\n').map_or(0, |i| i + 1);
        if before[line..].contains('#') {
            continue;
        }
        let key = &text[start..at];
        let broken = format!("{}{}{}", &text[..start], &key[..1], &text[start..]);
        let report = load(&broken).unwrap_err();
        assert!(
            report.problems.iter().any(|p| p.code == Code::UnknownKey || p.code == Code::Missing),
            "{key}: {report}"
        );
        tried += 1;
    }
    assert!(tried > 25, "{tried}");
}

#[test]
fn random_mutations_end_in_a_recipe_or_a_report() {
    let text = mnist();
    let mut state = 1u64;
    let mut next = |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % n.max(1)
    };
    let words =
        ["-1", "nan", "1e400", "[]", "{}", "\"\"", "true", "99999999999999999999", "'''", "="];
    let mut accepted = 0;
    for _ in 0..400 {
        let mut lines: Vec<String> = text.lines().map(str::to_string).collect();
        for _ in 0..1 + next(3) {
            let at = next(lines.len());
            match next(4) {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[next(lines.len())].clone()),
                2 => lines.swap(at, next(text.lines().count() - 5)),
                _ => {
                    if let Some((key, _)) = lines[at].clone().split_once('=') {
                        lines[at] = format!("{key}= {}", words[next(words.len())]);
                    }
                }
            }
        }
        match load(&lines.join("\n")) {
            Ok(recipe) => {
                accepted += 1;
                assert!(load(&recipe.resolved()).unwrap().same(&recipe));
                let _ = summary(&recipe, Some(1 << 30));
            }
            Err(report) => {
                assert!(!report.problems.is_empty());
                assert!(report.to_string().contains("nothing was started"));
                assert!(report.to_json().is_array());
            }
        }
    }
    assert!(accepted > 20, "{accepted}: the mutations are too wild to test what is accepted");
}

#[test]
fn the_trainer_takes_schedules_groups_and_wrappers() {
    let text = mnist().replace(
        "optimizer = { type = \"adam\", lr = 1e-3 }",
        "optimizer = { type = \"adamw\", lr = 1e-3 }
schedule = { type = \"sequence\", parts = [{ type = \"warmup\", steps = 100 }, \"cosine\"], at = [100] }
clip = 1.0
groups = [
  { type = \"vectors\", weight_decay = 0.0 },
  { type = \"paths\", paths = [\"0\"], lr_factor = 0.1, regularizer = \"l2\", constraint = \"max_norm\" },
]
wrap = [{ type = \"accumulate\", batches = 2 }, { type = \"ema\", decay = 0.9 }]",
    );
    let recipe = load(&text).unwrap();
    assert!(recipe.same(&load(&recipe.resolved()).unwrap()));
    let summary = summary(&recipe, None).unwrap();
    assert_eq!(summary.slots, 2 + 2, "two moments, sums and averages");
    let params = nerve_nn::Params::new(1);
    params.at(0).var("weight", [4, 3], &nerve_nn::init::Zeros);
    params.at(0).var("bias", [4], &nerve_nn::init::Zeros);
    params.at(1).var("weight", [4, 3], &nerve_nn::init::Zeros);
    let optimizer = recipe.optimizer(&params).unwrap();
    let blocks = optimizer.core().blocks();
    let names: Vec<&str> = blocks.iter().map(|block| block.arena().parts()[0].name()).collect();
    assert_eq!(names, ["1.weight", "0.bias", "0.weight"]);
    // The wrappers are in place whatever their order: the sums are the last that is kept.
    let slots = optimizer.slots();
    let order = |name: &str| slots.iter().position(|slot| slot.name().starts_with(name)).unwrap();
    assert!(order("exp_avg.") < order("average.") && order("average.") < order("gradient_sum."));
    let nobody = recipe.optimizer(&nerve_nn::Params::new(1)).err().unwrap().to_string();
    assert!(nobody.contains("nothing to train"), "{nobody}");
}

#[test]
fn a_schedule_that_cannot_be_followed_says_so() {
    let with = |schedule: &str| {
        broken(
            "loss = \"cross_entropy\"",
            &format!("loss = \"cross_entropy\"\nschedule = {schedule}"),
        )
    };
    let text = with("{ type = \"plateau\", metric = \"val_acuracy\" }");
    assert!(text.contains("the schedule follows `val_acuracy`"), "{text}");
    assert!(text.contains("did you mean `val_accuracy`?"), "{text}");
    let text = with("{ type = \"piecewise\", at = [1, 2], rates = [0.1] }");
    assert!(text.contains("`piecewise` has 1 rates, and 2 in `at`"), "{text}");
    let text = with("{ type = \"sequence\", parts = [\"cosine\", \"plateu\"], at = [3] }");
    assert!(text.contains("did you mean `plateau`?"), "{text}");
    let text = with("{ type = \"sequence\", parts = [\"cosine\"], at = [3] }");
    assert!(text.contains("`sequence` has 1 parts, and 1 in `at`"), "{text}");
    let text = with("{ type = \"cosine\", warmup = 1.5 }");
    assert!(text.contains("warmup"), "{text}");
}

#[test]
fn a_network_of_the_zoo_is_a_model_by_itself() {
    let text = mnist();
    let (start, rest) = text.split_once("[model]").unwrap();
    let end = rest.find("\n[trainer]").map_or("", |at| &rest[at..]);
    let zoo = format!("{start}[model]\ntype = \"LeNet5\"\nclasses = 10\n{end}");
    let recipe = load(&zoo).unwrap();
    let summary = summary(&recipe, None).unwrap();
    assert_eq!(summary.parameters(), 61_706);
    assert!(recipe.same(&load(&recipe.resolved()).unwrap()), "{}", recipe.resolved());
    // Its parameters have its own names.
    let params = nerve_nn::Params::new(1);
    let input = nerve_core::Shape::from([1, 28, 28]);
    nerve_nn::layers::Sequential::from_items(&recipe.layers, &input, &params).unwrap();
    assert_eq!(params.all()[0].path(), "conv1.weight");

    let report = load(&zoo.replace("LeNet5", "LeNet6")).err().unwrap().to_string();
    assert!(report.contains("unknown network `LeNet6`"), "{report}");
    let report = load(&zoo.replace("classes", "clases")).err().unwrap().to_string();
    assert!(report.contains("unknown key `clases` in LeNet5"), "{report}");
}

#[test]
fn layers_have_a_short_form() {
    let long = load(&mnist()).unwrap();
    let text = mnist();
    let (start, rest) = text.split_once("layers = [").unwrap();
    let end = rest.split_once("]\n").unwrap().1;
    let short = format!(
        "{start}layers = [\"Conv2D(32, 3, relu, same)\", \"MaxPooling2D(2)\", \
         \"Conv2d(64, kernel = 3, padding = same, activation = relu)\", \"MaxPool2d(pool=2)\", \
         \"Flatten\", \"Dropout(0.5)\", \"Dense(512, relu)\", \"Dropout(0.5)\", \"Dense(10)\"]\n{end}"
    );
    assert_eq!(load(&short).unwrap().layers, long.layers);
    let why = |from: &str, to: &str| load(&short.replace(from, to)).unwrap_err().to_string();
    let text = why("Dense(512, relu)", "Dense(512, rellu)");
    assert!(text.contains("expected a value for one of"), "{text}");
    let text = why("Dense(512, relu)", "Dense(512, unit = 3)");
    assert!(text.contains("unknown key `unit` in Dense"), "{text}");
    let text = why("Dense(512, relu)", "Dense(512, relu");
    assert!(text.contains("expected `,` or `)` at character 16, found the end"), "{text}");
    let text = why("Dense(512, relu)", "Dens(512)");
    assert!(text.contains("unknown layer `Dens`"), "{text}");
}
