//! The storage through its public API, with qemu-img as the oracle. What needs a tool that is not
//! installed says so and is skipped.

#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::cast_possible_truncation, clippy::naive_bytecount, reason = "a few MiB of test data")]

mod chain;
mod claim;
mod clone;
mod crash;
mod cut_devices;
mod device;
mod doctor;
mod encrypted;
mod faults;
mod image;
mod img;
mod job;
mod lab;
mod model;
mod mounted;
mod needs;
mod partitions;
mod pool;
mod reader;
mod remove;
mod stands;
mod volume;
mod world;
