//! Studies as a whole: journals that are cut anywhere, workers, stopping.
#![allow(missing_docs)]

use nerve_tune::{
    Attempt, Domain, Finish, Mode, Options, Outcome, Parameter, Pruner, Sampler, Setting, Settings,
    Space, Study, Trial, TuneError, optimize, tpe::Tpe,
};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

fn space() -> Space {
    Space::new(vec![
        Parameter::new("trainer.optimizer.lr", Domain::log_float(1e-4, 1e-1)),
        Parameter::new("units", Domain::Int { low: 16, high: 256, log: false, step: 16 }),
        Parameter::new("act", Domain::choice(["relu", "tanh", "\"quoted\" ü"])),
    ])
    .unwrap()
}

fn settings() -> Settings {
    let sampler = Sampler::Tpe(Tpe { startup: 4, candidates: 8 });
    let pruner = Pruner::Asha { min_resource: 1, reduction: 2 };
    Settings { sampler, pruner, subject: "a toy\nwith = 1".into(), ..Settings::default() }
}

/// Comes on over three steps; one of the choices fails.
fn toy(attempt: &Attempt<'_>) -> Finish {
    let lr = attempt.value("trainer.optimizer.lr").float();
    let cost =
        (lr.log10() + 2.5).powi(2) + (attempt.value("units").int() as f64 / 100.0 - 1.0).abs();
    if attempt.value("act").label().starts_with('"') && attempt.number % 2 == 1 {
        return Finish::Failed("it was \"quoted\"".into());
    }
    for step in 1..=3 {
        if !attempt.report(step, cost + 1.0 / step as f64) {
            return if attempt.stopped() { Finish::Abandoned } else { Finish::Pruned };
        }
    }
    Finish::Value(cost)
}

fn run(path: &Path, trials: usize) -> Study {
    let study = Study::open(path, space(), settings()).unwrap();
    optimize(study, &Options { trials, ..Options::default() }, toy).unwrap()
}

/// All but how long it took.
fn timeless(trials: &[Trial]) -> Vec<Trial> {
    trials.iter().map(|trial| Trial { seconds: 0.0, ..trial.clone() }).collect()
}

#[test]
fn a_journal_that_is_cut_at_any_byte_goes_on_to_the_same_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let whole = timeless(run(&path, 12).trials());
    for outcome in [Outcome::Told, Outcome::Pruned, Outcome::Failed] {
        assert!(whole.iter().any(|trial| trial.outcome == outcome), "no trial {outcome:?}");
    }
    let bytes = fs::read(&path).unwrap();
    assert_eq!(timeless(Study::read(&path).unwrap().trials()), whole);
    let first = bytes.iter().position(|&byte| byte == b'\n').unwrap();
    // Before its first line is whole a study begins, which waits for the disk each time.
    for length in (0..first).step_by(29).chain(first..=bytes.len()) {
        fs::write(&path, &bytes[..length]).unwrap();
        let ended = |text: &str| {
            let lines = text.lines().filter(|line| line.ends_with('}'));
            let kinds = ["told", "pruned", "failed"].map(|kind| format!("{{\"k\":\"{kind}\""));
            lines.filter(|line| kinds.iter().any(|kind| line.starts_with(kind))).count()
        };
        let up_to = bytes[..length].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let expected = ended(std::str::from_utf8(&bytes[..up_to]).unwrap());
        let study = Study::open(&path, space(), settings()).unwrap();
        let running = study.count(Outcome::Running);
        assert_eq!(study.trials().len() - running, expected, "cut at {length}");
        assert_eq!(timeless(study.trials())[..expected], whole[..expected]);
        drop(study);
        if length % 331 == 0 || length == bytes.len() {
            assert_eq!(timeless(run(&path, 12).trials()), whole, "cut at {length}");
            assert_eq!(timeless(Study::read(&path).unwrap().trials()), whole);
        }
    }
}

#[test]
fn what_is_proposed_is_tried_first_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let own = || {
        let act = Setting::Choice(1, "tanh".into());
        vec![Setting::Float(3e-3), Setting::Int(32), act]
    };
    let run = |trials| {
        let mut study = Study::open(&path, space(), settings()).unwrap();
        study.propose(own()).unwrap();
        study.propose(own()).unwrap();
        optimize(study, &Options { trials, ..Options::default() }, toy).unwrap()
    };
    run(1);
    let study = run(6);
    let proposed: Vec<bool> = study.trials().iter().map(|trial| trial.proposed).collect();
    assert_eq!(proposed, [true, false, false, false, false, false]);
    assert_eq!(study.trials()[0].settings, own());
    assert_eq!(timeless(Study::read(&path).unwrap().trials()), timeless(study.trials()));
    let mut study = study;
    let refused = |study: &mut Study, settings| study.propose(settings).unwrap_err().to_string();
    let outside = vec![Setting::Float(0.5), Setting::Int(32), own()[2].clone()];
    assert!(
        refused(&mut study, outside).contains("`trainer.optimizer.lr`: expected 0.0001 to 0.1")
    );
    let between = vec![Setting::Float(0.01), Setting::Int(33), own()[2].clone()];
    assert!(refused(&mut study, between).contains("`units`: expected whole, 16 to 256 in steps"));
    assert!(refused(&mut study, own()[..2].to_vec()).contains("expected 3 values, found 2"));
    // A grid is tried as a whole beside it.
    let counted = Space::new(vec![Parameter::new("n", Domain::int(1, 3))]).unwrap();
    let grid = Settings { sampler: Sampler::Grid, ..Settings::default() };
    let mut study = Study::new(counted, grid).unwrap();
    study.propose(vec![Setting::Int(2)]).unwrap();
    let study = optimize(study, &Options::default(), |it| Finish::Value(it.settings[0].float()));
    let mut tried: Vec<i64> =
        study.unwrap().trials().iter().map(|trial| trial.settings[0].int()).collect();
    assert_eq!(tried.remove(0), 2);
    tried.sort();
    assert_eq!(tried, [1, 2, 3]);
}

#[test]
fn the_journal_of_another_study_is_refused_with_the_differences() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    run(&path, 2);
    let before = fs::read(&path).unwrap();
    let refused = |space: Space, settings: Settings| {
        let error = Study::open(&path, space, settings).unwrap_err();
        assert!(matches!(error, TuneError::Other { .. }), "{error:?}");
        error.to_string()
    };
    let mut other = space().parameters().to_vec();
    other[1].domain = Domain::int(1, 5);
    let text = refused(Space::new(other).unwrap(), settings());
    assert!(
        text.contains("`units` was whole, 16 to 256 in steps of 16, it is whole, 1 to 5"),
        "{text}"
    );
    let text = refused(space(), Settings { seed: 7, mode: Mode::Max, ..settings() });
    assert!(text.contains("the seed was 42, it is 7"), "{text}");
    assert!(text.contains("the mode was min, it is max"), "{text}");
    let text = refused(space(), Settings { subject: "a toy\nwith = 2".into(), ..settings() });
    assert!(text.contains("- with = 1") && text.contains("+ with = 2"), "{text}");
    let text = refused(space(), Settings { pruner: Pruner::None, ..settings() });
    assert!(text.contains("the pruner was"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), before, "what is refused stays as it is");
}

#[test]
fn damage_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    run(&path, 3);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let asked = lines.iter().position(|line| line.contains("\"asked\"")).unwrap();
    let told = lines.iter().position(|line| line.contains("\"told\"")).unwrap();
    let with = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line;
        lines.join("\n") + "\n"
    };
    let refused = |text: String| {
        fs::write(&path, &text).unwrap();
        let error = Study::open(&path, space(), settings()).unwrap_err().to_string();
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "what is refused stays as it is");
        error
    };
    let error = refused(with(told, "{\"k\":\"told\",\"tri"));
    assert!(error.contains(&format!("line {}: expected a line of a study", told + 1)), "{error}");
    assert!(refused(with(told, "\u{0}\u{1}")).contains("expected a line"));
    assert!(
        refused(with(told, r#"{"k":"told","trial":9,"t":1,"v":1,"seconds":0}"#))
            .contains("trial 9 was never asked for")
    );
    assert!(refused(with(0, lines[1])).contains("line 1: expected the line that begins a study"));
    assert!(refused(with(asked + 1, lines[0])).contains("a second study begins"));
    assert!(
        refused(with(asked, &lines[asked].replace("\"trial\":0", "\"trial\":1")))
            .contains("expected trial 0, found 1")
    );
    let outside = lines[asked].replace("\"units\":", "\"units\":1");
    assert!(refused(with(asked, &outside)).contains("`units`: expected whole, 16 to 256"));
    assert!(
        refused(with(0, &lines[0].replace("\"format\":1", "\"format\":9"))).contains("format 9")
    );
    let twice = format!("{}\n{}", lines[told], lines[told]);
    assert!(refused(with(told, &twice)).contains("has ended before (told)"));
    // A space that no study would have begun with.
    let vast = lines[0].replace("\"low\":16", "\"low\":900");
    assert!(refused(with(0, &vast)).contains("above high"));
    // A line without end.
    assert!(refused(format!("{text}{}\n", "x".repeat((16 << 20) + 1))).contains("longer than"));
    // Lines of kinds to come are passed over.
    fs::write(&path, format!("{text}{{\"k\":\"hologram\",\"trial\":0}}\n")).unwrap();
    assert_eq!(Study::open(&path, space(), settings()).unwrap().trials().len(), 3);
    assert!(Study::open(folder.path(), space(), settings()).is_err(), "a folder");
    fs::write(&path, "").unwrap();
    assert!(Study::read(&path).unwrap_err().to_string().contains("empty"));
}

#[test]
fn one_process_at_a_time_writes_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let first = run(&path, 1);
    let error = Study::open(&path, space(), settings()).unwrap_err();
    assert!(matches!(error, TuneError::InUse { .. }), "{error:?}");
    assert_eq!(Study::read(&path).unwrap().trials().len(), 1, "looking is free");
    drop(first);
    assert_eq!(run(&path, 2).trials().len(), 2);
}

#[test]
fn workers_try_the_same_random_points() {
    let settings = || Settings { sampler: Sampler::Random, ..Settings::default() };
    let with = |workers| {
        let study = Study::new(space(), settings()).unwrap();
        let options = Options { trials: 40, workers, ..Options::default() };
        let study = optimize(study, &options, |attempt| {
            std::thread::yield_now();
            Finish::Value(attempt.value("trainer.optimizer.lr").float())
        });
        timeless(study.unwrap().trials())
    };
    let alone = with(1);
    assert_eq!(alone.len(), 40);
    assert_eq!(with(4), alone);
}

#[test]
fn several_workers_do_not_try_more_than_wanted() {
    let ended = AtomicUsize::new(0);
    let observer = |study: &Study, number: usize| {
        assert_ne!(study.trials()[number].outcome, Outcome::Running);
        ended.fetch_add(1, Ordering::Relaxed);
    };
    let options =
        Options { trials: 33, workers: 4, observer: Some(&observer), ..Options::default() };
    let study = optimize(Study::new(space(), settings()).unwrap(), &options, toy).unwrap();
    assert_eq!((study.trials().len(), study.count(Outcome::Running)), (33, 0));
    assert_eq!(ended.into_inner(), 33);
    assert!(study.best().unwrap().value.unwrap() < 1.0);
}

#[test]
fn what_is_stopped_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let whole = timeless(run(&folder.path().join("other.jsonl"), 8).trials());
    let stop = Arc::new(AtomicBool::new(false));
    let options = Options { trials: 8, stop: stop.clone(), ..Options::default() };
    let study = Study::open(&path, space(), settings()).unwrap();
    let study = optimize(study, &options, |attempt| {
        if attempt.number == 5 {
            assert!(attempt.report(1, 7.0) || !attempt.stopped());
            stop.store(true, Ordering::Relaxed);
            assert!(attempt.stopped());
            return Finish::Abandoned;
        }
        toy(attempt)
    });
    assert_eq!(study.unwrap().count(Outcome::Running), 1);
    assert_eq!(timeless(run(&path, 8).trials()), whole);
    // A time that is up.
    let options = Options { deadline: Some(Instant::now()), ..Options::default() };
    let study = optimize(Study::new(space(), settings()).unwrap(), &options, toy).unwrap();
    assert!(study.trials().is_empty() && study.best().is_none());
}

#[test]
fn the_grid_ends_by_itself() {
    let space = Space::new(vec![
        Parameter::new("a", Domain::int(1, 3)),
        Parameter::new("b", Domain::float(0.0, 1.0)).points(4),
    ]);
    let settings = Settings { sampler: Sampler::Grid, mode: Mode::Max, ..Settings::default() };
    let study = Study::new(space.unwrap(), settings).unwrap();
    let study = optimize(study, &Options::default(), |attempt| {
        Finish::Value(attempt.value("a").float() * attempt.value("b").float())
    });
    let study = study.unwrap();
    assert_eq!((study.trials().len(), study.best().unwrap().value), (12, Some(3.0)));
}

#[test]
fn values_that_are_no_numbers_fail_and_are_avoided() {
    let space = Space::new(vec![Parameter::new("x", Domain::float(-1.0, 1.0))]).unwrap();
    let study = Study::new(space, Settings::default()).unwrap();
    let options = Options { trials: 60, ..Options::default() };
    let study = optimize(study, &options, |attempt| {
        let x = attempt.value("x").float();
        Finish::Value(if x > 0.0 { f64::NAN } else { x + 1.0 })
    });
    let study = study.unwrap();
    let failed: Vec<usize> = study
        .trials()
        .iter()
        .filter(|trial| trial.outcome == Outcome::Failed)
        .map(|trial| trial.number)
        .collect();
    assert!(failed.iter().filter(|&&number| number >= 30).count() <= 3, "{failed:?}");
    assert_eq!(study.trials()[failed[0]].reason, "its value is NaN");
}
