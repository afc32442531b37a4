//! A file's claims cost no memory: hostile files are read by a process that has only 512 MiB.
#![cfg(target_os = "linux")]

use std::io::Write;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use nerve_formats::{Idx, Limits, Reader, SafeTensors};

const IN_CHILD: &str = "NERVE_TEST_IN_CHILD";

/// Runs the test named `name` of this program again, in a process whose memory is bounded.
fn in_bounded_process(name: &str) {
    let this = std::env::current_exe().unwrap();
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 524288 && exec \"$0\" --exact \"$1\" --test-threads 1"])
        .args([this.as_os_str(), name.as_ref()])
        .env(IN_CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::best());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

#[test]
fn claims_cost_nothing() {
    if std::env::var_os(IN_CHILD).is_none() {
        return in_bounded_process("claims_cost_nothing");
    }
    // The bound is real: this process cannot have what the files below claim.
    assert!(Vec::<u8>::new().try_reserve_exact(600 << 20).is_err());

    let idx = |dims: &[u32]| {
        let mut bytes = vec![0, 0, 0x0e, dims.len() as u8];
        bytes.extend(dims.iter().flat_map(|d| d.to_be_bytes()));
        bytes
    };
    for dims in [&[1 << 30][..], &[u32::MAX], &[1 << 20, 1 << 20], &[u32::MAX; 8]] {
        for bytes in [idx(dims), gzip(&idx(dims))] {
            assert!(Idx::from_bytes("x", &bytes, &Limits::default()).is_err());
        }
    }
    for n in [1u64 << 40, 1 << 63, u64::MAX, 100_000_000] {
        let bytes = [&n.to_le_bytes()[..], b"{}"].concat();
        assert!(SafeTensors::from_bytes("x", &bytes).is_err());
        assert!(Reader::from_slice("x", &bytes).bytes("data", n).is_err());
    }
    // 1 GiB of zeros in 1 MB, with limits that let it through the first check: memory that cannot
    // be had is an error and no abort. Written by members of 32 MiB, to spare the test the time.
    let member = gzip(&vec![0; 32 << 20]);
    let bomb = [gzip(&idx(&[1 << 27])), member.repeat(32)].concat();
    let limits = Limits { max_ratio: 2000, ..Limits::default() };
    let e = Idx::from_bytes("x", &bomb, &limits).unwrap_err();
    assert!(e.to_string().contains("expected memory for 1073741824 bytes"), "{e}");
    let e = Idx::from_bytes("x", &bomb, &Limits::default()).unwrap_err();
    assert!(e.to_string().contains("found a claim of 1073741824 bytes more"), "{e}");
}
