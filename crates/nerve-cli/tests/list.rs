//! `nerve list`, and the page of the documentation that it writes.
#![allow(missing_docs)]

mod common;

use common::{folder, nerve};

#[test]
fn kinds_words_and_one_word() {
    let here = folder();
    let list = |args: &[&str]| nerve(here.path(), &[&["list"], args].concat()).ends(0).out;
    assert!(list(&[]).contains("\nlosses "));
    let optimizers = list(&["optimizers"]);
    assert!(optimizers.contains("adamw") && optimizers.contains("optim.AdamW"), "{optimizers}");
    let conv = list(&["Conv2D"]);
    assert!(conv.starts_with("Conv2d (layers)"), "{conv}");
    assert!(conv.contains("filters     must be given"), "{conv}");
    assert!(conv.contains("{ type = \"Conv2d\", filters = 4, kernel = 3 }"), "{conv}");
    let word = list(&["adam", "--json"]);
    assert!(word.contains("\"required\":false") && word.contains("\"torch\":\"optim.Adam\""));
    nerve(here.path(), &["list", "Conv2dd"]).ends(2).says("did you mean `Conv2d`?").quiet();
}

#[test]
fn the_page_of_the_documentation_is_what_the_command_writes() {
    let written = nerve(folder().path(), &["list", "--markdown"]).ends(0).out;
    let page = include_str!("../../../docs/catalogue.md");
    assert!(
        written == page,
        "docs/catalogue.md is not up to date: nerve list --markdown > docs/catalogue.md"
    );
}
