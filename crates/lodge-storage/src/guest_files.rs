//! Every file of one guest that the graph knows: disks with all they stand on, what else documents name, snapshots.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use lodge_model::DomainId;

use crate::{
    Storage,
    error::StorageError,
    graph::{Graph, Node, ask::is_of, need::Need},
    limits,
    ports::{GuestFiles, Part},
};

/// A file that a guest is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFile {
    /// The file.
    pub path: PathBuf,
    /// What it is to the guest: "disk vda".
    pub what: String,
    /// It is there.
    pub exists: bool,
    /// Of a disk: its size as the guest sees it.
    pub guest_bytes: Option<u64>,
    /// What it takes on the host.
    pub host_bytes: u64,
    /// Others that need it.
    pub shared_with: Vec<Need>,
}

impl Storage {
    /// The files of a guest, in the order of its document.
    pub async fn files_of(&self, guest: DomainId) -> Result<Vec<GuestFile>, StorageError> {
        let Some(guests) = self.guests() else { return Ok(Vec::new()) };
        let list = move || Ok(guests.list().into_iter().find(|known| known.id == guest));
        let found = self.blocking(Path::new("/"), limits::LOOK, list).await?;
        let Some(found) = found else { return Ok(Vec::new()) };
        let graph = self.graph(&[]).await?;
        let snapshots = self.snapshot_files().await?;
        let name = found.name.clone();
        let mut listing = Listing { guest: &found, graph: &graph, files: Vec::new(), listed: HashSet::new() };
        for file in found.files.iter() {
            listing.add(&file.path, &file.part.to_string());
            if let Part::Disk(target) = &file.part {
                listing.add_chain(&file.path, target);
            }
        }
        for snapshot in snapshots.iter().filter(|snapshot| snapshot.guest == name) {
            listing.add(&snapshot.metadata, &format!("snapshot {}", snapshot.name));
            for (path, _) in &snapshot.files {
                listing.add(path, &format!("disk or memory of snapshot {}", snapshot.name));
            }
        }
        // What a snapshot put above is the guest's disk or what a later one is kept in; else a revert removed it.
        let first_made = listing.files.len();
        for snapshot in snapshots.iter().filter(|snapshot| snapshot.guest == name) {
            for path in &snapshot.made {
                listing.add(path, &format!("disk or memory of snapshot {}", snapshot.name));
            }
        }
        let made: HashSet<_> = listing.files.iter().skip(first_made).map(|file| file.path.clone()).collect();
        let mut files = listing.files;
        let look = move || {
            for file in &mut files {
                if let (false, Ok(metadata)) = (file.exists, fs::metadata(&file.path)) {
                    file.exists = true;
                    file.host_bytes = metadata.blocks() * 512;
                }
            }
            files.retain(|file| file.exists || !made.contains(&file.path));
            Ok(files)
        };
        self.blocking(Path::new("/"), limits::LOOK, look).await
    }
}

struct Listing<'a> {
    guest: &'a GuestFiles,
    graph: &'a Graph,
    files: Vec<GuestFile>,
    listed: HashSet<PathBuf>,
}

impl Listing<'_> {
    fn add(&mut self, path: &Path, what: &str) {
        if !self.listed.insert(path.to_owned()) {
            return;
        }
        let node = self.graph.at(path);
        let seen = node.and_then(|node| node.seen.as_ref());
        let is_disk = what.contains("disk");
        self.files.push(GuestFile {
            path: path.to_owned(),
            what: what.to_owned(),
            exists: seen.is_some(),
            guest_bytes: seen.filter(|_| is_disk).map(|seen| seen.facts.capacity.unwrap_or(seen.length)),
            host_bytes: seen.map(|seen| seen.allocation).unwrap_or_default(),
            shared_with: node.map(|node| self.others(node)).unwrap_or_default(),
        });
    }

    /// What a disk stands on, down to the last.
    fn add_chain(&mut self, top: &Path, target: &str) {
        let mut at = self.graph.at(top);
        for _ in 0..limits::CHAIN_FILES {
            let Some(edge) = at.and_then(|node| node.stands_on.as_ref()) else { return };
            self.add(&edge.path, &format!("backing file of disk {target}"));
            at = self.graph.get(&edge.key);
        }
    }

    fn others(&self, node: &Node) -> Vec<Need> {
        let is_own = |need: &Need| match need {
            Need::Backing { path } => self.listed.contains(path),
            need => is_of(need, self.guest.id, Some(&self.guest.name)),
        };
        node.needs.iter().filter(|need| !is_own(need)).cloned().collect()
    }
}
