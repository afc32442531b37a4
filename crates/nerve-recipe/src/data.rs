//! From the table `[data]` to data sets: found, checked, split, with the numbers of their normalisation.

use crate::input::Input;
use crate::recipe::{Recipe, items};
use nerve_data::transform::{Normalization, NormalizationMethod, Pipeline, registry};
use nerve_data::{Arrays, DataError, Dataset, Field, Subset, catalogue, labels, mnist, split};
use nerve_formats::{ErrorKind, FormatError, read_idx};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Data that are ready to be trained on.
#[derive(Clone)]
pub struct Prepared {
    /// The examples to learn from.
    pub train: Part,
    /// Those that only watch; none where the recipe holds none back.
    pub validation: Option<Part>,
    /// What is done to a training example: normalisation and augmentation.
    pub training: Pipeline,
    /// What is done to any other: normalisation alone.
    pub serving: Pipeline,
    /// The numbers of the normalisation, from the training split alone; `None` for none.
    pub normalization: Option<Normalization>,
    /// What the network sees of them.
    pub input: Input,
}

/// A part of the data.
pub type Part = Arc<dyn Dataset>;

/// A class number above this is no class number; a file of measurements was taken for labels.
const MOST_CLASSES: usize = 1 << 24;

impl Recipe {
    /// What the network sees of the data. For a data set of the catalogue no file is needed.
    ///
    /// # Errors
    /// A file that is missing, damaged or does not fit.
    pub fn input(&self) -> Result<Input, DataError> {
        if self.data.has("name") {
            return known(self.data.text("name"));
        }
        let classes = self.classes()?;
        let [train, test] = self.load_parts([true, true], classes)?;
        let train = train.ok_or(DataError::Empty { what: "training data".into() })?;
        let test = test.map(|test| (test.len(), test.fields()[0].shape.clone()));
        self.describe(&train, test, classes)
    }

    /// Reads the data, splits them, and computes the normalisation over the training split.
    ///
    /// # Errors
    /// A file that is missing, damaged or does not fit; an empty split.
    pub fn prepare_data(&self) -> Result<Prepared, DataError> {
        let classes = self.classes()?;
        // The test data are looked at, so that a damaged file shows before the training and not
        // after it, and let go: until the end they would only take memory.
        let [_, test] = self.load_parts([false, true], classes)?;
        let test = test.map(|test| (test.len(), test.fields()[0].shape.clone()));
        let [train, _] = self.load_parts([true, false], classes)?;
        let whole = train.ok_or(DataError::Empty { what: "training data".into() })?;
        let input = self.describe(&whole, test, classes)?;
        let whole: Part = Arc::new(whole);
        let (train, validation) = self.split(whole, classes)?;
        let fields = train.fields().to_vec();
        let normalization = self.normalization(&*train)?;
        let serving = serving(&fields, normalization.as_ref())?;
        let mut training = serving.clone();
        for item in items(&self.data, "augment") {
            if let Some(entry) = registry().iter().find(|entry| entry.spec.name == item.name) {
                training = training.augment(mnist::IMAGE, (entry.build)(&item.args))?;
            }
        }
        Ok(Prepared { train, validation, training, serving, normalization, input })
    }

    /// Reads the test data alone; `None` where the recipe has none.
    ///
    /// # Errors
    /// As [`Recipe::prepare_data`].
    pub fn test_data(&self) -> Result<Option<Part>, DataError> {
        let [_, test] = self.load_parts([false, true], self.classes()?)?;
        Ok(test.map(|test| Arc::new(test) as Part))
    }

    /// Reads the test data alone; where there are none, the validation split.
    ///
    /// # Errors
    /// As [`Recipe::prepare_data`]; [`DataError::Empty`] where there is neither.
    pub fn judging_data(&self) -> Result<(Part, &'static str), DataError> {
        let classes = self.classes()?;
        if let Some(test) = self.test_data()? {
            return Ok((test, "test"));
        }
        let [train, _] = self.load_parts([true, false], classes)?;
        let whole = train.ok_or(DataError::Empty { what: "training data".into() })?;
        let (_, validation) = self.split(Arc::new(whole), classes)?;
        let nothing = || DataError::Empty { what: "test and validation data".into() };
        Ok((validation.ok_or_else(nothing)?, "validation"))
    }

    fn split(&self, whole: Part, classes: usize) -> Result<(Part, Option<Part>), DataError> {
        let share = self.data.float("validation");
        if share == 0.0 {
            return Ok((whole, None));
        }
        let shares = [1.0 - share, share];
        let parts = match self.data.text("split") {
            "stratified" => {
                let labels = labels(&*whole, mnist::LABEL, classes)?;
                split::stratified(&labels, &shares, self.seed())?
            }
            _ => split::random(whole.len(), &shares, self.seed())?,
        };
        let mut parts = parts
            .into_iter()
            .map(|part| Ok(Arc::new(Subset::new(whole.clone(), part)?) as Part))
            .collect::<Result<Vec<_>, DataError>>()?
            .into_iter();
        match (parts.next(), parts.next()) {
            (Some(train), validation) => Ok((train, validation)),
            _ => Ok((whole, None)),
        }
    }

    fn normalization(&self, train: &dyn Dataset) -> Result<Option<Normalization>, DataError> {
        NormalizationMethod::from_name(self.data.text("normalize"))
            .map(|method| Normalization::fit(method, true, train, mnist::IMAGE))
            .transpose()
    }

    fn classes(&self) -> Result<usize, DataError> {
        if self.data.has("name") {
            return Ok(catalogue::entry(self.data.text("name"))?.labels.len());
        }
        if self.data.has("classes") {
            return Ok(self.data.usize("classes"));
        }
        let path = self.files("train")?.1;
        let largest = read_idx(&path)?.labels(&path, MOST_CLASSES)?.into_iter().max().unwrap_or(0);
        Ok((largest as usize + 1).max(2))
    }

    /// Training and test data, those that are wanted and exist.
    fn load_parts(
        &self,
        wanted: [bool; 2],
        classes: usize,
    ) -> Result<[Option<Arrays>; 2], DataError> {
        if self.data.has("name") {
            let folder = catalogue::find(self.data.text("name"))?;
            let train = wanted[0].then(|| mnist::load_train(&folder)).transpose()?;
            let test = wanted[1].then(|| mnist::load_test(&folder)).transpose()?;
            return Ok([train, test]);
        }
        let part = |key: &str, wanted: bool| -> Result<Option<Arrays>, DataError> {
            if !wanted || !self.data.has(key) {
                return Ok(None);
            }
            let (images, labels) = self.files(key)?;
            mnist::load_idx(&images, &labels, classes).map(Some)
        };
        Ok([part("train", wanted[0])?, part("test", wanted[1])?])
    }

    /// The files of images and labels of a part.
    fn files(&self, key: &str) -> Result<(PathBuf, PathBuf), DataError> {
        let images = PathBuf::from(self.data.text(key));
        let labels_key = format!("{key}_labels");
        let labels = match self.data.has(&labels_key) {
            true => PathBuf::from(self.data.text(&labels_key)),
            false => beside(&images).ok_or_else(|| {
                FormatError::new(
                    ErrorKind::Mismatch,
                    &images,
                    format!("`{labels_key}` is not given"),
                    "a file name with `images`, which that of the labels follows from",
                    "another name",
                )
            })?,
        };
        Ok((images, labels))
    }

    /// `test` is the number and the shape of the test data.
    fn describe(
        &self,
        train: &Arrays,
        test: Option<(usize, Vec<usize>)>,
        classes: usize,
    ) -> Result<Input, DataError> {
        let shape = train.fields()[0].shape.clone();
        if let Some((_, found)) = test.as_ref().filter(|(_, found)| *found != shape) {
            let file = if self.data.has("test") { self.data.text("test") } else { "test data" };
            let expected = format!("{shape:?}, as in the training data");
            let (what, found) = ("shape of an image", format!("{found:?}"));
            return Err(FormatError::new(ErrorKind::Mismatch, file, what, expected, found).into());
        }
        let named = self.data.has("name").then(|| catalogue::entry(self.data.text("name")));
        let labels = match named {
            Some(entry) => entry?.labels.iter().map(|label| label.to_string()).collect(),
            None => (0..classes).map(|class| class.to_string()).collect(),
        };
        Ok(Input { shape, labels, train: train.len(), test: test.map_or(0, |(count, _)| count) })
    }
}

/// What is done to an example that is not trained on.
///
/// # Errors
/// The numbers do not fit the fields.
pub fn serving(
    fields: &[Field],
    normalization: Option<&Normalization>,
) -> Result<Pipeline, DataError> {
    // Without a normalisation the network still needs floats.
    let as_stored = Normalization { subtract: vec![0.0], divide: vec![1.0] };
    Pipeline::new(fields).normalize(mnist::IMAGE, normalization.unwrap_or(&as_stored))
}

/// What is known of the data sets of the catalogue without reading them.
fn known(name: &str) -> Result<Input, DataError> {
    let entry = catalogue::entry(name)?;
    Ok(Input {
        shape: vec![1, 28, 28],
        labels: entry.labels.iter().map(|label| label.to_string()).collect(),
        train: 60_000,
        test: 10_000,
    })
}

/// The file of labels that belongs to a file of images, by the custom of the idx format.
fn beside(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    let labels = name.replace("images", "labels").replace("idx3", "idx1");
    (labels != name).then(|| images.with_file_name(labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;
    use nerve_formats::{Idx, IdxData, write_idx};

    const MODEL: &str = "[model]\nlayers = [\"Flatten\", { type = \"Dense\", units = 3 }]\n";

    /// A folder with 12 images of 2 x 3 in 3 classes, and 3 for the test.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, dims: &[usize], data: Vec<u8>| {
            let idx = Idx { dims: dims.to_vec(), data: IdxData::U8(data) };
            write_idx(folder.path().join(name), &idx).unwrap();
        };
        write("train-images-idx3-ubyte", &[12, 2, 3], (0..72).collect());
        write("train-labels-idx1-ubyte", &[12], (0..12).map(|i| i % 3).collect());
        write("test-images.gz", &[3, 2, 3], vec![9; 18]);
        write("test-labels.gz", &[3], vec![0, 1, 2]);
        folder
    }

    fn recipe(folder: &Path, data: &str) -> Recipe {
        let path = folder.join("recipe.toml");
        std::fs::write(&path, format!("[data]\n{data}\n{MODEL}")).unwrap();
        Recipe::load(Source::read(&path).unwrap(), &[]).unwrap()
    }

    #[test]
    fn idx_files_are_found_from_the_recipe_split_and_normalized() {
        let folder = folder();
        let text = "train = \"train-images-idx3-ubyte\"\ntest = \"test-images.gz\"\n\
                    validation = 0.25\nsplit = \"stratified\"\n\
                    augment = [{ type = \"RandomShift\", max = 1 }]";
        let recipe = recipe(folder.path(), text);
        let input = recipe.input().unwrap();
        assert_eq!(input.shape, [1, 2, 3]);
        assert_eq!(input.labels, ["0", "1", "2"]);
        assert_eq!((input.train, input.test), (12, 3));
        let data = recipe.prepare_data().unwrap();
        assert_eq!(data.input, input);
        assert_eq!(data.train.len(), 9);
        let validation = data.validation.unwrap();
        let mut classes = labels(&*validation, mnist::LABEL, 3).unwrap();
        classes.sort_unstable();
        assert_eq!(classes, [0, 1, 2]);
        assert!(data.normalization.is_some());
        assert_eq!(recipe.judging_data().unwrap().1, "test");
        // The resolved recipe finds them from anywhere.
        let again = Recipe::load(Source::new("resolved", recipe.resolved()), &[]).unwrap();
        assert_eq!(again.input().unwrap(), input);
    }

    #[test]
    fn what_is_known_of_the_digits_is_what_the_files_hold() {
        let recipe = Recipe::load(crate::built_in("mnist").unwrap(), &[]).unwrap();
        let data = recipe.prepare_data().unwrap();
        assert_eq!(data.input, recipe.input().unwrap());
        assert_eq!(data.train.len(), 54_000);
        assert_eq!(data.validation.unwrap().len(), 6_000);
        assert_eq!(data.input.held_back(0.1), 6_000);
        assert_eq!(data.serving.output_fields()[0].element, nerve_data::Element::F32);
    }

    #[test]
    fn without_test_data_the_validation_split_judges() {
        let folder = folder();
        let found = recipe(folder.path(), "train = \"train-images-idx3-ubyte\"\nvalidation = 0.5");
        let (data, part) = found.judging_data().unwrap();
        assert_eq!((data.len(), part), (6, "validation"));
        let none = recipe(folder.path(), "train = \"train-images-idx3-ubyte\"\nvalidation = 0");
        assert!(none.judging_data().is_err());
    }

    #[test]
    fn data_that_do_not_fit_name_the_file() {
        let folder = folder();
        let error = |text: &str| {
            let error = recipe(folder.path(), text).input().unwrap_err().to_string();
            error.replace(&format!("{}/", folder.path().display()), "")
        };
        assert!(error("train = \"none-images\"").contains("none-labels"));
        assert!(error("train = \"x.bin\"").contains("`train_labels` is not given"));
        let wrong = "train = \"train-images-idx3-ubyte\"\nclasses = 2";
        assert!(error(wrong).contains("train-labels-idx1-ubyte: label of row 2: expected 0 to 1"));
        let wrong = "train = \"train-images-idx3-ubyte\"\ntrain_labels = \"test-labels.gz\"";
        assert!(error(wrong).contains("expected 12 samples"), "{}", error(wrong));
    }
}
