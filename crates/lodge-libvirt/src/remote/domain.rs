//! Procedures of domains, by topic.

pub(crate) mod lookup;
