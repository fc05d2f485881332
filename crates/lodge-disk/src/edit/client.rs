//! The daemon's side: starts the confined process, runs the tools that it asks for, waits for its word.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as Socket},
    path::PathBuf,
    time::Duration,
};

use lodge_model::guest_disk::Edit;
use lodge_sys::{
    fuse::{self, Unplaced},
    process::Process,
    spawn::Command,
};
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use super::{
    Outcome,
    error::EditError,
    jail,
    tool::{Act, Said},
    wire::{self, Ask, FRAME_MAX_BYTES, Order},
    worker::{DiskSetup, Setup},
};
use crate::source::DiskImage;

/// A tool works on a few megabytes; a check of a large file system reads all its tables.
const TOOL_TIME: Duration = Duration::from_mins(5);
/// All of an edit.
const EDIT_TIME: Duration = Duration::from_mins(15);

/// Whoever can edit disks on this host.
#[derive(Debug, Clone)]
pub struct Editor {
    /// The program that becomes [`run`](super::worker_main) when started with `args` and one more.
    pub program: PathBuf,
    /// Usually [`WORKER_ARGUMENT`](super::WORKER_ARGUMENT) alone.
    pub args: Vec<String>,
    /// An empty directory: all that the process sees of the host.
    pub empty_root: PathBuf,
    /// The user that the process runs as. Not root's.
    pub user: u32,
}

/// What became of a redo log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovered {
    /// It was whole: the disks now have all of the edit.
    Applied,
    /// It was not: the disks were never touched.
    Dropped,
}

impl Editor {
    /// Carries edits out: all of them, each read back, or the images are untouched.
    ///
    /// Whatever lock keeps others from these images must be on the descriptors that are handed over, so that it lasts
    /// as long as the process that writes. Without `log` a crash in the last moment, when the images are written, leaves
    /// a disk that is to be thrown away: right for a clone in the making. With it, what is in the log is applied by
    /// [`recover`](Self::recover) after a crash; the file and its name are durable before, and removed after.
    pub async fn edit(
        &self,
        disks: Vec<DiskImage>,
        edits: Vec<Edit>,
        log: Option<File>,
    ) -> Result<Vec<Outcome>, EditError> {
        self.order(disks, log, Order::Edit(edits)).await
    }

    /// After a crash: applies a log that is whole. The log is not needed any more then, whatever the answer.
    pub async fn recover(&self, disks: Vec<DiskImage>, log: File) -> Result<Recovered, EditError> {
        let outcomes = self.order(disks, Some(log), Order::Recover).await?;
        Ok(if outcomes.is_empty() { Recovered::Dropped } else { Recovered::Applied })
    }

    async fn order(
        &self,
        disks: Vec<DiskImage>,
        log: Option<File>,
        order: Order,
    ) -> Result<Vec<Outcome>, EditError> {
        let (ours, theirs) = Socket::pair().map_err(|error| lost(&error))?;
        let (command, setup) = self.command(disks, log, theirs);
        let process = tokio::task::spawn_blocking(move || command.spawn());
        let process = process.await.map_err(|error| ended(error.to_string()))?;
        let process = Running(process.map_err(|error| ended(format!("does not start: {error}")))?);
        ours.set_nonblocking(true).map_err(|error| lost(&error))?;
        let mut socket = UnixStream::from_std(ours).map_err(|error| lost(&error))?;
        let talk = talk(&mut socket, &setup, &order);
        let outcome = tokio::time::timeout(EDIT_TIME, talk).await;
        // Its last word said it ends by itself; otherwise it is ended here. Either way nobody writes when this returns.
        drop(socket);
        if !matches!(outcome, Ok(Ok(_))) {
            process.0.kill().map_err(|error| lost(&error))?;
        }
        process.0.ended().await.map_err(|error| lost(&error))?;
        outcome.map_err(|_| ended(format!("was not done in {} s", EDIT_TIME.as_secs())))??
    }

    fn command(&self, disks: Vec<DiskImage>, log: Option<File>, socket: Socket) -> (Command, Setup) {
        let mut command = Command::new(&self.program);
        let socket = command.fd(OwnedFd::from(socket));
        command.args(&self.args).arg(socket.to_string());
        let mut setup = Setup { disks: Vec::new(), log: None, root: self.empty_root.clone(), id: self.user };
        setup.log = log.map(|log| command.fd(log.into()));
        for DiskImage { name, layers, writable } in disks {
            let layers =
                layers.into_iter().map(|layer| (command.fd(layer.file.into()), layer.format)).collect();
            setup.disks.push(DiskSetup { name, writable, layers });
        }
        (command, setup)
    }
}

/// The process, which does not outlive a future that is dropped.
struct Running(Process);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, as a rule.
        let _ = self.0.kill();
    }
}

/// The outer error: the process did not keep to what is said.
async fn talk(
    socket: &mut UnixStream,
    setup: &Setup,
    order: &Order,
) -> Result<Result<Vec<Outcome>, EditError>, EditError> {
    for frame in [wire::frame(setup), wire::frame(order)] {
        let frame = frame.map_err(|error| lost(&error))?;
        // One that ends before it has heard all has said why.
        if socket.write_all(&frame).await.is_err() {
            break;
        }
    }
    loop {
        match hear(socket).await? {
            Ask::Done(outcome) => return Ok(outcome),
            Ask::Tool(act) => {
                let said = tool(socket, &act).await?;
                let frame = wire::frame(&said).map_err(|error| lost(&error))?;
                // One that ended meanwhile has said why, and that is heard next.
                let _ = socket.write_all(&frame).await;
            }
        }
    }
}

/// Runs a tool on a view that the process serves.
async fn tool(socket: &UnixStream, act: &Act) -> Result<Result<Said, EditError>, EditError> {
    match fuse::mount() {
        Ok(Unplaced { connection, mount }) => {
            wire::hand_over(socket, Some(&connection)).map_err(|error| lost(&error))?;
            // The process's alone: when it ends, the tool gets an error instead of waiting.
            drop(connection);
            Ok(jail::run(act, mount, TOOL_TIME).await)
        }
        Err(error) => {
            wire::hand_over(socket, None::<&OwnedFd>).map_err(|error| lost(&error))?;
            Ok(Err(EditError::NoFuse { why: error.to_string() }))
        }
    }
}

async fn hear<T: DeserializeOwned>(socket: &mut UnixStream) -> Result<T, EditError> {
    let length = socket.read_u32_le().await.map_err(|error| lost(&error))?;
    if length > FRAME_MAX_BYTES {
        return Err(ended("says more than anybody reads".to_owned()));
    }
    let mut bytes = Vec::new();
    let read = socket.take(u64::from(length)).read_to_end(&mut bytes).await;
    read.map_err(|error| lost(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| ended(format!("says what nobody understands: {error}")))
}

fn lost(error: &io::Error) -> EditError {
    let why = match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            "ended without a word".to_owned()
        }
        _ => format!("is out of reach: {error}"),
    };
    ended(why)
}

fn ended(why: String) -> EditError {
    EditError::Worker { why }
}
