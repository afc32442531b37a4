//! idx: a file of images and one of labels, or one of them alone.

use std::path::{Path, PathBuf};

use nerve_formats::{ErrorKind, FormatError, IdxData, read_idx};

use super::whole::Whole;
use super::{Options, Source, origin};
use crate::mnist::{IMAGE, LABEL};
use crate::{Cells, Column, DataError, Element, Field, Table, Values};

/// Largest label: a file of measurements taken for labels shows itself.
const MAX_CLASSES: usize = 1 << 24;

/// A file of images with the file of labels beside it: columns `image` and `label`.
pub(super) fn open(path: &Path, options: &Options) -> Result<Box<dyn Source>, DataError> {
    let labels = options.labels.clone().or_else(|| beside(path));
    let columns = [IMAGE, LABEL].map(String::from).to_vec();
    let Some(labels) = labels else {
        let expected = "`labels`, the file of labels, or a name with `images` that it follows from";
        return Err(
            FormatError::new(ErrorKind::Mismatch, path, "labels", expected, "neither").into()
        );
    };
    let images = path.to_path_buf();
    Ok(Box::new(Whole::new(columns, move || load(&images, &labels))))
}

/// The file of labels that belongs to a file of images, by the custom of the format.
fn beside(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    let labels = name.replace("images", "labels").replace("idx3", "idx1");
    (labels != name).then(|| images.with_file_name(labels))
}

fn load(images: &Path, labels: &Path) -> Result<Table, DataError> {
    let (field, pixels, numbers) = pair(images, labels, MAX_CLASSES)?;
    let numbers = numbers.into_iter().map(f64::from).collect();
    let columns = vec![
        Column { name: IMAGE.into(), cells: Cells::Arrays(field, pixels) },
        Column { name: LABEL.into(), cells: Cells::Numbers(numbers) },
    ];
    Table::new(columns, origin(images, Vec::new()))
}

/// Reads a pair of files: `u8 [1, height, width]`, the pixels, the class numbers.
///
/// # Errors
/// A file that cannot be read or is damaged, has another rank or type (as when the two are given the wrong way round),
/// holds no samples; the counts differ; a label is not below `classes`.
pub(crate) fn pair(
    images: &Path,
    labels: &Path,
    classes: usize,
) -> Result<(Field, Values, Vec<u32>), DataError> {
    // The labels first: they are small, and a mistake shows before the images are unpacked.
    let label_idx = read_idx(labels)?;
    let numbers = label_idx.labels(labels, classes)?;
    let image_idx = read_idx(images)?;
    image_idx.expect_rank(images, "images", 3)?;
    image_idx.expect_samples(images, "images")?;
    label_idx.expect_as_many(labels, &image_idx, images)?;
    let shape = [1, image_idx.dims[1], image_idx.dims[2]];
    let IdxData::U8(pixels) = image_idx.data else {
        let found = image_idx.data.type_name();
        return Err(
            FormatError::new(ErrorKind::Mismatch, images, "images", "u8 values", found).into()
        );
    };
    Ok((Field::new(IMAGE, &shape, Element::U8), pixels.into(), numbers))
}

#[cfg(test)]
mod tests {
    use nerve_formats::{Idx, write_idx};

    use super::*;
    use crate::Cell;
    use crate::source::read;

    #[test]
    fn images_find_their_labels() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, dims: &[usize], data: Vec<u8>| {
            let path = folder.path().join(name);
            write_idx(&path, &Idx { dims: dims.to_vec(), data: IdxData::U8(data) }).unwrap();
            path
        };
        let images = write("t-images-idx3-ubyte.gz", &[2, 1, 2], vec![1, 2, 3, 4]);
        let options = Options::default();
        assert!(
            read(&images, &options).unwrap_err().to_string().contains("t-labels-idx1-ubyte.gz")
        );
        let labels = write("t-labels-idx1-ubyte.gz", &[2], vec![7, 0]);
        let table = read(&images, &options).unwrap();
        assert_eq!(table.column("image").unwrap().cells.get(1), Cell::U8(&[3, 4]));
        assert_eq!(table.column("label").unwrap().cells.get(0), Cell::Number(7.0));
        assert_eq!(table.place(1), "row 2 of t-images-idx3-ubyte.gz");
        // D10: the labels in the place of the images.
        let error = read(&labels, &Options { labels: Some(images.clone()), ..options.clone() });
        assert!(error.unwrap_err().to_string().contains("expected rank 1, found rank 3"));
        let other = write("other", &[2, 1, 2], vec![1, 2, 3, 4]);
        let error = read(&other, &options).err().unwrap().to_string();
        assert!(error.contains("expected `labels`, the file of labels"), "{error}");
        let three = write("three", &[3], vec![0, 1, 2]);
        let error = read(&images, &Options { labels: Some(three), ..options }).unwrap_err();
        assert!(error.to_string().contains("expected 2 samples"), "{error}");
    }
}
