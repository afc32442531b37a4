//! From the members of packages to the files of a data set.

mod frame;
mod r;
mod sword;
mod text;
mod tiles;
mod voices;

use nerve_formats::archive::{Member, decompress};
use nerve_formats::{ErrorKind, FormatError, Limits};

use super::entry::{Entry, Way};
use crate::DataError;

/// What is converted, and what the catalogue says of it.
pub(super) struct Job<'a> {
    pub entry: &'a Entry,
    pub way: &'a Way,
    /// Those that match what the way takes.
    pub members: Vec<Member>,
}

/// A converter: the name in the catalogue, and what it does.
#[derive(Clone, Copy)]
pub(super) struct Maker {
    name: &'static str,
    /// The files of the data set; their paths are checked by who writes them.
    pub make: fn(&Job<'_>) -> Result<Vec<Member>, DataError>,
}

impl std::fmt::Debug for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const MAKERS: [Maker; 12] = [
    Maker { name: "copy", make: copy },
    Maker { name: "frame", make: frame::make },
    Maker { name: "folders", make: text::folders },
    Maker { name: "lines", make: text::lines },
    Maker { name: "scores", make: text::scores },
    Maker { name: "verses", make: text::verses },
    Maker { name: "plays", make: text::plays },
    Maker { name: "poems", make: text::poems },
    Maker { name: "sword", make: sword::make },
    Maker { name: "r", make: r::make },
    Maker { name: "voices", make: voices::make },
    Maker { name: "tiles", make: tiles::make },
];

impl Maker {
    pub fn from_name(name: &str) -> Option<Maker> {
        MAKERS.into_iter().find(|maker| maker.name == name)
    }
}

impl Job<'_> {
    /// The member of this path.
    pub fn member(&self, path: &str) -> Result<&Member, DataError> {
        let found = self.members.iter().find(|member| matches(path, &member.path));
        found.ok_or_else(|| lacking(path).into())
    }

    /// The members in the order of their paths, which does not depend on the package.
    pub fn sorted(&self) -> Vec<&Member> {
        let mut members: Vec<&Member> = self.members.iter().collect();
        members.sort_by(|a, b| a.path.cmp(&b.path));
        members
    }

    /// The file that the conversion makes, where it makes one.
    pub fn one(&self, bytes: impl Into<Vec<u8>>) -> Vec<Member> {
        vec![Member { path: self.entry.files[0].to_string(), bytes: bytes.into() }]
    }
}

fn lacking(path: &str) -> FormatError {
    FormatError::new(ErrorKind::Mismatch, path, "member", "one in the package", "none")
}

/// Each member as it is, without its compression.
fn copy(job: &Job<'_>) -> Result<Vec<Member>, DataError> {
    let pairs = job.way.take.iter().zip(job.entry.files);
    pairs
        .map(|(from, to)| {
            let member = job.member(from)?;
            let bytes = decompress(&member.path, &member.bytes, &Limits::default())?.into_owned();
            Ok(Member { path: to.to_string(), bytes })
        })
        .collect()
}

/// Whether a path is of this pattern, in which `*` stands for any characters.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == path };
    let Some(mut left) = path.strip_prefix(start) else { return false };
    // The first place where a part fits leaves the most for the parts behind it.
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or("");
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(end)
}

/// Adds a line to a CSV text; quotes stand where they must.
pub(super) fn csv_line<'a>(text: &mut String, cells: impl IntoIterator<Item = &'a str>) {
    for (i, cell) in cells.into_iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        if cell.contains(['"', ',', '\n', '\r']) || cell.starts_with(' ') || cell.ends_with(' ') {
            text.push('"');
            text.push_str(&cell.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(cell);
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::entry::read;
    use super::*;

    /// What a converter makes of these members, where it makes one file.
    pub fn run(make: &str, take: &[&str], members: &[(&str, &[u8])]) -> String {
        let files = make_files(make, take, members, "");
        assert_eq!(files.len(), 1);
        String::from_utf8(files[0].bytes.clone()).unwrap()
    }

    /// The files that a converter makes of these members; `more` are further keys of the way.
    pub fn make_files(
        make: &str,
        take: &[&str],
        members: &[(&str, &[u8])],
        more: &str,
    ) -> Vec<Member> {
        let text = format!(
            r#"
            [packages]
            [[set]]
            name = "t"
            doc = "d"
            licence = "l"
            source = "s"
            rows = 1
            files = [{{ name = "out", size = 1, sha256 = "" }}]
            [[set.way]]
            packages = []
            take = {take:?}
            make = "{make}"
            {more}
            "#
        );
        let entry = &*Box::leak(Box::new(read(text.leak()).unwrap().remove(0)));
        let member = |(path, bytes): &(&str, &[u8])| Member {
            path: path.to_string(),
            bytes: bytes.to_vec(),
        };
        let members = members.iter().map(member).collect();
        let way = &entry.ways[0];
        (way.make.make)(&Job { entry, way, members }).unwrap()
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, path, expected) in [
            ("a/b.txt", "a/b.txt", true),
            ("a/b.txt", "a/b.txt2", false),
            ("a/*.txt", "a/b/c.txt", true),
            ("a/*.txt", "a/b.csv", false),
            ("*/x/*", "p/x/", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1c", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let mut text = String::new();
        csv_line(&mut text, ["a", "b,c", "say \"x\"", "two\nlines", " edge", ""]);
        assert_eq!(text, "a,\"b,c\",\"say \"\"x\"\"\",\"two\nlines\",\" edge\",\n");
    }
}
