//! Outputs of all kinds, from a recipe to the verdict: forecasts of several series, sets, vectors, pictures.
#![allow(missing_docs)]

mod common;

use common::{Ran, command, folder, nerve};
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Trains, evaluates, and gives the verdict on the one output.
fn judged(here: &Path, recipe: &str) -> Value {
    fs::write(here.join("it.toml"), recipe).unwrap();
    nerve(here, &["train", "it.toml", "--progress", "off"]).ends(0);
    let ran = nerve(here, &["evaluate", "it", "--json", "--html", "it.html"]).ends(0);
    assert!(fs::read_to_string(here.join("it.html")).unwrap().contains("<h3>Scores"));
    let verdict: Value = serde_json::from_str(&ran.out).unwrap();
    verdict["outputs"][0].clone()
}

fn score(output: &Value, name: &str) -> f64 {
    output["scores"][name]["value"].as_f64().unwrap_or_else(|| panic!("no {name} in {output}"))
}

fn baseline(output: &Value, name: &str, of: &str) -> f64 {
    let value = &output["baselines"][name][of];
    value.as_f64().unwrap_or_else(|| panic!("no {of} of {name} in {}", output["baselines"]))
}

const SERIES: &str = "\
[data]
path = \"load.csv\"
time = \"when\"
series = \"meter\"
freq = \"1h\"
stride = 2
split = { type = \"time\", val = \"24h\", test = \"48h\" }
[[input]]
name = \"load\"
type = \"timeseries\"
window = 24
normalize = \"per_series_zscore\"
[[output]]
name = \"load\"
type = \"timeseries\"
horizon = 3
loss = { type = \"quantile\", q = [0.1, 0.5, 0.9] }
[trainer]
epochs = 20
batch_size = 16
optimizer = { type = \"adam\", lr = 0.01 }
[eval]
season = 24
resamples = 50
";

/// Two meters that rise and fall with the hour, one a hundred times as much as the other, and mixed row by row.
fn load(hours: std::ops::Range<u32>) -> String {
    let mut text = "when,meter,load\n".to_string();
    for hour in hours {
        let when = format!("2024-05-{:02} {:02}:00", 1 + hour / 24, hour % 24);
        let wave = (f64::from(hour) * std::f64::consts::TAU / 24.0).sin();
        let odd = f64::from(hour * 7919 % 13) / 13.0 - 0.5;
        let low = 10.0 + 3.0 * wave + 0.4 * odd;
        let _ = writeln!(text, "{when},attic,{low:.3}\n{when},mill,{:.1}", 100.0 * low);
    }
    text
}

#[test]
fn quantiles_of_several_series_come_back_on_the_scale_of_each() {
    let here = folder();
    let here = here.path();
    fs::write(here.join("load.csv"), load(0..480)).unwrap();
    let output = judged(here, SERIES);
    assert_eq!(output["kind"], "forecast");
    assert!(score(&output, "mase") < 1.0, "{output}");
    let pinball = score(&output, "pinball");
    for name in ["last value", "seasonal (24)"] {
        assert!(pinball < baseline(&output, name, "pinball"), "{name}: {output}");
    }
    assert!((0.4..=1.0).contains(&score(&output, "coverage_80")), "{output}");
    assert!(score(&output, "width_80") > 0.0);
    // Every other hour of 48, of two meters, but for those without a whole horizon after them.
    let rows = fs::read_to_string(here.join("runs/it/eval/predictions.csv")).unwrap();
    assert!((40..=48).contains(&(rows.lines().count() - 1)), "{}", rows.lines().count());

    fs::write(here.join("new.csv"), load(0..30)).unwrap();
    nerve(here, &["predict", "it", "--data", "new.csv", "--keep", "-o", "out.csv"]).ends(0);
    let text = fs::read_to_string(here.join("out.csv")).unwrap();
    let (head, lines) = text.split_once('\n').unwrap();
    assert!(
        head.ends_with("load_answer_3,load_answer_3_q10,load_answer_3_q50,load_answer_3_q90"),
        "{head}"
    );
    let mut count = 0;
    for line in lines.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let scale = if fields[2] == "mill" { 100.0 } else { 1.0 };
        let steps: Vec<f64> =
            fields[4..].iter().map(|f| f.parse::<f64>().unwrap() / scale).collect();
        for step in steps.chunks(4) {
            assert!(step.iter().all(|load| (5.0..15.0).contains(load)), "{line}");
            assert!(step[1] <= step[2] && step[2] <= step[3] && step[0] == step[2], "{line}");
        }
        count += 1;
    }
    // From the 24th hour on, whatever the stride of training is.
    assert_eq!(count, 2 * (30 - 23));
    nerve(here, &["predict", "it", "--data", "new.csv", "-o", "out.npz"]).ends(0);
}

#[test]
fn a_set_is_judged_name_by_name() {
    let here = folder();
    let here = here.path();
    let mut text = "a,b,tags\n".to_string();
    for i in 0..400 {
        let (a, b) = (f64::from(i * 37 % 101) / 50.0 - 1.0, f64::from(i * 53 % 97) / 48.0 - 1.0);
        let tags = [(a > 0.0, "high"), (b > 0.0, "right"), (a + b > 0.0, "far")];
        let tags: Vec<&str> = tags.iter().filter(|(is, _)| *is).map(|(_, tag)| *tag).collect();
        let _ = writeln!(text, "{a:.3},{b:.3},{}", tags.join("|"));
    }
    fs::write(here.join("tags.csv"), text).unwrap();
    let output = judged(
        here,
        "[data]\npath = \"tags.csv\"\n[[input]]\nname = [\"a\", \"b\"]\ntype = \"number\"\n\
         [[output]]\nname = \"tags\"\ntype = \"set\"\n[trainer]\nepochs = 20\nbatch_size = 16\n\
         optimizer = { type = \"adam\", lr = 0.01 }\n[eval]\nresamples = 50\ngate = \"jaccard >= 0.7\"\n",
    );
    assert_eq!(output["kind"], "set");
    for name in ["jaccard", "f1_micro", "f1_macro", "subset_accuracy"] {
        assert!(score(&output, name) > baseline(&output, "frequencies", name), "{name}: {output}");
    }
    assert_eq!(output["classes"].as_array().unwrap().len(), 3);
}

#[test]
fn a_picture_that_is_drawn_again_is_judged_by_its_looks() {
    let here = folder();
    let here = here.path();
    fs::create_dir_all(here.join("parts/good")).unwrap();
    for i in 0..60u32 {
        let pixel = |x, y| image::Luma([((x * (i % 7) * 5 + y * (i % 5) * 7) % 256) as u8]);
        let name = here.join(format!("parts/good/{i:02}.png"));
        image::GrayImage::from_fn(16, 12, pixel).save(name).unwrap();
    }
    let output = judged(
        here,
        "[data]\npath = \"parts\"\n[[input]]\nname = \"image\"\ntype = \"image\"\nnormalize = \"unit\"\n\
         encoder = { type = \"layers\", layers = [\"Flatten\", \"Dense(16, relu)\"] }\n\
         [[output]]\nname = \"image\"\ntype = \"image\"\nnormalize = \"unit\"\ndecoder = \"dense\"\n\
         [trainer]\nepochs = 60\nbatch_size = 8\noptimizer = { type = \"adam\", lr = 0.01 }\n[eval]\nresamples = 20\n",
    );
    assert_eq!(output["kind"], "picture");
    assert!(score(&output, "psnr") > baseline(&output, "mean picture", "psnr"), "{output}");
    assert!(score(&output, "ssim") > 0.0);
    let worst = output["worst"][0]["answer"].as_str().unwrap();
    assert!(worst.starts_with("PSNR "), "{worst}");
}

#[test]
fn pictures_of_a_folder_are_found_from_anywhere() {
    let here = folder();
    let here = here.path();
    for (class, level) in [("dark", 0), ("light", 120)] {
        fs::create_dir_all(here.join("photos").join(class)).unwrap();
        for i in 0..30u32 {
            let pixel =
                |x: u32, y: u32| image::Luma([(level + (x * 7 + y * 3 + i * 11) % 90) as u8]);
            let name = here.join(format!("photos/{class}/{i}.png"));
            image::GrayImage::from_fn(8, 8, pixel).save(name).unwrap();
        }
    }
    let recipe = "[data]\npath = \"photos\"\n[[input]]\nname = \"image\"\ntype = \"image\"\n\
        [[output]]\nname = \"label\"\ntype = \"category\"\n[model]\nlayers = [\"Flatten\"]\n[trainer]\nepochs = 4\n";
    assert_eq!(judged(here, recipe)["kind"], "binary");
    let elsewhere = here.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    nerve(&elsewhere, &["evaluate", "../runs/it", "--json"]).ends(0);
    let said = nerve(&elsewhere, &["predict", "../runs/it", "--data", "../photos"]).ends(0).out;
    assert_eq!(said.lines().count(), 61, "{said}");
    let watched = nerve(&elsewhere, &["monitor", "../runs/it", "../photos"]).ends(0).out;
    assert!(watched.contains("image.brightness"), "{watched}");
}

#[test]
fn large_pictures_are_kept_and_change_nothing() {
    let here = folder();
    let here = here.path();
    for class in ["dark", "light"] {
        fs::create_dir_all(here.join("photos").join(class)).unwrap();
        for i in 0..12u32 {
            // Noise, which no PNG makes small.
            let level = if class == "dark" { 0 } else { 100 };
            let pixel = |x: u32, y: u32| {
                let hash =
                    (x * 7919 + y * 104_729 + i * 1_299_709).wrapping_mul(2_654_435_761) >> 24;
                image::Rgb([(level + hash / 2) as u8, (hash / 2) as u8, level as u8])
            };
            let name = here.join(format!("photos/{class}/{i}.png"));
            image::RgbImage::from_fn(240, 240, pixel).save(name).unwrap();
        }
    }
    let recipe = "[data]\npath = \"photos\"\n[[input]]\nname = \"image\"\ntype = \"image\"\nsize = 12\n\
        [[output]]\nname = \"label\"\ntype = \"category\"\n[model]\nlayers = [\"Flatten\"]\n[trainer]\nepochs = 2\n";
    fs::write(here.join("photos.toml"), recipe).unwrap();
    let cache = here.join("cache");
    let run = |args: &[&str]| {
        Ran::of(command(here).env("NERVE_CACHE", &cache).args(args).output().unwrap())
    };
    let train = |name: &str, more: &[&str]| {
        let named = format!("name={name}");
        run(&[&["train", "photos.toml", &named, "--progress", "off"], more].concat()).ends(0);
        fs::read(here.join(format!("runs/{name}/model.safetensors"))).unwrap()
    };
    let kept = |args: &[&str]| run(&[&["data", "cache"], args].concat()).ends(0).out;
    let plain = train("plain", &["--no-cache"]);
    assert!(kept(&[]).starts_with("0 pictures"), "{}", kept(&[]));
    // The name is part of the recipe in the file.
    let numbers = |model: &[u8]| model[model.len() - 400..].to_vec();
    assert_eq!(numbers(&train("first", &[])), numbers(&plain));
    assert!(kept(&["list", "--json"]).contains("\"entries\":24"), "{}", kept(&[]));
    assert_eq!(numbers(&train("second", &[])), numbers(&plain));
    // A damaged entry is made again.
    let part = fs::read_dir(cache.join("pictures")).unwrap().next().unwrap().unwrap().path();
    let entry = fs::read_dir(part).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&entry).unwrap();
    fs::write(&entry, [&whole[..50], &[whole[50] ^ 1], &whole[51..]].concat()).unwrap();
    assert_eq!(numbers(&train("third", &[])), numbers(&plain));
    assert_eq!(fs::read(&entry).unwrap(), whole);
    assert!(kept(&["clear"]).starts_with("24 pictures"));
    assert!(kept(&["list"]).starts_with("0 pictures"));
}
