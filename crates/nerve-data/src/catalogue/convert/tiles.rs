//! A micrograph and its mask, cut into tiles that a network can be trained on.

use flate2::Crc;
use nerve_formats::archive::Member;
use nerve_formats::{ErrorKind, FormatError};

use super::{Job, csv_line};
use crate::DataError;

/// The side of a tile.
const SIDE: usize = 64;

/// Two grey pictures of 16 bits in TIFF, an image and the numbers of the nuclei in it (0 where there is none), become tiles
/// of 64 × 64 pixels, PNG of 8 bits: `images/RC.png` and `masks/RC.png` for row R and column C, and `tiles.csv` with the columns
/// `image`, `mask`, `row`, `column`. The image is scaled from its darkest to its brightest pixel.
pub(super) fn make(job: &Job<'_>) -> Result<Vec<Member>, DataError> {
    let [image, mask] = job.way.take else {
        return Err(DataError::Empty { what: "the tiles".into() });
    };
    let (image, mask) = (Grey::read(job.member(image)?)?, Grey::read(job.member(mask)?)?);
    if (image.width, image.pixels.len()) != (mask.width, mask.pixels.len()) {
        let (expected, found) = ("a mask as large as its image", "another");
        return Err(FormatError::new(ErrorKind::Mismatch, "mask", "size", expected, found).into());
    }
    let (low, high) = image.pixels.iter().fold((u16::MAX, 0), |(a, b), p| (a.min(*p), b.max(*p)));
    let scaled = |p: u16| (u32::from(p - low) * 255 / u32::from(high - low).max(1)) as u8;
    let mut table = String::from("image,mask,row,column\n");
    let (mut files, mut masks) = (Vec::new(), Vec::new());
    for row in 0..image.pixels.len() / image.width / SIDE {
        for column in 0..image.width / SIDE {
            let name = format!("{row}{column}.png");
            let [image_path, mask_path] = [format!("images/{name}"), format!("masks/{name}")];
            csv_line(
                &mut table,
                [image_path.as_str(), &mask_path, &row.to_string(), &column.to_string()],
            );
            let bytes = png(&image.tile(row, column, scaled));
            files.push(Member { path: image_path, bytes });
            let bytes = png(&mask.tile(row, column, |p| p.min(254) as u8));
            masks.push(Member { path: mask_path, bytes });
        }
    }
    files.extend(masks);
    files.push(Member { path: "tiles.csv".into(), bytes: table.into_bytes() });
    Ok(files)
}

struct Grey {
    width: usize,
    pixels: Vec<u16>,
}

impl Grey {
    /// A TIFF of one plain strip, the least significant byte first.
    fn read(member: &Member) -> Result<Grey, DataError> {
        let expected = "a TIFF of 16-bit grey in one strip without compression";
        let wrong = || {
            FormatError::new(
                ErrorKind::Unsupported,
                &member.path,
                "picture",
                expected,
                "another file",
            )
        };
        Ok(Grey::parse(&member.bytes).ok_or_else(wrong)?)
    }

    fn parse(bytes: &[u8]) -> Option<Grey> {
        let word = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize);
        bytes.starts_with(b"II*\0").then_some(())?;
        let start = long(4)?;
        let fields = 0..usize::from(word(start)?);
        // A field: tag, type (3 for 16 bits, 4 for 32), count, value.
        let field = |tag: u16| {
            let at =
                fields.clone().map(|i| start + 2 + 12 * i).find(|at| word(*at) == Some(tag))?;
            (long(at + 4)? == 1).then_some(())?;
            if word(at + 2)? == 3 { word(at + 8).map(usize::from) } else { long(at + 8) }
        };
        let (width, height) = (field(256)?, field(257)?);
        (field(258)? == 16 && field(259)? == 1 && field(277)? == 1 && width > 0).then_some(())?;
        let (at, length) = (field(273)?, field(279)?);
        (width.checked_mul(height)?.checked_mul(2)? == length).then_some(())?;
        let strip = bytes.get(at..)?.get(..length)?;
        let pixels = strip.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        Some(Grey { width, pixels })
    }

    fn tile(&self, row: usize, column: usize, value: impl Fn(u16) -> u8) -> Vec<u8> {
        let lines = (row * SIDE..(row + 1) * SIDE).map(|y| y * self.width + column * SIDE);
        lines
            .flat_map(|start| &self.pixels[start..start + SIDE])
            .map(|pixel| value(*pixel))
            .collect()
    }
}

/// A tile as a grey PNG without compression, which any version of any library would write alike.
fn png(pixels: &[u8]) -> Vec<u8> {
    // Each line begins with the number of its filter: none.
    let lines: Vec<u8> = pixels
        .chunks_exact(SIDE)
        .flat_map(|line| std::iter::once(0).chain(line.iter().copied()))
        .collect();
    let length = lines.len() as u16;
    let (a, b) = lines.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    let mut data = vec![0x78, 0x01, 0x01];
    data.extend(length.to_le_bytes().into_iter().chain((!length).to_le_bytes()));
    data.extend(&lines);
    data.extend((b << 16 | a).to_be_bytes());
    let mut header = [SIDE as u32; 2].map(u32::to_be_bytes).concat();
    header.extend([8, 0, 0, 0, 0]);
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, body) in [(b"IHDR", &header), (b"IDAT", &data), (b"IEND", &Vec::new())] {
        let mut crc = Crc::new();
        crc.update(kind);
        crc.update(body);
        out.extend((body.len() as u32).to_be_bytes());
        out.extend(kind.iter().chain(body));
        out.extend(crc.sum().to_be_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::make_files;
    use super::*;

    /// A TIFF of so many pixels, its width that of two tiles.
    fn tiff(pixels: &[u16]) -> Vec<u8> {
        let mut out = b"II*\0\x08\0\0\0\x07\0".to_vec();
        let length = 2 * pixels.len() as u32;
        let height = (pixels.len() / (2 * SIDE)) as u32;
        let fields =
            [(256u16, 128), (257, height), (258, 16), (259, 1), (277, 1), (273, 98), (279, length)];
        for (tag, value) in fields {
            out.extend(tag.to_le_bytes());
            out.extend(4u16.to_le_bytes());
            out.extend([1, value].map(u32::to_le_bytes).concat());
        }
        out.resize(98, 0);
        out.extend(pixels.iter().flat_map(|pixel| pixel.to_le_bytes()));
        out
    }

    #[test]
    fn pictures_are_cut_and_can_be_read_again() {
        let pixels: Vec<u16> = (0..64 * 128).map(|i| 1000 + (i % 128) as u16).collect();
        let image = tiff(&pixels);
        let mask = tiff(&pixels.iter().map(|p| u16::from(*p > 1100)).collect::<Vec<_>>());
        let files =
            make_files("tiles", &["i.tif", "m.tif"], &[("i.tif", &image), ("m.tif", &mask)], "");
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(
            paths,
            ["images/00.png", "images/01.png", "masks/00.png", "masks/01.png", "tiles.csv"]
        );
        let read = |i: usize| image::load_from_memory(&files[i].bytes).unwrap().into_luma8();
        let (left, right) = (read(0), read(1));
        assert_eq!((left.dimensions(), left[(0, 5)].0, right[(63, 5)].0), ((64, 64), [0], [255]));
        assert_eq!((read(2)[(63, 0)].0, read(3)[(36, 0)].0, read(3)[(37, 0)].0), ([0], [0], [1]));
        assert!(Grey::parse(&image[..image.len() - 1]).is_none());
        assert!(Grey::parse(b"II*\0\xff\xff\xff\xff").is_none());
    }
}
