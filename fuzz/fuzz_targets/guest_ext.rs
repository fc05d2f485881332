//! Any bytes as an ext file system: names, maps, attributes, and another UUID, or refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lodge_disk::fuzz::ext(bytes));
