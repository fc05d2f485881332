//! `lodge-disk` through its public interface, with disks that the tools of the trade made.

#![allow(clippy::unwrap_used, reason = "a test ends there, and should")]

mod fs;
mod mutate;
mod workshop;
