//! The first and only process of the workshop, a guest that edits a file system (see `lodge_disk::workshop`).
//!
//! It is compiled by this crate's build script, for it is nothing but system calls, and lies in our own binary.

/// The program, an ELF file without any library.
pub const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/workshop-init"));
