//! `nerve ui` and `nerve report` from outside: where they listen, what they write, how they refuse.
#![allow(missing_docs)]

mod common;

use common::{command, folder, nerve};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

/// A run folder as small as they come.
fn run(root: &std::path::Path) {
    fs::create_dir_all(root.join("runs/small")).unwrap();
    for name in ["config.toml", "resolved.toml"] {
        fs::write(root.join("runs/small").join(name), "seed = 1\n").unwrap();
    }
}

#[test]
fn it_serves_the_runs_at_the_address_that_it_prints() {
    let here = folder();
    run(here.path());
    let args = ["ui", "--port", "0", "--no-open", "--json"];
    let mut child = command(here.path()).args(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split("http://").nth(1).unwrap().split('"').next().unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{line}");
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!("Host: {address}\r\nConnection: close\r\n\r\n");
    write!(stream, "GET /api/runs HTTP/1.1\r\n{head}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("\"name\":\"small\""),
        "{answer}"
    );
}

#[test]
fn a_training_shows_itself_where_that_is_wanted() {
    let here = folder();
    let rows: String = (0..40).map(|i| format!("{i},{}\n", 2 * i)).collect();
    fs::write(here.path().join("lines.csv"), format!("x,y\n{rows}")).unwrap();
    let recipe = "[data]\npath = \"lines.csv\"\n[[input]]\nname = \"x\"\ntype = \"number\"\n\
        [[output]]\nname = \"y\"\ntype = \"number\"\n[trainer]\nepochs = 1000000\n";
    fs::write(here.path().join("lines.toml"), recipe).unwrap();
    let mut command = command(here.path());
    command.args(["train", "lines.toml", "--ui", "--progress", "off"]).stderr(Stdio::piped());
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = said.find(|line| line.contains("http://"));
    let line = line.expect("an address");
    let address = line.split("http://").nth(1).unwrap().split(' ').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /api/runs HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(answer.contains("\"name\":\"lines\""), "{answer}");
}

#[test]
fn h53_a_port_in_use_ends_with_6_and_a_missing_folder_with_2() {
    let here = folder();
    nerve(here.path(), &["ui"]).ends(2).says("no folder `runs`").quiet();
    run(here.path());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    nerve(here.path(), &["ui", "--port", &port])
        .ends(6)
        .says("cannot listen on 127.0.0.1:")
        .quiet();
    nerve(here.path(), &["ui", "--port", "70000"]).ends(2).quiet();
}

#[test]
fn a_report_is_written_into_the_run_folder_or_elsewhere() {
    let here = folder();
    run(here.path());
    nerve(here.path(), &["report", "small"]).ends(0);
    let page = fs::read_to_string(here.path().join("runs/small/report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("id=\"data\">"));
    let json = nerve(here.path(), &["report", "small", "-o", "r.html", "--json"]).ends(0).out;
    assert_eq!(json.trim(), "{\"report\":\"r.html\",\"run\":\"small\"}");
    assert!(fs::read_to_string(here.path().join("r.html")).unwrap().contains("id=\"data\">"));
    nerve(here.path(), &["report", "none"]).ends(2).says("no run `none`").quiet();
    nerve(here.path(), &["report", "small", "-o", "no/such/r.html"]).ends(1).quiet();
}
