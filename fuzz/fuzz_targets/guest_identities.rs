//! Any bytes as a device that is given another identity of each kind, or refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lodge_disk::fuzz::identities(bytes));
