//! Guests' disks read by a confined process of this program.
//!
//! ```text
//!  daemon: opens the images ──▶ worker: takes them over ──▶ sandbox closes ──▶ answers until the daemon hangs up
//!           (descriptors, read-only)                     (own user, empty root, no call that opens)
//! ```
//! One worker is for one guest: what takes it over by a hostile disk sees that guest's disks and nothing else. It
//! answers many requests, one at a time. One that ends, or does not answer in time, is an error that says so; it is
//! killed when its [`Worker`] is dropped.
//! Deliberately absent: which images a guest has, and who may read them (`lodge-engine`).

mod protocol;
mod serve;

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as Pair},
    path::PathBuf,
    time::Duration,
};

use lodge_model::{
    Kind,
    guest_disk::{Archive, FilePath, Files, Gap, Layout, Wanted},
};
use lodge_sys::{
    process::{Ending, Process},
    spawn::{Command, SpawnError},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use self::protocol::{Answer, DiskSetup, LayerSetup, Limits, Request, Setup};
pub use self::{protocol::Listed, serve::main};
use crate::source::DiskImage;

/// What this program is called with, to be a worker.
pub const ARGUMENT: &str = "disk-worker";

/// Longest wait for one answer, usually: a large tree in a slow chain.
pub const ANSWER: Duration = Duration::from_mins(1);

/// How a worker is started.
#[derive(Debug, Clone)]
pub struct WorkerProgram {
    /// This program.
    pub program: PathBuf,
    /// An empty directory, made if it is missing: all the worker sees of the file system.
    pub root: PathBuf,
    /// The user it runs as, when started by root.
    pub id: u32,
    /// How long an answer may take; then the worker is ended.
    pub patience: Duration,
}

/// A running worker with its guest's disks.
#[derive(Debug)]
pub struct Worker {
    stream: UnixStream,
    process: Process,
    patience: Duration,
    /// An answer is due: a caller who did not wait for it left the stream in the middle of something.
    is_waiting: bool,
}

/// What is on a guest's disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disks {
    /// The devices, with the guest's own mount points.
    pub layout: Layout,
    /// What could not be read.
    pub gaps: Vec<Gap>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It could not be given what it needs.
    #[error("cannot prepare the reader of guests' disks")]
    Prepare(#[source] io::Error),
    /// It did not start.
    #[error("cannot start the reader of guests' disks")]
    Start(#[source] SpawnError),
    /// It ended in the middle of something.
    #[error(
        "the reader of guests' disks ended ({how}) while it {act}: the disk is damaged, or made to do harm"
    )]
    Died {
        /// What was asked.
        act: &'static str,
        /// Its exit status or signal.
        how: String,
    },
    /// It did not answer in time and was killed.
    #[error(
        "the reader of guests' disks did not answer in {seconds} s while it {act}, and was ended: the disk is damaged, made to do harm, or very slow"
    )]
    Stuck {
        /// What was asked.
        act: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// It said something that is no answer.
    #[error("the reader of guests' disks answered nonsense while it {act}: the disk may be made to do harm")]
    Nonsense {
        /// What was asked.
        act: &'static str,
    },
    /// It looked, and this is why not.
    #[error("{text}")]
    Refused {
        /// Which sort of failure.
        kind: Kind,
        /// What is wrong, with the place.
        text: String,
    },
}

impl WorkerError {
    /// Which sort of failure it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Prepare(_) | Self::Start(_) => Kind::Internal,
            Self::Died { .. } | Self::Nonsense { .. } => Kind::Corrupt,
            Self::Stuck { .. } => Kind::Unavailable,
            Self::Refused { kind, .. } => *kind,
        }
    }
}

impl Worker {
    /// Starts one for these disks and opens them there.
    pub async fn start(program: &WorkerProgram, disks: Vec<DiskImage>) -> Result<Self, WorkerError> {
        let prepare = WorkerError::Prepare;
        tokio::fs::create_dir_all(&program.root).await.map_err(prepare)?;
        let (ours, theirs) = Pair::pair().map_err(prepare)?;
        ours.set_nonblocking(true).map_err(prepare)?;
        let mut command = Command::new(&program.program);
        let number = command.fd(OwnedFd::from(theirs));
        command.args([ARGUMENT, &number.to_string()]);
        let mut setup = Setup { root: program.root.clone(), id: program.id, disks: Vec::new() };
        for disk in disks {
            let take = |layer: crate::source::Layer| LayerSetup {
                fd: command.fd(OwnedFd::from(layer.file)),
                format: layer.format,
            };
            setup
                .disks
                .push(DiskSetup { name: disk.name, layers: disk.layers.into_iter().map(take).collect() });
        }
        // It waits until the program itself runs.
        let process = tokio::task::spawn_blocking(move || command.spawn()).await;
        let process =
            process.map_err(|error| prepare(io::Error::other(error)))?.map_err(WorkerError::Start)?;
        let stream = UnixStream::from_std(ours).map_err(prepare)?;
        let mut worker = Self { stream, process, patience: program.patience, is_waiting: false };
        let setup = serde_json::to_vec(&setup).map_err(|error| prepare(error.into()))?;
        match worker.ask_bytes("opened the disks", &setup).await? {
            (Answer::Ready, _) => Ok(worker),
            _ => Err(WorkerError::Nonsense { act: "opened the disks" }),
        }
    }

    /// Its process, for whoever watches it.
    pub fn pid(&self) -> u32 {
        self.process.identity().pid
    }

    /// The devices on the disks.
    pub async fn layout(&mut self) -> Result<Disks, WorkerError> {
        let act = "looked at the partitions";
        match self.ask(act, &Request::Layout).await? {
            (Answer::Layout { layout, gaps }, _) => Ok(Disks { layout, gaps }),
            _ => Err(WorkerError::Nonsense { act }),
        }
    }

    /// The files that fit some patterns.
    pub async fn files(&mut self, wanted: &[Wanted]) -> Result<Files, WorkerError> {
        let act = "looked for files";
        let (answer, bytes) = self.ask(act, &Request::Files { wanted: wanted.to_vec() }).await?;
        let Answer::Files { nodes, gaps } = answer else { return Err(WorkerError::Nonsense { act }) };
        protocol::unpack(nodes, &bytes, gaps).ok_or(WorkerError::Nonsense { act })
    }

    /// What the initramfs at a path unpacks to, as far as it has one of the words.
    pub async fn archive(&mut self, path: &FilePath, words: &[String]) -> Result<Archive, WorkerError> {
        let act = "looked into an initramfs";
        let request = Request::Archive { path: path.clone(), words: words.to_vec() };
        let (answer, body) = self.ask(act, &request).await?;
        let Answer::Archive { members, bytes, tail, fault } = answer else {
            return Err(WorkerError::Nonsense { act });
        };
        let files = protocol::unpack(members, &body, Vec::new()).ok_or(WorkerError::Nonsense { act })?;
        Ok(Archive { members: files.nodes, bytes, tail, fault })
    }

    /// What is at a path; in the tree of `device` alone, if one is named.
    pub async fn find(
        &mut self,
        device: Option<&str>,
        path: &FilePath,
        follow: bool,
    ) -> Result<Listed, WorkerError> {
        let act = "looked for a file";
        let request = Request::Find { device: device.map(str::to_owned), path: path.clone(), follow };
        match self.ask(act, &request).await? {
            (Answer::List { mut entries }, _) if entries.len() == 1 => Ok(entries.remove(0)),
            _ => Err(WorkerError::Nonsense { act }),
        }
    }

    /// What is in a directory, by name; with what is `depth` directories deep below it.
    pub async fn list(
        &mut self,
        device: Option<&str>,
        path: &FilePath,
        depth: usize,
    ) -> Result<Vec<Listed>, WorkerError> {
        let act = "listed a directory";
        let request = Request::List { device: device.map(str::to_owned), path: path.clone(), depth };
        match self.ask(act, &request).await? {
            (Answer::List { entries }, _) => Ok(entries),
            _ => Err(WorkerError::Nonsense { act }),
        }
    }

    /// Bytes of a file from `offset` on, at most [`Limits::READ_BYTES`] at a time; none at its end.
    pub async fn read(
        &mut self,
        device: Option<&str>,
        path: &FilePath,
        offset: u64,
    ) -> Result<Vec<u8>, WorkerError> {
        let act = "read a file";
        let request = Request::Read { device: device.map(str::to_owned), path: path.clone(), offset };
        match self.ask(act, &request).await? {
            (Answer::Bytes, bytes) if bytes.len() <= Limits::READ_BYTES => Ok(bytes),
            _ => Err(WorkerError::Nonsense { act }),
        }
    }

    async fn ask(&mut self, act: &'static str, request: &Request) -> Result<(Answer, Vec<u8>), WorkerError> {
        let request = serde_json::to_vec(request).map_err(|error| WorkerError::Prepare(error.into()))?;
        self.ask_bytes(act, &request).await
    }

    async fn ask_bytes(
        &mut self,
        act: &'static str,
        request: &[u8],
    ) -> Result<(Answer, Vec<u8>), WorkerError> {
        if std::mem::replace(&mut self.is_waiting, true) {
            return Err(WorkerError::Nonsense { act });
        }
        let talked = tokio::time::timeout(self.patience, talk(&mut self.stream, request)).await;
        let Ok(talked) = talked else {
            let _ = self.process.kill();
            return Err(WorkerError::Stuck { act, seconds: self.patience.as_secs() });
        };
        match talked {
            Ok(Some((Answer::Refused { kind, text }, _))) => {
                self.is_waiting = false;
                Err(WorkerError::Refused { kind, text })
            }
            Ok(Some(answer)) => {
                self.is_waiting = false;
                Ok(answer)
            }
            Ok(None) => Err(WorkerError::Nonsense { act }),
            Err(_) => {
                let _ = self.process.kill();
                let how = match self.process.ended().await {
                    Ok(Ending::Status(status)) => status.to_string(),
                    Ok(Ending::Unknown) | Err(_) => "nobody knows how".to_owned(),
                };
                Err(WorkerError::Died { act, how })
            }
        }
    }
}

/// One request and its answer; `None`: what came is no answer.
async fn talk(stream: &mut UnixStream, request: &[u8]) -> io::Result<Option<(Answer, Vec<u8>)>> {
    let length = u32::try_from(request.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_le_bytes()).await?;
    stream.write_all(request).await?;
    let (head, body) = (stream.read_u32_le().await? as usize, stream.read_u32_le().await? as usize);
    if head > Limits::HEAD_BYTES || body > Limits::BODY_BYTES {
        return Ok(None);
    }
    let (mut text, mut bytes) = (vec![0; head], vec![0; body]);
    stream.read_exact(&mut text).await?;
    stream.read_exact(&mut bytes).await?;
    Ok(serde_json::from_slice(&text).ok().map(|answer| (answer, bytes)))
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let process = self.process.clone();
        // Somebody has to take the dead child away.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { process.ended().await });
        }
    }
}

/// Any bytes as a request, and as an answer with its bytes.
pub(crate) fn fuzz(bytes: &[u8]) {
    let _ = (serde_json::from_slice::<Setup>(bytes), serde_json::from_slice::<Request>(bytes));
    let split = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (head, body) = bytes.split_at(split);
    if let Ok(Answer::Files { nodes, gaps }) = serde_json::from_slice(head) {
        let _ = protocol::unpack(nodes, body, gaps);
    }
}
