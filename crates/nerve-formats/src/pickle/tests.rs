use super::*;

fn read(data: &[u8]) -> Pickle<'_> {
    Pickle::read("p", data).unwrap()
}

fn error(data: &[u8]) -> String {
    Pickle::read("p", data).unwrap_err().to_string()
}

/// What `pickle.dumps({"a": [1, -2, 2.5, None, True], "b": ("x", b"yz", 1 << 40)}, protocol)` writes.
const OF_PROTOCOL_0: &[u8] = b"(dp0\nVa\np1\n(lp2\nI1\naI-2\naF2.5\naNaI01\nasVb\np3\n(Vx\np4\nc_codecs\nencode\np5\n(Vyz\np6\nVlatin1\np7\ntp8\nRp9\nL1099511627776L\ntp10\ns.";
const OF_PROTOCOL_2: &[u8] = b"\x80\x02}q\0(X\x01\0\0\0aq\x01]q\x02(K\x01J\xfe\xff\xff\xffG@\x04\0\0\0\0\0\0N\x88eX\x01\0\0\0bq\x03X\x01\0\0\0xq\x04c_codecs\nencode\nq\x05X\x02\0\0\0yzq\x06X\x06\0\0\0latin1q\x07\x86q\x08Rq\x09\x8a\x06\0\0\0\0\0\x01\x87q\nu.";
const OF_PROTOCOL_4: &[u8] = b"\x80\x04\x956\0\0\0\0\0\0\0}\x94(\x8c\x01a\x94]\x94(K\x01J\xfe\xff\xff\xffG@\x04\0\0\0\0\0\0N\x88e\x8c\x01b\x94\x8c\x01x\x94C\x02yz\x94\x8a\x06\0\0\0\0\0\x01\x87\x94u.";

#[test]
fn values_of_every_protocol() {
    for data in [OF_PROTOCOL_0, OF_PROTOCOL_2, OF_PROTOCOL_4] {
        let p = read(data);
        assert_eq!(p.end(), data.len());
        let list = p.items(p.value(p.root(), "a").unwrap()).unwrap();
        let nodes: Vec<&Node> = list.iter().map(|id| p.node(*id)).collect();
        let expected =
            [Node::Int(1), Node::Int(-2), Node::Float(2.5), Node::None, Node::Bool(true)];
        assert_eq!(nodes, expected.iter().collect::<Vec<_>>());
        let tuple = p.items(p.value(p.root(), "b").unwrap()).unwrap();
        assert_eq!((p.text(tuple[0]), p.int(tuple[2])), (Some("x"), Some(1 << 40)));
        assert_eq!(p.value(p.root(), "c"), None);
    }
    let p = read(OF_PROTOCOL_4);
    assert_eq!(p.bytes(p.items(p.value(p.root(), "b").unwrap()).unwrap()[1]), Some(&b"yz"[..]));
}

#[test]
fn a_call_is_only_written_down() {
    // os.system("echo"), as a hostile file would have it
    let p = read(b"cos\nsystem\n(Vecho\ntR.");
    let (object, args) = p.call(p.root(), "system").unwrap();
    assert_eq!(p.global(object.callee), Some(("os", "system")));
    assert_eq!(p.text(args[0]), Some("echo"));
    assert_eq!(p.describe(p.root()), "an object of os.system");
    assert!(p.call(p.root(), "other").is_none());
}

#[test]
fn objects_keep_their_state_items_and_pairs() {
    let p = read(b"\x80\x04\x8c\x01m\x8c\x01C\x93)\x81(K\x01K\x02e(K\x03K\x04u}b.");
    let object = p.object(p.root()).unwrap();
    assert_eq!((object.items.len(), object.pairs.len(), object.state.is_some()), (2, 1, true));
    // A list that holds itself.
    let p = read(b"]q\0h\0a.");
    assert_eq!(p.items(p.root()), Some(&[p.root()][..]));
}

#[test]
fn numbers_of_any_length() {
    for (bytes, expected) in
        [(&b"\x8a\0."[..], 0), (b"\x8a\x01\xff.", -1), (b"\x8a\x02\xff\0.", 255)]
    {
        assert_eq!(read(bytes).int(read(bytes).root()), Some(expected));
    }
    let p = read(b"\x8a\x09\0\0\0\0\0\0\0\0\x01.");
    assert_eq!(p.node(p.root()), &Node::BigInt(2..11));
}

#[test]
fn what_is_no_pickle_is_said() {
    assert!(error(b"").contains("expected 1 bytes, found 0 before the end"));
    assert!(error(b".").contains("expected a value, found none"));
    assert!(error(b"\x80\x06.").contains("expected 0 to 5, found 6"));
    assert!(error(b"\x97.").contains("instruction 0x97"));
    assert!(error(b"K\x01t.").contains("a mark"));
    assert!(error(b"(\x85.").contains("expected a value"), "a tuple reaches below the mark");
    assert!(error(b"h\x07.").contains("number 7"));
    assert!(error(b"X\xff\xff\xff\xffx.").contains("bytes"));
    assert!(error(b"X\x01\0\0\0\xff.").contains("UTF-8"));
    assert!(error(b"I99999999999999999999\n.").contains("a number that fits"));
    assert!(error(b"(K\x01d.").contains("a value for each key"));
    assert!(error(b"K\x01K\x02a.").contains("a list or set"));
}

#[test]
fn s_bytes_in_any_order_never_panic() {
    for data in [OF_PROTOCOL_0, OF_PROTOCOL_2, OF_PROTOCOL_4] {
        for end in 0..data.len() {
            assert!(Pickle::read("p", &data[..end]).is_err());
        }
        for at in 0..data.len() {
            for byte in 0..=255 {
                let mut changed = data.to_vec();
                changed[at] = byte;
                if let Ok(p) = Pickle::read("p", &changed) {
                    p.describe(p.root());
                    p.value(p.root(), "a");
                }
            }
        }
    }
}
