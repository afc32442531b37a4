/// The least number of insertions, deletions and substitutions that turn one sequence into the
/// other.
///
/// Levenshtein, "Binary codes capable of correcting deletions, insertions, and reversals", 1966.
/// Time is the product of the lengths, memory the length of the second.
///
/// ```
/// use nerve_train::metrics::text::edit_distance;
/// let [a, b] = ["kitten", "sitting"].map(|word| word.chars().collect::<Vec<_>>());
/// assert_eq!(edit_distance(&a, &b), 3);
/// ```
pub fn edit_distance<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    // Distances of the part of `a` so far to each part of `b` from its beginning.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Mistakes over the length of what was really said, summed over a corpus.
///
/// ```
/// use nerve_train::metrics::text::ErrorRate;
/// let mut rate = ErrorRate::default();
/// rate.add_words("the cat sat", "the cat sat down");
/// rate.add_words("on the mat", "on mat");
/// assert_eq!(rate.value(), 2.0 / 6.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorRate {
    /// Insertions, deletions and substitutions.
    pub errors: usize,
    /// Words or characters of the references.
    pub length: usize,
}

impl ErrorRate {
    /// Adds a sequence and what was recognised.
    pub fn add<T: PartialEq>(&mut self, reference: &[T], hypothesis: &[T]) {
        self.errors += edit_distance(reference, hypothesis);
        self.length += reference.len();
    }

    /// Adds the words of two texts, between white space.
    pub fn add_words(&mut self, reference: &str, hypothesis: &str) {
        let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
        self.add(&words(reference), &words(hypothesis));
    }

    /// Adds the characters of two texts (code points, spaces included, those at the ends not).
    pub fn add_characters(&mut self, reference: &str, hypothesis: &str) {
        let characters = |text: &str| text.trim().chars().collect::<Vec<_>>();
        self.add(&characters(reference), &characters(hypothesis));
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &ErrorRate) {
        self.errors += other.errors;
        self.length += other.length;
    }

    /// Mistakes for each word or character; may be above 1. Of nothing 0, or ∞ if something was
    /// recognised where there was nothing.
    pub fn value(&self) -> f64 {
        match (self.errors, self.length) {
            (0, 0) => 0.0,
            (errors, length) => errors as f64 / length as f64,
        }
    }
}

/// The word error rate of a corpus: references, and what was recognised. Capitals and punctuation
/// count. See [`ErrorRate`].
///
/// ```
/// use nerve_train::metrics::text::word_error_rate;
/// assert_eq!(word_error_rate(&["hello world"], &["hello duck"]), 0.5);
/// ```
///
/// # Panics
/// If the numbers of texts differ.
pub fn word_error_rate<S: AsRef<str>>(references: &[S], hypotheses: &[S]) -> f64 {
    rate(references, hypotheses, ErrorRate::add_words)
}

/// The character error rate of a corpus, as [`word_error_rate`].
///
/// ```
/// use nerve_train::metrics::text::character_error_rate;
/// assert_eq!(character_error_rate(&["abcd"], &["abxd"]), 0.25);
/// ```
///
/// # Panics
/// If the numbers of texts differ.
pub fn character_error_rate<S: AsRef<str>>(references: &[S], hypotheses: &[S]) -> f64 {
    rate(references, hypotheses, ErrorRate::add_characters)
}

fn rate<S: AsRef<str>>(a: &[S], b: &[S], add: impl Fn(&mut ErrorRate, &str, &str)) -> f64 {
    assert!(a.len() == b.len(), "{} references and {} hypotheses", a.len(), b.len());
    let mut rate = ErrorRate::default();
    a.iter().zip(b).for_each(|(a, b)| add(&mut rate, a.as_ref(), b.as_ref()));
    rate.value()
}
