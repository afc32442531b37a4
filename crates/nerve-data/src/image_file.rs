//! One picture from a PNG or JPEG file, in the channels and the size that a model takes.

mod decode;
mod fit;
mod orient;
mod resize;

use std::path::Path;

pub use self::decode::{Announced, announced};
pub(crate) use self::decode::{Numbers, Pixels, load, load_numbers};
pub(crate) use self::fit::{Resize, fill, fill_nearest};

use self::decode::MAX_PIXELS;
use crate::{Cells, DataError, Element, Field};
use nerve_formats::FormatError;

/// A picture as a model takes it, and what was done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Bytes of shape `[channels, height, width]`, 0 is black.
    pub pixels: Vec<u8>,
    /// Height and width in the file, upright.
    pub original: [usize; 2],
    /// Height and width of the pixels.
    pub size: [usize; 2],
    /// Whether colours were turned into grey.
    pub greyed: bool,
    /// Whether something was transparent: it was laid over black.
    pub transparent: bool,
}

impl Picture {
    /// Whether its size was changed.
    pub fn resized(&self) -> bool {
        self.original != self.size
    }

    /// What was done to the picture, for the user; `None` when it was taken as it is.
    pub fn changes(&self) -> Option<String> {
        let ([height, width], [new_height, new_width]) = (self.original, self.size);
        let resized =
            format!("resized from {width} × {height} to {new_width} × {new_height} pixels");
        let changes: Vec<&str> = [
            (self.resized(), resized.as_str()),
            (self.greyed, "colours turned to grey"),
            (self.transparent, "transparent parts laid over black"),
        ]
        .into_iter()
        .filter_map(|(done, what)| done.then_some(what))
        .collect();
        if changes.is_empty() { None } else { Some(changes.join(", ")) }
    }
}

/// Reads a PNG or JPEG file, whatever its name, as samples of `field`: bytes or floats of shape `[1, height, width]` (grey)
/// or `[3, height, width]` (red, green, blue). The pixels are the bytes that the model's normalisation starts from.
///
/// The picture is turned upright as its EXIF note says, and stretched to the size: linear interpolation where it grows,
/// an average weighted by distance where it shrinks. Grey is 0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601). Sixteen
/// bits become eight.
///
/// ```no_run
/// use nerve_data::{Arrays, Element, Field, image_file};
///
/// let field = Field::new("image", &[1, 28, 28], Element::U8);
/// let picture = image_file::read("seven.png".as_ref(), &field)?;
/// if let Some(changes) = picture.changes() {
///     eprintln!("seven.png: {changes}");
/// }
/// let sample = Arrays::new(vec![(field, picture.pixels.into())])?;
/// # Ok::<(), nerve_data::DataError>(())
/// ```
///
/// # Errors
/// [`DataError::Format`] for a file that cannot be read, is neither PNG nor JPEG, is damaged or cut off, or holds too many
/// pixels; [`DataError::Field`] when the field is no image of one or three channels.
pub fn read(path: &Path, field: &Field) -> Result<Picture, DataError> {
    let [channels @ (1 | 3), height, width] = field.shape[..] else { return Err(unfit(field)) };
    let values = field.values_per_sample() as u64;
    if field.element == Element::I32 || values == 0 || values > 3 * MAX_PIXELS {
        return Err(unfit(field));
    }
    let decoded = load(path)?;
    let size = [height, width];
    let mut pixels = vec![0; channels * height * width];
    let lost = fill(&decoded, channels, size, Resize::Stretch, &mut pixels);
    let original = decoded.size;
    Ok(Picture { pixels, original, size, greyed: lost.colours, transparent: lost.transparency })
}

/// The picture of a file in these channels and this size, as [`fill`] makes it; from the [cache](crate::cache) where it was made
/// before.
pub(crate) fn load_filled(
    path: &Path,
    channels: usize,
    size: [usize; 2],
    resize: Resize,
    out: &mut [u8],
) -> Result<(), FormatError> {
    let bytes = decode::read(path)?;
    let what = format!("{channels} x {} x {}, {resize:?}", size[0], size[1]);
    crate::cache::made(&bytes, &what, out, |out| {
        fill(&decode::decode(path, &bytes)?, channels, size, resize, out);
        Ok(())
    })
}

/// Unpacks the bytes of a PNG or JPEG file to one cell of a column of pictures: `u8 [channels, height, width]`, upright, of its
/// own size. The feature brings it to the size that the network takes, as it does with files. `name` stands in messages.
///
/// # Errors
/// [`FormatError`] as of [`read`].
pub fn unpack(name: &str, bytes: &[u8]) -> Result<Cells, FormatError> {
    let decode::Pixels { size: [height, width], channels, bytes } =
        decode::decode(name.as_ref(), bytes)?;
    // Grey with transparency is a colour whose parts are the same.
    let parts: &[usize] = match channels {
        1 => &[0],
        2 => &[0, 0, 0, 1],
        3 => &[0, 1, 2],
        _ => &[0, 1, 2, 3],
    };
    let planes = parts.iter().flat_map(|&part| bytes.iter().skip(part).step_by(channels).copied());
    let field = Field::new("picture", &[parts.len(), height, width], Element::U8);
    Ok(Cells::Arrays(field, planes.collect::<Vec<u8>>().into()))
}

fn unfit(field: &Field) -> DataError {
    DataError::Field {
        field: field.name.clone(),
        expected: "a model that takes images [1, height, width] or [3, height, width]".into(),
        found: field.describe(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use std::io::Cursor;

    use image::{
        DynamicImage, GrayImage, ImageBuffer, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage,
    };
    use proptest::prelude::*;

    use super::*;

    fn field(shape: &[usize]) -> Field {
        Field::new("image", shape, Element::U8)
    }

    fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// Reads bytes as a file; an error without the folder's name.
    fn read_bytes(bytes: &[u8], shape: &[usize]) -> Result<Picture, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.txt");
        fs::write(&path, bytes).unwrap();
        let here = format!("{}/", folder.path().display());
        read(&path, &field(shape)).map_err(|error| error.to_string().replace(&here, ""))
    }

    #[test]
    fn grey_of_the_right_size_is_taken_as_it_is() {
        let grey = GrayImage::from_fn(28, 28, |x, y| image::Luma([(x * 9 + y) as u8]));
        let picture = read_bytes(&encoded(grey.clone(), ImageFormat::Png), &[1, 28, 28]).unwrap();
        assert_eq!(picture.pixels, grey.into_raw());
        assert_eq!((picture.resized(), picture.changes()), (false, None));
    }

    #[test]
    fn colours_become_grey_or_planes() {
        let colours = RgbImage::from_raw(3, 1, vec![255, 0, 0, 0, 255, 0, 10, 20, 30]).unwrap();
        let png = encoded(colours, ImageFormat::Png);
        let grey = read_bytes(&png, &[1, 1, 3]).unwrap();
        assert_eq!(grey.pixels, [76, 150, 18]);
        assert_eq!(grey.changes().unwrap(), "colours turned to grey");
        let planes = read_bytes(&png, &[3, 1, 3]).unwrap();
        assert_eq!(planes.pixels, [255, 0, 10, 0, 255, 20, 0, 0, 30]);
        assert_eq!(planes.changes(), None);
    }

    #[test]
    fn a_grey_file_fills_three_channels() {
        let grey = GrayImage::from_raw(2, 1, vec![7, 200]).unwrap();
        let picture = read_bytes(&encoded(grey, ImageFormat::Png), &[3, 1, 2]).unwrap();
        assert_eq!(picture.pixels, [7, 200, 7, 200, 7, 200]);
    }

    #[test]
    fn sixteen_bits_and_transparency() {
        let deep = ImageBuffer::from_raw(2, 1, vec![0u16, 65_535, 32_896, 65_535, 0, 0]).unwrap();
        let deep: ImageBuffer<Rgb<u16>, _> = deep;
        let picture = read_bytes(&encoded(deep, ImageFormat::Png), &[3, 1, 2]).unwrap();
        assert_eq!(picture.pixels, [0, 255, 255, 0, 128, 0]);
        let clear = RgbaImage::from_fn(2, 1, |x, _| Rgba([255, 255, 255, [0, 128][x as usize]]));
        let picture = read_bytes(&encoded(clear, ImageFormat::Png), &[1, 1, 2]).unwrap();
        assert_eq!(picture.pixels, [0, 128]);
        assert_eq!(picture.changes().unwrap(), "transparent parts laid over black");
    }

    #[test]
    fn a_larger_jpeg_is_resized_and_says_so() {
        let grey = GrayImage::from_fn(56, 112, |x, _| image::Luma([if x < 28 { 20 } else { 220 }]));
        let picture = read_bytes(&encoded(grey, ImageFormat::Jpeg), &[1, 28, 28]).unwrap();
        assert_eq!(picture.original, [112, 56]);
        assert_eq!(picture.changes().unwrap(), "resized from 56 × 112 to 28 × 28 pixels");
        for row in picture.pixels.chunks(28) {
            assert!(row[..13].iter().all(|&p| p.abs_diff(20) < 4), "{row:?}");
            assert!(row[15..].iter().all(|&p| p.abs_diff(220) < 4), "{row:?}");
        }
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let message = |bytes: &[u8]| read_bytes(bytes, &[1, 28, 28]).unwrap_err();
        assert_eq!(
            message(b""),
            "x.txt: picture: expected a PNG or JPEG file, found an empty file"
        );
        assert_eq!(
            message(b"hello"),
            "x.txt: picture: expected a PNG or JPEG file, found the first bytes [68, 65, 6c, 6c, 6f]"
        );
        assert_eq!(
            message(b"GIF89a......"),
            "x.txt: picture: expected a PNG or JPEG file, found a GIF file"
        );
        for tiff in [b"II*\0....", b"MM\0*...."] {
            assert!(message(tiff).ends_with(
                "found a TIFF file: save it as PNG, which keeps 16 bits and all colours"
            ));
        }
        let missing = read("no/such.png".as_ref(), &field(&[1, 28, 28])).unwrap_err().to_string();
        assert!(missing.starts_with("no/such.png: "), "{missing}");
        assert!(read(".".as_ref(), &field(&[1, 28, 28])).is_err(), "a folder");
    }

    #[test]
    fn a_picture_of_too_many_pixels_is_refused_before_it_is_unpacked() {
        let mut png = encoded(GrayImage::new(1, 1), ImageFormat::Png);
        // Width and height of the header, and its checksum.
        png[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        let checksum = crc32(&png[12..29]).to_be_bytes();
        png[29..33].copy_from_slice(&checksum);
        assert_eq!(
            read_bytes(&png, &[1, 28, 28]).unwrap_err(),
            "x.txt: picture: expected at most 67108864 pixels, found 65536 × 65536"
        );
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
        })
    }

    #[test]
    fn files_that_are_cut_off_anywhere_are_refused() {
        let picture = RgbImage::from_fn(16, 16, |x, y| Rgb([x as u8 * 16, y as u8 * 16, 77]));
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let bytes = encoded(picture.clone(), format);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("picture");
            // A PNG may lack its last chunk, which says nothing but that it is the last.
            let end = bytes.len() - if format == ImageFormat::Png { 12 } else { 0 };
            for len in 0..end {
                fs::write(&path, &bytes[..len]).unwrap();
                assert!(read(&path, &field(&[3, 16, 16])).is_err(), "{format:?} cut at {len}");
            }
        }
    }

    #[test]
    fn bytes_become_a_cell_that_the_feature_takes_as_it_takes_the_file() {
        use crate::features::{Role, Setting, find};
        use nerve_formats::spec::{Value, check};
        let folder = tempfile::tempdir().unwrap();
        let setting = Setting { role: Role::Input, folder: folder.path().into() };
        let grey = image::GrayAlphaImage::from_fn(7, 5, |x, y| {
            image::LumaA([(x * 30 + y) as u8, 255 - (y * 40) as u8])
        });
        let colours = RgbImage::from_fn(9, 4, |x, y| Rgb([x as u8 * 20, y as u8 * 50, 77]));
        let flat = GrayImage::from_fn(6, 6, |x, y| image::Luma([(x * 9 + y) as u8]));
        let files = [
            encoded(grey, ImageFormat::Png),
            encoded(colours.clone(), ImageFormat::Png),
            encoded(colours, ImageFormat::Jpeg),
            encoded(flat, ImageFormat::Png),
        ];
        for (file, channels) in files.iter().flat_map(|file| [(file, 1), (file, 3)]) {
            fs::write(folder.path().join("x.png"), file).unwrap();
            let entry = find("image").unwrap();
            let given = [
                ("size", Value::Int(8)),
                ("channels", Value::Int(channels)),
                ("resize", Value::text("fit")),
                ("normalize", Value::text("none")),
            ];
            let given: Vec<(String, Value)> = given.map(|(k, v)| (k.to_string(), v)).into();
            let args = check(entry.spec, &given).unwrap();
            let mut fitting = (entry.begin)(&args, &setting).unwrap();
            let named = Cells::Text([Some("x.png")].into_iter().collect());
            fitting.observe(&named, 0).unwrap();
            let feature = fitting.finish().unwrap();
            let stored = |cells: &Cells| {
                let mut pixels = vec![0; 64 * channels as usize];
                feature.store(cells, 0, crate::Slice::U8(&mut pixels)).unwrap();
                pixels
            };
            assert_eq!(stored(&unpack("x", file).unwrap()), stored(&named), "{channels}");
        }
        assert!(unpack("x", b"GIF89a......").unwrap_err().to_string().contains("a GIF file"));
    }

    #[test]
    fn a_field_that_is_no_image_is_refused() {
        let png = encoded(GrayImage::new(2, 2), ImageFormat::Png);
        for shape in [&[784][..], &[2, 28, 28], &[1, 0, 28], &[], &[1, 1 << 20, 1 << 20]] {
            let message = read_bytes(&png, shape).unwrap_err();
            assert!(message.contains("a model that takes images"), "{message}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn mutated_files_never_panic(
            jpeg: bool,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let format = if jpeg { ImageFormat::Jpeg } else { ImageFormat::Png };
            let picture = RgbImage::from_fn(9, 7, |x, y| Rgb([x as u8 * 16, y as u8 * 16, 77]));
            let mut bytes = encoded(picture, format);
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(pixels) = decode::decode("x".as_ref(), &bytes) {
                prop_assert_eq!(pixels.bytes.len(), pixels.size[0] * pixels.size[1] * pixels.channels);
                fill(&pixels, 3, [4, 4], Resize::Fit, &mut [0; 48]);
            }
        }
    }
}
