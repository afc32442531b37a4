//! What a network sees of its data: the shape of one example, and how many there are.

/// The data as the first layer and the loss see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The shape of one example: channels, height, width for images.
    pub shape: Vec<usize>,
    /// The names of the classes, in the order of their numbers.
    pub labels: Vec<String>,
    /// Examples for training and validation together.
    pub train: usize,
    /// Examples for the test; none where the recipe has no test data.
    pub test: usize,
}

impl Input {
    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.labels.len()
    }

    /// How many of the training examples are held back for validation.
    pub fn held_back(&self, share: f64) -> usize {
        (self.train as f64 * share).round() as usize
    }
}
