use super::ngrams;

/// Precision, recall and their harmonic mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rouge {
    /// The share of what the summary says that stands in the reference.
    pub precision: f64,
    /// The share of the reference that stands in the summary.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
}

impl Rouge {
    fn of(both: usize, summary: usize, reference: usize) -> Rouge {
        let share = |whole: usize| if whole == 0 { 0.0 } else { both as f64 / whole as f64 };
        let (precision, recall) = (share(summary), share(reference));
        let f1 = match precision + recall {
            0.0 => 0.0,
            sum => 2.0 * precision * recall / sum,
        };
        Rouge { precision, recall, f1 }
    }
}

/// The words of a text as rouge-score takes them: lower case, with everything but a to z and digits
/// a gap. (No stemming.)
///
/// ```
/// use nerve_train::metrics::text::rouge_words;
/// assert_eq!(rouge_words("Don't panic!"), ["don", "t", "panic"]);
/// ```
pub fn rouge_words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let parts = lower.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit());
    parts.filter(|part| !part.is_empty()).map(String::from).collect()
}

/// ROUGE-N: runs of `n` words that summary and reference have in common.
///
/// Lin, "ROUGE: a package for automatic evaluation of summaries", 2004.
///
/// ```
/// use nerve_train::metrics::text::rouge_n;
/// assert_eq!(rouge_n("the cat sat", "the cat ran", 2).f1, 0.5);
/// ```
pub fn rouge_n(summary: &str, reference: &str, n: usize) -> Rouge {
    let (a, b) = (rouge_words(summary), rouge_words(reference));
    let (ours, theirs) = (ngrams(&a, n), ngrams(&b, n));
    let both = ours.iter().map(|(run, &count)| count.min(*theirs.get(run).unwrap_or(&0))).sum();
    Rouge::of(both, ours.values().sum(), theirs.values().sum())
}

/// ROUGE-L: the longest sequence of words that stands in both, with gaps.
///
/// ```
/// use nerve_train::metrics::text::rouge_l;
/// assert_eq!(rouge_l("the cat sat down", "the dog sat").recall, 2.0 / 3.0);
/// ```
pub fn rouge_l(summary: &str, reference: &str) -> Rouge {
    let (a, b) = (rouge_words(summary), rouge_words(reference));
    let both = lengths(&b, &a)[b.len()][a.len()];
    Rouge::of(both, a.len(), b.len())
}

/// ROUGE-L of a summary of several sentences, one a line: of each sentence of the reference the
/// words that stand, in order, in some sentence of the summary.
///
/// ```
/// use nerve_train::metrics::text::rouge_lsum;
/// // The order of the sentences does not count, that of the words does.
/// assert_eq!(rouge_lsum("it rained\nwe left", "we left\nit rained").f1, 1.0);
/// ```
pub fn rouge_lsum(summary: &str, reference: &str) -> Rouge {
    let sentences = |text: &str| -> Vec<Vec<String>> {
        text.split('\n').filter(|line| !line.is_empty()).map(rouge_words).collect()
    };
    let (ours, theirs) = (sentences(summary), sentences(reference));
    let count = |text: &[Vec<String>]| {
        let mut counts = std::collections::HashMap::new();
        text.iter().flatten().for_each(|word| *counts.entry(word.clone()).or_insert(0usize) += 1);
        counts
    };
    let (mut left_ours, mut left_theirs) = (count(&ours), count(&theirs));
    let mut both = 0;
    for sentence in &theirs {
        let mut covered = vec![false; sentence.len()];
        for other in &ours {
            path(sentence, other).into_iter().for_each(|at| covered[at] = true);
        }
        for (word, _) in sentence.iter().zip(&covered).filter(|(_, covered)| **covered) {
            // A word counts no more often than it stands on either side.
            let ours = left_ours.get_mut(word).filter(|left| **left > 0);
            let theirs = left_theirs.get_mut(word).filter(|left| **left > 0);
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                (*ours, *theirs) = (*ours - 1, *theirs - 1);
                both += 1;
            }
        }
    }
    let total = |text: &[Vec<String>]| text.iter().map(Vec::len).sum();
    Rouge::of(both, total(&ours), total(&theirs))
}

/// The lengths of the longest common sequences of all beginnings of both.
fn lengths(a: &[String], b: &[String]) -> Vec<Vec<usize>> {
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            table[i + 1][j + 1] = match x == y {
                true => table[i][j] + 1,
                false => table[i + 1][j].max(table[i][j + 1]),
            };
        }
    }
    table
}

/// Where the words of a longest common sequence stand in `a`: that which rouge-score finds.
fn path(a: &[String], b: &[String]) -> Vec<usize> {
    let table = lengths(a, b);
    let (mut i, mut j, mut places) = (a.len(), b.len(), Vec::new());
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            places.push(i - 1);
            (i, j) = (i - 1, j - 1);
        } else if table[i][j - 1] > table[i - 1][j] {
            j -= 1;
        } else {
            i -= 1;
        }
    }
    places
}
