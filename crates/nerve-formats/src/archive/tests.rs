use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

use super::*;

/// A header of POSIX and the body, padded.
fn tar_entry(path: &str, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut header = vec![0u8; 512];
    header[..path.len()].copy_from_slice(path.as_bytes());
    header[124..136].copy_from_slice(format!("{:011o}\0", body.len()).as_bytes());
    header[156] = kind;
    header[257..263].copy_from_slice(b"ustar\0");
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend_from_slice(body);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

fn tar(entries: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let mut all: Vec<u8> =
        entries.iter().flat_map(|(path, kind, body)| tar_entry(path, *kind, body)).collect();
    all.resize(all.len() + 1024, 0);
    all
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    lzma_rs::xz_compress(&mut &bytes[..], &mut out).unwrap();
    out
}

fn deb(name: &str, data: &[u8]) -> Vec<u8> {
    let mut all = b"!<arch>\n".to_vec();
    for (name, body) in
        [("debian-binary", &b"2.0\n"[..]), ("control.tar.gz", &[1, 2, 3]), (name, data)]
    {
        all.extend(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100644, body.len())
                .bytes(),
        );
        all.extend(body);
        all.resize(all.len().next_multiple_of(2), b'\n');
    }
    all
}

/// A zip archive of deflated members; `crc` may change the checksum, `size` the length that is told.
fn zip(members: &[(&str, &[u8])], crc_error: u32, size_error: u32) -> Vec<u8> {
    let (mut all, mut directory) = (Vec::new(), Vec::new());
    for (path, bytes) in members {
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(bytes).unwrap();
        let stored = deflate.finish().unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let mut common = vec![0u8; 26];
        common[..2].copy_from_slice(&20u16.to_le_bytes());
        common[4..6].copy_from_slice(&8u16.to_le_bytes());
        common[10..14].copy_from_slice(&(crc.sum() ^ crc_error).to_le_bytes());
        common[14..18].copy_from_slice(&(stored.len() as u32).to_le_bytes());
        common[18..22].copy_from_slice(&(bytes.len() as u32 + size_error).to_le_bytes());
        common[22..24].copy_from_slice(&(path.len() as u16).to_le_bytes());
        let header = all.len() as u32;
        all.extend(b"PK\x03\x04".iter().chain(&common).chain(path.as_bytes()).chain(&stored));
        directory.extend(b"PK\x01\x02\x14\x00".iter().chain(&common));
        directory.extend([0u8; 10]);
        directory.extend(header.to_le_bytes());
        directory.extend(path.as_bytes());
    }
    let start = all.len() as u32;
    all.extend(&directory);
    all.extend(b"PK\x05\x06\0\0\0\0");
    all.extend([(members.len() as u16).to_le_bytes(); 2].concat());
    all.extend((directory.len() as u32).to_le_bytes());
    all.extend(start.to_le_bytes());
    all.extend(*b"\x03\0end");
    all
}

fn names(bytes: &[u8], wanted: impl Fn(&str) -> bool) -> Vec<(String, Vec<u8>)> {
    let members = unpack("p", bytes, &Limits::default(), wanted).unwrap();
    members.into_iter().map(|member| (member.path, member.bytes)).collect()
}

fn error(bytes: &[u8]) -> String {
    unpack("p", bytes, &Limits::default(), |_| true).unwrap_err().to_string()
}

#[test]
fn every_container_gives_its_members() {
    let long = format!("{}/end.txt", "long".repeat(40));
    let pax = format!("{} path={long}\n", long.len() + 10);
    let plain = tar(&[
        ("./a/b.txt", b'0', b"hello"),
        ("folder/", b'5', b""),
        ("link", b'2', b""),
        ("././@LongLink", b'L', long.as_bytes()),
        ("cut", b'0', b"by GNU"),
    ]);
    let expected = [("a/b.txt".into(), b"hello".to_vec()), (long.clone(), b"by GNU".to_vec())];
    let all = |path: &str| path != "link";
    assert_eq!(names(&plain, all), expected);
    assert_eq!(names(&gzip(&plain), all), expected);
    assert_eq!(names(&xz(&plain), all), expected);
    assert_eq!(names(&deb("data.tar.xz", &xz(&plain)), all), expected);
    assert_eq!(names(&deb("data.tar", &plain), all), expected);
    // Without the magic, as tar wrote before POSIX: the checksum is less by what the magic counted.
    let mut old = tar(&[("a", b'0', b"old")]);
    let magic: u64 = b"ustar".iter().map(|byte| u64::from(*byte)).sum();
    let sum = u64::from_str_radix(std::str::from_utf8(&old[148..154]).unwrap(), 8).unwrap();
    old[257..262].fill(0);
    old[148..154].copy_from_slice(format!("{:06o}", sum - magic).as_bytes());
    assert_eq!(names(&gzip(&old), all), [("a".into(), b"old".to_vec())]);
    let posix = tar(&[("x", b'x', pax.as_bytes()), ("cut", b'0', b"by POSIX")]);
    assert_eq!(names(&posix, all), [(long, b"by POSIX".to_vec())]);
    let big = vec![7u8; 5000];
    let zipped = zip(&[("a.txt", b"one"), ("d/", b""), ("d/b.bin", &big)], 0, 0);
    assert_eq!(names(&zipped, all), [("a.txt".into(), b"one".to_vec()), ("d/b.bin".into(), big)]);
    assert_eq!(names(&zipped, |path| path == "a.txt").len(), 1);
    assert_eq!(names(b"plain", all), [("p".into(), b"plain".to_vec())]);
    assert_eq!(names(&gzip(b"packed"), all), [("p".into(), b"packed".to_vec())]);
}

#[test]
fn n12_paths_that_lead_out_links_and_doubles_are_refused() {
    for path in ["../x", "/etc/passwd", "a/../../x", "a\\..\\x"] {
        assert!(error(&tar(&[(path, b'0', b"")])).contains("a path inside the archive"), "{path}");
        assert!(error(&zip(&[(path, b"")], 0, 0)).contains("a path inside the archive"), "{path}");
    }
    assert!(error(&tar(&[("link", b'2', b"")])).contains("expected a file, found a link"));
    assert!(error(&tar(&[("a", b'0', b"1"), ("a", b'0', b"2")])).contains("expected one such"));
}

#[test]
fn n11_bombs_stop_at_the_limit() {
    let limits = Limits { max_bytes: 1 << 20, max_ratio: 10, free_bytes: 4096 };
    let zeros = vec![0u8; 1 << 19];
    for bomb in
        [gzip(&zeros), xz(&zeros), gzip(&tar(&[("a", b'0', &zeros)])), zip(&[("a", &zeros)], 0, 0)]
    {
        // xz_compress stores, so that its bomb needs a tighter limit.
        let limits = Limits { max_ratio: if bomb.len() > 1 << 18 { 0 } else { 10 }, ..limits };
        let error = unpack("p", &bomb, &limits, |_| true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    }
    let small = gzip(&[0; 4000]);
    assert_eq!(unpack("p", &small, &limits, |_| true).unwrap()[0].bytes.len(), 4000);
}

#[test]
fn n13_damage_is_noticed() {
    assert!(error(&zip(&[("a", b"one")], 1, 0)).contains("checksum"));
    assert!(error(&zip(&[("a", b"one")], 0, 1)).contains("expected 4 bytes, found 3"));
    let mut header = tar(&[("a", b'0', b"x")]);
    header[0] = b'b';
    assert!(error(&header).contains("checksum"));
    assert!(error(&deb("other.tar", b"")).contains("data.tar"));
    assert!(error(&[0x28, 0xb5, 0x2f, 0xfd, 0]).contains("zstd"));
}

#[test]
fn cut_off_anywhere_is_an_error_or_less_never_a_panic() {
    let whole = tar(&[("a/b.txt", b'0', b"hello"), ("c", b'0', &[9; 600])]);
    for package in [
        zip(&[("a", b"one"), ("b", b"two")], 0, 0),
        gzip(&whole),
        xz(&whole),
        whole.clone(),
        deb("data.tar", &whole),
    ] {
        let full = unpack("p", &package, &Limits::default(), |_| true).unwrap();
        for end in 0..package.len() {
            if let Ok(members) = unpack("p", &package[..end], &Limits::default(), |_| true) {
                let known = |member: &Member| full.contains(member) || member.path == "p";
                assert!(members.iter().all(known), "cut at {end}");
            }
        }
    }
}

#[test]
fn lengths_of_xz_that_overflow_are_damage() {
    // Found by fuzzing: the stream names a length near 2^64.
    let found = include_bytes!("../../../../fuzz/corpus/archive/overflow.xz");
    assert!(error(found).contains("damaged"));
}
