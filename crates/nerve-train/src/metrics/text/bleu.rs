use super::ngrams;

const ORDER: usize = 4;

/// The bilingual evaluation understudy, over a corpus: the geometric mean of the shares of runs of
/// 1 to 4 words that stand in a reference, less if the whole is too short.
///
/// Papineni et al., "BLEU: a method for automatic evaluation of machine translation", 2002; numbers
/// are those of sacrebleu (Post, 2018): tokens of [`tokenize_13a`], and where no run of n words is
/// found, the share is halved once more for each n (`exp`). From 0 to 100.
///
/// ```
/// use nerve_train::metrics::text::Bleu;
/// let mut bleu = Bleu::default();
/// bleu.add("The dog bit the man.", &["The dog bit the man.", "The dog had bit the man."]);
/// assert!((bleu.value() - 100.0).abs() < 1e-9);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bleu {
    /// Runs of n words that stand in a reference as well, counted no more often than there.
    pub found: [u64; ORDER],
    /// Runs of n words.
    pub total: [u64; ORDER],
    /// Words of the translations.
    pub length: u64,
    /// Words of the references, each the one nearest in length.
    pub reference_length: u64,
}

impl Bleu {
    /// Adds a sentence with one or more references.
    ///
    /// # Panics
    /// If there is no reference.
    pub fn add(&mut self, translation: &str, references: &[&str]) {
        let references: Vec<Vec<String>> = references.iter().map(|r| tokenize_13a(r)).collect();
        self.add_tokens(&tokenize_13a(translation), &references);
    }

    /// Adds a sentence that is in tokens already.
    ///
    /// # Panics
    /// If there is no reference.
    pub fn add_tokens(&mut self, translation: &[String], references: &[Vec<String>]) {
        assert!(!references.is_empty(), "a translation is compared with at least one reference");
        for n in 1..=ORDER {
            let known: Vec<_> = references.iter().map(|r| ngrams(r, n)).collect();
            for (run, &count) in &ngrams(translation, n) {
                let most = known.iter().filter_map(|counts| counts.get(run)).max();
                self.found[n - 1] += count.min(most.copied().unwrap_or(0)) as u64;
                self.total[n - 1] += count as u64;
            }
        }
        let length = translation.len();
        // Of two references that are as near, the shorter one.
        let nearest = references.iter().map(Vec::len).min_by_key(|&r| (r.abs_diff(length), r));
        self.length += length as u64;
        self.reference_length += nearest.unwrap_or(0) as u64;
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Bleu) {
        self.merge_times(other, 1);
    }

    /// Adds what another has counted, so many times.
    pub fn merge_times(&mut self, other: &Bleu, times: u64) {
        for n in 0..ORDER {
            self.found[n] += times * other.found[n];
            self.total[n] += times * other.total[n];
        }
        self.length += times * other.length;
        self.reference_length += times * other.reference_length;
    }

    /// The score of the corpus: all four lengths of runs count.
    pub fn value(&self) -> f64 {
        self.score(ORDER)
    }

    /// The score of one sentence: only the lengths of runs that it has count (`effective_order`).
    pub fn sentence(&self) -> f64 {
        self.score(self.total.iter().take_while(|&&total| total > 0).count())
    }

    fn score(&self, order: usize) -> f64 {
        if order == 0 || self.total[order - 1] == 0 || self.found.iter().all(|&n| n == 0) {
            return 0.0;
        }
        let (mut logs, mut smooth) = (0.0, 1.0);
        for n in 0..order {
            let share = match self.found[n] {
                0 => {
                    smooth *= 2.0;
                    100.0 / (smooth * self.total[n] as f64)
                }
                found => 100.0 * found as f64 / self.total[n] as f64,
            };
            logs += share.ln();
        }
        let (length, reference) = (self.length as f64, self.reference_length as f64);
        let brevity = if length < reference { (1.0 - reference / length).exp() } else { 1.0 };
        brevity * (logs / order as f64).exp()
    }
}

/// Words and marks as `mteval-v13a` splits them: most punctuation stands by itself, but a point or
/// comma between digits, and an apostrophe or hyphen in a word, stay.
///
/// ```
/// use nerve_train::metrics::text::tokenize_13a;
/// assert_eq!(tokenize_13a("It's 3.5, not 4-5."), ["It's", "3.5", ",", "not", "4", "-", "5", "."]);
/// ```
pub fn tokenize_13a(text: &str) -> Vec<String> {
    let text = text.trim_end().replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let text = text.replace("&quot;", "\"").replace("&amp;", "&");
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    let mut spaced = String::from(" ");
    // Marks that always stand by themselves.
    for c in text.chars() {
        match c {
            '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/' => {
                spaced.push(' ');
                spaced.push(c);
                spaced.push(' ');
            }
            c => spaced.push(c),
        }
    }
    spaced.push(' ');
    split(&split(&split(&spaced, after_no_digit), before_no_digit), dash_after_digit)
        .split_whitespace()
        .map(String::from)
        .collect()
}

/// A point or comma with no digit before it: `x.` becomes `x . `.
fn after_no_digit(a: char, b: char) -> Option<[&'static str; 2]> {
    let mark = if b == '.' { ". " } else { ", " };
    (!a.is_ascii_digit() && matches!(b, '.' | ',')).then_some([" ", mark])
}

/// A point or comma with no digit behind it: `.x` becomes ` . x`.
fn before_no_digit(a: char, b: char) -> Option<[&'static str; 2]> {
    let mark = if a == '.' { " . " } else { " , " };
    (matches!(a, '.' | ',') && !b.is_ascii_digit()).then_some([mark, ""])
}

/// A dash behind a digit: `3-` becomes `3 - `.
fn dash_after_digit(a: char, b: char) -> Option<[&'static str; 2]> {
    (a.is_ascii_digit() && b == '-').then_some([" ", "- "])
}

/// Goes over the text from the left, two characters at a time where a rule applies, as a regular
/// expression does that replaces matches which do not overlap. The rule gives what replaces the
/// mark and what parts it from the other character.
fn split(text: &str, rule: fn(char, char) -> Option<[&'static str; 2]>) -> String {
    let chars: Vec<char> = text.chars().collect();
    let (mut out, mut i) = (String::with_capacity(text.len() + 16), 0);
    while i < chars.len() {
        let pair = chars.get(i + 1).and_then(|&b| rule(chars[i], b).map(|parts| (parts, b)));
        let Some(([first, second], b)) = pair else {
            out.push(chars[i]);
            i += 1;
            continue;
        };
        if second.is_empty() {
            // The mark comes first.
            out.push_str(first);
            out.push(b);
        } else {
            out.push(chars[i]);
            out.push_str(first);
            out.push_str(second);
        }
        i += 2;
    }
    out
}
