//! Writing npz: a zip archive of npy files, as `numpy.savez` makes it.

use std::path::Path;

use flate2::Crc;

use crate::atomic::write_atomic;
use crate::error::{ErrorKind, FormatError};
use crate::npy::Npy;

/// The first of January 1980 in the form of DOS: the same arrays give the same bytes, whenever they are written.
const DATE: u16 = 1 << 5 | 1;

/// Writes arrays into an npz file, unpacked as `numpy.savez` leaves them; it is whole or absent.
///
/// ```
/// use nerve_formats::{Limits, Npy, NpyData, Zip, write_npz};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("a.npz");
/// let x = Npy { shape: vec![2], data: NpyData::F32(vec![1.0, -1.0]) };
/// write_npz(&path, &[("x", x.clone())])?;
/// let zip = Zip::read(&path, &Limits::default())?;
/// assert_eq!(Npy::from_bytes("x.npy", &zip.unpack(0)?)?, x);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Mismatch`] when a name is empty, stands twice or would lead out of a folder; [`ErrorKind::Limit`] for more
/// than 4 GiB or 10,000 arrays; those of the disk.
pub fn write_npz(path: impl AsRef<Path>, arrays: &[(&str, Npy)]) -> Result<(), FormatError> {
    let path = path.as_ref();
    let bytes = to_bytes(path, arrays)?;
    write_atomic(path, |file| file.write_all(&bytes))
}

fn to_bytes(path: &Path, arrays: &[(&str, Npy)]) -> Result<Vec<u8>, FormatError> {
    let wrong = |kind, expected: &str, found: &str| {
        Err(FormatError::new(kind, path, "arrays", expected, found))
    };
    if arrays.len() > 10_000 {
        return wrong(ErrorKind::Limit, "at most 10000", &arrays.len().to_string());
    }
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (i, (name, npy)) in arrays.iter().enumerate() {
        let again = arrays[..i].iter().any(|(other, _)| other == name);
        let member = format!("{name}.npy");
        if again || name.is_empty() || !crate::archive::is_plain_path(&member) {
            return wrong(ErrorKind::Mismatch, "plain names, each once", name);
        }
        let data = npy.to_bytes();
        let mut crc = Crc::new();
        crc.update(&data);
        let (Ok(size), Ok(at)) = (u32::try_from(data.len()), u32::try_from(out.len())) else {
            return wrong(ErrorKind::Limit, "at most 4 GiB", "more");
        };
        // What stands both before a member and in the directory.
        let mut shared = Vec::new();
        for number in [20u16, 0, 0, 0, DATE] {
            shared.extend(number.to_le_bytes());
        }
        for number in [crc.sum(), size, size] {
            shared.extend(number.to_le_bytes());
        }
        shared.extend((member.len() as u16).to_le_bytes());
        shared.extend(0u16.to_le_bytes());
        out.extend(0x0403_4b50u32.to_le_bytes());
        out.extend(&shared);
        out.extend(member.bytes());
        out.extend(data);
        directory.extend(0x0201_4b50u32.to_le_bytes());
        directory.extend(20u16.to_le_bytes());
        directory.extend(&shared);
        // No comment, first disk, no attributes.
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(member.bytes());
    }
    let (Ok(at), Ok(length)) = (u32::try_from(out.len()), u32::try_from(directory.len())) else {
        return wrong(ErrorKind::Limit, "at most 4 GiB", "more");
    };
    out.extend(directory);
    out.extend(0x0605_4b50u32.to_le_bytes());
    out.extend([0; 4]);
    for _ in 0..2 {
        out.extend((arrays.len() as u16).to_le_bytes());
    }
    out.extend(length.to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend([0; 2]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, NpyData, Zip};

    fn array(n: usize) -> Npy {
        Npy { shape: vec![n], data: NpyData::I32((0..n as i32).collect()) }
    }

    #[test]
    fn what_is_written_is_read() {
        let arrays = [("a", array(3)), ("layer.weight", array(0)), ("ü", array(1000))];
        let bytes = to_bytes(Path::new("x.npz"), &arrays).unwrap();
        let zip = Zip::from_bytes("x.npz", bytes, &Limits::default()).unwrap();
        assert_eq!(zip.names().collect::<Vec<_>>(), ["a.npy", "layer.weight.npy", "ü.npy"]);
        for (i, (_, npy)) in arrays.iter().enumerate() {
            assert_eq!(Npy::from_bytes("m", &zip.unpack(i).unwrap()).unwrap(), *npy);
        }
        assert!(to_bytes(Path::new("x"), &[]).is_ok());
        for names in [["a", "a"], ["", "b"], ["../a", "b"], ["/a", "b"]] {
            let arrays = names.map(|name| (name, array(1)));
            assert!(to_bytes(Path::new("x"), &arrays).is_err(), "{names:?}");
        }
    }
}
