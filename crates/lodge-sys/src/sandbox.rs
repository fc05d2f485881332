//! Giving up privileges before hostile bytes are read.
//!
//! [`enter`] is for a process that has all its descriptors and only one thread: afterwards it has another
//! user id, no capabilities and no way to new ones, an empty root, small limits, and a list of the system
//! calls it may make. It cannot be undone. Which calls a program needs is said by its [`Profile`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{SeccompAction, SeccompFilter, SeccompRule, TargetArch};

mod server;

/// Which system calls stay allowed; everything else answers `EPERM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// A network server on inherited sockets: reads, writes, accepts, may open outgoing IPv4/IPv6 sockets.
    Server,
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

/// Confines the calling process for good. Call it as root, before a second thread exists.
pub fn enter(sandbox: &Sandbox) -> Result<(), SandboxError> {
    if sandbox.id == 0 {
        let source = io::Error::from(io::ErrorKind::InvalidInput);
        return Err(SandboxError::Step { step: "run as root inside the sandbox", source });
    }
    limits(sandbox)?;
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
    let rules = match profile {
        Profile::Server => server::rules(),
    };
    // clone3's flags lie in memory a filter cannot read: answer ENOSYS and libc falls back to clone,
    // whose flags the second filter checks.
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    load(clone3, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS.cast_unsigned()))?;
    load(rules, SeccompAction::Errno(libc::EPERM.cast_unsigned()), SeccompAction::Allow)
}

fn load(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<(), SandboxError> {
    let failed = |error: &dyn std::fmt::Display| SandboxError::Filter(error.to_string());
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| failed(&error))?;
    let filter = SeccompFilter::new(rules, otherwise, listed, arch).map_err(|error| failed(&error))?;
    let program: seccompiler::BpfProgram =
        filter.try_into().map_err(|error: seccompiler::BackendError| failed(&error))?;
    seccompiler::apply_filter(&program).map_err(|error| failed(&error))
}
