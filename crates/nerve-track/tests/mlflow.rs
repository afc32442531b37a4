//! Exports to MLflow, to a strict server made here.
#![allow(missing_docs)]

mod common;

use common::samples::{begin, loss};
use common::{Server, Trouble, certificate};
use nerve_track::{
    Access, Credentials, EVENTS, Event, MLFLOW, Mlflow, MlflowError, Number, RESOLVED, RunFolder,
    Status, What,
};
use std::fs::OpenOptions;
use std::io::Write;

const RECIPE: &str =
    "seed = 7\n[trainer]\noptimizer = { type = \"adam\", lr = 0.001 }\nnotes = \"ä\"\n";

fn run() -> (tempfile::TempDir, RunFolder) {
    let root = tempfile::tempdir().unwrap();
    let files = [(RESOLVED, RECIPE), ("env.json", r#"{"began": 1000, "nerve": "0.1.0"}"#)];
    let run = RunFolder::create(root.path(), "mnist-2", &files).unwrap();
    (root, run)
}

fn append(run: &RunFolder, t: f64, events: impl IntoIterator<Item = What>) {
    let mut file = OpenOptions::new().create(true).append(true).open(run.file(EVENTS)).unwrap();
    for what in events {
        writeln!(file, "{}", Event { t, what }.line()).unwrap();
    }
}

fn end(status: Status) -> What {
    What::End { status, reason: String::new(), step: 3 }
}

fn open(run: &RunFolder, server: &Server) -> Mlflow {
    Mlflow::open(run, &server.address, "digits & letters", &Access::default()).unwrap()
}

#[test]
fn a_run_is_sent_whole_and_once() {
    let server = Server::start();
    let (_root, run) = run();
    append(&run, 1000.5, [begin(0)]);
    append(&run, 1001.25, (1..=2500).map(loss));
    append(
        &run,
        1002.0,
        [What::Scalar { step: 1, epoch: 1, tag: "a[0]".into(), v: Number(f64::NAN) }],
    );
    append(&run, 1003.0, [end(Status::Done)]);
    let mut export = open(&run, &server);
    assert_eq!(export.advance().unwrap(), 2501);
    assert_eq!(export.advance().unwrap(), 0);
    drop(export);
    let mut again = open(&run, &server);
    assert_eq!(again.advance().unwrap(), 0);
    server.no_faults();
    let store = server.store.lock().unwrap();
    assert_eq!(store.experiments, ["digits & letters"]);
    let [sent] = &store.runs[..] else { panic!("{:?}", store.runs) };
    assert_eq!((sent.name.as_str(), sent.start), ("mnist-2", 1_000_000));
    assert_eq!((sent.status.as_str(), sent.end), ("FINISHED", Some(1_003_000)));
    let params: Vec<(&str, &str)> =
        sent.params.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let expected = [
        ("seed", "7"),
        ("trainer.notes", "ä"),
        ("trainer.optimizer.lr", "0.001"),
        ("trainer.optimizer.type", "adam"),
    ];
    assert_eq!(params, expected);
    assert_eq!(sent.metrics.len(), 2501);
    let row =
        |key: &str, value: &str, t: i64, step: i64| (key.to_string(), value.to_string(), t, step);
    assert_eq!(sent.metrics[0], row("loss/train", "0.5", 1_001_250, 1));
    assert_eq!(sent.metrics[2499], row("loss/train", "0.0002", 1_001_250, 2500));
    assert_eq!(sent.metrics[2500], row("a_0_", "NaN", 1_002_000, 1));
    assert_eq!(sent.tags["nerve.version"], "0.1.0");
    let batches = store.requests.iter().filter(|request| request.contains("log-batch")).count();
    assert_eq!(batches, 4, "parameters, and three of up to 1000 metrics");
}

#[test]
fn steps_that_a_training_does_once_more_are_sent_once() {
    let server = Server::start();
    let (_root, run) = run();
    append(&run, 1000.5, [begin(0)]);
    append(&run, 1001.0, (1..=5).map(loss));
    assert_eq!(open(&run, &server).advance().unwrap(), 5);
    // Killed; it goes on from a checkpoint after step 3. Validation at step 5 had not come.
    append(&run, 1010.0, [begin(3)]);
    append(&run, 1011.0, (4..=5).map(loss));
    let val = What::Scalar { step: 5, epoch: 1, tag: "loss/val".into(), v: Number(0.3) };
    append(&run, 1012.0, [val, loss(6), end(Status::Done)]);
    assert_eq!(open(&run, &server).advance().unwrap(), 2);
    let store = server.store.lock().unwrap();
    let steps: Vec<(&str, i64)> =
        store.runs[0].metrics.iter().map(|(key, _, _, step)| (key.as_str(), *step)).collect();
    let train = |step| ("loss/train", step);
    let expected = [train(1), train(2), train(3), train(4), train(5), ("loss/val", 5), train(6)];
    assert_eq!(steps, expected);
}

#[test]
fn outages_lose_nothing_and_make_nothing_twice() {
    // One request more goes well each time before one fails; each time the export is a new process.
    for trouble in [Trouble::Away, Trouble::Lost, Trouble::Busy] {
        let server = Server::start();
        let (_root, run) = run();
        append(&run, 1000.5, [begin(0), loss(1), loss(2)]);
        append(&run, 1001.0, [end(Status::Stopped)]);
        append(&run, 1010.0, [begin(2), loss(3), end(Status::Done)]);
        for good in 0..20 {
            let mut troubles = vec![Trouble::None; good];
            troubles.push(trouble);
            server.store.lock().unwrap().troubles.clear();
            server.troubles(&troubles);
            match open(&run, &server).advance() {
                Ok(_) => break,
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
            assert!(good < 19, "it never comes to an end");
        }
        server.no_faults();
        let store = server.store.lock().unwrap();
        let [sent] = &store.runs[..] else { panic!("{trouble:?}: {:?}", store.runs) };
        let steps: Vec<i64> = sent.metrics.iter().map(|metric| metric.3).collect();
        assert_eq!(steps, [1, 2, 3], "{trouble:?}");
        assert_eq!((sent.status.as_str(), sent.params.len()), ("FINISHED", 4));
    }
}

#[test]
fn a_run_that_grows_is_followed_and_one_that_is_lost_is_killed() {
    let server = Server::start();
    let (_root, run) = run();
    let mut export = open(&run, &server);
    assert_eq!(export.advance().unwrap(), 0);
    append(&run, 1000.5, [begin(0), loss(1)]);
    assert_eq!(export.advance().unwrap(), 1);
    // While the server is away the events wait.
    server.troubles(&[Trouble::Away, Trouble::Busy]);
    append(&run, 1001.0, [loss(2)]);
    assert!(export.advance().unwrap_err().is_transient());
    append(&run, 1002.0, [loss(3)]);
    assert!(export.advance().unwrap_err().to_string().contains("does not answer"));
    assert_eq!(export.advance().unwrap(), 2);
    export.lost().unwrap();
    export.lost().unwrap();
    let store = server.store.lock().unwrap();
    assert_eq!(store.runs[0].status, "KILLED");
    assert_eq!(store.runs[0].metrics.len(), 3);
}

#[test]
fn files_become_artifacts_where_the_server_takes_them() {
    let server = Server::start();
    let (_root, run) = run();
    let mut export = open(&run, &server);
    export.advance().unwrap();
    assert_eq!(export.upload(&[RESOLVED, "absent.txt"]).unwrap(), 1);
    assert_eq!(export.upload(&[RESOLVED]).unwrap(), 0);
    assert_eq!(server.store.lock().unwrap().runs[0].artifacts[RESOLVED], RECIPE.as_bytes());
    drop(export);
    std::fs::remove_file(run.file(MLFLOW)).unwrap();
    server.store.lock().unwrap().local_artifacts = true;
    let mut export = open(&run, &server);
    export.advance().unwrap();
    let error = export.upload(&[RESOLVED]).unwrap_err().to_string();
    assert!(error.contains("--serve-artifacts"), "{error}");
    server.no_faults();
}

#[test]
fn what_cannot_be_is_an_error_that_says_so() {
    let server = Server::start();
    let (_root, run) = run();
    append(&run, 1000.5, [begin(0), loss(1)]);
    // Nobody listens.
    let mut nobody = Mlflow::open(&run, "http://127.0.0.1:1", "x", &Access::default()).unwrap();
    let error = nobody.advance().unwrap_err();
    assert!(error.is_transient(), "{error}");
    let busy =
        Mlflow::open(&run, "http://127.0.0.1:1", "x", &Access::default()).unwrap_err().to_string();
    assert!(busy.contains("another export"), "{busy}");
    drop(nobody);
    // Credentials are sent, and their lack is told.
    server.store.lock().unwrap().authorization = Some("Bearer t".into());
    let error = open(&run, &server).advance().unwrap_err();
    assert!(matches!(&error, MlflowError::Refused { status: 401, .. }), "{error}");
    let access = Access { credentials: Some(Credentials::Bearer("t".into())), ..Access::default() };
    let mut export = Mlflow::open(&run, &server.address, "digits & letters", &access).unwrap();
    assert_eq!(export.advance().unwrap(), 1);
    assert!(export.page().unwrap().ends_with("/#/experiments/0/runs/run0"));
    drop(export);
    // Elsewhere only after the cursor was deleted; and it must be one.
    let error =
        Mlflow::open(&run, &server.address, "other", &Access::default()).unwrap_err().to_string();
    assert!(error.contains("goes to the experiment `digits & letters`"), "{error}");
    run.write(MLFLOW, "{").unwrap();
    let error =
        Mlflow::open(&run, &server.address, "other", &Access::default()).unwrap_err().to_string();
    assert!(error.contains("delete it to export anew"), "{error}");
}

#[test]
fn over_https_the_server_must_be_the_one_that_is_meant() {
    let (_root, run) = run();
    append(&run, 1000.5, [begin(0), loss(1), loss(2)]);
    let trusting =
        |file: &str| Access { authorities: Some(certificate(file)), ..Access::default() };
    let server = Server::encrypted("p256");
    let mut export = Mlflow::open(&run, &server.address, "x", &trusting("authority.pem")).unwrap();
    assert_eq!(export.advance().unwrap(), 2);
    server.no_faults();
    drop(export);
    std::fs::remove_file(run.file(MLFLOW)).unwrap();
    // Signed by nobody whom the client trusts; valid no more; for another name.
    let expired = Server::encrypted("expired");
    let elsewhere = server.address.replace("localhost", "127.0.0.1");
    for (address, authority) in [
        (&server.address, "p384.pem"),
        (&expired.address, "authority.pem"),
        (&elsewhere, "authority.pem"),
    ] {
        let mut export = Mlflow::open(&run, address, "x", &trusting(authority)).unwrap();
        let error = export.advance().unwrap_err();
        assert!(matches!(&error, MlflowError::Untrusted { .. }), "{address} {authority}: {error}");
        assert!(!error.is_transient());
        drop(export);
        let _ = std::fs::remove_file(run.file(MLFLOW));
    }
    let error = Mlflow::open(&run, &server.address, "x", &trusting("p256.key")).unwrap_err();
    assert!(error.to_string().contains("no certificate in it"), "{error}");
}
