//! `nerve serve` from outside: what it prints, answers and refuses, and how it ends.
#![cfg(unix)]
#![allow(missing_docs)]

mod common;

use common::{command, folder, nerve};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const RECIPE: &str = "[data]\npath = \"x.csv\"\n\
    [[input]]\nname = [\"a\", \"b\"]\ntype = \"number\"\n\
    [[output]]\nname = \"c\"\ntype = \"category\"\n\
    [model]\nlayers = [{ type = \"Dense\", units = 3 }]\n\
    [trainer]\nepochs = 1\n";

/// A run called `small`.
fn trained(here: &Path) {
    let rows: String =
        (0..90).map(|i| format!("{},{},{}\n", i % 7, i % 5, ["x", "y", "z"][i % 3])).collect();
    fs::write(here.join("x.csv"), format!("a,b,c\n{rows}")).unwrap();
    fs::write(here.join("small.toml"), RECIPE).unwrap();
    nerve(here, &["train", "small.toml", "--progress", "off"]).ends(0);
}

/// The command and its address.
fn serve(here: &Path, args: &[&str]) -> (Child, String) {
    let args = [&["serve", "--http", "127.0.0.1:0", "--json"], args].concat();
    let mut child = command(here).args(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split("http://").nth(1).unwrap_or_else(|| panic!("{line}"));
    let address = address.split('"').next().unwrap().to_string();
    (child, address)
}

fn ask(address: &str, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    write!(stream, "{head}\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn signal(child: &Child, signal: &str) {
    assert!(
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success()
    );
}

#[test]
fn h51_h52_it_answers_survives_signals_that_are_none_of_its_and_ends_when_told() {
    let here = folder();
    trained(here.path());
    let (mut child, address) =
        serve(here.path(), &["small", "again=runs/small", "--log", "requests.jsonl"]);
    let answer = ask(&address, "POST", "/predict/small", r#"[{"a": 1, "b": 2}]"#);
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("\"c_probabilities\""),
        "{answer}"
    );
    assert!(ask(&address, "GET", "/v2/models", "").ends_with(r#"{"models":["again","small"]}"#));
    let injected = ask(&address, "GET", "/v2/models/a%0d%0ab", "");
    assert!(injected.starts_with("HTTP/1.1 404"), "{injected}");
    for harmless in ["-HUP", "-USR1", "-PIPE", "-STOP", "-CONT"] {
        signal(&child, harmless);
    }
    assert!(ask(&address, "GET", "/v2/health/ready", "").starts_with("HTTP/1.1 200"));
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let log = fs::read_to_string(here.path().join("requests.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 4, "{log}");
    assert!(
        log.lines().next().unwrap().contains(r#""path":"/predict/small","status":200"#),
        "{log}"
    );
}

#[test]
fn h42_h44_h53_what_cannot_be_served_is_told_before_anything_is_answered() {
    let here = folder();
    trained(here.path());
    fs::write(here.path().join("bad.safetensors"), b"x").unwrap();
    let serve = |args: &[&str]| nerve(here.path(), &[&["serve"], args].concat());
    serve(&["bad.safetensors", "--http", "127.0.0.1:0"]).ends(3).says("bad.safetensors").quiet();
    serve(&["none"]).ends(2).says("none").quiet();
    serve(&["small", "--http", "0.0.0.0:0"]).ends(2).says("--insecure-no-auth").quiet();
    serve(&["small", "--http", "127.0.0.1:70000"]).ends(2).quiet();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    serve(&["small", "--http", &address]).ends(6).says("cannot listen on 127.0.0.1:").quiet();
    fs::write(here.path().join("token"), "\n").unwrap();
    serve(&["small", "--token-file", "token"]).ends(2).says("the token is empty").quiet();
}

#[test]
fn h49_a_certificate_that_cannot_be_used_ends_it_at_the_start_with_exit_2() {
    let here = folder();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nerve-tls/tests/certificates");
    let file = |name: &str| tests.join(name).to_string_lossy().into_owned();
    let at = |cert: &str, key: &str| {
        let (cert, key) = (file(cert), file(key));
        nerve(here.path(), &["serve", "none", "--tls-cert", &cert, "--tls-key", &key]).ends(2)
    };
    for (cert, key, expected) in [
        ("expired.pem", "expired.key", "expired.pem"),
        ("p256.pem", "other.key", "does not belong"),
        ("none.pem", "other.key", "none.pem"),
    ] {
        at(cert, key).says(expected);
    }
    nerve(here.path(), &["serve", "none", "--tls-cert", &file("p256.pem")]).ends(2);
}
