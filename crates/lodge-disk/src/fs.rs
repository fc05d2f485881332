//! File systems, read only.
//!
//! A reader knows one format. It never follows links and never leaves its file system: [`FileSystem`]'s caller walks
//! the tree part by part, across mounts, and decides what a link means.

use std::{fmt, io, sync::Arc};

use lodge_model::guest_disk::{Content, FilePath, Owner};
use serde::{Deserialize, Serialize};

pub mod btrfs;
pub(crate) mod directory;
pub mod ext;
pub mod fat;
pub(crate) mod layers;
pub(crate) mod piece;
pub mod xfs;

use crate::blocks::Blocks;

/// The reader for what lies in a device. `subvolume` is what a btrfs' mount options choose: `subvol=…`, `subvolid=…`.
pub fn open(
    content: &Content,
    blocks: Arc<dyn Blocks>,
    subvolume: Option<&str>,
) -> Result<Box<dyn FileSystem>, FsError> {
    match content.kind.as_str() {
        "ext2" | "ext3" | "ext4" => Ok(Box::new(ext::Ext::open(&blocks)?)),
        "xfs" => Ok(Box::new(xfs::Xfs::open(blocks)?)),
        "btrfs" => {
            let which = subvolume.map_or(Ok(btrfs::Subvolume::Default), btrfs::Subvolume::from_option)?;
            Ok(Box::new(btrfs::Btrfs::open(blocks)?.subvolume(&which)?))
        }
        "vfat" => Ok(Box::new(fat::Fat::open(blocks)?)),
        "crypto_LUKS" => Err(FsError::Unsupported(
            "it is encrypted with LUKS; only the running guest can read it".to_owned(),
        )),
        other => Err(FsError::Unsupported(format!("{other} is not read here"))),
    }
}

/// A file system on some [`crate::blocks::Blocks`]. It belongs to one thread, as its caller does.
pub trait FileSystem: fmt::Debug {
    /// What it is, as `blkid` names it, and how full.
    fn content(&self) -> &Content;

    /// What a reader of it should know: a log that was not replayed, say. What is read may be older than it was.
    fn warnings(&self) -> &[String] {
        &[]
    }

    /// The mount option that chooses this part of what lies there: `subvolid=257`.
    fn mount_option(&self) -> Option<String> {
        None
    }

    /// What is at `path`. All but its last part are directories, or the answer is [`FsError::NotADirectory`].
    fn node(&self, path: &FilePath) -> Result<Node, FsError>;

    /// The names in a directory without `.` and `..`, at most `most` of them, else [`FsError::TooMany`].
    fn list(&self, path: &FilePath, most: usize) -> Result<Vec<Entry>, FsError>;

    /// At most `most` bytes of a plain file from `offset` on; fewer only at its end.
    fn read(&self, path: &FilePath, offset: u64, most: usize) -> Result<Vec<u8>, FsError>;

    /// Where a symbolic link points.
    fn link(&self, path: &FilePath) -> Result<Vec<u8>, FsError>;
}

/// What is known of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Its size in bytes.
    pub size: u64,
    /// Whose it is.
    pub owner: Owner,
    /// When it was last written, in seconds since 1970.
    pub modified: i64,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// A plain file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, a socket, a pipe.
    Other,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// What it names.
    pub kind: NodeKind,
}

/// Why something could not be read. Paths and places are the caller's to add.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// Nothing is there.
    #[error("no such file or directory")]
    NotFound,
    /// A part of the way is no directory.
    #[error("not a directory")]
    NotADirectory,
    /// A directory, a link or a device where a plain file was asked for.
    #[error("not a plain file")]
    NotAFile,
    /// The path is no symbolic link.
    #[error("not a symbolic link")]
    NotALink,
    /// More than the asker's limit.
    #[error("more than {0} of them")]
    TooMany(usize),
    /// What is on the disk contradicts itself.
    #[error("damaged: {what} at byte {at}")]
    Damaged {
        /// Which structure, and what is wrong with it.
        what: String,
        /// Where, from the file system's start.
        at: u64,
    },
    /// The format has something this reader does not know.
    #[error("cannot read this file system: {0}")]
    Unsupported(String),
    /// The disk itself could not be read.
    #[error("cannot read the disk")]
    Io(#[from] io::Error),
}
