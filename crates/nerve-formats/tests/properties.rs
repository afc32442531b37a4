//! What holds for every input: readers answer with a value or an error, writers can be read back.

use std::sync::LazyLock;

use nerve_formats::safetensors::{Dtype, Elements, NewTensor, SafeTensors, to_bytes};
use nerve_formats::{Idx, IdxData, Limits};
use proptest::collection::vec;
use proptest::prelude::*;

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) }
}

/// A small file of each kind to start mutations from: safetensors, idx, idx in gzip.
static SEEDS: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let x = NewTensor { name: "fc.weight", shape: &[2, 3], data: Elements::F32(&[1.5; 6]) };
    let y = NewTensor { name: "step", shape: &[], data: Elements::I64(&[7]) };
    let safetensors = to_bytes(&[x, y], &[("format".into(), "pt".into())]).unwrap();
    let idx = Idx { dims: vec![2, 2, 2], data: IdxData::I16((0..8).collect()) };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.gz");
    nerve_formats::write_idx(&path, &idx).unwrap();
    [safetensors, idx.to_bytes().unwrap(), std::fs::read(&path).unwrap()]
});

/// Reads the bytes as every format; what is accepted is walked through.
fn read_as_everything(bytes: &[u8]) {
    let limits = Limits { free_bytes: 1 << 20, ..Limits::default() };
    if let Ok(idx) = Idx::from_bytes("x", bytes, &limits) {
        assert_eq!(idx.dims.iter().product::<usize>(), idx.data.len());
        let _ = idx.labels("x", 10);
    }
    match SafeTensors::from_bytes("x", bytes) {
        Ok(file) => {
            let mut total = 0;
            for t in file.iter() {
                assert_eq!(t.shape.iter().product::<usize>() * t.dtype.size(), t.data.len());
                assert_eq!(file.get(t.name).map(|u| u.begin), Some(t.begin));
                let _ = (t.to_f32(), t.to_i64(), t.first_non_finite());
                total += t.data.len();
            }
            assert!(total <= bytes.len());
        }
        Err(e) => assert!(!e.to_string().chars().any(char::is_control), "{e}"),
    }
}

/// One change to a file: a byte set, a piece cut out, a piece doubled, or text put in.
#[derive(Debug, Clone)]
enum Change {
    Set(usize, u8),
    Cut(usize, usize),
    Double(usize, usize),
    Insert(usize, &'static str),
}

fn change() -> impl Strategy<Value = Change> {
    let text = prop::sample::select(vec![
        "0",
        "9",
        "-",
        "1e3",
        ",",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "\\u0000",
        " ",
        "null",
        "F64",
        "4294967296",
    ]);
    let at = 0usize..4096;
    prop_oneof![
        (at.clone(), any::<u8>()).prop_map(|(i, b)| Change::Set(i, b)),
        (at.clone(), 1usize..20).prop_map(|(i, n)| Change::Cut(i, n)),
        (at.clone(), 1usize..60).prop_map(|(i, n)| Change::Double(i, n)),
        (at, text).prop_map(|(i, t)| Change::Insert(i, t)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let len = bytes.len();
    let place = |i: usize| i % (len + 1);
    match *change {
        Change::Set(i, b) if len > 0 => bytes[i % len] = b,
        Change::Set(..) => {}
        Change::Cut(i, n) => drop(bytes.drain(place(i)..len.min(place(i) + n))),
        Change::Double(i, n) => {
            let piece = bytes[place(i)..len.min(place(i) + n)].to_vec();
            bytes.splice(place(i)..place(i), piece);
        }
        Change::Insert(i, text) => drop(bytes.splice(place(i)..place(i), text.bytes())),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        read_as_everything(&bytes);
    }

    #[test]
    fn a_random_header_never_panics(header in "[\\{\\}\\[\\]\",:0-9a-z_ \\\\-]{0,120}") {
        let text = format!("{{{header}}}");
        read_as_everything(&[&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat());
    }

    #[test]
    fn mutated_files_never_panic(
        seed in 0usize..3,
        changes in vec(change(), 1..6),
        mend in any::<bool>(),
    ) {
        let mut bytes = SEEDS[seed].clone();
        let data = 32; // of the seed in safetensors
        changes.iter().for_each(|c| apply(&mut bytes, c));
        if mend && seed == 0 && bytes.len() > 8 + data {
            // A right length leads the changes past the first check and into the header.
            let header = (bytes.len() - 8 - data) as u64;
            bytes[..8].copy_from_slice(&header.to_le_bytes());
        }
        read_as_everything(&bytes);
    }

    #[test]
    fn safetensors_go_round(
        tensors in vec((any::<String>(), vec(0usize..4, 0..4), 0usize..13, any::<u8>()), 0..6),
        metadata in vec((any::<String>(), any::<String>()), 0..4),
    ) {
        let dtypes: Vec<Dtype> = Dtype::all().collect();
        let made: Vec<_> = tensors.into_iter().enumerate().map(|(i, (name, shape, dtype, fill))| {
            let size = shape.iter().product::<usize>() * dtypes[dtype].size();
            // The number keeps the names apart.
            (format!("{name}{i}"), shape, dtypes[dtype], vec![fill; size])
        }).collect();
        let metadata: Vec<_> =
            metadata.into_iter().enumerate().map(|(i, (k, v))| (format!("{k}{i}"), v)).collect();
        let new: Vec<NewTensor<'_>> = made.iter().map(|(name, shape, dtype, data)| {
            NewTensor { name, shape, data: Elements::Raw(*dtype, data) }
        }).collect();

        let bytes = to_bytes(&new, &metadata).unwrap();
        let file = SafeTensors::from_bytes("x", &bytes).unwrap();
        prop_assert_eq!(file.metadata(), metadata);
        prop_assert_eq!(file.len(), made.len());
        let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        prop_assert_eq!(start % 8, 0);
        for (t, (name, shape, dtype, data)) in file.iter().zip(&made) {
            prop_assert_eq!((t.name, t.shape, t.dtype, t.data), (&**name, &**shape, *dtype, &**data));
            prop_assert_eq!((start + t.begin) % dtype.size(), 0, "aligned to its elements");
        }
    }

    #[test]
    fn idx_goes_round(dims in vec(0usize..5, 1..5), seed in any::<i32>(), kind in 0usize..6) {
        let n: usize = dims.iter().product();
        let all = (0..n as i32).map(|i| seed.wrapping_mul(i.wrapping_add(1)));
        let data = match kind {
            0 => IdxData::U8(all.map(|x| x as u8).collect()),
            1 => IdxData::I8(all.map(|x| x as i8).collect()),
            2 => IdxData::I16(all.map(|x| x as i16).collect()),
            3 => IdxData::I32(all.collect()),
            4 => IdxData::F32(all.map(|x| x as f32).collect()),
            _ => IdxData::F64(all.map(f64::from).collect()),
        };
        let idx = Idx { dims, data };
        let bytes = idx.to_bytes().unwrap();
        prop_assert_eq!(Idx::from_bytes("x", &bytes, &Limits::default()).unwrap(), idx);
    }
}

#[test]
fn a_file_cut_off_anywhere_is_an_error() {
    let [safetensors, idx, gz] = &*SEEDS;
    for n in 0..safetensors.len() {
        assert!(SafeTensors::from_bytes("x", &safetensors[..n]).is_err(), "{n} bytes");
    }
    for bytes in [idx, gz] {
        for n in 0..bytes.len() {
            let cut = Idx::from_bytes("x", &bytes[..n], &Limits::default());
            assert!(cut.is_err(), "{n} bytes");
        }
    }
}
