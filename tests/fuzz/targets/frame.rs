//! Fuzz target: the frames of an attached LAN.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vestibule_fuzz::frame_check::check(bytes));
