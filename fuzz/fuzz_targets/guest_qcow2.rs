//! Any bytes as a qcow2 that is read at its ends, or refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lodge_disk::fuzz::qcow2(bytes));
