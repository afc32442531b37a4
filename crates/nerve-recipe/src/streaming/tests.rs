use super::*;
use crate::source::Source as Text;
use crate::{Report, Session};
use nerve_train::History;
use std::path::Path;

/// A table of 5,000 rows, of which some lack a number.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let row = |i: u64| {
        let noise = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        let a = if i % 97 == 5 { String::new() } else { format!("{}", noise % 1000) };
        let class = ["no", "yes"][usize::from(noise % 1000 > 400)];
        format!("{i},{a},{},{class},{}\n", noise % 7, ["train", "val", "test"][(i % 3) as usize])
    };
    let rows: String = (0..5000).map(row).collect();
    std::fs::write(folder.path().join("t.csv"), format!("id,a,k,y,part\n{rows}")).unwrap();
    folder
}

fn load(folder: &Path, data: &str) -> Result<Recipe, Report> {
    let path = folder.join("recipe.toml");
    let text = format!(
        "seed = 3\n[data]\n{data}\n\
         [[input]]\nname = \"a\"\ntype = \"number\"\nmissing = \"drop\"\n\
         [[input]]\nname = \"k\"\ntype = \"category\"\n\
         [[output]]\nname = \"y\"\ntype = \"binary\"\n\
         [trainer]\nepochs = 2\nshuffle = false\n"
    );
    std::fs::write(&path, text).unwrap();
    Recipe::load(Text::read(&path).unwrap(), &[])
}

fn trained(recipe: &Recipe) -> (Session, History) {
    let session = Session::new(recipe).unwrap();
    let history = session.fit(Default::default(), None, &mut []).unwrap().history;
    (session, history)
}

const HASH: &str = "path = \"t.csv\"\nsplit = { type = \"hash\", column = \"id\" }\n";
const FIXED: &str = "path = \"t.csv\"\nsplit = { type = \"fixed\", column = \"part\" }\n";

#[test]
fn a_stream_trains_to_the_very_numbers_of_a_table_in_memory() {
    let folder = folder();
    for data in [HASH, FIXED] {
        let kept = trained(&load(folder.path(), data).unwrap());
        let streamed = trained(&load(folder.path(), &format!("{data}stream = true\n")).unwrap());
        assert_eq!(streamed.0.data.examples(), kept.0.data.examples());
        assert!(streamed.0.data.train.rows().is_none(), "nothing is kept");
        assert_eq!(streamed.0.data.features.state(), kept.0.data.features.state());
        assert_eq!(streamed.0.data.notes()[0], kept.0.data.notes()[0]);
        for (a, b) in streamed.1.rows.iter().zip(&kept.1.rows) {
            assert_eq!((a.loss.to_bits(), a.step), (b.loss.to_bits(), b.step));
            assert_eq!(a.val_loss.map(f64::to_bits), b.val_loss.map(f64::to_bits));
            assert_eq!(a.metrics, b.metrics);
        }
        let test = |session: &Session| session.test().unwrap().unwrap().loss.to_bits();
        assert_eq!(test(&streamed.0), test(&kept.0));
    }
}

#[test]
fn files_of_their_own_need_no_split() {
    let folder = folder();
    let data = "train = \"t.csv\"\nvalidation = \"t.csv\"\ntest = \"t.csv\"\nstream = true\n";
    let (session, history) = trained(&load(folder.path(), data).unwrap());
    let examples = session.data.examples();
    assert_eq!(examples, [examples[0]; 3]);
    assert_eq!(history.rows[1].val_loss.map(f64::is_finite), Some(true));
    let (part, rows) = session.recipe.streamed_to_judge().unwrap();
    assert_eq!((part, rows.rows.len()), ("test", examples[0]));
}

#[test]
fn what_is_judged_is_the_test_part_with_its_lines() {
    let folder = folder();
    let kept = load(folder.path(), HASH).unwrap().tables().unwrap().test.unwrap();
    let recipe = load(folder.path(), &format!("{HASH}stream = true\n")).unwrap();
    let (part, rows) = recipe.streamed_to_judge().unwrap();
    assert_eq!((part, rows.rows.len()), ("test", kept.rows.len()));
    let places = |rows: &Rows| -> Vec<String> {
        rows.rows.iter().map(|&row| rows.table.place(row)).collect()
    };
    assert_eq!(places(&rows), places(&kept));
}

#[test]
fn what_a_stream_cannot_do_is_refused() {
    let folder = folder();
    let stream = |data: &str| load(folder.path(), &format!("{data}stream = true\n"));
    let error = stream("path = \"t.csv\"\n").unwrap().read().err().unwrap().to_string();
    assert!(error.contains("each row finds its part by itself"), "{error}");
    assert!(error.contains("found `random`"), "{error}");
    for key in ["weights = \"a\"", "balance = \"batches\"", "time = \"id\""] {
        let error = stream(&format!("{HASH}{key}\n")).unwrap_err().to_string();
        assert!(error.contains("`stream = true` and"), "{error}");
    }
    let error = stream(HASH).unwrap().tables().unwrap_err().to_string();
    assert!(error.contains("needs all rows in memory"), "{error}");
    let empty =
        "path = \"t.csv\"\nsplit = { type = \"hash\", column = \"id\", fractions = [0.0, 1.0] }\n";
    assert!(stream(empty).unwrap().read().is_err());
}
