//! Unix sockets by path, however long the path.
//!
//! A socket's address holds 107 bytes, and a guest's directory under some `--root` may be longer. So a socket is
//! reached through its directory's descriptor: `/proc/self/fd/N/NAME`, see unix(7).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use tokio::net::UnixStream;

/// Connects to the socket at `path`.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let (_directory, short) = shorten(path)?;
    UnixStream::connect(short).await
}

/// The same on a thread that must not wait: whoever listens at `path` takes the connection now, or it fails.
pub fn connect_now(path: &Path) -> io::Result<std::os::unix::net::UnixStream> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
    let (_directory, short) = shorten(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(&short)?)?;
    let socket = std::os::unix::net::UnixStream::from(socket);
    socket.set_nonblocking(false)?;
    Ok(socket)
}

/// Makes a listening socket at `path` in place of a socket that may be there, for its owner only.
///
/// It is nobody's yet: it goes to a QEMU as a descriptor, so a client may connect before QEMU has come that far.
pub fn listen(path: &Path) -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (_directory, short) = shorten(path)?;
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(&short)?)?;
    rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
    rustix::net::listen(&socket, 8)?;
    Ok(socket)
}

/// A name for `path` that fits an address, good as long as the descriptor is.
fn shorten(path: &Path) -> io::Result<(Option<OwnedFd>, PathBuf)> {
    const LONGEST: usize = 107;
    if path.as_os_str().len() <= LONGEST {
        return Ok((None, path.to_owned()));
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let directory = open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok((Some(directory), short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_path_listens_and_connects() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("x".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let path = deep.join("monitor.sock");
        assert!(connect(&path).await.is_err());
        let first = listen(&path).unwrap();
        connect(&path).await.unwrap();
        drop(first);
        let _second = listen(&path).unwrap();
        connect(&path).await.unwrap();
    }
}
