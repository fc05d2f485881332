//! What daemon and worker say to each other over one socket.
//!
//! A request is a length of four bytes and JSON. An answer is two lengths, JSON and bytes: contents of files do not
//! pass through JSON. The worker is not trusted: what it says is bounded, and checked where it is put together.

use std::{collections::BTreeMap, os::fd::RawFd, path::PathBuf};

use lodge_model::{
    Kind,
    guest_disk::{Archive, FileNode, FilePath, Files, Gap, Layout, Owner, Tail, Wanted},
};
use serde::{Deserialize, Serialize};

use crate::{fs::Node, source::LayerFormat};

/// What fits into messages.
pub(crate) struct Limits;

impl Limits {
    pub const REQUEST_BYTES: usize = 4 << 20;
    pub const HEAD_BYTES: usize = 64 << 20;
    pub const BODY_BYTES: usize = 300 << 20;
    pub const READ_BYTES: usize = 1 << 20;
    pub const ENTRIES: usize = 100_000;
}

/// The first message: what the worker has, and how it is confined.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Setup {
    pub root: PathBuf,
    pub id: u32,
    pub disks: Vec<DiskSetup>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DiskSetup {
    pub name: String,
    pub layers: Vec<LayerSetup>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LayerSetup {
    pub fd: RawFd,
    pub format: LayerFormat,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Layout,
    Files { wanted: Vec<Wanted> },
    Archive { path: FilePath, words: Vec<String> },
    Find { device: Option<String>, path: FilePath, follow: bool },
    List { device: Option<String>, path: FilePath, depth: usize },
    Read { device: Option<String>, path: FilePath, offset: u64 },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Ready,
    Layout { layout: Layout, gaps: Vec<Gap> },
    Files { nodes: Vec<(FilePath, NodeHead)>, gaps: Vec<Gap> },
    Archive { members: Vec<(FilePath, NodeHead)>, bytes: u64, tail: Tail, fault: Option<String> },
    List { entries: Vec<Listed> },
    Bytes,
    Refused { kind: Kind, text: String },
}

/// A file whose bytes are the next `length` of the answer's.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum NodeHead {
    File { length: usize, size: u64, owner: Owner },
    Link(Vec<u8>),
    Directory(Owner),
    Other,
}

/// A file in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its path in the guest.
    pub path: FilePath,
    /// What it is.
    pub node: Node,
    /// Where it points, if it is a link.
    pub link: Option<Vec<u8>>,
}

/// Files as an answer: what they are, then all bytes.
pub(super) fn pack(files: Files) -> (Answer, Vec<u8>) {
    let (nodes, bytes) = packed(files.nodes);
    (Answer::Files { nodes, gaps: files.gaps }, bytes)
}

/// The same of what is in an initramfs.
pub(super) fn pack_archive(archive: Archive) -> (Answer, Vec<u8>) {
    let (members, all) = packed(archive.members);
    (Answer::Archive { members, bytes: archive.bytes, tail: archive.tail, fault: archive.fault }, all)
}

fn packed(nodes: BTreeMap<FilePath, FileNode>) -> (Vec<(FilePath, NodeHead)>, Vec<u8>) {
    let mut all = Vec::new();
    let pack = |(path, node)| {
        let head = match node {
            FileNode::File { bytes, size, owner } => {
                all.extend_from_slice(&bytes);
                NodeHead::File { length: bytes.len(), size, owner }
            }
            FileNode::Link(to) => NodeHead::Link(to),
            FileNode::Directory(owner) => NodeHead::Directory(owner),
            FileNode::Other => NodeHead::Other,
        };
        (path, head)
    };
    let nodes = nodes.into_iter().map(pack).collect();
    (nodes, all)
}

/// The files again; none where lengths and bytes do not agree.
pub(super) fn unpack(nodes: Vec<(FilePath, NodeHead)>, mut bytes: &[u8], gaps: Vec<Gap>) -> Option<Files> {
    let mut files = Files { gaps, ..Files::default() };
    for (path, head) in nodes {
        let node = match head {
            NodeHead::File { length, size, owner } => {
                let (own, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                FileNode::File { bytes: own.to_vec(), size, owner }
            }
            NodeHead::Link(to) => FileNode::Link(to),
            NodeHead::Directory(owner) => FileNode::Directory(owner),
            NodeHead::Other => FileNode::Other,
        };
        files.nodes.insert(path, node);
    }
    bytes.is_empty().then_some(files)
}
