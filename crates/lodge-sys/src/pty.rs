#![expect(unsafe_code, reason = "UNSAFETY: tokio asks for a promise about the descriptor")]
//! A pty as an asynchronous byte stream.
//!
//! Polled, not read by a thread of tokio's pool: a thread that sits in `read` cannot be called off, and would
//! take the next reader's first bytes.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, isatty, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One end of a pty. Reads to the end when the other end was closed.
#[derive(Debug)]
pub struct Pty {
    file: AsyncFd<File>,
}

impl Pty {
    /// Takes the descriptor over; a terminal is made raw, so that every byte goes through as it is.
    pub fn of(end: OwnedFd) -> io::Result<Self> {
        if isatty(&end) {
            let mut modes = tcgetattr(&end)?;
            modes.make_raw();
            tcsetattr(&end, OptionalActions::Now, &modes)?;
        }
        fcntl_setfl(&end, fcntl_getfl(&end)? | OFlags::NONBLOCK)?;
        // SAFETY: a `File` keeps one number, and is closed only when the `AsyncFd` that owns it drops it.
        let file = unsafe { AsyncFd::register(File::from(end)) }?;
        Ok(Self { file })
    }
}

impl AsyncRead for Pty {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.file.poll_read_ready(cx))?;
            match ready.try_io(|file| file.get_ref().read(buf.initialize_unfilled())) {
                Ok(Ok(taken)) => {
                    buf.advance(taken);
                    return Poll::Ready(Ok(()));
                }
                // A pty whose other end was closed (pty(7)).
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Pty {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.file.poll_write_ready(cx))?;
            match ready.try_io(|file| file.get_ref().write(bytes)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(outcome) => return Poll::Ready(outcome),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::fs::{Mode, open};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pair() -> (Pty, Pty) {
        let guest = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&guest).unwrap();
        unlockpt(&guest).unwrap();
        let name = ptsname(&guest, Vec::new()).unwrap();
        let host = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        (Pty::of(guest).unwrap(), Pty::of(host).unwrap())
    }

    #[tokio::test]
    async fn every_byte_goes_through_as_it_is_and_the_end_is_told() {
        let (mut guest, mut host) = pair();
        let all: Vec<u8> = (0..=255).collect();
        guest.write_all(&all).await.unwrap();
        let mut got = vec![0; all.len()];
        host.read_exact(&mut got).await.unwrap();
        assert_eq!(got, all);
        host.write_all(&all).await.unwrap();
        guest.read_exact(&mut got).await.unwrap();
        assert_eq!(got, all);
        drop(guest);
        let mut rest = Vec::new();
        tokio::time::timeout(Duration::from_secs(10), host.read_to_end(&mut rest)).await.unwrap().unwrap();
        assert!(rest.is_empty());
    }

    #[tokio::test]
    async fn a_reader_called_off_takes_no_byte_with_it() {
        let (mut guest, mut host) = pair();
        let mut byte = [0];
        assert!(tokio::time::timeout(Duration::from_millis(20), host.read(&mut byte)).await.is_err());
        guest.write_all(b"x").await.unwrap();
        host.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"x");
    }
}
