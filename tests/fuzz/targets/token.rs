//! Fuzz target: what is shown as a lease token.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vestibule_fuzz::token_check::check(bytes));
