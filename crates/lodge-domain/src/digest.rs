//! What figures need of a document, read once per text: a thousand guests are asked every few seconds, and their
//! documents seldom change.

use std::sync::Arc;

use lodge_model::domain::Domain;
use lodge_model::domain::devices::MemballoonModel;
use lodge_model::domain::disk::DiskDevice;
use lodge_model::domain::interface::{Interface, InterfaceKind};
use lodge_model::domain::resctrl;

use crate::error::DomainError;
use crate::index::Entry;

/// A document in short.
#[derive(Debug, Clone)]
pub struct Digest {
    /// The text it was read from.
    source: Arc<str>,
    /// Processors there can be.
    pub vcpus_max: u32,
    /// Processors there are.
    pub vcpus: u32,
    /// Which are there, by number.
    pub plugged: Vec<bool>,
    /// Memory there can be, in KiB.
    pub memory_max_kib: u64,
    /// Memory there is, in KiB.
    pub memory_kib: u64,
    /// Alias of the balloon, if the guest has one.
    pub balloon: Option<String>,
    /// How many I/O threads.
    pub iothreads: u32,
    /// Its use of caches or of the way to memory is watched.
    pub watched: bool,
    /// The disks.
    pub disks: Vec<DiskFacts>,
    /// The cards that have an interface on the host.
    pub taps: Vec<TapFacts>,
}

/// A disk in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFacts {
    /// `vda`.
    pub target: String,
    /// Its alias in the running guest.
    pub alias: Option<String>,
    /// Its file or device.
    pub path: Option<String>,
    /// Format of its image.
    pub format: String,
    /// It is a drive that may be empty.
    pub removable: bool,
}

/// A card that has an interface on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapFacts {
    /// The interface's name.
    pub name: String,
    /// What the kernel counts as received there, the guest has received (virDomainNetTypeSharesHostView).
    pub counts_as_guest: bool,
}

impl TapFacts {
    /// None: the card has nothing on the host.
    pub fn of(card: &Interface) -> Option<Self> {
        let name = card.target.as_ref().map(|target| target.dev.clone())?;
        Some(Self {
            name,
            counts_as_guest: matches!(card.kind, InterfaceKind::Direct | InterfaceKind::Ethernet),
        })
    }
}

impl Digest {
    fn of(domain: &Domain, source: Arc<str>) -> Self {
        let plugged = crate::control::vcpu::plugged_in(domain);
        let memory_max_kib = domain.memory.size.kib();
        let current = domain.current_memory.as_ref().map_or(memory_max_kib, |current| current.size.kib());
        let balloon = domain.devices.memballoon.as_deref().filter(|b| b.model != MemballoonModel::None);
        let disk = |disk: &lodge_model::domain::disk::Disk| DiskFacts {
            target: disk.target.dev.clone(),
            alias: disk.place.alias.as_ref().map(|alias| alias.name.clone()),
            path: disk.path().map(str::to_owned),
            format: disk.format().to_owned(),
            removable: matches!(disk.device, DiskDevice::Cdrom | DiskDevice::Floppy),
        };
        let cards = domain.devices.interfaces.iter().filter(|card| card.kind != InterfaceKind::User);
        Self {
            source,
            vcpus_max: domain.vcpu.as_ref().map_or(1, |vcpu| vcpu.count),
            vcpus: u32::try_from(plugged.iter().filter(|plugged| **plugged).count()).unwrap_or(u32::MAX),
            plugged,
            memory_max_kib,
            memory_kib: current.min(memory_max_kib),
            balloon: balloon.map(|balloon| {
                balloon.place.alias.as_ref().map_or("balloon0".to_owned(), |a| a.name.clone())
            }),
            iothreads: domain.iothreads.unwrap_or(0),
            watched: resctrl::of(domain).iter().any(|group| !group.monitors.is_empty()),
            disks: domain.devices.disks.iter().map(disk).collect(),
            taps: cards.filter_map(TapFacts::of).collect(),
        }
    }
}

/// The digest of the document that counts now.
pub(crate) fn current(entry: &Entry) -> Result<Arc<Digest>, DomainError> {
    let documents = entry.documents.load();
    let text = documents.live.as_ref().or(documents.inactive.as_ref());
    let text = text.ok_or_else(|| DomainError::NoSuchDomain { wanted: entry.name().to_string() })?;
    if let Some(known) = entry.digest.load_full().filter(|known| Arc::ptr_eq(&known.source, text)) {
        return Ok(known);
    }
    let domain = Domain::parse(text).map_err(|faults| DomainError::Document { faults })?;
    let digest = Arc::new(Digest::of(&domain, Arc::clone(text)));
    entry.digest.store(Some(Arc::clone(&digest)));
    Ok(digest)
}
