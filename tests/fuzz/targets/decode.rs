//! Fuzz target: `wire::decode`, and the reply to what it decodes.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vestibule_fuzz::decode_check::check(bytes));
