//! The files of the page, which are in the binary.

use sha2::{Digest, Sha256};
use std::fmt::Write;

/// A file of the page.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Its name below `assets/`.
    pub name: &'static str,
    /// What it is.
    pub kind: &'static str,
    /// What is in it.
    pub text: &'static str,
}

/// The page itself: it names the others, in their order.
pub const INDEX: &str = include_str!("../assets/index.html");

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

macro_rules! assets {
    ($($kind:ident $name:literal),* $(,)?) => {
        &[$(Asset { name: $name, kind: $kind, text: include_str!(concat!("../assets/", $name)) }),*]
    };
}

/// Styles and scripts, in the order in which the page loads them.
pub const ASSETS: &[Asset] = assets![
    CSS "uplot/uPlot.min.css",
    CSS "style.css",
    JS "uplot/uPlot.iife.min.js",
    JS "js/base.js",
    JS "js/source.js",
    JS "js/table.js",
    JS "js/chart.js",
    JS "js/overview.js",
    JS "js/curves.js",
    JS "js/evaluation.js",
    JS "js/worst.js",
    JS "js/health.js",
    JS "js/model.js",
    JS "js/system.js",
    JS "js/tuning.js",
    JS "js/compare.js",
    JS "js/main.js",
];

/// The icon: a small network.
pub const ICON: &str = include_str!("../assets/icon.svg");

/// What the browser may load for the page: its own files, and data from its own server.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The name of a version of a file, for `ETag`.
pub fn version(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let hex = digest.iter().take(12).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    format!("\"{hex}\"")
}

/// The source of an inline script or style as a policy names it: `sha256-...`.
pub fn hash(text: &str) -> String {
    format!("'sha256-{}'", base64(&Sha256::digest(text.as_bytes())))
}

/// Base64 with padding (RFC 4648).
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            match digit <= three.len() {
                true => text.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize])),
                false => text.push('='),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        let expected = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (n, text) in expected.iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..n]), *text);
        }
    }

    #[test]
    fn the_page_loads_exactly_its_files_in_their_order() {
        let mut rest = INDEX;
        for asset in ASSETS {
            let quoted = format!("\"/assets/{}\"", asset.name);
            let at =
                rest.find(&quoted).unwrap_or_else(|| panic!("{} is not in its place", asset.name));
            rest = &rest[at + quoted.len()..];
        }
        assert_eq!(INDEX.matches("/assets/").count(), ASSETS.len());
        assert!(!INDEX.contains("<style") && !INDEX.contains(" style=") && !INDEX.contains(" on"));
    }

    #[test]
    fn the_chart_library_is_the_one_that_the_notice_names() {
        let notice = include_str!("../assets/uplot/README.md");
        for name in ["uplot/uPlot.min.css", "uplot/uPlot.iife.min.js"] {
            let asset = ASSETS.iter().find(|asset| asset.name == name).unwrap();
            let digest = Sha256::digest(asset.text.as_bytes());
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(notice.contains(&hex), "{name} is {hex}");
        }
    }

    #[test]
    fn no_script_of_ours_makes_markup_from_text_or_leaves_the_server() {
        for asset in ASSETS.iter().filter(|asset| asset.name.starts_with("js/")) {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "http:",
                "https:",
            ] {
                // The name of the SVG elements is no address that anybody asks.
                let text = asset.text.replace("http://www.w3.org/2000/svg", "");
                assert!(!text.contains(word), "{} has {word}", asset.name);
            }
        }
    }
}
