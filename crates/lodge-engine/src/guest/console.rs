//! Consoles and channels of a guest as streams of bytes, one holder each.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use lodge_domain::control::{Refusal, Sort};
use lodge_model::domain::Domain;
use lodge_model::domain::chardev::{CharDevice, CharKind};
use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::{Guest, Look};

/// A console or channel, open. It reads as ended when somebody took it over, or the guest is gone.
pub struct Terminal {
    line: Line,
    taken: oneshot::Receiver<()>,
}

enum Line {
    Pty { reader: pipe::Receiver, writer: pipe::Sender },
    Socket(UnixStream),
}

impl Guest {
    /// Opens a console: the one with this alias, or the first.
    #[crate::boxed]
    pub async fn open_console(&self, alias: Option<&str>, force: bool) -> Look<Terminal> {
        self.must_run()?;
        let document = self.document()?;
        let device = match alias {
            None => first_console(&document)
                .ok_or_else(|| Refusal::internal("cannot find default console device"))?,
            Some(alias) => by_alias(&document, alias)
                .ok_or_else(|| Refusal::internal(format!("cannot find character device {alias}")))?,
        };
        let path = device.source().and_then(|source| source.path.as_deref());
        let name = device.place.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
        let path = path.map(PathBuf::from).ok_or_else(|| {
            Refusal::internal(format!("character device {name} is not using a PTY or UNIX socket"))
        })?;
        self.open(&path, device.kind, force, "Active console session exists for this domain").await
    }

    /// Opens a channel: the one with this alias or name, or the first that is not the agent's.
    #[crate::boxed]
    pub async fn open_channel(&self, name: Option<&str>, force: bool) -> Look<Terminal> {
        self.must_run()?;
        let document = self.document()?;
        let is_agent = |channel: &CharDevice| channel.channel_name() == Some("org.qemu.guest_agent.0");
        let has_name = |channel: &CharDevice, name: &str| {
            channel.channel_name() == Some(name)
                || channel.place.alias.as_ref().is_some_and(|alias| alias.name == name)
        };
        let mut channels = document.devices.channels.iter().enumerate();
        let found = match name {
            Some(name) => channels.find(|(_, channel)| has_name(channel, name)),
            None => channels.find(|(_, channel)| !is_agent(channel)),
        };
        let (at, channel) = found.ok_or_else(|| match name {
            Some(name) => Refusal::internal(format!("cannot find channel {name}")),
            None => Refusal::internal("cannot find default channel device"),
        })?;
        let active = "Active channel session exists for this domain";
        if is_agent(channel) {
            // The daemon is connected to it, and QEMU serves one.
            return Err(Refusal::new(Sort::Failed, active));
        }
        let given = channel.source().and_then(|source| source.path.clone()).map(PathBuf::from);
        let path = match (given, channel.kind) {
            (Some(path), _) => path,
            (None, CharKind::Unix) => {
                self.engine.store.root().guest(self.snapshot.id.0).join(format!("channel{at}.sock"))
            }
            (None, kind) => {
                return Err(Refusal::internal(format!("channel of type {kind} is not using a UNIX socket")));
            }
        };
        self.open(&path, channel.kind, force, active).await
    }

    async fn open(&self, path: &Path, kind: CharKind, force: bool, active: &str) -> Look<Terminal> {
        let failed = |error: io::Error| {
            let text = format!("cannot open '{}': {}", path.display(), super::block::plain(&error));
            Refusal::new(Sort::System(error.raw_os_error().unwrap_or(0)), text)
        };
        let taken = self.engine.consoles.take(self.snapshot.id, path, force);
        let taken = taken.ok_or_else(|| Refusal::new(Sort::Failed, active))?;
        let line = if kind == CharKind::Unix {
            Line::Socket(lodge_qemu::connect(path).await.map_err(failed)?)
        } else {
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let fd: OwnedFd =
                rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
            // What these check is that it is a pipe; a terminal is polled alike.
            let writer =
                pipe::Sender::from_owned_fd_unchecked(fd.try_clone().map_err(failed)?).map_err(failed)?;
            let reader = pipe::Receiver::from_owned_fd_unchecked(fd).map_err(failed)?;
            Line::Pty { reader, writer }
        };
        Ok(Terminal { line, taken })
    }
}

fn first_console(document: &Domain) -> Option<&CharDevice> {
    document.devices.consoles.first().or_else(|| document.devices.serials.first())
}

fn by_alias<'a>(document: &'a Domain, alias: &str) -> Option<&'a CharDevice> {
    let devices = &document.devices;
    let all = devices.consoles.iter().chain(&devices.serials).chain(&devices.parallels);
    all.into_iter().find(|device| device.place.alias.as_ref().is_some_and(|known| known.name == alias))
}

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if Pin::new(&mut this.taken).poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let read = match &mut this.line {
            Line::Pty { reader, .. } => Pin::new(reader).poll_read(context, into),
            Line::Socket(socket) => Pin::new(socket).poll_read(context, into),
        };
        match read {
            // A terminal whose other end is gone says so by this.
            Poll::Ready(Err(error)) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                Poll::Ready(Ok(()))
            }
            read => read,
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().line {
            Line::Pty { writer, .. } => Pin::new(writer).poll_write(context, bytes),
            Line::Socket(socket) => Pin::new(socket).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().line {
            Line::Pty { writer, .. } => Pin::new(writer).poll_flush(context),
            Line::Socket(socket) => Pin::new(socket).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().line {
            // Closing one end of a terminal closes both.
            Line::Pty { .. } => Poll::Ready(Ok(())),
            Line::Socket(socket) => Pin::new(socket).poll_shutdown(context),
        }
    }
}
