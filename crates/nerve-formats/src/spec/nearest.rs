//! The nearest known word to a misspelt one.

/// The candidate that `word` was most likely meant to be, or `None` where nothing is near.
///
/// Near means: equal but for case and `_`/`-`, or at most a third of its letters (at least one)
/// mistyped, counting a letter too many, too few, wrong, or two swapped as one mistake each; or the
/// candidate begins with `word`, or `word` with it (`learning` for `learning_rate`).
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer words are no typing mistakes of ours, and the cost is quadratic.
    if word.is_empty() || word.len() > 64 {
        return None;
    }
    let plain = |s: &str| {
        s.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
    };
    let given: Vec<char> = plain(word);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let known: Vec<char> = plain(candidate);
        let mut distance = edit_distance(&given, &known);
        let shorter = given.len().min(known.len());
        if shorter >= 3 && (given.starts_with(&known) || known.starts_with(&given)) {
            distance = distance.min(2);
        }
        let allowed = (given.len().max(known.len()) / 3).clamp(1, 4);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance (Damerau-Levenshtein without repeated edits of a substring).
fn edit_distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let wrong = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (above[j] + 1).min(row[j - 1] + 1).min(above[j - 1] + wrong);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_word_that_was_meant() {
        let keys = ["epochs", "batch_size", "lr", "loss", "optimizer", "padding", "learning_rate"];
        let near = |word| nearest(word, keys);
        assert_eq!(near("epochss"), Some("epochs"));
        assert_eq!(near("epcohs"), Some("epochs"));
        assert_eq!(near("batchsize"), Some("batch_size"));
        assert_eq!(near("Batch-Size"), Some("batch_size"));
        assert_eq!(near("batch"), Some("batch_size"));
        assert_eq!(near("optimiser"), Some("optimizer"));
        assert_eq!(near("learning_rte"), Some("learning_rate"));
        assert_eq!(near("ir"), Some("lr"));
        assert_eq!(near("colour"), None);
        assert_eq!(near(""), None);
        assert_eq!(near(&"x".repeat(1000)), None);
    }

    #[test]
    fn distance_counts_each_kind_of_mistake_once() {
        let d = |a: &str, b: &str| {
            edit_distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>())
        };
        assert_eq!(d("", ""), 0);
        assert_eq!(d("", "abc"), 3);
        assert_eq!(d("abc", "abc"), 0);
        assert_eq!(d("abc", "acb"), 1);
        assert_eq!(d("abc", "abcd"), 1);
        assert_eq!(d("kitten", "sitting"), 3);
    }
}
