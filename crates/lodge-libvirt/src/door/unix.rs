//! Sockets in the file system: their names, modes and groups, and whose they are.
//!
//! A socket takes its name only when its mode and group are set. One that a dead daemon left is replaced; one that
//! somebody listens on (a running libvirtd, systemd for it) is refused with that program's name.

use std::fs::Permissions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lodge_model::Kind;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;

/// A socket under a name. The name goes when this is dropped, unless another daemon has taken it.
#[derive(Debug)]
pub struct Named {
    /// What is accepted from.
    pub listener: UnixListener,
    path: PathBuf,
    inode: Option<u64>,
}

/// Why a socket is not there.
#[derive(Debug, thiserror::Error)]
pub enum UnixError {
    /// Its directory is missing and cannot be made.
    #[error("cannot make the directory `{}`", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else serves it.
    #[error("`{}` is served by another program: {program}", path.display())]
    Taken {
        /// The socket.
        path: PathBuf,
        /// Its name and number.
        program: String,
    },
    /// It cannot be made.
    #[error("cannot listen on `{}`", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is there, but its mode or group cannot be set.
    #[error("cannot set who may use `{}`", path.display())]
    Guard {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no such group.
    #[error("there is no group `{0}`, which the sockets are to belong to")]
    NoGroup(String),
}

impl UnixError {
    /// The sort.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Taken { .. } => Kind::Conflict,
            Self::NoGroup(_) => Kind::InvalidInput,
            Self::Directory { source, .. } | Self::Listen { source, .. } | Self::Guard { source, .. } => {
                match source.kind() {
                    io::ErrorKind::PermissionDenied => Kind::Denied,
                    io::ErrorKind::InvalidInput => Kind::InvalidInput,
                    _ => Kind::Internal,
                }
            }
        }
    }

    /// What to do next, where something can be done.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Taken { .. } => Some(
                "stop it first (systemctl stop libvirtd.service 'libvirtd*.socket' 'virt*d.socket'), or give this \
                 daemon a --root of its own",
            ),
            Self::NoGroup(_) => Some("make the group (groupadd --system NAME), or correct unix_sock_group"),
            // sockaddr_un has room for 107 bytes (unix(7)).
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::InvalidInput => {
                Some("a socket's path has at most 107 bytes: choose a shorter --root")
            }
            _ => None,
        }
    }
}

impl Named {
    /// Listens at `path` with `mode` and, if one is given, `group`; `queued` connections may wait.
    pub fn bind(path: &Path, mode: u32, group: Option<u32>, queued: u32) -> Result<Self, UnixError> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(directory)
            .map_err(|source| UnixError::Directory { path: directory.to_owned(), source })?;
        if let Some(program) = server_of(path) {
            return Err(UnixError::Taken { path: path.to_owned(), program });
        }
        let of = |source| UnixError::Listen { path: path.to_owned(), source };
        // A path of the wanted length is tried, so that the error is about the name and not about the work's.
        SocketAddrUnix::new(path).map_err(|errno| of(errno.into()))?;
        let unnamed = directory.join(".new");
        match std::fs::remove_file(&unnamed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(of(error)),
            _ => {}
        }
        let socket = listen(&unnamed, queued).map_err(of)?;
        let named = std::fs::set_permissions(&unnamed, Permissions::from_mode(mode))
            .and_then(|()| std::os::unix::fs::chown(&unnamed, None, group))
            .map_err(|source| UnixError::Guard { path: path.to_owned(), source })
            .and_then(|()| std::fs::rename(&unnamed, path).map_err(of))
            .and_then(|()| std::fs::metadata(path).map_err(of))
            .and_then(|metadata| Ok((metadata.ino(), UnixListener::from_std(socket.into()).map_err(of)?)));
        match named {
            Ok((inode, listener)) => Ok(Self { listener, path: path.to_owned(), inode: Some(inode) }),
            Err(error) => {
                drop(std::fs::remove_file(&unnamed));
                Err(error)
            }
        }
    }

    /// One that systemd opened; its name in the file system is systemd's.
    pub fn handed(name: &str, socket: OwnedFd) -> Result<Self, UnixError> {
        let path = PathBuf::from(name);
        let of = |source| UnixError::Listen { path: path.clone(), source };
        let socket = std::os::unix::net::UnixListener::from(socket);
        socket.set_nonblocking(true).map_err(of)?;
        let path =
            match socket.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned)) {
                Some(path) => path,
                None => path.clone(),
            };
        let listener = UnixListener::from_std(socket).map_err(of)?;
        Ok(Self { listener, path, inode: None })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let ours = |inode| std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.ino() == inode);
        if self.inode.is_some_and(ours) {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// Neither the standard library nor tokio lets one choose the length of the queue.
fn listen(path: &Path, queued: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Nobody may knock before the mode is set: the name is not yet the one that clients know.
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, i32::try_from(queued).unwrap_or(i32::MAX))?;
    Ok(socket)
}

/// Who listens there, for people; none if nobody does.
fn server_of(path: &Path) -> Option<String> {
    let peer = std::os::unix::net::UnixStream::connect(path).ok()?;
    let Ok(credentials) = rustix::net::sockopt::socket_peercred(&peer) else {
        return Some("unknown".to_owned());
    };
    let pid = credentials.pid.as_raw_nonzero();
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_else(|_| "unknown".to_owned());
    Some(format!("{} (pid {pid})", name.trim_end()))
}

/// Whether a program is one of libvirt's daemons, by its name.
pub fn is_libvirts(program: &str) -> bool {
    let name = program.split(' ').next().unwrap_or_default();
    name == "libvirtd" || (name.starts_with("virt") && name.ends_with('d'))
}

/// A group's number.
pub fn group_number(name: &str) -> Result<u32, UnixError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    match nix::unistd::Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => Err(UnixError::NoGroup(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_daemons_socket_is_replaced_and_a_living_ones_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/libvirt-sock");
        std::fs::create_dir(directory.path().join("run")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let living = Named::bind(&path, 0o770, None, 10).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o770);
        let error = Named::bind(&path, 0o770, None, 10).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.to_string().contains(&format!("(pid {})", std::process::id())), "{error}");
        drop(living);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_name_that_another_daemon_took_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("libvirt-sock");
        let first = Named::bind(&path, 0o700, None, 10).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _second = Named::bind(&path, 0o700, None, 10).unwrap();
        drop(first);
        assert!(path.exists());
    }

    #[test]
    fn a_group_that_is_not_there_is_named() {
        let error = group_number("no-such-group-here").unwrap_err();
        assert!(error.to_string().contains("no-such-group-here"));
        assert_eq!(group_number("0").unwrap(), 0);
    }
}
