//! Voice prompts of a telephone exchange: recordings by language, and a table of them.

use nerve_formats::archive::Member;

use super::{Job, csv_line};
use crate::DataError;

/// `.../sounds/LL_CC_g_Speaker/SET/LABEL.wav` becomes `LL/SET/LABEL.wav` and a row of `clips.csv`: columns `path`,
/// `language`, `speaker`, `set`, `label`. The label of a letter spelt in the phonetic alphabet is the letter.
pub(super) fn make(job: &Job<'_>) -> Result<Vec<Member>, DataError> {
    let mut table = String::from("path,language,speaker,set,label\n");
    let mut files = Vec::new();
    for member in job.sorted() {
        let parts: Vec<&str> = member.path.rsplit('/').take(3).collect();
        let &[file, set, folder] = parts.as_slice() else { continue };
        let language = folder.split('_').next().unwrap_or(folder);
        let speaker = folder.rsplit('_').next().unwrap_or(folder);
        let stem = file.strip_suffix(".wav").unwrap_or(file);
        let label = if set == "phonetic" { stem.split('_').next().unwrap_or(stem) } else { stem };
        let path = format!("{language}/{set}/{file}");
        csv_line(&mut table, [&path, language, speaker, set, label]);
        files.push(Member { path, bytes: member.bytes.clone() });
    }
    files.push(Member { path: "clips.csv".into(), bytes: table.into_bytes() });
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::super::tests::make_files;

    #[test]
    fn recordings_are_sorted_by_language_and_listed() {
        let members = [
            ("usr/sounds/it_IT_m_Carlo/phonetic/a_p.wav", &b"x"[..]),
            ("usr/sounds/en_US_f_Allison/digits/1.wav", &b"y"[..]),
        ];
        let files = make_files("voices", &["*.wav"], &members, "");
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["en/digits/1.wav", "it/phonetic/a_p.wav", "clips.csv"]);
        let table = String::from_utf8(files[2].bytes.clone()).unwrap();
        let expected = "path,language,speaker,set,label\n\
                        en/digits/1.wav,en,Allison,digits,1\n\
                        it/phonetic/a_p.wav,it,Carlo,phonetic,a\n";
        assert_eq!(table, expected);
    }
}
