use super::*;

fn parse(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

fn sent(datatype: Datatype, shape: &[i64], text: &str) -> Result<Sent, Refusal> {
    from_json("x", datatype, shape, parse(text))
}

#[test]
fn data_may_be_flat_or_nested() {
    for text in ["[1,2,3,4,5,6]", "[[1,2,3],[4,5,6]]"] {
        let numbers = Elements::Numbers((1..=6).map(f64::from).collect());
        assert_eq!(sent(Fp32, &[2, 3], text).unwrap().elements, numbers, "{text}");
    }
    assert!(sent(Fp32, &[3, 2], "[[1,2,3],[4,5,6]]").unwrap_err().message.contains("[2, 3]"));
    assert!(sent(Fp32, &[0, 3], "[]").is_ok());
    assert!(sent(Bytes, &[2], "[\"a\",\"\"]").is_ok());
    assert!(sent(Bool, &[2], "[true,false]").is_ok());
}

#[test]
fn h08_ragged_lists_and_wrong_counts_are_told_with_both_counts() {
    for text in
        ["[[1,2,3],[4,5]]", "[[1,2],3,4]", "[1,[2,3],4]", "[[[1]],[2,3]]", "[[1,2],[[3],[4]]]"]
    {
        let refusal = sent(Fp32, &[2, 3], text).unwrap_err();
        assert_eq!(refusal.status, 422, "{text}: {refusal:?}");
    }
    let message = sent(Fp32, &[2, 3], "[1,2,3,4]").unwrap_err().message;
    assert!(message.contains("6 elements") && message.contains("has 4"), "{message}");
}

#[test]
fn h10_whole_numbers_are_never_cut() {
    for (datatype, text) in [
        (Int64, "[1.5]"),
        (Int64, "[9223372036854775808]"),
        (Int64, "[9007199254740993]"),
        (Uint8, "[-1]"),
        (Uint8, "[256]"),
        (Int8, "[128]"),
        (Uint64, "[-1]"),
    ] {
        assert_eq!(sent(datatype, &[1], text).unwrap_err().status, 422, "{text}");
    }
    assert_eq!(sent(Fp32, &[1], "[1e39]").unwrap_err().status, 422);
    for text in ["[-0.0]", "[1e-320]"] {
        assert!(sent(Fp32, &[1], text).is_ok(), "{text}");
    }
}

#[test]
fn bytes_are_read_as_they_were_written() {
    let numbers = |sent: Sent| match sent.elements {
        Elements::Numbers(numbers) => numbers,
        other => panic!("{other:?}"),
    };
    let read = |datatype, bytes: &[u8]| {
        let count = bytes.len() / datatype_size(datatype);
        numbers(from_bytes("x", datatype, &[count as i64], bytes).unwrap())
    };
    assert_eq!(read(Fp32, &[1.5f32, -2.0].map(f32::to_le_bytes).concat()), [1.5, -2.0]);
    assert_eq!(read(Int16, &(-3i16).to_le_bytes()), [-3.0]);
    assert_eq!(read(Fp16, &[0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00]), [1.0, -2.0, 2f64.powi(-24)]);
    assert_eq!(read(Bf16, &[0x80, 0x3f]), [1.0]);
    let bytes = [&2u32.to_le_bytes()[..], b"ab", &0u32.to_le_bytes()].concat();
    let texts = from_bytes("x", Bytes, &[2], &bytes).unwrap().elements;
    assert_eq!(texts, Elements::Texts(vec![b"ab".to_vec(), vec![]]));
}

fn datatype_size(datatype: Datatype) -> usize {
    datatype.size()
}

#[test]
fn h21_bytes_that_lie_are_refused() {
    for (datatype, shape, bytes) in [
        (Fp32, &[2][..], &[0u8; 7][..]),
        (Fp32, &[2], &[0; 9]),
        (Bytes, &[1], &[255, 255, 255, 255, 1]),
        (Bytes, &[1], &[1, 0, 0]),
        (Bytes, &[1], &[0, 0, 0, 0, 1]),
    ] {
        assert_eq!(from_bytes("x", datatype, shape, bytes).unwrap_err().status, 400, "{bytes:?}");
    }
    let nan = f32::NAN.to_le_bytes();
    assert_eq!(from_bytes("x", Fp32, &[1], &nan).unwrap_err().status, 422);
}

#[test]
fn h07_shapes_that_cannot_be() {
    for shape in [&[-1][..], &[i64::MAX], &[i64::MAX, i64::MAX], &[1 << 20, 1 << 20], &[1; 17]] {
        assert_eq!(count("x", shape).unwrap_err().status, 422, "{shape:?}");
    }
}
