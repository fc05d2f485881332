//! A whole small qcow2, its L1 and L2 tables, zero and compressed clusters too: mapped and read, or refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lodge_storage::fuzz::tables(bytes));
