//! Pixels as PNG, in a page itself. What is stored is not compressed: pictures of reports are small.

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

/// A zlib stream (RFC 1950) of stored blocks (RFC 1951).
fn zlib(data: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = data.chunks(65_535).peekable();
    while let Some(block) = blocks.next() {
        stream.push(u8::from(blocks.peek().is_none()));
        let len = block.len() as u16;
        stream.extend(len.to_le_bytes());
        stream.extend((!len).to_le_bytes());
        stream.extend(block);
    }
    let (mut a, mut b) = (1u32, 0u32);
    for &byte in data {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    stream.extend((b << 16 | a).to_be_bytes());
    stream
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
        // RFC 1950's sum of the same text, as zlib has it.
        assert_eq!(zlib(b"123456789")[7 + 9..], 0x091E_01DEu32.to_be_bytes());
        assert_eq!(data_uri(b"a"), "data:image/png;base64,YQ==");
        assert_eq!(data_uri(b"Man"), "data:image/png;base64,TWFu");
        assert_eq!(data_uri(b"light w"), "data:image/png;base64,bGlnaHQgdw==");
    }

    #[test]
    fn a_large_picture_has_several_blocks() {
        let stream = zlib(&vec![7; 70_000]);
        assert_eq!(stream[2], 0);
        assert_eq!(stream[2 + 5 + 65_535], 1);
        assert_eq!(stream.len(), 2 + 2 * 5 + 70_000 + 4);
    }
}
