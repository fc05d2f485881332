//! `<filesystem>`: a directory of the host's that the guest mounts.

use super::address::Place;
use super::virtio::VirtioOptions;
use crate::xml::words::{OnOff, words};
use crate::xml::{Foreign, Value, Xml};
use std::fmt::Write as _;

words! {
    /// What the host's side is.
    pub enum FilesystemKind {
        Mount = "mount", Block = "block", File = "file", Template = "template", Ram = "ram", Bind = "bind", Volume = "volume",
    }
}

words! {
    /// How old the guest's drivers may be.
    pub enum FilesystemModel {
        Virtio = "virtio", Transitional = "virtio-transitional", NonTransitional = "virtio-non-transitional",
    }
}

words! {
    /// Whose rights the guest's users have.
    pub enum AccessMode { Passthrough = "passthrough", Mapped = "mapped", Squash = "squash" }
}

words! {
    /// What 9p does where several devices lie below one directory.
    pub enum Multidevs { Default = "default", Remap = "remap", Forbid = "forbid", Warn = "warn" }
}

/// `<filesystem type='mount' accessmode='passthrough'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
#[xml(open)]
pub struct Filesystem {
    /// What the host's side is.
    #[xml(attr = "type")]
    pub kind: FilesystemKind,
    /// Whose rights the guest's users have.
    #[xml(attr = "accessmode")]
    pub access_mode: Option<AccessMode>,
    /// How old the guest's drivers may be.
    #[xml(attr)]
    pub model: Option<FilesystemModel>,
    /// Several devices below one directory.
    #[xml(attr)]
    pub multidevs: Option<Multidevs>,
    /// Rights of new files.
    #[xml(attr = "fmode")]
    pub file_mode: Option<Mode>,
    /// Rights of new directories.
    #[xml(attr = "dmode")]
    pub directory_mode: Option<Mode>,
    /// `<driver type='virtiofs' queue='1024'/>`.
    #[xml(child)]
    pub driver: FilesystemDriver,
    /// `<binary path='/usr/libexec/virtiofsd'>`.
    #[xml(child)]
    pub binary: Option<Box<FilesystemBinary>>,
    /// `<idmap>`.
    #[xml(child)]
    pub idmap: Option<Box<IdMap>>,
    /// `<source dir='/srv'/>`.
    #[xml(child)]
    pub source: Option<FilesystemSource>,
    /// `<target dir='share'/>`: the name that the guest mounts.
    #[xml(child)]
    pub target: Option<FilesystemTarget>,
    /// Whether the guest may not write.
    #[xml(flag = "readonly")]
    pub read_only: bool,
    /// Boot order, alias, address.
    #[xml(flatten)]
    pub place: Place,
    /// What this struct does not know.
    #[xml(foreign, keeps = "space_hard_limit space_soft_limit")]
    pub foreign: Foreign,
}

words! {
    /// What serves it.
    pub enum FilesystemDriverKind {
        Default = "default", Path = "path", Handle = "handle", Loop = "loop", Nbd = "nbd", Ploop = "ploop",
        Virtiofs = "virtiofs", Mtp = "mtp",
    }
}

words! {
    /// When what the guest wrote goes to the host's disk.
    pub enum WritePolicy { Default = "default", Immediate = "immediate" }
}

/// `<driver type='path' wrpolicy='immediate'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct FilesystemDriver {
    /// What serves it.
    #[xml(attr = "type")]
    pub kind: Option<FilesystemDriverKind>,
    /// Format of a file or block device.
    #[xml(attr)]
    pub format: Option<String>,
    /// When what the guest wrote goes to the host's disk.
    #[xml(attr = "wrpolicy")]
    pub write_policy: Option<WritePolicy>,
    /// virtiofs: length of the queue.
    #[xml(attr)]
    pub queue: Option<u64>,
    /// What all virtio devices have.
    #[xml(flatten)]
    pub virtio: VirtioOptions,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<binary path='/usr/libexec/virtiofsd' xattr='on'>`: how virtiofsd is started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct FilesystemBinary {
    /// The program.
    #[xml(attr)]
    pub path: Option<String>,
    /// Whether extended attributes pass through.
    #[xml(attr)]
    pub xattr: Option<OnOff>,
    /// `<cache mode='none'/>`.
    #[xml(child)]
    pub cache: Option<FilesystemCache>,
    /// `<sandbox mode='chroot'/>`.
    #[xml(child)]
    pub sandbox: Option<FilesystemSandbox>,
    /// `<lock posix='on' flock='on'/>`.
    #[xml(child)]
    pub lock: FilesystemLock,
    /// `<thread_pool size='16'/>`.
    #[xml(child)]
    pub thread_pool: Option<ThreadPool>,
    /// `<openfiles max='1000'/>`.
    #[xml(child = "openfiles")]
    pub open_files: Option<OpenFiles>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// Whether the guest caches what it reads.
    pub enum CacheMode { None = "none", Always = "always" }
}

/// `<cache mode='always'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct FilesystemCache {
    /// Whether the guest caches what it reads.
    #[xml(attr, required)]
    pub mode: CacheMode,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

words! {
    /// How virtiofsd is shut in.
    pub enum SandboxMode { Namespace = "namespace", Chroot = "chroot" }
}

/// `<sandbox mode='chroot'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct FilesystemSandbox {
    /// How virtiofsd is shut in.
    #[xml(attr, required)]
    pub mode: SandboxMode,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<lock posix='on' flock='on'/>`: locks that hold on the host, too.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct FilesystemLock {
    /// POSIX locks.
    #[xml(attr)]
    pub posix: Option<OnOff>,
    /// flock(2)'s.
    #[xml(attr)]
    pub flock: Option<OnOff>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<thread_pool size='16'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct ThreadPool {
    /// How many threads; 0: none.
    #[xml(attr, required)]
    pub size: u32,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<openfiles max='1000'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct OpenFiles {
    /// How many files virtiofsd may have open.
    #[xml(attr, required)]
    pub max: u64,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<idmap>`: which numbers of users and groups the guest's become on the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct IdMap {
    /// Users.
    #[xml(children = "uid")]
    pub users: Vec<IdRange>,
    /// Groups.
    #[xml(children = "gid")]
    pub groups: Vec<IdRange>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<uid start='0' target='100000' count='65535'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct IdRange {
    /// The guest's first.
    #[xml(attr, required)]
    pub start: u32,
    /// The host's first.
    #[xml(attr, required)]
    pub target: u32,
    /// How many.
    #[xml(attr, required)]
    pub count: u32,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<source dir='/srv'/>`, or the socket of a virtiofsd that somebody else started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct FilesystemSource {
    /// A directory.
    #[xml(attr)]
    pub dir: Option<String>,
    /// virtiofs: the server's socket.
    #[xml(attr)]
    pub socket: Option<String>,
    /// What this struct does not know: the sources of containers.
    #[xml(foreign, keeps = "@file @dev @name @usage @units @pool @volume")]
    pub foreign: Foreign,
}

/// `<target dir='share'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct FilesystemTarget {
    /// The name that the guest mounts.
    #[xml(attr)]
    pub dir: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// Rights as chmod(1) writes them: `0640`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mode(pub u32);

impl Value for Mode {
    fn read_value(text: &str) -> Result<Self, String> {
        let read = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
        read.map(Self).ok_or_else(|| format!("`{text}` are no rights, as 0644"))
    }

    fn write_value(&self, out: &mut String) {
        let _ = write!(out, "{:04o}", self.0);
    }
}

impl Filesystem {
    /// What serves it; 9p if nothing is said.
    pub fn served_by(&self) -> FilesystemDriverKind {
        self.driver.kind.unwrap_or_default()
    }

    /// Whether virtiofsd serves it.
    pub fn is_virtiofs(&self) -> bool {
        self.served_by() == FilesystemDriverKind::Virtiofs
    }

    /// The name that the guest mounts.
    pub fn tag(&self) -> Option<&str> {
        self.target.as_ref()?.dir.as_deref()
    }

    /// The host's directory.
    pub fn directory(&self) -> Option<&str> {
        self.source.as_ref()?.dir.as_deref()
    }

    /// The socket of a virtiofsd that somebody else started.
    pub fn socket(&self) -> Option<&str> {
        self.source.as_ref()?.socket.as_deref()
    }
}
