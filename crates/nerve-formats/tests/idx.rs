//! idx: the cases D01 to D10 of bad input, each with a good twin, and round trips.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use nerve_formats::{ErrorKind, FormatError, Idx, IdxData, Limits, read_idx, write_idx};

/// A file with this type code and these dimensions, and `n` bytes of data.
fn file(code: u8, dims: &[u32], n: usize) -> Vec<u8> {
    let mut bytes = vec![0, 0, code, dims.len() as u8];
    bytes.extend(dims.iter().flat_map(|d| d.to_be_bytes()));
    bytes.extend((0..n).map(|i| i as u8));
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<Idx, FormatError> {
    Idx::from_bytes("x.idx", bytes, &Limits::default())
}

/// The error's text, having checked its kind and that it is one line.
#[track_caller]
fn refused(kind: ErrorKind, result: Result<Idx, FormatError>) -> String {
    let e = result.expect_err("must be refused");
    assert_eq!(e.kind(), kind, "{e}");
    let text = e.to_string();
    assert!(text.starts_with("x.idx: ") && !text.contains('\n'), "{text}");
    text
}

#[track_caller]
fn malformed(bytes: &[u8]) -> String {
    refused(ErrorKind::Malformed, read(bytes))
}

fn u8s(dims: &[usize]) -> Idx {
    let n = dims.iter().product();
    Idx { dims: dims.to_vec(), data: IdxData::U8((0..n).map(|i| i as u8).collect()) }
}

#[test]
fn d01_magic_number() {
    let mut bytes = file(8, &[3], 3);
    assert_eq!(read(&bytes).unwrap(), u8s(&[3]));
    bytes[1] = 1;
    assert_eq!(
        malformed(&bytes),
        "x.idx: magic number at byte 0: expected an idx file, which begins 00 00, found 00 01"
    );
    assert!(malformed(b"<!DOCTYPE html>").ends_with("3c 21 (an HTML page?)"));
    assert!(malformed(b"").contains("expected 4 bytes, found 0 left of 0 in all"));
}

#[test]
fn d02_element_type() {
    for (code, size) in [(8, 1), (9, 1), (0x0b, 2), (0x0c, 4), (0x0d, 4), (0x0e, 8)] {
        assert_eq!(read(&file(code, &[3], 3 * size)).unwrap().data.len(), 3);
    }
    for code in [0, 7, 0x0a, 0x0f, 0xff] {
        let text = malformed(&file(code, &[3], 3));
        assert!(text.contains("element type at byte 2: expected one of 08"), "{text}");
        assert!(text.ends_with(&format!("found {code:02x}")), "{text}");
    }
}

#[test]
fn d03_number_of_dimensions() {
    assert_eq!(read(&file(8, &[1; 8], 1)).unwrap().dims, [1; 8]);
    assert!(malformed(&file(8, &[], 1)).contains("dimensions at byte 3: expected 1 to 8, found 0"));
    assert!(malformed(&file(8, &[1; 9], 1)).ends_with("found 9"));
    assert!(malformed(&file(8, &[1; 255], 1)).ends_with("found 255"));
}

#[test]
fn d04_dimensions_beyond_the_file() {
    let big = u32::MAX;
    let text = malformed(&file(8, &[big, big, big], 9));
    assert!(text.contains("expected a product below 2^64"), "{text}");
    // The elements fit in 64 bits, the bytes do not.
    let text = malformed(&file(0x0e, &[big, big], 9));
    assert!(text.contains("expected a product below 2^64"), "{text}");
    // Strides are made of the other dimensions, so a 0 hides nothing.
    malformed(&file(8, &[0, big, big, big], 0));
    let text = malformed(&file(8, &[1 << 20, 1 << 20], 9));
    assert!(text.contains("expected 1099511627776 bytes, found 9 left of 21 in all"), "{text}");
    assert_eq!(read(&file(8, &[0, 28, 28], 0)).unwrap().dims, [0, 28, 28]);
}

#[test]
fn d04_in_gzip_too() {
    let bytes = gzip(&file(8, &[1 << 20, 1 << 20], 9));
    let text = refused(ErrorKind::Limit, read(&bytes));
    assert!(text.contains("67108864 bytes from a gzip file of"), "{text}");
    assert!(text.ends_with("found a claim of 1099511627776 bytes more"), "{text}");
}

#[test]
fn d05_short_or_long_by_one() {
    let good = file(8, &[2, 3], 6);
    assert_eq!(read(&good).unwrap(), u8s(&[2, 3]));
    assert_eq!(
        malformed(&good[..17]),
        "x.idx: data of 2×3 at byte 12: expected 6 bytes, found 5 left of 17 in all"
    );
    let long = file(8, &[2, 3], 7);
    assert_eq!(
        malformed(&long),
        "x.idx: data of 2×3 at byte 18: expected 18 bytes in all, found 19"
    );
    let text = malformed(&gzip(&good[..17]));
    assert!(text.contains("expected 6 bytes, found 5 before the end"), "{text}");
    let text = malformed(&gzip(&long));
    assert!(text.contains("expected 18 bytes in all, found more"), "{text}");
}

#[test]
fn d06_images_and_labels_differ_in_number() {
    let (images, labels) = (u8s(&[4, 2, 2]), u8s(&[3]));
    images.expect_as_many("images", &u8s(&[4]), "labels").unwrap();
    let e = labels.expect_as_many("labels", &images, "images").unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Mismatch);
    assert_eq!(
        e.to_string(),
        "labels: number of samples: expected 4 samples, as in images, found 3"
    );
}

#[test]
fn d07_label_out_of_range() {
    let labels = u8s(&[10]);
    assert_eq!(labels.labels("y", 10).unwrap(), (0..10).collect::<Vec<u32>>());
    let e = labels.labels("y", 9).unwrap_err();
    assert_eq!(e.to_string(), "y: label of row 9: expected 0 to 8, found 9");
    let negative = Idx { dims: vec![2], data: IdxData::I32(vec![3, -1]) };
    let e = negative.labels("y", 10).unwrap_err();
    assert_eq!(e.to_string(), "y: label of row 1: expected 0 to 9, found -1");
    let floats = Idx { dims: vec![1], data: IdxData::F32(vec![1.5]) };
    let e = floats.labels("y", 10).unwrap_err();
    assert_eq!(e.to_string(), "y: labels: expected integers, found f32");
}

#[test]
fn d08_no_samples() {
    u8s(&[1, 28, 28]).expect_samples("x", "images").unwrap();
    let e = u8s(&[0, 28, 28]).expect_samples("x", "images").unwrap_err();
    assert_eq!(
        e.to_string(),
        "x: images: expected at least one sample, found no samples (0×28×28)"
    );
    assert!(u8s(&[0]).labels("y", 10).unwrap_err().to_string().contains("no samples"));
}

#[test]
fn d09_gzip_cut_off_at_every_byte() {
    let good = gzip(&file(8, &[40, 5], 200));
    assert_eq!(read(&good).unwrap(), u8s(&[40, 5]));
    for n in 0..good.len() {
        malformed(&good[..n]);
    }
    let text = malformed(&good[..good.len() - 1]);
    assert!(text.contains("expected a whole gzip stream, found one that is cut off"), "{text}");
}

#[test]
fn d09_gzip_checksum_and_rubbish_behind() {
    let good = gzip(&file(8, &[40, 5], 200));
    // The last eight bytes are the checksum and the length.
    for i in good.len() - 8..good.len() {
        let mut bad = good.clone();
        bad[i] ^= 1;
        assert!(malformed(&bad).contains("a damaged one"));
    }
    for rubbish in [&b"x"[..], b"\0", b"rubbish behind the end", &good[..5], &[0; 600]] {
        malformed(&[&good[..], rubbish].concat());
    }
    // Concatenated members are one stream by the definition of gzip (RFC 1952, 2.2).
    let plain = file(8, &[40, 5], 200);
    let two = [gzip(&plain[..50]), gzip(&plain[50..])].concat();
    assert_eq!(read(&two).unwrap(), u8s(&[40, 5]));
}

#[test]
fn d09_gzip_bomb() {
    // 2 MiB of zeros in 2 kB; the header announces all of it, so only the limits can stop it.
    let mut plain = file(8, &[2 << 20], 0);
    plain.resize(plain.len() + (2 << 20), 0);
    let bomb = gzip(&plain);
    assert!(bomb.len() * 500 < plain.len());
    let strict = Limits { free_bytes: 1 << 20, ..Limits::default() };
    let text = refused(ErrorKind::Limit, Idx::from_bytes("x.idx", &bomb, &strict));
    assert!(text.contains("1048576 bytes from a gzip file of"), "{text}");
    let small = Limits { max_bytes: 1 << 20, ..Limits::default() };
    refused(ErrorKind::Limit, Idx::from_bytes("x.idx", &bomb, &small));
    // Zeros are not a crime: within the free part they are read, and so with a looser ratio.
    assert_eq!(read(&bomb).unwrap().dims, [2 << 20]);
    let loose = Limits { max_ratio: 1032, ..strict };
    assert_eq!(Idx::from_bytes("x.idx", &bomb, &loose).unwrap().dims, [2 << 20]);
    // A header that announces little stops the bomb after one byte too many.
    let liar = gzip(&[file(8, &[1], 1), vec![0; 4 << 20]].concat());
    let text = refused(ErrorKind::Malformed, read(&liar));
    assert!(text.contains("expected 9 bytes in all, found more"), "{text}");
}

#[test]
fn d10_images_given_as_labels() {
    let e = u8s(&[10, 28, 28]).labels("t10k-images", 10).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Mismatch);
    assert_eq!(
        e.to_string(),
        "t10k-images: labels: expected rank 1, found rank 3 (10×28×28 of u8, as images have)"
    );
    let e = u8s(&[10]).expect_rank("t10k-labels", "images", 3).unwrap_err();
    assert!(e.to_string().ends_with("rank 3, found rank 1 (10 of u8, as labels have)"));
}

#[test]
fn every_type_goes_round_plain_and_in_gzip() {
    let dir = tempfile::tempdir().unwrap();
    let all = [
        IdxData::U8(vec![0, 1, 128, 255]),
        IdxData::I8(vec![0, 1, -128, 127]),
        IdxData::I16(vec![0, 0x0102, i16::MIN, i16::MAX]),
        IdxData::I32(vec![0, 0x01020304, i32::MIN, i32::MAX]),
        IdxData::F32(vec![0.0, -1.5, f32::MAX, f32::INFINITY]),
        IdxData::F64(vec![0.0, -1.5, f64::MAX, f64::MIN_POSITIVE]),
    ];
    for data in all {
        let idx = Idx { dims: vec![2, 2], data };
        for name in ["a.idx", "a.idx.gz"] {
            let path = dir.path().join(name);
            write_idx(&path, &idx).unwrap();
            assert_eq!(read_idx(&path).unwrap(), idx);
            let first = fs::read(&path).unwrap();
            assert_eq!(first.starts_with(&[0x1f, 0x8b]), name.ends_with("gz"));
            write_idx(&path, &idx).unwrap();
            assert_eq!(fs::read(&path).unwrap(), first, "the bytes must not vary");
        }
    }
}

#[test]
fn what_the_format_cannot_hold_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.idx");
    for dims in [vec![], vec![3], vec![1; 9], vec![usize::MAX, 4]] {
        let idx = Idx { dims, data: IdxData::U8(vec![1, 2, 3, 4]) };
        assert_eq!(write_idx(&path, &idx).unwrap_err().kind(), ErrorKind::Mismatch);
    }
    assert!(!path.exists());
}
