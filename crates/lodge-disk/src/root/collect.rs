//! The files that somebody wants, by patterns.
//!
//! Directories that are links are gone into where a pattern names the way (a part, or `*`), never under `**`: so no
//! circle of links is walked. Each file stands under the path that it was asked by. Bounds hold for all patterns
//! together; where one is reached, a gap says at which path.

use lodge_model::guest_disk::{FileNode, FilePath, Files, Gap, Pattern, Wanted};

use super::{
    Root, top,
    walk::{RootError, child},
};
use crate::fs::{FsError, NodeKind};

/// Files of one answer.
const FILES_MAX: usize = 50_000;
/// Bytes of one answer.
const BYTES_MAX: u64 = 256 << 20;
/// Names of one directory.
const NAMES_MAX: usize = 100_000;
/// Directories looked into for one answer.
const DIRECTORIES_MAX: usize = 100_000;
/// How deep `**` goes.
const DEPTH_MAX: usize = 48;

struct Collector<'a> {
    root: &'a Root,
    files: Files,
    bytes: u64,
    directories: usize,
    is_full: bool,
}

impl Root {
    /// All files that fit the wishes.
    pub fn files(&self, wanted: &[Wanted]) -> Files {
        let files = Files { gaps: self.gaps().to_vec(), ..Files::default() };
        let mut collector = Collector { root: self, files, bytes: 0, directories: 0, is_full: false };
        if self.mounts.is_empty() {
            return collector.files;
        }
        // The largest wish for a path counts: it comes first, and what is there already stays.
        let mut wishes: Vec<&Wanted> = wanted.iter().collect();
        wishes.sort_by_key(|wish| std::cmp::Reverse(wish.most_bytes));
        for wish in wishes {
            let parts: Vec<&str> = wish.pattern.parts().collect();
            collector.walk(&top(), &parts, wish.most_bytes, 0);
        }
        collector.files
    }
}

impl Collector<'_> {
    fn gap(&mut self, place: &FilePath, why: &str) {
        let gap = Gap { place: place.to_string(), why: why.to_owned() };
        if !self.files.gaps.contains(&gap) {
            self.files.gaps.push(gap);
        }
    }

    /// What is missing is no gap.
    fn failed(&mut self, place: &FilePath, error: &RootError) {
        if !matches!(
            error,
            RootError::NotFound { .. } | RootError::Read { source: FsError::NotADirectory, .. }
        ) {
            self.gap(place, &error.to_string());
        }
    }

    fn fill(&mut self, place: &FilePath, why: &str) {
        if !self.is_full {
            self.is_full = true;
            self.gap(place, why);
        }
    }

    fn walk(&mut self, at: &FilePath, parts: &[&str], most: u64, depth: usize) {
        let Some((part, rest)) = parts.split_first() else { return self.take(at, most) };
        if self.is_full {
            return;
        }
        match *part {
            "**" => {
                self.walk(at, rest, most, depth);
                if depth >= DEPTH_MAX {
                    return self.gap(at, "directories lie deeper than is looked");
                }
                for (name, kind) in self.names(at) {
                    let Some(next) = child(at, &name) else { continue };
                    match kind {
                        NodeKind::Directory => self.walk(&next, parts, most, depth + 1),
                        // What is no directory can only fit the parts that follow.
                        _ if rest.is_empty() => self.take(&next, most),
                        _ => {}
                    }
                }
            }
            part if part.contains('*') => {
                for (name, _) in self.names(at) {
                    if Pattern::part_fits(part, &name)
                        && let Some(next) = child(at, &name)
                    {
                        self.walk(&next, rest, most, depth);
                    }
                }
            }
            part => {
                if let Some(next) = child(at, part.as_bytes()) {
                    self.walk(&next, rest, most, depth);
                }
            }
        }
    }

    fn names(&mut self, at: &FilePath) -> Vec<(Vec<u8>, NodeKind)> {
        self.directories += 1;
        if self.directories > DIRECTORIES_MAX {
            self.fill(at, "more directories would have to be looked into than are");
            return Vec::new();
        }
        match self.root.list(at, NAMES_MAX) {
            Ok(entries) => entries.into_iter().map(|entry| (entry.name, entry.kind)).collect(),
            Err(error) => {
                self.failed(at, &error);
                Vec::new()
            }
        }
    }

    fn take(&mut self, path: &FilePath, most: u64) {
        if self.is_full || self.files.nodes.contains_key(path) {
            return;
        }
        let found = match self.root.find(path, false) {
            Ok(found) => found,
            Err(error) => return self.failed(path, &error),
        };
        let node = match found.node.kind {
            NodeKind::Directory => FileNode::Directory(found.node.owner),
            NodeKind::Other => FileNode::Other,
            NodeKind::Link => match self.root.link_at(&found.path) {
                Ok(to) => FileNode::Link(to),
                Err(error) => return self.failed(path, &error),
            },
            NodeKind::File => {
                let wanted = most.min(found.node.size);
                if self.bytes.saturating_add(wanted) > BYTES_MAX {
                    return self.fill(path, "more bytes were asked for than are read");
                }
                match self.root.read_at(&found.path, 0, usize::try_from(wanted).unwrap_or(usize::MAX)) {
                    Ok(bytes) => {
                        self.bytes += bytes.len() as u64;
                        FileNode::File { bytes, size: found.node.size, owner: found.node.owner }
                    }
                    Err(error) => return self.failed(path, &error),
                }
            }
        };
        if self.files.nodes.len() >= FILES_MAX {
            return self.fill(path, "more files fit than are told");
        }
        self.files.nodes.insert(path.clone(), node);
    }
}
