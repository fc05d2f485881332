//! What happens inside a guest: what it is given at its first boot, and how far it is.
//!
//! - [`seed`]: cloud-init's NoCloud seed, made and judged beforehand.
//! - [`readiness`]: the truth about a guest's way from power-on to ready, from leases, the agent and
//!   cloud-init's own records, not from a time-out.
//! - [`keys`]: SSH keys.
//!
//! Place: a resource; it knows the agent (`lodge_qemu`) and nothing of domains or networks. Whatever a guest says
//! is a claim: bounded, parsed without panics, escaped before it is shown.
//! Deliberately absent: other seeds (kickstart, preseed, autounattend), which come with the installers; who a guest is
//! (`lodge-identity`).

pub mod keys;
pub mod readiness;
pub mod seed;
