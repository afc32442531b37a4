//! Which way is up: what a camera noted in EXIF.

/// The orientation in EXIF data, 1 (upright) to 8; 1 where there is none or the data are damaged.
pub(super) fn of_exif(exif: &[u8]) -> u8 {
    orientation(exif).filter(|value| (1..=8).contains(value)).unwrap_or(1) as u8
}

/// EXIF is a TIFF header and a list of entries of 12 bytes: tag, type, count, value.
fn orientation(exif: &[u8]) -> Option<u16> {
    const TAG: u16 = 0x0112;
    let little = match exif.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = exif.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let start: [u8; 4] = exif.get(4..8)?.try_into().ok()?;
    let start = if little { u32::from_le_bytes(start) } else { u32::from_be_bytes(start) } as usize;
    (0..usize::from(short(start)?))
        .map_while(|entry| start.checked_add(2 + 12 * entry))
        .find(|&at| short(at) == Some(TAG))
        .and_then(|at| short(at + 8))
}

/// Turns pixels of `channels` values upright.
pub(super) fn upright<T: Copy>(
    orientation: u8,
    [height, width]: [usize; 2],
    channels: usize,
    pixels: Vec<T>,
) -> ([usize; 2], Vec<T>) {
    if !(2..=8).contains(&orientation) {
        return ([height, width], pixels);
    }
    let turned = orientation >= 5;
    let size = if turned { [width, height] } else { [height, width] };
    let mut out = Vec::with_capacity(pixels.len());
    for y in 0..size[0] {
        for x in 0..size[1] {
            let (bottom, right) = (height - 1, width - 1);
            let (from_y, from_x) = match orientation {
                2 => (y, right - x),
                3 => (bottom - y, right - x),
                4 => (bottom - y, x),
                5 => (x, y),
                6 => (bottom - x, y),
                7 => (bottom - x, right - y),
                _ => (x, right - y),
            };
            let at = (from_y * width + from_x) * channels;
            out.extend_from_slice(&pixels[at..at + channels]);
        }
    }
    (size, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pictures of the EXIF standard: the letter F, as a camera in each position stores it.
    #[test]
    fn i07_every_orientation_turns_upright() {
        let upright_f = [1, 2, 3, 4, 5, 6];
        // Rows and columns of the stored picture, by what row 0 and column 0 show.
        let stored: [(u8, [usize; 2], [u8; 6]); 8] = [
            (1, [3, 2], [1, 2, 3, 4, 5, 6]),
            (2, [3, 2], [2, 1, 4, 3, 6, 5]),
            (3, [3, 2], [6, 5, 4, 3, 2, 1]),
            (4, [3, 2], [5, 6, 3, 4, 1, 2]),
            (5, [2, 3], [1, 3, 5, 2, 4, 6]),
            (6, [2, 3], [2, 4, 6, 1, 3, 5]),
            (7, [2, 3], [6, 4, 2, 5, 3, 1]),
            (8, [2, 3], [5, 3, 1, 6, 4, 2]),
        ];
        for (orientation, size, pixels) in stored {
            let (size, out) = upright(orientation, size, 1, pixels.to_vec());
            assert_eq!((size, &out[..]), ([3, 2], &upright_f[..]), "orientation {orientation}");
        }
        assert_eq!(upright(6, [1, 2], 2, vec![1, 2, 3, 4]).1, [1, 2, 3, 4]);
    }

    #[test]
    fn damaged_exif_is_no_orientation() {
        let mut exif = b"MM\0*\0\0\0\x08\0\x02\x01\x00\0\x03\0\0\0\x01\0\x09\0\0\x01\x12\0\x03\0\0\0\x01\0\x06\0\0".to_vec();
        assert_eq!(of_exif(&exif), 6);
        for len in 0..exif.len() - 2 {
            let cut = of_exif(&exif[..len]);
            assert_eq!(cut, 1, "cut at {len}");
        }
        exif[4] = 0xFF;
        assert_eq!(of_exif(&exif), 1);
        assert_eq!(of_exif(b"II*\0\xFF\xFF\xFF\xFF"), 1);
    }
}
