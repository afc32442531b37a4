//! The catalogue of bad requests: H01 to H31 and H43 to H50.

mod common;

use common::*;
use nerve_serve::{Batching, Options, Server, Token};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn h01_what_is_no_json_is_told_so() {
    let server = serve(NUMBERS);
    let good = infer("1", "2");
    for body in ["", "{", "[]", "null", &format!("{good}x"), &format!("{good}{good}"), "\u{feff}{}"]
    {
        for path in [INFER, "/predict"] {
            let answer = server.post(path, body);
            assert!(matches!(answer.status, 400 | 422), "{body}: {answer:?}");
            answer.error();
        }
    }
    server.is_well();
}

#[test]
fn h02_deep_lists_do_not_overflow_the_stack() {
    let server = serve(NUMBERS);
    let deep = "[".repeat(100_000);
    let row = format!("{{\"a\":{}", "[".repeat(100_000));
    let data = infer(&deep, "1");
    for body in [&deep, &row, &data] {
        for path in [INFER, "/predict"] {
            assert_eq!(server.post(path, body).status, 400);
        }
    }
    // Closed ones, as text of a cell, are no number.
    let cell = format!("{{\"a\":{}{},\"b\":1}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(server.post("/predict", &cell).status, 422);
    server.is_well();
}

#[test]
fn h03_keys_stand_once_and_unknown_ones_are_passed_over() {
    let server = serve(NUMBERS);
    let good = infer("1", "2");
    let with = |more: &str| format!("{{{more},{}", &good[1..]);
    assert_eq!(server.post(INFER, &with("\"future\":[{}]")).status, 200);
    assert!(server.post(INFER, &with("\"inputs\":[]")).error().contains("duplicate field"));
    assert_eq!(server.post("/predict", r#"{"a":1,"b":2,"z":[1,{}]}"#).status, 200);
    assert!(server.post("/predict", r#"{"a":1,"b":2,"a":3}"#).error().contains("`a` stands twice"));
}

#[test]
fn h04_bodies_of_other_types_are_not_guessed_at() {
    let server = serve(NUMBERS);
    let kinds = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
    ];
    for kind in kinds {
        let headers = [("content-type", kind)];
        assert_eq!(
            server.send("POST", "/predict", &headers, b"{\"a\":1,\"b\":2}").status,
            415,
            "{kind}"
        );
        assert_eq!(
            server.send("POST", INFER, &headers, infer("1", "2").as_bytes()).status,
            415,
            "{kind}"
        );
    }
    assert_eq!(server.send("POST", "/predict", &[], b"{\"a\":1,\"b\":2}").status, 415);
    // Clients of the protocol send none.
    assert_eq!(server.send("POST", INFER, &[], infer("1", "2").as_bytes()).status, 200);
    let headers = [("content-type", "Application/JSON; charset=utf-8")];
    assert_eq!(server.send("POST", "/predict", &headers, b"{\"a\":1,\"b\":2}").status, 200);
}

#[test]
fn h05_inputs_that_are_missing_unknown_or_too_many_are_named() {
    let server = serve(NUMBERS);
    let one = |name: &str| {
        format!("{{\"name\":\"{name}\",\"shape\":[1],\"datatype\":\"FP64\",\"data\":[1]}}")
    };
    let ask = |inputs: &str| server.post(INFER, &format!("{{\"inputs\":{inputs}}}")).error();
    assert!(server.post(INFER, "{\"id\":\"1\"}").error().contains("missing field `inputs`"));
    assert!(ask("7").contains("a list of tensors"));
    assert!(ask(&format!("[{}]", one("a"))).contains("`b` is missing"));
    assert!(
        ask(&format!("[{},{},{}]", one("a"), one("b"), one("a"))).contains("`a` was sent twice")
    );
    assert!(
        ask(&format!("[{},{},{}]", one("a"), one("b"), one("z")))
            .contains("no input `z`: it has a, b")
    );
    let many = vec![one("a"); 15_000].join(",");
    assert!(ask(&format!("[{many}]")).contains("more than 4096 tensors"));
    assert!(server.post("/predict", "[{\"a\":1}]").error().contains("no row has a column `b`"));
    assert!(server.post("/predict", "[]").error().contains("no rows"));
}

#[test]
fn h06_h07_types_and_shapes_that_do_not_fit() {
    let server = serve(PICTURE);
    let numbers = serve(NUMBERS);
    let ask = |shape: &str, datatype: &str, data: &str| {
        let tensor = format!(
            "{{\"name\":\"image\",\"shape\":{shape},\"datatype\":\"{datatype}\",\"data\":{data}}}"
        );
        server.post(INFER, &format!("{{\"inputs\":[{tensor}]}}"))
    };
    let pixels = format!("[{}]", vec!["1"; 30].join(","));
    assert_eq!(ask("[1,1,6,5]", "UINT8", &pixels).status, 200);
    assert_eq!(ask("[1,1,6,5]", "FP32", &pixels).status, 200, "whole numbers up to 255 are pixels");
    for (shape, datatype) in [
        ("[1,1,5,6]", "UINT8"),
        ("[30]", "UINT8"),
        ("[1,30]", "UINT8"),
        ("[0,1,6,5]", "UINT8"),
        ("[-1,1,6,5]", "UINT8"),
        ("[9223372036854775807,2]", "UINT8"),
        ("[4294967296,4294967296,2]", "UINT8"),
        ("[]", "UINT8"),
        ("[1,1,6,5]", "INT7"),
        ("[1,1,6,5]", "uint8"),
    ] {
        let answer = ask(shape, datatype, &pixels);
        assert_eq!(answer.status, 422, "{shape} {datatype}: {}", answer.text());
        answer.error();
    }
    assert_eq!(ask("[1,1,6,5]", "BYTES", "[\"x\"]").status, 422);
    assert_eq!(
        ask("[9223372036854775808]", "UINT8", &pixels).status,
        400,
        "no whole number of 64 bits"
    );
    let rows = format!("[{}]", vec!["1"; 70_000].join(","));
    let tensor = |name: &str| {
        format!("{{\"name\":\"{name}\",\"shape\":[70000],\"datatype\":\"FP64\",\"data\":{rows}}}")
    };
    let answer = numbers.post(INFER, &format!("{{\"inputs\":[{},{}]}}", tensor("a"), tensor("b")));
    assert!(answer.error().contains("expected 1 to 65536 rows, found 70000"));
}

#[test]
fn h09_what_is_no_number_is_refused() {
    let server = serve(NUMBERS);
    for wrong in ["NaN", "Infinity", "1e400", "null", "true", "\"1\"", "01", "+1", "{}"] {
        assert_eq!(server.post(INFER, &infer(wrong, "1")).status, 400, "{wrong}");
    }
    for good in ["-0.0", "1e-320", "1E5"] {
        assert_eq!(server.post(INFER, &infer(good, "1")).status, 200, "{good}");
    }
    for wrong in ["\"inf\"", "true", "[1]", "\"one\""] {
        let answer =
            server.post("/predict", &format!("[{{\"a\":1,\"b\":1}},{{\"a\":{wrong},\"b\":1}}]"));
        assert_eq!(answer.status, 422, "{wrong}");
        assert!(answer.error().starts_with("column `a`, row 2: expected a"), "{}", answer.error());
    }
}

#[test]
fn h11_outputs_that_are_unknown_or_a_million() {
    let server = serve(NUMBERS);
    let ask = |outputs: &str| {
        let request = infer("1", "2");
        server.post(INFER, &format!("{},\"outputs\":{outputs}}}", &request[..request.len() - 1]))
    };
    assert!(ask("[{\"name\":\"z\"}]").error().contains("no output `z`: it has c, c_probabilities"));
    assert!(ask("[{\"name\":\"c\"},{\"name\":\"c\"}]").error().contains("twice"));
    let million = format!("[{}]", vec!["{\"name\":\"c\"}"; 70_000].join(","));
    assert!(ask(&million).error().contains("more than 4096 tensors"));
    let classes = |k: &str| {
        ask(&format!(
            "[{{\"name\":\"c_probabilities\",\"parameters\":{{\"classification\":{k}}}}}]"
        ))
    };
    assert_eq!((classes("99").status, classes("0").status, classes("-1").status), (200, 400, 400));
    let object = ask("[{\"name\":\"c\",\"parameters\":{\"x\":{}}}]");
    assert!(object.error().contains("parameter `x` has invalid type"));
}

#[test]
fn h12_names_that_the_training_did_not_know_are_the_features_to_judge() {
    let server = serve(MIXED);
    // A category has a place for what it did not see; a text has one, too.
    let answer = server.post("/predict", r#"{"a": 1, "colour": "violet", "note": "never seen"}"#);
    assert!(matches!(answer.status, 200 | 422), "{}", answer.text());
    let long = format!(r#"{{"a": 1, "colour": "red", "note": "{}"}}"#, "word ".repeat(100_000));
    assert_eq!(server.post("/predict", &long).status, 200, "a text is cut to its length");
}

#[test]
fn h14_h15_h19_bodies_over_the_limit_are_refused_before_they_are_read() {
    let server = serve(NUMBERS);
    let head = "POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let answer = server.raw(format!("{head}content-length: 10000000000\r\n\r\n").as_bytes());
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    let answer = server.raw(
        format!("{head}content-length: 10000000000\r\nexpect: 100-continue\r\n\r\n").as_bytes(),
    );
    assert_eq!(answer.status, 413, "and never 100");
    let mut stream = server.connect();
    stream.write_all(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    let chunk = [b"10000\r\n", &[b' '; 65536][..], b"\r\n"].concat();
    // Endless: until the server has had enough.
    let sent = (0..1000).take_while(|_| stream.write_all(&chunk).is_ok()).count();
    assert!(sent < 200, "{sent}");
    let zeros = format!(
        "{{\"inputs\":[{{\"name\":\"a\",\"shape\":[1],\"datatype\":\"FP64\",\"data\":[{}0]}}]}}",
        "0,".repeat(500_000)
    );
    assert!(server.post(INFER, &zeros).error().contains("has 500001"));
    server.is_well();
}

#[test]
fn h16_a_body_in_pieces_of_one_byte() {
    let server = serve(NUMBERS);
    let body = r#"{"a":1,"b":2}"#;
    let pieces: String = body.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    let head = "POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(server.raw(format!("{head}{pieces}0\r\n\r\n").as_bytes()).status, 200);
    let many = "1\r\n \r\n".repeat(200_000);
    let answer = server.raw(format!("{head}{many}{pieces}0\r\n\r\n").as_bytes());
    assert!(matches!(answer.status, 200 | 408), "{answer:?}");
    server.is_well();
}

#[test]
fn h17_a_body_of_two_lengths_or_of_none_that_can_be() {
    let server = serve(NUMBERS);
    let head = "POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    for lengths in [
        "content-length: 13\r\ntransfer-encoding: chunked\r\n",
        "content-length: 13\r\ncontent-length: 14\r\n",
        "content-length: +13\r\n",
        "content-length: -1\r\n",
        "content-length: 0x0d\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: chunked, identity\r\n",
    ] {
        let mut stream = server.connect();
        stream.write_all(format!("{head}{lengths}\r\n{{\"a\":1,\"b\":2}}").as_bytes()).unwrap();
        let answer = read(&mut stream);
        assert!(matches!(answer.status, 400 | 413 | 501), "{lengths}: {answer:?}");
        let mut rest = Vec::new();
        assert!(matches!(stream.read_to_end(&mut rest), Ok(0) | Err(_)), "{lengths}: closed");
    }
    let broken = "transfer-encoding: chunked\r\n\r\nzz\r\nxx\r\n0\r\n\r\n";
    assert!(matches!(server.raw(format!("{head}{broken}").as_bytes()).status, 0 | 400));
    server.is_well();
}

#[test]
fn h18_bodies_shorter_and_longer_than_told() {
    let server = serve(NUMBERS);
    let head = "POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let mut stream = server.connect();
    stream.write_all(format!("{head}content-length: 100\r\n\r\n{{\"a\":1").as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(matches!(read(&mut stream).status, 0 | 400));
    // What is behind the body is the next request, and a bad one: the first is answered.
    let mut stream = server.connect();
    stream
        .write_all(
            format!("{head}content-length: 13\r\n\r\n{{\"a\":1,\"b\":2}}xxxx\r\n\r\n").as_bytes(),
        )
        .unwrap();
    assert_eq!(read(&mut stream).status, 200);
    assert!(matches!(read(&mut stream).status, 0 | 400));
    server.is_well();
}

#[test]
fn h20_compressed_bodies_are_not_unpacked() {
    let server = serve(NUMBERS);
    for coding in ["gzip", "deflate", "br", "identity, gzip"] {
        let headers = [("content-type", "application/json"), ("content-encoding", coding)];
        assert_eq!(server.send("POST", "/predict", &headers, &[0x1f, 0x8b]).status, 415);
    }
    let headers = [("content-type", "application/json"), ("content-encoding", "identity")];
    assert_eq!(server.send("POST", "/predict", &headers, b"{\"a\":1,\"b\":2}").status, 200);
}

#[test]
fn h21_binary_lengths_that_lie() {
    let server = serve(NUMBERS);
    let body = infer("1", "2");
    for length in ["-1", "99999", "x", "1.5", "99999999999999999999999", ""] {
        let answer = server.send(
            "POST",
            INFER,
            &[("inference-header-content-length", length)],
            body.as_bytes(),
        );
        assert_eq!(answer.status, 400, "{length}");
    }
    let ask = |size: &str, bytes: &[u8]| {
        let head = format!(
            "{{\"inputs\":[{{\"name\":\"a\",\"shape\":[1],\"datatype\":\"FP64\",\"data\":[1]}},{{\"name\":\"b\",\
             \"shape\":[1],\"datatype\":\"FP32\",\"parameters\":{{\"binary_data_size\":{size}}}}}]}}"
        );
        let length = head.len().to_string();
        let all = [head.as_bytes(), bytes].concat();
        server.send("POST", INFER, &[("inference-header-content-length", &length)], &all)
    };
    assert_eq!(ask("4", &[0; 4]).status, 200);
    for (size, bytes) in [
        ("4", &[0u8; 3][..]),
        ("4", &[0; 5]),
        ("8", &[0; 8]),
        ("-4", &[0; 4]),
        ("1e99", &[]),
        ("\"4\"", &[0; 4]),
    ] {
        let answer = ask(size, bytes);
        assert_eq!(answer.status, 400, "{size}: {}", answer.text());
    }
    let raw = server.send("POST", INFER, &[("inference-header-content-length", "0")], &[0; 16]);
    assert!(raw.error().contains("a model with one input"));
}

#[test]
fn h22_h23_heads_without_end() {
    let server = serve(NUMBERS);
    let large = server.raw(&request("GET", "/v2", &[("x-large", &"x".repeat(10 << 20))], b""));
    assert!(matches!(large.status, 0 | 431), "{large:?}");
    let many: Vec<(String, String)> = (0..1000).map(|i| (format!("x-{i}"), "1".into())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(server.send("GET", "/v2", &many, b"").status, 431);
    let uri = server.get(&format!("/v2/{}", "x".repeat(1 << 20)));
    assert!(matches!(uri.status, 0 | 414 | 431), "{uri:?}");
    assert_eq!(server.get(&format!("/v2/{}", "x".repeat(10_000))).status, 404);
    server.is_well();
}

#[test]
fn h24_other_protocols_and_methods() {
    let server = serve(NUMBERS);
    for bytes in [
        &b"GET /v2\r\n\r\n"[..],
        b"GET /v2 HTTP/3.0\r\nhost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &[0xff; 4096],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GE\0T /v2 HTTP/1.1\r\n\r\n",
    ] {
        let mut stream = server.connect();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = read(&mut stream);
        assert!(matches!(answer.status, 0 | 400 | 405 | 505), "{bytes:?}: {answer:?}");
    }
    for method in ["DELETE", "PUT", "PATCH", "TRACE", "BREW", "POST"] {
        let answer = server.send(method, "/v2", &[], b"");
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET, HEAD, OPTIONS")),
            "{method}"
        );
        answer.error();
    }
    assert_eq!(server.get(INFER).header("allow"), Some("POST, OPTIONS"));
    server.is_well();
}

#[test]
fn h25_line_ends_in_header_values() {
    let server = serve(NUMBERS);
    for value in ["a\0b", "a\rb"] {
        let bytes = format!("GET /v2 HTTP/1.1\r\nhost: localhost\r\nx: {value}\r\n\r\n");
        assert!(matches!(server.raw(bytes.as_bytes()).status, 0 | 400), "{value:?}");
    }
    let mut id: serde_json::Value = serde_json::from_str(&infer("1", "2")).unwrap();
    id["id"] = "a\r\nset-cookie: x".into();
    let answer = server.post(INFER, &id.to_string());
    assert!(answer.header("set-cookie").is_none() && answer.json()["id"] == id["id"]);
}

#[test]
fn h26_h27_names_that_no_model_has() {
    let server = serve(NUMBERS);
    for name in [
        "..",
        "../..",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "%00",
        "m%00",
        "/m",
        "m/",
        "C:%5C",
        "%c0%ae%c0%ae",
        "%ff",
        "~",
        "$HOME",
        "`id`",
        ";ls",
        "m'",
        "m\"",
        "%0d%0a",
        "M",
        "m%20",
    ] {
        for path in [
            format!("/v2/models/{name}"),
            format!("/v2/models/{name}/ready"),
            format!("/predict/{name}"),
        ] {
            let method = if path.starts_with("/predict") { "POST" } else { "GET" };
            let answer = server.send(method, &path, &[("content-type", "application/json")], b"");
            assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
        }
    }
    assert_eq!(server.get("/v2/models/%6d").status, 200, "an escaped `m`");
    for version in ["2", "0", "-1", "18446744073709551616", "1.0", "+1", "x", "%31%20"] {
        assert_eq!(
            server.get(&format!("/v2/models/m/versions/{version}")).status,
            404,
            "{version}"
        );
    }
    assert!(server.get("/v2/models/z").error().contains("unknown model: 'z'"));
    for path in
        ["/etc/passwd", "//v2", "/v2/x", "/v2/health", "/favicon.ico", "/v2/models/m/generate"]
    {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
}

#[test]
fn h28_h30_slow_and_silent_clients_are_let_go_and_the_others_answered() {
    let server = serve(NUMBERS);
    let begun = Instant::now();
    let mut slow: Vec<_> = (0..20)
        .map(|i| {
            let mut stream = server.connect();
            if i % 2 == 0 {
                stream.write_all(b"GET /v2 HTTP/1.1\r\nx:").unwrap();
            }
            stream
        })
        .collect();
    // One that is quiet behind its first request.
    let mut idle = server.connect();
    idle.write_all(&request("GET", "/v2", &[], b"")).unwrap();
    assert_eq!(read(&mut idle).status, 200);
    slow.push(idle);
    server.is_well();
    for stream in &mut slow {
        let mut rest = Vec::new();
        // 408 or nothing, and closed.
        let _ = stream.read_to_end(&mut rest);
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    server.is_well();
}

#[test]
fn h29_a_body_that_does_not_come() {
    let server = serve(NUMBERS);
    let head = "POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n";
    let mut stream = server.connect();
    stream.write_all(format!("{head}{{\"a\"").as_bytes()).unwrap();
    let answer = read(&mut stream);
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
}

#[test]
fn h30_connections_over_the_limit_are_turned_away() {
    let mut options = options();
    options.limits.connections = 3;
    options.limits.head_time = Duration::from_secs(5);
    let server = start(empty().with(served(NUMBERS, Batching::default())), options);
    let held: Vec<_> = (0..3)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(&request("GET", "/v2", &[], b"")).unwrap();
            assert_eq!(read(&mut stream).status, 200);
            stream
        })
        .collect();
    let answer = read(&mut server.connect());
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    assert_eq!(answer.error(), "too many connections are open");
    drop(held);
    while server.get("/v2").status != 200 {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn h31_a_client_that_never_reads() {
    let server = serve(NUMBERS);
    let rows = format!("[{}]", vec!["{\"a\":1,\"b\":2}"; 20_000].join(","));
    let one = request("POST", "/predict", &[("content-type", "application/json")], rows.as_bytes());
    let mut stream = server.connect();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    // Answers pile up until the server gives up on us: then writing fails.
    let begun = Instant::now();
    let given_up = (0..200).any(|_| stream.write_all(&one).is_err());
    assert!(given_up && begun.elapsed() < Duration::from_secs(60));
    server.is_well();
}

#[test]
fn h43_without_the_token_nothing_but_health_is_told() {
    let options = Options { token: Token::new("secret"), ..options() };
    let server = start(empty().with(served(NUMBERS, Batching::default())), options);
    let get =
        |given: &str| server.send("GET", "/v2/models", &[("authorization", given)], b"").status;
    assert_eq!((get("Bearer secret"), get("bearer secret"), get("BEARER secret")), (200, 200, 200));
    let long = format!("Bearer {}", "x".repeat(50_000));
    for wrong in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer secrets",
        "Bearer secre",
        "Basic secret",
        "secret",
        "Bearer  secret",
        &long,
    ] {
        assert_eq!(get(wrong), 401, "{wrong}");
    }
    let refused = server.get("/v2/models?token=secret");
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(server.post(INFER, &infer("1", "2")).status, 401);
    assert_eq!((server.get("/metrics").status, server.get("/v2/health/live").status), (401, 200));
}

#[test]
fn h44_nobody_is_answered_from_outside_without_a_token() {
    let bind = |options: Options| {
        Server::bind(Arc::new(empty()), options, None).map(|server| server.address())
    };
    let outside = Options { address: ([0, 0, 0, 0], 0).into(), ..options() };
    assert!(bind(outside.clone()).unwrap_err().to_string().contains("--insecure-no-auth"));
    assert!(bind(Options { token: Token::new("x"), ..outside.clone() }).is_ok());
    assert!(bind(Options { open: true, ..outside }).is_ok());
    assert!(
        bind(Options { address: "[::1]:0".parse().unwrap(), ..options() })
            .map_or(true, |a| a.port() > 0)
    );
}

#[test]
fn h45_models_are_not_controlled_from_outside_unless_that_is_allowed() {
    let server = serve(NUMBERS);
    for action in ["load", "unload"] {
        let answer = server.post(&format!("/v2/repository/models/m/{action}"), "{}");
        assert_eq!(answer.status, 403);
    }
    server.is_well();
}

#[test]
fn h46_h47_no_address_is_fetched_and_no_path_is_told() {
    let server = serve(PICTURE);
    for place in [
        "http://127.0.0.1:1/x.png",
        "file:///etc/passwd",
        "/etc/passwd",
        "../x.png",
        "data:text/plain,x",
    ] {
        let row = serde_json::json!([{ "image": place }]);
        let answer = server.post("/predict", &row.to_string());
        assert_eq!(answer.status, 422, "{}", answer.text());
        let error = answer.error();
        assert!(error.contains("expected a PNG or JPEG file") && !error.contains("etc"), "{error}");
    }
    let csv = "image\n/etc/passwd\n";
    let answer = server.send("POST", "/predict", &[("content-type", "text/csv")], csv.as_bytes());
    assert!(answer.error().contains("expected a PNG or JPEG file"), "{}", answer.error());
    let damaged = server.send("POST", "/predict", &[("content-type", "image/png")], &png()[..60]);
    assert!(damaged.status == 422 && !damaged.error().contains('/'), "{}", damaged.error());
    let text = server.send("POST", "/predict", &[("content-type", "image/png")], b"GIF89a......");
    assert!(text.error().contains("a GIF file"));
}

#[test]
fn h48_pages_of_other_sites_are_not_answered() {
    let server = serve(NUMBERS);
    let preflight =
        server.send("OPTIONS", INFER, &[("access-control-request-method", "POST")], b"");
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, None));
    let from = |headers: &[(&str, &str)]| server.send("GET", "/v2", headers, b"").status;
    assert_eq!(from(&[("origin", "http://evil.example")]), 403);
    assert_eq!(from(&[("sec-fetch-site", "cross-site")]), 403);
    assert_eq!(from(&[("origin", "http://localhost"), ("sec-fetch-site", "same-origin")]), 200);
    for host in ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""] {
        let bytes = format!("GET /v2 HTTP/1.1\r\nhost: {host}\r\n\r\n");
        assert_eq!(server.raw(bytes.as_bytes()).status, 421, "{host}");
    }
}

#[test]
fn h50_what_http_asks_for() {
    let server = serve(NUMBERS);
    let head = server.send("HEAD", "/v2", &[], b"");
    assert_eq!(head.status, 200);
    let options = server.send("OPTIONS", "/v2", &[], b"");
    assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD, OPTIONS")));
    // Several requests in one piece are answered in their order.
    let one = request("POST", INFER, &[], infer("1", "2").as_bytes());
    let mut stream = server.connect();
    stream.write_all(&[&one[..], &request("GET", "/v2", &[], b""), &one].concat()).unwrap();
    let answers: Vec<Answer> = (0..3).map(|_| read(&mut stream)).collect();
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200; 3]);
    assert_eq!(
        (answers[1].json()["name"].as_str(), &answers[2].body),
        (Some("nerve"), &answers[0].body)
    );
    let body = infer("1", "2");
    let ask = format!(
        "POST {INFER} HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = server.connect();
    stream.write_all(ask.as_bytes()).unwrap();
    assert_eq!(read(&mut stream).status, 100);
    stream.write_all(body.as_bytes()).unwrap();
    assert_eq!(read(&mut stream).status, 200);
    let mut stream = server.connect();
    for _ in 0..2000 {
        stream.write_all(&one).unwrap();
        assert_eq!(read(&mut stream).status, 200);
    }
}

#[test]
fn h34_hundreds_of_connections_at_once() {
    let server = serve(NUMBERS);
    let streams: Vec<_> = (0..400).map(|_| server.connect()).collect();
    // Those that found room are idle and let go, the others were turned away.
    drop(streams);
    for _ in 0..200 {
        if server.get("/v2/health/ready").status == 200 {
            return server.is_well();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the server does not recover");
}
