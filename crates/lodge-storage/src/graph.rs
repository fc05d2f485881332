//! Who needs which bytes: files as nodes, backing references as edges, and who needs a file and why.
//!
//! ```text
//!  guest ─ vda ─▶ web1.qcow2 ─ stands on ─▶ base.qcow2 ◀─ image 'debian-12'
//!                    ▲                          ▲
//!    snapshot 's1' ──┘         other.qcow2 ─────┘
//! ```
//!
//! Place: the one question that stands before every act that removes or overwrites bytes:
//! [`Storage::who_needs`](crate::Storage::who_needs). This file is pure: it is given what was seen of the host
//! ([`observe`]) and what guests name ([`crate::ports`]), and holds no path open.
//!
//! Rules:
//! - A file is its device and inode, whatever it is called; one that is not there is its name.
//! - A reference counts by what the header says, whether or not the rest of the image is sound.
//! - A disk that every document calls raw stands on nothing, whatever a guest wrote at its start.
//!
//! Deliberately absent: what a guest's own file system needs; files named by images outside of every pool.

pub(crate) mod ask;
pub(crate) mod facts;
pub(crate) mod need;
pub(crate) mod observe;
pub(crate) mod snapshots;
pub(crate) mod stands;
pub(crate) mod uses;

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use self::{facts::Facts, need::Need, snapshots::SnapshotFiles};
use crate::{
    chain::backing_path,
    claims::{Held, Use},
    file::FileId,
    ports::GuestFiles,
    vol::facts::Stamp,
};

/// A file: by what it is, or by its name where it is not there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Key {
    File(FileId),
    Gone(PathBuf),
}

/// A file as it was seen.
#[derive(Debug, Clone)]
pub(crate) struct SeenFile {
    pub path: PathBuf,
    pub id: FileId,
    /// Bytes of the file.
    pub length: u64,
    /// Bytes it takes on the host.
    pub allocation: u64,
    pub facts: Arc<Facts>,
    pub stamp: Stamp,
    /// It lies in a pool's directory.
    pub in_pool: bool,
}

/// All that was seen of the host, and all that guests name.
#[derive(Debug, Default)]
pub(crate) struct Observation {
    pub files: Vec<SeenFile>,
    pub guests: Vec<GuestFiles>,
    pub snapshots: Vec<Arc<SnapshotFiles>>,
    /// Registered images by name.
    pub images: Vec<(String, PathBuf)>,
    pub templates: Vec<PathBuf>,
    pub held: Vec<Held>,
    /// What each path above leads to.
    pub keys: HashMap<PathBuf, Key>,
}

/// Where a file's header says it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edge {
    pub key: Key,
    pub path: PathBuf,
    /// The format the header gives; none: it does not say.
    pub format: Option<String>,
}

/// A file and what is known of it.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// Its names, the first seen first.
    pub paths: Vec<PathBuf>,
    pub seen: Option<SeenFile>,
    pub stands_on: Option<Edge>,
    pub needs: Vec<Need>,
    /// Formats that documents, images and headers say it has.
    pub declared: Vec<String>,
}

impl Node {
    fn declare(&mut self, format: Option<&str>) {
        if let Some(word) = format.filter(|word| !self.declared.iter().any(|known| known == word)) {
            self.declared.push(word.to_owned());
        }
    }
}

/// The graph.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: HashMap<Key, Node>,
    keys: HashMap<PathBuf, Key>,
}

impl Graph {
    /// Puts together what was seen.
    pub fn of(observation: Observation) -> Self {
        let Observation { files, guests, snapshots, images, templates, held, keys } = observation;
        let mut graph = Self { nodes: HashMap::with_capacity(files.len()), keys };
        let found: Vec<_> = files.iter().map(|file| Key::File(file.id)).collect();
        for file in files {
            let node = graph.node(Key::File(file.id), &file.path.clone());
            match &mut node.seen {
                Some(seen) => seen.in_pool |= file.in_pool,
                none => *none = Some(file),
            }
        }
        graph.take_holds(held);
        graph.take_guests(&guests);
        graph.take_snapshots(&snapshots);
        for (name, path) in images {
            graph.need(&path, Need::Image { name });
        }
        for path in templates {
            graph.need(&path, Need::Template);
        }
        graph.take_edges(found);
        graph.unite();
        graph
    }

    fn take_holds(&mut self, held: Vec<Held>) {
        for Held { file, path, domain, name, usage, is_work } in held {
            let need = if is_work {
                Need::Act { what: name, id: domain }
            } else {
                Need::Running { guest: name, id: domain, how: usage.as_str() }
            };
            self.node(Key::File(file), &path).needs.push(need);
        }
    }

    fn take_guests(&mut self, guests: &[GuestFiles]) {
        for guest in guests {
            for file in guest.files.iter() {
                let key = self.key(&file.path);
                let node = self.node(key, &file.path);
                node.declare(file.format.as_deref());
                let need = Need::Defined {
                    guest: Arc::clone(&guest.name),
                    id: guest.id,
                    part: file.part.clone(),
                    writes: file.writes,
                    shareable: file.shareable,
                };
                node.needs.push(need);
            }
        }
    }

    fn take_snapshots(&mut self, snapshots: &[Arc<SnapshotFiles>]) {
        for snapshot in snapshots {
            for (path, inside) in &snapshot.files {
                let (guest, snapshot) = (Arc::clone(&snapshot.guest), Arc::clone(&snapshot.name));
                self.need(path, Need::Snapshot { guest, snapshot, inside: *inside });
            }
        }
    }

    /// Edges last: whether a disk may have one depends on what documents call it.
    fn take_edges(&mut self, found: Vec<Key>) {
        let mut edges = Vec::new();
        for key in found {
            let Some(node) = self.nodes.get(&key) else { continue };
            if !node.declared.is_empty() && node.declared.iter().all(|word| word == "raw") {
                continue;
            }
            let Some(seen) = &node.seen else { continue };
            let Some(backing) = &seen.facts.backing else { continue };
            let Ok(path) = backing_path(&seen.path, &backing.name) else { continue };
            edges.push((key, seen.path.clone(), path, backing.format.clone()));
        }
        for (key, overlay, path, format) in edges {
            let below = self.key(&path);
            let node = self.node(below.clone(), &path);
            node.declare(format.as_deref());
            node.needs.push(Need::Backing { path: overlay });
            let edge = Edge { key: below, path, format };
            self.nodes.entry(key).or_default().stands_on.get_or_insert(edge);
        }
    }

    fn need(&mut self, path: &Path, need: Need) {
        let key = self.key(path);
        self.node(key, path).needs.push(need);
    }

    /// Who needs a file twice needs it once.
    fn unite(&mut self) {
        for node in self.nodes.values_mut().filter(|node| node.needs.len() > 1) {
            let mut known = HashSet::with_capacity(node.needs.len());
            node.needs.retain(|need| known.insert(need.clone()));
        }
    }

    fn node(&mut self, key: Key, path: &Path) -> &mut Node {
        let node = self.nodes.entry(key).or_default();
        if !node.paths.iter().any(|known| known == path) {
            node.paths.push(path.to_owned());
        }
        node
    }

    /// What a path leads to.
    pub fn key(&self, path: &Path) -> Key {
        self.keys.get(path).cloned().unwrap_or_else(|| Key::Gone(path.to_owned()))
    }

    /// What is known of the file of a path.
    pub fn at(&self, path: &Path) -> Option<&Node> {
        self.nodes.get(&self.key(path))
    }

    /// What is known of a file.
    pub fn get(&self, key: &Key) -> Option<&Node> {
        self.nodes.get(key)
    }

    /// Every file.
    pub fn nodes(&self) -> impl Iterator<Item = (&Key, &Node)> {
        self.nodes.iter()
    }

    /// Who needs the file of a path, those first that have it now.
    pub fn needs(&self, path: &Path) -> Vec<Need> {
        self.at(path).map(|node| node.needs.clone()).unwrap_or_default()
    }
}

impl Use {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Write | Self::WriteShared => "it writes to it",
            Self::Read => "it reads it",
            Self::Backing => "a disk of it stands on this file",
        }
    }
}

#[cfg(test)]
mod tests {
    use lodge_model::DomainId;

    use super::*;
    use crate::{
        ports::{FileUse, Part},
        qcow2::Backing,
        vol::kind::VolumeFormat,
    };

    fn file(inode: u64, name: &str, backing: Option<&str>) -> SeenFile {
        let backing = backing.map(|name| Backing { name: name.to_owned(), format: Some("qcow2".to_owned()) });
        let facts = Facts { format: VolumeFormat::Qcow2, capacity: None, backing, has_snapshots: false };
        SeenFile {
            path: PathBuf::from("/p").join(name),
            id: FileId { device: 1, inode },
            length: 0,
            allocation: 0,
            facts: Arc::new(facts),
            stamp: Stamp::default(),
            in_pool: true,
        }
    }

    fn guest(name: &str, path: &str, format: &str) -> GuestFiles {
        let disk = FileUse {
            path: path.into(),
            part: Part::Disk("vda".to_owned()),
            format: Some(format.to_owned()),
            writes: true,
            shareable: false,
        };
        let id = DomainId(uuid::Uuid::from_u128(name.len() as u128));
        GuestFiles { id, name: name.into(), is_active: false, files: [disk].into() }
    }

    fn graph(files: Vec<SeenFile>, guests: Vec<GuestFiles>) -> Graph {
        let keys = files.iter().map(|file| (file.path.clone(), Key::File(file.id))).collect();
        Graph::of(Observation { files, guests, keys, ..Observation::default() })
    }

    fn said(graph: &Graph, path: &str) -> Vec<String> {
        graph.needs(Path::new(path)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_base_is_needed_by_what_stands_on_it_and_a_disk_by_its_guest() {
        let files = vec![file(1, "base", None), file(2, "top", Some("base")), file(3, "lone", None)];
        let graph = graph(files, vec![guest("web1", "/p/top", "qcow2")]);
        assert_eq!(said(&graph, "/p/base"), ["volume '/p/top' stands on it"]);
        assert_eq!(said(&graph, "/p/top"), ["domain 'web1' has it as its disk vda"]);
        assert_eq!(said(&graph, "/p/lone"), Vec::<String>::new());
    }

    #[test]
    fn another_name_of_a_file_is_the_same_file() {
        let mut alias = file(1, "alias", None);
        alias.in_pool = false;
        let files = vec![file(1, "base", None), alias];
        let graph = graph(files, vec![guest("web1", "/p/alias", "qcow2")]);
        assert_eq!(said(&graph, "/p/base"), ["domain 'web1' has it as its disk vda"]);
    }

    #[test]
    fn a_guest_cannot_hold_a_file_by_writing_a_header_into_its_raw_disk() {
        let files = vec![file(1, "other", None), file(2, "raw", Some("other"))];
        let raw = graph(files.clone(), vec![guest("web1", "/p/raw", "raw")]);
        assert_eq!(said(&raw, "/p/other"), Vec::<String>::new());
        // Nobody says what it is: it counts as what it looks like.
        assert_eq!(said(&graph(files, Vec::new()), "/p/other"), ["volume '/p/raw' stands on it"]);
    }

    #[test]
    fn a_backing_file_that_is_gone_is_needed_by_its_name() {
        let graph = graph(vec![file(2, "top", Some("gone"))], Vec::new());
        assert_eq!(said(&graph, "/p/gone"), ["volume '/p/top' stands on it"]);
    }
}
