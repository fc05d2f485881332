//! Volumes of pools: what they are, and each act on them in a file of its own.

pub(crate) mod change;
pub(crate) mod clone;
pub(crate) mod create;
pub(crate) mod device;
pub(crate) mod encryption;
pub(crate) mod facts;
pub(crate) mod hold;
pub(crate) mod kind;
pub(crate) mod look;
pub(crate) mod new_qcow2;
pub(crate) mod probe;
pub(crate) mod scan;
pub(crate) mod stream;
pub(crate) mod tool;
pub(crate) mod wanted;
