//! libvirt's documents as Rust types, ids, units and the lifecycle's rules.
//!
//! Everything here is pure: no I/O, no clock, no `async`; the one outside thing is the random source for new
//! UUIDs and MAC addresses. A document is one tree of structs; `lodge-model-derive` makes parser and writer of
//! each from its fields, whose order is libvirt's output order. There is no second list of the same names.
//!
//! A newcomer's path: [`domain::Domain`] (the document) → [`xml`] (how it is read and written) →
//! [`domain::Domain::complete`] (what a definition gains) → [`domain::lifecycle`] (what is allowed when).
//!
//! Deliberately absent: how any of it is brought about (QEMU's words are in `lodge-qemu`), files, sockets.

extern crate self as lodge_model;

mod bytes;
pub mod cpu;
pub mod domain;
mod fault;
pub mod fuzz;
pub mod guest_disk;
mod id;
mod kind;
mod mac;
pub mod markup;
mod name;
pub mod network;
pub mod nwfilter;
pub mod secret;
pub mod snapshot;
pub mod storage;
pub mod xml;

pub use bytes::{Bytes, NotAnAmount};
pub use fault::{Fault, Faults};
pub use id::{DomainId, JobId, NetworkId, NotAUuid, PoolId};
pub use kind::Kind;
pub use mac::{MacAddr, NotAMac};
pub use name::{BadName, DomainName, NAME_MAX_BYTES, check_name};
