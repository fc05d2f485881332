//! The crate through its public interface: documents in, documents out.

#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

mod check;
mod corpus;
mod laws;
mod lifecycle;
mod mutate;
mod network;
mod nwfilter;
mod status;
mod storage;
