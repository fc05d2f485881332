//! Numbers of system calls and of two flags, which each architecture has its own of.

#[cfg(target_arch = "x86_64")]
pub use self::x86_64::*;

#[cfg(target_arch = "aarch64")]
pub use self::aarch64::*;

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const MMAP: usize = 9;
    pub const FSYNC: usize = 74;
    pub const FCHDIR: usize = 81;
    pub const FCHMOD: usize = 91;
    pub const FCHOWN: usize = 93;
    pub const MOUNT: usize = 165;
    pub const UMOUNT: usize = 166;
    pub const REBOOT: usize = 169;
    pub const SYNC: usize = 162;
    pub const FSETXATTR: usize = 190;
    pub const LSETXATTR: usize = 189;
    pub const FGETXATTR: usize = 193;
    pub const FLISTXATTR: usize = 196;
    pub const GETDENTS64: usize = 217;
    pub const NANOSLEEP: usize = 35;
    pub const OPENAT: usize = 257;
    pub const MKDIRAT: usize = 258;
    pub const UNLINKAT: usize = 263;
    pub const RENAMEAT2: usize = 316;
    pub const SYMLINKAT: usize = 266;
    pub const FINIT_MODULE: usize = 313;
    pub const STATX: usize = 332;
    pub const OPENAT2: usize = 437;
    pub const O_DIRECTORY: usize = 0o200_000;
    pub const O_NOFOLLOW: usize = 0o400_000;
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    pub const WRITE: usize = 64;
    pub const CLOSE: usize = 57;
    pub const MMAP: usize = 222;
    pub const FSYNC: usize = 82;
    pub const FCHDIR: usize = 50;
    pub const FCHMOD: usize = 52;
    pub const FCHOWN: usize = 55;
    pub const MOUNT: usize = 40;
    pub const UMOUNT: usize = 39;
    pub const REBOOT: usize = 142;
    pub const SYNC: usize = 81;
    pub const FSETXATTR: usize = 7;
    pub const LSETXATTR: usize = 6;
    pub const FGETXATTR: usize = 10;
    pub const FLISTXATTR: usize = 13;
    pub const GETDENTS64: usize = 61;
    pub const NANOSLEEP: usize = 101;
    pub const OPENAT: usize = 56;
    pub const MKDIRAT: usize = 34;
    pub const UNLINKAT: usize = 35;
    pub const RENAMEAT2: usize = 276;
    pub const SYMLINKAT: usize = 36;
    pub const FINIT_MODULE: usize = 273;
    pub const STATX: usize = 291;
    pub const OPENAT2: usize = 437;
    pub const O_DIRECTORY: usize = 0o40_000;
    pub const O_NOFOLLOW: usize = 0o100_000;
}
