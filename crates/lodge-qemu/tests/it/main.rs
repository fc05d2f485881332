//! The crate through its public API: command lines as snapshots, and the same ones with a real QEMU.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall panic")]

mod cases;
mod documents;
mod probe;
mod real;
mod snapshots;
