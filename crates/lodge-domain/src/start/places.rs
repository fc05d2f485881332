//! Where the parts of a running guest are, put into its live document as libvirt does: the numbers of its block nodes
//! with the chain under each disk, the sockets of its channels. A libvirt daemon that takes the guest over finds them
//! by these.

use std::path::Path;

use lodge_model::domain::Domain;
use lodge_model::domain::chardev::{CharKind, CharMode, CharSource};
use lodge_model::domain::disk::{BackingStore, Disk, DiskSource, ImageFormat, SourceKind};
use lodge_qemu::{AGENT_SOCKET, node_numbers};

use crate::ports::{ChainLink, ClaimedDisk, ServedLink};

/// A layer of a disk's chain as a document tells it.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    kind: SourceKind,
    source: DiskSource,
    format: String,
}

/// The layers of a disk.
pub(crate) fn told(disk: &ClaimedDisk) -> Vec<Told> {
    let file = |link: &ChainLink| Told {
        kind: SourceKind::File,
        source: DiskSource { file: Some(link.path.display().to_string()), ..DiskSource::default() },
        format: link.format.clone(),
    };
    let served = |link: &ServedLink| Told {
        kind: SourceKind::Network,
        source: link.source.clone(),
        format: link.format.clone(),
    };
    disk.chain.iter().map(file).chain(disk.served.iter().map(served)).collect()
}

/// The layers of each disk's chain, by the disk's target.
#[derive(Debug, Default)]
pub(super) struct Chains(Vec<(String, Vec<Told>)>);

impl Chains {
    /// Those of the disks that were opened.
    pub fn of(disks: Option<&[ClaimedDisk]>) -> Self {
        let chain = |disk: &ClaimedDisk| (disk.target.clone(), told(disk));
        Self(disks.unwrap_or_default().iter().map(chain).collect())
    }

    fn get(&self, target: &str) -> &[Told] {
        self.0.iter().find(|(known, _)| known == target).map_or(&[], |(_, links)| links)
    }

    /// Puts them into the document, numbered as `lodge_qemu::command_line` numbers the nodes.
    pub fn complete(&self, document: &mut Domain) {
        let numbers = node_numbers(document, |disk| self.get(&disk.target.dev).len());
        for (disk, first) in document.devices.disks.iter_mut().zip(numbers) {
            let links = self.get(&disk.target.dev);
            number_chain(disk, links, first);
        }
    }
}

/// Puts a disk's chain into its element, its nodes numbered from `first` on.
pub(crate) fn number_chain(disk: &mut Disk, links: &[Told], first: usize) {
    let (Some(source), false) = (disk.source.as_deref_mut(), links.is_empty()) else { return };
    source.index = u32::try_from(first).ok();
    // What opens each file, only the document says.
    let encryption = disk.encryption_trees();
    let below = links.iter().enumerate().skip(1).rev();
    let end = BackingStore::default();
    disk.backing_store = Some(Box::new(below.fold(end, |deeper, (depth, layer)| {
        let Told { kind, mut source, format } = layer.clone();
        if let Some(Some(encryption)) = encryption.get(depth) {
            source.set_encryption(Some(encryption));
        }
        BackingStore {
            kind: Some(kind),
            index: u32::try_from(first + depth).ok(),
            format: Some(ImageFormat { kind: format, ..ImageFormat::default() }),
            source: Some(Box::new(source)),
            backing_store: Some(Box::new(deeper)),
            ..BackingStore::default()
        }
    })));
}

/// Names the sockets that Lodge made for channels. `agent`: the alias of the agent's.
pub(super) fn channels(document: &mut Domain, dir: &Path, agent: Option<&str>) {
    for channel in &mut document.devices.channels {
        let alias = channel.place.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
        let is_agent = agent == Some(alias.as_str());
        let has_path = channel.source().is_some_and(|source| source.path.is_some());
        if channel.kind != CharKind::Unix || (has_path && !is_agent) {
            continue;
        }
        let file = if is_agent { AGENT_SOCKET.to_owned() } else { format!("{alias}.sock") };
        channel.sources = vec![CharSource {
            mode: Some(CharMode::Bind),
            path: Some(dir.join(file).display().to_string()),
            ..CharSource::default()
        }];
    }
}
