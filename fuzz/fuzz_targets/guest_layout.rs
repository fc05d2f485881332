//! Any bytes as a disk: its partitions, volumes and arrays, or refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lodge_disk::fuzz::layout(bytes));
