//! What the fuzz targets share: the code under test and the checks on it.
//!
//! The modules under test are compiled from their own files, so that a fuzzer's build takes seconds
//! and instruments nothing else. `cargo test` runs the same checks over the kept corpus
//! (`dhcpd/tests/wire_corpus.rs`).

#![allow(dead_code, reason = "the targets use a part of the modules each")]

#[path = "../../../dns-redirect/src/decision.rs"]
pub mod decision;
#[path = "../../../dhcpd/src/failover/codec/mod.rs"]
pub mod failover;
#[path = "../../../dhcpd/src/net/frame.rs"]
pub mod frame;
#[path = "../../../dns-redirect/src/limits.rs"]
pub mod limits;
#[path = "../../../dns-redirect/src/plain.rs"]
pub mod plain;
#[path = "../../../dhcpd/src/wire/mod.rs"]
pub mod wire;

pub mod decode_check;
pub mod failover_check;
pub mod frame_check;
pub mod plain_check;
pub mod token_check;
