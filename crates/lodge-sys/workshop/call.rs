//! System calls, and what they take and give: open files, texts with a NUL, what is known of a file.

use core::arch::asm;

use crate::number::{CLOSE, OPENAT, STATX};

pub const O_WRONLY: usize = 1;
pub const O_CREAT: usize = 0o100;
pub const O_EXCL: usize = 0o200;
pub const O_APPEND: usize = 0o2000;
pub const O_NONBLOCK: usize = 0o4000;
pub const O_PATH: usize = 0o10_000_000;
pub const AT_FDCWD: isize = -100;
pub const AT_SYMLINK_NOFOLLOW: usize = 0x100;
pub const AT_REMOVEDIR: usize = 0x200;
pub const RESOLVE_NO_MAGICLINKS: u64 = 2;
pub const RESOLVE_IN_ROOT: u64 = 0x10;
pub const MS_NOSUID_NODEV_NOEXEC: usize = 2 | 4 | 8;
pub const ENOENT: isize = -2;
pub const EEXIST: isize = -17;
pub const EISDIR: isize = -21;
pub const EINVAL: isize = -22;
pub const ENOTEMPTY: isize = -39;
pub const ELOOP: isize = -40;

pub const FILE: u32 = 0o100_000;
pub const DIRECTORY: u32 = 0o040_000;

/// One system call.
pub fn call(number: usize, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: what each call reads and writes is laid out by the functions below, which own it.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5], lateout("rcx") _, lateout("r11") _);
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a[0] => result, in("x1") a[1], in("x2") a[2],
            in("x3") a[3], in("x4") a[4], in("x5") a[5]);
    }
    result
}

pub type Result<T> = core::result::Result<T, Failure>;

/// Which step, and the kernel's reason.
pub struct Failure(pub &'static str, pub isize);

pub fn check(step: &'static str, result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| Failure(step, result))
}

/// An open file.
pub struct Fd(pub usize);

impl Drop for Fd {
    fn drop(&mut self) {
        call(CLOSE, [self.0, 0, 0, 0, 0, 0]);
    }
}

/// Bytes that end with a NUL.
#[derive(Clone, Copy)]
pub struct Text<'a>(pub &'a [u8]);

impl Text<'_> {
    pub fn at(self) -> usize {
        if self.0.last() == Some(&0) { self.0.as_ptr() as usize } else { c"".as_ptr() as usize }
    }
}

pub fn open(step: &'static str, directory: isize, path: Text<'_>, flags: usize, mode: usize) -> Result<Fd> {
    check(step, call(OPENAT, [directory as usize, path.at(), flags, mode, 0, 0])).map(Fd)
}

/// statx(2)'s answer: the same on all machines.
pub struct Stat(pub [u32; 64]);

impl Stat {
    pub fn of(directory: usize, name: Text<'_>, flags: usize) -> Result<Self> {
        let mut stat = Self([0; 64]);
        let flags = flags | AT_SYMLINK_NOFOLLOW;
        let at = stat.0.as_mut_ptr() as usize;
        check("stat", call(STATX, [directory, name.at(), flags, 0x7ff, at, 0])).map(|_| stat)
    }

    pub fn mode(&self) -> u32 {
        self.0[7] & 0xffff
    }

    pub fn is(&self, kind: u32) -> bool {
        self.mode() & 0o170_000 == kind
    }

    pub fn size(&self) -> usize {
        self.0[10] as usize
    }
}
