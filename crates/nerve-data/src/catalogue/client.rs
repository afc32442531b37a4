//! Other programs that fetch: with fixed arguments, without a shell, and not for ever.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nerve_formats::escape;

use super::entry::{Client, Origin, Package};

/// How long a client may take; some lines are slow, and no data set has more than 120 MB.
const TIME: Duration = Duration::from_secs(1800);
/// How much of what a client says is repeated.
const TAIL: u64 = 600;

/// Why a client did not bring what it was asked for.
#[derive(Debug)]
pub(super) enum Trouble {
    /// None of these programs is installed.
    Missing(&'static [&'static str]),
    /// It failed, and said this.
    Failed(String),
    /// The user wants no more.
    Stopped,
}

/// Has the package fetched into this folder.
pub(super) fn fetch(
    package: &Package,
    origin: Origin,
    folder: &Path,
    stop: &AtomicBool,
) -> Result<(), Trouble> {
    let io_error = |error: io::Error| Trouble::Failed(error.to_string());
    fs::create_dir_all(folder).map_err(io_error)?;
    let (programs, args) = match (origin, &package.client) {
        (Origin::Url, _) => (CURL, curl(package)),
        (_, Some(client)) => match client.origin {
            Origin::Pip => {
                // With a hash, pip compares before it looks into the file.
                let line = format!(
                    "{}=={} --hash=sha256:{}\n",
                    client.name, client.version, package.sha256
                );
                fs::write(folder.join("requirements.txt"), line).map_err(io_error)?;
                (PIP, pip(client, package.file))
            }
            Origin::Npm => (NPM, npm(client)),
            Origin::Apt | Origin::Url => (APT, apt(client)),
        },
        (_, None) => return Err(Trouble::Failed("not in this registry".into())),
    };
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    run(programs, &args, folder, stop)
}

const CURL: &[&str] = &["curl"];
const APT: &[&str] = &["apt-get"];
const NPM: &[&str] = if cfg!(windows) { &["npm.cmd"] } else { &["npm"] };
/// The last one is the module of the interpreter.
const PIP: &[&str] = &["pip", "pip3", "python3"];

fn curl(package: &Package) -> Vec<String> {
    let size = package.size.to_string();
    let fixed = [
        "--fail",
        "--silent",
        "--show-error",
        "--location",
        "--max-redirs",
        "5",
        "--proto",
        "=https",
        "--proto-redir",
        "=https",
        "--connect-timeout",
        "20",
        "--max-filesize",
        &size,
        "--output",
        package.file,
        package.url.unwrap_or_default(),
    ];
    fixed.map(String::from).into()
}

fn pip(client: &Client, file: &str) -> Vec<String> {
    let fixed = [
        "download",
        "--quiet",
        "--no-deps",
        "--no-input",
        "--disable-pip-version-check",
        "--dest",
        ".",
        "--requirement",
        "requirements.txt",
    ];
    let mut args: Vec<String> = fixed.map(String::from).into();
    match file.ends_with(".whl") {
        true => args.push("--only-binary=:all:".into()),
        false => args.push(format!("--no-binary={}", client.name)),
    }
    if let Some((platform, python)) = client.platform {
        args.extend(["--platform", platform, "--python-version", python].map(String::from));
    }
    args
}

fn npm(client: &Client) -> Vec<String> {
    let what = format!("{}@{}", client.name, client.version);
    ["pack", "--silent", "--ignore-scripts", &what].map(String::from).into()
}

fn apt(client: &Client) -> Vec<String> {
    let what = format!("{}={}", client.name, client.version);
    ["download", "--quiet", &what].map(String::from).into()
}

/// Runs the first of the programs that is there.
fn run(
    programs: &'static [&'static str],
    args: &[&str],
    folder: &Path,
    stop: &AtomicBool,
) -> Result<(), Trouble> {
    let failed = |error: io::Error| Trouble::Failed(error.to_string());
    let log_path = folder.join("client.log");
    for program in programs {
        // What it says goes to a file: a pipe that nobody empties would stop it.
        let log = File::create(&log_path).map_err(failed)?;
        let mut command = Command::new(program);
        if *program == "python3" {
            command.args(["-m", "pip"]);
        }
        command.args(args).current_dir(folder).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(failed)?).stderr(log);
        match command.spawn() {
            Ok(child) => return wait(child, program, &log_path, stop),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Trouble::Failed(format!("cannot start {program}: {error}"))),
        }
    }
    Err(Trouble::Missing(programs))
}

fn wait(mut child: Child, program: &str, log: &Path, stop: &AtomicBool) -> Result<(), Trouble> {
    let started = Instant::now();
    let end = |child: &mut Child| {
        // It may have ended by itself in the meantime.
        let _ = child.kill();
        let _ = child.wait();
    };
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => {
                let said = tail(log).unwrap_or_default();
                let said = if said.is_empty() { "nothing".to_string() } else { said };
                return Err(Trouble::Failed(format!(
                    "{program} ended with {status} and said: {said}"
                )));
            }
            Ok(None) => {}
            Err(error) => return Err(Trouble::Failed(format!("{program}: {error}"))),
        }
        if stop.load(Ordering::Relaxed) {
            end(&mut child);
            return Err(Trouble::Stopped);
        }
        if started.elapsed() > TIME {
            end(&mut child);
            return Err(Trouble::Failed(format!(
                "{program} did not end within {} s",
                TIME.as_secs()
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The end of what a client said, fit for a terminal.
fn tail(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Ok(escape(&lines.join("; "), TAIL as usize))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn run_in_a_folder(
        programs: &'static [&'static str],
        args: &[&str],
        stop: bool,
    ) -> Result<(), Trouble> {
        let folder = tempfile::tempdir().unwrap();
        run(programs, args, folder.path(), &AtomicBool::new(stop))
    }

    #[test]
    fn the_first_program_that_is_there_runs() {
        let programs: &[&str] = &["no-such-program-here", "true"];
        assert!(run_in_a_folder(programs, &[], false).is_ok());
        let missing = run_in_a_folder(&programs[..1], &[], false);
        assert!(matches!(missing, Err(Trouble::Missing(["no-such-program-here"]))), "{missing:?}");
    }

    #[test]
    fn what_a_failing_client_said_is_repeated() {
        let Err(Trouble::Failed(said)) = run_in_a_folder(&["ls"], &["no-such-file-here"], false)
        else {
            panic!("ls found it")
        };
        assert!(
            said.contains("ls ended with exit status") && said.contains("no-such-file-here"),
            "{said}"
        );
    }

    #[test]
    fn a_client_ends_when_the_user_wants_no_more() {
        let result = run_in_a_folder(&["sleep"], &["60"], true);
        assert!(matches!(result, Err(Trouble::Stopped)), "{result:?}");
    }

    #[test]
    fn arguments_are_the_catalogues_alone() {
        let client = Client {
            origin: Origin::Pip,
            name: "thing",
            version: "1.0",
            platform: Some(("manylinux_2_28_x86_64", "3.11")),
        };
        assert!(pip(&client, "thing.whl").contains(&"--only-binary=:all:".to_string()));
        assert!(pip(&client, "thing.tar.gz").contains(&"--no-binary=thing".to_string()));
        assert_eq!(npm(&client)[3], "thing@1.0");
        assert_eq!(apt(&client)[2], "thing=1.0");
    }
}
