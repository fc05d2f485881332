//! Headers of disk images as a guest may have written them: read or refused, in bounded time.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lodge_storage::fuzz::header(bytes));
