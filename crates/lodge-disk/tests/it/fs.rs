//! File systems: what is read is compared, name by name and byte by byte, with what a kernel shows of them.

mod btrfs;
mod compare;
mod ext;
pub mod image;
pub mod mutate;
mod tree;
mod xfs;
