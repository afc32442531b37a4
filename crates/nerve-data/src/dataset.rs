//! Data sets with random access: in memory, and parts of another one.

use std::sync::Arc;

use crate::array::{position, samples};
use crate::{Array, DataError, Element, Field, Row, Values};

/// Samples that can be read in any order, each a value for every field.
///
/// Reading is by several threads at once and in any order; the same index gives the same sample each time.
pub trait Dataset: Send + Sync {
    /// Number of samples, at least 1.
    fn len(&self) -> usize;

    /// Always false; a data set without samples is refused when it is made.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The fields of each sample.
    fn fields(&self) -> &[Field];

    /// Writes sample `index` into a row that has an array for each field, in their order.
    ///
    /// # Errors
    /// When the source fails.
    ///
    /// # Panics
    /// When `index` is not below `len`.
    fn read(&self, index: usize, row: &mut Row<'_>) -> Result<(), DataError>;
}

impl<D: Dataset + ?Sized> Dataset for Arc<D> {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn fields(&self) -> &[Field] {
        (**self).fields()
    }

    fn read(&self, index: usize, row: &mut Row<'_>) -> Result<(), DataError> {
        (**self).read(index, row)
    }
}

/// A data set in memory: one array a field. Images stay the bytes that they are in their file.
///
/// ```
/// use nerve_data::{Arrays, Dataset, Element, Field};
///
/// let points = Arrays::new(vec![
///     (Field::new("x", &[2], Element::F32), vec![0.0f32, 0.0, 0.0, 1.0, 1.0, 0.0].into()),
///     (Field::new("label", &[], Element::I32), vec![0, 1, 1].into()),
/// ])?;
/// assert_eq!(points.len(), 3);
/// # Ok::<(), nerve_data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Arrays {
    len: usize,
    fields: Vec<Field>,
    columns: Vec<Values>,
}

impl Arrays {
    /// A data set of these columns, each a field and the values of all samples one after the other.
    ///
    /// # Errors
    /// [`DataError::Empty`] without samples, [`DataError::CountMismatch`] when the columns differ in length, and
    /// [`DataError::Field`] when the values of a column have another element than its field, do not fill a whole
    /// number of samples, or a name is used twice.
    pub fn new(columns: Vec<(Field, Values)>) -> Result<Arrays, DataError> {
        let mut arrays = Arrays { len: 0, fields: Vec::new(), columns: Vec::new() };
        for (field, values) in columns {
            let count = samples(&field, &values)?;
            if let Some(first) = arrays.fields.first()
                && count != arrays.len
            {
                return Err(DataError::CountMismatch {
                    first: first.name.clone(),
                    first_count: arrays.len,
                    second: field.name,
                    second_count: count,
                });
            }
            if position(&arrays.fields, &field.name).is_ok() {
                return Err(DataError::Field {
                    field: field.name,
                    expected: "a name of its own".into(),
                    found: "the name of an earlier field".into(),
                });
            }
            arrays.len = count;
            arrays.fields.push(field);
            arrays.columns.push(values);
        }
        if arrays.len == 0 {
            return Err(DataError::Empty { what: "data set".into() });
        }
        Ok(arrays)
    }

    /// All values of a field.
    ///
    /// # Errors
    /// [`DataError::UnknownField`].
    pub fn column(&self, field: &str) -> Result<&Values, DataError> {
        Ok(&self.columns[position(&self.fields, field)?])
    }

    /// The fields with all their values.
    pub fn into_columns(self) -> Vec<(Field, Values)> {
        self.fields.into_iter().zip(self.columns).collect()
    }

    /// Bytes that the values take up.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(|values| values.len() * values.element().size()).sum()
    }
}

impl Dataset for Arrays {
    fn len(&self) -> usize {
        self.len
    }

    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn read(&self, index: usize, row: &mut Row<'_>) -> Result<(), DataError> {
        for (field, values) in self.columns.iter().enumerate() {
            row.copy_from(field, values, index);
        }
        Ok(())
    }
}

/// Some samples of another data set, chosen by index: one part of a [split](crate::split).
#[derive(Clone, Debug)]
pub struct Subset<D> {
    dataset: D,
    indices: Vec<usize>,
}

impl<D: Dataset> Subset<D> {
    /// The samples of `dataset` at these indices, in this order.
    ///
    /// # Errors
    /// [`DataError::Empty`] without indices, [`DataError::Option`] when an index is not below the length.
    pub fn new(dataset: D, indices: Vec<usize>) -> Result<Subset<D>, DataError> {
        if indices.is_empty() {
            return Err(DataError::Empty { what: "part of the data set".into() });
        }
        if let Some(&index) = indices.iter().find(|&&index| index >= dataset.len()) {
            return Err(DataError::Option {
                option: "index",
                expected: format!("0 to {}", dataset.len() - 1),
                found: index.to_string(),
            });
        }
        Ok(Subset { dataset, indices })
    }

    /// The indices in the whole data set.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }
}

impl<D: Dataset> Dataset for Subset<D> {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn fields(&self) -> &[Field] {
        self.dataset.fields()
    }

    fn read(&self, index: usize, row: &mut Row<'_>) -> Result<(), DataError> {
        self.dataset.read(self.indices[index], row)
    }
}

/// Calls `visit` with each sample in turn, as arrays of one row.
///
/// # Errors
/// That of the data set, or the first of `visit`.
pub fn for_each_sample(
    dataset: &dyn Dataset,
    mut visit: impl FnMut(usize, &[Array]) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let mut sample: Vec<Array> =
        dataset.fields().iter().map(|field| Array::zeros(field, 1)).collect();
    for index in 0..dataset.len() {
        dataset.read(index, &mut Row::new(&mut sample, 0))?;
        visit(index, &sample)?;
    }
    Ok(())
}

/// The labels of all samples, in order: an `i32` or `u8` field of shape `[]` or `[1]`, each from 0 to `classes - 1`.
///
/// # Errors
/// [`DataError::Label`] with its row for the first label outside the classes, [`DataError::UnknownField`], or
/// [`DataError::Field`] when the field does not hold labels.
pub fn labels(dataset: &dyn Dataset, field: &str, classes: usize) -> Result<Vec<i32>, DataError> {
    let at = position(dataset.fields(), field)?;
    let description = &dataset.fields()[at];
    if description.element == Element::F32 || description.values_per_sample() != 1 {
        return Err(DataError::Field {
            field: field.into(),
            expected: "one integer label a sample".into(),
            found: description.describe(),
        });
    }
    let mut labels = Vec::with_capacity(dataset.len());
    for_each_sample(dataset, |row, sample| {
        let label = match sample[at].values() {
            Values::I32(values) => values[0],
            Values::U8(values) => values[0].into(),
            Values::F32(_) => unreachable!("the element was checked"),
        };
        check_label(field, row, label.into(), classes)?;
        labels.push(label);
        Ok(())
    })?;
    Ok(labels)
}

/// [`DataError::Label`] unless `label` is one of the classes.
pub(crate) fn check_label(
    column: &str,
    row: usize,
    label: i64,
    classes: usize,
) -> Result<(), DataError> {
    if usize::try_from(label).is_ok_and(|label| label < classes) {
        return Ok(());
    }
    Err(DataError::Label { column: column.into(), row, label, classes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images_and_labels(images: usize, labels: Vec<i32>) -> Result<Arrays, DataError> {
        Arrays::new(vec![
            (
                Field::new("image", &[1, 2, 2], Element::U8),
                (0..4 * images).map(|i| i as u8).collect::<Vec<u8>>().into(),
            ),
            (Field::new("label", &[], Element::I32), labels.into()),
        ])
    }

    fn message<T>(result: Result<T, DataError>) -> String {
        result.err().expect("an error").to_string()
    }

    #[test]
    fn bytes_stay_bytes() {
        let arrays = images_and_labels(3, vec![0, 1, 0]).unwrap();
        assert_eq!((arrays.len(), arrays.bytes()), (3, 12 + 12));
        assert_eq!(arrays.column("image").unwrap().element(), Element::U8);
    }

    #[test]
    fn d06_counts_must_agree() {
        assert_eq!(
            message(images_and_labels(3, vec![0, 1])),
            "image has 3 samples, label has 2: expected the same number"
        );
    }

    #[test]
    fn d07_a_label_outside_the_classes_is_named_with_its_row() {
        let arrays = images_and_labels(4, vec![0, 1, 2, 1]).unwrap();
        assert_eq!(labels(&arrays, "label", 3).unwrap(), [0, 1, 2, 1]);
        assert_eq!(
            message(labels(&arrays, "label", 2)),
            "label: row 2 has the label 2, expected 0 to 1"
        );
        let arrays = images_and_labels(2, vec![0, -1]).unwrap();
        assert_eq!(
            message(labels(&arrays, "label", 2)),
            "label: row 1 has the label -1, expected 0 to 1"
        );
    }

    #[test]
    fn d08_no_samples_is_an_error() {
        assert_eq!(message(images_and_labels(0, vec![])), "data set: no samples");
        assert_eq!(message(Arrays::new(vec![])), "data set: no samples");
        let arrays = Arc::new(images_and_labels(1, vec![0]).unwrap());
        assert_eq!(message(Subset::new(arrays, vec![])), "part of the data set: no samples");
    }

    #[test]
    fn columns_that_do_not_fit_their_field_are_refused() {
        let one = |field, values: Values| message(Arrays::new(vec![(field, values)]));
        assert_eq!(
            one(Field::new("x", &[4], Element::F32), vec![0.0f32; 6].into()),
            "field `x`: expected a multiple of 4 values, for samples of shape [4], found 6 values"
        );
        assert_eq!(
            one(Field::new("x", &[4], Element::F32), vec![0u8; 8].into()),
            "field `x`: expected f32 values, found u8 values"
        );
        assert_eq!(
            one(Field::new("x", &[0, 4], Element::F32), vec![0.0f32; 8].into()),
            "field `x`: expected a sample shape without zeros, found [0, 4]"
        );
        let huge = Field::new("x", &[usize::MAX, 2], Element::U8);
        assert!(one(huge, vec![0u8; 8].into()).contains("found 8 values"));
        let twice = || (Field::new("x", &[], Element::U8), vec![1u8].into());
        assert_eq!(
            message(Arrays::new(vec![twice(), twice()])),
            "field `x`: expected a name of its own, found the name of an earlier field"
        );
    }

    #[test]
    fn a_subset_reads_the_chosen_samples() {
        let arrays = Arc::new(images_and_labels(4, vec![5, 6, 7, 8]).unwrap());
        let part = Subset::new(Arc::clone(&arrays), vec![3, 0, 3]).unwrap();
        assert_eq!(labels(&part, "label", 10).unwrap(), [8, 5, 8]);
        let mut first = Vec::new();
        for_each_sample(&part, |_, sample| {
            first.push(sample[0].u8()[0]);
            Ok(())
        })
        .unwrap();
        assert_eq!(first, [12, 0, 12]);
        assert_eq!(message(Subset::new(arrays, vec![4])), "index: expected 0 to 3, found 4");
    }

    #[test]
    fn labels_must_be_single_integers() {
        let arrays = images_and_labels(1, vec![0]).unwrap();
        assert_eq!(
            message(labels(&arrays, "image", 10)),
            "field `image`: expected one integer label a sample, found u8 [1, 2, 2]"
        );
        assert_eq!(
            message(labels(&arrays, "target", 10)),
            "no field `target`: the data set has `image`, `label`"
        );
    }
}
