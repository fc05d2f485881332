//! Any bytes as an ext file system or a FAT: its tree walked, or refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lodge_disk::fuzz::tree(bytes));
