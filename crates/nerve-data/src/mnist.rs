//! MNIST, and other images and labels in pairs of idx files.

use std::path::Path;

use crate::catalogue::{entry, file};
use crate::{Arrays, DataError, Element, Field, source};

/// The name of the field of images, `u8 [1, height, width]`.
pub const IMAGE: &str = "image";
/// The name of the field of labels, `i32 []`.
pub const LABEL: &str = "label";

/// The two parts of MNIST.
#[derive(Clone, Debug)]
pub struct Mnist {
    /// 60,000 samples.
    pub train: Arrays,
    /// 10,000 samples.
    pub test: Arrays,
}

/// Loads MNIST from its folder, as [`find`](crate::catalogue::find) gives it: 55 MB of bytes in memory.
///
/// ```no_run
/// use nerve_data::{Dataset, catalogue, mnist};
///
/// let digits = mnist::load(&catalogue::find("mnist")?)?;
/// assert_eq!((digits.train.len(), digits.test.len()), (60_000, 10_000));
/// # Ok::<(), nerve_data::DataError>(())
/// ```
///
/// # Errors
/// Those of [`load_idx`] for either part.
pub fn load(folder: &Path) -> Result<Mnist, DataError> {
    Ok(Mnist { train: load_train(folder)?, test: load_test(folder)? })
}

/// Loads the 60,000 training samples alone.
///
/// # Errors
/// Those of [`load_idx`].
pub fn load_train(folder: &Path) -> Result<Arrays, DataError> {
    load_part(folder, 0)
}

/// Loads the 10,000 test samples alone.
///
/// # Errors
/// Those of [`load_idx`].
pub fn load_test(folder: &Path) -> Result<Arrays, DataError> {
    load_part(folder, 1)
}

fn load_part(folder: &Path, part: usize) -> Result<Arrays, DataError> {
    let entry = entry("mnist")?;
    // Without the file, reading the plain name tells what the system has to say.
    let path = |name: &str| file(folder, name).unwrap_or_else(|| folder.join(name));
    let files = &entry.files[2 * part..2 * part + 2];
    load_idx(&path(files[0]), &path(files[1]), entry.labels.len())
}

/// Loads images (idx of rank 3, bytes) and their labels (idx of rank 1), as a data set of the fields [`IMAGE`] and
/// [`LABEL`].
///
/// # Errors
/// [`DataError::Format`] when a file cannot be read, is damaged, has another rank or type (as when the two are given the
/// wrong way round), holds no samples, when the counts differ, or when a label is not below `classes`; the message names
/// the file and the row.
pub fn load_idx(images: &Path, labels: &Path, classes: usize) -> Result<Arrays, DataError> {
    let (field, pixels, labels) = source::idx_pair(images, labels, classes)?;
    let labels: Vec<i32> = labels.into_iter().map(|label| label as i32).collect();
    Arrays::new(vec![(field, pixels), (Field::new(LABEL, &[], Element::I32), labels.into())])
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use nerve_formats::{Idx, IdxData, write_idx};

    use super::*;
    use crate::transform::{Normalization, NormalizationMethod};
    use crate::{Dataset, Values, labels};

    fn shipped() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/mnist")
    }

    fn histogram(data: &Arrays) -> Vec<usize> {
        let mut counts = vec![0; 10];
        for label in labels(data, LABEL, 10).unwrap() {
            counts[label as usize] += 1;
        }
        counts
    }

    #[test]
    fn the_shipped_files_are_mnist() {
        let Mnist { train, test } = load(&shipped()).unwrap();
        assert_eq!((train.len(), test.len()), (60_000, 10_000));
        assert_eq!(train.fields()[0], Field::new("image", &[1, 28, 28], Element::U8));
        assert_eq!(train.bytes(), 60_000 * (784 + 4), "images stay bytes");
        assert_eq!(labels(&train, LABEL, 10).unwrap()[..5], [5, 0, 4, 1, 9]);
        assert_eq!(labels(&test, LABEL, 10).unwrap()[..5], [7, 2, 1, 0, 4]);
        assert_eq!(histogram(&train), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
        assert_eq!(histogram(&test), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
        // The mean and deviation that everybody uses.
        let zscore = NormalizationMethod::ZScore;
        let numbers = Normalization::fit(zscore, false, &train, IMAGE).unwrap();
        assert!((numbers.subtract[0] / 255.0 - 0.130660476).abs() < 1e-9);
        assert!((numbers.divide[0] / 255.0 - 0.308107804).abs() < 1e-9);
    }

    /// Writes a pair of idx files and loads them, for 10 classes.
    fn pair(images: (&[usize], IdxData), labels: (&[usize], IdxData)) -> Result<Arrays, String> {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["images.gz", "labels"].map(|name| folder.path().join(name));
        for (path, (dims, data)) in paths.iter().zip([images, labels]) {
            write_idx(path, &Idx { dims: dims.to_vec(), data }).unwrap();
        }
        let here = format!("{}/", folder.path().display());
        load_idx(&paths[0], &paths[1], 10).map_err(|error| error.to_string().replace(&here, ""))
    }

    #[test]
    fn a_pair_of_idx_files_becomes_a_data_set() {
        let images = IdxData::U8((0..12).collect());
        let data = pair((&[2, 2, 3], images), (&[2], IdxData::U8(vec![3, 9]))).unwrap();
        assert_eq!(data.fields()[0].shape, [1, 2, 3]);
        assert_eq!(data.column("image").unwrap(), &Values::U8((0..12).collect()));
        assert_eq!(data.column("label").unwrap(), &Values::I32(vec![3, 9]));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_file_named() {
        let images = || (&[2usize, 1, 1][..], IdxData::U8(vec![1, 2]));
        let label = |labels: &[u8]| IdxData::U8(labels.to_vec());
        let error = pair(images(), (&[3], label(&[0, 1, 2]))).unwrap_err(); // D06
        assert_eq!(
            error,
            "labels: number of samples: expected 2 samples, as in images.gz, found 3"
        );
        let error = pair(images(), (&[2], label(&[0, 10]))).unwrap_err(); // D07
        assert_eq!(error, "labels: label of row 1: expected 0 to 9, found 10");
        let error = pair((&[0, 1, 1], label(&[])), (&[0], label(&[]))).unwrap_err(); // D08
        assert!(error.contains("no samples"), "{error}");
        let error = pair((&[2, 0, 1], label(&[])), (&[2], label(&[0, 1]))).unwrap_err();
        assert!(error.contains("no samples"), "{error}");
        let error = pair(images(), images()).unwrap_err(); // D10
        assert!(error.contains("rank 1, found rank 3"), "{error}");
        let error = pair((&[2], label(&[0, 1])), (&[2], label(&[0, 1]))).unwrap_err();
        assert!(error.contains("rank 3, found rank 1"), "{error}");
        let floats = (&[2usize, 1, 1][..], IdxData::F32(vec![0.0, 1.0]));
        let error = pair(floats, (&[2], label(&[0, 1]))).unwrap_err();
        assert_eq!(error, "images.gz: images: expected u8 values, found f32");
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("train-labels-idx1-ubyte"), "{error}");
    }
}
