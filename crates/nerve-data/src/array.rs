//! Plain arrays: what a data set stores and what a batch is made of.

use crate::DataError;

/// The type of the values of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// 32-bit floating point: measurements, prepared images.
    F32,
    /// 32-bit signed integer: labels, token numbers.
    I32,
    /// Unsigned byte: stored images.
    U8,
}

impl Element {
    /// Bytes of one value.
    pub const fn size(self) -> usize {
        match self {
            Element::F32 | Element::I32 => 4,
            Element::U8 => 1,
        }
    }

    /// `"f32"`, `"i32"` or `"u8"`.
    pub const fn name(self) -> &'static str {
        match self {
            Element::F32 => "f32",
            Element::I32 => "i32",
            Element::U8 => "u8",
        }
    }
}

/// One column of a data set: its name, the shape of one sample, and the type of its values.
///
/// A grey image is `[1, height, width]` (channels first), a label is `[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name, unique within the data set: `"image"`, `"label"`.
    pub name: String,
    /// Shape of one sample, without the batch axis.
    pub shape: Vec<usize>,
    /// Type of the values.
    pub element: Element,
}

impl Field {
    /// A field of this name, sample shape and element.
    pub fn new(name: impl Into<String>, shape: &[usize], element: Element) -> Field {
        Field { name: name.into(), shape: shape.to_vec(), element }
    }

    /// Values in one sample: the product of the shape, 1 for a scalar. Saturates on overflow.
    pub fn values_per_sample(&self) -> usize {
        self.shape.iter().fold(1, |product: usize, &length| product.saturating_mul(length))
    }

    /// The length of the first axis, which holds the channels of an image or the columns of a table row;
    /// 1 for a scalar.
    pub fn channels(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// `"u8 [1, 28, 28]"`, for messages.
    pub(crate) fn describe(&self) -> String {
        format!("{} {:?}", self.element.name(), self.shape)
    }
}

/// The position of the field called `name`.
pub(crate) fn position(fields: &[Field], name: &str) -> Result<usize, DataError> {
    fields.iter().position(|field| field.name == name).ok_or_else(|| DataError::UnknownField {
        field: name.into(),
        known: fields.iter().map(|field| field.name.clone()).collect(),
    })
}

/// A vector of values of one of the elements.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Floating-point values.
    F32(Vec<f32>),
    /// Integers.
    I32(Vec<i32>),
    /// Bytes.
    U8(Vec<u8>),
}

/// Runs the same expression for each element type.
macro_rules! each {
    ($values:expr, $v:ident => $body:expr) => {
        match $values {
            Values::F32($v) => $body,
            Values::I32($v) => $body,
            Values::U8($v) => $body,
        }
    };
}

impl Values {
    /// `len` zeros of an element.
    pub fn zeros(element: Element, len: usize) -> Values {
        match element {
            Element::F32 => Values::F32(vec![0.0; len]),
            Element::I32 => Values::I32(vec![0; len]),
            Element::U8 => Values::U8(vec![0; len]),
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        each!(self, v => v.len())
    }

    /// True without values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their type.
    pub fn element(&self) -> Element {
        match self {
            Values::F32(_) => Element::F32,
            Values::I32(_) => Element::I32,
            Values::U8(_) => Element::U8,
        }
    }

    /// Zeros added or values cut off at the end, within the capacity where that is enough.
    fn resize(&mut self, len: usize) {
        each!(self, v => v.resize(len, Default::default()));
    }

    fn copy_within(&mut self, from: usize, to: usize, len: usize) {
        each!(self, v => v.copy_within(from..from + len, to));
    }
}

impl From<Vec<f32>> for Values {
    fn from(values: Vec<f32>) -> Values {
        Values::F32(values)
    }
}

impl From<Vec<i32>> for Values {
    fn from(values: Vec<i32>) -> Values {
        Values::I32(values)
    }
}

impl From<Vec<u8>> for Values {
    fn from(values: Vec<u8>) -> Values {
        Values::U8(values)
    }
}

/// Number of samples of a field that these values make up.
pub(crate) fn samples(field: &Field, values: &Values) -> Result<usize, DataError> {
    let wrong = |expected: String, found: String| {
        Err(DataError::Field { field: field.name.clone(), expected, found })
    };
    if values.element() != field.element {
        return wrong(
            format!("{} values", field.element.name()),
            format!("{} values", values.element().name()),
        );
    }
    let per_sample = field.values_per_sample();
    if per_sample == 0 {
        return wrong("a sample shape without zeros".into(), format!("{:?}", field.shape));
    }
    if !values.len().is_multiple_of(per_sample) {
        return wrong(
            format!("a multiple of {per_sample} values, for samples of shape {:?}", field.shape),
            format!("{} values", values.len()),
        );
    }
    Ok(values.len() / per_sample)
}

/// Samples of one field, one after the other: shape `[rows, ..sample shape]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    shape: Vec<usize>,
    values: Values,
}

impl Array {
    /// `rows` samples of a field, all zero.
    pub fn zeros(field: &Field, rows: usize) -> Array {
        let mut shape = vec![rows];
        shape.extend_from_slice(&field.shape);
        let len = rows.checked_mul(field.values_per_sample()).expect("array larger than memory");
        Array { shape, values: Values::zeros(field.element, len) }
    }

    /// Samples of a field from their values, as many as there are.
    ///
    /// # Errors
    /// [`DataError::Field`] when the values have another element, or do not fill a whole number of samples.
    pub fn new(field: &Field, values: Values) -> Result<Array, DataError> {
        let mut shape = vec![samples(field, &values)?];
        shape.extend_from_slice(&field.shape);
        Ok(Array { shape, values })
    }

    /// The shape, rows first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of samples.
    pub fn rows(&self) -> usize {
        self.shape[0]
    }

    /// All values.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// All values of an `f32` array.
    ///
    /// # Panics
    /// When the element is another one.
    #[track_caller]
    pub fn f32(&self) -> &[f32] {
        match &self.values {
            Values::F32(values) => values,
            other => wrong_element(Element::F32, other.element()),
        }
    }

    /// All values of an `i32` array.
    ///
    /// # Panics
    /// When the element is another one.
    #[track_caller]
    pub fn i32(&self) -> &[i32] {
        match &self.values {
            Values::I32(values) => values,
            other => wrong_element(Element::I32, other.element()),
        }
    }

    /// All values of a `u8` array.
    ///
    /// # Panics
    /// When the element is another one.
    #[track_caller]
    pub fn u8(&self) -> &[u8] {
        match &self.values {
            Values::U8(values) => values,
            other => wrong_element(Element::U8, other.element()),
        }
    }

    /// All values, open for writing.
    pub(crate) fn slice(&mut self) -> Slice<'_> {
        let len = self.values.len();
        self.values.slice(0, len)
    }

    /// Values in one row.
    pub(crate) fn row_len(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// Changes the number of rows; shrinking and growing back allocates nothing.
    pub(crate) fn set_rows(&mut self, rows: usize) {
        let len = rows * self.row_len();
        self.shape[0] = rows;
        self.values.resize(len);
    }

    /// Copies row `from` over row `to` of the same array.
    pub(crate) fn copy_row(&mut self, from: usize, to: usize) {
        let len = self.row_len();
        self.values.copy_within(from * len, to * len, len);
    }
}

#[track_caller]
fn wrong_element(expected: Element, found: Element) -> ! {
    panic!("array element: expected {}, found {}", expected.name(), found.name())
}

/// The values of one field of one sample, open for writing.
#[derive(Debug)]
pub enum Slice<'a> {
    /// Floating-point values.
    F32(&'a mut [f32]),
    /// Integers.
    I32(&'a mut [i32]),
    /// Bytes.
    U8(&'a mut [u8]),
}

impl Slice<'_> {
    /// The floating-point values.
    ///
    /// # Panics
    /// When it has another element.
    #[track_caller]
    pub fn f32(&mut self) -> &mut [f32] {
        match self {
            Slice::F32(values) => values,
            Slice::I32(_) => wrong_element(Element::F32, Element::I32),
            Slice::U8(_) => wrong_element(Element::F32, Element::U8),
        }
    }

    /// The integers.
    ///
    /// # Panics
    /// When it has another element.
    #[track_caller]
    pub fn i32(&mut self) -> &mut [i32] {
        match self {
            Slice::I32(values) => values,
            Slice::F32(_) => wrong_element(Element::I32, Element::F32),
            Slice::U8(_) => wrong_element(Element::I32, Element::U8),
        }
    }

    /// The bytes.
    ///
    /// # Panics
    /// When it has another element.
    #[track_caller]
    pub fn u8(&mut self) -> &mut [u8] {
        match self {
            Slice::U8(values) => values,
            Slice::F32(_) => wrong_element(Element::U8, Element::F32),
            Slice::I32(_) => wrong_element(Element::U8, Element::I32),
        }
    }
}

impl Values {
    /// The values `from..from + len`, open for writing.
    ///
    /// # Panics
    /// When there are fewer.
    #[track_caller]
    pub fn slice(&mut self, from: usize, len: usize) -> Slice<'_> {
        match self {
            Values::F32(values) => Slice::F32(&mut values[from..from + len]),
            Values::I32(values) => Slice::I32(&mut values[from..from + len]),
            Values::U8(values) => Slice::U8(&mut values[from..from + len]),
        }
    }
}

/// One row of a set of arrays, one array a field, open for writing: where a data set puts a sample.
pub struct Row<'a> {
    arrays: &'a mut [Array],
    row: usize,
}

impl<'a> Row<'a> {
    /// Row number `row` of each of the arrays.
    ///
    /// # Panics
    /// When an array has no such row.
    #[track_caller]
    pub fn new(arrays: &'a mut [Array], row: usize) -> Row<'a> {
        assert!(
            arrays.iter().all(|array| row < array.rows()),
            "row {row} of arrays that have fewer rows"
        );
        Row { arrays, row }
    }

    /// The sample's values of a field, to be written.
    ///
    /// # Panics
    /// Without such a field.
    #[track_caller]
    pub fn slice(&mut self, field: usize) -> Slice<'_> {
        let len = self.arrays[field].row_len();
        self.arrays[field].values.slice(self.row * len, len)
    }

    /// The sample's values of an `f32` field, to be written.
    ///
    /// # Panics
    /// When the field has another element.
    #[track_caller]
    pub fn f32(&mut self, field: usize) -> &mut [f32] {
        let len = self.arrays[field].row_len();
        match &mut self.arrays[field].values {
            Values::F32(values) => &mut values[self.row * len..(self.row + 1) * len],
            other => wrong_element(Element::F32, other.element()),
        }
    }

    /// The sample's values of an `i32` field, to be written.
    ///
    /// # Panics
    /// When the field has another element.
    #[track_caller]
    pub fn i32(&mut self, field: usize) -> &mut [i32] {
        let len = self.arrays[field].row_len();
        match &mut self.arrays[field].values {
            Values::I32(values) => &mut values[self.row * len..(self.row + 1) * len],
            other => wrong_element(Element::I32, other.element()),
        }
    }

    /// The sample's values of a `u8` field, to be written.
    ///
    /// # Panics
    /// When the field has another element.
    #[track_caller]
    pub fn u8(&mut self, field: usize) -> &mut [u8] {
        let len = self.arrays[field].row_len();
        match &mut self.arrays[field].values {
            Values::U8(values) => &mut values[self.row * len..(self.row + 1) * len],
            other => wrong_element(Element::U8, other.element()),
        }
    }

    /// Copies sample number `index` of `values` into a field.
    ///
    /// # Panics
    /// When the elements differ, or `values` has no such sample.
    #[track_caller]
    pub fn copy_from(&mut self, field: usize, values: &Values, index: usize) {
        self.copy_rows(field, values, index, 1);
    }

    /// Copies the `rows` rows of `values` from row `start` on into a field, which is as long as all of them.
    ///
    /// # Panics
    /// When the elements differ, or `values` has no such rows.
    #[track_caller]
    pub fn copy_rows(&mut self, field: usize, values: &Values, start: usize, rows: usize) {
        let len = self.arrays[field].row_len();
        let from = start * (len / rows);
        let range = from..from + len;
        match values {
            Values::F32(values) => self.f32(field).copy_from_slice(&values[range]),
            Values::I32(values) => self.i32(field).copy_from_slice(&values[range]),
            Values::U8(values) => self.u8(field).copy_from_slice(&values[range]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_written_in_its_place() {
        let fields =
            [Field::new("image", &[1, 2], Element::U8), Field::new("label", &[], Element::I32)];
        let mut arrays: Vec<Array> = fields.iter().map(|field| Array::zeros(field, 3)).collect();
        let mut row = Row::new(&mut arrays, 1);
        row.u8(0).copy_from_slice(&[7, 8]);
        row.i32(1)[0] = 5;
        assert_eq!(arrays[0].shape(), &[3, 1, 2]);
        assert_eq!(arrays[0].u8(), &[0, 0, 7, 8, 0, 0]);
        assert_eq!(arrays[1].shape(), &[3]);
        assert_eq!(arrays[1].i32(), &[0, 5, 0]);
    }

    #[test]
    fn values_must_fill_their_samples() {
        let field = Field::new("x", &[2, 1], Element::F32);
        let array = Array::new(&field, vec![1.0f32, 2.0, 3.0, 4.0].into()).unwrap();
        assert_eq!((array.shape(), array.rows()), (&[2, 2, 1][..], 2));
        assert!(Array::new(&field, vec![1.0f32].into()).is_err());
        assert!(Array::new(&field, vec![1i32, 2].into()).is_err());
    }

    #[test]
    fn shrinking_and_growing_back_keeps_the_buffer() {
        let mut array = Array::zeros(&Field::new("x", &[4], Element::F32), 8);
        let before = array.f32().as_ptr();
        array.set_rows(3);
        assert_eq!((array.shape(), array.f32().len()), (&[3, 4][..], 12));
        array.set_rows(8);
        assert_eq!((array.f32().as_ptr(), array.f32().len()), (before, 32));
    }

    #[test]
    #[should_panic(expected = "array element: expected f32, found u8")]
    fn the_wrong_element_is_named() {
        Array::zeros(&Field::new("x", &[4], Element::U8), 1).f32();
    }

    #[test]
    #[should_panic(expected = "row 2 of arrays that have fewer rows")]
    fn a_row_beyond_the_end_is_refused() {
        let mut arrays = [Array::zeros(&Field::new("x", &[4], Element::U8), 2)];
        Row::new(&mut arrays, 2);
    }
}
