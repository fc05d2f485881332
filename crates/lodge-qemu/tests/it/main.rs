//! The crate through its public API: command lines as snapshots, and the same ones with a real QEMU.

#![expect(
    clippy::unwrap_used,
    clippy::format_push_string,
    reason = "tests: to panic is to fail, and nothing is hot"
)]

mod arch;
mod bench;
mod cases;
mod documents;
mod exchange;
mod explain;
mod guest;
mod passt;
mod probe;
mod real;
mod snapshots;
