//! WAV files: every encoding, and the ten ways in which they are wrong (W01 to W10).

use nerve_formats::{ErrorKind, FormatError, Reader, Wav, wav::parse_wav};
use proptest::prelude::*;

fn chunk(id: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut bytes = [&id[..], &(content.len() as u32).to_le_bytes(), content].concat();
    bytes.extend(vec![0; content.len() % 2]);
    bytes
}

fn fmt(code: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
    let frame = channels * bits / 8;
    let mut content = Vec::new();
    content.extend(code.to_le_bytes());
    content.extend(channels.to_le_bytes());
    content.extend(rate.to_le_bytes());
    content.extend((rate * u32::from(frame)).to_le_bytes());
    content.extend(frame.to_le_bytes());
    content.extend(bits.to_le_bytes());
    content
}

fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = chunks.concat();
    [b"RIFF", &(body.len() as u32 + 4).to_le_bytes()[..], b"WAVE", &body].concat()
}

fn file(code: u16, channels: u16, bits: u16, data: &[u8]) -> Vec<u8> {
    riff(&[chunk(b"fmt ", &fmt(code, channels, 8000, bits)), chunk(b"data", data)])
}

fn parse(bytes: &[u8]) -> Result<Wav, FormatError> {
    parse_wav(Reader::from_slice("a.wav", bytes))
}

fn refused(bytes: &[u8], kind: ErrorKind, words: &str) {
    let error = parse(bytes).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

const PCM16: [u8; 6] = [0, 0, 0, 0x40, 0, 0x80];

#[test]
fn w05_every_encoding_is_right_or_refused() {
    let samples = |code, bits, data: &[u8]| parse(&file(code, 1, bits, data)).unwrap().samples;
    assert_eq!(samples(1, 8, &[0, 128, 255]), [-1.0, 0.0, 127.0 / 128.0]);
    assert_eq!(samples(1, 16, &PCM16), [0.0, 0.5, -1.0]);
    assert_eq!(samples(1, 24, &[0, 0, 0x40, 0, 0, 0x80, 1, 0, 0]), [0.5, -1.0, 1.0 / 8_388_608.0]);
    assert_eq!(samples(1, 32, &[0, 0, 0, 0x40, 0, 0, 0, 0x80]), [0.5, -1.0]);
    assert_eq!(samples(3, 32, &1.5f32.to_le_bytes()), [1.5]);
    assert_eq!(samples(3, 64, &(-0.25f64).to_le_bytes()), [-0.25]);
    // G.711: 0xFF and 0x7F are zero, 0x80 the greatest, 0x00 the least.
    let mu: Vec<f32> = [0.0, 0.0, 32124.0, -32124.0, 8.0].map(|v: f32| v / 32768.0).to_vec();
    assert_eq!(samples(7, 8, &[0xFF, 0x7F, 0x80, 0x00, 0xFE]), mu);
    for (code, bits) in [(6, 8), (2, 4), (85, 0), (1, 12), (1, 64), (3, 16), (7, 16)] {
        refused(&file(code, 1, bits, &[0; 48]), ErrorKind::Unsupported, "encoding");
    }
}

#[test]
fn stereo_becomes_mono() {
    let wav = parse(&file(1, 2, 16, &[0, 0x40, 0, 0, 0, 0x80, 0, 0x80])).unwrap();
    assert_eq!((wav.channels, wav.rate), (2, 8000));
    assert_eq!(wav.into_mono(), [0.25, -1.0]);
}

#[test]
fn w01_the_size_of_the_whole_is_not_believed() {
    for size in [0u32, u32::MAX, 7] {
        let mut bytes = file(1, 1, 16, &PCM16);
        bytes[4..8].copy_from_slice(&size.to_le_bytes());
        assert_eq!(parse(&bytes).unwrap().samples.len(), 3);
    }
}

#[test]
fn w02_data_longer_than_the_file_is_an_error_and_a_streamed_length_is_not() {
    let mut bytes = file(1, 1, 16, &PCM16);
    let at = bytes.len() - PCM16.len() - 4;
    bytes[at..at + 4].copy_from_slice(&8u32.to_le_bytes());
    refused(&bytes, ErrorKind::Malformed, "expected 8 bytes, found 6 left");
    bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(parse(&bytes).unwrap().samples, [0.0, 0.5, -1.0]);
}

#[test]
fn w03_fmt_stands_once_and_before_the_data() {
    let (f, d) = (chunk(b"fmt ", &fmt(1, 1, 8000, 16)), chunk(b"data", &PCM16));
    refused(&riff(std::slice::from_ref(&d)), ErrorKind::Malformed, "`fmt ` chunk before");
    refused(&riff(&[d.clone(), f.clone()]), ErrorKind::Malformed, "`fmt ` chunk before");
    refused(&riff(&[f.clone(), f.clone(), d]), ErrorKind::Malformed, "a second one");
    refused(&riff(&[f]), ErrorKind::Malformed, "a `data` chunk");
    refused(&riff(&[]), ErrorKind::Malformed, "a `data` chunk");
    refused(b"RIFF", ErrorKind::Malformed, "size of the whole");
    refused(b"ID3\x04....", ErrorKind::Malformed, "\"RIFF\"");
}

#[test]
fn w04_a_format_that_contradicts_itself_is_refused() {
    let with = |fmt: Vec<u8>| riff(&[chunk(b"fmt ", &fmt), chunk(b"data", &PCM16)]);
    refused(&with(fmt(1, 0, 8000, 16)), ErrorKind::Malformed, "channels");
    refused(&with(fmt(1, 65, 8000, 16)), ErrorKind::Malformed, "channels");
    refused(&with(fmt(1, 1, 0, 16)), ErrorKind::Malformed, "rate");
    refused(&with(fmt(1, 1, 8000, 16)[..14].to_vec()), ErrorKind::Malformed, "16 bytes or more");
    let mut frame = fmt(1, 1, 8000, 16);
    frame[12] = 4;
    refused(&with(frame), ErrorKind::Malformed, "bytes per frame");
    // Nothing depends on the bytes per second.
    let mut speed = fmt(1, 1, 8000, 16);
    speed[8] ^= 1;
    assert!(parse(&with(speed)).is_ok());
}

#[test]
fn w06_an_odd_chunk_is_padded_or_the_file_is_refused() {
    let (f, d) = (chunk(b"fmt ", &fmt(1, 1, 8000, 16)), chunk(b"data", &PCM16));
    let list = chunk(b"LIST", b"odd");
    assert!(parse(&riff(&[list.clone(), f.clone(), d.clone()])).is_ok());
    let unpadded = list[..list.len() - 1].to_vec();
    assert!(parse(&riff(&[f.clone(), unpadded, d])).is_err());
    // At the end of the file nothing is missing.
    let odd = [b"data", &3u32.to_le_bytes()[..], &[1, 2, 3]].concat();
    let f8 = chunk(b"fmt ", &fmt(1, 1, 8000, 8));
    assert_eq!(parse(&riff(&[f8, odd])).unwrap().samples.len(), 3);
}

#[test]
fn w07_chunk_lengths_near_the_greatest_are_errors() {
    for id in [b"LIST", b"data", b"fmt "] {
        for len in [u32::MAX - 1, u32::MAX - 7, 1 << 31] {
            let huge = [&id[..], &len.to_le_bytes()[..], &fmt(1, 1, 8000, 16)].concat();
            let bytes = match id {
                b"fmt " => riff(&[huge]),
                _ => riff(&[chunk(b"fmt ", &fmt(1, 1, 8000, 16)), huge]),
            };
            assert_eq!(parse(&bytes).unwrap_err().kind(), ErrorKind::Malformed);
        }
    }
}

#[test]
fn w08_samples_that_are_no_numbers_are_refused() {
    let data: Vec<u8> = [0.5f32, f32::NAN].iter().flat_map(|v| v.to_le_bytes()).collect();
    refused(&file(3, 1, 32, &data), ErrorKind::Malformed, "NaN as sample 1");
    refused(&file(3, 1, 64, &f64::INFINITY.to_le_bytes()), ErrorKind::Malformed, "inf as sample 0");
    refused(&file(3, 1, 64, &1e300f64.to_le_bytes()), ErrorKind::Malformed, "inf as sample 0");
}

#[test]
fn w09_the_extensible_form_is_known_by_its_number() {
    let extensible = |code: u16, tail_byte: u8| {
        let mut content = fmt(0xFFFE, 1, 8000, 16);
        content.extend([22, 0, 16, 0, 4, 0, 0, 0]);
        content.extend(code.to_le_bytes());
        content.extend([0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, tail_byte]);
        content
    };
    let with = |fmt: Vec<u8>| riff(&[chunk(b"fmt ", &fmt), chunk(b"data", &PCM16)]);
    assert_eq!(parse(&with(extensible(1, 0x71))).unwrap().samples, [0.0, 0.5, -1.0]);
    refused(&with(extensible(1, 0x72)), ErrorKind::Unsupported, "identifier");
    refused(&with(extensible(0x2000, 0x71)), ErrorKind::Unsupported, "number 8192");
    refused(&with(extensible(1, 0x71)[..30].to_vec()), ErrorKind::Malformed, "40 bytes");
}

#[test]
fn w10_no_sound_is_an_error() {
    refused(&file(1, 1, 16, &[]), ErrorKind::Malformed, "found 0 bytes");
    refused(&file(1, 2, 16, &PCM16), ErrorKind::Malformed, "frames of 4 bytes");
}

proptest! {
    #[test]
    fn damaged_files_are_answered(at in 0usize..60, byte: u8, cut in 0usize..60) {
        let mut bytes = file(1, 2, 16, &[7; 16]);
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(wav) = parse(&bytes) {
            prop_assert!(wav.samples.len() <= 16 && wav.samples.iter().all(|s| s.is_finite()));
        }
        bytes.truncate(cut);
        let _ = parse(&bytes);
    }
}
