//! The storage through its public API, with qemu-img as the oracle. What needs a tool that is not
//! installed says so and is skipped.

mod chain;
mod claim;
mod clone;
mod crash;
mod image;
mod remove;
mod world;
