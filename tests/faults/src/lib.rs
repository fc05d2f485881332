//! Disks that fail, for tests: a file system that is full, one whose device fails amid the work, one whose device does not
//! take writes for a while, and a directory that does not answer.
//!
//! All are mounted, which needs root, and gone when dropped. `None` where this machine does not let us, with a word why.
//! Deliberately absent: device-mapper, which small machines' kernels lack, and any knowledge of the product.

mod dying;
mod full;
mod mount;
mod silent;
mod slow;

pub use dying::DyingDisk;
pub use full::SmallDisk;
pub use silent::SilentDisk;
pub use slow::SlowDisk;
