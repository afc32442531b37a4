//! A Bible module of the SWORD project (zText, blocks by book in zlib) beside a table of verses.

use std::collections::HashMap;
use std::io::Read;

use flate2::read::ZlibDecoder;
use nerve_formats::archive::Member;
use nerve_formats::{ErrorKind, FormatError};

use super::text::{Verse, verses_of};
use super::{Job, csv_line};
use crate::DataError;

/// The verses of the first member, a table in English, beside those of a module in the versification of the King James
/// Bible: columns `book`, `chapter`, `verse`, `en`, and the name of the file that is made (`en-es` for `es`).
///
/// How many verses a chapter has follows from the table, which has that versification but for one doxology.
pub(super) fn make(job: &Job<'_>) -> Result<Vec<Member>, DataError> {
    let english = verses_of(job.member(job.way.take[0])?)?;
    let chapters = chapters(&english);
    let (old, new) =
        chapters.split_at(chapters.iter().take_while(|chapter| chapter.book != "Mat").count());
    let mut spanish = HashMap::new();
    for (part, chapters) in [("ot", old), ("nt", new)] {
        let texts = module(job, part)?;
        let file = format!("{part}.bzv");
        // A module and a testament have a heading each, a book and a chapter too.
        let mut at = 2;
        for (i, chapter) in chapters.iter().enumerate() {
            at += usize::from(i == 0 || chapters[i - 1].book != chapter.book) + 1;
            for verse in 1..=chapter.verses {
                let text = texts.get(at).map(|text| plain(text)).unwrap_or_default();
                spanish.insert(
                    [chapter.book.clone(), chapter.number.clone(), verse.to_string()],
                    text,
                );
                at += 1;
            }
        }
        if at != texts.len() {
            let (expected, found) =
                (format!("{at}, as the King James Bible has"), texts.len().to_string());
            return Err(
                FormatError::new(ErrorKind::Mismatch, file, "places", expected, found).into()
            );
        }
    }
    let mut out = String::from("book,chapter,verse,en,es\n");
    for (place @ [book, chapter, verse], en) in &english {
        if let Some(es) = spanish.get(place).filter(|text| !text.is_empty()) {
            csv_line(&mut out, [book, chapter, verse, en.trim(), es]);
        }
    }
    Ok(job.one(out))
}

struct Chapter {
    book: String,
    number: String,
    verses: usize,
}

/// The chapters in the order of the table.
fn chapters(verses: &[Verse]) -> Vec<Chapter> {
    let mut all: Vec<Chapter> = Vec::new();
    for ([book, number, verse], _) in verses {
        let verse = verse.parse().unwrap_or(0);
        match all.last_mut() {
            Some(last) if last.book == *book && last.number == *number => {
                last.verses = last.verses.max(verse)
            }
            _ => all.push(Chapter { book: book.clone(), number: number.clone(), verses: verse }),
        }
    }
    // The doxology that the World English Bible has at the end of Romans 14, and others at the end of 16.
    for chapter in all.iter_mut().filter(|chapter| chapter.book == "Rom") {
        match chapter.number.as_str() {
            "14" => chapter.verses = 23,
            "16" => chapter.verses = 27,
            _ => {}
        }
    }
    all
}

/// The texts of a testament, one a place: `.bzs` has place, length and true length of each block in `.bzz`, `.bzv` block, place
/// and length of each text.
fn module(job: &Job<'_>, part: &str) -> Result<Vec<String>, DataError> {
    let file = |ending: &str| job.member(&format!("*/{part}.{ending}"));
    let (blocks, places, packed) = (file("bzs")?, file("bzv")?, file("bzz")?);
    let wrong = |member: &Member, what: &str| {
        FormatError::new(
            ErrorKind::Malformed,
            &member.path,
            what,
            "what fits the other files",
            "something else",
        )
    };
    let mut unpacked = Vec::new();
    for block in blocks.bytes.chunks(12) {
        let [start, length, size] = [0, 4, 8].map(|at| word(block, at));
        let bytes = packed.bytes.get(start..).and_then(|bytes| bytes.get(..length));
        let bytes = bytes.ok_or_else(|| wrong(blocks, "block"))?;
        let mut text = Vec::new();
        // zlib cannot grow more than this, whatever the file says.
        let limit = (size as u64).min(1100 * length as u64 + 1100);
        let read = ZlibDecoder::new(bytes).take(limit).read_to_end(&mut text);
        read.map_err(|_| wrong(packed, "block"))?;
        unpacked.push(text);
    }
    let texts = places.bytes.chunks(10).map(|place| {
        let (block, start) = (word(place, 0), word(place, 4));
        let length = place.get(8..10).map_or(0, |b| usize::from(u16::from_le_bytes([b[0], b[1]])));
        let text = unpacked.get(block).and_then(|text| text.get(start..)?.get(..length));
        Ok(String::from_utf8_lossy(text.ok_or_else(|| wrong(places, "place"))?).into_owned())
    });
    texts.collect()
}

fn word(bytes: &[u8], at: usize) -> usize {
    let word = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<4>());
    word.map_or(usize::MAX >> 1, |word| u32::from_le_bytes(*word) as usize)
}

/// A text without its marks, and without what stands in a heading.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, mark)) = rest.split_once('<') {
        out.push_str(before);
        let (name, after) = mark.split_once('>').unwrap_or((mark, ""));
        let heading = name.starts_with("title") && !name.ends_with('/');
        rest = match heading {
            true => after.split_once("</title>").map_or("", |(_, after)| after),
            false => after,
        };
    }
    out.push_str(rest);
    let out =
        out.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use std::io::Write;

    #[test]
    fn marks_and_headings_go() {
        let text = "<title type=\"x\">Salmo</title> <w lemma=\"a\">EN el</w> <w>principio</w>. <div/> A &amp; B <";
        assert_eq!(plain(text), "EN el principio. A & B");
    }

    /// The three files of a testament whose places hold these texts, in one block.
    fn testament(texts: &[&str]) -> [Vec<u8>; 3] {
        let mut places = Vec::new();
        let mut start = 0u32;
        for text in texts {
            places.extend(0u32.to_le_bytes());
            places.extend(start.to_le_bytes());
            places.extend((text.len() as u16).to_le_bytes());
            start += text.len() as u32;
        }
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(texts.concat().as_bytes()).unwrap();
        let packed = encoder.finish().unwrap();
        let block = [0, packed.len() as u32, start].map(u32::to_le_bytes).concat();
        [block, places, packed]
    }

    #[test]
    fn verses_stand_side_by_side() {
        let en = "book,chapter,verse,text\nGen,1,1,In\nGen,1,2,Now\nGen,2,1,So\nMat,1,1,Book\n";
        let old = testament(&["", "h", "book", "chapter", "<w>EN</w>", "Y", "chapter", ""]);
        let new = testament(&["", "h", "book", "chapter", "LIBRO"]);
        let mut members = vec![("web.csv", en.as_bytes())];
        let names = ["bzs", "bzv", "bzz"];
        let paths: Vec<String> = ["ot", "nt"]
            .iter()
            .flat_map(|part| names.map(|end| format!("m/{part}.{end}")))
            .collect();
        members.extend(
            paths.iter().map(String::as_str).zip(old.iter().chain(&new).map(Vec::as_slice)),
        );
        let made = run("sword", &["web.csv"], &members);
        assert_eq!(
            made,
            "book,chapter,verse,en,es\nGen,1,1,In,EN\nGen,1,2,Now,Y\nMat,1,1,Book,LIBRO\n"
        );
    }
}
