//! Fuzz target: the stream of a failover peer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vestibule_fuzz::failover_check::check(bytes));
