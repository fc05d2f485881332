//! What guests send to port 53: no panic, and every answer can be written.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lodge_network::fuzz::dns_packet(bytes));
