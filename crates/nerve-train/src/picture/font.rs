//! Letters of 5 by 9 dots for pictures of pixels: plain ASCII, which is what axes and names need.

/// Rows of a letter: seven above the line, two below it.
pub(super) const ROWS: usize = 9;
/// Columns of a letter, with the gap behind it.
pub(super) const ADVANCE: usize = 6;

/// From the space to the tilde, nine rows each, a digit of 32 a row; the leftmost dot counts 16.
const GLYPHS: &[u8] = b"\
000000000444440400aaa000000aavavaa004fke5u400op248j300cik8lid00440000000\
24888420084222480004lel4000044v44000000004480000v0000000000cc00122488g00\
ehjlphe004c4444e00eh1248v00v2421he0026aiv2200vgu11he0068guhhe00v12488800\
ehhehhe00ehhf12c000cc0cc0000cc044800248g8420000v0v0000842124800eh1240400\
ehnlnge00ehhvhhh00uhhuhhu00ehggghe00sihhhis00vgguggv00vgguggg00ehgnhhf00\
hhhvhhh00e44444e0072222ic00hikokih00ggggggv00hrllhhh00hhpljhh00ehhhhhe00\
uhhuggg00ehhhlid00uhhukih00fgge11u00v44444400hhhhhhe00hhhhha400hhhllla00\
hha4ahh00hha444400v1248gv00e88888e00g88422100e22222e004ah0000000000000v0\
84000000000e1fhf00gguhhhu0000egghe0011fhhhf0000ehvge00698s8880000fhhhf1e\
gguhhhh0040c444e002062222icggikoki00c44444e0000qllll0000uhhhh0000ehhhe00\
00uhhhugg00fhhhf1100mpggg0000fge1u0088s88960000hhhhf0000hhha40000hhlla00\
00ha4ah0000hhhhf1e00v248v00244844200444444400844244800008l20000";

/// The rows of a letter from the top, five bits each; a box for one that is not known.
pub(super) fn glyph(letter: char) -> [u8; ROWS] {
    let letter = match letter {
        '–' | '−' | '—' => '-',
        '…' => '.',
        '·' => '.',
        other => other,
    };
    let at = (letter as usize).wrapping_sub(32).saturating_mul(ROWS);
    let digit = |c: u8| if c.is_ascii_digit() { c - b'0' } else { c - b'a' + 10 };
    match GLYPHS.get(at..).and_then(|rest| rest.first_chunk::<ROWS>()) {
        Some(rows) => rows.map(digit),
        None => [31, 17, 17, 17, 17, 17, 31, 0, 0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_of_ascii_is_there_once() {
        assert_eq!(GLYPHS.len(), 95 * ROWS);
        let all: std::collections::HashSet<_> = (' '..='~').map(glyph).collect();
        assert_eq!(all.len(), 95);
        assert!(all.iter().flatten().all(|row| *row < 32));
        assert_eq!(glyph('T'), [31, 4, 4, 4, 4, 4, 4, 0, 0]);
        assert_eq!(glyph('~')[3], 21);
        assert_eq!(glyph('ä'), glyph('\n'));
    }
}
