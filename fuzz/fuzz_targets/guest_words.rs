//! Any bytes as what the confined processes, a kernel and a console say, or refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lodge_disk::fuzz::words(bytes));
