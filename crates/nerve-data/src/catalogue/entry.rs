//! What the catalogue knows: `data/catalog.toml`, which is part of the program, read once.

use std::sync::LazyLock;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::convert::Maker;

/// A named data set.
#[derive(Debug)]
pub struct Entry {
    /// Its name, which is also that of its folder.
    pub name: &'static str,
    /// What it holds, in a sentence.
    pub doc: &'static str,
    /// Its licence, and whose it is.
    pub licence: &'static str,
    /// Where one reads more about it.
    pub source: &'static str,
    /// How many examples it has.
    pub rows: u64,
    /// Its files; each may stand as it is or compressed, with `.gz` added. One that ends in `/` is a folder.
    pub files: &'static [&'static str],
    /// The file that a recipe reads, if it is one table.
    pub table: Option<&'static str>,
    /// The column that is usually predicted.
    pub target: Option<&'static str>,
    /// The name of each class, in the order of their numbers; empty when there are none.
    pub labels: &'static [&'static str],
    /// What the files must hold, in their order.
    pub(super) contents: Vec<Content>,
    /// How they are obtained.
    pub(super) ways: Vec<Way>,
}

impl Entry {
    /// How many bytes its files have.
    pub fn size(&self) -> u64 {
        self.contents.iter().map(|content| content.size).sum()
    }
}

/// What a file must hold.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub name: &'static str,
    pub size: u64,
    pub sha256: &'static str,
}

/// A way to make the files of a data set.
#[derive(Debug)]
pub(super) struct Way {
    pub packages: Vec<&'static Package>,
    pub take: &'static [&'static str],
    pub make: Maker,
    /// Columns that are left out of a table.
    pub drop: &'static [&'static str],
    /// Columns of a table that get another name.
    pub rename: Vec<(&'static str, &'static str)>,
}

/// A published file, and how it is obtained.
#[derive(Debug)]
pub(super) struct Package {
    pub id: &'static str,
    pub url: Option<&'static str>,
    pub client: Option<Client>,
    pub file: &'static str,
    pub size: u64,
    pub sha256: &'static str,
}

/// The client of a registry, and what it is asked for.
#[derive(Debug)]
pub(super) struct Client {
    pub origin: Origin,
    pub name: &'static str,
    pub version: &'static str,
    /// For a Python package that differs from machine to machine: the one that is meant.
    pub platform: Option<(&'static str, &'static str)>,
}

/// Where a file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A public address, through `curl`.
    Url,
    /// A Python package, through `pip download`.
    Pip,
    /// A package of Node, through `npm pack`.
    Npm,
    /// A Debian package, through `apt-get download`.
    Apt,
}

impl Origin {
    /// As it is written in the catalogue and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Url => "url",
            Origin::Pip => "pip",
            Origin::Npm => "npm",
            Origin::Apt => "apt",
        }
    }

    fn from_name(name: &str) -> Origin {
        let all = [Origin::Url, Origin::Pip, Origin::Npm, Origin::Apt];
        all.into_iter().find(|origin| origin.name() == name).expect("a known client")
    }
}

/// All named data sets, in the order of the catalogue.
pub(super) fn all() -> &'static [Entry] {
    static ALL: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        // What is wrong here is wrong in the program, and its tests read it.
        read(include_str!("../../../../data/catalog.toml")).expect("data/catalog.toml")
    });
    &ALL
}

/// The catalogue of a text that stays; panics where the text is TOML and still no catalogue.
pub(super) fn read(text: &'static str) -> Result<Vec<Entry>, toml::de::Error> {
    let root = DeTable::parse(text)?.into_inner();
    let root = Fields(&root, "the catalogue");
    let packages: Vec<Package> =
        root.table("packages").0.iter().map(|(id, value)| package(id.get_ref(), value)).collect();
    let packages: &'static [Package] = packages.leak();
    Ok(root.tables("set").iter().map(|set| entry(set, packages)).collect())
}

fn package(id: &str, value: &Spanned<DeValue<'static>>) -> Package {
    let fields = Fields(value.get_ref().as_table().expect("a table"), "a package");
    let client = fields.text("client").map(|client| Client {
        origin: Origin::from_name(client),
        name: fields.need("name"),
        version: fields.need("version"),
        platform: fields.text("platform").map(|platform| (platform, fields.need("python"))),
    });
    Package {
        id: keep(id),
        url: fields.text("url"),
        client,
        file: fields.need("file"),
        size: fields.number("size"),
        sha256: fields.need("sha256"),
    }
}

fn entry(set: &Fields<'_>, packages: &'static [Package]) -> Entry {
    let contents: Vec<Content> = set.tables("files").iter().map(content).collect();
    let files: Vec<&'static str> = contents.iter().map(|content| content.name).collect();
    Entry {
        name: set.need("name"),
        doc: set.need("doc"),
        licence: set.need("licence"),
        source: set.need("source"),
        rows: set.number("rows"),
        files: files.leak(),
        table: set.text("table"),
        target: set.text("target"),
        labels: set.texts("labels"),
        contents,
        ways: set.tables("way").iter().map(|way| self::way(way, packages)).collect(),
    }
}

fn content(file: &Fields<'_>) -> Content {
    Content { name: file.need("name"), size: file.number("size"), sha256: file.need("sha256") }
}

fn way(way: &Fields<'_>, packages: &'static [Package]) -> Way {
    let package = |id: &&str| packages.iter().find(|package| package.id == *id);
    let package = |id| package(id).unwrap_or_else(|| panic!("no package {id}"));
    Way {
        packages: way.texts("packages").iter().map(package).collect(),
        take: way.texts("take"),
        make: Maker::from_name(way.need("make")).expect("a known converter"),
        drop: way.texts("drop"),
        rename: match way.0.contains_key("rename") {
            true => {
                let rename = way.table("rename");
                rename
                    .0
                    .keys()
                    .map(|key| (keep(key.get_ref()), rename.need(key.get_ref())))
                    .collect()
            }
            false => Vec::new(),
        },
    }
}

/// A table of the catalogue, and what it is, for a message about what it lacks.
struct Fields<'a>(&'a DeTable<'static>, &'static str);

impl<'a> Fields<'a> {
    fn get(&self, key: &str) -> Option<&'a DeValue<'static>> {
        self.0.get(key).map(Spanned::get_ref)
    }

    fn text(&self, key: &str) -> Option<&'static str> {
        self.get(key).map(|value| keep(value.as_str().expect("a text")))
    }

    fn need(&self, key: &str) -> &'static str {
        self.text(key).unwrap_or_else(|| panic!("{} lacks `{key}`", self.1))
    }

    fn number(&self, key: &str) -> u64 {
        let number = self.get(key).and_then(DeValue::as_integer);
        let number = number.unwrap_or_else(|| panic!("{} lacks `{key}`", self.1));
        number.as_str().parse().expect("a whole number")
    }

    fn list(&self, key: &str) -> &'a [Spanned<DeValue<'static>>] {
        self.get(key).map_or(&[], |value| value.as_array().expect("a list"))
    }

    fn texts(&self, key: &str) -> &'static [&'static str] {
        let texts =
            self.list(key).iter().map(|text| keep(text.get_ref().as_str().expect("a text")));
        texts.collect::<Vec<_>>().leak()
    }

    fn table(&self, key: &str) -> Fields<'a> {
        Fields(self.get(key).and_then(DeValue::as_table).expect("a table"), self.1)
    }

    fn tables(&self, key: &str) -> Vec<Fields<'a>> {
        let tables = self.list(key).iter();
        tables.map(|value| Fields(value.get_ref().as_table().expect("a table"), "a set")).collect()
    }
}

/// A text that lives as long as the catalogue, which is as long as the program.
fn keep(text: &str) -> &'static str {
    text.to_string().leak()
}
