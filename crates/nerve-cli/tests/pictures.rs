//! Pictures and masks from files: looked at, checked and trained on by the command.
#![allow(missing_docs)]

mod common;

use std::fs;
use std::path::Path;

use common::{folder, nerve};
use image::{GrayImage, Luma, Rgb, RgbImage};

/// Sixteen pictures of a bright square on dark, the masks that say where it is, and a table of both.
fn squares(folder: &Path) {
    let mut table = String::from("picture,mask\n");
    for at in 0..16u32 {
        let (left, top) = (at % 4 * 3, at / 4 * 3);
        let inside = |x: u32, y: u32| (left..left + 6).contains(&x) && (top..top + 6).contains(&y);
        let picture = RgbImage::from_fn(16, 16, |x, y| {
            if inside(x, y) { Rgb([220, 200, 60]) } else { Rgb([20, 30, 40 + at as u8]) }
        });
        picture.save(folder.join(format!("p{at}.png"))).unwrap();
        let mask = GrayImage::from_fn(16, 16, |x, y| Luma([u8::from(inside(x, y)) * 7]));
        mask.save(folder.join(format!("m{at}.png"))).unwrap();
        table.push_str(&format!("p{at}.png,m{at}.png\n"));
    }
    fs::write(folder.join("squares.csv"), table).unwrap();
    let augment = "augment = [\"RandomFlip\", { type = \"RandomShift\", max = 2 }]";
    let recipe = format!(
        "[data]\npath = \"squares.csv\"\nvalidation = 0.25\n\
         [[input]]\nname = \"picture\"\ntype = \"image\"\n{augment}\n\
         [[output]]\nname = \"mask\"\ntype = \"mask\"\n{augment}\n\
         [model]\nlayers = [{{ type = \"Conv2d\", filters = 2, kernel = 3, padding = \"same\" }}]\n\
         [trainer]\nepochs = 2\nbatch_size = 4\n"
    );
    fs::write(folder.join("squares.toml"), recipe).unwrap();
}

#[test]
fn a_sheet_shows_pictures_and_masks() {
    let here = folder();
    squares(here.path());
    let line = ["data", "preview", "squares.toml", "-n", "3", "-o", "plain.png"];
    assert_eq!(nerve(here.path(), &line).ends(0).out, "3 examples in plain.png\n");
    let plain = image::open(here.path().join("plain.png")).unwrap();
    // Three rows of a picture and its mask, enlarged eight times.
    assert_eq!((plain.width(), plain.height()), (8 + 2 * 136, 8 + 3 * 136));
    let line = ["data", "preview", "squares.toml", "--augment", "--json"];
    let out = nerve(here.path(), &line).ends(0).out;
    assert!(out.contains("\"drawings\":144"), "{out}");
    assert!(here.path().join("preview.png").exists());
    nerve(here.path(), &["data", "preview", "squares.toml", "-o", "no/such.png"]).ends(1);
}

#[test]
fn a_network_learns_from_masks() {
    let here = folder();
    squares(here.path());
    nerve(here.path(), &["train", "squares.toml", "--threads", "1"]).ends(0);
    let history = fs::read_to_string(here.path().join("runs/squares/metrics.csv")).unwrap();
    assert!(history.lines().count() == 3 && history.contains("iou"), "{history}");
}

#[test]
fn i10_a_bad_picture_is_named_with_its_row() {
    let here = folder();
    squares(here.path());
    fs::write(here.path().join("p9.png"), b"GIF89a........").unwrap();
    nerve(here.path(), &["check", "squares.toml"]).ends(3).says(
        "squares.csv:11, column `picture`: expected a PNG or JPEG file, found `p9.png`: a GIF file",
    );
}
