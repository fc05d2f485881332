//! Edits of real file systems with the real tools, in jails.

mod ext;
pub(super) mod rig;
mod whole;
