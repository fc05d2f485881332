//! Disks that fail, for tests: a file system that is full, and one whose device fails amid the work.
//!
//! Both are mounted, which needs root, and gone when dropped. `None` where this machine does not let us, with a word why.
//! Deliberately absent: device-mapper, which small machines' kernels lack, and any knowledge of the product.

mod dying;
mod full;
mod mount;

pub use dying::DyingDisk;
pub use full::SmallDisk;
