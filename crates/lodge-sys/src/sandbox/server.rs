//! The system calls of a network server that has its listening sockets and files already.
//!
//! Absent on purpose: open, exec, kill, ptrace, bind, listen, mount, ioctl beyond FIONBIO/FIONREAD, any
//! socket family but IPv4 and IPv6, memory that is both writable and executable, processes (threads stay).

use std::collections::BTreeMap;

use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

/// Calls allowed with any arguments.
const FREE: &[i64] = &[
    // files and sockets at hand
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_ftruncate,
    libc::SYS_fdatasync,
    libc::SYS_fsync,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_fcntl,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_shutdown,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    // waiting
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    libc::SYS_futex,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_restart_syscall,
    // threads and memory
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
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
const FREE_OF_ARCH: &[i64] = &[libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const FREE_OF_ARCH: &[i64] = &[];

/// The list for [`super::Profile::Server`].
pub(super) fn rules() -> BTreeMap<i64, Vec<SeccompRule>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        FREE.iter().chain(FREE_OF_ARCH).map(|&call| (call, Vec::new())).collect();
    let families = [libc::AF_INET, libc::AF_INET6];
    rules.insert(libc::SYS_socket, families.map(|family| argument_is(0, number(family))).into());
    // Two connected ends inside the process reach nobody; tokio wakes itself by them.
    rules.insert(libc::SYS_socketpair, vec![argument_is(0, number(libc::AF_UNIX))]);
    let options = [libc::SOL_SOCKET, libc::IPPROTO_TCP];
    rules.insert(libc::SYS_setsockopt, options.map(|level| argument_is(1, number(level))).into());
    let requests = [libc::FIONBIO, libc::FIONREAD];
    rules.insert(libc::SYS_ioctl, requests.map(|request| argument_is(1, request)).into());
    rules.insert(libc::SYS_clone, vec![has_bits(0, number(libc::CLONE_THREAD))]);
    let never_executable = number(libc::PROT_EXEC);
    rules.insert(libc::SYS_mmap, vec![lacks_bits(2, never_executable)]);
    rules.insert(libc::SYS_mprotect, vec![lacks_bits(2, never_executable)]);
    rules.insert(libc::SYS_prctl, vec![argument_is(0, number(libc::PR_SET_NAME))]);
    rules
}

pub(super) fn number(value: i32) -> u64 {
    u64::try_from(value).expect("the kernel's constants used here are not negative")
}

pub(super) fn argument_is(index: u8, value: u64) -> SeccompRule {
    rule(index, SeccompCmpOp::Eq, value)
}

pub(super) fn has_bits(index: u8, bits: u64) -> SeccompRule {
    rule(index, SeccompCmpOp::MaskedEq(bits), bits)
}

pub(super) fn lacks_bits(index: u8, bits: u64) -> SeccompRule {
    rule(index, SeccompCmpOp::MaskedEq(bits), 0)
}

fn rule(index: u8, operator: SeccompCmpOp, value: u64) -> SeccompRule {
    let condition = SeccompCondition::new(index, SeccompCmpArgLen::Dword, operator, value)
        .expect("argument numbers here are below six");
    SeccompRule::new(vec![condition]).expect("one condition is not none")
}
