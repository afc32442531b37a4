//! npy and npz, good and bad; the ids are those of the catalogue of bad input.
#![allow(missing_docs)]

use std::io::Write;

use flate2::{Compression, Crc, write::DeflateEncoder};
use nerve_formats::{ErrorKind, FormatError, Limits, Npy, NpyData, Zip};
use proptest::prelude::*;

/// An npy file with this header and these bytes behind it.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.bytes());
    out.extend(data);
    out
}

fn header(descr: &str, order: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}   \n")
}

fn plain(descr: &str, shape: &str, data: &[u8]) -> Result<Npy, FormatError> {
    Npy::from_bytes("x.npy", &npy(&header(descr, "False", shape), data))
}

#[track_caller]
fn refused(bytes: &[u8], kind: ErrorKind, says: &str) {
    let error = Npy::from_bytes("x.npy", bytes).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(says), "no `{says}` in: {error}");
}

#[test]
fn what_was_written_is_read() {
    for npy in [
        Npy { shape: vec![2, 3], data: NpyData::F32(vec![0.5, -1.0, 2.0, f32::NAN, 1e30, -0.0]) },
        Npy { shape: vec![2], data: NpyData::U8(vec![7, 255]) },
        Npy { shape: vec![], data: NpyData::F64(vec![1e300]) },
        Npy { shape: vec![1, 2, 1], data: NpyData::I64(vec![i64::MIN, i64::MAX]) },
        Npy { shape: vec![3, 0], data: NpyData::I32(vec![]) },
    ] {
        let bytes = npy.to_bytes();
        let again = Npy::from_bytes("x.npy", &bytes).unwrap();
        assert_eq!(format!("{again:?}"), format!("{npy:?}"));
        assert_eq!((10 + usize::from(bytes[8])) % 64, 0, "elements are aligned");
    }
}

#[test]
fn every_plain_type_becomes_one_that_holds_it() {
    let data = |descr: &str, bytes: &[u8]| plain(descr, "(1,)", bytes).unwrap().data;
    assert_eq!(data("|b1", &[1]), NpyData::U8(vec![1]));
    assert_eq!(data("|i1", &[0xff]), NpyData::I32(vec![-1]));
    assert_eq!(data("<u2", &[0xff, 0xff]), NpyData::I32(vec![65_535]));
    assert_eq!(data("<i2", &[0xff, 0xff]), NpyData::I32(vec![-1]));
    assert_eq!(data("<u4", &[0xff; 4]), NpyData::I64(vec![0xffff_ffff]));
    assert_eq!(data("<u8", &[1, 0, 0, 0, 0, 0, 0, 0]), NpyData::I64(vec![1]));
    assert_eq!(data("<f2", &[0x00, 0x3c]), NpyData::F32(vec![1.0]));
    assert_eq!(data("<f8", &1.5f64.to_le_bytes()), NpyData::F64(vec![1.5]));
    refused(
        &npy(&header("<u8", "False", "(1,)"), &[0xff; 8]),
        ErrorKind::Unsupported,
        "x.npy: elements: expected elements of type <u8 below 2^63",
    );
}

#[test]
fn n01_what_is_no_npy_or_cut_off() {
    refused(b"PK\x03\x04....", ErrorKind::Malformed, "an npy file, which begins 93 'NUMPY'");
    let mut future = npy(&header("<f4", "False", "(1,)"), &[0; 4]);
    future[6] = 4;
    refused(&future, ErrorKind::Malformed, "expected 1.0, 2.0 or 3.0, found 4.0");
    let whole = npy(&header("<f4", "False", "(1,)"), &[0; 4]);
    for end in 0..whole.len() {
        assert!(Npy::from_bytes("x.npy", &whole[..end]).is_err(), "{end}");
    }
    assert!(Npy::from_bytes("x.npy", &whole).is_ok());
}

#[test]
fn n02_a_header_that_claims_four_gigabytes() {
    let mut bytes = b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec();
    bytes.resize(80, b' ');
    refused(&bytes, ErrorKind::Malformed, "at most 10000 bytes, found 4294967295");
    let text = header("|u1", "False", "(2,)");
    let mut two = b"\x93NUMPY\x02\x00".to_vec();
    two.extend((text.len() as u32).to_le_bytes());
    two.extend(text.bytes());
    two.extend([8, 9]);
    assert_eq!(Npy::from_bytes("x", &two).unwrap().data, NpyData::U8(vec![8, 9]));
}

#[test]
fn n03_headers_are_read_by_a_grammar() {
    for text in [
        "",
        "[]",
        "{}",
        "{'descr': '<f4', 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} + 1",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': __import__('os').getpid()}",
        "{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4, 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '\\x3cf4', 'fortran_order': False, 'shape': (1,)}",
        "{'descr",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)",
    ] {
        refused(&npy(text, &[0; 4]), ErrorKind::Malformed, "x.npy: header");
    }
    // Another order, other quotes, no comma at the end.
    let odd = "{ \"shape\":(1 ,), 'fortran_order':False,'descr':'<f4'}";
    assert_eq!(Npy::from_bytes("x", &npy(odd, &[0; 4])).unwrap().shape, [1]);
}

#[test]
fn n04_n05_types_that_are_not_read() {
    let pickle = npy(&header("|O", "False", "(1,)"), b"\x80\x04cposix\nsystem\n.");
    refused(&pickle, ErrorKind::Unsupported, "pickles are programs, and not run");
    for descr in ["<U5", "|S3", "<M8[ns]", "<c8", "<f16", "|V8", "<i3", "=f4", "f4", "|f4", "<b1x"]
    {
        let bytes = npy(&header(descr, "False", "(1,)"), &[0; 8]);
        refused(&bytes, ErrorKind::Unsupported, &format!("found `{descr}`"));
    }
    let fields = "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}";
    refused(&npy(fields, &[0; 4]), ErrorKind::Malformed, "a plain type, not one with fields");
}

#[test]
fn n06_n07_shapes_that_cannot_be() {
    refused(
        &npy(&header("<f8", "False", "(65536, 65536)"), &[]),
        ErrorKind::Malformed,
        "expected 34359738368 bytes, found 0 left",
    );
    for shape in ["(-1,)", "(1.0,)", "(True,)", "(1)", "3", "(1 2)", "(18446744073709551616,)"] {
        let bytes = npy(&header("<f4", "False", shape), &[0; 4]);
        refused(&bytes, ErrorKind::Malformed, "whole numbers in parentheses");
    }
    for shape in ["(9223372036854775808, 2)", "(0, 9223372036854775808, 4)"] {
        let bytes = npy(&header("|u1", "False", shape), &[]);
        refused(&bytes, ErrorKind::Malformed, "a product below 2^64");
    }
    let bytes = npy(&header("<f8", "False", "(9223372036854775808,)"), &[]);
    refused(&bytes, ErrorKind::Malformed, "fewer than 2^64 bytes");
    let deep = format!("({})", "1, ".repeat(33));
    refused(&npy(&header("|u1", "False", &deep), &[0]), ErrorKind::Malformed, "32 dimensions");
}

#[test]
fn n08_fortran_order_is_turned() {
    // numpy.asfortranarray([[1, 2, 3], [4, 5, 6]])
    let bytes = npy(&header("|u1", "True", "(2, 3)"), &[1, 4, 2, 5, 3, 6]);
    assert_eq!(Npy::from_bytes("x", &bytes).unwrap().data, NpyData::U8(vec![1, 2, 3, 4, 5, 6]));
    // numpy.asfortranarray(numpy.arange(8).reshape(2, 2, 2))
    let bytes = npy(&header("|u1", "True", "(2, 2, 2)"), &[0, 4, 2, 6, 1, 5, 3, 7]);
    assert_eq!(Npy::from_bytes("x", &bytes).unwrap().data, NpyData::U8((0..8).collect()));
}

#[test]
fn n09_big_endian_numbers_are_turned() {
    let bytes: Vec<u8> = [1.5f32, -2.0].into_iter().flat_map(f32::to_be_bytes).collect();
    assert_eq!(plain(">f4", "(2,)", &bytes).unwrap().data, NpyData::F32(vec![1.5, -2.0]));
    assert_eq!(plain(">i2", "(1,)", &[1, 2]).unwrap().data, NpyData::I32(vec![258]));
}

#[test]
fn n10_short_and_long_data() {
    let short = plain("<f4", "(2,)", &[0; 7]).unwrap_err().to_string();
    assert!(short.contains("expected 8 bytes, found 7 left"), "{short}");
    let long = plain("<f4", "(2,)", &[0; 9]).unwrap_err().to_string();
    assert!(long.contains("in all"), "{long}");
}

/// A member of an archive to be made.
struct Packed<'a> {
    name: &'a str,
    data: &'a [u8],
    method: u16,
    flags: u16,
    wide: bool,
}

fn packed<'a>(name: &'a str, data: &'a [u8]) -> Packed<'a> {
    Packed { name, data, method: 8, flags: 0, wide: false }
}

/// An archive, and where each entry of its directory stands.
fn archive(members: &[Packed<'_>]) -> (Vec<u8>, Vec<usize>) {
    let (mut out, mut directory, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for member in members {
        let mut crc = Crc::new();
        crc.update(member.data);
        let body = match member.method {
            8 => {
                let mut deflate = DeflateEncoder::new(Vec::new(), Compression::best());
                deflate.write_all(member.data).unwrap();
                deflate.finish().unwrap()
            }
            _ => member.data.to_vec(),
        };
        let at = out.len() as u32;
        let common = |sizes: [u32; 2], extra: u16| {
            let mut bytes =
                [20u16, member.flags, member.method, 0, 0].map(u16::to_le_bytes).concat();
            bytes.extend(crc.sum().to_le_bytes());
            bytes.extend(sizes.map(u32::to_le_bytes).concat());
            bytes.extend((member.name.len() as u16).to_le_bytes());
            bytes.extend(extra.to_le_bytes());
            bytes
        };
        let sizes = [body.len() as u32, member.data.len() as u32];
        out.extend(0x0403_4b50u32.to_le_bytes());
        out.extend(common(
            if member.wide { [u32::MAX; 2] } else { sizes },
            if member.wide { 20 } else { 0 },
        ));
        out.extend(member.name.bytes());
        if member.wide {
            out.extend([1u16, 16].map(u16::to_le_bytes).concat());
            out.extend([sizes[1], sizes[0]].map(|size| u64::from(size).to_le_bytes()).concat());
        }
        out.extend(&body);
        entries.push(directory.len());
        directory.extend(0x0201_4b50u32.to_le_bytes());
        directory.extend(20u16.to_le_bytes());
        directory.extend(common(sizes, 0));
        directory.extend([0u16; 3].map(u16::to_le_bytes).concat());
        directory.extend([0u32, at].map(u32::to_le_bytes).concat());
        directory.extend(member.name.bytes());
    }
    let start = out.len();
    let count = members.len() as u16;
    out.extend(&directory);
    out.extend(0x0605_4b50u32.to_le_bytes());
    out.extend([0, 0, count, count].map(u16::to_le_bytes).concat());
    out.extend([directory.len() as u32, start as u32].map(u32::to_le_bytes).concat());
    out.extend([0, 0]);
    (out, entries.into_iter().map(|entry| start + entry).collect())
}

fn open(bytes: Vec<u8>) -> Result<Zip, FormatError> {
    Zip::from_bytes("x.npz", bytes, &Limits::default())
}

#[track_caller]
fn zip_refused(bytes: Vec<u8>, says: &str) {
    let error = open(bytes).and_then(|zip| zip.unpack(0).map(|_| ())).unwrap_err().to_string();
    assert!(error.contains(says), "no `{says}` in: {error}");
}

#[test]
fn archives_are_unpacked() {
    let long = vec![7; 5000];
    let members = [
        packed("a.npy", b"hello"),
        Packed { method: 0, ..packed("b.npy", b"plain") },
        Packed { wide: true, ..packed("c.npy", &long) },
        packed("../../x.npy", b""),
    ];
    let zip = open(archive(&members).0).unwrap();
    assert_eq!(zip.names().collect::<Vec<_>>(), ["a.npy", "b.npy", "c.npy", "../../x.npy"]);
    let all: Vec<Vec<u8>> = (0..4).map(|member| zip.unpack(member).unwrap()).collect();
    assert_eq!(all, [b"hello".to_vec(), b"plain".to_vec(), long, vec![]]);
}

#[test]
fn n11_a_bomb_stops_at_the_limit() {
    let zeros = vec![0; 1 << 20];
    let bytes = archive(&[packed("bomb.npy", &zeros)]).0;
    let limits = Limits { free_bytes: 1000, ..Limits::default() };
    let zip = Zip::from_bytes("x.npz", bytes.clone(), &limits).unwrap();
    let error = zip.unpack(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    assert_eq!(open(bytes).unwrap().unpack(0).unwrap().len(), 1 << 20, "small enough to be let");
    // One that is larger than its directory says.
    let (mut lie, entries) = archive(&[packed("bomb.npy", &zeros)]);
    for at in [entries[0] + 24, 22] {
        lie[at..at + 4].copy_from_slice(&100u32.to_le_bytes());
    }
    zip_refused(lie, "expected 100 bytes, found more");
}

#[test]
fn n12_names() {
    zip_refused(archive(&[packed("a", b"1"), packed("a", b"2")]).0, "`a` twice");
    let names: Vec<String> = (0..10_001).map(|i| i.to_string()).collect();
    let many: Vec<_> = names.iter().map(|name| Packed { method: 0, ..packed(name, b"") }).collect();
    zip_refused(archive(&many).0, "at most 10000, found 10001");
    assert_eq!(open(archive(&many[1..]).0).unwrap().names().count(), 10_000);
}

#[test]
fn n13_members_that_lie() {
    let good = || archive(&[packed("a.npy", b"hello hello hello")]);
    let changed = |at: &dyn Fn(usize) -> Vec<usize>, value: u8| {
        let (mut bytes, entries) = good();
        at(entries[0]).into_iter().for_each(|at| bytes[at] = value);
        bytes
    };
    assert!(open(good().0).unwrap().unpack(0).is_ok());
    zip_refused(changed(&|entry| vec![entry + 16, 14], 1), "expected checksum");
    zip_refused(changed(&|entry| vec![entry + 8, 6], 1), "encrypted data");
    zip_refused(changed(&|entry| vec![entry + 10, 8], 14), "method 14");
    zip_refused(changed(&|_| vec![8], 0), "what the directory says");
    zip_refused(changed(&|_| vec![30], b'b'), "what the directory says");
    zip_refused(
        changed(&|entry| vec![entry + 27, entry + 26, entry + 25, entry + 24], 255),
        "zip64",
    );
    zip_refused(changed(&|entry| vec![entry + 20, 18], 200), "before the directory");
    zip_refused(changed(&|entry| vec![entry + 42], 1), "a local header");
    let (whole, _) = good();
    for end in 0..whole.len() {
        assert!(open(whole[..end].to_vec()).is_err(), "{end}");
    }
    let mut twice = whole.clone();
    twice.extend(&whole);
    zip_refused(twice, "one that ends where the end begins");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn changed_files_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let inner = npy(&header("<f4", "True", "(2, 3)"), &[1; 24]);
        let (zip, _) = archive(&[packed("a.npy", &inner), Packed { wide: true, ..packed("b", b"x") }]);
        let change = |mut bytes: Vec<u8>| {
            for (at, value) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            bytes
        };
        let _ = Npy::from_bytes("x", &change(inner.clone()));
        if let Ok(zip) = open(change(zip)) {
            for member in 0..zip.names().count() {
                let _ = zip.unpack(member);
            }
        }
    }
}
