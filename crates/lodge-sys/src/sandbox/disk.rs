//! The system calls of a process that reads and writes disk images, whose descriptors it has already.
//!
//! Absent on purpose: opening anything, sockets but the one it was given, exec, processes and threads, signals to
//! others, mount, any ioctl but those that ask a block device for its size.

use std::collections::BTreeMap;

use seccompiler::SeccompRule;

use super::server::{argument_is, lacks_bits, number};

const FREE: &[i64] = &[
    // what is at hand: images, the daemon's socket, the connection of a view
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fstatfs,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_fcntl,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    // waiting
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // memory
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Calls of x86-64 alone; other machines have only the newer forms.
#[cfg(target_arch = "x86_64")]
const FREE_OF_ARCH: &[i64] = &[libc::SYS_poll, libc::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const FREE_OF_ARCH: &[i64] = &[];

/// `BLKGETSIZE64`, which libc does not have: `_IOR(0x12, 114, size_t)`.
const BLKGETSIZE64: u64 = 0x8008_1272;
const BLKSSZGET: u64 = 0x1268;
const BLKPBSZGET: u64 = 0x127b;

/// The list for [`super::Profile::Disk`].
pub(super) fn rules() -> BTreeMap<i64, Vec<SeccompRule>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        FREE.iter().chain(FREE_OF_ARCH).map(|&call| (call, Vec::new())).collect();
    let requests = [BLKGETSIZE64, BLKSSZGET, BLKPBSZGET];
    rules.insert(libc::SYS_ioctl, requests.map(|request| argument_is(1, request)).into());
    let never_executable = number(libc::PROT_EXEC);
    rules.insert(libc::SYS_mmap, vec![lacks_bits(2, never_executable)]);
    rules.insert(libc::SYS_mprotect, vec![lacks_bits(2, never_executable)]);
    rules
}
