//! What kind of file it is, by its first and last bytes. A name says nothing.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::{ErrorKind, FormatError};
use crate::limits::Limits;
use crate::reader::{Reader, open_regular};
use crate::safetensors::MAX_HEADER;
use crate::tfevents::is_record;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Named tensors.
    SafeTensors,
    /// One array of NumPy.
    Npy,
    /// Several arrays of NumPy.
    Npz,
    /// An array as MNIST has them.
    Idx,
    /// Sound.
    Wav,
    /// A picture.
    Png,
    /// A picture.
    Jpeg,
    /// A network.
    Onnx,
    /// Records for TensorBoard.
    TfEvents,
    /// Something that is known, and not read.
    Unread(Unread),
    /// Text, or something unknown: a table perhaps.
    Other,
}

/// Files of networks that are not read, each with a way to convert them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// What `torch.save` writes.
    PyTorch,
    /// What `torch.jit.save` writes.
    TorchScript,
    /// A pickle of Python.
    Pickle,
    /// HDF5, in which Keras kept models.
    Hdf5,
    /// A `.keras` archive.
    Keras,
    /// What llama.cpp reads.
    Gguf,
    /// TensorFlow Lite.
    TfLite,
    /// A zip archive of something else.
    Zip,
}

/// So much of the beginning is looked at.
const START: u64 = 4096;
/// And of the end of an archive, where its directory stands.
const TAIL: u64 = 1 << 16;

impl Kind {
    /// The kind of a file. gzip is seen through.
    ///
    /// # Errors
    /// The file cannot be opened, or is no regular file.
    pub fn of(path: impl AsRef<Path>) -> Result<Kind, FormatError> {
        let path = path.as_ref();
        let limits = Limits { max_bytes: u64::MAX, ..Limits::default() };
        let mut start = Vec::new();
        Reader::open_gz(path, &limits)?.some("file", START, &mut start)?;
        let (mut file, length) = open_regular(path, &limits)?;
        let mut tail = Vec::new();
        if start.starts_with(b"PK\x03\x04") {
            let mut read = |file: &mut File| {
                file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
                file.take(TAIL).read_to_end(&mut tail)
            };
            read(&mut file).map_err(|error| FormatError::io(path, "cannot read", &error))?;
        }
        Ok(Kind::of_bytes(&start, &tail))
    }

    /// The kind of a file that begins and, if it is an archive, ends so.
    ///
    /// ```
    /// use nerve_formats::kind::{Kind, Unread};
    /// assert_eq!(Kind::of_bytes(b"\x93NUMPY\x01\x00", b""), Kind::Npy);
    /// assert_eq!(Kind::of_bytes(b"PK\x03\x04...", b"archive/data.pkl"), Kind::Unread(Unread::PyTorch));
    /// ```
    pub fn of_bytes(start: &[u8], tail: &[u8]) -> Kind {
        use Unread::{Gguf, Hdf5, Pickle, PyTorch, TfLite};
        const KNOWN: [(&[u8], Kind); 8] = [
            (b"\x93NUMPY", Kind::Npy),
            (b"\x89PNG\r\n\x1a\n", Kind::Png),
            (b"\xff\xd8\xff", Kind::Jpeg),
            (b"\x89HDF\r\n\x1a\n", Kind::Unread(Hdf5)),
            (b"GGUF", Kind::Unread(Gguf)),
            // The number with which files of `torch.save` began before version 1.6.
            (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", Kind::Unread(PyTorch)),
            (b"PK\x05\x06", Kind::Npz),
            // Protocols 2 to 5.
            (b"\x80", Kind::Unread(Pickle)),
        ];
        if let Some((_, kind)) = KNOWN.iter().find(|(magic, _)| start.starts_with(magic)) {
            return match (kind, start.get(1)) {
                (Kind::Unread(Pickle), Some(2..=5)) => *kind,
                (Kind::Unread(Pickle), _) => Kind::Other,
                _ => *kind,
            };
        }
        match start {
            [0, 0, 0x08 | 0x09 | 0x0b..=0x0e, 1..=8, ..] => Kind::Idx,
            [b'P', b'K', 3, 4, ..] => archive(start, tail),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Kind::Wav,
            [_, _, _, _, b'T', b'F', b'L', b'3', ..] => Kind::Unread(TfLite),
            _ if is_safetensors(start) => Kind::SafeTensors,
            _ if is_record(start) => Kind::TfEvents,
            _ if is_onnx(start) => Kind::Onnx,
            _ => Kind::Other,
        }
    }
}

fn is_safetensors(start: &[u8]) -> bool {
    let Some((length, rest)) = start.split_first_chunk::<8>() else { return false };
    u64::from_le_bytes(*length) <= MAX_HEADER && rest.first() == Some(&b'{')
}

/// A zip archive by the names in it.
fn archive(start: &[u8], tail: &[u8]) -> Kind {
    let has = |name: &[u8]| [start, tail].iter().any(|b| b.windows(name.len()).any(|w| w == name));
    if has(b"constants.pkl") && has(b"/code/") {
        Kind::Unread(Unread::TorchScript)
    } else if has(b"/data.pkl") {
        Kind::Unread(Unread::PyTorch)
    } else if has(b"model.weights.h5") {
        Kind::Unread(Unread::Keras)
    } else if has(b".npy") {
        Kind::Npz
    } else {
        Kind::Unread(Unread::Zip)
    }
}

/// A ModelProto begins with its version (field 1, a small number), and goes on with another of its fields.
fn is_onnx(start: &[u8]) -> bool {
    // Producer, its version, domain, version, documentation, graph, opsets, metadata.
    let next = [0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72];
    matches!(start, [0x08, 1..=64, tag, _, ..] if next.contains(tag))
}

impl Unread {
    /// What it is.
    pub fn name(self) -> &'static str {
        match self {
            Unread::PyTorch => "a PyTorch file (a pickle)",
            Unread::TorchScript => "a TorchScript file",
            Unread::Pickle => "a pickle of Python",
            Unread::Hdf5 => "an HDF5 file, as Keras wrote models",
            Unread::Keras => "a Keras model",
            Unread::Gguf => "a GGUF file",
            Unread::TfLite => "a TensorFlow Lite model",
            Unread::Zip => "a zip archive without arrays of NumPy",
        }
    }

    /// How to convert it where the library that wrote it is installed.
    pub fn way(self) -> &'static str {
        match self {
            Unread::PyTorch | Unread::Pickle => {
                "pickles are programs, which nerve does not run. Convert it where PyTorch is installed: \
                 python -c \"import torch; from safetensors.torch import save_file; \
                 d = torch.load('model.pt', map_location='cpu', weights_only=True); d = d.get('state_dict', d); \
                 save_file({k: v.clone().contiguous() for k, v in d.items()}, 'model.safetensors')\""
            }
            Unread::TorchScript => {
                "convert it where PyTorch is installed: \
                 python -c \"import torch; from safetensors.torch import save_file; \
                 d = torch.jit.load('model.pt', map_location='cpu').state_dict(); \
                 save_file({k: v.clone().contiguous() for k, v in d.items()}, 'model.safetensors')\""
            }
            Unread::Hdf5 | Unread::Keras => {
                "convert it where Keras is installed: \
                 python -c \"import keras; \
                 keras.saving.load_model('model.keras').export('model.onnx', format='onnx')\""
            }
            Unread::Gguf => {
                "convert it where the package gguf is installed: \
                 python -c \"from gguf import GGUFReader; from gguf.quants import dequantize; \
                 from safetensors.numpy import save_file; save_file({t.name: dequantize(t.data, t.tensor_type) \
                 for t in GGUFReader('model.gguf').tensors}, 'model.safetensors')\""
            }
            Unread::TfLite => {
                "convert it where tf2onnx is installed: \
                 python -m tf2onnx.convert --tflite model.tflite --output model.onnx"
            }
            Unread::Zip => "unpack it first",
        }
    }

    /// That `file` is this, and what to do.
    pub fn refuse(self, file: impl AsRef<Path>) -> FormatError {
        let found = format!("{}: {}", self.name(), self.way());
        FormatError::new(ErrorKind::Unsupported, file, "format", "a file that nerve reads", found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_their_bytes() {
        use Unread::*;
        let of = |start: &[u8]| Kind::of_bytes(start, b"");
        let header = b"{\"a\":{}}";
        let safetensors = [&(header.len() as u64).to_le_bytes()[..], header].concat();
        assert_eq!(of(&safetensors), Kind::SafeTensors);
        assert_eq!(of(b"\x93NUMPY\x02\x00"), Kind::Npy);
        assert_eq!(of(&[0, 0, 8, 3, 0, 0]), Kind::Idx);
        assert_eq!(of(b"RIFF\0\0\0\0WAVEfmt "), Kind::Wav);
        assert_eq!(of(b"RIFF\0\0\0\0WEBPVP8 "), Kind::Other);
        assert_eq!(of(b"\x08\x08\x12\x07pytorch"), Kind::Onnx);
        assert_eq!(of(b"\x80\x04\x95"), Kind::Unread(Pickle));
        assert_eq!(of(b"\x80\xff"), Kind::Other);
        assert_eq!(of(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."), Kind::Unread(PyTorch));
        assert_eq!(of(b"\x89HDF\r\n\x1a\n\0"), Kind::Unread(Hdf5));
        assert_eq!(of(b"GGUF\x03\0\0\0"), Kind::Unread(Gguf));
        assert_eq!(of(b"\x1c\0\0\0TFL3"), Kind::Unread(TfLite));
        assert_eq!(of(b"PK\x03\x04..x.npy"), Kind::Npz);
        assert_eq!(of(b"PK\x03\x04..word/document.xml"), Kind::Unread(Zip));
        let zip = |tail: &[u8]| Kind::of_bytes(b"PK\x03\x04....", tail);
        assert_eq!(zip(b"net/data.pkl net/code/a.py net/constants.pkl"), Kind::Unread(TorchScript));
        assert_eq!(zip(b"net/data.pkl net/data/0"), Kind::Unread(PyTorch));
        assert_eq!(zip(b"config.json model.weights.h5"), Kind::Unread(Keras));
        for text in [&b""[..], b"a,b\n1,2\n", b"{\"a\": 1}", b"\x08", b"\0\0"] {
            assert_eq!(of(text), Kind::Other);
        }
    }

    #[test]
    fn every_refusal_names_a_way() {
        use Unread::*;
        for kind in [PyTorch, TorchScript, Pickle, Hdf5, Keras, Gguf, TfLite, Zip] {
            let text = kind.refuse("m").to_string();
            assert!(text.contains(kind.name()) && text.ends_with(kind.way()), "{text}");
        }
    }
}
