//! VMDK descriptors: the names in them are found or the text is refused.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lodge_storage::fuzz::vmdk(bytes));
