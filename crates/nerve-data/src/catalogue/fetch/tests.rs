use super::*;
use crate::catalogue::entry;

/// A catalogue of one data set from a zip-free package: a plain file.
fn little(sha_of_package: &str, sha_of_file: &str) -> &'static Entry {
    let text = format!(
        r#"
        [packages.p]
        client = "npm"
        name = "p"
        version = "1"
        file = "p.csv"
        size = 4
        sha256 = "{sha_of_package}"

        [[set]]
        name = "little"
        doc = "d"
        licence = "l"
        source = "s"
        rows = 1
        table = "little.csv"
        files = [{{ name = "little.csv", size = 4, sha256 = "{sha_of_file}" }}]
        [[set.way]]
        packages = ["p"]
        take = ["p.csv"]
        make = "copy"
        "#
    );
    let entries: &'static [Entry] = entry::read(text.leak()).unwrap().leak();
    &entries[0]
}

/// Fetches with the package already there.
fn get(
    entry: &'static Entry,
    root: &Path,
    force: bool,
) -> (Result<Fetched, DataError>, Vec<String>) {
    let package = root.join("p.csv");
    fs::write(&package, "a\n1\n").unwrap();
    let (stop, mut said) = (AtomicBool::new(false), Vec::new());
    let mut say = |line: &str| said.push(line.to_string());
    let mut fetcher = Fetcher::new(None, &stop, &mut say);
    fetcher.surroundings = surroundings(root);
    fetcher.packages.push(("p", package));
    let result = fetcher.get(entry, force);
    drop(fetcher);
    (result, said)
}

fn surroundings(root: &Path) -> Surroundings {
    let nerve_data = Some(root.join("data"));
    Surroundings { nerve_data, current: None, executable: None, user_data: None }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn what_is_fetched_is_whole_and_found_again() {
    let root = tempfile::tempdir().unwrap();
    let hash = sha256(b"a\n1\n");
    let entry = little(&hash, &hash);
    let (result, said) = get(entry, root.path(), false);
    let folder = root.path().join("data/little");
    assert_eq!(result.unwrap(), Fetched { folder: folder.clone(), new: true });
    assert_eq!(said[..2], ["little: d", "  licence: l"]);
    assert_eq!(fs::read(folder.join("little.csv")).unwrap(), b"a\n1\n");
    assert_eq!(names(&root.path().join("data")), ["little"]);
    // It is not fetched again, unless that is asked for, and then it is made new.
    assert!(!get(entry, root.path(), false).0.unwrap().new);
    fs::write(folder.join("little.csv"), "damaged").unwrap();
    assert!(get(entry, root.path(), true).0.unwrap().new);
    assert_eq!(fs::read(folder.join("little.csv")).unwrap(), b"a\n1\n");
    assert_eq!(names(&root.path().join("data")), ["little"]);
}

#[test]
fn nothing_stays_of_what_does_not_fit_its_hash() {
    let (right, wrong) = (sha256(b"a\n1\n"), sha256(b""));
    for (package, file) in [(&wrong, &right), (&right, &wrong)] {
        let root = tempfile::tempdir().unwrap();
        let error = get(little(package, file), root.path(), false).0.unwrap_err().to_string();
        assert!(error.starts_with("cannot fetch the data set `little`; tried:"), "{error}");
        assert!(error.contains(&format!("SHA-256: expected {wrong}, found {right}")), "{error}");
        assert_eq!(names(&root.path().join("data")), [""; 0]);
    }
}

#[test]
fn a_folder_is_compared_file_by_file() {
    let hash = sha256(b"a\n1\n");
    let mut entry = entry::read(
        r#"
        [packages]
        [[set]]
        name = "f"
        doc = "d"
        licence = "l"
        source = "s"
        rows = 1
        files = [{ name = "wav/", size = 3, sha256 = "" }]
        "#,
    )
    .unwrap()
    .remove(0);
    let file = |path: &str, bytes: &[u8]| Member { path: path.into(), bytes: bytes.into() };
    let files = [file("wav/b", b"b"), file("wav/a", b"aa")];
    let list = format!("{}  wav/a\n{}  wav/b\n", sha256(b"aa"), sha256(b"b"));
    entry.contents[0].sha256 = sha256(list.as_bytes()).leak();
    verify(&entry, &files).unwrap();
    assert!(verify(&entry, &files[..1]).is_err());
    let more = [files.as_slice(), &[file("x", b"")]].concat();
    assert!(verify(&entry, &more).unwrap_err().to_string().contains("expected 2 files, found 3"));
    let out = [file("wav/../../x", b"")];
    assert!(verify(&entry, &out).unwrap_err().to_string().contains("stays in the folder"));
    assert_eq!(hash.len(), 64);
}

/// Needs a network, the clients of the registries, and time: `cargo test -p nerve-data --lib everything -- --ignored`.
#[test]
#[ignore = "fetches 400 MB"]
fn everything_is_fetched_as_the_catalogue_says() {
    let root = tempfile::tempdir().unwrap();
    let (stop, mut failed) = (AtomicBool::new(false), Vec::new());
    let mut say = |line: &str| println!("{line}");
    let mut fetcher = Fetcher::new(None, &stop, &mut say);
    fetcher.surroundings = surroundings(root.path());
    for entry in crate::catalogue::catalogue() {
        failed.extend(fetcher.get(entry, false).err().map(|error| error.to_string()));
    }
    assert_eq!(failed, [""; 0]);
}

#[test]
fn the_catalogue_is_whole() {
    let mut names: Vec<&str> = Vec::new();
    for entry in crate::catalogue::catalogue() {
        assert!(!names.contains(&entry.name) && is_plain_path(entry.name), "{}", entry.name);
        names.push(entry.name);
        assert!(!entry.doc.is_empty() && !entry.licence.is_empty() && entry.rows > 0);
        assert!(entry.source.starts_with("http"), "{}", entry.name);
        assert!(entry.table.is_none_or(|table| entry.files.contains(&table)), "{}", entry.name);
        assert!(!entry.ways.is_empty() && !entry.contents.is_empty(), "{}", entry.name);
        let hashes = entry.contents.iter().map(|content| content.sha256);
        let packages = entry.ways.iter().flat_map(|way| &way.packages);
        for package in packages.clone() {
            assert!(package.url.is_some() || package.client.is_some(), "{}", package.id);
            assert!(package.url.is_none_or(|url| url.starts_with("https://")), "{}", package.id);
            assert!(is_plain_path(package.file) && is_plain_path(package.id));
        }
        for hash in hashes.chain(packages.map(|package| package.sha256)) {
            assert!(
                hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()),
                "{}",
                entry.name
            );
        }
    }
}
