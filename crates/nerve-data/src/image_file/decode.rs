//! PNG and JPEG files to bytes, upright.

use std::io::Cursor;
use std::path::Path;

use nerve_formats::{ErrorKind, FormatError, Limits, Reader};
use png::{ColorType, Transformations};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::orient;

/// Largest picture, in pixels: 8,192 × 8,192. Checked before anything is unpacked, as a file of some kilobytes can
/// announce any size.
pub(super) const MAX_PIXELS: u64 = 1 << 26;
/// Largest file, in bytes.
const MAX_BYTES: u64 = 256 << 20;
/// Most that chunks beside the picture may take.
const MAX_CHUNKS: usize = 64 << 20;

/// A decoded picture, upright.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pixels {
    /// Height and width.
    pub size: [usize; 2],
    /// 1: grey, 2: grey and alpha, 3: red, green, blue, 4: and alpha.
    pub channels: usize,
    /// Row after row, the channels of a pixel side by side.
    pub bytes: Vec<u8>,
}

/// Numbers that stand for pixels, as a PNG file keeps them: entries of its palette or shades of grey.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Numbers {
    /// Height and width.
    pub size: [usize; 2],
    /// Row after row.
    pub values: Vec<u16>,
}

/// What the beginning of a file says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Announced {
    /// Height and width, upright.
    pub size: [usize; 2],
    /// Whether it has colours.
    pub coloured: bool,
}

/// What the beginning of a PNG or JPEG file says; nothing is unpacked.
///
/// # Errors
/// The file cannot be read, is neither, is damaged in its beginning, or announces too many pixels.
pub fn announced(path: &Path) -> Result<Announced, FormatError> {
    let bytes = read(path)?;
    let (width, height, coloured, orientation) = match kind(path, &bytes)? {
        Kind::Png => {
            let reader = open_png(path, &bytes, Transformations::IDENTITY)?;
            let info = reader.info();
            let coloured =
                !matches!(info.color_type, ColorType::Grayscale | ColorType::GrayscaleAlpha);
            (info.width as usize, info.height as usize, coloured, png_orientation(info))
        }
        Kind::Jpeg => {
            let (decoder, [height, width], space) = open_jpeg(path, &bytes)?;
            (width, height, space != ColorSpace::Luma, jpeg_orientation(&decoder))
        }
    };
    let size = if orientation >= 5 { [width, height] } else { [height, width] };
    Ok(Announced { size, coloured })
}

/// Reads and decodes a file, and turns it upright.
pub(crate) fn load(path: &Path) -> Result<Pixels, FormatError> {
    decode(path, &read(path)?)
}

/// As [`load`], from bytes; `path` stands in messages.
pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Pixels, FormatError> {
    match kind(path, bytes)? {
        Kind::Png => decode_png(path, bytes),
        Kind::Jpeg => decode_jpeg(path, bytes),
    }
}

/// Reads the numbers of a file as they stand in it, if it is a PNG of a palette or of grey; `None` if it has colours.
pub(crate) fn load_numbers(path: &Path) -> Result<Option<Numbers>, FormatError> {
    let bytes = read(path)?;
    if kind(path, &bytes)? != Kind::Png {
        let found = "a JPEG file, whose compression changes numbers";
        return Err(refuse(path, ErrorKind::Unsupported, "a PNG file", found));
    }
    let mut reader = open_png(path, &bytes, Transformations::IDENTITY)?;
    let info = reader.info();
    if !matches!(info.color_type, ColorType::Indexed | ColorType::Grayscale) {
        return Ok(None);
    }
    let (size, depth) = ([info.height as usize, info.width as usize], info.bit_depth as usize);
    let orientation = png_orientation(info);
    let bytes = png_bytes(path, &mut reader)?;
    let row = (size[1] * depth).div_ceil(8);
    let mut values = Vec::with_capacity(size[0] * size[1]);
    for row in bytes.chunks_exact(row) {
        values.extend((0..size[1]).map(|x| match depth {
            16 => u16::from_be_bytes([row[2 * x], row[2 * x + 1]]),
            8 => row[x].into(),
            // Several pixels a byte, the first in the highest bits.
            _ => {
                let shift = 8 - depth - x * depth % 8;
                u16::from(row[x * depth / 8] >> shift) & ((1 << depth) - 1)
            }
        }));
    }
    let (size, values) = orient::upright(orientation, size, 1, values);
    Ok(Some(Numbers { size, values }))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, FormatError> {
    let mut reader = Reader::open(path, &Limits { max_bytes: MAX_BYTES, ..Limits::default() })?;
    reader.bytes("picture", reader.remaining().unwrap_or(0))
}

fn refuse(path: &Path, kind: ErrorKind, expected: &str, found: impl AsRef<str>) -> FormatError {
    FormatError::new(kind, path, "picture", expected, found)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Png,
    Jpeg,
}

/// What is to be done with a format of many kinds, none of which is read.
const TIFF: &str = "a TIFF file: save it as PNG, which keeps 16 bits and all colours";

/// The format, by the first bytes: names lie.
fn kind(path: &Path, bytes: &[u8]) -> Result<Kind, FormatError> {
    const KNOWN: [(&[u8], &str); 8] = [
        (b"GIF8", "a GIF file"),
        (b"RIFF", "a WebP or another RIFF file"),
        (b"II*\0", TIFF),
        (b"MM\0*", TIFF),
        (b"BM", "a BMP file"),
        (b"%PDF", "a PDF file"),
        (b"<svg", "an SVG file"),
        (b"\x1F\x8B", "a gzip file"),
    ];
    if bytes.starts_with(b"\x89PNG\r\n\x1A\n") {
        return Ok(Kind::Png);
    }
    if bytes.starts_with(b"\xFF\xD8\xFF") {
        return Ok(Kind::Jpeg);
    }
    let found = match KNOWN.iter().find(|(start, _)| bytes.starts_with(start)) {
        Some((_, name)) => name.to_string(),
        None if bytes.get(4..8) == Some(b"ftyp") => "an AVIF or HEIC file".into(),
        None if bytes.is_empty() => "an empty file".into(),
        None => format!("the first bytes {:02x?}", &bytes[..bytes.len().min(8)]),
    };
    Err(refuse(path, ErrorKind::Unsupported, "a PNG or JPEG file", found))
}

fn check_size(path: &Path, width: usize, height: usize) -> Result<(), FormatError> {
    if width == 0 || height == 0 {
        let found = format!("{width} × {height}");
        return Err(refuse(path, ErrorKind::Malformed, "at least one pixel", found));
    }
    if (width as u64).saturating_mul(height as u64) > MAX_PIXELS {
        let expected = format!("at most {MAX_PIXELS} pixels");
        return Err(refuse(path, ErrorKind::Limit, &expected, format!("{width} × {height}")));
    }
    Ok(())
}

type PngReader<'a> = png::Reader<Cursor<&'a [u8]>>;

fn open_png<'a>(
    path: &Path,
    bytes: &'a [u8],
    transformations: Transformations,
) -> Result<PngReader<'a>, FormatError> {
    let limits = png::Limits { bytes: MAX_CHUNKS };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    // They may be bombs, and say nothing of the picture that is used here.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(transformations);
    let reader = decoder.read_info().map_err(|error| damaged_png(path, &error))?;
    check_size(path, reader.info().width as usize, reader.info().height as usize)?;
    Ok(reader)
}

fn damaged_png(path: &Path, error: &png::DecodingError) -> FormatError {
    let kind = match error {
        png::DecodingError::LimitsExceeded => ErrorKind::Limit,
        _ => ErrorKind::Malformed,
    };
    refuse(path, kind, "a sound PNG file", error.to_string())
}

fn png_bytes(path: &Path, reader: &mut PngReader<'_>) -> Result<Vec<u8>, FormatError> {
    let len = reader.output_buffer_size().unwrap_or(usize::MAX);
    if len as u64 > 8 * MAX_PIXELS {
        return Err(refuse(
            path,
            ErrorKind::Limit,
            "a picture that fits into memory",
            "a larger one",
        ));
    }
    let mut bytes = vec![0; len];
    let frame = reader.next_frame(&mut bytes).map_err(|error| damaged_png(path, &error))?;
    bytes.truncate(frame.buffer_size());
    Ok(bytes)
}

fn decode_png(path: &Path, bytes: &[u8]) -> Result<Pixels, FormatError> {
    let mut reader = open_png(path, bytes, Transformations::EXPAND)?;
    let (color, depth) = reader.output_color_type();
    let size = [reader.info().height as usize, reader.info().width as usize];
    let orientation = png_orientation(reader.info());
    let mut bytes = png_bytes(path, &mut reader)?;
    if depth == png::BitDepth::Sixteen {
        let wide =
            bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        bytes = wide.map(|value| ((value * 255 + 32_767) / 65_535) as u8).collect();
    }
    let channels = color.samples();
    let (size, bytes) = orient::upright(orientation, size, channels, bytes);
    Ok(Pixels { size, channels, bytes })
}

fn png_orientation(info: &png::Info<'_>) -> u8 {
    info.exif_metadata.as_deref().map_or(1, orient::of_exif)
}

type Jpeg<'a> = JpegDecoder<ZCursor<&'a [u8]>>;

/// A decoder that has read the header, height and width, and the colours of the file.
fn open_jpeg<'a>(
    path: &Path,
    bytes: &'a [u8],
) -> Result<(Jpeg<'a>, [usize; 2], ColorSpace), FormatError> {
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(1 << 16)
        .set_max_height(1 << 16);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| damaged_jpeg(path, &error))?;
    let (width, height) = decoder.dimensions().unwrap_or((0, 0));
    check_size(path, width, height)?;
    let space = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => ColorSpace::Luma,
        Some(ColorSpace::RGB | ColorSpace::YCbCr) => ColorSpace::RGB,
        other => {
            let found = other.map_or("no colours".into(), |space| format!("colours {space:?}"));
            let expected = "a JPEG file of grey, RGB or YCbCr: save it again with these";
            return Err(refuse(path, ErrorKind::Unsupported, expected, found));
        }
    };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    Ok((decoder, [height, width], space))
}

fn damaged_jpeg(path: &Path, error: &zune_jpeg::errors::DecodeErrors) -> FormatError {
    refuse(path, ErrorKind::Malformed, "a sound JPEG file", error.to_string())
}

fn decode_jpeg(path: &Path, bytes: &[u8]) -> Result<Pixels, FormatError> {
    if !jpeg_is_whole(bytes) {
        let found = "a file that is cut off";
        return Err(refuse(path, ErrorKind::Malformed, "a whole JPEG file", found));
    }
    let (mut decoder, size, space) = open_jpeg(path, bytes)?;
    let pixels = decoder.decode().map_err(|error| damaged_jpeg(path, &error))?;
    let channels = space.num_components();
    if pixels.len() != size[0] * size[1] * channels {
        let found = format!("{} of {}", pixels.len(), size[0] * size[1] * channels);
        return Err(refuse(path, ErrorKind::Malformed, "a byte for each colour of a pixel", found));
    }
    let orientation = jpeg_orientation(&decoder);
    let (size, bytes) = orient::upright(orientation, size, channels, pixels);
    Ok(Pixels { size, channels, bytes })
}

fn jpeg_orientation(decoder: &Jpeg<'_>) -> u8 {
    decoder.exif().map_or(1, |exif| orient::of_exif(exif))
}

/// Whether a JPEG file reaches its end marker. The decoder makes the rest of a file that is cut off grey, without a word.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    // Up to the first scan, marker segments tell their length: an end marker among them is that of a preview.
    let mut at = 2;
    while let Some(&[0xFF, marker, high, low]) = bytes.get(at..at + 4) {
        if marker == 0xDA {
            // In the scans, 0xFF is followed by 0xD9 at the end of the picture alone; it is looked for from the end.
            return bytes[at..].windows(2).rev().any(|pair| pair == [0xFF, 0xD9]);
        }
        // Padding before a marker.
        at += if marker == 0xFF { 1 } else { 2 + usize::from(u16::from_be_bytes([high, low])) };
    }
    // Something else than JPEG: the decoder says what.
    at <= bytes.len()
}
