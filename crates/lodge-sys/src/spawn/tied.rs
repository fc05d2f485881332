//! A program that ends with whoever waits for it: a tool at work on something for a while.
//!
//! The kernel ends a jailed program with the *thread* that started it. So one thread starts it and stays until it has
//! ended, and the async side holds a [`Tied`], which ends the program when it is dropped.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    runtime::Handle,
    sync::oneshot,
    task::JoinHandle,
};

use super::{Command, SpawnError};
use crate::process::{Ending, Process};

const PIECE_BYTES: usize = 16 << 10;

/// A running program, ended when this is dropped.
#[derive(Debug)]
pub struct Tied {
    process: Guard,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Guard(Process);

impl Drop for Guard {
    fn drop(&mut self) {
        // It has ended, as a rule.
        if let Err(error) = self.0.kill() {
            tracing::warn!(%error, "tool not ended");
        }
    }
}

impl Command {
    /// Starts it. The answer ends it when it is dropped; so does dropping this future.
    pub async fn spawn_tied(self) -> Result<Tied, SpawnError> {
        let program = self.program.clone();
        let (begun, process) = oneshot::channel();
        let runtime = Handle::current();
        let thread = tokio::task::spawn_blocking(move || {
            let process = match self.spawn() {
                Ok(process) => process,
                Err(error) => return drop(begun.send(Err(error))),
            };
            let ended = process.clone();
            // If nobody listens any more it comes back, and is killed; it is waited for all the same.
            drop(begun.send(Ok(Guard(process))));
            drop(runtime.block_on(ended.ended()));
        });
        let broke = |error| SpawnError::Prepare { program, source: io::Error::other(error) };
        let process = process.await.map_err(broke)??;
        Ok(Tied { process, thread })
    }
}

impl Tied {
    /// Waits until it has ended, and its thread too.
    pub async fn ended(self) -> io::Result<Ending> {
        let ending = self.process.0.ended().await?;
        drop(self.thread.await);
        Ok(ending)
    }
}

/// The last bytes of what somebody says, once all of it is said.
pub async fn last_words(mut from: impl AsyncRead + Unpin, most: usize) -> io::Result<Vec<u8>> {
    let (mut last, mut piece) = (Vec::new(), vec![0; PIECE_BYTES]);
    loop {
        let count = from.read(&mut piece).await?;
        if count == 0 {
            return Ok(last);
        }
        last.extend_from_slice(&piece[..count]);
        last.drain(..last.len().saturating_sub(most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_is_waited_for_or_ended() {
        let program = crate::tool::find("sleep").unwrap();
        let mut short = Command::new(&program);
        short.arg("0");
        let ending = short.spawn_tied().await.unwrap().ended().await.unwrap();
        assert!(matches!(ending, Ending::Status(status) if status.success()), "{ending:?}");
        let mut long = Command::new(program);
        long.arg("600");
        let tied = long.spawn_tied().await.unwrap();
        let process = tied.process.0.clone();
        drop(tied);
        assert!(matches!(process.ended().await.unwrap(), Ending::Status(status) if !status.success()));
        assert!(Command::new("/nothing").spawn_tied().await.is_err());
    }

    #[tokio::test]
    async fn only_the_last_words_are_kept() {
        let said = [vec![b'a'; 100_000], b"the end".to_vec()].concat();
        assert_eq!(last_words(&said[..], 7).await.unwrap(), b"the end");
        assert_eq!(last_words(&b"ab"[..], 7).await.unwrap(), b"ab");
    }
}
