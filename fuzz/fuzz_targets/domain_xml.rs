//! Domain documents: no text makes the reader panic; what is read, completed and written is read back the same.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = lodge_model::fuzz::domain(text);
});
