//! Training, evaluating and predicting with the binary, on small pictures made here: each shows a
//! bright stripe on dark, and its class is where the stripe is. Some hundred milliseconds each.
#![allow(missing_docs)]

mod common;

use common::{Ran, command, folder, nerve, shell};
use nerve::formats::{Idx, IdxData, write_idx};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const RECIPE: &str = "\
# stripes
seed = 7
[data]
train = \"train-images\"
test = \"test-images\"
validation = 0.2
[model]
layers = [
  { type = \"Conv2d\", filters = 4, kernel = 3, padding = \"same\", activation = \"relu\" },
  \"MaxPool2d\",
  \"Flatten\",
  { type = \"Dropout\", rate = 0.1 },
  { type = \"Dense\", units = 3 },
]
[trainer]
epochs = 4
batch_size = 16
optimizer = { type = \"adam\", lr = 0.02 }
";

/// A picture of 8 x 8 with a stripe in rows 1, 3 or 6, and some noise that depends on `number`.
fn stripe(class: usize, number: usize) -> Vec<u8> {
    let row = [1, 3, 6][class];
    (0..64).map(|i| if i / 8 == row { 200 } else { (i * 37 + number * 91) as u8 % 40 }).collect()
}

fn write(folder: &Path, part: &str, count: usize) {
    let pixels: Vec<u8> = (0..count).flat_map(|i| stripe(i % 3, i)).collect();
    let labels: Vec<u8> = (0..count).map(|i| (i % 3) as u8).collect();
    let save = |name: &str, dims: Vec<usize>, data: Vec<u8>| {
        let idx = Idx { dims, data: IdxData::U8(data) };
        write_idx(folder.join(format!("{part}-{name}")), &idx).unwrap();
    };
    save("images", vec![count, 8, 8], pixels);
    save("labels", vec![count], labels);
}

/// A folder with data and a recipe, `stripes.toml`.
fn stripes() -> tempfile::TempDir {
    let here = folder();
    write(here.path(), "train", 240);
    write(here.path(), "test", 60);
    fs::write(here.path().join("stripes.toml"), RECIPE).unwrap();
    here
}

fn trained() -> tempfile::TempDir {
    let here = stripes();
    nerve(here.path(), &["train", "stripes.toml"]).ends(0);
    here
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

fn png(folder: &Path, name: &str, pixels: &[u8], side: u32) {
    let picture = image::GrayImage::from_raw(8, 8, pixels.to_vec()).unwrap();
    let picture =
        image::imageops::resize(&picture, side, side, image::imageops::FilterType::Nearest);
    picture.save(folder.join(name)).unwrap();
}

/// Names of what is in a folder, sorted.
fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .map(|entries| entries.map(|e| e.unwrap().file_name().to_string_lossy().into()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

#[test]
fn a_training_leaves_a_run_that_can_be_evaluated() {
    let here = stripes();
    let ran = nerve(here.path(), &["train", "stripes.toml", "--json"]).ends(0);
    let result = json(&ran);
    assert_eq!(result["run"], "runs/stripes");
    assert_eq!(result["epochs"], 4);
    assert_eq!(result["steps"], 4 * 12);
    assert!(result["test_accuracy"].as_f64().unwrap() > 0.95, "{result}");
    let run = here.path().join("runs/stripes");
    assert_eq!(
        entries(&run),
        [
            ".lock",
            "MODEL_CARD.md",
            "checkpoints",
            "config.toml",
            "env.json",
            "eval",
            "events.jsonl",
            "log.txt",
            "metrics.csv",
            "model.json",
            "model.safetensors",
            "resolved.toml",
            "state.json"
        ]
    );
    assert_eq!(fs::read_to_string(run.join("config.toml")).unwrap(), RECIPE);
    let history = fs::read_to_string(run.join("metrics.csv")).unwrap();
    let lines: Vec<&str> = history.lines().collect();
    assert_eq!(lines[0], "epoch,step,time_s,lr,loss,accuracy,val_loss,val_accuracy");
    assert_eq!(lines.len(), 5);
    let environment: Value =
        serde_json::from_str(&fs::read_to_string(run.join("env.json")).unwrap()).unwrap();
    assert_eq!(environment["rows"]["validation"], 48);
    // What the terminal said, line by line.
    let log = fs::read_to_string(run.join("log.txt")).unwrap();
    assert!(log.starts_with("nerve ") && log.contains("run runs/stripes"), "{log}");
    let epochs = |text: &str| text.lines().filter(|line| line.starts_with("Epoch ")).count();
    assert_eq!((epochs(&log), epochs(&ran.err)), (4, 4), "{log}");
    let card = fs::read_to_string(run.join("MODEL_CARD.md")).unwrap();
    assert!(
        card.contains("| rows for validation | 48 |") && card.contains("| accuracy |"),
        "{card}"
    );
    assert_eq!(nerve(here.path(), &["card", "latest"]).ends(0).out, card);
    let judged = fs::read_to_string(run.join("eval/validation.json")).unwrap();
    let judged: Value = serde_json::from_str(&judged).unwrap();
    assert_eq!(judged["bootstrap"]["resamples"], 1000, "{judged}");

    // The same figure from the file alone, from another folder, by path.
    let elsewhere = folder();
    let run = run.to_string_lossy();
    let judged = json(&nerve(elsewhere.path(), &["evaluate", &run, "--json"]).ends(0));
    assert_eq!(judged["accuracy"], result["test_accuracy"]);
    // The one is the mean of what was minimised, the other that of the logarithms of the probabilities that are told.
    let loss = |value: &Value| value.as_f64().unwrap();
    assert!((loss(&judged["loss"]) - loss(&result["test_loss"])).abs() < 1e-6);
    assert_eq!(judged["examples"], 60);
    let text = nerve(here.path(), &["evaluate", "stripes"]).ends(0);
    assert!(text.out.contains("baseline") && text.out.contains("60 (test)"), "{}", text.out);
}

#[test]
fn the_same_seed_gives_the_same_bits_with_one_and_two_threads_and_from_the_resolved_recipe() {
    let here = stripes();
    let train = |recipe: &str, name: &str, more: &[&str]| {
        nerve(
            here.path(),
            &[&["train", recipe, "--name", name, "--progress", "off"], more].concat(),
        )
        .ends(0);
        fs::read(here.path().join("runs").join(name).join("model.safetensors")).unwrap()
    };
    let one = train("stripes.toml", "one", &["--threads", "1"]);
    assert!(one == train("stripes.toml", "two", &["--threads", "2"]), "threads change the bits");
    assert!(one == train("runs/one/resolved.toml", "again", &[]), "resolved trains differently");
    assert!(one != train("stripes.toml", "other", &["seed=8"]), "the seed has no effect");
}

#[test]
fn pictures_are_recognised() {
    let here = trained();
    for class in 0..3 {
        png(here.path(), &format!("{class}.png"), &stripe(class, 1000 + class), 8);
    }
    png(here.path(), "large.png", &stripe(2, 5), 32);
    let light: Vec<u8> = stripe(1, 5).iter().map(|p| 255 - p).collect();
    png(here.path(), "light.png", &light, 8);
    let ran = nerve(here.path(), &["predict", "stripes", "0.png", "1.png", "2.png"]).ends(0);
    let lines: Vec<&str> = ran.out.lines().collect();
    for (class, line) in lines.iter().enumerate() {
        assert!(line.starts_with(&format!("{class}.png  {class} ")), "{line}");
    }
    assert_eq!(ran.err, "");
    let ran = nerve(here.path(), &["predict", "stripes", "large.png"]).ends(0);
    assert!(ran.out.starts_with("large.png  2 "), "{}", ran.out);
    ran.says("resized from 32");
    nerve(here.path(), &["predict", "stripes", "light.png"]).ends(0).says("--invert");
    let ran =
        nerve(here.path(), &["predict", "stripes", "light.png", "--invert", "--json"]).ends(0);
    let answer = json(&ran);
    assert_eq!(answer[0]["classes"][0]["label"], "1");
    assert!(answer[0]["classes"][0]["probability"].as_f64().unwrap() > 0.5);
    assert_eq!(ran.err, "");
}

#[test]
fn one_damaged_picture_does_not_hide_the_others() {
    let here = trained();
    png(here.path(), "good.png", &stripe(0, 3), 8);
    let bytes = fs::read(here.path().join("good.png")).unwrap();
    fs::write(here.path().join("cut.png"), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(here.path().join("text.png"), "not a picture").unwrap();
    let pictures = ["cut.png", "good.png", "text.png", "none.png"];
    let args: Vec<&str> = ["predict", "stripes"].into_iter().chain(pictures).collect();
    let ran = nerve(here.path(), &args).ends(3);
    assert!(ran.out.starts_with("good.png  0 ") && ran.out.lines().count() == 1, "{}", ran.out);
    ran.says("cut.png").says("text.png").says("none.png");
}

#[test]
fn runs_are_numbered_and_never_overwritten() {
    let here = stripes();
    let quick = ["train", "stripes.toml", "epochs=1", "--progress", "off"];
    nerve(here.path(), &quick).ends(0);
    let first = fs::read(here.path().join("runs/stripes/model.safetensors")).unwrap();
    let second = nerve(here.path(), &quick).ends(0);
    assert!(second.out.contains("runs/stripes-2"), "{}", second.out);
    assert_eq!(fs::read(here.path().join("runs/stripes/model.safetensors")).unwrap(), first);
    nerve(here.path(), &[&quick[..], &["--name", "mine"]].concat()).ends(0);
    nerve(here.path(), &[&quick[..], &["name=his"]].concat()).ends(0);
    nerve(here.path(), &[&quick[..], &["--runs", "elsewhere"]].concat()).ends(0);
    assert_eq!(
        entries(&here.path().join("runs")),
        ["his", "latest", "mine", "stripes", "stripes-2"]
    );
    assert_eq!(entries(&here.path().join("elsewhere")), ["latest", "stripes"]);
    for name in ["../up", "", "a/b", ".hidden"] {
        nerve(here.path(), &[&quick[..], &["--name", name]].concat()).ends(2).says("name").quiet();
    }
}

#[test]
fn what_goes_on_keeps_its_recipe_and_its_data() {
    let here = stripes();
    let train = ["train", "stripes.toml", "epochs=2"];
    nerve(here.path(), &train).ends(0);
    nerve(here.path(), &["resume", "stripes"]).ends(0).says("is at its end");
    let ran = nerve(here.path(), &["resume", "stripes", "lr=0.5", "batch=8"]).ends(2).quiet();
    ran.says("trainer.optimizer.lr = 0.5 (was 0.02)").says("trainer.batch_size = 8 (was 16)");
    // As many epochs as if it had been asked for them at once.
    nerve(here.path(), &["train", "stripes.toml", "epochs=4", "--name", "whole"]).ends(0);
    let ran = nerve(here.path(), &["train", "stripes.toml", "epochs=4", "--resume"]).ends(0);
    ran.says("goes on after step 24, in epoch 3").says("changed: trainer.epochs = 4 (was 2)");
    let model =
        |name: &str| fs::read(here.path().join("runs").join(name).join("model.safetensors"));
    assert!(model("stripes").unwrap() == model("whole").unwrap());
    // K15: the newest checkpoint is damaged, the one before is taken.
    let checkpoints = here.path().join("runs/stripes/checkpoints");
    let last = entries(&checkpoints).pop().unwrap();
    fs::write(checkpoints.join(last).join("state.safetensors"), "torn").unwrap();
    let ran = nerve(here.path(), &["resume", "stripes", "epochs=5"]).ends(0);
    ran.says("is damaged").says("passed over").says("goes on after step");
    // K21: other data.
    write(here.path(), "train", 243);
    let ran = nerve(here.path(), &["resume", "stripes", "epochs=9"]).ends(3).quiet();
    ran.says("the data have changed");
    nerve(here.path(), &["resume", "nothing"]).ends(2).says("there are stripes");
}

#[test]
fn x29_two_processes_do_not_train_in_one_folder() {
    let here = stripes();
    let child = endless(here.path());
    nerve(here.path(), &["resume", "stripes"]).ends(2).says("another process trains in it").quiet();
    signal(&child, "INT");
    Ran::of(child.wait_with_output().unwrap()).ends(130);
}

#[test]
fn x13_a_run_folder_that_cannot_be_written() {
    let here = stripes();
    fs::write(here.path().join("runs"), "a file").unwrap();
    let ran = nerve(here.path(), &["train", "stripes.toml"]).ends(1).quiet();
    ran.says("cannot create the run folder `runs`");
    assert_eq!(fs::read_to_string(here.path().join("runs")).unwrap(), "a file");
    if cfg!(target_os = "linux") {
        let ran = nerve(here.path(), &["train", "stripes.toml", "--runs", "/proc/runs"]).ends(1);
        ran.says("cannot create the run folder `/proc/runs`");
    }
}

/// A limit on the size of files is met like a full disk: writing fails, everything else goes on.
#[test]
fn x12_k11_a_full_disk_is_known_before_the_first_step_and_leaves_no_half_files() {
    let here = stripes();
    // Room for the recipe, none for a checkpoint.
    let wide = "model.layers.0.filters=64";
    let line = format!("trap '' XFSZ; ulimit -f 8; nerve train stripes.toml {wide} epochs=2");
    let ran = shell(here.path(), &line).ends(1).quiet().says("state.safetensors: cannot write");
    assert!(!ran.err.contains("Epoch"), "{}", ran.err);
    let run = here.path().join("runs/stripes");
    assert_eq!(entries(&run.join("checkpoints")), [] as [&str; 0]);
    assert!(!run.join("model.safetensors").exists());
    let state: Value = serde_json::from_slice(&fs::read(run.join("state.json")).unwrap()).unwrap();
    assert_eq!((&state["status"], &state["exit_code"]), (&json!("failed"), &json!(1)));
    // No room at all: not even a folder is left.
    let line = "trap '' XFSZ; ulimit -f 0; nerve train stripes.toml --runs full";
    shell(here.path(), line).ends(1).quiet().says("cannot write");
    assert!(!here.path().join("full").exists());
}

#[test]
fn x20_a_training_that_diverges_ends_with_5() {
    let here = stripes();
    let args = ["train", "stripes.toml", "optimizer=sgd", "lr=1e30"];
    let ran = nerve(here.path(), &args).ends(5).quiet();
    ran.says("training diverged: the loss is").says("at step ").says("learning rate");
    assert!(!here.path().join("runs/stripes/model.safetensors").exists());
}

#[test]
fn x22_x23_data_that_are_damaged_or_do_not_fit_end_with_3_and_leave_no_run() {
    let here = stripes();
    let images = here.path().join("train-images");
    let good = fs::read(&images).unwrap();
    fs::write(&images, &good[..good.len() - 100]).unwrap();
    nerve(here.path(), &["train", "stripes.toml"]).ends(3).quiet().says("train-images");
    fs::write(&images, &good).unwrap();
    let input = "input=[{ name = \"image\", type = \"image\" }]";
    let output = "output=[{ name = \"label\", type = \"category\", classes = [\"0\", \"1\"] }]";
    let ran = nerve(here.path(), &["train", "stripes.toml", input, output]).ends(3).quiet();
    ran.says("column `label`").says("found 2");
    fs::remove_file(&images).unwrap();
    nerve(here.path(), &["train", "stripes.toml"]).ends(3).quiet().says("train-images");
    assert!(!here.path().join("runs").exists());
}

#[test]
fn x25_no_epochs_say_so() {
    let here = stripes();
    let ran = nerve(here.path(), &["train", "stripes.toml", "epochs=0"]).ends(0);
    ran.says("0 epochs: nothing is trained");
}

#[test]
fn x33_progress_is_plain_where_there_is_no_terminal_and_can_be_off() {
    let here = stripes();
    let ran = nerve(here.path(), &["train", "stripes.toml", "epochs=2"]).ends(0);
    assert!(!ran.err.contains('\u{1b}') && !ran.err.contains('\r'), "{:?}", ran.err);
    assert_eq!(ran.err.lines().filter(|line| line.starts_with("Epoch ")).count(), 2);
    let ran = ran.says("set trainer.epochs = 2 (instead of 4)").says("seed 7");
    assert!(ran.out.contains("test_accuracy"), "{}", ran.out);
    let quiet = nerve(here.path(), &["train", "stripes.toml", "epochs=1", "--progress", "off"]);
    assert_eq!(quiet.ends(0).err, "");
}

#[test]
fn runs_that_are_missing_or_damaged() {
    let here = trained();
    nerve(here.path(), &["evaluate", "strips"]).ends(2).says("there are stripes").quiet();
    let model = here.path().join("runs/stripes/model.safetensors");
    let good = fs::read(&model).unwrap();
    for bytes in [&good[..good.len() - 1], &good[..100], &[], b"not a model at all"] {
        fs::write(&model, bytes).unwrap();
        nerve(here.path(), &["evaluate", "stripes"]).ends(3).says("model.safetensors").quiet();
        nerve(here.path(), &["predict", "stripes", "x.png"]).ends(3).quiet();
    }
}

/// A training without end, started and known to be in its steps.
fn endless(here: &Path) -> Child {
    let mut train = command(here);
    train.args(["train", "stripes.toml", "epochs=1000000", "--progress", "off"]);
    let child = train.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let model = here.join("runs/stripes/model.safetensors");
    let patience = Instant::now() + Duration::from_secs(60);
    while !model.exists() {
        assert!(Instant::now() < patience, "the first epoch does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn signal(child: &Child, name: &str) {
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args(["-s", name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn x14_x15_a_signal_saves_and_ends_with_its_number() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let here = stripes();
        let child = endless(here.path());
        signal(&child, name);
        let ran = Ran::of(child.wait_with_output().unwrap()).ends(code).quiet();
        ran.says(&format!("stopped by SIG{name}")).says("`nerve resume runs/stripes` goes on");
        nerve(here.path(), &["evaluate", "stripes"]).ends(0);
    }
}

#[test]
fn x12_a_disk_that_fails_within_the_training_is_told_and_the_training_goes_on() {
    let here = stripes();
    let child = endless(here.path());
    let checkpoints = here.path().join("runs/stripes/checkpoints");
    fs::rename(&checkpoints, here.path().join("moved")).unwrap();
    fs::write(&checkpoints, "no folder").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    fs::remove_file(&checkpoints).unwrap();
    fs::rename(here.path().join("moved"), &checkpoints).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    signal(&child, "INT");
    let ran = Ran::of(child.wait_with_output().unwrap()).ends(130).quiet();
    ran.says("warning:").says("runs/stripes/checkpoints").says("the training goes on");
    let steps = |ran: &Ran| json(ran)["steps"].as_u64().unwrap();
    let args = ["resume", "stripes", "epochs=1", "--json"];
    assert!(steps(&nerve(here.path(), &args).ends(0)) > 12);
}

#[test]
fn x17_a_training_that_is_killed_leaves_whole_files() {
    let here = stripes();
    let mut child = endless(here.path());
    std::thread::sleep(Duration::from_millis(30));
    child.kill().unwrap();
    child.wait().unwrap();
    nerve(here.path(), &["evaluate", "stripes"]).ends(0);
    let history = fs::read_to_string(here.path().join("runs/stripes/metrics.csv")).unwrap();
    assert!(history.ends_with('\n'));
}

#[test]
fn x05_a_reader_that_has_gone_does_not_spoil_the_training() {
    let here = stripes();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let again = writer.try_clone().unwrap();
    let mut train = command(here.path());
    train.args(["train", "stripes.toml"]).stdout(writer).stderr(again);
    assert_eq!(train.status().unwrap().code(), Some(0));
    nerve(here.path(), &["evaluate", "stripes"]).ends(0);
}
