//! Patterns of parameter paths.

/// Whether `pattern` matches `path`, or one of the paths that it lies below.
///
/// `*` stands for any characters, dots too, and `?` for one. So `encoder` matches
/// `encoder.fc1.weight`, and so do `*.weight`, `encoder.fc?` and the empty pattern.
///
/// ```
/// use nerve_nn::pattern::matches;
/// assert!(matches("encoder", "encoder.fc1.weight") && matches("*.bias", "encoder.fc1.bias"));
/// assert!(!matches("encoder", "encoder2.weight") && !matches("fc1", "encoder.fc1.bias"));
/// ```
pub fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let above = path.match_indices('.').map(|(at, _)| &path[..at]);
    pattern.is_empty() || above.chain([path]).any(|path| glob(&pattern, path))
}

/// Whether the pattern matches the whole text. After a mismatch the last star takes one character
/// more; those before it need not be tried again.
fn glob(pattern: &[char], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match &mut star {
                Some((at, taken)) => {
                    *taken += 1;
                    (p, t) = (*at + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_question_marks_and_what_lies_below() {
        for (pattern, path, expected) in [
            ("", "a", true),
            ("*", "a.b", true),
            ("a", "a", true),
            ("a", "a.b.c", true),
            ("a", "ab", false),
            ("a.b", "a.b.c", true),
            ("a.*.c", "a.x.y.c", true),
            ("a.*.c", "a.c", false),
            ("*.bias", "bias", false),
            ("*bias", "bias", true),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbx", false),
            ("layer?.w", "layer1.w", true),
            ("layer?.w", "layer12.w", false),
            ("ä?", "äö.b", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
