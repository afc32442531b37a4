use super::*;
use crate::Source;
use nerve_tune::{Options, Outcome, Settings, Study, optimize};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const BASE: &str = "[data]\npath = \"points.csv\"\nsplit = { type = \"random\", fractions = [0.6, 0.2, 0.2] }\n\
    [[input]]\nname = [\"x\", \"y\"]\ntype = \"number\"\n[[output]]\nname = \"z\"\ntype = \"number\"\n\
    [model]\nlayers = [\"Dense(8, relu)\"]\n[trainer]\nepochs = 4\n";

fn load(tune: &str) -> Result<Recipe, Report> {
    Recipe::load(Source::new("r.toml", format!("{BASE}{tune}")), &[])
}

fn tuning(tune: &str) -> Tuning {
    load(tune).unwrap_or_else(|report| panic!("{report}")).tune.unwrap()
}

fn refused(space: &str) -> String {
    load(&format!("[tune]\nspace = {{ {space} }}\n")).unwrap_err().to_string()
}

#[test]
fn ranges_and_lists_become_a_space() {
    let text = "[tune]\nmetric = \"val_mae\"\ntrials = 7\npruner = \"asha(min_epochs = 2)\"\n[tune.space]\n\
        lr = { low = 1e-4, high = 1e-1, log = true }\n\
        \"model.layers.0.units\" = { low = 4, high = 64, step = 4 }\n\
        trainer.batch_size = [16, 32]\n\
        trainer.optimizer.type = [\"adam\", \"rmsprop\"]\n\
        trainer.clip = { low = 1, high = 8.0, points = 3 }\n\
        \"trainer.schedule\" = [\"cosine\", { type = \"constant\" }]\n";
    let tuning = tuning(text);
    let domains: Vec<(&str, &Domain)> =
        tuning.space.parameters().iter().map(|it| (it.name.as_str(), &it.domain)).collect();
    let float = Domain::Float { low: 1.0, high: 8.0, log: false, step: None };
    assert_eq!(
        domains,
        [
            ("trainer.optimizer.lr", &Domain::log_float(1e-4, 1e-1)),
            ("model.layers.0.units", &Domain::Int { low: 4, high: 64, log: false, step: 4 }),
            ("trainer.batch_size", &Domain::choice(["16", "32"])),
            ("trainer.optimizer.type", &Domain::choice(["adam", "rmsprop"])),
            ("trainer.clip", &float),
            ("trainer.schedule", &Domain::choice(["cosine", "{ type = \"constant\" }"])),
        ]
    );
    assert_eq!((tuning.trials, tuning.sampler.word()), (7, "tpe"));
    assert_eq!(tuning.pruner, Pruner::Asha { min_resource: 2, reduction: 4 });
    let settings = [
        Setting::Float(0.5e-3),
        Setting::Int(12),
        Setting::Choice(1, "32".into()),
        Setting::Choice(0, "adam".into()),
        Setting::Float(2.0),
        Setting::Choice(1, String::new()),
    ];
    let overrides = tuning.overrides(&settings);
    assert_eq!(overrides[0], "trainer.optimizer.lr=0.0005");
    assert_eq!(overrides[3], "trainer.optimizer.type=\"adam\"");
    let recipe = load(text).unwrap();
    let trial = recipe.with(&overrides).unwrap();
    assert_eq!((trial.trainer.usize("batch_size"), trial.layers[0].args.usize("units")), (32, 12));
    assert!(trial.tune.is_none() && !trial.resolved().contains("[tune]"));
    assert!(!recipe.resolved().contains("[tune]"), "it is no part of what is trained");
    let goal = tuning.goal(&recipe);
    assert_eq!((goal.metric.as_deref(), goal.mode), (Some("val_mae"), Mode::Min));
}

#[test]
fn what_cannot_be_searched_is_told_at_its_place() {
    let text = refused("\"trainer.optimzer.lr\" = [0.1]");
    assert!(
        text.contains("unknown key `optimzer` in [trainer]")
            && text.contains("did you mean `optimizer`"),
        "{text}"
    );
    assert!(text.contains("r.toml:15:11"), "{text}");
    assert!(refused("\"trainr.epochs\" = [1]").contains("unknown setting `trainr.epochs`"));
    let text = refused("\"trainer.batch_size\" = [16, 0, \"many\"]");
    assert!(
        text.contains("`batch_size` is 0") && text.contains("found the text \"many\""),
        "{text}"
    );
    assert!(text.contains("r.toml:15:39") && text.contains("r.toml:15:42"), "{text}");
    let text = refused("\"trainer.optimizer.lr\" = { low = -1.0, high = 0.1 }");
    assert!(text.contains("`lr` is -1") && text.contains("r.toml:15:44"), "{text}");
    let text = refused("lr = { low = 1e-3, hgih = 0.1 }");
    assert!(
        text.contains("unknown key `hgih` in range") && text.contains("did you mean `high`"),
        "{text}"
    );
    assert!(text.contains("missing key `high` in range"), "{text}");
    assert!(
        refused("lr = { low = 0.0, high = 0.1, log = true }").contains("log needs low above 0")
    );
    assert!(refused("lr = { low = 1.0, high = 0.1 }").contains("low = 1 is above high = 0.1"));
    assert!(refused("lr = 0.1").contains("should be a range or a list of values, found a number"));
    assert!(refused("lr = []").contains("nothing to choose from"));
    assert!(refused("lr = [0.1], \"trainer.optimizer.lr\" = [0.2]").contains("searched twice"));
    assert!(refused("\"model.layers.3.units\" = [4]").contains("`model.layers` has no place `3`"));
    for path in ["data.validation", "seed", "tune.trials", "eval.worst"] {
        let text = refused(&format!("\"{path}\" = [1, 2]"));
        assert!(text.contains("cannot be searched"), "{text}");
    }
    let text = refused("\"trainer.loss\" = [\"mse\", \"huber\"]");
    assert!(text.contains("trials are compared by the loss"), "{text}");
    assert!(refused("").contains("0 parameters"));
    let error = |text: &str| load(text).unwrap_err().to_string();
    assert!(error("[tune]\ntrials = 3\n").contains("missing key `space` in [tune]"));
    assert!(error("[tune]\nspace = 3\n").contains("`space` should be a table"));
    assert!(error("[tune]\nspaces = 3\n").contains("did you mean `space`?"));
    let grid = "[tune]\nsampler = \"grid\"\nspace = { lr = { low = 0.1, high = 0.2 } }\n";
    assert!(error(grid).contains("how many points"));
}

/// z = x y, 90 rows.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut csv = String::from("x,y,z\n");
    for i in 0..90 {
        let (x, y) = (f64::from(i % 9) / 4.0 - 1.0, f64::from(i / 9) / 5.0 - 1.0);
        csv += &format!("{x},{y},{}\n", x * y);
    }
    std::fs::write(folder.path().join("points.csv"), csv).unwrap();
    folder
}

fn loaded(folder: &tempfile::TempDir, text: &str) -> Recipe {
    let mut source = Source::new("r.toml", text);
    source.folder = folder.path().to_path_buf();
    Recipe::load(source, &[]).unwrap_or_else(|report| panic!("{report}"))
}

#[test]
fn a_recipe_is_tuned_and_its_best_trains_to_the_same_score() {
    let folder = folder();
    let recipe = loaded(
        &folder,
        &format!(
            "{BASE}[tune]\nspace = {{ lr = {{ low = 1e-5, high = 1e-1, log = true }}, \
             \"model.layers.0.units\" = [2, 16] }}\n"
        ),
    );
    let tuning = recipe.tune.clone().unwrap();
    let run = |workers| {
        let kept = Kept { folder: folder.path().join(format!("trials-{workers}")) };
        let trials = Trials::new(&recipe, &tuning).unwrap().keeping(Some(kept));
        let sampler = Sampler::Random;
        let settings = Settings { sampler, pruner: Pruner::None, ..Settings::default() };
        let study = Study::new(tuning.space.clone(), settings).unwrap();
        let options = Options { trials: 4, workers, ..Options::default() };
        optimize(study, &options, |attempt| trials.run(attempt, Arc::default())).unwrap()
    };
    let study = run(1);
    assert_eq!(study.count(Outcome::Told), 4, "{:?}", study.trials());
    let values = |study: &Study| -> Vec<Option<f64>> {
        study.trials().iter().map(|trial| trial.value).collect()
    };
    assert_eq!(values(&run(2)), values(&study), "trainings side by side give the same bits");
    let best = study.best().unwrap();
    let trained = recipe.with(&tuning.overrides(&best.settings)).unwrap();
    let resolved = Source::new("best.toml", trained.resolved());
    let again = crate::Session::new(&Recipe::load(resolved, &[]).unwrap()).unwrap();
    let fit = again.fit(Arc::new(AtomicBool::new(false)), None, &mut []).unwrap();
    assert_eq!(fit.history.last().unwrap().val_loss, best.value);
    assert!(folder.path().join("trials-1/0003/model.safetensors").is_file());
}

#[test]
fn the_values_of_the_recipe_itself_are_a_point_of_the_space() {
    let own = |text: &str| {
        let recipe = load(text).unwrap_or_else(|report| panic!("{report}"));
        recipe.tune.as_ref().unwrap().own(&recipe)
    };
    let text = "[trainer.optimizer]\ntype = \"adam\"\nlr = 0.02\n[tune.space]\n\
        lr = { low = 1e-4, high = 1e-1, log = true }\n\
        \"model.layers.0.units\" = { low = 4, high = 64, step = 4 }\n\
        \"model.layers.0.activation\" = [\"tanh\", \"relu\"]\n\
        trainer.batch_size = [16, 32, 64, 128]\n\
        trainer.optimizer.type = [\"rmsprop\", \"adam\"]\n\
        trainer.optimizer.weight_decay = { low = 0.0, high = 0.5, step = 0.05 }\n\
        \"input.0.normalize\" = [\"minmax\", \"zscore\"]\n";
    let batch = load("").unwrap().trainer.usize("batch_size");
    let at = [16, 32, 64, 128].iter().position(|&size| size == batch).unwrap();
    assert_eq!(
        own(text).unwrap(),
        [
            Setting::Float(0.02),
            Setting::Int(8),
            Setting::Choice(1, "relu".into()),
            Setting::Choice(at, batch.to_string()),
            Setting::Choice(1, "adam".into()),
            Setting::Float(0.0),
            Setting::Choice(1, "zscore".into()),
        ]
    );
    let recipe = load(text).unwrap();
    let first = recipe.tune.as_ref().unwrap().overrides(&own(text).unwrap());
    let plain = recipe.with(&[]).unwrap().resolved();
    assert_eq!(recipe.with(&first).unwrap().resolved(), plain, "the trial is the recipe");
    for (space, reason) in [
        (
            "lr = { low = 0.1, high = 1.0 }",
            "`trainer.optimizer.lr` is 0.001, it is searched from 0.1 to 1",
        ),
        (
            "\"model.layers.0.units\" = { low = 5, high = 9, step = 2 }",
            "is 8, it is searched from whole, 5 to 9",
        ),
        ("trainer.optimizer.type = [\"rmsprop\"]", "has none of its values"),
        ("trainer.clip = { low = 1.0, high = 2.0 }", "`trainer.clip` is not set"),
    ] {
        let error = own(&format!("[tune]\nspace = {{ {space} }}\n")).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_trial_that_was_given_up_goes_on_where_it_was() {
    let folder = folder();
    let text = BASE.replace("epochs = 4", "epochs = 60")
        + "early_stop = { patience = 60 }\n[tune]\nspace = { lr = [0.01] }\n";
    let recipe = loaded(&folder, &text);
    let tuning = recipe.tune.clone().unwrap();
    let (journal, running) = (folder.path().join("journal.jsonl"), folder.path().join("running"));
    let run = |journal: &std::path::Path, until: u64| {
        let saves = Saves { folder: running.clone(), after: std::time::Duration::ZERO };
        let trials = Trials::new(&recipe, &tuning).unwrap().saving(Some(saves));
        let settings = Settings { pruner: Pruner::None, ..Settings::default() };
        let study = Study::open(journal, tuning.space.clone(), settings).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let options = Options { trials: 1, stop: stop.clone(), ..Options::default() };
        std::thread::scope(|scope| {
            let tuning = scope.spawn(|| {
                optimize(study, &options, |attempt| trials.run(attempt, Arc::default())).unwrap()
            });
            let reports = || std::fs::read_to_string(journal).unwrap().matches("report").count();
            while !tuning.is_finished() && reports() < until as usize {
                std::thread::yield_now();
            }
            if until < 60 {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            tuning.join().unwrap().trials().to_vec()
        })
    };
    let whole = run(&folder.path().join("whole.jsonl"), 60);
    assert!(!running.join("0000").exists(), "what has ended is not kept");
    let cut = run(&journal, 3);
    assert_eq!((cut.len(), cut[0].outcome), (1, Outcome::Running));
    // What was told of the first epoch, changed: the sign that the trial goes on from there.
    let checkpoints = nerve_train::Checkpoints::open(running.join("0000")).unwrap();
    let found = checkpoints.last().unwrap().expect("a checkpoint");
    assert!(found.snapshot.position.step > 0);
    let mut tensors = found.snapshot.tensors().to_vec();
    let told = tensors.iter_mut().find(|tensor| tensor.name == "callback/trial").unwrap();
    told.bytes[8..16].copy_from_slice(&77f64.to_le_bytes());
    std::fs::remove_dir_all(&found.folder).unwrap();
    let changed = nerve_train::Snapshot::new(found.snapshot.position, tensors);
    checkpoints.save(&changed, false).unwrap();
    let end = run(&journal, 60);
    let (whole, end) = (&whole[0], &end[0]);
    assert_eq!(end.reports[0], (1, 77.0));
    assert_eq!((&end.reports[1..], end.value), (&whole.reports[1..], whole.value));
    assert!(!running.join("0000").exists());
}

#[test]
fn without_validation_nothing_is_compared() {
    let folder = folder();
    let text = BASE.replace("[0.6, 0.2, 0.2]", "[0.8, 0.0, 0.2]")
        + "[tune]\nspace = { lr = [0.1, 0.2] }\n";
    let recipe = loaded(&folder, &text);
    let tuning = recipe.tune.clone().unwrap();
    let error = Trials::new(&recipe, &tuning).err().unwrap();
    assert!(error.to_string().contains("nothing is held back"), "{error}");
}
