#![expect(
    unsafe_code,
    reason = "UNSAFETY: the child's way into the jail is plain system calls, between clone and exec"
)]
//! A jail for a program that meets bytes a guest wrote.
//!
//! ```text
//!  own mounts, network (none), processes, IPC, host name
//!    └─ root: an empty tmpfs, read-only ── /usr and its kin, read-only ── /dev/{null,zero,urandom}
//!                                        └─ the files it was given, each where it lies on the host
//!  user 65534, no capability but to open others' files ── small limits ── few system calls (`sandbox::tool`)
//! ```
//! As an ordinary user the jail is in a user namespace, with no capability at all. Everything is laid out before the
//! clone. A file is bound by the inode that was looked at, so no link swapped in meanwhile leads elsewhere.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libc::{c_int, c_long};
use seccompiler::BpfProgram;

use crate::sandbox::{self, Profile};

/// The user of the jail: `nobody`, who owns nothing.
const NOBODY: u32 = 65534;
const CAP_DAC_OVERRIDE: u32 = 1;
const CAPS_MAX: c_long = 63;
/// A chain of 200, a VMDK of a thousand parts, and the host's own.
const BINDS_MAX: usize = 1100;
const HOST_DIRS: [&str; 6] = ["usr", "lib", "lib64", "bin", "sbin", "etc/alternatives"];
const NODES: [&str; 3] = ["dev/null", "dev/zero", "dev/urandom"];
const LINKER_CACHE: &str = "etc/ld.so.cache";
/// Covered by the new root; every host has it, and it is opened from before.
const COVERED: &std::ffi::CStr = c"/dev";

/// What a jailed program may have.
#[derive(Debug, Clone)]
pub struct Jail {
    files: Vec<(PathBuf, bool)>,
    mounts: Vec<(Arc<OwnedFd>, PathBuf)>,
    memory_bytes_max: u64,
    descriptors_max: u64,
    keeps_user: bool,
}

impl Jail {
    /// Without any file.
    pub fn new(memory_bytes_max: u64, descriptors_max: u64) -> Self {
        Self { files: Vec::new(), mounts: Vec::new(), memory_bytes_max, descriptors_max, keeps_user: false }
    }

    /// A file or device it may read.
    pub fn reads(&mut self, path: &Path) -> &mut Self {
        self.files.push((path.to_owned(), false));
        self
    }

    /// A file or device it may write.
    pub fn writes(&mut self, path: &Path) -> &mut Self {
        self.files.push((path.to_owned(), true));
        self
    }

    /// What the child needs of our descriptors to go in.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.mounts.iter().map(|(mount, _)| mount.as_raw_fd())
    }

    /// A mount that has no place yet, such as [`fuse::mount`](crate::fuse::mount) makes: it is at `place` in this jail, and
    /// goes with it. One mount is for one run.
    pub fn mounts(&mut self, mount: OwnedFd, place: &Path) -> &mut Self {
        self.mounts.push((Arc::new(mount), place.to_owned()));
        self
    }

    /// It stays the user it is: a server of network files knows nothing of capabilities.
    pub fn keeps_user(&mut self, on: bool) -> &mut Self {
        self.keeps_user = on;
        self
    }
}

/// Something of the host's that is seen inside.
struct Bind {
    source: CString,
    /// Its place, from the root on.
    place: CString,
    parents: Vec<CString>,
    is_dir: bool,
    writable: bool,
    /// Which it must be.
    inode: Option<(u64, u64)>,
    /// A mount that is at hand, instead of one of the source.
    mount: Option<c_int>,
}

/// The jail, laid out.
pub(super) struct Layout {
    binds: Vec<Bind>,
    links: Vec<(CString, CString)>,
    filters: [BpfProgram; 2],
    limits: [(u32, u64); 4],
    user: Option<u32>,
    maps: Option<[CString; 3]>,
}

/// What failed on the way in.
#[derive(Clone, Copy)]
pub(super) enum Inward {
    Mounts,
    Limits,
    Capabilities,
    Filter,
}

impl Jail {
    pub(super) fn lay_out(&self) -> io::Result<Layout> {
        let mut layout = Layout {
            binds: Vec::new(),
            links: Vec::new(),
            filters: sandbox::filters(Profile::Tool).map_err(io::Error::other)?,
            limits: [
                (libc::RLIMIT_AS, self.memory_bytes_max),
                (libc::RLIMIT_NOFILE, self.descriptors_max),
                (libc::RLIMIT_CORE, 0),
                (libc::RLIMIT_MEMLOCK, 0),
            ],
            user: None,
            maps: None,
        };
        let root = Path::new("/");
        for name in HOST_DIRS {
            let path = root.join(name);
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_symlink() => {
                    layout.links.push((text(fs::read_link(&path)?.as_os_str())?, text(OsStr::new(name))?));
                }
                Ok(metadata) if metadata.is_dir() => layout.binds.push(bind(&path, true, false, None)?),
                _ => {}
            }
        }
        for name in NODES.iter().chain([&LINKER_CACHE]) {
            let path = root.join(name);
            if path.exists() {
                layout.binds.push(bind(&path, false, name.starts_with("dev"), None)?);
            }
        }
        for (path, writable) in &self.files {
            // Its place inside is where it is said to be; what is bound is what the links on the way lead to now.
            let real = fs::canonicalize(path)?;
            let metadata = fs::symlink_metadata(&real)?;
            let inode = Some((metadata.dev(), metadata.ino()));
            let source = text(real.as_os_str())?;
            layout.binds.push(Bind { source, ..bind(path, false, *writable, inode)? });
        }
        for (mount, place) in &self.mounts {
            let mount = Some(mount.as_raw_fd());
            layout.binds.push(Bind { mount, ..bind(place, true, true, None)? });
        }
        if layout.binds.len() > BINDS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more files than a jail may have"));
        }
        if rustix::process::geteuid().is_root() {
            layout.user = (!self.keeps_user).then_some(NOBODY);
        } else {
            let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            let map = |id: u32| text(OsStr::new(&format!("0 {id} 1")));
            layout.maps = Some([c"deny".to_owned(), map(uid)?, map(gid)?]);
        }
        Ok(layout)
    }
}

fn text(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(io::Error::other)
}

fn bind(path: &Path, is_dir: bool, writable: bool, inode: Option<(u64, u64)>) -> io::Result<Bind> {
    let inside = path.strip_prefix("/").map_err(io::Error::other)?;
    let mut parents = Vec::new();
    let mut at = PathBuf::new();
    for part in inside.parent().into_iter().flat_map(Path::components) {
        at.push(part);
        parents.push(text(at.as_os_str())?);
    }
    let (source, place) = (text(path.as_os_str())?, text(inside.as_os_str())?);
    Ok(Bind { source, place, parents, is_dir, writable, inode, mount: None })
}

impl Layout {
    /// The namespaces the child is born in.
    pub fn clone_flags(&self) -> u64 {
        let all = libc::CLONE_NEWNS
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWPID
            | if self.maps.is_some() { libc::CLONE_NEWUSER } else { 0 };
        u64::from(all.cast_unsigned())
    }

    /// Goes in. `Err` says where it failed; errno says why. `parent`: who started it, to end with.
    ///
    /// # Safety
    /// To be called once, in a fresh child that was cloned with [`clone_flags`](Self::clone_flags) and whose only thread
    /// this is. Plain system calls only.
    pub unsafe fn enter(&self, parent: RawFd) -> Result<(), Inward> {
        // SAFETY: as the caller promises; every pointer below points into `self`, to statics or to this frame.
        unsafe {
            self.map_user().map_err(|()| Inward::Capabilities)?;
            self.mount().map_err(|()| Inward::Mounts)?;
            for (resource, most) in self.limits {
                let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
                done(c_long::from(libc::setrlimit(resource, &raw const limit)))
                    .map_err(|()| Inward::Limits)?;
            }
            self.drop_privileges().map_err(|()| Inward::Capabilities)?;
            // Whose end came before that was asked for does not tell it any more. Its number does not tell it either: in
            // here it has none.
            let mut parent = libc::pollfd { fd: parent, events: libc::POLLIN, revents: 0 };
            if libc::poll(&raw mut parent, 1, 0) != 0 {
                libc::_exit(1);
            }
            for filter in &self.filters {
                let program = libc::sock_fprog {
                    len: u16::try_from(filter.len()).unwrap_or(0),
                    // The same layout, see seccomp(2): code, two jumps, a constant.
                    filter: filter.as_ptr().cast_mut().cast(),
                };
                let mode = libc::SECCOMP_SET_MODE_FILTER;
                done(libc::syscall(libc::SYS_seccomp, mode, 0, &raw const program))
                    .map_err(|()| Inward::Filter)?;
            }
        }
        Ok(())
    }

    unsafe fn map_user(&self) -> Result<(), ()> {
        let Some(maps) = &self.maps else { return Ok(()) };
        let files = [c"/proc/self/setgroups", c"/proc/self/uid_map", c"/proc/self/gid_map"];
        for (file, map) in files.into_iter().zip(maps) {
            // SAFETY: both strings end in NUL and live; the length is the string's.
            unsafe {
                let fd = libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                done(c_long::from(fd))?;
                let length = map.as_bytes().len();
                let written = libc::write(fd, map.as_ptr().cast(), length);
                libc::close(fd);
                done(if written == length.cast_signed() { 0 } else { -1 })?;
            }
        }
        Ok(())
    }

    unsafe fn mount(&self) -> Result<(), ()> {
        let null = std::ptr::null::<libc::c_char>();
        // SAFETY: strings end in NUL and live; descriptors are used as they come; structures are of the kernel's layout.
        unsafe {
            let private = libc::MS_REC | libc::MS_PRIVATE;
            done(c_long::from(libc::mount(
                c"none".as_ptr(),
                c"/".as_ptr(),
                null.cast(),
                private,
                null.cast(),
            )))?;
            // All are taken before anything is covered.
            let mut trees: [c_int; BINDS_MAX] = [-1; BINDS_MAX];
            for (bind, tree) in self.binds.iter().zip(&mut trees) {
                *tree = bind.take()?;
            }
            let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
            let options = c"mode=0755,size=1m".as_ptr().cast();
            done(c_long::from(libc::mount(
                c"none".as_ptr(),
                COVERED.as_ptr(),
                c"tmpfs".as_ptr(),
                flags,
                options,
            )))?;
            let root = libc::open(COVERED.as_ptr(), libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC);
            done(c_long::from(root))?;
            for (target, place) in &self.links {
                done(c_long::from(libc::symlinkat(target.as_ptr(), root, place.as_ptr())))?;
            }
            for (bind, tree) in self.binds.iter().zip(&trees) {
                bind.place(root, *tree)?;
            }
            read_only(root, false)?;
            done(c_long::from(libc::fchdir(root)))?;
            done(libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()))?;
            done(c_long::from(libc::umount2(c".".as_ptr(), libc::MNT_DETACH)))?;
            done(c_long::from(libc::chdir(c"/".as_ptr())))
        }
    }

    unsafe fn drop_privileges(&self) -> Result<(), ()> {
        let kept = if self.maps.is_some() { 0 } else { 1_u32 << CAP_DAC_OVERRIDE };
        // SAFETY: numbers only, and two structures of the kernel's layout in this frame.
        unsafe {
            done(libc::syscall(libc::SYS_prctl, libc::PR_SET_KEEPCAPS, 1, 0, 0, 0))?;
            for capability in 0..=CAPS_MAX {
                if capability != c_long::from(CAP_DAC_OVERRIDE) || kept == 0 {
                    // A kernel that does not know the newest ones: EINVAL, nothing to drop.
                    libc::syscall(libc::SYS_prctl, libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
                }
            }
            if let Some(user) = self.user {
                done(libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u32>()))?;
                done(libc::syscall(libc::SYS_setresgid, user, user, user))?;
                done(libc::syscall(libc::SYS_setresuid, user, user, user))?;
            }
            set_capabilities(kept)?;
            if self.user.is_some() {
                raise_capability(CAP_DAC_OVERRIDE)?;
            }
            // After the change of user, which clears it. The thread that cloned waits for the child's end, so only the
            // daemon's own end comes before.
            done(libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
            done(libc::syscall(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        }
    }
}

/// Of all capabilities this thread keeps that one, and so does the program that it becomes, whoever runs it.
///
/// # Safety
/// To be called between clone and exec, after the change of user, with `PR_SET_KEEPCAPS` set before it.
pub(super) unsafe fn keep_alone(capability: u32) -> Result<(), ()> {
    // SAFETY: as of this function.
    unsafe {
        set_capabilities(1 << capability)?;
        raise_capability(capability)
    }
}

/// This thread keeps no capability, and neither does the program that it becomes, though its user be root: what exec would
/// give root is less by what `PR_SET_NO_NEW_PRIVS` keeps from it.
///
/// # Safety
/// To be called between clone and exec, after the change of user.
pub(super) unsafe fn keep_none() -> Result<(), ()> {
    // SAFETY: as of this function.
    unsafe { set_capabilities(0) }
}

/// Those of this bit mask, of the first 32, and no others.
unsafe fn set_capabilities(kept: u32) -> Result<(), ()> {
    let header = CapHeader { version: CAP_VERSION_3, pid: 0 };
    let sets = [
        CapSets { effective: kept, permitted: kept, inheritable: kept },
        CapSets { effective: 0, permitted: 0, inheritable: 0 },
    ];
    // SAFETY: two structures of the kernel's layout in this frame.
    unsafe { done(libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr())) }
}

/// It outlasts exec (capabilities(7), the ambient set).
unsafe fn raise_capability(capability: u32) -> Result<(), ()> {
    let raise = libc::PR_CAP_AMBIENT_RAISE;
    // SAFETY: numbers only.
    unsafe { done(libc::syscall(libc::SYS_prctl, libc::PR_CAP_AMBIENT, raise, capability, 0, 0)) }
}

/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h.
const CAP_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: c_int,
}

#[repr(C)]
struct CapSets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

impl Bind {
    /// A mount of its own of what is at the source, attached nowhere.
    unsafe fn take(&self) -> Result<c_int, ()> {
        if let Some(mount) = self.mount {
            return Ok(mount);
        }
        let recursive = if self.is_dir { libc::AT_RECURSIVE } else { 0 };
        let flags = (libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC).cast_signed()
            | libc::AT_SYMLINK_NOFOLLOW
            | recursive;
        // SAFETY: the string ends in NUL and lives; the stat buffer is this frame's.
        unsafe {
            let tree = libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, self.source.as_ptr(), flags);
            done(tree)?;
            let tree = c_int::try_from(tree).map_err(|_| ())?;
            if let Some(inode) = self.inode {
                let mut stat = MaybeUninit::<libc::stat>::uninit();
                done(c_long::from(libc::fstat(tree, stat.as_mut_ptr())))?;
                let stat = stat.assume_init();
                if (stat.st_dev, stat.st_ino) != inode {
                    *libc::__errno_location() = libc::ESTALE;
                    return Err(());
                }
            }
            if !self.writable {
                read_only(tree, self.is_dir)?;
            }
            Ok(tree)
        }
    }

    unsafe fn make_parents(&self, root: c_int) {
        for parent in &self.parents {
            // SAFETY: the string ends in NUL and lives. One that is there already is fine.
            unsafe { libc::mkdirat(root, parent.as_ptr(), 0o755) };
        }
    }

    /// Attaches the mount at its place.
    unsafe fn place(&self, root: c_int, tree: c_int) -> Result<(), ()> {
        // SAFETY: strings end in NUL and live. What cannot be made is there already, or attaching says that it is not.
        unsafe {
            self.make_parents(root);
            if self.is_dir {
                libc::mkdirat(root, self.place.as_ptr(), 0o755);
            } else {
                let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
                let fd = libc::openat(root, self.place.as_ptr(), flags, 0o600);
                if fd >= 0 {
                    libc::close(fd);
                }
            }
            let (none, flags) = (c"".as_ptr(), libc::MOVE_MOUNT_F_EMPTY_PATH);
            let moved =
                done(libc::syscall(libc::SYS_move_mount, tree, none, root, self.place.as_ptr(), flags));
            libc::close(tree);
            moved
        }
    }
}

unsafe fn read_only(mount: c_int, recursive: bool) -> Result<(), ()> {
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the structure is the kernel's, of the size that is told, and lives.
    unsafe {
        let (none, size) = (c"".as_ptr(), size_of::<libc::mount_attr>());
        done(libc::syscall(libc::SYS_mount_setattr, mount, none, flags, &raw const attr, size))
    }
}

fn done(result: c_long) -> Result<(), ()> {
    if result < 0 { Err(()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
