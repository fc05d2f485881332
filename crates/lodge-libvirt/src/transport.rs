//! What carries a connection's bytes: a UNIX socket, which carries descriptors too, or any other stream.
//!
//! Descriptors: libvirt sends each with a byte of its own behind the message. The kernel ends a read at the last byte
//! that came with descriptors (unix(7): ancillary data is a barrier), so a whole buffer can be read at once and each
//! descriptor still belongs to the last byte of its read.

use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lodge_sys::local::LocalSocket;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// The kernel gives no more descriptors with one read (`SCM_MAX_FD`).
const FDS_PER_READ: usize = 253;

/// A connection's two directions.
pub trait Transport: Send + 'static {
    /// Reads into `buffer`. Descriptors that came with the last byte read are added to `fds`. 0 is the end.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        fds: &mut Vec<OwnedFd>,
    ) -> Poll<io::Result<usize>>;

    /// Whether [`Transport::read_now`] can tell what is there.
    fn tells_now(&self) -> bool {
        false
    }

    /// Reads what is there already, without being woken for what is not; none: nothing is.
    fn read_now(&mut self, _: &mut [u8], _: &mut Vec<OwnedFd>) -> Option<io::Result<usize>> {
        None
    }

    /// Writes some of `parts`, the first first.
    fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// Sends what a layer above the socket still holds.
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Sends one descriptor with one byte.
    fn poll_send_fd(&mut self, _: &mut Context<'_>, _: BorrowedFd<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    /// Resolves when the peer has gone though there may be something to read. Asked for only while nothing is read.
    fn gone(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

impl Transport for LocalSocket {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        fds: &mut Vec<OwnedFd>,
    ) -> Poll<io::Result<usize>> {
        LocalSocket::poll_read(self, cx, |socket| {
            let (count, plain) = receive(socket, buffer, fds)?;
            // A short read has emptied the socket, unless it ended at descriptors.
            Ok((count, plain && count > 0 && count < buffer.len()))
        })
    }

    fn tells_now(&self) -> bool {
        true
    }

    fn read_now(&mut self, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> Option<io::Result<usize>> {
        LocalSocket::read_now(self, |socket| receive(socket, buffer, fds).map(|(count, _)| count))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        LocalSocket::poll_write(self, cx, |mut socket| socket.write_vectored(parts))
    }

    fn poll_send_fd(&mut self, cx: &mut Context<'_>, fd: BorrowedFd<'_>) -> Poll<io::Result<()>> {
        LocalSocket::poll_write(self, cx, |socket| send_fd(socket, fd))
    }

    fn gone(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        // The kernel tells a hang-up to a second descriptor of the socket, too.
        let second = self.as_fd().try_clone_to_owned().map(std::os::unix::net::UnixStream::from);
        let second = second.and_then(tokio::net::UnixStream::from_std);
        Box::pin(async move {
            let Ok(second) = second else { return std::future::pending().await };
            while let Ok(ready) = second.ready(Interest::WRITABLE).await {
                // A hang-up ends writing, too.
                if ready.is_write_closed() {
                    return;
                }
                // Room to write is no news: it is put away until it is news again.
                let _ = second.try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
            }
        })
    }
}

/// One read; also says whether it came without descriptors.
fn receive(socket: &UnixStream, buffer: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<(usize, bool)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_READ))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(buffer)];
    let got = rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let before = fds.len();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    Ok((got.bytes, fds.len() == before))
}

fn send_fd(socket: &UnixStream, fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    rustix::net::sendmsg(socket, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Any other stream: TCP, TLS, a pipe of a test. No descriptors.
#[derive(Debug)]
pub struct Plain<T>(pub T);

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for Plain<T> {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        _: &mut Vec<OwnedFd>,
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, parts)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
}
