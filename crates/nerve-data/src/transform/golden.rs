//! What torchvision makes of the same picture.

use super::random_affine::affine;
use super::random_perspective::perspective;
use super::{Fill, Image, Map, blur, colour};

/// Name, numbers and values of each line.
fn lines() -> Vec<(&'static str, Vec<f32>, Vec<f32>)> {
    let numbers = |text: &str| text.split_whitespace().map(|n| n.parse().unwrap()).collect();
    let line = |line: &'static str| {
        let parts: Vec<&str> = line.split('\t').collect();
        (parts[0], numbers(parts[1]), numbers(parts[2]))
    };
    include_str!("golden/augment.tsv").lines().map(line).collect()
}

const SIZE: [usize; 2] = [8, 7];

#[test]
fn golden_changes_are_those_of_torchvision() {
    let lines = lines();
    let find = |name: &str| lines.iter().find(|line| line.0 == name).unwrap().2.clone();
    let (picture, large) = (find("input"), find("large"));
    let mut compared = 0;
    for (name, n, expected) in &lines {
        let size = if *name == "equalize" { [40, 40] } else { SIZE };
        let mut pixels = if size == SIZE { picture.clone() } else { large.clone() };
        let mut scratch = Vec::new();
        let mut image = Image::new(size, &mut pixels, &mut scratch);
        // The parts of a crop that see beyond it are others.
        let outside = |y: usize, x: usize| {
            let at = |at: usize, from: f32, len: f32, side: f32| {
                let place = from + (at as f32 + 0.5) * len / side - 0.5;
                place < from || place > from + len - 1.0
            };
            at(y, n[0], n[2], 8.0) || at(x, n[1], n[3], 7.0)
        };
        match *name {
            "brightness" => colour::brightness(&mut image, n[0]),
            "contrast" => colour::contrast(&mut image, n[0]),
            "saturation" => colour::saturation(&mut image, n[0]),
            "hue" => colour::hue(&mut image, n[0]),
            "grey" => colour::greyscale(&mut image),
            "invert" => colour::invert(&mut image),
            "solarize" => colour::solarize(&mut image, n[0]),
            "posterize" => colour::posterize(&mut image, n[0] as u32),
            "auto_contrast" => colour::auto_contrast(&mut image),
            "equalize" => colour::equalize(&mut image),
            "sharpness" => colour::sharpness(&mut image, n[0]),
            "blur" => image.remap(|source, target| blur::blur(source, SIZE, n[0], target)),
            "rotate" => {
                let map = affine(SIZE, n[0], [0.0; 2], 1.0, [0.0; 2]);
                image.warp(map, Fill::Background);
            }
            "affine" => {
                let map = affine(SIZE, n[0], [n[1], n[2]], n[3], [n[4], 0.0]);
                image.warp(map, Fill::Background);
            }
            "perspective" => {
                let corners = [[0.0, 0.0], [6.0, 0.0], [6.0, 7.0], [0.0, 7.0]];
                let to = [[n[0], n[1]], [n[2], n[3]], [n[4], n[5]], [n[6], n[7]]];
                // There, whole numbers are the corners of pixels and not their centres.
                let map = perspective(corners, to).unwrap();
                let map = Map::shift(-0.5, -0.5).then(&map).then(&Map::shift(0.5, 0.5));
                image.warp(map, Fill::Background);
            }
            "resized_crop" => {
                let axis = |from: f32, len: f32, side: f32| {
                    let step = f64::from(len / side);
                    (step, f64::from(from) + step / 2.0 - 0.5)
                };
                let ((e, f), (a, c)) = (axis(n[0], n[2], 8.0), axis(n[1], n[3], 7.0));
                let map = Map::new([a, 0.0, c, 0.0, e, f, 0.0, 0.0]);
                image.warp(map, Fill::Edge);
            }
            "hflip" => {
                image.warp(Map::mirror(SIZE, false, true), Fill::Background);
            }
            _ => continue,
        }
        image.settle();
        compared += 1;
        for (at, (found, expected)) in pixels.iter().zip(expected).enumerate() {
            let (y, x) = (at / size[1] % size[0], at % size[1]);
            if *name == "resized_crop" && outside(y, x) {
                continue;
            }
            // Its grey weighs red by 0.2989, ours by 0.299.
            assert!((found - expected).abs() < 0.06, "{name} {n:?} at {at}: {found}, {expected}");
        }
    }
    assert_eq!(compared, lines.len() - 2);
}
