//! The worker's side: takes the disks over, shuts itself in, answers.
//!
//! Until the sandbox closes it reads one message of the daemon's and nothing of the guest's. Afterwards it has no
//! call left that opens anything. It has no log: what it has to say is an answer.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _, Write as _},
    os::{fd::RawFd, unix::net::UnixStream},
    process::ExitCode,
    sync::Arc,
};

use lodge_model::{
    Kind,
    guest_disk::{FilePath, Gap},
};
use lodge_sys::sandbox::{self, Profile, Sandbox};

use super::protocol::{Answer, Limits, Listed, Request, Setup, pack, pack_archive};
use crate::{
    blocks::Blocks,
    fs::{FsError, NodeKind},
    layout::Devices,
    root::{Root, RootError},
    source::{DiskImage, Layer, SourceError},
};

/// A chain of 200 layers on each of many disks.
const DESCRIPTORS_MAX: u64 = 4096;
/// Address space, with the program's own; the tables of a large chain of images.
const MEMORY_BYTES_MAX: u64 = 3 << 30;
/// Directories in directories; what lies deeper is listed by its own path.
const DEPTH_MAX: usize = 64;
/// Of processor time: only what nobody waits for any more runs so long.
const PROCESSOR_SECONDS_MAX: u64 = 900;

/// Is a worker on the socket of this number, until the other side hangs up.
pub fn main(socket: Option<RawFd>) -> ExitCode {
    // A reader's panic is caught and told as damage.
    std::panic::set_hook(Box::new(|_| {}));
    match socket.map(serve) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(_)) | None => ExitCode::FAILURE,
    }
}

fn serve(socket: RawFd) -> io::Result<()> {
    let mut stream = UnixStream::from(sandbox::inherited(socket)?);
    let Some(setup) = receive(&mut stream)? else { return Ok(()) };
    let setup: Setup = serde_json::from_slice(&setup)?;
    let images = setup.disks.into_iter().map(|disk| {
        let layers = disk
            .layers
            .into_iter()
            .map(|layer| Ok(Layer { file: File::from(sandbox::inherited(layer.fd)?), format: layer.format }));
        let layers = layers.collect::<io::Result<Vec<_>>>()?;
        Ok(DiskImage { name: disk.name, layers, writable: false })
    });
    let images = images.collect::<io::Result<Vec<_>>>()?;
    let limit = rustix::process::Rlimit {
        current: Some(PROCESSOR_SECONDS_MAX),
        maximum: Some(PROCESSOR_SECONDS_MAX),
    };
    rustix::process::setrlimit(rustix::process::Resource::Cpu, limit)?;
    let confine = Sandbox {
        root: setup.root,
        id: setup.id,
        descriptors_max: DESCRIPTORS_MAX,
        file_bytes_max: 0,
        memory_bytes_max: MEMORY_BYTES_MAX,
        profile: Profile::Disk,
    };
    sandbox::enter(&confine).map_err(io::Error::other)?;
    let mut desk = match open(images) {
        Ok(devices) => Desk { devices, trees: HashMap::new() },
        Err(error) => {
            let kind = match error {
                SourceError::Header { .. } | SourceError::TooDeep { .. } => Kind::Unsupported,
                SourceError::Empty { .. } | SourceError::Open { .. } => Kind::Corrupt,
            };
            return send(&mut stream, &Answer::Refused { kind, text: said(&error) }, &[]);
        }
    };
    send(&mut stream, &Answer::Ready, &[])?;
    while let Some(request) = receive(&mut stream)? {
        let (answer, bytes) = match desk.answer(serde_json::from_slice(&request)?) {
            Ok(answer) => answer,
            Err((kind, text)) => (Answer::Refused { kind, text }, Vec::new()),
        };
        send(&mut stream, &answer, &bytes)?;
    }
    Ok(())
}

/// All disks that can be opened; what cannot is a gap, unless it is all there is.
fn open(images: Vec<DiskImage>) -> Result<Devices, SourceError> {
    let (mut disks, mut gaps, mut first) = (Vec::new(), Vec::new(), None);
    for image in images {
        let name = image.name.clone();
        match image.open() {
            Ok(disk) => disks.push((name, Arc::new(disk) as Arc<dyn Blocks>)),
            Err(error) => {
                gaps.push(Gap { place: name, why: said(&error) });
                first.get_or_insert(error);
            }
        }
    }
    match first {
        Some(error) if disks.is_empty() => Err(error),
        Some(_) | None => {
            let mut devices = Devices::read(disks);
            devices.add_gaps(gaps);
            Ok(devices)
        }
    }
}

/// A message, or the end.
fn receive(stream: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > Limits::REQUEST_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message)?;
    Ok(Some(message))
}

fn send(stream: &mut UnixStream, answer: &Answer, bytes: &[u8]) -> io::Result<()> {
    let text = serde_json::to_vec(answer)?;
    let lengths = [text.len(), bytes.len()].map(u32::try_from);
    for length in lengths {
        stream.write_all(&length.map_err(io::Error::other)?.to_le_bytes())?;
    }
    stream.write_all(&text)?;
    stream.write_all(bytes)
}

fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

type Failure = (Kind, String);

/// The guest's trees, opened when first asked for.
struct Desk {
    devices: Devices,
    trees: HashMap<Option<String>, Root>,
}

fn failure(error: &RootError) -> Failure {
    let kind = match error {
        RootError::NotFound { .. } | RootError::NoRoot { .. } => Kind::NotFound,
        RootError::Mount { .. } => Kind::Unsupported,
        RootError::TooManyLinks { .. } => Kind::InvalidInput,
        RootError::Read { source, .. } => match source {
            FsError::NotFound => Kind::NotFound,
            FsError::NotADirectory | FsError::NotAFile | FsError::NotALink => Kind::InvalidInput,
            FsError::TooMany(_) => Kind::Exhausted,
            FsError::Damaged { .. } | FsError::Io(_) => Kind::Corrupt,
            FsError::Unsupported(_) => Kind::Unsupported,
        },
    };
    (kind, error.to_string())
}

impl Desk {
    fn tree(&mut self, device: Option<String>) -> Result<&Root, Failure> {
        if let Some(name) = &device
            && self.devices.layout().device(name).is_none()
        {
            let text = format!("the guest has no device '{name}'; `lodge disk lsblk` lists them");
            return Err((Kind::NotFound, text));
        }
        let devices = &self.devices;
        Ok(self.trees.entry(device).or_insert_with_key(|device| match device {
            Some(name) => Root::of_device(devices.clone(), name),
            None => Root::open(devices.clone()),
        }))
    }

    fn answer(&mut self, request: Request) -> Result<(Answer, Vec<u8>), Failure> {
        match request {
            Request::Layout => {
                let root = self.tree(None)?;
                let answer = Answer::Layout { layout: root.layout().clone(), gaps: root.gaps().to_vec() };
                Ok((answer, Vec::new()))
            }
            Request::Files { wanted } => Ok(pack(self.tree(None)?.files(&wanted))),
            Request::Archive { path, words } => {
                let read = self.tree(None)?.archive(&path, &words);
                Ok(pack_archive(read.map_err(|error| failure(&error))?))
            }
            Request::Find { device, path, follow } => {
                let root = self.tree(device)?;
                let found = root.find(&path, follow).map_err(|error| failure(&error))?;
                let link = matches!(found.node.kind, NodeKind::Link).then(|| root.link(&path).ok()).flatten();
                let entries = vec![Listed { path: found.path, node: found.node, link }];
                Ok((Answer::List { entries }, Vec::new()))
            }
            Request::List { device, path, depth } => {
                let mut entries = Vec::new();
                list(self.tree(device)?, &path, depth.min(DEPTH_MAX), &mut entries)?;
                Ok((Answer::List { entries }, Vec::new()))
            }
            Request::Read { device, path, offset } => {
                let read = self.tree(device)?.read(&path, offset, Limits::READ_BYTES);
                Ok((Answer::Bytes, read.map_err(|error| failure(&error))?))
            }
        }
    }
}

/// A directory's entries by name, each followed by what is in it. Links are told and not gone into.
fn list(root: &Root, at: &FilePath, depth: usize, into: &mut Vec<Listed>) -> Result<(), Failure> {
    let left = Limits::ENTRIES - into.len();
    let mut names = root.list(at, left).map_err(|error| match error {
        RootError::Read { source: FsError::TooMany(_), .. } => {
            let text =
                format!("{at}: more than {} files; ask for less, or for one directory", Limits::ENTRIES);
            (Kind::Exhausted, text)
        }
        error => failure(&error),
    })?;
    names.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in names {
        let mut path = at.as_bytes().to_vec();
        if path != b"/" {
            path.push(b'/');
        }
        path.extend_from_slice(&entry.name);
        let Ok(path) = FilePath::new(path) else { continue };
        let found = root.find(&path, false).map_err(|error| failure(&error))?;
        let link = if found.node.kind == NodeKind::Link { root.link(&path).ok() } else { None };
        into.push(Listed { path: path.clone(), node: found.node, link });
        if into.len() >= Limits::ENTRIES {
            let text =
                format!("{at}: more than {} files; ask for less, or for one directory", Limits::ENTRIES);
            return Err((Kind::Exhausted, text));
        }
        if found.node.kind == NodeKind::Directory && depth > 1 {
            list(root, &path, depth - 1, into)?;
        }
    }
    Ok(())
}
