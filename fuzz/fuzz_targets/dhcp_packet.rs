//! What guests send to port 67: no panic, every reply is readable, no address has two holders.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lodge_network::fuzz::dhcp_packet(bytes));
