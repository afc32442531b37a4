//! Pixels as PNG, in a file or in a page itself.

use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::io::Write;

/// A PNG file of pixels `[channels, height, width]`: 1 channel for grey, 3 for red, green, blue.
///
/// W3C, "Portable Network Graphics (PNG) Specification", 3rd edition, 2025.
///
/// ```
/// let file = nerve_train::picture::encode(1, 2, 2, &[0, 255, 255, 0]);
/// assert!(file.starts_with(b"\x89PNG\r\n\x1a\n"));
/// ```
///
/// # Panics
/// If there are other channels, no pixels, or not as many bytes as the shape says.
pub fn encode(channels: usize, height: usize, width: usize, pixels: &[u8]) -> Vec<u8> {
    assert!(channels == 1 || channels == 3, "{channels} channels");
    assert!(height * width > 0 && pixels.len() == channels * height * width, "pixels of a picture");
    let mut rows = Vec::with_capacity(pixels.len() + height);
    for y in 0..height {
        rows.push(0); // no filter
        for x in 0..width {
            rows.extend((0..channels).map(|c| pixels[(c * height + y) * width + x]));
        }
    }
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = Vec::new();
    header.extend((width as u32).to_be_bytes());
    header.extend((height as u32).to_be_bytes());
    header.extend([8, if channels == 1 { 0 } else { 2 }, 0, 0, 0]);
    chunk(&mut file, b"IHDR", &header);
    chunk(&mut file, b"IDAT", &zlib(&rows));
    chunk(&mut file, b"IEND", &[]);
    file
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    file.extend((data.len() as u32).to_be_bytes());
    let start = file.len();
    file.extend(kind);
    file.extend(data);
    let sum = crc(&file[start..]);
    file.extend(sum.to_be_bytes());
}

/// A zlib stream (RFC 1950).
fn zlib(data: &[u8]) -> Vec<u8> {
    let mut stream = ZlibEncoder::new(Vec::new(), Compression::default());
    let written = stream.write_all(data).and_then(|()| stream.finish());
    written.expect("memory takes everything")
}

/// The CRC-32 of ISO 3309.
fn crc(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |mut sum, &byte| {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { 0xEDB8_8320 ^ (sum >> 1) } else { sum >> 1 };
        }
        sum
    })
}

/// A PNG file as an address that holds it: `data:image/png;base64,…`.
pub fn data_uri(png: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut uri = "data:image/png;base64,".to_string();
    for three in png.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte));
        let bits = bits << (8 * (3 - three.len()));
        for letter in 0..4 {
            let index = (bits >> (18 - 6 * letter)) as usize & 63;
            uri.push(if letter <= three.len() { LETTERS[index] as char } else { '=' });
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_published_ones() {
        assert_eq!(crc(b"123456789"), 0xCBF4_3926);
        assert_eq!(data_uri(b"a"), "data:image/png;base64,YQ==");
        assert_eq!(data_uri(b"Man"), "data:image/png;base64,TWFu");
        assert_eq!(data_uri(b"light w"), "data:image/png;base64,bGlnaHQgdw==");
    }

    #[test]
    fn rows_stand_in_the_stream_one_after_the_other() {
        let file = encode(3, 1, 2, &[1, 2, 3, 4, 5, 6]);
        let start = file.windows(4).position(|four| four == b"IDAT").unwrap() + 4;
        let mut rows = Vec::new();
        let mut stream = flate2::read::ZlibDecoder::new(&file[start..]);
        std::io::Read::read_to_end(&mut stream, &mut rows).unwrap();
        assert_eq!(rows, [0, 1, 3, 5, 2, 4, 6]);
    }
}
