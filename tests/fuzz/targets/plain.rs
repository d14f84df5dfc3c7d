//! Fuzz target: the questions that the lying resolver answers by hand.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vestibule_fuzz::plain_check::check(bytes));
