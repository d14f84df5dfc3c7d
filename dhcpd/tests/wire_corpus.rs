//! Runs every kept fuzz input through the very checks of the fuzz targets.

#![allow(unreachable_pub, reason = "the checks are shared with the fuzz targets, a library")]

#[path = "../../tests/fuzz/src/decode_check.rs"]
mod decode_check;
#[path = "../../tests/fuzz/src/failover_check.rs"]
mod failover_check;
#[path = "../../tests/fuzz/src/frame_check.rs"]
mod frame_check;
#[path = "../../tests/fuzz/src/token_check.rs"]
mod token_check;

use std::fs;
use std::path::Path;
use vestibule_dhcpd::failover;
use vestibule_dhcpd::net::frame;
use vestibule_dhcpd::wire;

/// Calls `check` with every kept input of a target, named by its file if it fails.
fn each_kept_input(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        check(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count >= 10, "{count} kept inputs in {}", folder.display());
}

#[test]
fn every_kept_packet_keeps_the_promises_of_wire() {
    each_kept_input("decode", decode_check::check);
}

#[test]
fn every_kept_frame_keeps_the_promises_of_frame() {
    each_kept_input("frame", frame_check::check);
}

#[test]
fn every_kept_stream_keeps_the_promises_of_failover() {
    each_kept_input("failover", failover_check::check);
}

#[test]
fn every_kept_text_keeps_the_promises_of_lease_token() {
    each_kept_input("token", token_check::check);
}
