//! H49: certificates that cannot be used, and clients that speak TLS, an old one, badly or not at all.
#![allow(missing_docs)]

mod common;

use common::{Answer, NUMBERS, Running, empty, infer, options, read, request, served};
use nerve_serve::{Batching, Options, Tls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion, version,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../nerve-tls/tests/certificates").join(name)
}

fn tls(name: &str) -> Arc<Tls> {
    let tls = Tls::open(&file(&format!("{name}.pem")), &file(&format!("{name}.key")));
    Arc::new(tls.unwrap())
}

fn serve(tls: Arc<Tls>) -> Running {
    let model = served(NUMBERS, Batching::default());
    common::start(empty().with(model), Options { tls: Some(tls), ..options() })
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn connect(server: &Running, versions: &[&'static SupportedProtocolVersion]) -> Stream {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("authority.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(nerve_tls::provider().unwrap())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, server.connect())
}

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

fn ask(stream: &mut Stream) -> Answer {
    let body = infer("1.0", "2.0");
    let json = [("content-type", "application/json")];
    stream.write_all(&request("POST", common::INFER, &json, body.as_bytes())).unwrap();
    read(stream)
}

#[test]
fn h49_keys_of_all_kinds_answer_in_both_versions() {
    for name in ["p256", "p384", "ed25519", "rsa"] {
        let server = serve(tls(name));
        // The provider has no Ed25519 in TLS 1.2.
        let versions = if name == "ed25519" { &BOTH[..1] } else { BOTH };
        for version in versions {
            let mut stream = connect(&server, &[version]);
            for _ in 0..2 {
                assert_eq!(ask(&mut stream).status, 200, "{name} {version:?}");
            }
            assert_eq!(stream.conn.protocol_version(), Some(version.version));
        }
        assert!(server.stop());
    }
}

#[test]
fn h49_keys_are_read_in_their_older_forms() {
    for (cert, key) in [("rsa", "rsa-pkcs1"), ("p256", "p256-sec1")] {
        Tls::open(&file(&format!("{cert}.pem")), &file(&format!("{key}.key"))).unwrap();
    }
}

#[test]
fn h49_what_cannot_be_used_is_refused_at_the_start_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.pem");
    let whole = std::fs::read_to_string(file("p256.pem")).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let garbled = folder.path().join("garbled.pem");
    std::fs::write(&garbled, whole.replacen("MII", "MIA", 1)).unwrap();
    let large = folder.path().join("large.pem");
    std::fs::write(&large, vec![b'\n'; (1 << 20) + 1]).unwrap();
    let missing = folder.path().join("missing.pem");
    for (cert, key, expected) in [
        (file("p256.pem"), file("other.key"), "does not belong"),
        (file("rsa.pem"), file("p256.key"), "does not belong"),
        (file("expired.pem"), file("expired.key"), "expired.pem`: the certificate expired"),
        (
            file("future.pem"),
            file("future.key"),
            "future.pem`: the certificate is not valid before",
        ),
        (file("p256.pem"), file("encrypted.key"), "encrypted.key`: no private key"),
        (file("p256.pem"), file("p256.pem"), "p256.pem`: no private key"),
        (file("p256.key"), file("p256.key"), "p256.key`: no certificate"),
        (missing.clone(), file("p256.key"), "missing.pem`: "),
        (file("p256.pem"), missing, "missing.pem`: "),
        (cut, file("p256.key"), "cut.pem`: "),
        (garbled, file("p256.key"), "garbled.pem`: "),
        (large, file("p256.key"), "large.pem`: more than"),
        (folder.path().to_path_buf(), file("p256.key"), "directory"),
    ] {
        let error = Tls::open(&cert, &key).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn h49_a_version_before_1_2_is_refused() {
    let server = serve(tls("p256"));
    for minor in [1, 2] {
        // A greeting of TLS 1.0 or 1.1 with one cipher and no extensions.
        let body = [&[3, minor][..], &[7; 32], &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
        let hello = [&[1, 0, 0, body.len() as u8][..], &body].concat();
        let record = [&[22, 3, 1, 0, hello.len() as u8][..], &hello].concat();
        let mut stream = server.connect();
        stream.write_all(&record).unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        // A fatal alert, and no greeting of the server.
        assert_eq!((said[0], said[5]), (21, 2), "{said:?}");
        assert_eq!(said.len(), 7, "{said:?}");
    }
    assert_eq!(ask(&mut connect(&server, BOTH)).status, 200);
}

#[test]
fn h49_who_speaks_no_tls_or_nothing_is_let_go() {
    let server = serve(tls("p256"));
    let mut silent = server.connect();
    let mut halting = server.connect();
    halting.write_all(&[22, 3, 1]).unwrap();
    for text in
        [&b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"[..], &[0; 100], &[22, 3, 1, 255, 255, 1]]
    {
        let mut stream = server.connect();
        stream.write_all(text).unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert!(!said.starts_with(b"HTTP"), "{said:?}");
    }
    for stream in [&mut silent, &mut halting] {
        let mut said = Vec::new();
        // The server ends it; a client that waits longer than the reading time-out would fail here.
        assert_eq!(stream.read_to_end(&mut said).unwrap(), 0);
    }
    assert_eq!(ask(&mut connect(&server, BOTH)).status, 200);
    assert!(server.stop());
}

#[test]
fn h49_a_certificate_is_read_again_and_a_bad_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    let put = |name: &str| {
        std::fs::copy(file(&format!("{name}.pem")), &cert).unwrap();
        std::fs::copy(file(&format!("{name}.key")), &key).unwrap();
    };
    put("p256");
    let own = Arc::new(Tls::open(&cert, &key).unwrap());
    let server = serve(own.clone());
    let shown = || {
        let mut stream = connect(&server, BOTH);
        assert_eq!(ask(&mut stream).status, 200);
        stream.conn.peer_certificates().unwrap()[0].clone()
    };
    let of = |name: &str| CertificateDer::from_pem_file(file(name)).unwrap();
    let mut early = connect(&server, BOTH);
    assert_eq!(ask(&mut early).status, 200);
    assert_eq!(shown(), of("p256.pem"));
    put("rsa");
    own.reload().unwrap();
    assert_eq!(shown(), of("rsa.pem"));
    put("expired");
    assert!(own.reload().is_err());
    assert_eq!(shown(), of("rsa.pem"));
    // A connection goes on as it began.
    assert_eq!(ask(&mut early).status, 200);
}
