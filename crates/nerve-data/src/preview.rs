//! Sheets of examples, drawn as the network gets them: pictures, masks, spectrograms, with a line of text below each.

mod font;

use std::io;
use std::path::Path;

use nerve_formats::{FormatError, Meaning, write_atomic};

use crate::features::{Answer, Feature, Room};
use crate::table::Slot;
use crate::transform::{Draw, Pipeline};
use crate::{Array, DataError, Dataset, Row, Values};

/// An example drawn: red, green and blue side by side, row after row.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// Height and width.
    pub size: [usize; 2],
    /// Its pixels.
    pub pixels: Vec<[u8; 3]>,
    /// What stands below it.
    pub caption: String,
}

/// Tiles are enlarged until their sides are about as long, and larger ones are shrunk to twice of it.
const SIDE: usize = 128;
/// Around each tile.
const GAP: usize = 8;
const PAPER: [u8; 3] = [255, 255, 255];
const INK: [u8; 3] = [30, 30, 30];

impl Tile {
    /// What a feature delivered for one example, if it can be drawn: a picture, a mask, or frames.
    pub fn of(feature: &dyn Feature, delivered: &Values) -> Option<Tile> {
        let (shape, _) = feature.delivered();
        let tile = |size: [usize; 2], pixels| Tile { size, pixels, caption: String::new() };
        match (feature.meaning(), delivered, &shape[..]) {
            (Meaning::Image, Values::F32(values), &[channels, height, width]) => {
                let state = feature.state();
                let number = |key: &str, channel: usize| state[key][channel].as_f64();
                let plane = height * width;
                let value = |channel: usize, at: usize| {
                    let scale = number("divide", channel).unwrap_or(1.0);
                    let offset = number("subtract", channel).unwrap_or(0.0);
                    (f64::from(values[channel * plane + at]) * scale + offset + 0.5) as u8
                };
                // Grey fills all three, alpha is not shown.
                let pixels = [0, 1, 2].map(|c| {
                    let channel = if channels < 3 { 0 } else { c };
                    (0..plane).map(|at| value(channel, at)).collect::<Vec<u8>>()
                });
                let pixel = |at: usize| [pixels[0][at], pixels[1][at], pixels[2][at]];
                Some(tile([height, width], (0..plane).map(pixel).collect()))
            }
            (Meaning::Mask { .. }, Values::I32(classes), &[height, width]) => Some(tile(
                [height, width],
                classes.iter().map(|&class| class_color(class)).collect(),
            )),
            (Meaning::Frames, Values::F32(values), &[time, features]) => {
                Some(tile([features, time], heat(values, time, features)))
            }
            _ => None,
        }
    }

    /// The same with a line of text below.
    pub fn caption(mut self, caption: impl Into<String>) -> Tile {
        self.caption = caption.into();
        self
    }

    /// How much it is enlarged, and which share of its pixels is shown.
    fn zoom(&self) -> (usize, usize) {
        let side = self.size[0].max(self.size[1]).max(1);
        ((SIDE / side).clamp(1, 16), side.div_ceil(2 * SIDE))
    }

    fn shown(&self) -> [usize; 2] {
        let (zoom, step) = self.zoom();
        self.size.map(|side| side.div_ceil(step) * zoom)
    }
}

/// Colours of classes that are easy to tell apart; 255 does not count, and is grey.
fn class_color(class: i32) -> [u8; 3] {
    const COLORS: [[u8; 3]; 8] = [
        [0, 0, 0],
        [230, 159, 0],
        [86, 180, 233],
        [0, 158, 115],
        [240, 228, 66],
        [0, 114, 178],
        [213, 94, 0],
        [204, 121, 167],
    ];
    match usize::try_from(class) {
        Ok(255) | Err(_) => [128; 3],
        Ok(class) => {
            // Later rounds are paler.
            let round = (class / COLORS.len()).min(6) as u8;
            COLORS[class % COLORS.len()]
                .map(|value| value / 2 + (127 - value / 2) / 6 * round + value / 2)
        }
    }
}

/// Time to the right, the first feature at the bottom; dark blue is least, yellow most.
fn heat(values: &[f32], time: usize, features: usize) -> Vec<[u8; 3]> {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (least, most) =
        (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    let scale = if most > least { 1.0 / (most - least) } else { 0.0 };
    let pixel = |at: usize| {
        let (row, t) = (at / time, at % time);
        let share = ((values[t * features + features - 1 - row] - least) * scale).clamp(0.0, 1.0);
        let blend = |from: f32, to: f32| (from + (to - from) * share) as u8;
        [blend(20.0, 250.0), blend(10.0, 230.0), blend(90.0, 40.0)]
    };
    (0..time * features).map(pixel).collect()
}

/// What a stored target says, in a few words; `None` for a feature that is no output.
pub fn words(feature: &dyn Feature, stored: &Values) -> Option<String> {
    let output = feature.output()?;
    Some(match output.truth(stored, 0) {
        Answer::Number(number) => {
            format!("{number:.4}").trim_end_matches('0').trim_end_matches('.').into()
        }
        Answer::Classes(shares) => {
            let best = (0..shares.len()).max_by(|&a, &b| shares[a].total_cmp(&shares[b]))?;
            output.classes().get(best).cloned().unwrap_or_else(|| best.to_string())
        }
        Answer::Several(shares) => {
            let there = (0..shares.len()).filter(|&i| shares[i] >= 0.5);
            let names: Vec<&str> =
                there.filter_map(|i| Some(&**output.classes().get(i)?)).collect();
            names.join(", ")
        }
        Answer::Text(text) => text,
        Answer::Numbers(_) | Answer::Quantiles { .. } | Answer::Pixels(_) => return None,
    })
}

/// Draws examples of a data set whose fields are those of `slots`: of each what can be drawn, after the `plain` pipeline,
/// and where `training` is given also after it, as in the first epochs. Below stands what the outputs say, which are the
/// slots from `fed` on.
///
/// # Errors
/// An example that cannot be read.
pub fn examples(
    dataset: &dyn Dataset,
    slots: &[Slot],
    fed: usize,
    [plain, training]: [Option<&Pipeline>; 2],
    seed: u64,
    picks: &[usize],
) -> Result<Vec<Vec<Tile>>, DataError> {
    let zeros = |fields: &[crate::Field]| -> Vec<Array> {
        fields.iter().map(|field| Array::zeros(field, 1)).collect()
    };
    let mut sample = zeros(dataset.fields());
    let mut room = Room::default();
    let mut rows = Vec::with_capacity(picks.len());
    for &index in picks {
        dataset.read(index, &mut Row::new(&mut sample, 0))?;
        let said: Vec<String> = slots
            .iter()
            .zip(&sample)
            .skip(fed)
            .filter_map(|(slot, array)| words(&*slot.parts[0].1, array.values()))
            .collect();
        let mut row = Vec::new();
        let epochs =
            training.iter().flat_map(|pipeline| (0..AUGMENTED).map(move |e| (*pipeline, e)));
        for (pipeline, epoch) in plain.map(|pipeline| (pipeline, 0)).into_iter().chain(epochs) {
            let mut out = zeros(pipeline.output_fields());
            let draw = Draw { seed, epoch, index: index as u64 };
            pipeline.apply(draw, &sample, &mut Row::new(&mut out, 0), &mut room);
            for (slot, array) in slots.iter().zip(&out).filter(|(slot, _)| slot.parts.len() == 1) {
                row.extend(Tile::of(&*slot.parts[0].1, array.values()));
            }
        }
        if let Some(first) = row.first_mut() {
            first.caption = said.join(" ");
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Drawings of each example as training sees it.
const AUGMENTED: u64 = 5;

/// A drawing of tiles in rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    /// Height and width.
    pub size: [usize; 2],
    /// Red, green and blue side by side, row after row.
    pub pixels: Vec<u8>,
}

impl Sheet {
    /// Draws rows of tiles. All have the room of the largest.
    pub fn new(rows: &[Vec<Tile>]) -> Sheet {
        let shown = || rows.iter().flatten().map(Tile::shown);
        let [height, width] = [0, 1].map(|axis| shown().map(|size| size[axis]).max().unwrap_or(1));
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let captions = rows.iter().flatten().any(|tile| !tile.caption.is_empty());
        let line = if captions { font::HEIGHT + GAP / 2 } else { 0 };
        let (step_y, step_x) = (height + line + GAP, width + GAP);
        let size = [GAP + rows.len() * step_y, GAP + columns * step_x];
        let mut sheet = Sheet { size, pixels: PAPER.repeat(size[0] * size[1]) };
        for (y, row) in rows.iter().enumerate() {
            for (x, tile) in row.iter().enumerate() {
                let [top, left] = [GAP + y * step_y, GAP + x * step_x];
                sheet.draw(tile, top, left);
                let top = top + height + GAP / 2;
                let set = |y: usize, x: usize| sheet.set(top + y, left + x, INK);
                font::write(&tile.caption, width / font::WIDTH, set);
            }
        }
        sheet
    }

    fn draw(&mut self, tile: &Tile, top: usize, left: usize) {
        let ((zoom, step), [height, width]) = (tile.zoom(), tile.shown());
        for y in 0..height {
            for x in 0..width {
                let (from_y, from_x) = (y / zoom * step, x / zoom * step);
                self.set(top + y, left + x, tile.pixels[from_y * tile.size[1] + from_x]);
            }
        }
    }

    fn set(&mut self, y: usize, x: usize, color: [u8; 3]) {
        if y < self.size[0] && x < self.size[1] {
            self.pixels[3 * (y * self.size[1] + x)..][..3].copy_from_slice(&color);
        }
    }

    /// Writes it as a PNG file, whole or not at all.
    ///
    /// # Errors
    /// [`FormatError`] of the disk.
    pub fn write_png(&self, path: &Path) -> Result<(), FormatError> {
        write_atomic(path, |file| {
            let [height, width] = self.size.map(|side| side as u32);
            let mut encoder = png::Encoder::new(file, width, height);
            encoder.set_color(png::ColorType::Rgb);
            let written =
                encoder.write_header().and_then(|mut png| png.write_image_data(&self.pixels));
            written.map_err(io::Error::other)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_lie_in_rows_with_captions() {
        let tile = Tile { size: [2, 2], pixels: vec![[255, 0, 0]; 4], caption: String::new() };
        let sheet = Sheet::new(&[vec![tile.clone(), tile.clone()], vec![tile.clone()]]);
        // Enlarged 16 times.
        assert_eq!(sheet.size, [GAP + 2 * (32 + GAP), GAP + 2 * (32 + GAP)]);
        let red = sheet.pixels.chunks(3).filter(|pixel| *pixel == [255, 0, 0]).count();
        assert_eq!(red, 3 * 32 * 32);
        let named = Sheet::new(&[vec![tile.caption("I")]]);
        let ink = named.pixels.chunks(3).filter(|pixel| *pixel == INK).count();
        assert_eq!(ink, 9 * font::SCALE * font::SCALE);
        assert_eq!(Sheet::new(&[]).size, [GAP, GAP]);
    }

    #[test]
    fn large_tiles_are_shrunk() {
        let tile = Tile { size: [1, 1000], pixels: vec![[9; 3]; 1000], caption: String::new() };
        assert_eq!(tile.shown(), [1, 250]);
    }

    #[test]
    fn frames_are_drawn_with_time_to_the_right() {
        let pixels = heat(&[0.0, 1.0, 0.0, 0.0], 2, 2);
        assert_eq!(pixels[0], [250, 230, 40]);
        assert_eq!(pixels[1..], [[20, 10, 90]; 3]);
    }

    #[test]
    fn classes_have_colours_of_their_own() {
        let colors: std::collections::BTreeSet<_> = (0..24).map(class_color).collect();
        assert_eq!(colors.len(), 24);
        assert_eq!(class_color(255), [128; 3]);
        assert_eq!(class_color(1), [230, 158, 0]);
    }

    #[test]
    fn examples_are_drawn_as_they_are_delivered() {
        use crate::features::{Role, Setting, find};
        use crate::{Cells, Column, Element, Field, Origin, Table, table::Prepared};
        use nerve_formats::spec::{Value, check};
        use std::sync::Arc;

        let bytes: Vec<u8> = (0..32).map(|at| at * 8).collect();
        let cells = [
            Cells::Arrays(Field::new("image", &[4, 4], Element::U8), bytes.clone().into()),
            Cells::Text([Some("cat"), Some("dog")].into_iter().collect()),
        ];
        let table = |(name, cells): (&str, Cells)| Column { name: name.into(), cells };
        let columns = ["image", "label"].into_iter().zip(cells).map(table).collect();
        let table = Arc::new(Table::new(columns, Origin::default()).unwrap());
        let flip = Value::List(vec![Value::text("RandomFlip")].into());
        let slots: Vec<Slot> = [
            ("image", Role::Input, vec![("augment".to_string(), flip)]),
            ("category", Role::Output, vec![]),
        ]
        .into_iter()
        .zip(table.columns())
        .map(|((kind, role, args), column)| {
            let entry = find(kind).unwrap();
            let setting = Setting { role, folder: "".into() };
            let mut fit = (entry.begin)(&check(entry.spec, &args).unwrap(), &setting).unwrap();
            (0..2).for_each(|row| fit.observe(&column.cells, row).unwrap());
            Slot::one(column.name.clone(), fit.finish().unwrap())
        })
        .collect();
        let data = Prepared::new(table, slots.clone(), &[0, 1]).unwrap();
        let image = slots[0].parts[0].1.clone();
        let pipeline = |training| {
            Pipeline::new(data.fields()).deliver("image", image.clone(), training, 0).unwrap()
        };
        let (plain, training) = (pipeline(false), pipeline(true));
        let rows = examples(&data, &slots, 1, [Some(&plain), Some(&training)], 1, &[1, 0]).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].len(), 1 + AUGMENTED as usize);
        assert_eq!(rows[0][0].caption, "dog");
        let drawn: Vec<u8> = rows[0][0].pixels.iter().map(|pixel| pixel[0]).collect();
        assert_eq!(drawn, bytes[16..]);
        // A mirrored picture in ten, or the draws are no draws.
        let changed = |row: &[Tile]| row[1..].iter().filter(|t| t.pixels != row[0].pixels).count();
        let mirrored = rows.iter().map(|row| changed(row)).sum::<usize>();
        assert!((1..10).contains(&mirrored), "{mirrored} of 10");
    }

    #[test]
    fn a_sheet_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sheet.png");
        let tile = Tile { size: [1, 1], pixels: vec![[1, 2, 3]], caption: "A-1".into() };
        let sheet = Sheet::new(&[vec![tile]]);
        sheet.write_png(&path).unwrap();
        let pixels = crate::image_file::load(&path).unwrap();
        assert_eq!((pixels.size, pixels.bytes), (sheet.size, sheet.pixels.clone()));
        assert!(sheet.write_png(&folder.path().join("no/such/x.png")).is_err());
    }
}
