//! The kernel as functions: the only crate with `unsafe`, and the only one that starts processes.
//!
//! One function per call, no policy, no logging. What to do with an answer is the caller's matter.

pub mod activation;
pub mod cgroup;
pub mod device;
pub mod ethtool;
pub mod fs;
pub mod fuse;
pub mod kvm;
pub mod local;
pub mod macvtap;
pub mod memory;
pub mod multicast;
pub mod packet;
pub mod peer;
pub mod perf;
pub mod process;
pub mod pty;
pub mod resctrl;
pub mod sandbox;
pub mod scheduler;
pub mod spawn;
pub mod tap;
pub mod tool;
pub mod uevent;
pub mod workshop;
