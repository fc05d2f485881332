//! The UNIX sockets that local clients look for. Simple: no login, no activation; the doors proper replace it.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::UnixListener;

use crate::door::Door;
use crate::server::Server;

/// The names that clients with and without modular daemons look for first.
const SOCKETS: &[(&str, bool)] = &[
    ("libvirt-sock", false),
    ("libvirt-sock-ro", true),
    ("virtqemud-sock", false),
    ("virtqemud-sock-ro", true),
];

/// A socket that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{}`", path.display())]
pub struct ListenError {
    path: PathBuf,
    source: io::Error,
}

/// Listens on libvirt's local sockets until the front closes.
pub fn listen(server: &Arc<Server>) -> Result<(), ListenError> {
    for (name, read_only) in SOCKETS {
        let path = server.engine().libvirt_socket(name);
        let listener = bind(&path).map_err(|source| ListenError { path: path.clone(), source })?;
        tracing::info!(socket = %path.display(), read_only, "libvirt front listens");
        server.tasks().spawn(accept(Arc::clone(server), listener, path, *read_only));
    }
    Ok(())
}

fn bind(path: &std::path::Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(listener)
}

async fn accept(server: Arc<Server>, listener: UnixListener, path: PathBuf, read_only: bool) {
    loop {
        let accepted = tokio::select! {
            () = server.closing().cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(stream, _)| stream.peer_cred().map(|peer| (stream, peer))) {
            Ok((stream, peer)) => {
                let door = Door::local(peer.uid(), peer.gid(), peer.pid(), read_only);
                server.tasks().spawn(Arc::clone(&server).serve_connection(stream, door));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::debug!(socket = %path.display(), %error, "socket not removed");
    }
}
