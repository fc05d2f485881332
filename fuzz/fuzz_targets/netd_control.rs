//! Lines on netd's control socket: read or refused, and what is read is written and read back the same.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lodge_network::fuzz::control_line(bytes));
