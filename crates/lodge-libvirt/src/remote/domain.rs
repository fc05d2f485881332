//! Procedures of domains, by topic.

pub(crate) mod define;
pub(crate) mod job;
pub(crate) mod life;
pub(crate) mod lookup;
pub(crate) mod metadata;
pub(crate) mod save;
