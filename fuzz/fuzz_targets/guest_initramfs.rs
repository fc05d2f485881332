//! Any bytes as an initramfs: its members looked through, or refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lodge_disk::fuzz::initramfs(bytes));
