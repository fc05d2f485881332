#![expect(unsafe_code, reason = "UNSAFETY: tokio asks for a promise about the descriptor")]
//! A UNIX stream socket that is woken by what comes in, and by room to write only while it waits for that.
//!
//! tokio's own stream waits for both at all times. A peer that reads an answer makes room, so each call of a client
//! would wake the daemon twice: once for the room that nobody waits for, once for the next call.
//!
//! A socket that was full once is given more room: the peer then has something to read while the daemon is woken for
//! the room that it made.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll, ready};

use rustix::net::sockopt;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What a socket that was full may hold, where the host lets it: several of a stream's packets.
const ROOM_BYTES: usize = 1 << 20;

/// So many writes in a row that found room, and room is not waited for any more.
const WRITES_WITHOUT_WAIT: u8 = 8;

/// One end of a connection.
#[derive(Debug)]
pub struct LocalSocket {
    socket: AsyncFd<UnixStream>,
    /// A second descriptor of the socket, there while writes wait for room: epoll takes one registration each.
    room: Option<AsyncFd<OwnedFd>>,
    /// Writes that found room since one waited.
    found_room: u8,
    is_wide: bool,
}

impl LocalSocket {
    /// Takes a connected socket over.
    pub fn of(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // SAFETY: a `UnixStream` keeps one number, and is closed only when the `AsyncFd` that owns it drops it.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { socket, room: None, found_room: 0, is_wide: false })
    }

    /// Waits until there may be something to read and reads once with `act`. `act` also says whether it emptied the
    /// socket: known so, the read that would find nothing is saved, and what arrives in between is not missed.
    pub fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut act: impl FnMut(&UnixStream) -> io::Result<(T, bool)>,
    ) -> Poll<io::Result<T>> {
        loop {
            // Taken before the read: only news up to here is put away by it.
            let mut news = ready!(self.socket.poll_read_ready(cx))?;
            match act(news.get_inner()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => news.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok((got, emptied)) => {
                    if emptied {
                        news.clear_ready();
                    }
                    return Poll::Ready(Ok(got));
                }
            }
        }
    }

    /// Reads once with `act` what is there already; none: nothing is.
    pub fn read_now<T>(&self, act: impl FnOnce(&UnixStream) -> io::Result<T>) -> Option<io::Result<T>> {
        match act(self.socket.get_ref()) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                None
            }
            outcome => Some(outcome),
        }
    }

    /// Writes once with `act`, at once if there is room.
    pub fn poll_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut act: impl FnMut(&UnixStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match act(self.socket.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => {
                    // A stream's next packet will wait, too: to register and to forget costs as much as to write.
                    if self.room.is_some() && self.found_room >= WRITES_WITHOUT_WAIT {
                        self.room = None;
                    }
                    self.found_room = self.found_room.saturating_add(1);
                    return Poll::Ready(outcome);
                }
            }
            if !self.is_wide {
                self.is_wide = true;
                hold_more(self.socket.get_ref());
                continue;
            }
            self.found_room = 0;
            let room = if let Some(room) = &self.room {
                room
            } else {
                let second = self.socket.get_ref().as_fd().try_clone_to_owned()?;
                // SAFETY: an `OwnedFd` keeps one number, and is closed only when the `AsyncFd` that owns it drops it.
                let room = unsafe { AsyncFd::register_with_interest(second, Interest::WRITABLE) }?;
                self.room.insert(room)
            };
            // Room may have come since the write: the fresh registration tells of it, and a kept one is put away
            // only here, before the next try.
            ready!(room.poll_write_ready(cx))?.clear_ready();
        }
    }
}

/// Lets a socket hold more of what its peer has not read yet, as far as the host allows.
pub fn hold_more(socket: &impl AsFd) {
    // Beyond the host's `wmem_max` only where this process may; it is a wish either way.
    if sockopt::set_socket_send_buffer_size_force(socket, ROOM_BYTES).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(socket, ROOM_BYTES);
    }
}

impl AsFd for LocalSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};

    use super::*;

    fn pair() -> (LocalSocket, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (LocalSocket::of(ours).unwrap(), theirs)
    }

    /// A read of at most four bytes; a short one has emptied the socket.
    fn read(mut socket: &UnixStream) -> io::Result<(Vec<u8>, bool)> {
        let mut buffer = [0; 4];
        let count = socket.read(&mut buffer)?;
        Ok((buffer[..count].to_vec(), count > 0 && count < buffer.len()))
    }

    #[tokio::test]
    async fn what_arrives_is_read_piece_by_piece_and_the_end_is_told() {
        let (mut ours, mut theirs) = pair();
        theirs.write_all(b"sixsix").unwrap();
        assert_eq!(poll_fn(|cx| ours.poll_read(cx, read)).await.unwrap(), b"sixs");
        assert_eq!(poll_fn(|cx| ours.poll_read(cx, read)).await.unwrap(), b"ix");
        let later = tokio::task::spawn_blocking(move || theirs.write_all(b"on").map(|()| theirs));
        assert_eq!(poll_fn(|cx| ours.poll_read(cx, read)).await.unwrap(), b"on");
        drop(later.await.unwrap().unwrap());
        assert_eq!(poll_fn(|cx| ours.poll_read(cx, read)).await.unwrap(), b"");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_socket_is_written_on_as_the_peer_reads() {
        let (mut ours, mut theirs) = pair();
        let all: Vec<u8> = (0..4_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let expected = all.clone();
        let reader = tokio::task::spawn_blocking(move || {
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).map(|_| got)
        });
        let mut sent = 0;
        while sent < all.len() {
            sent += poll_fn(|cx| ours.poll_write(cx, |mut socket| socket.write(&all[sent..]))).await.unwrap();
        }
        assert!(ours.is_wide);
        let mut small = 0;
        while ours.room.is_some() {
            small += poll_fn(|cx| ours.poll_write(cx, |mut socket| socket.write(b"x"))).await.unwrap();
            assert!(small < 1_000_000, "nobody waits for room any more");
        }
        drop(ours);
        assert!(reader.await.unwrap().unwrap() == [expected, vec![b'x'; small]].concat());
    }

    #[tokio::test]
    async fn what_is_there_is_read_without_waiting() {
        let (mut ours, mut theirs) = pair();
        assert!(ours.read_now(read).is_none());
        theirs.write_all(b"six").unwrap();
        assert_eq!(ours.read_now(read).unwrap().unwrap().0, b"six");
        assert!(ours.read_now(read).is_none());
        // What was read so is no news, and what comes then is.
        theirs.write_all(b"on").unwrap();
        assert_eq!(poll_fn(|cx| ours.poll_read(cx, read)).await.unwrap(), b"on");
        drop(theirs);
        assert_eq!(ours.read_now(read).unwrap().unwrap().0, b"");
    }

    #[tokio::test]
    async fn a_peer_that_is_gone_ends_a_write() {
        let (mut ours, theirs) = pair();
        drop(theirs);
        let outcome = poll_fn(|cx| ours.poll_write(cx, |mut socket| socket.write(b"x"))).await;
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
