//! Pictures from outside: right or refused, and never at a cost that their bytes do not bound.

use std::fs;
use std::path::Path;

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use nerve_data::{Element, Field, image_file};

fn field(shape: &[usize]) -> Field {
    Field::new("image", shape, Element::U8)
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Reads bytes as a file; an error without the folder's name.
fn read(bytes: &[u8], shape: &[usize]) -> Result<Vec<u8>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jpg");
    fs::write(&path, bytes).unwrap();
    let here = format!("{}/", folder.path().display());
    let picture = image_file::read(&path, &field(shape));
    picture.map(|picture| picture.pixels).map_err(|error| error.to_string().replace(&here, ""))
}

/// The checksum of a PNG chunk.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
    })
}

/// A PNG with another chunk after its header.
fn with_chunk(png: &[u8], kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&kind[..], data].concat();
    let chunk =
        [&(data.len() as u32).to_be_bytes()[..], &body, &crc32(&body).to_be_bytes()].concat();
    [&png[..33], &chunk, &png[33..]].concat()
}

#[test]
fn i08_of_an_animated_png_the_first_picture_is_read() {
    let frame =
        |grey: u8| encoded(GrayImage::from_pixel(3, 2, image::Luma([grey])), ImageFormat::Png);
    // The data of the second picture, as the encoder packs them.
    let second = frame(200);
    let len = u32::from_be_bytes(second[33..37].try_into().unwrap()) as usize;
    assert_eq!(&second[37..41], b"IDAT");
    let packed = &second[41..41 + len];
    let numbers = |numbers: &[u32]| -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    };
    // Its number, 3 × 2 pixels at (0, 0), for 1/10 s, laid over what was there.
    let control = |number: u32| [numbers(&[number, 3, 2, 0, 0]), vec![0, 1, 0, 10, 0, 0]].concat();
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let body = [&kind[..], data].concat();
        [&numbers(&[data.len() as u32])[..], &body, &numbers(&[crc32(&body)])].concat()
    };
    let first = frame(7);
    let animated = with_chunk(&first, b"fcTL", &control(0));
    let animated = with_chunk(&animated, b"acTL", &numbers(&[2, 0]));
    let end = animated.len() - 12;
    let more =
        [chunk(b"fcTL", &control(1)), chunk(b"fdAT", &[&numbers(&[2])[..], packed].concat())];
    let animated = [&animated[..end], &more.concat(), &animated[end..]].concat();
    assert_eq!(read(&animated, &[1, 2, 3]).unwrap(), [7; 6]);
}

#[test]
fn i07_pictures_of_all_kinds_are_read_as_pillow_reads_them_or_refused() {
    let mut refused = Vec::new();
    for line in include_str!("golden/pictures.tsv").lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        let [name, channels, height, width, file, pixels] = parts[..] else { panic!("{line}") };
        let shape = [channels, height, width].map(|number| number.parse().unwrap());
        let found = read(&unhex(file), &shape);
        if pixels == "refused" {
            refused.push(found.unwrap_err());
            continue;
        }
        let found = found.unwrap_or_else(|error| panic!("{name}: {error}"));
        // Decoders of JPEG round in their own ways.
        let tolerance = if name.starts_with("jpeg") { 3 } else { 0 };
        let rounded = name.contains("over_black") || name.starts_with("resize");
        let tolerance = if rounded { 1 } else { tolerance };
        let worst = found.iter().zip(&unhex(pixels)).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(tolerance), "{name}: off by {worst:?}");
    }
    let says = |at: usize, words: &str| assert!(refused[at].contains(words), "{}", refused[at]);
    says(0, "grey, RGB or YCbCr: save it again with these, found colours");
    says(1, "found a GIF file");
    says(2, "found a BMP file");
    says(3, "found a TIFF file");
    says(4, "found a WebP or another RIFF file");
}

#[test]
fn i01_i02_damage_anywhere_is_an_error_or_a_picture_but_never_a_panic() {
    let picture = RgbImage::from_fn(9, 8, |x, y| image::Rgb([x as u8 * 28, y as u8 * 32, 77]));
    for format in [ImageFormat::Png, ImageFormat::Jpeg] {
        let bytes = encoded(picture.clone(), format);
        for at in 0..bytes.len() {
            assert!(at + 12 >= bytes.len() || read(&bytes[..at], &[3, 8, 9]).is_err());
            let mut changed = bytes.clone();
            changed[at] ^= 0x55;
            let found = read(&changed, &[3, 8, 9]);
            // A PNG has a checksum over every byte, but for those of its own length and end.
            if format == ImageFormat::Png && at + 12 < bytes.len() {
                assert!(found.is_err(), "byte {at}");
            }
        }
    }
}

#[test]
fn i03_i04_i05_sizes_are_checked_before_anything_is_unpacked() {
    let png = encoded(GrayImage::new(1, 1), ImageFormat::Png);
    let sized = |width: u32, height: u32| {
        let mut png = png.clone();
        png[16..20].copy_from_slice(&width.to_be_bytes());
        png[20..24].copy_from_slice(&height.to_be_bytes());
        let checksum = crc32(&png[12..29]).to_be_bytes();
        png[29..33].copy_from_slice(&checksum);
        png
    };
    let error = read(&sized(60_000, 60_000), &[1, 1, 1]).unwrap_err();
    assert_eq!(error, "x.jpg: picture: expected at most 67108864 pixels, found 60000 × 60000");
    assert!(read(&sized(0, 5), &[1, 1, 1]).is_err());
    assert!(read(&sized(u32::MAX, u32::MAX), &[1, 1, 1]).is_err());
    // Just inside: as many pixels as allowed, of which none are there.
    assert!(read(&sized(8192, 8192), &[1, 1, 1]).unwrap_err().contains("sound PNG"));
    let jpeg = encoded(GrayImage::new(8, 8), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    let sized = |height: u16, width: u16| {
        let mut jpeg = jpeg.clone();
        jpeg[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
        jpeg[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
        jpeg
    };
    let error = read(&sized(65_535, 65_535), &[1, 1, 1]).unwrap_err();
    assert_eq!(error, "x.jpg: picture: expected at most 67108864 pixels, found 65535 × 65535");
    assert!(read(&sized(0, 8), &[1, 1, 1]).is_err());
    assert!(read(&sized(8, 0), &[1, 1, 1]).is_err());
}

#[test]
fn i06_the_content_counts_and_not_the_name() {
    // Everything here is called x.jpg.
    let png = encoded(GrayImage::from_pixel(2, 2, image::Luma([9])), ImageFormat::Png);
    assert_eq!(read(&png, &[1, 2, 2]).unwrap(), [9; 4]);
}

#[test]
fn i12_what_is_no_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let read = |path: &Path| image_file::read(path, &field(&[1, 2, 2])).unwrap_err().to_string();
    assert!(read(folder.path()).contains("regular"), "{}", read(folder.path()));
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let (a, b) = (folder.path().join("a.png"), folder.path().join("b.png"));
        std::os::unix::fs::symlink(&a, &b).unwrap();
        std::os::unix::fs::symlink(&b, &a).unwrap();
        assert!(read(&a).contains("a.png"));
        assert!(!read(Path::new("/dev/zero")).is_empty());
        let odd = folder.path().join(std::ffi::OsStr::from_bytes(b"\xFF\xFE.png"));
        assert!(!read(&odd).is_empty());
        let png = encoded(GrayImage::new(2, 2), ImageFormat::Png);
        fs::write(&odd, png).unwrap();
        assert!(image_file::read(&odd, &field(&[1, 2, 2])).is_ok());
    }
}

/// Runs the test named `name` of this program again, in a process whose memory is bounded.
#[cfg(target_os = "linux")]
fn in_bounded_process(name: &str) {
    let this = std::env::current_exe().unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -v 262144 && exec \"$0\" --exact \"$1\" --test-threads 1"])
        .args([this.as_os_str(), name.as_ref()])
        .env("NERVE_TEST_IN_CHILD", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn i03_i09_bombs_cost_nothing() {
    use std::io::Write;

    if std::env::var_os("NERVE_TEST_IN_CHILD").is_none() {
        return in_bounded_process("i03_i09_bombs_cost_nothing");
    }
    assert!(Vec::<u8>::new().try_reserve_exact(300 << 20).is_err(), "the bound is real");
    let png = encoded(GrayImage::from_pixel(2, 2, image::Luma([9])), ImageFormat::Png);
    // 512 MiB of zeros in half a megabyte.
    let mut bomb = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    (0..512).for_each(|_| bomb.write_all(&[0; 1 << 20]).unwrap());
    let bomb = bomb.finish().unwrap();
    for (kind, head) in [
        (b"zTXt", &b"Comment\0\0"[..]),
        (b"iCCP", b"profile\0\0"),
        (b"iTXt", b"Comment\0\x01\0\0\0"),
    ] {
        let file = with_chunk(&png, kind, &[head, &bomb].concat());
        assert_eq!(read(&file, &[1, 2, 2]), Ok(vec![9; 4]), "{}", String::from_utf8_lossy(kind));
    }
}
