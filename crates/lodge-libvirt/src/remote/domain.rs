//! Procedures of domains, by topic.

pub(crate) mod agent;
pub(crate) mod block_job;
pub(crate) mod console;
pub(crate) mod define;
pub(crate) mod device;
pub(crate) mod info;
pub(crate) mod input;
pub(crate) mod job;
pub(crate) mod life;
pub(crate) mod lookup;
pub(crate) mod memory;
pub(crate) mod metadata;
mod params;
pub(crate) mod save;
pub(crate) mod snapshot;
pub(crate) mod stats;
pub(crate) mod tune;
pub(crate) mod vcpu;
