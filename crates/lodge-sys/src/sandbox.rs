//! Giving up privileges before hostile bytes are read.
//!
//! [`enter`] is for a process that has all its descriptors and only one thread: afterwards it has another
//! user id, no capabilities and no way to new ones, an empty root, small limits, and a list of the system
//! calls it may make. It cannot be undone. Which calls a program needs is said by its [`Profile`].
//! [`inherited`] takes over the descriptors such a process was started with.

#![expect(unsafe_code, reason = "UNSAFETY: a descriptor told by number has an owner only by agreement")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Gid, Uid};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{SeccompAction, SeccompFilter, SeccompRule, TargetArch};

mod disk;
mod server;
mod tool;

/// Which system calls stay allowed; everything else answers `EPERM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// A network server on inherited sockets: reads, writes, accepts, may open outgoing IPv4/IPv6 sockets.
    Server,
    /// A process that reads and writes disk images whose descriptors it has: one thread, nothing else.
    Disk,
    /// A program that works on the files it can see: threads, no processes, no sockets.
    Tool,
}

/// What is to be left of the process.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// An empty directory: all the process sees of the file system.
    pub root: PathBuf,
    /// The user id to run as; group id alike. Not 0.
    pub id: u32,
    /// Most open descriptors.
    pub descriptors_max: u64,
    /// Largest file it may write, in bytes.
    pub file_bytes_max: u64,
    /// Most address space, in bytes.
    pub memory_bytes_max: u64,
    /// Which system calls stay.
    pub profile: Profile,
}

/// Why the process is not confined. It must not go on.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// One of the steps was refused.
    #[error("cannot {step}")]
    Step {
        /// Which step.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The filter of system calls could not be made or loaded.
    #[error("cannot load the system call filter: {0}")]
    Filter(String),
}

/// Takes over a descriptor this process was started with, by its number. Each number is given once.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    static GIVEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());
    if number < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: only looked at, for its flags, and not kept; a number that is not open gives EBADF.
    let looked_at = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = rustix::io::fcntl_getfd(looked_at)?;
    // What this program opens itself is close-on-exec (std and rustix see to it), and what it was started
    // with is not: so no descriptor that has an owner here can be taken.
    if number <= 2 || flags.contains(rustix::io::FdFlags::CLOEXEC) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it was not inherited"));
    }
    if !GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(number) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it was taken already"));
    }
    // SAFETY: the descriptor is open, was there before this program ran, and is given out only this once.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, flags | rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

/// Confines the calling process for good. Call it before a second thread exists.
///
/// Root gets another user and an empty root. An ordinary user can give up neither; what is left to him is a profile
/// that opens nothing ([`Profile::Disk`]), and any other is refused.
pub fn enter(sandbox: &Sandbox) -> Result<(), SandboxError> {
    if sandbox.id == 0 {
        let source = io::Error::from(io::ErrorKind::InvalidInput);
        return Err(SandboxError::Step { step: "run as root inside the sandbox", source });
    }
    limits(sandbox)?;
    if sandbox.profile == Profile::Disk && !rustix::process::geteuid().is_root() {
        step("forbid new privileges", rustix::thread::set_no_new_privs(true))?;
        return load_filter(sandbox.profile);
    }
    empty_root(&sandbox.root)?;
    drop_privileges(sandbox.id)?;
    load_filter(sandbox.profile)
}

fn step<T>(step: &'static str, result: rustix::io::Result<T>) -> Result<T, SandboxError> {
    result.map_err(|errno| SandboxError::Step { step, source: errno.into() })
}

fn limits(sandbox: &Sandbox) -> Result<(), SandboxError> {
    let limits = [
        (Resource::Nofile, sandbox.descriptors_max),
        (Resource::Fsize, sandbox.file_bytes_max),
        (Resource::As, sandbox.memory_bytes_max),
        (Resource::Core, 0),
        (Resource::Memlock, 0),
    ];
    for (resource, most) in limits {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        step("set a resource limit", rustix::process::setrlimit(resource, limit))?;
    }
    Ok(())
}

fn empty_root(root: &Path) -> Result<(), SandboxError> {
    step("enter the empty root", rustix::process::chdir(root))?;
    step("change the root", rustix::process::chroot("."))?;
    step("enter the empty root", rustix::process::chdir("/"))
}

fn drop_privileges(id: u32) -> Result<(), SandboxError> {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    for capability in CapabilitySet::all().iter() {
        // A kernel older than our list does not know the newest ones: EINVAL, nothing to drop.
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
    step("leave the groups", rustix::thread::set_thread_groups(&[]))?;
    step("change the group", rustix::thread::set_thread_res_gid(gid, gid, gid))?;
    step("change the user", rustix::thread::set_thread_res_uid(uid, uid, uid))?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    step("drop capabilities", rustix::thread::set_capabilities(None, none))?;
    step("forbid new privileges", rustix::thread::set_no_new_privs(true))
}

fn load_filter(profile: Profile) -> Result<(), SandboxError> {
    for program in filters(profile)? {
        seccompiler::apply_filter(&program).map_err(|error| SandboxError::Filter(error.to_string()))?;
    }
    Ok(())
}

/// The filters of a profile, to be loaded in this order.
pub(crate) fn filters(profile: Profile) -> Result<[seccompiler::BpfProgram; 2], SandboxError> {
    let mut rules = match profile {
        Profile::Disk => disk::rules(),
        Profile::Server => server::rules(),
        Profile::Tool => tool::rules(),
    };
    // clone3's flags lie in memory a filter cannot read: answer ENOSYS and libc falls back to clone,
    // whose flags the second filter checks. Of two filters that refuse the later's error counts, so the
    // second must let clone3 pass.
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let first = compile(clone3, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS.cast_unsigned()))?;
    rules.insert(libc::SYS_clone3, Vec::new());
    let second = compile(rules, SeccompAction::Errno(libc::EPERM.cast_unsigned()), SeccompAction::Allow)?;
    Ok([first, second])
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<seccompiler::BpfProgram, SandboxError> {
    let failed = |error: &dyn std::fmt::Display| SandboxError::Filter(error.to_string());
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| failed(&error))?;
    let filter = SeccompFilter::new(rules, otherwise, listed, arch).map_err(|error| failed(&error))?;
    filter.try_into().map_err(|error: seccompiler::BackendError| failed(&error))
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, IntoRawFd};

    use super::*;

    #[test]
    fn only_what_was_inherited_is_taken_and_only_once() {
        let own = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(inherited(own.as_raw_fd()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(inherited(-1).is_err() && inherited(0).is_err() && inherited(99_999).is_err());
        rustix::io::fcntl_setfd(&own, rustix::io::FdFlags::empty()).unwrap();
        let number = own.into_raw_fd();
        let taken = inherited(number).unwrap();
        assert!(rustix::io::fcntl_getfd(&taken).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        rustix::io::fcntl_setfd(&taken, rustix::io::FdFlags::empty()).unwrap();
        assert_eq!(inherited(number).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
