//! Journals after any crash: read or refused, and the good part is read again alike.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lodge_network::fuzz::journal(bytes));
