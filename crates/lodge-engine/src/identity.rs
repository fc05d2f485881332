//! Use cases of identities: what makes a machine this machine, and what becomes of it.

pub(crate) mod inside;
mod log;
