use super::ngrams;

/// The F-score of runs of characters (and of words), over a corpus.
///
/// Popović, "chrF: character n-gram F-score for automatic MT evaluation", 2015; with words, chrF++,
/// 2017. Numbers are those of sacrebleu: white space does not count; precision and recall are means
/// over the lengths of runs that both sides have; recall counts β times as much. From 0 to 100.
///
/// ```
/// use nerve_train::metrics::text::Chrf;
/// let mut chrf = Chrf::default();
/// chrf.add("the cat sat", &["the cat sat"]);
/// assert_eq!(chrf.value(), 100.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Chrf {
    /// The longest runs of characters: 6.
    pub characters: usize,
    /// The longest runs of words: 0, or 2 for chrF++.
    pub words: usize,
    /// How many times as much recall counts as precision: 2.
    pub beta: f64,
    /// For each length: runs of the translations, of the references, of both.
    counts: Vec<[u64; 3]>,
}

impl Default for Chrf {
    fn default() -> Self {
        Chrf::new(6, 0, 2.0)
    }
}

impl Chrf {
    /// With runs of up to so many characters and words, and this β.
    pub fn new(characters: usize, words: usize, beta: f64) -> Chrf {
        Chrf { characters, words, beta, counts: vec![[0; 3]; characters + words] }
    }

    /// chrF++: runs of up to 6 characters and 2 words.
    pub fn plus_plus() -> Chrf {
        Chrf::new(6, 2, 2.0)
    }

    /// Adds a sentence; of several references that which gives the best score counts.
    ///
    /// # Panics
    /// If there is no reference.
    pub fn add(&mut self, translation: &str, references: &[&str]) {
        assert!(!references.is_empty(), "a translation is compared with at least one reference");
        let (mut best, mut best_score) = (Vec::new(), -1.0);
        for reference in references {
            let counts = self.count(translation, reference);
            let score = self.score(&counts);
            if score > best_score {
                (best, best_score) = (counts, score);
            }
        }
        for (sum, one) in self.counts.iter_mut().zip(&best) {
            (0..3).for_each(|i| sum[i] += one[i]);
        }
    }

    /// Adds what another has counted, with the same lengths.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn merge(&mut self, other: &Chrf) {
        self.merge_times(other, 1);
    }

    /// Adds what another has counted, with the same lengths, so many times.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn merge_times(&mut self, other: &Chrf, times: u64) {
        assert!(
            (self.characters, self.words) == (other.characters, other.words),
            "chrF of other lengths"
        );
        for (sum, one) in self.counts.iter_mut().zip(&other.counts) {
            (0..3).for_each(|i| sum[i] += times * one[i]);
        }
    }

    /// The score of all that was added.
    pub fn value(&self) -> f64 {
        self.score(&self.counts)
    }

    fn count(&self, translation: &str, reference: &str) -> Vec<[u64; 3]> {
        let characters =
            |text: &str| -> Vec<char> { text.chars().filter(|c| !c.is_whitespace()).collect() };
        let (a, b) = (characters(translation), characters(reference));
        let mut counts: Vec<_> = (1..=self.characters).map(|n| common(&a, &b, n)).collect();
        let (a, b) = (words(translation), words(reference));
        counts.extend((1..=self.words).map(|n| common(&a, &b, n)));
        counts
    }

    fn score(&self, counts: &[[u64; 3]]) -> f64 {
        let (mut precision, mut recall, mut order) = (0.0, 0.0, 0.0);
        for &[ours, theirs, both] in counts {
            if ours > 0 && theirs > 0 {
                precision += both as f64 / ours as f64;
                recall += both as f64 / theirs as f64;
                order += 1.0;
            }
        }
        if order == 0.0 || precision + recall == 0.0 {
            return 0.0;
        }
        let (precision, recall, square) = (precision / order, recall / order, self.beta.powi(2));
        100.0 * (1.0 + square) * precision * recall / (square * precision + recall)
    }
}

/// How many runs of `n` there are on each side, and on both. Those of the translation do not count
/// where the reference has none, as in sacrebleu.
fn common<T: std::hash::Hash + Eq>(a: &[T], b: &[T], n: usize) -> [u64; 3] {
    let (ours, theirs) = (ngrams(a, n), ngrams(b, n));
    let sum = |counts: &std::collections::HashMap<&[T], usize>| counts.values().sum::<usize>();
    let both = ours.iter().map(|(run, &count)| count.min(*theirs.get(run).unwrap_or(&0)));
    let both = both.sum::<usize>();
    let all = if theirs.is_empty() { 0 } else { sum(&ours) };
    [all as u64, sum(&theirs) as u64, both as u64]
}

/// The words, with a mark of punctuation at the end or else at the beginning apart.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        let mark = |c: char| c.is_ascii_punctuation();
        let (first, last) = (word.chars().next(), word.chars().next_back());
        let parts = match (first, last) {
            _ if word.chars().count() == 1 => [word, ""],
            (_, Some(c)) if mark(c) => {
                [&word[..word.len() - c.len_utf8()], &word[word.len() - 1..]]
            }
            (Some(c), _) if mark(c) => [&word[..1], &word[1..]],
            _ => [word, ""],
        };
        words.extend(parts.into_iter().filter(|part| !part.is_empty()).map(String::from));
    }
    words
}
