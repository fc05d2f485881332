//! Any bytes as a btrfs: its tree walked, or refused. Checksums are not looked at.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lodge_disk::fuzz::btrfs(bytes));
