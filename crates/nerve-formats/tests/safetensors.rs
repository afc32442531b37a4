//! safetensors: the cases S01 to S22 of bad input, each with a good twin, and what is written.

use std::fs;

use nerve_formats::safetensors::{
    Dtype, Elements, MAX_TENSORS, Mismatch, NewTensor, SafeTensors, compare, to_bytes,
};
use nerve_formats::{ErrorKind, FormatError, Limits, write_safetensors};

/// A file with this header (its length in front) and this data.
fn file(header: impl AsRef<[u8]>, data: &[u8]) -> Vec<u8> {
    let header = header.as_ref();
    [&(header.len() as u64).to_le_bytes(), header, data].concat()
}

/// A header's entry of one tensor.
fn tensor(name: &str, dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
}

/// A file with one tensor `x` over 4 bytes of data.
fn one(dtype: &str, shape: &str, offsets: &str) -> Vec<u8> {
    file(format!("{{{}}}", tensor("x", dtype, shape, offsets)), &[0; 4])
}

fn read(bytes: &[u8]) -> Result<SafeTensors, FormatError> {
    SafeTensors::from_bytes("m.st", bytes)
}

/// The error's text, having checked its kind and that it is one printable line.
#[track_caller]
fn refused(kind: ErrorKind, bytes: &[u8]) -> String {
    let e = read(bytes).expect_err("must be refused");
    let text = e.to_string();
    assert_eq!(e.kind(), kind, "{text}");
    assert!(text.starts_with("m.st: ") && !text.chars().any(char::is_control), "{text}");
    text
}

#[track_caller]
fn malformed(bytes: &[u8], says: &str) {
    let text = refused(ErrorKind::Malformed, bytes);
    assert!(text.contains(says), "{text:?} should say {says:?}");
}

#[track_caller]
fn accepted(bytes: &[u8]) -> SafeTensors {
    read(bytes).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn s01_too_short_for_a_length() {
    for n in 0..8 {
        let text = refused(ErrorKind::Malformed, &vec![2; n]);
        let want =
            format!("header length at byte 0: expected 8 bytes, found {n} left of {n} in all");
        assert!(text.ends_with(&want), "{text}");
    }
    assert!(accepted(&file("{}", b"")).is_empty());
}

#[test]
fn s02_a_header_that_is_no_object() {
    malformed(&file("", b""), "header at byte 8: expected '{' first, found nothing");
    for header in ["[]", "null", "\"x\"", "1"] {
        malformed(&file(header, b""), "expected '{' first, found");
    }
    malformed(&file("{", b""), "expected '}' and nothing but spaces at the end");
    malformed(&file("{}}", b""), "header at byte 10: expected a JSON header");
    malformed(&file("{\"x\"}", b""), "expected a JSON header");
    accepted(&file("{}", b""));
}

#[test]
fn s03_a_length_that_is_absurd() {
    for n in [u64::MAX, 1 << 63, 1 << 40, 100_000_001] {
        let text = refused(ErrorKind::Limit, &[&n.to_le_bytes()[..], b"{}"].concat());
        let want = format!("header length at byte 0: expected at most 100000000, found {n}");
        assert!(text.ends_with(&want), "{text}");
    }
    let text = refused(ErrorKind::Unsupported, b"PK\x03\x04\0\0\x08\x08 net/data.pkl and so on");
    assert!(text.contains("a PyTorch file") && text.contains("save_file"), "{text}");
}

#[test]
fn s04_a_header_beyond_the_file() {
    let mut bytes = file("{}          ", b"");
    assert_eq!(bytes.len(), 20);
    accepted(&bytes);
    bytes[..8].copy_from_slice(&100_000_000u64.to_le_bytes());
    malformed(&bytes, "header at byte 8: expected 100000000 bytes, found 12 left of 20 in all");
    bytes[..8].copy_from_slice(&13u64.to_le_bytes());
    malformed(&bytes, "expected 13 bytes, found 12 left of 20 in all");
}

#[test]
fn s05_what_surrounds_the_header() {
    malformed(&file(" {}", b""), "expected '{' first, found ' '");
    malformed(&file("\n{}", b""), "expected '{' first, found '\\n'");
    malformed(&file("\u{feff}{}", b""), "expected '{' first, found '\\u{feff}'");
    malformed(&file("{}\n", b""), "nothing but spaces at the end");
    malformed(&file("{}\0", b""), "nothing but spaces at the end");
    accepted(&file("{}      ", b""));
}

#[test]
fn s06_a_header_that_is_not_utf8() {
    malformed(&file(b"{\"a\xff\":1}", b""), "header at byte 11: expected UTF-8, found byte ff");
    let header = format!("{{{}}}", tensor("héß", "U8", "[4]", "[0,4]"));
    assert_eq!(accepted(&file(header, &[0; 4])).names().next(), Some("héß"));
}

#[test]
fn s07_a_name_that_appears_twice() {
    let (a, b) = (tensor("x", "U8", "[4]", "[0,4]"), tensor("x", "U8", "[4]", "[4,8]"));
    malformed(&file(format!("{{{a},{b}}}"), &[0; 8]), "tensor \"x\": expected each name once");
    // The same name in other letters, to a reader of JSON.
    let c = tensor("\\u0078", "U8", "[4]", "[4,8]");
    malformed(&file(format!("{{{a},{c}}}"), &[0; 8]), "a duplicate key");
    let d = tensor("y", "U8", "[4]", "[4,8]");
    assert_eq!(accepted(&file(format!("{{{a},{d}}}"), &[0; 8])).len(), 2);
    // So with the keys of a tensor, of the metadata, and the metadata themselves.
    let twice = r#"{"x":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#;
    malformed(&file(twice, &[0; 4]), "a duplicate key dtype");
    malformed(&file(r#"{"__metadata__":{"k":"1","k":"2"}}"#, b""), "duplicate key \"k\"");
    let twice = r#"{"__metadata__":{},"__metadata__":{}}"#;
    malformed(&file(twice, b""), "__metadata__ at byte");
}

#[test]
fn s08_metadata_that_are_not_text() {
    for value in ["1", "{}", "null", "[]", "true", "1.5"] {
        let header = format!(r#"{{"__metadata__":{{"k":{value}}}}}"#);
        malformed(&file(header, b""), "__metadata__ at byte");
    }
    malformed(&file(r#"{"__metadata__":"k"}"#, b""), "expected an object of strings");
    let good = accepted(&file(r#"{"__metadata__":{"z":"1","a":"zwei\n"}}"#, b""));
    let pairs = [("z".to_owned(), "1".to_owned()), ("a".to_owned(), "zwei\n".to_owned())];
    assert_eq!(good.metadata(), pairs);
    assert_eq!((good.metadata_value("z"), good.metadata_value("b")), (Some("1"), None));
}

#[test]
fn s09_deep_nesting() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [200, 100_000] {
            let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            malformed(&one("U8", &deep, "[0,4]"), "tensor \"x\" at byte");
            malformed(&file(format!("{{\"x\":{deep}}}"), b""), "tensor \"x\" at byte");
            malformed(&file(format!("{{\"__metadata__\":{deep}}}"), b""), "__metadata__ at byte");
            malformed(&file(format!("{{\"x\":{{\"other\":{deep}}}}}"), b""), "unknown field");
        }
    }
    // The deepest that the format has.
    accepted(&one("U8", "[4]", "[0,4]"));
}

#[test]
fn s10_offsets_that_are_no_whole_numbers() {
    for bad in ["-1", "0.0", "4e0", "1e3", "\"4\"", "null", "01", "+4", "NaN", "-0"] {
        malformed(&one("U8", "[4]", &format!("[{bad},4]")), "m.st: tensor \"x\" at byte");
        malformed(&one("U8", &format!("[{bad}]"), "[0,4]"), "m.st: tensor \"x\" at byte");
    }
    let beyond = ["9007199254740993", "18446744073709551615"];
    for bad in beyond {
        malformed(&one("U8", "[4]", &format!("[0,{bad}]")), &format!("found [0, {bad}]"));
    }
    malformed(&one("U8", "[4]", "[0,18446744073709551616]"), "m.st: tensor \"x\" at byte");
    for bad in ["[0]", "[0,4,4]", "[]", "{}", "4"] {
        malformed(&one("U8", "[4]", bad), "m.st: tensor \"x\" at byte");
    }
    accepted(&one("U8", "[4]", "[0,4]"));
}

#[test]
fn s11_offsets_out_of_order_or_of_range() {
    malformed(
        &one("U8", "[4]", "[4,0]"),
        "tensor \"x\": expected data_offsets in order and up to 4",
    );
    malformed(&one("U8", "[5]", "[0,5]"), "up to 4, found [0, 5]");
    accepted(&one("U8", "[4]", "[0,4]"));
}

#[test]
fn s12_bytes_that_belong_to_no_tensor() {
    let header = |from, to| {
        let (a, b) = (tensor("a", "U8", "[2]", "[0,2]"), tensor("b", "U8", "[2]", "[from,to]"));
        format!("{{{a},{}}}", b.replace("from", from).replace("to", to))
    };
    malformed(&file(header("3", "5"), &[0; 5]), "tensor \"b\": expected data that begin at 2");
    malformed(
        &file(header("2", "4"), &[0; 5]),
        "data: expected 4 bytes, as the tensors need, found 5",
    );
    malformed(&file("{}", &[0; 1]), "data: expected 0 bytes");
    let first = format!("{{{}}}", tensor("a", "U8", "[2]", "[1,3]"));
    malformed(&file(first, &[0; 3]), "a hole before 1");
    accepted(&file(header("2", "4"), &[0; 4]));
}

#[test]
fn s13_bytes_that_belong_to_two() {
    let pair = |offsets| {
        let (a, b) = (tensor("a", "U8", "[4]", "[0,4]"), tensor("b", "U8", "[4]", offsets));
        file(format!("{{{a},{b}}}"), &[0; 8])
    };
    malformed(&pair("[3,7]"), "tensor \"b\": expected data that begin at 4");
    malformed(&pair("[0,4]"), "an overlap at 0");
    accepted(&pair("[4,8]"));
    let many: Vec<String> =
        (0..10_000).map(|i| tensor(&format!("t{i}"), "F32", "[250]", "[0,1000]")).collect();
    malformed(&file(format!("{{{}}}", many.join(",")), &[0; 1000]), "an overlap at 0");
    // An empty tensor inside another is out of place, at its edges it is not.
    let empty = |offsets| {
        let (a, b) = (tensor("a", "U8", "[4]", "[0,4]"), tensor("b", "U8", "[0]", offsets));
        file(format!("{{{a},{b}}}"), &[0; 4])
    };
    malformed(&empty("[2,2]"), "an overlap at 2");
    accepted(&empty("[0,0]"));
    accepted(&empty("[4,4]"));
}

#[test]
fn s14_a_shape_that_does_not_fill_its_bytes() {
    let text = refused(ErrorKind::Malformed, &one("F32", "[1000,1000]", "[0,4]"));
    assert!(text.contains("expected 4000000 bytes (F32 of shape [1000, 1000]), found 4 in [0, 4]"));
    malformed(&one("U8", "[3]", "[0,4]"), "expected 3 bytes");
    malformed(&one("F64", "[1]", "[0,4]"), "expected 8 bytes");
    accepted(&one("F32", "[1,1]", "[0,4]"));
}

#[test]
fn s15_a_shape_that_overflows() {
    for shape in [
        "[4611686018427387904,8]",
        "[4294967296,4294967296]",
        "[18446744073709551615]",
        "[2305843009213693952,4]",
        "[4611686018427387904,8,0]",
        "[0,4611686018427387904,8]",
    ] {
        malformed(&one("F32", shape, "[0,4]"), "an overflow: F32 of shape [");
    }
    let ones = vec!["1"; 65].join(",");
    malformed(&one("F32", &format!("[{ones}]"), "[0,4]"), "more than 64 dimensions");
    accepted(&one("F32", &format!("[{}]", &ones[2..]), "[0,4]"));
}

#[test]
fn s16_scalars_and_empty_tensors() {
    let scalar = accepted(&one("F32", "[]", "[0,4]"));
    let x = scalar.tensor("x").unwrap();
    assert_eq!((x.shape, x.elements(), x.to_f32().unwrap()), (&[][..], 1, vec![0.0]));
    for shape in ["[0]", "[0,5]", "[7,0,3]"] {
        let header = format!("{{{}}}", tensor("x", "F32", shape, "[0,0]"));
        let empty = accepted(&file(header, b""));
        assert!(empty.tensor("x").unwrap().to_f32().unwrap().is_empty());
    }
}

#[test]
fn s17_unknown_and_unsupported_types() {
    malformed(
        &one("F7", "[4]", "[0,4]"),
        "expected a dtype such as F32, found unknown dtype \"F7\"",
    );
    malformed(&one("f32", "[1]", "[0,4]"), "unknown dtype \"f32\"");
    let cases = [("F4", "[8]"), ("F8_E4M3", "[4]"), ("F8_E5M2", "[4]"), ("F8_E8M0", "[4]")];
    for (dtype, shape) in cases {
        let text = refused(ErrorKind::Unsupported, &one(dtype, shape, "[0,4]"));
        assert!(text.ends_with(&format!("found unsupported dtype {dtype}")), "{text}");
        assert!(text.contains("expected one of BOOL, U8"), "{text}");
    }
    for dtype in Dtype::all() {
        let size = dtype.size();
        let entry = tensor("x", dtype.name(), "[3]", &format!("[0,{}]", 3 * size));
        let read = accepted(&file(format!("{{{entry}}}"), &vec![0; 3 * size]));
        assert_eq!(read.tensor("x").unwrap().dtype, dtype);
        assert_eq!(read.tensor("x").unwrap().elements(), 3);
    }
}

#[test]
fn s18_types_below_a_byte_that_are_not_aligned() {
    malformed(&one("F4", "[7]", "[0,4]"), "misaligned: F4 of shape [7]");
    malformed(&one("F6_E2M3", "[5]", "[0,4]"), "misaligned");
    // Aligned, the complaint is another.
    refused(ErrorKind::Unsupported, &one("F4", "[8]", "[0,4]"));
    refused(ErrorKind::Unsupported, &one("F6_E2M3", "[2,2]", "[0,3]"));
}

#[test]
fn s19_a_million_empty_tensors() {
    let header = |n: usize| {
        let all: Vec<String> =
            (0..n).map(|i| tensor(&format!("{i:030}"), "F32", "[0]", "[0,0]")).collect();
        file(format!("{{{}}}", all.join(",")), b"")
    };
    let bytes = header(1_000_000);
    assert!(bytes.len() > 80_000_000 && bytes.len() < 100_000_000);
    let text = refused(ErrorKind::Limit, &bytes);
    assert!(text.contains("expected at most 262144 entries, found more"), "{text}");
    refused(ErrorKind::Limit, &header(MAX_TENSORS + 1));
    let most = accepted(&header(MAX_TENSORS));
    assert_eq!(most.len(), MAX_TENSORS);
    let last = format!("{:030}", MAX_TENSORS - 1);
    assert_eq!(most.get(&last).unwrap().name, last);
    let pairs: Vec<String> = (0..=MAX_TENSORS).map(|i| format!("\"{i}\":\"\"")).collect();
    let metadata = format!("{{\"__metadata__\":{{{}}}}}", pairs.join(","));
    refused(ErrorKind::Limit, &file(metadata, b""));
}

#[test]
fn s20_names_from_outside_are_only_names() {
    let long = "n".repeat(1 << 20);
    let names = ["../../x", "/etc/passwd", "a\0b", "a\nb", "red\u{1b}[31m", "\u{202e}x", "", &long];
    for name in names {
        let raw = NewTensor { name, shape: &[1], data: Elements::F32(&[f32::NAN]) };
        let bytes = to_bytes(&[raw], &[]).unwrap();
        let good = accepted(&bytes);
        assert_eq!(good.tensor(name).unwrap().to_f32().unwrap().len(), 1);
        // Each way in which a name reaches a message.
        let cut = refused(ErrorKind::Malformed, &bytes[..bytes.len() - 1]);
        let absent = good.tensor(&format!("{name}.")).unwrap_err().to_string();
        let nan = good.require_finite().unwrap_err().to_string();
        let extra = good.expect(&[]).unwrap_err().to_string();
        for text in [cut, absent, nan, extra] {
            assert!(!text.chars().any(char::is_control) && !text.contains('\u{202e}'), "{text}");
            assert!(text.len() < 500, "{} bytes", text.len());
        }
    }
    let e = SafeTensors::from_bytes("evil\n\u{1b}[2J", b"").unwrap_err().to_string();
    assert!(e.starts_with("evil\\n\\u{1b}[2J: "), "{e}");
}

#[test]
fn s21_values_that_are_not_finite() {
    let f16 = [0x00, 0x3c, 0x00, 0x7c]; // 1, infinity
    let bf16 = [0x80, 0x3f, 0x80, 0x3f, 0xc0, 0xff]; // 1, 1, NaN
    let all = [
        NewTensor { name: "good", shape: &[2], data: Elements::F32(&[1.0, f32::MAX]) },
        NewTensor { name: "f64", shape: &[2], data: Elements::F64(&[1.0, f64::NEG_INFINITY]) },
        NewTensor { name: "f32", shape: &[2, 2], data: Elements::F32(&[0., 1., f32::NAN, 2.]) },
        NewTensor { name: "f16", shape: &[2], data: Elements::Raw(Dtype::F16, &f16) },
        NewTensor { name: "bf16", shape: &[3], data: Elements::Raw(Dtype::BF16, &bf16) },
        NewTensor { name: "i64", shape: &[1], data: Elements::I64(&[-1]) },
    ];
    let file = accepted(&to_bytes(&all, &[]).unwrap());
    let first = |name| file.first_non_finite(name).unwrap();
    assert_eq!((first("good"), first("i64")), (None, None));
    assert_eq!((first("f64"), first("f32")), (Some(1), Some(2)));
    assert_eq!((first("f16"), first("bf16")), (Some(1), Some(2)));
    assert_eq!(file.first_non_finite("none").unwrap_err().kind(), ErrorKind::Mismatch);
    let e = file.require_finite().unwrap_err();
    assert_eq!(
        e.to_string(),
        "m.st: tensor \"f64\": expected finite values, found infinity or NaN at element 1"
    );
    accepted(&to_bytes(&all[..1], &[]).unwrap()).require_finite().unwrap();
}

#[test]
fn s22_a_file_of_another_model() {
    let have = [
        NewTensor { name: "fc.weight", shape: &[2, 3], data: Elements::F32(&[0.; 6]) },
        NewTensor { name: "fc.bias", shape: &[1], data: Elements::F64(&[0.]) },
        NewTensor { name: "old", shape: &[1], data: Elements::I32(&[0]) },
    ];
    let file = accepted(&to_bytes(&have, &[]).unwrap());
    let need = |name: &str, shape: &[usize]| (name.to_owned(), shape.to_vec(), Dtype::F32);
    let model = [need("fc.weight", &[3, 2]), need("fc.bias", &[1]), need("head", &[4])];
    let found = compare(&model, &file);
    let name = String::from;
    assert_eq!(
        found,
        [
            Mismatch::Shape { name: name("fc.weight"), expected: vec![3, 2], found: vec![2, 3] },
            Mismatch::Dtype { name: name("fc.bias"), expected: Dtype::F32, found: Dtype::F64 },
            Mismatch::Missing { name: name("head"), shape: vec![4], dtype: Dtype::F32 },
            Mismatch::Extra { name: name("old"), shape: vec![1], dtype: Dtype::I32 },
        ]
    );
    let e = file.expect(&model).unwrap_err();
    assert_eq!(
        e.to_string(),
        "m.st: tensors: expected the 3 tensors of the model, found 4 differences: \
         fc.weight has shape [2, 3], expected [3, 2]; fc.bias has dtype F64, expected F32; \
         head is missing (F32 [4]); old is not expected (I32 [1])"
    );
    let same: Vec<_> = file.iter().map(|t| (t.name.into(), t.shape.to_vec(), t.dtype)).collect();
    file.expect(&same).unwrap();
}

/// (That a file shortened while it is open gives an error is a test of the reader.)
#[test]
fn s22_a_file_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.st");
    let x = NewTensor { name: "x", shape: &[3], data: Elements::F32(&[1.0, 2.0, 3.0]) };
    write_safetensors(&path, &[x], &[("k".into(), "v".into())]).unwrap();
    let file = SafeTensors::open(&path, &Limits::default()).unwrap();
    assert_eq!(file.tensor("x").unwrap().to_f32().unwrap(), [1.0, 2.0, 3.0]);

    let whole = fs::read(&path).unwrap();
    let len = whole.len() as u64;
    SafeTensors::open(&path, &Limits { max_bytes: len, ..Limits::default() }).unwrap();
    let e = SafeTensors::open(&path, &Limits { max_bytes: len - 1, ..Limits::default() });
    assert_eq!(e.unwrap_err().kind(), ErrorKind::Limit);
    for n in 0..whole.len() {
        refused(ErrorKind::Malformed, &whole[..n]);
    }

    // What cannot be written leaves the old file.
    let bad = NewTensor { shape: &[4], ..x };
    assert_eq!(write_safetensors(&path, &[bad], &[]).unwrap_err().kind(), ErrorKind::Mismatch);
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[test]
fn what_is_written_byte_for_byte() {
    let tensors = [
        NewTensor { name: "a", shape: &[2], data: Elements::U8(&[7, 8]) },
        NewTensor { name: "b\"", shape: &[1, 1], data: Elements::F32(&[1.0]) },
        NewTensor { name: "c", shape: &[], data: Elements::I64(&[-2]) },
    ];
    let metadata = [("z".to_owned(), "1".to_owned()), ("a".to_owned(), "\n".to_owned())];
    let bytes = to_bytes(&tensors, &metadata).unwrap();
    // The order of the header is the caller's; the widest elements come first in the data.
    let header = concat!(
        r#"{"__metadata__":{"z":"1","a":"\n"},"#,
        r#""a":{"dtype":"U8","shape":[2],"data_offsets":[12,14]},"#,
        r#""b\"":{"dtype":"F32","shape":[1,1],"data_offsets":[8,12]},"#,
        r#""c":{"dtype":"I64","shape":[],"data_offsets":[0,8]}}"#,
    );
    let padded = format!("{header:<width$}", width = header.len().next_multiple_of(8));
    let data = [254, 255, 255, 255, 255, 255, 255, 255, 0, 0, 128, 63, 7, 8];
    assert_eq!(bytes, file(padded, &data));
    let read = accepted(&bytes);
    assert_eq!(read.names().collect::<Vec<_>>(), ["a", "b\"", "c"]);
    assert_eq!(read.metadata(), metadata);
    assert_eq!(read.iter().map(|t| t.begin).collect::<Vec<_>>(), [12, 8, 0]);
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let x = NewTensor { name: "x", shape: &[1], data: Elements::F32(&[1.0]) };
    let kind = |tensors: &[NewTensor<'_>], metadata: &[(String, String)]| {
        to_bytes(tensors, metadata).unwrap_err().kind()
    };
    assert_eq!(kind(&[x, x], &[]), ErrorKind::Mismatch);
    assert_eq!(kind(&[NewTensor { name: "__metadata__", ..x }], &[]), ErrorKind::Mismatch);
    assert_eq!(kind(&[NewTensor { shape: &[2], ..x }], &[]), ErrorKind::Mismatch);
    assert_eq!(kind(&[NewTensor { shape: &[usize::MAX, 2], ..x }], &[]), ErrorKind::Mismatch);
    let raw = Elements::Raw(Dtype::F16, &[0; 3]);
    assert_eq!(kind(&[NewTensor { data: raw, ..x }], &[]), ErrorKind::Mismatch);
    assert_eq!(kind(&[NewTensor { shape: &[1; 65], ..x }], &[]), ErrorKind::Limit);
    let k = || ("k".to_owned(), String::new());
    assert_eq!(kind(&[], &[k(), k()]), ErrorKind::Mismatch);
    accepted(&to_bytes(&[x], &[k()]).unwrap());
}

#[test]
fn conversions() {
    let f16 = [0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00]; // 1, -2, the smallest subnormal
    let bf16 = [0x80, 0x3f, 0x00, 0xc0]; // 1, -2
    let bools = [0, 1];
    let tensors = [
        NewTensor { name: "f16", shape: &[3], data: Elements::Raw(Dtype::F16, &f16) },
        NewTensor { name: "bf16", shape: &[2], data: Elements::Raw(Dtype::BF16, &bf16) },
        NewTensor { name: "f64", shape: &[1], data: Elements::F64(&[0.1]) },
        NewTensor { name: "i32", shape: &[2], data: Elements::I32(&[i32::MIN, 5]) },
        NewTensor { name: "u64", shape: &[1], data: Elements::U64(&[u64::MAX]) },
        NewTensor { name: "bool", shape: &[2], data: Elements::Raw(Dtype::Bool, &bools) },
    ];
    let file = accepted(&to_bytes(&tensors, &[]).unwrap());
    let get = |name| file.tensor(name).unwrap();
    assert_eq!(get("f16").to_f32().unwrap(), [1.0, -2.0, 2f32.powi(-24)]);
    assert_eq!(get("bf16").to_f32().unwrap(), [1.0, -2.0]);
    assert_eq!(get("f64").to_f32().unwrap(), [0.1f32]);
    assert_eq!(get("f64").to_f64().unwrap(), [0.1]);
    assert_eq!(get("bf16").to_f64().unwrap(), [1.0, -2.0]);
    assert_eq!(get("i32").to_i64().unwrap(), [i64::from(i32::MIN), 5]);
    assert_eq!(get("bool").to_i64().unwrap(), [0, 1]);
    let e = get("u64").to_i64().unwrap_err();
    assert_eq!(
        e.to_string(),
        "m.st: tensor \"u64\": expected numbers below 2^63, found a larger one"
    );
    assert!(get("i32").to_f32().unwrap_err().to_string().ends_with("found I32"));
    assert!(get("f64").to_i64().unwrap_err().to_string().ends_with("found F64"));
}
