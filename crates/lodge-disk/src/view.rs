//! Bytes by position shown as plain files, so that other programs can work on them.
//!
//! ```text
//!  debugfs, in a jail ── /view/disk ── kernel ══ connection ══ serve: Blocks ── redo ── layout ── qcow2 chain
//!                        /view/script
//! ```
//! `mke2fs`' kin know files and no qcow2. Here a logical volume on a partition in a chain of images is a file of its
//! size; what is written to it goes where the [`Blocks`] send it. Inputs of the program are files of the same view, so
//! nothing of an edit is ever laid down on the host.
//!
//! Own code instead of `fuser`, `fuse-backend-rs`: a fixed list of files in one directory needs a dozen of the
//! protocol's operations and one thread; they bring threads, mounting and twenty crates into a process that is to have
//! few system calls. The connection is made and handed over by the daemon (`lodge_sys::fuse`).
//! Deliberately absent: directories, names that come and go, caching (the kernel's page cache is one), locks.

mod protocol;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use rustix::io::Errno;

use self::protocol::{Attributes, Body, REQUEST_MAX_BYTES, Request};
use crate::blocks::Blocks;

/// The most the kernel asks for or writes at once.
const PIECE_BYTES: u32 = 256 << 10;
const _: () = assert!(PIECE_BYTES as usize + 4096 <= REQUEST_MAX_BYTES);
/// The directory itself; files have the numbers after it.
const ROOT: u64 = 1;

/// A file in a view.
#[derive(Debug, Clone)]
pub struct File {
    /// Its name.
    pub name: &'static str,
    /// What is in it.
    pub content: Arc<dyn Blocks>,
    /// Whether it may be written.
    pub writable: bool,
}

/// The one directory of files.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Those with names.
    pub files: Vec<File>,
    /// Further ones, named `0`, `1` …, read only.
    pub inputs: Vec<Arc<[u8]>>,
}

/// Serves a view until it is taken away.
pub fn serve(connection: impl AsFd, view: &View) -> io::Result<()> {
    let mut buffer = vec![0; REQUEST_MAX_BYTES];
    loop {
        let size = match rustix::io::read(&connection, &mut buffer) {
            Ok(size) => size,
            // The request was taken back, or a signal came.
            Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => continue,
            // Nobody has it mounted any more. The second is what a read gets that was handing out a last request (of a
            // file's release, as a rule) while the mount went: what the tool did is its own to tell.
            Err(Errno::NODEV | Errno::CONNABORTED) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let request = Request::of(&buffer[..size])
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the kernel's request is cut short"))?;
        let answer = view.answer(&request.body);
        let answer = match answer {
            Ok(Some(payload)) => protocol::answer(request.unique, 0, &payload),
            Ok(None) => continue,
            Err(errno) => protocol::answer(request.unique, errno.raw_os_error(), &[]),
        };
        send(connection.as_fd(), &answer)?;
    }
}

fn send(connection: BorrowedFd<'_>, answer: &[u8]) -> io::Result<()> {
    loop {
        match rustix::io::write(connection, answer) {
            // It does not wait for the answer any more, or is gone; the next read says which.
            Ok(_) | Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl View {
    /// What is answered; none: nothing is.
    fn answer(&self, body: &Body<'_>) -> Result<Option<Vec<u8>>, Errno> {
        match body {
            Body::Init { minor, readahead } => Ok(Some(protocol::init(*minor, *readahead, PIECE_BYTES))),
            Body::Lookup { parent, name } => {
                if *parent != ROOT {
                    return Err(Errno::NOTDIR);
                }
                let node = self.find(name).ok_or(Errno::NOENT)?;
                Ok(Some(protocol::entry(&self.attributes(node)?)))
            }
            Body::Attributes { node } => Ok(Some(protocol::attributes(&self.attributes(*node)?))),
            Body::Open { node, writes } => match self.node(*node)? {
                Node::Named(file) if *writes && !file.writable => Err(Errno::ROFS),
                Node::Input(_) if *writes => Err(Errno::ROFS),
                Node::Directory => Err(Errno::ISDIR),
                Node::Named(_) | Node::Input(_) => Ok(Some(protocol::opened())),
            },
            Body::Read { node, offset, size } => self.read(*node, *offset, *size).map(Some),
            Body::Write { node, offset, bytes } => match self.node(*node)? {
                Node::Named(file) if file.writable => write(file, *offset, bytes).map(Some),
                _ => Err(Errno::ROFS),
            },
            Body::Sync { node } => {
                if let Node::Named(file) = self.node(*node)? {
                    file.content.flush().map_err(|error| errno(&error))?;
                }
                Ok(Some(Vec::new()))
            }
            Body::Done => Ok(Some(Vec::new())),
            Body::Silent => Ok(None),
            Body::Other => Err(Errno::NOSYS),
        }
    }

    fn find(&self, name: &[u8]) -> Option<u64> {
        let named = self.files.iter().position(|file| file.name.as_bytes() == name);
        let index = named.or_else(|| {
            let number: usize = std::str::from_utf8(name).ok()?.parse().ok()?;
            (number < self.inputs.len()).then_some(self.files.len() + number)
        })?;
        Some(index as u64 + ROOT + 1)
    }

    fn node(&self, number: u64) -> Result<Node<'_>, Errno> {
        if number == ROOT {
            return Ok(Node::Directory);
        }
        let index = number.checked_sub(ROOT + 1).and_then(|index| usize::try_from(index).ok());
        let index = index.ok_or(Errno::NOENT)?;
        if let Some(file) = self.files.get(index) {
            return Ok(Node::Named(file));
        }
        self.inputs.get(index - self.files.len()).map(|bytes| Node::Input(bytes)).ok_or(Errno::NOENT)
    }

    fn attributes(&self, number: u64) -> Result<Attributes, Errno> {
        let (size, mode) = match self.node(number)? {
            Node::Directory => (0, 0o040_555),
            Node::Named(file) if file.writable => (file.content.bytes(), 0o100_666),
            Node::Named(file) => (file.content.bytes(), 0o100_444),
            Node::Input(bytes) => (bytes.len() as u64, 0o100_444),
        };
        Ok(Attributes { number, size, mode })
    }

    fn read(&self, number: u64, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        let size = u64::from(size.min(PIECE_BYTES));
        let within = |all: u64| usize::try_from(all.saturating_sub(offset).min(size)).unwrap_or(0);
        match self.node(number)? {
            Node::Directory => Err(Errno::ISDIR),
            Node::Named(file) => {
                let mut piece = vec![0; within(file.content.bytes())];
                file.content.read_at(offset, &mut piece).map_err(|error| errno(&error))?;
                Ok(piece)
            }
            Node::Input(bytes) => {
                let count = within(bytes.len() as u64);
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes[start..start + count].to_vec())
            }
        }
    }
}

enum Node<'a> {
    Directory,
    Named(&'a File),
    Input(&'a [u8]),
}

fn write(file: &File, offset: u64, bytes: &[u8]) -> Result<Vec<u8>, Errno> {
    let end = offset.checked_add(bytes.len() as u64).ok_or(Errno::FBIG)?;
    if end > file.content.bytes() {
        return Err(Errno::FBIG);
    }
    file.content.write_at(offset, bytes).map_err(|error| errno(&error))?;
    // No larger than a piece.
    Ok(protocol::written(u32::try_from(bytes.len()).unwrap_or(u32::MAX)))
}

/// The system's number of an error; what has none is a broken disk.
fn errno(error: &io::Error) -> Errno {
    match error.kind() {
        io::ErrorKind::StorageFull => Errno::NOSPC,
        io::ErrorKind::ReadOnlyFilesystem => Errno::ROFS,
        _ => Errno::from_io_error(error).unwrap_or(Errno::IO),
    }
}

/// Any bytes as the kernel's request to a view of two files.
pub(crate) fn fuzz(bytes: &[u8]) {
    let view = View { files: Vec::new(), inputs: vec![bytes.into(), Arc::from(&b"two"[..])] };
    if let Some(request) = Request::of(bytes) {
        let _ = view.answer(&request.body);
    }
}

#[cfg(test)]
mod tests;
