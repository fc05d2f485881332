//! The life of guests through the crate's public API: real QEMU under TCG, fakes for the other resources.
//!
//! A guest without disks sits in its firmware, which is all that states need. Where there is no QEMU each test says
//! so and is skipped.

#![allow(clippy::unwrap_used, reason = "a test ends there, and should")]

mod adoption;
mod block_jobs;
mod boot;
mod control;
mod crash;
mod definitions;
mod devices;
mod discard;
mod lifecycle;
mod policy;
mod save;
mod snapshots;
mod support;
mod tpm;
mod tuning;
mod verbs;
mod virtiofs;
