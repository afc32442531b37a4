//! Letters of three by five pixels.

/// Pixels of a dot.
pub(super) const SCALE: usize = 2;
/// Pixels from letter to letter.
pub(super) const WIDTH: usize = 4 * SCALE;
/// Pixels of a line.
pub(super) const HEIGHT: usize = 5 * SCALE;

/// Five rows of three dots, from the top; one octal digit a row.
fn glyph(letter: char) -> u16 {
    match letter.to_ascii_uppercase() {
        ' ' => 0,
        '0' => 0o75557,
        '1' => 0o26227,
        '2' => 0o71747,
        '3' => 0o71317,
        '4' => 0o55711,
        '5' => 0o74717,
        '6' => 0o74757,
        '7' => 0o71122,
        '8' => 0o75757,
        '9' => 0o75717,
        'A' => 0o25755,
        'B' => 0o65656,
        'C' => 0o34443,
        'D' => 0o65556,
        'E' => 0o74647,
        'F' => 0o74644,
        'G' => 0o34553,
        'H' => 0o55755,
        'I' => 0o72227,
        'J' => 0o11152,
        'K' => 0o55655,
        'L' => 0o44447,
        'M' => 0o57755,
        'N' => 0o65555,
        'O' => 0o25552,
        'P' => 0o65644,
        'Q' => 0o25563,
        'R' => 0o65655,
        'S' => 0o34216,
        'T' => 0o72222,
        'U' => 0o55557,
        'V' => 0o55552,
        'W' => 0o55775,
        'X' => 0o55255,
        'Y' => 0o55222,
        'Z' => 0o71247,
        '-' => 0o00700,
        '+' => 0o02720,
        '=' => 0o07070,
        '.' => 0o00002,
        ',' => 0o00024,
        ':' => 0o02020,
        ';' => 0o02024,
        '/' => 0o11244,
        '_' => 0o00007,
        '(' => 0o24442,
        ')' => 0o21112,
        '%' => 0o51245,
        '!' => 0o22202,
        '\'' => 0o22000,
        '"' => 0o55000,
        '#' => 0o57575,
        '<' => 0o12421,
        '>' => 0o42124,
        '*' => 0o05250,
        _ => 0o71202,
    }
}

/// Calls `set` with the row and column of each pixel of a text, of at most so many letters.
pub(super) fn write(text: &str, most: usize, mut set: impl FnMut(usize, usize)) {
    for (place, letter) in text.chars().take(most).enumerate() {
        let dots = glyph(letter);
        for dot in (0..15).filter(|dot| dots >> (14 - dot) & 1 == 1) {
            for pixel in 0..SCALE * SCALE {
                let y = dot / 3 * SCALE + pixel / SCALE;
                set(y, place * WIDTH + dot % 3 * SCALE + pixel % SCALE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_differ() {
        let letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-+=.,:;/_()%!'\"#<>*?";
        let mut glyphs: Vec<u16> = letters.chars().map(glyph).collect();
        glyphs.sort_unstable();
        glyphs.dedup();
        // 5 and S, 0 and O differ; nothing is drawn twice.
        assert_eq!(glyphs.len(), letters.len());
    }

    #[test]
    fn a_text_is_cut_to_its_room() {
        let mut pixels = Vec::new();
        write("LLL", 2, |y, x| pixels.push((y, x)));
        assert_eq!(pixels.len(), 2 * 7 * SCALE * SCALE);
        assert!(pixels.iter().all(|&(y, x)| y < HEIGHT && x < 2 * WIDTH));
    }
}
