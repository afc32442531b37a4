//! Texts of various makes, as CSV or as one text.

use std::borrow::Cow;
use std::collections::HashMap;

use nerve_formats::archive::{Member, unpack};
use nerve_formats::{ErrorKind, FormatError, Limits};

use super::{Job, csv_line};
use crate::DataError;

/// A text that is UTF-8, or else Latin-1, in which every byte is a character.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
    }
}

fn malformed(member: &Member, field: &str, expected: &str, found: &str) -> DataError {
    FormatError::new(ErrorKind::Malformed, &member.path, field, expected, found).into()
}

/// The name of a file without its folder and its ending.
fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// Each member is a text, and its folder the class: columns `file`, `label`, `text`.
pub(super) fn folders(job: &Job<'_>) -> Result<Vec<Member>, DataError> {
    let mut out = String::from("file,label,text\n");
    for member in job.sorted() {
        let mut parts = member.path.rsplit('/');
        let (name, class) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let file = format!("{class}/{name}");
        csv_line(&mut out, [&file, class, text(&member.bytes).trim()]);
    }
    Ok(job.one(out))
}

/// Each member is a class, named as the file is, and each of its lines a text: columns `text`, `label`.
pub(super) fn lines(job: &Job<'_>) -> Result<Vec<Member>, DataError> {
    let mut out = String::from("text,label\n");
    for member in job.sorted() {
        let text = text(&member.bytes);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            csv_line(&mut out, [line, stem(&member.path)]);
        }
    }
    Ok(job.one(out))
}

/// Lines `NUMBER score text`, between tabs, in a package inside the package; the score is the mean of what people gave, from
/// -4 to 4. Columns `text`, `label`, `score`; what people could not agree on, a score within half a point of zero, is
/// left out.
pub(super) fn scores(job: &Job<'_>) -> Result<Vec<Member>, DataError> {
    let mut out = String::from("text,label,score\n");
    for package in &job.members {
        let wanted = |path: &str| path.ends_with("movieReviewSnippets_GroundTruth.txt");
        for member in unpack(&package.path, &package.bytes, &Limits::default(), wanted)? {
            for (number, line) in text(&member.bytes).lines().enumerate() {
                let mut cells = line.splitn(3, '\t').skip(1);
                let score = cells.next().and_then(|cell| cell.parse::<f64>().ok());
                let (Some(score), Some(text)) = (score, cells.next()) else {
                    let field = format!("line {}", number + 1);
                    return Err(malformed(&member, &field, "number, score and text", line));
                };
                if score.abs() > 0.5 {
                    let label = if score > 0.0 { "positive" } else { "negative" };
                    csv_line(&mut out, [text.trim(), label, &score.to_string()]);
                }
            }
        }
    }
    Ok(job.one(out))
}

/// Two tables with `book`, `chapter`, `verse` and `text`, the verses of both side by side: columns `book`, `chapter`,
/// `verse`, `en`, `zh`.
pub(super) fn verses(job: &Job<'_>) -> Result<Vec<Member>, DataError> {
    let [english, chinese] = job.way.take else {
        return Err(DataError::Empty { what: "the verses".into() });
    };
    let (english, chinese) = (verses_of(job.member(english)?)?, verses_of(job.member(chinese)?)?);
    let chinese: HashMap<&[String; 3], &String> =
        chinese.iter().map(|(at, text)| (at, text)).collect();
    let mut out = String::from("book,chapter,verse,en,zh\n");
    for (at @ [book, chapter, verse], en) in &english {
        if let Some(zh) = chinese.get(at) {
            csv_line(&mut out, [book, chapter, verse, en.trim(), zh.trim()]);
        }
    }
    Ok(job.one(out))
}

/// Book, chapter, verse, and the text.
pub(super) type Verse = ([String; 3], String);

pub(super) fn verses_of(member: &Member) -> Result<Vec<Verse>, DataError> {
    let text = text(&member.bytes);
    let mut rows = records(&text).into_iter();
    let header = rows.next().unwrap_or_default();
    let at = |name: &str| {
        let at = header.iter().position(|column| column == name);
        at.ok_or_else(|| malformed(member, "header", name, &header.join(",")))
    };
    let [book, chapter, verse, words] = [at("book")?, at("chapter")?, at("verse")?, at("text")?];
    let mut verses = Vec::new();
    for mut row in rows {
        if row.len() != header.len() {
            let (expected, found) = (header.len().to_string(), row.len().to_string());
            return Err(malformed(member, "cells of a row", &expected, &found));
        }
        let mut cell = |i: usize| std::mem::take(&mut row[i]);
        verses.push(([cell(book), cell(chapter), cell(verse)], cell(words)));
    }
    // A verse without words has no partner.
    verses.retain(|(_, text)| !text.trim().is_empty());
    Ok(verses)
}

/// The records of a CSV text (RFC 4180), all in memory.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut all, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                all.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    if !row.is_empty() || !cell.is_empty() {
        row.push(cell);
        all.push(row);
    }
    all
}

/// Plays in Markdown, one after the other, without the marks: one text.
pub(super) fn plays(job: &Job<'_>) -> Result<Vec<Member>, DataError> {
    let mut out = String::new();
    for member in job.sorted() {
        let mut blank = true;
        for line in text(&member.bytes).lines() {
            let line = line.trim_start_matches('#').replace("**", "").replace('_', "");
            let line = line.trim();
            // One empty line is enough.
            if !(line.is_empty() && blank) {
                out.push_str(line);
                out.push('\n');
            }
            blank = line.is_empty();
        }
        out.push('\n');
    }
    Ok(job.one(out))
}

/// Poems in JSON, `{title, author, paragraphs}`: one text, each with its title, its author and its lines, and an empty line
/// behind it.
pub(super) fn poems(job: &Job<'_>) -> Result<Vec<Member>, DataError> {
    let mut members: Vec<&Member> = job.members.iter().collect();
    // poet.tang.0.json, poet.tang.1000.json, ...: in the order of their numbers.
    let number = |member: &Member| {
        stem(&member.path).rsplit('.').next().and_then(|number| number.parse::<u64>().ok())
    };
    members.sort_by(|a, b| (number(a), &a.path).cmp(&(number(b), &b.path)));
    let mut out = String::new();
    for member in members {
        let wrong = |found: &str| malformed(member, "poems", "a list of poems in JSON", found);
        let list: serde_json::Value =
            serde_json::from_slice(&member.bytes).map_err(|error| wrong(&error.to_string()))?;
        for poem in list.as_array().ok_or_else(|| wrong("something else"))? {
            let lines = poem["paragraphs"].as_array().ok_or_else(|| wrong("one without lines"))?;
            let head = [&poem["title"], &poem["author"]];
            for line in head.into_iter().chain(lines) {
                out.push_str(line.as_str().ok_or_else(|| wrong("one that is no text"))?.trim());
                out.push('\n');
            }
            out.push('\n');
        }
    }
    Ok(job.one(out))
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use flate2::Compression;
    use std::io::Write;

    #[test]
    fn folders_and_files_become_labels() {
        let made = run(
            "folders",
            &["*"],
            &[("d/sport/2.txt", b"caf\xe9, \"x\"\n"), ("d/art/1.txt", b"one")],
        );
        assert_eq!(
            made,
            "file,label,text\nart/1.txt,art,one\nsport/2.txt,sport,\"caf\u{e9}, \"\"x\"\"\"\n"
        );
        let made = run(
            "lines",
            &["*"],
            &[("s/pos.txt", "好\n\n很好 \r\n".as_bytes()), ("s/neg.txt", "差".as_bytes())],
        );
        assert_eq!(made, "text,label\n差,neg\n好,pos\n很好,pos\n");
    }

    #[test]
    fn what_nobody_agrees_on_is_left_out() {
        let text = b"1\t2.5\tGood, really\r\n2\t0.4\tWell\r\n3\t-0.6\tBad\r\n";
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(text).unwrap();
        let package = gz.finish().unwrap();
        let made = run("scores", &["*"], &[("movieReviewSnippets_GroundTruth.txt", &package)]);
        assert_eq!(made, "text,label,score\n\"Good, really\",positive,2.5\nBad,negative,-0.6\n");
    }

    #[test]
    fn verses_meet_by_their_place() {
        let en =
            "book,chapter,verse,text\nGen,1,1,\"In the, \"\"x\"\"\"\nGen,1,2,only here\nGen,1,3,\n";
        let zh = "\u{feff}book,n,chapter,verse,text\nGen,1,1,1,\u{3000}起初\nGen,1,1,3,有\n";
        let made = run(
            "verses",
            &["e.csv", "z.csv"],
            &[("z.csv", zh.as_bytes()), ("e.csv", en.as_bytes())],
        );
        assert_eq!(made, "book,chapter,verse,en,zh\nGen,1,1,\"In the, \"\"x\"\"\",起初\n");
    }

    #[test]
    fn plays_lose_their_marks_and_poems_keep_their_lines() {
        let play = "# Hamlet\n\n\n## ACT I\n\n_Enter A_\n\n**A**  \nWho's there?  \n";
        assert_eq!(
            run("plays", &["*"], &[("h.md", play.as_bytes())]),
            "Hamlet\n\nACT I\n\nEnter A\n\nA\nWho's there?\n\n"
        );
        let poem = |title: &str| {
            format!(r#"[{{"title":"{title}","author":"a","paragraphs":["x。","y。"]}}]"#)
        };
        let (first, tenth) = (poem("1"), poem("10"));
        let made = run(
            "poems",
            &["*"],
            &[("p.10.json", tenth.as_bytes()), ("p.9.json", first.as_bytes())],
        );
        assert_eq!(made, "1\na\nx。\ny。\n\n10\na\nx。\ny。\n\n");
    }
}
