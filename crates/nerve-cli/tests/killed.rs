//! `kill -9` at random moments, again and again: what goes on ends with the bytes of a training that
//! was never touched. 50 times; as often as NERVE_KILLS says, for instance
//!
//! ```text
//! NERVE_KILLS=500 cargo test -p nerve-cli --test killed --release
//! ```
#![allow(missing_docs)]

mod common;
#[path = "common/points.rs"]
mod points;

use common::{command, folder};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const RECIPE: &str = "\
[data]
path = \"points.csv\"
[[input]]
name = [\"a\", \"b\"]
type = \"number\"
[[output]]
name = \"c\"
type = \"category\"
metrics = [\"accuracy\", \"roc_auc\"]
[model]
layers = [
  { type = \"Dense\", units = 64, activation = \"relu\" },
  \"BatchNorm\",
  { type = \"Dropout\", rate = 0.2 },
  { type = \"Dense\", units = 2 },
]
[trainer]
epochs = 60
batch_size = 24
optimizer = { type = \"adam\", lr = 0.01 }
schedule = \"cosine\"
wrap = [{ type = \"ema\", decay = 0.9 }]
early_stop = { patience = 100 }
[log]
checkpoint_steps = 7
";

fn write(folder: &Path) {
    let class = |a: f64, b: f64| if a * a + b > 0.8 { "in".into() } else { "out".into() };
    points::write(folder, RECIPE, points::scattered(1200, class));
}

fn start(folder: &Path, name: &str, kills: usize) -> Command {
    let run = folder.join("runs").join(name);
    let mut nerve = command(folder);
    nerve.args(["train", "points.toml", "--name", name, "--progress", "off"]);
    match run.join("resolved.toml").exists() {
        true => _ = nerve.arg("--resume"),
        // Killed before it was a run.
        false => drop(fs::remove_dir_all(run)),
    }
    // Also where the number of threads changes.
    nerve.args(["--threads", ["1", "2", "3"][kills % 3]]);
    nerve.stdout(Stdio::null()).stderr(Stdio::piped());
    nerve
}

#[test]
fn k07_killed_at_random_moments_a_training_ends_with_the_same_bytes() {
    let wanted: usize = std::env::var("NERVE_KILLS").map_or(50, |text| text.parse().unwrap());
    let here = folder();
    let here = here.path();
    write(here);
    let whole = start(here, "whole", 0).output().unwrap();
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));
    let model = |name: &str| fs::read(here.join("runs").join(name).join("model.safetensors"));
    let expected = model("whole").unwrap();
    let (mut kills, mut seed, mut longest) = (0, 7u32, 200.0f64);
    for run in 0.. {
        let name = format!("killed-{run}");
        let mut without = 0;
        loop {
            let mut child = start(here, &name, kills).spawn().unwrap();
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let wait = longest * f64::from(seed >> 8) / f64::from(1 << 24);
            std::thread::sleep(Duration::from_secs_f64(wait / 1e3));
            let _ = child.kill();
            let ended = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(!said.contains("panicked") && !said.contains("error"), "{said}");
            if ended.status.success() {
                break;
            }
            kills += 1;
            without += 1;
            // However slow the machine is, it comes to its end at last.
            if without % 8 == 0 {
                longest *= 1.3;
            }
        }
        assert!(model(&name).unwrap() == expected, "{name} after {without} kills");
        if kills >= wanted {
            break;
        }
        longest = 200.0;
    }
    println!("killed {kills} times");
}

/// The order of the columns is that in which they meet in the network.
#[test]
fn columns_in_another_order_are_another_recipe() {
    let here = folder();
    let here = here.path();
    write(here);
    assert!(start(here, "points", 0).output().unwrap().status.success());
    let swapped = RECIPE.replace(r#"["a", "b"]"#, r#"["b", "a"]"#);
    fs::write(here.join("points.toml"), swapped).unwrap();
    let refused = start(here, "points", 0).arg("epochs=70").output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("was another one"));
}
